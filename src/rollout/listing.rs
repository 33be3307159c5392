//! The store as it is listed, and transactions as they are answered.

use std::collections::{BTreeMap, BTreeSet};

use crate::budget::slot::{Guard, Slot, SlotState};
use crate::mesos::v1::FrameworkId;
use crate::observed::fleet::HostRecord;
use crate::observed::tasks::{HostTasks, Seen};
use crate::plan::control::{Control, Controls};
use crate::plan::notice::Notice;
use crate::plan::progress::HostProgress;
use crate::store::keys::Key;
use crate::store::txn::{Change, Entry, Outcome, Snapshot};
use crate::words::{Generation, HostName, Revision, Time};

use super::desire::document_name;
use super::event::{Effect, Level, TxnId};
use super::host::{Host, Hosts};
use super::ledger::{After, InFlight};
use super::records::{
    Accepted, BadRecord, FrameworkRecord, Measures, Rendered, RolloutState, from_json, to_json,
};
use super::slots::{Admission, Batch};
use super::{Controller, Session};

impl Controller {
    /// Everything that is stored, at one revision. What this process knew of the hosts beside
    /// that (what it heard from Mesos) is kept.
    pub(super) fn listed(&mut self, snapshot: &Snapshot, now: Time) {
        let Some(created) = self.leading else {
            return;
        };
        if snapshot.get(&Key::Leader).is_none_or(|leader| leader.create_revision != created) {
            self.effects.push(Effect::Resign);
            self.deposed();
            return;
        }
        // What was decided on the way here and not sent rests on what was known before.
        self.effects.retain(|effect| !matches!(effect, Effect::Relist | Effect::Txn { .. }));
        self.ledger.reset(created);
        self.launching.clear();
        self.forget_wants();
        self.broken = None;
        let mut loaded = Loaded::default();
        let bad = snapshot.entries.iter().filter_map(|entry| loaded.add(entry).err());
        let bad: Vec<BadRecord> = bad.collect();
        if let Some(newer) = bad.iter().find(|bad| matches!(bad, BadRecord::Newer { .. })) {
            self.effects.push(Effect::GiveUp { why: newer.sentence() });
        }
        self.stop_at(bad.last().map(BadRecord::sentence));
        self.cluster = snapshot.cluster_id.to_string();
        let went_back = snapshot.revision < self.newest;
        if self.unreadable.is_none() {
            self.newest = snapshot.revision;
        }
        let subscribed_as = self.framework.take();
        self.framework = loaded.framework.take();
        self.framework_saved = self.framework.is_some();
        if let (Session::Open | Session::Ready, Some(id)) = (self.session, subscribed_as) {
            // It may not have been written yet.
            self.keep_framework(id);
        }
        self.history = std::mem::take(&mut loaded.history);
        let new = || (Guard::new(self.cluster.clone()), Revision(0));
        self.guard = Some(loaded.guard.take().unwrap_or_else(new));
        self.state = loaded.state.take();
        self.controls = std::mem::take(&mut loaded.controls);
        if let Some((generation, accepted)) = loaded.accepted.take()
            && !self.desire.has_in_force(generation, &accepted)
        {
            self.desire.restore(generation, &accepted);
        }
        self.desire.replace(std::mem::take(&mut loaded.documents), snapshot.revision, now);
        self.measures = loaded.measures.take().unwrap_or_default();
        // What was sent before has been answered, or never will be.
        let waiting = self.launching.values().map(|launching| launching.launch.offer.clone());
        self.offers.break_promises(&waiting.collect());
        // Said again by whoever finds it so.
        self.sightless = false;
        self.load_hosts(loaded, now);
        self.listed = true;
        if self.unreadable.is_some() {
            return;
        }
        self.check_books(now);
        if went_back {
            self.is_restored(now);
        }
        self.keep_own_host();
        if self.session != Session::Off {
            self.reconcile_all(now);
        }
    }

    /// Does nothing any more while a record cannot be read, which may be one of a later release.
    fn stop_at(&mut self, unreadable: Option<String>) {
        if let Some(why) = &unreadable {
            self.hang_up();
            if self.unreadable != unreadable {
                self.note(Level::Warning, None, why.clone());
            }
        } else if self.unreadable.is_some() {
            self.note(Level::Info, None, "all records can be read again; work goes on");
        }
        self.unreadable = unreadable;
    }

    /// Every surface is to know which host moves last.
    fn keep_own_host(&mut self) {
        if self.measures.own_host != self.config.own_host {
            self.measures.own_host.clone_from(&self.config.own_host);
            self.ledger.put(Key::RolloutMeasures, to_json(&self.measures));
        }
    }

    fn load_hosts(&mut self, mut loaded: Loaded, now: Time) {
        for (name, notice) in self.notices.load(std::mem::take(&mut loaded.notices), now) {
            self.ledger.put(Key::Notice(name.clone()), to_json(&notice));
            self.ledger.after(After::Notice(name));
        }
        let mut before = std::mem::take(&mut self.hosts).all;
        let mut hosts = Hosts::default();
        self.task_index.clear();
        self.agents.clear();
        for (name, record) in std::mem::take(&mut loaded.hosts) {
            let mut host = Host::new(record, now);
            if let Some(known) = before.remove(&name) {
                host.heard = known.heard;
                host.spoke = known.spoke;
                host.tasks = known.tasks;
                host.room = known.room;
            }
            let mut tasks = loaded.tasks.get(&name).cloned().unwrap_or_default();
            for (kind, task) in &mut tasks.tasks {
                let known = host.tasks.tasks.get(kind).filter(|known| known.id == task.id);
                task.seen = known.map_or(Seen::Nothing, |known| known.seen);
                self.task_index.insert(task.id.clone(), (name.clone(), *kind));
            }
            host.tasks = tasks;
            host.slot = loaded.slots.remove(&name);
            host.rendered = loaded.rendered.remove(&name);
            host.progress = loaded.progress.get(&name).cloned();
            host.notice = self.notices.of(&name).cloned();
            let member = self.measures.member_on(&name, host.record.agent.ip);
            host.member = member.map(str::to_owned);
            self.agents.insert(host.record.agent.id.clone(), name.clone());
            hosts.insert(name, host);
        }
        self.hosts = hosts;
        self.stray_slots = loaded.slots;
        self.resolve_all();
    }

    /// A change that the watch tells. Most are our own writes.
    pub(super) fn stored(&mut self, change: &Change, now: Time) {
        if !self.listed {
            return;
        }
        if self.unreadable.is_some() {
            // It may be the record that is put right.
            return self.relist();
        }
        if document_name(change.key()).is_some() {
            let text = match change {
                Change::Put(entry) => Some(entry.value.as_str()),
                Change::Deleted { .. } => None,
            };
            self.desire.fold(change.key(), text, change.revision(), now);
            return;
        }
        if let Key::Control(control) = change.key()
            && let Some(control) = Control::parse(control)
        {
            let value = match change {
                Change::Put(entry) => Some(entry.value.as_str()),
                Change::Deleted { .. } => None,
            };
            if self.asked_for(&control, value).is_err() {
                // The listing says which record it is.
                self.relist();
            }
            return;
        }
        let foreign = match change.key() {
            Key::History(number) => {
                match change {
                    Change::Put(_) => self.history.insert(*number),
                    Change::Deleted { .. } => self.history.remove(number),
                };
                false
            }
            Key::SlotGuard => {
                self.guard.as_ref().is_some_and(|(_, known)| *known < change.revision())
                    && self.ledger.guarded().is_none()
            }
            Key::Slot(host) => {
                let known = self.hosts.get(host).and_then(|host| host.slot.as_ref());
                let ours = self.ledger.guarded().is_some()
                    || self.ledger.admissions().any(|admission| admission.host == *host);
                let gone = matches!(change, Change::Deleted { .. });
                !ours
                    && if gone {
                        known.is_some_and(|(_, known)| *known < change.revision())
                    } else {
                        known.is_none_or(|(_, known)| *known < change.revision())
                            && self.guard.as_ref().is_some_and(|(_, at)| *at < change.revision())
                    }
            }
            _ => false,
        };
        if foreign {
            self.note(Level::Warning, None, "somebody wrote to `slots/`; everything is read again");
            self.relist();
        }
    }

    pub(super) fn answered(&mut self, id: TxnId, outcome: Outcome, now: Time) {
        let Some(flight) = self.ledger.answered(id) else { return };
        let Outcome::Committed(revision) = outcome else {
            // Somebody else leads, or somebody wrote to slots by hand: the listing tells which.
            self.relist();
            return;
        };
        // The watch may be late, or lost: a listing from before this is of an etcd that went back.
        self.newest = self.newest.max(revision);
        match flight {
            InFlight::Plain(after) => {
                for after in after {
                    self.carry_out(after, now);
                }
            }
            InFlight::Guarded(batch) => self.batch_committed(*batch, revision, now),
            InFlight::Admission(admission) => {
                self.effects.push(Effect::Call(Box::new(admission.answer())));
                self.admitted(&admission, revision);
            }
        }
    }

    fn carry_out(&mut self, after: After, now: Time) {
        match after {
            After::Call(call) => self.effects.push(Effect::Call(call)),
            After::Launch(launch) => self.launch(*launch, now),
            After::FrameworkSaved => self.framework_saved = true,
            After::Notice(host) => self.notices.written(&host),
            After::Relist => self.relist(),
        }
    }

    fn admitted(&mut self, admission: &Admission, revision: Revision) {
        if let Some(host) = self.hosts.touch(&admission.host) {
            host.slot = Some((admission.slot.clone(), revision));
        }
        let text = format!("admitted for attempt {}", admission.slot.attempt);
        self.note(Level::Info, Some(&admission.host), text);
    }

    fn batch_committed(&mut self, batch: Batch, revision: Revision, now: Time) {
        self.guard = Some((batch.guard, revision));
        let before = self.measures.holds;
        for (name, slot) in batch.slots {
            let Some(host) = self.hosts.touch(&name) else { continue };
            if let (Some((held, _)), None) = (&host.slot, &slot)
                && held.state != SlotState::Reserved
            {
                self.measures.holds.add(now.since(held.since));
            }
            host.slot = slot.map(|slot| (slot, revision));
        }
        if self.measures.holds != before {
            self.ledger.put(Key::RolloutMeasures, to_json(&self.measures));
        }
        if self.restored.is_some() {
            self.check_books(now);
        }
        for launch in batch.launches {
            self.launch(launch, now);
        }
    }
}

/// What a listing says, sorted by what it is.
#[derive(Debug, Default)]
struct Loaded {
    documents: BTreeMap<String, String>,
    accepted: Option<(Generation, Accepted)>,
    hosts: BTreeMap<HostName, HostRecord>,
    tasks: BTreeMap<HostName, HostTasks>,
    slots: BTreeMap<HostName, (Slot, Revision)>,
    guard: Option<(Guard, Revision)>,
    progress: BTreeMap<HostName, HostProgress>,
    state: Option<RolloutState>,
    framework: Option<FrameworkId>,
    rendered: BTreeMap<HostName, Rendered>,
    measures: Option<Measures>,
    notices: BTreeMap<HostName, Notice>,
    history: BTreeSet<u64>,
    controls: Controls,
}

impl Loaded {
    /// Errs if the record cannot be read.
    pub(super) fn add(&mut self, entry: &Entry) -> Result<(), BadRecord> {
        if let Some(name) = document_name(&entry.key) {
            self.documents.insert(name, entry.value.clone());
            return Ok(());
        }
        let path = entry.key.path();
        let at = entry.mod_revision;
        let value = &entry.value;
        match &entry.key {
            Key::Accepted(generation) => {
                let accepted = from_json(&path, value)?;
                if self.accepted.as_ref().is_none_or(|(newest, _)| newest < generation) {
                    self.accepted = Some((*generation, accepted));
                }
            }
            Key::Observed(host) => {
                self.hosts.insert(host.clone(), from_json(&path, value)?);
            }
            Key::Tasks(host) => {
                self.tasks.insert(host.clone(), from_json(&path, value)?);
            }
            Key::Slot(host) => {
                let slot = from_json(&path, value)?;
                self.slots.insert(host.clone(), (slot, at));
            }
            Key::SlotGuard => self.guard = Some((from_json(&path, value)?, at)),
            Key::RolloutHost(host) => {
                self.progress.insert(host.clone(), from_json(&path, value)?);
            }
            Key::Notice(host) => {
                self.notices.insert(host.clone(), from_json(&path, value)?);
            }
            Key::RolloutState => self.state = Some(from_json(&path, value)?),
            Key::FrameworkId => {
                let record: FrameworkRecord = from_json(&path, value)?;
                self.framework = Some(FrameworkId(record.id));
            }
            // Written anew if it cannot be read: it is only there to be looked at.
            Key::Rendered(host) => {
                self.rendered.extend(from_json(&path, value).ok().map(|r| (host.clone(), r)));
            }
            Key::RolloutMeasures => self.measures = from_json(&path, value).ok(),
            Key::History(number) => drop(self.history.insert(*number)),
            Key::Control(control) => {
                if let Some(control) = Control::parse(control) {
                    // Not one of a later release, which may ask for more.
                    let _: serde_json::Value = from_json(&path, value)?;
                    let bad = |source| BadRecord::Unreadable { path, source };
                    self.controls.put(control, value).map_err(bad)?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}
