//! The flags of an agent, from `MESOS_…` of its environment, and which of them a real agent refuses
//! (recordings e33, e34 and e35; what is not recorded there is from Mesos' documentation).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

/// Isolators that are compiled in.
const ISOLATORS: [&str; 26] = [
    "cgroups/all",
    "cgroups/blkio",
    "cgroups/cpu",
    "cgroups/cpuset",
    "cgroups/devices",
    "cgroups/hugetlb",
    "cgroups/mem",
    "cgroups/net_cls",
    "cgroups/net_prio",
    "cgroups/perf_event",
    "cgroups/pids",
    "disk/du",
    "disk/xfs",
    "docker/runtime",
    "docker/volume",
    "filesystem/linux",
    "filesystem/posix",
    "gpu/nvidia",
    "linux/capabilities",
    "namespaces/ipc",
    "namespaces/pid",
    "network/cni",
    "network/port_mapping",
    "posix/cpu",
    "posix/mem",
    "volume/sandbox_path",
];

/// The longest that an agent waits for its executors.
const LONGEST_REREGISTRATION: u64 = 15_000;

/// What a real agent would list at `/flags` of what it was given.
const KNOWN: [&str; 25] = [
    "agent_features",
    "attributes",
    "authenticate_http_executors",
    "cgroups_root",
    "containerizers",
    "default_role",
    "executor_registration_timeout",
    "executor_reregistration_timeout",
    "executor_shutdown_grace_period",
    "hooks",
    "hostname",
    "image_providers",
    "ip",
    "isolation",
    "launcher",
    "master",
    "modules",
    "modules_dir",
    "network_cni_config_dir",
    "network_cni_plugins_dir",
    "port",
    "reconfiguration_policy",
    "recovery_timeout",
    "resources",
    "work_dir",
];

/// By name, as at `/flags`.
#[derive(Clone, Debug, Default)]
pub(super) struct Flags(BTreeMap<String, String>);

impl Flags {
    /// Variables that Mesos does not know are passed over, as it does.
    pub(super) fn read(environment: impl Iterator<Item = (String, String)>) -> Self {
        let flags = environment.filter_map(|(name, value)| {
            let name = name.strip_prefix("MESOS_")?.to_lowercase();
            KNOWN.contains(&name.as_str()).then_some((name, value))
        });
        Self(flags.collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// What is answered at `/flags`.
    pub(super) fn told(&self) -> BTreeMap<String, String> {
        self.0.clone()
    }

    pub(super) fn work_dir(&self) -> &str {
        self.get("work_dir").unwrap_or("/var/lib/mesos")
    }

    /// A list with commas; an empty text is a list with one empty item.
    pub(super) fn list(&self, name: &str) -> Vec<String> {
        let items = self.get(name).into_iter().flat_map(|list| list.split(','));
        items.map(|item| item.trim().to_owned()).collect()
    }

    /// A duration such as `10secs`; none if it is not given or cannot be read.
    pub(super) fn milliseconds(&self, name: &str) -> Option<u64> {
        self.get(name).and_then(milliseconds)
    }

    /// What a real agent says as it ends, if it would.
    pub(super) fn check(&self) -> Result<(), String> {
        let policy = self.get("reconfiguration_policy").unwrap_or("equal");
        if !matches!(policy, "equal" | "additive") {
            return Err(format!(
                "Unknown option for 'reconfiguration_policy' flag {policy}. Please run the agent \
                 with '--help' to see the valid options."
            ));
        }
        for (name, value) in &self.0 {
            if name.ends_with("timeout") && milliseconds(value).is_none() {
                return Err(format!("Failed to load flag '{name}': Invalid duration '{value}'"));
            }
        }
        let timeout = self.milliseconds("executor_reregistration_timeout").unwrap_or(0);
        if timeout > LONGEST_REREGISTRATION {
            return Err("Expected `--executor_reregistration_timeout` to be not more than 15secs"
                .to_owned());
        }
        let modules = self.modules().map_err(|why| format!("Error loading modules: {why}"))?;
        if let Some(hook) = self.list("hooks").iter().find(|hook| !modules.contains(*hook)) {
            return Err(format!("Error installing hooks: No hook module named '{hook}' available"));
        }
        self.isolation(&modules).map_err(|why| {
            format!("Failed to create a containerizer: Could not create MesosContainerizer: {why}")
        })
    }

    fn isolation(&self, modules: &BTreeSet<String>) -> Result<(), String> {
        let wanted = self.list("isolation");
        let unknown =
            |name: &&String| !ISOLATORS.contains(&name.as_str()) && !modules.contains(*name);
        if let Some(name) = wanted.iter().find(unknown) {
            return Err(format!("Unknown or unsupported isolator '{name}'"));
        }
        if !wanted.iter().any(|name| name == "network/cni") {
            return Ok(());
        }
        let why = match (self.get("network_cni_config_dir"), self.get("network_cni_plugins_dir")) {
            (None, Some(_)) => {
                "Missing required '--network_cni_config_dir' flag for 'network/cni' isolator"
                    .to_owned()
            }
            (Some(_), None) => {
                "Missing required '--network_cni_plugins_dir' flag for 'network/cni' isolator"
                    .to_owned()
            }
            (Some(folder), Some(_)) if !Path::new(folder).is_dir() => {
                format!("The CNI network configuration directory '{folder}' does not exist")
            }
            (None, None) | (Some(_), Some(_)) => return Ok(()),
        };
        Err(format!("Failed to create isolator 'network/cni': {why}"))
    }

    /// The names that the modules of `--modules` or `--modules_dir` have.
    fn modules(&self) -> Result<BTreeSet<String>, String> {
        let texts = match (self.get("modules"), self.get("modules_dir")) {
            (None, None) => Vec::new(),
            (Some(_), Some(_)) => {
                return Err("Only one of --modules or --modules_dir should be specified".to_owned());
            }
            (None, Some(folder)) if !Path::new(folder).is_dir() => {
                return Err(format!("Error loading module manifests from '{folder}'"));
            }
            (None, Some(folder)) => super::files_in(Path::new(folder)).into_values().collect(),
            (Some(value), None) => match value.strip_prefix("file://") {
                Some(path) => {
                    vec![
                        std::fs::read_to_string(path)
                            .map_err(|error| format!("{path}: {error}"))?,
                    ]
                }
                None => vec![value.to_owned()],
            },
        };
        let mut names = BTreeSet::new();
        for text in texts {
            let manifest: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
            let libraries =
                manifest.get("libraries").and_then(Value::as_array).into_iter().flatten();
            for library in libraries {
                let file = library.get("file").and_then(Value::as_str).unwrap_or_default();
                if !Path::new(file).is_file() {
                    return Err(format!(
                        "Error opening library: '{file}': Could not load library '{file}'"
                    ));
                }
                let modules =
                    library.get("modules").and_then(Value::as_array).into_iter().flatten();
                let own = modules.filter_map(|module| module.get("name")?.as_str());
                names.extend(own.map(str::to_owned));
            }
        }
        Ok(names)
    }
}

fn milliseconds(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let unit = match &text[digits..] {
        "ms" => 1,
        "secs" => 1_000,
        "mins" => 60_000,
        "hrs" => 3_600_000,
        "days" => 86_400_000,
        "weeks" => 604_800_000,
        _ => return None,
    };
    text[..digits].parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(flags: &[(&str, &str)]) -> String {
        let flags = flags.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Flags::read(flags).check().err().unwrap_or_default()
    }

    #[test]
    fn what_a_real_agent_refuses_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path().to_str().unwrap();
        std::fs::write(folder.path().join("lib.so"), "").unwrap();
        let module = |file: &str| {
            format!(
                r#"{{"libraries": [{{"file": "{here}/{file}", "modules": [{{"name": "com_x_Iso"}}]}}]}}"#
            )
        };
        let (there, gone) = (module("lib.so"), module("gone.so"));
        let cni = ("MESOS_ISOLATION", "cgroups/cpu,network/cni");
        let (config, plugins) = ("MESOS_NETWORK_CNI_CONFIG_DIR", "MESOS_NETWORK_CNI_PLUGINS_DIR");
        for (flags, text) in [
            (&[][..], ""),
            (&[("MESOS_NO_SUCH_FLAG", "x"), ("HOME", "/")], ""),
            (&[("MESOS_RECONFIGURATION_POLICY", "any")], "Unknown option"),
            (&[("MESOS_RECONFIGURATION_POLICY", "additive")], ""),
            (&[("MESOS_EXECUTOR_REREGISTRATION_TIMEOUT", "15secs")], ""),
            (&[("MESOS_EXECUTOR_REREGISTRATION_TIMEOUT", "60secs")], "not more than 15secs"),
            (&[("MESOS_EXECUTOR_REGISTRATION_TIMEOUT", "10 mins")], "Invalid duration"),
            (
                &[("MESOS_ISOLATION", "cgroups/cpu,calico/nope")],
                "unsupported isolator 'calico/nope'",
            ),
            (&[("MESOS_ISOLATION", "")], "unsupported isolator ''"),
            (&[cni], ""),
            (&[cni, (config, here)], "Missing required '--network_cni_plugins_dir'"),
            (&[cni, (plugins, here)], "Missing required '--network_cni_config_dir'"),
            (
                &[cni, (config, "/opt/nothere/cni"), (plugins, here)],
                "'/opt/nothere/cni' does not exist",
            ),
            (&[cni, (config, here), (plugins, "/nothere")], ""),
            (&[("MESOS_ISOLATION", "com_x_Iso"), ("MESOS_MODULES", there.as_str())], ""),
            (&[("MESOS_HOOKS", "com_x_Iso"), ("MESOS_MODULES", there.as_str())], ""),
            (&[("MESOS_HOOKS", ",com_x_Iso"), ("MESOS_MODULES", there.as_str())], "named ''"),
            (&[("MESOS_HOOKS", "com_x_Iso")], "named 'com_x_Iso'"),
            (&[("MESOS_MODULES", gone.as_str())], "Could not load library"),
            (&[("MESOS_MODULES", "{")], "Error loading modules"),
            (&[("MESOS_MODULES", "file:///no/such/file")], "Error loading modules"),
            (&[("MESOS_MODULES_DIR", "/nothere")], "Error loading module manifests"),
            (&[("MESOS_MODULES_DIR", here), ("MESOS_MODULES", there.as_str())], "Only one of"),
        ] {
            let said = check(flags);
            assert_eq!(said.is_empty(), text.is_empty(), "{flags:?}: {said}");
            assert!(said.contains(text), "{flags:?}: {said}");
        }
    }
}
