//! Desired + observed + slots + time -> what has to happen on each host, and one reason for each
//! host that does not move. Pure: the same inputs give the same plan.
//!
//! There is one way to compute a difference. `diff`, `status`, `simulate` and the running
//! controller all use these functions:
//!
//! - `step`: what has to change on a host, and what each change disrupts.
//! - `canary`: who goes first, and what lets the others follow.
//! - `assess`: one host, without looking at the others. Kept until the host changes.
//! - `control`: what operators ask for beside the documents.
//! - `gate`: how many hosts may start a disruption now, and why not more.
//! - `order` and `line`: who starts, one after the other.
//! - [`plan()`]: all of it for a whole fleet.
//! - `members`: hosts that carry members of our etcd.
//! - `notice`: disruptions that are announced to the frameworks beforehand.
//! - `window`: when disruptive work may start.
//! - `progress`: what became of what was tried on a host.
//! - `reason`: the fixed list of reasons.

pub mod assess;
pub mod canary;
pub mod control;
pub mod gate;
pub mod line;
pub mod members;
pub mod notice;
pub mod order;
pub mod progress;
pub mod reason;
pub mod step;
pub mod summary;
pub mod window;

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use crate::budget::pace::Permits;
use crate::desired::Rollout;
use crate::words::{HostName, Time};

use assess::{Assessment, HostView, assess};
use canary::{CanaryPhase, First};
use gate::{Limits, Phase, Standing, Totals, gate};
use line::{Asked, Line, Turn};
use order::OrderKey;
use progress::HostProgress;
use reason::Reason;
use summary::Summary;

/// How many names a reason lists.
const NAMES: usize = 3;

/// A whole fleet.
#[derive(Clone, Debug)]
pub struct FleetView<'a> {
    /// The hosts, by name.
    pub hosts: Vec<(&'a HostName, HostView<'a>)>,
    /// How changes move through it.
    pub rollout: &'a Rollout,
    /// Whether the rollout goes on.
    pub phase: Phase,
    /// How far its canaries are.
    pub canary: CanaryPhase<'a>,
    /// What else has to be asked before a start, as it was answered last.
    pub asked: Asked<'a>,
    /// What the pace admits.
    pub permits: Permits,
    /// The host that the controller runs on.
    pub own_host: Option<&'a HostName>,
    /// How long hosts held their slots so far, on average, in seconds; none before the first.
    pub mean_hold_seconds: Option<u64>,
    /// Now.
    pub now: Time,
}

/// What has to happen, and what waits for what.
#[derive(Clone, Debug)]
#[must_use]
pub struct Plan<'a> {
    /// Every host, in the order of the input.
    pub hosts: Vec<HostPlan<'a>>,
    /// The whole in numbers.
    pub summary: Summary,
}

/// One host's part of the plan.
#[derive(Clone, Debug)]
pub struct HostPlan<'a> {
    /// The host.
    pub name: &'a HostName,
    /// What is known of it.
    pub view: HostView<'a>,
    /// What has to happen on it.
    pub assessment: Assessment,
    /// Why it does not move now; none if it is in sync.
    pub reason: Option<Reason>,
}

/// Plans for a whole fleet.
pub fn plan<'a>(fleet: &FleetView<'a>) -> Plan<'a> {
    let mut hosts: Vec<HostPlan<'a>> = fleet
        .hosts
        .iter()
        .map(|&(name, view)| {
            let assessment = assess(view, fleet.now);
            let reason = assessment.held.clone().map(|held| next_attempt(held, view, fleet));
            HostPlan { name, view, assessment, reason }
        })
        .collect();
    let totals = totals(fleet.hosts.iter().copied());
    let limits = Limits::of(fleet.rollout, totals.registered);
    give_reasons(&mut hosts, fleet, limits, &totals);
    let summary = Summary::of(&hosts, limits, &totals, fleet);
    Plan { hosts, summary }
}

/// A host whose pause between two attempts is over waits for something else: an offer, or that the
/// rollout goes on.
fn next_attempt(held: Reason, host: HostView<'_>, fleet: &FleetView<'_>) -> Reason {
    match held {
        Reason::BackingOff { until, .. } if until <= fleet.now => {
            gate::held_back(&fleet.phase).unwrap_or_else(|| wants_offer(host))
        }
        other => other,
    }
}

/// Sends the hosts that have work and are not held through the line.
fn give_reasons(
    hosts: &mut [HostPlan<'_>],
    fleet: &FleetView<'_>,
    limits: Limits,
    totals: &Totals,
) {
    let waits = |host: &HostPlan<'_>| host.reason.is_none() && !host.assessment.work.is_empty();
    let open = gate(limits, totals, fleet.permits);
    let first = first(hosts, fleet, totals.registered);
    let mut line = Line::new(
        fleet.rollout,
        &fleet.phase,
        first,
        Asked { busy_member: busy_member(hosts), ..fleet.asked },
        open,
        totals.pools.clone(),
        fleet.now,
    );
    if !line.is_closed() {
        // Who comes first counts only until the line closes: a heap gives just those.
        let mut turns: BinaryHeap<_> = hosts
            .iter()
            .enumerate()
            .filter(|(_, host)| waits(host))
            .filter_map(|(at, host)| {
                Some(Reverse((order_key(host.name, host.view, fleet.own_host)?, at)))
            })
            .collect();
        while !line.is_closed()
            && let Some(Reverse((_, at))) = turns.pop()
        {
            give_reason(&mut hosts[at], &mut line);
        }
    }
    for host in hosts.iter_mut().filter(|host| waits(host)) {
        give_reason(host, &mut line);
    }
}

/// The host with a member of our etcd that is in a restart.
fn busy_member<'a>(hosts: &[HostPlan<'a>]) -> Option<&'a HostName> {
    let busy = |host: &&HostPlan<'_>| host.view.member.is_some() && host.view.slot.is_some();
    hosts.iter().find(busy).map(|host| host.name)
}

/// Who goes first: hosts that work is under way on, then those that wait, in their order.
fn first(hosts: &[HostPlan<'_>], fleet: &FleetView<'_>, registered: usize) -> Option<First> {
    fleet.canary.first(registered, |count| {
        let under_way = hosts.iter().filter(|host| host.view.slot.is_some());
        let mut first: BTreeSet<HostName> = under_way.map(|host| host.name.clone()).collect();
        let waits = hosts.iter().filter(|host| {
            host.reason.is_none()
                && !host.assessment.work.steps.is_empty()
                && !first.contains(host.name)
        });
        let mut waits: Vec<_> = waits
            .filter_map(|host| {
                let live = !host.assessment.work.disruptive;
                Some((live, order_key(host.name, host.view, fleet.own_host)?, host.name))
            })
            .collect();
        waits.sort();
        let lacking = count.saturating_sub(first.len());
        first.extend(waits.into_iter().take(lacking).map(|(_, _, name)| name.clone()));
        first
    })
}

/// A host's turn.
fn give_reason(host: &mut HostPlan<'_>, line: &mut Line<'_>) {
    let Ok(spec) = host.view.spec else { return };
    let work = &host.assessment.work;
    let turn = Turn {
        host: host.name,
        spec,
        steps: !work.steps.is_empty(),
        disruptive: work.disruptive,
        notice: host.view.notice,
        member: host.view.member,
    };
    let reason = line.waits(turn).unwrap_or_else(|| wants_offer(host.view));
    let starts = match reason {
        // Frameworks that have time yet do not give its turn to those behind it.
        Reason::WaitingForOffer { .. } | Reason::Unannounced { .. } | Reason::Announced { .. } => {
            true
        }
        // Who cannot start for want of resources takes nobody's turn.
        _ => false,
    };
    if starts && turn.disruptive {
        line.start(turn);
    }
    host.reason = Some(reason);
}

/// Why a host that may start has not: it takes an offer of Mesos.
#[must_use]
pub fn wants_offer(host: HostView<'_>) -> Reason {
    match host.progress.and_then(|progress| progress.lacking.clone()) {
        Some(lacking) => Reason::InsufficientResources { lacking },
        None => Reason::WaitingForOffer {
            why: host.progress.and_then(|progress| progress.unoffered.clone()),
        },
    }
}

/// A host's place in the line; none if it is not known what it should be.
#[must_use]
pub fn order_key(
    name: &HostName,
    host: HostView<'_>,
    own_host: Option<&HostName>,
) -> Option<OrderKey> {
    let order = &host.spec.ok()?.rollout.order;
    // One that Mesos offers too little of, or that starts nothing, goes after all that can.
    let cannot = |it: &HostProgress| it.lacking.is_some() || it.unlaunched.is_some();
    let hindered = |it: &HostProgress| if cannot(it) { u32::MAX } else { it.failures };
    let hindered = host.progress.map_or(0, hindered);
    let attributes = &host.record.agent.attributes;
    let mut place = OrderKey::new(name, attributes, order, hindered, own_host == Some(name));
    if host.member.is_some() {
        place = place.apart();
    }
    // The frameworks have been told already.
    Some(if host.notice.is_some() { place.first() } else { place })
}

/// Counts a fleet.
#[must_use]
pub fn totals<'a>(hosts: impl Iterator<Item = (&'a HostName, HostView<'a>)>) -> Totals {
    let mut totals = Totals::default();
    for (name, host) in hosts {
        let standing = Standing::of(host);
        totals.add(standing, host.spec.map_or(&[], |spec| &spec.pools));
        if standing.down && totals.first_down.len() < NAMES {
            totals.first_down.push(name.clone());
        }
        if standing.holds && totals.first_holders.len() < NAMES {
            totals.first_holders.push(name.clone());
        }
    }
    totals
}
