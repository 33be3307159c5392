//! This very machine, looked at as its observer would.

use std::collections::{BTreeMap, BTreeSet};

use super::super::run::machine;
use super::Finding;
use crate::node::host::Host;
use crate::node::observer;
use crate::observed::facts::{Facts, Health};
use crate::observed::fleet::{AgentSeen, Condition, HostRecord};
use crate::surface::state::State;
use crate::words::HostName;

const AREA: &str = "this host";

/// Looks, and puts it among the hosts, unless its observer has reported there already.
pub(super) async fn look(state: &mut State) -> Vec<Finding> {
    let facts = match Host::this() {
        Ok(host) => observer::survey(&host).await,
        Err(error) => Err(error),
    };
    let facts = match facts {
        Ok(facts) => facts,
        Err(error) => return vec![Finding::problem(AREA, error.sentence())],
    };
    let findings = findings(&facts);
    let name = HostName(machine());
    let host = state.hosts.entry(name.clone()).or_default();
    let record = host.observed.get_or_insert_with(|| HostRecord::new(&stand_in(name), state.at));
    if record.reported.is_none() {
        record.fold_facts(facts, &record.agent.id.clone(), state.at);
    }
    findings
}

/// Nobody has told of its agent.
fn stand_in(host: HostName) -> AgentSeen {
    AgentSeen {
        id: "this-host".into(),
        host,
        condition: Condition::Active,
        roles: BTreeSet::new(),
        attributes: BTreeMap::new(),
        mesos_version: String::new(),
        ip: None,
        room: None,
    }
}

fn findings(facts: &Facts) -> Vec<Finding> {
    let docker = facts.docker.as_ref().map_or("no Docker", |docker| &docker.version);
    let mut findings = vec![Finding::good(
        AREA,
        format!("{}, {}, Docker: {docker}", facts.system.os, facts.system.architecture),
    )];
    if !rustix::process::geteuid().is_root() {
        findings.push(
            Finding::notice(AREA, "not all of it can be seen by an ordinary user")
                .advice("run it as root, as the observer does"),
        );
    }
    // Mostly one reason for all of them.
    let mut blocked: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (component, why) in &facts.blocked {
        blocked.entry(why).or_default().push(component.name());
    }
    findings.extend(blocked.into_iter().map(|(why, components)| {
        Finding::notice(AREA, format!("{} cannot be changed here: {why}", components.join(", ")))
    }));
    findings.extend(facts.components.iter().filter_map(|(component, found)| {
        let Health::Unhealthy { why } = &found.health else { return None };
        Some(Finding::notice(AREA, format!("{component} is not well: {why}")))
    }));
    findings
}
