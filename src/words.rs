//! The words of the project as types, so that one word means one thing in every room.
//!
//! Nothing here decides anything: identifiers, counters, the components, and time as a value.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
        )]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl $name {
            /// The identifier as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text)
            }
        }
    };
}

macro_rules! counter {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize,
            Deserialize, JsonSchema,
        )]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// The one after this.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

text_id! {
    /// A machine, named by its agent's `hostname`. An agent that comes back under a new agent ID
    /// is the same host.
    HostName
}

impl HostName {
    /// The name as a part of a path: percent-encoded, so that one host is one path.
    #[must_use]
    pub fn encoded(&self) -> String {
        let mut path = String::with_capacity(self.0.len());
        for byte in self.0.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                path.push(char::from(byte));
            } else {
                // Writing to a `String` cannot fail.
                let _ = write!(path, "%{byte:02X}");
            }
        }
        path
    }

    /// Reads what [`Self::encoded`] writes, and other ways to write it. None if it is no name.
    #[must_use]
    pub fn decoded(text: &str) -> Option<Self> {
        let mut bytes = Vec::with_capacity(text.len());
        let mut rest = text.bytes();
        while let Some(byte) = rest.next() {
            bytes.push(if byte == b'%' {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            } else {
                byte
            });
        }
        String::from_utf8(bytes).ok().filter(|name| !name.is_empty()).map(Self)
    }
}
text_id! {
    /// Mesos' name for one registration of an agent.
    AgentId
}
text_id! {
    /// A Mesos task ID: fresh for every launch.
    TaskId
}
text_id! {
    /// Drawn afresh by each executor process; it tells a repeated question of one process from
    /// the question of another (`design`, budget).
    Run
}

counter! {
    /// Raised when an accepted edit changes any host's resolved hashes.
    Generation
}
counter! {
    /// An etcd revision.
    Revision
}
counter! {
    /// One try of a host's disruptive work. Numbered over the whole cluster, never reused, so
    /// that a later attempt of a host always has the larger number.
    Attempt
}

/// What is looked after on each agent, in the order of dependency.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum Component {
    /// A proxy to the etcd cluster on the host.
    EtcdProxy,
    /// The Docker daemon's cluster store.
    Docker,
    /// net-modules or CNI in the Mesos agent.
    MesosAgent,
    /// The calico/node container.
    CalicoNode,
    /// The calico/node-libnetwork container of old Calico.
    CalicoLibnetwork,
}

impl Component {
    /// All of them, in the order in which they depend on one another.
    pub const ALL: [Self; 5] =
        [Self::EtcdProxy, Self::Docker, Self::MesosAgent, Self::CalicoNode, Self::CalicoLibnetwork];

    /// The name used in documents and on every surface.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::EtcdProxy => "etcdProxy",
            Self::Docker => "docker",
            Self::MesosAgent => "mesosAgent",
            Self::CalicoNode => "calicoNode",
            Self::CalicoLibnetwork => "calicoLibnetwork",
        }
    }

    /// The long-running task that holds the component's resources and supervises it; none for
    /// those that belong to the host (Docker, the agent).
    #[must_use]
    pub fn supervisor(self) -> Option<TaskKind> {
        match self {
            Self::EtcdProxy => Some(TaskKind::EtcdProxy),
            Self::CalicoNode => Some(TaskKind::CalicoNode),
            Self::CalicoLibnetwork => Some(TaskKind::CalicoLibnetwork),
            Self::Docker | Self::MesosAgent => None,
        }
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The tasks that the framework runs on a host, all in one executor.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum TaskKind {
    /// Reports facts.
    Observer,
    /// One-shot work.
    Change,
    /// Supervises the etcd proxy.
    EtcdProxy,
    /// Supervises calico/node.
    CalicoNode,
    /// Supervises calico-libnetwork.
    CalicoLibnetwork,
}

impl TaskKind {
    /// The name as it stands in task IDs and on surfaces.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Observer => "observer",
            Self::Change => "change",
            Self::EtcdProxy => "etcd-proxy",
            Self::CalicoNode => "calico-node",
            Self::CalicoLibnetwork => "calico-libnetwork",
        }
    }

    /// The component that a supervising task looks after.
    #[must_use]
    pub fn component(self) -> Option<Component> {
        match self {
            Self::EtcdProxy => Some(Component::EtcdProxy),
            Self::CalicoNode => Some(Component::CalicoNode),
            Self::CalicoLibnetwork => Some(Component::CalicoLibnetwork),
            Self::Observer | Self::Change => None,
        }
    }
}

impl fmt::Display for TaskKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The states that our executor reports of a task; Mesos adds its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TaskPhase {
    /// Taken. Sent at once: a task without any update is lost when its agent restarts.
    Starting,
    /// At work.
    Running,
    /// Ended well.
    Finished,
    /// Ended badly.
    Failed,
    /// Ended because it was told to.
    Killed,
}

impl TaskPhase {
    /// Nothing comes after it.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Finished | Self::Failed | Self::Killed)
    }
}

/// The SHA-256 of a component's canonical JSON (RFC 8785), written as 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpecHash(pub [u8; 32]);

impl SpecHash {
    /// Hashes bytes that are canonical already.
    #[must_use]
    pub fn of(canonical: &[u8]) -> Self {
        Self(Sha256::digest(canonical).into())
    }

    /// The first eight digits, for people.
    #[must_use]
    pub fn short(&self) -> String {
        self.to_string()[..8].to_owned()
    }
}

impl fmt::Display for SpecHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SpecHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

/// The text is not 64 hex digits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a SHA-256 in 64 hex digits")]
pub struct NotAHash(pub String);

impl FromStr for SpecHash {
    type Err = NotAHash;

    fn from_str(text: &str) -> Result<Self, NotAHash> {
        let wrong = || NotAHash(text.to_owned());
        if text.len() != 64 || !text.is_ascii() {
            return Err(wrong());
        }
        let mut bytes = [0; 32];
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let digits = std::str::from_utf8(digits).map_err(|_| wrong())?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| wrong())?;
        }
        Ok(Self(bytes))
    }
}

impl Serialize for SpecHash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SpecHash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for SpecHash {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Sha256".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "pattern": "^[0-9a-f]{64}$"})
    }
}

/// A point in time, in milliseconds since the Unix epoch. Read by the shell, given to the pure
/// rooms as a value.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(transparent)]
pub struct Time(pub u64);

impl Time {
    /// Milliseconds from `earlier` to this; 0 if it is later (clocks jump).
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// This much later.
    #[must_use]
    pub fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// This many seconds later.
    #[must_use]
    pub fn plus_secs(self, secs: u64) -> Self {
        self.plus_ms(secs.saturating_mul(1000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_read_back_as_written() {
        let hash = SpecHash::of(b"{}");
        assert_eq!(hash.to_string().parse(), Ok(hash));
        assert!("ab".parse::<SpecHash>().is_err());
        assert!("é".repeat(32).parse::<SpecHash>().is_err());
    }
}
