//! What an agent tells operators about itself at `/api/v1`: the shapes of recording 08. What was
//! completed is not remembered.

use serde_json::{Map, Value, json};

use super::{Agent, AgentRequest, Process, Stage};
use crate::sim::mesos::calls::Outcome;
use crate::sim::mesos::config::AgentConfig;
use crate::sim::mesos::context::{Context, TaskKey};

impl Agent {
    pub(super) fn operator(
        &self,
        cx: &Context,
        config: &AgentConfig,
        version: &str,
        request: &AgentRequest<'_>,
    ) -> Result<Value, Outcome> {
        let body = crate::sim::mesos::decode::object(request.body)?;
        let kind = body.get("type").and_then(Value::as_str).unwrap_or_default();
        let recovering = self.process == Process::Recovering;
        if recovering && matches!(kind, "GET_STATE" | "GET_TASKS" | "GET_EXECUTORS" | "GET_AGENT") {
            return Err(Outcome::refused(503, "Agent has not finished recovery"));
        }
        let member = kind.to_lowercase();
        let told = match kind {
            "GET_HEALTH" => json!({ "healthy": true }),
            "GET_VERSION" => json!({ "version_info": { "version": version } }),
            "GET_FLAGS" => {
                let flag = |(name, value)| json!({ "name": name, "value": value });
                json!({ "flags": self.flags(cx, config).into_iter().map(flag).collect::<Vec<_>>() })
            }
            "GET_AGENT" => json!({ "agent_info": self.agent_info(config) }),
            "GET_TASKS" => self.told_tasks(),
            "GET_EXECUTORS" => self.told_executors(),
            "GET_STATE" => json!({
                "get_tasks": self.told_tasks(),
                "get_executors": self.told_executors(),
                "get_frameworks": {
                    "frameworks": self
                        .frameworks
                        .values()
                        .map(|info| json!({ "framework_info": info }))
                        .collect::<Vec<_>>(),
                    "completed_frameworks": [],
                },
            }),
            _ => {
                let text = "Failed to validate agent::Call: Expecting 'type' to be present";
                return Err(Outcome::refused(400, text));
            }
        };
        Ok(json!({ "type": kind, member: told }))
    }

    fn told_executors(&self) -> Value {
        let executors: Vec<_> = self
            .executors
            .values()
            .filter(|executor| executor.stage != Stage::Dead)
            .filter_map(|executor| Some(json!({ "executor_info": executor.info.as_ref()? })))
            .collect();
        json!({ "executors": executors, "completed_executors": [] })
    }

    fn told_tasks(&self) -> Value {
        let (mut queued, mut launched, mut terminated) = (Vec::new(), Vec::new(), Vec::new());
        for (key, task) in &self.tasks {
            let executor = self.executors.get(&task.executor);
            let list = match executor {
                _ if task.latest.is_terminal() => &mut terminated,
                Some(executor) if executor.waiting.contains(&key.1) => &mut queued,
                _ => &mut launched,
            };
            list.push(told_task(key, task));
        }
        json!({
            "pending_tasks": [],
            "queued_tasks": queued,
            "launched_tasks": launched,
            "terminated_tasks": terminated,
            "completed_tasks": [],
        })
    }

    /// Those that this model has, and those that it was given.
    pub(super) fn flags(&self, cx: &Context, config: &AgentConfig) -> Map<String, Value> {
        let mut flags = Map::new();
        let mut put = |name: &str, value: String| flags.insert(name.to_owned(), value.into());
        let reregistration = super::process::duration(self.reregistration(cx));
        put("executor_reregistration_timeout", reregistration);
        if let Some(processes) = &self.processes {
            let duration = super::process::duration;
            put("authenticate_http_executors", processes.authenticate.to_string());
            put("executor_registration_timeout", duration(processes.registration_timeout));
            put("executor_shutdown_grace_period", duration(processes.shutdown_grace));
            put("recovery_timeout", duration(processes.recovery_timeout));
            put("work_dir", processes.work_dir.clone());
        }
        for (name, value) in &config.flags {
            put(name, value.clone());
        }
        flags
    }
}

fn told_task((framework, id): &TaskKey, task: &super::Task) -> Value {
    let mut told = json!({
        "name": task.info.name,
        "task_id": { "value": id.as_str() },
        "framework_id": framework,
        "agent_id": { "value": task.info.agent_id.as_str() },
        "state": task.latest,
        "resources": task.info.resources,
        "statuses": task.updates.told().into_iter().collect::<Vec<_>>(),
    });
    if let (Some(executor), Some(fields)) = (&task.info.executor, told.as_object_mut()) {
        fields.insert("executor_id".to_owned(), json!(executor.executor_id));
    }
    told
}
