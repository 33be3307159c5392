//! What the master tells operators of its agents.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::mesos::v1::operator::{Agent, AgentInfo, GetAgents};
use crate::mesos::v1::{Capability, CapabilityType, Reservation, Resource};
use crate::sim::mesos::maintenance::Drain;
use crate::sim::mesos::master::{AgentRecord, Master, Offer, Standing};
use crate::sim::mesos::resources::{Form, Pool};
use crate::sim::mesos::tasks::nanoseconds;

impl Master {
    /// Registered agents, connected or not, and those that a new master waits for. An unreachable
    /// agent is in neither list.
    pub(in crate::sim::mesos) fn get_agents(&self) -> GetAgents {
        let of = |wanted: fn(Standing) -> bool| {
            self.agents.iter().enumerate().filter_map(move |(index, record)| {
                record.as_ref().filter(|record| wanted(record.standing)).map(|r| (index, r))
            })
        };
        let registered = of(|s| matches!(s, Standing::Connected | Standing::Disconnected));
        let recovered = of(|s| s == Standing::Recovered);
        let mut offered: BTreeMap<_, Vec<&Offer>> = BTreeMap::new();
        for offer in self.offers.values() {
            offered.entry(offer.agent).or_default().push(offer);
        }
        let offered = |index| offered.get(&index).map(Vec::as_slice).unwrap_or_default();
        GetAgents {
            agents: registered
                .map(|(index, record)| self.describe_agent(record, offered(index)))
                .collect(),
            recovered_agents: recovered.map(|(_, record)| self.agent_info(record)).collect(),
        }
    }

    /// The same as this version writes it.
    pub(super) fn agents_told(&self, agents: &GetAgents) -> Value {
        let mut told = json!(agents);
        for agent in told["agents"].as_array_mut().into_iter().flatten() {
            self.dated(agent);
        }
        told
    }

    pub(super) fn describe_agent(&self, record: &AgentRecord, offered: &[&Offer]) -> Agent {
        let mut by_role: BTreeMap<&str, Pool> = BTreeMap::new();
        for offer in offered {
            by_role.entry(&offer.role).or_default().add(&offer.resources);
        }
        let written = |role, pool: &Pool| {
            let allocated = Some(role).filter(|_| self.since(3));
            self.forms(pool.to_wire(Form { allocated, refined: false }))
        };
        let config = &record.config;
        Agent {
            agent_info: self.agent_info(record),
            active: record.standing == Standing::Connected && !record.deactivated,
            deactivated: record.deactivated,
            version: self.version.to_string(),
            pid: Some(format!("slave(1)@{}:{}", config.ip, config.port)),
            registered_time: Some(nanoseconds(record.registered)),
            reregistered_time: record.reregistered.map(nanoseconds),
            total_resources: self.forms(record.total.to_wire(Form::default())),
            allocated_resources: record
                .used
                .iter()
                .flat_map(|(role, pool)| written(role, pool))
                .collect(),
            offered_resources: by_role
                .iter()
                .flat_map(|(role, pool)| written(role, pool))
                .collect(),
            capabilities: self.agent_capabilities(),
            drain_info: record.drain.as_ref().map(|drain| self.drain_info(record, drain)),
            estimated_drain_start_time: record.drain.as_ref().map(Drain::start),
        }
    }

    /// Since 1.3 agents say what they can do.
    pub(super) fn agent_capabilities(&self) -> Vec<Capability> {
        let since =
            |minor, capability: CapabilityType| self.since(minor).then(|| capability.into());
        [
            since(3, CapabilityType::MultiRole),
            since(4, CapabilityType::HierarchicalRole),
            since(4, CapabilityType::ReservationRefinement),
            since(5, CapabilityType::Unknown("RESOURCE_PROVIDER".to_owned())),
            since(8, CapabilityType::Unknown("RESIZE_VOLUME".to_owned())),
            since(8, CapabilityType::Unknown("AGENT_OPERATION_FEEDBACK".to_owned())),
            since(9, CapabilityType::AgentDraining),
            since(10, CapabilityType::Unknown("TASK_RESOURCE_LIMITS".to_owned())),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// Reservations of agents are told twice: as a role and, since 1.4, as a reservation.
    fn forms(&self, resources: Vec<Resource>) -> Vec<Resource> {
        let told = |resource| if self.since(4) { with_reservation(resource) } else { resource };
        resources.into_iter().map(told).collect()
    }

    fn agent_info(&self, record: &AgentRecord) -> AgentInfo {
        let config = &record.config;
        // A reservation is printed here as such alone, as recorded; before 1.4 as a role.
        let unmarked = |resource: &Resource| {
            let resource = resource.clone();
            if self.since(4) {
                Resource { role: None, ..with_reservation(resource) }
            } else {
                resource
            }
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
}

fn with_reservation(mut resource: Resource) -> Resource {
    if resource.reservations.is_empty()
        && let Some(role) = resource.reserved_for()
    {
        resource.reservations = vec![Reservation::of_static(role)];
    }
    resource
}
