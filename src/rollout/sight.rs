//! Agents: what the master lists, what offers tell where it does not let us, and what is out of
//! sight or reach.

use std::collections::BTreeMap;

use crate::mesos::agents::agent_offered;
use crate::mesos::v1::Offer;
use crate::observed::fleet::{AgentSeen, Condition, Folded, HostRecord};
use crate::observed::tasks::{Seen, TaskRecord};
use crate::plan::assess::STALE_SECONDS;
use crate::store::keys::Key;
use crate::words::{AgentId, HostName, TaskId, Time};

use super::event::{Effect, Level};
use super::host::Host;
use super::records::{Limit, to_json};
use super::starving::{closed, out_of_reach};
use super::{Controller, Session};

/// Hosts out of reach or hearing that are named; of more only how many there are.
const NAMED: usize = 12;

impl Controller {
    pub(super) fn agents(&mut self, seen: &[AgentSeen], now: Time) {
        if self.leading.is_none() || !self.listed || self.session == Session::Off {
            return;
        }
        let mut by_host: BTreeMap<&HostName, Vec<&AgentSeen>> = BTreeMap::new();
        for agent in seen {
            by_host.entry(&agent.host).or_default().push(agent);
        }
        let mut changed = Vec::new();
        let known = self.hosts.all.len();
        for (name, lines) in &by_host {
            if !self.hosts.all.contains_key(*name)
                && let Some(line) = lines.first()
            {
                let mut host = Host::new(HostRecord::new(line, now), now);
                host.slot = self.stray_slots.remove(*name);
                self.hosts.insert((*name).clone(), host);
                changed.push((*name).clone());
            }
        }
        self.agents_known = known > 0 && self.hosts.all.len() == known;
        let roles = (&self.config.roles[..], &self.given_up[..]);
        for (name, host) in &mut self.hosts.all {
            let lines = by_host.get(name).map_or(&[][..], Vec::as_slice);
            let mut folded = host.record.fold_listed(lines, now) == Folded::Changed;
            let current = lines.iter().find(|line| line.id == host.record.agent.id);
            host.room = current.and_then(|line| line.room.clone());
            if let Some(room) = &host.room {
                folded |= host.record.fold_closed(closed(room, roles)) == Folded::Changed;
            }
            if folded {
                changed.push(name.clone());
            }
        }
        if std::mem::take(&mut self.sightless) {
            self.note(Level::Info, None, "the master lists its agents again");
        }
        self.limit(Limit::AgentsHidden, None);
        self.name_out_of_reach();
        for name in changed {
            self.agent_changed(&name, now);
        }
        // An agent may have been away between two lists, and nobody tells of a task that never arrived.
        for (task, on) in self.hosts.all.values().flat_map(missed) {
            self.reconciliation.add(task, on, now);
        }
        self.knows_agents();
    }

    fn knows_agents(&mut self) {
        let first = self.session == Session::Open;
        self.session = Session::Ready;
        self.explain_starving = true;
        if first {
            self.hosts.touch_all();
        }
    }

    /// The master does not let us list its agents: those that it offers are known from then on.
    pub(super) fn agents_hidden(&mut self, why: &str, now: Time) {
        if self.leading.is_none() || !self.listed || self.session == Session::Off {
            return;
        }
        if !std::mem::replace(&mut self.sightless, true) {
            let text = format!(
                "the master does not let us list its agents ({why}): they are learned from offers, \
                 so that hosts which are never offered are missing here, and one that is away is \
                 noticed late; let our principal view agents, or read /slaves"
            );
            self.note(Level::Warning, None, text.as_str());
            self.limit(Limit::AgentsHidden, Some(text));
            let asks = self.offers.ask_again(now);
            self.effects.extend(asks.map(|call| Effect::Call(Box::new(call))));
        }
        let known = self.hosts.all.len();
        let offers: Vec<Offer> = self.offers.all().cloned().collect();
        for offer in &offers {
            self.learn(offer, now);
        }
        // As with a list: complete when it brings nothing new.
        self.agents_known = known > 0 && known == self.hosts.all.len();
        self.knows_agents();
    }

    pub(super) fn offered(&mut self, offer: Offer, now: Time) {
        let host = HostName(offer.hostname.clone());
        if self.sightless {
            self.learn(&offer, now);
        } else if self.hosts.get(&host).is_none_or(|known| known.record.agent.id != offer.agent_id)
        {
            // An agent that is not on the list yet.
            self.poll_soon();
        }
        self.offers.add(host.clone(), offer, now);
        self.say_unoffered(&host, None, now);
    }

    /// Whatever is offered is there.
    fn learn(&mut self, offer: &Offer, now: Time) {
        let mut seen = agent_offered(offer);
        let name = seen.host.clone();
        if let Some(host) = self.hosts.all.get_mut(&name) {
            if host.record.agent.id == seen.id {
                // One offer holds the resources of one role.
                seen.roles.extend(host.record.agent.roles.iter().cloned());
            }
            let opened = host.record.fold_closed(None) == Folded::Changed;
            if host.record.fold_listed(&[&seen], now) != Folded::Changed && !opened {
                return;
            }
        } else {
            let mut host = Host::new(HostRecord::new(&seen, now), now);
            host.slot = self.stray_slots.remove(&name);
            self.hosts.insert(name.clone(), host);
            self.agents_known = false;
        }
        self.agent_changed(&name, now);
    }

    /// The master has removed an agent. Where it lists agents, the list says more.
    pub(super) fn agent_failed(&mut self, agent: Option<&AgentId>, now: Time) {
        let name = agent.filter(|_| self.sightless).and_then(|agent| self.agents.get(agent));
        let Some(name) = name.cloned() else { return };
        let Some(host) = self.hosts.all.get_mut(&name) else { return };
        if Some(&host.record.agent.id) == agent
            && host.record.fold_listed(&[], now) == Folded::Changed
        {
            self.agent_changed(&name, now);
        }
    }

    /// Says which hosts the one role does not reach that an old master gives us.
    fn name_out_of_reach(&mut self) {
        let given_up = &self.given_up;
        let closed = |host: &&Host| host.room.as_ref().is_some_and(|r| out_of_reach(r, given_up));
        let closed = self.hosts.all.iter().filter(|(_, host)| closed(host));
        let closed: Vec<&str> = closed.map(|(name, _)| name.as_str()).collect();
        let text = some_of(&closed).map(|closed| {
            format!(
                "this Mesos gives a framework one role: until it is 1.3 or newer, hosts that are \
                 reserved for `{}` as a whole are out of reach: {closed}",
                self.given_up.join("`, `"),
            )
        });
        self.limit(Limit::OneRole, text);
    }

    /// Says of which hosts the facts are too old, where nothing else in their records shows it. No age is in it, so
    /// that it is written when other hosts fall silent or speak again, and not with each look.
    pub(super) fn name_silent_hosts(&mut self, now: Time) {
        let silent = |host: &&Host| {
            let record = &host.record;
            let shown = record.agent.condition != Condition::Active
                || record.facts().is_none()
                || record.blind.is_some()
                || (host.leaves && record.has_left());
            !shown && !host.is_mute() && now.since(host.heard) / 1000 > STALE_SECONDS
        };
        let silent = self.hosts.all.iter().filter(|(_, host)| silent(host));
        let silent: Vec<&str> = silent.map(|(name, _)| name.as_str()).collect();
        let text = some_of(&silent).map(|silent| {
            format!(
                "the observers of these hosts have been silent for {} minutes and more, so that what is shown \
                 of them may be so no longer: {silent}; look at their tasks in Mesos",
                STALE_SECONDS / 60
            )
        });
        self.limit(Limit::HostsSilent, text);
    }

    /// Something that the leader cannot see or do, for every surface; none if it can.
    pub(super) fn limit(&mut self, limit: Limit, text: Option<String>) {
        if self.measures.limits.get(&limit) == text.as_ref() {
            return;
        }
        match text {
            Some(text) => self.measures.limits.insert(limit, text),
            None => self.measures.limits.remove(&limit),
        };
        self.ledger.put(Key::RolloutMeasures, to_json(&self.measures));
    }

    /// An agent that is offered, or whose executor is heard, is connected: what waits for it
    /// need not wait for the next list of agents as well.
    pub(super) fn connected(&mut self, agent: &AgentId, now: Time) {
        let Some(name) = self.agents.get(agent) else { return };
        let Some(host) = self.hosts.all.get_mut(name) else { return };
        let known = &mut host.record.agent;
        // Where agents are not listed nothing else tells that one is back.
        let away = known.condition == Condition::Disconnected
            || (self.sightless && known.condition == Condition::Unreachable);
        if known.id == *agent && away {
            (known.condition, known.since) = (Condition::Active, now);
            let name = name.clone();
            self.agent_changed(&name, now);
        }
    }

    fn agent_changed(&mut self, name: &HostName, now: Time) {
        self.resolve(name);
        self.name_member(name);
        self.put_record(name);
        let Some(host) = self.hosts.touch(name) else { return };
        for (task, on) in missed(host) {
            self.reconciliation.add(task, on, now);
        }
        self.agents.insert(host.record.agent.id.clone(), name.clone());
    }
}

/// The first of some hosts by name, and how many more there are; nothing of none.
fn some_of(hosts: &[&str]) -> Option<String> {
    let (named, more) = hosts.split_at(hosts.len().min(NAMED));
    let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
    (!named.is_empty()).then(|| format!("{}{more}", named.join(", ")))
}

/// Tasks that could not be asked after, of a host that can be.
fn missed(host: &Host) -> impl Iterator<Item = (TaskId, AgentId)> {
    let agent = &host.record.agent;
    let active = agent.condition == Condition::Active;
    let missed =
        move |task: &&TaskRecord| active && (task.seen == Seen::Lost || task.agent != agent.id);
    let tasks = host.tasks.tasks.values().filter(missed);
    tasks.map(|task| (task.id.clone(), task.agent.clone()))
}
