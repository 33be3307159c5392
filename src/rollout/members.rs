//! The members of our etcd, and the hosts that carry them: asked for when a leader begins, while
//! something may start, and right before such a host does.

use crate::plan::members::{Member, Members, wait};
use crate::store::keys::Key;
use crate::words::{HostName, Time};

use super::Controller;
use super::event::{Effect, Level};
use super::host::Host;
use super::records::to_json;

/// An answer is good for a start for so long.
const FRESH_MS: u64 = 5_000;
/// They are asked so often while something may start,
const EVERY_MS: u64 = 60_000;
/// and while that is held back for their sake.
const AGAIN_MS: u64 = 10_000;
/// The shell always answers, sooner than this.
const LOST_MS: u64 = 60_000;

/// When they were asked.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Etcd {
    /// While no answer is in.
    asked: Option<Time>,
    /// The last answer.
    answered: Option<Time>,
    /// It was that all are healthy.
    well: bool,
    /// When time alone lets something happen.
    pub wake: Option<Time>,
}

impl Controller {
    /// Asks, if it is time to.
    pub(super) fn tend_members(&mut self, now: Time) {
        let Some(answered) = self.etcd.answered else { return self.ask_members(now) };
        if self.hosts.line.is_empty() {
            return;
        }
        let due = answered.plus_ms(if self.etcd.well { EVERY_MS } else { AGAIN_MS });
        if due <= now {
            self.ask_members(now);
        } else {
            self.etcd.wake = Some(due);
        }
    }

    fn ask_members(&mut self, now: Time) {
        match self.etcd.asked {
            Some(asked) if now.since(asked) <= LOST_MS => {
                self.etcd.wake = Some(asked.plus_ms(LOST_MS + 1));
            }
            _ => {
                self.etcd.asked = Some(now);
                self.effects.push(Effect::AskMembers);
            }
        }
    }

    /// Whether a disruption may start as far as our etcd goes: who its members are has to be
    /// known; for a host with one of them, also that all are well, as of now. If that is not
    /// known it is asked, and the answer leads to another pass.
    pub(super) fn members_let_start(&mut self, carries: bool, now: Time) -> bool {
        let fresh = self.etcd.answered.is_some_and(|at| now.since(at) <= FRESH_MS);
        let lets = match &self.measures.members {
            Some(members) if !members.members.is_empty() => !carries || (fresh && self.etcd.well),
            _ => false,
        };
        if !lets && !fresh {
            self.ask_members(now);
        }
        lets
    }

    pub(super) fn members_answered(&mut self, answer: Result<Vec<Member>, String>, now: Time) {
        if self.leading.is_none() || !self.listed {
            self.etcd = Etcd::default();
            return;
        }
        let before = self.measures.members.clone().unwrap_or_default();
        let members = match answer {
            Ok(members) => Members { members, unknown: None },
            // Those of before may still be where they were.
            Err(why) => Members { unknown: Some(why), ..before.clone() },
        };
        let well = members.unknown.is_none() && members.unwell().is_none();
        self.etcd = Etcd { asked: None, answered: Some(now), well, wake: None };
        if self.measures.members.as_ref() == Some(&members) {
            return;
        }
        self.note_members(&before, &members);
        self.measures.members = Some(members);
        // Offers are held only while something may start.
        self.hosts.line_moved = true;
        self.ledger.put(Key::RolloutMeasures, to_json(&self.measures));
        let names: Vec<HostName> = self.hosts.all.keys().cloned().collect();
        for name in names {
            self.name_member(&name);
        }
    }

    fn note_members(&mut self, before: &Members, now: &Members) {
        let ill = |members: &Members| members.unknown.clone().or_else(|| members.unwell());
        match (ill(before), ill(now)) {
            (before, Some(why)) if before.as_ref() != Some(&why) => {
                let text = format!("not all members of our etcd are known to be healthy: {why}");
                self.note(Level::Warning, None, text);
            }
            (Some(_), None) => self.note(Level::Info, None, "all members of our etcd are healthy"),
            _ => {}
        }
    }

    /// Finds the member on a host, which may have another address by now.
    pub(super) fn name_member(&mut self, name: &HostName) {
        let Some(host) = self.hosts.get(name) else { return };
        let member = self.measures.member_on(name, host.record.agent.ip).map(str::to_owned);
        if host.member != member
            && let Some(host) = self.hosts.touch(name)
        {
            host.member = member;
        }
    }

    /// The host with a member that is in a restart.
    pub(super) fn busy_member(&self) -> Option<&HostName> {
        let carries = |name: &&HostName| self.hosts.get(name).is_some_and(|h| h.member.is_some());
        self.hosts.holders.iter().find(carries)
    }

    /// Whether it may not start for the sake of our etcd, as far as is known.
    pub(super) fn waits_for_etcd(&self, host: &Host) -> bool {
        let members = self.measures.members.as_ref();
        members.is_none_or(|members| {
            wait(members, host.member.as_deref(), self.busy_member()).is_some()
        })
    }
}
