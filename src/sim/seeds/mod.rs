//! Histories from seeds: a number gives a small cluster, edits and faults; the cluster is run in
//! virtual time, and the [`laws`] are looked at after every event, as the hosts see it.
//!
//! - [`mod@draw`]: a number becomes a [`History`].
//! - [`laws`]: what must hold, whatever happens.
//! - [`range`]: many of them.
//! - [`shrink`]: the least of a history that still breaks a law.
//! - `watch`: follows etcd and hosts, and says which law is broken.

pub mod draw;
pub mod laws;
pub mod range;
pub mod shrink;
mod watch;

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::sim::report::{Report, rests};
use crate::sim::run::plant::Plant;
use crate::sim::run::{Options, World};
use crate::sim::scenario::{Fault, Scenario, TimedFault};
use draw::draw;
use laws::{Breach, Law};
use watch::Watch;

/// So long after its last fault or edit, in milliseconds, every history has settled: pauses between
/// attempts are of five minutes at most.
const SETTLES_MS: u64 = 30 * 60 * 1000;
/// One history of so many is run twice, and has to be the same to the byte.
const TWICE: u64 = 64;
/// One history of so many has the controller's index compared with a full plan after every event.
const INDEXED: u64 = 16;

/// A small cluster, and what happens to it.
#[derive(Clone, Debug)]
pub struct History {
    /// What it was drawn from.
    pub seed: u64,
    /// Hosts, faults and edits.
    pub scenario: Scenario,
    /// The documents, by label.
    pub documents: Vec<(String, String)>,
}

/// What a history came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How often the laws were looked at.
    pub looks: u64,
    /// How often a host was disrupted.
    pub disruptions: u64,
    /// Faults and edits that befell it.
    pub befallen: u64,
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { looks, disruptions, befallen } = self;
        write!(
            f,
            "no law broken; all looked at {looks} times, over {disruptions} disruptions and \
             {befallen} faults and edits"
        )
    }
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.looks += other.looks;
        self.disruptions += other.disruptions;
        self.befallen += other.befallen;
    }
}

impl History {
    /// The history of a number.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        draw(seed)
    }

    /// Runs it.
    ///
    /// # Errors
    ///
    /// The law that it breaks first.
    pub fn run(&self, plant: Option<Plant>) -> Result<Tally, Breach> {
        let (tally, report) = self.once(plant)?;
        if self.seed.is_multiple_of(TWICE) {
            let (_, again) = self.once(plant)?;
            if again != report {
                return Err(Breach::at_end(Law::Steady, "a second run of it ended differently"));
            }
        }
        Ok(tally)
    }

    fn once(&self, plant: Option<Plant>) -> Result<(Tally, Report), Breach> {
        let mut world = self.world(plant, false)?;
        let mut watch = Watch::new(self);
        let mut breach = None;
        let mut looks = 0;
        world.run_while(self.scenario.until, |world| {
            looks += 1;
            breach = watch.look(world).err();
            if breach.is_none() && self.seed.is_multiple_of(INDEXED) {
                breach =
                    world.indexes_agree().err().map(|what| Breach::new(Law::Index, world, what));
            }
            breach.is_none()
        });
        if let Some(breach) = breach {
            return Err(breach);
        }
        let report = world.report();
        self.judge(&world, &report)?;
        let holds = world.cluster().hosts().iter().map(|host| host.witness().holds.len() as u64);
        let befallen = self.scenario.faults.len() + self.scenario.edits.len();
        let tally = Tally { looks, disruptions: holds.sum(), befallen: befallen as u64 };
        Ok((tally, report))
    }

    /// Everything that happens, line by line, up to the breach if there is one.
    ///
    /// # Errors
    ///
    /// The documents are refused.
    pub fn story(&self, plant: Option<Plant>) -> Result<String, Breach> {
        let mut world = self.world(plant, true)?;
        let mut watch = Watch::new(self);
        let mut breach = None;
        world.run_while(self.scenario.until, |world| {
            breach = watch.look(world).err();
            breach.is_none()
        });
        let report = world.report();
        let breach = breach.or_else(|| self.judge(&world, &report).err());
        let mut text = String::new();
        let ends = report.hosts.iter().filter_map(|(name, end)| Some((name, end.reason.as_ref()?)));
        let ends: Vec<String> = ends.map(|(name, reason)| format!("{name} {reason}")).collect();
        for happening in &report.timeline {
            let _ = writeln!(text, "{:>10.3} s  {}", happening.at, happening.what);
        }
        if !ends.is_empty() {
            let _ = writeln!(text, "not in sync: {}", ends.join(", "));
        }
        let _ = match breach {
            Some(breach) => writeln!(text, "{breach}"),
            None => writeln!(text, "no law is broken"),
        };
        Ok(text)
    }

    fn world(&self, plant: Option<Plant>, notes: bool) -> Result<World, Breach> {
        let faults = self.scenario.faults.iter().map(|fault| fault.at.ms);
        let edits = self.scenario.edits.iter().map(|edit| edit.at.ms);
        let last = faults.chain(edits).max().unwrap_or(0);
        let options = Options { notes, limit_ms: last + SETTLES_MS, plant };
        World::new(&self.scenario, &self.documents, &options)
            .map_err(|error| Breach::at_end(Law::Settles, error.to_string()))
    }

    /// What has to be so at the end.
    fn judge(&self, world: &World, report: &Report) -> Result<(), Breach> {
        let broken = |law, what: String| Err(Breach::new(law, world, what));
        let untold = |reason: &str| matches!(reason, "unreachable" | "unknown");
        let gone_untold = report.hosts.iter().any(|(name, end)| {
            end.reason.as_deref().is_some_and(untold) && world.cluster().is_gone(name)
        });
        for (name, end) in &report.hosts {
            match &end.reason {
                None if !end.as_declared => {
                    let what = format!("{name} is called in sync, and is not as declared");
                    return broken(Law::Settles, what);
                }
                // Where no task of ours ran, nobody tells that a machine is gone for good, and it
                // counts as down until an operator says so.
                Some(reason) if untold(reason) && world.cluster().is_gone(name) => {}
                Some(reason) if reason == "too-many-unavailable" && gone_untold => {}
                Some(reason) if !rests(reason) && !self.may_end_as(reason) => {
                    let why = end.why.as_deref().unwrap_or_default();
                    return broken(Law::Settles, format!("{name} ends as {reason}: {why}"));
                }
                _ => {}
            }
        }
        // A host whose changes fail holds its slot, and is looked after for ever.
        let failing = report.hosts.values().any(|end| end.reason.as_deref().is_some_and(may_fail));
        if let Some(why) = world.unrest().filter(|_| !failing) {
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

    /// Whether the last edit of a field says so.
    fn ends_with(&self, field: &str, value: &Value) -> bool {
        let sets = self.scenario.edits.iter().flat_map(|edit| &edit.set);
        let last = sets.rev().find(|(path, _)| path.ends_with(field));
        last.is_some_and(|(_, last)| last == value)
    }

    fn befalls(&self, which: impl Fn(&Fault) -> bool) -> bool {
        let faults = self.scenario.faults.iter();
        faults.filter_map(TimedFault::fault).any(|fault| which(&fault))
    }

    /// Whether a host may be left with this reason: because changes failed on purpose.
    fn may_end_as(&self, reason: &str) -> bool {
        may_fail(reason) && self.befalls(|fault| matches!(fault, Fault::RestartFails(..)))
            || reason == "paused" && self.ends_with("paused", &json!(true))
            || reason == "waiting-for-slot" && self.ends_with("maxConcurrentRestarts", &json!(0))
    }
}

/// Whether a host is left with this reason because changes fail, there or elsewhere.
fn may_fail(reason: &str) -> bool {
    matches!(reason, "failed" | "halted" | "too-many-unavailable" | "waiting-for-slot")
}

/// What is in it, one thing a line, as people read it beside its story.
impl std::fmt::Display for History {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Scenario { hosts, controllers, mesos, faults, edits, .. } = &self.scenario;
        for (_, text) in &self.documents {
            writeln!(f, "{text}")?;
        }
        let groups = hosts.iter().map(|group| {
            let installed = if group.observed.installed { ", as declared" } else { "" };
            format!("{} {}{installed}", group.count, group.name)
        });
        let groups: Vec<_> = groups.collect();
        let version = &mesos.version.0;
        writeln!(f, "hosts: {}; controllers: {controllers}; Mesos {version}", groups.join("; "))?;
        for fault in faults {
            if let Some(what) = fault.fault() {
                writeln!(f, "at {} ms: {what:?}", fault.at.ms)?;
            }
        }
        for edit in edits {
            writeln!(f, "at {} ms: {} {:?}", edit.at.ms, edit.document, edit.set)?;
        }
        Ok(())
    }
}
