//! What is known of a host: what the master says of its agent, and what the host says of itself.
//!
//! Invariants: facts that are older never replace newer ones; an agent under a new ID is the same
//! host, a machine with another ID is not the machine that the facts are about; silence is never
//! health.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::facts::{FactOrder, Facts};
use crate::desired::HostIdentity;
use crate::words::{AgentId, HostName, Time};

/// The version of [`HostRecord`] that this release writes.
pub const RECORD_VERSION: u32 = 1;

/// One host: the value of `observed/HOST`, written when it changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostRecord {
    /// [`RECORD_VERSION`] of the release that wrote it.
    pub version: u32,
    /// What the master says.
    pub agent: AgentView,
    /// What the host says; none until its observer has reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported: Option<Report>,
    /// The machine ID of another machine that reports under this name. Until that is cleared up
    /// nothing is known of the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_machine: Option<String>,
    /// Why the host cannot be looked at, by its own word; none once it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blind: Option<String>,
    /// What became of the order to forget us, until the host reports again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub farewell: Option<Farewell>,
}

/// What a host said when it was told to forget us.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "is")]
pub enum Farewell {
    /// Nothing of ours is left there.
    Left {
        /// When it said so.
        at: Time,
    },
    /// Something of ours cannot be removed.
    Stays {
        /// Why, as a sentence.
        why: String,
    },
}

/// Facts, and where they came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The facts.
    pub facts: Facts,
    /// The agent that the observer ran under.
    pub agent: AgentId,
    /// When they arrived.
    pub at: Time,
    /// The boot before, whose late reports are older.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_before: Option<String>,
}

/// What the master says of an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentView {
    /// The ID of its newest registration.
    pub id: AgentId,
    /// Whether tasks can be run there.
    pub condition: Condition,
    /// Since when.
    pub since: Time,
    /// The roles that its resources are reserved for, and `*`.
    pub roles: BTreeSet<String>,
    /// Its attributes as text.
    pub attributes: BTreeMap<String, String>,
    /// The version of Mesos that it runs.
    pub mesos_version: String,
    /// The address that it speaks to the master from; none before anybody has said it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpAddr>,
    /// Another active agent with the same hostname: neither can be told from the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub twin: Option<AgentId>,
    /// When its machine is announced to be away, as far as anybody has said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub away: Option<Away>,
    /// Why nothing of it can be offered to us whatever is free there, as a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<String>,
}

/// Maintenance of a machine, as an operator has announced it to Mesos.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Away {
    /// From when.
    pub from: Time,
    /// Until when; without an end if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
}

impl Away {
    /// The machine is expected to be back for good.
    #[must_use]
    pub fn is_over(self, now: Time) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

/// Whether an agent can be used. What nobody has said is not usable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Condition {
    /// Registered, connected, in use.
    Active,
    /// Registered, not connected: it restarts, or the network is cut.
    Disconnected,
    /// An operator has deactivated it.
    Deactivated,
    /// An operator drains it.
    Draining,
    /// Not on the master's list, and nobody has said that it is gone.
    Unreachable,
    /// The master says that it is gone for good.
    Gone,
}

impl Condition {
    /// Of an agent that the master lists. What an operator has ordered says more than whether
    /// it is connected at the moment.
    #[must_use]
    pub fn of(draining: bool, deactivated: bool, active: bool) -> Self {
        match (draining, deactivated, active) {
            (true, ..) => Self::Draining,
            (_, true, _) => Self::Deactivated,
            (.., true) => Self::Active,
            (.., false) => Self::Disconnected,
        }
    }
}

/// One line of the master's list of agents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentSeen {
    /// The agent.
    pub id: AgentId,
    /// The host that it names.
    pub host: HostName,
    /// Its condition; never `Unreachable` or `Gone`, which are not listed.
    pub condition: Condition,
    /// See [`AgentView::roles`].
    pub roles: BTreeSet<String>,
    /// See [`AgentView::attributes`].
    pub attributes: BTreeMap<String, String>,
    /// See [`AgentView::mesos_version`]; empty if the master does not know it.
    pub mesos_version: String,
    /// See [`AgentView::ip`].
    pub ip: Option<IpAddr>,
    /// What it has and what of it is free; none where the master does not say.
    pub room: Option<Room>,
}

/// What an agent has, by the role that it is reserved for; `*` for nobody.
pub type Room = BTreeMap<String, Share>;

/// What of an agent is set aside for one role, in thousandths of cores and of megabytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// All of it.
    pub cpus: Part,
    /// All of it.
    pub mem: Part,
}

/// How much of something there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// In all.
    pub total: u64,
    /// In use by tasks and executors.
    pub used: u64,
    /// Held in offers that have not been answered.
    pub offered: u64,
}

/// What became of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Folded {
    /// It changed what is known.
    Changed,
    /// It says what is known already.
    Same,
    /// It is older than what is known.
    Older,
}

impl HostRecord {
    /// A host that the master lists for the first time.
    #[must_use]
    pub fn new(seen: &AgentSeen, now: Time) -> Self {
        Self {
            version: RECORD_VERSION,
            agent: AgentView {
                id: seen.id.clone(),
                condition: seen.condition,
                since: now,
                roles: seen.roles.clone(),
                attributes: seen.attributes.clone(),
                mesos_version: seen.mesos_version.clone(),
                ip: seen.ip,
                twin: None,
                away: None,
                closed: None,
            },
            reported: None,
            other_machine: None,
            blind: None,
            farewell: None,
        }
    }

    /// The facts, if there are any that can be believed.
    #[must_use]
    pub fn facts(&self) -> Option<&Facts> {
        match (&self.other_machine, &self.reported) {
            (None, Some(report)) if report.facts.is_readable() => Some(&report.facts),
            _ => None,
        }
    }

    /// The host has said that nothing of ours is left there.
    #[must_use]
    pub fn has_left(&self) -> bool {
        matches!(self.farewell, Some(Farewell::Left { .. }))
    }

    /// The host was told to forget us, and cannot.
    #[must_use]
    pub fn stays(&self) -> bool {
        matches!(self.farewell, Some(Farewell::Stays { .. }))
    }

    /// What selectors look at.
    #[must_use]
    pub fn identity(&self, name: &HostName) -> HostIdentity {
        HostIdentity {
            name: name.clone(),
            roles: self.agent.roles.clone(),
            attributes: self.agent.attributes.clone(),
        }
    }

    /// Folds what the master lists under this name (all active agents with that hostname). With
    /// an empty list the agent is unreachable, unless it is gone.
    pub fn fold_listed(&mut self, seen: &[&AgentSeen], now: Time) -> Folded {
        let before = self.agent.clone();
        let current = seen.iter().find(|s| s.id == self.agent.id);
        let Some(newest) = current.or_else(|| seen.last()) else {
            if before.condition != Condition::Gone {
                self.set_condition(Condition::Unreachable, now);
            }
            self.agent.twin = None;
            return changed(self.agent != before);
        };
        let active = |s: &&&AgentSeen| s.condition == Condition::Active;
        let twin = seen.iter().filter(active).find(|s| s.id != newest.id);
        self.agent.id = newest.id.clone();
        self.agent.roles.clone_from(&newest.roles);
        self.agent.attributes.clone_from(&newest.attributes);
        if !newest.mesos_version.is_empty() {
            self.agent.mesos_version.clone_from(&newest.mesos_version);
        }
        self.agent.ip = newest.ip.or(self.agent.ip);
        self.agent.twin =
            twin.filter(|_| newest.condition == Condition::Active).map(|s| s.id.clone());
        self.set_condition(newest.condition, now);
        changed(self.agent != before)
    }

    /// What an offer or an inverse offer says of planned maintenance.
    pub fn fold_away(&mut self, away: Option<Away>) -> Folded {
        let before = std::mem::replace(&mut self.agent.away, away);
        changed(before != away)
    }

    /// Whether anything of the agent can be offered to us; see [`AgentView::closed`].
    pub fn fold_closed(&mut self, why: Option<String>) -> Folded {
        let folded = changed(self.agent.closed != why);
        self.agent.closed = why;
        folded
    }

    /// The master says that this agent is gone for good.
    pub fn fold_gone(&mut self, agent: &AgentId, now: Time) -> Folded {
        if self.agent.id != *agent || self.agent.condition == Condition::Gone {
            return Folded::Same;
        }
        self.set_condition(Condition::Gone, now);
        Folded::Changed
    }

    /// Folds a report of the host's observer, which ran under `agent`.
    pub fn fold_facts(&mut self, facts: Facts, agent: &AgentId, now: Time) -> Folded {
        match self.take_facts(facts, agent, now) {
            Folded::Changed => {
                self.farewell = None;
                self.blind = None;
                Folded::Changed
            }
            Folded::Same => self.fold_blind(None),
            Folded::Older => Folded::Older,
        }
    }

    /// Folds why the host cannot be looked at, or that it was.
    pub fn fold_blind(&mut self, why: Option<String>) -> Folded {
        let folded = changed(self.blind != why);
        self.blind = why;
        folded
    }

    fn take_facts(&mut self, facts: Facts, agent: &AgentId, now: Time) -> Folded {
        let Some(known) = &self.reported else {
            self.reported =
                Some(Report { facts, agent: agent.clone(), at: now, boot_before: None });
            return Folded::Changed;
        };
        if facts.machine_id != known.facts.machine_id {
            return self.fold_other_machine(facts, agent, now);
        }
        let boot_before = match age(&facts.order, &known.facts.order, known.boot_before.as_deref())
        {
            Age::Older => return Folded::Older,
            Age::Same if self.other_machine.is_none() => return Folded::Same,
            Age::Same | Age::Newer => known.boot_before.clone(),
            Age::NewBoot => Some(known.facts.order.boot_id.clone()),
        };
        self.reported = Some(Report { facts, agent: agent.clone(), at: now, boot_before });
        self.other_machine = None;
        Folded::Changed
    }

    /// A new machine comes with a new agent ID; two machines under one registration are a
    /// mistake that only people can clear up.
    fn fold_other_machine(&mut self, facts: Facts, agent: &AgentId, now: Time) -> Folded {
        if self.reported.as_ref().is_some_and(|known| known.agent != *agent) {
            self.reported =
                Some(Report { facts, agent: agent.clone(), at: now, boot_before: None });
            self.other_machine = None;
            return Folded::Changed;
        }
        let other = Some(facts.machine_id);
        let folded = changed(self.other_machine != other);
        self.other_machine = other;
        folded
    }

    /// Folds what the host says to the order to forget us.
    pub fn fold_farewell(&mut self, said: Farewell) -> Folded {
        let folded = changed(self.farewell.as_ref() != Some(&said));
        self.farewell = Some(said);
        folded
    }

    fn set_condition(&mut self, condition: Condition, now: Time) {
        if self.agent.condition != condition {
            self.agent.condition = condition;
            self.agent.since = now;
        }
    }
}

fn changed(changed: bool) -> Folded {
    if changed { Folded::Changed } else { Folded::Same }
}

enum Age {
    Older,
    Same,
    Newer,
    NewBoot,
}

fn age(new: &FactOrder, known: &FactOrder, boot_before: Option<&str>) -> Age {
    if new.boot_id != known.boot_id {
        return if boot_before == Some(&new.boot_id) { Age::Older } else { Age::NewBoot };
    }
    match (new.sequence, new.starts).cmp(&(known.sequence, known.starts)) {
        std::cmp::Ordering::Less => Age::Older,
        std::cmp::Ordering::Equal => Age::Same,
        std::cmp::Ordering::Greater => Age::Newer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observed::facts::{Cgroups, FACTS_VERSION, System};

    fn seen(id: &str, condition: Condition) -> AgentSeen {
        AgentSeen {
            id: id.into(),
            host: "a1".into(),
            condition,
            roles: BTreeSet::from(["*".to_owned()]),
            attributes: BTreeMap::new(),
            mesos_version: "1.1.0".into(),
            ip: None,
            room: None,
        }
    }

    fn facts(boot: &str, starts: u64, sequence: u64) -> Facts {
        Facts {
            version: FACTS_VERSION,
            order: FactOrder { boot_id: boot.into(), starts, sequence },
            machine_id: "m1".into(),
            system: System {
                os: "Debian 12".into(),
                architecture: "x86_64".into(),
                cgroups: Cgroups::V1,
            },
            docker: None,
            mesos_version: "1.1.0".into(),
            components: BTreeMap::new(),
            journal: None,
            stuck: None,
            agent_containers: 0,
            blocked: BTreeMap::new(),
            predecessor: None,
        }
    }

    fn record() -> HostRecord {
        HostRecord::new(&seen("s1", Condition::Active), Time(0))
    }

    #[test]
    fn older_facts_never_replace_newer_ones() {
        let mut record = record();
        let agent = AgentId::from("s1");
        for (boot, starts, sequence, expected) in [
            ("b1", 1, 1, Folded::Changed),
            ("b1", 1, 1, Folded::Same),
            ("b1", 1, 3, Folded::Changed),
            ("b1", 1, 2, Folded::Older),
            // Of another executor on the same host, and of the first one again.
            ("b1", 2, 3, Folded::Changed),
            ("b1", 1, 3, Folded::Older),
            ("b1", 1, 9, Folded::Changed),
            ("b1", 2, 8, Folded::Older),
            ("b2", 1, 0, Folded::Changed),
            ("b1", 3, 99, Folded::Older),
        ] {
            let folded = record.fold_facts(facts(boot, starts, sequence), &agent, Time(1));
            assert_eq!(folded, expected, "{boot} {starts} {sequence}");
        }
    }

    #[test]
    fn a_host_that_cannot_be_looked_at_is_blind_until_it_says_anything_of_itself() {
        let mut record = record();
        let agent = AgentId::from("s1");
        record.fold_facts(facts("b1", 1, 1), &agent, Time(1));
        let why = || Some("x".to_owned());
        assert_eq!(record.fold_blind(why()), Folded::Changed);
        assert_eq!(record.fold_blind(why()), Folded::Same);
        assert_eq!(record.fold_facts(facts("b1", 1, 0), &agent, Time(2)), Folded::Older);
        assert_eq!(record.blind, why());
        assert_eq!(record.fold_facts(facts("b1", 1, 1), &agent, Time(2)), Folded::Changed);
        assert_eq!(record.blind, None);
    }

    #[test]
    fn another_machine_under_one_registration_makes_the_facts_unknown() {
        let mut record = record();
        record.fold_facts(facts("b1", 1, 1), &"s1".into(), Time(1));
        let other = Facts { machine_id: "m2".into(), ..facts("b9", 1, 1) };
        assert_eq!(record.fold_facts(other.clone(), &"s1".into(), Time(2)), Folded::Changed);
        assert_eq!(record.facts(), None);
        assert_eq!(record.fold_facts(other.clone(), &"s2".into(), Time(3)), Folded::Changed);
        assert_eq!(record.facts(), Some(&other), "a new registration is a new machine");
    }

    #[test]
    fn s19_only_an_agent_that_the_master_calls_active_is_active() {
        use Condition::{Active, Deactivated, Disconnected, Draining, Unreachable};
        for (listed, expected) in [
            (Some(Active), Active),
            (Some(Disconnected), Disconnected),
            (Some(Deactivated), Deactivated),
            (Some(Draining), Draining),
            (None, Unreachable),
        ] {
            let mut record = record();
            let line = listed.map(|condition| seen("s1", condition));
            record.fold_listed(&line.iter().collect::<Vec<_>>(), Time(5));
            assert_eq!(record.agent.condition, expected);
        }
        let mut gone = record();
        gone.fold_gone(&"s1".into(), Time(5));
        gone.fold_listed(&[], Time(6));
        assert_eq!(gone.agent.condition, Condition::Gone);
    }

    #[test]
    fn a_new_master_that_waits_for_an_agent_does_not_make_its_version_unknown() {
        let mut record = record();
        let recovered =
            AgentSeen { mesos_version: String::new(), ..seen("s1", Condition::Disconnected) };
        record.fold_listed(&[&recovered], Time(2));
        assert_eq!(record.agent.condition, Condition::Disconnected);
        assert_eq!(record.agent.mesos_version, "1.1.0");
    }

    #[test]
    fn an_agent_under_a_new_id_is_the_same_host_and_two_active_ones_are_neither() {
        let mut record = record();
        record.fold_facts(facts("b1", 1, 1), &"s1".into(), Time(1));
        let new = seen("s2", Condition::Active);
        record.fold_listed(&[&new], Time(2));
        assert_eq!((record.agent.id.as_str(), record.agent.twin.as_ref()), ("s2", None));
        assert!(record.facts().is_some());
        let old = seen("s1", Condition::Active);
        record.fold_listed(&[&old, &new], Time(3));
        assert_eq!(record.agent.twin, Some("s1".into()));
    }
}
