//! What has to be so at the end of a history.

use super::History;
use super::held::Held;
use super::laws::{Breach, Law};
use super::watch::Watch;
use crate::sim::report::{HostEnd, Report};
use crate::sim::run::World;
use crate::sim::scenario::Fault;
use crate::store::Key;
use crate::words::HostName;

/// The first law that is broken.
pub(super) fn judge(
    history: &History,
    watch: &Watch,
    world: &World,
    report: &Report,
) -> Result<(), Breach> {
    let end = End { history, held: &watch.held, world, report };
    let broken = |law, what: String| Err(Breach::new(law, world, what));
    if let Some(name) = end.notice_left() {
        return broken(Law::Notices, format!("{name} is announced, and no record says so"));
    }
    for (name, host) in &report.hosts {
        match &host.reason {
            None if !host.as_declared => {
                let what = format!("{name} is called in sync, and is not as declared");
                return broken(Law::Settles, what);
            }
            Some(reason) if !end.may_be(name, reason) => {
                let why = host.why.as_deref().unwrap_or_default();
                return broken(Law::Settles, format!("{name} ends as {reason}: {why}"));
            }
            _ => {}
        }
    }
    // A host whose changes fail holds its slot and is looked after for ever; one that people hold
    // back while it holds one is waited for, and so is one that cannot be announced or is announced
    // by a notice that a backup does not know.
    let failing = report.hosts.values().filter_map(|host| host.reason.as_deref()).any(may_fail);
    let lost = || report.hosts.keys().any(|name| end.is_told_by_nobody(name));
    let stuck = failing || end.held.keeps_a_slot(world) || end.anybody_is_kept_out() || lost();
    if let Some(why) = world.unrest().filter(|_| !stuck) {
        return broken(Law::Settles, format!("it never comes to rest: {why}"));
    }
    if report.second_supervisors > 0 {
        return broken(Law::Tasks, "a task was launched while one of its kind ran".to_owned());
    }
    if report.restarted_twice > 0 {
        let what = "a service was restarted twice for one change, with no fault in between";
        return broken(Law::StartOnce, what.to_owned());
    }
    let (writes, calls) =
        (report.etcd_writes_after_convergence, report.mesos_calls_after_convergence);
    if writes > 0 || calls > 0 {
        let what = format!("{writes} writes and {calls} calls with nothing to do");
        return broken(Law::Quiet, what);
    }
    Ok(())
}

/// Whether a host is left with this reason because changes fail, there or elsewhere.
fn may_fail(reason: &str) -> bool {
    matches!(reason, "failed" | "halted" | "too-many-unavailable" | "waiting-for-slot")
}

/// A history at its end.
struct End<'a> {
    history: &'a History,
    held: &'a Held,
    world: &'a World,
    report: &'a Report,
}

impl End<'_> {
    /// Whether a host may be left with this reason.
    fn may_be(&self, name: &HostName, reason: &str) -> bool {
        if self.is_gone_untold(name, reason) {
            return true;
        }
        let kept =
            || self.anybody_fails() || self.held.keeps_a_slot(self.world) || self.anybody_is_lost();
        match reason {
            "gone" => self.world.cluster().is_gone(name),
            "excluded" => self.held.excludes(name),
            "blocked" => self.history.blocks(name),
            "failed" => self.fails(name),
            "halted" => kept(),
            "too-many-unavailable" => kept() || self.anybody_is_gone_untold(),
            "waiting-for-slot" => kept() || self.held.starts_none(name),
            "paused" => self.held.rests(name),
            "waiting-for-window" => self.is_told_by_nobody(name),
            "waiting-for-approval" => self.held.waits_for_approval(),
            "waiting-for-canary" => self.held.waits_for_canaries(|canary| self.is_well(canary)),
            // An operator's announcement that is over and was not taken off keeps out ours.
            "waiting-for-gate" => self.held.waits_for_gates() || self.is_kept_out(name),
            _ => false,
        }
    }

    /// Whether restarts of the host were made to fail.
    fn fails(&self, name: &HostName) -> bool {
        self.history.befalls(|fault| matches!(fault, Fault::RestartFails(host, _) if host == name))
    }

    /// Whether such a host is not well: others may wait for it.
    fn anybody_fails(&self) -> bool {
        self.report.hosts.keys().any(|name| self.fails(name) && !self.is_well(name))
    }

    /// Where no task of ours ran, nobody tells that a machine is gone for good, and it counts as
    /// down until an operator says so.
    fn is_gone_untold(&self, name: &HostName, reason: &str) -> bool {
        matches!(reason, "unreachable" | "unknown") && self.world.cluster().is_gone(name)
    }

    fn anybody_is_gone_untold(&self) -> bool {
        let mut hosts = self.report.hosts.iter();
        hosts.any(|(name, end)| {
            end.reason.as_deref().is_some_and(|it| self.is_gone_untold(name, it))
        })
    }

    /// Whether such a host holds a slot: others wait for it until an operator releases that.
    fn anybody_is_lost(&self) -> bool {
        let holds = |name: &HostName| self.world.etcd().get(&Key::Slot(name.clone())).is_some();
        self.report.hosts.iter().any(|(name, end)| {
            let lost = end.reason.as_deref().is_some_and(|it| self.is_gone_untold(name, it));
            lost && holds(name)
        })
    }

    fn is_well(&self, name: &HostName) -> bool {
        let end: Option<&HostEnd> = self.report.hosts.get(name);
        end.is_some_and(|end| end.reason.is_none())
    }

    /// A host that is announced to be away, though no operator has done that and no record would let
    /// anybody take it back.
    fn notice_left(&self) -> Option<&HostName> {
        let ours = |name: &&HostName| {
            let recorded = self.world.etcd().get(&Key::Notice((*name).clone())).is_some();
            let announced = self.world.cluster().announced(name).is_some() && !recorded;
            announced && !self.is_announced_by_operator(name) && !self.is_told_by_nobody(name)
        };
        self.report.hosts.keys().find(ours)
    }

    /// Whether a notice stays that a restore has lost with who gave it. It is waited for like anybody
    /// else's maintenance.
    fn is_told_by_nobody(&self, name: &HostName) -> bool {
        self.held.is_told_by_nobody(self.world, name)
    }

    /// Whether a host waits for an operator to take an announcement off that is over.
    fn is_kept_out(&self, name: &HostName) -> bool {
        self.is_announced_by_operator(name) && self.world.cluster().announced(name).is_some()
    }

    fn anybody_is_kept_out(&self) -> bool {
        self.report.hosts.iter().any(|(name, end)| {
            end.reason.as_deref() == Some("waiting-for-gate") && self.is_kept_out(name)
        })
    }

    fn is_announced_by_operator(&self, name: &HostName) -> bool {
        self.history.befalls(|fault| matches!(fault, Fault::Maintenance(host, _) if host == name))
    }
}
