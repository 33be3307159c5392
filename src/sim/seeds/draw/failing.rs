//! Hosts whose restarts fail until the rollout halts, and leaders that go meanwhile: in one history of
//! ten, since those that are drawn otherwise hardly ever have both.
//!
//! It is drawn by dice of its own: the other histories do not depend on it.

use rand::SeedableRng;
use rand::rngs::SmallRng;
use serde_json::{Value, json};

use super::{Dice, History, restore_of};
use crate::sim::scenario::{For, RestartFails, TimedFault};

/// Makes the numbers others than those of the rest.
const OWN: u64 = 0x00fa_1175;
/// Restarts begin to fail within this time, in milliseconds: with the first of them, mostly.
const FAIL_MS: std::ops::Range<u64> = 4_000..20_000;
/// A halt comes within this time, and leaders go.
const GO_MS: std::ops::Range<u64> = 15_000..120_000;

pub(super) fn fail(history: &mut History) {
    let mut dice = Dice { rng: SmallRng::seed_from_u64(history.seed ^ OWN) };
    let names = history.scenario.host_names();
    // A halt that is lost with a restored store is none.
    if !dice.percent(10) || restore_of(&history.scenario.faults).is_some() {
        return;
    }
    if let Some((_, text)) = history.documents.first_mut()
        && let Ok(mut cluster) = serde_json::from_str::<Value>(text)
    {
        cluster["spec"]["rollout"]["maxFailures"] = json!(1);
        cluster["spec"]["rollout"]["attempts"] = json!(1 + dice.below(2));
        *text = cluster.to_string();
    }
    let faults = &mut history.scenario.faults;
    for _ in 0..=dice.below(3) {
        let (at, host) = (dice.ms(FAIL_MS), dice.pick(&names));
        let fails = RestartFails { host, times: 4 };
        faults.push(TimedFault { at, restart_fails: Some(fails), ..TimedFault::default() });
    }
    for _ in 0..=dice.below(3) {
        let (at, dead) = (dice.ms(GO_MS), For { span: dice.ms(100..20_000) });
        faults.push(TimedFault { at, controller_crash: Some(dead), ..TimedFault::default() });
    }
    faults.sort_by_key(|fault| fault.at);
}
