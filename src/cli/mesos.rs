//! How to reach Mesos, and as whom: the options that commands have in common.

use std::convert::Infallible;
use std::fmt;
use std::io::Write as _;
use std::path::PathBuf;
use std::str::FromStr;

use anstyle::{AnsiColor, Style};
use clap::Args;

use super::Failure;
use crate::mesos::operator::OperatorClient;
use crate::mesos::workload::Workload;
use crate::mesos::{
    AddressError, Authorities, Credentials, Masters, MesosError, OldTreeAddress, Options,
};
use crate::observed::fleet::AgentSeen;
use crate::store::in_one_line;

/// How a controller reaches Mesos, and who it is there.
#[derive(Debug, Args)]
#[command(next_help_heading = "Mesos")]
pub(super) struct MesosArgs {
    /// The masters: `http(s)://HOST:PORT`, several of them with commas between them,
    /// `zk://HOST,…/PATH`, or `file:///PATH` of a file that holds one of these
    #[arg(long, value_name = "ADDRESS", env = "CALICO_DCOS_MESOS_MASTER", hide_env_values = true)]
    mesos_master: Given,

    #[command(flatten)]
    trust: Trust,

    /// The principal of the framework; it can never be changed [default: that of the credentials]
    #[arg(long, value_name = "NAME", env = "CALICO_DCOS_PRINCIPAL", hide_env_values = true)]
    pub(super) principal: Option<String>,

    /// The roles whose agents are looked after
    #[arg(
        long,
        value_name = "ROLE,…",
        value_delimiter = ',',
        default_value = "*,slave_public",
        env = "CALICO_DCOS_ROLES",
        hide_env_values = true
    )]
    pub(super) roles: Vec<String>,

    /// The name of the framework in Mesos
    #[arg(
        long,
        value_name = "NAME",
        default_value = "calico-dcos",
        env = "CALICO_DCOS_FRAMEWORK_NAME",
        hide_env_values = true
    )]
    pub(super) framework_name: String,
}

/// How somebody who only looks reaches Mesos, if it is to be asked.
#[derive(Debug, Args)]
#[command(next_help_heading = "Mesos")]
pub struct Looking {
    /// The masters, to show the agents as they are now and whose containers a restart stops; as
    /// for `run`
    #[arg(long, value_name = "ADDRESS", env = "CALICO_DCOS_MESOS_MASTER", hide_env_values = true)]
    mesos_master: Option<Given>,

    #[command(flatten)]
    trust: Trust,
}

/// Whom to trust, and who we are.
#[derive(Debug, Args)]
#[command(next_help_heading = "Mesos")]
struct Trust {
    /// A file with principal and secret, as for Mesos' own `--credential`, or with a service
    /// account of DC/OS
    #[arg(
        long,
        value_name = "FILE",
        env = "CALICO_DCOS_MESOS_CREDENTIALS_FILE",
        hide_env_values = true
    )]
    mesos_credentials_file: Option<PathBuf>,

    /// Certificates (PEM) that the masters' own are checked against [default: those of this
    /// machine]; with it, masters that ZooKeeper names are asked over https
    #[arg(long, value_name = "FILE", env = "CALICO_DCOS_MESOS_CA", hide_env_values = true)]
    mesos_ca: Option<PathBuf>,
}

/// An address as it was given. It is checked later, and not by clap, which repeats what it
/// refuses: a password may be in it.
#[derive(Clone)]
pub(super) struct Given(String);

impl FromStr for Given {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(an address)")
    }
}

impl Given {
    /// As the address of the predecessor's records.
    pub(super) fn as_old_tree(&self) -> Result<OldTreeAddress, Failure> {
        OldTreeAddress::read(&self.0).map_err(refused)
    }
}

impl MesosArgs {
    /// The same for the clients. Reads the files that are named.
    pub(super) fn options(&self) -> Result<Options, Failure> {
        self.trust.options(&self.mesos_master)
    }
}

/// What Mesos says to somebody who only looks; nothing where it is not asked or does not answer.
#[derive(Debug, Default)]
pub(super) struct Sight {
    /// The agents, as they are at this moment.
    pub(super) agents: Option<Vec<AgentSeen>>,
    /// What runs on them.
    pub(super) workload: Option<Workload>,
}

impl Looking {
    /// A way to ask Mesos, if it is to be asked.
    pub(super) fn operator(&self) -> Result<Option<OperatorClient>, Failure> {
        let Some(masters) = &self.mesos_master else { return Ok(None) };
        let options = self.trust.options(masters)?;
        OperatorClient::new(&options).map(Some).map_err(Failure::environment)
    }

    /// Where the predecessor keeps its records by default, if the masters' address tells.
    pub(super) fn old_tree(&self) -> Result<Option<OldTreeAddress>, Failure> {
        let Some(given) = &self.mesos_master else { return Ok(None) };
        Ok(OldTreeAddress::beside(&masters(given)?))
    }

    /// Asks Mesos, if it is to be asked. A plan is good without it, so that what goes wrong is a
    /// warning.
    pub(super) async fn look(&self) -> Result<Sight, Failure> {
        let Some(masters) = &self.mesos_master else { return Ok(Sight::default()) };
        let options = self.trust.options(masters)?;
        let operator = match OperatorClient::new(&options) {
            Ok(operator) => operator,
            Err(error) => {
                warn("Mesos is not asked", &error);
                return Ok(Sight::default());
            }
        };
        let (agents, workload) = (operator.agents().await, operator.workload().await);
        let agents = agents.inspect_err(|error| {
            warn("the agents are shown as the controller last saw them", error);
        });
        let workload =
            workload.inspect_err(|error| warn("whose containers stop is not known", error));
        Ok(Sight { agents: agents.ok(), workload: workload.ok() })
    }
}

fn masters(given: &Given) -> Result<Masters, Failure> {
    Masters::read(&given.0).map_err(refused)
}

fn refused(error: AddressError) -> Failure {
    match error {
        AddressError::File { .. } | AddressError::Exposed { .. } => Failure::environment(error),
        _ => Failure::input(error),
    }
}

fn warn(what: &str, error: &MesosError) {
    let yellow = Style::new().fg_color(Some(AnsiColor::Yellow.into()));
    let text = in_one_line(error);
    // Standard error is gone: there is nobody left to be told.
    let _ = writeln!(anstream::stderr(), "{yellow}warning{yellow:#}: {what}: {text}");
}

impl Trust {
    fn options(&self, masters: &Given) -> Result<Options, Failure> {
        let mut options = Options::new(self::masters(masters)?);
        if let Some(file) = &self.mesos_credentials_file {
            options.credentials = Some(Credentials::read(file).map_err(Failure::environment)?);
        }
        if let Some(file) = &self.mesos_ca {
            if !options.may_use_tls() {
                return Err(Failure::input(
                    "--mesos-ca is given, but the masters are http://; use https://",
                ));
            }
            options.authorities = Some(Authorities::read(file).map_err(Failure::environment)?);
        }
        Ok(options)
    }
}
