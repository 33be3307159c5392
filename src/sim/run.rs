//! A run in virtual time: the real controllers, and the models of etcd, Mesos and hosts, stepped
//! from one event to the next. The same scenario gives the same run, to the byte.

mod faults;
mod outcome;
pub mod people;
pub mod plant;
mod process;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::path::Path;
use std::sync::Arc;

use crate::desired::{Desired, Findings, Source, read, set_path};
use crate::plan::assess::CONFIRM_SECONDS;
use crate::sim::etcd::EtcdModel;
use crate::sim::mesos::{ConnId, Outgoing};
use crate::store::keys::Key;
use crate::store::txn::Txn;
use crate::words::{Revision, Time};

use super::scenario::{Fault, Scenario, Until};
use super::town::Town;
use people::People;
use plant::Plant;
use process::{Act, Process};

/// Runs begin at this time of the clock.
const START: Time = Time(1_000_000_000_000);
/// No run is longer, whatever it says.
const LIMIT_MS: u64 = 24 * 3600 * 1000;
/// A cluster is looked at for so long after it converged: agents are listed meanwhile, at any rate.
const QUIET_MS: u64 = 70_000;
/// One that was away confirms its facts within this.
const CONFIRMS_MS: u64 = 2 * CONFIRM_SECONDS as u64 * 1_000;
/// The agents have registered before the controller comes.
const AGENTS_MS: u64 = 5_000;
/// Controllers come one after the other.
const STANDBY_MS: u64 = 500;
/// One transaction of etcd.
const ETCD_MS: u64 = 2;
/// The names that stand for hosts which agents and restart times are drawn for.
const CLUSTER_ID: u64 = 0x0ca1_1c0d;

/// A scenario's documents are not good.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The documents are refused.
    #[error("the documents of the scenario are not good:\n{0}")]
    Documents(Findings),
    /// An edit cannot be made.
    #[error("the edit of `{path}` cannot be made")]
    Edit {
        /// The field.
        path: String,
        /// Why.
        #[source]
        source: crate::desired::EditError,
    },
}

/// What a run looks at besides the scenario.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether the timeline holds every note of the controllers.
    pub notes: bool,
    /// No run is longer, in milliseconds.
    pub limit_ms: u64,
    /// What is broken on purpose. Only tests ask for it: no command can.
    pub plant: Option<Plant>,
    /// Who steers the rollout, beside the edits of the scenario.
    pub people: People,
}

impl Default for Options {
    fn default() -> Self {
        Self { notes: false, limit_ms: LIMIT_MS, plant: None, people: People::default() }
    }
}

/// A run.
#[derive(Debug)]
pub struct World {
    now: Time,
    etcd: EtcdModel,
    etcd_up: bool,
    town: Town,
    processes: Vec<Process>,
    conns: BTreeMap<ConnId, usize>,
    next_conn: u64,
    queue: BinaryHeap<Reverse<(Time, u64, Act)>>,
    sequence: u64,
    documents: BTreeMap<String, String>,
    /// All sets of documents that there have been, and what they say.
    declared: Vec<(BTreeMap<String, String>, Arc<Desired>)>,
    /// How often a controller has decided.
    passes: u64,
    seen: Revision,
    /// Faults and edits that are still to come or last.
    ahead: usize,
    converged_at: Option<Time>,
    suppressed_writes: u64,
    calls_since_suppress: u64,
    calls_under_way: usize,
    operator_calls: u64,
    notes: bool,
    limit_ms: u64,
    plant: Option<Plant>,
    restores: u32,
    /// etcd as it was, for the restore that comes.
    backup: Option<EtcdModel>,
    answers_lost_until: Time,
    watch_late_until: Time,
    /// The leader dies at this write, for so long.
    crash_at: Option<(u32, u64)>,
    faults: Vec<Fault>,
    edits: Vec<BTreeMap<String, serde_json::Value>>,
    edit_documents: Vec<String>,
    people: People,
    /// The newest decision that whoever approves has looked at.
    approver_saw: Revision,
}

impl World {
    /// A cluster as the scenario has it, before anything has happened.
    ///
    /// # Errors
    ///
    /// The documents are not good.
    pub fn new(
        scenario: &Scenario,
        documents: &[(String, String)],
        options: &Options,
    ) -> Result<Self, RunError> {
        let sources: Vec<Source> =
            documents.iter().map(|(label, text)| Source::file(label, text.clone())).collect();
        let desired = read(&sources).map_err(RunError::Documents)?;
        let texts = desired.documents.iter().map(|(n, text)| (n.to_string(), text.clone()));
        let documents: BTreeMap<_, _> = texts.collect();
        let desired = Arc::new(desired);
        let declared = vec![(documents.clone(), Arc::clone(&desired))];
        let mut world = Self {
            now: START,
            etcd: EtcdModel::new(CLUSTER_ID),
            etcd_up: true,
            town: Town::new(scenario, desired, START),
            processes: Vec::new(),
            conns: BTreeMap::new(),
            next_conn: 0,
            queue: BinaryHeap::new(),
            sequence: 0,
            documents,
            declared,
            passes: 0,
            seen: Revision(0),
            ahead: 0,
            converged_at: None,
            suppressed_writes: 0,
            calls_since_suppress: 0,
            calls_under_way: 0,
            operator_calls: 0,
            notes: options.notes,
            limit_ms: options.limit_ms,
            plant: options.plant,
            restores: 0,
            backup: None,
            answers_lost_until: Time(0),
            watch_late_until: Time(0),
            crash_at: None,
            faults: Vec::new(),
            edits: Vec::new(),
            edit_documents: Vec::new(),
            people: People::default(),
            approver_saw: Revision(0),
        };
        world.town.cluster.plant(options.plant);
        world.build(scenario);
        world.invite(options.people.clone());
        Ok(world)
    }

    fn build(&mut self, scenario: &Scenario) {
        let mut txn = Txn::new();
        for (name, text) in &self.documents {
            txn = txn.put(document_key(name), text.clone());
        }
        // The operator wrote the documents before the controller came.
        let _ = self.etcd.txn(&txn, None);
        self.seen = self.etcd.revision();
        for fault in &scenario.faults {
            if let Some(what) = fault.fault() {
                self.ahead += 1;
                if let Fault::EtcdRestored(restored) = &what {
                    let at = fault.at.ms.saturating_sub(restored.age.ms);
                    self.later(START.plus_ms(at), Act::Backup);
                }
                self.faults.push(what);
                let at = START.plus_ms(fault.at.ms);
                self.later(at, Act::Fault(self.faults.len() - 1));
            }
        }
        for edit in &scenario.edits {
            self.ahead += 1;
            self.edits.push(edit.set.clone());
            self.edit_documents.push(edit.document.clone());
            self.later(START.plus_ms(edit.at.ms), Act::Edit(self.edits.len() - 1));
        }
        for number in 0..scenario.controllers.max(1) {
            self.start_process(START.plus_ms(AGENTS_MS + u64::from(number) * STANDBY_MS));
        }
    }

    /// Runs until the scenario is over.
    pub fn run(&mut self, until: Until) {
        self.run_with(until, |_| {});
    }

    /// The same, with a look at the world after everything that happened.
    pub fn run_with(&mut self, until: Until, mut look: impl FnMut(&Self)) {
        self.run_while(until, |world| {
            look(world);
            true
        });
    }

    /// The same, for as long as the look says so.
    pub fn run_while(&mut self, until: Until, mut look: impl FnMut(&Self) -> bool) {
        let end = match until {
            Until::Converged => START.plus_ms(self.limit_ms),
            Until::After(span) => START.plus_ms(span.ms.min(self.limit_ms)),
        };
        while let Some(at) = self.next() {
            if at > end || self.is_over(until, at) {
                break;
            }
            self.step(at);
            if !look(self) {
                break;
            }
        }
        self.now = self.now.min(end);
    }

    /// The cluster converged and was looked at for long enough after it.
    fn is_over(&self, until: Until, at: Time) -> bool {
        let Some(since) = self.converged_at.filter(|_| until == Until::Converged) else {
            return false;
        };
        // Whoever was cut off for long is heard again with its next confirmation.
        let end = since.plus_ms(QUIET_MS);
        at >= end && (at >= end.plus_ms(CONFIRMS_MS) || !self.anybody_is_silent())
    }

    /// Whether the leader knows nothing, or nothing recent, of a host.
    fn anybody_is_silent(&self) -> bool {
        let leader = self.processes.iter().find(|process| process.leads());
        let plan = leader.and_then(|leader| leader.machine.plan(leader.clock(self.now)));
        plan.is_some_and(|plan| plan.summary.unknown > 0)
    }

    /// When something happens next.
    fn next(&self) -> Option<Time> {
        let own = self.queue.peek().map(|Reverse((at, ..))| *at);
        let lease = self.etcd.next_expiry().filter(|_| self.etcd_up);
        [own, self.town.cluster.next_deadline(), lease].into_iter().flatten().min()
    }

    /// Lets everything happen that is due at this time, then lets the controllers decide.
    fn step(&mut self, at: Time) {
        self.now = self.now.max(at);
        if self.etcd_up {
            self.etcd.expire(self.now);
        }
        self.town.cluster.advance(self.now);
        while let Some(Reverse((due, ..))) = self.queue.peek() {
            if *due > self.now {
                break;
            }
            if let Some(Reverse((_, _, act))) = self.queue.pop() {
                self.act(act);
            }
        }
        self.deliver_mesos();
        self.look_at_etcd();
        for at in 0..self.processes.len() {
            self.decide(at);
        }
        self.town.cluster.exchange(self.now);
        self.look_for_convergence();
    }

    fn later(&mut self, at: Time, act: Act) {
        self.sequence += 1;
        self.queue.push(Reverse((at, self.sequence, act)));
    }

    fn deliver_mesos(&mut self) {
        for (conn, outgoing) in self.town.cluster.mesos.drain_events() {
            let Some(&at) = self.conns.get(&conn) else { continue };
            match outgoing {
                Outgoing::Event(event) => self.mesos_event(at, conn, *event),
                // Controllers of a scenario ask; they do not listen.
                Outgoing::Operator(_) => {}
                Outgoing::Close => self.stream_closed(at, conn),
            }
        }
    }

    /// What was written to etcd since the last look: measured, and told to whoever watches.
    fn look_at_etcd(&mut self) {
        let revision = self.etcd.revision();
        if revision == self.seen {
            return;
        }
        let changes = self.etcd.changes_since(self.seen).unwrap_or_default();
        self.town.stored(&changes, self.now);
        let writes = changes.iter().any(|change| *change.key() != Key::Leader);
        if self.converged_at.is_some() && writes {
            self.suppressed_writes += 1;
        }
        self.seen = revision;
        for at in 0..self.processes.len() {
            self.watch_later(at);
        }
        // A bounded history: watchers that fall behind list again.
        if revision.0 > 20_000 {
            self.etcd.compact(Revision(revision.0 - 10_000));
        }
    }

    fn look_for_convergence(&mut self) {
        let leader = self
            .processes
            .iter()
            .find(|process| process.leads() && process.machine.is_quiet(process.clock(self.now)));
        let quiet = self.ahead == 0 && leader.is_some();
        // What people wrote is yet to be heard of, what was called to arrive, and what an agent will
        // say again to be acknowledged.
        let is_over = leader.is_some_and(|leader| leader.knows(self.etcd.revision()))
            && self.calls_under_way == 0
            && !self.town.cluster.mesos.has_unacknowledged();
        if quiet && is_over && self.converged_at.is_none() {
            self.converged_at = Some(self.now);
            self.suppressed_writes = 0;
            self.calls_since_suppress = 0;
            self.town.meter.happened("all is quiet", self.now);
        } else if !quiet && self.converged_at.is_some() {
            self.converged_at = None;
        }
    }

    // --- edits ----------------------------------------------------------------------------

    fn edit(&mut self, at: usize) {
        let (name, set) = (self.edit_documents[at].clone(), self.edits[at].clone());
        let Some(text) = self.documents.get(&name).cloned() else { return };
        let mut text = text;
        for (path, value) in &set {
            match set_path(&text, path, value) {
                Ok(edited) => text = edited,
                Err(error) => self.town.meter.happened(format!("edit refused: {error}"), self.now),
            }
        }
        self.documents.insert(name.clone(), text.clone());
        let _ = self.etcd.txn(&Txn::new().put(document_key(&name), text), None);
        self.town.meter.happened(format!("edit: {set:?}"), self.now);
        self.ahead -= 1;
        let sources: Vec<Source> =
            self.documents.iter().map(|(n, text)| Source::file(n, text.clone())).collect();
        if let Ok(desired) = read(&sources) {
            let desired = Arc::new(desired);
            self.declared.push((self.documents.clone(), Arc::clone(&desired)));
            self.town.declare(desired);
        }
    }
}

/// The key of a document by its name.
#[must_use]
pub fn document_key(name: &str) -> Key {
    match name.strip_prefix("pools/") {
        Some(pool) => Key::DesiredPool(pool.to_owned()),
        None => Key::DesiredCluster,
    }
}

/// Reads a scenario's documents from files beside it.
pub fn read_documents(
    scenario: &Scenario,
    path: &Path,
) -> Result<Vec<(String, String)>, super::scenario::DocumentError<std::io::Error>> {
    let base = path.parent().unwrap_or(Path::new("."));
    scenario.documents(base, |path| std::fs::read_to_string(path))
}
