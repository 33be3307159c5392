//! One host as the controller holds it, and the index of those that are not in sync.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::budget::slot::Slot;
use crate::desired::{HostSpec, PoolConflict};
use crate::observed::facts::FactOrder;
use crate::observed::fleet::{Condition, HostRecord, Room};
use crate::observed::tasks::{HostTasks, Seen};
use crate::plan::assess::{Assessment, HostView, assess};
use crate::plan::control::Pause;
use crate::plan::gate::{Standing, Totals};
use crate::plan::notice::Notice;
use crate::plan::order::OrderKey;
use crate::plan::order_key;
use crate::plan::progress::HostProgress;
use crate::plan::window::{Opening, opening};

use crate::words::{AgentId, Generation, HostName, Revision, TaskId, TaskKind, Time};

use super::launch::untouched;
use super::records::Rendered;

/// One host.
#[derive(Clone, Debug)]
pub(super) struct Host {
    pub record: HostRecord,
    /// When it last reported or confirmed, as far as this process knows.
    pub heard: Time,
    /// When it last reported or confirmed to this process; none before.
    pub spoke: Option<Time>,
    /// Facts that it confirms and nobody here knows, and since when it does.
    pub strange: Option<(FactOrder, Time)>,
    /// What it should be; none before anything was accepted.
    pub spec: Option<Result<Arc<HostSpec>, PoolConflict>>,
    pub tasks: HostTasks,
    /// Its slot, with the revision of the record.
    pub slot: Option<(Slot, Revision)>,
    pub progress: Option<HostProgress>,
    pub excluded: bool,
    /// An operator has paused it, beside what the documents say.
    pub paused: Option<Pause>,
    /// Its notice to the frameworks, unless that is being taken back.
    pub notice: Option<Notice>,
    /// The member of our etcd that it carries.
    pub member: Option<String>,
    /// It is to forget us once all components are off.
    pub leaves: bool,
    /// When it was told so last.
    pub told_to_leave: Time,
    /// What it is to have, as it is stored for people.
    pub rendered: Option<Rendered>,
    /// Tasks of it that have not answered the reconciliation.
    pub unanswered: BTreeSet<TaskId>,
    /// Nothing is launched before this: its last launch came to nothing.
    pub calm_until: Time,
    /// How often in a row tasks ended that nobody had told to.
    pub strikes: u32,
    /// Launches in a row that came to nothing: none of what they launched has ever run.
    pub in_vain: u32,
    /// What its agent has, where the master says it.
    pub room: Option<Room>,
    /// When maintenance of it was announced last, as far as this process knows.
    pub announced: Time,
    pub assessment: Assessment,
    /// What it stands as in the index.
    indexed: Indexed,
}

#[derive(Clone, Debug, Default)]
struct Indexed {
    standing: Option<Standing>,
    pools: Vec<String>,
    key: Option<OrderKey>,
}

impl Host {
    pub(super) fn new(record: HostRecord, now: Time) -> Self {
        Self {
            record,
            heard: now,
            spoke: None,
            strange: None,
            spec: None,
            tasks: HostTasks::default(),
            slot: None,
            progress: None,
            excluded: false,
            paused: None,
            notice: None,
            member: None,
            leaves: false,
            told_to_leave: Time(0),
            rendered: None,
            unanswered: BTreeSet::new(),
            calm_until: Time(0),
            strikes: 0,
            in_vain: 0,
            room: None,
            announced: now,
            assessment: Assessment::default(),
            indexed: Indexed::default(),
        }
    }

    pub(super) fn slot(&self) -> Option<&Slot> {
        self.slot.as_ref().map(|(slot, _)| slot)
    }

    /// What became of its attempts in this generation.
    pub(super) fn progress_in(&self, generation: Generation) -> Option<&HostProgress> {
        self.progress.as_ref().filter(|progress| progress.generation == generation)
    }

    /// What is looked at when it is assessed; none before anything was accepted.
    pub(super) fn view(&self, generation: Generation) -> Option<HostView<'_>> {
        let spec = match self.spec.as_ref()? {
            Ok(spec) => Ok(&**spec),
            Err(conflict) => Err(conflict),
        };
        Some(HostView {
            spec,
            record: &self.record,
            heard: self.heard,
            tasks: &self.tasks,
            slot: self.slot(),
            progress: self.progress_in(generation),
            excluded: self.excluded,
            paused: self.paused.as_ref(),
            notice: self.notice.as_ref(),
            member: self.member.as_deref(),
            leaves: self.leaves,
        })
    }

    /// The record of a task goes, and with it the wait for an answer about it. If it was never
    /// seen, the one whose place it was to take may still run: that is the host's again, given
    /// here, until Mesos says that it has ended.
    pub(super) fn drop_task(&mut self, kind: TaskKind) -> Option<(TaskId, AgentId)> {
        let task = self.tasks.tasks.remove(&kind)?;
        self.unanswered.remove(&task.id);
        let seen = matches!(task.seen, Seen::Starting | Seen::Running);
        let old = if seen { None } else { task.predecessor() }?;
        let found = (old.id.clone(), old.agent.clone());
        self.unanswered.insert(old.id.clone());
        self.tasks.tasks.insert(kind, old);
        Some(found)
    }

    /// An operator holds back what has not begun on it.
    pub(super) fn is_paused(&self) -> bool {
        let documents = |spec: &HostSpec| spec.rollout.paused_by.is_some();
        self.paused.is_some() || matches!(&self.spec, Some(Ok(spec)) if documents(spec))
    }

    /// Nothing may be disrupted there now: its machine is announced to be away, or its windows are
    /// closed.
    pub(super) fn is_left_in_peace(&self, now: Time) -> bool {
        let closed =
            |spec: &HostSpec| matches!(opening(&spec.rollout.windows, now), Opening::Closed { .. });
        self.record.agent.away.is_some_and(|away| !away.is_over(now))
            || matches!(&self.spec, Some(Ok(spec)) if closed(spec))
    }

    /// Nobody on it will ever say anything: its agent is gone, or it is to be left alone, or is closed to us, and
    /// has no observer any more.
    pub(super) fn is_mute(&self) -> bool {
        let agent = &self.record.agent;
        let left_out = self.excluded || agent.closed.is_some();
        let observed = self.tasks.tasks.contains_key(&TaskKind::Observer);
        agent.condition == Condition::Gone || (left_out && !observed)
    }

    /// Its place in the line, if it is there.
    pub(super) fn place(&self) -> Option<&OrderKey> {
        self.indexed.key.as_ref()
    }

    /// Whether a task can be launched on it, as far as the host itself goes.
    pub(super) fn can_launch(&self, now: Time) -> bool {
        self.record.agent.condition == Condition::Active
            && self.record.agent.twin.is_none()
            && self.unanswered.is_empty()
            && self.calm_until <= now
    }
}

/// All hosts, and an index of those that something has to happen on, so that a pass costs what
/// changed plus the candidates.
#[derive(Clone, Debug, Default)]
pub(super) struct Hosts {
    pub all: BTreeMap<HostName, Host>,
    dirty: BTreeSet<HostName>,
    /// Hosts that may take a slot, in their order.
    pub line: BTreeSet<(OrderKey, HostName)>,
    /// Hosts on which something is to be launched that takes no slot.
    pub live: BTreeSet<HostName>,
    /// Hosts that hold a slot.
    pub holders: BTreeSet<HostName>,
    /// Hosts that hold a slot or carry a change.
    pub busy: BTreeSet<HostName>,
    /// Hosts with supervising tasks that have nothing to supervise any more.
    pub ending: BTreeSet<HostName>,
    /// Hosts with tasks that have not said yet that they run.
    pub starting: BTreeSet<HostName>,
    /// Hosts whose attempts are used up.
    pub failed: BTreeSet<HostName>,
    /// Hosts that are to forget us, and have not said that they did.
    pub leaving: BTreeSet<HostName>,
    /// Hosts that are not in sync.
    pub restless: BTreeSet<HostName>,
    /// Counted as they are indexed; names are not.
    pub totals: Totals,
    /// Holders of which something has changed since slots were looked at last.
    pub attention: BTreeSet<HostName>,
    /// Hosts that were assessed anew since offers were looked at last.
    pub moved: BTreeSet<HostName>,
    /// Whether the line has changed since then.
    pub line_moved: bool,
    /// Hosts to be assessed anew when the time comes.
    timers: BTreeSet<(Time, HostName)>,
}

impl Hosts {
    pub(super) fn get(&self, name: &HostName) -> Option<&Host> {
        self.all.get(name)
    }

    /// The host, to be changed: it will be assessed anew.
    pub(super) fn touch(&mut self, name: &HostName) -> Option<&mut Host> {
        let host = self.all.get_mut(name)?;
        self.dirty.insert(name.clone());
        Some(host)
    }

    pub(super) fn touch_all(&mut self) {
        self.dirty.extend(self.all.keys().cloned());
    }

    /// The host is assessed anew at this time.
    pub(super) fn wake(&mut self, name: &HostName, at: Time) {
        self.timers.insert((at, name.clone()));
    }

    /// When the next host has to be assessed anew.
    pub(super) fn next_wake(&self) -> Option<Time> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Hosts wait for a time that is still to come, and move by themselves then.
    pub(super) fn await_a_time(&self, now: Time) -> bool {
        let waits = |name: &HostName| {
            let assessment = self.get(name).map(|host| &host.assessment);
            assessment.and_then(Assessment::waits_until).is_some_and(|until| until > now)
        };
        self.restless.iter().any(waits)
    }

    /// Everything that changed has been assessed.
    pub(super) fn is_settled(&self, now: Time) -> bool {
        self.dirty.is_empty() && self.next_wake().is_none_or(|at| at > now)
    }

    /// Marks the hosts whose time has come.
    pub(super) fn ring(&mut self, now: Time) {
        while let Some((at, name)) = self.timers.pop_first() {
            if at > now {
                self.timers.insert((at, name));
                return;
            }
            self.dirty.insert(name);
        }
    }

    pub(super) fn insert(&mut self, name: HostName, host: Host) {
        self.dirty.insert(name.clone());
        self.all.insert(name, host);
    }

    /// Assesses what changed since the last time.
    pub(super) fn reassess(
        &mut self,
        generation: Generation,
        own_host: Option<&HostName>,
        now: Time,
    ) {
        let dirty = std::mem::take(&mut self.dirty);
        for name in &dirty {
            let Some(host) = self.all.get_mut(name) else { continue };
            let Some(view) = host.view(generation) else {
                host.assessment = unguided(host);
                index_unguided(name, host, &mut self.live);
                continue;
            };
            let assessment = assess(view, now);
            let standing = Standing::of(view);
            let pools = view.spec.map(|spec| spec.pools.clone()).unwrap_or_default();
            let waits = assessment.held.is_none() && assessment.work.disruptive;
            let key = if waits { order_key(name, view, own_host) } else { None };
            let busy = host.slot.is_some() || host.tasks.carrier().is_some();
            let live = live(&assessment);
            let failed = view.progress.is_some_and(|progress| progress.failed);
            if let Some(at) = looked_at_again(&assessment, view, now) {
                self.timers.insert((at, name.clone()));
            }
            let before = std::mem::take(&mut host.indexed);
            self.totals.add(standing, &pools);
            if let Some(standing) = before.standing {
                self.totals.subtract(standing, &before.pools);
            }
            if before.key != key {
                self.line_moved = true;
                if let Some(key) = before.key {
                    self.line.remove(&(key, name.clone()));
                }
                if let Some(key) = &key {
                    self.line.insert((key.clone(), name.clone()));
                }
            }
            let holds = host.slot.is_some();
            if holds {
                self.attention.insert(name.clone());
            }
            put(&mut self.live, name, live);
            put(&mut self.holders, name, holds);
            put(&mut self.busy, name, busy);
            put(&mut self.ending, name, !assessment.work.ends.is_empty());
            put(&mut self.starting, name, starting(&host.tasks));
            put(&mut self.failed, name, failed);
            let leaving = assessment.is_about_to_leave() || host.record.stays();
            put(&mut self.leaving, name, host.leaves && leaving);
            put(&mut self.restless, name, !assessment.in_sync());
            host.indexed = Indexed { standing: Some(standing), pools, key };
            host.assessment = assessment;
        }
        self.moved.extend(dirty);
    }
}

/// When time alone changes what a host waits for. What was due before now has been seen.
fn looked_at_again(assessment: &Assessment, view: HostView<'_>, now: Time) -> Option<Time> {
    // What may begin now, in the line or under a slot, may not any more when its window closes.
    let may_begin = match assessment.held {
        Some(_) => view.slot.is_some(),
        None => assessment.work.disruptive,
    };
    let closes = || match opening(&view.spec.ok()?.rollout.windows, now) {
        Opening::Open { until } => until.filter(|_| may_begin),
        Opening::Closed { .. } => None,
    };
    assessment.waits_until().filter(|at| *at > now).or_else(closes)
}

/// Something can be launched now that takes no slot: the observer, a change that disrupts
/// nothing, or a supervisor beside steps that wait for a slot.
fn live(assessment: &Assessment) -> bool {
    let work = &assessment.work;
    let settled = assessment.lets_live_work_go_on();
    work.launches.iter().any(|kind| match kind {
        TaskKind::Observer => true,
        kind if work.carrier == Some(*kind) => settled && !work.disruptive,
        kind => settled && untouched(&work.steps, *kind),
    })
}

/// Lost tasks are not waited for: they may never come back.
fn starting(tasks: &HostTasks) -> bool {
    tasks.tasks.values().any(|task| matches!(task.seen, Seen::Nothing | Seen::Starting))
}

/// Before anything was accepted, only observers are launched.
fn unguided(host: &Host) -> Assessment {
    let mut assessment = Assessment::default();
    if !host.tasks.tasks.contains_key(&TaskKind::Observer) {
        assessment.work.launches.push(TaskKind::Observer);
    }
    assessment
}

fn index_unguided(name: &HostName, host: &Host, live: &mut BTreeSet<HostName>) {
    put(live, name, !host.assessment.work.is_empty());
}

pub(super) fn put(set: &mut BTreeSet<HostName>, name: &HostName, member: bool) {
    if member {
        set.insert(name.clone());
    } else {
        set.remove(name);
    }
}
