//! Which CNI networks an agent knows, by the rules of recording e50: any file of the folder counts,
//! the first of a name wins, and a network stays with its file for as long as that is there.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use super::flags::Flags;
use crate::mesos::v1::ExecutorInfo;

/// From this version on the folder is read again when a network is not known, or its file has gone or
/// changed (MESOS-6567). Before, an agent knows what was there when it started.
const READS_LIVE: semver::Version = semver::Version::new(1, 2, 0);

/// What an agent knows.
#[derive(Debug)]
pub(super) struct Networks {
    folder: Option<PathBuf>,
    live: bool,
    /// By name, the file that it is from, and its text.
    known: BTreeMap<String, (String, String)>,
}

impl Networks {
    pub(super) fn new(flags: &Flags) -> Self {
        let isolates = flags.list("isolation").iter().any(|name| name == "network/cni");
        let folder = flags.get("network_cni_config_dir").filter(|_| isolates).map(PathBuf::from);
        Self { folder, live: true, known: BTreeMap::new() }
    }

    /// The agent starts.
    pub(super) fn load(&mut self, mesos: &semver::Version) {
        self.live = *mesos >= READS_LIVE;
        self.read();
    }

    /// The first network that the executor asks for and that the agent does not know.
    pub(super) fn missing(&mut self, executor: &ExecutorInfo) -> Option<String> {
        let networks = executor.rest.get("container").and_then(|c| c.get("network_infos"));
        let networks = networks.and_then(Value::as_array).into_iter().flatten();
        let names: Vec<_> = networks
            .filter_map(|network| network.get("name")?.as_str())
            .map(str::to_owned)
            .collect();
        if self.live && names.iter().any(|name| !self.is_current(name)) {
            self.read();
        }
        names.into_iter().find(|name| !self.known.contains_key(name))
    }

    fn is_current(&self, name: &str) -> bool {
        let (Some(folder), Some((file, text))) = (&self.folder, self.known.get(name)) else {
            return false;
        };
        std::fs::read_to_string(folder.join(file)).is_ok_and(|now| now == *text)
    }

    fn read(&mut self) {
        let Some(folder) = &self.folder else { return };
        let before = std::mem::take(&mut self.known);
        let files = super::files_in(folder);
        let names = |text: &str| {
            let config: Value = serde_json::from_str(text).ok()?;
            config.get("type")?.as_str()?;
            Some(config.get("name")?.as_str()?.to_owned())
        };
        // Those that were known stay with their files.
        let kept = before.into_iter().map(|(_, (file, _))| file).filter(|f| files.contains_key(f));
        let order: Vec<_> = kept.chain(files.keys().cloned()).collect();
        for file in order {
            let Some(text) = files.get(&file) else { continue };
            if let Some(name) = names(text) {
                self.known.entry(name).or_insert((file, text.clone()));
            } else {
                tracing::error!(file, "not a CNI network; passed over");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wants(name: &str) -> ExecutorInfo {
        let network = serde_json::json!({ "network_infos": [{ "name": name }] });
        serde_json::from_value(serde_json::json!({
            "executor_id": { "value": "e" }, "container": network
        }))
        .unwrap()
    }

    fn networks(folder: &std::path::Path, version: &str) -> Networks {
        let flags = [
            ("MESOS_ISOLATION", "network/cni"),
            ("MESOS_NETWORK_CNI_CONFIG_DIR", folder.to_str().unwrap()),
        ];
        let flags = flags.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut networks = Networks::new(&Flags::read(flags));
        networks.load(&version.parse().unwrap());
        networks
    }

    #[test]
    fn what_comes_later_is_known_only_to_those_who_look_again() {
        for (version, live) in
            [("1.0.1", false), ("1.1.3", false), ("1.2.0", true), ("1.11.0", true)]
        {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("calico.cni");
            let mut known = networks(folder.path(), version);
            assert_eq!(known.missing(&wants("calico")).as_deref(), Some("calico"));
            std::fs::write(&file, r#"{"name": "calico", "type": "calico"}"#).unwrap();
            assert_eq!(known.missing(&wants("calico")).is_none(), live, "{version}");

            let mut restarted = networks(folder.path(), version);
            assert_eq!(restarted.missing(&wants("calico")), None);
            std::fs::remove_file(&file).unwrap();
            assert_eq!(restarted.missing(&wants("calico")).is_some(), live, "{version}");
        }
    }

    #[test]
    fn a_network_stays_with_its_file_and_a_copy_takes_over() {
        let folder = tempfile::tempdir().unwrap();
        let write = |file: &str, kind: &str| {
            let text = format!(r#"{{"name": "calico", "type": "{kind}"}}"#);
            std::fs::write(folder.path().join(file), text).unwrap();
        };
        write("b.conf", "first");
        let mut known = networks(folder.path(), "1.11.0");
        write("a.conf.old", "copy");
        std::fs::write(folder.path().join("broken"), "{").unwrap();
        assert_eq!(known.missing(&wants("calico")), None);
        assert_eq!(known.known["calico"].0, "b.conf");
        std::fs::remove_file(folder.path().join("b.conf")).unwrap();
        assert_eq!(known.missing(&wants("calico")), None);
        assert_eq!(known.known["calico"].0, "a.conf.old");
    }
}
