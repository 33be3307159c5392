//! ACCEPT: which launches go through, and what the others get. A launch that succeeds makes no
//! event until its executor reports.

use std::sync::Arc;

use super::AgentIndex;
use super::context::{Context, Launch, ToAgent};
use super::master::{Held, Master, TaskRecord};
use super::resources::Pool;
use crate::mesos::v1::scheduler::{Accept, Operation};
use crate::mesos::v1::{
    AllocationInfo, ExecutorInfo, ExecutorType, FrameworkId, Resource, StatusReason, TaskInfo,
    TaskState,
};

/// The offers of one ACCEPT, put together.
struct Accepted {
    agent: AgentIndex,
    role: String,
    /// What is not used yet.
    rest: Pool,
}

impl Master {
    pub(super) fn accept(&mut self, cx: &mut Context, id: &FrameworkId, accept: Accept) {
        let Accept { offer_ids, operations, filters } = accept;
        let numbers = match self.usable(id, &offer_ids) {
            Ok(numbers) => numbers,
            Err(why) => {
                for offer in &offer_ids {
                    if let Some(number) = self.offer_number(offer)
                        && self.offers.get(&number).is_some_and(|offer| offer.framework == *id)
                    {
                        self.discard_offer(cx, number);
                    }
                }
                let text = format!("Task launched with invalid offers: {why}");
                for operation in &operations {
                    for task in tasks_of(operation) {
                        let state = self.opt_in(id, TaskState::Dropped);
                        self.refuse_task(cx, id, task, state, StatusReason::InvalidOffers, &text);
                    }
                }
                return;
            }
        };
        let Some(mut accepted) = self.take(&numbers) else { return };
        for operation in operations {
            self.operate_on(cx, id, &mut accepted, operation);
        }
        let Accepted { agent, role, rest } = accepted;
        if let Some(record) = self.agent_mut(agent) {
            record.free.add(&rest);
        }
        self.consider(cx, agent);
        self.refuse(cx, id, agent, role, rest, filters);
    }

    /// Volumes and the like are not modelled, and dropped, as without an ID in Mesos.
    fn operate_on(
        &mut self,
        cx: &mut Context,
        id: &FrameworkId,
        accepted: &mut Accepted,
        operation: Operation,
    ) {
        match operation {
            Operation::Launch(tasks) => {
                for task in tasks {
                    if let Err(why) = self.launch(cx, id, accepted, task.clone(), false) {
                        let reason = StatusReason::TaskInvalid;
                        self.refuse_task(cx, id, &task, TaskState::Error, reason, &why);
                    }
                }
            }
            Operation::LaunchGroup { executor, tasks } => {
                for mut task in tasks {
                    task.executor = Some((*executor).clone());
                    if let Err(why) = self.launch(cx, id, accepted, task.clone(), true) {
                        let reason = StatusReason::Unknown("REASON_TASK_GROUP_INVALID".to_owned());
                        self.refuse_task(cx, id, &task, TaskState::Error, reason, &why);
                    }
                }
            }
            Operation::Reserve(resources) => self.reserve(accepted, &resources, false),
            Operation::Unreserve(resources) => self.reserve(accepted, &resources, true),
            Operation::Other(_) => {}
        }
    }

    /// Sets resources of the agent aside for a role, or takes that back.
    fn reserve(&mut self, accepted: &mut Accepted, resources: &[Resource], back: bool) {
        let reserved = Pool::from_wire(resources);
        let free: Vec<_> = resources
            .iter()
            .map(|resource| Resource { reservations: Vec::new(), role: None, ..resource.clone() })
            .collect();
        let free = Pool::from_wire(&free);
        let (from, to) = if back { (reserved, free) } else { (free, reserved) };
        if !accepted.rest.contains(&from) {
            return;
        }
        accepted.rest.subtract(&from);
        accepted.rest.add(&to);
        if let Some(record) = self.agent_mut(accepted.agent) {
            record.total.subtract(&from);
            record.total.add(&to);
        }
    }

    /// The numbers of the offers, if they are good together; otherwise Mesos' words.
    fn usable(
        &self,
        framework: &FrameworkId,
        ids: &[crate::mesos::v1::OfferId],
    ) -> Result<Vec<u64>, String> {
        let mut numbers = Vec::with_capacity(ids.len());
        for id in ids {
            let number = self.offer_number(id);
            let ours =
                number.filter(|n| self.offers.get(n).is_some_and(|o| o.framework == *framework));
            let Some(number) = ours else { return Err(format!("Offer {id} is no longer valid")) };
            if numbers.contains(&number) {
                return Err(format!("Duplicate offer {id} in offer list"));
            }
            numbers.push(number);
        }
        let mut offers = numbers.iter().filter_map(|number| self.offers.get(number));
        let first = offers.next().ok_or("No offers specified")?;
        for offer in offers {
            let agent = |offer: &super::master::Offer| {
                self.agent(offer.agent).map(|record| record.id.to_string()).unwrap_or_default()
            };
            let id = numbers
                .iter()
                .find(|number| self.offers.get(number).is_some_and(|o| std::ptr::eq(o, offer)))
                .map(|number| self.offer_id(*number).to_string())
                .unwrap_or_default();
            if offer.agent != first.agent {
                let (one, other) = (agent(offer), agent(first));
                return Err(format!(
                    "Aggregated offers must belong to one single agent. Offer {id} uses agent \
                     {one} and agent {other}"
                ));
            }
            if offer.role != first.role {
                let (one, other) = (&offer.role, &first.role);
                return Err(format!(
                    "Aggregated offers must be allocated to the same role. Offer {id} uses role \
                     {one} but another is using role {other}"
                ));
            }
        }
        Ok(numbers)
    }

    fn take(&mut self, numbers: &[u64]) -> Option<Accepted> {
        let mut accepted: Option<Accepted> = None;
        for number in numbers {
            let offer = self.offers.remove(number)?;
            if let Some(accepted) = &mut accepted {
                accepted.rest.add(&offer.resources);
            } else {
                let super::master::Offer { agent, role, resources: rest, .. } = offer;
                accepted = Some(Accepted { agent, role, rest });
            }
        }
        accepted
    }

    fn launch(
        &mut self,
        cx: &mut Context,
        id: &FrameworkId,
        accepted: &mut Accepted,
        mut task: TaskInfo,
        grouped: bool,
    ) -> Result<(), String> {
        let role = accepted.role.clone();
        if let Some(executor) = &mut task.executor {
            executor.framework_id = Some(id.clone());
            allocate(&mut executor.resources, &role);
        }
        allocate(&mut task.resources, &role);
        if let Some(why) = self.invalid(id, accepted, &task, grouped) {
            return Err(why);
        }
        let resources = Pool::from_wire(&task.resources);
        accepted.rest.subtract(&resources);
        if let Some(executor) = &task.executor {
            let key = (id.clone(), executor.executor_id.clone());
            let held = Pool::from_wire(&executor.resources);
            let Some(record) = self.agent_mut(accepted.agent) else { return Ok(()) };
            if !record.executors.contains_key(&key) {
                accepted.rest.subtract(&held);
                record.occupy(&role, &held);
                let info = executor.clone();
                record.executors.insert(key, Held { info, resources: held, role: role.clone() });
            }
        }
        if let Some(record) = self.agent_mut(accepted.agent) {
            record.occupy(&role, &resources);
        }
        let Some(framework) = self.frameworks.get_mut(id) else { return Ok(()) };
        let record = TaskRecord {
            agent: accepted.agent,
            executor: task.executor.as_ref().map(|executor| executor.executor_id.clone()),
            resources,
            role,
            info: Arc::new(task.clone()),
            status: None,
            statuses: Vec::new(),
            latest: TaskState::Staging,
        };
        framework.tasks.insert(task.task_id.clone(), record.clone());
        let info = framework.info.clone();
        self.publish_task(cx, id, &record);
        let launch = Launch { framework: id.clone(), info, task };
        cx.send_to_agent(accepted.agent, ToAgent::Run(Box::new(launch)));
        Ok(())
    }

    /// What Mesos has against the task (`src/master/validation.cpp`).
    fn invalid(
        &self,
        id: &FrameworkId,
        accepted: &Accepted,
        task: &TaskInfo,
        grouped: bool,
    ) -> Option<String> {
        let framework = self.frameworks.get(id)?;
        let record = self.agent(accepted.agent)?;
        let task_id = &task.task_id;
        if let Some(why) = invalid_id(task_id.as_str()) {
            return Some(match task_id.as_str() {
                "" => format!("ID {why}"),
                id => format!("'{id}' {why}"),
            });
        }
        if framework.tasks.get(task_id).is_some() {
            return Some(format!("Task has duplicate ID: {task_id}"));
        }
        if framework.unreachable.contains_key(task_id) {
            return Some(format!("Task reuses the ID of an unreachable task: {task_id}"));
        }
        if task.agent_id != record.id {
            let (used, expected) = (&task.agent_id, &record.id);
            return Some(format!(
                "Task uses invalid agent {used} while agent {expected} is expected"
            ));
        }
        if !grouped && task.command.is_some() == task.executor.is_some() {
            return Some(
                "Task should have at least one (but not both) of CommandInfo or ExecutorInfo \
                 present"
                    .to_owned(),
            );
        }
        let default = |executor: &ExecutorInfo| {
            executor.kind == Some(ExecutorType::Default) && executor.command.is_some()
        };
        if task.executor.as_ref().is_some_and(default) {
            return Some(
                "'ExecutorInfo.command' must not be set for 'DEFAULT' executor".to_owned(),
            );
        }
        if task.resources.is_empty() {
            return Some("Task uses no resources".to_owned());
        }
        let held =
            task.executor.as_ref().map(|executor| &executor.resources[..]).unwrap_or_default();
        if let Some(bad) = Pool::not_positive(&task.resources).or(Pool::not_positive(held)) {
            return Some(format!(
                "Resource '{bad}' is invalid: Invalid scalar resource: value <= 0"
            ));
        }
        let mut needed = Pool::from_wire(&task.resources);
        if let Some(executor) = &task.executor {
            let key = (id.clone(), executor.executor_id.clone());
            match record.executors.get(&key) {
                None => needed.add(&Pool::from_wire(&executor.resources)),
                Some(held) if same_executor(&held.info, executor) => {}
                Some(_) => {
                    return Some(
                        "ExecutorInfo is not compatible with existing ExecutorInfo with same \
                         ExecutorID"
                            .to_owned(),
                    );
                }
            }
        }
        (!accepted.rest.contains(&needed)).then(|| {
            format!(
                "Total resources {} required by task and its executor is more than available {}",
                needed.describe(&accepted.role),
                accepted.rest.describe(&accepted.role)
            )
        })
    }

    /// An update for a task that was not launched. It is told once, and kept nowhere.
    fn refuse_task(
        &self,
        cx: &mut Context,
        id: &FrameworkId,
        task: &TaskInfo,
        state: TaskState,
        reason: StatusReason,
        why: &str,
    ) {
        let mut status = Self::status(cx, &task.task_id, state, reason, why);
        status.agent_id = Some(task.agent_id.clone());
        self.tell(cx, id, crate::mesos::v1::scheduler::Event::Update(status));
    }
}

fn tasks_of(operation: &Operation) -> &[TaskInfo] {
    match operation {
        Operation::Launch(tasks) | Operation::LaunchGroup { tasks, .. } => tasks,
        _ => &[],
    }
}

/// Says for which role resources are used, where the framework did not.
fn allocate(resources: &mut [Resource], role: &str) {
    for resource in resources {
        let allocated = || AllocationInfo { role: Some(role.to_owned()) };
        resource.allocation_info.get_or_insert_with(allocated);
    }
}

/// The same to the byte, but for who holds the resources.
fn same_executor(known: &ExecutorInfo, asked: &ExecutorInfo) -> bool {
    let plain = |executor: &ExecutorInfo| {
        let mut executor = executor.clone();
        for resource in &mut executor.resources {
            resource.allocation_info = None;
        }
        executor
    };
    plain(known) == plain(asked)
}

/// What Mesos has against an ID (`src/common/validation.cpp`).
fn invalid_id(id: &str) -> Option<&'static str> {
    match id {
        "" => Some("must not be empty"),
        "." | ".." => Some("is disallowed"),
        _ if id.len() > 255 => Some("must not be greater than 255 characters"),
        _ if id.chars().any(|c| c.is_ascii_control() || c == '/' || c == '\\') => {
            Some("contains invalid characters")
        }
        _ => None,
    }
}
