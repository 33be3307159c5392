//! What the master tells operators.

use std::collections::BTreeMap;

use super::master::{AgentRecord, Master, Standing};
use super::resources::{Form, Pool};
use super::tasks::nanoseconds;
use crate::mesos::v1::operator::{Agent, AgentInfo, GetAgents};
use crate::mesos::v1::{Capability, CapabilityType, Resource};

impl Master {
    /// Registered agents, connected or not, and those that a new master waits for. An unreachable
    /// agent is in neither list.
    pub(super) fn get_agents(&self) -> GetAgents {
        let of = |wanted: fn(Standing) -> bool| {
            self.agents.iter().enumerate().filter_map(move |(index, record)| {
                record.as_ref().filter(|record| wanted(record.standing)).map(|r| (index, r))
            })
        };
        let registered = of(|s| matches!(s, Standing::Connected | Standing::Disconnected));
        let recovered = of(|s| s == Standing::Recovered);
        let mut offered: BTreeMap<_, Pool> = BTreeMap::new();
        for offer in self.offers.values() {
            offered.entry(offer.agent).or_default().add(&offer.resources);
        }
        let offered = |index| offered.get(&index).cloned().unwrap_or_default();
        GetAgents {
            agents: registered
                .map(|(index, record)| self.describe_agent(record, &offered(index)))
                .collect(),
            recovered_agents: recovered.map(|(_, record)| agent_info(record)).collect(),
        }
    }

    fn describe_agent(&self, record: &AgentRecord, offered: &Pool) -> Agent {
        let mut used = record.total.clone();
        used.subtract(&record.free);
        used.subtract(offered);
        let config = &record.config;
        Agent {
            agent_info: agent_info(record),
            active: record.standing == Standing::Connected,
            deactivated: false,
            version: self.version.to_string(),
            pid: Some(format!("slave(1)@{}:{}", config.ip, config.port)),
            registered_time: Some(nanoseconds(record.registered)),
            reregistered_time: record.reregistered.map(nanoseconds),
            total_resources: record.total.to_wire(Form::default()),
            allocated_resources: used.to_wire(Form::default()),
            offered_resources: offered.to_wire(Form::default()),
            capabilities: self.agent_capabilities(),
            drain_info: None,
            estimated_drain_start_time: None,
        }
    }

    /// Since 1.3 agents say what they can do.
    fn agent_capabilities(&self) -> Vec<Capability> {
        let since = |minor, capability: CapabilityType| {
            (self.version >= semver::Version::new(1, minor, 0)).then(|| capability.into())
        };
        [
            since(3, CapabilityType::MultiRole),
            since(4, CapabilityType::HierarchicalRole),
            since(4, CapabilityType::ReservationRefinement),
            since(9, CapabilityType::AgentDraining),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

fn agent_info(record: &AgentRecord) -> AgentInfo {
    let config = &record.config;
    // An unreserved resource is printed here without its role, as recorded.
    let unmarked = |resource: &Resource| {
        let mut resource = resource.clone();
        resource.role = resource.reserved_for().map(str::to_owned);
        resource
    };
    AgentInfo {
        hostname: config.hostname.clone(),
        port: config.port,
        resources: config.resources.iter().map(unmarked).collect(),
        attributes: config.attributes.clone(),
        id: Some(record.id.clone()),
        checkpoint: Some(true),
    }
}
