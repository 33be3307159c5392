//! Taking all of it off: hosts without components are told to forget us, and then the framework ends.
//!
//! The components go as any other change does, by documents that say so (`enabled: false`), within the
//! budget. What follows disrupts nothing. That the framework ends is written down before Mesos is told,
//! so that any later leader goes on with that and with nothing else.

use crate::job::order::{ToHost, WIRE_VERSION};
use crate::mesos::v1::scheduler::{Call, Message};
use crate::mesos::v1::{Blob, ExecutorId};
use crate::observed::fleet::{Condition, Farewell, Folded};
use crate::plan::control::{Control, Teardown};
use crate::plan::reason::Reason;
use crate::store::keys::Key;
use crate::words::{AgentId, HostName, TaskKind, Time};

use super::control::key;
use super::event::{Effect, Level};
use super::host::Host;
use super::launch::executor_id;
use super::records::to_json;
use super::{Controller, Session};

/// A host that has not answered is told again after this, as is a master that has not hung up.
const AGAIN_MS: u64 = 10_000;

impl Controller {
    /// The framework ends, or has ended: this process has nothing to do any more but that.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.controls.has_ended()
    }

    /// Tells hosts to forget us, and ends the framework when all that can have done so.
    pub(super) fn tear_down(&mut self, now: Time) {
        self.farewell_due = None;
        let Some(teardown) = self.controls.teardown.clone() else { return };
        for name in self.hosts.leaving.clone() {
            self.tell_to_leave(&name, now);
        }
        if self.hosts.leaving.is_empty() && self.agents_known && self.has_nothing_left(&teardown) {
            let ended = Teardown { ended: Some(now), ..teardown };
            self.ledger.put(key(&Control::Teardown), to_json(&ended));
            self.note(Level::Info, None, "all that can be taken off is; the framework ends");
            self.history("the framework ends, as an operator asked".to_owned(), now);
        }
    }

    fn tell_to_leave(&mut self, name: &HostName, now: Time) {
        let Some(host) = self.hosts.all.get_mut(name) else { return };
        let again = host.told_to_leave.plus_ms(AGAIN_MS);
        let due = if again > now { again } else { now.plus_ms(AGAIN_MS) };
        self.farewell_due = Some(self.farewell_due.map_or(due, |known| known.min(due)));
        if again > now || host.record.agent.condition != Condition::Active {
            return;
        }
        host.told_to_leave = now;
        // Who observes may run in the executor of another version of ours.
        let observer = host.tasks.tasks.get(&TaskKind::Observer);
        let Some(program) = observer.and_then(|task| task.program) else { return };
        let executor = executor_id(name, program);
        let call = order_to_leave(name, &host.record.agent.id, executor);
        self.effects.push(Effect::Call(Box::new(call)));
    }

    /// Every host has forgotten us, or will not, and that is accepted; and nobody is at work.
    fn has_nothing_left(&self, teardown: &Teardown) -> bool {
        let rests = |host: &Host| match &host.assessment.held {
            _ if host.record.has_left() => true,
            Some(Reason::Gone) => true,
            Some(
                Reason::Unreachable { .. }
                | Reason::Blocked { .. }
                | Reason::Excluded
                | Reason::Unknown { .. },
            ) => teardown.leave_behind,
            _ => false,
        };
        // An announcement that nobody remembers would stay in Mesos' schedule for ever.
        let announced = !self.notices.is_empty() && !teardown.leave_behind;
        !announced && self.hosts.busy.is_empty() && self.hosts.all.values().all(rests)
    }

    /// What a host says to the order to forget us.
    pub(super) fn takes_leave(&mut self, name: &HostName, said: Farewell) {
        let Some(host) = self.hosts.touch(name) else { return };
        let (level, text) = match &said {
            Farewell::Left { .. } => (Level::Info, "nothing of ours is left there".to_owned()),
            Farewell::Stays { why } => (Level::Warning, format!("cannot forget us: {why}")),
        };
        if host.record.fold_farewell(said) == Folded::Changed {
            self.put_record(name);
            self.note(level, Some(name), text);
        }
    }

    /// Once it is written down: Mesos is told, until it says that the framework has been removed.
    pub(super) fn end_framework(&mut self, now: Time) {
        match (self.framework.is_some(), self.session) {
            (true, Session::Off) => self.subscribe(),
            (_, Session::Opening) | (false, Session::Off) => {}
            (true, Session::Open | Session::Ready) => {
                if self.farewell_due.is_none_or(|due| due <= now) {
                    self.farewell_due = Some(now.plus_ms(AGAIN_MS));
                    self.effects.push(Effect::Call(Box::new(Call::Teardown)));
                }
            }
            (false, Session::Open | Session::Ready) => {
                self.session = Session::Off;
                self.effects.push(Effect::Unsubscribe);
            }
        }
        self.ledger.flush(&mut self.effects);
    }

    /// The master knows us no more.
    pub(super) fn removed(&mut self) {
        self.session = Session::Off;
        self.farewell_due = None;
        if self.framework.take().is_some() {
            self.ledger.delete(Key::FrameworkId);
            self.note(Level::Info, None, "the framework has ended");
        }
    }
}

fn order_to_leave(host: &HostName, agent: &AgentId, executor: ExecutorId) -> Call {
    let order = ToHost::Leave { version: WIRE_VERSION, host: host.clone() };
    Call::Message(Message {
        agent_id: agent.clone(),
        executor_id: executor,
        data: Blob(to_json(&order).into_bytes()),
    })
}
