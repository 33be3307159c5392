//! ACCEPT: which launches go through, and what the others get. A launch that succeeds makes no
//! event until its executor reports.

use std::collections::btree_map::Entry;

use super::AgentIndex;
use super::context::{Context, Launch, ToAgent};
use super::master::{Master, TaskRecord};
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
        // Only launches are modelled; other operations are dropped, as without an ID in Mesos.
        let tasks: Vec<TaskInfo> = operations
            .into_iter()
            .flat_map(|operation| match operation {
                Operation::Launch(tasks) => tasks,
                Operation::Other(_) => Vec::new(),
            })
            .collect();
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
                for task in tasks {
                    let state = self.opt_in(id, TaskState::Dropped);
                    self.refuse_task(cx, id, &task, state, StatusReason::InvalidOffers, &text);
                }
                return;
            }
        };
        let Some(mut accepted) = self.take(&numbers) else { return };
        for task in tasks {
            self.launch(cx, id, &mut accepted, task);
        }
        let Accepted { agent, role, rest } = accepted;
        if let Some(record) = self.agent_mut(agent) {
            record.free.add(&rest);
        }
        self.consider(cx, agent);
        self.refuse(cx, id, agent, role, rest, filters);
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
            if offer.agent != first.agent {
                return Err("Aggregated offers must belong to one single agent".to_owned());
            }
            if offer.role != first.role {
                return Err("Aggregated offers must be allocated to the same role".to_owned());
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
    ) {
        if let Some(executor) = &mut task.executor {
            executor.framework_id = Some(id.clone());
        }
        if let Some(why) = self.invalid(id, accepted, &task) {
            let reason = StatusReason::TaskInvalid;
            return self.refuse_task(cx, id, &task, TaskState::Error, reason, &why);
        }
        let resources = Pool::from_wire(&task.resources);
        accepted.rest.subtract(&resources);
        if let Some(executor) = &task.executor {
            let key = (id.clone(), executor.executor_id.clone());
            let held = Pool::from_wire(&executor.resources);
            let Some(record) = self.agent_mut(accepted.agent) else { return };
            if let Entry::Vacant(entry) = record.executors.entry(key) {
                accepted.rest.subtract(&held);
                entry.insert((executor.clone(), held));
            }
        }
        if let Some(executor) = &mut task.executor {
            allocate(&mut executor.resources, &accepted.role);
        }
        allocate(&mut task.resources, &accepted.role);
        let Some(framework) = self.frameworks.get_mut(id) else { return };
        let record = TaskRecord {
            agent: accepted.agent,
            executor: task.executor.as_ref().map(|executor| executor.executor_id.clone()),
            resources,
            status: None,
            latest: TaskState::Staging,
        };
        framework.tasks.insert(task.task_id.clone(), record);
        let info = framework.info.clone();
        let launch = Launch { framework: id.clone(), info, task };
        cx.send_to_agent(accepted.agent, ToAgent::Run(Box::new(launch)));
    }

    /// What Mesos has against the task (`src/master/validation.cpp`).
    fn invalid(&self, id: &FrameworkId, accepted: &Accepted, task: &TaskInfo) -> Option<String> {
        let framework = self.frameworks.get(id)?;
        let record = self.agent(accepted.agent)?;
        let task_id = &task.task_id;
        if let Some(why) = invalid_id(task_id.as_str()) {
            return Some(format!("Task ID '{task_id}' {why}"));
        }
        if framework.tasks.contains_key(task_id) {
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
        if task.command.is_some() == task.executor.is_some() {
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
                Some((known, _)) if same_executor(known, executor) => {}
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
