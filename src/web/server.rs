//! Connections, and what keeps many or slow ones from becoming anybody's problem: there are only so many, a
//! request has to come within seconds, and none lasts for ever.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::control::Peer;

/// How many connections there may be, and how slow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Connections at a time; more wait until one ends.
    connections: usize,
    /// For the head of a request, also for the next one on the same connection.
    head: Duration,
    /// A connection lasts so long at most: whoever reads too slowly, or not at all, makes place for others.
    /// Pages that follow events connect again by themselves.
    lifetime: Duration,
}

/// Those of a controller.
pub(super) const LIMITS: Limits =
    Limits { connections: 1280, head: Duration::from_secs(15), lifetime: Duration::from_mins(10) };

/// The head of a request, in bytes. A query has all that a page can be asked for in a fraction of it.
const HEAD_BYTES: usize = 16 * 1024;

/// What is being answered when the server stops has so long to end.
const FAREWELL: Duration = Duration::from_secs(3);

/// After the system has refused a connection, for want of file descriptors as a rule.
const PAUSE: Duration = Duration::from_millis(200);

/// Answers what comes until told to stop.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    shutdown: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(limits.connections));
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = accept(&listener, &places) => accepted,
        };
        match accepted {
            Ok((stream, peer, place)) => {
                let (router, shutdown) = (router.clone(), shutdown.clone());
                connections.spawn(async move {
                    converse(stream, peer, router, limits, shutdown).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection to the page or the API was not accepted");
                sleep(PAUSE).await;
            }
        }
    }
    drop(listener);
    connections.close();
    // Whoever is slower than that is cut off with the process.
    let _ = timeout(FAREWELL, connections.wait()).await;
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, Peer, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    // Small answers are not held back; without it they are slower, nothing else.
    let _ = stream.set_nodelay(true);
    Ok((stream, Peer(peer), place))
}

async fn converse(
    stream: TcpStream,
    peer: Peer,
    router: Router,
    limits: Limits,
    shutdown: CancellationToken,
) {
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        router.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let talk = async {
        tokio::select! {
            ended = connection.as_mut() => return ended,
            () = shutdown.cancelled() => {}
        }
        connection.as_mut().graceful_shutdown();
        connection.await
    };
    match timeout(limits.lifetime, talk).await {
        Ok(Ok(())) => {}
        // The other end's doing, and its to notice.
        Ok(Err(error)) => tracing::debug!(%error, "a connection has ended"),
        Err(_) => tracing::debug!("a connection has reached its longest time"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::body::Body;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const PATIENCE: Duration = Duration::from_mins(1);

    const SHORT: Limits = Limits {
        connections: 4,
        head: Duration::from_millis(100),
        lifetime: Duration::from_millis(300),
    };

    /// Serves until the guard is dropped.
    async fn start(router: Router, limits: Limits) -> (std::net::SocketAddr, impl Drop) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        tokio::spawn(serve(listener, router, limits, shutdown.clone()));
        (address, shutdown.drop_guard())
    }

    /// All that is answered to these bytes until the connection ends.
    async fn answer(address: std::net::SocketAddr, said: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(said.as_bytes()).await.unwrap();
        let mut heard = Vec::new();
        // Whoever is cut off may be cut off in any way.
        let _ = timeout(PATIENCE, stream.read_to_end(&mut heard)).await.expect("it ends");
        String::from_utf8_lossy(&heard).into_owned()
    }

    #[tokio::test]
    async fn a_head_that_does_not_come_to_its_end_or_is_too_long_ends_the_connection() {
        // Else the connection's own end would do it.
        let limits = Limits { lifetime: 2 * PATIENCE, ..SHORT };
        let (address, _guard) = start(Router::new(), limits).await;
        for silent in ["", "GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "] {
            let said = answer(address, silent).await;
            assert!(said.is_empty() || said.starts_with("HTTP/1.1 408"), "{said}");
        }
        let long =
            format!("GET / HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n", "x".repeat(HEAD_BYTES));
        let said = answer(address, &long).await;
        assert!(said.starts_with("HTTP/1.1 431"), "{said}");
        let said = answer(address, "this is not HTTP\r\n\r\n").await;
        assert!(said.starts_with("HTTP/1.1 400"), "{said}");
    }

    #[tokio::test]
    async fn a_connection_ends_at_its_time_however_much_there_is_to_say() {
        let endless = || async {
            let pieces = std::iter::repeat_with(|| Ok::<_, io::Error>("much "));
            Body::from_stream(futures_util::stream::iter(pieces))
        };
        let (address, _guard) = start(Router::new().route("/", get(endless)), SHORT).await;
        let said = answer(address, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(
            said.starts_with("HTTP/1.1 200") && said.ends_with("much \r\n") || said.len() > 1000
        );
    }

    #[tokio::test]
    async fn there_are_only_so_many_connections_and_the_others_wait() {
        let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (counted, peak) = (Arc::clone(&inside), Arc::clone(&most));
        let busy = move || {
            let (inside, most) = (Arc::clone(&inside), Arc::clone(&most));
            async move {
                most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                for _ in 0..100 {
                    tokio::task::yield_now().await;
                }
                inside.fetch_sub(1, Ordering::SeqCst);
            }
        };
        let limits = Limits { lifetime: PATIENCE, ..SHORT };
        let (address, _guard) = start(Router::new().route("/", get(busy)), limits).await;
        let ask = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        let all = futures_util::future::join_all((0..40).map(|_| answer(address, ask))).await;
        assert!(all.iter().all(|said| said.starts_with("HTTP/1.1 200")), "{all:?}");
        assert_eq!((counted.load(Ordering::SeqCst), peak.load(Ordering::SeqCst)), (0, 4));
    }
}
