//! Histories from seeds: random small clusters with edits and faults of every kind, the laws of
//! `sim::seeds::laws` looked at after every event as the hosts see it. The laws are 86 to 91 among the
//! acceptance scenarios, and each history is held to all of them.
//!
//! A seed that fails is told with the command that replays it, and the least that is left of it.

#![expect(clippy::print_stdout, reason = "how much was run is worth a line")]
#![expect(clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::process::Stdio;

use calico_dcos::sim::run::plant::Plant;
use calico_dcos::sim::seeds::laws::Law;
use calico_dcos::sim::seeds::range::{self, Orders};
use calico_dcos::sim::seeds::{History, shrink::shrink};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::time::Instant;

fn run(seeds: std::ops::Range<u64>) {
    let began = Instant::now();
    let ran = range::run(seeds.clone(), Orders::default(), |_, _| {});
    println!("{seeds:?}: {}; {} s", ran.tally, began.elapsed().as_secs());
    if let Some((seed, breach)) = ran.broken.into_iter().next() {
        let (least, breach) = shrink(&History::of(seed), breach, None);
        let story = least.story(None).unwrap_or_else(|breach| breach.to_string());
        panic!("seed {seed}: {breach}\n{least}\n{story}\nreplay: {}", replay(seed));
    }
    assert_eq!(ran.next, seeds.end);
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

/// A law is broken by the fault that is planted for it, and the suite sees it. Other laws may be
/// broken by it in other histories.
#[track_caller]
fn finds(plant: Plant, law: Law) {
    let orders = Orders { plant: Some(plant), most: 8, ..Orders::default() };
    let mut broken = range::run(0..1_000, orders, |_, _| {}).broken.into_iter();
    let found = broken.find(|(_, breach)| breach.law == law);
    let (seed, breach) = found.expect("the suite is blind to it");
    println!("{plant:?}: found with seed {seed}: {breach}");
}

#[test]
fn finds_a_slot_that_is_never_given_back() {
    finds(Plant::NeverFrees, Law::Settles);
}

#[test]
fn finds_writes_that_never_end() {
    finds(Plant::NeverRests, Law::Quiet);
}

#[test]
fn finds_a_step_that_is_carried_out_twice() {
    finds(Plant::StepsTwice, Law::StartOnce);
}

#[test]
fn finds_a_task_that_is_launched_twice() {
    finds(Plant::LaunchesTwice, Law::Tasks);
}

#[test]
fn finds_slots_that_are_counted_in_memory() {
    finds(Plant::CountsInMemory, Law::Budget);
}

#[test]
fn finds_a_halt_that_the_next_leader_does_not_know_of() {
    finds(Plant::ForgetsHalt, Law::Halt);
}

#[test]
fn finds_a_process_that_is_not_the_same_from_run_to_run() {
    finds(Plant::Unsteady, Law::Steady);
}

#[test]
fn finds_generations_that_start_without_approval() {
    finds(Plant::ApprovesItself, Law::Approved);
}

#[test]
fn finds_hosts_that_do_not_wait_for_the_canaries() {
    finds(Plant::PromotesItself, Law::Canary);
}

#[test]
fn finds_pauses_that_nobody_hears_of() {
    finds(Plant::ForgetsPauses, Law::Paused);
}

#[test]
fn finds_gates_that_are_taken_to_be_open() {
    finds(Plant::OpensGates, Law::Gates);
}

#[test]
fn finds_windows_by_the_clock_of_another_zone() {
    finds(Plant::WrongZone, Law::Windows);
}

#[test]
fn finds_notices_that_are_never_taken_back() {
    finds(Plant::LeavesNotices, Law::Notices);
}

/// A long range can be stopped at any time and gone on with: nothing is run twice, nothing left out.
#[tokio::test]
async fn a_range_that_is_stopped_says_how_to_go_on() {
    let mut seeds = tokio::process::Command::new(env!("CARGO_BIN_EXE_calico-dcos"))
        .args(["sim", "seeds", "--from", "7", "--to", "100000000", "--workers", "1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("it starts");
    let mut progress = BufReader::new(seeds.stderr.take().expect("piped")).lines();
    assert!(progress.next_line().await.expect("readable").is_some(), "it says how far it is");
    let pid = seeds.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    kill_process(pid.expect("it runs"), Signal::TERM).expect("it is ours");
    let output = seeds.wait_with_output().await.expect("it ends");
    assert_eq!(output.status.code(), Some(1), "not all of it was run");
    let told = String::from_utf8_lossy(&output.stdout);
    let [ran, on] = told.lines().collect::<Vec<_>>()[..] else { panic!("{told}") };
    let words: Vec<&str> = ran.split([' ', ':']).filter(|word| !word.is_empty()).collect();
    let ["7", "to", next, histories, "histories,", ..] = words[..] else { panic!("{ran}") };
    let number = |word: &str| word.parse::<u64>().expect("a number");
    assert_eq!(number(next), 7 + number(histories));
    let command = format!("calico-dcos sim seeds --from {next} --to 100000000 --workers 1");
    assert_eq!(on, format!("to go on: {command}"));
}
