//! Many histories, on several processors, until all are run or somebody stops them.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::laws::Breach;
use super::{History, Tally};
use crate::sim::run::plant::Plant;

/// How a range is run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Orders<'a> {
    /// What is broken on purpose.
    pub plant: Option<Plant>,
    /// It ends when so many have broken a law; with the first one if this is 0.
    pub most: usize,
    /// How many run at a time; as many as there are processors if absent.
    pub workers: Option<NonZeroUsize>,
    /// Once this is set no further one begins.
    pub stop: Option<&'a AtomicBool>,
}

/// What a range came to: all histories before `next` have been run.
#[derive(Clone, Debug)]
pub struct Ran {
    /// Those that broke no law.
    pub tally: Tally,
    /// The seeds that broke one, smallest first, and how.
    pub broken: Vec<(u64, Breach)>,
    /// Where to go on; the end of the range if it was run whole.
    pub next: u64,
}

/// Runs the histories of a range, in their order. `ended` is told of each.
pub fn run(
    seeds: Range<u64>,
    orders: Orders<'_>,
    ended: impl Fn(u64, Option<&Breach>) + Sync,
) -> Ran {
    let ran = Ran { tally: Tally::default(), broken: Vec::new(), next: seeds.start };
    let desk = Mutex::new(ran);
    let at_desk = || desk.lock().unwrap_or_else(PoisonError::into_inner);
    let is_stopped = || orders.stop.is_some_and(|stop| stop.load(Ordering::Relaxed));
    let take = || {
        let mut desk = at_desk();
        let goes_on = desk.next < seeds.end && desk.broken.len() < orders.most.max(1);
        (goes_on && !is_stopped()).then(|| {
            desk.next += 1;
            desk.next - 1
        })
    };
    let work = || {
        while let Some(seed) = take() {
            let result = History::of(seed).run(orders.plant);
            ended(seed, result.as_ref().err());
            let mut desk = at_desk();
            match result {
                Ok(tally) => desk.tally += tally,
                Err(breach) => desk.broken.push((seed, breach)),
            }
        }
    };
    std::thread::scope(|scope| {
        let processors = || std::thread::available_parallelism().map_or(1, usize::from);
        for _ in 0..orders.workers.map_or_else(processors, NonZeroUsize::get) {
            scope.spawn(work);
        }
    });
    let mut ran = desk.into_inner().unwrap_or_else(PoisonError::into_inner);
    ran.broken.sort_by_key(|(seed, _)| *seed);
    ran
}
