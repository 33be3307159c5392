//! `run`: the controller.

use std::fs::File;
use std::io::{self, Read};
use std::time::Duration;

use clap::Args;
use sha2::{Digest, Sha256};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::logging::{self, LogFormat};
use super::mesos::MesosArgs;
use super::{Connection, Exit, Failure};
use crate::controller::{self, ControllerError};
use crate::rollout::config::{Config, Delivery};
use crate::words::{HostName, SpecHash};

const EXAMPLES: &str = "\
Examples:
  calico-dcos run --mesos-master http://leader.mesos:5050 \\
      --etcd-endpoints https://etcd1:2379,https://etcd2:2379 --etcd-ca ca.pem \\
      --etcd-user calico --etcd-password-file /run/secrets/etcd \\
      --artifact-url https://downloads.example/calico-dcos

The level of the log is in CALICO_DCOS_LOG, for example `debug`.";

/// Run the controller: it brings the cluster to the declared state and keeps it there
///
/// Any number may run; one of them leads, the others stand by. It can be stopped at any moment:
/// tasks and hosts go on without it, and the next one carries on where it was.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Run {
    #[command(flatten)]
    etcd: Connection,

    /// Accept that anybody can write under the prefix: whoever does is root on every host
    #[arg(long, help_heading = "etcd")]
    allow_open_etcd: bool,

    /// Seconds without a sign of life after which another controller takes over
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 10,
        value_parser = clap::value_parser!(u16).range(2..=600),
        help_heading = "etcd"
    )]
    lease_seconds: u16,

    #[command(flatten)]
    mesos: MesosArgs,

    /// The agent that this controller runs on: it moves last
    #[arg(long, value_name = "HOST", env = "CALICO_DCOS_OWN_HOST", hide_env_values = true)]
    own_host: Option<String>,

    /// Where hosts fetch this very program; the path ends in `calico-dcos`
    #[arg(
        long,
        value_name = "URL",
        value_parser = artifact_url,
        env = "CALICO_DCOS_ARTIFACT_URL",
        hide_env_values = true
    )]
    artifact_url: String,

    /// An address for people, which Mesos' own page links to: of a dashboard, for example
    #[arg(long, value_name = "URL", value_parser = webui_url)]
    webui_url: Option<String>,

    /// The name of this process, for people [default: host name and process ID]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// The form of the log
    #[arg(long, value_enum, default_value_t)]
    log_format: LogFormat,
}

impl Run {
    pub(super) async fn execute(self) -> Result<Exit, Failure> {
        // What the ZooKeeper client has to say is told in our own words.
        logging::start(self.log_format, "info,zookeeper_client=error")?;
        let options = self.options()?;
        let shutdown = CancellationToken::new();
        stop_on_signals(shutdown.clone())
            .map_err(|error| Failure::environment(format!("cannot wait for signals: {error}")))?;
        controller::run(options, shutdown).await?;
        Ok(Exit::Good)
    }

    fn options(self) -> Result<controller::Options, Failure> {
        let mesos = self.mesos.options()?;
        let known_as = mesos.credentials.as_ref().map(|known| known.principal().to_owned());
        let digest = digest_of_this_program().map_err(|error| {
            Failure::environment(format!("cannot read this program's own file: {error}"))
        })?;
        let config = Config {
            name: self.name.unwrap_or_else(process_name),
            framework_name: self.mesos.framework_name,
            principal: self.mesos.principal.or(known_as),
            roles: self.mesos.roles,
            own_host: self.own_host.map(HostName),
            webui_url: self.webui_url,
            delivery: Delivery { url: self.artifact_url, digest },
        };
        Ok(controller::Options {
            etcd: self.etcd.options(),
            allow_open_etcd: self.allow_open_etcd,
            mesos,
            lease: Duration::from_secs(self.lease_seconds.into()),
            config,
        })
    }
}

impl From<ControllerError> for Failure {
    fn from(error: ControllerError) -> Self {
        match error {
            ControllerError::Store(error) => error.into(),
            other => Self::environment(other),
        }
    }
}

/// The first signal ends the work in order; the second one ends it as a crash would, which is
/// just as safe.
fn stop_on_signals(shutdown: CancellationToken) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stops");
        shutdown.cancel();
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        #[expect(clippy::exit, reason = "somebody insists")]
        std::process::exit(130);
    });
    Ok(())
}

/// The hosts check what they fetch against this.
fn digest_of_this_program() -> io::Result<SpecHash> {
    // Also right when the file was replaced meanwhile.
    let mut program = File::open("/proc/self/exe")?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match program.read(&mut buffer)? {
            0 => return Ok(SpecHash(hash.finalize().into())),
            read => hash.update(&buffer[..read]),
        }
    }
}

fn process_name() -> String {
    format!("{}:{}", machine(), std::process::id())
}

/// The name of this machine; empty if the kernel does not tell.
pub(super) fn machine() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

/// Whoever follows the link is a browser.
fn webui_url(text: &str) -> Result<String, String> {
    let url = reqwest::Url::parse(text).map_err(|error| error.to_string())?;
    let open = url.username().is_empty() && url.password().is_none();
    if !matches!(url.scheme(), "http" | "https") || !open {
        return Err("write http(s)://HOST/…, without user and password".to_owned());
    }
    Ok(text.to_owned())
}

/// Mesos names the file after the end of the path, and the command expects this name.
fn artifact_url(text: &str) -> Result<String, String> {
    let url = reqwest::Url::parse(text).map_err(|error| error.to_string())?;
    let name = url.path().rsplit('/').next();
    if !matches!(url.scheme(), "http" | "https") || name != Some("calico-dcos") {
        return Err("write http(s)://HOST/…/calico-dcos".to_owned());
    }
    Ok(text.to_owned())
}
