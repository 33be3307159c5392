//! `doctor`: looks at everything that the product stands on, and says of what is not right what to
//! do about it. It changes nothing.

mod clocks;
mod equivalent;
mod etcd;
mod hosts;
mod mesos;
mod predecessor;
mod this_host;

use clap::Args;
use serde::Serialize;

use super::format::{BOLD, GREEN, Output, RED, YELLOW, print, structured, width, wrapped};
use super::mesos::{Given, Looking};
use super::{Connection, Exit, Failure};
use crate::clock;
use crate::store::{EtcdStore, Space, in_one_line};
use crate::surface::state::State;
use crate::surface::text::count;
use crate::words::Revision;

const EXAMPLES: &str = "\
Examples:
  calico-dcos doctor --etcd-endpoints https://etcd1:2379 --etcd-ca ca.pem
  calico-dcos doctor --mesos-master http://leader.mesos:5050
  calico-dcos doctor -o json --mesos-master zk://10.0.0.11/mesos
  calico-dcos doctor --this-host             also this machine, as its observer would see it

Where the predecessor was, the framework of the same name of 2016:
  calico-dcos doctor --predecessor-zk zk://10.0.0.11/calico      also its records
  calico-dcos doctor -o json | jq -r .documents >cluster.yaml    what it had, as documents

Exit codes: 0 all is well · 1 there is something to know · 4 there is something to mend";

/// Look for what is wrong with etcd, Mesos, documents and hosts, and say what to do
///
/// It changes nothing. Mesos is looked at if --mesos-master is given. Where the predecessor was, the
/// framework of the same name of 2016, it prints what that had as documents, and says which hosts they
/// take over without a restart.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Doctor {
    /// The form of the output
    #[arg(short, long, value_name = "FORM", value_enum, default_value_t)]
    output: Output,

    /// Look at this machine too, as its observer would; as root
    #[arg(long)]
    this_host: bool,

    /// Where the predecessor keeps its records, `zk://HOST,…/PATH` [default: /calico in the ZooKeeper
    /// of --mesos-master]
    #[arg(long, value_name = "ADDRESS")]
    predecessor_zk: Option<Given>,

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
    /// What was looked at: `etcd`, `mesos`, `documents`, `controller`, `hosts`, `clocks`, `this host`,
    /// `predecessor`.
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
    /// What the predecessor had, as YAML; absent where nothing of it is in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    documents: Option<String>,
}

impl Doctor {
    pub(super) async fn execute(self) -> Result<Exit, Failure> {
        let operator = self.mesos.operator()?;
        let tree = match &self.predecessor_zk {
            Some(given) => Some(given.as_old_tree()?),
            None => self.mesos.old_tree()?,
        };
        let (mut findings, store) = etcd::look(&self.connection).await;
        let mut state = match store {
            Some(store) => listed(&store, &mut findings).await,
            None => None,
        };
        if let Some(state) = &state {
            findings.extend(hosts::look(state.clone()).await);
        }
        findings.extend(match operator {
            Some(operator) => mesos::look(&operator).await,
            None => vec![
                Finding::notice("mesos", "Mesos was not looked at")
                    .advice("give --mesos-master, and credentials as the controller has them"),
            ],
        });
        if self.this_host {
            let state = state.get_or_insert_with(|| State::empty(clock::now(), Revision(0)));
            findings.extend(this_host::look(state).await);
        }
        let mut old = None;
        if let Some(at) = &tree {
            let (finding, found) = predecessor::tree(at).await;
            findings.push(finding);
            old = found;
        }
        let mut documents = None;
        if let Some(state) = &state {
            let (found, text) = predecessor::look(state, old.as_ref());
            findings.extend(found);
            documents = text;
        }
        let worst = findings.iter().map(|finding| finding.level).max();
        let report =
            Report { api_version: "calico-dcos/v1", kind: "Diagnosis", findings, documents };
        print(&match self.output {
            Output::Text => text(&report, width()),
            form => structured(&report, form)?,
        })?;
        Ok(match worst {
            Some(Level::Problem) => Exit::Environment,
            Some(Level::Notice) => Exit::Differs,
            Some(Level::Good) | None => Exit::Good,
        })
    }
}

/// What is in etcd, if it can be listed.
async fn listed(store: &EtcdStore, findings: &mut Vec<Finding>) -> Option<State> {
    match store.list(Space::All).await {
        Ok(snapshot) => Some(State::of(&snapshot, clock::now())),
        Err(error) => {
            findings.push(Finding::problem("etcd", in_one_line(&error)));
            None
        }
    }
}

/// Where the sentences begin.
const MARGIN: usize = 22;

fn text(Report { findings, documents, .. }: &Report, columns: usize) -> String {
    let mut parts = Vec::new();
    for finding in findings {
        let (colour, sign) = match finding.level {
            Level::Good => (GREEN, "ok"),
            Level::Notice => (YELLOW, "note"),
            Level::Problem => (RED, "PROBLEM"),
        };
        let Finding { area, found, .. } = finding;
        let column = columns.saturating_sub(MARGIN).max(40);
        let next_line = format!("\n{:MARGIN$}", "");
        let found = wrapped(found, column).join(&next_line);
        parts.push(format!("{colour}{sign:<7}{colour:#}  {area:<11}  {found}\n"));
        if let Some(advice) = &finding.advice {
            let advice = wrapped(advice, column - 2).join(&format!("{next_line}  "));
            parts.push(format!("{:MARGIN$}→ {advice}\n", ""));
        }
    }
    let number = |level| findings.iter().filter(|finding| finding.level == level).count();
    let (problems, notices) = (number(Level::Problem), number(Level::Notice));
    parts.push(format!(
        "\n{BOLD}{} to mend, {} to know{BOLD:#}\n",
        count(problems, "thing"),
        notices
    ));
    parts.extend(documents.iter().map(|documents| format!("\n{documents}")));
    parts.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_read_one_a_line_with_what_to_do_below() {
        let findings = [
            Finding::good("etcd", "etcd 3.4.23 lets us in"),
            Finding::notice("mesos", "Mesos was not looked at")
                .advice("give --mesos-master, and credentials as the controller has them"),
            Finding::problem("documents", "they are not valid"),
        ];
        let documents = Some("apiVersion: calico-dcos/v1\n".to_owned());
        let (api_version, kind) = ("calico-dcos/v1", "Diagnosis");
        let report = Report { api_version, kind, findings: findings.into(), documents };
        let text = anstream::adapter::strip_str(&text(&report, 60)).to_string();
        insta::assert_snapshot!(text, @r"
        ok       etcd         etcd 3.4.23 lets us in
        note     mesos        Mesos was not looked at
                              → give --mesos-master, and credentials
                                as the controller has them
        PROBLEM  documents    they are not valid

        1 thing to mend, 1 to know

        apiVersion: calico-dcos/v1
        ");
    }
}
