//! What a container is to be, as it follows from the spec.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::desired::{ComponentSpec, EnvName, EnvValue, Spec, Volume};
use crate::words::{Component, SpecHash};

/// The label with the digest of the plan: what the container was made from.
pub(super) const DIGEST: &str = "calico-dcos.plan";

/// The environment with all values found.
pub(super) type Resolved = BTreeMap<String, String>;

/// What a container is to be, but for what the host resolves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan<'a> {
    component: Component,
    /// The image as declared.
    pub image: &'a str,
    /// The environment as declared.
    pub env: &'a BTreeMap<EnvName, EnvValue>,
    volumes: &'a [Volume],
}

/// The container's name, under which Calico's own tools look for it.
pub(in crate::node::steps) fn name(component: Component) -> &'static str {
    match component {
        Component::CalicoLibnetwork => "calico-libnetwork",
        _ => "calico-node",
    }
}

impl<'a> Plan<'a> {
    /// None if the component is to be taken off.
    pub(super) fn of(component: Component, target: &'a ComponentSpec) -> Option<Self> {
        match &target.spec {
            Spec::CalicoNode(node) => Some(Self {
                component,
                image: node.image.as_str(),
                env: &node.env,
                volumes: &node.volumes,
            }),
            Spec::CalicoLibnetwork(libnetwork) => Some(Self {
                component,
                image: libnetwork.image.as_str(),
                env: &libnetwork.env,
                volumes: &libnetwork.volumes,
            }),
            _ => None,
        }
    }

    /// What is asked of Docker. Privileged, on the host's network and started with the daemon, as
    /// Calico's documentation for the versions that know Mesos (1.5 to 2.6) says.
    pub(super) fn body(&self, resolved: &Resolved) -> Value {
        let mut body = self.undigested(resolved);
        body["Labels"] = json!({DIGEST: self.digest(resolved)});
        body
    }

    /// Of all that goes into the container, so that a file on the host that was changed shows.
    /// Values are hashed and not repeated: they may be secrets.
    pub(super) fn digest(&self, resolved: &Resolved) -> String {
        let text = self.undigested(resolved).to_string();
        SpecHash(Sha256::digest(text).into()).to_string()
    }

    fn undigested(&self, resolved: &Resolved) -> Value {
        let env: Vec<String> =
            resolved.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut binds: Vec<String> =
            self.own_binds().iter().map(|bind| (*bind).to_owned()).collect();
        binds.extend(self.volumes.iter().map(|volume| {
            let mode = if volume.read_only { ":ro" } else { "" };
            format!("{}:{}{mode}", volume.host_path, volume.container_path)
        }));
        json!({
            "Image": self.image,
            "Env": env,
            "HostConfig": {
                "Binds": binds,
                "NetworkMode": "host",
                "Privileged": true,
                "RestartPolicy": {"Name": "always"},
            },
        })
    }

    /// What the programs in the image cannot do without.
    fn own_binds(&self) -> &'static [&'static str] {
        match self.component {
            Component::CalicoLibnetwork => &["/run/docker/plugins:/run/docker/plugins"],
            _ => &[
                "/lib/modules:/lib/modules:ro",
                "/var/log/calico:/var/log/calico",
                "/var/run/calico:/var/run/calico",
                "/var/lib/calico:/var/lib/calico",
                "/run/docker/plugins:/run/docker/plugins",
            ],
        }
    }
}
