//! Arithmetic with resources: what an agent has, what of it is taken, what is left to offer.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::config::Allocatable;
use crate::mesos::v1::{AllocationInfo, Reservation, Resource};

/// The owner of what is reserved for nobody.
pub(super) const UNRESERVED: &str = "*";

/// Quantities by owner (the role that they are reserved for, or [`UNRESERVED`]) and by name. No
/// quantity in it is zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pool(BTreeMap<(String, String), Quantity>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Quantity {
    /// Thousandths, in which Mesos counts.
    Scalar(i64),
    /// Both ends belong to a range. Sorted; no two touch.
    Ranges(Vec<(u64, u64)>),
}

/// How resources are written for a framework.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Form<'a> {
    /// The role that they are allocated to; only `MULTI_ROLE` frameworks are told.
    pub(super) allocated: Option<&'a str>,
    /// `RESERVATION_REFINEMENT`: reservations as a stack in place of `role`.
    pub(super) refined: bool,
}

/// The role that resources in use are allocated to.
pub(super) fn allocated_to(resources: &[Resource]) -> String {
    resources
        .iter()
        .find_map(|resource| resource.allocation_info.as_ref()?.role.clone())
        .unwrap_or_else(|| UNRESERVED.to_owned())
}

/// Resources in the form in which the master itself keeps them: with the role that they are
/// allocated to, and the one that they are reserved for as a reservation.
pub(super) fn kept(resources: &[Resource], role: &str) -> Vec<Resource> {
    let keep = |resource: &Resource| {
        let mut resource = resource.clone();
        if let Some(owner) = resource.role.take().filter(|owner| owner != UNRESERVED) {
            resource.reservations = vec![Reservation::of_static(&owner)];
        }
        resource.allocation_info = Some(AllocationInfo { role: Some(role.to_owned()) });
        resource
    };
    resources.iter().map(keep).collect()
}

/// What stands for the owner in a [`Pool`]: the role of a static reservation, or the whole stack
/// of reservations as JSON if there is a dynamic one in it.
fn owner(resource: &Resource) -> String {
    let is_static = |reservation: &Reservation| reservation.kind.as_deref() == Some("STATIC");
    let stack = match resource.rest.get("reservation").and_then(serde_json::Value::as_object) {
        Some(given) if resource.reservations.is_empty() => vec![Reservation {
            kind: Some("DYNAMIC".to_owned()),
            role: resource.role.clone(),
            rest: given.clone(),
        }],
        _ => resource.reservations.clone(),
    };
    if stack.iter().all(is_static) {
        return resource.reserved_for().unwrap_or(UNRESERVED).to_owned();
    }
    serde_json::to_string(&stack).unwrap_or_default()
}

fn reserved_dynamically(owner: &str, role: &str) -> bool {
    owner.starts_with('[')
        && serde_json::from_str::<Vec<Reservation>>(owner)
            .is_ok_and(|stack| stack.last().is_some_and(|r| r.role.as_deref() == Some(role)))
}

/// Where Mesos puts a resource among the others.
fn rank(name: &str) -> usize {
    let known = ["ports", "cpus", "mem", "disk"];
    known.iter().position(|known| *known == name).unwrap_or(known.len())
}

impl Pool {
    pub(super) fn from_wire(resources: &[Resource]) -> Self {
        let mut pool = Self::default();
        for resource in resources {
            let owner = owner(resource);
            let quantity = match (resource.scalar, &resource.ranges) {
                (Some(scalar), _) => Quantity::Scalar(thousandths(scalar.value)),
                (None, Some(ranges)) => Quantity::Ranges(union(
                    ranges.range.iter().map(|range| (range.begin, range.end)).collect(),
                )),
                (None, None) => continue,
            };
            pool.put((owner, resource.name.clone()), &quantity);
        }
        pool
    }

    pub(super) fn to_wire(&self, form: Form<'_>) -> Vec<Resource> {
        self.ranked()
            .map(|((owner, name), quantity)| {
                let mut resource = match quantity {
                    Quantity::Scalar(value) => Resource::scalar(name, units(*value)),
                    Quantity::Ranges(ranges) => Resource::ranges(name, ranges),
                };
                if owner.starts_with('[')
                    && let Ok(stack) = serde_json::from_str::<Vec<Reservation>>(owner)
                {
                    if form.refined {
                        resource.reservations = stack;
                    } else if let Some(last) = stack.last() {
                        resource.role.clone_from(&last.role);
                        let rest = serde_json::Value::Object(last.rest.clone());
                        resource.rest.insert("reservation".to_owned(), rest);
                    }
                } else if !form.refined {
                    resource.role = Some(owner.clone());
                } else if owner != UNRESERVED {
                    resource.reservations = vec![Reservation::of_static(owner)];
                }
                resource.allocation_info =
                    form.allocated.map(|role| AllocationInfo { role: Some(role.to_owned()) });
                resource
            })
            .collect()
    }

    /// In the order in which Mesos tells them.
    fn ranked(&self) -> impl Iterator<Item = (&(String, String), &Quantity)> {
        let mut all: Vec<_> = self.0.iter().collect();
        all.sort_by_key(|((owner, name), _)| (owner.as_str(), rank(name)));
        all.into_iter()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.keys().any(|(_, n)| n == name)
    }

    /// What a framework may be offered for that role: what is reserved for it or for nobody.
    pub(super) fn for_role(&self, role: &str) -> Self {
        let theirs =
            |owner: &str| owner == UNRESERVED || owner == role || reserved_dynamically(owner, role);
        Self(
            self.0
                .iter()
                .filter(|((owner, _), _)| theirs(owner))
                .map(|(key, quantity)| (key.clone(), quantity.clone()))
                .collect(),
        )
    }

    /// The same without a word about whom it is reserved for.
    pub(super) fn whole(&self) -> Self {
        let mut whole = Self::default();
        for ((_, name), quantity) in &self.0 {
            whole.put((UNRESERVED.to_owned(), name.clone()), quantity);
        }
        whole
    }

    /// Whether it is worth an offer.
    pub(super) fn is_allocatable(&self, least: Allocatable) -> bool {
        let enough = |name: &str, least: i64| {
            let sum: i64 = self
                .0
                .iter()
                .filter(|((_, n), _)| n == name)
                .map(
                    |(_, quantity)| if let Quantity::Scalar(value) = quantity { *value } else { 0 },
                )
                .sum();
            sum >= least
        };
        let (cpus, mem) = (enough("cpus", 10), enough("mem", 32_000));
        match least {
            Allocatable::Either => cpus || mem,
            Allocatable::All => cpus && mem && self.0.keys().any(|(_, name)| name == "ports"),
        }
    }

    /// The first quantity that is not more than nothing, as Mesos writes it.
    pub(super) fn not_positive(resources: &[Resource]) -> Option<String> {
        resources
            .iter()
            .find(|resource| resource.amount().is_some_and(|value| value <= 0.0))
            .map(|resource| format!("{}:{}", resource.name, resource.amount().unwrap_or_default()))
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (key, quantity) in &other.0 {
            self.put(key.clone(), quantity);
        }
    }

    /// Takes away what is there of `other`.
    pub(super) fn subtract(&mut self, other: &Self) {
        for (key, quantity) in &other.0 {
            let rest = match (self.0.remove(key), quantity) {
                (Some(Quantity::Scalar(mine)), Quantity::Scalar(theirs)) if mine > *theirs => {
                    Quantity::Scalar(mine - theirs)
                }
                (Some(Quantity::Ranges(mine)), Quantity::Ranges(theirs)) => {
                    Quantity::Ranges(difference(mine, theirs))
                }
                _ => continue,
            };
            self.put(key.clone(), &rest);
        }
    }

    pub(super) fn contains(&self, other: &Self) -> bool {
        other.0.iter().all(|(key, theirs)| match (self.0.get(key), theirs) {
            (Some(Quantity::Scalar(mine)), Quantity::Scalar(theirs)) => mine >= theirs,
            (Some(Quantity::Ranges(mine)), Quantity::Ranges(theirs)) => {
                difference(theirs.clone(), mine).is_empty()
            }
            _ => false,
        })
    }

    fn put(&mut self, key: (String, String), quantity: &Quantity) {
        let sum = match (self.0.remove(&key), quantity) {
            (Some(Quantity::Scalar(mine)), Quantity::Scalar(more)) => Quantity::Scalar(mine + more),
            (Some(Quantity::Ranges(mut mine)), Quantity::Ranges(more)) => {
                mine.extend(more);
                Quantity::Ranges(union(mine))
            }
            (_, quantity) => quantity.clone(),
        };
        let nothing = match &sum {
            Quantity::Scalar(value) => *value == 0,
            Quantity::Ranges(ranges) => ranges.is_empty(),
        };
        if !nothing {
            self.0.insert(key, sum);
        }
    }

    /// As Mesos writes it in its messages: `cpus(allocated: *):0.1; ports(allocated: *):[1-2]`.
    pub(super) fn describe(&self, role: &str) -> String {
        let mut text = String::new();
        for ((owner, name), quantity) in self.ranked() {
            if !text.is_empty() {
                text.push_str("; ");
            }
            text.push_str(name);
            let written = if owner == UNRESERVED {
                write!(text, "(allocated: {role}):")
            } else {
                write!(text, "(allocated: {role})(reservations: [(STATIC,{owner})]):")
            };
            let written = written.and_then(|()| match quantity {
                Quantity::Scalar(value) => write!(text, "{}", units(*value)),
                Quantity::Ranges(ranges) => {
                    let ranges: Vec<_> = ranges.iter().map(|(a, b)| format!("{a}-{b}")).collect();
                    write!(text, "[{}]", ranges.join(", "))
                }
            });
            debug_assert!(written.is_ok(), "writing to a String does not fail");
        }
        text
    }
}

#[expect(clippy::cast_possible_truncation, reason = "`as` saturates, and Mesos' range is smaller")]
fn thousandths(value: f64) -> i64 {
    (value * 1_000.0).round() as i64
}

#[expect(clippy::cast_precision_loss, reason = "thousandths of what a machine has fit")]
fn units(thousandths: i64) -> f64 {
    thousandths as f64 / 1_000.0
}

fn union(mut ranges: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    ranges.retain(|(begin, end)| begin <= end);
    ranges.sort_unstable();
    let mut joined: Vec<(u64, u64)> = Vec::with_capacity(ranges.len());
    for (begin, end) in ranges {
        match joined.last_mut() {
            Some(last) if begin <= last.1.saturating_add(1) => last.1 = last.1.max(end),
            _ => joined.push((begin, end)),
        }
    }
    joined
}

fn difference(ranges: Vec<(u64, u64)>, without: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut rest = ranges;
    for &(from, to) in without {
        rest = rest
            .into_iter()
            .flat_map(|(begin, end)| {
                if to < begin || end < from {
                    return [Some((begin, end)), None];
                }
                [
                    from.checked_sub(1).filter(|last| begin <= *last).map(|last| (begin, last)),
                    to.checked_add(1).filter(|first| *first <= end).map(|first| (first, end)),
                ]
            })
            .flatten()
            .collect();
    }
    rest
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn pool(cpus: f64, ports: &[(u64, u64)]) -> Pool {
        Pool::from_wire(&[Resource::scalar("cpus", cpus), Resource::ranges("ports", ports)])
    }

    fn numbers(ranges: &[(u64, u64)]) -> BTreeSet<u64> {
        ranges.iter().flat_map(|&(begin, end)| begin..=end).collect()
    }

    fn small_ranges() -> impl Strategy<Value = Vec<(u64, u64)>> {
        prop::collection::vec((0_u64..30, 0_u64..6).prop_map(|(a, n)| (a, a + n)), 0..5)
    }

    proptest! {
        #[test]
        fn ranges_behave_as_the_sets_that_they_stand_for(a in small_ranges(), b in small_ranges()) {
            let both: Vec<_> = a.iter().chain(&b).copied().collect();
            prop_assert_eq!(numbers(&union(both)), &numbers(&a) | &numbers(&b));
            prop_assert_eq!(numbers(&difference(a.clone(), &b)), &numbers(&a) - &numbers(&b));
        }

        #[test]
        fn what_was_taken_and_given_back_is_the_whole_again(c in 1_u32..4000, p in 0_u64..100) {
            let whole = pool(4.0, &[(0, 100)]);
            let part = pool(f64::from(c) / 1000.0, &[(p, 100)]);
            let mut rest = whole.clone();
            rest.subtract(&part);
            prop_assert!(whole.contains(&part));
            prop_assert!(!rest.contains(&part) || c <= 2000);
            rest.add(&part);
            prop_assert_eq!(rest, whole);
        }
    }

    #[test]
    fn a_reservation_is_for_its_role_alone() {
        let mut reserved = Resource::scalar("cpus", 2.0);
        reserved.role = Some("slave_public".to_owned());
        let pool = Pool::from_wire(&[reserved, Resource::scalar("cpus", 1.0)]);
        assert_eq!(pool.for_role("*").describe("*"), "cpus(allocated: *):1");
        assert_eq!(pool.for_role("slave_public").0.len(), 2);
        assert!(!pool.for_role("*").contains(&pool));
        assert!(!Pool::default().is_allocatable(Allocatable::Either));
    }

    #[test]
    fn texts_are_those_of_mesos() {
        let offered = pool(4.0, &[(31_000, 31_099), (33_000, 33_009)]);
        assert_eq!(
            offered.describe("b"),
            "ports(allocated: b):[31000-31099, 33000-33009]; cpus(allocated: b):4"
        );
        let asked = [Resource::scalar("mem", -1.0)];
        assert_eq!(Pool::not_positive(&asked).as_deref(), Some("mem:-1"));
    }
}
