//! What is known of a simulated cluster and done to it from outside of Mesos' API: by tests, by faults,
//! and by operators at a machine.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use super::agent::Agent;
use super::{AgentIndex, Authentication, NetworkFaults, SimMesos, Traffic};
use crate::mesos::v1::{MasterInfo, TaskStatus, Unavailability};
use crate::words::{AgentId, Time};

impl SimMesos {
    /// What was asked of the master so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// What the master says about itself.
    #[must_use]
    pub fn master_info(&self) -> MasterInfo {
        self.master.info()
    }

    /// When the leading master was started.
    #[must_use]
    pub fn master_started(&self) -> Time {
        self.master.started
    }

    /// The version of master and agents.
    #[must_use]
    pub fn version(&self) -> &semver::Version {
        &self.master.version
    }

    /// The ID that an agent is registered under.
    #[must_use]
    pub fn agent_id(&self, index: AgentIndex) -> Option<&AgentId> {
        self.master.agent(index).map(|record| &record.id)
    }

    /// The address that an agent announces.
    #[must_use]
    pub fn agent_ip(&self, index: AgentIndex) -> Option<Ipv4Addr> {
        self.agents.get(index).map(|(_, config)| config.ip)
    }

    /// Whether an agent will say again what was not acknowledged.
    #[must_use]
    pub fn has_unacknowledged(&self) -> bool {
        self.agents.iter().any(|(agent, _)| agent.has_unacknowledged())
    }

    /// Where the master says that it listens.
    pub fn set_address(&mut self, ip: Ipv4Addr, port: u16) {
        self.master.address = (ip, port);
    }

    /// From now on whoever asks over HTTP has to say who that is.
    pub fn authenticate(&mut self, how: Authentication) {
        self.authentication = Some(how);
    }

    // --- faults ----------------------------------------------------------------------------------

    /// Another master takes over: all streams end, and agents come back one after the other.
    pub fn master_failover(&mut self, now: Time) {
        self.advance(now);
        self.stopped = false;
        self.master.fail_over(&mut self.cx);
        for (index, (agent, _)) in self.agents.iter_mut().enumerate() {
            self.cx.cut(index);
            agent.master_changed(&mut self.cx);
        }
    }

    /// Another master takes over, of another version.
    pub fn upgrade(&mut self, now: Time, version: semver::Version) {
        self.advance(now);
        self.master.version = version;
        self.master_failover(now);
    }

    /// An agent's process hangs until it is ended: what the master sends it is lost.
    pub fn freeze_agent(&mut self, now: Time, agent: AgentIndex) {
        self.advance(now);
        self.agent(agent, |agent, _| agent.freeze());
    }

    /// The master's process ends, and no other one takes over until [`Self::master_failover`].
    pub fn master_stops(&mut self, now: Time) {
        self.advance(now);
        self.stopped = true;
        let streams = self.master.connections.keys().chain(&self.master.subscribers);
        for conn in streams.copied().collect::<BTreeSet<_>>() {
            self.cx.close(conn);
        }
        self.master.connections.clear();
        self.master.subscribers.clear();
        for index in 0..self.agents.len() {
            self.cx.cut(index);
        }
    }

    /// The maintenance schedule, as `GET_MAINTENANCE_SCHEDULE` tells it.
    #[must_use]
    pub fn maintenance_schedule(&self) -> serde_json::Value {
        self.master.schedule.told()
    }

    /// When the schedule says that the machine of an agent is away.
    #[must_use]
    pub fn unavailability(&self, index: AgentIndex) -> Option<Unavailability> {
        let (_, config) = self.agents.get(index)?;
        self.master.schedule.of(config)
    }

    /// An operator marks the agent gone (`MARK_AGENT_GONE`).
    pub fn agent_gone(&mut self, now: Time, agent: AgentIndex) {
        self.advance(now);
        self.master.mark_gone(&mut self.cx, agent);
    }

    /// A container could not be started, or has ended with its executor: the agent says so, in
    /// these words, if it has the task.
    pub fn container_ends(&mut self, now: Time, index: AgentIndex, status: &TaskStatus) {
        self.advance(now);
        self.agent(index, |agent, cx| agent.container_ends(cx, status));
    }

    /// An agent is told to unregister (SIGUSR1): its tasks end, and its process with them.
    pub fn agent_unregisters(&mut self, now: Time, index: AgentIndex) {
        self.advance(now);
        let Some((_, config)) = self.agents.get(index) else { return };
        let why = format!("Agent {} removed: the agent unregistered", config.hostname);
        self.shut_down(index, &why);
    }

    /// An agent ends, with its tasks, and the master knows.
    pub(super) fn shut_down(&mut self, index: AgentIndex, why: &str) {
        self.agent(index, Agent::unregister);
        self.master.remove_agent(&mut self.cx, index, why);
    }

    /// The work directory of an agent is removed while its process is down: the next start
    /// registers it under a new ID.
    pub fn agent_forgets(&mut self, now: Time, agent: AgentIndex) {
        self.advance(now);
        self.agent(agent, |agent, _| agent.forget());
    }

    /// From now on the network does this.
    pub fn set_faults(&mut self, now: Time, faults: NetworkFaults) {
        self.advance(now);
        self.cx.faults = faults;
    }
}
