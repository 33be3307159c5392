//! Hosts with work, taken one after the other in their order: who starts now, and why not the
//! others. The full plan and the running controller use the same line.

use std::collections::BTreeMap;

use crate::desired::{HostSpec, Rollout};
use crate::words::HostName;

use super::canary::First;
use super::gate::{Gate, Phase, PoolTotals, held_back, not_yet, pool_full};
use super::reason::Reason;

/// What is left to give out while the line moves.
#[derive(Debug)]
pub struct Line<'a> {
    rollout: &'a Rollout,
    closed_gate: Option<&'a str>,
    held_back: Option<Reason>,
    first: Option<First>,
    gate: Gate,
    pools: BTreeMap<String, PoolTotals>,
}

impl<'a> Line<'a> {
    /// A line before its first host.
    #[must_use]
    pub fn new(
        rollout: &'a Rollout,
        phase: &Phase,
        first: Option<First>,
        closed_gate: Option<&'a str>,
        gate: Gate,
        pools: BTreeMap<String, PoolTotals>,
    ) -> Self {
        Self { rollout, closed_gate, held_back: held_back(phase), first, gate, pools }
    }

    /// No later host can start a disruption, whatever it is.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.held_back.is_some() || self.gate.open == 0
    }

    /// What a host would wait for if it were its turn now; none if it may start. `steps`:
    /// something is to be changed on it; `disruptive`: that takes a slot.
    #[must_use]
    pub fn waits(
        &self,
        host: &HostName,
        spec: &HostSpec,
        steps: bool,
        disruptive: bool,
    ) -> Option<Reason> {
        if self.held_back.is_some() {
            return self.held_back.clone();
        }
        let first = self.first.as_ref().filter(|_| steps).and_then(|first| first.holds(host));
        if first.is_some() || !disruptive {
            return first;
        }
        let closed = |why: &str| Reason::WaitingForGate { why: why.to_owned() };
        not_yet(self.rollout)
            .or_else(|| self.closed_gate.filter(|_| !self.rollout.gates.is_empty()).map(closed))
            .or_else(|| pool_full(spec, &self.pools))
            .or_else(|| (self.gate.open == 0).then(|| self.gate.then.clone()))
    }

    /// A host starts a disruption: one that waits for nothing.
    pub fn start(&mut self, spec: &HostSpec) {
        self.gate.open = self.gate.open.saturating_sub(1);
        for pool in &spec.pools {
            self.pools.entry(pool.clone()).or_default().holders += 1;
        }
    }
}
