//! Many histories, on all processors.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use super::laws::Breach;
use super::{History, Tally};
use crate::sim::run::plant::Plant;

/// Where all workers look.
#[derive(Debug)]
struct Desk {
    next: u64,
    total: Tally,
    broken: Vec<(u64, Breach)>,
}

/// Runs the histories of a range until so many have broken a law. `ended` is told of each.
///
/// # Errors
///
/// The seeds that broke a law, smallest first, and how.
pub fn run(
    seeds: Range<u64>,
    plant: Option<Plant>,
    most: usize,
    ended: impl Fn(u64, Option<&Breach>) + Sync,
) -> Result<Tally, Vec<(u64, Breach)>> {
    let desk = Desk { next: seeds.start, total: Tally::default(), broken: Vec::new() };
    let desk = Mutex::new(desk);
    let at_desk = || desk.lock().unwrap_or_else(PoisonError::into_inner);
    let take = || {
        let mut desk = at_desk();
        let seed = desk.next;
        desk.next += 1;
        (seed < seeds.end && desk.broken.len() < most).then_some(seed)
    };
    let work = || {
        while let Some(seed) = take() {
            let result = History::of(seed).run(plant);
            ended(seed, result.as_ref().err());
            let mut desk = at_desk();
            match result {
                Ok(tally) => desk.total += tally,
                Err(breach) => desk.broken.push((seed, breach)),
            }
        }
    };
    std::thread::scope(|scope| {
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        for _ in 0..workers {
            scope.spawn(work);
        }
    });
    let desk = desk.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut broken = desk.broken;
    broken.sort_by_key(|(seed, _)| *seed);
    if broken.is_empty() { Ok(desk.total) } else { Err(broken) }
}
