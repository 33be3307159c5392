//! How long to wait before subscribing again.

use std::time::Duration;

/// The longest wait; what Mesos' documentation suggests, so that a new master is not stormed.
const LONGEST: Duration = Duration::from_secs(15);

/// The longest first wait.
const FIRST: Duration = Duration::from_millis(500);

/// A subscription that has lasted as long counts as good.
const STABLE: Duration = Duration::from_mins(1);

/// Exponential back-off with full jitter: each wait is drawn between nothing and a limit that
/// doubles with each failure in a row. A value: clock and randomness are the caller's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait after a subscription that `lasted` so long (zero if there was none). `random` is
    /// from 0 to 1.
    #[must_use]
    pub fn wait(&mut self, lasted: Duration, random: f64) -> Duration {
        if lasted >= STABLE {
            self.failures = 0;
        }
        let limit = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        limit.mul_f64(random.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn point_05_the_limit_doubles_up_to_fifteen_seconds() {
        let mut backoff = Backoff::default();
        let limits: Vec<_> =
            (0..8).map(|_| backoff.wait(Duration::ZERO, 1.0).as_millis()).collect();
        assert_eq!(limits, [500, 1000, 2000, 4000, 8000, 15_000, 15_000, 15_000]);
        for _ in 0..100 {
            assert_eq!(backoff.wait(Duration::ZERO, 1.0), LONGEST);
        }
    }

    #[test]
    fn point_05_the_wait_is_spread_from_nothing_to_the_limit() {
        for (random, wait) in [(0.0, 0), (0.5, 250), (1.0, 500), (7.0, 500), (-1.0, 0)] {
            let mut backoff = Backoff::default();
            assert_eq!(backoff.wait(Duration::ZERO, random), Duration::from_millis(wait));
        }
    }

    #[test]
    fn point_05_only_a_stable_subscription_starts_it_anew() {
        let mut backoff = Backoff::default();
        for _ in 0..4 {
            let _ = backoff.wait(Duration::ZERO, 1.0);
        }
        let almost = STABLE.checked_sub(Duration::from_millis(1)).unwrap();
        assert_eq!(backoff.wait(almost, 1.0), Duration::from_secs(8));
        assert_eq!(backoff.wait(STABLE, 1.0), FIRST);
        assert_eq!(backoff.wait(Duration::ZERO, 1.0), FIRST * 2);
    }
}
