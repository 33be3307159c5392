//! From documents to what each host is to have: the Cluster, with the host's pools laid over it.
//!
//! Pools are laid over the sections *as written*, map by map; anything else (text, number, list,
//! a choice such as `{url, sha256}` or `{path}`) replaces the whole. No field of a host may be
//! set by two of its pools, so the order of pools never matters.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::Desired;
use super::spec::{ComponentSpec, HostRollout, HostSpec, PausedBy, PoolLimit, complete};
use super::types::Pool;
use crate::words::{Component, HostName};

/// What pools select hosts by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostIdentity {
    /// The agent's `hostname`.
    pub name: HostName,
    /// The roles that the agent has resources for, `*` among them.
    pub roles: BTreeSet<String>,
    /// The agent's attributes, as text.
    pub attributes: BTreeMap<String, String>,
}

/// A host's pools do not go together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolConflict {
    /// Two pools set one field of one host, be it to the same value.
    #[error(
        "the pools `{first}` and `{second}` both set `{field}`; take it out of one of them, or change a selector so that no host is in both"
    )]
    SameField {
        /// One pool.
        first: String,
        /// The other.
        second: String,
        /// The field, from `spec` on: `calicoNode.image`.
        field: String,
    },
    /// Each pool is good by itself, all of them together are not.
    #[error("the pools {} together leave `{component}` incomplete: {reason}", quoted(pools))]
    Together {
        /// The pools.
        pools: Vec<String>,
        /// The component whose section is not good.
        component: Component,
        /// What is not good about it.
        reason: String,
    },
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

impl Desired {
    /// What the host is to have. For many hosts, [`Resolver`] is cheaper.
    pub fn resolve(&self, host: &HostIdentity) -> Result<HostSpec, PoolConflict> {
        self.lay(&self.pools_of(host))
    }

    /// Whether the host is to be left alone.
    pub fn excludes(&self, host: &HostName) -> bool {
        self.excluded.contains(host)
    }

    /// What the documents say that has no effect on these hosts, one sentence each.
    pub fn warnings<'a>(&self, hosts: impl IntoIterator<Item = &'a HostIdentity>) -> Vec<String> {
        let mut empty: BTreeSet<usize> = (0..self.pools.len()).collect();
        for host in hosts {
            empty.retain(|pool| !self.pools[*pool].spec.selector.matches(host));
        }
        let sentence = |pool: usize| {
            let name = &self.pools[pool].metadata.name;
            format!("the pool `{name}` matches no host; look at its selector, or delete it")
        };
        empty.into_iter().map(sentence).collect()
    }

    /// The indices of the pools that the host is in.
    fn pools_of(&self, host: &HostIdentity) -> Vec<usize> {
        (0..self.pools.len()).filter(|pool| self.pools[*pool].spec.selector.matches(host)).collect()
    }

    fn lay(&self, pools: &[usize]) -> Result<HostSpec, PoolConflict> {
        let pools: Vec<&Pool> = pools.iter().map(|pool| &self.pools[*pool]).collect();
        refuse_shared_fields(&pools)?;
        let mut components = BTreeMap::new();
        for component in Component::ALL {
            if let Some(spec) = self.component(component, &pools)? {
                components.insert(component, spec);
            }
        }
        Ok(HostSpec {
            components,
            pools: pools.iter().map(|pool| pool.metadata.name.to_string()).collect(),
            rollout: self.host_rollout(&pools),
        })
    }

    fn component(
        &self,
        component: Component,
        pools: &[&Pool],
    ) -> Result<Option<ComponentSpec>, PoolConflict> {
        let cluster = self.cluster.spec.section(component);
        let Some(written) = laid_over(component, cluster, pools) else { return Ok(None) };
        complete(component, &written).map(Some).map_err(|error| PoolConflict::Together {
            pools: pools.iter().map(|pool| pool.metadata.name.to_string()).collect(),
            component,
            reason: error.to_string(),
        })
    }

    fn host_rollout(&self, pools: &[&Pool]) -> HostRollout {
        let cluster = &self.cluster.spec.rollout;
        let mut rollout = HostRollout {
            paused_by: cluster.paused.then_some(PausedBy::Cluster),
            order: cluster.order.clone(),
            windows: cluster.windows.clone(),
            pool_limit: None,
        };
        for pool in pools {
            let (name, own) = (&pool.metadata.name, &pool.spec.rollout);
            if own.paused == Some(true) && rollout.paused_by.is_none() {
                rollout.paused_by = Some(PausedBy::Pool(name.to_string()));
            }
            if let Some(order) = &own.order {
                rollout.order.clone_from(order);
            }
            if let Some(windows) = &own.windows {
                rollout.windows.clone_from(windows);
            }
            if let Some(limit) = own.max_concurrent_restarts {
                rollout.pool_limit = Some(PoolLimit { pool: name.to_string(), limit });
            }
        }
        rollout
    }
}

/// The Cluster's section with the pools' laid over it; none if nobody has one.
pub(super) fn laid_over(
    component: Component,
    cluster: Option<&Map<String, Value>>,
    pools: &[&Pool],
) -> Option<Map<String, Value>> {
    let mut written = cluster.cloned();
    for section in pools.iter().filter_map(|pool| pool.spec.section(component)) {
        lay_over(written.get_or_insert_default(), section);
    }
    written
}

fn lay_over(below: &mut Map<String, Value>, above: &Map<String, Value>) {
    for (key, value) in above {
        match (below.get_mut(key), value) {
            (Some(Value::Object(below)), Value::Object(above)) if !is_choice(below, above) => {
                lay_over(below, above);
            }
            _ => {
                below.insert(key.clone(), value.clone());
            }
        }
    }
}

/// Maps of which one excludes the other: the keys by which a choice is told.
const CHOICES: [&[&str]; 3] =
    [&["url", "path"], &["discoverySrv", "endpoints"], &["fromFile", "fromRoute"]];

/// Whether two maps are a choice between forms rather than fields beside each other.
fn is_choice(below: &Map<String, Value>, above: &Map<String, Value>) -> bool {
    CHOICES.iter().any(|keys| {
        let has = |map: &Map<String, Value>| keys.iter().any(|key| map.contains_key(*key));
        has(below) && has(above)
    })
}

/// A field as the keys that lead to it.
type Path = Vec<String>;

/// Errs if two of these pools set one field.
pub(super) fn refuse_shared_fields(pools: &[&Pool]) -> Result<(), PoolConflict> {
    let mut taken: Vec<(Path, &str)> = Vec::new();
    for pool in pools {
        let name = pool.metadata.name.as_str();
        let fields = fields_of(pool);
        let overlap = |one: &Path, other: &Path| one.starts_with(other) || other.starts_with(one);
        let clash = fields.iter().find_map(|field| {
            let (other, first) = taken.iter().find(|(other, _)| overlap(other, field))?;
            // The longer of the two paths is the field that has two masters.
            Some((*first, if other.len() > field.len() { other } else { field }))
        });
        if let Some((first, field)) = clash {
            return Err(PoolConflict::SameField {
                first: first.to_owned(),
                second: name.to_owned(),
                field: field.join("."),
            });
        }
        taken.extend(fields.into_iter().map(|field| (field, name)));
    }
    Ok(())
}

/// All fields that a pool sets.
fn fields_of(pool: &Pool) -> Vec<Path> {
    let rollout = &pool.spec.rollout;
    let mut fields: Vec<Path> = [
        ("paused", rollout.paused.is_some()),
        ("windows", rollout.windows.is_some()),
        ("order", rollout.order.is_some()),
        ("maxConcurrentRestarts", rollout.max_concurrent_restarts.is_some()),
    ]
    .into_iter()
    .filter(|(_, set)| *set)
    .map(|(field, _)| vec!["rollout".to_owned(), field.to_owned()])
    .collect();
    for component in Component::ALL {
        if let Some(section) = pool.spec.section(component) {
            leaves(&[component.name().to_owned()], section, &mut fields);
        }
    }
    fields
}

fn leaves(path: &[String], map: &Map<String, Value>, fields: &mut Vec<Path>) {
    for (key, value) in map {
        let path = [path, std::slice::from_ref(key)].concat();
        match value {
            Value::Object(map) if !map.is_empty() => leaves(&path, map, fields),
            _ => fields.push(path),
        }
    }
}

/// Resolves many hosts: those that are in the same pools share one result.
#[derive(Debug)]
pub struct Resolver {
    desired: Arc<Desired>,
    known: HashMap<Vec<usize>, Result<Arc<HostSpec>, PoolConflict>>,
}

impl Resolver {
    /// For one set of documents.
    pub fn new(desired: Arc<Desired>) -> Self {
        Self { desired, known: HashMap::new() }
    }

    /// The documents.
    pub fn desired(&self) -> &Arc<Desired> {
        &self.desired
    }

    /// What the host is to have.
    pub fn resolve(&mut self, host: &HostIdentity) -> Result<Arc<HostSpec>, PoolConflict> {
        let pools = self.desired.pools_of(host);
        if let Some(known) = self.known.get(&pools) {
            return known.clone();
        }
        let resolved = self.desired.lay(&pools).map(Arc::new);
        self.known.insert(pools, resolved.clone());
        resolved
    }
}
