//! Tasks, executors, and what becomes of them (`mesos.proto`).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::codec::{Blob, id};
use super::common::{ExecutorId, FrameworkId, Labels, Nanoseconds};
use super::resource::Resource;
use crate::words::{AgentId, TaskId};

open_enum! {
    /// Where a task is in its life. The opt-in ones come only to `PARTITION_AWARE` frameworks;
    /// others get `TASK_LOST` in their place.
    TaskState {
        /// Accepted by the master, not started; only ever told in answers to reconciliation.
        Staging = "TASK_STAGING",
        /// The executor has it.
        Starting = "TASK_STARTING",
        /// It runs.
        Running = "TASK_RUNNING",
        /// It is being killed; with the capability `TASK_KILLING_STATE`.
        Killing = "TASK_KILLING",
        /// It ended well.
        Finished = "TASK_FINISHED",
        /// It ended badly.
        Failed = "TASK_FAILED",
        /// It was killed.
        Killed = "TASK_KILLED",
        /// Its description is wrong: it will not run as it is.
        Error = "TASK_ERROR",
        /// Nobody knows. It may come back, so it is not dead.
        Lost = "TASK_LOST",
        /// It never ran. Opt-in.
        Dropped = "TASK_DROPPED",
        /// Its agent is away; it may still run. Opt-in.
        Unreachable = "TASK_UNREACHABLE",
        /// Its agent does not have it any more. Opt-in.
        Gone = "TASK_GONE",
        /// An operator said that its agent is gone. Opt-in.
        GoneByOperator = "TASK_GONE_BY_OPERATOR",
        /// The master has never heard of it. Opt-in.
        NotKnown = "TASK_UNKNOWN",
    }
}

impl TaskState {
    /// Whether Mesos' master takes it as an end (`isTerminalState` in `protobuf_utils.cpp`).
    /// `TASK_LOST` is among them, and yet a lost task can come back.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        matches!(
            self,
            Self::Finished
                | Self::Failed
                | Self::Killed
                | Self::Error
                | Self::Lost
                | Self::Dropped
                | Self::Gone
                | Self::GoneByOperator
        )
    }
}

open_enum! {
    /// Who made a status.
    StatusSource {
        /// The master: no UUID, sent once.
        Master = "SOURCE_MASTER",
        /// The agent.
        Agent = "SOURCE_AGENT",
        /// The executor.
        Executor = "SOURCE_EXECUTOR",
    }
}

open_enum! {
    /// Why a status is what it is: those that make a difference here.
    StatusReason {
        /// An answer to RECONCILE; also what an agent says on re-registration, then with a UUID.
        Reconciliation = "REASON_RECONCILIATION",
        /// An offer in the ACCEPT was not valid any more: retry now.
        InvalidOffers = "REASON_INVALID_OFFERS",
        /// The agent was away at the launch.
        AgentDisconnected = "REASON_AGENT_DISCONNECTED",
        /// The agent was removed, or is unreachable.
        AgentRemoved = "REASON_AGENT_REMOVED",
        /// An operator marked the agent gone.
        AgentRemovedByOperator = "REASON_AGENT_REMOVED_BY_OPERATOR",
        /// Back after a partition.
        AgentReregistered = "REASON_AGENT_REREGISTERED",
        /// The agent restarted while the launch was on its way.
        AgentRestarted = "REASON_AGENT_RESTARTED",
        /// The agent is being drained.
        AgentDraining = "REASON_AGENT_DRAINING",
        /// Fetch, image, network or mount failed.
        ContainerLaunchFailed = "REASON_CONTAINER_LAUNCH_FAILED",
        /// Out of memory.
        ContainerLimitationMemory = "REASON_CONTAINER_LIMITATION_MEMORY",
        /// The executor did not subscribe in time.
        ExecutorRegistrationTimeout = "REASON_EXECUTOR_REGISTRATION_TIMEOUT",
        /// The executor did not come back in time after a restart of the agent.
        ExecutorReregistrationTimeout = "REASON_EXECUTOR_REREGISTRATION_TIMEOUT",
        /// The executor ended.
        ExecutorTerminated = "REASON_EXECUTOR_TERMINATED",
        /// The framework was removed.
        FrameworkRemoved = "REASON_FRAMEWORK_REMOVED",
        /// The task's description is wrong.
        TaskInvalid = "REASON_TASK_INVALID",
        /// The framework may not do that.
        TaskUnauthorized = "REASON_TASK_UNAUTHORIZED",
        /// Killed before it started.
        TaskKilledDuringLaunch = "REASON_TASK_KILLED_DURING_LAUNCH",
    }
}

/// A status update of one task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskStatus {
    /// Which task.
    #[serde(with = "id")]
    pub task_id: TaskId,
    /// What became of it.
    pub state: TaskState,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Who says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<StatusSource>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<StatusReason>,
    /// The executor's payload; never in an answer to reconciliation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Blob>,
    /// Where.
    #[serde(with = "id::option", default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<AgentId>,
    /// In which executor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executor_id: Option<ExecutorId>,
    /// Seconds since the Unix epoch, by the clock of the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<f64>,
    /// 16 bytes. If it is there, the update is repeated until acknowledged with it; if not, it
    /// must not be acknowledged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<Blob>,
    /// What the health check says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthy: Option<bool>,
    /// Labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Labels>,
    /// Its container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_status: Option<ContainerStatus>,
    /// Since when its agent is away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreachable_time: Option<Nanoseconds>,
}

impl TaskStatus {
    /// A status with nothing but the task and its state.
    #[must_use]
    pub fn new(task_id: TaskId, state: TaskState) -> Self {
        Self {
            task_id,
            state,
            message: None,
            source: None,
            reason: None,
            data: None,
            agent_id: None,
            executor_id: None,
            timestamp: None,
            uuid: None,
            healthy: None,
            labels: None,
            container_status: None,
            unreachable_time: None,
        }
    }
}

/// What the agent adds about the container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContainerStatus {
    /// Which container; nested ones name their parent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_id: Option<Value>,
    /// Its networks, or the agent's address.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub network_infos: Vec<NetworkInfo>,
    /// The executor's process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executor_pid: Option<u32>,
}

/// One network of a container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkInfo {
    /// Its addresses there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ip_addresses: Vec<IpAddress>,
    /// The network's name, if it is not the agent's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// `{"protocol": "IPv4", "ip_address": "…"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpAddress {
    /// `IPv4` or `IPv6`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// The address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_address: Option<String>,
}

/// A file that the agent fetches into the sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uri {
    /// Where it is.
    pub value: String,
    /// Make it executable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executable: Option<bool>,
    /// Unpack it, if its name says that it is an archive.
    #[serde(default = "yes")]
    pub extract: bool,
    /// Keep it on the agent for the next one that wants the same URI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<bool>,
    /// Its name in the sandbox; by default the last part of the URI, a query string included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_file: Option<String>,
}

/// `{"variables": […]}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// The variables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variables: Vec<Variable>,
}

/// An environment variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// `VALUE` or `SECRET`; written by Mesos even if not given, as it has a default.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// What to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandInfo {
    /// Fetched first, one after the other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uris: Vec<Uri>,
    /// Added to the environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// `value` is a line for `/bin/sh`; otherwise it is a program, and `arguments` its argv.
    #[serde(default = "yes")]
    pub shell: bool,
    /// The line or the program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// argv, the program's name included; with `shell` they are ignored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<String>,
    /// The Unix user; the framework's if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

impl CommandInfo {
    /// A line for `/bin/sh`.
    #[must_use]
    pub fn shell(line: &str) -> Self {
        Self {
            uris: Vec::new(),
            environment: None,
            shell: true,
            value: Some(line.to_owned()),
            arguments: Vec::new(),
            user: None,
        }
    }
}

fn yes() -> bool {
    true
}

open_enum! {
    /// Which executor runs the tasks.
    ExecutorType {
        /// Mesos' own, for task groups.
        Default = "DEFAULT",
        /// The framework's.
        Custom = "CUSTOM",
    }
}

/// A program of the framework that runs its tasks on an agent. The launches of one executor ID on
/// one agent must carry the same description to the byte, or the master answers `TASK_ERROR`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExecutorInfo {
    /// Which kind.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<ExecutorType>,
    /// Its ID, unique on the agent.
    pub executor_id: ExecutorId,
    /// Filled in by the master.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub framework_id: Option<FrameworkId>,
    /// What to run; for a custom one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<CommandInfo>,
    /// What it uses itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<Resource>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Who made it, for grouping in the user interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Its payload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Blob>,
    /// How long it may take to end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shutdown_grace_period: Option<Nanoseconds>,
    /// Labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Labels>,
    /// `container`, `discovery`, and what newer versions add.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// How a task is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KillPolicy {
    /// From asking it to forcing it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_period: Option<Nanoseconds>,
}

/// A task to launch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskInfo {
    /// For people.
    pub name: String,
    /// A fresh one for every launch: Mesos does not protect against reuse.
    #[serde(with = "id")]
    pub task_id: TaskId,
    /// The agent of the offers.
    #[serde(with = "id")]
    pub agent_id: AgentId,
    /// What it uses, in the form in which it was offered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<Resource>,
    /// The executor that runs it: this or `command`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executor: Option<ExecutorInfo>,
    /// What Mesos' own executor runs: this or `executor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<CommandInfo>,
    /// How it is killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kill_policy: Option<KillPolicy>,
    /// The executor's payload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Blob>,
    /// Labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Labels>,
    /// `container`, `health_check`, `discovery`, and what newer versions add.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}
