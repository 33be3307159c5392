//! What a simulated cluster is made of, and how fast it is.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::mesos::v1::{Attribute, Resource};

/// The master, and everything that all agents have in common.
#[derive(Clone, Debug)]
pub struct MesosConfig {
    /// The version that master and agents report, and whose features they have.
    pub version: semver::Version,
    /// Where identifiers, back-offs and faults are drawn from: the same seed and the same calls
    /// give the same events.
    pub seed: u64,
    /// Where the master says that it listens. The HTTP server sets it to its real address.
    pub address: (Ipv4Addr, u16),
    /// How long things take.
    pub timings: Timings,
    /// How little of an agent is worth an offer.
    pub allocatable: Allocatable,
}

/// The least that is offered of an agent: the master's `--min_allocatable_resources`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Allocatable {
    /// `cpus:0.01|mem:32`, Mesos' default: one of them is enough.
    #[default]
    Either,
    /// `cpus:0.01;mem:32;ports:1`, as on DC/OS: an agent that has no port left is never offered.
    All,
}

impl MesosConfig {
    /// A master of that version with Mesos' default timings.
    #[must_use]
    pub fn new(version: semver::Version, seed: u64) -> Self {
        Self {
            version,
            seed,
            address: (Ipv4Addr::LOCALHOST, 5050),
            timings: Timings::default(),
            allocatable: Allocatable::default(),
        }
    }
}

/// How long things take, all in milliseconds. The defaults are Mesos' own flags and constants;
/// latencies are those measured on a real cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timings {
    /// From one allocation to the next.
    pub allocation: u64,
    /// From an offer until it is taken back unanswered; never if none. DC/OS has two minutes.
    pub offer: Option<u64>,
    /// Between two HEARTBEATs.
    pub heartbeat: u64,
    /// From losing an agent to calling it unreachable: five pings of 15 s.
    pub ping_timeout: u64,
    /// From a change of the master until agents that have not come back are unreachable.
    pub agent_reregister: u64,
    /// How long a restarted agent waits for its executors before it registers.
    pub executor_reregistration: u64,
    /// The longest that an agent waits, at random, before it registers.
    pub registration_backoff: u64,
    /// How long a new master answers 503.
    pub master_recovery: u64,
    /// From a change of the master until the last agent has noticed it.
    pub detect_master: u64,
    /// From a launch until a new executor has its first task.
    pub first_launch: u64,
    /// The same with an executor that runs already.
    pub next_launch: u64,
    /// Between master and agent, one way.
    pub latency: u64,
    /// From a status update until it is sent again; doubled each time.
    pub update_retry: u64,
    /// The longest time between two of them.
    pub update_retry_limit: u64,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            allocation: 1_000,
            offer: None,
            heartbeat: 15_000,
            ping_timeout: 75_000,
            agent_reregister: 600_000,
            executor_reregistration: 2_000,
            registration_backoff: 1_000,
            master_recovery: 200,
            detect_master: 3_000,
            first_launch: 350,
            next_launch: 10,
            latency: 1,
            update_retry: 10_000,
            update_retry_limit: 600_000,
        }
    }
}

/// How the master finds out who asks (`--authenticate_http_…`); each of its realms in the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// By name and secret, as Mesos' own authenticator does.
    Basic {
        /// The name, which a framework's principal has to be.
        principal: String,
        /// Without a colon: with one nobody gets in, as in Mesos.
        secret: String,
    },
    /// By a token that somebody else gave out, as on DC/OS: `Bearer TOKEN` or `token=TOKEN`.
    Token(String),
}

impl Authentication {
    /// Who that is, by the header `Authorization`: a name, if it comes with one.
    ///
    /// # Errors
    /// The scheme to be asked for.
    pub(super) fn check(&self, header: Option<&str>) -> Result<Option<&str>, &'static str> {
        match self {
            Self::Basic { principal, secret } => {
                let expected = BASE64_STANDARD.encode(format!("{principal}:{secret}"));
                let given = header.and_then(|header| header.strip_prefix("Basic "));
                let known = given == Some(&*expected) && !secret.contains(':');
                if known { Ok(Some(principal)) } else { Err("Basic") }
            }
            Self::Token(token) => {
                let given = header.and_then(|header| {
                    header.strip_prefix("Bearer ").or_else(|| header.strip_prefix("token="))
                });
                if given == Some(token) { Ok(None) } else { Err("Bearer") }
            }
        }
    }
}

/// An agent, as its operator set it up.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// The name that it announces.
    pub hostname: String,
    /// Its address.
    pub ip: Ipv4Addr,
    /// Its port.
    pub port: u16,
    /// What it has. A `role` other than `*` makes it a static reservation.
    pub resources: Vec<Resource>,
    /// Its attributes.
    pub attributes: Vec<Attribute>,
    /// How it runs executors that are processes of their own and speak the executor API; none if
    /// the hosts are modelled too.
    pub processes: Option<Processes>,
    /// What it answers at `/flags` beside, or in place of, what the model knows itself.
    pub flags: BTreeMap<String, String>,
}

/// How an agent runs executors that are processes; times in milliseconds, by default Mesos' own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Processes {
    /// `--work_dir`: sandboxes are below it.
    pub work_dir: String,
    /// From the start of an executor until it must have subscribed.
    pub registration_timeout: u64,
    /// How long it waits after a restart for its executors; none: as long as all agents do
    /// ([`Timings::executor_reregistration`]).
    pub reregistration_timeout: Option<u64>,
    /// From SHUTDOWN until an executor is killed, unless its description says otherwise.
    pub shutdown_grace: u64,
    /// How long executors are told to wait for an agent that is away.
    pub recovery_timeout: u64,
    /// From the start of the agent's process until it has its routes; it answers 404 before.
    pub until_routes: u64,
    /// From then on until it takes executors back; it answers 503 before.
    pub until_recovered: u64,
    /// Whether executors need the token that they were given.
    pub authenticate: bool,
}

impl Processes {
    /// With Mesos' defaults.
    #[must_use]
    pub fn new(work_dir: &str) -> Self {
        Self {
            work_dir: work_dir.to_owned(),
            registration_timeout: 60_000,
            reregistration_timeout: None,
            shutdown_grace: 5_000,
            recovery_timeout: 900_000,
            until_routes: 100,
            until_recovered: 100,
            authenticate: false,
        }
    }
}

impl AgentConfig {
    /// An agent with four cores, 8 GB of memory, 32 GB of disk and a thousand ports, all
    /// reserved for `role`: `*` for nobody, `slave_public` for a public agent of DC/OS.
    #[must_use]
    pub fn new(hostname: &str, ip: Ipv4Addr, role: &str) -> Self {
        let mut resources = vec![
            Resource::ranges("ports", &[(31_000, 31_999)]),
            Resource::scalar("cpus", 4.0),
            Resource::scalar("mem", 8_192.0),
            Resource::scalar("disk", 32_768.0),
        ];
        for resource in &mut resources {
            resource.role = Some(role.to_owned());
        }
        Self {
            hostname: hostname.to_owned(),
            ip,
            port: 5051,
            resources,
            attributes: Vec::new(),
            processes: None,
            flags: BTreeMap::new(),
        }
    }
}

/// What the network between the master and its agents does to messages that Mesos does not
/// promise to deliver: status updates and their acknowledgements, MESSAGE, KILL. Registration and
/// launches travel on a connection that breaks with its agent, not by chance.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct NetworkFaults {
    /// The probability that a message is lost.
    pub lose: f64,
    /// The probability that it arrives a second time.
    pub duplicate: f64,
    /// The probability that it is late.
    pub delay: f64,
    /// How late at most, in milliseconds.
    pub delay_limit: u64,
}
