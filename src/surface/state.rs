//! All that surfaces look at, as it is in etcd at one revision, or in a file that `export` wrote:
//! the two are the same type, so that everything works on both.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::budget::slot::{Guard, Slot};
use crate::observed::fleet::{AgentSeen, HostRecord};
use crate::observed::tasks::HostTasks;
use crate::plan::control::{Control, Controls};
use crate::plan::notice::Notice;
use crate::plan::progress::HostProgress;
use crate::rollout::records::{Accepted, BadRecord, Measures, RolloutState, from_json};
use crate::store::{Entry, Key, LeaderRecord, Snapshot};
use crate::words::{Generation, HostName, Revision, Time};

/// What the file says it is.
const API_VERSION: &str = "calico-dcos/v1";
const KIND: &str = "Export";

/// The file is no export that this release can read.
#[derive(Debug, thiserror::Error)]
pub enum BadExport {
    /// It is no JSON, or a field is missing or of another type.
    #[error("this is not what `calico-dcos export` writes; make it anew")]
    Json(#[source] serde_json::Error),
    /// It is something else.
    #[error(
        "this is `{kind}` of `{api_version}`, and an `{KIND}` of `{API_VERSION}` is needed; \
         `calico-dcos export` writes one"
    )]
    Kind {
        /// The `apiVersion` found.
        api_version: String,
        /// The `kind` found.
        kind: String,
    },
}

/// What is in etcd, without history and leases.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// `calico-dcos/v1`.
    pub api_version: String,
    /// `Export`.
    pub kind: String,
    /// When it was read.
    pub at: Time,
    /// At which revision.
    pub revision: Revision,
    /// The cluster ID of that etcd; none in files of older releases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// The documents under `desired/`, by name (`cluster`, `pools/NAME`).
    #[serde(default)]
    pub documents: BTreeMap<String, StoredDocument>,
    /// The newest accepted set: what is in force; none before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<InForce>,
    /// The rollout; none before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutState>,
    /// What estimates rest on; none before the first slot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measures: Option<Measures>,
    /// The guard of the slots; none before the first slot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<Guard>,
    /// Who leads; none if nobody does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<LeaderRecord>,
    /// What operators ask for beside the documents.
    #[serde(default, skip_serializing_if = "Controls::is_empty")]
    pub controls: Controls,
    /// The hosts.
    #[serde(default)]
    pub hosts: BTreeMap<HostName, HostState>,
    /// Records that cannot be read, each as a sentence. The controller starts nothing while
    /// there are any.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub unreadable: BTreeSet<String>,
    /// There is a framework in Mesos, as far as is known.
    #[serde(default)]
    pub framework: bool,
    /// The numbers of the entries of the history, for who writes the next one; not exported.
    #[serde(skip)]
    pub history: BTreeSet<u64>,
}

/// A document as it is in etcd.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredDocument {
    /// Verbatim.
    pub text: String,
    /// The revision of its last write.
    pub revision: Revision,
}

/// The accepted set, with its generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InForce {
    /// The generation.
    pub generation: Generation,
    /// The set.
    pub set: Accepted,
}

/// One host. One without a record was forgotten; what else is left of it is not looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostState {
    /// What is known of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<HostRecord>,
    /// Its tasks.
    #[serde(default)]
    pub tasks: HostTasks,
    /// Its slot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<Slot>,
    /// What became of its attempts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<HostProgress>,
    /// Its notice to the frameworks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice: Option<Notice>,
}

impl State {
    /// Those of the documents that are not in etcd, or not as they are given, by name.
    #[must_use]
    pub fn differing<'a>(&self, given: &'a BTreeMap<String, String>) -> Vec<&'a str> {
        let is = |name: &String, text: &String| {
            self.documents.get(name).is_some_and(|stored| stored.text == *text)
        };
        let others = given.iter().filter(|(name, text)| !is(name, text));
        others.map(|(name, _)| name.as_str()).collect()
    }

    /// Nothing, as of now.
    #[must_use]
    pub fn empty(at: Time, revision: Revision) -> Self {
        Self {
            api_version: API_VERSION.to_owned(),
            kind: KIND.to_owned(),
            at,
            revision,
            cluster: None,
            documents: BTreeMap::new(),
            accepted: None,
            rollout: None,
            measures: None,
            guard: None,
            leader: None,
            controls: Controls::default(),
            hosts: BTreeMap::new(),
            unreadable: BTreeSet::new(),
            framework: false,
            history: BTreeSet::new(),
        }
    }

    /// What a listing of the whole prefix holds. A record that cannot be read is named in
    /// [`State::unreadable`] and counts as absent.
    #[must_use]
    pub fn of(snapshot: &Snapshot, at: Time) -> Self {
        let mut state = Self::empty(at, snapshot.revision);
        state.cluster = Some(snapshot.cluster_id.to_string());
        for entry in &snapshot.entries {
            if let Err(bad) = state.set(&entry.key, Some(entry)) {
                state.unreadable.insert(bad);
            }
        }
        state
    }

    /// Reads what `export` wrote.
    pub fn from_export(text: &[u8]) -> Result<Self, BadExport> {
        /// Looked at first, so that another file is called by its name.
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Head {
            #[serde(default)]
            api_version: String,
            #[serde(default)]
            kind: String,
        }
        let Head { api_version, kind } = serde_json::from_slice(text).map_err(BadExport::Json)?;
        if api_version != API_VERSION || kind != KIND {
            return Err(BadExport::Kind { api_version, kind });
        }
        serde_json::from_slice(text).map_err(BadExport::Json)
    }

    /// The texts of the documents, by name.
    #[must_use]
    pub fn texts(&self) -> BTreeMap<String, String> {
        self.documents.iter().map(|(name, stored)| (name.clone(), stored.text.clone())).collect()
    }

    /// The generation that is in force; 0 before the first.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.accepted.as_ref().map_or(Generation(0), |in_force| in_force.generation)
    }

    /// Takes the master's list of agents for what the controller last saw of them.
    pub fn see_agents(&mut self, seen: &[AgentSeen], now: Time) {
        let mut by_host: BTreeMap<&HostName, Vec<&AgentSeen>> = BTreeMap::new();
        for agent in seen {
            by_host.entry(&agent.host).or_default().push(agent);
        }
        for (name, lines) in &by_host {
            if let Some(line) = lines.first() {
                let host = self.hosts.entry((*name).clone()).or_default();
                host.observed.get_or_insert_with(|| HostRecord::new(line, now));
            }
        }
        for (name, host) in &mut self.hosts {
            let lines = by_host.get(name).map_or(&[][..], Vec::as_slice);
            if let Some(record) = &mut host.observed {
                record.fold_listed(lines, now);
            }
        }
    }

    /// Takes in what a key holds now; none if it was deleted. What cannot be read counts as absent.
    ///
    /// # Errors
    ///
    /// What is wrong with it, as a sentence.
    pub(super) fn set(&mut self, key: &Key, entry: Option<&Entry>) -> Result<(), String> {
        match key {
            Key::DesiredCluster => self.document("cluster".to_owned(), entry),
            Key::DesiredPool(name) => self.document(format!("pools/{name}"), entry),
            // In the order of the keys: the newest comes last.
            Key::Accepted(generation) => {
                let mut set = None;
                read_to(&mut set, entry)?;
                if let Some(set) = set {
                    self.accepted = Some(InForce { generation: *generation, set });
                }
            }
            Key::Observed(host) => return self.host(host, |it| read_to(&mut it.observed, entry)),
            Key::Tasks(host) => {
                return self.host(host, |it| {
                    let mut tasks = None;
                    let done = read_to(&mut tasks, entry);
                    it.tasks = tasks.unwrap_or_default();
                    done
                });
            }
            Key::Slot(host) => return self.host(host, |it| read_to(&mut it.slot, entry)),
            Key::RolloutHost(host) => {
                return self.host(host, |it| read_to(&mut it.progress, entry));
            }
            Key::Notice(host) => return self.host(host, |it| read_to(&mut it.notice, entry)),
            Key::SlotGuard => return read_to(&mut self.guard, entry),
            // The controller goes on without it, and writes it anew.
            Key::RolloutMeasures => drop(read_to(&mut self.measures, entry)),
            Key::History(number) => {
                if entry.is_some() {
                    self.history.insert(*number);
                } else {
                    self.history.remove(number);
                }
            }
            Key::RolloutState => return read_to(&mut self.rollout, entry),
            Key::Leader => return read_to(&mut self.leader, entry),
            Key::Control(name) => return self.control(name, entry),
            Key::FrameworkId => self.framework = entry.is_some(),
            Key::Rendered(_) => {}
        }
        Ok(())
    }

    fn document(&mut self, name: String, entry: Option<&Entry>) {
        match entry {
            Some(entry) => {
                let stored =
                    StoredDocument { text: entry.value.clone(), revision: entry.mod_revision };
                self.documents.insert(name, stored);
            }
            None => drop(self.documents.remove(&name)),
        }
    }

    fn control(&mut self, name: &str, entry: Option<&Entry>) -> Result<(), String> {
        let Some(control) = Control::parse(name) else { return Ok(()) };
        self.controls.delete(&control);
        let Some(entry) = entry else { return Ok(()) };
        let put = self.controls.put(control, &entry.value);
        put.map_err(|source| BadRecord::Unreadable { path: entry.key.path(), source }.sentence())
    }

    fn host<T>(&mut self, name: &HostName, change: impl FnOnce(&mut HostState) -> T) -> T {
        let host = self.hosts.entry(name.clone()).or_default();
        let done = change(host);
        // Nothing is left of it.
        if *host == HostState::default() {
            self.hosts.remove(name);
        }
        done
    }
}

fn read_to<T: DeserializeOwned>(
    place: &mut Option<T>,
    entry: Option<&Entry>,
) -> Result<(), String> {
    *place = None;
    if let Some(entry) = entry {
        let read = from_json(&entry.key.path(), &entry.value);
        *place = Some(read.map_err(|bad| bad.sentence())?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::surface::testing;

    #[test]
    fn an_export_is_read_back_as_written() {
        let state = testing::fleet(12);
        let text = serde_json::to_vec(&state).unwrap();
        assert_eq!(State::from_export(&text).unwrap(), state);
    }

    #[test]
    fn a_file_that_is_no_export_is_called_by_its_name() {
        for (text, says) in [
            ("", "not what"),
            ("7", "not what"),
            ("{}", "this is `` of ``"),
            (r#"{"apiVersion":"calico-dcos/v1","kind":"Plan"}"#, "this is `Plan`"),
            (r#"{"apiVersion":"calico-dcos/v9","kind":"Export"}"#, "of `calico-dcos/v9`"),
            (r#"{"apiVersion":"calico-dcos/v1","kind":"Export","at":1}"#, "not what"),
        ] {
            let error = State::from_export(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn a_listing_gives_each_record_its_place_and_names_what_cannot_be_read() {
        let entry = |path: &str, value: &str, at: u64| Entry {
            key: Key::parse(path).unwrap(),
            value: value.to_owned(),
            mod_revision: Revision(at),
            create_revision: Revision(at),
        };
        let set = r#"{"version":1,"revision":3,"at":5,"documents":{"cluster":"x"}}"#;
        let entries = vec![
            entry("desired/cluster", "kind: Cluster", 7),
            entry("desired/pools/gpu", "kind: Pool", 8),
            entry("accepted/00000000000000000002", set, 4),
            entry("accepted/00000000000000000010", set, 5),
            entry("slots/a1", "{", 9),
            entry("history/00000000000000000001", "whatever", 9),
        ];
        let state = State::of(&Snapshot { revision: Revision(9), cluster_id: 1, entries }, Time(1));
        assert_eq!(state.generation(), Generation(10));
        assert_eq!(state.documents["pools/gpu"].revision, Revision(8));
        assert_eq!(state.texts()["cluster"], "kind: Cluster");
        let unreadable: Vec<_> = state.unreadable.iter().collect();
        assert!(matches!(unreadable[..], [one] if one.contains("slots/a1")), "{unreadable:?}");
    }
}
