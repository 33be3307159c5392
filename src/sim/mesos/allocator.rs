//! Who is offered what. Mesos looks at every agent once a second; this looks at those where
//! something has changed since, which comes to the same and costs nothing while nothing changes.

use std::collections::BTreeMap;

use super::AgentIndex;
use super::context::{Context, Job};
use super::master::{Filter, Framework, Master, Offer, Standing};
use super::resources::{Form, Pool};
use crate::mesos::v1::scheduler::{Event, Filters};
use crate::mesos::v1::{self, Address, CapabilityType, FrameworkId, Url};
use crate::words::Time;

/// What Mesos takes for a refusal that it cannot use.
const DEFAULT_REFUSAL: f64 = 5.0;
/// The longest refusal: 365 days.
const LONGEST_REFUSAL: f64 = 31_536_000.0;

impl Master {
    /// Something has changed on the agent: the next allocation looks at it.
    pub(super) fn consider(&mut self, cx: &mut Context, agent: AgentIndex) {
        self.candidates.insert(agent);
        let at = self.next_cycle(cx);
        self.plan_allocation(cx, at);
    }

    /// All agents, at once: a framework came or revived.
    pub(super) fn consider_all(&mut self, cx: &mut Context) {
        self.candidates.extend(0..self.agents.len());
        let at = cx.now.plus_ms(cx.timings.latency);
        self.plan_allocation(cx, at);
    }

    /// The agent, at once: it registered.
    pub(super) fn consider_now(&mut self, cx: &mut Context, agent: AgentIndex) {
        self.candidates.insert(agent);
        let at = cx.now.plus_ms(cx.timings.latency);
        self.plan_allocation(cx, at);
    }

    fn plan_allocation(&mut self, cx: &mut Context, at: Time) {
        if self.allocation_at.is_none_or(|planned| at < planned) {
            self.allocation_at = Some(at);
            cx.queue.push(at, Job::Allocate { at });
        }
    }

    pub(super) fn allocate(&mut self, cx: &mut Context, at: Time) {
        if self.allocation_at != Some(at) {
            return;
        }
        self.allocation_at = None;
        let mut offers: BTreeMap<FrameworkId, Vec<v1::Offer>> = BTreeMap::new();
        let looked_at = std::mem::take(&mut self.candidates);
        for &agent in &looked_at {
            let connected = |record: &&_| matches_connected(record);
            let Some(record) = self.agent(agent).filter(connected) else { continue };
            // Whoever was offered this agent last comes last.
            let mut order: Vec<_> = self
                .frameworks
                .iter()
                .filter(|(_, framework)| framework.stream.is_some())
                .map(|(id, _)| (record.last_offered.as_ref() == Some(id), id.clone()))
                .collect();
            order.sort_unstable();
            for (_, framework) in order {
                for offer in self.offer(cx, agent, &framework) {
                    offers.entry(framework.clone()).or_default().push(offer);
                }
            }
        }
        for (framework, offers) in offers {
            self.tell(cx, &framework, Event::Offers(offers));
        }
        self.ask_back(cx, &looked_at);
    }

    /// What the framework is offered of what is left on the agent.
    fn offer(&mut self, cx: &mut Context, agent: AgentIndex, id: &FrameworkId) -> Vec<v1::Offer> {
        let mut made = Vec::new();
        let Some(framework) = self.frameworks.get(id) else { return made };
        for role in framework.roles() {
            let Some(framework) = self.frameworks.get_mut(id) else { continue };
            let Some(record) = self.agents.get(agent).and_then(Option::as_ref) else { continue };
            let resources = record.free.for_role(&role);
            let hidden =
                record.total.has("gpus") && !framework.info.has(&CapabilityType::GpuResources);
            if hidden
                || framework.suppressed.contains(&role)
                || !resources.is_allocatable(self.allocatable)
                || framework.refuses(cx.now, agent, &role, &resources)
            {
                continue;
            }
            let number = self.next_offer;
            self.next_offer += 1;
            let offer = Offer { framework: id.clone(), agent, role, resources };
            made.extend(self.offer_to_wire(number, &offer));
            if let Some(record) = self.agent_mut(agent) {
                record.free.subtract(&offer.resources);
                record.last_offered = Some(id.clone());
            }
            self.offers.insert(number, offer);
            if let Some(timeout) = cx.timings.offer {
                cx.after(timeout, Job::OfferTimeout { master: self.number, offer: number });
            }
        }
        made
    }

    /// An offer as the master keeps it and tells operators.
    pub(super) fn offer_kept(&self, number: u64, offer: &Offer) -> Option<v1::Offer> {
        let kept = Form { allocated: Some(&offer.role), refined: true };
        let mut told = self.offer_to_wire(number, offer)?;
        told.resources = offer.resources.to_wire(kept);
        told.allocation_info = Some(v1::AllocationInfo { role: Some(offer.role.clone()) });
        Some(told)
    }

    fn offer_to_wire(&self, number: u64, offer: &Offer) -> Option<v1::Offer> {
        let framework = self.frameworks.get(&offer.framework)?;
        let record = self.agent(offer.agent)?;
        let config = &record.config;
        let executor_ids = record
            .executors
            .keys()
            .filter(|key| key.0 == offer.framework)
            .map(|key| key.1.clone())
            .collect();
        Some(v1::Offer {
            id: self.offer_id(number),
            framework_id: offer.framework.clone(),
            agent_id: record.id.clone(),
            hostname: config.hostname.clone(),
            url: Some(Url {
                scheme: "http".to_owned(),
                address: Address {
                    hostname: Some(config.hostname.clone()),
                    ip: Some(config.ip.to_string()),
                    port: config.port,
                },
                path: Some("/slave(1)".to_owned()),
            }),
            resources: offer.resources.to_wire(framework.form(&offer.role)),
            attributes: config.attributes.clone(),
            executor_ids,
            unavailability: self.schedule.of(&record.config),
            allocation_info: framework.allocation(&offer.role),
        })
    }

    /// Gives an offer back, with the wish not to see the like of it for some time.
    pub(super) fn decline(
        &mut self,
        cx: &mut Context,
        id: &FrameworkId,
        number: u64,
        filters: Option<Filters>,
    ) {
        if self.offers.get(&number).is_none_or(|offer| offer.framework != *id) {
            return;
        }
        if let Some(offer) = self.discard_offer(cx, number) {
            self.refuse(cx, id, offer.agent, offer.role, offer.resources, filters);
        }
    }

    /// Adds a filter, and looks at the agent again when it is over.
    pub(super) fn refuse(
        &mut self,
        cx: &mut Context,
        id: &FrameworkId,
        agent: AgentIndex,
        role: String,
        refused: Pool,
        filters: Option<Filters>,
    ) {
        let ms = refusal_ms(filters);
        if ms == 0 || refused.is_empty() {
            return;
        }
        let until = cx.now.plus_ms(ms.max(cx.timings.allocation));
        if let Some(framework) = self.frameworks.get_mut(id) {
            framework.filters.entry((agent, role)).or_default().push(Filter { until, refused });
            cx.queue.push(until, Job::FilterExpired { agent });
        }
    }
}

fn matches_connected(record: &super::master::AgentRecord) -> bool {
    record.standing == Standing::Connected && !record.deactivated
}

impl Framework {
    /// Whether a filter hides the offer: it is part of what was refused.
    fn refuses(&mut self, now: Time, agent: AgentIndex, role: &str, offered: &Pool) -> bool {
        let key = (agent, role.to_owned());
        let Some(filters) = self.filters.get_mut(&key) else { return false };
        filters.retain(|filter| filter.until > now);
        if filters.is_empty() {
            self.filters.remove(&key);
            return false;
        }
        filters.iter().any(|filter| filter.refused.contains(offered))
    }

    pub(super) fn form<'a>(&self, role: &'a str) -> Form<'a> {
        Form {
            allocated: self.info.has(&CapabilityType::MultiRole).then_some(role),
            refined: self.info.has(&CapabilityType::ReservationRefinement),
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "between 0 and a year in milliseconds"
)]
pub(super) fn refusal_ms(filters: Option<Filters>) -> u64 {
    let asked = filters.map_or(DEFAULT_REFUSAL, |filters| filters.refuse_seconds);
    let seconds = if asked >= 0.0 { asked.min(LONGEST_REFUSAL) } else { DEFAULT_REFUSAL };
    (seconds * 1_000.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_limited_as_in_mesos() {
        let of = |seconds| refusal_ms(Some(Filters { refuse_seconds: seconds }));
        assert_eq!(refusal_ms(None), 5_000);
        assert_eq!(of(0.0), 0);
        assert_eq!(of(2.5), 2_500);
        assert_eq!(of(-5.0), 5_000);
        assert_eq!(of(f64::NAN), 5_000);
        assert_eq!(of(1e12), 31_536_000_000);
    }
}
