//! Notices to the frameworks (`rollout.drain`): written down, given, watched, and taken back.
//!
//! A notice is in etcd from before it can be in the master's schedule until it is known not to be
//! there any more, whoever leads meanwhile. One edit at a time: each replaces the whole schedule,
//! and makes Mesos take all offers back, so that what can be done together is.

use std::collections::BTreeMap;

use crate::budget::slot::SlotState;
use crate::desired::{Drain, DrainMode};
use crate::mesos::agents::away;
use crate::mesos::v1::Unavailability;
use crate::observed::fleet::Away;
use crate::observed::tasks::{Seen, TaskRecord};
use crate::plan::gate::{Phase, pool_full};
use crate::plan::notice::{Found, Notice, ScheduleEdit};
use crate::plan::reason::Reason;
use crate::store::keys::Key;
use crate::words::{HostName, Time};

use super::Controller;
use super::event::{Effect, Level};
use super::ledger::After;
use super::records::{Limit, to_json};
use super::wants::SOON_SECONDS;

/// The shell answers sooner than this.
const LOST_MS: u64 = 120_000;
/// After an edit that was refused, the next one.
const REFUSED_MS: u64 = 30_000;
/// After one that somebody else has undone meanwhile.
const UNDONE_MS: u64 = 5_000;
/// A launch has arrived by then, or never does.
const ARRIVES_MS: u64 = 5_000;
/// An edit that was never answered, or one of a leader that is none any more, may still arrive
/// for so long: what is not in the schedule is looked for again.
const LATE_MS: u64 = 60_000;

/// All notices.
#[derive(Clone, Debug, Default)]
pub(super) struct Notices {
    known: BTreeMap<HostName, Known>,
    /// Since when an edit is under way.
    editing: Option<Time>,
    /// The next edit is not before this.
    again: Option<Time>,
    /// The last one was refused.
    refused: bool,
    /// When time alone changes something.
    pub wake: Option<Time>,
}

/// One of them.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own, none excludes another"
)]
struct Known {
    notice: Notice,
    /// It is in etcd: it may be given.
    written: bool,
    /// A host has changed under it.
    used: bool,
    /// It is being taken back.
    ends: bool,
    /// An offer does not say what it says.
    doubtful: bool,
    /// Edits of another leader may put it into the schedule until then, and
    others_until: Time,
    /// ones of ours that were not answered.
    ours_until: Time,
    /// It was not found, and is not looked for before this.
    look_at: Time,
}

impl Known {
    fn new(notice: Notice) -> Self {
        let (written, used, ends, doubtful) = (false, false, false, false);
        let never = Time(0);
        let (others_until, ours_until, look_at) = (never, never, never);
        Self { notice, written, used, ends, doubtful, others_until, ours_until, look_at }
    }

    /// As it was found in etcd. Whether it is given is asked.
    fn found(notice: Notice, now: Time) -> Self {
        let others_until = now.plus_ms(LATE_MS);
        Self { written: true, doubtful: true, others_until, ..Self::new(notice) }
    }

    fn late(&self) -> Time {
        self.others_until.max(self.ours_until)
    }
}

impl Notices {
    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// What a listing of the store says. What this process knows of the same ones is kept. Gives those
    /// that were written and are not there any more, as after a restore: nobody else could take them back.
    pub(super) fn load(
        &mut self,
        stored: BTreeMap<HostName, Notice>,
        now: Time,
    ) -> Vec<(HostName, Notice)> {
        let mut before = std::mem::take(&mut self.known);
        for (name, notice) in stored {
            let same = |known: &Known| known.notice.window == notice.window;
            let known = match before.remove(&name).filter(same) {
                Some(known) => Known { notice, written: true, ..known },
                None => Known::found(notice, now),
            };
            self.known.insert(name, known);
        }
        let lost = before
            .into_iter()
            .filter(|(name, known)| known.written && !self.known.contains_key(name));
        let lost: Vec<_> = lost.collect();
        for (name, known) in &lost {
            let known = Known { written: false, ends: true, ..known.clone() };
            self.known.insert(name.clone(), known);
        }
        lost.into_iter().map(|(name, known)| (name, known.notice)).collect()
    }

    /// The host's notice, unless it is being taken back.
    pub(super) fn of(&self, host: &HostName) -> Option<&Notice> {
        self.known.get(host).filter(|known| !known.ends).map(|known| &known.notice)
    }

    /// Whether the schedule has to be asked before its host may start.
    pub(super) fn is_doubtful(&self, host: &HostName) -> bool {
        self.known.get(host).is_some_and(|known| known.doubtful)
    }

    pub(super) fn written(&mut self, host: &HostName) {
        if let Some(known) = self.known.get_mut(host) {
            known.written = true;
        }
    }

    /// What an offer, or an inverse offer, says of maintenance: none if that is our own. An offer
    /// that does not say what was announced is a doubt.
    pub(super) fn of_others(
        &mut self,
        host: &HostName,
        told: Option<Unavailability>,
    ) -> Option<Away> {
        let told = told.map(away);
        let Some(known) = self.known.get_mut(host) else { return told };
        if told == Some(known.notice.window.away()) {
            return None;
        }
        known.doubtful |= known.notice.given.is_some();
        told
    }

    /// When time alone lets something happen.
    fn next_wake(&self, drain: Option<&Drain>, now: Time) -> Option<Time> {
        let of_each = self.known.values().flat_map(|known| {
            let starts = drain.and_then(|drain| known.notice.starts(drain));
            let soon = starts.map(|at| Time(at.0.saturating_sub(SOON_SECONDS * 1000)));
            let over = (!known.ends).then_some(known.notice.window.until);
            [starts, soon, over, Some(known.look_at)]
        });
        let lost = self.editing.map(|since| since.plus_ms(LOST_MS + 1));
        of_each.chain([self.again, lost]).flatten().filter(|at| *at > now).min()
    }

    /// Which hosts cannot be announced, as a sentence; none if all can.
    fn kept_out(&self) -> Option<String> {
        let out = self.known.iter().filter(|(_, known)| known.notice.kept_out && !known.ends);
        let out: Vec<&str> = out.map(|(name, _)| name.as_str()).collect();
        let (first, more) = (out.first()?, out.len() - 1);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        Some(format!(
            "maintenance of {first}{more} that is over is still in Mesos' schedule; take it off, so \
             that the frameworks can be told of what is next"
        ))
    }

    /// What is to be changed about the schedule now.
    fn edit(&self, now: Time) -> ScheduleEdit {
        let mut edit = ScheduleEdit::default();
        for (name, known) in &self.known {
            let window = || (name.clone(), known.notice.window.clone());
            if known.ends {
                edit.remove.extend((known.look_at <= now).then(window));
            } else if known.notice.given.is_none() || known.doubtful {
                edit.add.extend((known.look_at <= now).then(window));
            }
        }
        if self.refused && !edit.remove.is_empty() {
            // What is wrong with one machine's notice does not keep those of others standing.
            edit.add.clear();
        }
        edit
    }
}

impl Controller {
    /// Decides about notices: which hosts need one, which have to go, and what is to be changed
    /// about the schedule.
    pub(super) fn tend_notices(&mut self, now: Time) {
        let drain = self.drain();
        self.end_notices(drain.is_some(), now);
        if let Some(drain) = &drain {
            self.write_notices(drain, now);
        } else if self.notices.is_empty() {
            self.limit(Limit::ScheduleClosed, None);
        }
        self.edit_schedule(now);
        self.notices.wake = self.notices.next_wake(drain.as_ref(), now);
    }

    /// How frameworks are told, if they are.
    fn drain(&self) -> Option<Drain> {
        let drain = &self.rollout()?.drain;
        (drain.mode == DrainMode::Maintenance).then(|| drain.clone())
    }

    /// Whether an offer of the host is of no use yet, as the frameworks still have time; then, in
    /// how many seconds it will be.
    pub(super) fn is_early(&self, name: &HostName, now: Time) -> Option<u64> {
        let drain = self.drain()?;
        let wait = u64::from(drain.wait_seconds);
        let starts = self.notices.of(name).and_then(|notice| notice.starts(&drain));
        let seconds = starts.map_or(wait.max(1), |at| at.since(now) / 1000);
        (starts.is_none() || seconds > SOON_SECONDS).then(|| seconds.saturating_sub(SOON_SECONDS))
    }

    /// A notice goes when its host has changed, or is not to be changed any more.
    fn end_notices(&mut self, wanted: bool, now: Time) {
        let running = wanted && self.phase() == Phase::Running;
        let mut ended = Vec::new();
        for (name, known) in self.notices.known.iter_mut().filter(|(_, known)| !known.ends) {
            let host = self.hosts.get(name);
            let slot = host.and_then(|host| host.slot());
            known.used |= slot.is_some_and(|slot| slot.state != SlotState::Reserved);
            let under_way =
                self.ledger.guarded().is_some_and(|batch| batch.slots.contains_key(name));
            let stays = under_way
                || slot.is_some()
                || host.is_some_and(|host| !known.used && host.tasks.carrier().is_some())
                || host.is_some_and(|host| {
                    let held = host.assessment.held.as_ref();
                    // A launch that came to nothing is repeated soon, and so is a notice that was kept out.
                    let waits = matches!(
                        held,
                        Some(Reason::BackingOff { .. } | Reason::Unannounced { .. })
                    );
                    let first = self.first.as_ref().is_none_or(|first| first.hosts.contains(name));
                    let same = host.record.agent.ip == Some(known.notice.window.ip);
                    let fresh = !known.used && !known.notice.is_over(now);
                    running && fresh && same && first && (waits || host.place().is_some())
                });
            if !stays {
                known.ends = true;
                ended.push(name.clone());
            }
        }
        for name in ended {
            self.show_notice(&name);
        }
    }

    /// As many hosts as there are slots are told about before they can have one: a wave ahead.
    fn write_notices(&mut self, drain: &Drain, now: Time) {
        let slots = self.limits().slots;
        let holds = |name: &HostName| self.hosts.holders.contains(name);
        let told = |(name, known): &(&HostName, &Known)| {
            !known.ends && !known.notice.kept_out && !holds(name)
        };
        let ahead = self.notices.known.iter().filter(told);
        let lacking = slots.saturating_sub(ahead.count());
        if lacking == 0 || self.reach() == 0 {
            return;
        }
        let mut notices = Vec::new();
        for name in self.next_in_line(4 * slots + 16) {
            let Some(host) = self.hosts.get(&name) else { continue };
            let full = |spec| pool_full(spec, &self.hosts.totals.pools).is_some();
            let full = host.spec.as_ref().is_none_or(|spec| spec.as_deref().map_or(true, full));
            let known = self.notices.known.contains_key(&name) || self.waits_for_etcd(host);
            if let Some(ip) = host.record.agent.ip
                && !full
                && !known
                && notices.len() < lacking
            {
                let notice = Notice::new(&name, ip, drain, now);
                notices.push((name, notice));
            }
        }
        for (name, notice) in notices {
            self.ledger.put(Key::Notice(name.clone()), to_json(&notice));
            self.ledger.after(After::Notice(name.clone()));
            self.notices.known.insert(name.clone(), Known::new(notice));
            self.show_notice(&name);
        }
    }

    fn edit_schedule(&mut self, now: Time) {
        let notices = &self.notices;
        let waits = notices.editing.is_some_and(|since| now.since(since) <= LOST_MS)
            || notices.again.is_some_and(|at| at > now)
            // Together with those that are about to be written.
            || notices.known.values().any(|known| !known.written)
            || self.launches_are_on_their_way(now);
        if waits {
            return;
        }
        let edit = notices.edit(now);
        if edit.is_empty() {
            return;
        }
        for (name, _) in &edit.add {
            if let Some(known) = self.notices.known.get_mut(name) {
                known.ours_until = now.plus_ms(LATE_MS);
            }
        }
        self.notices.editing = Some(now);
        self.notices.again = None;
        self.effects.push(Effect::EditSchedule(edit));
    }

    /// Launches use offers that an edit would take back. What was launched long ago and not heard
    /// of is not waited for.
    fn launches_are_on_their_way(&self, now: Time) -> bool {
        let is_new =
            |task: &TaskRecord| task.seen == Seen::Nothing && now.since(task.ordered) < ARRIVES_MS;
        let hosts = self.hosts.starting.iter().filter_map(|name| self.hosts.get(name));
        self.ledger.guarded().is_some()
            || hosts.flat_map(|host| host.tasks.tasks.values()).any(is_new)
    }

    /// The schedule was edited, or not.
    pub(super) fn schedule_edited(
        &mut self,
        answer: Result<Vec<(HostName, Found)>, String>,
        now: Time,
    ) {
        if self.notices.editing.take().is_none() || self.leading.is_none() {
            return;
        }
        self.notices.refused = answer.is_err();
        match answer {
            Ok(found) => {
                for (name, found) in found {
                    self.notice_found(&name, found, now);
                }
                self.say_schedule(self.notices.kept_out());
            }
            Err(why) => {
                self.notices.again = Some(now.plus_ms(REFUSED_MS));
                let why = format!("the maintenance schedule of Mesos cannot be edited: {why}");
                self.say_schedule(Some(why));
            }
        }
    }

    fn say_schedule(&mut self, why: Option<String>) {
        let known = self.measures.limits.get(&Limit::ScheduleClosed);
        match &why {
            Some(why) if known.is_none() => self.note(Level::Warning, None, why.as_str()),
            None if known.is_some() => {
                self.note(
                    Level::Info,
                    None,
                    "the maintenance schedule of Mesos can be edited again",
                );
            }
            _ => {}
        }
        self.limit(Limit::ScheduleClosed, why);
    }

    fn notice_found(&mut self, name: &HostName, found: Found, now: Time) {
        let Some(known) = self.notices.known.get_mut(name) else { return };
        known.ours_until = Time(0);
        match (known.ends, found) {
            (false, Found::Ours { new }) => {
                known.doubtful = false;
                if new || known.notice.kept_out || known.notice.given.is_none() {
                    (known.notice.given, known.notice.kept_out) = (Some(now), false);
                    self.ledger.put(Key::Notice(name.clone()), to_json(&known.notice));
                    self.note(Level::Info, Some(name), "the frameworks are told that it restarts");
                }
            }
            (false, Found::Theirs(away)) if away.is_over(now) => {
                known.look_at = now.plus_ms(REFUSED_MS);
                if !std::mem::replace(&mut known.notice.kept_out, true) {
                    self.ledger.put(Key::Notice(name.clone()), to_json(&known.notice));
                }
            }
            (false, Found::Theirs(away)) => {
                known.ends = true;
                if let Some(host) = self.hosts.all.get_mut(name) {
                    host.announced = now;
                    host.record.fold_away(Some(away));
                    self.put_record(name);
                }
            }
            // Somebody has replaced the schedule at the same time. It is edited anew.
            (false, Found::Nothing) | (true, Found::Ours { .. }) => {
                self.notices.again = Some(now.plus_ms(UNDONE_MS));
            }
            (true, _) if known.late() > now => known.look_at = known.late(),
            (true, _) => {
                self.notices.known.remove(name);
                self.ledger.delete(Key::Notice(name.clone()));
                self.note(Level::Info, Some(name), "the notice to the frameworks is taken back");
            }
        }
        self.show_notice(name);
    }

    /// Gives the host the notice that it is assessed with.
    fn show_notice(&mut self, name: &HostName) {
        let notice = self.notices.of(name).cloned();
        if let Some(host) = self.hosts.touch(name) {
            host.notice = notice;
        }
    }
}
