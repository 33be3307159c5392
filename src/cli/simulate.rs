//! `simulate SCENARIO`: the real state machines on a modelled cluster, in virtual time.

use std::io::Write as _;
use std::path::PathBuf;

use clap::Args;

use super::{Exit, Failure};
use crate::sim::report::Report;
use crate::sim::run::{Options, World, read_documents};
use crate::sim::scenario::Scenario;

const EXAMPLES: &str = "\
Examples:
  calico-dcos simulate examples/faults.yaml
  calico-dcos simulate examples/ten-thousand.yaml --report report.json
  calico-dcos simulate examples/faults.yaml --seed 8 --timeline";

/// Run a scenario on a modelled cluster in virtual time
///
/// How long a rollout takes, in which waves, and what if: with the very state machines that run
/// on a real cluster, and models of etcd, Mesos and the hosts. The same seed gives the same bytes.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Simulate {
    /// The scenario, a YAML file
    scenario: PathBuf,
    /// What chance is drawn from, in place of the scenario's seed
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Print everything that happened
    #[arg(long)]
    timeline: bool,
    /// Write the report as JSON to this file; `-` is the standard output
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

impl Simulate {
    /// Runs the command.
    ///
    /// # Errors
    ///
    /// Exit code 2 for a scenario that is not good, 4 for files.
    pub fn execute(self) -> Result<Exit, Failure> {
        let path = &self.scenario;
        let text = std::fs::read_to_string(path).map_err(|error| {
            Failure::environment(format!("cannot read `{}`: {error}", path.display()))
        })?;
        let mut scenario =
            Scenario::read(&path.display().to_string(), &text).map_err(Failure::input)?;
        scenario.seed = self.seed.unwrap_or(scenario.seed);
        let documents = read_documents(&scenario, path).map_err(Failure::environment)?;
        let options = Options { notes: self.timeline, ..Options::default() };
        let mut world = World::new(&scenario, &documents, &options).map_err(Failure::input)?;
        world.run(scenario.until);
        let report = world.report();
        let printed = self.print(&report);
        printed
            .map_err(|error| Failure::environment(format!("cannot write the report: {error}")))?;
        let good = report.converged && report.budget_breaches == 0;
        Ok(if good { Exit::Good } else { Exit::Differs })
    }

    fn print(&self, report: &Report) -> std::io::Result<()> {
        let json = serde_json::to_string_pretty(report)?;
        let mut out = anstream::stdout().lock();
        if let Some(path) = &self.report {
            if path.as_os_str() == "-" {
                return writeln!(out, "{json}");
            }
            std::fs::write(path, format!("{json}\n"))?;
        }
        if self.timeline {
            for happening in &report.timeline {
                writeln!(out, "{:>10.3} s  {}", happening.at, happening.what)?;
            }
            writeln!(out)?;
        }
        write!(out, "What the hosts saw\n{}", verdict(report))
    }
}

/// A report as people read it.
#[must_use]
pub fn verdict(report: &Report) -> String {
    use std::fmt::Write as _;

    let mut text = String::new();
    let in_sync = report.hosts.values().filter(|host| host.reason.is_none()).count();
    let ratio = if report.ideal_seconds > 0.0 {
        format!(
            ", {:.2} of the ideal {:.1} s",
            report.seconds / report.ideal_seconds,
            report.ideal_seconds
        )
    } else {
        String::new()
    };
    let converged = if report.converged { "converged" } else { "not converged" };
    let _ = writeln!(text, "  hosts      {in_sync} of {} in sync, {converged}", report.hosts.len());
    let breaches = match report.budget_breaches {
        0 => "no breach".to_owned(),
        n => format!("{n} BREACHES"),
    };
    let _ = writeln!(
        text,
        "  budget     {} disrupted at most, of {} allowed; {breaches}",
        report.peak_disrupted, report.budget
    );
    let _ = writeln!(
        text,
        "  tasks      {} launched, {} needed",
        report.tasks_launched, report.tasks_minimum
    );
    let restarts: Vec<String> = report
        .restarts
        .iter()
        .map(|(service, hosts)| format!("{service} {}", hosts.values().sum::<u32>()))
        .collect();
    let restarts = if restarts.is_empty() { "none".to_owned() } else { restarts.join(", ") };
    let _ = writeln!(text, "  restarts   {restarts}");
    let _ = writeln!(text, "  time       {:.1} s of rollout{ratio}", report.seconds);
    let _ = writeln!(
        text,
        "  then       {} scheduler calls, {} etcd writes after convergence",
        report.mesos_calls_after_convergence, report.etcd_writes_after_convergence
    );
    for (name, host) in report.hosts.iter().filter(|(_, host)| host.reason.is_some()).take(10) {
        let reason = host.reason.as_deref().unwrap_or_default();
        let why = host.why.as_deref().unwrap_or_default();
        let _ = writeln!(text, "  {name:<10} {reason}: {why}");
    }
    text
}
