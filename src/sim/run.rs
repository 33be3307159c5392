//! A run in virtual time: the real controllers, and the models of etcd, Mesos and hosts, stepped
//! from one event to the next. The same scenario gives the same run, to the byte.

mod process;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::path::Path;
use std::sync::Arc;

use crate::desired::{Desired, Findings, HostIdentity, Resolver, Source, read, set_path};
use crate::plan::gate::Limits;
use crate::sim::cluster::Cluster;
use crate::sim::etcd::EtcdModel;
use crate::sim::host::HostModel;
use crate::sim::mesos::{ConnId, NetworkFaults, Outgoing};
use crate::store::keys::Key;
use crate::store::txn::Txn;
use crate::words::{HostName, Revision, Time};

use super::fleet::{Member, fleet};
use super::meter::{Meter, tasks_needed};
use super::report::{HostEnd, Report};
use super::scenario::{Fault, Scenario, Until};
use process::{Act, Process};

/// Runs begin at this time of the clock.
const START: Time = Time(1_000_000_000_000);
/// No run is longer, whatever it says.
const LIMIT_MS: u64 = 24 * 3600 * 1000;
/// A cluster is looked at for so long after it converged.
const QUIET_MS: u64 = 60_000;
/// The agents have registered before the controller comes.
const AGENTS_MS: u64 = 5_000;
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
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Whether the timeline holds every note of the controllers.
    pub notes: bool,
}

/// A run.
#[derive(Debug)]
pub struct World {
    now: Time,
    etcd: EtcdModel,
    etcd_up: bool,
    cluster: Cluster,
    processes: Vec<Process>,
    conns: BTreeMap<ConnId, usize>,
    next_conn: u64,
    queue: BinaryHeap<Reverse<(Time, u64, Act)>>,
    sequence: u64,
    documents: BTreeMap<String, String>,
    desired: Arc<Desired>,
    resolver: Resolver,
    identities: BTreeMap<HostName, HostIdentity>,
    meter: Meter,
    seen: Revision,
    /// Faults and edits that are still to come or last.
    ahead: usize,
    converged_at: Option<Time>,
    suppressed_writes: u64,
    calls_since_suppress: u64,
    operator_calls: u64,
    notes: bool,
    faults: Vec<Fault>,
    edits: Vec<BTreeMap<String, serde_json::Value>>,
    edit_documents: Vec<String>,
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
        let desired = Arc::new(read(&sources).map_err(RunError::Documents)?);
        let texts = desired.documents.iter().map(|(n, text)| (n.to_string(), text.clone()));
        let (mesos, members) = fleet(scenario);
        let mut world = Self {
            now: START,
            etcd: EtcdModel::new(CLUSTER_ID),
            etcd_up: true,
            cluster: Cluster::new(START, mesos),
            processes: Vec::new(),
            conns: BTreeMap::new(),
            next_conn: 0,
            queue: BinaryHeap::new(),
            sequence: 0,
            documents: texts.collect(),
            resolver: Resolver::new(Arc::clone(&desired)),
            desired,
            identities: BTreeMap::new(),
            meter: Meter::new(START),
            seen: Revision(0),
            ahead: 0,
            converged_at: None,
            suppressed_writes: 0,
            calls_since_suppress: 0,
            operator_calls: 0,
            notes: options.notes,
            faults: Vec::new(),
            edits: Vec::new(),
            edit_documents: Vec::new(),
        };
        world.build(scenario, members);
        Ok(world)
    }

    fn build(&mut self, scenario: &Scenario, members: Vec<Member>) {
        for member in members {
            self.add_host(member);
        }
        let names: Vec<HostName> = self.identities.keys().cloned().collect();
        for name in &names {
            let needed = self.needed(name);
            self.meter.need(1 + needed, 0);
        }
        let mut txn = Txn::new();
        for (name, text) in &self.documents {
            txn = txn.put(document_key(name), text.clone());
        }
        // The operator wrote the documents before the controller came.
        let _ = self.etcd.txn(&txn, None);
        self.seen = self.etcd.revision();
        self.limits();
        for fault in &scenario.faults {
            if let Some(what) = fault.fault() {
                self.ahead += 1;
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
        self.start_process(START.plus_ms(AGENTS_MS));
    }

    fn add_host(&mut self, member: Member) {
        let name = member.identity.name.clone();
        let mut host = HostModel::new(member.host);
        if member.installed
            && let Ok(spec) = self.resolver.resolve(&member.identity)
        {
            for (component, target) in &spec.components {
                host.install(*component, target);
            }
        }
        self.cluster.add(self.now, host, member.agent);
        self.identities.insert(name, member.identity);
    }

    /// Tasks that a host needs to become what the documents say.
    fn needed(&mut self, name: &HostName) -> u64 {
        let Some(identity) = self.identities.get(name) else { return 0 };
        let Ok(spec) = self.resolver.resolve(identity) else { return 0 };
        if self.desired.excludes(name) {
            return 0;
        }
        self.cluster.host(name).map_or(0, |host| tasks_needed(host, &spec))
    }

    /// What the documents say, told to witness and meter.
    fn limits(&mut self) {
        let rollout = &self.desired.cluster.spec.rollout;
        let limits = Limits::of(rollout, self.identities.len());
        let pace = rollout.pace_for(limits.slots).map(|rate| (rate.burst, rate.interval_ms));
        self.cluster.set_budget(limits.slots);
        self.meter.set_limits(limits.slots, u64::from(rollout.stability_seconds) * 1000, pace);
    }

    /// Runs until the scenario is over.
    pub fn run(&mut self, until: Until) {
        self.run_with(until, |_| {});
    }

    /// The same, with a look at the world after everything that happened.
    pub fn run_with(&mut self, until: Until, mut look: impl FnMut(&Self)) {
        let end = match until {
            Until::Converged => START.plus_ms(LIMIT_MS),
            Until::After(span) => START.plus_ms(span.ms.min(LIMIT_MS)),
        };
        while let Some(at) = self.next() {
            if at > end || self.is_over(until, at) {
                break;
            }
            self.step(at);
            look(self);
        }
        self.now = self.now.min(end);
    }

    /// The cluster converged and was looked at for long enough after it.
    fn is_over(&self, until: Until, at: Time) -> bool {
        until == Until::Converged
            && self.converged_at.is_some_and(|since| at >= since.plus_ms(QUIET_MS))
    }

    /// When something happens next.
    fn next(&self) -> Option<Time> {
        let own = self.queue.peek().map(|Reverse((at, ..))| *at);
        let lease = self.etcd.next_expiry().filter(|_| self.etcd_up);
        [own, self.cluster.next_deadline(), lease].into_iter().flatten().min()
    }

    /// Lets everything happen that is due at this time, then lets the controllers decide.
    fn step(&mut self, at: Time) {
        self.now = self.now.max(at);
        if self.etcd_up {
            self.etcd.expire(self.now);
        }
        self.cluster.advance(self.now);
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
        self.cluster.exchange(self.now);
        self.look_for_convergence();
    }

    fn later(&mut self, at: Time, act: Act) {
        self.sequence += 1;
        self.queue.push(Reverse((at, self.sequence, act)));
    }

    fn deliver_mesos(&mut self) {
        for (conn, outgoing) in self.cluster.mesos.drain_events() {
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
        let mut writes = false;
        for change in &changes {
            self.meter.stored(change, self.now);
            writes |= *change.key() != Key::Leader;
        }
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
        let quiet = self.ahead == 0
            && self.processes.iter().any(|process| process.leads() && process.machine.is_quiet());
        if quiet && self.converged_at.is_none() {
            self.converged_at = Some(self.now);
            self.suppressed_writes = 0;
            self.calls_since_suppress = 0;
            self.meter.happened("all is quiet", self.now);
        } else if !quiet && self.converged_at.is_some() {
            self.converged_at = None;
        }
    }

    // --- faults and edits ------------------------------------------------------------------

    fn fault(&mut self, at: usize) {
        let fault = self.faults[at].clone();
        let now = self.now;
        self.meter.happened(format!("fault: {fault:?}"), now);
        let mut over_after = 0;
        match fault {
            Fault::ControllerCrash(ms) => {
                self.crash(ms);
                over_after = ms;
            }
            Fault::ControllerPaused(ms) => {
                self.pause(ms);
                over_after = ms;
            }
            Fault::EtcdDown(ms) => {
                self.etcd_up = false;
                self.later(now.plus_ms(ms), Act::EtcdUp);
                over_after = ms;
            }
            Fault::EtcdCompaction => self.etcd.compact(self.etcd.revision()),
            Fault::MasterFailover => self.cluster.mesos.master_failover(now),
            Fault::HostDown(host, ms) => {
                self.cluster.power_cut(now, &host, ms);
                over_after = ms;
            }
            Fault::HostGone(host) => self.cluster.gone(now, &host),
            Fault::RestartFails(host, times) => self.cluster.fail_restarts(&host, times),
            Fault::ExecutorDies(host) => self.cluster.kill_executor(now, &host),
            Fault::NewAgentId(host) => self.cluster.forget_agent(now, &host),
            Fault::Drift(host, component) => self.cluster.drift(now, &host, component),
            Fault::LoseMessages(lose) => {
                let faults = NetworkFaults {
                    lose: lose.probability,
                    duplicate: lose.duplicate,
                    delay: lose.late,
                    delay_limit: 30_000,
                };
                self.cluster.set_network(now, faults);
                self.later(now.plus_ms(lose.span.ms), Act::NetworkGood);
                over_after = lose.span.ms;
            }
        }
        // Agents notice a fault of Mesos for a while after it.
        self.later(now.plus_ms(over_after + 1), Act::FaultOver);
    }

    fn edit(&mut self, at: usize) {
        let (name, set) = (self.edit_documents[at].clone(), self.edits[at].clone());
        let outstanding: u64 = self.all_needed();
        let Some(text) = self.documents.get(&name).cloned() else { return };
        let mut text = text;
        for (path, value) in &set {
            match set_path(&text, path, value) {
                Ok(edited) => text = edited,
                Err(error) => self.meter.happened(format!("edit refused: {error}"), self.now),
            }
        }
        self.documents.insert(name.clone(), text.clone());
        let _ = self.etcd.txn(&Txn::new().put(document_key(&name), text), None);
        self.meter.happened(format!("edit: {set:?}"), self.now);
        self.ahead -= 1;
        let sources: Vec<Source> =
            self.documents.iter().map(|(n, text)| Source::file(n, text.clone())).collect();
        if let Ok(desired) = read(&sources) {
            self.desired = Arc::new(desired);
            self.resolver = Resolver::new(Arc::clone(&self.desired));
            self.limits();
        }
        let needed = self.all_needed();
        self.meter.need(needed, outstanding);
    }

    fn all_needed(&mut self) -> u64 {
        let names: Vec<HostName> = self.identities.keys().cloned().collect();
        names.iter().map(|name| self.needed(name)).sum()
    }

    // --- the end ---------------------------------------------------------------------------

    /// What the run came to.
    #[must_use]
    pub fn report(&mut self) -> Report {
        let mut report = Report::default();
        self.meter.fill(&mut report, &self.cluster, self.now);
        let mut reasons = BTreeMap::new();
        let leader = self.processes.iter().find(|process| process.leads());
        if let Some(plan) = leader.and_then(|leader| leader.machine.plan(self.now)) {
            for host in plan.hosts {
                reasons.insert(host.name.clone(), host.reason);
            }
        }
        let mut converged = leader.is_some();
        for (name, identity) in &self.identities {
            let spec = self.resolver.resolve(identity);
            let host = self.cluster.host(name);
            let as_declared = spec.is_ok_and(|spec| host.is_some_and(|h| h.is_as_declared(&spec)));
            let reason = reasons.get(name).cloned().flatten();
            let rests = reason
                .as_ref()
                .is_some_and(|r| matches!(r.code(), "blocked" | "excluded" | "gone"));
            converged &= rests || (as_declared && reason.is_none() && reasons.contains_key(name));
            let end = HostEnd {
                as_declared,
                reason: reason.as_ref().map(|reason| reason.code().to_owned()),
                why: reason.map(|reason| reason.to_string()),
            };
            report.hosts.insert(name.clone(), end);
        }
        report.converged = converged;
        if self.converged_at.is_some() {
            report.mesos_calls_after_convergence = self.calls_since_suppress;
        }
        report.operator_calls = self.operator_calls;
        report.etcd_writes_after_convergence = self.suppressed_writes;
        report
    }

    /// Whether every controller's index says what a plan made from nothing says.
    ///
    /// # Errors
    ///
    /// What they differ in.
    pub fn indexes_agree(&self) -> Result<(), String> {
        let mut leaders = self.processes.iter().filter(|process| process.leads());
        leaders.try_for_each(|process| process.machine.index_agrees(self.now))
    }

    /// The cluster, as it is now.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// etcd, as it is now.
    #[must_use]
    pub fn etcd(&self) -> &EtcdModel {
        &self.etcd
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
