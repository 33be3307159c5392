//! The event stream of operators. There is no event for an agent that is disconnected, back after
//! a restart, drained or unreachable: who wants to know has to ask.

use serde_json::{Value, json};

use super::state::{framework_info, task};
use crate::mesos::v1::{FrameworkId, FrameworkInfo, TaskState, TaskStatus};
use crate::sim::mesos::context::{Context, Job};
use crate::sim::mesos::master::{Master, TaskRecord};
use crate::sim::mesos::{AgentIndex, ConnId};

impl Master {
    /// Opens a stream. It begins with all that is known.
    pub(in crate::sim::mesos) fn subscribe_operator(&mut self, cx: &mut Context, conn: ConnId) {
        #[expect(clippy::cast_precision_loss, reason = "an interval is small")]
        let interval = cx.timings.heartbeat as f64 / 1_000.0;
        let subscribed = json!({
            "get_state": self.state(),
            "heartbeat_interval_seconds": interval,
        });
        let event = json!({ "type": "SUBSCRIBED", "subscribed": subscribed });
        cx.operator_event(conn, event);
        cx.operator_event(conn, json!({ "type": "HEARTBEAT" }));
        self.subscribers.insert(conn);
        cx.after(cx.timings.heartbeat, Job::Heartbeat { conn });
    }

    /// Tells all operators that listen; costs nothing if none does.
    pub(in crate::sim::mesos) fn publish(&self, cx: &mut Context, event: impl FnOnce() -> Value) {
        if self.subscribers.is_empty() {
            return;
        }
        let event = event();
        for conn in &self.subscribers {
            cx.operator_event(*conn, event.clone());
        }
    }

    pub(in crate::sim::mesos) fn publish_task(
        &self,
        cx: &mut Context,
        id: &FrameworkId,
        record: &TaskRecord,
    ) {
        self.publish(
            cx,
            || json!({ "type": "TASK_ADDED", "task_added": { "task": task(self, id, record) } }),
        );
    }

    pub(in crate::sim::mesos) fn publish_update(
        &self,
        cx: &mut Context,
        id: &FrameworkId,
        status: &TaskStatus,
        state: &TaskState,
    ) {
        self.publish(cx, || {
            let status = TaskStatus { data: None, ..status.clone() };
            let updated = json!({ "framework_id": id, "status": status, "state": state });
            json!({ "type": "TASK_UPDATED", "task_updated": updated })
        });
    }

    pub(in crate::sim::mesos) fn publish_agent(&self, cx: &mut Context, index: AgentIndex) {
        self.publish(cx, || {
            let mut agent = json!(self.agent(index).map(|it| self.describe_agent(it, &[])));
            self.dated(&mut agent);
            json!({ "type": "AGENT_ADDED", "agent_added": { "agent": agent } })
        });
    }

    /// A framework has subscribed, for the first time or again.
    pub(in crate::sim::mesos) fn publish_framework(
        &self,
        cx: &mut Context,
        id: &FrameworkId,
        added: bool,
    ) {
        self.publish(cx, || {
            let mut framework =
                self.frameworks.get(id).map(super::state::framework_head).unwrap_or_default();
            framework["unregistered_time"] = json!({ "nanoseconds": 0 });
            let kind = if added { "FRAMEWORK_ADDED" } else { "FRAMEWORK_UPDATED" };
            json!({ "type": kind, kind.to_lowercase(): { "framework": framework } })
        });
    }

    pub(in crate::sim::mesos) fn publish_removed(&self, cx: &mut Context, info: &FrameworkInfo) {
        self.publish(cx, || {
            let info = framework_info(info);
            json!({ "type": "FRAMEWORK_REMOVED", "framework_removed": { "framework_info": info } })
        });
    }
}
