//! `run`: the controller.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::initial::Initial;
use super::logging::{self, LogFormat};
use super::mesos::MesosArgs;
use super::{Connection, Exit, Failure};
use crate::controller::mirror::{self, MirrorError};
use crate::controller::pulse::Pulse;
use crate::controller::{self, ControllerError};
use crate::rollout::config::{Config, Delivery};
use crate::store::{EtcdStore, in_one_line};
use crate::web;
use crate::web::artifact::Artifact;
use crate::web::token::Token;
use crate::words::HostName;

const EXAMPLES: &str = "\
Examples:
  calico-dcos run --mesos-master http://leader.mesos:5050 \\
      --etcd-endpoints https://etcd1:2379,https://etcd2:2379 --etcd-ca ca.pem \\
      --etcd-user calico --etcd-password-file /run/secrets/etcd \\
      --listen 0.0.0.0:9400 --advertise-url http://10.0.0.7:9400
  … --artifact-url https://downloads.example/calico-dcos    where hosts fetch from a mirror

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
        env = "CALICO_DCOS_LEASE_SECONDS",
        hide_env_values = true,
        help_heading = "etcd"
    )]
    lease_seconds: u16,

    #[command(flatten)]
    mesos: MesosArgs,

    /// The agent that this controller runs on: it moves last
    #[arg(long, value_name = "HOST", env = "CALICO_DCOS_OWN_HOST", hide_env_values = true)]
    own_host: Option<String>,

    #[command(flatten)]
    web: Web,

    /// The name of this process, for people [default: host name and process ID]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// The form of the log
    #[arg(
        long,
        value_enum,
        default_value_t,
        env = "CALICO_DCOS_LOG_FORMAT",
        hide_env_values = true
    )]
    log_format: LogFormat,

    #[command(flatten)]
    initial: Initial,
}

/// What is served, and where the others find it.
#[derive(Debug, Args)]
#[command(next_help_heading = "Page, API and files")]
struct Web {
    /// Serve the page, the API, metrics and this program's file there; without it nothing listens
    ///
    /// Whoever reaches it can read how the cluster is; nothing can be changed there without a token.
    #[arg(long, value_name = "ADDRESS:PORT", env = "CALICO_DCOS_LISTEN", hide_env_values = true)]
    listen: Option<SocketAddr>,

    /// How people, hosts and other controllers reach what is served, for example
    /// `http://10.0.0.7:9400`
    #[arg(
        long,
        value_name = "URL",
        value_parser = web_url,
        requires = "listen",
        env = "CALICO_DCOS_ADVERTISE_URL",
        hide_env_values = true
    )]
    advertise_url: Option<String>,

    /// A file with the token that lets people pause, approve and the like through page and API;
    /// without it nobody can
    #[arg(
        long,
        value_name = "FILE",
        requires = "listen",
        env = "CALICO_DCOS_TOKEN_FILE",
        hide_env_values = true
    )]
    token_file: Option<PathBuf>,

    /// Where hosts fetch this very program; the path ends in `calico-dcos` [default: this
    /// controller, at its --advertise-url]
    #[arg(
        long,
        value_name = "URL",
        value_parser = artifact_url,
        env = "CALICO_DCOS_ARTIFACT_URL",
        hide_env_values = true
    )]
    artifact_url: Option<String>,

    /// An address for people, which Mesos' own page links to: of a dashboard, for example
    /// [default: --advertise-url]
    #[arg(long, value_name = "URL", value_parser = web_url)]
    webui_url: Option<String>,
}

impl Web {
    /// Where hosts get this program.
    fn delivery(&self, artifact: &Artifact) -> Result<Delivery, Failure> {
        let own = || {
            let base = self.advertise_url.as_ref()?;
            Some(format!("{}/{}", base.trim_end_matches('/'), artifact.path()))
        };
        let url = self.artifact_url.clone().or_else(own).ok_or_else(|| {
            Failure::input(
                "hosts have to fetch this program from somewhere: give --listen and --advertise-url, \
                 so that they fetch it here, or the --artifact-url of a mirror",
            )
        })?;
        Ok(Delivery { url, digest: artifact.digest() })
    }

    /// Listens, if that is asked for.
    async fn listener(&self) -> Result<Option<TcpListener>, Failure> {
        let Some(address) = self.listen else { return Ok(None) };
        let listener = TcpListener::bind(address).await.map_err(|error| {
            Failure::environment(format!(
                "cannot listen on {address}: {error}; give another address with --listen"
            ))
        })?;
        if let Ok(address) = listener.local_addr() {
            tracing::info!(%address, "serves page, API and metrics");
        }
        Ok(Some(listener))
    }
}

impl Run {
    pub(super) async fn execute(self) -> Result<Exit, Failure> {
        // What the ZooKeeper client has to say is told in our own words.
        logging::start(self.log_format, "info,zookeeper_client=error")?;
        let artifact = Artifact::of_this_program().map_err(|error| {
            Failure::environment(format!("cannot read this program's own file: {error}"))
        })?;
        let delivery = self.web.delivery(&artifact)?;
        let token = self.web.token_file.as_deref().map(Token::read).transpose();
        let token = token.map_err(Failure::environment)?;
        let started_with = self.initial.write(&self.etcd).await?;
        let listener = self.web.listener().await?;
        if self.web.artifact_url.is_some() {
            tokio::spawn(look_at_mirror(delivery.clone()));
        }
        let options = self.options(delivery)?;
        let shutdown = CancellationToken::new();
        stop_on_signals(shutdown.clone())
            .map_err(|error| Failure::environment(format!("cannot wait for signals: {error}")))?;
        let served = match listener {
            Some(listener) => {
                let site = web::Options {
                    store: EtcdStore::connect(&options.etcd).await?,
                    pulse: options.pulse.clone(),
                    name: options.config.name.clone(),
                    artifact,
                    token,
                    started_with,
                };
                Some(tokio::spawn(web::serve(listener, site, shutdown.clone())))
            }
            None => None,
        };
        let done = controller::run(options, shutdown.clone()).await;
        shutdown.cancel();
        if let Some(served) = served {
            // It ends within seconds, and what it is doing is not worth an error.
            let _ = served.await;
        }
        done?;
        Ok(Exit::Good)
    }

    fn options(self, delivery: Delivery) -> Result<controller::Options, Failure> {
        let mesos = self.mesos.options()?;
        let known_as = mesos.credentials.as_ref().map(|known| known.principal().to_owned());
        let advertise_url = self.web.advertise_url;
        let config = Config {
            name: self.name.unwrap_or_else(process_name),
            framework_name: self.mesos.framework_name,
            principal: self.mesos.principal.or(known_as),
            roles: self.mesos.roles,
            own_host: self.own_host.map(HostName),
            webui_url: self.web.webui_url.or_else(|| advertise_url.clone()),
            delivery,
        };
        let lease = Duration::from_secs(self.lease_seconds.into());
        Ok(controller::Options {
            etcd: self.etcd.options(),
            allow_open_etcd: self.allow_open_etcd,
            mesos,
            lease,
            config,
            advertise_url,
            pulse: Pulse::new(lease),
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

/// Rollouts do not wait for it: a host that finds another program refuses it by itself.
async fn look_at_mirror(delivery: Delivery) {
    match mirror::check(&delivery).await {
        Ok(()) => tracing::info!(url = delivery.url, "hosts find this very program at its mirror"),
        Err(error @ MirrorError::Fetch { .. }) => {
            tracing::warn!(error = in_one_line(&error), "nothing is known of the mirror");
        }
        Err(error) => tracing::error!(error = in_one_line(&error), "the mirror is wrong"),
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
fn web_url(text: &str) -> Result<String, String> {
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
