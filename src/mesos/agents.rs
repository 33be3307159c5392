//! The master's list of agents, in the words of the project.

use std::collections::BTreeSet;

use super::v1::operator::{Agent, GetAgents};
use crate::observed::fleet::{AgentSeen, Condition};
use crate::words::HostName;

/// What `GET_AGENTS` says, agent by agent. Recovered agents, which a new master knows from its
/// registry only, are not in it: nobody has heard of them yet.
#[must_use]
pub fn agents_seen(list: &GetAgents) -> Vec<AgentSeen> {
    list.agents.iter().filter_map(agent_seen).collect()
}

fn agent_seen(agent: &Agent) -> Option<AgentSeen> {
    let info = &agent.agent_info;
    let condition = if agent.drain_info.is_some() {
        Condition::Draining
    } else if agent.deactivated {
        Condition::Deactivated
    } else if agent.active {
        Condition::Active
    } else {
        Condition::Disconnected
    };
    let resources = agent.total_resources.iter().chain(&info.resources);
    let reserved = resources.flat_map(|resource| {
        let refined = resource.reservations.iter().filter_map(|r| r.role.clone());
        resource.role.clone().into_iter().chain(refined)
    });
    let mut roles: BTreeSet<String> = reserved.collect();
    roles.insert("*".to_owned());
    Some(AgentSeen {
        id: info.id.clone()?,
        host: HostName(info.hostname.clone()),
        condition,
        roles,
        attributes: info.attributes.iter().map(|a| (a.name.clone(), a.value())).collect(),
        mesos_version: agent.version.clone(),
    })
}
