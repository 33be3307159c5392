//! Follows one history: what is in force and who holds slots, from etcd; who is disrupted, from
//! the hosts. What any controller believes plays no part.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::History;
use super::held::Held;
use super::laws::{Breach, Law};
use crate::desired::{Desired, HostIdentity, Limit, Resolver};
use crate::plan::gate::Limits;
use crate::rollout::records::{Accepted, RolloutState, Stage};
use crate::sim::fleet::fleet;
use crate::sim::run::World;
use crate::store::{Change, Entry, Key, Space};
use crate::words::{Generation, HostName, Revision};

/// A part of the hosts that a budget holds for.
#[derive(Clone, Debug, Default)]
struct Budget {
    limit: usize,
    hosts: BTreeSet<HostName>,
    /// Those that held a slot before the limit was accepted, and still do: a smaller one does not
    /// take it from them.
    before: BTreeSet<HostName>,
}

/// What was seen so far.
#[derive(Debug)]
pub(super) struct Watch {
    seen: Revision,
    restores: u32,
    identities: Vec<HostIdentity>,
    generation: Generation,
    /// The cluster's, and those of pools.
    budgets: BTreeMap<Option<String>, Budget>,
    /// Hosts on which nothing new may start.
    left_alone: BTreeSet<HostName>,
    slots: BTreeSet<HostName>,
    halted: bool,
    /// Hosts whose slots a backup does not know.
    orphans: BTreeSet<HostName>,
    /// What people hold back.
    pub(super) held: Held,
}

impl Watch {
    pub(super) fn new(history: &History) -> Self {
        let (_, members) = fleet(&history.scenario);
        Self {
            seen: Revision(0),
            restores: 0,
            identities: members.into_iter().map(|member| member.identity).collect(),
            generation: Generation(0),
            budgets: BTreeMap::new(),
            left_alone: BTreeSet::new(),
            slots: BTreeSet::new(),
            halted: false,
            orphans: BTreeSet::new(),
            held: Held::new(history),
        }
    }

    /// Looks at the world after something happened.
    pub(super) fn look(&mut self, world: &World) -> Result<(), Breach> {
        if world.restores() != self.restores {
            self.restores = world.restores();
            self.orphans.append(&mut self.slots);
            self.start_over(world);
        } else if world.etcd().revision() != self.seen {
            match world.etcd().changes_since(self.seen) {
                Ok(changes) => {
                    self.seen = world.etcd().revision();
                    for change in changes {
                        self.fold(world, change)?;
                    }
                }
                Err(_) => self.start_over(world),
            }
        }
        self.held.look(world);
        self.count(world)
    }

    /// Takes in all there is, without judging how it came about.
    fn start_over(&mut self, world: &World) {
        let all = world.etcd().list(Space::All);
        self.seen = all.revision;
        self.generation = Generation(0);
        self.slots.clear();
        self.halted = false;
        self.held.start_over(world.now());
        for entry in all.entries {
            // Nothing is judged that was there before.
            let _ = self.held.put(world, &entry);
            match &entry.key {
                Key::Slot(host) => drop(self.slots.insert(host.clone())),
                Key::RolloutState => self.state(&entry),
                _ => {}
            }
        }
        let all = world.etcd().list(Space::Accepted);
        for entry in all.entries {
            self.accept(world, &entry);
        }
    }

    fn fold(&mut self, world: &World, change: Change) -> Result<(), Breach> {
        match change {
            Change::Put(entry) => {
                self.held.put(world, &entry)?;
                self.put(world, &entry)?;
            }
            Change::Deleted { key, .. } => {
                self.held.deleted(&key);
                if let Key::Slot(host) = key {
                    self.slots.remove(&host);
                    for budget in self.budgets.values_mut() {
                        budget.before.remove(&host);
                    }
                }
            }
        }
        Ok(())
    }

    fn put(&mut self, world: &World, entry: &Entry) -> Result<(), Breach> {
        match &entry.key {
            Key::Slot(host) => self.reserved(world, host.clone())?,
            Key::Accepted(_) => self.accept(world, entry),
            Key::RolloutState => self.state(entry),
            _ => {}
        }
        Ok(())
    }

    fn state(&mut self, entry: &Entry) {
        let state = serde_json::from_str::<RolloutState>(&entry.value);
        self.halted = state.is_ok_and(|state| matches!(state.stage, Stage::Halted { .. }));
    }

    /// A slot that was not there before is the beginning of something new.
    fn reserved(&mut self, world: &World, host: HostName) -> Result<(), Breach> {
        let rebuilt = self.orphans.remove(&host);
        if self.slots.contains(&host) || rebuilt {
            self.slots.insert(host);
            return Ok(());
        }
        if self.halted || self.left_alone.contains(&host) {
            let why = if self.halted { "all is halted" } else { "it is to be left alone" };
            return Err(Breach::new(Law::Halt, world, format!("{host} gets a slot while {why}")));
        }
        self.slots.insert(host);
        Ok(())
    }

    /// Other documents are in force.
    fn accept(&mut self, world: &World, entry: &Entry) {
        let Key::Accepted(generation) = entry.key else { return };
        if generation < self.generation {
            return;
        }
        self.generation = generation;
        let Ok(accepted) = serde_json::from_str::<Accepted>(&entry.value) else { return };
        if let Some(desired) = world.declared(&accepted.documents) {
            self.in_force(desired);
        }
    }

    fn in_force(&mut self, desired: &Arc<Desired>) {
        self.budgets.clear();
        self.left_alone.clear();
        let mut resolver = Resolver::new(Arc::clone(desired));
        let mut pools: BTreeMap<String, (Limit, BTreeSet<HostName>)> = BTreeMap::new();
        let mut all = BTreeSet::new();
        let mut specs = BTreeMap::new();
        for identity in &self.identities {
            let name = &identity.name;
            let Ok(spec) = resolver.resolve(identity) else { continue };
            if desired.excludes(name) || spec.rollout.paused_by.is_some() {
                self.left_alone.insert(name.clone());
            }
            if let Some(own) = &spec.rollout.pool_limit {
                let pool = pools.entry(own.pool.clone()).or_insert((own.limit, BTreeSet::new()));
                pool.1.insert(name.clone());
            }
            all.insert(name.clone());
            specs.insert(name.clone(), spec);
        }
        self.held.in_force(self.generation, desired, specs);
        // Hosts that are gone or excluded make a percentage smaller, never larger.
        let limit = Limits::of(&desired.cluster.spec.rollout, all.len()).slots;
        self.budget(None, limit, all);
        for (pool, (limit, hosts)) in pools {
            self.budget(Some(pool), limit.of(hosts.len()), hosts);
        }
    }

    fn budget(&mut self, pool: Option<String>, limit: usize, hosts: BTreeSet<HostName>) {
        let before = self.slots.intersection(&hosts).cloned().collect();
        self.budgets.insert(pool, Budget { limit, hosts, before });
    }

    /// Who is disrupted now.
    fn count(&mut self, world: &World) -> Result<(), Breach> {
        let cluster = world.cluster();
        let disrupted = cluster.hosts().iter().filter(|host| host.disrupted());
        let names = disrupted.map(|host| &host.config().name);
        let names: Vec<&HostName> = names.filter(|name| !cluster.is_gone(name)).collect();
        if names.is_empty() {
            return Ok(());
        }
        if let Some(name) =
            names.iter().find(|name| !self.slots.contains(**name) && !self.orphans.contains(**name))
        {
            return Err(Breach::new(Law::SlotFirst, world, format!("{name} holds none")));
        }
        if self.budgets.is_empty() {
            return Err(Breach::new(Law::Budget, world, "nothing is in force yet"));
        }
        for (pool, budget) in &self.budgets {
            let here = names.iter().filter(|name| budget.hosts.contains(**name));
            let here: Vec<&str> = here.map(|name| name.as_str()).collect();
            if here.len() > budget.limit.max(budget.before.len()) {
                let of = pool.as_ref().map_or(String::new(), |pool| format!(" of pool {pool}"));
                let what = format!("{} at a time{of}, of {}", here.join(", "), budget.limit);
                return Err(Breach::new(Law::Budget, world, what));
            }
        }
        Ok(())
    }
}
