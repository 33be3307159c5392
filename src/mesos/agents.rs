//! The master's list of agents, in the words of the project.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use super::v1::operator::{Agent, AgentInfo, GetAgents};
use super::v1::{Offer, Resource, Unavailability};
use crate::observed::fleet::{AgentSeen, Away, Condition, Part, Room};
use crate::words::{HostName, Time};

/// What `GET_AGENTS` says, agent by agent. Those that a new master knows from its registry only,
/// and waits for, are not connected yet.
#[must_use]
pub fn agents_seen(list: &GetAgents) -> Vec<AgentSeen> {
    let registered = list.agents.iter().filter_map(|agent: &Agent| {
        let draining = agent.drain_info.is_some();
        let condition = Condition::of(draining, agent.deactivated, agent.active);
        let seen = line(&agent.agent_info, condition, &agent.total_resources, &agent.version)?;
        let ip = agent.pid.as_deref().and_then(address_of);
        Some(AgentSeen { room: Some(room(agent)), ip, ..seen })
    });
    let recovered = list
        .recovered_agents
        .iter()
        .filter_map(|info| line(info, Condition::Disconnected, &[], ""));
    registered.chain(recovered).collect()
}

/// What an offer says of its agent, which is in use then. Roles are only those of the offer.
#[must_use]
pub fn agent_offered(offer: &Offer) -> AgentSeen {
    let roles = offer.resources.iter().filter_map(Resource::reserved_for).chain(["*"]);
    AgentSeen {
        id: offer.agent_id.clone(),
        host: HostName(offer.hostname.clone()),
        condition: Condition::Active,
        roles: roles.map(str::to_owned).collect(),
        attributes: offer.attributes.iter().map(|a| (a.name.clone(), a.value())).collect(),
        mesos_version: String::new(),
        ip: offer.url.as_ref().and_then(|url| url.address.ip.as_ref()?.parse().ok()),
        room: None,
    }
}

/// The address in a process ID of Mesos', `slave(1)@10.0.0.1:5051`.
pub(super) fn address_of(pid: &str) -> Option<IpAddr> {
    let (_, address) = pid.rsplit_once('@')?;
    address.parse().ok().map(|address: SocketAddr| address.ip())
}

/// Announced maintenance. What begins before the epoch, or lasts for less than no time, is taken
/// as if it were zero.
#[must_use]
pub fn away(announced: Unavailability) -> Away {
    let ms = |nanoseconds: i64| u64::try_from(nanoseconds / 1_000_000).unwrap_or(0);
    let from = Time(ms(announced.start.nanoseconds));
    let until = announced.duration.map(|lasts| from.plus_ms(ms(lasts.nanoseconds)));
    Away { from, until }
}

fn line(
    info: &AgentInfo,
    condition: Condition,
    total: &[Resource],
    version: &str,
) -> Option<AgentSeen> {
    let reserved = total.iter().chain(&info.resources).flat_map(|resource| {
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
        mesos_version: version.to_owned(),
        ip: None,
        room: None,
    })
}

/// What an agent has, and how much of it is in use or in offers.
fn room(agent: &Agent) -> Room {
    let mut room = Room::new();
    let mut count = |resources: &[Resource], place: fn(&mut Part) -> &mut u64| {
        for resource in resources {
            let share = room.entry(resource.reserved_for().unwrap_or("*").to_owned()).or_default();
            let part = match resource.name.as_str() {
                "cpus" => &mut share.cpus,
                "mem" => &mut share.mem,
                _ => continue,
            };
            let sum = place(part);
            *sum = sum.saturating_add(resource.milli());
        }
    };
    count(&agent.total_resources, |part| &mut part.total);
    count(&agent.allocated_resources, |part| &mut part.used);
    count(&agent.offered_resources, |part| &mut part.offered);
    room
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observed::fleet::Condition::{Active, Deactivated, Disconnected, Draining};

    #[test]
    fn what_an_operator_ordered_and_what_is_cut_off_is_told_apart() {
        let agent = |host: &str, rest: &str| {
            format!(
                r#"{{"agent_info":{{"hostname":"{host}","id":{{"value":"{host}"}}}},
                    "version":"1.11.0",{rest}}}"#
            )
        };
        let agents = [
            agent("a1", r#""active":true,"deactivated":false"#),
            agent("a2", r#""active":false,"deactivated":false"#),
            agent("a3", r#""active":false,"deactivated":true"#),
            agent("a4", r#""active":false,"deactivated":true,"drain_info":{"state":"DRAINING"}"#),
            agent("a5", r#""active":false,"deactivated":true,"drain_info":{"state":"DRAINED"}"#),
        ];
        let text = format!(
            r#"{{"agents":[{}],"recovered_agents":[{{"hostname":"a6","id":{{"value":"a6"}}}}]}}"#,
            agents.join(",")
        );
        let seen = agents_seen(&serde_json::from_str(&text).unwrap());
        let expected = [Active, Disconnected, Deactivated, Draining, Draining, Disconnected];
        assert!(seen.iter().map(|agent| agent.condition).eq(expected));
    }
}
