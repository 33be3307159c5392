//! The slot protocol at its smallest, in every order in which things can happen: two hosts, one
//! slot, controllers that crash or work side by side and know nothing of each other, messages that are lost, late
//! and repeated.
//!
//! Every change of guard, slot and journal is made by the functions of `budget::slot` and
//! `job::protocol` that the product runs, so the model cannot drift away from the code. What is
//! modelled here is only the world around them: when a transaction reaches etcd, which messages
//! are under way, which process dies.
//!
//! A checker that finds nothing may be blind. So the same model is run with the protocol
//! weakened by one piece at a time, and has to find the breach.
//!
//! Not modelled: release by an operator, a store restored from a backup, and a machine that comes
//! back with its disk after the master was told that it is gone: who says so vouches for it.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "in a test they are assertions")]
#![expect(clippy::print_stdout, reason = "how much was looked at is worth a line")]

mod controller;
mod forget;
mod host;
mod model;
mod names;
mod stuck;
mod world;

use std::collections::BTreeSet;

use model::{Faults, Protocol, SlotModel};
use stateright::{Checker, HasDiscoveries, Model};

/// Far more transitions than any of the runs has: one that reaches it is not exhaustive.
const TOO_MANY: usize = 200_000_000;

#[test]
fn slot_model_the_agreed_protocol_keeps_the_budget_in_every_order() {
    keeps(Faults { failures: 2, drifts: 1, ..Faults::NONE });
}

#[test]
fn slot_model_a_new_target_in_the_midst_of_an_attempt_keeps_the_budget_in_every_order() {
    keeps(Faults { edits: 1, ..Faults::NONE });
}

#[test]
fn slot_model_machines_that_vanish_and_come_back_blank_keep_the_budget_in_every_order() {
    keeps(Faults { gone: 2, ..Faults::NONE });
}

#[test]
#[ignore = "long: half a million states"]
fn long_slot_model_machines_that_vanish_and_processes_that_die_keep_the_budget() {
    keeps(Faults { failures: 1, gone: 2, ..Faults::NONE });
}

#[test]
#[ignore = "long: a million states"]
fn long_slot_model_a_new_target_and_a_process_that_dies_keep_the_budget() {
    keeps(Faults { failures: 1, edits: 1, ..Faults::NONE });
}

#[test]
#[ignore = "long: nearly a million states"]
fn long_slot_model_a_new_target_a_drift_and_a_machine_that_vanishes_keep_the_budget() {
    keeps(Faults { drifts: 1, edits: 1, gone: 1, ..Faults::NONE });
}

#[test]
#[ignore = "long: half a million states"]
fn long_slot_model_a_machine_that_vanishes_a_drift_and_a_process_that_dies_keep_the_budget() {
    keeps(Faults { failures: 1, drifts: 1, gone: 1, ..Faults::NONE });
}

#[test]
fn slot_model_no_slot_is_stuck_whatever_was_lost() {
    let stuck = stuck::search(SlotModel::new(
        Protocol::Agreed,
        Faults { failures: 1, drifts: 1, ..Faults::NONE },
    ));
    println!("Agreed: {} states, {} of them stuck", stuck.states, stuck.stuck);
    assert_eq!(stuck.first, None, "from here no slot is ever freed");
}

#[test]
fn slot_model_no_slot_is_stuck_whoever_vanishes() {
    let stuck = stuck::search(SlotModel::new(Protocol::Agreed, Faults { gone: 1, ..Faults::NONE }));
    println!("Agreed: {} states, {} of them stuck", stuck.states, stuck.stuck);
    assert_eq!(stuck.first, None, "from here no slot is ever freed");
}

#[test]
#[ignore = "long: half a million states"]
fn long_slot_model_no_slot_is_stuck_whatever_is_wanted() {
    let stuck =
        stuck::search(SlotModel::new(Protocol::Agreed, Faults { edits: 1, ..Faults::NONE }));
    println!("Agreed: {} states, {} of them stuck", stuck.states, stuck.stuck);
    assert_eq!(stuck.first, None, "from here no slot is ever freed");
}

#[test]
fn slot_model_finds_the_slot_that_nobody_can_free() {
    let model = SlotModel::new(Protocol::NeverTriesAgain, Faults { failures: 1, ..Faults::NONE });
    let stuck = stuck::search(model);
    println!("{:?}: {} states, {} of them stuck", model.protocol, stuck.states, stuck.stuck);
    assert!(stuck.first.is_some(), "an executor that dies after the yes leaves its slot held");
}

#[test]
fn slot_model_finds_the_slot_that_nobody_can_free_if_an_open_journal_is_not_carried_on() {
    let model = SlotModel::new(Protocol::CarriesNothingOn, Faults { failures: 1, ..Faults::NONE });
    let stuck = stuck::search(model);
    println!("{:?}: {} states, {} of them stuck", model.protocol, stuck.states, stuck.stuck);
    assert!(stuck.first.is_some(), "an executor that dies after it opened the journal");
}

#[test]
fn slot_model_finds_the_breach_if_slots_are_counted_in_memory() {
    breaks(Protocol::CountsInMemory, Faults { failures: 1, ..Faults::NONE }, model::BUDGET_KEPT);
}

#[test]
fn slot_model_finds_the_breach_if_a_leader_trusts_its_election() {
    breaks(Protocol::CountsInMemory, Faults { elections: 1, ..Faults::NONE }, model::BUDGET_KEPT);
}

#[test]
fn slot_model_finds_the_breach_if_evidence_of_any_attempt_frees_a_slot() {
    breaks(Protocol::TakesAnyEvidence, Faults { drifts: 1, ..Faults::NONE }, model::BUDGET_KEPT);
}

#[test]
fn slot_model_finds_the_breach_if_the_host_does_not_ask() {
    breaks(Protocol::HostDoesNotAsk, Faults::NONE, model::BUDGET_KEPT);
}

#[test]
fn slot_model_finds_the_breach_if_the_answer_is_sent_before_the_commit() {
    breaks(Protocol::AnswersBeforeCommit, Faults::NONE, model::BUDGET_KEPT);
}

#[test]
fn slot_model_finds_the_breach_if_a_slot_is_withdrawn_without_comparing_it() {
    breaks(Protocol::WithdrawsBlindly, Faults::NONE, model::BUDGET_KEPT);
}

#[test]
fn slot_model_finds_the_breach_if_the_guard_is_not_compared() {
    breaks(Protocol::GuardNotCompared, Faults::NONE, model::BUDGET_KEPT);
}

#[test]
fn slot_model_finds_the_breach_if_the_unit_does_not_look_at_the_journal() {
    breaks(Protocol::UnitDoesNotLook, Faults { drifts: 1, ..Faults::NONE }, model::BUDGET_KEPT);
}

#[test]
fn slot_model_finds_the_breach_if_healthy_is_enough_to_free_a_slot() {
    breaks(Protocol::FreesOnHealthy, Faults::NONE, model::BUDGET_KEPT);
}

#[test]
fn slot_model_finds_the_breach_if_an_old_launch_is_run_again() {
    breaks(Protocol::RunsOldLaunches, Faults { failures: 1, ..Faults::NONE }, model::RUN_ONCE);
}

/// Looks at all there is.
fn keeps(faults: Faults) {
    let checker = SlotModel::new(Protocol::Agreed, faults)
        .checker()
        .finish_when(HasDiscoveries::AnyFailures)
        .target_state_count(TOO_MANY)
        .spawn_bfs()
        .join();
    let states = checker.unique_state_count();
    checker.assert_properties();
    assert!(checker.is_done() && checker.state_count() < TOO_MANY, "not exhaustive");
    let (transitions, depth) = (checker.state_count(), checker.max_depth());
    println!(
        "Agreed, {faults:?}: no breach; {states} states, {transitions} transitions, depth {depth}"
    );
}

/// The checker goes breadth first, so what it finds is the shortest story.
fn breaks(protocol: Protocol, faults: Faults, property: &'static str) {
    let checker = SlotModel::new(protocol, faults)
        .checker()
        .finish_when(HasDiscoveries::AllOf(BTreeSet::from([property])))
        .target_state_count(TOO_MANY)
        .spawn_bfs()
        .join();
    let states = checker.unique_state_count();
    let story = checker.discovery(property).expect("the checker is blind to this weakness");
    let steps = story.into_actions().len();
    println!("{protocol:?}: broken after {steps} steps, {states} states: {property}");
}
