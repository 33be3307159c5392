//! A whole cluster outside the controller: a Mesos master, its agents, and the hosts they run on,
//! with the witness of what really happened. Stepped in virtual time, or served over HTTP.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use serde::Serialize;
use serde_json::{Value, json};

use crate::mesos::maintenance::Schedule;
use crate::mesos::v1::Unavailability;
use crate::plan::notice::{Found, ScheduleEdit};
use crate::sim::host::{HostModel, HostOutput};
use crate::sim::mesos::{
    AgentConfig, AgentIndex, MesosConfig, NetworkFaults, OperatorAnswer, SimMesos,
};
use crate::sim::run::plant::Plant;
use crate::sim::wire::{HostSignal, ToExecutor};
use crate::words::{HostName, Time};

/// The cluster.
#[derive(Debug)]
pub struct Cluster {
    /// Master and agents.
    pub mesos: SimMesos,
    hosts: Vec<HostModel>,
    names: BTreeMap<HostName, AgentIndex>,
    /// When each host wants to be stepped; entries that are out of date are skipped.
    due: BinaryHeap<Reverse<(Time, AgentIndex)>>,
    due_at: Vec<Option<Time>>,
    disrupted: Vec<bool>,
    /// Hosts that are none any more: nobody counts them.
    gone: BTreeSet<AgentIndex>,
    witness: Peak,
    /// What ends by itself.
    back: BinaryHeap<Reverse<(Time, AgentIndex, Back)>>,
    launched: u64,
    plant: Option<Plant>,
}

/// What ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Back {
    /// The power is back.
    Power,
    /// The agent's process is started.
    Agent,
    /// The executor that hung is ended.
    Executor,
}

/// How many hosts were disrupted at the same time, as the hosts saw it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peak {
    /// Now.
    pub now: usize,
    /// At most.
    pub peak: usize,
    /// The budget, which the witness is told and nobody else asks it for.
    pub budget: usize,
    /// How often a host was disrupted while the budget was used up.
    pub breaches: u64,
}

impl Cluster {
    /// A cluster without hosts.
    #[must_use]
    pub fn new(now: Time, config: MesosConfig) -> Self {
        Self {
            mesos: SimMesos::new(now, config),
            hosts: Vec::new(),
            names: BTreeMap::new(),
            due: BinaryHeap::new(),
            due_at: Vec::new(),
            disrupted: Vec::new(),
            gone: BTreeSet::new(),
            witness: Peak::default(),
            back: BinaryHeap::new(),
            launched: 0,
            plant: None,
        }
    }

    /// Adds a host and its agent.
    pub fn add(&mut self, now: Time, host: HostModel, agent: AgentConfig) -> AgentIndex {
        let index = self.mesos.add_agent(now, agent);
        self.names.insert(host.config().name.clone(), index);
        self.hosts.push(host);
        self.due_at.push(None);
        self.disrupted.push(false);
        self.look(index);
        index
    }

    /// The budget that the witness counts breaches of; a smaller one is not held against hosts
    /// that were disrupted before.
    pub fn set_budget(&mut self, budget: usize) {
        self.witness.budget = budget;
    }

    /// Breaks something on purpose.
    pub(super) fn plant(&mut self, plant: Option<Plant>) {
        self.plant = plant;
        self.hosts.iter_mut().for_each(|host| host.plant(plant));
    }

    /// What the hosts saw.
    #[must_use]
    pub fn peak(&self) -> Peak {
        self.witness
    }

    /// How many tasks have reached hosts.
    #[must_use]
    pub fn launched(&self) -> u64 {
        self.launched
    }

    /// All hosts, in the order in which they were added.
    #[must_use]
    pub fn hosts(&self) -> &[HostModel] {
        &self.hosts
    }

    /// A host by its name.
    #[must_use]
    pub fn host(&self, name: &HostName) -> Option<&HostModel> {
        self.names.get(name).and_then(|index| self.hosts.get(*index))
    }

    /// When something happens next by itself.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        let host = self.due.peek().map(|Reverse((at, _))| *at);
        let back = self.back.peek().map(|Reverse((at, ..))| *at);
        [self.mesos.next_deadline(), host, back].into_iter().flatten().min()
    }

    /// Lets everything happen that is due until `now`, in the order in which it is due.
    pub fn advance(&mut self, now: Time) {
        while let Some(at) = self.next_deadline().filter(|at| *at <= now) {
            self.mesos.advance(at);
            self.exchange(at);
            while let Some(Reverse((due, index))) = self.due.peek().copied() {
                if due > at {
                    break;
                }
                self.due.pop();
                if self.due_at[index] == Some(due) {
                    self.due_at[index] = None;
                    self.hosts[index].advance(at);
                    self.look(index);
                    self.collect(at, index);
                }
            }
            while let Some(Reverse((due, index, what))) = self.back.peek().copied() {
                if due > at {
                    break;
                }
                self.back.pop();
                match what {
                    Back::Power => self.hosts[index].power_on(at),
                    Back::Agent if self.hosts[index].is_on() => {
                        self.mesos.from_host(at, index, HostSignal::AgentStarted);
                    }
                    Back::Agent => {}
                    Back::Executor => self.hosts[index].end_hung_executor(),
                }
                self.look(index);
                self.collect(at, index);
            }
            self.exchange(at);
        }
        self.mesos.advance(now);
        self.exchange(now);
    }

    /// Takes to the hosts what their agents have for them, until there is nothing more.
    pub fn exchange(&mut self, now: Time) {
        loop {
            let orders = self.mesos.drain_to_hosts();
            if orders.is_empty() {
                return;
            }
            for (index, order) in orders {
                self.launched += u64::from(matches!(order, ToExecutor::Launch { .. }));
                if let Some(host) = self.hosts.get_mut(index) {
                    let launch = matches!(order, ToExecutor::Launch { .. });
                    if launch && self.plant == Some(Plant::LaunchesTwice) {
                        host.handle(now, order.clone());
                    }
                    host.handle(now, order);
                    self.look(index);
                    self.collect(now, index);
                }
            }
        }
    }

    fn collect(&mut self, now: Time, index: AgentIndex) {
        for output in self.hosts[index].drain() {
            match output {
                HostOutput::Executor(message) => self.mesos.from_executor(now, index, message),
                HostOutput::Signal(signal) => self.mesos.from_host(now, index, signal),
            }
        }
    }

    /// Notes when the host wants to be stepped next, and what it is now.
    fn look(&mut self, index: AgentIndex) {
        let host = &self.hosts[index];
        let next = host.next_deadline();
        if next != self.due_at[index] {
            self.due_at[index] = next;
            if let Some(at) = next {
                self.due.push(Reverse((at, index)));
            }
        }
        let disrupted = host.disrupted() && !self.gone.contains(&index);
        if disrupted == self.disrupted[index] {
            return;
        }
        self.disrupted[index] = disrupted;
        if disrupted {
            self.witness.now += 1;
            self.witness.peak = self.witness.peak.max(self.witness.now);
            self.witness.breaches += u64::from(self.witness.now > self.witness.budget);
        } else {
            self.witness.now -= 1;
        }
    }

    // --- faults ----------------------------------------------------------------------------

    /// The host loses its power for so long, in milliseconds.
    pub fn power_cut(&mut self, now: Time, name: &HostName, for_ms: u64) {
        if let Some(&index) = self.names.get(name) {
            self.hosts[index].power_off(now);
            self.look(index);
            self.collect(now, index);
            self.back.push(Reverse((now.plus_ms(for_ms), index, Back::Power)));
            self.exchange(now);
        }
    }

    /// The host's machine is gone, and an operator says so.
    pub fn gone(&mut self, now: Time, name: &HostName) {
        if let Some(&index) = self.names.get(name) {
            self.hosts[index].power_off(now);
            self.gone.insert(index);
            self.look(index);
            self.collect(now, index);
            self.mesos.agent_gone(now, index);
            self.exchange(now);
        }
    }

    /// An operator announces maintenance of the host's machine, from now on for so long, in
    /// milliseconds.
    pub fn announce_maintenance(&mut self, now: Time, name: &HostName, for_ms: u64) {
        let nanoseconds = |ms: u64| json!({ "nanoseconds": ms.saturating_mul(1_000_000) });
        let Some(ip) = self.names.get(name).and_then(|&index| self.mesos.agent_ip(index)) else {
            return;
        };
        let machine = json!({ "hostname": name, "ip": ip.to_string() });
        let window = json!({
            "machine_ids": [machine],
            "unavailability": { "start": nanoseconds(now.0), "duration": nanoseconds(for_ms) },
        });
        let Ok(mut schedule) = self.schedule(now) else { return };
        let Some(windows) = schedule["windows"].as_array_mut() else { return };
        // Mesos takes each machine once: what was announced of it before is replaced.
        windows.retain(|window| window["machine_ids"] != json!([machine]));
        windows.push(window);
        // A master that has just started refuses it; nobody announces twice.
        let _ = self.write_schedule(now, &schedule);
    }

    /// When the host's machine is announced to be away, by whomever.
    #[must_use]
    pub fn announced(&self, name: &HostName) -> Option<Unavailability> {
        self.mesos.unavailability(*self.names.get(name)?)
    }

    /// The maintenance schedule, as whoever edits it reads it.
    fn schedule(&mut self, now: Time) -> Result<Value, String> {
        let told = self.mesos.operate(now, "GET_MAINTENANCE_SCHEDULE", &json!({}));
        let told = told.map_err(|refused| format!("{refused:?}"))?;
        let mut schedule = match told {
            OperatorAnswer::Told(told) => told["get_maintenance_schedule"]["schedule"].clone(),
            OperatorAnswer::Done => Value::Null,
        };
        if schedule["windows"].is_null() {
            schedule = json!({ "windows": [] });
        }
        Ok(schedule)
    }

    fn write_schedule(&mut self, now: Time, schedule: &impl Serialize) -> Result<(), String> {
        let call = json!({ "update_maintenance_schedule": { "schedule": schedule } });
        let written = self.mesos.operate(now, "UPDATE_MAINTENANCE_SCHEDULE", &call);
        self.exchange(now);
        written.map(drop).map_err(|refused| format!("{refused:?}"))
    }

    /// Edits it as a controller does.
    ///
    /// # Errors
    ///
    /// Why the master refuses it.
    pub fn edit_schedule(
        &mut self,
        now: Time,
        edit: &ScheduleEdit,
    ) -> Result<Vec<(HostName, Found)>, String> {
        let read = |schedule: Value| {
            serde_json::from_str::<Schedule>(&schedule.to_string()).map_err(|e| e.to_string())
        };
        let before = read(self.schedule(now)?)?;
        if let Some(edited) = before.edited(edit).map_err(|error| error.to_string())? {
            self.write_schedule(now, &edited)?;
        }
        Ok(read(self.schedule(now)?)?.after(&before, edit))
    }

    /// The host's next restarts fail.
    pub fn fail_restarts(&mut self, name: &HostName, times: u32) {
        if let Some(&index) = self.names.get(name) {
            self.hosts[index].fail_next_restarts(times, "the service did not come back in time");
        }
    }

    /// The host's executor dies.
    pub fn kill_executor(&mut self, now: Time, name: &HostName) {
        if let Some(&index) = self.names.get(name) {
            self.hosts[index].kill_executor();
            self.look(index);
            self.collect(now, index);
            self.exchange(now);
        }
    }

    /// The host's executor hangs, and is ended after so long, in milliseconds.
    pub fn hang_executor(&mut self, now: Time, name: &HostName, for_ms: u64) {
        if let Some(&index) = self.names.get(name) {
            self.hosts[index].hang_executor();
            self.look(index);
            self.back.push(Reverse((now.plus_ms(for_ms), index, Back::Executor)));
        }
    }

    /// The host's agent ends, and is started after so long, in milliseconds.
    pub fn agent_down(&mut self, now: Time, name: &HostName, for_ms: u64) {
        if let Some(&index) = self.names.get(name) {
            self.mesos.from_host(now, index, HostSignal::AgentStopped);
            self.back.push(Reverse((now.plus_ms(for_ms), index, Back::Agent)));
            self.exchange(now);
        }
    }

    /// Whether the host's machine is gone for good.
    #[must_use]
    pub fn is_gone(&self, name: &HostName) -> bool {
        self.names.get(name).is_some_and(|index| self.gone.contains(index))
    }

    /// The agent of a host is started anew under a new ID. It does not know the executor of the
    /// old one, and ends it.
    pub fn forget_agent(&mut self, now: Time, name: &HostName) {
        self.kill_executor(now, name);
        if let Some(&index) = self.names.get(name) {
            let on = self.hosts[index].is_on();
            if on {
                self.mesos.from_host(now, index, HostSignal::AgentStopped);
            }
            self.mesos.agent_forgets(now, index);
            if on {
                self.mesos.from_host(now, index, HostSignal::AgentStarted);
            }
            self.exchange(now);
        }
    }

    /// Somebody changes a component by hand.
    pub fn drift(&mut self, now: Time, name: &HostName, component: crate::words::Component) {
        if let Some(&index) = self.names.get(name) {
            self.hosts[index].drift(now, component);
            self.look(index);
            self.collect(now, index);
            self.exchange(now);
        }
    }

    /// From now on the network does this.
    pub fn set_network(&mut self, now: Time, faults: NetworkFaults) {
        self.mesos.set_faults(now, faults);
    }
}
