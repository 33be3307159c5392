//! `sim`: the simulated Mesos in processes of its own, for the lab (`tools/lab`). Hidden: nothing of
//! it is of use to operators.

mod seeds;

use std::net::SocketAddr;
use std::path::PathBuf;

use axum::http::StatusCode;
use axum::routing::get;
use clap::{Args, Subcommand};

use super::logging::{self, LogFormat};
use super::{Exit, Failure};
use crate::clock;
use crate::sim::agent;
use crate::sim::mesos::http::SimServer;
use crate::sim::mesos::{MesosConfig, SimMesos};

/// The simulated Mesos in processes of its own, for tests
#[derive(Debug, Args)]
pub(super) struct Sim {
    #[command(subcommand)]
    process: Process,
}

#[derive(Debug, Subcommand)]
enum Process {
    /// The master, and the models of the agents
    Master(Master),
    /// The process of an agent on a machine of its own; its flags are in `MESOS_…`, as for a real one
    Agent(Agent),
    /// Random histories in virtual time
    Seeds(seeds::Seeds),
}

#[derive(Debug, Args)]
struct Master {
    /// Where schedulers and operators find it
    #[arg(long, value_name = "ADDRESS")]
    listen: SocketAddr,

    /// Where processes of agents report
    #[arg(long, value_name = "ADDRESS")]
    agents: SocketAddr,

    /// The version of master and agents
    #[arg(long, value_name = "VERSION", default_value = "1.11.0")]
    mesos_version: semver::Version,

    /// Serve this file as `/calico-dcos` on the address of `--artifact-listen`
    #[arg(long, value_name = "FILE", requires = "artifact_listen")]
    artifact: Option<PathBuf>,

    /// Where the file of `--artifact` is served
    #[arg(long, value_name = "ADDRESS")]
    artifact_listen: Option<SocketAddr>,
}

#[derive(Debug, Args)]
struct Agent {
    /// Where the master takes processes of agents
    #[arg(long, value_name = "ADDRESS")]
    server: SocketAddr,
}

impl Sim {
    pub(super) async fn execute(self) -> Result<Exit, Failure> {
        logging::start(LogFormat::default(), "info")?;
        match self.process {
            Process::Seeds(seeds) => seeds.execute().await,
            Process::Master(master) => master.execute().await,
            Process::Agent(own) => {
                let environment = std::env::vars_os().filter_map(|(name, value)| {
                    Some((name.into_string().ok()?, value.into_string().ok()?))
                });
                match agent::run(own.server, environment).await {
                    Ok(never) => match never {},
                    Err(error) => Err(Failure::environment(error)),
                }
            }
        }
    }
}

impl Master {
    async fn execute(self) -> Result<Exit, Failure> {
        let mesos = MesosConfig::new(self.mesos_version, rand::random());
        let world = SimMesos::new(clock::now(), mesos);
        let server = SimServer::start(self.listen, world).await.map_err(Failure::environment)?;
        let desk = server.accept_agents(self.agents).await.map_err(Failure::environment)?;
        tracing::info!(master = %server.address(), agents = %desk.address(), "the simulated Mesos is up");
        if let (Some(file), Some(listen)) = (self.artifact, self.artifact_listen) {
            serve(file, listen).await?;
        }
        // Until a signal ends it.
        std::future::pending().await
    }
}

async fn serve(file: PathBuf, listen: SocketAddr) -> Result<(), Failure> {
    let cannot = |error: std::io::Error| {
        Failure::environment(format!("cannot listen on {listen}: {error}; give another address"))
    };
    let listener = tokio::net::TcpListener::bind(listen).await.map_err(cannot)?;
    let read = move || async move {
        tokio::fs::read(file).await.map_err(|error| (StatusCode::NOT_FOUND, error.to_string()))
    };
    let router = axum::Router::new().route("/calico-dcos", get(read));
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(())
}
