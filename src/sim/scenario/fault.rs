//! What can go wrong in a scenario.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Span, one};
use crate::words::{Component, HostName};

/// A fault and its time. Exactly one fault is given.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TimedFault {
    /// When, from the beginning.
    pub at: Span,
    /// The controller's process is killed, and comes back after a while.
    pub controller_crash: Option<For>,
    /// The controller's process stands still; a second one is elected meanwhile.
    pub controller_paused: Option<For>,
    /// etcd does not answer.
    pub etcd_down: Option<For>,
    /// The watch of etcd falls so far behind that it has to list again.
    pub etcd_compaction: Option<Nothing>,
    /// etcd is put back to what it was a while ago.
    pub etcd_restored: Option<EtcdRestored>,
    /// etcd carries out what the leader asks for; its answers are lost.
    pub answers_lost: Option<For>,
    /// The leader is killed right after one of its writes, before it hears of it.
    pub crash_at_write: Option<WriteCrash>,
    /// The leader and etcd do not reach each other.
    pub etcd_cut: Option<For>,
    /// The leader and the Mesos master do not reach each other.
    pub master_cut: Option<For>,
    /// What changes in etcd reaches the controllers late.
    pub watch_late: Option<For>,
    /// The leader's clock jumps.
    pub clock_jump: Option<ClockJump>,
    /// Another Mesos master takes over.
    pub master_failover: Option<Nothing>,
    /// A host has no power for a while.
    pub host_down: Option<HostFor>,
    /// A host is gone for good, and an operator tells Mesos so.
    pub host_gone: Option<OneHost>,
    /// An operator announces to Mesos that a host's machine is away from then on. The machine
    /// stays where it is: what counts is that nobody begins anything there.
    pub maintenance: Option<HostFor>,
    /// A host's next restarts fail.
    pub restart_fails: Option<RestartFails>,
    /// A host's agent does not run for a while.
    pub agent_down: Option<HostFor>,
    /// A host's executor hangs for a while, and dies of it.
    pub executor_hangs: Option<HostFor>,
    /// A host's executor dies.
    pub executor_dies: Option<OneHost>,
    /// A host's agent comes back under a new ID.
    pub new_agent_id: Option<OneHost>,
    /// Somebody breaks a component by hand.
    pub drift: Option<Drift>,
    /// Messages that Mesos does not promise to deliver are lost, doubled or late.
    pub lose_messages: Option<LoseMessages>,
}

/// For so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct For {
    /// How long.
    #[serde(rename = "for")]
    pub span: Span,
}

/// etcd as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EtcdRestored {
    /// How old the backup is.
    pub age: Span,
    /// It has another cluster ID than before, as `etcdctl snapshot restore` gives one.
    #[serde(default)]
    pub other_cluster: bool,
}

/// The death of a leader at one of its writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WriteCrash {
    /// Which of those that come, from 1.
    pub nth: u32,
    /// How long it is dead.
    #[serde(rename = "for")]
    pub span: Span,
}

/// A clock that jumps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClockJump {
    /// By so much; negative: back.
    pub seconds: i32,
}

/// Nothing more to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// A host.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OneHost {
    /// Its name.
    pub host: HostName,
}

/// A host, for so long.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HostFor {
    /// Its name.
    pub host: HostName,
    /// How long.
    #[serde(rename = "for")]
    pub span: Span,
}

/// A host whose restarts fail.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RestartFails {
    /// Its name.
    pub host: HostName,
    /// So many in a row.
    #[serde(default = "one")]
    pub times: u32,
}

/// A component that somebody breaks.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Drift {
    /// The host.
    pub host: HostName,
    /// The component.
    pub component: Component,
}

/// A bad network.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LoseMessages {
    /// The probability that a message is lost.
    #[serde(default)]
    pub probability: f64,
    /// The probability that one comes twice.
    #[serde(default)]
    pub duplicate: f64,
    /// The probability that one is late.
    #[serde(default)]
    pub late: f64,
    /// For how long the network is bad.
    #[serde(rename = "for")]
    pub span: Span,
}

/// What a fault does, without its time.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// See [`TimedFault::controller_crash`]; milliseconds.
    ControllerCrash(u64),
    /// See [`TimedFault::controller_paused`]; milliseconds.
    ControllerPaused(u64),
    /// See [`TimedFault::etcd_down`]; milliseconds.
    EtcdDown(u64),
    /// See [`TimedFault::etcd_compaction`].
    EtcdCompaction,
    /// See [`TimedFault::etcd_restored`].
    EtcdRestored(EtcdRestored),
    /// See [`TimedFault::answers_lost`]; milliseconds.
    AnswersLost(u64),
    /// See [`TimedFault::crash_at_write`].
    CrashAtWrite(WriteCrash),
    /// See [`TimedFault::etcd_cut`]; milliseconds.
    EtcdCut(u64),
    /// See [`TimedFault::master_cut`]; milliseconds.
    MasterCut(u64),
    /// See [`TimedFault::watch_late`]; milliseconds.
    WatchLate(u64),
    /// See [`TimedFault::clock_jump`]; seconds.
    ClockJump(i32),
    /// See [`TimedFault::master_failover`].
    MasterFailover,
    /// See [`TimedFault::host_down`]; milliseconds.
    HostDown(HostName, u64),
    /// See [`TimedFault::host_gone`].
    HostGone(HostName),
    /// See [`TimedFault::maintenance`]; milliseconds.
    Maintenance(HostName, u64),
    /// See [`TimedFault::restart_fails`].
    RestartFails(HostName, u32),
    /// See [`TimedFault::agent_down`]; milliseconds.
    AgentDown(HostName, u64),
    /// See [`TimedFault::executor_hangs`]; milliseconds.
    ExecutorHangs(HostName, u64),
    /// See [`TimedFault::executor_dies`].
    ExecutorDies(HostName),
    /// See [`TimedFault::new_agent_id`].
    NewAgentId(HostName),
    /// See [`TimedFault::drift`].
    Drift(HostName, Component),
    /// See [`TimedFault::lose_messages`].
    LoseMessages(LoseMessages),
}

impl TimedFault {
    /// The one fault that is given.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        let mut faults = self.all();
        let fault = faults.pop();
        if faults.is_empty() { fault } else { None }
    }

    fn all(&self) -> Vec<Fault> {
        let of = |host: &OneHost| host.host.clone();
        [
            self.controller_crash.map(|fault| Fault::ControllerCrash(fault.span.ms)),
            self.controller_paused.map(|fault| Fault::ControllerPaused(fault.span.ms)),
            self.etcd_down.map(|fault| Fault::EtcdDown(fault.span.ms)),
            self.etcd_compaction.map(|_| Fault::EtcdCompaction),
            self.etcd_restored.map(Fault::EtcdRestored),
            self.answers_lost.map(|fault| Fault::AnswersLost(fault.span.ms)),
            self.crash_at_write.map(Fault::CrashAtWrite),
            self.etcd_cut.map(|fault| Fault::EtcdCut(fault.span.ms)),
            self.master_cut.map(|fault| Fault::MasterCut(fault.span.ms)),
            self.watch_late.map(|fault| Fault::WatchLate(fault.span.ms)),
            self.clock_jump.map(|fault| Fault::ClockJump(fault.seconds)),
            self.master_failover.map(|_| Fault::MasterFailover),
            self.host_down.as_ref().map(|f| Fault::HostDown(f.host.clone(), f.span.ms)),
            self.host_gone.as_ref().map(|f| Fault::HostGone(of(f))),
            self.maintenance.as_ref().map(|f| Fault::Maintenance(f.host.clone(), f.span.ms)),
            self.restart_fails.as_ref().map(|f| Fault::RestartFails(f.host.clone(), f.times)),
            self.agent_down.as_ref().map(|f| Fault::AgentDown(f.host.clone(), f.span.ms)),
            self.executor_hangs.as_ref().map(|f| Fault::ExecutorHangs(f.host.clone(), f.span.ms)),
            self.executor_dies.as_ref().map(|f| Fault::ExecutorDies(of(f))),
            self.new_agent_id.as_ref().map(|f| Fault::NewAgentId(of(f))),
            self.drift.as_ref().map(|f| Fault::Drift(f.host.clone(), f.component)),
            self.lose_messages.map(Fault::LoseMessages),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    pub(super) fn check(&self) -> Result<Option<HostName>, String> {
        let Some(fault) = self.fault() else {
            let at = self.at.ms;
            return Err(format!("the fault at {at} ms must name exactly one fault"));
        };
        Ok(match fault {
            Fault::HostDown(host, _)
            | Fault::HostGone(host)
            | Fault::Maintenance(host, _)
            | Fault::RestartFails(host, _)
            | Fault::AgentDown(host, _)
            | Fault::ExecutorHangs(host, _)
            | Fault::ExecutorDies(host)
            | Fault::NewAgentId(host)
            | Fault::Drift(host, _) => Some(host),
            Fault::LoseMessages(lose) => {
                let sane = |p: f64| (0.0..=1.0).contains(&p);
                if !(sane(lose.probability) && sane(lose.duplicate) && sane(lose.late)) {
                    return Err("loseMessages: probabilities are from 0 to 1".to_owned());
                }
                None
            }
            _ => None,
        })
    }
}
