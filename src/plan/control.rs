//! What operators ask for beside the documents: the values under `control/`.
//!
//! | path | asks | until |
//! |---|---|---|
//! | `paused/cluster`, `paused/pools/NAME`, `paused/hosts/HOST` | that nothing new starts there | it is deleted |
//! | `approved` | that a generation starts, where `rollout.start` is `approved` | the next one |
//! | `promoted` | that the others follow a generation's canaries | the next one |
//! | `retry/HOST` | that a host's failed attempts are forgotten | the leader has done it, and deletes it |
//! | `release/HOST` | that a host's slot is given back, whatever the host does | the same |
//! | `forget/HOST` | that a host is taken off the list | the same |
//! | `teardown` | that hosts without components forget us, and the framework ends then | it is deleted |
//!
//! Hosts are percent-encoded, as in all keys.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::words::{Attempt, Generation, HostName, Time};

/// The version of the records here that this release writes.
pub const CONTROL_VERSION: u32 = 1;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// Nothing new starts there.
    Paused(Scope),
    /// A generation may start.
    Approved,
    /// The others may follow a generation's canaries.
    Promoted,
    /// A host's failed attempts are forgotten.
    Retry(HostName),
    /// A host's slot is given back.
    Release(HostName),
    /// A host is taken off the list.
    Forget(HostName),
    /// Hosts forget us, and the framework ends.
    Teardown,
}

/// How far a pause goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All hosts.
    Cluster,
    /// Those of a pool.
    Pool(String),
    /// One.
    Host(HostName),
}

impl Control {
    /// The path below `control/`.
    #[must_use]
    pub fn path(&self) -> String {
        match self {
            Self::Paused(Scope::Cluster) => "paused/cluster".to_owned(),
            Self::Paused(Scope::Pool(pool)) => format!("paused/pools/{pool}"),
            Self::Paused(Scope::Host(host)) => format!("paused/hosts/{}", host.encoded()),
            Self::Approved => "approved".to_owned(),
            Self::Promoted => "promoted".to_owned(),
            Self::Retry(host) => format!("retry/{}", host.encoded()),
            Self::Release(host) => format!("release/{}", host.encoded()),
            Self::Forget(host) => format!("forget/{}", host.encoded()),
            Self::Teardown => "teardown".to_owned(),
        }
    }

    /// Reads a path below `control/`; none if it is nothing that this release knows.
    #[must_use]
    pub fn parse(path: &str) -> Option<Self> {
        let known = Self::known(path)?;
        // One check for every way to write one path twice.
        (known.path() == path).then_some(known)
    }

    fn known(path: &str) -> Option<Self> {
        let host = |prefix| path.strip_prefix(prefix).and_then(HostName::decoded);
        let pool = || path.strip_prefix("paused/pools/").filter(|name| !name.is_empty());
        Some(match path {
            "paused/cluster" => Self::Paused(Scope::Cluster),
            "approved" => Self::Approved,
            "promoted" => Self::Promoted,
            "teardown" => Self::Teardown,
            _ => None
                .or_else(|| pool().map(|name| Self::Paused(Scope::Pool(name.to_owned()))))
                .or_else(|| host("paused/hosts/").map(|name| Self::Paused(Scope::Host(name))))
                .or_else(|| host("retry/").map(Self::Retry))
                .or_else(|| host("release/").map(Self::Release))
                .or_else(|| host("forget/").map(Self::Forget))?,
        })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster => f.write_str("the cluster"),
            Self::Pool(name) => write!(f, "pool `{name}`"),
            Self::Host(name) => write!(f, "host `{name}`"),
        }
    }
}

/// Who asked, when, and why: the value of a pause, of `retry/HOST` and of `forget/HOST`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ask {
    /// [`CONTROL_VERSION`] of the release that wrote it.
    pub version: u32,
    /// The person.
    pub who: String,
    /// When.
    pub at: Time,
    /// In the person's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// The value of `approved` and of `promoted`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Approval {
    /// [`CONTROL_VERSION`] of the release that wrote it.
    pub version: u32,
    /// The person.
    pub who: String,
    /// When.
    pub at: Time,
    /// The generation that may start, or whose canaries are promoted; no other one.
    pub generation: Generation,
}

/// The value of `release/HOST`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Release {
    /// [`CONTROL_VERSION`] of the release that wrote it.
    pub version: u32,
    /// The person.
    pub who: String,
    /// When.
    pub at: Time,
    /// The attempt that the person saw: a later one keeps its slot.
    pub attempt: Attempt,
}

/// The value of `teardown`: asked for by the tool, and ended by the leader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Teardown {
    /// [`CONTROL_VERSION`] of the release that wrote it.
    pub version: u32,
    /// The person.
    pub who: String,
    /// When.
    pub at: Time,
    /// Hosts that do not forget us, for a reason that may last, are left as they are.
    #[serde(default)]
    pub leave_behind: bool,
    /// When the framework began to end, for good; none before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Time>,
}

/// All that is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Controls {
    /// The pause of the whole cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Ask>,
    /// Pauses of pools.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub paused_pools: BTreeMap<String, Ask>,
    /// Pauses of hosts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub paused_hosts: BTreeMap<HostName, Ask>,
    /// The newest approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved: Option<Approval>,
    /// The newest promotion of canaries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promoted: Option<Approval>,
    /// Hosts to be tried again.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub retry: BTreeMap<HostName, Ask>,
    /// Hosts whose slots are to be given back.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub release: BTreeMap<HostName, Release>,
    /// Hosts to be taken off the list.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub forget: BTreeMap<HostName, Ask>,
    /// All of it is to be taken off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teardown: Option<Teardown>,
}

/// A pause that holds a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// How far it goes.
    pub scope: Scope,
    /// Who asked for it.
    pub ask: Ask,
}

impl Controls {
    /// Nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Takes in one value.
    ///
    /// # Errors
    ///
    /// It is not what this release writes or can read.
    pub fn put(&mut self, control: Control, value: &str) -> serde_json::Result<()> {
        fn read<T: DeserializeOwned>(value: &str) -> serde_json::Result<T> {
            serde_json::from_str(value)
        }
        match control {
            Control::Paused(Scope::Cluster) => self.paused = Some(read(value)?),
            Control::Paused(Scope::Pool(name)) => {
                self.paused_pools.insert(name, read(value)?);
            }
            Control::Paused(Scope::Host(name)) => {
                self.paused_hosts.insert(name, read(value)?);
            }
            Control::Approved => self.approved = Some(read(value)?),
            Control::Promoted => self.promoted = Some(read(value)?),
            Control::Retry(name) => drop(self.retry.insert(name, read(value)?)),
            Control::Release(name) => drop(self.release.insert(name, read(value)?)),
            Control::Forget(name) => drop(self.forget.insert(name, read(value)?)),
            Control::Teardown => self.teardown = Some(read(value)?),
        }
        Ok(())
    }

    /// One value was deleted.
    pub fn delete(&mut self, control: &Control) {
        match control {
            Control::Paused(Scope::Cluster) => self.paused = None,
            Control::Paused(Scope::Pool(name)) => drop(self.paused_pools.remove(name)),
            Control::Paused(Scope::Host(name)) => drop(self.paused_hosts.remove(name)),
            Control::Approved => self.approved = None,
            Control::Promoted => self.promoted = None,
            Control::Retry(name) => drop(self.retry.remove(name)),
            Control::Release(name) => drop(self.release.remove(name)),
            Control::Forget(name) => drop(self.forget.remove(name)),
            Control::Teardown => self.teardown = None,
        }
    }

    /// The pause that holds a host of these pools: the widest, which is the last to be lifted.
    #[must_use]
    pub fn pause_of(&self, host: &HostName, pools: &[String]) -> Option<Pause> {
        let pause = |scope, ask: &Ask| Pause { scope, ask: ask.clone() };
        let of_pool = |name: &String| {
            self.paused_pools.get(name).map(|ask| pause(Scope::Pool(name.clone()), ask))
        };
        let of_host = || self.paused_hosts.get(host);
        None.or_else(|| self.paused.as_ref().map(|ask| pause(Scope::Cluster, ask)))
            .or_else(|| pools.iter().find_map(of_pool))
            .or_else(|| of_host().map(|ask| pause(Scope::Host(host.clone()), ask)))
    }

    /// The framework ends, or has ended: nothing else is done any more.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.teardown.as_ref().is_some_and(|teardown| teardown.ended.is_some())
    }

    /// All pauses that people have asked for, the widest first.
    pub fn pauses(&self) -> impl Iterator<Item = Pause> {
        let cluster = self.paused.iter().map(|ask| (Scope::Cluster, ask));
        let pools = self.paused_pools.iter().map(|(name, ask)| (Scope::Pool(name.clone()), ask));
        let hosts = self.paused_hosts.iter().map(|(name, ask)| (Scope::Host(name.clone()), ask));
        let all = cluster.chain(pools).chain(hosts);
        all.map(|(scope, ask)| Pause { scope, ask: ask.clone() })
    }

    /// Whether the others may follow a generation's canaries.
    #[must_use]
    pub fn promotes(&self, generation: Generation) -> bool {
        self.promoted.as_ref().is_some_and(|promotion| promotion.generation == generation)
    }

    /// Whether a generation may start where an approval is needed.
    #[must_use]
    pub fn approves(&self, generation: Generation) -> bool {
        self.approved.as_ref().is_some_and(|approval| approval.generation == generation)
    }
}

/// As part of `paused by …`.
impl fmt::Display for Pause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scope, ask } = self;
        match &ask.why {
            Some(why) => write!(f, "{} ({scope}: {why})", ask.who),
            None => write!(f, "{} ({scope})", ask.who),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(who: &str) -> Ask {
        Ask { version: CONTROL_VERSION, who: who.to_owned(), at: Time(7), why: None }
    }

    #[test]
    fn every_path_is_read_back_and_others_are_nothing() {
        let host = || HostName::from("a/1 ü");
        let all = [
            Control::Paused(Scope::Cluster),
            Control::Paused(Scope::Pool("gpu".to_owned())),
            Control::Paused(Scope::Host(host())),
            Control::Approved,
            Control::Promoted,
            Control::Retry(host()),
            Control::Release(host()),
            Control::Forget(host()),
            Control::Teardown,
        ];
        for control in all {
            assert_eq!(Control::parse(&control.path()), Some(control));
        }
        for path in
            ["", "paused", "paused/pools/", "retry/", "retry/%zz", "retry/%61", "approved/7"]
        {
            assert_eq!(Control::parse(path), None, "{path}");
        }
    }

    #[test]
    fn s24_a_host_is_held_by_its_own_pause_by_those_of_its_pools_and_by_the_clusters() {
        let mut controls = Controls::default();
        let host = HostName::from("a1");
        let pools = ["gpu".to_owned()];
        let held_by = |controls: &Controls| controls.pause_of(&host, &pools).map(|it| it.ask.who);
        assert_eq!(held_by(&controls), None);
        let value = |who| serde_json::to_string(&ask(who)).unwrap();
        for (scope, who) in [
            (Scope::Host("a2".into()), "nobody"),
            (Scope::Pool("other".to_owned()), "nobody"),
            (Scope::Host(host.clone()), "one"),
            (Scope::Pool("gpu".to_owned()), "two"),
            (Scope::Cluster, "three"),
        ] {
            controls.put(Control::Paused(scope), &value(who)).unwrap();
            assert_eq!(held_by(&controls).as_deref(), Some(who).filter(|who| *who != "nobody"));
        }
        controls.delete(&Control::Paused(Scope::Cluster));
        assert_eq!(held_by(&controls).as_deref(), Some("two"));
        assert!(controls.put(Control::Approved, "{}").is_err());
        assert!(!controls.approves(Generation(0)));
    }
}
