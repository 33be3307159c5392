//! Ends what does not end. A call that blocks in the kernel (a dead network file system) blocks
//! timers of the same runtime too, so this is a thread of its own.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// Dropped in time, it does nothing.
#[derive(Debug)]
pub(super) struct Watchdog(#[expect(dead_code, reason = "the thread sees it go")] Sender<()>);

impl Watchdog {
    /// Calls `bite` unless this is dropped within `limit`. Where no thread can be had, nothing
    /// is watched.
    pub(super) fn over(limit: Duration, bite: impl FnOnce() + Send + 'static) -> Self {
        let (alive, gone) = channel();
        let watch = move || {
            if gone.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                bite();
            }
        };
        let thread = std::thread::Builder::new().name("watchdog".to_owned());
        if let Err(error) = thread.spawn(watch) {
            tracing::warn!(%error, "a look at this host is not watched over");
        }
        Self(alive)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The runtime's only thread is blocked, as by a file system that does not answer.
    #[tokio::test]
    async fn it_bites_also_when_the_runtime_is_blocked() {
        let (bite, bitten) = channel();
        let dog = Watchdog::over(Duration::from_millis(5), move || bite.send(()).unwrap());
        bitten.recv_timeout(Duration::from_mins(1)).unwrap();
        drop(dog);
    }

    #[test]
    fn it_lets_go_of_what_ends_in_time() {
        let (bite, bitten) = channel();
        let dog = Watchdog::over(Duration::from_hours(1), move || bite.send(()).unwrap());
        drop(dog);
        // The thread has ended without a word, and its end of the channel with it.
        assert_eq!(
            bitten.recv_timeout(Duration::from_mins(1)),
            Err(RecvTimeoutError::Disconnected)
        );
    }
}
