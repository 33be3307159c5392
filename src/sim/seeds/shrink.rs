//! The least of a history that still breaks the law: faults, edits and what people do are left out as
//! long as it does.

use super::History;
use super::laws::Breach;
use crate::sim::run::plant::Plant;

/// Leaves out what is not needed. Gives what is left, and how it breaks the law.
#[must_use]
pub fn shrink(history: &History, breach: Breach, plant: Option<Plant>) -> (History, Breach) {
    let (mut least, mut found) = (history.clone(), breach);
    loop {
        let smaller = without_one(&least).find_map(|smaller| {
            let broken = smaller.run(plant).err().filter(|broken| broken.law == found.law)?;
            Some((smaller, broken))
        });
        match smaller {
            Some(smaller) => (least, found) = smaller,
            None => return (least, found),
        }
    }
}

/// The history without one of its faults, edits, requests or answers of gates, or with one controller.
fn without_one(history: &History) -> impl Iterator<Item = History> {
    let faults = (0..history.scenario.faults.len()).rev().map(|at| {
        let mut smaller = history.clone();
        smaller.scenario.faults.remove(at);
        smaller
    });
    let edits = (0..history.scenario.edits.len()).rev().map(|at| {
        let mut smaller = history.clone();
        smaller.scenario.edits.remove(at);
        smaller
    });
    let requests = (0..history.people.requests.len()).rev().map(|at| {
        let mut smaller = history.clone();
        smaller.people.requests.remove(at);
        smaller
    });
    let gates = (0..history.people.gates.len()).rev().map(|at| {
        let mut smaller = history.clone();
        smaller.people.gates.remove(at);
        smaller
    });
    let alone = (history.scenario.controllers > 1).then(|| {
        let mut smaller = history.clone();
        smaller.scenario.controllers = 1;
        smaller
    });
    faults.chain(edits).chain(requests).chain(gates).chain(alone)
}
