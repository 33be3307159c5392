//! What there is: the records in etcd, what is under way, and the hosts.

use calico_dcos::job::protocol::Entry;
use calico_dcos::words::Attempt;

/// What was sent and not lost, the newest `N` of it. What is in it can arrive any number of times,
/// or never.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Post<T, const N: usize>([Option<T>; N]);

impl<T: Copy, const N: usize> Default for Post<T, N> {
    fn default() -> Self {
        Self([None; N])
    }
}

impl<T: Copy + Ord, const N: usize> Post<T, N> {
    pub(crate) fn iter(&self) -> impl Iterator<Item = T> + '_ {
        self.0.iter().flatten().copied()
    }

    pub(crate) fn has(&self, item: T) -> bool {
        self.0.contains(&Some(item))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// The newer a message, the larger: attempts only rise. If there are too many, the oldest is
    /// lost.
    pub(crate) fn put(&mut self, item: T) {
        if !self.has(item) && self.0[0] < Some(item) {
            self.0[0] = Some(item);
            self.0.sort_unstable();
        }
    }

    pub(crate) fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        self.0 = self.0.map(|item| item.filter(&keep));
        self.0.sort_unstable();
    }

    /// Renames what is in it.
    pub(crate) fn rename(&mut self, rename: impl FnMut(&mut T)) {
        self.0.iter_mut().flatten().for_each(rename);
        self.0.sort_unstable();
    }
}

/// What is in force on a host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum InForce {
    /// Nothing that was ever wanted.
    #[default]
    Other,
    /// What was wanted before the edit.
    Former,
    /// What is wanted.
    Wanted,
}

/// An attempt and the process that is to carry it out: what a question asks for, what a yes
/// says, and what a unit is started for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Ticket {
    pub(crate) attempt: Attempt,
    pub(crate) run: u8,
}

/// The record of a slot, as far as the protocol looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Record {
    pub(crate) attempt: Attempt,
    pub(crate) state: State,
}

/// `budget::slot::SlotState` with small numbers for runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum State {
    Reserved,
    Held(Option<u8>),
}

/// A transaction on its way to etcd. Those whose compare would fail are not kept: what they
/// compare was written since, so they change nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Txn {
    /// How many slots the guard is to count; none if it is neither compared nor written.
    pub(crate) guard: Option<u32>,
    /// The record to put; none deletes it.
    pub(crate) slot: Option<Record>,
    /// What its sender does when it has committed.
    pub(crate) then: Then,
    /// Whether its sender is still there to hear of the commit.
    pub(crate) awaited: bool,
    /// Whether it compares the slot. Only a weakened protocol has some that do not.
    pub(crate) compares_slot: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Then {
    Nothing,
    Launch(Attempt),
    Answer(Ticket),
}

/// The executor process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Executor {
    pub(crate) run: u8,
    /// The attempt that it asks for.
    pub(crate) asks: Option<Attempt>,
}

/// One host, with all that belongs to it elsewhere: hosts can then be exchanged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Host {
    // In etcd, and on the way there.
    pub(crate) slot: Option<Record>,
    pub(crate) sent: Post<Txn, 2>,
    // On the network.
    pub(crate) launches: Post<Attempt, 2>,
    pub(crate) questions: Post<Ticket, 2>,
    pub(crate) answers: Post<Ticket, 2>,
    pub(crate) reports: Post<Entry<u8>, 2>,
    // On the machine: the executor, the disk, units that wait for the host's lock, the one that
    // has it, and whether what is wanted is in force.
    pub(crate) executor: Option<Executor>,
    pub(crate) journal: Option<Entry<u8>>,
    pub(crate) waiting: Post<Ticket, 2>,
    pub(crate) unit: Option<Ticket>,
    pub(crate) in_force: InForce,
    /// The newest attempt that was ordered before the edit: it works for what was wanted then.
    pub(crate) outdated: Option<Attempt>,
    /// The machine is gone for good, and the master says so. What comes back is a blank one.
    pub(crate) gone: bool,
    // What an onlooker sees: the host is between a disruptive start and the closed journal, and
    // for which attempts it has been before.
    pub(crate) disrupted: bool,
    pub(crate) disrupted_before: Post<Attempt, 2>,
}

/// All there is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    /// The number of slots that the guard counts.
    pub(crate) held: u32,
    pub(crate) hosts: [Host; 2],
    /// How much may still go wrong.
    pub(crate) faults: super::Faults,
    /// An attempt has disrupted its host a second time.
    pub(crate) repeated: bool,
    /// What is wanted was replaced by what was wanted before.
    pub(crate) turned_back: bool,
}

impl Host {
    /// What the attempt makes of the host.
    pub(crate) fn goal(&self, attempt: Attempt) -> InForce {
        if self.outdated.is_some_and(|outdated| attempt <= outdated) {
            InForce::Former
        } else {
            InForce::Wanted
        }
    }

    pub(crate) fn lose_messages(&mut self) {
        self.launches = Post::default();
        self.questions = Post::default();
        self.answers = Post::default();
        self.reports = Post::default();
    }
}
