//! The protocol between an executor and its agent, without I/O, clock or chance: when to
//! subscribe, what to say again, and when the process may end. The rules are those that a real
//! agent was recorded to need (`tests/fixtures/mesos-wire`, recordings e01 to e24).
//!
//! - An agent that restarts waits a short time for its executors and then kills those that have
//!   not subscribed again, so whatever goes wrong is tried again within a fraction of that time.
//! - A `202` means nothing. What was said counts when ACKNOWLEDGED comes, and is part of every
//!   SUBSCRIBE until then; the agent drops what it has already.
//! - A task without any acknowledged update is named in every SUBSCRIBE, or the agent takes it as
//!   never arrived and ends the executor.
//! - The agent acknowledges nothing of a task that it does not run, or that has ended: no such
//!   update is made, as it would be waited for without end.

mod exchange;
mod outbox;
#[cfg(test)]
mod tests;

use crate::job::Uptime;
use crate::mesos::v1::executor::{Acknowledged, Call, Event, Message, Request, Subscribe};
use crate::mesos::v1::{Blob, TaskStatus};
use crate::words::TaskId;
pub use exchange::{Effect, Ending, Failure, Input, Order, Terms};
use outbox::Outbox;
pub use outbox::Report;

/// How much earlier than the agent's SIGKILL a process ends whose last words are not acknowledged.
const BEFORE_KILL_MS: u64 = 500;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// Not connected since; the next attempt is due.
    Away { since: Uptime, again_at: Uptime },
    /// An attempt is under way.
    Asking { since: Uptime, until: Uptime },
    /// The first event has come.
    Open { since: Uptime },
    /// The process is ending.
    Over,
}

/// One executor process and what it knows of its agent.
#[derive(Clone, Debug)]
pub struct Session {
    terms: Terms,
    line: Line,
    /// It has been subscribed.
    known: bool,
    outbox: Outbox,
    leaving: bool,
    /// The agent kills the process after this.
    killed_at: Option<Uptime>,
    /// How many were made.
    calls: u64,
    /// How many of them before the newest stream: what becomes of those means nothing for it.
    old_calls: u64,
}

impl Session {
    /// A fresh process; the first effect subscribes.
    #[must_use]
    pub fn start(now: Uptime, terms: Terms) -> (Self, Vec<Effect>) {
        let mut session = Self {
            terms,
            line: Line::Away { since: now, again_at: now },
            known: false,
            outbox: Outbox::default(),
            leaving: false,
            killed_at: None,
            calls: 0,
            old_calls: 0,
        };
        let effects = session.handle(now, Input::Tick);
        (session, effects)
    }

    /// Takes one input.
    pub fn handle(&mut self, now: Uptime, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.line == Line::Over {
            return effects;
        }
        match input {
            Input::Heard(event) => self.heard(now, event, &mut effects),
            Input::Lost(failure) => self.lost(now, failure, &mut effects),
            Input::Failed { call, failure } => self.failed(now, call, &failure, &mut effects),
            Input::Report(report) => match self.outbox.take(&self.terms, report) {
                Ok(()) => self.send_new(now, &mut effects),
                Err(why) => effects.push(Effect::Warn(why)),
            },
            Input::Send(data) if self.is_open() => {
                self.call(Call::Message(Message { data: Blob(data) }), &mut effects);
            }
            Input::Send(_) | Input::Tick => {}
            Input::Leave => self.leaving = true,
        }
        self.subscribe_when_due(now, &mut effects);
        self.repeat_when_due(now, &mut effects);
        self.end_when_due(now, &mut effects);
        effects
    }

    /// When [`Input::Tick`] is due; none if only something from outside can bring it on.
    #[must_use]
    pub fn next_wake(&self) -> Option<Uptime> {
        let line = match self.line {
            Line::Away { since, again_at } => Some(again_at.min(self.gives_up_at(since))),
            Line::Asking { since, until } => Some(until.min(self.gives_up_at(since))),
            Line::Open { .. } => self.outbox.next_repeat(),
            Line::Over => return None,
        };
        line.into_iter().chain(self.killed_at).min()
    }

    /// What was said and is not acknowledged, oldest first.
    pub fn unacknowledged_updates(&self) -> impl Iterator<Item = &TaskStatus> {
        self.outbox.updates()
    }

    /// The tasks of which nothing is acknowledged.
    pub fn unacknowledged_tasks(&self) -> impl Iterator<Item = &TaskId> {
        self.outbox.tasks().map(|task| &task.task_id)
    }

    // --- the stream ------------------------------------------------------------------------------

    /// Whatever comes first shows that the stream is open: it is SHUTDOWN and not SUBSCRIBED when
    /// the agent has given the executor up.
    fn heard(&mut self, now: Uptime, event: Event, effects: &mut Vec<Effect>) {
        if matches!(self.line, Line::Asking { .. }) {
            self.line = Line::Open { since: now };
            self.known = true;
        }
        match event {
            Event::Subscribed(info) => {
                let agent = info.agent_info;
                effects.push(Effect::Order(Order::Subscribed {
                    hostname: agent.hostname,
                    agent_id: agent.id.map(|id| id.0),
                }));
                self.send_new(now, effects);
            }
            Event::Launch(task) => {
                if self.outbox.launched(&task) {
                    effects.push(Effect::Order(Order::Launch(task)));
                }
            }
            Event::Kill(kill) => {
                let grace = kill.kill_policy.and_then(|policy| policy.grace_period);
                let grace_ms = grace.map(|g| u64::try_from(g.nanoseconds / 1_000_000).unwrap_or(0));
                effects.push(Effect::Order(Order::Kill { task: kill.task_id, grace_ms }));
            }
            Event::Acknowledged(Acknowledged { uuid, .. }) => self.outbox.acknowledged(&uuid),
            Event::Message(message) => effects.push(Effect::Order(Order::Message(message.data.0))),
            Event::Shutdown => {
                let grace = self.terms.shutdown_grace_ms.saturating_sub(BEFORE_KILL_MS);
                self.killed_at.get_or_insert(now.plus_ms(grace));
                effects.push(Effect::Order(Order::Shutdown));
            }
            Event::Error(message) => self.end(Ending::Told(message), effects),
            Event::Heartbeat => {}
            Event::Unknown(kind) => {
                effects.push(Effect::Warn(format!("the agent sent {kind}, which is not known")));
            }
        }
    }

    fn lost(&mut self, now: Uptime, failure: Failure, effects: &mut Vec<Effect>) {
        if failure.is_final()
            && let Failure::Answer { status, body } = failure
        {
            return self.end(Ending::Refused { status, body }, effects);
        }
        if self.known && !self.terms.checkpoint {
            return self.end(Ending::NotCheckpointed, effects);
        }
        self.line = self.away(now);
    }

    /// A call that has failed shows that the stream is of no use, unless it was refused for what
    /// it says.
    fn failed(&mut self, now: Uptime, call: u64, failure: &Failure, effects: &mut Vec<Effect>) {
        if failure.is_about_the_call() {
            let what = self.outbox.give_up(call);
            let what = what.map_or_else(|| "a call".to_owned(), |status| describe(&status));
            effects.push(Effect::Warn(format!("the agent refuses {what}: {failure:?}")));
        } else if self.is_open() && call > self.old_calls {
            self.line = self.away(now);
        }
    }

    /// A stream that lasted is followed at once; after one that did not, and after an attempt
    /// that failed, there is a wait.
    fn away(&self, now: Uptime) -> Line {
        let wait = self.terms.again_ms();
        let (since, again_at) = match self.line {
            Line::Open { since: opened } => (now, opened.plus_ms(wait).max(now)),
            Line::Away { since, .. } | Line::Asking { since, .. } => (since, now.plus_ms(wait)),
            Line::Over => (now, now),
        };
        Line::Away { since, again_at }
    }

    fn is_open(&self) -> bool {
        matches!(self.line, Line::Open { .. })
    }

    // --- what is due ------------------------------------------------------------------------------

    fn subscribe_when_due(&mut self, now: Uptime, effects: &mut Vec<Effect>) {
        if let Line::Asking { since, until } = self.line
            && until <= now
        {
            self.line = Line::Away { since, again_at: now };
        }
        let Line::Away { since, again_at } = self.line else { return };
        if now >= self.gives_up_at(since) {
            let seconds = now.since(since) / 1_000;
            return self.end(Ending::AgentGone { seconds }, effects);
        }
        if again_at <= now {
            self.line = Line::Asking { since, until: now.plus_ms(self.terms.attempt_ms()) };
            self.old_calls = self.calls;
            let subscribe = Subscribe {
                unacknowledged_tasks: self.outbox.tasks().cloned().collect(),
                unacknowledged_updates: self.outbox.all_with_subscribe(now),
            };
            effects.push(Effect::Subscribe(Box::new(self.request(Call::Subscribe(subscribe)))));
        }
    }

    /// What has been said is said again if the agent does not acknowledge it: its word may have
    /// gone to a stream that was breaking.
    fn repeat_when_due(&mut self, now: Uptime, effects: &mut Vec<Effect>) {
        if self.is_open()
            && let Some(update) = self.outbox.due(now)
        {
            let call = self.call(Call::Update(Box::new(update)), effects);
            self.outbox.sent_as(call);
        }
    }

    fn send_new(&mut self, now: Uptime, effects: &mut Vec<Effect>) {
        if self.is_open() {
            while let Some(update) = self.outbox.next_unsent(now) {
                let call = self.call(Call::Update(Box::new(update)), effects);
                self.outbox.sent_as(call);
            }
        }
    }

    fn end_when_due(&mut self, now: Uptime, effects: &mut Vec<Effect>) {
        if self.leaving && self.outbox.is_empty() {
            self.end(Ending::Done, effects);
        } else if self.killed_at.is_some_and(|at| at <= now) {
            self.end(Ending::OutOfGrace, effects);
        }
    }

    fn end(&mut self, ending: Ending, effects: &mut Vec<Effect>) {
        if self.line != Line::Over {
            self.line = Line::Over;
            effects.push(Effect::Exit(ending));
        }
    }

    fn gives_up_at(&self, since: Uptime) -> Uptime {
        since.plus_ms(self.terms.recovery_ms)
    }

    fn call(&mut self, call: Call, effects: &mut Vec<Effect>) -> u64 {
        self.calls += 1;
        let request = Box::new(self.request(call));
        effects.push(Effect::Call { call: self.calls, request });
        self.calls
    }

    fn request(&self, call: Call) -> Request {
        let Terms { framework_id, executor_id, .. } = self.terms.clone();
        Request { framework_id, executor_id, call }
    }
}

fn describe(status: &TaskStatus) -> String {
    let TaskStatus { task_id, state, .. } = status;
    format!("{state} of {task_id}")
}
