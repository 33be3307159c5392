//! Whether the records of slots tell the truth: guard, slots and journals looked at side by side.
//!
//! A backup of etcd that was restored has forgotten slots, and attempts that hosts have on record.
//! Nothing may start then until every host has reported afresh; the slots are made anew from the
//! journals. The controller and every surface ask [`check`], so that all show the same halt.

use std::collections::BTreeMap;

use super::slot::{Guard, SLOT_VERSION, Slot, SlotState};
use crate::observed::facts::{JournalFacts, JournalState};
use crate::words::{Attempt, Generation, HostName, SpecHash, Time};

/// The records, as far as they have to fit together.
#[derive(Clone, Copy, Debug)]
pub struct Books<'a> {
    /// The guard; none in a store that has none yet.
    pub guard: Option<&'a Guard>,
    /// How many slot records there are.
    pub slots: usize,
    /// The cluster ID of the etcd that all of this was read from; none if that is not known.
    pub cluster: Option<&'a str>,
    /// The newest attempt that any host has on record.
    pub newest: Option<Attempt>,
}

/// What the records say cannot be true. Nothing starts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Untrue {
    /// etcd is another one, or went back in time.
    #[error(
        "store-restored: etcd is not the one that the slots were written to, or went back to a \
         backup; nothing starts until every host has reported afresh (if one cannot any more, \
         mark its agent gone at the Mesos master)"
    )]
    Restored,
    /// Somebody wrote to `slots/` by hand.
    #[error(
        "the guard counts {counted} slots and there are {found}; somebody wrote to `slots/` by \
         hand: put `held` of `slots/guard` right"
    )]
    Miscounted {
        /// What the guard says.
        counted: u32,
        /// How many there are.
        found: usize,
    },
}

/// Looks at the records side by side.
///
/// # Errors
///
/// What does not fit; a restored store first, since its count may be wrong as well.
pub fn check(books: Books<'_>) -> Result<(), Untrue> {
    let known = books.guard.map_or(Attempt(0), |guard| guard.attempt);
    let other = |guard: &Guard| books.cluster.is_some_and(|cluster| guard.cluster != cluster);
    if books.guard.is_some_and(other) || books.newest.is_some_and(|newest| newest > known) {
        return Err(Untrue::Restored);
    }
    let counted = books.guard.map_or(0, |guard| guard.held);
    if counted as usize == books.slots {
        Ok(())
    } else {
        Err(Untrue::Miscounted { counted, found: books.slots })
    }
}

/// The records as the hosts' journals have them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rebuilt {
    /// The guard, of this etcd, with the newest attempt there ever was.
    pub guard: Guard,
    /// The slots that differ: what they are to be, none where the host has none.
    pub slots: BTreeMap<HostName, Option<Slot>>,
}

/// Makes the records anew, once every host has reported afresh, by at most `most` slots at a time;
/// only the last step says that the store is the right one. A host whose journal is open is at
/// work and holds a slot, also beyond the limit; a slot for an attempt that the host has left
/// behind is none; all others stay, and are judged as always.
#[must_use]
pub fn rebuild<'a>(
    guard: &Guard,
    slots: &BTreeMap<HostName, Slot>,
    journals: impl Iterator<Item = (&'a HostName, &'a JournalFacts)>,
    cluster: &str,
    most: usize,
    now: Time,
) -> Rebuilt {
    let mut newest = slots.values().map(|slot| slot.attempt).fold(guard.attempt, Attempt::max);
    let mut changes = BTreeMap::new();
    for (host, journal) in journals {
        newest = newest.max(journal.attempt);
        let known = slots.get(host).map(|slot| slot.attempt);
        if journal.state == JournalState::Open && known != Some(journal.attempt) {
            changes.insert(host.clone(), Some(at_work(journal, now)));
        } else if known.is_some_and(|known| known < journal.attempt) {
            changes.insert(host.clone(), None);
        }
    }
    let mut guard = guard.clone();
    if changes.len() <= most {
        (guard.cluster, guard.attempt) = (cluster.to_owned(), newest);
    }
    let slots_of = |(host, slot): (&HostName, &Option<Slot>)| match slot {
        Some(_) if slots.contains_key(host) => 0,
        Some(_) => 1,
        None => -1,
    };
    let changes: BTreeMap<_, _> = changes.into_iter().take(most).collect();
    let more: isize = changes.iter().map(slots_of).sum();
    guard.held = u32::try_from(slots.len().saturating_add_signed(more)).unwrap_or(u32::MAX);
    Rebuilt { guard, slots: changes }
}

/// The slot of a host that was admitted by a leader whose records are lost: nobody knows any more
/// for what, so its failure counts for no generation.
fn at_work(journal: &JournalFacts, now: Time) -> Slot {
    Slot {
        version: SLOT_VERSION,
        attempt: journal.attempt,
        generation: Generation(0),
        target: SpecHash([0; 32]),
        state: SlotState::Held { taken_by: Some(journal.run.clone()) },
        since: now,
        attempt_since: now,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn guard(held: u32, attempt: u64) -> Guard {
        Guard { held, attempt: Attempt(attempt), ..Guard::new("c1".to_owned()) }
    }

    #[test]
    fn what_does_not_fit_together_is_found() {
        let miscounted = |counted, found| Err(Untrue::Miscounted { counted, found });
        for (guard, slots, cluster, newest, expected) in [
            (None, 0, "c1", None, Ok(())),
            (Some(guard(1, 7)), 1, "c1", Some(7), Ok(())),
            (Some(guard(1, 7)), 1, "c2", Some(7), Err(Untrue::Restored)),
            (Some(guard(1, 7)), 1, "c1", Some(8), Err(Untrue::Restored)),
            (None, 0, "c1", Some(1), Err(Untrue::Restored)),
            (Some(guard(2, 7)), 1, "c1", Some(7), miscounted(2, 1)),
            (None, 1, "c1", None, miscounted(0, 1)),
            (Some(guard(2, 7)), 1, "c2", Some(7), Err(Untrue::Restored)),
        ] {
            let newest = newest.map(Attempt);
            let books = Books { guard: guard.as_ref(), slots, cluster: Some(cluster), newest };
            assert_eq!(check(books), expected, "{books:?}");
            let unknown = Books { cluster: None, ..books };
            assert!(check(unknown).is_ok() || newest > Some(Attempt(7)) || expected.is_err());
        }
    }

    fn slot(attempt: u64) -> Slot {
        Slot { state: SlotState::Reserved, ..at_work(&journal(attempt, 0), Time(1)) }
    }

    fn journal(attempt: u64, state: u8) -> JournalFacts {
        let state = match state {
            0 => JournalState::Open,
            1 => JournalState::Done,
            _ => JournalState::Undone { why: "x".to_owned() },
        };
        JournalFacts { attempt: Attempt(attempt), run: "r".into(), state }
    }

    proptest! {
        /// Hosts with or without a slot in the backup, and with or without a journal.
        #[test]
        fn after_it_all_fits_and_every_host_at_work_holds_a_slot(
            hosts in proptest::collection::vec(
                (proptest::option::of(1_u64..9), proptest::option::of((1_u64..9, 0_u8..3))), 0..8),
            attempt in 0_u64..9,
            most in 1_usize..9,
        ) {
            let name = |n: usize| HostName(format!("a{n}"));
            let numbered = || hosts.iter().enumerate();
            let slots: BTreeMap<_, _> =
                numbered().filter_map(|(n, (held, _))| Some((name(n), slot((*held)?)))).collect();
            let journals: BTreeMap<_, _> = numbered()
                .filter_map(|(n, (_, said))| said.map(|(at, state)| (name(n), journal(at, state))))
                .collect();
            let mut after = slots.clone();
            let mut kept = guard(9, attempt);
            for step in 0.. {
                let rebuilt = rebuild(&kept, &after, journals.iter(), "c2", most, Time(5));
                prop_assert!(rebuilt.slots.len() <= most && step < 10);
                let last = rebuilt.guard.cluster == "c2";
                kept = rebuilt.guard;
                for (host, slot) in rebuilt.slots {
                    match slot {
                        Some(slot) => after.insert(host, slot),
                        None => after.remove(&host),
                    };
                }
                prop_assert_eq!(kept.held as usize, after.len());
                if last {
                    break;
                }
            }
            let newest = journals.values().map(|journal| journal.attempt).max();
            let books = Books {
                guard: Some(&kept), slots: after.len(), cluster: Some("c2"), newest,
            };
            prop_assert_eq!(check(books), Ok(()));
            prop_assert!(after.values().all(|slot| slot.attempt <= kept.attempt));
            for (host, journal) in &journals {
                let slot = after.get(host);
                if journal.state == JournalState::Open {
                    prop_assert_eq!(slot.map(|slot| slot.attempt), Some(journal.attempt));
                } else {
                    prop_assert!(slot.is_none_or(|slot| slot.attempt >= journal.attempt));
                }
            }
            let again = rebuild(&kept, &after, journals.iter(), "c2", most, Time(9));
            prop_assert_eq!(again, Rebuilt { guard: kept, slots: BTreeMap::new() });
        }
    }
}
