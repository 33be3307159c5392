//! Histories from seeds: a number gives a small cluster, edits and faults; the cluster is run in
//! virtual time, and the [`laws`] are looked at after every event, as the hosts see it.
//!
//! - [`mod@draw`]: a number becomes a [`History`].
//! - [`laws`]: what must hold, whatever happens.
//! - [`range`]: many of them.
//! - [`shrink`]: the least of a history that still breaks a law.
//! - `watch`, with `held` for what people hold back: follows etcd and hosts, and says which law is
//!   broken.
//! - `judge`: what has to be so at the end.

pub mod draw;
mod held;
mod judge;
pub mod laws;
pub mod range;
pub mod shrink;
mod watch;

use std::fmt::Write as _;

use crate::sim::report::Report;
use crate::sim::run::people::People;
use crate::sim::run::plant::Plant;
use crate::sim::run::{Options, World};
use crate::sim::scenario::{Fault, Scenario, TimedFault};
use crate::words::HostName;
use draw::draw;
use judge::judge;
use laws::{Breach, Law};
use watch::Watch;

/// So long after the last of what happens to it, in milliseconds, every history has settled: pauses
/// between attempts are of five minutes at most, and the last window opens before the twelfth.
const SETTLES_MS: u64 = 45 * 60 * 1000;
/// One history of so many is run twice, and has to be the same to the byte.
const TWICE: u64 = 64;
/// One history of so many has the controller's index compared with a full plan after every pass.
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
    /// Operators do more than change targets.
    pub steered: bool,
    /// What they do beside edits.
    pub people: People,
}

/// What histories came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many there were.
    pub histories: u64,
    /// How many of them were steered.
    pub steered: u64,
    /// How often the laws were looked at.
    pub looks: u64,
    /// How often a host was disrupted.
    pub disruptions: u64,
    /// Faults, edits and what people asked for.
    pub befallen: u64,
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { histories, steered, looks, disruptions, befallen } = self;
        write!(
            f,
            "{histories} histories, {steered} of them steered, broke no law; all looked at {looks} \
             times, over {disruptions} disruptions and {befallen} faults, edits and requests"
        )
    }
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.histories += other.histories;
        self.steered += other.steered;
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
        let (mut looks, mut judged) = (0, 0);
        world.run_while(self.scenario.until, |world| {
            looks += 1;
            breach = watch.look(world).err();
            let is_new = std::mem::replace(&mut judged, world.passes()) != world.passes();
            if breach.is_none() && is_new && self.seed.is_multiple_of(INDEXED) {
                breach =
                    world.indexes_agree().err().map(|what| Breach::new(Law::Index, world, what));
            }
            breach.is_none()
        });
        if let Some(breach) = breach {
            return Err(breach);
        }
        let report = world.report();
        judge(self, &watch, &world, &report)?;
        let holds = world.cluster().hosts().iter().map(|host| host.witness().holds.len() as u64);
        let befallen = self.scenario.faults.len()
            + self.scenario.edits.len()
            + self.people.requests.len()
            + self.people.gates.len();
        let tally = Tally {
            histories: 1,
            steered: self.steered.into(),
            looks,
            disruptions: holds.sum(),
            befallen: befallen as u64,
        };
        Ok((tally, report))
    }

    /// How far clocks may be off, in milliseconds.
    fn skew_ms(&self) -> u64 {
        let jumps = self.scenario.faults.iter().filter_map(|fault| fault.clock_jump);
        jumps.map(|jump| u64::from(jump.seconds.unsigned_abs()) * 1_000).sum()
    }

    fn befalls(&self, which: impl Fn(&Fault) -> bool) -> bool {
        let faults = self.scenario.faults.iter();
        faults.filter_map(TimedFault::fault).any(|fault| which(&fault))
    }

    /// Whether a host has a Docker that takes no cluster store, or is out of reach for the one role that
    /// an old Mesos gives us.
    fn blocks(&self, host: &HostName) -> bool {
        let one_role = self.scenario.mesos.version.0 < semver::Version::new(1, 3, 0);
        let own = self.scenario.hosts.iter().find(|group| group.names().any(|name| name == *host));
        own.is_some_and(|group| {
            let swarm = group.observed.docker.as_ref().is_some_and(|docker| docker.swarm);
            swarm || (one_role && group.role != "*")
        })
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
        let breach = breach.or_else(|| judge(self, &watch, &world, &report).err());
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
        let last = faults.chain(edits).max().unwrap_or(0).max(self.people.last_ms());
        let people = self.people.clone();
        let options = Options { notes, limit_ms: last + SETTLES_MS, plant, people };
        World::new(&self.scenario, &self.documents, &options)
            .map_err(|error| Breach::at_end(Law::Settles, error.to_string()))
    }
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
        write!(f, "{}", self.people)
    }
}
