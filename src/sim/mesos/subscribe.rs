//! Frameworks come and go: SUBSCRIBE, lost streams, failover timeouts, TEARDOWN.

use super::calls::Outcome;
use super::context::{Context, Job, ToAgent};
use super::master::{AgentRecord, Framework, Master, Standing};
use super::{AgentIndex, ConnId};
use crate::mesos::v1::scheduler::{Event, Subscribe, Subscribed};
use crate::mesos::v1::{
    Address, Capability, CapabilityType, FrameworkId, FrameworkInfo, MasterInfo, StatusReason,
    TaskState,
};
use crate::words::Time;

impl Master {
    /// Opens a stream. A framework that may not subscribe gets one too, with an ERROR on it.
    /// Returns the stream's ID.
    pub(super) fn subscribe(
        &mut self,
        cx: &mut Context,
        conn: ConnId,
        id: Option<FrameworkId>,
        mut call: Subscribe,
    ) -> String {
        call.framework_info = self.understood(call.framework_info);
        let stream = cx.uuid().to_string();
        let id = id.filter(|id| !id.as_str().is_empty());
        if let Some(message) = self.refusal(id.as_ref(), &call.framework_info) {
            cx.event(conn, Event::Error(message));
            cx.close(conn);
            return stream;
        }
        let known = id.is_some();
        let id = id.unwrap_or_else(|| {
            self.next_framework += 1;
            FrameworkId(format!("{}-{:04}", self.id, self.next_framework - 1))
        });
        let was_connected = self.attach(cx, &id, conn, &stream, call);
        cx.event(conn, Event::Subscribed(self.subscribed(cx, &id)));
        cx.event(conn, Event::Heartbeat);
        cx.after(cx.timings.heartbeat, Job::Heartbeat { conn });
        // A framework that fails over stays active in the allocator: its filters survive, and
        // its new offers come with the next allocation; any other gets them at once.
        if !was_connected {
            self.consider_all(cx);
        }
        // Agents send at once again what nobody has acknowledged (`master.cpp`, `_subscribe`).
        if known {
            let connected = |record: &AgentRecord| record.standing == Standing::Connected;
            for (index, record) in self.agents.iter().enumerate() {
                if record.as_ref().is_some_and(connected) {
                    cx.send_to_agent(index, ToAgent::Subscribed(id.clone()));
                }
            }
        }
        stream
    }

    /// Makes the stream the framework's; the one before it, if there is one, is told and ends.
    fn attach(
        &mut self,
        cx: &mut Context,
        id: &FrameworkId,
        conn: ConnId,
        stream: &str,
        call: Subscribe,
    ) -> bool {
        let mut info = call.framework_info;
        info.id = Some(id.clone());
        let added = !self.frameworks.contains_key(id);
        let framework = self
            .frameworks
            .entry(id.clone())
            .or_insert_with(|| Framework::new(info.clone(), cx.now));
        // Immutable: the new value is ignored.
        info.checkpoint = framework.info.checkpoint;
        info.user.clone_from(&framework.info.user);
        framework.info = info;
        framework.epoch += 1;
        framework.reregistered = cx.now;
        framework.suppressed = call.suppressed_roles.into_iter().collect();
        let before = framework.stream.replace((conn, stream.to_owned()));
        self.connections.insert(conn, id.clone());
        self.publish_framework(cx, id, added);
        let Some((old, _)) = before else { return false };
        self.connections.remove(&old);
        cx.event(old, Event::Error("Framework failed over".to_owned()));
        cx.close(old);
        self.discard_offers_of(cx, id);
        true
    }

    fn refusal(&self, id: Option<&FrameworkId>, info: &FrameworkInfo) -> Option<String> {
        if info.has(&CapabilityType::MultiRole) {
            if info.role.is_some() {
                return Some(
                    "'FrameworkInfo.role' must not be set when the framework is MULTI_ROLE capable"
                        .to_owned(),
                );
            }
        } else if !info.roles.is_empty() {
            return Some(
                "'FrameworkInfo.roles' must not be set when the framework is not MULTI_ROLE capable"
                    .to_owned(),
            );
        }
        let duplicates: std::collections::BTreeSet<_> = info
            .roles
            .iter()
            .enumerate()
            .filter(|(at, role)| info.roles[..*at].contains(role))
            .map(|(_, role)| role.as_str())
            .collect();
        if !duplicates.is_empty() {
            let list = duplicates.into_iter().collect::<Vec<_>>().join(", ");
            return Some(format!("'FrameworkInfo.roles' contains duplicate items: {{ {list} }}"));
        }
        if let Some(why) = info.roles.iter().find_map(|role| invalid_role(role)) {
            return Some(format!("'FrameworkInfo.roles' contains invalid role: {why}"));
        }
        if let Some(why) = info.role.as_deref().and_then(invalid_role) {
            return Some(format!("'FrameworkInfo.role' is not a valid role: {why}"));
        }
        if info.failover_timeout.is_nan() || info.failover_timeout >= 9.2e9 {
            // C++ writes the sign of an exponent.
            let seconds = format!("{:e}", info.failover_timeout).replace('e', "e+");
            return Some(format!("The framework failover_timeout ({seconds}) is invalid"));
        }
        let id = id?;
        if self.was_removed(id) {
            return Some("Framework has been removed".to_owned());
        }
        let known = self.frameworks.get(id)?;
        (known.info.principal != info.principal)
            .then(|| "Changing framework's principal is not allowed.".to_owned())
    }

    /// What may change of a framework is changed, without a new subscription; the roles that it
    /// gives up lose their offers.
    pub(super) fn update_framework(
        &mut self,
        cx: &mut Context,
        id: &FrameworkId,
        call: Subscribe,
    ) -> Outcome {
        let mut info = call.framework_info;
        if let Some(why) = self.refusal(Some(id), &info) {
            return Outcome::refused(400, format!("Supplied FrameworkInfo is not valid: {why}"));
        }
        let Some(framework) = self.frameworks.get_mut(id) else {
            return Outcome::refused(400, "Framework cannot be found");
        };
        let fixed = [
            ("user", framework.info.user != info.user),
            ("checkpoint", framework.info.checkpoint != info.checkpoint),
        ];
        if let Some((field, _)) = fixed.iter().find(|(_, changed)| *changed) {
            let why = format!("Updating 'FrameworkInfo.{field}' is unsupported");
            return Outcome::refused(400, format!("FrameworkInfo update is not valid: {why}"));
        }
        info.id = Some(id.clone());
        framework.info = info;
        framework.suppressed = call.suppressed_roles.into_iter().collect();
        let roles = framework.roles();
        let given_up: Vec<_> = self
            .offers
            .iter()
            .filter(|(_, offer)| offer.framework == *id && !roles.contains(&offer.role))
            .map(|(number, _)| *number)
            .collect();
        for number in given_up {
            self.rescind(cx, number);
        }
        self.publish_framework(cx, id, false);
        self.consider_all(cx);
        Outcome { status: 200, body: String::new() }
    }

    fn subscribed(&self, cx: &Context, id: &FrameworkId) -> Subscribed {
        #[expect(clippy::cast_precision_loss, reason = "an interval is small")]
        let interval = cx.timings.heartbeat as f64 / 1_000.0;
        Subscribed {
            framework_id: id.clone(),
            heartbeat_interval_seconds: Some(interval),
            master_info: Some(self.info()),
        }
    }

    /// What the master says about itself.
    pub(super) fn info(&self) -> MasterInfo {
        let (ip, port) = self.address;
        let mut capabilities = Vec::new();
        if self.since(4) {
            capabilities.push(CapabilityType::AgentUpdate);
        }
        if self.since(9) {
            capabilities.extend([CapabilityType::AgentDraining, CapabilityType::QuotaV2]);
        }
        MasterInfo {
            id: self.id.clone(),
            ip: u32::from_le_bytes(ip.octets()),
            port,
            pid: Some(format!("master@{ip}:{port}")),
            hostname: Some(ip.to_string()),
            version: Some(self.version.to_string()),
            address: Some(Address {
                hostname: Some(ip.to_string()),
                ip: Some(ip.to_string()),
                port,
            }),
            capabilities: capabilities.into_iter().map(Capability::from).collect(),
        }
    }

    pub(super) fn heartbeat(&self, cx: &mut Context, conn: ConnId) {
        if self.connections.contains_key(&conn) || self.subscribers.contains(&conn) {
            cx.event(conn, Event::Heartbeat);
            cx.after(cx.timings.heartbeat, Job::Heartbeat { conn });
        }
    }

    /// The stream has broken: no offers, no filters, and time to come back in.
    pub(super) fn disconnect(&mut self, cx: &mut Context, conn: ConnId) {
        self.subscribers.remove(&conn);
        let Some(id) = self.connections.remove(&conn) else { return };
        let Some(framework) = self.frameworks.get_mut(&id) else { return };
        framework.stream = None;
        framework.filters.clear();
        let epoch = framework.epoch;
        let ms = milliseconds(framework.info.failover_timeout);
        self.discard_offers_of(cx, &id);
        cx.after(ms, Job::FrameworkTimeout { framework: id, epoch });
    }

    pub(super) fn framework_timeout(&mut self, cx: &mut Context, id: &FrameworkId, epoch: u32) {
        let gave_up = self
            .frameworks
            .get(id)
            .is_some_and(|framework| framework.stream.is_none() && framework.epoch == epoch);
        if gave_up {
            self.remove_framework(cx, id);
        }
    }

    /// The framework is over: its tasks are killed, its stream ends, its ID is spent.
    pub(super) fn remove_framework(&mut self, cx: &mut Context, id: &FrameworkId) {
        self.discard_offers_of(cx, id);
        let Some(mut framework) = self.frameworks.remove(id) else { return };
        if let Some(conn) = framework.conn() {
            self.connections.remove(&conn);
            cx.close(conn);
        }
        let mut touched = std::collections::BTreeSet::<AgentIndex>::new();
        for (task_id, mut task) in std::mem::take(&mut framework.tasks).into_all() {
            touched.insert(task.agent);
            if let Some(record) = self.agent_mut(task.agent)
                && !task.latest.is_terminal()
            {
                record.vacate(&task.role, &task.resources);
            }
            if !task.latest.is_terminal() {
                let text = format!("Framework {id} removed");
                let reason = StatusReason::FrameworkRemoved;
                let mut status = Self::status(cx, &task_id, TaskState::Killed, reason, &text);
                status.agent_id = self.agent(task.agent).map(|record| record.id.clone());
                task.latest = TaskState::Killed;
                task.note(&status);
                self.publish_update(cx, id, &status, &task.latest);
            }
            framework.complete(task);
        }
        for (index, record) in self.agents.iter_mut().enumerate() {
            let Some(record) = record else { continue };
            let ours: Vec<_> =
                record.executors.keys().filter(|key| key.0 == *id).cloned().collect();
            for key in ours {
                record.evict(&key);
                touched.insert(index);
            }
        }
        for agent in touched {
            cx.send_to_agent(agent, ToAgent::ShutdownFramework(id.clone()));
            self.consider(cx, agent);
        }
        framework.stream = None;
        self.publish_removed(cx, &framework.info);
        self.remember_removed(framework, cx.now);
    }

    pub(super) fn teardown(&mut self, cx: &mut Context, id: &FrameworkId) -> Outcome {
        self.remove_framework(cx, id);
        Outcome::accepted()
    }

    /// When the next allocation is, in step with the master's start.
    pub(super) fn next_cycle(&self, cx: &Context) -> Time {
        let interval = cx.timings.allocation.max(1);
        let done = cx.now.since(self.started) / interval;
        self.started.plus_ms((done + 1) * interval)
    }
}

/// What Mesos has against a role's name (`src/common/roles.cpp`).
fn invalid_role(role: &str) -> Option<String> {
    if role == super::resources::UNRESERVED {
        return None;
    }
    if role.starts_with('/') {
        return Some(format!("Role '{role}' cannot start with a slash"));
    }
    if role.ends_with('/') {
        return Some(format!("Role '{role}' cannot end with a slash"));
    }
    role.split('/').find_map(|part| {
        let why = match part {
            "" => return Some(format!("Role '{role}' cannot contain two adjacent slashes")),
            "." | ".." | "*" => "it is reserved",
            _ if part.starts_with('-') => "it cannot start with a dash",
            _ if part.contains([' ', '\t', '\n', '\x0b', '\x0c', '\r', '\x08']) => {
                "it contains backspace or whitespace"
            }
            _ => return None,
        };
        Some(format!("Role component '{part}' is invalid because {why}"))
    })
}

/// A negative timeout is none.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` saturates, as is wanted"
)]
fn milliseconds(seconds: f64) -> u64 {
    (seconds * 1_000.0) as u64
}
