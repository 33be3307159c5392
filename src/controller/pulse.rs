//! What can be seen of a running controller without asking it: its loop leaves signs here and waits for
//! nobody who reads them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;

use crate::clock;
use crate::words::{HostName, Time};

/// A loop that turns at least every five seconds is stuck if it has not for so long, on top of the lease,
/// for which it waits at times.
const STILL: Duration = Duration::from_secs(30);

/// A leader that has not decided anything for so long, on top of the lease, is stuck: without etcd it
/// would not lead any more.
const IDLE: Duration = Duration::from_mins(1);

/// When hosts were last heard of is put down so often, and at most so often when hosts are new.
const HEARD_EVERY: Duration = Duration::from_secs(10);
const HEARD_NEW: Duration = Duration::from_secs(1);

/// The signs. Clones are of the same controller.
#[derive(Clone, Debug)]
pub struct Pulse {
    beat: Arc<Mutex<Beat>>,
    lease: Duration,
    /// How long passes took, in seconds.
    pub passes: Histogram,
    /// Tasks launched.
    pub launched: Family<OfKind, Counter>,
}

/// The label of the tasks that were launched.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfKind {
    /// As in Mesos, for example `calico-node`.
    pub kind: String,
}

/// The newest signs. Times are those of [`clock::monotonic`].
#[derive(Clone, Debug)]
pub struct Beat {
    /// When the loop turned.
    pub turned: Duration,
    /// None while another process leads, or none does.
    pub leads: Option<Leads>,
}

/// Signs of a leader.
#[derive(Clone, Debug)]
pub struct Leads {
    /// When the newest pass ended; before the first, since when it leads.
    pub passed: Duration,
    /// Mesos sends it offers and updates.
    pub subscribed: bool,
    /// When each host that can be heard was last heard of, as of a few seconds ago.
    pub heard: Arc<BTreeMap<HostName, Time>>,
    /// How many hosts there were then.
    hosts: usize,
    heard_at: Option<Duration>,
}

impl Pulse {
    /// Of a controller that starts now and has that lease.
    #[must_use]
    pub fn new(lease: Duration) -> Self {
        // From 100 µs to 6.5 s.
        let buckets = (0..9).map(|power| 1e-4 * 4f64.powi(power));
        Self {
            beat: Arc::new(Mutex::new(Beat { turned: clock::monotonic(), leads: None })),
            lease,
            passes: Histogram::new(buckets),
            launched: Family::default(),
        }
    }

    /// The newest signs.
    #[must_use]
    pub fn beat(&self) -> Beat {
        self.lock().clone()
    }

    /// Why the controller is stuck, as a sentence; none if it is not.
    #[must_use]
    pub fn stuck(&self, now: Duration) -> Option<String> {
        let beat = self.beat();
        let (turned, limit) = (now.saturating_sub(beat.turned), self.lease + STILL);
        if turned > limit {
            return Some(format!("its loop has not turned for {} s", turned.as_secs()));
        }
        let passed = now.saturating_sub(beat.leads?.passed);
        (passed > self.lease + IDLE)
            .then(|| format!("it leads, and has decided nothing for {} s", passed.as_secs()))
    }

    pub(super) fn turn(&self) {
        self.lock().turned = clock::monotonic();
    }

    pub(super) fn lead(&self) {
        let passed = clock::monotonic();
        let heard = Arc::default();
        let leads = Leads { passed, subscribed: false, heard, hosts: 0, heard_at: None };
        self.lock().leads = Some(leads);
    }

    pub(super) fn stand_by(&self) {
        self.lock().leads = None;
    }

    /// A pass is over that began at `began`. Who was heard of is looked at now and then only.
    pub(super) fn pass<'a>(
        &self,
        began: Duration,
        subscribed: bool,
        heard: impl ExactSizeIterator<Item = (&'a HostName, Option<Time>)>,
    ) {
        let now = clock::monotonic();
        self.passes.observe(now.saturating_sub(began).as_secs_f64());
        let mut beat = self.lock();
        let Some(leads) = &mut beat.leads else { return };
        (leads.passed, leads.subscribed) = (now, subscribed);
        let pause = if heard.len() == leads.hosts { HEARD_EVERY } else { HEARD_NEW };
        if leads.heard_at.is_none_or(|at| now.saturating_sub(at) >= pause) {
            leads.hosts = heard.len();
            let heard = heard.filter_map(|(name, at)| Some((name.clone(), at?))).collect();
            (leads.heard, leads.heard_at) = (Arc::new(heard), Some(now));
        }
    }

    pub(super) fn launched(&self, kind: &str) {
        self.launched.get_or_create(&OfKind { kind: kind.to_owned() }).inc();
    }

    fn lock(&self) -> MutexGuard<'_, Beat> {
        // Whoever panicked with it has left whole signs.
        self.beat.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_controller_is_stuck_when_its_signs_are_old_and_not_before() {
        let pulse = Pulse::new(Duration::from_secs(10));
        let start = pulse.beat().turned;
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(pulse.stuck(after(40)), None, "a standby waits for its turn");
        assert!(pulse.stuck(after(41)).is_some_and(|why| why.contains("turned for 41 s")));
        pulse.lead();
        let passed = pulse.beat().leads.map_or(start, |leads| leads.passed);
        pulse.lock().turned = passed + Duration::from_secs(71);
        assert_eq!(pulse.stuck(passed + Duration::from_secs(70)), None);
        let stuck = pulse.stuck(passed + Duration::from_secs(71));
        assert!(stuck.is_some_and(|why| why.contains("decided nothing for 71 s")));
        pulse.pass(passed, true, [].into_iter());
        pulse.stand_by();
        assert_eq!(pulse.stuck(passed + Duration::from_secs(71)), None, "it need not decide");
    }

    #[test]
    fn who_was_heard_of_is_put_down_now_and_then() {
        let pulse = Pulse::new(Duration::ZERO);
        pulse.lead();
        let host = HostName::from("a1");
        pulse.pass(clock::monotonic(), false, [(&host, Some(Time(1)))].into_iter());
        pulse.pass(clock::monotonic(), true, [(&host, Some(Time(2)))].into_iter());
        let leads = pulse.beat().leads.expect("it leads");
        assert_eq!((leads.subscribed, leads.heard.values().next()), (true, Some(&Time(1))));
    }
}
