//! What the recordings were made with: agents, and what was done to them.

use std::net::{Ipv4Addr, SocketAddr};

use calico_dcos::mesos::v1::{
    Attribute, Range, Ranges, Resource, Scalar, StatusSource, TaskStatus, ValueType,
};
use calico_dcos::sim::mesos::http::{SimServer, World};
use calico_dcos::sim::mesos::{AgentConfig, MesosConfig, SimMesos, Timings};
use calico_dcos::sim::wire::{FromExecutor, HostSignal};
use calico_dcos::words::Time;

/// How a recording is played.
pub(crate) struct Play {
    pub(crate) name: &'static str,
    /// Recordings whose streams it goes on with, each with the seconds until the next one begins.
    pub(crate) before: &'static [(&'static str, f64)],
    pub(crate) agents: &'static [&'static str],
    /// What is done at which note, known by a part of it, or at which second, as `@14.7`.
    pub(crate) directions: &'static [(&'static str, Act)],
    pub(crate) timings: fn(&mut Timings),
    /// The agents were given their IDs by a master before this one.
    pub(crate) seasoned: bool,
}

/// What somebody did, outside Mesos' API.
pub(crate) enum Act {
    Stop(&'static str),
    Start(&'static str),
    Join(&'static str),
    Unregister(&'static str),
    StopMaster,
    /// The master listens at that port.
    Listen(u16),
    /// A master starts, or takes over, at that port.
    Lead(u16),
    /// The master at the first port does not lead; the one at the second does, if there is one.
    Standby(&'static str, Option<&'static str>),
}

pub(crate) struct Stage {
    mesos: SimMesos,
    agents: Vec<&'static str>,
    /// The ports of masters that do not lead.
    standby: Vec<&'static str>,
    leader: Option<String>,
}

impl World for Stage {
    fn mesos(&mut self) -> &mut SimMesos {
        &mut self.mesos
    }

    fn advance(&mut self, now: Time) {
        self.mesos.advance(now);
        // What executors do is in the recording.
        self.mesos.drain_to_hosts();
    }

    fn next_deadline(&self) -> Option<Time> {
        self.mesos.next_deadline()
    }
}

impl Stage {
    /// A master whose agents have registered.
    pub(crate) async fn serve(play: &Play) -> SimServer<Self> {
        let now = calico_dcos::clock::now();
        let mut config = MesosConfig::new(semver::Version::new(1, 12, 0), 7);
        config.timings.ping_timeout = 3_000;
        config.timings.first_launch = 50;
        (play.timings)(&mut config.timings);
        let mut mesos = SimMesos::new(now, config);
        for name in play.agents {
            mesos.add_agent(now, agent(name));
        }
        let stage = Self { mesos, agents: play.agents.to_vec(), standby: Vec::new(), leader: None };
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let server = SimServer::start(local, stage).await.unwrap();
        // Virtual time, as everywhere here: agents register meanwhile.
        tokio::time::sleep(std::time::Duration::from_secs(5)).await;
        if play.seasoned {
            server.with(|stage, now| stage.mesos.master_failover(now)).await.unwrap();
            tokio::time::sleep(std::time::Duration::from_secs(10)).await;
        }
        let recorded = (Ipv4Addr::LOCALHOST, 5050);
        server.with(move |stage, _| stage.mesos.set_address(recorded.0, recorded.1)).await.unwrap();
        server
    }

    pub(crate) fn act(&mut self, now: Time, act: &Act) {
        let index = |name| self.agents.iter().position(|agent| agent == name).unwrap();
        match act {
            Act::Stop(name) => self.mesos.from_host(now, index(name), HostSignal::AgentStopped),
            Act::Start(name) => self.mesos.from_host(now, index(name), HostSignal::AgentStarted),
            Act::Join(name) => {
                self.mesos.add_agent(now, agent(name));
                self.agents.push(name);
            }
            Act::Unregister(name) => self.mesos.agent_unregisters(now, index(name)),
            Act::StopMaster => self.mesos.master_stops(now),
            Act::Listen(port) => self.mesos.set_address(Ipv4Addr::LOCALHOST, *port),
            Act::Lead(port) => {
                self.mesos.master_failover(now);
                self.mesos.set_address(Ipv4Addr::LOCALHOST, *port);
                self.standby.clear();
            }
            Act::Standby(port, leader) => {
                self.standby.push(port);
                self.leader = leader.map(|port| format!("127.0.0.1:{port}"));
            }
        }
    }

    /// An executor says this; the agent that has the task knows which one.
    pub(crate) fn say(&mut self, now: Time, status: &TaskStatus) {
        for index in 0..self.agents.len() {
            if status.source == Some(StatusSource::Agent) {
                self.mesos.container_ends(now, index, status);
            } else {
                let said = FromExecutor::Status(Box::new(status.clone()));
                self.mesos.from_executor(now, index, said);
            }
        }
    }

    /// Whom a master at that port refers to, if it does not lead itself.
    pub(crate) fn standby_for(
        port: Option<&str>,
    ) -> impl FnOnce(&mut Self, Time) -> Option<Option<String>> + Send + 'static {
        let port = port.map(str::to_owned);
        move |stage, _| {
            let standby = port.is_some_and(|port| stage.standby.contains(&port.as_str()));
            standby.then(|| stage.leader.clone())
        }
    }
}

/// The agents of the recordings.
fn agent(name: &str) -> AgentConfig {
    let text = Attribute::text;
    let (port, cpus, mem, disk, ports, attributes): (_, _, _, _, &[(u64, u64)], _) = match name {
        "agent1" => {
            let cores = Attribute {
                kind: ValueType::Scalar,
                scalar: Some(Scalar { value: 16.0 }),
                text: None,
                ..text("cores", "")
            };
            let both = [(10, 20), (30, 40)];
            let range = both.into_iter().map(|(begin, end)| Range { begin, end }).collect();
            let range = Attribute {
                kind: ValueType::Ranges,
                ranges: Some(Ranges { range }),
                text: None,
                ..text("range", "")
            };
            let ssd = text("ssd", "true");
            let attributes = vec![text("rack", "r1"), text("zone", "z1"), ssd, cores, range];
            (5051, 4.0, 2_048.0, 4_096.0, &[(31_000, 31_099)], attributes)
        }
        "agent2" => {
            let ports = &[(32_000, 32_099), (33_000, 33_009)];
            let attributes = vec![text("rack", "r2"), text("zone", "z2")];
            (5052, 2.0, 1_024.0, 2_048.0, ports, attributes)
        }
        "agent3" => (5053, 1.0, 256.0, 512.0, &[(34_000, 34_010)], vec![text("rack", "r3")]),
        "agent3 with reservations" => {
            let generation = Attribute {
                kind: ValueType::Scalar,
                scalar: Some(Scalar { value: 7.0 }),
                text: None,
                ..text("gen", "")
            };
            let attributes = vec![text("rack", "r3"), generation];
            (5053, 1.0, 512.0, 1_024.0, &[(34_000, 34_010)], attributes)
        }
        "agent4" => {
            let attributes = vec![text("rack", "r4"), text("docker", "yes")];
            (5054, 1.0, 512.0, 512.0, &[(35_000, 35_010)], attributes)
        }
        "agent5" => (5055, 1.0, 256.0, 512.0, &[(31_000, 32_000)], vec![text("rack", "zk")]),
        other => panic!("no agent {other}"),
    };
    let mut resources = vec![
        Resource::scalar("cpus", cpus),
        Resource::scalar("mem", mem),
        Resource::scalar("disk", disk),
        Resource::ranges("ports", ports),
    ];
    if name.ends_with("reservations") {
        for (role, what, amount) in [("a", "cpus", 1.0), ("a", "mem", 256.0), ("b", "cpus", 0.5)] {
            let mut reserved = Resource::scalar(what, amount);
            reserved.role = Some(role.to_owned());
            resources.push(reserved);
        }
    }
    let hostname = name.split(' ').next().unwrap_or_default().to_owned();
    let mut agent = AgentConfig::new(&hostname, Ipv4Addr::LOCALHOST, "*");
    (agent.port, agent.resources, agent.attributes) = (port, resources, attributes);
    agent
}
