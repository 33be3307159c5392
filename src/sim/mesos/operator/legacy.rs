//! The read-only endpoints from before `/api/v1`, which spell agents `slaves`, and quantities as
//! plain numbers.

use serde_json::{Map, Value, json};

use crate::mesos::v1::FrameworkId;
use crate::sim::mesos::SimMesos;
use crate::sim::mesos::master::{AgentRecord, Framework, Master, Standing, TaskRecord};
use crate::sim::mesos::resources::{Form, Pool};
use crate::words::Time;

impl SimMesos {
    /// The document at a path, without the name of the master's process before it.
    #[must_use]
    pub fn document(&self, path: &str) -> Option<Value> {
        let master = &self.master;
        Some(match path {
            "/slaves" => json!({ "slaves": master.slaves(), "recovered_slaves": [] }),
            "/tasks" => json!({ "tasks": master.tasks_of_all() }),
            "/frameworks" => master.frameworks_document(),
            "/state" => {
                let mut state = master.frameworks_document();
                let info = master.info();
                let unreachable =
                    |record: &&AgentRecord| matches!(record.standing, Standing::Unreachable(_));
                let agents = || master.agents.iter().flatten();
                state["id"] = json!(info.id);
                state["pid"] = json!(info.pid);
                state["hostname"] = json!(info.hostname);
                state["leader"] = json!(info.pid);
                state["leader_info"] = json!(info);
                state["version"] = json!(info.version);
                state["slaves"] = master.slaves();
                state["recovered_slaves"] = json!([]);
                state["activated_slaves"] = json!(agents().filter(|r| connected(r)).count());
                state["unreachable_slaves"] = json!(agents().filter(unreachable).count());
                state["flags"] = self.flags_document();
                state
            }
            "/flags" => json!({ "flags": self.flags_document() }),
            "/quota" => json!({}),
            "/weights" => json!([]),
            _ => return None,
        })
    }

    fn flags_document(&self) -> Value {
        let flags = self.flags();
        let pair = |flag: &Value| {
            (flag["name"].as_str().unwrap_or_default().to_owned(), flag["value"].clone())
        };
        Value::Object(flags.as_array().into_iter().flatten().map(pair).collect())
    }
}

fn connected(record: &AgentRecord) -> bool {
    record.standing == Standing::Connected && !record.deactivated
}

impl Master {
    fn slaves(&self) -> Value {
        let known = |record: &&AgentRecord| {
            matches!(record.standing, Standing::Connected | Standing::Disconnected)
        };
        let mut slaves = Vec::new();
        for record in self.agents.iter().flatten().filter(known) {
            let config = &record.config;
            let mut offered = Pool::default();
            for offer in self
                .offers
                .values()
                .filter(|offer| self.agent(offer.agent).is_some_and(|agent| agent.id == record.id))
            {
                offered.add(&offer.resources);
            }
            let mut used = Pool::default();
            record.used.values().for_each(|pool| used.add(pool));
            let attributes: Map<_, _> = config
                .attributes
                .iter()
                .map(|a| {
                    let number = a.scalar.map(|scalar| json!(scalar.value));
                    (a.name.clone(), number.unwrap_or_else(|| json!(a.value())))
                })
                .collect();
            let capabilities: Vec<_> =
                self.agent_capabilities().into_iter().map(|capability| capability.kind).collect();
            let mut slave = json!({
                "id": record.id.as_str(),
                "hostname": config.hostname,
                "port": config.port,
                "attributes": attributes,
                "pid": format!("slave(1)@{}:{}", config.ip, config.port),
                "registered_time": seconds(record.registered),
                "resources": quantities(&record.total),
                "used_resources": quantities(&used),
                "offered_resources": quantities(&offered),
                "active": connected(record),
                "deactivated": record.deactivated,
                "version": self.version.to_string(),
                "capabilities": capabilities,
            });
            if let Some(at) = record.reregistered {
                slave["reregistered_time"] = json!(seconds(at));
            }
            slaves.push(slave);
        }
        Value::Array(slaves)
    }

    fn frameworks_document(&self) -> Value {
        let present: Vec<_> =
            self.frameworks.iter().map(|(id, framework)| framework_old(id, framework)).collect();
        let over: Vec<_> = self
            .removed_frameworks
            .iter()
            .filter_map(|(framework, _)| {
                Some(framework_old(framework.info.id.as_ref()?, framework))
            })
            .collect();
        json!({
            "frameworks": present,
            "completed_frameworks": over,
            "unregistered_frameworks": [],
        })
    }

    fn tasks_of_all(&self) -> Vec<Value> {
        let of = |(id, framework): (&FrameworkId, &Framework)| -> Vec<Value> {
            let known = framework.tasks.values().chain(framework.unreachable.values());
            known.chain(&framework.completed).map(|task| task_old(id, task)).collect()
        };
        self.frameworks.iter().flat_map(of).collect()
    }
}

fn framework_old(id: &FrameworkId, framework: &Framework) -> Value {
    let info = &framework.info;
    let list = |tasks: &mut dyn Iterator<Item = &TaskRecord>| -> Vec<Value> {
        tasks.map(|task| task_old(id, task)).collect()
    };
    json!({
        "id": id.as_str(),
        "name": info.name,
        "user": info.user,
        "failover_timeout": info.failover_timeout,
        "checkpoint": info.checkpoint,
        "hostname": info.hostname.clone().unwrap_or_default(),
        "webui_url": info.webui_url.clone().unwrap_or_default(),
        "capabilities": info.capabilities.iter().map(|c| &c.kind).collect::<Vec<_>>(),
        "active": framework.stream.is_some(),
        "connected": framework.stream.is_some(),
        "recovered": false,
        "registered_time": seconds(framework.registered),
        "tasks": list(&mut framework.tasks.values()),
        "unreachable_tasks": list(&mut framework.unreachable.values()),
        "completed_tasks": list(&mut framework.completed.iter()),
    })
}

fn task_old(id: &FrameworkId, task: &TaskRecord) -> Value {
    let statuses: Vec<_> = task
        .statuses
        .iter()
        .map(|status| json!({ "state": status.state, "timestamp": status.timestamp }))
        .collect();
    json!({
        "id": task.info.task_id.as_str(),
        "name": task.info.name,
        "framework_id": id.as_str(),
        "executor_id": task.executor.as_ref().map(ToString::to_string).unwrap_or_default(),
        "slave_id": task.info.agent_id.as_str(),
        "state": task.latest,
        "resources": quantities(&task.resources),
        "role": task.role,
        "statuses": statuses,
    })
}

/// Plain numbers, and ranges as text.
fn quantities(pool: &Pool) -> Value {
    let mut all = json!({ "disk": 0.0, "mem": 0.0, "gpus": 0.0, "cpus": 0.0 });
    for resource in pool.whole().to_wire(Form::default()) {
        all[&resource.name] = match (&resource.ranges, resource.amount()) {
            (Some(ranges), _) => {
                let parts: Vec<_> =
                    ranges.range.iter().map(|r| format!("{}-{}", r.begin, r.end)).collect();
                json!(format!("[{}]", parts.join(", ")))
            }
            (None, amount) => json!(amount),
        };
    }
    all
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit")]
fn seconds(time: Time) -> f64 {
    time.0 as f64 / 1_000.0
}
