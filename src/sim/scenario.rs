//! Scenarios: a made-up cluster, what happens to it, and until when it is watched. Read by
//! `simulate`, and by `demo --scenario`.

mod fault;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::observed::facts::DockerFacts;
use crate::words::HostName;
pub use fault::{
    ClockJump, Drift, EtcdRestored, Fault, For, HostFor, LoseMessages, Nothing, OneHost,
    RestartFails, TimedFault, WriteCrash,
};

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
    /// How many controllers there are: one leads, the others stand by.
    #[serde(default = "one")]
    pub controllers: u32,
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

impl HostGroup {
    /// The names of its hosts, in order.
    pub fn names(&self) -> impl Iterator<Item = HostName> {
        (1..=self.count).map(|n| HostName(self.name.replace("{n}", &n.to_string())))
    }
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
        self.hosts.iter().flat_map(HostGroup::names).collect()
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
