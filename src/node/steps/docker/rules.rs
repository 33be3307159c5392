//! What follows from what was found of Docker, without touching anything.

use serde_json::{Map, Value};

use super::given;
use crate::desired::{ComponentSpec, Docker as Wanted, STORE_KEYS, Spec};
use crate::node::docker::Info;
use crate::node::json;
use crate::node::state::Record;
use crate::observed::support::{foreign_store, release, takes_first_store_by_reload};

/// The keys that are ours once we have set a store.
const OURS: [&str; 3] = STORE_KEYS;
const STORE: &str = OURS[0];
pub(super) const CONFIG: &str = "/etc/docker/daemon.json";

/// What matters of the daemon's command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CommandLine {
    /// All of it.
    pub words: Vec<String>,
    /// The file that it reads.
    pub config_file: String,
    /// A flag of the cluster store: given here, it must not be in the file.
    pub store_flag: Option<String>,
}

impl Default for CommandLine {
    fn default() -> Self {
        Self { words: Vec::new(), config_file: CONFIG.to_owned(), store_flag: None }
    }
}

impl CommandLine {
    /// From the words of the process.
    pub(super) fn read(words: Vec<String>) -> Self {
        let flag = |name: &str| {
            words.iter().enumerate().find_map(|(at, word)| match word.strip_prefix(name)? {
                "" => words.get(at + 1).cloned(),
                rest => rest.strip_prefix('=').map(str::to_owned),
            })
        };
        let config_file = flag("--config-file").unwrap_or_else(|| CONFIG.to_owned());
        let store_flag = words
            .iter()
            .find(|word| word.starts_with("--cluster-"))
            .map(|word| word.split('=').next().unwrap_or(word).to_owned());
        Self { words, config_file, store_flag }
    }
}

/// What was found.
#[derive(Clone, Debug)]
pub(super) struct View {
    /// How the daemon was started.
    pub line: CommandLine,
    /// Its file; none if there is none.
    pub file: Option<String>,
    /// What it says of itself; none if it does not answer.
    pub info: Option<Info>,
}

/// What it takes to have the target in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Nothing.
    InForce,
    /// To write file and record; the daemon is so already.
    Write,
    /// SIGHUP.
    Reload,
    /// A restart.
    Restart,
}

impl View {
    /// Whether a store can be managed here at all; else why not.
    pub(super) fn blocked(&self) -> Result<(), String> {
        self.members()?;
        if let Some(flag) = &self.line.store_flag {
            return Err(format!(
                "Docker is started with {flag}, which is left alone; take it out of its unit to have the store managed"
            ));
        }
        let Some(info) = &self.info else { return Ok(()) };
        if info.is_in_swarm() {
            return Err("Docker is a member of a swarm and refuses a cluster store".to_owned());
        }
        match release(&info.server_version) {
            Some(release) if release >= (23, 0) => Err(format!(
                "Docker {} knows no cluster store and would not start with one",
                info.server_version
            )),
            Some(release) if release < (1, 10) => Err(format!(
                "Docker {} reads no daemon.json; 1.10 is the first that does",
                info.server_version
            )),
            Some(_) => Ok(()),
            None => Err(format!("`{}` is no version of Docker that is known", info.server_version)),
        }
    }

    /// What the file says of a store that we have not set.
    pub(super) fn foreign(&self, record: Option<&Record>) -> Map<String, Value> {
        let members = if record.is_none() { self.members().ok() } else { None };
        members.unwrap_or_default()
    }

    /// What has to be done for a target, or why it cannot be.
    pub(super) fn way(
        &self,
        target: &ComponentSpec,
        record: Option<&Record>,
    ) -> Result<Way, String> {
        let Spec::Docker(wanted) = &target.spec else { return self.way_off(record) };
        self.blocked()?;
        let foreign = self.foreign(record);
        if let Some(key) = foreign.keys().next().filter(|_| !self.is_in_force(wanted)) {
            return Err(foreign_store(key, &self.line.config_file));
        }
        let recorded = record.is_some_and(|record| record.target.hash == target.hash);
        if recorded && self.is_in_force(wanted) {
            return Ok(Way::InForce);
        }
        let file_differs = self.members()? != wanted.keys();
        let options_change = record.is_some_and(|record| {
            matches!(&record.target.spec, Spec::Docker(old) if old.cluster_store_opts != wanted.cluster_store_opts)
        });
        let Some(info) = &self.info else { return Ok(Way::Restart) };
        if uses(info, wanted) && !(options_change && file_differs) {
            return Ok(Way::Write);
        }
        let first = info.cluster_store.is_empty() && wanted.cluster_advertise.is_some();
        let takes = takes_first_store_by_reload(&info.server_version);
        Ok(if first && takes { Way::Reload } else { Way::Restart })
    }

    /// To put back what was there before us. That works on every version.
    fn way_off(&self, record: Option<&Record>) -> Result<Way, String> {
        let Some(record) = record else { return Ok(Way::InForce) };
        self.members()?;
        let before = given(&record.before[STORE]).and_then(Value::as_str).unwrap_or_default();
        let store = self.info.as_ref().map(|info| info.cluster_store.as_str());
        Ok(if store == Some(before) { Way::Write } else { Way::Restart })
    }

    /// The file as it is to be.
    pub(super) fn text(
        &self,
        target: &ComponentSpec,
        record: Option<&Record>,
    ) -> Result<String, String> {
        let wanted = match &target.spec {
            Spec::Docker(wanted) => wanted.keys(),
            _ => record.and_then(|record| record.before.as_object().cloned()).unwrap_or_default(),
        };
        let mut text = self.file.clone().unwrap_or_else(|| "{}\n".to_owned());
        for key in OURS {
            text = match wanted.get(key) {
                Some(value) => json::set(&text, key, value),
                None => json::remove(&text, key),
            }
            .map_err(|error| self.unreadable(&error))?;
        }
        Ok(text)
    }

    /// Whether the file is to be gone, as it was there for our sake alone.
    pub(super) fn is_needless(text: &str, record: Option<&Record>) -> bool {
        record.is_some_and(|record| record.before.is_null())
            && json::members(text).is_ok_and(|members| members.is_empty())
    }

    /// Whether file and daemon are as declared.
    pub(super) fn is_in_force(&self, wanted: &Wanted) -> bool {
        let file = self.members().is_ok_and(|members| members == wanted.keys());
        file && self.info.as_ref().is_some_and(|info| uses(info, wanted))
    }

    /// Our keys in the file.
    fn members(&self) -> Result<Map<String, Value>, String> {
        let Some(text) = &self.file else { return Ok(Map::new()) };
        let members = json::members(text).map_err(|error| self.unreadable(&error))?;
        let ours = members.into_iter().filter(|member| OURS.contains(&member.key.as_str()));
        Ok(ours.map(|member| (member.key, member.value)).collect())
    }

    fn unreadable(&self, error: &serde_json::Error) -> String {
        let file = &self.line.config_file;
        format!("{file} cannot be read ({error}), and Docker would not start with it; correct it")
    }
}

/// Our keys in a file, as they are kept for the day the component is taken off; null: there was
/// no file.
pub(super) fn ours_in(text: Option<&str>) -> Value {
    let Some(text) = text else { return Value::Null };
    let members = json::members(text).unwrap_or_default();
    let ours = members.into_iter().filter(|member| OURS.contains(&member.key.as_str()));
    Value::Object(ours.map(|member| (member.key, member.value)).collect())
}

/// Whether the daemon says that it uses the declared store. What was declared by the name of an
/// interface it says by address, so of that only the port can be compared.
pub(super) fn uses(info: &Info, wanted: &Wanted) -> bool {
    let advertise = match &wanted.cluster_advertise {
        None => true,
        Some(advertise) => {
            let advertise = advertise.as_str();
            let port = |text: &str| text.rsplit_once(':').map(|(_, port)| port.to_owned());
            match advertise.parse::<std::net::SocketAddr>() {
                Ok(_) => info.cluster_advertise == advertise,
                Err(_) => port(&info.cluster_advertise) == port(advertise),
            }
        }
    };
    info.cluster_store == wanted.cluster_store.as_str() && advertise
}

#[cfg(test)]
mod tests;
