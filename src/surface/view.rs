//! From what is in etcd, or in an exported file, to a plan: what every surface shows.
//!
//! The plan is made by [`crate::plan::plan`], as the controller's own; this only gathers what goes
//! into it. When a host was last heard of is known to the leader alone (observers confirm their facts without
//! a write), so elsewhere all hosts count as heard of now, and surfaces show the age of the facts; hosts that have
//! fallen silent are named there too, since the leader writes that down among its measures.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::budget::books::{Books, Untrue, check};
use crate::budget::pace::permits;
use crate::desired::{
    Desired, Findings, HostIdentity, HostSpec, PoolConflict, Resolver, Rollout, Source, read,
    replace,
};
use crate::mesos::workload::Workload;
use crate::plan::assess::{HostView, assess};
use crate::plan::canary::CanaryPhase;
use crate::plan::control::Pause;
use crate::plan::gate::{Limits, Phase};
use crate::plan::order::OrderKey;
use crate::plan::reason::Reason;
use crate::plan::{FleetView, Plan, plan, totals};
use crate::rollout::records::{Limit, Measures, Rendered, Stage};
use crate::rollout::sources;
use crate::words::{Generation, HostName, Time};

use super::state::{HostState, State};
use super::teardown;

/// Which documents a plan is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// The set that is in force.
    InForce,
    /// Those in etcd, which are good and not in force yet.
    Stored,
    /// Those in etcd with the ones from files in the place of those of the same names.
    Proposed,
}

/// There are no documents to plan for.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// They are not good.
    #[error("the documents are refused\n\n{}\n", .0.render(true))]
    Refused(Findings),
    /// There are none.
    #[error(
        "there is no Cluster document in etcd; give one with -f, or write it with \
         `calico-dcos apply -f FILE`"
    )]
    NoDocuments,
}

/// Everything that a plan is made from.
#[derive(Debug)]
pub struct View {
    /// What is in etcd.
    pub state: State,
    /// The time that the plan is for.
    pub now: Time,
    /// Which documents the plan is about.
    pub basis: Basis,
    /// Those documents.
    pub desired: Arc<Desired>,
    /// What is wrong with the documents in etcd, if they are not in force for that reason.
    pub refused: Option<Findings>,
    /// The documents would be a new generation: what became of earlier attempts does not count.
    pub raises_generation: bool,
    /// What runs on the agents, if Mesos was asked.
    pub workload: Option<Workload>,
    /// When hosts were last heard of, where that is known; the others count as heard of now.
    pub heard: Arc<BTreeMap<HostName, Time>>,
    /// The hosts, in the order in which people count.
    hosts: Vec<Host>,
}

#[derive(Debug)]
struct Host {
    name: HostName,
    spec: Result<Arc<HostSpec>, PoolConflict>,
    excluded: bool,
    paused: Option<Pause>,
}

impl View {
    /// Takes the documents in `proposed`, or if there are none those in etcd, or if those are not
    /// good the ones in force.
    pub fn new(state: State, proposed: Vec<Source>, now: Time) -> Result<Self, ViewError> {
        let Chosen { basis, desired, refused } = choose(&state, proposed)?;
        let desired = Arc::new(desired);
        let hosts = resolve(&state, &desired);
        let raises_generation = basis != Basis::InForce && raises(&state, &hosts);
        let workload = None;
        let heard = Arc::default();
        Ok(Self { state, now, basis, desired, refused, raises_generation, workload, heard, hosts })
    }

    /// Takes a set of documents in the place of all that are in etcd.
    pub fn of_set(
        state: State,
        documents: &BTreeMap<String, String>,
        now: Time,
    ) -> Result<Self, ViewError> {
        let desired = Arc::new(read(&sources(documents)).map_err(ViewError::Refused)?);
        let hosts = resolve(&state, &desired);
        let raises_generation = raises(&state, &hosts);
        let (basis, refused, workload) = (Basis::Proposed, None, None);
        let heard = Arc::default();
        Ok(Self { state, now, basis, desired, refused, raises_generation, workload, heard, hosts })
    }

    /// The plan for the whole fleet.
    pub fn plan(&self) -> Plan<'_> {
        let hosts: Vec<(&HostName, HostView<'_>)> =
            self.hosts.iter().filter_map(|host| Some((&host.name, self.host(host)?))).collect();
        let rollout = self.rollout();
        let limits = Limits::of(rollout, totals(hosts.iter().copied()).registered);
        let measures = self.state.measures.as_ref();
        let taken = self.state.guard.as_ref().map_or(&[][..], |guard| &guard.taken);
        plan(&FleetView {
            rollout,
            phase: self.phase(),
            canary: self.canary(),
            asked: measures.map(Measures::asked).unwrap_or_default(),
            permits: permits(rollout.pace_for(limits.slots), taken, self.now),
            own_host: measures.and_then(|measures| measures.own_host.as_ref()),
            mean_hold_seconds: measures.and_then(|measures| measures.holds.mean_seconds()),
            now: self.now,
            hosts,
        })
    }

    /// How changes move.
    #[must_use]
    pub fn rollout(&self) -> &Rollout {
        &self.desired.cluster.spec.rollout
    }

    /// What each host is to have, as the controller writes it to `rendered/HOST`; nothing for a
    /// host whose pools do not go together.
    pub fn rendered(&self) -> impl Iterator<Item = (&HostName, Rendered)> {
        self.hosts.iter().filter_map(|host| Some((&host.name, host.spec.as_deref().ok()?.into())))
    }

    /// What the documents say that has no effect on these hosts, and what the leader cannot see
    /// or do for now, one sentence each.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let identities: Vec<_> = identities(&self.state).map(|(_, identity)| identity).collect();
        let limits = self.state.measures.iter().flat_map(|measures| measures.limits.values());
        let teardown = teardown::told(self, self.now);
        let documents = self.desired.warnings(&identities);
        let own = self.own_host_is_strange();
        teardown.into_iter().chain(documents).chain(limits.cloned()).chain(own).collect()
    }

    /// The leader was told that it runs on a host that nobody knows, so that none moves last for its sake.
    fn own_host_is_strange(&self) -> Option<String> {
        let measures = self.state.measures.as_ref()?;
        // Where agents are not listed, one that is never offered is not known.
        let hidden = measures.limits.contains_key(&Limit::AgentsHidden);
        let own = measures.own_host.as_ref().filter(|_| !hidden)?;
        let known = self.state.hosts.iter().filter(|(_, host)| host.observed.is_some());
        let mut known = known.map(|(name, _)| name).peekable();
        known.peek()?;
        (!known.any(|name| name == own)).then(|| {
            format!(
                "`--own-host {own}` of the leader names no agent of this cluster, so that its own host does not move \
                 last; give it the hostname of that agent, or leave the option out where none runs"
            )
        })
    }

    /// Whether the documents in etcd are the ones in force.
    #[must_use]
    pub fn documents_in_force(&self) -> bool {
        in_force(&self.state)
    }

    /// The generation of attempts that count.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.state.generation()
    }

    /// Whether work goes on, by the controller's rules.
    #[must_use]
    pub fn phase(&self) -> Phase {
        let halted = |why: &str| Phase::Halted { why: why.to_owned() };
        if let Some(unreadable) = self.state.unreadable.first() {
            return halted(unreadable);
        }
        if let Err(untrue) = self.books() {
            return halted(&untrue.to_string());
        }
        let deleted = !self.state.documents.contains_key("cluster");
        if deleted && self.basis == Basis::InForce {
            return halted("the Cluster document was deleted; everything is held as it is");
        }
        match self.state.rollout.as_ref().map(|rollout| &rollout.stage) {
            Some(Stage::Halted { why }) if !self.raises_generation => halted(why),
            _ => {
                let generation = self.generation();
                let next = if self.raises_generation { generation.next() } else { generation };
                match Phase::open(self.rollout(), next, &self.state.controls) {
                    Phase::Unapproved if self.basis != Basis::InForce => Phase::Unaccepted,
                    phase => phase,
                }
            }
        }
    }

    /// What would hold a host back by itself if no attempt of it had failed.
    pub(crate) fn held_afresh(&self, name: &HostName) -> Option<Reason> {
        let host = self.hosts.iter().find(|host| host.name == *name)?;
        assess(HostView { progress: None, ..self.host(host)? }, self.now).held
    }

    /// How far the canaries are, by the controller's rules.
    #[must_use]
    pub fn canary(&self) -> CanaryPhase<'_> {
        if self.raises_generation {
            return CanaryPhase::of(self.rollout(), true, None, false);
        }
        let state = self.state.rollout.as_ref();
        let open = !state.is_some_and(|state| matches!(state.stage, Stage::Done { .. }));
        let asked = self.state.controls.promotes(self.generation());
        let chosen = state.and_then(|state| state.canary.as_ref());
        CanaryPhase::of(self.rollout(), open, chosen, asked)
    }

    /// Whether the records of slots fit together.
    fn books(&self) -> Result<(), Untrue> {
        let hosts = self.state.hosts.values();
        let facts = hosts.clone().filter_map(|host| host.observed.as_ref()?.facts());
        check(Books {
            guard: self.state.guard.as_ref(),
            // What is left of a host that was forgotten is not looked at.
            slots: hosts.filter(|host| host.slot.is_some()).count(),
            cluster: self.state.cluster.as_deref(),
            newest: facts.filter_map(|facts| Some(facts.journal.as_ref()?.attempt)).max(),
        })
    }

    fn host<'a>(&'a self, host: &'a Host) -> Option<HostView<'a>> {
        let HostState { observed, tasks, slot, progress, notice } =
            self.state.hosts.get(&host.name)?;
        let counts = |generation| generation == self.generation() && !self.raises_generation;
        Some(HostView {
            spec: host.spec.as_deref(),
            record: observed.as_ref()?,
            heard: self.heard.get(&host.name).copied().unwrap_or(self.now),
            tasks,
            slot: slot.as_ref(),
            progress: progress.as_ref().filter(|progress| counts(progress.generation)),
            excluded: host.excluded,
            paused: host.paused.as_ref(),
            notice: notice.as_ref(),
            member: self
                .state
                .measures
                .as_ref()
                .and_then(|measures| measures.member_on(&host.name, observed.as_ref()?.agent.ip)),
            leaves: self.state.controls.teardown.is_some(),
        })
    }
}

struct Chosen {
    basis: Basis,
    desired: Desired,
    refused: Option<Findings>,
}

fn choose(state: &State, proposed: Vec<Source>) -> Result<Chosen, ViewError> {
    let stored = sources(&state.texts());
    let accepted = || read(&sources(&state.accepted.as_ref()?.set.documents)).ok();
    if !proposed.is_empty() {
        // Where nothing was ever written, nothing is refused.
        let nothing = stored.is_empty() && state.accepted.is_none();
        let refused = if in_force(state) || nothing { None } else { read(&stored).err() };
        let desired = read(&replace(stored, proposed)).map_err(ViewError::Refused)?;
        return Ok(Chosen { basis: Basis::Proposed, desired, refused });
    }
    if in_force(state)
        && let Some(desired) = accepted()
    {
        return Ok(Chosen { basis: Basis::InForce, desired, refused: None });
    }
    let findings = match read(&stored) {
        Ok(desired) => return Ok(Chosen { basis: Basis::Stored, desired, refused: None }),
        Err(findings) => findings,
    };
    match accepted() {
        Some(desired) => Ok(Chosen { basis: Basis::InForce, desired, refused: Some(findings) }),
        None if stored.is_empty() => Err(ViewError::NoDocuments),
        None => Err(ViewError::Refused(findings)),
    }
}

fn in_force(state: &State) -> bool {
    state.accepted.as_ref().is_some_and(|in_force| in_force.set.documents == state.texts())
}

fn identities(state: &State) -> impl Iterator<Item = (&HostName, HostIdentity)> {
    state
        .hosts
        .iter()
        .filter_map(|(name, host)| Some((name, host.observed.as_ref()?.identity(name))))
}

fn resolve(state: &State, desired: &Arc<Desired>) -> Vec<Host> {
    let mut resolver = Resolver::new(Arc::clone(desired));
    let mut hosts: Vec<_> = identities(state)
        .map(|(name, identity)| {
            let spec = resolver.resolve(&identity);
            let pools = spec.as_ref().map_or(&[][..], |spec| &spec.pools);
            let paused = state.controls.pause_of(name, pools);
            Host { name: name.clone(), excluded: desired.excludes(name), paused, spec }
        })
        .collect();
    hosts.sort_by_cached_key(|host| natural(&host.name));
    hosts
}

/// The order in which people count: `a2` before `a10`.
pub(crate) fn natural(name: &HostName) -> OrderKey {
    OrderKey::new(name, &std::collections::BTreeMap::new(), &[], 0, false)
}

/// Whether accepting what these hosts were resolved from changes any of their hashes.
fn raises(state: &State, hosts: &[Host]) -> bool {
    let accepted = state.accepted.as_ref();
    let Some(before) = accepted.and_then(|accepted| read(&sources(&accepted.set.documents)).ok())
    else {
        return true;
    };
    let before = resolve(state, &Arc::new(before));
    hosts.iter().zip(before).any(|(host, before)| match (&host.spec, &before.spec) {
        (Ok(spec), Ok(before)) => {
            Rendered::from(&**spec).components != Rendered::from(&**before).components
        }
        (Err(conflict), Err(before)) => conflict != before,
        _ => true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::surface::testing::{NOW, fleet};

    #[test]
    fn an_own_host_that_names_no_agent_is_told() {
        let warnings = |own: &str, hosts| {
            let mut state = fleet(hosts);
            let own_host = Some(HostName::from(own));
            state.measures = Some(Measures { own_host, ..Measures::default() });
            View::new(state, Vec::new(), NOW).unwrap().warnings()
        };
        let known = fleet(2).hosts.keys().next().cloned().unwrap();
        assert_eq!(warnings(known.as_str(), 2), [""; 0]);
        let told = warnings("%H", 2);
        assert!(matches!(&told[..], [told] if told.contains("`--own-host %H`")), "{told:?}");
        assert_eq!(warnings("%H", 0), [""; 0], "no agent is known yet");
    }
}
