//! As what an agent registers, and what of that it may change: a restarted agent compares with its
//! first registration (recordings e33 and e35), which the work directory keeps.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::flags::Flags;
use crate::mesos::v1::{Attribute, Resource};

/// What a machine of the lab has.
const RESOURCES: [(&str, f64); 3] = [("cpus", 4.0), ("mem", 4_096.0), ("disk", 8_192.0)];

/// What the master is told of an agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Identity {
    pub(super) hostname: String,
    pub(super) resources: Vec<Resource>,
    pub(super) attributes: Vec<Attribute>,
}

/// Where an agent remembers: gone, it is another agent.
pub(super) fn folder(flags: &Flags) -> PathBuf {
    Path::new(flags.work_dir()).join("meta/slaves/latest")
}

impl Identity {
    /// What the flags say. `--resources` in any form but JSON is not read.
    pub(super) fn of(flags: &Flags) -> Self {
        let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let hostname = flags.get("hostname").unwrap_or(machine.trim()).to_owned();
        let given = flags.get("resources").and_then(|json| serde_json::from_str(json).ok());
        let mut resources: Vec<Resource> = given.unwrap_or_else(|| {
            let amounts = RESOURCES.iter().map(|(name, amount)| Resource::scalar(name, *amount));
            amounts.chain([Resource::ranges("ports", &[(31_000, 31_999)])]).collect()
        });
        let role = flags.get("default_role").unwrap_or("*");
        for resource in &mut resources {
            resource.role.get_or_insert_with(|| role.to_owned());
        }
        let pairs = flags.get("attributes").into_iter().flat_map(|text| text.split(';'));
        let pairs = pairs.filter_map(|pair| pair.split_once(':'));
        let attributes = pairs.map(|(name, value)| Attribute::text(name, value)).collect();
        Self { hostname, resources, attributes }
    }

    /// Whether there was an earlier registration that this one may go on from; there was none without.
    pub(super) fn check(&self, flags: &Flags) -> Result<bool, String> {
        let Ok(json) = std::fs::read(file(flags)) else { return Ok(false) };
        let first: Self = serde_json::from_slice(&json)
            .map_err(|error| format!("Failed to recover state: {error}"))?;
        let additive = flags.get("reconfiguration_policy") == Some("additive");
        let allowed = if additive { self.adds_to(&first) } else { self.equals(&first) };
        allowed.map_err(|why| format!("Failed to perform recovery: {why}"))?;
        Ok(true)
    }

    fn equals(&self, first: &Self) -> Result<(), String> {
        if self == first { Ok(()) } else { Err("Incompatible agent info detected.".to_owned()) }
    }

    /// Resources may grow and shrink: recorded so in e35.
    fn adds_to(&self, first: &Self) -> Result<(), String> {
        let refused = |why: String| {
            Err(format!("Configuration change not permitted under `additive` policy: {why}"))
        };
        if self.hostname != first.hostname {
            return refused(format!(
                "Hostname changed from {} to {}",
                first.hostname, self.hostname
            ));
        }
        for attribute in &first.attributes {
            if !self.attributes.contains(attribute) {
                return refused(format!("Value of text attribute '{}' changed", attribute.name));
            }
        }
        Ok(())
    }

    /// Written once, and never again: what was added later may be changed freely.
    pub(super) fn keep(&self, flags: &Flags) -> std::io::Result<()> {
        if file(flags).exists() {
            return Ok(());
        }
        std::fs::create_dir_all(folder(flags))?;
        let partial = folder(flags).join("slave.info.partial");
        std::fs::write(&partial, serde_json::to_vec(self)?)?;
        std::fs::rename(partial, file(flags))
    }
}

fn file(flags: &Flags) -> PathBuf {
    folder(flags).join("slave.info")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_compared_with_its_first_registration() {
        let folder = tempfile::tempdir().unwrap();
        let start = |given: &[(&str, &str)]| {
            let own = [("MESOS_WORK_DIR", folder.path().to_str().unwrap())];
            let all = own.iter().chain(given);
            let flags =
                Flags::read(all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
            let identity = Identity::of(&flags);
            let resumed = identity.check(&flags);
            if resumed.is_ok() {
                identity.keep(&flags).unwrap();
            }
            resumed
        };
        let (name, policy) =
            (("MESOS_HOSTNAME", "xh1"), ("MESOS_RECONFIGURATION_POLICY", "additive"));
        let rack = |value| ("MESOS_ATTRIBUTES", value);
        let cpus = |n| ("MESOS_RESOURCES", n);
        let first = [name, rack("rack:r1")];
        assert_eq!(start(&first), Ok(false));
        assert_eq!(start(&first), Ok(true));
        let two = r#"[{"name":"cpus","type":"SCALAR","scalar":{"value":2}}]"#;
        for (given, text) in [
            (&[name, rack("rack:r1;calico:v1")][..], "Incompatible agent info"),
            (&[name, rack("rack:r1;calico:v1"), policy], ""),
            (&[name, rack("rack:r1;calico:v2"), policy], ""),
            (&[name, rack("rack:r1"), cpus(two), policy], ""),
            (&[name, rack("rack:r2"), policy], "Value of text attribute 'rack' changed"),
            (
                &[("MESOS_HOSTNAME", "xh2"), rack("rack:r1"), policy],
                "Hostname changed from xh1 to xh2",
            ),
            (&[name, rack("rack:r1;calico:v2")], "Incompatible agent info"),
            (&first, ""),
        ] {
            let said = start(given).err().unwrap_or_default();
            assert_eq!(said.is_empty(), text.is_empty(), "{given:?}: {said}");
            assert!(said.contains(text), "{given:?}: {said}");
        }
        std::fs::remove_dir_all(folder.path().join("meta/slaves/latest")).unwrap();
        assert_eq!(start(&[("MESOS_HOSTNAME", "xh2")]), Ok(false));
    }
}
