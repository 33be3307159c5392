//! One host: what has to change on it, and what on the host itself holds that back.
//!
//! This looks at nothing but the host, so its result is kept until something about the host
//! changes. What the fleet allows is `gate`'s.

use crate::budget::slot::{Slot, SlotState};
use crate::desired::{HostSpec, PausedBy, PoolConflict, Spec};
use crate::observed::facts::{Facts, JournalState};
use crate::observed::fleet::{Away, Condition, Farewell, HostRecord};
use crate::observed::tasks::{HostTasks, Supervised};
use crate::words::{Component, TaskKind, Time};

use super::control::Pause;
use super::notice::Notice;
use super::progress::{HostProgress, Unlaunched};
use super::reason::{Progress, Reason};
use super::step::{Step, carrier, left_alone, steps};
use super::window::{Opening, opening};

/// Facts that nobody has confirmed for so long are too old to act on, in seconds. An observer
/// confirms its facts every [`CONFIRM_SECONDS`].
pub const STALE_SECONDS: u64 = 3 * CONFIRM_SECONDS as u64;

/// Seconds between two confirmations of an observer.
pub const CONFIRM_SECONDS: u32 = 120;

/// All that is known of one host.
#[derive(Clone, Copy, Debug)]
pub struct HostView<'a> {
    /// What it should be.
    pub spec: Result<&'a HostSpec, &'a PoolConflict>,
    /// What it is.
    pub record: &'a HostRecord,
    /// When it last reported or confirmed.
    pub heard: Time,
    /// Its tasks.
    pub tasks: &'a HostTasks,
    /// Its slot.
    pub slot: Option<&'a Slot>,
    /// What became of its attempts in this generation.
    pub progress: Option<&'a HostProgress>,
    /// An operator wants it left alone.
    pub excluded: bool,
    /// An operator has paused it, beside what the documents say.
    pub paused: Option<&'a Pause>,
    /// Its notice to the frameworks, unless that is being taken back.
    pub notice: Option<&'a Notice>,
    /// The member of our etcd that it carries.
    pub member: Option<&'a str>,
    /// It is to forget us once all components are off (`teardown`).
    pub leaves: bool,
}

/// What has to happen on a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// The changes, in order.
    pub steps: Vec<Step>,
    /// The task that carries them.
    pub carrier: Option<TaskKind>,
    /// All tasks that will have to be launched, the carrier among them.
    pub launches: Vec<TaskKind>,
    /// Supervising tasks that have nothing to supervise any more.
    pub ends: Vec<TaskKind>,
    /// It takes a slot.
    pub disruptive: bool,
}

impl Work {
    /// Nothing has to happen.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.launches.is_empty() && self.ends.is_empty()
    }
}

/// What is to be said of one host without looking at the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assessment {
    /// What has to happen.
    pub work: Work,
    /// What on the host itself holds it back, or that it is under way.
    pub held: Option<Reason>,
}

impl Assessment {
    /// Nothing has to happen and nothing is under way.
    #[must_use]
    pub fn in_sync(&self) -> bool {
        self.held.is_none() && self.work.is_empty()
    }

    /// Work that disrupts nothing may go on: the host is free, the supervisors of what is in
    /// place need not wait for the slot to be given back, and maintenance and windows hold back
    /// disruptions only.
    #[must_use]
    pub fn lets_live_work_go_on(&self) -> bool {
        let disruption_only = |held: &Reason| {
            matches!(
                held,
                Reason::Verifying
                    | Reason::Maintenance(_)
                    | Reason::WaitingForWindow { .. }
                    | Reason::Unannounced { .. }
            )
        };
        self.held.as_ref().is_none_or(disruption_only)
    }

    /// All components are off, and the host has not forgotten us yet.
    #[must_use]
    pub fn is_about_to_leave(&self) -> bool {
        matches!(self.held, Some(Reason::InProgress { what: Progress::Leaving }))
    }

    /// The time that it waits for, if time alone lets it go on.
    #[must_use]
    pub fn waits_until(&self) -> Option<Time> {
        match &self.held {
            Some(
                Reason::BackingOff { until, .. }
                | Reason::Maintenance(Away { until: Some(until), .. })
                | Reason::WaitingForWindow { opens: Some(until) },
            ) => Some(*until),
            _ => None,
        }
    }

    fn held(reason: Reason) -> Self {
        Self { work: Work::default(), held: Some(reason) }
    }
}

/// Assesses one host.
#[must_use]
pub fn assess(host: HostView<'_>, now: Time) -> Assessment {
    if host.record.agent.condition == Condition::Gone {
        return Assessment::held(Reason::Gone);
    }
    if host.leaves && host.record.has_left() {
        return Assessment::default();
    }
    let spec = match host.spec {
        Ok(spec) => spec,
        Err(conflict) => return Assessment::held(Reason::Blocked { why: conflict.to_string() }),
    };
    let Some(facts) = host.record.facts() else { return without_facts(host) };
    let (steps, unasked) = steps(spec, facts);
    let work = work(spec, host, steps);
    let held = lost_with_slot(host)
        .or_else(|| under_way(host, facts, &work, now))
        .or_else(|| unreachable(host))
        .or_else(|| unlaunched(host, now).filter(|_| !(work.launches.is_empty() || given_up(host))))
        // Nothing is launched where we are to leave everything alone, so that nobody reports either.
        .or_else(|| {
            let unseen = blind(host).or_else(|| stale(host, now));
            unseen.map(|unseen| excluded(host).unwrap_or(unseen))
        })
        .or_else(|| {
            // From here on only hosts that are out of sync are held.
            if work.is_empty() && unasked == 0 {
                return None;
            }
            excluded(host)
                .or_else(|| closed(host, &work))
                .or_else(|| blocked(host, facts, &work))
                .or_else(|| refused(host, now))
                .or_else(|| failed(host, now))
                .or_else(|| paused(host))
                .or_else(|| undisturbed(host, now).filter(|_| work.disruptive))
                .or_else(|| kept_out(host).filter(|_| work.disruptive))
                .or_else(|| asked_too_early(unasked, &work))
        })
        .or_else(|| leaving(host, spec).filter(|_| work.is_empty()));
    Assessment { work, held }
}

fn without_facts(host: HostView<'_>) -> Assessment {
    let mut work = Work::default();
    let observed = host.tasks.tasks.contains_key(&TaskKind::Observer);
    if !observed {
        work.launches.push(TaskKind::Observer);
    }
    let why = match &host.record.other_machine {
        Some(machine) => format!(
            "another machine ({machine}) reports under this name; find out which is the right one"
        ),
        None if observed => "its observer has not reported yet".to_owned(),
        None if let Some(vain) = vain(host) => format!("its observer does not start: {}", vain.why),
        None => match super::wants_offer(host) {
            Reason::WaitingForOffer { why: None } => "its observer has not reported yet".to_owned(),
            waits => format!("its observer cannot be launched: {waits}"),
        },
    };
    let held = unreachable(host)
        .or_else(|| excluded(host))
        .or_else(|| closed(host, &work))
        .or_else(|| blind(host).filter(|_| observed && host.record.other_machine.is_none()))
        .unwrap_or(Reason::Unknown { why });
    Assessment { work, held: Some(held) }
}

fn work(spec: &HostSpec, host: HostView<'_>, steps: Vec<Step>) -> Work {
    let tasks = &host.tasks.tasks;
    let carrier = carrier(&steps);
    let mut launches = Vec::new();
    let mut ends = Vec::new();
    if !tasks.contains_key(&TaskKind::Observer) {
        launches.push(TaskKind::Observer);
    }
    if carrier == Some(TaskKind::Change) {
        launches.push(TaskKind::Change);
    }
    for component in Component::ALL {
        let Some(kind) = component.supervisor() else { continue };
        let wanted = spec.components.get(&component).filter(|wanted| wanted.spec != Spec::Off);
        let task = tasks.get(&kind);
        match (wanted, task) {
            (Some(wanted), task) => {
                let supervises =
                    task.is_some_and(|task| task.supervised == Some(Supervised::from(wanted)));
                if !supervises || carrier == Some(kind) {
                    launches.push(kind);
                }
            }
            (None, Some(_)) => ends.push(kind),
            (None, None) => {}
        }
    }
    let needs_slot = host.progress.is_some_and(|progress| progress.needs_slot);
    let disruptive =
        !steps.is_empty() && (needs_slot || steps.iter().any(|step| step.disruption.takes_slot()));
    Work { steps, carrier, launches, ends, disruptive }
}

/// Whether an attempt is under way: the host holds a slot, or a task carries a change.
fn under_way(host: HostView<'_>, facts: &Facts, work: &Work, now: Time) -> Option<Reason> {
    let carried = host.tasks.carrier().and_then(|(_, task)| task.attempt);
    let attempt = host.slot.map(|slot| slot.attempt).or(carried)?;
    let journal = facts.journal.as_ref().filter(|journal| journal.attempt == attempt);
    let open = journal.is_some_and(|journal| journal.state == JournalState::Open);
    let reserved = host.slot.is_some_and(|slot| slot.state == SlotState::Reserved);
    if carried.is_none() {
        let progress = host.progress;
        if let Some(progress) = progress.filter(|progress| progress.failed) {
            return Some(Reason::Failed { why: progress.why.clone() });
        }
        if let Some(held) = unlaunched(host, now) {
            return Some(held);
        }
        let has_failed = progress.is_some_and(|progress| progress.failures > 0);
        let is_over = !open && !journal.is_some_and(|it| it.state == JournalState::Done);
        // Failed or not, as after `retry`, and for a new target: the next attempt is due.
        if is_over && (has_failed || !reserved) {
            let until = progress.map_or(Time(0), |progress| progress.retry_at);
            let held = paused(host).or_else(|| undisturbed(host, now)).filter(|_| until <= now);
            let why = progress.map(|progress| progress.why.clone()).unwrap_or_default();
            return held.or(Some(Reason::BackingOff { until, why }));
        }
    }
    let stuck = facts.stuck.as_ref().filter(|_| open).or(host.record.blind.as_ref());
    if let Some(why) = stuck {
        return Some(Reason::InProgress { what: Progress::Stuck { why: why.clone() } });
    }
    Some(match host.slot {
        None => Reason::InProgress { what: Progress::ChangingLive },
        Some(_) if reserved => Reason::InProgress { what: Progress::Ordered },
        Some(_) if open && work.steps.is_empty() => Reason::Verifying,
        Some(_) => Reason::InProgress { what: Progress::Changing },
    })
}

/// Nobody knows how far a host is that was cut off while it held a slot. One whose agent is not
/// connected restarts it, as a rule.
fn lost_with_slot(host: HostView<'_>) -> Option<Reason> {
    let agent = &host.record.agent;
    let lost = host.slot.is_some() && agent.condition == Condition::Unreachable && !given_up(host);
    lost.then_some(Reason::Unreachable {
        how: "its agent is not on the master's list; it keeps its slot until it is back, or \
              MARK_AGENT_GONE in Mesos says that it never will be",
        since: agent.since,
    })
}

fn unreachable(host: HostView<'_>) -> Option<Reason> {
    let agent = &host.record.agent;
    if let Some(twin) = &agent.twin {
        let why = format!(
            "two active agents carry this hostname ({} and {twin}); give one another `--hostname`",
            agent.id
        );
        return Some(Reason::Blocked { why });
    }
    let since = agent.since;
    match agent.condition {
        Condition::Active => None,
        Condition::Gone => Some(Reason::Gone),
        Condition::Unreachable => {
            Some(Reason::Unreachable { how: "its agent is not on the master's list", since })
        }
        Condition::Disconnected => {
            Some(Reason::Unreachable { how: "its agent is not connected to the master", since })
        }
        Condition::Deactivated => {
            let why = "an operator has deactivated its agent in Mesos; REACTIVATE_AGENT ends it";
            Some(Reason::Blocked { why: why.to_owned() })
        }
        Condition::Draining => {
            let why = "an operator drains its agent in Mesos, which ends all that runs there; \
                       REACTIVATE_AGENT takes it back into use once it is drained";
            Some(Reason::Blocked { why: why.to_owned() })
        }
    }
}

/// What is known of a host that cannot be looked at is not known to be so any more.
fn blind(host: HostView<'_>) -> Option<Reason> {
    let why = host.record.blind.as_ref()?;
    Some(Reason::Unknown { why: format!("it cannot be looked at: {why}") })
}

fn stale(host: HostView<'_>, now: Time) -> Option<Reason> {
    let age = now.since(host.heard) / 1000;
    (age > STALE_SECONDS).then(|| Reason::Unknown {
        why: match vain(host) {
            Some(vain) => format!("its observer does not start: {}", vain.why),
            None => format!("its observer has been silent for {} minutes", age / 60),
        },
    })
}

fn excluded(host: HostView<'_>) -> Option<Reason> {
    host.excluded.then_some(Reason::Excluded)
}

/// Nothing can be launched where nothing is offered to us.
fn closed(host: HostView<'_>, work: &Work) -> Option<Reason> {
    let why = host.record.agent.closed.as_ref().filter(|_| !work.launches.is_empty())?;
    Some(Reason::Blocked { why: why.clone() })
}

fn blocked(host: HostView<'_>, facts: &Facts, work: &Work) -> Option<Reason> {
    let wanted = |step: &Step| host.spec.ok()?.components.get(&step.component);
    let blocked = |step: &Step| {
        let known = facts.blocked.get(&step.component).cloned();
        known.or_else(|| left_alone(wanted(step)?, facts))
    };
    work.steps.iter().find_map(blocked).map(|why| Reason::Blocked { why })
}

/// Its attempts have failed, and an operator is asked for.
fn given_up(host: HostView<'_>) -> bool {
    host.progress.is_some_and(|progress| progress.failed)
}

/// Launches on it came to nothing; the next one waits.
fn unlaunched(host: HostView<'_>, now: Time) -> Option<Reason> {
    let vain = vain(host).filter(|vain| vain.again_at > now)?;
    Some(Reason::BackingOff { until: vain.again_at, why: vain.why.clone() })
}

fn vain(host: HostView<'_>) -> Option<&Unlaunched> {
    host.progress?.unlaunched.as_ref()
}

/// What only the host can see, such as who holds a port. It is asked again after a while.
fn refused(host: HostView<'_>, now: Time) -> Option<Reason> {
    let progress = host.progress.filter(|progress| progress.retry_at > now && !progress.failed)?;
    progress.refused.clone().map(|why| Reason::Blocked { why })
}

fn failed(host: HostView<'_>, now: Time) -> Option<Reason> {
    let progress = host.progress?;
    if progress.failed {
        return Some(Reason::Failed { why: progress.why.clone() });
    }
    (progress.retry_at > now)
        .then(|| Reason::BackingOff { until: progress.retry_at, why: progress.why.clone() })
}

/// Whether an operator holds back what has not begun.
#[must_use]
pub fn paused(host: HostView<'_>) -> Option<Reason> {
    if let Some(pause) = host.paused {
        return Some(Reason::Paused { by: pause.to_string(), since: Some(pause.ask.at) });
    }
    let by = host.spec.ok()?.rollout.paused_by.as_ref()?;
    let by = match by {
        PausedBy::Cluster => "the Cluster's rollout.paused".to_owned(),
        PausedBy::Pool(pool) => format!("rollout.paused of pool `{pool}`"),
    };
    Some(Reason::Paused { by, since: None })
}

/// Whether its machine is announced to be away, and is not back yet.
#[must_use]
pub fn maintained(host: HostView<'_>, now: Time) -> Option<Reason> {
    host.record.agent.away.filter(|away| !away.is_over(now)).map(Reason::Maintenance)
}

/// What holds back every disruption of a host now: maintenance of its machine, or its windows.
#[must_use]
pub fn undisturbed(host: HostView<'_>, now: Time) -> Option<Reason> {
    maintained(host, now).or_else(|| match opening(&host.spec.ok()?.rollout.windows, now) {
        Opening::Open { .. } => None,
        Opening::Closed { until } => Some(Reason::WaitingForWindow { opens: until }),
    })
}

/// A host that cannot be announced leaves the line, so that the others go on.
fn kept_out(host: HostView<'_>) -> Option<Reason> {
    host.notice.filter(|notice| notice.kept_out)?;
    let why = "maintenance of its machine that is over is still in Mesos' schedule; take it off";
    Some(Reason::Unannounced { why: Some(why.to_owned()) })
}

/// What is left to be done where all components are off. One that is in sync with another spec is
/// not: the documents that take everything off are not in force yet.
fn leaving(host: HostView<'_>, spec: &HostSpec) -> Option<Reason> {
    let off = |component| spec.components.get(&component).is_some_and(|it| it.spec == Spec::Off);
    if !host.leaves || !Component::ALL.into_iter().all(off) {
        return None;
    }
    Some(match &host.record.farewell {
        Some(Farewell::Stays { why }) => {
            Reason::Blocked { why: format!("what is ours there cannot be removed: {why}") }
        }
        Some(Farewell::Left { .. }) | None => Reason::InProgress { what: Progress::Leaving },
    })
}

fn asked_too_early(unasked: usize, work: &Work) -> Option<Reason> {
    (unasked > 0 && work.is_empty())
        .then(|| Reason::Unknown { why: "a component has not yet said how it is".to_owned() })
}
