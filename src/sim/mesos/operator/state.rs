//! Tasks, executors, frameworks and roles, as `GET_STATE` and the calls for its parts tell them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::mesos::v1::{FrameworkId, FrameworkInfo};
use crate::sim::mesos::master::{Framework, Master, TaskRecord};
use crate::sim::mesos::resources::{Form, Pool, kept};
use crate::sim::mesos::tasks::nanoseconds;
use crate::words::Time;

impl Master {
    pub(in crate::sim::mesos) fn state(&self) -> Value {
        json!({
            "get_tasks": self.tasks(),
            "get_executors": self.executors(),
            "get_frameworks": self.frameworks_told(),
            "get_agents": self.agents_told(&self.get_agents()),
        })
    }

    pub(super) fn tasks(&self) -> Value {
        let mut tasks: [Vec<Value>; 3] = Default::default();
        for (id, framework) in &self.frameworks {
            tasks[0].extend(framework.tasks.values().map(|record| task(self, id, record)));
            tasks[1].extend(framework.unreachable.values().map(|record| task(self, id, record)));
            tasks[2].extend(framework.completed.iter().map(|record| task(self, id, record)));
        }
        for (framework, _) in &self.removed_frameworks {
            let id = framework.info.id.clone().unwrap_or_else(|| FrameworkId(String::new()));
            tasks[2].extend(framework.completed.iter().map(|record| task(self, &id, record)));
        }
        let [tasks, unreachable, completed] = tasks;
        json!({ "tasks": tasks, "unreachable_tasks": unreachable, "completed_tasks": completed })
    }

    pub(super) fn executors(&self) -> Value {
        let executors: Vec<_> = self
            .agents
            .iter()
            .flatten()
            .flat_map(|record| {
                record.executors.values().map(|held| {
                    json!({ "executor_info": held.info, "agent_id": { "value": record.id.as_str() } })
                })
            })
            .collect();
        json!({ "executors": executors })
    }

    pub(super) fn frameworks_told(&self) -> Value {
        let present: Vec<_> =
            self.frameworks.iter().map(|(id, framework)| self.framework(id, framework)).collect();
        let completed: Vec<_> =
            self.removed_frameworks.iter().map(|(framework, at)| over(framework, *at)).collect();
        let mut told = json!({ "frameworks": present });
        if !completed.is_empty() {
            told["completed_frameworks"] = Value::Array(completed);
        }
        told
    }

    fn framework(&self, id: &FrameworkId, framework: &Framework) -> Value {
        let mut told = framework_head(framework);
        told["offer_constraints"] = json!({});
        let mut offered: BTreeMap<&str, Pool> = BTreeMap::new();
        let mut offers = Vec::new();
        for (number, offer) in self.offers.iter().filter(|(_, offer)| offer.framework == *id) {
            offered.entry(&offer.role).or_default().add(&offer.resources);
            offers.extend(self.offer_kept(*number, offer));
        }
        let mut allocated: BTreeMap<&str, Pool> = BTreeMap::new();
        for task in framework.tasks.values().filter(|task| !task.latest.is_terminal()) {
            allocated.entry(&task.role).or_default().add(&task.resources);
        }
        for (name, list) in [("offers", offers)] {
            if !list.is_empty() {
                told[name] = json!(list);
            }
        }
        for (name, pools) in [("allocated_resources", allocated), ("offered_resources", offered)] {
            let list: Vec<_> = pools
                .iter()
                .flat_map(|(role, pool)| {
                    pool.to_wire(Form { allocated: Some(role), refined: false })
                })
                .collect();
            if !list.is_empty() {
                told[name] = json!(list);
            }
        }
        told
    }

    /// Roles with somebody in them, or something in use for them.
    pub(super) fn roles_told(&self) -> Value {
        let mut roles: BTreeMap<String, (Vec<&FrameworkId>, Pool)> = BTreeMap::new();
        for (id, framework) in &self.frameworks {
            for role in framework.roles() {
                roles.entry(role).or_default().0.push(id);
            }
        }
        for offer in self.offers.values() {
            roles.entry(offer.role.clone()).or_default().1.add(&offer.resources.whole());
        }
        for record in self.agents.iter().flatten() {
            for (role, used) in &record.used {
                if !used.is_empty() {
                    roles.entry(role.clone()).or_default().1.add(&used.whole());
                }
            }
        }
        let told: Vec<_> = roles
            .into_iter()
            .map(|(name, (frameworks, resources))| {
                let mut role = json!({ "name": name, "weight": 1.0 });
                if !frameworks.is_empty() {
                    role["frameworks"] = json!(frameworks);
                }
                let mut scalars = resources.to_wire(Form { allocated: None, refined: true });
                scalars.retain(|resource| resource.scalar.is_some());
                if !scalars.is_empty() {
                    role["resources"] = json!(scalars);
                }
                role
            })
            .collect();
        json!({ "roles": told })
    }
}

/// `mesos.proto`, `Task`: the order of the fields is the proto's.
pub(super) fn task(master: &Master, id: &FrameworkId, record: &TaskRecord) -> Value {
    let info = &record.info;
    let mut task = Map::new();
    task.insert("name".to_owned(), json!(info.name));
    task.insert("task_id".to_owned(), json!({ "value": info.task_id.as_str() }));
    task.insert("framework_id".to_owned(), json!(id));
    if let Some(executor) = &record.executor {
        task.insert("executor_id".to_owned(), json!(executor));
    }
    task.insert("agent_id".to_owned(), json!({ "value": info.agent_id.as_str() }));
    let away = record.statuses.last().filter(|status| status.uuid.is_none());
    let state = away.map_or(&record.latest, |status| &status.state);
    task.insert("state".to_owned(), json!(state));
    task.insert("resources".to_owned(), json!(kept(&info.resources, &record.role)));
    if !record.statuses.is_empty() {
        task.insert("statuses".to_owned(), json!(record.statuses));
    }
    if let Some(status) = &record.status {
        task.insert("status_update_state".to_owned(), json!(status.state));
        task.insert("status_update_uuid".to_owned(), json!(status.uuid));
    }
    if let Some(labels) = &info.labels {
        task.insert("labels".to_owned(), json!(labels));
    }
    for name in ["discovery", "container", "health_check"] {
        if let Some(value) = info.rest.get(name) {
            task.insert(name.to_owned(), value.clone());
        }
    }
    if let Some(policy) = &info.kill_policy {
        task.insert("kill_policy".to_owned(), json!(policy));
    }
    debug_assert!(master.agents.len() > record.agent, "a task of an agent that was never there");
    Value::Object(task)
}

/// What all descriptions of a framework begin with.
pub(super) fn framework_head(framework: &Framework) -> Value {
    let connected = framework.stream.is_some();
    json!({
        "framework_info": framework_info(&framework.info),
        "active": connected,
        "connected": connected,
        "recovered": false,
        "registered_time": nanoseconds(framework.registered),
        "reregistered_time": nanoseconds(framework.reregistered),
    })
}

fn over(framework: &Framework, at: Time) -> Value {
    let mut told = framework_head(framework);
    told["offer_constraints"] = json!({});
    told["unregistered_time"] = json!(nanoseconds(at));
    told
}

pub(super) fn framework_info(info: &FrameworkInfo) -> Value {
    json!(info)
}
