//! What follows from what was found of Docker, without touching anything.

use serde_json::{Map, Value};

use super::given;
use crate::desired::{ComponentSpec, Docker as Wanted, STORE_KEYS, Spec};
use crate::node::docker::Info;
use crate::node::json;
use crate::node::state::Record;

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
            return Err(format!(
                "somebody else has set `{key}` in {}, which is left alone; take it out to have the store managed, or declare what is there",
                self.line.config_file
            ));
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
        let takes = release(&info.server_version)
            .is_some_and(|release| ((1, 11)..=(20, 10)).contains(&release));
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

/// The first two numbers; old versions have leading zeros (`17.03.2-ce`).
fn release(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split(['.', '-', '~', '+']).map_while(|part| part.parse().ok());
    Some((numbers.next()?, numbers.next()?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::job::samples;
    use crate::words::{Attempt, Component};

    const STORE_URL: &str = "etcd://127.0.0.1:2379";

    fn wanted(json: Value) -> ComponentSpec {
        let docker: Wanted = serde_json::from_value(json).unwrap();
        samples::spec(Component::Docker, Spec::Docker(docker))
    }

    fn view(version: &str, file: Option<&str>, store: &str, advertise: &str) -> View {
        let info = Info {
            server_version: version.to_owned(),
            cluster_store: store.to_owned(),
            cluster_advertise: advertise.to_owned(),
            ..Info::default()
        };
        View { line: CommandLine::default(), file: file.map(str::to_owned), info: Some(info) }
    }

    fn record(target: &ComponentSpec) -> Record {
        Record::new(Attempt(1), target, None, json!({}))
    }

    #[test]
    fn the_gentlest_way_that_works_is_taken() {
        let plain = wanted(json!({}));
        let advertised = wanted(json!({"clusterAdvertise": "eth0:2376"}));
        let (ours, ours_adv) = (
            r#"{"cluster-store": "etcd://127.0.0.1:2379"}"#,
            r#"{"cluster-store": "etcd://127.0.0.1:2379", "cluster-advertise": "eth0:2376"}"#,
        );
        let other = "etcd://10.0.0.1:2379";
        for (target, file, version, store, advertise, recorded, expected) in [
            (&plain, None, "20.10.24", "", "", false, Way::Restart),
            (&advertised, None, "20.10.24", "", "", false, Way::Reload),
            (&advertised, None, "1.11.2", "", "", false, Way::Reload),
            (&advertised, None, "1.10.3", "", "", false, Way::Restart),
            (&advertised, None, "17.03.2-ce", "", "", false, Way::Reload),
            // A store that is in force is not changed by SIGHUP.
            (&advertised, Some(ours), "20.10.24", other, "", true, Way::Restart),
            (
                &advertised,
                Some(ours_adv),
                "20.10.24",
                STORE_URL,
                "10.0.0.1:2376",
                true,
                Way::InForce,
            ),
            (
                &advertised,
                Some(ours_adv),
                "20.10.24",
                STORE_URL,
                "10.0.0.1:2377",
                true,
                Way::Restart,
            ),
            (&plain, Some(ours), "20.10.24", STORE_URL, "", true, Way::InForce),
            // Written after the start: not in force.
            (&plain, Some(ours), "20.10.24", "", "", true, Way::Restart),
            // The daemon took it by reload, and the file was edited since.
            (&advertised, Some("{}"), "20.10.24", STORE_URL, "10.0.0.1:2376", true, Way::Write),
        ] {
            let view = view(version, file, store, advertise);
            let record = recorded.then(|| record(target));
            let way = view.way(target, record.as_ref());
            assert_eq!(way, Ok(expected), "{target:?} {file:?} {version} {store} {advertise}");
        }
    }

    #[test]
    fn what_would_break_the_daemon_or_is_not_ours_is_refused() {
        let plain = wanted(json!({}));
        let swarm = |state: &str| {
            let mut view = view("20.10.24", None, "", "");
            if let Some(info) = &mut view.info {
                info.swarm.local_node_state = state.to_owned();
            }
            view
        };
        let started = |line: &str| {
            let line = CommandLine::read(line.split(' ').map(str::to_owned).collect());
            View { line, ..view("20.10.24", None, "", "") }
        };
        for (view, text) in [
            (view("23.0.1", None, "", ""), "knows no cluster store"),
            (view("28.1.0", None, "", ""), "knows no cluster store"),
            (view("1.9.1", None, "", ""), "reads no daemon.json"),
            (view("", None, "", ""), "no version"),
            (swarm("active"), "swarm"),
            (swarm("pending"), "swarm"),
            (started("dockerd --cluster-store=etcd://x:1"), "--cluster-store"),
            (started("dockerd --cluster-advertise eth0:1"), "--cluster-advertise"),
            (view("20.10.24", Some("{"), "", ""), "cannot be read"),
            (view("20.10.24", Some(""), "", ""), "cannot be read"),
            (view("20.10.24", Some(r#"{"a":1,"a":2}"#), "", ""), "twice"),
        ] {
            let why = view.way(&plain, None).unwrap_err();
            assert!(why.contains(text), "{why}");
            assert_eq!(view.blocked(), Err(why));
        }
        assert_eq!(swarm("inactive").blocked(), Ok(()));
    }

    #[test]
    fn a_store_of_somebody_else_is_left_alone_unless_it_is_the_declared_one() {
        let plain = wanted(json!({}));
        let ours = r#"{"cluster-store":"etcd://127.0.0.1:2379"}"#;
        for (file, store, adopted) in [
            (r#"{"cluster-store":"etcd://x:1"}"#, "etcd://x:1", false),
            (r#"{"cluster-advertise":"eth0:1"}"#, "", false),
            (
                r#"{"cluster-store":"etcd://127.0.0.1:2379","cluster-advertise":"eth0:1"}"#,
                STORE_URL,
                false,
            ),
            // Written, and not in force: whose it is to bring it there is not known.
            (ours, "", false),
            (ours, STORE_URL, true),
        ] {
            let view = view("20.10.24", Some(file), store, "");
            match view.way(&plain, None) {
                Ok(way) => assert_eq!((adopted, way), (true, Way::Write), "{file}"),
                Err(why) => assert!(!adopted && why.contains("left alone"), "{file}: {why}"),
            }
            assert!(!view.foreign(None).is_empty());
            assert!(view.foreign(Some(&record(&plain))).is_empty());
        }
    }

    #[test]
    fn the_file_keeps_what_is_not_ours() {
        let target = wanted(json!({
            "clusterAdvertise": "eth0:2376", "clusterStoreOpts": {"kv.cacertfile": "/ca.pem"},
        }));
        for (before, after) in [
            (
                None,
                "{\n    \"cluster-store\": \"etcd://127.0.0.1:2379\",\n    \"cluster-advertise\": \"eth0:2376\",\n    \"cluster-store-opts\": {\"kv.cacertfile\":\"/ca.pem\"}\n}\n",
            ),
            (
                Some(
                    "{\n  \"log-level\": \"debug\",\n  \"cluster-store\": \"etcd://old:1\",\n  \"bip\": \"10.1.0.1/16\"\n}\n",
                ),
                "{\n  \"log-level\": \"debug\",\n  \"cluster-store\": \"etcd://127.0.0.1:2379\",\n  \"bip\": \"10.1.0.1/16\",\n  \"cluster-advertise\": \"eth0:2376\",\n  \"cluster-store-opts\": {\"kv.cacertfile\":\"/ca.pem\"}\n}\n",
            ),
        ] {
            assert_eq!(view("20.10.24", before, "", "").text(&target, None).unwrap(), after);
        }
    }

    #[test]
    fn taking_it_off_restores_our_keys_and_no_others() {
        let off = samples::spec(Component::Docker, Spec::Off);
        let target = wanted(json!({}));
        let mut record = record(&target);
        // Since then somebody has added a key of his own.
        let file = r#"{"cluster-store": "etcd://127.0.0.1:2379", "debug": true}"#;
        let view = view("23.0.0", Some(file), STORE_URL, "");
        assert_eq!(view.way(&off, Some(&record)), Ok(Way::Restart));
        assert_eq!(view.text(&off, Some(&record)).unwrap(), r#"{ "debug": true}"#);
        record.before = json!({"cluster-advertise": "eth0:1"});
        let text = view.text(&off, Some(&record)).unwrap();
        assert_eq!(text, r#"{ "debug": true, "cluster-advertise": "eth0:1"}"#);
        assert_eq!(view.way(&off, None), Ok(Way::InForce));
    }

    #[test]
    fn the_command_line_names_the_file() {
        for (line, file) in [
            ("dockerd", CONFIG),
            ("dockerd --config-file /a.json -H fd://", "/a.json"),
            ("dockerd --config-file=/b.json", "/b.json"),
        ] {
            let words = line.split(' ').map(str::to_owned).collect();
            assert_eq!(CommandLine::read(words).config_file, file);
        }
    }
}
