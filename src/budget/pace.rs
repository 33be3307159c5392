//! How fast new slots may be taken: a `governor` bucket that is told the time.
//!
//! governor paces a *rate*. It cannot be the budget, which is a count that has to hold across
//! processes and crashes ([`super::slot`]). The bucket keeps no state of its own: it is made from
//! the reservations that the guard in etcd remembers, so a new leader goes on where the old one
//! was, and the same inputs give the same permits.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, FakeRelativeClock};
use governor::{Quota, RateLimiter};

use super::slot::Taken;
use crate::desired::PermitRate;
use crate::words::Time;

/// What the pace admits at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permits {
    /// So many slots may be taken now.
    pub now: u32,
    /// When the next one may be taken after those; none without a rate.
    pub next: Option<Time>,
}

impl Permits {
    /// No rate: as many as one likes.
    pub const UNLIMITED: Self = Self { now: u32::MAX, next: None };
}

/// What a rate admits at `now`, after the slots that were taken (oldest first).
#[must_use]
pub fn permits(rate: Option<PermitRate>, taken: &[Taken], now: Time) -> Permits {
    let Some((rate, quota)) = rate.and_then(|rate| Some((rate, quota(rate)?))) else {
        return Permits::UNLIMITED;
    };
    let clock = FakeRelativeClock::default();
    let bucket = RateLimiter::direct_with_clock(quota, clock.clone());
    let mut at = taken.first().map_or(now, |first| first.at.min(now));
    let mut advance = |to: Time| {
        // A clock that was set back must not hand out permits twice.
        clock.advance(Duration::from_millis(to.since(at)));
        at = at.max(to);
    };
    for entry in taken {
        advance(entry.at.min(now));
        for _ in 0..entry.count.min(rate.burst) {
            // Slots that were taken faster than this rate allows (it was changed since) empty
            // the bucket; they cannot make it owe.
            let _ = bucket.check();
        }
    }
    advance(now);
    let mut count = 0;
    loop {
        match bucket.check() {
            Ok(()) => count += 1,
            Err(refused) => {
                let wait = refused.wait_time_from(clock.now()).as_millis();
                let wait = u64::try_from(wait).unwrap_or(u64::MAX).saturating_add(1);
                return Permits { now: count, next: Some(now.plus_ms(wait)) };
            }
        }
    }
}

fn quota(rate: PermitRate) -> Option<Quota> {
    let period = Duration::from_millis(rate.interval_ms);
    Some(Quota::with_period(period)?.allow_burst(NonZeroU32::new(rate.burst)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: PermitRate = PermitRate { burst: 2, interval_ms: 10_000 };

    #[test]
    fn a_full_bucket_admits_its_burst_and_then_one_every_ten_seconds() {
        let start = Time(1_000_000);
        assert_eq!(permits(Some(RATE), &[], start).now, 2);
        let taken = [Taken { at: start, count: 2 }];
        let empty = permits(Some(RATE), &taken, start);
        assert_eq!(empty, Permits { now: 0, next: Some(start.plus_ms(10_001)) });
        assert_eq!(permits(Some(RATE), &taken, start.plus_secs(10)).now, 1);
        assert_eq!(permits(Some(RATE), &taken, start.plus_secs(25)).now, 2);
    }

    #[test]
    fn a_clock_that_jumps_hands_out_nothing_twice() {
        let taken = [Taken { at: Time(500_000), count: 1 }, Taken { at: Time(100), count: 1 }];
        assert_eq!(permits(Some(RATE), &taken, Time(500_000)).now, 0);
        let future = [Taken { at: Time(900_000), count: 2 }];
        assert_eq!(permits(Some(RATE), &future, Time(100)).now, 0);
    }

    #[test]
    fn without_a_rate_nothing_waits() {
        assert_eq!(permits(None, &[], Time(0)), Permits::UNLIMITED);
    }
}
