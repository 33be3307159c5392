//! Maintenance that operators announce to Mesos: what is remembered of it, and how inverse offers
//! are answered.
//!
//! Nothing has to be remembered for nothing to go wrong: a disruption starts on an offer only, and
//! Mesos takes all offers back when its schedule changes, so that every offer says what holds.
//! What is remembered is for people, and so that offers are not asked for in vain.

use std::collections::BTreeMap;

use crate::mesos::agents::away;
use crate::mesos::v1::scheduler::{Call, Filters, InverseAnswer};
use crate::mesos::v1::{InverseOffer, OfferId, Unavailability};
use crate::observed::fleet::Folded;
use crate::words::{AgentId, HostName, Time};

use super::Controller;
use super::event::Effect;

/// For how long a machine that may go is not to be asked for again.
const AGREED_SECONDS: u64 = 300;
/// For how long one is not that a slot is held for: it is not long until it may go.
const DECLINED_SECONDS: u64 = 60;
/// For how long one is not whose maintenance is over and still in the schedule. A new schedule ends
/// such filters (`updateUnavailability` in Mesos' `hierarchical.cpp`), so that nothing is missed.
const OVER_SECONDS: u64 = 3_600;
/// What was not announced again for so long was taken back: inverse offers come again whenever
/// their filter has ended.
const FORGET_MS: u64 = 3 * AGREED_SECONDS * 1000;

/// An inverse offer that is to be answered.
#[derive(Clone, Debug)]
pub(super) struct AskedBack {
    host: HostName,
    /// What it announces is over.
    over: bool,
    /// It announces what we do there ourselves.
    own: bool,
}

impl Controller {
    /// An offer or an inverse offer says whether maintenance is planned.
    pub(super) fn announced(
        &mut self,
        agent: &AgentId,
        unavailability: Option<Unavailability>,
        now: Time,
    ) {
        let Some(name) = self.agents.get(agent).cloned() else { return };
        let away = self.notices.of_others(&name, unavailability);
        let away = away.filter(|away| !away.is_over(now));
        let Some(host) = self.hosts.all.get_mut(&name) else { return };
        host.announced = now;
        if host.record.agent.id == *agent && host.record.fold_away(away) == Folded::Changed {
            self.put_record(&name);
            self.hosts.touch(&name);
        }
    }

    /// Mesos asks for a machine. The answer waits for the next pass.
    pub(super) fn asked_back(&mut self, offer: InverseOffer, now: Time) {
        let Some(agent) = offer.agent_id else { return };
        self.announced(&agent, Some(offer.unavailability), now);
        if let Some(name) = self.agents.get(&agent) {
            let away = away(offer.unavailability);
            let own = self.notices.of(name).is_some_and(|own| own.window.away() == away);
            let asked = AskedBack { host: name.clone(), over: away.is_over(now), own };
            self.asked_back.insert(offer.id, asked);
        }
    }

    /// Agrees, unless a slot is held there. Each is answered once. It is advice to the operator:
    /// Mesos does nothing about it.
    pub(super) fn answer_asked_back(&mut self) {
        let mut answers: BTreeMap<(bool, u64), Vec<OfferId>> = BTreeMap::new();
        for (id, asked) in std::mem::take(&mut self.asked_back) {
            let holds = self.hosts.holders.contains(&asked.host) && !asked.own;
            let answer = match (holds, asked.over) {
                (true, _) => (false, DECLINED_SECONDS),
                (false, true) => (true, OVER_SECONDS),
                (false, false) => (true, AGREED_SECONDS),
            };
            answers.entry(answer).or_default().push(id);
        }
        for ((agrees, seconds), inverse_offer_ids) in answers {
            #[expect(clippy::cast_precision_loss, reason = "at most an hour")]
            let filters = Some(Filters { refuse_seconds: seconds as f64 });
            let answer = InverseAnswer { inverse_offer_ids, filters };
            self.effects.push(Effect::Call(Box::new(if agrees {
                Call::AcceptInverseOffers(answer)
            } else {
                Call::DeclineInverseOffers(answer)
            })));
        }
    }

    /// Forgets maintenance that is over, or that nobody speaks of any more.
    pub(super) fn forget_maintenance(&mut self, now: Time) {
        let over = |host: &super::host::Host| {
            let away = host.record.agent.away;
            away.is_some_and(|away| away.is_over(now) || now.since(host.announced) >= FORGET_MS)
        };
        let over = self.hosts.all.iter().filter(|(_, host)| over(host));
        let over: Vec<HostName> = over.map(|(name, _)| name.clone()).collect();
        for name in over {
            if let Some(host) = self.hosts.touch(&name) {
                host.record.fold_away(None);
                self.put_record(&name);
            }
        }
    }
}
