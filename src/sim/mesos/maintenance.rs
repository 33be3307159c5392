//! What operators plan and do with agents: a maintenance schedule with its inverse offers,
//! deactivation and draining.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

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

/// The maintenance schedule, and the machines that are down by it.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    /// As it was given.
    given: Value,
    windows: Vec<(Machine, Unavailability)>,
    down: BTreeSet<Machine>,
}

/// A machine: host name, compared as Mesos does, and address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Machine(String, String);

impl Machine {
    /// As an operator names it (`maintenance.cpp`, `validation::machine`).
    fn read(given: &Value) -> Result<Self, Outcome> {
        let text = |key: &str| given[key].as_str().unwrap_or_default();
        let (hostname, ip) = (text("hostname"), text("ip"));
        let why = if hostname.is_empty() && ip.is_empty() {
            "Both 'hostname' and 'ip' for a machine are empty".to_owned()
        } else if !ip.is_empty() && ip.parse::<Ipv4Addr>().is_err() {
            "Failed to parse the IP".to_owned()
        } else {
            return Ok(Self(hostname.to_ascii_lowercase(), ip.to_owned()));
        };
        Err(Outcome::refused(400, why))
    }

    /// A list of them, each once (`validation::machines`).
    fn list(given: &Value) -> Result<Vec<Self>, Outcome> {
        let listed = given.as_array().map_or(&[][..], Vec::as_slice);
        let machines: Vec<_> = listed.iter().map(Self::read).collect::<Result<_, _>>()?;
        let repeated = machines.iter().enumerate().find(|(at, it)| machines[..*at].contains(it));
        match repeated {
            _ if machines.is_empty() => Err(Outcome::refused(400, "List of machines is empty")),
            Some((_, machine)) => Err(machine.twice()),
            None => Ok(machines),
        }
    }

    fn twice(&self) -> Outcome {
        self.refused("appears more than once in the schedule")
    }

    fn refused(&self, why: &str) -> Outcome {
        let Self(hostname, ip) = self;
        let machine = format!("hostname: \"{hostname}\"\nip: \"{ip}\"\n");
        Outcome::refused(400, format!("Machine '{machine}' {why}"))
    }

    fn is(&self, config: &AgentConfig) -> bool {
        *self == Self(config.hostname.to_ascii_lowercase(), config.ip.to_string())
    }
}

impl Schedule {
    /// Reads another one, with what Mesos says against it (`maintenance.cpp`,
    /// `validation::schedule`). Windows may overlap; a machine is in one.
    fn next(&self, given: &Value) -> Result<Self, Outcome> {
        let mut windows: Vec<(Machine, Unavailability)> = Vec::new();
        for window in given["windows"].as_array().into_iter().flatten() {
            let away: Option<Unavailability> =
                window.get("unavailability").and_then(|it| serde_json::from_value(it.clone()).ok());
            let Some(away) = away else {
                let why = "A window without 'unavailability' is not valid";
                return Err(Outcome::refused(400, why));
            };
            let machines = window["machine_ids"].as_array().map_or(&[][..], Vec::as_slice);
            if machines.is_empty() {
                let why = "List of machines in the maintenance window is empty";
                return Err(Outcome::refused(400, why));
            }
            if away.duration.is_some_and(|duration| duration.nanoseconds < 0) {
                return Err(Outcome::refused(400, "Unavailability 'duration' is negative"));
            }
            for machine in machines {
                let machine = Machine::read(machine)?;
                if windows.iter().any(|(known, _)| *known == machine) {
                    return Err(machine.twice());
                }
                windows.push((machine, away));
            }
        }
        let listed = |down: &&Machine| windows.iter().any(|(machine, _)| machine == *down);
        if let Some(machine) = self.down.iter().find(|down| !listed(down)) {
            return Err(machine.refused("is deactivated and cannot be removed from the schedule"));
        }
        Ok(Self { given: given.clone(), windows, down: self.down.clone() })
    }

    /// Machines go down, or come up and leave the schedule.
    fn turn(&mut self, given: &Value, down: bool) -> Result<Vec<Machine>, Outcome> {
        let machines = Machine::list(given)?;
        for machine in &machines {
            if !self.windows.iter().any(|(known, _)| known == machine) {
                return Err(machine.refused("is not part of a maintenance schedule"));
            }
            match (down, self.down.contains(machine)) {
                (true, true) => {
                    return Err(
                        machine.refused("is not in DRAINING mode and cannot be brought down")
                    );
                }
                (false, false) => {
                    return Err(machine.refused("is not in DOWN mode and cannot be brought up"));
                }
                _ => {}
            }
        }
        if down {
            self.down.extend(machines.iter().cloned());
            return Ok(machines);
        }
        self.down.retain(|machine| !machines.contains(machine));
        self.windows.retain(|(machine, _)| !machines.contains(machine));
        for window in self.given["windows"].as_array_mut().into_iter().flatten() {
            if let Some(ids) = window["machine_ids"].as_array_mut() {
                ids.retain(|id| Machine::read(id).is_ok_and(|id| !machines.contains(&id)));
            }
        }
        if let Some(windows) = self.given["windows"].as_array_mut() {
            windows
                .retain(|window| window["machine_ids"].as_array().is_some_and(|m| !m.is_empty()));
        }
        Ok(machines)
    }

    /// Whether the machine of that agent is down: the agent is not let in.
    pub(super) fn is_down(&self, config: &AgentConfig) -> bool {
        self.down.iter().any(|machine| machine.is(config))
    }

    /// When the machine of that agent will be away.
    pub(super) fn of(&self, config: &AgentConfig) -> Option<Unavailability> {
        let mine = |(machine, _): &&(Machine, Unavailability)| machine.is(config);
        self.windows.iter().find(mine).map(|(_, away)| *away)
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
        self.schedule = self.schedule.next(given)?;
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
        let id = |Machine(hostname, ip): &Machine| json!({ "hostname": hostname, "ip": ip });
        let machines = self.schedule.windows.iter().map(|(machine, _)| machine);
        let (down, draining): (Vec<_>, Vec<_>) =
            machines.partition(|machine| self.schedule.down.contains(machine));
        let mut status = json!({});
        if !draining.is_empty() {
            let told = draining.into_iter().map(|machine| json!({ "id": id(machine) }));
            status["draining_machines"] = told.collect();
        }
        if !down.is_empty() {
            status["down_machines"] = down.into_iter().map(id).collect();
        }
        status
    }

    /// Machines are taken down: their agents are to be shut down.
    pub(super) fn machines_down(&mut self, given: &Value) -> Result<Vec<AgentIndex>, Outcome> {
        let machines = self.schedule.turn(given, true)?;
        let is_of =
            |record: &AgentRecord| machines.iter().any(|machine| machine.is(&record.config));
        let indices = 0..self.agents.len();
        Ok(indices.filter(|&index| self.agent(index).is_some_and(is_of)).collect())
    }

    /// Machines are in use again, once their agents are started.
    pub(super) fn machines_up(&mut self, given: &Value) -> Result<(), Outcome> {
        self.schedule.turn(given, false).map(drop)
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
