//! `calicoNode` and `calicoLibnetwork`: one container of Docker each.
//!
//! What a container is to be follows from the spec and from what the host resolves (files, routes).
//! Its digest is a label on the container, and the image is compared by ID, so that a running
//! container that is equal is adopted, and one that somebody replaced is not taken as ours. The
//! image is there before anything stops; what was there is kept whole, to be made again from
//! its own image.

mod plan;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, UdpSocket};

use serde_json::{Value, json};

use super::{Seen, Step, Turn};
use crate::desired::{ComponentSpec, EnvValue};
use crate::job::Finding;
use crate::node::agent::Agent;
use crate::node::host::{Host, HostError};
use crate::node::state::{Kept, Record};
use crate::observed::facts::Health;
use crate::words::Component;
pub(super) use plan::name;
use plan::{DIGEST, Plan, Resolved};

/// The step of one of the two components.
#[derive(Clone, Copy, Debug)]
pub(super) struct Container(pub Component);

impl Step for Container {
    fn component(&self) -> Component {
        self.0
    }

    async fn observe(
        &self,
        host: &Host,
        record: Option<&Record>,
    ) -> Result<Option<Seen>, HostError> {
        // A host without Docker has no container; a Docker that does not answer may have one.
        if record.is_none() && host.services.look("docker.service").await?.is_none() {
            return Ok(None);
        }
        let found = match host.docker.container(self.name()).await {
            Ok(None) => return Ok(None),
            Ok(Some(found)) => found,
            Err(error) => {
                let health = Health::Unhealthy { why: HostError::from(error).sentence() };
                let seen = Seen { hash: None, version: None, health, running: true, blocked: None };
                return Ok(Some(seen));
            }
        };
        let mut hash = None;
        if let Some(record) = record
            && let Some(plan) = Plan::of(self.0, &record.target)
        {
            // While a name cannot be looked up, nothing has changed.
            let digest = match self.resolve(host, &plan).await {
                Ok(resolved) => Value::from(plan.digest(&resolved)),
                Err(_) => record.notes["digest"].clone(),
            };
            let as_planned = found["Config"]["Labels"][DIGEST] == digest;
            let of_image = found["Image"] == record.notes["imageId"];
            hash = (as_planned && of_image).then_some(record.target.hash);
        }
        Ok(Some(Seen {
            hash,
            // As declared, so that the two compare.
            version: found["Config"]["Image"].as_str().map(str::to_owned),
            health: health(self.0, &found),
            running: found["State"]["Running"] == true,
            blocked: None,
        }))
    }

    async fn check(
        &self,
        host: &Host,
        target: &ComponentSpec,
        _: Option<&Record>,
    ) -> Result<Finding, HostError> {
        let Some(plan) = Plan::of(self.0, target) else {
            return Ok(Finding::Ready { disrupts: self.runs(host).await });
        };
        if host.services.look("docker.service").await?.is_none() {
            let why = format!("there is no Docker on this host to run {}", self.0);
            return Ok(Finding::Refused { why });
        }
        // What cannot be resolved would only fail once the old container is gone.
        self.resolve(host, &plan).await?;
        Ok(Finding::Ready { disrupts: self.runs(host).await })
    }

    async fn apply(
        &self,
        host: &Host,
        turn: Turn,
        target: &ComponentSpec,
    ) -> Result<(), HostError> {
        let found = host.docker.container(self.name()).await?;
        let kept = host.state.keep(turn.attempt, self.0, &[], json!({"container": found}))?;
        let Some(plan) = Plan::of(self.0, target) else { return self.take_off(host).await };
        let image_id = image(host, plan.image).await?;
        let resolved = self.resolve(host, &plan).await?;
        let before = kept.notes["container"].clone();
        let mut record = Record::new(turn.attempt, target, kept.record.as_ref(), before);
        record.notes = json!({"imageId": image_id, "digest": plan.digest(&resolved)});
        host.state.set_record(self.0, Some(&record))?;
        // One that this turn.attempt made before it was cut off is as good as a new one.
        let is_made = found.is_some_and(|found| {
            found["Config"]["Labels"][DIGEST] == plan.digest(&resolved)
                && found["Image"] == image_id
                && found["State"]["Running"] == true
        });
        if is_made { Ok(()) } else { self.replace(host, &plan.body(&resolved), true).await }
    }

    fn files(&self, record: Option<&Record>) -> Vec<String> {
        let plan = record.and_then(|record| Plan::of(self.0, &record.target));
        let values = plan.into_iter().flat_map(|plan| plan.env.values());
        let file = |value: &EnvValue| match value {
            EnvValue::FromFile(path) => Some(path.to_string()),
            _ => None,
        };
        values.filter_map(file).collect()
    }

    async fn undo(&self, host: &Host, _: Turn, kept: &Kept) -> Result<(), HostError> {
        host.state.put_back(self.0, kept)?;
        self.make_again(host, &kept.notes["container"]).await
    }
}

impl Container {
    fn name(self) -> &'static str {
        plan::name(self.0)
    }

    /// Under a Docker that does not answer one may run.
    async fn runs(self, host: &Host) -> bool {
        match host.docker.container(self.name()).await {
            Ok(found) => found.is_some_and(|found| found["State"]["Running"] == true),
            Err(_) => true,
        }
    }

    /// Takes ours off; what was there before us comes back.
    async fn take_off(self, host: &Host) -> Result<(), HostError> {
        if let Some(record) = host.state.record(self.0)? {
            self.make_again(host, &record.before).await?;
        }
        Ok(host.state.set_record(self.0, None)?)
    }

    /// Makes a container as `inspect` described it, or removes what is there if there was none.
    async fn make_again(self, host: &Host, inspect: &Value) -> Result<(), HostError> {
        let now = host.docker.container(self.name()).await?;
        let same =
            |now: &Value| now["Config"] == inspect["Config"] && now["Image"] == inspect["Image"];
        let ran = inspect["State"]["Running"] == true;
        if !inspect.is_null() && now.as_ref().is_some_and(same) {
            host.docker.remove(&self.successor()).await?;
            if ran {
                host.docker.start(self.name()).await?;
            }
            return Ok(());
        }
        if inspect.is_null() {
            host.docker.remove(&self.successor()).await?;
            return Ok(host.docker.remove(self.name()).await?);
        }
        let mut body = inspect["Config"].clone();
        // By its ID: the name may mean another image by now.
        body["Image"] = inspect["Image"].clone();
        body["HostConfig"] = inspect["HostConfig"].clone();
        self.replace(host, &body, ran).await
    }

    /// Under which a container is made while the one before it runs.
    fn successor(self) -> String {
        format!("{}.successor", self.name())
    }

    /// Puts another container in the place of what is there. All that can be done before that one
    /// stops is done before.
    async fn replace(self, host: &Host, body: &Value, start: bool) -> Result<(), HostError> {
        let successor = self.successor();
        // It may be there still from a process that was cut off. It never ran.
        host.docker.remove(&successor).await?;
        host.docker.create(&successor, body).await?;
        host.docker.remove(self.name()).await?;
        host.docker.rename(&successor, self.name()).await?;
        if start {
            host.docker.start(self.name()).await?;
        }
        Ok(())
    }

    /// What the environment says once files are read and routes are looked up.
    async fn resolve(self, host: &Host, plan: &Plan<'_>) -> Result<Resolved, HostError> {
        let mut resolved = Resolved::new();
        for (name, value) in plan.env {
            let text = match value {
                EnvValue::Literal(text) => text.clone(),
                EnvValue::FromFile(path) => {
                    let missing = || {
                        let why = format!(
                            "{name} of {} is to come from {path}, which is not on this host",
                            self.0
                        );
                        HostError::Found(why)
                    };
                    let text = host.root.text(path.as_str())?.ok_or_else(missing)?;
                    text.trim_end_matches(['\n', '\r']).to_owned()
                }
                EnvValue::FromRoute(route) => own_address(host, route.as_str()).await?.to_string(),
            };
            resolved.insert(name.to_string(), text);
        }
        Ok(resolved)
    }
}

/// The calico/node container, if there is one that is not ours.
pub(in crate::node) async fn foreign_node(host: &Host) -> Option<Value> {
    let found = host.docker.container(plan::name(Component::CalicoNode)).await.ok()??;
    found["Config"]["Labels"][DIGEST].is_null().then_some(found)
}

/// The image's ID, pulled first if it is not there.
async fn image(host: &Host, name: &str) -> Result<String, HostError> {
    let mut image = host.docker.image(name).await?;
    if image.is_none() {
        tracing::info!(image = name, "pulls");
        host.docker.pull(name, |status| tracing::debug!(status, "pulls")).await?;
        image = host.docker.image(name).await?;
    }
    let id = image.as_ref().and_then(|image| image["Id"].as_str());
    let id = id.ok_or_else(|| {
        HostError::Found(format!(
            "the image {name} was pulled and is not there; look at Docker's log"
        ))
    })?;
    Ok(id.to_owned())
}

/// calico/node has no health check of its own in most versions: it is well while it runs. One
/// that Docker starts again and again does not run long enough.
fn health(component: Component, found: &Value) -> Health {
    let state = &found["State"];
    let unwell = |why: String| Health::Unhealthy { why };
    if state["Restarting"] == true || state["Running"] != true {
        let code = state["ExitCode"].as_i64().unwrap_or_default();
        return unwell(format!("the container of {component} does not run (status {code})"));
    }
    match state["Health"]["Status"].as_str() {
        Some("unhealthy") => {
            unwell(format!("the container of {component} says that it is not well"))
        }
        Some("starting") => Health::Unknown,
        _ => Health::Healthy,
    }
}

/// The source address that this host uses towards somewhere. Nothing is sent.
async fn own_address(host: &Host, towards: &str) -> Result<IpAddr, HostError> {
    let unknown = |why: String| {
        HostError::Found(format!("this host's address towards {towards} is not known: {why}"))
    };
    if towards == "masters" {
        // Masters reach the agent at the address that it registered with.
        let agent = Agent::known(host)?;
        let address = agent.and_then(|agent| agent.address()?.parse().ok());
        return address.ok_or_else(|| unknown("no executor has run here yet".to_owned()));
    }
    let target = match towards.parse::<IpAddr>() {
        Ok(address) => address,
        Err(_) => host.dns.address(towards).await?,
    };
    let source = || {
        let any = if target.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(any)?;
        socket.connect((target, 9))?;
        Ok(socket.local_addr()?.ip())
    };
    source().map_err(|error: std::io::Error| unknown(error.to_string()))
}
