//! What operators plan and do with agents: a maintenance schedule with its inverse offers,
//! deactivation and draining.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::AgentIndex;
use super::calls::Outcome;
use super::config::AgentConfig;
use super::context::{Context, Job, ToAgent};
use super::master::{AgentRecord, Master, Standing};
use super::tasks::nanoseconds;
use crate::mesos::v1::operator::{DrainInfo, DrainState};
use crate::mesos::v1::scheduler::{Event, InverseAnswer};
use crate::mesos::v1::{self, Address, FrameworkId, Nanoseconds, Unavailability, Url};
use crate::words::Time;

/// The maintenance schedule.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    /// As it was given.
    given: Value,
    windows: Vec<(String, String, Unavailability)>,
}

impl Schedule {
    fn read(given: &Value) -> Option<Self> {
        let mut windows = Vec::new();
        for window in given["windows"].as_array().into_iter().flatten() {
            let away: Unavailability =
                serde_json::from_value(window.get("unavailability")?.clone()).ok()?;
            for machine in window["machine_ids"].as_array().into_iter().flatten() {
                let text = |key: &str| machine[key].as_str().unwrap_or_default().to_owned();
                windows.push((text("hostname"), text("ip"), away));
            }
        }
        Some(Self { given: given.clone(), windows })
    }

    /// When the machine of that agent will be away.
    pub(super) fn of(&self, config: &AgentConfig) -> Option<Unavailability> {
        let ip = config.ip.to_string();
        let mine = |(host, address, _): &&(String, String, Unavailability)| {
            *host == config.hostname && *address == ip
        };
        self.windows.iter().find(mine).map(|(_, _, away)| *away)
    }

    pub(super) fn told(&self) -> Value {
        if self.windows.is_empty() { json!({}) } else { self.given.clone() }
    }
}

/// An outstanding inverse offer.
#[derive(Clone, Debug)]
pub(super) struct InverseOffer {
    pub(super) framework: FrameworkId,
    agent: AgentIndex,
}

/// An agent is being drained, or has been.
#[derive(Clone, Debug)]
pub(super) struct Drain {
    since: Time,
    /// As it was given, durations in nanoseconds.
    config: Value,
    mark_gone: bool,
}

impl Drain {
    /// Mesos knows it to the second.
    pub(super) fn start(&self) -> Nanoseconds {
        nanoseconds(Time(self.since.0 / 1_000 * 1_000))
    }
}

impl Master {
    // --- the schedule ----------------------------------------------------------------------------

    /// Another schedule is in force. All offers are taken back, since what they say of their
    /// machine may be wrong now.
    pub(super) fn update_schedule(
        &mut self,
        cx: &mut Context,
        given: &Value,
    ) -> Result<(), Outcome> {
        let Some(schedule) = Schedule::read(given) else {
            return Err(Outcome::refused(400, "A window without 'unavailability' is not valid"));
        };
        self.schedule = schedule;
        for framework in self.frameworks.values_mut() {
            framework.inverse_filters.clear();
        }
        for agent in 0..self.agents.len() {
            self.rescind_offers(cx, agent);
        }
        self.consider_all(cx);
        Ok(())
    }

    pub(super) fn maintenance_status(&self) -> Value {
        if self.schedule.windows.is_empty() {
            return json!({});
        }
        let machines: Vec<_> = self
            .schedule
            .windows
            .iter()
            .map(|(hostname, ip, _)| json!({ "id": { "hostname": hostname, "ip": ip } }))
            .collect();
        json!({ "draining_machines": machines })
    }

    /// Asks frameworks to leave agents that will be away, where they have something and were not
    /// asked yet.
    pub(super) fn ask_back(&mut self, cx: &mut Context, agents: &BTreeSet<AgentIndex>) {
        if self.schedule.windows.is_empty() {
            return;
        }
        for &agent in agents {
            let Some(record) = self.agent(agent).filter(|r| r.standing == Standing::Connected)
            else {
                continue;
            };
            let Some(unavailability) = self.schedule.of(&record.config) else { continue };
            let there: Vec<_> = self
                .frameworks
                .iter()
                .filter(|(id, framework)| {
                    let tasks = framework.tasks.of_agent(agent).next().is_some();
                    let quiet = framework.inverse_filters.get(&agent).is_some_and(|t| *t > cx.now);
                    let asked = self
                        .inverse_offers
                        .values()
                        .any(|offer| offer.agent == agent && offer.framework == **id);
                    tasks && !quiet && !asked && framework.stream.is_some()
                })
                .map(|(id, _)| id.clone())
                .collect();
            for framework in there {
                self.ask(cx, agent, framework, unavailability);
            }
        }
    }

    fn ask(
        &mut self,
        cx: &mut Context,
        agent: AgentIndex,
        framework: FrameworkId,
        unavailability: Unavailability,
    ) {
        let number = self.next_offer;
        self.next_offer += 1;
        let Some(record) = self.agent(agent) else { return };
        let config = &record.config;
        let url = Url {
            scheme: "http".to_owned(),
            address: Address {
                hostname: Some(config.hostname.clone()),
                ip: Some(config.ip.to_string()),
                port: config.port,
            },
            path: Some("/slave(1)".to_owned()),
        };
        let told = v1::InverseOffer {
            id: self.offer_id(number),
            url: Some(url),
            framework_id: framework.clone(),
            agent_id: Some(record.id.clone()),
            unavailability,
            resources: Vec::new(),
        };
        self.tell(cx, &framework, Event::InverseOffers(vec![told]));
        self.inverse_offers.insert(number, InverseOffer { framework, agent });
    }

    pub(super) fn rescind_inverse(&mut self, cx: &mut Context, agent: AgentIndex) {
        let over: Vec<_> =
            self.inverse_offers.extract_if(.., |_, offer| offer.agent == agent).collect();
        for (number, offer) in over {
            let id = self.offer_id(number);
            self.tell(cx, &offer.framework, Event::RescindInverseOffer(id));
        }
    }

    /// An answer is advice to the operator. The question comes again when its filter is over.
    pub(super) fn answer_inverse(
        &mut self,
        cx: &mut Context,
        id: &FrameworkId,
        answer: &InverseAnswer,
        _agrees: bool,
    ) {
        let until = cx.now.plus_ms(super::allocator::refusal_ms(answer.filters));
        for asked in &answer.inverse_offer_ids {
            let own = |(number, offer): (&u64, &InverseOffer)| {
                (offer.framework == *id && self.offer_id(*number) == *asked).then_some(*number)
            };
            let Some(number) = self.inverse_offers.iter().find_map(own) else { continue };
            let Some(offer) = self.inverse_offers.remove(&number) else { continue };
            if let Some(framework) = self.frameworks.get_mut(id) {
                framework.inverse_filters.insert(offer.agent, until);
                cx.queue.push(until, Job::FilterExpired { agent: offer.agent });
            }
        }
    }

    // --- taking agents out -------------------------------------------------------------------------

    pub(super) fn deactivate(&mut self, cx: &mut Context, index: AgentIndex) {
        let Some(record) = self.agent_mut(index) else { return };
        record.deactivated = true;
        self.rescind_offers(cx, index);
    }

    pub(super) fn reactivate(
        &mut self,
        cx: &mut Context,
        index: AgentIndex,
    ) -> Result<(), Outcome> {
        let drained = self.is_drained(index);
        let Some(record) = self.agent_mut(index) else {
            return Err(Outcome::refused(400, "Unknown agent"));
        };
        if !record.deactivated {
            return Err(Outcome::refused(400, "Agent is not deactivated"));
        }
        if record.drain.is_some() && !drained {
            return Err(Outcome::refused(400, "Agent is still in the DRAINING state"));
        }
        record.deactivated = false;
        record.drain = None;
        self.consider(cx, index);
        Ok(())
    }

    /// Kills all that runs on the agent, ours too. It cannot be taken back.
    pub(super) fn drain(&mut self, cx: &mut Context, index: AgentIndex, parameters: &Value) {
        let mark_gone = parameters["mark_gone"].as_bool().unwrap_or_default();
        let mut config = json!({});
        if let Some(period) = parameters.get("max_grace_period") {
            let part = |key: &str| period[key].as_i64().unwrap_or_default();
            let nanoseconds = part("seconds").saturating_mul(1_000_000_000) + part("nanos");
            config["max_grace_period"] = json!({ "nanoseconds": nanoseconds });
        }
        config["mark_gone"] = json!(mark_gone);
        let since = cx.now;
        self.deactivate(cx, index);
        if let Some(record) = self.agent_mut(index) {
            record.drain = Some(Drain { since, config, mark_gone });
            cx.send_to_agent(index, ToAgent::Drain);
        }
        self.look_at_drain(cx, index);
    }

    /// Nothing is left there, and all of it was acknowledged.
    fn is_drained(&self, index: AgentIndex) -> bool {
        self.frameworks.values().all(|framework| framework.tasks.of_agent(index).next().is_none())
    }

    pub(super) fn look_at_drain(&mut self, cx: &mut Context, index: AgentIndex) {
        let drain = self.agent(index).and_then(|record| record.drain.as_ref());
        if drain.is_some_and(|drain| drain.mark_gone) && self.is_drained(index) {
            self.mark_gone(cx, index);
        }
    }

    pub(super) fn drain_info(&self, record: &AgentRecord, drain: &Drain) -> DrainInfo {
        let index = self.agent_ids.get(&record.id).copied().unwrap_or(usize::MAX);
        let drained = self.is_drained(index);
        let state = if drained { DrainState::Drained } else { DrainState::Draining };
        DrainInfo { state, config: Some(drain.config.clone()) }
    }
}
