//! Launches: which tasks of a host can be launched now, and how that is carried out.

use std::collections::BTreeSet;

use crate::desired::HostSpec;
use crate::mesos::v1::scheduler::Call;
use crate::observed::tasks::{Supervised, TaskRecord};
use crate::plan::gate::Phase;
use crate::words::{Attempt, HostName, TaskId, TaskKind, Time};

use super::event::Effect;
use super::launch::{Desk, Launch, Order, change, cut, kill, order, runs, untouched};
use super::ledger::After;
use super::{Controller, Launching};

impl Controller {
    /// Whether work that takes no slot may be done on a host now.
    pub(super) fn may_move(&self, name: &HostName, now: Time) -> bool {
        let Some(host) = self.hosts.get(name) else { return false };
        matches!(host.spec, Some(Ok(_)))
            && host.assessment.lets_live_work_go_on()
            && host.can_launch(now)
            && self.phase() == Phase::Running
    }

    /// Launches observers and supervising tasks.
    pub(super) fn start_live(&mut self, now: Time) {
        for name in self.hosts.ending.clone() {
            if self.may_move(&name, now) {
                self.end_tasks(&name, now);
            }
        }
        for name in self.wants.ready.clone() {
            let Some(host) = self.hosts.get(&name) else { continue };
            if !host.can_launch(now) || host.excluded || self.launching.contains_key(&name) {
                continue;
            }
            let may_move = self.may_move(&name, now);
            let work = host.assessment.work.clone();
            let carrier = work.carrier;
            let launches: Vec<TaskKind> = work
                .launches
                .iter()
                .copied()
                .filter(|kind| match kind {
                    TaskKind::Observer => true,
                    TaskKind::Change => false,
                    kind => may_move && Some(*kind) != carrier && untouched(&work.steps, *kind),
                })
                .collect();
            if !launches.is_empty() {
                self.launch_supervisors(&name, &launches, now);
            }
        }
    }

    fn end_tasks(&mut self, name: &HostName, now: Time) {
        let Some(host) = self.hosts.touch(name) else { return };
        let ends = host.assessment.work.ends.clone();
        let tasks = ends.iter().filter_map(|kind| host.tasks.tasks.get(kind));
        let kills: Vec<Call> = tasks.map(|task| kill(&task.id, &task.agent)).collect();
        // Again if nothing comes of it.
        host.calm_until = now.plus_secs(5);
        let again = host.calm_until;
        self.hosts.wake(name, again);
        self.effects.extend(kills.into_iter().map(|call| Effect::Call(Box::new(call))));
    }

    fn launch_supervisors(&mut self, name: &HostName, kinds: &[TaskKind], now: Time) {
        let Some(host) = self.hosts.get(name) else { return };
        let spec = host.spec.clone().and_then(Result::ok);
        let agent = host.record.agent.id.clone();
        let running = host.tasks.clone();
        let mut orders = Vec::new();
        for kind in kinds {
            let id = self.task_id(*kind, name);
            let replaces = running.tasks.get(kind).map(|task| task.id.clone());
            let Some(desk) = self.desk(now) else { return };
            orders.extend(order(desk, *kind, id, &agent, spec.as_deref(), None, replaces));
        }
        if let Some(launch) = self.cut_from_offer(name, &orders, now) {
            self.put_tasks(name);
            self.ledger.after(After::Launch(Box::new(launch)));
        }
    }

    /// The launch of a host's steps, with the task that carries them.
    pub(super) fn carrier_launch(
        &mut self,
        name: &HostName,
        spec: &HostSpec,
        attempt: Attempt,
        may_disrupt: bool,
        now: Time,
    ) -> Option<Launch> {
        let host = self.hosts.get(name)?;
        let work = host.assessment.work.clone();
        // Without steps the host has only to say that all is well: a slot is given back for it.
        let kind = work.carrier.unwrap_or(TaskKind::Change);
        let agent = host.record.agent.id.clone();
        let replaces = host.tasks.tasks.get(&kind).map(|task| task.id.clone());
        let id = self.task_id(kind, name);
        let desk = self.desk(now)?;
        let change = change(desk, attempt, may_disrupt, &work.steps, spec);
        let order = order(desk, kind, id, &agent, Some(spec), Some(change), replaces)?;
        self.cut_from_offer(name, &[order], now)
    }

    /// The tasks of a host that run in executors of other programs and are to go on as they are. They take
    /// their places in that of this program with whatever is launched there next, so that an upgrade of ours
    /// launches nothing by itself and yet leaves no executor behind. The observer comes first.
    fn moved_along(&mut self, name: &HostName, orders: &[Order], now: Time) -> Vec<Order> {
        let Some(host) = self.hosts.get(name) else { return Vec::new() };
        let (agent, spec) = (host.record.agent.id.clone(), host.spec.clone().and_then(Result::ok));
        let ours = Some(self.config.delivery.digest);
        let goes_on = |kind: TaskKind, task: &TaskRecord| {
            let wanted = || spec.as_ref()?.components.get(&kind.component()?).map(Supervised::from);
            let as_it_is = kind == TaskKind::Observer || task.supervised == wanted();
            as_it_is && task.attempt.is_none() && kind != TaskKind::Change
        };
        let tasks = host.tasks.tasks.iter().filter(|(kind, task)| {
            let ordered = orders.iter().any(|order| order.kind == **kind);
            !ordered && task.program != ours && goes_on(**kind, task)
        });
        let tasks: Vec<_> = tasks.map(|(kind, task)| (*kind, task.id.clone())).collect();
        let mut moved = Vec::with_capacity(tasks.len());
        for (kind, old) in tasks {
            let id = self.task_id(kind, name);
            let Some(desk) = self.desk(now) else { break };
            moved.extend(order(desk, kind, id, &agent, spec.as_deref(), None, Some(old)));
        }
        moved
    }

    /// Finds an offer for the orders, and for as many of those that move along as it has room for; promises
    /// it, and writes the tasks down in memory.
    fn cut_from_offer(&mut self, name: &HostName, orders: &[Order], now: Time) -> Option<Launch> {
        let host = self.hosts.get(name)?;
        let kinds: BTreeSet<TaskKind> = orders.iter().map(|order| order.kind).collect();
        let more = host.assessment.work.launches.iter().any(|kind| !kinds.contains(kind));
        // What an observer reports first is most likely work.
        let more = more || kinds.contains(&TaskKind::Observer);
        let refuse = if more || !host.assessment.work.steps.is_empty() { 0.0 } else { 3600.0 };
        let all = [orders.to_vec(), self.moved_along(name, orders, now)].concat();
        let desk = self.desk(now)?;
        let runs = runs(desk.delivery, self.hosts.get(name)?);
        let mut lacking = None;
        let mut found = None;
        'sets: for count in (orders.len()..=all.len()).rev() {
            for offer in self.offers.of(name) {
                match cut(desk, name, offer, &all[..count], refuse, runs) {
                    Ok(launch) => {
                        found = Some((launch, &all[..count]));
                        break 'sets;
                    }
                    Err(what) => lacking = Some(what),
                }
            }
        }
        self.say_lacking(name, if found.is_some() { None } else { lacking }, now);
        let (launch, orders) = found?;
        self.offers.promise(&launch.offer);
        let host = self.hosts.touch(name)?;
        for order in orders {
            if let Some(old) = host.tasks.tasks.insert(order.kind, order.record.clone()) {
                self.task_index.remove(&old.id);
            }
            self.task_index.insert(order.record.id.clone(), (name.clone(), order.kind));
        }
        Some(launch)
    }

    pub(super) fn say_lacking(&mut self, name: &HostName, lacking: Option<String>, now: Time) {
        let known = self.hosts.get(name).and_then(|host| host.progress.as_ref());
        if known.and_then(|progress| progress.lacking.as_ref()) != lacking.as_ref() {
            self.progress(name, now, |progress| progress.lacking = lacking);
        }
    }

    /// Carries a committed launch out, or waits for the tasks whose place it takes.
    pub(super) fn launch(&mut self, launch: Launch, now: Time) {
        if !self.offers.is_held(&launch.offer) {
            // Rescinded meanwhile. The task was never sent, and its record says so.
            self.unlaunched(&launch, now);
            return;
        }
        if launch.waits_for.is_empty() {
            self.offers.used(&launch.offer, launch.refuse_seconds, now);
            self.effects.push(Effect::Call(Box::new(launch.accept())));
            return;
        }
        if !self.launching.contains_key(&launch.host) {
            let kills = launch.kills().map(|call| Effect::Call(Box::new(call)));
            self.effects.extend(kills.collect::<Vec<_>>());
        }
        let again = now.plus_secs(5);
        self.launching.insert(launch.host.clone(), Launching { launch, again });
    }

    fn unlaunched(&mut self, launch: &Launch, now: Time) {
        for task in &launch.tasks {
            let Some((name, kind)) = self.task_index.get(&task.task_id).cloned() else { continue };
            self.drop_task(&name, kind, now);
        }
    }

    fn task_id(&mut self, kind: TaskKind, name: &HostName) -> TaskId {
        self.tasks_made += 1;
        let leader = self.leading.map_or(0, |created| created.0);
        TaskId(format!("{kind}.{name}.{leader}-{}", self.tasks_made))
    }

    fn desk(&self, now: Time) -> Option<Desk<'_>> {
        Some(Desk {
            delivery: &self.config.delivery,
            framework: self.framework.as_ref()?,
            generation: self.desire.generation(),
            stability_seconds: self.rollout().map_or(0, |rollout| rollout.stability_seconds),
            now,
        })
    }
}
