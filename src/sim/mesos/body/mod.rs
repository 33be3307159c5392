//! Agents whose executors are real processes: each has an address of its own, where it serves
//! the executor API, and starts what it is told to launch as children of this process.
//!
//! Or its processes are on a machine of their own ([`remote`]).
//!
//! The model decides ([`ToBody`] says what), this carries out. While the modelled process of an
//! agent is down nobody listens at its address; its executors live on, as they do under a real
//! agent.

pub(crate) mod cells;
mod door;
mod fetch;
pub(crate) mod process;
mod remote;
pub(crate) mod wire;

use std::net::{IpAddr, SocketAddr};

use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::driver::{Driver, State, World};
use super::http::{ServerError, SimServer};
use super::{AgentConfig, AgentIndex, ToBody};
use door::Door;
use process::{Happened, Runner};

impl<W: World> SimServer<W> {
    /// Adds an agent that listens at that address (port 0 takes a free one) and starts executors
    /// as processes, as the user that this process runs as. `config` needs
    /// [`processes`](AgentConfig::processes); its address and port are set here. The processes
    /// end with this server.
    ///
    /// # Errors
    /// If nothing can listen there.
    pub async fn add_process_agent(
        &self,
        listen: SocketAddr,
        mut config: AgentConfig,
    ) -> Result<AgentIndex, ServerError> {
        let refused = |source| ServerError::Listen { address: listen, source };
        let listener = TcpListener::bind(listen).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        if let IpAddr::V4(ip) = address.ip() {
            (config.ip, config.port) = (ip, address.port());
        }
        let work_dir = config.processes.as_ref().map(|p| p.work_dir.clone()).unwrap_or_default();
        let driver = self.driver().clone();
        let (orders, inbox) = mpsc::unbounded_channel();
        let added = self.driver().ask(move |state| {
            let now = state.now();
            let agent = state.world.mesos().add_agent(now, config);
            state.bodies.insert(agent, orders);
            agent
        });
        let Some(agent) = added.await else {
            return Err(refused(std::io::Error::other("the simulated Mesos has ended")));
        };
        let (happened, happenings) = mpsc::unbounded_channel();
        let runner = Runner::new(&work_dir, happened, None);
        let door = Door::new(driver.clone(), agent, address, Some(listener));
        let body = ProcessBody { agent, driver, runner, door };
        tokio::spawn(body.run(inbox, happenings));
        Ok(agent)
    }
}

/// What an agent has outside the model.
struct ProcessBody<W> {
    agent: AgentIndex,
    driver: Driver<W>,
    runner: Runner,
    door: Door<W>,
}

impl<W: World> ProcessBody<W> {
    /// Until the world has ended.
    async fn run(
        mut self,
        mut inbox: mpsc::UnboundedReceiver<ToBody>,
        mut happenings: mpsc::UnboundedReceiver<Happened>,
    ) {
        loop {
            tokio::select! {
                order = inbox.recv() => match order {
                    Some(order) => self.obey(order).await,
                    None => return,
                },
                Some(happened) = happenings.recv() => {
                    let agent = self.agent;
                    self.driver.tell(move |state| report(state, agent, happened));
                }
            }
        }
    }

    async fn obey(&mut self, order: ToBody) {
        match order {
            ToBody::Start(start) => self.runner.start(*start),
            ToBody::Kill { container } => self.runner.kill(&container),
            ToBody::Listen(true) => {
                if let Err(error) = self.door.open().await {
                    tracing::error!(%error, "a simulated agent cannot listen again");
                }
            }
            ToBody::Listen(false) => self.door.close().await,
            // The driver holds the streams.
            ToBody::Event { .. } | ToBody::Close { .. } => {}
        }
    }
}

/// Tells the model what has become of a container.
fn report<W: World>(state: &mut State<W>, agent: AgentIndex, happened: Happened) {
    let now = state.now();
    let mesos = state.world.mesos();
    match happened {
        Happened::Started { container, pid } => mesos.process_started(now, agent, &container, pid),
        Happened::Ended { container, status, not_started } => {
            mesos.process_ended(now, agent, &container, status, not_started.as_deref());
        }
    }
}
