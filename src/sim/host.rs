//! The model of one host's machine: its disk, its services, and the product's own executor and
//! runner on it, in virtual time.
//!
//! Nothing here reads a clock or draws a random number: the same inputs at the same times give
//! the same outputs. A host costs nothing while none of its deadlines is due, so ten thousand of
//! them fit into one simulation. It is also the [`witness`] of what really happened.

mod machine;
#[cfg(test)]
mod tests;
mod unit;
pub mod witness;

use std::collections::{BTreeMap, VecDeque};

use crate::desired::{ComponentSpec, HostSpec, Spec};
use crate::job::Uptime;
use crate::job::executor::{Effect, Executor, Identity, Input};
use crate::job::journal::Journal;
use crate::job::order::{Job, Letter, StepOrder, ToHost, Work};
use crate::observed::facts::{Cgroups, DockerFacts, FACTS_VERSION, FactOrder, Facts, System};
use crate::observed::tasks::Supervised;
use crate::sim::run::plant::Plant;
use crate::sim::wire::{FromExecutor, HostSignal, ToExecutor};
use crate::words::{Component, HostName, Run, SpecHash, Time};
use machine::Machine;
use unit::Units;
use witness::Witness;

/// What a host is made of, and how long things take on it.
#[derive(Clone, Debug, PartialEq)]
pub struct HostConfig {
    /// Its name, as the agent registers it.
    pub name: HostName,
    /// Makes its boot IDs and runs differ from those of other simulations.
    pub seed: u64,
    /// The version of the Mesos agent.
    pub mesos_version: String,
    /// Its Docker as delivered; none if it has none.
    pub docker: Option<DockerFacts>,
    /// Containers that a restart of the agent could cost.
    pub agent_containers: u32,
    /// From the first stop of a service until all are well again and the agent re-registered, in
    /// milliseconds, however many services a change stops.
    pub restart_ms: u64,
    /// What a step takes that stops nothing, in milliseconds.
    pub step_ms: u64,
    /// What an agent's registration takes once its process is back, in milliseconds. It is a part
    /// of `restart_ms`.
    pub reregister_ms: u64,
}

impl HostConfig {
    /// A host with Docker 20.10 and Mesos 1.11, whose restarts take eight seconds.
    pub fn new(name: impl Into<HostName>) -> Self {
        let docker = DockerFacts {
            version: "20.10.24".to_owned(),
            swarm: false,
            cluster_store: None,
            containers: 0,
            foreign: serde_json::Map::new(),
        };
        Self {
            name: name.into(),
            seed: 0,
            mesos_version: "1.11.0".to_owned(),
            docker: Some(docker),
            agent_containers: 0,
            restart_ms: 8_000,
            step_ms: 20,
            reregister_ms: 3_000,
        }
    }
}

/// What leaves the host.
#[derive(Clone, Debug, PartialEq)]
pub enum HostOutput {
    /// From the executor to the agent.
    Executor(FromExecutor),
    /// What the agent notices of process and machine.
    Signal(HostSignal),
}

/// The next stops of services that fail.
#[derive(Clone, Debug, Default)]
struct Failures {
    left: u32,
    why: String,
}

impl Failures {
    fn next(&mut self) -> Option<String> {
        self.left = self.left.checked_sub(1)?;
        Some(self.why.clone())
    }
}

/// One host.
#[derive(Clone, Debug)]
pub struct HostModel {
    config: HostConfig,
    machine: Machine,
    executor: Option<Executor>,
    /// The executor takes nothing and does nothing.
    hung: bool,
    plant: Option<Plant>,
    units: Units,
    failures: Failures,
    on: bool,
    boots: u64,
    booted_at: Time,
    /// The agent's process is down until then.
    agent_back_at: Option<Time>,
    /// What the executor has not taken yet.
    inbox: VecDeque<Input>,
    outbox: Vec<HostOutput>,
    witness: Witness,
}

impl HostModel {
    /// A host as delivered, booted at time zero: Docker and the agent run, nothing of ours does.
    pub fn new(config: HostConfig) -> Self {
        let machine = Machine::new(&config.mesos_version, config.docker.clone());
        Self {
            config,
            machine,
            executor: None,
            hung: false,
            plant: None,
            units: Units::default(),
            failures: Failures::default(),
            on: true,
            boots: 1,
            booted_at: Time(0),
            agent_back_at: None,
            inbox: VecDeque::new(),
            outbox: Vec::new(),
            witness: Witness::default(),
        }
    }

    /// Takes what the agent has for the executor, after what was due before. The first task
    /// starts its process.
    pub fn handle(&mut self, now: Time, from_agent: ToExecutor) {
        if !self.on {
            return;
        }
        self.advance(now);
        let input = match from_agent {
            ToExecutor::Launch { task, data } => {
                self.witness_launch(&data);
                if self.executor.is_none() {
                    self.start_executor(now);
                }
                Input::Launch { task, data }
            }
            ToExecutor::Kill(task) => Input::Kill(task),
            ToExecutor::Message(bytes) => match ToHost::from_bytes(&bytes) {
                Ok(message) => Input::Message(message),
                Err(_) => return,
            },
            ToExecutor::Shutdown => Input::Shutdown,
        };
        self.inbox.push_back(input);
        self.settle(now);
    }

    /// Lets everything happen that is due until `now`, in the order in which it is due.
    pub fn advance(&mut self, now: Time) {
        while let Some(at) = self.next_deadline().filter(|at| *at <= now) {
            if self.agent_back_at.take_if(|back| *back <= at).is_some() {
                self.signal(HostSignal::AgentStarted);
            }
            self.unit_due(at);
            if self.executor_deadline().is_some_and(|due| due <= at) {
                self.inbox.push_back(Input::Tick);
            }
            self.settle(at);
        }
    }

    /// When [`Self::advance`] is due; none if only something from outside can bring it on.
    pub fn next_deadline(&self) -> Option<Time> {
        let own = self.units.next_deadline().into_iter().chain(self.agent_back_at);
        own.chain(self.executor_deadline()).min()
    }

    /// What has left the host since the last call, in order.
    pub fn drain(&mut self) -> Vec<HostOutput> {
        std::mem::take(&mut self.outbox)
    }

    /// The next stops of services fail, with this reason, and are undone.
    pub fn fail_next_restarts(&mut self, times: u32, why: impl Into<String>) {
        self.failures = Failures { left: times, why: why.into() };
    }

    /// Breaks something on purpose.
    pub(super) fn plant(&mut self, plant: Option<Plant>) {
        self.plant = plant;
    }

    /// The power is cut. What was being written to disk is there afterwards.
    pub fn power_off(&mut self, now: Time) {
        if std::mem::replace(&mut self.on, false) {
            self.cut_units();
            self.executor = None;
            self.hung = false;
            self.inbox.clear();
            self.agent_back_at = None;
            self.witness.fault();
            self.signal(HostSignal::MachineDown);
            self.settle(now);
        }
    }

    /// The power is back and the machine has booted: its services run, and the boot unit, if it
    /// was enabled, carries an open journal on.
    pub fn power_on(&mut self, now: Time) {
        if !std::mem::replace(&mut self.on, true) {
            self.boots += 1;
            self.booted_at = now;
            self.machine.boot();
            self.signal(HostSignal::MachineUp);
            if self.machine.boot_unit_armed
                && let Some(open) = self.machine.journal.as_ref().filter(|found| found.is_open())
            {
                let (attempt, run) = (open.attempt(), open.run.clone());
                self.start_unit(now, attempt, run);
            }
            self.settle(now);
        }
    }

    /// The executor's process hangs: it takes nothing, and says nothing.
    pub fn hang_executor(&mut self) {
        self.hung = self.executor.is_some();
    }

    /// The executor's process, if it hangs, is ended.
    pub fn end_hung_executor(&mut self) {
        if self.hung {
            self.kill_executor();
        }
    }

    /// The executor's process dies. Units, containers and services go on.
    pub fn kill_executor(&mut self) {
        self.hung = false;
        if self.executor.take().is_some() {
            self.inbox.clear();
            self.send(FromExecutor::Exited);
        }
    }

    /// Somebody changes a component by hand; the observer notices.
    pub fn drift(&mut self, now: Time, component: Component) {
        self.machine.drift(component);
        self.witness.fault();
        self.look_around();
        self.settle(now);
    }

    /// Puts a component in place before the story begins.
    pub fn install(&mut self, component: Component, target: &ComponentSpec) {
        self.machine.put_in_force(&StepOrder { component, target: target.clone() });
    }

    /// The host is disrupted by us: from the first stop of a service until the journal of that
    /// attempt is closed, after the stability time or after the undo.
    pub fn disrupted(&self) -> bool {
        self.witness.disrupted()
    }

    /// What really happened here.
    pub fn witness(&self) -> &Witness {
        &self.witness
    }

    /// What the host is made of.
    pub fn config(&self) -> &HostConfig {
        &self.config
    }

    /// The spec that is really in force; none if what is there, if anything, is not ours.
    pub fn in_force(&self, component: Component) -> Option<SpecHash> {
        self.machine.service(component).in_force.hash
    }

    /// Whether all that is declared is in force and well.
    pub fn is_as_declared(&self, spec: &HostSpec) -> bool {
        self.on
            && spec.components.iter().all(|(component, wanted)| {
                let service = self.machine.service(*component);
                let expected = (wanted.spec != Spec::Off).then_some(wanted.hash);
                service.in_force.hash == expected && service.ill.is_none()
            })
    }

    /// The journal on disk.
    pub fn journal(&self) -> Option<&Journal> {
        self.machine.journal.as_ref()
    }

    /// Whether the machine has power.
    pub fn is_on(&self) -> bool {
        self.on
    }

    /// Whether the executor's process runs.
    pub fn has_executor(&self) -> bool {
        self.executor.is_some()
    }

    fn executor_deadline(&self) -> Option<Time> {
        let wake = self.executor.as_ref().filter(|_| !self.hung)?.next_wake()?;
        Some(self.time_of(wake))
    }

    fn uptime(&self, now: Time) -> Uptime {
        Uptime(now.since(self.booted_at))
    }

    fn time_of(&self, uptime: Uptime) -> Time {
        self.booted_at.plus_ms(uptime.0)
    }

    fn boot_id(&self) -> String {
        format!("{}-{:x}-boot{}", self.config.name, self.config.seed, self.boots)
    }

    fn start_executor(&mut self, now: Time) {
        self.machine.executor_starts += 1;
        let starts = self.machine.executor_starts;
        let run = format!("{}-{:x}-run{starts}", self.config.name, self.config.seed);
        let identity = Identity {
            host: self.config.name.clone(),
            run: Run(run),
            boot_id: self.boot_id(),
            starts,
        };
        let (executor, effects) = Executor::start(identity, self.machine.journal.clone());
        self.executor = Some(executor);
        self.signal(HostSignal::ExecutorUp);
        for effect in effects {
            self.carry_out(now, effect);
        }
    }

    /// Feeds the executor until nothing is left to be told.
    fn settle(&mut self, now: Time) {
        if self.hung {
            return;
        }
        while let Some(input) = self.inbox.pop_front() {
            let uptime = self.uptime(now);
            let Some(executor) = &mut self.executor else {
                self.inbox.clear();
                return;
            };
            for effect in executor.handle(uptime, input) {
                self.carry_out(now, effect);
            }
        }
    }

    fn carry_out(&mut self, now: Time, effect: Effect) {
        match effect {
            Effect::Update { task, state, message, data } => {
                let data = data.and_then(|data| data.to_bytes().ok());
                self.send(FromExecutor::Update { task, state, message, data });
            }
            Effect::Send(message) => {
                if let Ok(bytes) = message.to_bytes() {
                    self.send(FromExecutor::Message(bytes));
                }
            }
            Effect::Inspect(change) => {
                let findings = self.machine.inspect(&change);
                self.inbox.push_back(Input::Inspected { attempt: change.attempt, findings });
            }
            Effect::WriteJournal(journal) => {
                self.machine.journal = Some(journal);
                self.inbox.push_back(Input::JournalSynced);
            }
            Effect::StartUnit { attempt, run } => self.start_unit(now, attempt, run),
            Effect::Survey => self.look_around(),
            Effect::Leave => {
                let outcome = self.machine.forget();
                self.inbox.push_back(Input::Left(outcome));
            }
            Effect::Exit => self.kill_executor(),
        }
    }

    fn look_around(&mut self) {
        let facts = self.facts();
        self.inbox.push_back(Input::Facts(facts));
    }

    fn facts(&self) -> Facts {
        let blocked = |component| Some((component, self.machine.blocked(component)?));
        let mut docker = self.config.docker.clone();
        if let Some(docker) = &mut docker {
            let in_force = &self.machine.service(Component::Docker).in_force;
            docker.cluster_store.clone_from(&in_force.store);
        }
        Facts {
            version: FACTS_VERSION,
            order: FactOrder { boot_id: String::new(), starts: 0, sequence: 0 },
            machine_id: format!("{}-{:x}", self.config.name, self.config.seed),
            system: System {
                os: "Debian GNU/Linux 12 (bookworm)".to_owned(),
                architecture: "x86_64".to_owned(),
                cgroups: Cgroups::V1,
            },
            docker,
            mesos_version: self.config.mesos_version.clone(),
            components: self.machine.components(),
            journal: self.machine.journal.as_ref().map(Journal::facts),
            stuck: None,
            agent_containers: self.config.agent_containers,
            blocked: Component::ALL.into_iter().filter_map(blocked).collect::<BTreeMap<_, _>>(),
            predecessor: None,
        }
    }

    fn witness_launch(&mut self, data: &[u8]) {
        let Ok(work) = Job::from_bytes(data).map(|job| job.work) else { return };
        let Some(kind) = work.kind() else { return };
        // The controller may launch a supervising task only when the one before has ended.
        let has_component = kind.component().is_some();
        let runs = |executor: &Executor| executor.tasks().any(|(_, running)| running == kind);
        if has_component && self.executor.as_ref().is_some_and(runs) {
            self.witness.second_supervisors += 1;
        }
        let supervised = match &work {
            Work::Supervise { target, .. } => Some(Supervised::from(target)),
            Work::Observe { .. } | Work::Change(_) => None,
        };
        self.witness.launched.insert(kind, supervised);
    }

    fn send(&mut self, message: FromExecutor) {
        self.outbox.push(HostOutput::Executor(message));
    }

    fn signal(&mut self, signal: HostSignal) {
        self.outbox.push(HostOutput::Signal(signal));
    }
}
