//! Agents whose processes are on machines of their own: the model of such an agent is here, and what
//! it decides is carried out there ([`wire`](super::wire) is what they say to each other).

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::codec::{Framed, LinesCodec};

use super::door::Door;
use super::wire::{FromHost, Hello, LONGEST, ToHost, VERSION};
use crate::sim::mesos::driver::{Driver, World};
use crate::sim::mesos::http::{ServerError, SimServer};
use crate::sim::mesos::{AgentConfig, AgentIndex, Processes, ToBody};
use crate::sim::wire::HostSignal;

/// Each host that was ever there: its agent, and how often its process has come.
type Hosts = Arc<Mutex<HashMap<String, (AgentIndex, u64)>>>;

type Line = Framed<TcpStream, LinesCodec>;

/// Why a process is sent away.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("the connection broke before it had said who it is")]
    Broken,
    #[error("it did not begin with a greeting of version {VERSION}; is it of the same release?")]
    Greeting(#[source] Option<serde_json::Error>),
    #[error("the simulated Mesos has ended")]
    Ended,
}

/// Takes agents until it is dropped.
pub struct AgentsDesk {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl AgentsDesk {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for AgentsDesk {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<W: World> SimServer<W> {
    /// Takes agents whose processes run elsewhere (`calico-dcos sim agent`). A host is known again by
    /// its name. Their executors find the agent's API at the host's address; from there it is passed on
    /// to ports that are opened on the address given here.
    ///
    /// # Errors
    /// If nothing can listen there.
    pub async fn accept_agents(&self, listen: SocketAddr) -> Result<AgentsDesk, ServerError> {
        let refused = |source| ServerError::Listen { address: listen, source };
        let listener = TcpListener::bind(listen).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let (driver, hosts) = (self.driver().clone(), Hosts::default());
        let task = tokio::spawn(async move {
            loop {
                let Ok((stream, from)) = listener.accept().await else { continue };
                let (driver, hosts) = (driver.clone(), Arc::clone(&hosts));
                let line = Framed::new(stream, LinesCodec::new_with_max_length(LONGEST));
                let door = SocketAddr::new(address.ip(), 0);
                tokio::spawn(async move {
                    match RemoteBody::greet(line, driver, &hosts, door).await {
                        Ok(body) => body.run(&hosts).await,
                        Err(error) => tracing::warn!(%from, %error, "no process of an agent"),
                    }
                });
            }
        });
        Ok(AgentsDesk { address, task })
    }
}

/// One process of an agent, from its first word to the end of its connection.
struct RemoteBody<W> {
    hostname: String,
    agent: AgentIndex,
    /// Which process of the host it is.
    number: u64,
    line: Line,
    driver: Driver<W>,
    door: Door<W>,
    inbox: mpsc::UnboundedReceiver<ToBody>,
}

impl<W: World> RemoteBody<W> {
    async fn greet(
        mut line: Line,
        driver: Driver<W>,
        hosts: &Hosts,
        door: SocketAddr,
    ) -> Result<Self, Refused> {
        let first = line.next().await.and_then(Result::ok).ok_or(Refused::Broken)?;
        let hello = match serde_json::from_str(&first) {
            Ok(FromHost::Hello(hello)) if hello.version == VERSION => *hello,
            Ok(_) => return Err(Refused::Greeting(None)),
            Err(error) => return Err(Refused::Greeting(Some(error))),
        };
        let hostname = hello.hostname.clone();
        let (orders, inbox) = mpsc::unbounded_channel();
        let table = Arc::clone(hosts);
        let started = driver.ask(move |state| {
            let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
            let known = table.get(&hello.hostname).copied();
            let (now, mesos) = (state.now(), state.world.mesos());
            let (resumes, alive) = (hello.resumes, hello.alive.clone());
            let name = hello.hostname.clone();
            let (agent, number) = match known {
                None => (mesos.add_agent(now, config(hello)), 0),
                Some((agent, number)) => {
                    // The end of the process before may not have been noticed yet.
                    mesos.from_host(now, agent, HostSignal::AgentStopped);
                    if !resumes {
                        mesos.agent_forgets(now, agent);
                    }
                    mesos.configure_agent(now, agent, config(hello), &alive);
                    mesos.from_host(now, agent, HostSignal::AgentStarted);
                    (agent, number + 1)
                }
            };
            table.insert(name, (agent, number));
            let version = mesos.version().to_string();
            state.bodies.insert(agent, orders);
            (agent, number, version)
        });
        let (agent, number, mesos) = started.await.ok_or(Refused::Ended)?;
        let door = Door::new(driver.clone(), agent, door, None);
        let mut body = Self { hostname, agent, number, line, driver, door, inbox };
        tracing::info!(host = body.hostname, number, "the process of an agent has started");
        body.send(&ToHost::Welcome { mesos }).await;
        Ok(body)
    }

    async fn run(mut self, hosts: &Hosts) {
        loop {
            tokio::select! {
                order = self.inbox.recv() => match order {
                    Some(order) => self.obey(order).await,
                    // Another process of the host has come, or the world has ended.
                    None => return,
                },
                said = self.line.next() => match said {
                    Some(Ok(said)) => self.hear(&said),
                    Some(Err(_)) | None => return self.gone(hosts),
                },
            }
        }
    }

    fn hear(&self, said: &str) {
        match serde_json::from_str(said) {
            Ok(FromHost::Happened(happened)) => {
                let agent = self.agent;
                self.driver.tell(move |state| super::report(state, agent, happened));
            }
            Ok(FromHost::Hello(_)) => tracing::warn!(host = self.hostname, "it greets twice"),
            Err(error) => tracing::warn!(host = self.hostname, %error, "it is not understood"),
        }
    }

    async fn obey(&mut self, order: ToBody) {
        let order = match order {
            ToBody::Start(start) => ToHost::Start(start),
            ToBody::Kill { container } => ToHost::Kill { container },
            ToBody::Listen(true) => match self.door.open().await {
                Ok(address) => ToHost::Listen(Some(address)),
                Err(error) => return tracing::error!(%error, "a simulated agent cannot listen"),
            },
            ToBody::Listen(false) => {
                self.door.close().await;
                ToHost::Listen(None)
            }
            // The driver holds the streams.
            ToBody::Event { .. } | ToBody::Close { .. } => return,
        };
        self.send(&order).await;
    }

    async fn send(&mut self, order: &ToHost) {
        match serde_json::to_string(order) {
            // That it is gone is heard where it is listened to.
            Ok(json) => drop(self.line.send(json).await),
            Err(error) => tracing::error!(%error, "an order cannot be written as JSON"),
        }
    }

    /// The process has ended, unless another one has come by now.
    fn gone(&self, hosts: &Hosts) {
        tracing::info!(host = self.hostname, self.number, "the process of an agent has ended");
        let (hosts, hostname) = (Arc::clone(hosts), self.hostname.clone());
        let own = (self.agent, self.number);
        self.driver.tell(move |state| {
            let hosts = hosts.lock().unwrap_or_else(PoisonError::into_inner);
            if hosts.get(&hostname) == Some(&own) {
                let now = state.now();
                state.world.mesos().from_host(now, own.0, HostSignal::AgentStopped);
            }
        });
    }
}

fn config(hello: Hello) -> AgentConfig {
    let mut processes = Processes::new(&hello.work_dir);
    if let Some(ms) = hello.registration_timeout {
        processes.registration_timeout = ms;
    }
    if let Some(ms) = hello.shutdown_grace {
        processes.shutdown_grace = ms;
    }
    processes.reregistration_timeout = hello.reregistration_timeout;
    AgentConfig {
        hostname: hello.hostname,
        ip: hello.ip,
        port: hello.port,
        resources: hello.resources,
        attributes: hello.attributes,
        processes: Some(processes),
        flags: hello.flags,
    }
}
