//! `doctor`: looks at everything that the product stands on, and says of what is not right what to
//! do about it. It changes nothing.

mod etcd;
mod hosts;
mod mesos;

use clap::Args;
use serde::Serialize;

use super::format::{BOLD, GREEN, Output, RED, YELLOW, print, structured};
use super::mesos::Looking;
use super::{Connection, Exit, Failure};
use crate::surface::text::count;

const EXAMPLES: &str = "\
Examples:
  calico-dcos doctor --etcd-endpoints https://etcd1:2379 --etcd-ca ca.pem
  calico-dcos doctor --mesos-master http://leader.mesos:5050
  calico-dcos doctor -o json --mesos-master zk://10.0.0.11/mesos

Exit codes: 0 all is well · 1 there is something to know · 4 there is something to mend";

/// Look for what is wrong with etcd, Mesos, documents and hosts, and say what to do
///
/// It changes nothing. Mesos is looked at if --mesos-master is given.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Doctor {
    /// The form of the output
    #[arg(short, long, value_name = "FORM", value_enum, default_value_t)]
    output: Output,

    #[command(flatten)]
    mesos: Looking,

    #[command(flatten)]
    connection: Connection,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
enum Level {
    /// As it should be.
    Good,
    /// Somebody should know it.
    Notice,
    /// The product does not work, or not safely, until it is mended.
    Problem,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Finding {
    /// What was looked at: `etcd`, `mesos`, `documents`, `controller`, `hosts`, `predecessor`.
    area: &'static str,
    level: Level,
    /// What was found, a sentence.
    found: String,
    /// What to do, where `found` does not say it already.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

impl Finding {
    fn good(area: &'static str, found: impl Into<String>) -> Self {
        Self { area, level: Level::Good, found: found.into(), advice: None }
    }

    fn notice(area: &'static str, found: impl Into<String>) -> Self {
        Self { level: Level::Notice, ..Self::good(area, found) }
    }

    fn problem(area: &'static str, found: impl Into<String>) -> Self {
        Self { level: Level::Problem, ..Self::good(area, found) }
    }

    fn advice(self, advice: impl Into<String>) -> Self {
        Self { advice: Some(advice.into()), ..self }
    }
}

/// What `doctor -o json` prints.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    api_version: &'static str,
    kind: &'static str,
    findings: Vec<Finding>,
}

impl Doctor {
    pub(super) async fn execute(self) -> Result<Exit, Failure> {
        let operator = self.mesos.operator()?;
        let (mut findings, store) = etcd::look(&self.connection).await;
        if let Some(store) = store {
            findings.extend(hosts::look(&store).await);
        }
        findings.extend(match operator {
            Some(operator) => mesos::look(&operator).await,
            None => vec![
                Finding::notice("mesos", "Mesos was not looked at")
                    .advice("give --mesos-master, and credentials as the controller has them"),
            ],
        });
        let worst = findings.iter().map(|finding| finding.level).max();
        let report = Report { api_version: "calico-dcos/v1", kind: "Diagnosis", findings };
        print(&match self.output {
            Output::Text => text(&report.findings),
            form => structured(&report, form)?,
        })?;
        Ok(match worst {
            Some(Level::Problem) => Exit::Environment,
            Some(Level::Notice) => Exit::Differs,
            Some(Level::Good) | None => Exit::Good,
        })
    }
}

fn text(findings: &[Finding]) -> String {
    let mut parts = Vec::new();
    for finding in findings {
        let (colour, sign) = match finding.level {
            Level::Good => (GREEN, "ok"),
            Level::Notice => (YELLOW, "note"),
            Level::Problem => (RED, "PROBLEM"),
        };
        let Finding { area, found, .. } = finding;
        parts.push(format!("{colour}{sign:<7}{colour:#}  {area:<11}  {found}\n"));
        if let Some(advice) = &finding.advice {
            parts.push(format!("{:22}→ {advice}\n", ""));
        }
    }
    let number = |level| findings.iter().filter(|finding| finding.level == level).count();
    let (problems, notices) = (number(Level::Problem), number(Level::Notice));
    parts.push(format!(
        "\n{BOLD}{} to mend, {} to know{BOLD:#}\n",
        count(problems, "thing"),
        notices
    ));
    parts.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_read_one_a_line_with_what_to_do_below() {
        let findings = [
            Finding::good("etcd", "etcd 3.4.23 lets us in"),
            Finding::notice("mesos", "Mesos was not looked at").advice("give --mesos-master"),
            Finding::problem("documents", "they are not valid"),
        ];
        let text = anstream::adapter::strip_str(&text(&findings)).to_string();
        insta::assert_snapshot!(text, @r"
        ok       etcd         etcd 3.4.23 lets us in
        note     mesos        Mesos was not looked at
                              → give --mesos-master
        PROBLEM  documents    they are not valid

        1 thing to mend, 1 to know
        ");
    }
}
