//! The master's list of agents as `/slaves` gives it, for masters whose operator API is closed to
//! us: it is in another realm, with rights of its own. The words are those of before Mesos 1.0.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use super::agents::address_of;
use crate::observed::fleet::{AgentSeen, Condition};
use crate::words::{AgentId, HostName};

/// `GET /slaves`.
#[derive(Deserialize)]
pub(super) struct Slaves {
    slaves: Vec<Slave>,
    #[serde(default)]
    recovered_slaves: Vec<Slave>,
}

#[derive(Deserialize)]
struct Slave {
    id: String,
    hostname: String,
    #[serde(default)]
    active: bool,
    #[serde(default)]
    deactivated: bool,
    #[serde(default)]
    drain_info: Option<Value>,
    #[serde(default)]
    version: String,
    #[serde(default)]
    pid: Option<String>,
    #[serde(default)]
    attributes: BTreeMap<String, Value>,
    #[serde(default)]
    reserved_resources: BTreeMap<String, Value>,
}

impl Slaves {
    /// In the words of the project.
    pub(super) fn seen(self) -> Vec<AgentSeen> {
        let recovered =
            self.recovered_slaves.into_iter().map(|slave| Slave { active: false, ..slave });
        self.slaves.into_iter().chain(recovered).map(Slave::seen).collect()
    }
}

impl Slave {
    fn seen(self) -> AgentSeen {
        let mut roles: BTreeSet<String> = self.reserved_resources.into_keys().collect();
        roles.insert("*".to_owned());
        let text = |value: Value| match value {
            Value::String(text) => text,
            other => other.to_string(),
        };
        let draining = self.drain_info.is_some_and(|info| !info.is_null());
        AgentSeen {
            id: AgentId(self.id),
            host: HostName(self.hostname),
            condition: Condition::of(draining, self.deactivated, self.active),
            roles,
            attributes: self.attributes.into_iter().map(|(k, v)| (k, text(v))).collect(),
            ip: self.pid.as_deref().and_then(address_of),
            mesos_version: self.version,
            room: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observed::fleet::Condition::{Active, Deactivated, Disconnected, Draining};

    #[test]
    fn each_agent_is_told_with_what_selectors_and_people_look_at() {
        // As Mesos 1.11 writes it, with what is of no use here left out.
        let text = r#"{"slaves": [
            {"id": "u-S0", "hostname": "a1", "port": 5051, "pid": "slave(1)@10.0.0.1:5051",
             "attributes": {"rack": "r1", "cores": 16, "range": "[10-20]"}, "active": true,
             "deactivated": false, "version": "1.11.0", "capabilities": ["MULTI_ROLE"],
             "resources": {"cpus": 4.0, "ports": "[31000-32000]"},
             "reserved_resources": {"slave_public": {"cpus": 4.0}}, "unreserved_resources": {}},
            {"id": "u-S1", "hostname": "a2", "active": false, "version": "1.11.0"},
            {"id": "u-S2", "hostname": "a3", "active": false, "deactivated": true},
            {"id": "u-S3", "hostname": "a4", "active": true, "drain_info": {"state": "DRAINED"}}
          ], "recovered_slaves": [{"id": "u-S4", "hostname": "a5", "active": true}]}"#;
        let seen = serde_json::from_str::<Slaves>(text).unwrap().seen();
        let conditions: Vec<_> = seen.iter().map(|agent| agent.condition).collect();
        assert_eq!(conditions, [Active, Disconnected, Deactivated, Draining, Disconnected]);
        let first = &seen[0];
        assert_eq!((first.id.as_str(), first.host.as_str()), ("u-S0", "a1"));
        assert_eq!(first.ip, Some([10, 0, 0, 1].into()));
        assert_eq!(first.mesos_version, "1.11.0");
        let attributes: Vec<_> = first.attributes.iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(attributes, ["cores=16", "rack=r1", "range=[10-20]"]);
        assert!(first.roles.iter().eq(["*", "slave_public"]));
    }
}
