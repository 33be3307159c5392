//! What runs on the agents, by framework: what a restart stops, and whose it is. Asked when
//! somebody looks at a plan, never by the controller: the answer grows with the cluster's tasks.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::words::AgentId;

/// Tasks that run, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workload(BTreeMap<AgentId, BTreeMap<Kind, u32>>);

/// Tasks that stop together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    /// The name of their framework.
    framework: String,
    /// In a container of the Docker daemon.
    docker: bool,
    /// Their framework has them outlive the agent.
    checkpoint: bool,
}

/// What restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// The Docker daemon: its containers stop.
    Docker,
    /// The Mesos agent: tasks stop whose framework does not checkpoint.
    Agent,
}

/// The answer to `GET_TASKS`, as much of it as matters.
#[derive(Deserialize)]
pub(super) struct Tasks {
    get_tasks: TaskList,
}

#[derive(Deserialize)]
struct TaskList {
    #[serde(default)]
    tasks: Vec<Task>,
}

#[derive(Deserialize)]
struct Id {
    value: String,
}

#[derive(Deserialize)]
struct Task {
    framework_id: Id,
    agent_id: Id,
    #[serde(default)]
    state: String,
    #[serde(default)]
    container: Option<Container>,
}

#[derive(Deserialize)]
struct Container {
    #[serde(rename = "type", default)]
    kind: String,
}

/// The answer to `GET_FRAMEWORKS`, as much of it as matters.
#[derive(Deserialize)]
pub(super) struct Frameworks {
    get_frameworks: FrameworkList,
}

#[derive(Deserialize)]
struct FrameworkList {
    #[serde(default)]
    frameworks: Vec<Framework>,
}

/// A framework that the master knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameworkSeen {
    /// Its ID.
    pub id: String,
    /// Its name, which need not be its own alone.
    pub name: String,
}

impl Frameworks {
    pub(super) fn seen(self) -> Vec<FrameworkSeen> {
        let infos = self.get_frameworks.frameworks.into_iter().map(|one| one.framework_info);
        infos
            .filter_map(|info| Some(FrameworkSeen { id: info.id?.value, name: info.name }))
            .collect()
    }
}

#[derive(Deserialize)]
struct Framework {
    framework_info: Info,
}

#[derive(Deserialize)]
struct Info {
    id: Option<Id>,
    #[serde(default)]
    name: String,
    #[serde(default)]
    checkpoint: bool,
}

impl Workload {
    /// Counts the tasks that have not ended.
    pub(super) fn of(tasks: Tasks, frameworks: Frameworks) -> Self {
        let known: BTreeMap<String, Info> = frameworks
            .get_frameworks
            .frameworks
            .into_iter()
            .filter_map(|f| Some((f.framework_info.id.as_ref()?.value.clone(), f.framework_info)))
            .collect();
        let mut agents: BTreeMap<AgentId, BTreeMap<Kind, u32>> = BTreeMap::new();
        for task in tasks.get_tasks.tasks {
            let id = task.framework_id.value;
            if !runs(&task.state) {
                continue;
            }
            let info = known.get(&id);
            let kind = Kind {
                docker: task.container.is_some_and(|container| container.kind == "DOCKER"),
                // Of a framework that nobody knows the worst is assumed.
                checkpoint: info.is_some_and(|info| info.checkpoint),
                framework: info.map_or(id, |info| info.name.clone()),
            };
            *agents.entry(AgentId(task.agent_id.value)).or_default().entry(kind).or_default() += 1;
        }
        Self(agents)
    }

    /// What a restart stops on one agent: how many tasks of each framework.
    pub fn stopped(&self, agent: &AgentId, restart: Restart) -> impl Iterator<Item = (&str, u32)> {
        let stops = move |kind: &Kind| match restart {
            Restart::Docker => kind.docker,
            Restart::Agent => !kind.checkpoint,
        };
        let kinds = self.0.get(agent).into_iter().flatten();
        kinds
            .filter(move |(kind, _)| stops(kind))
            .map(|(kind, number)| (kind.framework.as_str(), *number))
    }
}

#[cfg(test)]
impl Workload {
    /// So many tasks of a framework on an agent, in Docker and checkpointing, or neither.
    pub(crate) fn with(
        mut self,
        agent: &AgentId,
        framework: &str,
        docker: bool,
        tasks: u32,
    ) -> Self {
        let kind = Kind { framework: framework.to_owned(), docker, checkpoint: docker };
        self.0.entry(agent.clone()).or_default().insert(kind, tasks);
        self
    }
}

fn runs(state: &str) -> bool {
    matches!(state, "TASK_STAGING" | "TASK_STARTING" | "TASK_RUNNING" | "TASK_KILLING")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_restart_stops_is_counted_by_framework() {
        let task = |framework: &str, state: &str, container: &str| {
            format!(
                r#"{{"name":"t","task_id":{{"value":"t"}},"framework_id":{{"value":"{framework}"}},
                    "agent_id":{{"value":"S7"}},"state":"{state}","resources":[]{container}}}"#
            )
        };
        let docker = r#","container":{"type":"DOCKER","docker":{"image":"nginx"}}"#;
        let mesos = r#","container":{"type":"MESOS","mesos":{}}"#;
        let tasks = [
            task("F1", "TASK_RUNNING", docker),
            task("F1", "TASK_STAGING", docker),
            task("F1", "TASK_RUNNING", mesos),
            task("F1", "TASK_FINISHED", docker),
            task("F2", "TASK_RUNNING", docker),
            task("F2", "TASK_RUNNING", ""),
            task("F9", "TASK_RUNNING", ""),
        ];
        let tasks = format!(
            r#"{{"type":"GET_TASKS","get_tasks":{{"tasks":[{}],"completed_tasks":[{}]}}}}"#,
            tasks.join(","),
            task("F1", "TASK_RUNNING", docker)
        );
        let frameworks = r#"{"type":"GET_FRAMEWORKS","get_frameworks":{"frameworks":[
            {"framework_info":{"user":"root","name":"marathon","id":{"value":"F1"},
             "checkpoint":true},"active":true},
            {"framework_info":{"user":"root","name":"spark","id":{"value":"F2"},
             "checkpoint":false},"active":true}]}}"#;
        let workload = Workload::of(
            serde_json::from_str(&tasks).unwrap(),
            serde_json::from_str(frameworks).unwrap(),
        );
        let stopped = |agent: &str, restart| -> Vec<(String, u32)> {
            let agent = AgentId::from(agent);
            let stopped = workload.stopped(&agent, restart);
            stopped.map(|(name, number)| (name.to_owned(), number)).collect()
        };
        let named = |pairs: &[(&str, u32)]| -> Vec<(String, u32)> {
            pairs.iter().map(|(name, number)| ((*name).to_owned(), *number)).collect()
        };
        assert_eq!(stopped("S7", Restart::Docker), named(&[("marathon", 2), ("spark", 1)]));
        // In and outside of Docker.
        assert_eq!(stopped("S7", Restart::Agent), named(&[("F9", 1), ("spark", 1), ("spark", 1)]));
        assert!(stopped("S8", Restart::Docker).is_empty());
    }
}
