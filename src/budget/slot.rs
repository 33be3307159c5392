//! The slot protocol as pure transition functions.
//!
//! A slot is *reserved* before the launch, becomes *held* when the host asks right before it
//! disrupts anything, and is freed when the host has reported a closed journal for this very
//! attempt. Each function takes the records as they were read and gives the records to be
//! written; the store writes them only if what was read is still there.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::observed::facts::{JournalFacts, JournalState};
use crate::words::{Attempt, Generation, HostName, Run, SpecHash, Time};

/// The version of [`Slot`] and [`Guard`] that this release writes.
pub const SLOT_VERSION: u32 = 1;

/// The right to disrupt one host: the value of `slots/HOST`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Slot {
    /// [`SLOT_VERSION`] of the release that wrote it.
    pub version: u32,
    /// The attempt that it is for.
    pub attempt: Attempt,
    /// The generation that the attempt works for.
    pub generation: Generation,
    /// What the host is to become: the hash over all its components.
    pub target: SpecHash,
    /// Reserved or held.
    pub state: SlotState,
    /// When the host got the slot. Start times are stored, not deadlines: a changed setting
    /// applies to what is written already.
    pub since: Time,
    /// When this attempt was ordered.
    pub attempt_since: Time,
}

/// How far a slot has come.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", tag = "is")]
pub enum SlotState {
    /// The host has not asked yet, so it has disrupted nothing: the leader may free it.
    Reserved,
    /// The host may have disrupted something. `taken_by` is the run that was admitted for the
    /// current attempt; none after a retry or a new target, until the host asks again.
    Held {
        /// The run that was told yes.
        #[serde(default, skip_serializing_if = "Option::is_none", rename = "takenBy")]
        taken_by: Option<Run>,
    },
}

/// One record that every reservation and every release goes through: `slots/guard`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Guard {
    /// [`SLOT_VERSION`] of the release that wrote it.
    pub version: u32,
    /// The limit at the last reservation, for people who read the record.
    pub limit: u32,
    /// The number of hosts that the limit was computed from.
    pub hosts: u32,
    /// How many slot records there are.
    pub held: u32,
    /// The newest attempt ever ordered. Attempts are numbered over the whole cluster, so a later
    /// attempt always has the larger number and no number is used twice.
    pub attempt: Attempt,
    /// The cluster ID of the etcd that this record was written to; another one means a backup
    /// was restored.
    pub cluster: String,
    /// When slots were taken lately, oldest first, for the pace of the next leader.
    #[serde(default)]
    pub taken: Vec<Taken>,
}

/// So many slots were taken at this time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Taken {
    /// When.
    pub at: Time,
    /// How many.
    pub count: u32,
}

/// Entries that the guard remembers for the pace; older ones are merged, which only makes the
/// next leader's pace stricter.
const TAKEN_KEPT: usize = 32;

/// Why a transition is refused. The records stay as they are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SlotRefusal {
    /// All slots are taken.
    #[error("{held} of {limit} slots are taken")]
    Full {
        /// How many are taken.
        held: u32,
        /// How many there are.
        limit: u32,
    },
    /// The host holds a slot already; another attempt is a retry, not a reservation.
    #[error("{0} has a slot already")]
    AlreadyHeld(HostName),
    /// The question or the evidence is about another attempt.
    #[error("the slot is for attempt {0}")]
    OtherAttempt(Attempt),
    /// Another run was admitted for this attempt.
    #[error("the slot was taken by another run of the host's executor")]
    OtherRun,
    /// Only a reserved slot can be withdrawn.
    #[error("the host may have begun: the slot is held")]
    Held,
    /// The journal is still open, or was undone.
    #[error("the host has not reported a journal closed as done")]
    NotDone,
}

impl Guard {
    /// The guard of a store that has none yet.
    #[must_use]
    pub fn new(cluster: String) -> Self {
        Self {
            version: SLOT_VERSION,
            limit: 0,
            hosts: 0,
            held: 0,
            attempt: Attempt(0),
            cluster,
            taken: Vec::new(),
        }
    }

    /// Hands out the number of the next attempt.
    pub fn next_attempt(&mut self) -> Attempt {
        self.attempt = self.attempt.next();
        self.attempt
    }

    fn remember(&mut self, now: Time) {
        match self.taken.last_mut() {
            Some(last) if last.at == now => last.count += 1,
            _ => self.taken.push(Taken { at: now, count: 1 }),
        }
        if self.taken.len() > TAKEN_KEPT {
            let oldest = self.taken.remove(0);
            self.taken[0].count += oldest.count;
        }
    }
}

/// Reserves a slot for a host: before the launch, counted by the guard.
///
/// # Errors
///
/// [`SlotRefusal::Full`] when `limit` slots are taken, [`SlotRefusal::AlreadyHeld`] when the host
/// has one.
pub fn reserve(
    guard: &mut Guard,
    existing: Option<&Slot>,
    host: &HostName,
    limit: u32,
    generation: Generation,
    target: SpecHash,
    now: Time,
) -> Result<Slot, SlotRefusal> {
    if existing.is_some() {
        return Err(SlotRefusal::AlreadyHeld(host.clone()));
    }
    if guard.held >= limit {
        return Err(SlotRefusal::Full { held: guard.held, limit });
    }
    guard.limit = limit;
    guard.held += 1;
    guard.remember(now);
    Ok(Slot {
        version: SLOT_VERSION,
        attempt: guard.next_attempt(),
        generation,
        target,
        state: SlotState::Reserved,
        since: now,
        attempt_since: now,
    })
}

/// The host asks, right before it disrupts anything. The yes may be sent only once the record
/// that this gives is committed.
///
/// # Errors
///
/// [`SlotRefusal::OtherAttempt`] or [`SlotRefusal::OtherRun`]: the answer is no, for good.
pub fn admit(slot: &Slot, attempt: Attempt, run: &Run) -> Result<Slot, SlotRefusal> {
    if slot.attempt != attempt {
        return Err(SlotRefusal::OtherAttempt(slot.attempt));
    }
    match &slot.state {
        SlotState::Held { taken_by: Some(taken) } if taken != run => Err(SlotRefusal::OtherRun),
        SlotState::Reserved | SlotState::Held { .. } => {
            Ok(Slot { state: SlotState::Held { taken_by: Some(run.clone()) }, ..slot.clone() })
        }
    }
}

/// Gives a reserved slot back.
///
/// # Errors
///
/// [`SlotRefusal::Held`]: the host may have begun.
pub fn withdraw(guard: &mut Guard, slot: &Slot) -> Result<(), SlotRefusal> {
    match slot.state {
        SlotState::Reserved => {
            free(guard);
            Ok(())
        }
        SlotState::Held { .. } => Err(SlotRefusal::Held),
    }
}

/// A new attempt under the slot that the host has: a retry, or a new target. Held stays held,
/// and nothing new is counted.
#[must_use]
pub fn retarget(
    guard: &mut Guard,
    slot: &Slot,
    generation: Generation,
    target: SpecHash,
    now: Time,
) -> Slot {
    Slot {
        attempt: guard.next_attempt(),
        generation,
        target,
        state: match slot.state {
            SlotState::Reserved => SlotState::Reserved,
            SlotState::Held { .. } => SlotState::Held { taken_by: None },
        },
        attempt_since: now,
        ..slot.clone()
    }
}

/// Frees a slot on the host's evidence: its journal is closed as done, for this very attempt.
/// The caller has checked that all that the attempt was to change is in force and healthy.
///
/// # Errors
///
/// [`SlotRefusal::OtherAttempt`] or [`SlotRefusal::NotDone`]: the evidence is not about this slot.
pub fn conclude(guard: &mut Guard, slot: &Slot, journal: &JournalFacts) -> Result<(), SlotRefusal> {
    if journal.attempt != slot.attempt {
        return Err(SlotRefusal::OtherAttempt(slot.attempt));
    }
    if journal.state != JournalState::Done {
        return Err(SlotRefusal::NotDone);
    }
    free(guard);
    Ok(())
}

/// Frees a slot in whatever state, because the master says that the agent is gone for good, or
/// because an operator says so.
pub fn collect(guard: &mut Guard, _slot: &Slot) {
    free(guard);
}

fn free(guard: &mut Guard) {
    guard.held = guard.held.saturating_sub(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: SpecHash = SpecHash([1; 32]);
    const NOW: Time = Time(1_000);

    fn reserved(guard: &mut Guard, host: &str, limit: u32) -> Result<Slot, SlotRefusal> {
        reserve(guard, None, &host.into(), limit, Generation(1), TARGET, NOW)
    }

    fn guard() -> Guard {
        Guard::new("c1".into())
    }

    fn done(attempt: Attempt) -> JournalFacts {
        JournalFacts { attempt, run: "r1".into(), state: JournalState::Done }
    }

    #[test]
    fn s51_asking_twice_gives_the_same_answer_and_one_slot() {
        let mut guard = guard();
        let slot = reserved(&mut guard, "a", 1).unwrap();
        let held = admit(&slot, slot.attempt, &"r1".into()).unwrap();
        assert_eq!(admit(&held, slot.attempt, &"r1".into()), Ok(held.clone()));
        assert_eq!(guard.held, 1);
        assert_eq!(admit(&held, slot.attempt, &"r2".into()), Err(SlotRefusal::OtherRun));
        assert_eq!(
            reserve(&mut guard, Some(&held), &"a".into(), 2, Generation(1), TARGET, NOW),
            Err(SlotRefusal::AlreadyHeld("a".into()))
        );
    }

    #[test]
    fn s52_a_full_budget_refuses_until_it_is_raised() {
        let mut guard = guard();
        reserved(&mut guard, "a", 1).unwrap();
        assert_eq!(reserved(&mut guard, "b", 1), Err(SlotRefusal::Full { held: 1, limit: 1 }));
        assert!(reserved(&mut guard, "b", 2).is_ok());
        assert_eq!(guard.held, 2);
    }

    #[test]
    fn s05_a_budget_lowered_below_those_in_flight_starts_none() {
        let mut guard = guard();
        let slot = reserved(&mut guard, "a", 1).unwrap();
        assert_eq!(reserved(&mut guard, "b", 0), Err(SlotRefusal::Full { held: 1, limit: 0 }));
        conclude(&mut guard, &slot, &done(slot.attempt)).unwrap();
        assert!(reserved(&mut guard, "b", 1).is_ok());
    }

    #[test]
    fn s56_a_slot_is_never_free_because_it_is_old() {
        let mut guard = guard();
        let second = reserved(&mut guard, "n2", 2).unwrap();
        let held = admit(&second, second.attempt, &"r1".into()).unwrap();
        assert!(reserved(&mut guard, "n1", 2).is_ok(), "one of two is free");
        assert_eq!(withdraw(&mut guard, &held), Err(SlotRefusal::Held));
        // Fresh, and after more time than there is.
        for now in [NOW, Time(u64::MAX)] {
            let third = reserve(&mut guard, None, &"n3".into(), 2, Generation(1), TARGET, now);
            assert_eq!(third, Err(SlotRefusal::Full { held: 2, limit: 2 }));
        }
    }

    #[test]
    fn only_a_journal_closed_as_done_for_this_attempt_frees_a_slot() {
        let mut guard = guard();
        let first = reserved(&mut guard, "a", 1).unwrap();
        let held = admit(&first, first.attempt, &"r1".into()).unwrap();
        let again = retarget(&mut guard, &held, Generation(2), TARGET, NOW);
        assert_eq!(again.state, SlotState::Held { taken_by: None });
        assert_eq!(
            conclude(&mut guard, &again, &done(first.attempt)),
            Err(SlotRefusal::OtherAttempt(again.attempt))
        );
        for state in [JournalState::Open, JournalState::Undone { why: "x".into() }] {
            let journal = JournalFacts { state, ..done(again.attempt) };
            assert_eq!(conclude(&mut guard, &again, &journal), Err(SlotRefusal::NotDone));
        }
        assert_eq!(guard.held, 1);
        conclude(&mut guard, &again, &done(again.attempt)).unwrap();
        assert_eq!(guard.held, 0);
    }

    #[test]
    fn the_guard_remembers_a_bounded_number_of_reservations_and_forgets_none() {
        let mut guard = guard();
        for n in 0..100 {
            reserve(&mut guard, None, &"a".into(), 1_000, Generation(1), TARGET, Time(n)).unwrap();
        }
        assert!(guard.taken.len() <= TAKEN_KEPT);
        assert_eq!(guard.taken.iter().map(|taken| taken.count).sum::<u32>(), 100);
    }
}
