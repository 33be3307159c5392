//! The end of all of it: the host forgets us.
//!
//! An executor that has anything else to do passes the order over: the controller repeats it.

use super::tasks::{Role, update};
use super::{Effect, Executor};
use crate::job::journal::Journal;
use crate::job::order::{FromHost, WIRE_VERSION};
use crate::words::{HostName, TaskPhase};

impl Executor {
    /// Begins to leave, if this is the process that reports of this very host, and nothing else
    /// goes on.
    pub(super) fn leave(&mut self, host: &HostName, effects: &mut Vec<Effect>) {
        let only_observes = !self.tasks.is_empty()
            && self.tasks.iter().all(|task| matches!(task.role, Role::Observer(_)));
        let at_work = self.journal.as_ref().is_some_and(Journal::is_open);
        if *host == self.identity.host && only_observes && !at_work && !self.leaving {
            self.leaving = true;
            effects.push(Effect::Leave);
        }
    }

    /// The host remembers nothing of us, and the process ends; or it says why it stays.
    pub(super) fn left(&mut self, outcome: Result<(), String>, effects: &mut Vec<Effect>) {
        self.leaving = false;
        let (version, host) = (WIRE_VERSION, self.identity.host.clone());
        if let Err(why) = outcome {
            effects.push(Effect::Send(FromHost::Stays { version, host, why }));
            return;
        }
        let why = "nothing of ours is left on this host";
        for task in self.tasks.drain(..) {
            let data = FromHost::Left { version, host: host.clone() };
            effects.push(update(&task.id, TaskPhase::Finished, Some(why.to_owned()), Some(data)));
        }
        effects.push(Effect::Exit);
    }
}
