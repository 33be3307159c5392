//! Scenarios: a made-up cluster, what happens to it, and until when it is watched. Read by
//! `simulate`, and by `demo --scenario`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::observed::facts::DockerFacts;
use crate::words::{Component, HostName};

/// A scenario.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scenario {
    /// `calico-dcos/v1`.
    pub api_version: ApiVersion,
    /// `Scenario`.
    pub kind: Kind,
    /// What chance is drawn from: the same seed gives the same run.
    #[serde(default)]
    pub seed: u64,
    /// The documents: paths, relative to the scenario's file, or documents written out here.
    pub desired: Vec<Value>,
    /// The simulated Mesos.
    #[serde(default)]
    pub mesos: Mesos,
    /// The hosts, in groups.
    pub hosts: Vec<HostGroup>,
    /// What goes wrong, and when.
    #[serde(default)]
    pub faults: Vec<TimedFault>,
    /// What the operator edits, and when.
    #[serde(default)]
    pub edits: Vec<TimedEdit>,
    /// When the run ends: `converged`, or a time such as `10m`.
    #[serde(default)]
    pub until: Until,
}

/// The version of the form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum ApiVersion {
    /// The only one.
    #[serde(rename = "calico-dcos/v1")]
    V1,
}

/// The kind of document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Kind {
    /// The only one.
    Scenario,
}

/// The simulated Mesos.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Mesos {
    /// Its version, which decides for example whether CNI needs a restart of the agent.
    pub version: MesosVersion,
}

impl Default for Mesos {
    fn default() -> Self {
        Self { version: MesosVersion(semver::Version::new(1, 1, 0)) }
    }
}

/// A version of Mesos, such as `1.1.0`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub struct MesosVersion(pub semver::Version);

impl TryFrom<String> for MesosVersion {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = |_| format!("`{text}` is not a version; write all three numbers, like 1.1.0");
        semver::Version::parse(&text).map(Self).map_err(wrong)
    }
}

/// Hosts that are alike.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HostGroup {
    /// How many.
    #[serde(default = "one")]
    pub count: u32,
    /// The name; `{n}` becomes the number in the group, from 1.
    pub name: String,
    /// The role that the agent's resources are reserved for.
    #[serde(default = "any_role")]
    pub role: String,
    /// The agent's attributes.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    /// From a host's disruptive start until it is healthy again and its agent re-registered.
    #[serde(default)]
    pub restart_seconds: RestartSeconds,
    /// What is different from a host as delivered.
    #[serde(default)]
    pub observed: ObservedAs,
}

fn one() -> u32 {
    1
}

fn any_role() -> String {
    "*".to_owned()
}

/// Restart times: log-normal around a median.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RestartSeconds {
    /// Half of the restarts are faster.
    pub median: f64,
    /// The spread of the logarithm; 0: all alike.
    #[serde(default)]
    pub sigma: f64,
}

impl Default for RestartSeconds {
    fn default() -> Self {
        Self { median: 8.0, sigma: 0.0 }
    }
}

/// What is different from a host as delivered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ObservedAs {
    /// Its Docker.
    pub docker: Option<DockerFacts>,
    /// Containers that a restart of the agent could cost.
    pub agent_containers: u32,
    /// What is declared is in place already.
    pub installed: bool,
}

/// A fault and its time. Exactly one fault is given.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TimedFault {
    /// When, from the beginning.
    pub at: Span,
    /// The controller's process is killed, and comes back after a while.
    pub controller_crash: Option<For>,
    /// The controller's process stands still; a second one is elected meanwhile.
    pub controller_paused: Option<For>,
    /// etcd does not answer.
    pub etcd_down: Option<For>,
    /// The watch of etcd falls so far behind that it has to list again.
    pub etcd_compaction: Option<Nothing>,
    /// Another Mesos master takes over.
    pub master_failover: Option<Nothing>,
    /// A host has no power for a while.
    pub host_down: Option<HostFor>,
    /// A host is gone for good, and an operator tells Mesos so.
    pub host_gone: Option<OneHost>,
    /// An operator announces to Mesos that a host's machine is away from then on. The machine
    /// stays where it is: what counts is that nobody begins anything there.
    pub maintenance: Option<HostFor>,
    /// A host's next restarts fail.
    pub restart_fails: Option<RestartFails>,
    /// A host's executor dies.
    pub executor_dies: Option<OneHost>,
    /// A host's agent comes back under a new ID.
    pub new_agent_id: Option<OneHost>,
    /// Somebody breaks a component by hand.
    pub drift: Option<Drift>,
    /// Messages that Mesos does not promise to deliver are lost, doubled or late.
    pub lose_messages: Option<LoseMessages>,
}

/// For so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct For {
    /// How long.
    #[serde(rename = "for")]
    pub span: Span,
}

/// Nothing more to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// A host.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OneHost {
    /// Its name.
    pub host: HostName,
}

/// A host, for so long.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HostFor {
    /// Its name.
    pub host: HostName,
    /// How long.
    #[serde(rename = "for")]
    pub span: Span,
}

/// A host whose restarts fail.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RestartFails {
    /// Its name.
    pub host: HostName,
    /// So many in a row.
    #[serde(default = "one")]
    pub times: u32,
}

/// A component that somebody breaks.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Drift {
    /// The host.
    pub host: HostName,
    /// The component.
    pub component: Component,
}

/// A bad network.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LoseMessages {
    /// The probability that a message is lost.
    #[serde(default)]
    pub probability: f64,
    /// The probability that one comes twice.
    #[serde(default)]
    pub duplicate: f64,
    /// The probability that one is late.
    #[serde(default)]
    pub late: f64,
    /// For how long the network is bad.
    #[serde(rename = "for")]
    pub span: Span,
}

/// An edit and its time.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TimedEdit {
    /// When, from the beginning.
    pub at: Span,
    /// The document: `cluster`, or `pools/NAME`.
    #[serde(default = "cluster")]
    pub document: String,
    /// Values by path, for example `spec.calicoNode.image`.
    pub set: BTreeMap<String, Value>,
}

fn cluster() -> String {
    "cluster".to_owned()
}

/// When a run ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub enum Until {
    /// All faults and edits are over and every host is in sync, or says why it never will be.
    #[default]
    Converged,
    /// After so long.
    After(Span),
}

impl TryFrom<String> for Until {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text == "converged" {
            return Ok(Self::Converged);
        }
        Span::try_from(text).map(Self::After).map_err(|why| format!("{why}, or `converged`"))
    }
}

/// A length of time, written `250ms`, `30s`, `5m` or `2h`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub struct Span {
    /// In milliseconds.
    pub ms: u64,
}

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a length of time; write it like 30s, 5m or 250ms");
        let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, unit) = text.split_at(digits);
        let factor = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(wrong()),
        };
        let ms =
            number.parse::<u64>().ok().and_then(|n| n.checked_mul(factor)).ok_or_else(wrong)?;
        Ok(Self { ms })
    }
}

/// A scenario cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// It cannot be read as YAML of this form.
    #[error("{path}: {message}")]
    Form {
        /// The file.
        path: String,
        /// Where and what, with a picture.
        message: String,
    },
    /// It can be read and makes no sense.
    #[error("{path}: {message}")]
    Sense {
        /// The file.
        path: String,
        /// What, and what would be right.
        message: String,
    },
}

impl Scenario {
    /// Reads and checks a scenario.
    ///
    /// # Errors
    ///
    /// [`ScenarioError`], which names the file, the place and what would be right.
    pub fn read(path: &str, text: &str) -> Result<Self, ScenarioError> {
        let scenario: Self = serde_yaml::from_str(text).map_err(|error| ScenarioError::Form {
            path: path.to_owned(),
            message: error.to_string(),
        })?;
        scenario
            .check()
            .map_err(|message| ScenarioError::Sense { path: path.to_owned(), message })?;
        Ok(scenario)
    }

    fn check(&self) -> Result<(), String> {
        let names = self.host_names();
        let mut seen = std::collections::BTreeSet::new();
        for name in &names {
            if !seen.insert(name) {
                return Err(format!("two hosts are called `{name}`; put `{{n}}` into the name"));
            }
        }
        if names.is_empty() {
            return Err("there are no hosts; give at least one group".to_owned());
        }
        for group in &self.hosts {
            let RestartSeconds { median, sigma } = group.restart_seconds;
            if !(0.1..=86_400.0).contains(&median) || !(0.0..=3.0).contains(&sigma) {
                return Err("restartSeconds: median is from 0.1 to 86400, sigma from 0 to 3".into());
            }
        }
        for fault in &self.faults {
            let host = fault.check()?;
            if let Some(host) = host.filter(|host| !seen.contains(host)) {
                return Err(format!("a fault names the host `{host}`, which is in no group"));
            }
        }
        Ok(())
    }

    /// The names of all hosts, in order.
    #[must_use]
    pub fn host_names(&self) -> Vec<HostName> {
        let names = |group: &HostGroup| -> Vec<HostName> {
            let name = |n: u32| HostName(group.name.replace("{n}", &n.to_string()));
            (1..=group.count).map(name).collect()
        };
        self.hosts.iter().flat_map(names).collect()
    }

    /// The documents as texts, by label: files are read by `file`, from paths relative to `base`.
    ///
    /// # Errors
    ///
    /// What `file` says, or a sentence about an entry that is neither path nor document.
    pub fn documents<E>(
        &self,
        base: &Path,
        file: impl Fn(&Path) -> Result<String, E>,
    ) -> Result<Vec<(String, String)>, DocumentError<E>> {
        let mut documents = Vec::new();
        for (at, entry) in self.desired.iter().enumerate() {
            match entry {
                Value::String(path) => {
                    let path: PathBuf = base.join(path);
                    let text = file(&path).map_err(DocumentError::File)?;
                    documents.push((path.display().to_string(), text));
                }
                Value::Object(_) => {
                    let label = format!("desired[{at}]");
                    let text = serde_yaml::to_string(entry)
                        .map_err(|error| DocumentError::Inline(error.to_string()))?;
                    documents.push((label, text));
                }
                _ => {
                    let sentence = format!("desired[{at}] is neither a path nor a document");
                    return Err(DocumentError::Inline(sentence));
                }
            }
        }
        Ok(documents)
    }
}

/// The documents of a scenario cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError<E> {
    /// A file cannot be read.
    #[error("a document of the scenario cannot be read")]
    File(#[source] E),
    /// A document that is written out is no document.
    #[error("{0}")]
    Inline(String),
}

/// What a fault does, without its time.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// See [`TimedFault::controller_crash`]; milliseconds.
    ControllerCrash(u64),
    /// See [`TimedFault::controller_paused`]; milliseconds.
    ControllerPaused(u64),
    /// See [`TimedFault::etcd_down`]; milliseconds.
    EtcdDown(u64),
    /// See [`TimedFault::etcd_compaction`].
    EtcdCompaction,
    /// See [`TimedFault::master_failover`].
    MasterFailover,
    /// See [`TimedFault::host_down`]; milliseconds.
    HostDown(HostName, u64),
    /// See [`TimedFault::host_gone`].
    HostGone(HostName),
    /// See [`TimedFault::maintenance`]; milliseconds.
    Maintenance(HostName, u64),
    /// See [`TimedFault::restart_fails`].
    RestartFails(HostName, u32),
    /// See [`TimedFault::executor_dies`].
    ExecutorDies(HostName),
    /// See [`TimedFault::new_agent_id`].
    NewAgentId(HostName),
    /// See [`TimedFault::drift`].
    Drift(HostName, Component),
    /// See [`TimedFault::lose_messages`].
    LoseMessages(LoseMessages),
}

impl TimedFault {
    /// The one fault that is given.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        let mut faults = self.all();
        let fault = faults.pop();
        if faults.is_empty() { fault } else { None }
    }

    fn all(&self) -> Vec<Fault> {
        let of = |host: &OneHost| host.host.clone();
        [
            self.controller_crash.map(|fault| Fault::ControllerCrash(fault.span.ms)),
            self.controller_paused.map(|fault| Fault::ControllerPaused(fault.span.ms)),
            self.etcd_down.map(|fault| Fault::EtcdDown(fault.span.ms)),
            self.etcd_compaction.map(|_| Fault::EtcdCompaction),
            self.master_failover.map(|_| Fault::MasterFailover),
            self.host_down.as_ref().map(|f| Fault::HostDown(f.host.clone(), f.span.ms)),
            self.host_gone.as_ref().map(|f| Fault::HostGone(of(f))),
            self.maintenance.as_ref().map(|f| Fault::Maintenance(f.host.clone(), f.span.ms)),
            self.restart_fails.as_ref().map(|f| Fault::RestartFails(f.host.clone(), f.times)),
            self.executor_dies.as_ref().map(|f| Fault::ExecutorDies(of(f))),
            self.new_agent_id.as_ref().map(|f| Fault::NewAgentId(of(f))),
            self.drift.as_ref().map(|f| Fault::Drift(f.host.clone(), f.component)),
            self.lose_messages.map(Fault::LoseMessages),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn check(&self) -> Result<Option<HostName>, String> {
        let Some(fault) = self.fault() else {
            let at = self.at.ms;
            return Err(format!("the fault at {at} ms must name exactly one fault"));
        };
        Ok(match fault {
            Fault::HostDown(host, _)
            | Fault::HostGone(host)
            | Fault::Maintenance(host, _)
            | Fault::RestartFails(host, _)
            | Fault::ExecutorDies(host)
            | Fault::NewAgentId(host)
            | Fault::Drift(host, _) => Some(host),
            Fault::LoseMessages(lose) => {
                let sane = |p: f64| (0.0..=1.0).contains(&p);
                if !(sane(lose.probability) && sane(lose.duplicate) && sane(lose.late)) {
                    return Err("loseMessages: probabilities are from 0 to 1".to_owned());
                }
                None
            }
            _ => None,
        })
    }
}
