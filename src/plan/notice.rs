//! Notices: a host's disruption, announced to the frameworks of the cluster as maintenance of its
//! machine before it starts (`rollout.drain`).
//!
//! A notice is written down before it is given, so that whoever leads next finds it and takes it
//! back; and it says exactly which window of the master's schedule is ours, so that nobody else's
//! is ever touched.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::desired::{Drain, DrainMode};
use crate::observed::fleet::Away;
use crate::words::{HostName, Time};

use super::reason::Reason;

/// The version of [`Notice`] that this release writes.
pub const NOTICE_VERSION: u32 = 1;

/// How long a machine is said to be away. A notice is taken back when the work is done; one that
/// is that old and was not used is given anew.
const LASTS_SECONDS: u64 = 3_600;

/// One host's notice: the value of `rollout/notices/HOST`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Notice {
    /// [`NOTICE_VERSION`] of the release that wrote it.
    pub version: u32,
    /// What the schedule says.
    pub window: Window,
    /// Since when it is known to be in the schedule; none before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given: Option<Time>,
    /// Somebody else's announcement that is over stands in its place: Mesos keeps windows until they
    /// are taken off, and names a machine once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub kept_out: bool,
}

/// A window of the maintenance schedule that is ours, and of this machine alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Window {
    /// The machine as Mesos names it: by the name of its agent
    pub hostname: String,
    /// and by its address.
    pub ip: IpAddr,
    /// From when it is away.
    pub from: Time,
    /// Until when.
    pub until: Time,
}

impl Window {
    /// Its time, as offers repeat it.
    #[must_use]
    pub fn away(&self) -> Away {
        Away { from: self.from, until: Some(self.until) }
    }
}

impl Notice {
    /// One that is not given yet. The frameworks have `drain.waitSeconds` from now on.
    #[must_use]
    pub fn new(host: &HostName, ip: IpAddr, drain: &Drain, now: Time) -> Self {
        let from = now.plus_secs(u64::from(drain.wait_seconds));
        let until = from.plus_secs(LASTS_SECONDS);
        let window = Window { hostname: host.as_str().to_owned(), ip, from, until };
        Self { version: NOTICE_VERSION, window, given: None, kept_out: false }
    }

    /// When the host may be disrupted; none before the notice is given. The frameworks have had
    /// their time by then, however long it took to give it.
    #[must_use]
    pub fn starts(&self, drain: &Drain) -> Option<Time> {
        let given = self.given?;
        Some(self.window.from.max(given.plus_secs(u64::from(drain.wait_seconds))))
    }

    /// What it says is over: it tells nobody anything any more.
    #[must_use]
    pub fn is_over(&self, now: Time) -> bool {
        self.window.until <= now
    }
}

/// What a host waits for before it may be disrupted, as far as notices go. `closed`: why the
/// schedule cannot be edited, by the last try.
#[must_use]
pub fn wait(
    drain: &Drain,
    notice: Option<&Notice>,
    closed: Option<&str>,
    now: Time,
) -> Option<Reason> {
    if drain.mode == DrainMode::None {
        return None;
    }
    match notice.and_then(|notice| notice.starts(drain)) {
        Some(at) => (at > now).then_some(Reason::Announced { starts: at }),
        None => Some(Reason::Unannounced { why: closed.map(str::to_owned) }),
    }
}

/// What is to be changed about the master's maintenance schedule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScheduleEdit {
    /// Windows that are to be in it.
    pub add: Vec<(HostName, Window)>,
    /// Windows that are not.
    pub remove: Vec<(HostName, Window)>,
}

impl ScheduleEdit {
    /// Nothing is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.add.is_empty() && self.remove.is_empty()
    }
}

/// What the schedule says of one of those machines after the edit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Our window is in it.
    Ours {
        /// It was not before.
        new: bool,
    },
    /// Somebody else has announced maintenance of the machine.
    Theirs(Away),
    /// Nothing.
    Nothing,
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time(1_000_000);

    fn drain(wait_seconds: u32) -> Drain {
        Drain { mode: DrainMode::Maintenance, wait_seconds }
    }

    fn notice(seconds: u32, given: Option<u64>) -> Notice {
        let ip = [10, 0, 0, 1].into();
        let notice = Notice::new(&"a1".into(), ip, &drain(seconds), NOW);
        Notice { given: given.map(|after| NOW.plus_secs(after)), ..notice }
    }

    #[test]
    fn a_host_waits_for_its_notice_and_then_for_the_time_that_it_gives() {
        let starts = |after| Some(Reason::Announced { starts: NOW.plus_secs(after) });
        let unannounced =
            |why: Option<&str>| Some(Reason::Unannounced { why: why.map(str::to_owned) });
        for (wanted, seconds, given, closed, now, expected) in [
            (60, None, None, None, 0, unannounced(None)),
            (60, None, None, Some("403"), 0, unannounced(Some("403"))),
            (60, Some(60), None, None, 0, unannounced(None)),
            (60, Some(60), Some(1), None, 1, starts(61)),
            (60, Some(60), Some(1), Some("403"), 60, starts(61)),
            (60, Some(60), Some(1), None, 61, None),
            // It took long to be given: the frameworks have all of their time.
            (60, Some(60), Some(300), None, 100, starts(360)),
            // The documents have changed meanwhile.
            (600, Some(60), Some(0), None, 100, starts(600)),
            (0, Some(60), Some(0), None, 10, starts(60)),
            (0, Some(0), Some(0), None, 0, None),
        ] {
            let notice = seconds.map(|seconds| notice(seconds, given));
            let wait = wait(&drain(wanted), notice.as_ref(), closed, NOW.plus_secs(now));
            assert_eq!(wait, expected, "{wanted} {seconds:?} {given:?} {now}");
        }
        assert_eq!(wait(&Drain::default(), None, Some("403"), NOW), None);
    }

    #[test]
    fn a_notice_is_over_when_its_window_is() {
        let notice = notice(60, Some(0));
        assert!(!notice.is_over(NOW.plus_secs(60 + LASTS_SECONDS - 1)));
        assert!(notice.is_over(NOW.plus_secs(60 + LASTS_SECONDS)));
    }
}
