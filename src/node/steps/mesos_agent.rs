//! `mesosAgent`: CNI in the agent.
//!
//! Plugins come first, then the network document, renamed into its folder from outside it: the
//! agent reads every file there, whatever its name. From Mesos 1.2 on it does so when a container
//! starts, and nothing is restarted. Flags that are missing are written into the file of the unit's
//! environment that survives upgrades of DC/OS; that takes a restart, as does any change below 1.2.

mod rules;
#[cfg(test)]
mod tests;

use std::time::Duration;

use serde_json::{Value, json};

use super::{Patience, Seen, Step};
use crate::desired::{Cni, ComponentSpec, MesosAgent as Wanted, Spec};
use crate::job::Finding;
use crate::node::agent::Agent;
use crate::node::files::Staging;
use crate::node::host::{Host, HostError};
use crate::node::service::{Activity, Service};
use crate::node::state::{Kept, Record};
use crate::observed::facts::Health;
use crate::words::{Attempt, Component};
use rules::Flags;

/// Units of the agent, each with the file of its environment that is the operator's.
const UNITS: [(&str, &str); 4] = [
    ("dcos-mesos-slave.service", "/var/lib/dcos/mesos-slave-common"),
    ("dcos-mesos-slave-public.service", "/var/lib/dcos/mesos-slave-common"),
    ("mesos-slave.service", "/etc/default/mesos-slave"),
    ("mesos-agent.service", "/etc/default/mesos-agent"),
];
/// From the start of the agent until it answers; it recovers its executors first.
const ANSWERS_WITHIN: Duration = Duration::from_secs(90);

/// The step.
#[derive(Clone, Copy, Debug)]
pub(super) struct MesosAgent;

impl Step for MesosAgent {
    async fn observe(&self, host: &Host) -> Result<Option<Seen>, HostError> {
        let Some(sight) = look(host).await? else { return Ok(None) };
        let record = host.state.record(Component::MesosAgent)?;
        let mut hash = None;
        if let Some(record) = &record
            && let Some(cni) = cni(&record.target)
            && sight.restart_is_due(record).is_none()
            && sight.flags.as_ref().is_some_and(|flags| flags.missing(cni).is_empty())
            && files_are_as_written(host, record)?
        {
            hash = Some(record.target.hash);
        }
        let health = match (&sight.version, sight.unit.activity) {
            (Some(_), Activity::Active | Activity::Changing) => Health::Healthy,
            (None, Activity::Active | Activity::Changing) => {
                Health::Unhealthy { why: "the agent does not answer".to_owned() }
            }
            _ => Health::Unhealthy { why: format!("{} is not up", sight.name) },
        };
        let running = sight.is_up();
        Ok(Some(Seen { hash, version: sight.version, health, running, blocked: None }))
    }

    async fn check(&self, host: &Host, target: &ComponentSpec) -> Result<Finding, HostError> {
        let Some(sight) = look(host).await? else {
            let why = "no unit of a Mesos agent is known on this host".to_owned();
            return Ok(Finding::Refused { why });
        };
        let record = host.state.record(Component::MesosAgent)?;
        let Some(cni) = cni(target) else {
            return Ok(match (&target.spec, record) {
                (Spec::Off, None) => Finding::InForce,
                (Spec::Off, Some(record)) => {
                    let set_flags =
                        record.notes["flags"].as_object().is_some_and(|set| !set.is_empty());
                    let live = sight.reads_live() && !set_flags;
                    Finding::Ready { disrupts: !live && sight.is_up() }
                }
                _ => Finding::Refused {
                    why: "this release cannot put net-modules in place yet; leave the section out"
                        .to_owned(),
                },
            });
        };
        let seen = self.observe(host).await?;
        if seen.is_some_and(|seen| seen.hash == Some(target.hash) && seen.health == Health::Healthy)
        {
            return Ok(Finding::InForce);
        }
        let others = other_documents(host, cni)?;
        if let Some(why) =
            rules::unfit(cni, sight.version.as_deref(), sight.flags.as_ref(), &others)
        {
            return Ok(Finding::Refused { why });
        }
        let missing = sight.flags.as_ref().is_some_and(|flags| !flags.missing(cni).is_empty());
        let due = record.as_ref().is_some_and(|record| sight.restart_is_due(record).is_some());
        let restarts = missing || due || !sight.reads_live();
        Ok(Finding::Ready { disrupts: restarts && sight.is_up() })
    }

    async fn apply(
        &self,
        host: &Host,
        attempt: Attempt,
        target: &ComponentSpec,
    ) -> Result<(), HostError> {
        let Some(sight) = look(host).await? else {
            return Err(HostError::Found(
                "no unit of a Mesos agent is known on this host".to_owned(),
            ));
        };
        let record = host.state.record(Component::MesosAgent)?;
        let Some(cni) = cni(target) else { return take_off(host, attempt, &sight, record).await };
        let missing = sight.flags.as_ref().map(|flags| flags.missing(cni)).unwrap_or_default();
        let document = rules::document_path(cni);
        let plugins: Vec<String> =
            cni.plugins.iter().map(|plugin| rules::plugin_path(cni, plugin)).collect();
        let files =
            [&[document.clone(), sight.environment.to_owned()], plugins.as_slice()].concat();
        let notes = json!({"startedUs": sight.unit.started_us});
        let kept = host.state.keep(attempt, Component::MesosAgent, &files, notes)?;
        // All that is to be fetched is there before anything is changed.
        let mut programs = Vec::new();
        for plugin in &cni.plugins {
            programs.push(host.downloads.bytes(&plugin.from).await?);
        }
        let mut changed = false;
        for (path, program) in plugins.iter().zip(&programs) {
            host.root.write(path, program, 0o755, Staging::Beside)?;
        }
        let text = rules::document(cni);
        let differs = host.root.text(&document)?.as_ref() != Some(&text);
        let new = Record::new(attempt, target, kept.record.as_ref(), before(&kept));
        let due = record.as_ref().and_then(|record| sight.restart_is_due(record)).is_some();
        let restart = !missing.is_empty() || due || (!sight.reads_live() && differs);
        let flags: serde_json::Map<String, Value> = missing
            .iter()
            .map(|(key, value)| (key.clone(), Value::from(value.as_str())))
            .chain(
                kept.record
                    .iter()
                    .flat_map(|old| old.notes["flags"].as_object().cloned().unwrap_or_default()),
            )
            .collect();
        let notes = json!({
            "document": text, "plugins": rules::digests(&plugins, &programs), "flags": flags,
            // Until another process of the agent runs, the change is not in force.
            "restartFrom": restart.then_some(sight.unit.started_us),
        });
        host.state.set_record(Component::MesosAgent, Some(&Record { notes, ..new }))?;
        changed |= host.root.write(&document, text.as_bytes(), 0o644, Staging::Above)?;
        if !missing.is_empty() {
            let old = host.root.text(sight.environment)?.unwrap_or_default();
            let new = rules::set_environment(&old, &missing);
            changed |=
                host.root.write(sight.environment, new.as_bytes(), 0o644, Staging::Beside)?;
        }
        tracing::debug!(changed, restart, "the agent's files are written");
        if restart { self.restart(host, &sight).await } else { Ok(()) }
    }

    async fn undo(&self, host: &Host, attempt: Attempt) -> Result<(), HostError> {
        let Some(kept) = host.state.kept(attempt, Component::MesosAgent)? else { return Ok(()) };
        host.state.put_back(Component::MesosAgent, &kept)?;
        let Some(sight) = look(host).await? else { return Ok(()) };
        let restarted = kept.notes["startedUs"].as_u64() != Some(sight.unit.started_us);
        let well = sight.unit.activity == Activity::Active && sight.version.is_some();
        if restarted || !well { self.restart(host, &sight).await } else { Ok(()) }
    }
}

impl MesosAgent {
    async fn restart(self, host: &Host, sight: &Sight) -> Result<(), HostError> {
        let _ = host.services.reset_failed(sight.name).await;
        host.services.restart(sight.name).await?;
        let patience = Patience::of(host, ANSWERS_WITHIN);
        loop {
            if look(host).await?.is_some_and(|sight| sight.version.is_some()) {
                return Ok(());
            }
            if !patience.lasts().await {
                let name = sight.name;
                let why = format!(
                    "the agent does not answer after its restart; `journalctl -u {name}` says why"
                );
                return Err(HostError::Found(why));
            }
        }
    }
}

/// What was found on the machine.
struct Sight {
    name: &'static str,
    environment: &'static str,
    unit: Service,
    version: Option<String>,
    /// None if the agent does not tell.
    flags: Option<Flags>,
}

impl Sight {
    fn is_up(&self) -> bool {
        matches!(self.unit.activity, Activity::Active | Activity::Changing)
    }

    fn reads_live(&self) -> bool {
        self.version.as_deref().and_then(rules::release).is_some_and(|release| release >= (1, 2))
    }

    /// The process under which something was written that only another one reads.
    fn restart_is_due(&self, record: &Record) -> Option<u64> {
        record.notes["restartFrom"].as_u64().filter(|from| *from == self.unit.started_us)
    }
}

async fn look(host: &Host) -> Result<Option<Sight>, HostError> {
    for (name, environment) in UNITS {
        let Some(unit) = host.services.look(name).await? else { continue };
        // Both units of DC/OS are installed on some hosts, and one of them runs.
        if unit.activity == Activity::Inactive && unit.file_state != "enabled" {
            continue;
        }
        let (mut version, mut flags) = (None, None);
        if let Some(agent) = Agent::known(host)? {
            version = agent.mesos_version().await;
            flags = agent.flags().await.as_ref().map(Flags::read);
        }
        if flags.is_none() && unit.main_pid != 0 && host.sees_all_processes()? {
            // The API may be closed to us; what the process was started with is not.
            let of = |file: &str| host.root.read(&format!("/proc/{}/{file}", unit.main_pid));
            let (line, environment) = (of("cmdline")?, of("environ")?);
            let bytes = |found: Option<crate::node::files::Found>| {
                found.map(|f| f.bytes).unwrap_or_default()
            };
            flags = Some(Flags::of_process(&bytes(line), &bytes(environment)));
        }
        return Ok(Some(Sight { name, environment, unit, version, flags }));
    }
    Ok(None)
}

fn cni(target: &ComponentSpec) -> Option<&Cni> {
    match &target.spec {
        Spec::MesosAgent(Wanted::Cni(cni)) => Some(cni),
        _ => None,
    }
}

/// Documents of other files that name the same network, with their names.
fn other_documents(host: &Host, cni: &Cni) -> Result<Vec<String>, HostError> {
    let folder = cni.config_directory.as_str();
    let mut others = Vec::new();
    for name in host.root.list(folder)? {
        let path = format!("{folder}/{name}");
        if path == rules::document_path(cni) {
            continue;
        }
        // A folder or a link is nothing that the agent takes for a network.
        let Ok(Some(text)) = host.root.text(&path) else { continue };
        let document: Value = serde_json::from_str(&text).unwrap_or_default();
        if document.get("name") == cni.network.document().get("name") {
            others.push(path);
        }
    }
    Ok(others)
}

fn files_are_as_written(host: &Host, record: &Record) -> Result<bool, HostError> {
    let Some(cni) = cni(&record.target) else { return Ok(false) };
    let text = host.root.text(&rules::document_path(cni))?;
    if text.as_deref() != record.notes["document"].as_str()
        || !other_documents(host, cni)?.is_empty()
    {
        return Ok(false);
    }
    for (path, digest) in record.notes["plugins"].as_object().into_iter().flatten() {
        let found = host.digest(path)?.map(|digest| digest.to_string());
        if found.as_deref() != digest.as_str() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The texts that were there before us: the document, and the settings in the environment.
fn before(kept: &Kept) -> Value {
    let text = |at: usize| {
        let (_, found) = kept.files.get(at)?;
        Some(String::from_utf8_lossy(&found.as_ref()?.bytes).into_owned())
    };
    json!({"document": text(0), "environment": text(1)})
}

/// Plugins stay: other networks may use them by now, and unused they do nothing.
async fn take_off(
    host: &Host,
    attempt: Attempt,
    sight: &Sight,
    record: Option<Record>,
) -> Result<(), HostError> {
    let Some(record) = record else { return Ok(()) };
    let Some(cni) = cni(&record.target) else { return Ok(()) };
    let document = rules::document_path(cni);
    let notes = json!({"startedUs": sight.unit.started_us});
    let files = [document.clone(), sight.environment.to_owned()];
    host.state.keep(attempt, Component::MesosAgent, &files, notes)?;
    match record.before["document"].as_str() {
        Some(text) => host.root.write(&document, text.as_bytes(), 0o644, Staging::Above)?,
        None => host.root.remove(&document)?,
    };
    let set = record.notes["flags"].as_object().cloned().unwrap_or_default();
    if !set.is_empty() {
        let text = host.root.text(sight.environment)?.unwrap_or_default();
        let old = record.before["environment"].as_str().unwrap_or_default();
        let text = rules::restore_environment(&text, old, set.keys().map(String::as_str));
        host.root.write(sight.environment, text.as_bytes(), 0o644, Staging::Beside)?;
    }
    if !set.is_empty() || !sight.reads_live() {
        MesosAgent.restart(host, sight).await?;
    }
    Ok(host.state.set_record(Component::MesosAgent, None)?)
}
