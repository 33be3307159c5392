//! Slots as the controller moves them: what is decided for hosts that hold one, the one guarded
//! transaction, and the answers to hosts that ask.

use std::collections::BTreeMap;

use crate::budget::slot::{Guard, Slot, SlotState};
use crate::job::order::{ToHost, WIRE_VERSION};
use crate::mesos::v1::scheduler::{Call, Message};
use crate::mesos::v1::{Blob, ExecutorId};
use crate::observed::facts::JournalState;
use crate::observed::fleet::Condition;
use crate::observed::tasks::Seen;
use crate::words::{AgentId, Attempt, Generation, HostName, Run, TaskKind, Time};

use super::host::Host;
use super::launch::Launch;
use super::records::to_json;

/// A slot that is held for longer than this for one attempt is overdue: reported, and counted
/// for the halt, never freed.
pub(super) const OVERDUE_MS: u64 = 30 * 60 * 1000;

/// Hosts in one guarded transaction: each takes at most two compares and four operations.
pub(super) const BATCH_HOSTS: usize = 30;

/// The guarded transaction under way.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    pub guard: Guard,
    pub slots: BTreeMap<HostName, Option<Slot>>,
    pub launches: Vec<Launch>,
}

/// An answer that waits for its commit.
#[derive(Clone, Debug)]
pub(super) struct Admission {
    pub host: HostName,
    pub agent: AgentId,
    pub executor: ExecutorId,
    pub slot: Slot,
    pub run: Run,
}

impl Admission {
    pub(super) fn answer(&self) -> Call {
        let yes = ToHost::Admitted {
            version: WIRE_VERSION,
            attempt: self.slot.attempt,
            run: self.run.clone(),
        };
        message(&self.agent, &self.executor, &yes)
    }
}

pub(super) fn denied(agent: &AgentId, executor: &ExecutorId, attempt: Attempt, run: Run) -> Call {
    let no = ToHost::Denied { version: WIRE_VERSION, attempt, run };
    message(agent, executor, &no)
}

fn message(agent: &AgentId, executor: &ExecutorId, to_host: &ToHost) -> Call {
    Call::Message(Message {
        agent_id: agent.clone(),
        executor_id: executor.clone(),
        data: Blob(to_json(to_host).into_bytes()),
    })
}

/// What is to be done about a host that holds a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Settle {
    /// It is on its way.
    Wait,
    /// The master says that it is gone for good.
    Collect,
    /// Its journal is closed as done, for this attempt.
    Conclude,
    /// Its journal says that this attempt failed.
    Failed(String),
    /// It was reserved and came to nothing.
    Withdraw,
    /// The next attempt is due.
    Retry,
}

/// Decides from what is known of the host alone.
pub(super) fn settle(
    host: &Host,
    slot: &Slot,
    counted: Attempt,
    generation: Generation,
    now: Time,
) -> Settle {
    if host.record.agent.condition == Condition::Gone {
        return Settle::Collect;
    }
    let journal = host.record.facts().and_then(|facts| facts.journal.as_ref());
    match journal.filter(|journal| journal.attempt == slot.attempt).map(|journal| &journal.state) {
        Some(JournalState::Done) => return Settle::Conclude,
        // Whoever finds it open carries it on.
        Some(JournalState::Open) => return Settle::Wait,
        Some(JournalState::Undone { why }) if counted < slot.attempt => {
            return Settle::Failed(why.clone());
        }
        Some(JournalState::Undone { .. }) | None => {}
    }
    if host.tasks.carrier().is_some() {
        return Settle::Wait;
    }
    if slot.state == SlotState::Reserved {
        return Settle::Withdraw;
    }
    // What failed for an older generation does not hold up this one.
    let progress = host.progress_in(generation);
    let waits = progress.is_some_and(|progress| progress.failed || progress.retry_at > now);
    // Without its observer nobody knows how the last one ended. An excluded host gets no other one.
    let observer = host.tasks.tasks.get(&TaskKind::Observer);
    let is_heard = host.excluded || observer.is_some_and(|task| task.seen == Seen::Running);
    let can_begin =
        is_heard && host.can_launch(now) && !host.is_left_in_peace(now) && !host.is_paused();
    if waits || !can_begin { Settle::Wait } else { Settle::Retry }
}
