//! `cluster.yaml`, with something of it changed.

use serde_json::{Value, json};

use super::program;
use crate::host::{Host, gateway};

#[derive(Clone, Debug)]
pub(super) struct Document(Value);

impl Document {
    /// `cluster.yaml` as it is.
    pub(super) fn lab() -> Self {
        let text = include_str!("../cluster.yaml").replace("GATEWAY", &gateway());
        Self(serde_yaml::from_str(&text).expect("the document of the lab"))
    }

    /// With another value at a path below `spec`, such as `docker/clusterStore`.
    pub(super) fn with(mut self, path: &str, value: impl Into<Value>) -> Self {
        let mut at = &mut self.0["spec"];
        for part in path.split('/') {
            at = &mut at[part];
        }
        *at = value.into();
        self
    }

    /// Without a section: what it was about is not managed any more.
    pub(super) fn without(mut self, section: &str) -> Self {
        if let Some(spec) = self.0["spec"].as_object_mut() {
            spec.remove(section);
        }
        self
    }

    /// For one host alone, and as soon as one attempt fails there, so does the rollout.
    pub(super) fn only(self, host: &Host) -> Self {
        let others: Vec<_> =
            Host::all().into_iter().map(|host| host.0).filter(|name| *name != host.0).collect();
        self.with("rollout/exclude", others).with("rollout/attempts", 1)
    }

    /// With all components taken off.
    pub(super) fn off(mut self) -> Self {
        for section in ["etcdProxy", "docker", "mesosAgent", "calicoNode"] {
            self = self.with(section, json!({"enabled": false}));
        }
        self
    }

    /// JSON, which is YAML.
    pub(super) fn text(&self) -> String {
        self.0.to_string()
    }

    /// Writes it into etcd; nothing if it is there already.
    pub(super) fn apply(&self) {
        let file = tempfile::Builder::new().suffix(".yaml").tempfile().expect("a file");
        std::fs::write(file.path(), self.text()).expect("a file");
        let applied = program("apply").args(["--yes", "-f"]).arg(file.path()).output();
        let applied = applied.expect("the program");
        assert!(applied.status.success(), "{applied:?}");
    }
}
