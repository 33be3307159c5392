//! A connection that a test can cut, half or whole, and slow down. It loses nothing of what comes
//! after it is whole again, as TCP does; whoever gave up meanwhile connects anew.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What becomes of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Whole,
    /// Nothing arrives at either end; nobody is told.
    Cut,
    /// What is asked arrives, and no answer does.
    NoAnswers,
    /// All that arrives is so much later.
    Slow(Duration),
}

impl Mode {
    fn passes(self, answers: bool) -> bool {
        match self {
            Self::Whole | Self::Slow(_) => true,
            Self::Cut => false,
            Self::NoAnswers => !answers,
        }
    }
}

/// Listens on a port of its own, and passes on what comes.
pub(crate) struct Link {
    pub(crate) address: SocketAddr,
    mode: watch::Sender<Mode>,
}

impl Link {
    pub(crate) async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mode = watch::Sender::new(Mode::Whole);
        let seen = mode.subscribe();
        tokio::spawn(async move {
            while let Ok((caller, _)) = listener.accept().await {
                tokio::spawn(join(caller, target, seen.clone()));
            }
        });
        Self { address, mode }
    }

    /// From now on.
    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// For so long, and whole again after that.
    pub(crate) async fn during(&self, mode: Mode, lasts: Duration) {
        self.set(mode);
        tokio::time::sleep(lasts).await;
        self.set(Mode::Whole);
    }
}

async fn join(caller: TcpStream, target: SocketAddr, mut mode: watch::Receiver<Mode>) {
    if mode.wait_for(|mode| mode.passes(false)).await.is_err() {
        return;
    }
    // Nobody there: the caller finds its connection closed.
    let Ok(server) = TcpStream::connect(target).await else { return };
    let (questions, to_caller) = caller.into_split();
    let (replies, to_server) = server.into_split();
    tokio::spawn(pass(replies, to_caller, true, mode.clone()));
    pass(questions, to_server, false, mode).await;
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    answers: bool,
    mut mode: watch::Receiver<Mode>,
) {
    let mut bytes = vec![0; 1 << 16];
    loop {
        let read = from.read(&mut bytes).await.unwrap_or(0);
        let Ok(now) = mode.wait_for(|mode| mode.passes(answers)).await.map(|mode| *mode) else {
            return;
        };
        if let Mode::Slow(delay) = now {
            tokio::time::sleep(delay).await;
        }
        if read == 0 || to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}
