//! What goes into the controller's state machine and what comes out of it.

use std::fmt;

use crate::desired::Gate;
use crate::mesos::v1::scheduler::Event as MesosEvent;
use crate::mesos::v1::scheduler::{Call, Subscribe};
use crate::observed::fleet::AgentSeen;
use crate::plan::members::Member;
use crate::plan::notice::{Found, ScheduleEdit};
use crate::store::txn::{Outcome, StoreEvent, Txn};
use crate::words::{HostName, Revision};

/// Something that happened. Handling one only folds it; what follows from it is decided by the
/// next pass.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "events are handed over, not kept")]
pub enum Event {
    /// This process leads: the leader key exists since `created`.
    Leading {
        /// The leader key's create revision.
        created: Revision,
    },
    /// This process does not lead any more.
    Deposed,
    /// The watch of the whole prefix.
    Store(StoreEvent),
    /// A transaction was answered.
    TxnDone {
        /// Which one.
        id: TxnId,
        /// What became of it.
        outcome: Outcome,
    },
    /// A transaction was not answered: it may have been carried out, or not.
    TxnUnknown {
        /// Which one.
        id: TxnId,
    },
    /// The scheduler stream.
    Mesos(MesosEvent),
    /// The scheduler stream has ended.
    Disconnected,
    /// The master has removed the framework for good. Said only once it is to end; else it is a
    /// failure of the process.
    Removed,
    /// The master's list of agents.
    Agents(Vec<AgentSeen>),
    /// The master does not let us list its agents.
    AgentsHidden {
        /// What it says, as a clause.
        why: String,
    },
    /// The gates have answered.
    GatesAnswered(
        /// Or which one has not said yes, and what instead, as a clause.
        Result<(), String>,
    ),
    /// The members of our etcd, as they are now,
    Members(
        /// or why they cannot be listed, as a clause.
        Result<Vec<Member>, String>,
    ),
    /// The maintenance schedule was edited: what it says now of each host of the edit,
    ScheduleEdited(
        /// or why it could not be, as a clause. Then it may have been edited, or not.
        Result<Vec<(HostName, Found)>, String>,
    ),
    /// How we present ourselves to the master, before each subscription.
    Presented {
        /// Roles that it gives us no offers for: before Mesos 1.3 a framework has one.
        given_up: Vec<String>,
    },
}

/// Something to be done. The shell carries effects out in their order.
#[derive(Clone, Debug)]
pub enum Effect {
    /// A transaction, after those before it.
    Txn {
        /// To be named in the answer.
        id: TxnId,
        /// The transaction.
        txn: Txn,
    },
    /// List the store again: something was not as expected.
    Relist,
    /// Open the scheduler stream.
    Subscribe(Box<Subscribe>),
    /// Close it.
    Unsubscribe,
    /// A call on the open stream.
    Call(Box<Call>),
    /// Ask the master for its agents.
    PollAgents,
    /// Ask these; the answer is [`Event::GatesAnswered`], within a minute.
    AskGates(Vec<Gate>),
    /// Ask etcd for its members; the answer is [`Event::Members`], within a minute.
    AskMembers,
    /// Edit Mesos' maintenance schedule; the answer is [`Event::ScheduleEdited`], within two minutes.
    EditSchedule(ScheduleEdit),
    /// Give up leading; somebody else may.
    Resign,
    /// End this process: a newer release has led here, and one of that may be waiting to lead.
    GiveUp {
        /// Why, as a sentence.
        why: String,
    },
    /// Something that people want to read.
    Note(Note),
}

/// Names a transaction of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TxnId(pub u64);

/// Something that people want to read, in the log and in a report's time line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// How much it matters.
    pub level: Level,
    /// The host that it is about.
    pub host: Option<HostName>,
    /// A sentence.
    pub text: String,
}

/// How much a note matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Something changed.
    Info,
    /// Somebody should look.
    Warning,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Some(host) => write!(f, "{host}: {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}
