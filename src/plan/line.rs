//! Hosts with work, taken one after the other in their order: who starts now, and why not the
//! others. The full plan and the running controller use the same line.

use std::collections::BTreeMap;

use crate::desired::{HostSpec, Rollout};
use crate::words::{HostName, Time};

use super::canary::First;
use super::gate::{Gate, Phase, PoolTotals, held_back, pool_full};
use super::members::{self, Members};
use super::notice::{self, Notice};
use super::reason::Reason;

/// What else has to be asked before a disruption starts, as it was answered last.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked<'a> {
    /// Why a gate is closed; none if all are open, or have not been asked.
    pub closed_gate: Option<&'a str>,
    /// Why Mesos' maintenance schedule cannot be edited; none if it can, or nobody has tried.
    pub closed_schedule: Option<&'a str>,
    /// The members of our etcd; not looked at if absent.
    pub members: Option<&'a Members>,
    /// The host with one of them that is in a restart.
    pub busy_member: Option<&'a HostName>,
}

/// A host whose turn it is.
#[derive(Clone, Copy, Debug)]
pub struct Turn<'a> {
    /// The host.
    pub host: &'a HostName,
    /// What it should be.
    pub spec: &'a HostSpec,
    /// Something is to be changed on it.
    pub steps: bool,
    /// That takes a slot.
    pub disruptive: bool,
    /// Its notice to the frameworks.
    pub notice: Option<&'a Notice>,
    /// The member of our etcd on it.
    pub member: Option<&'a str>,
}

/// What is left to give out while the line moves.
#[derive(Debug)]
pub struct Line<'a> {
    rollout: &'a Rollout,
    asked: Asked<'a>,
    held_back: Option<Reason>,
    first: Option<First>,
    gate: Gate,
    pools: BTreeMap<String, PoolTotals>,
    busy_member: Option<HostName>,
    now: Time,
}

impl<'a> Line<'a> {
    /// A line before its first host.
    #[must_use]
    pub fn new(
        rollout: &'a Rollout,
        phase: &Phase,
        first: Option<First>,
        asked: Asked<'a>,
        gate: Gate,
        pools: BTreeMap<String, PoolTotals>,
        now: Time,
    ) -> Self {
        let (held_back, busy_member) = (held_back(phase), asked.busy_member.cloned());
        Self { rollout, asked, held_back, first, gate, pools, busy_member, now }
    }

    /// No later host can start a disruption, whatever it is.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.held_back.is_some() || self.gate.open == 0
    }

    /// What a host would wait for if it were its turn now; none if it may start.
    #[must_use]
    pub fn waits(&self, turn: Turn<'_>) -> Option<Reason> {
        if self.held_back.is_some() {
            return self.held_back.clone();
        }
        let first = self.first.as_ref().filter(|_| turn.steps);
        let first = first.and_then(|first| first.holds(turn.host));
        if first.is_some() || !turn.disruptive {
            return first;
        }
        // Nobody asks a gate while nothing could start: what it said last may be long over.
        let gated = !self.rollout.gates.is_empty() && self.gate.open > 0;
        let closed = self.asked.closed_gate.filter(|_| gated);
        let notice =
            || notice::wait(&self.rollout.drain, turn.notice, self.asked.closed_schedule, self.now);
        let members = || {
            let members = self.asked.members?;
            members::wait(members, turn.member, self.busy_member.as_ref())
        };
        closed
            .map(|why| Reason::WaitingForGate { why: why.to_owned() })
            .or_else(members)
            .or_else(|| pool_full(turn.spec, &self.pools))
            .or_else(|| (self.gate.open == 0).then(|| self.gate.then.clone()))
            .or_else(notice)
    }

    /// A host starts a disruption: one that waits for nothing.
    pub fn start(&mut self, turn: Turn<'_>) {
        self.gate.open = self.gate.open.saturating_sub(1);
        if turn.member.is_some() {
            self.busy_member = Some(turn.host.clone());
        }
        for pool in &turn.spec.pools {
            self.pools.entry(pool.clone()).or_default().holders += 1;
        }
    }
}
