//! `pause` and `resume`: nothing new starts in the cluster, in a pool or on a host.

use clap::Args;

use super::control::{Desk, me};
use super::{Connection, Exit, Failure};
use crate::surface::ask::{self, ScopeName};

const EXAMPLES: &str = "\
Examples:
  calico-dcos pause                             the whole cluster
  calico-dcos pause --pool gpu --why 'disk swap'
  calico-dcos pause --host a7
  calico-dcos resume                            what was paused with `pause`

What is under way goes on to its end; nothing new starts, retries included.

Exit codes: 0 done · 2 input · 4 environment";

/// Start nothing new in the cluster, in a pool or on a host
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Pause {
    #[command(flatten)]
    scope: ScopeArgs,

    /// The reason, for all who wonder
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,

    /// Where etcd is
    #[command(flatten)]
    connection: Connection,
}

/// End a pause
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Resume {
    #[command(flatten)]
    scope: ScopeArgs,

    /// Where etcd is
    #[command(flatten)]
    connection: Connection,
}

/// What is paused or resumed.
#[derive(Debug, Args)]
#[group(multiple = false)]
struct ScopeArgs {
    /// The hosts of a pool; without this and --host, the whole cluster
    #[arg(long, value_name = "NAME")]
    pool: Option<String>,

    /// One host
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
}

impl Pause {
    pub(super) async fn execute(self) -> Result<Exit, Failure> {
        let desk = Desk::open(&self.connection).await?;
        desk.settle(ask::pause(&desk.state, &self.scope.name(), self.why, &me())).await
    }
}

impl Resume {
    pub(super) async fn execute(self) -> Result<Exit, Failure> {
        let desk = Desk::open(&self.connection).await?;
        desk.settle(ask::resume(&desk.state, &self.scope.name())).await
    }
}

impl ScopeArgs {
    fn name(&self) -> ScopeName {
        match (&self.host, &self.pool) {
            (Some(host), _) => ScopeName::Host(host.clone()),
            (None, Some(pool)) => ScopeName::Pool(pool.clone()),
            (None, None) => ScopeName::Cluster,
        }
    }
}
