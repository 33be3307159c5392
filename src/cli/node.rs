//! `node`: what runs on hosts. Started by the Mesos agent and by systemd, as root.

use clap::{Args, Subcommand};

use super::format::{Output, print, structured};
use super::logging::{self, LogFormat};
use super::{Exit, Failure};
use crate::job::runner::Outcome;
use crate::mesos::executor::{Ending, Environment};
use crate::node::agent::Agent;
use crate::node::host::{Host, HostError};
use crate::node::{boot, executor, observer, runner};
use crate::words::{Attempt, Run};

/// What runs on hosts; started by the Mesos agent and by systemd, not by hand
///
/// All of them need root, and write their log to standard error: into the sandbox of the executor, or
/// into the journal of systemd.
#[derive(Debug, Args)]
pub(super) struct Node {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the tasks of this host; started by the Mesos agent
    Executor,
    /// Carries out one change that was admitted; started as a unit of systemd
    Runner {
        /// The attempt of the open journal
        #[arg(long)]
        attempt: u64,
        /// The run of the open journal
        #[arg(long)]
        run: String,
    },
    /// Carries on a change that a power cut has interrupted; started at boot
    Boot,
    /// Prints the facts of this host as they would be reported, and changes nothing
    Facts,
}

impl Node {
    pub(super) async fn execute(self) -> Result<Exit, Failure> {
        logging::start(LogFormat::Text, "info")?;
        let host = Host::this()?;
        match self.command {
            Command::Executor => run_executor(host).await,
            Command::Runner { attempt, run } => {
                match runner::run(&host, Attempt(attempt), Run(run)).await {
                    Outcome::Closed => Ok(Exit::Good),
                    Outcome::NotAdmitted => {
                        tracing::info!(attempt, "the journal is not open for this attempt and run");
                        Ok(Exit::Good)
                    }
                    Outcome::Interrupted { why } => Err(Failure::environment(why)),
                }
            }
            Command::Boot => {
                let open = boot::carry_on(&host).await?;
                tracing::info!(open, "looked for a change that was under way");
                Ok(Exit::Good)
            }
            Command::Facts => {
                let facts = observer::survey(&host).await?;
                print(&structured(&facts, Output::Json)?)?;
                Ok(Exit::Good)
            }
        }
    }
}

async fn run_executor(host: Host) -> Result<Exit, Failure> {
    let get = |name: &str| std::env::var(name).ok();
    let environment = Environment::read(get).map_err(Failure::input)?;
    let ending = executor::run(host, environment, Agent::of_executor(get)).await?;
    tracing::info!(%ending, "the executor ends");
    match ending {
        Ending::Done => Ok(Exit::Good),
        other => Err(Failure::environment(other)),
    }
}

impl From<HostError> for Failure {
    fn from(error: HostError) -> Self {
        Self::environment(error)
    }
}
