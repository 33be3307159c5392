//! `mesosAgent`: the network of Mesos' own containers, by CNI or by net-modules.
//!
//! Both are files and what the agent's variables say. Variables are written, with their full value,
//! into the file of the unit's environment that survives upgrades of DC/OS; that takes a restart,
//! as does each file that the agent reads only when it starts. What has changed since the agent
//! started and would keep it down, whoever changed it, is found before.

mod cni;
mod flags;
mod net_modules;
mod plan;
mod recovery;
mod sight;
#[cfg(test)]
mod tests;

use std::time::Duration;

use serde_json::json;

use super::{Patience, Seen, Step, Turn};
use crate::desired::{ComponentSpec, MesosAgent as Wanted, Spec};
use crate::job::Finding;
use crate::node::files::{Found, Staging};
use crate::node::host::{Host, HostError};
use crate::node::service::Activity;
use crate::node::state::{Kept, Record};
use crate::observed::facts::Health;
use crate::words::{Attempt, Component};
use flags::{Ask, Change, Flags};
use plan::{Before, Content, Notes, Part, Plan, Read, Written};
use sight::{Sight, look, look_settled};

/// From the start of the agent until it answers; it recovers its executors first.
const ANSWERS_WITHIN: Duration = Duration::from_secs(90);
const NO_UNIT: &str = "no unit of a Mesos agent is known on this host";

/// The step.
#[derive(Clone, Copy, Debug)]
pub(super) struct MesosAgent;

impl Step for MesosAgent {
    fn component(&self) -> Component {
        Component::MesosAgent
    }

    async fn observe(
        &self,
        host: &Host,
        record: Option<&Record>,
    ) -> Result<Option<Seen>, HostError> {
        let Some(sight) = look(host).await? else { return Ok(None) };
        let mut hash = None;
        if let Some(record) = record
            && is_in_force(host, &sight, record)?
        {
            hash = Some(record.target.hash);
        }
        let health = match (&sight.version, sight.unit.is_up()) {
            (Some(_), true) => Health::Healthy,
            (None, true) => Health::Unhealthy { why: "the agent does not answer".to_owned() },
            (_, false) => Health::Unhealthy { why: format!("{} is not up", sight.of.name) },
        };
        let running = sight.unit.is_up();
        Ok(Some(Seen { hash, version: sight.version, health, running, blocked: None }))
    }

    async fn check(
        &self,
        host: &Host,
        target: &ComponentSpec,
        record: Option<&Record>,
    ) -> Result<Finding, HostError> {
        let refused = |why: String| Ok(Finding::Refused { why });
        let Some(sight) = look_settled(host).await? else { return refused(NO_UNIT.to_owned()) };
        let notes = Notes::of(record);
        let work = match Work::of(host, &sight, target, &notes)? {
            Ok(work) => work,
            Err(why) => return refused(why),
        };
        if let Some(why) = work.obstacle(host, &sight, target, &notes).await? {
            return refused(why);
        }
        Ok(Finding::Ready { disrupts: work.restart && sight.unit.is_up() })
    }

    async fn apply(
        &self,
        host: &Host,
        turn: Turn,
        target: &ComponentSpec,
    ) -> Result<(), HostError> {
        let found = |why: &str| HostError::Found(why.to_owned());
        let Some(sight) = look_settled(host).await? else { return Err(found(NO_UNIT)) };
        let record = host.state.record(Component::MesosAgent)?;
        if target.spec == Spec::Off && record.is_none() {
            return Ok(());
        }
        let notes = Notes::of(record.as_ref());
        let work = Work::of(host, &sight, target, &notes)?.map_err(|why| found(&why))?;
        if work.restart && sight.unit.is_up() {
            turn.may_stop("the agent")?;
        }
        let kept = keep(host, turn.attempt, &sight, &work, &notes)?;
        // All that is to be fetched is there before anything is changed.
        let mut contents = Vec::new();
        for part in &work.plan.parts {
            contents.push(part.bytes(host).await?);
        }
        let before = before(&sight, &kept, &work.plan.parts);
        let mut new = match (&target.spec, record) {
            // Until it is taken off, what is there is what the record says.
            (Spec::Off, Some(record)) => record,
            _ => Record::new(turn.attempt, target, None, before.to_value()),
        };
        let mut told = work.notes(&sight, &contents, &before, &notes);
        new.notes = told.to_value();
        host.state.set_record(Component::MesosAgent, Some(&new))?;
        for (part, bytes) in work.plan.parts.iter().zip(&contents) {
            host.root.write(&part.path, bytes, part.mode, part.staging)?;
        }
        let old = before.environment.as_deref().unwrap_or_default();
        let text = flags::environment(sight.environment(), old, &work.changes);
        if text.is_empty() && before.environment.is_none() {
            // It was there for our sake alone.
            host.root.remove(sight.of.environment)?;
        } else if text != sight.environment() {
            host.root.write(sight.of.environment, text.as_bytes(), 0o644, Staging::Beside)?;
        }
        for written in notes.left_over(&work.plan.parts) {
            let text = before.files.get(&written.path).and_then(Option::as_ref);
            if let Some(text) = text {
                host.root.write(&written.path, text.as_bytes(), 0o644, Staging::Above)?;
            } else {
                host.root.remove(&written.path)?;
            }
        }
        if work.restart {
            // One that started meanwhile may have read half of it.
            if let Some(unit) = host.services.look(sight.of.name).await?
                && told.restart_from != Some(unit.started_us)
            {
                told.restart_from = Some(unit.started_us);
                new.notes = told.to_value();
                host.state.set_record(Component::MesosAgent, Some(&new))?;
            }
            restart(host, &sight).await?;
        }
        told.replaces = None;
        new.notes = told.to_value();
        let is_off = target.spec == Spec::Off;
        Ok(host.state.set_record(Component::MesosAgent, (!is_off).then_some(&new))?)
    }

    fn files(&self, record: Option<&Record>) -> Vec<String> {
        let notes = Notes::of(record);
        let theirs = notes.theirs.as_ref().and_then(net_modules::Theirs::place);
        let written = notes.files.into_iter().map(|written| written.path);
        let networks = match record.and_then(|record| wanted(&record.target)) {
            Some(Wanted::Cni(cni)) => Some(format!("{}/", cni.config_directory)),
            _ => None,
        };
        sight::files().map(str::to_owned).chain(theirs).chain(networks).chain(written).collect()
    }

    async fn undo(&self, host: &Host, turn: Turn, kept: &Kept) -> Result<(), HostError> {
        host.state.put_back(Component::MesosAgent, kept)?;
        let Some(sight) = look(host).await? else { return Ok(()) };
        let restarted = kept.notes["startedUs"].as_u64() != Some(sight.unit.started_us);
        let well = sight.unit.activity == Activity::Active && sight.version.is_some();
        // Without a slot one that runs is let run, however it answers.
        let may = turn.may_disrupt || !sight.unit.is_up();
        if may && (restarted || !well) { restart(host, &sight).await } else { Ok(()) }
    }
}

/// The units that an agent may be.
pub(super) fn units() -> impl Iterator<Item = &'static str> {
    sight::UNITS.iter().map(|unit| unit.name)
}

async fn restart(host: &Host, sight: &Sight) -> Result<(), HostError> {
    let name = sight.of.name;
    // Where there is nothing to clear, old versions of systemd refuse.
    let _ = host.services.reset_failed(name).await;
    host.services.restart(name).await?;
    let patience = Patience::of(host, ANSWERS_WITHIN);
    while look(host).await?.is_none_or(|sight| sight.version.is_none()) {
        if !patience.lasts().await {
            let why = format!(
                "the agent does not answer after its restart; `journalctl -u {name}` says why"
            );
            return Err(HostError::Found(why));
        }
    }
    Ok(())
}

fn wanted(target: &ComponentSpec) -> Option<&Wanted> {
    match &target.spec {
        Spec::MesosAgent(wanted) => Some(wanted),
        _ => None,
    }
}

fn plan_of(
    host: &Host,
    sight: &Sight,
    target: &ComponentSpec,
    notes: &Notes,
) -> Result<Plan, String> {
    let version = sight.version.as_deref();
    match wanted(target) {
        None => Ok(Plan { parts: Vec::new(), asks: Vec::new(), theirs: None }),
        Some(Wanted::Cni(cni)) => Ok(cni::plan(cni, version)),
        Some(Wanted::NetModules(modules)) => {
            let Some(flags) = &sight.flags else { return Err(NO_FLAGS.to_owned()) };
            net_modules::plan(host, modules, flags, notes.theirs.as_ref())
        }
    }
}

const NO_FLAGS: &str = "the agent's flags are not known; is it running?";

/// What is found counts, not what is remembered: the files, and what the agent runs with.
fn is_in_force(host: &Host, sight: &Sight, record: &Record) -> Result<bool, HostError> {
    let notes = Notes::of(Some(record));
    let (Ok(plan), Some(flags)) =
        (plan_of(host, sight, &record.target, &notes), sight.flags.as_ref())
    else {
        return Ok(false);
    };
    if sight.restart_is_due(&notes) || !flags.hold(&plan.asks) {
        return Ok(false);
    }
    for part in &plan.parts {
        let expected = match &part.content {
            Content::Text(text) => Some(plan::digest(text.as_bytes())),
            Content::From(_) => notes.written(&part.path).map(|written| written.digest.clone()),
        };
        let found = host.digest(&part.path)?.map(|digest| digest.to_string());
        if expected.is_none() || found != expected {
            return Ok(false);
        }
    }
    match wanted(&record.target) {
        Some(Wanted::Cni(cni)) => Ok(cni::other_documents(host, cni)?.is_empty()),
        _ => Ok(true),
    }
}

/// What it takes to come from what was found to the target.
struct Work {
    plan: Plan,
    changes: Vec<Change>,
    restart: bool,
}

impl Work {
    fn of(
        host: &Host,
        sight: &Sight,
        target: &ComponentSpec,
        notes: &Notes,
    ) -> Result<Result<Self, String>, HostError> {
        let plan = match plan_of(host, sight, target, notes) {
            Ok(plan) => plan,
            Err(why) => return Ok(Err(why)),
        };
        let nothing = Flags::default();
        let flags = match (&sight.flags, wanted(target)) {
            (Some(flags), _) => flags,
            // To be taken off it need not be known.
            (None, None) => &nothing,
            (None, Some(_)) => return Ok(Err(NO_FLAGS.to_owned())),
        };
        let mut changes = flags::changes(flags, &notes.settings, &plan.asks);
        if sight.flags.is_none() {
            changes.extend(notes.settings.iter().map(|ask| (ask.variable.clone(), None)));
        }
        let mut restart = !changes.is_empty() || sight.restart_is_due(notes);
        for part in plan.parts.iter().filter(|part| part.read == Read::AtStart) {
            restart |= !part.is_there(host)?;
        }
        for written in notes.left_over(&plan.parts).filter(|written| written.at_start) {
            restart |= host.root.stamp(&written.path)?.is_some();
        }
        Ok(Ok(Self { plan, changes, restart }))
    }

    /// What stands against it.
    async fn obstacle(
        &self,
        host: &Host,
        sight: &Sight,
        target: &ComponentSpec,
        notes: &Notes,
    ) -> Result<Option<String>, HostError> {
        let (Some(flags), Some(wanted)) = (&sight.flags, wanted(target)) else { return Ok(None) };
        let unfit = match wanted {
            Wanted::Cni(cni) => {
                let set = self.changes.iter().find(|(name, _)| name == flags::ISOLATION);
                let isolation = match set {
                    Some((_, Some(list))) => list.split(',').map(str::to_owned).collect(),
                    _ => flags.items(flags::ISOLATION),
                };
                cni::unfit(host, cni, sight.version.as_deref(), flags, &isolation)?
            }
            Wanted::NetModules(modules) => {
                let library = host.downloads.bytes(&modules.library).await?;
                net_modules::unfit(modules, sight.version.as_deref(), &library)
            }
        };
        if unfit.is_some() {
            return Ok(unfit);
        }
        for part in
            self.plan.parts.iter().filter(|part| part.goes && notes.written(&part.path).is_none())
        {
            if matches!(part.content, Content::From(_))
                && host.root.stamp(&part.path)?.is_some()
                && !part.is_there(host)?
            {
                return Ok(Some(format!(
                    "{} is there already and is another file; move it away, or declare another path",
                    part.path
                )));
            }
        }
        Ok(if self.restart {
            recovery::conflict(host, flags, &sight.files, &self.changes)
        } else {
            None
        })
    }

    /// What is to be remembered of it.
    fn notes(&self, sight: &Sight, contents: &[Vec<u8>], before: &Before, old: &Notes) -> Notes {
        let restart_from = self.restart.then_some(sight.unit.started_us);
        if self.plan.asks.is_empty() {
            return Notes { restart_from, ..old.clone() };
        }
        let written = |(part, bytes): (&Part, &Vec<u8>)| Written {
            path: part.path.clone(),
            digest: plan::digest(bytes),
            goes: part.goes && before.files.contains_key(&part.path),
            at_start: part.read == Read::AtStart,
        };
        let nothing = Flags::default();
        let running = sight.flags.as_ref().unwrap_or(&nothing);
        let settings: Vec<Ask> = flags::ours(running, &old.settings, &self.plan.asks);
        Notes {
            files: self.plan.parts.iter().zip(contents).map(written).collect(),
            settings,
            restart_from,
            theirs: self.plan.theirs.clone(),
            replaces: Some(Box::new(Notes { replaces: None, ..old.clone() })),
        }
    }
}

/// Keeps all that may be touched. When it is put back the environment comes first, then what it
/// names: an agent that starts in the middle finds everything.
fn keep(
    host: &Host,
    attempt: Attempt,
    sight: &Sight,
    work: &Work,
    old: &Notes,
) -> Result<Kept, HostError> {
    let left_over = old.left_over(&work.plan.parts).map(|written| written.path.clone());
    let parts = work.plan.parts.iter().rev().map(|part| part.path.clone());
    let files: Vec<String> =
        std::iter::once(sight.of.environment.to_owned()).chain(left_over).chain(parts).collect();
    let notes = json!({"startedUs": sight.unit.started_us});
    Ok(host.state.keep(attempt, Component::MesosAgent, &files, notes)?)
}

/// What was there before us: what is known, and for files that are new to us what was kept. A
/// program that was there already is not ours to take away.
fn before(sight: &Sight, kept: &Kept, parts: &[Part]) -> Before {
    let found = |path: &str| {
        let (_, found) = kept.files.iter().find(|(file, _)| file == path)?;
        found.as_ref()
    };
    let text = |found: &Found| String::from_utf8_lossy(&found.bytes).into_owned();
    let known = Before::of(kept.record.as_ref());
    let mut before = known.unwrap_or_else(|| Before {
        environment: found(sight.of.environment).map(text),
        ..Before::default()
    });
    for part in parts.iter().filter(|part| part.goes) {
        if before.files.contains_key(&part.path) {
            continue;
        }
        match (found(&part.path), &part.content) {
            (Some(_), Content::From(_)) => {}
            (found, _) => drop(before.files.insert(part.path.clone(), found.map(text))),
        }
    }
    before
}
