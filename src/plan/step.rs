//! What has to change on one host, and what each change disrupts.

use crate::desired::{ComponentSpec, HostSpec, MesosAgent, Spec};
use crate::observed::facts::{ComponentFacts, Facts, Health};
use crate::observed::support::{foreign_store, reads_networks_live, takes_first_store_by_reload};
use crate::words::{Component, SpecHash, TaskKind};

/// One change of one component on one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Step {
    /// The component.
    pub component: Component,
    /// What is done.
    pub action: Action,
    /// What stops meanwhile.
    pub disruption: Disruption,
}

impl Step {
    /// The version that is there; none if there is none, or it does not say.
    #[must_use]
    pub fn from<'a>(&self, facts: &'a Facts) -> Option<&'a str> {
        facts.components.get(&self.component)?.version.as_deref()
    }

    /// The version that it becomes; none when it is taken off.
    #[must_use]
    pub fn to(&self, spec: &HostSpec) -> Option<String> {
        label(&spec.components.get(&self.component)?.spec)
    }
}

/// What is done to a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// There is none of ours.
    Install,
    /// Another one of ours is there.
    Change,
    /// The right one is there and not well.
    Repair,
    /// It is taken off.
    Remove,
}

/// What stops during a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Disruption {
    /// Nothing.
    None,
    /// Nothing: the Docker daemon reads its file again.
    ReloadDocker,
    /// The proxy, shortly.
    ReplaceProxy,
    /// The Docker daemon and its containers.
    RestartDocker,
    /// The Mesos agent.
    RestartAgent,
    /// Routing on the host, shortly.
    ReplaceNode,
    /// New Docker networks on the host, shortly.
    ReplaceLibnetwork,
}

impl Disruption {
    /// Whether it takes a slot.
    #[must_use]
    pub fn takes_slot(self) -> bool {
        !matches!(self, Self::None | Self::ReloadDocker)
    }

    /// The service that restarts, as it is counted.
    #[must_use]
    pub fn service(self) -> Option<Component> {
        match self {
            Self::None | Self::ReloadDocker => None,
            Self::ReplaceProxy => Some(Component::EtcdProxy),
            Self::RestartDocker => Some(Component::Docker),
            Self::RestartAgent => Some(Component::MesosAgent),
            Self::ReplaceNode => Some(Component::CalicoNode),
            Self::ReplaceLibnetwork => Some(Component::CalicoLibnetwork),
        }
    }
}

impl Action {
    /// As a word of a sentence: `install calicoNode`.
    #[must_use]
    pub fn verb(self) -> &'static str {
        match self {
            Self::Install => "install",
            Self::Change => "change",
            Self::Repair => "repair",
            Self::Remove => "remove",
        }
    }
}

/// The steps that make a host what it should be, in the order of dependency. `unasked` counts
/// the components that are as they should be but have not yet said how they are.
#[must_use]
pub fn steps(spec: &HostSpec, facts: &Facts) -> (Vec<Step>, usize) {
    let mut steps = Vec::new();
    let mut unasked = 0;
    for (&component, wanted) in &spec.components {
        let found = facts.components.get(&component);
        match action(wanted, found) {
            Verdict::AsWanted => {}
            Verdict::Unasked => unasked += 1,
            Verdict::Do(action) => steps.push(Step {
                component,
                action,
                disruption: disruption(component, wanted, found, facts),
            }),
        }
    }
    (steps, unasked)
}

enum Verdict {
    AsWanted,
    Unasked,
    Do(Action),
}

fn action(wanted: &ComponentSpec, found: Option<&ComponentFacts>) -> Verdict {
    let hash = found.and_then(|found| found.hash);
    if wanted.spec == Spec::Off {
        // What has drifted is not in force, and still ours to take off.
        let ours = hash.is_some() || found.is_some_and(|found| found.recorded);
        return if ours { Verdict::Do(Action::Remove) } else { Verdict::AsWanted };
    }
    match (hash, found.map(|found| &found.health)) {
        (None, _) => Verdict::Do(Action::Install),
        (Some(hash), _) if hash != wanted.hash => Verdict::Do(Action::Change),
        (_, Some(Health::Healthy)) => Verdict::AsWanted,
        (_, Some(Health::Unhealthy { .. })) => Verdict::Do(Action::Repair),
        (_, Some(Health::Unknown) | None) => Verdict::Unasked,
    }
}

/// What a change of a component stops on this host. Conservative: where it cannot be told, it
/// takes a slot. A host that finds it would stop something all the same says so.
fn disruption(
    component: Component,
    wanted: &ComponentSpec,
    found: Option<&ComponentFacts>,
    facts: &Facts,
) -> Disruption {
    let running = found.is_some_and(|found| found.running);
    match component {
        Component::EtcdProxy if running => Disruption::ReplaceProxy,
        Component::CalicoNode if running => Disruption::ReplaceNode,
        Component::CalicoLibnetwork if running => Disruption::ReplaceLibnetwork,
        Component::EtcdProxy | Component::CalicoNode | Component::CalicoLibnetwork => {
            Disruption::None
        }
        Component::Docker if is_adopted(wanted, facts) => Disruption::None,
        Component::Docker if takes_store_by_reload(wanted, facts) => Disruption::ReloadDocker,
        Component::Docker => Disruption::RestartDocker,
        Component::MesosAgent if reads_cni_live(wanted, facts) => Disruption::None,
        Component::MesosAgent => Disruption::RestartAgent,
    }
}

/// Somebody else has set the very store that is declared.
fn is_adopted(wanted: &ComponentSpec, facts: &Facts) -> bool {
    let (Spec::Docker(wanted), Some(found)) = (&wanted.spec, &facts.docker) else { return false };
    found.foreign == wanted.keys()
        && found.cluster_store.as_deref() == Some(wanted.cluster_store.as_str())
}

/// The store that somebody else has set, and that is left alone.
pub(super) fn left_alone(wanted: &ComponentSpec, facts: &Facts) -> Option<String> {
    let found = facts.docker.as_ref().filter(|found| !found.foreign.is_empty())?;
    let Spec::Docker(_) = &wanted.spec else { return None };
    let key = found.foreign.keys().next()?;
    (!is_adopted(wanted, facts)).then(|| foreign_store(key, "Docker's daemon.json"))
}

fn takes_store_by_reload(wanted: &ComponentSpec, facts: &Facts) -> bool {
    let Spec::Docker(docker) = &wanted.spec else { return false };
    let Some(found) = &facts.docker else { return false };
    docker.cluster_advertise.is_some()
        && found.cluster_store.is_none()
        && takes_first_store_by_reload(&found.version)
}

fn reads_cni_live(wanted: &ComponentSpec, facts: &Facts) -> bool {
    matches!(wanted.spec, Spec::MesosAgent(MesosAgent::Cni(_)))
        && reads_networks_live(&facts.mesos_version)
}

/// The task that carries a host's steps: the one that has to be launched anyway.
#[must_use]
pub fn carrier(steps: &[Step]) -> Option<TaskKind> {
    let first = steps.first()?;
    let own = |step: &Step| step.action == Action::Remove || step.component.supervisor().is_none();
    if steps.iter().any(own) { Some(TaskKind::Change) } else { first.component.supervisor() }
}

/// What a person calls this version of a component.
#[must_use]
pub fn label(spec: &Spec) -> Option<String> {
    Some(match spec {
        Spec::Off => return None,
        Spec::EtcdProxy(proxy) => format!("{:?}", proxy.mode).to_lowercase(),
        Spec::Docker(docker) => docker.cluster_store.to_string(),
        Spec::MesosAgent(MesosAgent::Cni(_)) => "cni".to_owned(),
        Spec::MesosAgent(MesosAgent::NetModules(_)) => "netModules".to_owned(),
        Spec::CalicoNode(node) => node.image.to_string(),
        Spec::CalicoLibnetwork(libnetwork) => libnetwork.image.to_string(),
    })
}

/// The hash over all that a host is to be: what a slot is reserved for.
#[must_use]
pub fn target(spec: &HostSpec) -> SpecHash {
    let mut bytes = Vec::with_capacity(spec.components.len() * 33);
    for (component, wanted) in &spec.components {
        bytes.extend_from_slice(component.name().as_bytes());
        bytes.extend_from_slice(&wanted.hash.0);
    }
    SpecHash::of(&bytes)
}
