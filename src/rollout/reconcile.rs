//! Reconciliation after every subscription: implicit first, which also tells of tasks that nobody
//! wrote down; then explicit, again and again, for those that did not answer.

use std::collections::BTreeMap;

use crate::mesos::v1::scheduler::{Call, Reconcile, ReconcileTask};
use crate::words::{AgentId, TaskId, Time};

/// The first repetition comes after this, each further one after twice as long.
const FIRST_MS: u64 = 1_000;
const LONGEST_MS: u64 = 30_000;
/// All tasks are asked for again, because something unknown is in the way, at most so often: every
/// task in the cluster answers.
const ALL_AGAIN_MS: u64 = 300_000;

/// One round at a time; a new one replaces the old.
#[derive(Clone, Debug, Default)]
pub(super) struct Reconciliation {
    open: BTreeMap<TaskId, AgentId>,
    next: Option<Time>,
    pause_ms: u64,
    /// All tasks that the master knows have been asked for.
    asked: bool,
    /// They are not asked for outside a round before this.
    all_again: Time,
}

impl Reconciliation {
    /// Starts a round over all tasks that have not ended.
    pub(super) fn start(&mut self, tasks: impl Iterator<Item = (TaskId, AgentId)>, now: Time) {
        self.open = tasks.collect();
        self.pause_ms = FIRST_MS;
        self.next = Some(now);
        self.asked = false;
    }

    /// Adds a task to the round, because nothing was heard of it for long.
    pub(super) fn add(&mut self, task: TaskId, agent: AgentId, now: Time) {
        self.open.insert(task, agent);
        let next = self.next.unwrap_or(now);
        self.pause_ms = self.pause_ms.max(FIRST_MS);
        self.next = Some(next.min(now));
    }

    /// Asks for all tasks that the master knows once more, outside a round. One of them may be
    /// known to nobody here: it was written down in what a restored store has lost, and its agent
    /// was away when the round began.
    pub(super) fn ask_all(&mut self, now: Time) {
        if now >= self.all_again {
            self.all_again = now.plus_ms(ALL_AGAIN_MS);
            self.asked = false;
            self.next = Some(now);
        }
    }

    /// The clock has gone back: what waits for a time is due.
    pub(super) fn hurry(&mut self, now: Time) {
        self.next = self.next.map(|next| next.min(now));
        self.all_again = self.all_again.min(now);
    }

    /// Any update of a task is an answer.
    pub(super) fn answered(&mut self, task: &TaskId) {
        self.open.remove(task);
        if self.open.is_empty() && self.asked {
            self.next = None;
        }
    }

    /// The round has been asked once, and everybody answered or had time to. Tasks that still
    /// have not answered hold back their own hosts only.
    pub(super) fn first_round_is_over(&self) -> bool {
        self.asked && (self.open.is_empty() || self.pause_ms > FIRST_MS * 2)
    }

    pub(super) fn next_wake(&self) -> Option<Time> {
        self.next
    }

    /// The call that is due.
    pub(super) fn call(&mut self, now: Time) -> Option<Call> {
        if self.next? > now {
            return None;
        }
        let first = !std::mem::replace(&mut self.asked, true);
        self.next = (!self.open.is_empty()).then(|| now.plus_ms(self.pause_ms));
        self.pause_ms = (self.pause_ms * 2).min(LONGEST_MS);
        if first {
            return Some(Call::Reconcile(Reconcile::default()));
        }
        if self.open.is_empty() {
            return None;
        }
        let ask = |(task, agent): (&TaskId, &AgentId)| ReconcileTask {
            task_id: task.clone(),
            agent_id: Some(agent.clone()),
        };
        Some(Call::Reconcile(Reconcile { tasks: self.open.iter().map(ask).collect() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(call: Option<Call>) -> Option<usize> {
        match call {
            Some(Call::Reconcile(reconcile)) => Some(reconcile.tasks.len()),
            _ => None,
        }
    }

    /// Point 43 of `CHECKLIST.md`.
    #[test]
    fn s74_those_that_did_not_answer_are_asked_again_with_growing_delay() {
        let mut round = Reconciliation::default();
        let tasks = ["t1", "t2", "t3"].map(|t| (TaskId::from(t), AgentId::from("s1")));
        round.start(tasks.into_iter(), Time(0));
        assert!(!round.first_round_is_over());
        assert_eq!(asked(round.call(Time(0))), Some(0), "all that the master knows");
        round.answered(&"t1".into());
        assert_eq!(asked(round.call(Time(999))), None);
        assert_eq!(asked(round.call(Time(1_000))), Some(2));
        assert_eq!(asked(round.call(Time(2_000))), None, "the second delay is twice the first");
        round.answered(&"t2".into());
        assert_eq!(asked(round.call(Time(3_000))), Some(1));
        round.answered(&"t3".into());
        assert_eq!(asked(round.call(Time(99_000))), None);
        assert!(round.first_round_is_over());
    }

    #[test]
    fn all_tasks_are_asked_for_again_at_most_every_five_minutes() {
        let mut round = Reconciliation::default();
        round.start([("t1".into(), "s1".into())].into_iter(), Time(0));
        assert_eq!(asked(round.call(Time(0))), Some(0));
        round.ask_all(Time(500));
        assert_eq!(asked(round.call(Time(500))), Some(0));
        assert_eq!(asked(round.call(Time(2_500))), Some(1), "the round goes on");
        round.answered(&"t1".into());
        round.ask_all(Time(300_499));
        assert_eq!(asked(round.call(Time(300_499))), None);
        round.ask_all(Time(300_500));
        assert_eq!(asked(round.call(Time(300_500))), Some(0));
        assert_eq!(round.next_wake(), None);
    }

    #[test]
    fn point_43_a_round_without_tasks_asks_for_strangers_and_is_over() {
        let mut round = Reconciliation::default();
        round.start(std::iter::empty(), Time(0));
        assert!(!round.first_round_is_over());
        assert_eq!(asked(round.call(Time(0))), Some(0), "tasks that nobody wrote down");
        assert_eq!(round.next_wake(), None);
        assert!(round.first_round_is_over());
    }
}
