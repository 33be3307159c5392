//! Histories from seeds: random small clusters with edits and faults of every kind, the laws of
//! `sim::seeds::laws` looked at after every event as the hosts see it. The laws are 86 to 91 among the
//! acceptance scenarios, and each history is held to all of them.
//!
//! A seed that fails is told with the command that replays it, and the least that is left of it.

#![expect(clippy::print_stdout, reason = "how much was run is worth a line")]
#![expect(clippy::expect_used, reason = "a test that cannot go on has failed")]

use calico_dcos::sim::run::plant::Plant;
use calico_dcos::sim::seeds::laws::Law;
use calico_dcos::sim::seeds::{History, range, shrink::shrink};
use tokio::time::Instant;

fn run(seeds: std::ops::Range<u64>) {
    let began = Instant::now();
    match range::run(seeds.clone(), None, 1, |_, _| {}) {
        Ok(tally) => println!("{seeds:?}: {tally}; {} s", began.elapsed().as_secs()),
        Err(mut broken) => {
            let (seed, breach) = broken.remove(0);
            let (least, breach) = shrink(&History::of(seed), breach, None);
            let story = least.story(None).unwrap_or_else(|breach| breach.to_string());
            panic!("seed {seed}: {breach}\n{least}\n{story}\nreplay: {}", replay(seed));
        }
    }
}

fn replay(seed: u64) -> String {
    format!("cargo run -- sim seeds --from {seed} --to {} --story", seed + 1)
}

/// Equal parts of a range, each a test: whoever runs tests spreads them.
macro_rules! parts {
    ($each:literal: $($name:ident $part:literal,)*) => {
        $(
            #[test]
            fn $name() {
                run($part * $each..($part + 1) * $each);
            }
        )*
    };
}

parts! { 1_250:
    s86_to_s91_hold_in_every_history_part_1_of_8 0,
    s86_to_s91_hold_in_every_history_part_2_of_8 1,
    s86_to_s91_hold_in_every_history_part_3_of_8 2,
    s86_to_s91_hold_in_every_history_part_4_of_8 3,
    s86_to_s91_hold_in_every_history_part_5_of_8 4,
    s86_to_s91_hold_in_every_history_part_6_of_8 5,
    s86_to_s91_hold_in_every_history_part_7_of_8 6,
    s86_to_s91_hold_in_every_history_part_8_of_8 7,
}

/// A law is broken by the fault that is planted for it, and the suite sees it.
#[track_caller]
fn finds(plant: Plant, laws: &[Law]) {
    let broken = range::run(0..1_000, Some(plant), 1, |_, _| {});
    let (seed, breach) = broken.expect_err("the suite is blind to it").remove(0);
    println!("{plant:?}: found with seed {seed}: {breach}");
    assert!(laws.contains(&breach.law), "seed {seed}: {breach}");
}

#[test]
fn finds_a_slot_that_is_never_given_back() {
    finds(Plant::NeverFrees, &[Law::Settles]);
}

#[test]
fn finds_writes_that_never_end() {
    finds(Plant::NeverRests, &[Law::Quiet]);
}

#[test]
fn finds_a_step_that_is_carried_out_twice() {
    finds(Plant::StepsTwice, &[Law::StartOnce]);
}

#[test]
fn finds_a_task_that_is_launched_twice() {
    finds(Plant::LaunchesTwice, &[Law::Tasks]);
}

#[test]
fn finds_slots_that_are_counted_in_memory() {
    finds(Plant::CountsInMemory, &[Law::Budget]);
}

#[test]
fn finds_a_halt_that_the_next_leader_does_not_know_of() {
    finds(Plant::ForgetsHalt, &[Law::Halt]);
}

#[test]
fn finds_a_process_that_is_not_the_same_from_run_to_run() {
    finds(Plant::Unsteady, &[Law::Steady]);
}
