//! The controllers: what they may send to etcd, and what comes of it.
//!
//! They share nothing but etcd, and nothing here asks who leads: each transaction may be of another controller, which
//! knows what it has read and nothing since, as after an election that nobody noticed. So the fence on the leader's key
//! is not needed for what is shown, and is left out. One that answers from memory says what was true when it was
//! committed: that is an answer which comes late.

use calico_dcos::budget::slot::{self, Guard, SLOT_VERSION, Slot, SlotState};
use calico_dcos::job::protocol::{Entry, Stage};
use calico_dcos::observed::facts::{JournalFacts, JournalState};
use calico_dcos::words::{Generation, Run, SpecHash, Time};

use super::model::{LIMIT, Protocol};
use super::names;
use super::world::{Host, Record, State, Then, Ticket, Txn, World};

/// What a controller can decide about a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    Reserve,
    Withdraw,
    TryAgain,
    /// The master says that the machine is gone for good.
    Collect,
    Conclude(Entry<u8>),
    Admit(Ticket),
}

/// The transaction for a decision, from the records as they are; none if it is refused.
pub(crate) fn decide(
    protocol: Protocol,
    world: &World,
    host: usize,
    decision: Decision,
) -> Option<Txn> {
    let host = &world.hosts[host];
    let (attempt, _) = names::newest(host);
    let mut guard = Guard { held: world.held, attempt, ..Guard::new(String::new()) };
    let current = host.slot.map(product);
    let next = transition(protocol, &mut guard, current.as_ref(), decision)?;
    let next = next.as_ref().map(record);
    let guarded = !matches!(decision, Decision::Admit(_));
    Some(Txn {
        guard: guarded.then_some(guard.held),
        slot: next,
        then: match (decision, next) {
            (Decision::Admit(question), _) => Then::Answer(question),
            (Decision::Reserve | Decision::TryAgain, Some(next)) => Then::Launch(next.attempt),
            _ => Then::Nothing,
        },
        awaited: true,
        compares_slot: !(protocol == Protocol::WithdrawsBlindly && decision == Decision::Withdraw),
    })
}

/// The product's transition: the slot to be written, none to delete it; nothing if it is refused.
#[expect(clippy::option_option, reason = "the outer one is a refusal, the inner one a deletion")]
fn transition(
    protocol: Protocol,
    guard: &mut Guard,
    current: Option<&Slot>,
    decision: Decision,
) -> Option<Option<Slot>> {
    let (generation, target, now) = (Generation(1), TARGET, Time(0));
    match decision {
        Decision::Reserve => {
            slot::reserve(guard, current, &"h".into(), LIMIT, generation, target, now)
                .ok()
                .map(Some)
        }
        Decision::Withdraw => slot::withdraw(guard, current?).ok().map(|()| None),
        Decision::TryAgain => Some(Some(slot::retarget(guard, current?, generation, target, now))),
        Decision::Collect => {
            slot::collect(guard, current?);
            Some(None)
        }
        Decision::Conclude(entry) => {
            let any = protocol == Protocol::TakesAnyEvidence;
            let entry = if any { Entry { attempt: current?.attempt, ..entry } } else { entry };
            slot::conclude(guard, current?, &facts(entry)).ok().map(|()| None)
        }
        Decision::Admit(Ticket { attempt, run }) => {
            slot::admit(current?, attempt, &name(run)).ok().map(Some)
        }
    }
}

/// Sends a transaction to etcd, or answers at once what is committed already.
pub(crate) fn send(protocol: Protocol, host: &mut Host, txn: Txn) {
    if let Then::Answer(question) = txn.then {
        if protocol == Protocol::AnswersBeforeCommit || txn.slot == host.slot {
            host.answers.put(question);
        }
        if txn.slot == host.slot {
            return;
        }
    }
    host.sent.put(txn);
}

/// The transaction reaches etcd while all that it compares is as it was read.
pub(crate) fn commit(protocol: Protocol, world: &mut World, index: usize, txn: Txn) {
    world.hosts[index].sent.retain(|sent| *sent != txn);
    world.hosts[index].sent.retain(|sent| !sent.compares_slot);
    world.hosts[index].slot = txn.slot;
    if let Some(held) = txn.guard {
        world.held = held;
        if protocol != Protocol::GuardNotCompared {
            world.hosts.iter_mut().for_each(|host| host.sent.retain(|sent| sent.guard.is_none()));
        }
    }
    let host = &mut world.hosts[index];
    match txn.then {
        Then::Launch(attempt) if txn.awaited => host.launches.put(attempt),
        Then::Answer(question) if txn.awaited => host.answers.put(question),
        Then::Launch(_) | Then::Answer(_) | Then::Nothing => {}
    }
}

/// All controllers die. What they have sent arrives all the same, but nobody waits for it.
pub(crate) fn crash(protocol: Protocol, world: &mut World) {
    if protocol == Protocol::CountsInMemory {
        world.held = 0;
    }
    for host in &mut world.hosts {
        host.sent.rename(|txn| txn.awaited = false);
    }
}

/// Another controller is elected, and the one before does not notice: it goes on, and waits for what it has sent.
/// That matters only to those who think that they are alone.
pub(crate) fn elect(protocol: Protocol, world: &mut World) {
    if protocol == Protocol::CountsInMemory {
        world.held = 0;
    }
}

/// What a host is to become has no part in the protocol.
const TARGET: SpecHash = SpecHash([0; 32]);

fn name(run: u8) -> Run {
    Run(run.to_string())
}

fn product(Record { attempt, state }: Record) -> Slot {
    Slot {
        version: SLOT_VERSION,
        attempt,
        generation: Generation(1),
        target: TARGET,
        state: match state {
            State::Reserved => SlotState::Reserved,
            State::Held(taken_by) => SlotState::Held { taken_by: taken_by.map(name) },
        },
        since: Time(0),
        attempt_since: Time(0),
    }
}

fn record(slot: &Slot) -> Record {
    let number = |run: &Run| run.as_str().parse().expect("a run of the model is a number");
    Record {
        attempt: slot.attempt,
        state: match &slot.state {
            SlotState::Reserved => State::Reserved,
            SlotState::Held { taken_by } => State::Held(taken_by.as_ref().map(number)),
        },
    }
}

fn facts(entry: Entry<u8>) -> JournalFacts {
    let state = match entry.stage {
        Stage::Open => JournalState::Open,
        Stage::Done => JournalState::Done,
        Stage::Undone => JournalState::Undone { why: String::new() },
    };
    JournalFacts { attempt: entry.attempt, run: name(entry.run), state }
}
