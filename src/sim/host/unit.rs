//! The transient units of a host, each a `job::Runner`, and the time that their commands take.

use std::collections::VecDeque;

use super::HostModel;
use super::machine::Reach;
use crate::job::journal::Journal;
use crate::job::order::StepOrder;
use crate::job::runner::{Answer, Command, Runner};
use crate::job::{executor, runner};
use crate::sim::run::plant::Plant;
use crate::sim::wire::HostSignal;
use crate::words::{Attempt, Component, Run, Time};

/// Units that were started and have not ended.
#[derive(Clone, Debug, Default)]
pub(super) struct Units {
    /// The one that has the host's lock.
    active: Option<Unit>,
    /// Those that wait for it.
    waiting: VecDeque<(Attempt, Run)>,
}

#[derive(Clone, Debug)]
struct Unit {
    runner: Runner,
    attempt: Attempt,
    run: Run,
    busy: Busy,
    /// How long each of its stops takes; known from its first.
    stop_ms: Option<u64>,
    /// It has carried a step out twice, as a planted fault.
    repeated: bool,
}

/// What takes until when.
#[derive(Clone, Debug)]
struct Busy {
    until: Time,
    with: Doing,
}

#[derive(Clone, Debug)]
enum Doing {
    Probe,
    Apply { step: StepOrder, stops: bool },
    Undo { step: StepOrder },
}

impl Units {
    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.active.as_ref().map(|unit| unit.busy.until)
    }
}

impl HostModel {
    /// systemd starts a unit, unless one for this attempt runs.
    pub(super) fn start_unit(&mut self, now: Time, attempt: Attempt, run: Run) {
        let active = self.units.active.as_ref().map(|unit| unit.attempt);
        let mut waiting = self.units.waiting.iter().map(|(attempt, _)| *attempt);
        if active == Some(attempt) || waiting.any(|waiting| waiting == attempt) {
            return;
        }
        self.units.waiting.push_back((attempt, run));
        self.next_unit(now);
    }

    /// The power is cut: what the active unit was writing is on disk when the machine boots.
    pub(super) fn cut_units(&mut self) {
        match std::mem::take(&mut self.units).active {
            Some(Unit { busy: Busy { with: Doing::Apply { step, .. }, .. }, .. }) => {
                self.machine.put_in_force(&step);
            }
            Some(Unit { attempt, busy: Busy { with: Doing::Undo { step }, .. }, .. }) => {
                self.machine.put_back(step.component, attempt);
            }
            _ => {}
        }
    }

    /// Whoever waits longest gets the lock.
    fn next_unit(&mut self, now: Time) {
        while self.units.active.is_none()
            && let Some((attempt, run)) = self.units.waiting.pop_front()
        {
            let (runner, first) = Runner::start(attempt, run.clone());
            let busy = Busy { until: now, with: Doing::Probe };
            let unit = Unit { runner, attempt, run, busy, stop_ms: None, repeated: false };
            self.obey(now, unit, first);
        }
    }

    /// What the active unit was busy with is over.
    pub(super) fn unit_due(&mut self, now: Time) {
        let Some(mut unit) = self.units.active.take_if(|unit| unit.busy.until <= now) else {
            return;
        };
        let did = match unit.busy.with.clone() {
            Doing::Probe => self.probe(),
            Doing::Apply { step, stops: true }
                if self.plant == Some(Plant::StepsTwice) && !unit.repeated =>
            {
                unit.repeated = true;
                self.apply(now, unit, step);
                return;
            }
            Doing::Apply { step, stops } => self.applied(&step, stops),
            Doing::Undo { step } => {
                self.machine.put_back(step.component, unit.attempt);
                Ok(())
            }
        };
        let command = unit.runner.handle(self.uptime(now), Answer::Did(did));
        self.obey(now, unit, command);
        self.next_unit(now);
    }

    /// Carries out commands until one takes time.
    fn obey(&mut self, now: Time, mut unit: Unit, mut command: Command) {
        loop {
            let answer = match command {
                Command::Lock => Answer::Locked(self.machine.journal.clone()),
                Command::Check(step) => Answer::Found(self.machine.look(&step)),
                Command::ArmBootUnit => {
                    self.machine.boot_unit_armed = true;
                    Answer::Did(Ok(()))
                }
                Command::Write(journal) => {
                    self.write_by_unit(now, journal);
                    Answer::Did(Ok(()))
                }
                Command::Verify(_) => Answer::Did(Ok(())),
                Command::Probe(at) if self.time_of(at) <= now => Answer::Did(self.probe()),
                Command::Probe(at) => {
                    unit.busy = Busy { until: self.time_of(at), with: Doing::Probe };
                    self.units.active = Some(unit);
                    return;
                }
                Command::Apply(step) => {
                    self.apply(now, unit, step);
                    return;
                }
                Command::Undo(step) => {
                    self.undo(now, unit, step);
                    return;
                }
                Command::Exit(outcome) => {
                    if outcome == runner::Outcome::Closed {
                        self.machine.boot_unit_armed = false;
                    }
                    self.inbox.push_back(executor::Input::UnitEnded);
                    return;
                }
            };
            command = unit.runner.handle(self.uptime(now), answer);
        }
    }

    fn write_by_unit(&mut self, now: Time, journal: Journal) {
        if !journal.is_open() {
            self.witness.closed(now);
        }
        self.machine.journal = Some(journal.clone());
        self.inbox.push_back(executor::Input::JournalSeen(journal));
    }

    fn probe(&self) -> Result<(), String> {
        match &self.machine.journal {
            Some(journal) => self.machine.health(&journal.change),
            None => Ok(()),
        }
    }

    /// Begins a step. What is stopped is down until the step is over.
    fn apply(&mut self, now: Time, mut unit: Unit, step: StepOrder) {
        self.machine.keep(step.component, unit.attempt);
        let stops = self.machine.reach(step.component, &step.target) == Reach::Stops;
        let mut until = now.plus_ms(self.config.step_ms);
        if stops {
            let stop_ms = *unit.stop_ms.get_or_insert_with(|| self.share_of_restart());
            until = now.plus_ms(stop_ms);
            let hash = Some(step.target.hash);
            self.witness.stopped(now, (unit.attempt, &unit.run), step.component, hash);
            self.stop(now, step.component, stop_ms);
        } else {
            self.witness.changed(step.component, step.target.hash);
        }
        unit.busy = Busy { until, with: Doing::Apply { step, stops } };
        self.units.active = Some(unit);
    }

    fn applied(&mut self, step: &StepOrder, stops: bool) -> Result<(), String> {
        if stops && let Some(why) = self.failures.next() {
            self.witness.fault();
            self.machine.service_mut(step.component).ill = Some(why.clone());
            return Err(format!("{}: {why}", step.component));
        }
        self.machine.put_in_force(step);
        Ok(())
    }

    /// Puts a step back, which stops the service again if it had been stopped for it.
    fn undo(&mut self, now: Time, mut unit: Unit, step: StepOrder) {
        let stops = self.witness.has_stopped(unit.attempt, step.component);
        let mut until = now.plus_ms(self.config.step_ms);
        if stops {
            let stop_ms = *unit.stop_ms.get_or_insert_with(|| self.share_of_restart());
            until = now.plus_ms(stop_ms);
            self.witness.stopped(now, (unit.attempt, &unit.run), step.component, None);
            self.stop(now, step.component, stop_ms);
        }
        unit.busy = Busy { until, with: Doing::Undo { step } };
        self.units.active = Some(unit);
    }

    /// A restart as configured covers all that a change stops: each stop takes an equal share.
    fn share_of_restart(&self) -> u64 {
        let Some(journal) = &self.machine.journal else {
            return self.config.restart_ms;
        };
        let stops = |step: &&StepOrder| {
            self.machine.look(step) == crate::job::Finding::Ready { disrupts: true }
        };
        let stops = journal.change.steps.iter().filter(stops).count().max(1);
        self.config.restart_ms / u64::try_from(stops).unwrap_or(1)
    }

    /// The service is down for `stop_ms`. The agent's process is back before that, by the time
    /// that it takes to re-register.
    fn stop(&mut self, now: Time, component: Component, stop_ms: u64) {
        self.machine.service_mut(component).ill = Some("restarting".to_owned());
        if component == Component::MesosAgent {
            let down = stop_ms.saturating_sub(self.config.reregister_ms).max(stop_ms / 20).max(1);
            self.agent_back_at = Some(now.plus_ms(down));
            self.signal(HostSignal::AgentStopped);
        }
    }
}
