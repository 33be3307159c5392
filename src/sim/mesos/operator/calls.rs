//! The calls of `/api/v1`.

use serde_json::{Value, json};

use crate::mesos::v1::FrameworkId;
use crate::sim::mesos::calls::Outcome;
use crate::sim::mesos::{AgentIndex, Allocatable, SimMesos, decode};
use crate::words::{AgentId, Time};

/// What a call is answered with.
#[derive(Clone, Debug, PartialEq)]
pub enum OperatorAnswer {
    /// 200 and a document.
    Told(Value),
    /// 200 and nothing.
    Done,
}

impl SimMesos {
    /// Carries out an operator's call of that type, which has its parameters in it.
    ///
    /// # Errors
    /// The status and the words with which Mesos refuses it.
    pub fn operate(
        &mut self,
        now: Time,
        kind: &str,
        call: &Value,
    ) -> Result<OperatorAnswer, Outcome> {
        self.advance(now);
        self.ready()?;
        if !self.master.knows_operators(kind) {
            return Err(Outcome::refused(400, decode::NO_OPERATOR_TYPE));
        }
        if let Some(told) = self.told(now, kind, call)? {
            let mut answer = json!({ "type": kind });
            if !told.is_null() {
                answer[kind.to_lowercase()] = told;
            }
            return Ok(OperatorAnswer::Told(answer));
        }
        let parameters = needed(kind, call)?;
        match kind {
            "TEARDOWN" => {
                let id = text(parameters, "/framework_id/value");
                let id = FrameworkId(id.to_owned());
                if !self.master.frameworks.contains_key(&id) {
                    return Err(Outcome::refused(400, "No framework found with specified ID"));
                }
                self.master.remove_framework(&mut self.cx, &id);
            }
            "MARK_AGENT_GONE" => self.mark_gone(&agent_id(parameters))?,
            "DEACTIVATE_AGENT" => {
                let index = self.known_agent(parameters)?;
                self.master.deactivate(&mut self.cx, index);
            }
            "REACTIVATE_AGENT" => {
                let index = self.known_agent(parameters)?;
                self.master.reactivate(&mut self.cx, index)?;
            }
            "DRAIN_AGENT" => {
                let index = self.known_agent(parameters)?;
                self.master.drain(&mut self.cx, index, parameters);
            }
            "UPDATE_MAINTENANCE_SCHEDULE" => {
                let schedule = &parameters["schedule"];
                self.master.update_schedule(&mut self.cx, schedule)?;
            }
            "START_MAINTENANCE" => {
                for index in self.master.machines_down(&parameters["machines"])? {
                    self.shut_down(index, "Operator initiated 'Machine DOWN'");
                }
            }
            "STOP_MAINTENANCE" => self.master.machines_up(&parameters["machines"])?,
            // What Mesos answers to a type that it does not know; to one that this does not model,
            // too.
            _ => return Err(Outcome::refused(400, decode::NO_OPERATOR_TYPE)),
        }
        Ok(OperatorAnswer::Done)
    }

    /// What a call only asks for; `Null` if it is told by nothing more than the type.
    fn told(&mut self, now: Time, kind: &str, call: &Value) -> Result<Option<Value>, Outcome> {
        if kind == "GET_AGENTS" {
            let agents = self.get_agents(now)?;
            return Ok(Some(self.master.agents_told(&agents)));
        }
        let master = &self.master;
        Ok(Some(match kind {
            "GET_TASKS" => master.tasks(),
            "GET_EXECUTORS" => master.executors(),
            "GET_FRAMEWORKS" => master.frameworks_told(),
            "GET_ROLES" => master.roles_told(),
            "GET_STATE" => master.state(),
            "GET_HEALTH" => json!({ "healthy": true }),
            "GET_LOGGING_LEVEL" => json!({ "level": 0 }),
            "GET_OPERATIONS" => json!({}),
            "GET_MAINTENANCE_SCHEDULE" => json!({ "schedule": master.schedule.told() }),
            "GET_MAINTENANCE_STATUS" => json!({ "status": master.maintenance_status() }),
            "GET_QUOTA" => json!({ "status": {} }),
            "GET_WEIGHTS" => Value::Null,
            "GET_VERSION" => {
                json!({ "version_info": { "version": self.version().to_string() } })
            }
            "GET_FLAGS" => json!({ "flags": self.flags() }),
            "GET_MASTER" => {
                #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit")]
                let start_time = self.master_started().0 as f64 / 1_000.0;
                json!({
                    "master_info": self.master_info(),
                    "start_time": start_time,
                    "elected_time": start_time,
                })
            }
            "GET_METRICS" => {
                needed(kind, call)?;
                json!({ "metrics": [] })
            }
            _ => return Ok(None),
        }))
    }

    /// Those flags of the master's that the model obeys.
    pub(super) fn flags(&self) -> Value {
        let timings = &self.cx.timings;
        let seconds = |ms: u64| match ms {
            ms if ms % 60_000 == 0 && ms > 0 => format!("{}mins", ms / 60_000),
            ms if ms % 1_000 == 0 => format!("{}secs", ms / 1_000),
            ms => format!("{ms}ms"),
        };
        let flag = |name: &str, value: String| json!({ "name": name, "value": value });
        let least = match self.master.allocatable {
            Allocatable::Either => "cpus:0.01|mem:32",
            Allocatable::All => "cpus:0.01;mem:32;ports:1",
        };
        let mut flags = vec![
            flag("agent_reregister_timeout", seconds(timings.agent_reregister)),
            flag("allocation_interval", seconds(timings.allocation)),
            flag("filter_gpu_resources", "true".to_owned()),
            flag("max_completed_frameworks", "50".to_owned()),
            flag("max_completed_tasks_per_framework", "1000".to_owned()),
            flag("min_allocatable_resources", least.to_owned()),
        ];
        // A flag that nobody has given is not told.
        flags.extend(timings.offer.map(|ms| flag("offer_timeout", seconds(ms))));
        json!(flags)
    }

    fn known_agent(&self, parameters: &Value) -> Result<AgentIndex, Outcome> {
        let index = self.master.agent_ids.get(&agent_id(parameters)).copied();
        index.ok_or_else(|| Outcome::refused(400, "Unknown agent"))
    }

    fn mark_gone(&mut self, id: &AgentId) -> Result<(), Outcome> {
        if self.master.gone.contains(id) {
            return Ok(());
        }
        match self.master.agent_ids.get(id) {
            Some(index) => {
                self.master.mark_gone(&mut self.cx, *index);
                Ok(())
            }
            None => Err(Outcome::refused(404, format!("Agent '{id}' not found"))),
        }
    }
}

/// The parameters of a call, which have to be there.
fn needed<'a>(kind: &str, call: &'a Value) -> Result<&'a Value, Outcome> {
    let name = kind.to_lowercase();
    call.get(&name).filter(|value| value.is_object()).ok_or_else(|| {
        if KNOWN.contains(&kind) {
            let why = format!("Expecting '{name}' to be present");
            Outcome::refused(400, format!("Failed to validate master::Call: {why}"))
        } else {
            Outcome::refused(400, decode::NO_OPERATOR_TYPE)
        }
    })
}

/// Calls that have parameters.
const KNOWN: [&str; 9] = [
    "DEACTIVATE_AGENT",
    "DRAIN_AGENT",
    "GET_METRICS",
    "MARK_AGENT_GONE",
    "REACTIVATE_AGENT",
    "START_MAINTENANCE",
    "STOP_MAINTENANCE",
    "TEARDOWN",
    "UPDATE_MAINTENANCE_SCHEDULE",
];

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn agent_id(parameters: &Value) -> AgentId {
    AgentId::from(text(parameters, "/agent_id/value"))
}
