//! The components as steps: looked at, changed, put back. One file for each.
//!
//! A step decides how its component is changed, never whether or when: that is [`crate::job`]'s.
//! All of it is idempotent, as a process that died in the middle is followed by another one.

mod container;
mod docker;
mod etcd_proxy;
#[cfg(test)]
pub(super) mod fakes;
mod mesos_agent;

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::host::{Host, HostError};
use super::service::ServiceError;
use super::state::{FOLDER, Kept, Record};
use crate::desired::{ComponentSpec, Spec};
use crate::job::Finding;
use crate::job::order::{Change, StepOrder};
use crate::observed::facts::{ComponentFacts, Health};
use crate::words::{Attempt, Component, SpecHash};

pub(super) use container::foreign_node;
pub(super) use docker::facts as docker_facts;

/// What a step has brought about is there within this time, or has failed. calico/node needs the
/// longest: it waits for etcd, and its health check runs every ten seconds.
const IN_FORCE_WITHIN: Duration = Duration::from_secs(90);

/// Of DC/OS 2.1 and later.
const OF_DCOS: &str = "dcos-calico-felix.service";

/// What was found of a component that there is on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    /// The spec that is in force, if all of it was found.
    hash: Option<SpecHash>,
    /// As it calls itself.
    version: Option<String>,
    /// What it answered.
    health: Health,
    /// Something runs that a change could stop.
    running: bool,
    /// Why it cannot be changed here.
    blocked: Option<String>,
}

/// What a step is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    /// What is kept is kept for this one.
    pub attempt: Attempt,
    /// It holds a slot: Docker and agent may be restarted. What the check found may have changed since,
    /// so that each step minds it again, also on its way back.
    pub may_disrupt: bool,
}

impl Turn {
    /// Refuses to stop something without a slot.
    fn may_stop(self, what: &str) -> Result<(), HostError> {
        let why = || format!("{what} would have to be stopped, which this change may not");
        if self.may_disrupt { Ok(()) } else { Err(HostError::Found(why())) }
    }
}

/// One component. What all have in common (the record, what is in force already, what was kept) is
/// looked up before a step is asked.
trait Step {
    /// Which one.
    fn component(&self) -> Component;

    /// What is on the machine, going by the record of what was last put in force; none if there is
    /// nothing of it.
    async fn observe(
        &self,
        host: &Host,
        record: Option<&Record>,
    ) -> Result<Option<Seen>, HostError>;

    /// What changing it to the target would take, without touching anything. The target is not in
    /// force and well; what was never ours is not asked to be taken off.
    async fn check(
        &self,
        host: &Host,
        target: &ComponentSpec,
        record: Option<&Record>,
    ) -> Result<Finding, HostError>;

    /// Keeps what is there, once for the attempt, and makes it what the target says.
    async fn apply(&self, host: &Host, turn: Turn, target: &ComponentSpec)
    -> Result<(), HostError>;

    /// The files of which a change is to be noticed; of a path with `/` at its end all in it.
    fn files(&self, record: Option<&Record>) -> Vec<String>;

    /// Puts back what was kept.
    async fn undo(&self, host: &Host, turn: Turn, kept: &Kept) -> Result<(), HostError>;
}

/// Calls the step of a component. There is no `dyn`: these futures need no box.
macro_rules! with_step {
    ($component:expr, $step:ident => $call:expr) => {
        match $component {
            Component::Docker => {
                let $step = docker::Docker;
                $call
            }
            Component::CalicoNode | Component::CalicoLibnetwork => {
                let $step = container::Container($component);
                $call
            }
            Component::EtcdProxy => {
                let $step = etcd_proxy::EtcdProxy;
                $call
            }
            Component::MesosAgent => {
                let $step = mesos_agent::MesosAgent;
                $call
            }
        }
    };
}

/// What the components of a host are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Overview {
    /// Those that there are.
    pub components: BTreeMap<Component, ComponentFacts>,
    /// Those that cannot be changed here, and why.
    pub blocked: BTreeMap<Component, String>,
}

/// Looks at all components. One that cannot be looked at is not well, and says why.
pub(super) async fn observe_all(host: &Host) -> Overview {
    let mut overview = Overview::default();
    for component in Component::ALL {
        // One that cannot be read is an error of the look as well.
        let recorded = host.state.record(component).is_ok_and(|record| record.is_some());
        let facts = match observe(host, component).await {
            Ok(None) if !recorded => continue,
            Ok(None) => {
                let (hash, version, health) = (None, None, Health::Unknown);
                ComponentFacts { hash, version, health, running: false, recorded }
            }
            Ok(Some(Seen { hash, version, health, running, blocked })) => {
                overview.blocked.extend(blocked.map(|why| (component, why)));
                ComponentFacts { hash, version, health, running, recorded }
            }
            Err(error) => {
                let health = Health::Unhealthy { why: error.sentence() };
                ComponentFacts { hash: None, version: None, health, running: true, recorded }
            }
        };
        overview.components.insert(component, facts);
    }
    overview
}

async fn observe(host: &Host, component: Component) -> Result<Option<Seen>, HostError> {
    with_step!(component, step => look_at(&step, host).await)
}

async fn look_at(step: &impl Step, host: &Host) -> Result<Option<Seen>, HostError> {
    let record = host.state.record(step.component())?;
    step.observe(host, record.as_ref()).await
}

async fn find(step: &impl Step, host: &Host, target: &ComponentSpec) -> Result<Finding, HostError> {
    let record = host.state.record(step.component())?;
    if target.spec == Spec::Off && record.is_none() {
        return Ok(Finding::InForce);
    }
    let seen = step.observe(host, record.as_ref()).await?;
    if seen.is_some_and(|seen| seen.hash == Some(target.hash) && seen.health == Health::Healthy) {
        return Ok(Finding::InForce);
    }
    step.check(host, target, record.as_ref()).await
}

async fn put_back(step: &impl Step, host: &Host, turn: Turn) -> Result<(), HostError> {
    match host.state.kept(turn.attempt, step.component())? {
        Some(kept) => step.undo(host, turn, &kept).await,
        // It was not begun.
        None => Ok(()),
    }
}

/// The units of which a change is to be noticed.
pub(super) fn units() -> Vec<&'static str> {
    let agents = mesos_agent::units();
    agents.chain([docker::UNIT, etcd_proxy::UNIT, OF_DCOS]).collect()
}

/// The containers of which a change is to be noticed.
pub(super) fn containers() -> Vec<&'static str> {
    [Component::CalicoNode, Component::CalicoLibnetwork].map(container::name).to_vec()
}

/// The files of which a change is to be noticed, as far as records say which. One that cannot be read is
/// told with its component.
pub(super) fn files(host: &Host) -> Vec<String> {
    // A record is written by each step.
    let mut files = vec![format!("{FOLDER}/in-force/")];
    for component in Component::ALL {
        let record = host.state.record(component).ok().flatten();
        files.extend(with_step!(component, step => step.files(record.as_ref())));
    }
    files
}

/// What keeps us from changing anything on this host.
pub(super) async fn host_is_blocked(host: &Host) -> Option<String> {
    if let Some(why) = foreign_processor(&rustix::system::uname().machine().to_string_lossy()) {
        return Some(why);
    }
    match host.services.look(OF_DCOS).await {
        Ok(Some(_)) => Some(
            "DC/OS ships its own Calico on this host (2.1 and later), which is left alone"
                .to_owned(),
        ),
        Ok(None) => None,
        Err(ServiceError::NoBus { source }) => Some(format!(
            "this system is not run by systemd, or it does not answer on the system bus, and no other is supported: {source}"
        )),
        Err(error) => Some(HostError::from(error).sentence()),
    }
}

fn foreign_processor(name: &str) -> Option<String> {
    (name != "x86_64")
        .then(|| format!("this processor is {name}, and there are builds for x86_64 only"))
}

/// Looks at one step of a change. What cannot be looked at is refused.
pub(super) async fn check(host: &Host, order: &StepOrder) -> Finding {
    if let Some(why) = host_is_blocked(host).await {
        return Finding::Refused { why };
    }
    let found = with_step!(order.component, step => find(&step, host, &order.target).await);
    found.unwrap_or_else(|error| Finding::Refused { why: error.sentence() })
}

/// Looks at all steps of a change before the first is taken.
pub(super) async fn check_all(host: Host, change: Change) -> Vec<Finding> {
    let mut findings = Vec::with_capacity(change.steps.len());
    for order in &change.steps {
        findings.push(check(&host, order).await);
    }
    findings
}

/// Takes a step.
pub(super) async fn apply(host: &Host, turn: Turn, order: &StepOrder) -> Result<(), HostError> {
    with_step!(order.component, step => step.apply(host, turn, &order.target).await)
}

/// Puts a step back.
pub(super) async fn undo(host: &Host, turn: Turn, component: Component) -> Result<(), HostError> {
    with_step!(component, step => put_back(&step, host, turn).await)
}

/// Waits until a step is in force, by what is found on the machine.
pub(super) async fn verify(host: &Host, order: &StepOrder) -> Result<(), String> {
    let patience = Patience::of(host, IN_FORCE_WITHIN);
    loop {
        let there = in_force(host, order).await;
        if there.is_ok() || !patience.lasts().await {
            return there;
        }
    }
}

/// Whether all of a change are in force and well.
pub(super) async fn all_in_force(host: &Host, change: &Change) -> Result<(), String> {
    for order in &change.steps {
        in_force(host, order).await?;
    }
    Ok(())
}

/// Whether all that a change was about and that is there is well.
pub(super) async fn all_well(host: &Host, change: &Change) -> Result<(), String> {
    for order in &change.steps {
        let seen = observe(host, order.component).await;
        if let Some(seen) = seen.map_err(|error| error.sentence())? {
            well(order.component, &seen)?;
        }
    }
    Ok(())
}

async fn in_force(host: &Host, order: &StepOrder) -> Result<(), String> {
    let StepOrder { component, target } = order;
    let seen = observe(host, *component).await.map_err(|error| error.sentence())?;
    let hash = seen.as_ref().and_then(|seen| seen.hash);
    match (&target.spec, seen) {
        (Spec::Off, _) if hash.is_some() => Err(format!("{component} is still there")),
        (Spec::Off, _) => Ok(()),
        (_, Some(seen)) if hash == Some(target.hash) => well(*component, &seen),
        (_, Some(Seen { health: Health::Unhealthy { why }, .. })) => {
            Err(format!("{component}: {why}"))
        }
        _ => Err(format!("{component} is not in force")),
    }
}

fn well(component: Component, seen: &Seen) -> Result<(), String> {
    match &seen.health {
        Health::Healthy => Ok(()),
        Health::Unhealthy { why } => Err(format!("{component}: {why}")),
        Health::Unknown => Err(format!("{component} has not said yet how it is")),
    }
}

/// Time to wait for something that is to become so.
struct Patience {
    until: Instant,
    look_again: Duration,
}

impl Patience {
    fn of(host: &Host, time: Duration) -> Self {
        Self { until: Instant::now() + time, look_again: host.look_again }
    }

    /// Waits before another look; false once there is no time left for one.
    async fn lasts(&self) -> bool {
        tokio::time::sleep(self.look_again).await;
        Instant::now() < self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_builds_for_one_processor() {
        assert_eq!(foreign_processor("x86_64"), None);
        for name in ["aarch64", "i686", ""] {
            assert!(foreign_processor(name).is_some_and(|why| why.contains("x86_64")), "{name}");
        }
    }
}
