//! Whether there is always a way on: the checker says what never happens, not what still can.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::rc::Rc;

use stateright::Model;

use super::model::{self, SlotModel};
use super::world::World;

/// Far more states than any of the searches meets.
const TOO_MANY: usize = 1_000_000;

/// What the search found.
pub(crate) struct Found {
    /// How many states there are.
    pub(crate) states: usize,
    /// How many of them have no way on.
    pub(crate) stuck: usize,
    /// The first of these, by the number of steps to it.
    pub(crate) first: Option<World>,
}

/// Looks for states from which no way leads to the end, unless something else goes wrong. As all
/// messages can be lost at any time, that the answer to a lost one is still to come is no way.
pub(crate) fn search(model: SlotModel) -> Found {
    let mut worlds: Vec<Rc<World>> = model.init_states().into_iter().map(Rc::new).collect();
    let mut numbers: HashMap<Rc<World>, usize> = worlds.iter().cloned().zip(0..).collect();
    let mut leads_here: Vec<Vec<u32>> = vec![Vec::new(); worlds.len()];
    let (mut at, mut steps) = (0, Vec::new());
    while at < worlds.len() {
        let world = Rc::clone(&worlds[at]);
        model.actions(&world, &mut steps);
        for step in steps.drain(..) {
            let Some(next) = model.next_state(&world, step) else { continue };
            let number = match numbers.entry(Rc::new(next)) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(new) => {
                    worlds.push(Rc::clone(new.key()));
                    leads_here.push(Vec::new());
                    *new.insert(worlds.len() - 1)
                }
            };
            if step.is_progress() {
                leads_here[number].push(u32::try_from(at).unwrap());
            }
        }
        at += 1;
        assert!(worlds.len() < TOO_MANY, "more states than can be: does something grow for ever?");
    }
    let ends = backwards(&worlds, &leads_here);
    let stuck = ends.iter().filter(|ends| !**ends).count();
    let first = ends.iter().position(|ends| !ends).map(|number| World::clone(&worlds[number]));
    Found { states: worlds.len(), stuck, first }
}

/// For each state whether a way leads from it to the end.
fn backwards(worlds: &[Rc<World>], leads_here: &[Vec<u32>]) -> Vec<bool> {
    let mut ends: Vec<bool> = worlds.iter().map(|world| model::is_done(world)).collect();
    let mut open: Vec<usize> = (0..ends.len()).filter(|number| ends[*number]).collect();
    while let Some(number) = open.pop() {
        for from in leads_here[number].iter().map(|from| *from as usize) {
            if !std::mem::replace(&mut ends[from], true) {
                open.push(from);
            }
        }
    }
    ends
}
