//! What happens when its time has come.

use std::sync::Arc;

use super::agent::Agent;
use super::context::{Context, Job, ToMaster};
use super::master::{Master, Standing};
use super::{AgentIndex, SimMesos};
use crate::words::Time;

impl SimMesos {
    /// When something happens next by itself.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        self.cx.queue.next()
    }

    /// Lets happen what is due. Time never goes back.
    pub fn advance(&mut self, now: Time) {
        while let Some((at, job)) = self.cx.queue.pop(now) {
            self.cx.now = self.cx.now.max(at);
            self.happen(job);
        }
        self.cx.now = self.cx.now.max(now);
    }

    fn happen(&mut self, job: Job) {
        let (cx, master) = (&mut self.cx, &mut self.master);
        if self.stopped && matches!(job, Job::Allocate { .. } | Job::PingTimeout { .. }) {
            return;
        }
        match job {
            Job::ToAgent { agent, link, message } => {
                if cx.link(agent) == link
                    && let Some((agent, _)) = self.agents.get_mut(agent)
                {
                    agent.receive(cx, message);
                }
            }
            Job::ToMaster { agent, link, message } => {
                if cx.link(agent) == link {
                    self.master_receives(agent, message);
                }
            }
            Job::LinkBroken { agent, contact } => master.link_broken(cx, agent, contact),
            Job::PingTimeout { agent, contact } => master.ping_timeout(cx, agent, contact),
            Job::GivenUp { agent } => self.agent(agent, Agent::given_up),
            Job::RecoveryTimeout { master: number } => master.recovery_timeout(cx, number),
            Job::Allocate { at } => master.allocate(cx, at),
            Job::FilterExpired { agent } => master.consider(cx, agent),
            Job::OfferTimeout { master: number, offer } => {
                if master.number == number {
                    master.rescind(cx, offer);
                }
            }
            Job::Heartbeat { conn } => master.heartbeat(cx, conn),
            Job::FrameworkTimeout { framework, epoch } => {
                master.framework_timeout(cx, &framework, epoch);
            }
            Job::Recovered { agent, process } => {
                self.agent(agent, |agent, cx| agent.recovered(cx, process));
            }
            Job::Register { agent, process, link } => {
                self.agent(agent, |agent, cx| agent.register(cx, process, link));
            }
            Job::Hand { agent, process, executor } => {
                self.agent(agent, |agent, cx| agent.hand(cx, process, &executor));
            }
            Job::Overdue { agent, process, container, why } => {
                self.agent(agent, |agent, cx| agent.overdue(cx, process, &container, why));
            }
            Job::Retry { agent, process, task, sends, wait } => {
                self.agent(agent, |agent, cx| agent.retry(cx, process, &task, sends, wait));
            }
        }
    }

    pub(super) fn agent(&mut self, index: AgentIndex, act: impl FnOnce(&mut Agent, &mut Context)) {
        if let Some((agent, _)) = self.agents.get_mut(index) {
            act(agent, &mut self.cx);
        }
    }

    fn master_receives(&mut self, index: AgentIndex, message: ToMaster) {
        let (cx, master) = (&mut self.cx, &mut self.master);
        let connected = |master: &Master| {
            master.agent(index).is_some_and(|record| record.standing == Standing::Connected)
        };
        let config = self.agents.get(index).map(|(_, config)| config);
        let is_down = config.is_some_and(|config| master.schedule.is_down(config));
        match message {
            // It is told to shut down.
            ToMaster::Register | ToMaster::Reregister { .. } if is_down => {
                self.agent(index, Agent::unregister);
            }
            ToMaster::Register => {
                if let Some((_, config)) = self.agents.get(index) {
                    master.register(cx, index, Arc::clone(config));
                }
            }
            ToMaster::Reregister { id, report } => {
                if let Some((_, config)) = self.agents.get(index) {
                    master.reregister(cx, index, config, &id, *report);
                }
            }
            _ if !connected(master) => {}
            ToMaster::Update { framework, status, latest } => {
                master.update(cx, index, &framework, *status, latest);
            }
            ToMaster::Message { executor, data } => {
                master.executor_message(cx, index, executor, data);
            }
            ToMaster::Exited { executor, status, silent } => {
                master.exited(cx, index, &executor, status, silent);
            }
        }
    }
}
