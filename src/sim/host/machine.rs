//! What is on a host's disk and what runs on it, and what each step physically does there.
//!
//! This is the model's own knowledge of Docker and Mesos, apart from the planner's: where the two
//! differ, a simulation shows it.

use std::collections::BTreeMap;

use crate::desired::{ComponentSpec, MesosAgent, Spec};
use crate::job::Finding;
use crate::job::journal::Journal;
use crate::job::order::{Change, StepOrder};
use crate::observed::facts::{ComponentFacts, DockerFacts, Health};
use crate::words::{Attempt, Component, SpecHash};

/// What a service is told to be by what is on disk, or is because it was told so when it started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Setting {
    /// The spec; none if it is not of our making.
    pub hash: Option<SpecHash>,
    /// The version that it calls itself.
    pub version: Option<String>,
    /// Docker's cluster store, whoever set it.
    pub store: Option<String>,
}

/// One service of the host.
#[derive(Clone, Debug, Default)]
pub(super) struct Service {
    /// There is one, and it is meant to run.
    pub installed: bool,
    /// What it runs with.
    pub in_force: Setting,
    /// Why it does not answer as it should; none if it does.
    pub ill: Option<String>,
    /// What was there before an attempt touched it, kept on disk.
    kept: Option<(Attempt, bool, Setting)>,
}

/// A step with what it does here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Nothing that runs is stopped: a first start, a reload, a file that is read live.
    Live,
    /// What runs is stopped: restarted, replaced or taken off.
    Stops,
}

/// What survives a power cut, and what does not.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    pub mesos: (u32, u32),
    pub docker: Option<DockerFacts>,
    pub journal: Option<Journal>,
    pub executor_starts: u64,
    pub boot_unit_armed: bool,
    services: [Service; 5],
}

impl Machine {
    /// A machine as delivered: Docker, if it has one, and the agent run; nothing of ours is there.
    pub(super) fn new(mesos_version: &str, docker: Option<DockerFacts>) -> Self {
        let mut services: [Service; 5] = Default::default();
        let native = |version: &str, store: Option<String>| Service {
            installed: true,
            in_force: Setting { hash: None, version: Some(version.to_owned()), store },
            ..Service::default()
        };
        if let Some(docker) = &docker {
            services[Component::Docker as usize] =
                native(&docker.version, docker.cluster_store.clone());
        }
        services[Component::MesosAgent as usize] = native(mesos_version, None);
        Self {
            mesos: release(mesos_version),
            docker,
            journal: None,
            executor_starts: 0,
            boot_unit_armed: false,
            services,
        }
    }

    /// Forgets us, unless something of ours is in force.
    pub(super) fn forget(&mut self) -> Result<(), String> {
        if let Some(component) =
            Component::ALL.into_iter().find(|c| self.service(*c).in_force.hash.is_some())
        {
            return Err(format!("{component} is still in force"));
        }
        (self.journal, self.executor_starts) = (None, 0);
        Ok(())
    }

    pub(super) fn service(&self, component: Component) -> &Service {
        &self.services[component as usize]
    }

    pub(super) fn service_mut(&mut self, component: Component) -> &mut Service {
        &mut self.services[component as usize]
    }

    /// Why the component cannot be changed here, whatever it is to become.
    pub(super) fn blocked(&self, component: Component) -> Option<String> {
        let docker = self.docker.as_ref();
        match component {
            Component::Docker => match docker {
                None => Some("there is no Docker".to_owned()),
                Some(docker) if docker.swarm => {
                    Some("the daemon is a member of a swarm and refuses a cluster store".to_owned())
                }
                Some(docker) if release(&docker.version) >= (23, 0) => {
                    Some(format!("Docker {} knows no cluster store", docker.version))
                }
                Some(_) => None,
            },
            Component::CalicoNode | Component::CalicoLibnetwork if docker.is_none() => {
                Some("there is no Docker to run it".to_owned())
            }
            _ => None,
        }
    }

    /// Looks at one step without touching anything.
    pub(super) fn look(&self, step: &StepOrder) -> Finding {
        let (component, target) = (step.component, &step.target);
        let service = self.service(component);
        let is_there = match target.spec {
            Spec::Off => service.in_force.hash.is_none(),
            _ => service.in_force.hash == Some(target.hash) && service.ill.is_none(),
        };
        if is_there {
            return Finding::InForce;
        }
        if target.spec != Spec::Off
            && let Some(why) = self.blocked(component).or_else(|| self.unfit(&target.spec))
        {
            return Finding::Refused { why };
        }
        Finding::Ready { disrupts: self.reach(component, target) == Reach::Stops }
    }

    /// Looks at all steps of a change. In this model no step's precondition is another's result.
    pub(super) fn inspect(&self, change: &Change) -> Vec<Finding> {
        change.steps.iter().map(|step| self.look(step)).collect()
    }

    fn unfit(&self, spec: &Spec) -> Option<String> {
        let too_old = matches!(spec, Spec::MesosAgent(MesosAgent::Cni(_))) && self.mesos < (1, 0);
        too_old.then(|| "the agent is older than Mesos 1.0 and knows no CNI".to_owned())
    }

    /// What the step does to what runs.
    pub(super) fn reach(&self, component: Component, target: &ComponentSpec) -> Reach {
        let service = self.service(component);
        let live = match (component, &target.spec) {
            (Component::Docker, Spec::Docker(docker)) => {
                let version = self.docker.as_ref().map(|docker| release(&docker.version));
                service.in_force.store.is_none()
                    && docker.cluster_advertise.is_some()
                    && version.is_some_and(|version| ((1, 11)..=(20, 10)).contains(&version))
            }
            (Component::MesosAgent, Spec::MesosAgent(MesosAgent::Cni(_))) => self.mesos >= (1, 2),
            (Component::Docker | Component::MesosAgent, _) => false,
            _ => !service.installed,
        };
        if live { Reach::Live } else { Reach::Stops }
    }

    /// Keeps what is there for this attempt, once.
    pub(super) fn keep(&mut self, component: Component, attempt: Attempt) {
        let service = self.service_mut(component);
        if service.kept.as_ref().is_none_or(|(of, ..)| *of != attempt) {
            service.kept = Some((attempt, service.installed, service.in_force.clone()));
        }
    }

    /// The service comes up as the step wants it, or is gone.
    pub(super) fn put_in_force(&mut self, step: &StepOrder) {
        let StepOrder { component, target } = step;
        let host_owned = component.supervisor().is_none();
        let service = self.service_mut(*component);
        service.ill = None;
        service.installed = host_owned || target.spec != Spec::Off;
        let setting = &mut service.in_force;
        setting.hash = (target.spec != Spec::Off).then_some(target.hash);
        match &target.spec {
            Spec::Docker(docker) => setting.store = Some(docker.cluster_store.to_string()),
            Spec::CalicoNode(node) => setting.version = Some(node.image.to_string()),
            Spec::CalicoLibnetwork(libnetwork) => {
                setting.version = Some(libnetwork.image.to_string());
            }
            Spec::Off => setting.store = None,
            Spec::EtcdProxy(_) | Spec::MesosAgent(_) => {}
        }
    }

    /// The service comes up as it was kept for this attempt; if nothing was kept, it stays.
    pub(super) fn put_back(&mut self, component: Component, attempt: Attempt) {
        let service = self.service_mut(component);
        service.ill = None;
        if let Some((_, installed, setting)) = service.kept.take_if(|(of, ..)| *of == attempt) {
            service.installed = installed;
            service.in_force = setting;
        }
    }

    /// Everything that is installed starts, with what is on disk.
    pub(super) fn boot(&mut self) {
        for service in &mut self.services {
            service.ill = None;
        }
    }

    /// Whether what a change is about runs and answers.
    pub(super) fn health(&self, change: &Change) -> Result<(), String> {
        for step in &change.steps {
            if let Some(why) = &self.service(step.component).ill {
                return Err(format!("{}: {why}", step.component));
            }
        }
        Ok(())
    }

    /// Somebody changes a component by hand: a container or the proxy is removed, a daemon's
    /// configuration is put back to what it was delivered with.
    pub(super) fn drift(&mut self, component: Component) {
        let service = self.service_mut(component);
        service.in_force.hash = None;
        service.in_force.store = None;
        service.installed &= component.supervisor().is_none();
    }

    /// What the observer finds of each component.
    pub(super) fn components(&self) -> BTreeMap<Component, ComponentFacts> {
        let found = |component: &Component| self.service(*component).installed;
        let facts = |component| {
            let service = self.service(component);
            let health = match &service.ill {
                None => Health::Healthy,
                Some(why) => Health::Unhealthy { why: why.clone() },
            };
            let Setting { hash, version, .. } = service.in_force.clone();
            let recorded = hash.is_some();
            (component, ComponentFacts { hash, version, health, running: true, recorded })
        };
        Component::ALL.into_iter().filter(found).map(facts).collect()
    }
}

/// The first two numbers of a version; Docker's are not semantic versions (`17.03.2-ce`).
fn release(version: &str) -> (u32, u32) {
    let mut numbers = version.split(['.', '-', '~', '+']).map_while(|part| part.parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}
