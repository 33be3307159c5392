//! `demo`: a whole cluster on this machine. etcd and the controller are real and processes of
//! their own; Mesos speaks its real HTTP API, and its hosts are models that witness what happens.

mod mirror;
mod process;
mod progress;
mod stage;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde_json::json;
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};

use super::simulate::verdict;
use super::{Exit, Failure, diff, format, logging};
use crate::clock;
use crate::desired::{Source, read, set_path};
use crate::sim::mesos::http::SimServer;
use crate::sim::report::Report;
use crate::sim::run::read_documents;
use crate::sim::scenario::{Fault, Scenario, TimedEdit, Until};
use crate::sim::town::Town;
use crate::surface::view::View;
use crate::words::HostName;
use process::{Etcd, Launch};
use stage::{Act, Over, Stage, is_writable};

const EXAMPLES: &str = "\
Examples:
  calico-dcos demo                                20 hosts, 3 at a time, with accidents
  calico-dcos demo --hosts 100 --budget 10 --restart-seconds 4
  calico-dcos demo --mesos-version 1.11.0 --advertise --no-faults    without a single restart
  calico-dcos demo --keep                         stay, to try the other commands on it
  calico-dcos demo --scenario examples/faults.yaml --report report.json

Exit codes: 0 converged within the budget · 1 not converged, or interrupted · 2 input
            3 halted · 4 environment";

/// What all keys of the demo begin with.
const PREFIX: &str = "/calico-dcos";

/// The documents.
const CLUSTER: &str = include_str!("demo/cluster.yaml");

/// The image that the demo ends with.
const NEXT_IMAGE: &str = "calico/node:v2.6.13";

/// How long it stays quiet before the verdict: when a report is wanted, a full minute is looked at.
const QUIET: Duration = Duration::from_secs(3);
const QUIET_FOR_REPORT: Duration = Duration::from_mins(1);

/// Bring a whole cluster in sync on this machine: etcd, a simulated Mesos, a controller
///
/// Everything is in a temporary directory and gone afterwards. Nothing outside it is touched.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Demo {
    /// How many hosts there are
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    hosts: u32,

    /// How many hosts may be disrupted at a time
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    budget: u32,

    /// How long the restart of a host takes
    #[arg(long, value_name = "SECONDS", default_value_t = 4.0, value_parser = restart_seconds, allow_negative_numbers = true)]
    restart_seconds: f64,

    /// No accident: nothing is killed, nothing fails, nothing is edited
    #[arg(long)]
    no_faults: bool,

    /// Stay when it is over, to explore with the other commands
    #[arg(long)]
    keep: bool,

    /// Write what the hosts saw to this file, as JSON (report.schema.json)
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,

    /// Take hosts, documents, faults and edits from a file, as `simulate` does
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["hosts", "budget", "restart_seconds", "no_faults", "mesos_version", "advertise"]
    )]
    scenario: Option<PathBuf>,

    /// The version of the simulated Mesos; from 1.2 on agents need no restart for CNI
    #[arg(long, value_name = "VERSION", default_value = "1.1.0")]
    mesos_version: semver::Version,

    /// Declare docker.clusterAdvertise, with which Docker needs no restart
    #[arg(long)]
    advertise: bool,

    /// Where the page of the controller is [default: a free port of this machine]
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        default_value = "127.0.0.1:0",
        hide_default_value = true
    )]
    listen: SocketAddr,

    /// Where the simulated Mesos listens [default: a free port of this machine]
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        default_value = "127.0.0.1:0",
        hide_default_value = true
    )]
    mesos_listen: SocketAddr,
}

fn restart_seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "write a number of seconds".to_owned())?;
    if (0.1..=86_400.0).contains(&seconds) { Ok(seconds) } else { Err("0.1 to 86400".to_owned()) }
}

/// What is played.
struct Play {
    scenario: Scenario,
    /// By name.
    documents: BTreeMap<String, String>,
    /// Kill, failure and edit of the demo itself.
    accidents: bool,
    quiet: Duration,
}

/// Whether nothing was written into a directory.
fn is_empty(dir: &Path) -> bool {
    std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none())
}

impl Demo {
    pub(super) async fn execute(self) -> Result<Exit, Failure> {
        logging::start(logging::LogFormat::Text, "error")?;
        let play = self.play()?;
        if let Some(path) = &self.report {
            is_writable(path).map_err(|error| cannot_write(path, &error))?;
        }
        let dir = TempDir::with_prefix("calico-dcos-demo-").map_err(|error| {
            Failure::environment(format!("cannot make a temporary directory: {error}"))
        })?;
        let done = tokio::select! {
            done = self.perform(&play, dir.path()) => done,
            asked = asked_to_stop() => {
                asked.map_err(|error| {
                    Failure::environment(format!("cannot wait for signals: {error}"))
                })?;
                format::print("\ninterrupted; all is taken down again\n")?;
                return Ok(Exit::Differs);
            }
        };
        match done {
            Ok(Exit::Good) => Ok(Exit::Good),
            Ok(exit) => {
                let logs = dir.keep();
                format::print(&format!("\nThe logs are in {}\n", logs.display()))?;
                Ok(exit)
            }
            // Nothing has run yet that has anything to say.
            Err(failure) if is_empty(dir.path()) => Err(failure),
            Err(failure) => {
                let logs = dir.keep();
                Err(failure.with_hint(format!("the logs are in {}", logs.display())))
            }
        }
    }

    fn play(&self) -> Result<Play, Failure> {
        let quiet = match &self.report {
            Some(_) if self.no_faults => QUIET_FOR_REPORT,
            _ => QUIET,
        };
        let Some(path) = &self.scenario else {
            let (scenario, text) = self.own_scenario()?;
            let documents = [("cluster".to_owned(), text)].into();
            return Ok(Play { scenario, documents, accidents: !self.no_faults, quiet });
        };
        let text = std::fs::read_to_string(path).map_err(|error| {
            Failure::environment(format!("cannot read `{}`: {error}", path.display()))
        })?;
        let scenario =
            Scenario::read(&path.display().to_string(), &text).map_err(Failure::input)?;
        if let Some(fault) =
            scenario.faults.iter().find_map(|timed| only_simulated(&timed.fault()?))
        {
            return Err(Failure::input(format!(
                "`{}` has the fault `{fault}`, which only `calico-dcos simulate` can do; leave it out",
                path.display()
            )));
        }
        let documents = read_documents(&scenario, path).map_err(Failure::environment)?;
        let sources: Vec<Source> =
            documents.iter().map(|(label, text)| Source::file(label, text.clone())).collect();
        let desired = read(&sources).map_err(|findings| refused(&findings))?;
        let texts = desired.documents.iter().map(|(name, text)| (name.to_string(), text.clone()));
        let documents = texts.collect();
        Ok(Play { scenario, documents, accidents: false, quiet })
    }

    /// What the options say, as a scenario and its document.
    fn own_scenario(&self) -> Result<(Scenario, String), Failure> {
        let mut text = CLUSTER.to_owned();
        let mut set = vec![("spec.rollout.maxConcurrentRestarts", json!(self.budget))];
        if self.advertise {
            set.push(("spec.docker.clusterAdvertise", json!("eth0:2376")));
        }
        for (path, value) in set {
            text = set_path(&text, path, &value).map_err(Failure::input)?;
        }
        let scenario = json!({
            "apiVersion": "calico-dcos/v1",
            "kind": "Scenario",
            "desired": [],
            "mesos": {"version": self.mesos_version.to_string()},
            "hosts": [{
                "count": self.hosts,
                "name": "a{n}",
                "restartSeconds": {"median": self.restart_seconds},
            }],
        });
        let scenario = serde_json::from_value(scenario)
            .map_err(|error| Failure::input(format!("these options make no scenario: {error}")))?;
        Ok((scenario, text))
    }

    async fn perform(&self, play: &Play, dir: &Path) -> Result<Exit, Failure> {
        let mut stage = self.set_up(play, dir).await?;
        if stage.until_known().await? != (Over::Done { writes: 0 }) {
            return Ok(Exit::Differs);
        }
        show_plan(&mut stage)?;
        stage.progress.head("3. The rollout");
        stage.progress.begin(0);
        stage.write(&stage.documents).await?;
        plan_ahead(&mut stage, play);
        let mut over =
            stage.until_quiet(if play.accidents { Duration::ZERO } else { play.quiet }).await?;
        if play.accidents && matches!(over, Over::Done { .. }) {
            stage.progress.head("4. An edit");
            let set = [("spec.calicoNode.image".to_owned(), json!(NEXT_IMAGE))].into();
            let at = crate::sim::scenario::Span::default();
            stage.edit(&TimedEdit { at, document: "cluster".to_owned(), set }).await?;
            stage.progress.begin(0);
            over = stage.until_quiet(play.quiet).await?;
        }
        self.finish(&mut stage, over).await
    }

    /// Starts everything; the rollout is paused, so that the plan can be shown first.
    async fn set_up(&self, play: &Play, dir: &Path) -> Result<Stage, Failure> {
        let hosts = play.scenario.host_names().len();
        let sources: Vec<Source> =
            play.documents.iter().map(|(name, text)| Source::file(name, text.clone())).collect();
        let desired = read(&sources).map_err(|findings| refused(&findings))?;
        let now = clock::now();
        let limit = now.plus_ms(time_limit(play));
        let mut town = Town::new(&play.scenario, desired, now);
        if play.accidents {
            town.cluster.fail_restarts(&unlucky(hosts), 1);
        }
        let mesos =
            SimServer::start(self.mesos_listen, town).await.map_err(Failure::environment)?;
        let etcd = Etcd::start(dir, PREFIX).await?;
        let page = process::page_address(self.listen).map_err(|error| {
            let text = format!("cannot listen on {}: {error}; give another --listen", self.listen);
            Failure::environment(text)
        })?;
        let token = dir.join("token");
        process::write_token(&token).map_err(|error| {
            Failure::environment(format!("cannot write the token for the page: {error}"))
        })?;
        let launch = Launch {
            etcd: etcd.endpoint.clone(),
            prefix: PREFIX.to_owned(),
            mesos: mesos.address(),
            log: dir.join("controller.log"),
            page,
            token,
        };
        let mut stage = Stage::new(etcd, mesos, launch, (hosts, limit));
        stage.documents.clone_from(&play.documents);
        stage.kill_half_way = play.accidents;
        let mut paused = stage.documents.clone();
        if let Some(text) = paused.get_mut("cluster") {
            *text = set_path(text, "spec.rollout.paused", &json!(true)).map_err(Failure::input)?;
        }
        stage.write(&paused).await?;
        stage.start_controller()?;
        stage.progress.head("1. A cluster");
        let (etcd, mesos) = (&stage.launch.etcd, stage.launch.mesos);
        let text = format!(
            "  etcd        {etcd}\n  \
               Mesos       http://{mesos}, simulated, version {}, {hosts} hosts\n  \
               controller  process {}, its log {}\n  \
               page        http://{}/\n\n  \
             The documents are in etcd with `paused: true`: so far each host only says what is there.",
            play.scenario.mesos.version.0,
            stage.controllers.first().map_or(0, process::Process::id),
            stage.launch.log.display(),
            stage.launch.page,
        );
        stage.progress.say(&text);
        Ok(stage)
    }

    /// The hosts' own verdict, the report, and what can be done next.
    async fn finish(&self, stage: &mut Stage, over: Over) -> Result<Exit, Failure> {
        let glance = stage.mirror.glance(clock::now())?;
        let mut report = stage.of_town(move |town, now| town.report(&glance.reasons, now)).await?;
        match over {
            Over::Done { writes } => report.etcd_writes_after_convergence = writes,
            Over::Halted | Over::TooLong => report.converged = false,
        }
        stage.progress.head("What the hosts saw");
        stage.progress.say(verdict(&report).trim_end());
        if let Some(path) = &self.report {
            write_report(path, &report)?;
        }
        self.what_next(stage).await;
        let good = report.converged && report.budget_breaches == 0;
        Ok(match over.exit() {
            Exit::Good if !good => Exit::Differs,
            exit => exit,
        })
    }

    async fn what_next(&self, stage: &mut Stage) {
        let text = if self.keep {
            format!(
                "  export CALICO_DCOS_ETCD_ENDPOINTS={}\n  \
                 calico-dcos status\n  calico-dcos diff\n  \
                 calico-dcos edit          # change the image, watch with `status --watch`\n  \
                 calico-dcos export -o cluster.json\n\n  \
                 The page is at http://{}/, its token in {}\n\n  \
                 Ctrl-C takes all of it down again.",
                stage.launch.etcd,
                stage.launch.page,
                stage.launch.token.display()
            )
        } else {
            "  calico-dcos demo --keep                 stay, and try diff, edit and status on it\n  \
             calico-dcos demo --hosts 100 --budget 10 --restart-seconds 4\n  \
             calico-dcos demo --mesos-version 1.11.0 --advertise --no-faults\n  \
             calico-dcos simulate --help             thousands of hosts, in seconds"
                .to_owned()
        };
        stage.progress.head("What to try next");
        stage.progress.say(&text);
        if self.keep {
            // Until a signal, which `execute` waits for.
            std::future::pending::<()>().await;
        }
    }
}

/// Until Ctrl-C, or until a service manager ends it.
async fn asked_to_stop() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        pressed = tokio::signal::ctrl_c() => pressed,
    }
}

/// What `diff -f` says of the same documents without the pause.
fn show_plan(stage: &mut Stage) -> Result<(), Failure> {
    stage
        .progress
        .head("2. What would change (`calico-dcos diff -f cluster.yaml`, without the pause)");
    let now = clock::now();
    let view = View::new(stage.mirror.state(now), stage.sources(), now)?;
    let text = format::fitted(&diff::text(&view, &view.plan(), false));
    stage.progress.say(&format!("\n{}", text.trim_end()));
    Ok(())
}

/// The host whose first restart fails.
fn unlucky(hosts: usize) -> HostName {
    HostName(format!("a{}", (hosts / 4).max(1)))
}

/// The faults and edits of a scenario, counted from now.
fn plan_ahead(stage: &mut Stage, play: &Play) {
    let now = clock::now();
    for fault in &play.scenario.faults {
        if let Some(what) = fault.fault() {
            stage.ahead.push((now.plus_ms(fault.at.ms), Act::Fault(what)));
        }
    }
    for edit in &play.scenario.edits {
        stage.ahead.push((now.plus_ms(edit.at.ms), Act::Edit(edit.clone())));
    }
}

/// Four times what it takes if hosts went one by one in the budget, and five minutes.
fn time_limit(play: &Play) -> u64 {
    if let Until::After(span) = play.scenario.until {
        return span.ms;
    }
    let last = play.scenario.faults.iter().map(|fault| fault.at.ms);
    let last = last.chain(play.scenario.edits.iter().map(|edit| edit.at.ms)).max().unwrap_or(0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to be at most a day each"
    )]
    let restarts: u64 = play
        .scenario
        .hosts
        .iter()
        .map(|group| (group.restart_seconds.median * 1000.0) as u64 * u64::from(group.count))
        .sum();
    last + restarts * 4 + 300_000
}

fn write_report(path: &Path, report: &Report) -> Result<(), Failure> {
    let json = serde_json::to_string_pretty(report)
        .map_err(|error| Failure::environment(format!("the report cannot be written: {error}")))?;
    std::fs::write(path, format!("{json}\n")).map_err(|error| cannot_write(path, &error))
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Failure {
    Failure::environment(format!(
        "cannot write the report to `{}`: {error}; give another file",
        path.display()
    ))
}

fn refused(findings: &crate::desired::Findings) -> Failure {
    Failure::input(format!("the documents are refused\n\n{}", findings.render(true)))
}
/// The name of a fault that needs a modelled etcd or a modelled clock.
fn only_simulated(fault: &Fault) -> Option<&'static str> {
    match fault {
        Fault::EtcdRestored(_) => Some("etcdRestored"),
        Fault::AnswersLost(_) => Some("answersLost"),
        Fault::CrashAtWrite(_) => Some("crashAtWrite"),
        Fault::EtcdCut(_) => Some("etcdCut"),
        Fault::MasterCut(_) => Some("masterCut"),
        Fault::WatchLate(_) => Some("watchLate"),
        Fault::ClockJump(_) => Some("clockJump"),
        _ => None,
    }
}
