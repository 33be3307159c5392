//! The hosts of a scenario, one by one, as models of hosts and agents are made from them.

use std::net::Ipv4Addr;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::desired::HostIdentity;
use crate::mesos::v1::Attribute;
use crate::sim::host::HostConfig;
use crate::sim::mesos::{AgentConfig, MesosConfig};

use super::scenario::{HostGroup, Scenario};

/// The addresses of agents begin here: 10.0.0.1.
const FIRST_ADDRESS: u32 = 0x0a00_0001;

/// One host, and its agent.
#[derive(Clone, Debug)]
pub struct Member {
    /// The host.
    pub host: HostConfig,
    /// Its agent.
    pub agent: AgentConfig,
    /// What documents select it by.
    pub identity: HostIdentity,
    /// What is declared is in place already.
    pub installed: bool,
}

/// All hosts in their order, and a Mesos that suits them. The same scenario gives the same.
#[must_use]
pub fn fleet(scenario: &Scenario) -> (MesosConfig, Vec<Member>) {
    let mut rng = SmallRng::seed_from_u64(scenario.seed);
    let restarts = restart_times(scenario, &mut rng);
    let mesos = mesos_config(scenario, &restarts);
    let reregister_ms = mesos.timings.executor_reregistration + mesos.timings.registration_backoff;
    let named =
        scenario.hosts.iter().flat_map(|group| group.names().map(move |name| (group, name)));
    let members = named.zip(restarts).zip(FIRST_ADDRESS..).map(|(((group, name), ms), ip)| {
        let mut member = member(group, name.as_str(), Ipv4Addr::from(ip));
        member.host.seed = scenario.seed;
        member.host.mesos_version = scenario.mesos.version.0.to_string();
        member.host.restart_ms = ms;
        member.host.reregister_ms = reregister_ms.min(ms);
        member
    });
    let members = members.collect();
    (mesos, members)
}

fn member(group: &HostGroup, name: &str, ip: Ipv4Addr) -> Member {
    let mut host = HostConfig::new(name);
    host.agent_containers = group.observed.agent_containers;
    if let Some(docker) = &group.observed.docker {
        host.docker = Some(docker.clone());
    }
    let mut agent = AgentConfig::new(name, ip, &group.role);
    agent.attributes =
        group.attributes.iter().map(|(name, value)| Attribute::text(name, value)).collect();
    let identity = HostIdentity {
        name: name.into(),
        roles: [group.role.clone(), "*".to_owned()].into(),
        attributes: group.attributes.clone(),
    };
    Member { host, agent, identity, installed: group.observed.installed }
}

/// Restart times in milliseconds, drawn in the order of the hosts.
fn restart_times(scenario: &Scenario, rng: &mut SmallRng) -> Vec<u64> {
    let mut times = Vec::new();
    for group in &scenario.hosts {
        for _ in 0..group.count {
            let spread = group.restart_seconds.sigma * normal(rng);
            let ms = group.restart_seconds.median * 1000.0 * spread.exp();
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "clamped to a day"
            )]
            times.push(ms.clamp(100.0, 86_400_000.0) as u64);
        }
    }
    times
}

/// A standard normal number (Box and Muller).
fn normal(rng: &mut SmallRng) -> f64 {
    let u: f64 = rng.random_range(f64::EPSILON..1.0);
    let v: f64 = rng.random();
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

/// Agents whose registration fits into the shortest restart.
fn mesos_config(scenario: &Scenario, restarts_ms: &[u64]) -> MesosConfig {
    let mut config = MesosConfig::new(scenario.mesos.version.0.clone(), scenario.seed);
    let shortest = restarts_ms.iter().min().copied().unwrap_or(8_000);
    let timings = &mut config.timings;
    timings.executor_reregistration = timings.executor_reregistration.min(shortest / 4);
    timings.registration_backoff = timings.registration_backoff.min(shortest / 8);
    config
}
