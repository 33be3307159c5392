//! Maintenance that operators announce to Mesos: what is remembered of it, and how inverse offers
//! are answered.
//!
//! Nothing has to be remembered for nothing to go wrong: a disruption starts on an offer only, and
//! Mesos takes all offers back when its schedule changes, so that every offer says what holds.
//! What is remembered is for people, and so that offers are not asked for in vain.

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
/// What was not announced again for so long was taken back: inverse offers come again whenever
/// their filter has ended.
const FORGET_MS: u64 = 3 * AGREED_SECONDS * 1000;

impl Controller {
    /// An offer or an inverse offer says whether maintenance is planned.
    pub(super) fn announced(
        &mut self,
        agent: &AgentId,
        unavailability: Option<Unavailability>,
        now: Time,
    ) {
        let Some(name) = self.agents.get(agent).cloned() else { return };
        let Some(host) = self.hosts.all.get_mut(&name) else { return };
        host.announced = now;
        let away = unavailability.map(away).filter(|away| !away.is_over(now));
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
            self.asked_back.insert(offer.id, name.clone());
        }
    }

    /// Agrees, unless a slot is held there. It is advice to the operator: Mesos does nothing about
    /// it.
    pub(super) fn answer_asked_back(&mut self) {
        let asked: Vec<(OfferId, HostName)> =
            std::mem::take(&mut self.asked_back).into_iter().collect();
        let (held, free): (Vec<_>, Vec<_>) =
            asked.into_iter().partition(|(_, name)| self.hosts.holders.contains(name));
        let answer = |asked: Vec<(OfferId, HostName)>, seconds: u64| {
            #[expect(clippy::cast_precision_loss, reason = "minutes")]
            let filters = Some(Filters { refuse_seconds: seconds as f64 });
            let inverse_offer_ids = asked.into_iter().map(|(id, _)| id).collect();
            InverseAnswer { inverse_offer_ids, filters }
        };
        if !free.is_empty() {
            let call = Call::AcceptInverseOffers(answer(free, AGREED_SECONDS));
            self.effects.push(Effect::Call(Box::new(call)));
        }
        if !held.is_empty() {
            let call = Call::DeclineInverseOffers(answer(held, DECLINED_SECONDS));
            self.effects.push(Effect::Call(Box::new(call)));
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
