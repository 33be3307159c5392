//! Launches: jobs put into tasks, cut out of an offer.

use std::collections::BTreeSet;

use crate::desired::{HostSpec, Resources};
use crate::job::order::{Change, Job, StepOrder, WIRE_VERSION, Work};
use crate::mesos::v1::scheduler::{Accept, Call, Filters, Kill, Operation};
use crate::mesos::v1::{
    Blob, CommandInfo, ExecutorId, ExecutorInfo, FrameworkId, Offer, OfferId, TaskInfo,
};
use crate::observed::tasks::{Seen, Supervised, TaskRecord};
use crate::plan::assess::CONFIRM_SECONDS;
use crate::plan::step::Step;
use crate::words::{
    AgentId, Attempt, Component, Generation, HostName, SpecHash, TaskId, TaskKind, Time,
};

use super::config::Delivery;
use super::cut::{Ask, Rest};
use super::host::Host;

/// What the executor itself takes; charged once per host.
const EXECUTOR: Ask = Ask { milli_cpus: 100, mem: 32 };
const OBSERVER: Ask = Ask { milli_cpus: 10, mem: 32 };
const CHANGE: Ask = Ask { milli_cpus: 100, mem: 64 };

/// Tasks that are launched on one host together.
#[derive(Clone, Debug)]
pub(super) struct Launch {
    pub host: HostName,
    pub agent: AgentId,
    pub offer: OfferId,
    pub tasks: Vec<TaskInfo>,
    /// Tasks that have to end first.
    pub waits_for: BTreeSet<TaskId>,
    /// For how long the rest of the offer is not wanted.
    pub refuse_seconds: f64,
}

impl Launch {
    pub(super) fn accept(self) -> Call {
        Call::Accept(Accept {
            offer_ids: vec![self.offer],
            operations: vec![Operation::Launch(self.tasks)],
            filters: Some(Filters { refuse_seconds: self.refuse_seconds }),
        })
    }

    pub(super) fn kills(&self) -> impl Iterator<Item = Call> {
        let kill = |task: &TaskId| kill(task, &self.agent);
        self.waits_for.iter().map(kill).collect::<Vec<_>>().into_iter()
    }
}

pub(super) fn kill(task: &TaskId, agent: &AgentId) -> Call {
    Call::Kill(Kill { task_id: task.clone(), agent_id: Some(agent.clone()), kill_policy: None })
}

/// What is needed to write a task, beside its host.
#[derive(Clone, Copy, Debug)]
pub(super) struct Desk<'a> {
    pub delivery: &'a Delivery,
    pub framework: &'a FrameworkId,
    pub generation: Generation,
    pub stability_seconds: u32,
    pub now: Time,
}

/// A task to be launched: its record and its job, not yet cut out of an offer.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub kind: TaskKind,
    pub record: TaskRecord,
    pub work: Work,
    ask: Ask,
}

/// What the carrier of a host's steps is to do.
pub(super) fn change(
    desk: Desk<'_>,
    attempt: Attempt,
    may_disrupt: bool,
    steps: &[Step],
    spec: &HostSpec,
) -> Change {
    let order = |step: &Step| {
        let target = spec.components.get(&step.component)?.clone();
        Some(StepOrder { component: step.component, target })
    };
    Change {
        attempt,
        may_disrupt,
        stability_seconds: desk.stability_seconds,
        steps: steps.iter().filter_map(order).collect(),
    }
}

/// Writes one task. `change` is what it carries, `replaces` the task of its kind that runs.
pub(super) fn order(
    desk: Desk<'_>,
    kind: TaskKind,
    id: TaskId,
    agent: &AgentId,
    spec: Option<&HostSpec>,
    change: Option<Change>,
    replaces: Option<TaskId>,
) -> Option<Order> {
    let component = kind.component();
    let target = component.and_then(|component| spec?.components.get(&component));
    let attempt = change.as_ref().map(|change| change.attempt);
    let work = match (kind, change) {
        (TaskKind::Observer, _) => Work::Observe { confirm_seconds: CONFIRM_SECONDS },
        (TaskKind::Change, change) => Work::Change(change?),
        (_, change) => Work::Supervise { component: component?, target: target?.clone(), change },
    };
    let ask = ask_of(kind, spec);
    let record = TaskRecord {
        id,
        agent: agent.clone(),
        generation: desk.generation,
        supervised: target.map(Supervised::from),
        attempt,
        replaces,
        program: Some(desk.delivery.digest),
        ordered: desk.now,
        seen: Seen::Nothing,
    };
    Some(Order { kind, record, work, ask })
}

/// What a task of that kind takes.
fn ask_of(kind: TaskKind, spec: Option<&HostSpec>) -> Ask {
    let component = kind.component();
    let target = component.and_then(|component| spec?.components.get(&component));
    match kind {
        TaskKind::Observer => OBSERVER,
        TaskKind::Change => CHANGE,
        _ => target.and_then(|target| target.resources).map_or(CHANGE, ask),
    }
}

/// What the next launch on a host takes, as far as can be told without an offer: the carrier of
/// its steps, or all other tasks together.
pub(super) fn needed(host: &Host) -> Ask {
    let spec = host.spec.as_ref().and_then(|spec| spec.as_deref().ok());
    let work = &host.assessment.work;
    let carried = work.carrier.filter(|_| work.disruptive || work.launches.is_empty());
    let kinds = match &carried {
        Some(kind) => std::slice::from_ref(kind),
        None => &work.launches[..],
    };
    let runs = host.tasks.tasks.values().any(|task| task.seen == Seen::Running);
    let first = if runs { Ask { milli_cpus: 0, mem: 0 } } else { EXECUTOR };
    kinds.iter().fold(first, |sum, kind| sum.plus(ask_of(*kind, spec)))
}

fn ask(resources: Resources) -> Ask {
    Ask { milli_cpus: resources.cpus.milli(), mem: resources.mem }
}

/// What a set of orders asks of an offer. The executor that was there when it was made may have ended.
fn total(delivery: &Delivery, host: &HostName, offer: &Offer, orders: &[Order], runs: bool) -> Ask {
    let running = runs && offer.executor_ids.contains(&delivery.executor_id(host));
    let first = if running { Ask { milli_cpus: 0, mem: 0 } } else { EXECUTOR };
    orders.iter().fold(first, |sum, order| sum.plus(order.ask))
}

/// Whether a task of this program runs there, and so its executor.
pub(super) fn runs(delivery: &Delivery, host: &Host) -> bool {
    let alive = |task: &TaskRecord| matches!(task.seen, Seen::Starting | Seen::Running);
    let ours = |task: &TaskRecord| task.program == Some(delivery.digest);
    host.tasks.tasks.values().any(|task| alive(task) && ours(task))
}

/// Cuts the orders out of an offer. `runs`: a task of this program runs there.
///
/// # Errors
///
/// What the offer has too little of.
pub(super) fn cut(
    desk: Desk<'_>,
    host: &HostName,
    offer: &Offer,
    orders: &[Order],
    refuse_seconds: f64,
    runs: bool,
) -> Result<Launch, String> {
    let mut rest = Rest::of(offer);
    if let Some(lacking) = rest.lacking(total(desk.delivery, host, offer, orders, runs)) {
        return Err(lacking);
    }
    let executor = executor(desk, host, &rest);
    let mut tasks = Vec::with_capacity(orders.len());
    for order in orders {
        let Some(resources) = rest.take(order.ask) else { return Err("cpus or mem".to_owned()) };
        let job = Job {
            version: WIRE_VERSION,
            host: host.clone(),
            generation: desk.generation,
            work: order.work.clone(),
        };
        tasks.push(TaskInfo {
            name: order.kind.name().to_owned(),
            task_id: order.record.id.clone(),
            agent_id: offer.agent_id.clone(),
            resources,
            executor: Some(executor.clone()),
            command: None,
            kill_policy: None,
            data: Some(Blob(super::records::to_json(&job).into_bytes())),
            labels: None,
            rest: serde_json::Map::default(),
        });
    }
    Ok(Launch {
        host: host.clone(),
        agent: offer.agent_id.clone(),
        offer: offer.id.clone(),
        tasks,
        waits_for: orders.iter().filter_map(|order| order.record.replaces.clone()).collect(),
        refuse_seconds,
    })
}

/// The one executor of a host. Mesos refuses a task whose executor differs in anything from the
/// one that runs under its ID, so everything in here follows from host and digest.
fn executor(desk: Desk<'_>, host: &HostName, rest: &Rest) -> ExecutorInfo {
    let command = CommandInfo {
        uris: vec![desk.delivery.uri()],
        environment: None,
        shell: true,
        value: Some(desk.delivery.command()),
        arguments: Vec::new(),
        user: Some("root".to_owned()),
    };
    ExecutorInfo {
        kind: None,
        executor_id: desk.delivery.executor_id(host),
        framework_id: Some(desk.framework.clone()),
        command: Some(command),
        resources: rest.shape(EXECUTOR),
        name: Some("calico-dcos".to_owned()),
        source: None,
        data: None,
        shutdown_grace_period: None,
        labels: None,
        rest: serde_json::Map::default(),
    }
}

/// The supervised components that a host's pending steps do not touch: their tasks can be
/// launched beside them.
pub(super) fn untouched(steps: &[Step], kind: TaskKind) -> bool {
    let component: Option<Component> = kind.component();
    component.is_some_and(|component| steps.iter().all(|step| step.component != component))
}

impl Delivery {
    pub(super) fn executor_id(&self, host: &HostName) -> ExecutorId {
        executor_id(host, self.digest)
    }
}

/// The ID of the executor on a host that runs the program of this digest.
pub(super) fn executor_id(host: &HostName, program: SpecHash) -> ExecutorId {
    ExecutorId(format!("calico-dcos.{host}.{}", program.short()))
}
