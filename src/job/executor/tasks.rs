//! What the executor runs: taking tasks and ending them.

use super::{ASK_EVERY_MS, ASK_FOR_MS, Effect, Executor};
use crate::job::Uptime;
use crate::job::journal::Journal;
use crate::job::order::{Change, Ending, FromHost, Job, Letter, Unreadable, Work};
use crate::words::{TaskId, TaskKind, TaskPhase};

/// A task that has not ended.
#[derive(Clone, Debug)]
pub(super) struct Task {
    pub id: TaskId,
    pub kind: TaskKind,
    pub role: Role,
}

#[derive(Clone, Debug)]
pub(super) enum Role {
    Observer(Observer),
    /// Holds the component's resources. What it supervises runs outside and needs nobody.
    Supervisor,
    Carrier(Box<Carrier>),
}

#[derive(Clone, Debug)]
pub(super) struct Observer {
    pub confirm_ms: u64,
    pub next: Uptime,
    pub owes: Owes,
}

/// What an observer says when the next facts are in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owes {
    /// All of them: it has just started.
    Report,
    /// At least that they still hold.
    Confirmation,
    /// Nothing, unless they have changed.
    Nothing,
}

/// A task that carries a change.
#[derive(Clone, Debug)]
pub(super) struct Carrier {
    pub change: Change,
    pub progress: Progress,
    /// Mesos wants it ended; a journal that is open is waited for.
    pub killed: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Progress {
    Queued,
    Inspecting,
    Asking {
        again_at: Uptime,
        until: Uptime,
    },
    /// The journal is on its way to the disk.
    Opening(Journal),
    /// The journal is open and its unit at work.
    Working,
    /// It is over; the update waits for the facts right afterwards.
    Ended(Ending),
}

impl Carrier {
    /// Nothing on the host has begun for it.
    pub(super) fn can_be_dropped(&self) -> bool {
        matches!(self.progress, Progress::Queued | Progress::Inspecting | Progress::Asking { .. })
    }

    /// It is the one change that the executor is busy with.
    pub(super) fn is_current(&self) -> bool {
        !matches!(self.progress, Progress::Queued | Progress::Ended(_))
    }

    pub(super) fn ask(&mut self, now: Uptime) {
        self.progress = Progress::Asking { again_at: now, until: now.plus_ms(ASK_FOR_MS) };
    }

    /// Whether the question is to be sent now; it is then due again a second later.
    pub(super) fn question_due(&mut self, now: Uptime) -> bool {
        match &mut self.progress {
            Progress::Asking { again_at, .. } if *again_at <= now => {
                *again_at = now.plus_ms(ASK_EVERY_MS);
                true
            }
            _ => false,
        }
    }
}

impl Task {
    pub(super) fn carrier(&self) -> Option<&Carrier> {
        match &self.role {
            Role::Carrier(carrier) => Some(carrier),
            _ => None,
        }
    }

    pub(super) fn carrier_mut(&mut self) -> Option<&mut Carrier> {
        match &mut self.role {
            Role::Carrier(carrier) => Some(carrier),
            _ => None,
        }
    }

    pub(super) fn next_wake(&self) -> Option<Uptime> {
        match &self.role {
            Role::Observer(observer) => Some(observer.next),
            Role::Supervisor => None,
            Role::Carrier(carrier) => match carrier.progress {
                Progress::Asking { again_at, until } => Some(again_at.min(until)),
                _ => None,
            },
        }
    }
}

pub(super) fn update(
    task: &TaskId,
    state: TaskPhase,
    message: Option<String>,
    data: Option<FromHost>,
) -> Effect {
    Effect::Update { task: task.clone(), state, message, data }
}

impl Executor {
    /// STARTING goes out before anything else: a task without any update is lost when the agent
    /// restarts. A task that is delivered twice is taken once.
    pub(super) fn launch(
        &mut self,
        now: Uptime,
        id: TaskId,
        data: &[u8],
        effects: &mut Vec<Effect>,
    ) {
        if self.tasks.iter().any(|task| task.id == id) {
            return;
        }
        effects.push(update(&id, TaskPhase::Starting, None, None));
        let (kind, work) = match self.read_job(data) {
            Ok(read) => read,
            Err(why) => {
                effects.push(update(&id, TaskPhase::Failed, Some(why), None));
                return;
            }
        };
        let twin = self.tasks.iter().find(|task| task.kind == kind && kind != TaskKind::Change);
        let refused = twin.map(|twin| format!("task {} of this kind has not ended", twin.id));
        let role = match (work, refused) {
            (Work::Change(change) | Work::Supervise { change: Some(change), .. }, refused) => {
                let progress = match refused {
                    Some(why) => Progress::Ended(Ending::Refused { why }),
                    None => Progress::Queued,
                };
                self.survey |= matches!(progress, Progress::Ended(_));
                Role::Carrier(Box::new(Carrier { change, progress, killed: false }))
            }
            (_, Some(why)) => {
                effects.push(update(&id, TaskPhase::Failed, Some(why), None));
                return;
            }
            (Work::Observe { confirm_seconds }, None) => {
                let confirm_ms = u64::from(confirm_seconds.max(1)) * 1000;
                self.survey = true;
                let next = now.plus_ms(confirm_ms);
                Role::Observer(Observer { confirm_ms, next, owes: Owes::Report })
            }
            (Work::Supervise { change: None, .. }, None) => {
                effects.push(update(&id, TaskPhase::Running, None, None));
                Role::Supervisor
            }
        };
        self.tasks.push(Task { id, kind, role });
    }

    fn read_job(&self, data: &[u8]) -> Result<(TaskKind, Work), String> {
        let job = Job::from_bytes(data).map_err(|error| match error {
            // The source is all that says what is wrong; the update is the only place for it.
            Unreadable::Malformed(source) => format!("the job cannot be read: {source}"),
            error @ Unreadable::OtherVersion { .. } => format!("the job cannot be read: {error}"),
        })?;
        if job.host != self.identity.host {
            return Err(format!("the job is for {}, this is {}", job.host, self.identity.host));
        }
        if self.leaving {
            return Err("all of ours is being removed from this host".to_owned());
        }
        let kind = job.work.kind().ok_or("the component has no supervising task")?;
        Ok((kind, job.work))
    }

    /// Ends a task. What it supervises runs on; a change whose journal is open goes on to its
    /// end, and the update says how it ended.
    pub(super) fn kill(&mut self, id: &TaskId, effects: &mut Vec<Effect>) {
        let Some(task) = self.tasks.iter_mut().find(|task| task.id == *id) else {
            return;
        };
        if let Some(carrier) = task.carrier_mut().filter(|carrier| !carrier.can_be_dropped()) {
            carrier.killed = true;
            return;
        }
        self.tasks.retain(|task| task.id != *id);
        effects.push(update(id, TaskPhase::Killed, None, None));
    }

    /// Ends what only one process of a host may do.
    pub(super) fn end_observers(&mut self, effects: &mut Vec<Effect>) {
        let ended = self.tasks.extract_if(.., |task| matches!(task.role, Role::Observer(_)));
        let why = "an observer that was launched later reports of this host";
        effects.extend(
            ended.map(|task| update(&task.id, TaskPhase::Failed, Some(why.to_owned()), None)),
        );
    }

    /// Ends all tasks and the process. An open journal is its unit's affair.
    pub(super) fn shut_down(&mut self, effects: &mut Vec<Effect>) {
        for task in self.tasks.drain(..) {
            effects.push(update(&task.id, TaskPhase::Killed, None, None));
        }
        effects.push(Effect::Exit);
    }
}
