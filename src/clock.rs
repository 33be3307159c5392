//! The only place where a clock is read. Shells call it and hand the value on; the pure rooms
//! get time as a value.

use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::words::Time;

/// The wall clock, for people and for records. It may jump.
#[must_use]
pub fn now() -> Time {
    let since_epoch = as_duration(clock_gettime(ClockId::Realtime));
    Time(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}

/// The time since this machine booted, for measuring how long something took. It never jumps,
/// and it counts the time that the machine was suspended, which `Instant` on Linux does not: a
/// lease runs out meanwhile.
#[must_use]
pub fn monotonic() -> Duration {
    as_duration(clock_gettime(ClockId::Boottime))
}

/// A clock before its epoch is read as 0.
fn as_duration(time: Timespec) -> Duration {
    let secs = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(secs, nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clocks_are_what_they_say() {
        let (earlier, later) = (monotonic(), monotonic());
        assert!(earlier <= later);
        // 2020-01-01; a wall clock in seconds or since boot would be far below.
        assert!(now() > Time(1_577_836_800_000));
    }
}
