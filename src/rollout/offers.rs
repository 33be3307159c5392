//! Offers: which are held, which are given back and for how long, and when Mesos is asked for
//! more or for none.
//!
//! An offer is held only for a host that is next in line; everything else is declined at once
//! with an explicit filter: for an hour where nothing is to be done, else until shortly before
//! the host's turn.

use std::collections::{BTreeMap, BTreeSet};

use crate::mesos::v1::scheduler::{Call, Decline, Filters, Roles};
use crate::mesos::v1::{Offer, OfferId, Resource};
use crate::words::{HostName, Time};

/// For how long an offer is declined that nothing is to be done with.
const DECLINE_SECONDS: u64 = 3600;
/// REVIVE is not sent more often.
const REVIVE_EVERY_MS: u64 = 5_000;
/// A wanted host that was not offered for so long after a REVIVE: it may have been lost.
const REVIVE_LOST_MS: u64 = 60_000;
/// No offer is declined for less: Mesos allocates every second.
const DECLINE_LEAST_SECONDS: u64 = 1;

/// The offers of one subscription.
#[derive(Clone, Debug, Default)]
pub(super) struct Offers {
    held: BTreeMap<OfferId, Held>,
    by_host: BTreeMap<HostName, BTreeSet<OfferId>>,
    /// Until when Mesos does not offer what was declined.
    declined: BTreeMap<HostName, Time>,
    suppressed: bool,
    revived: Option<Time>,
    /// Something came or went since [`Self::settle`].
    pub changed: bool,
}

#[derive(Clone, Debug)]
struct Held {
    host: HostName,
    offer: Offer,
    /// A launch with it is being written down.
    promised: bool,
}

/// What is wanted of Mesos.
#[derive(Clone, Debug, Default)]
pub(super) struct Wants {
    /// Hosts whose offers are held: those with work that takes no slot, or with a slot already.
    pub now: BTreeSet<HostName>,
    /// The same for those next in line.
    pub line: BTreeSet<HostName>,
    /// Of the other hosts with an offer, those whose turn comes later, and in how many seconds
    /// their offers are wanted again.
    pub later: BTreeMap<HostName, u64>,
    /// Nothing is to be launched anywhere, now or later.
    pub nothing: bool,
}

impl Wants {
    /// Whether the host's offers are held.
    pub(super) fn has(&self, host: &HostName) -> bool {
        self.line.contains(host) || self.now.contains(host)
    }

    fn hosts(&self) -> impl Iterator<Item = &HostName> {
        self.now.iter().chain(&self.line)
    }

    /// Nobody's offers are held.
    pub(super) fn is_empty(&self) -> bool {
        self.now.is_empty() && self.line.is_empty()
    }
}

impl Offers {
    /// A new subscription: offers of the old one are void, its filters may or may not be.
    pub(super) fn reset(&mut self, suppressed: bool) {
        *self = Self { suppressed, changed: true, ..Self::default() };
    }

    pub(super) fn suppressed(&self) -> bool {
        self.suppressed
    }

    pub(super) fn add(&mut self, host: HostName, offer: Offer) {
        self.changed = true;
        self.declined.remove(&host);
        self.by_host.entry(host.clone()).or_default().insert(offer.id.clone());
        self.held.insert(offer.id.clone(), Held { host, offer, promised: false });
    }

    /// The offer is not valid any more, or was used.
    pub(super) fn remove(&mut self, id: &OfferId) -> Option<Offer> {
        let held = self.held.remove(id)?;
        self.changed = true;
        if let Some(ids) = self.by_host.get_mut(&held.host) {
            ids.remove(id);
            if ids.is_empty() {
                self.by_host.remove(&held.host);
            }
        }
        Some(held.offer)
    }

    /// The offer is used. What it leaves of its agent is not offered again for so long.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to an hour")]
    pub(super) fn used(&mut self, id: &OfferId, refuse_seconds: f64, now: Time) {
        let Some(host) = self.held.get(id).map(|held| held.host.clone()) else { return };
        self.remove(id);
        self.declined.insert(host, now.plus_secs(refuse_seconds as u64));
    }

    /// The offers of a host that nothing was promised with.
    pub(super) fn of(&self, host: &HostName) -> impl Iterator<Item = &Offer> {
        let ids = self.by_host.get(host).into_iter().flatten();
        ids.filter_map(|id| self.held.get(id)).filter(|held| !held.promised).map(|h| &h.offer)
    }

    /// Those of `hosts` that have an offer.
    pub(super) fn offered(&self, hosts: &BTreeSet<HostName>) -> Vec<HostName> {
        if hosts.len() <= self.by_host.len() {
            hosts.iter().filter(|host| self.by_host.contains_key(*host)).cloned().collect()
        } else {
            self.by_host.keys().filter(|host| hosts.contains(*host)).cloned().collect()
        }
    }

    /// Hosts with an offer that nothing was promised with.
    pub(super) fn hosts(&self) -> BTreeSet<HostName> {
        let free = self.held.values().filter(|held| !held.promised);
        free.map(|held| held.host.clone()).collect()
    }

    /// Keeps an offer for a launch that is being written down.
    pub(super) fn promise(&mut self, id: &OfferId) {
        if let Some(held) = self.held.get_mut(id) {
            held.promised = true;
        }
    }

    pub(super) fn is_held(&self, id: &OfferId) -> bool {
        self.held.contains_key(id)
    }

    /// Gives back what is not wanted, and asks for what is. Gives the calls in their order.
    pub(super) fn settle(&mut self, wants: &Wants, now: Time) -> Vec<Call> {
        self.changed = false;
        let mut calls = self.decline(wants, now);
        if !wants.nothing && self.should_revive(wants, now) {
            self.suppressed = false;
            self.revived = Some(now);
            self.declined.clear();
            calls.push(Call::Revive(Roles::default()));
        }
        calls
    }

    /// Asks for no offers, if none are wanted and that was not said yet.
    pub(super) fn suppress(&mut self, wants: &Wants) -> Option<Call> {
        if !wants.nothing || self.suppressed || !self.held.is_empty() {
            return None;
        }
        self.suppressed = true;
        Some(Call::Suppress(Roles::default()))
    }

    fn decline(&mut self, wants: &Wants, now: Time) -> Vec<Call> {
        let mut groups: BTreeMap<u64, Vec<OfferId>> = BTreeMap::new();
        for (id, held) in &self.held {
            if held.promised || wants.has(&held.host) {
                continue;
            }
            let seconds = match wants.later.get(&held.host) {
                Some(seconds) => (*seconds).max(DECLINE_LEAST_SECONDS),
                None => DECLINE_SECONDS,
            };
            groups.entry(seconds).or_default().push(id.clone());
        }
        let mut calls = Vec::new();
        for (seconds, offer_ids) in groups {
            for id in &offer_ids {
                if let Some(host) = self.held.get(id).map(|held| held.host.clone()) {
                    self.declined.insert(host, now.plus_secs(seconds));
                }
                self.remove(id);
            }
            #[expect(clippy::cast_precision_loss, reason = "at most an hour")]
            let filters = Some(Filters { refuse_seconds: seconds as f64 });
            calls.push(Call::Decline(Decline { offer_ids, filters }));
        }
        calls
    }

    fn should_revive(&self, wants: &Wants, now: Time) -> bool {
        let since = self.revived.map(|at| now.since(at));
        if since.is_some_and(|since| since < REVIVE_EVERY_MS) {
            return false;
        }
        let lost = since.is_none_or(|since| since >= REVIVE_LOST_MS);
        let lacks = |host: &&HostName| !self.by_host.contains_key(*host);
        let hidden = |host: &HostName| {
            let filtered = self.declined.get(host).is_some_and(|until| *until > now.plus_secs(1));
            self.suppressed || filtered || (lost && since.is_some())
        };
        wants.hosts().filter(lacks).any(hidden)
    }

    /// When [`Self::settle`] has something to do without any event.
    pub(super) fn next_wake(&self, wants: &Wants) -> Option<Time> {
        let lacking = wants.hosts().any(|host| !self.by_host.contains_key(host));
        let revived = self.revived.filter(|_| lacking)?;
        let filtered = wants.hosts().any(|host| self.declined.contains_key(host));
        let wait = if self.suppressed || filtered { REVIVE_EVERY_MS } else { REVIVE_LOST_MS };
        Some(revived.plus_ms(wait))
    }
}

/// What a task or an executor takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    pub milli_cpus: u32,
    pub mem: u32,
}

impl Ask {
    pub(super) fn plus(self, other: Self) -> Self {
        Self { milli_cpus: self.milli_cpus + other.milli_cpus, mem: self.mem + other.mem }
    }
}

/// What is left of an offer while tasks are cut out of it.
#[derive(Clone, Debug)]
pub(super) struct Rest {
    resources: Vec<Resource>,
}

impl Rest {
    pub(super) fn of(offer: &Offer) -> Self {
        Self { resources: offer.resources.clone() }
    }

    /// What is lacking for `ask`, as a sentence; none if it fits.
    pub(super) fn lacking(&self, ask: Ask) -> Option<String> {
        let short = |name: &str, wanted: u64, has: u64| {
            (has < wanted).then(|| {
                let text = |milli: u64| {
                    #[expect(clippy::cast_precision_loss, reason = "for people")]
                    let value = milli as f64 / 1000.0;
                    value.to_string()
                };
                format!("{name} {} ({} offered)", text(wanted), text(has))
            })
        };
        short("cpus", u64::from(ask.milli_cpus), self.milli("cpus"))
            .or_else(|| short("mem", u64::from(ask.mem) * 1000, self.milli("mem")))
    }

    /// Cuts `ask` out, in the form in which it was offered; none, and nothing cut, if it does
    /// not fit.
    pub(super) fn take(&mut self, ask: Ask) -> Option<Vec<Resource>> {
        if self.lacking(ask).is_some() {
            return None;
        }
        let mut taken = self.cut("cpus", u64::from(ask.milli_cpus));
        taken.extend(self.cut("mem", u64::from(ask.mem) * 1000));
        Some(taken)
    }

    /// `ask` in the form of the offer, whether it fits or not.
    pub(super) fn shape(&self, ask: Ask) -> Vec<Resource> {
        let shape = |(name, milli): (&str, u64)| {
            let mut piece = self.resources.iter().find(|r| r.name == name)?.clone();
            set_milli(&mut piece, milli);
            Some(piece)
        };
        let asked = [("cpus", u64::from(ask.milli_cpus)), ("mem", u64::from(ask.mem) * 1000)];
        asked.into_iter().filter_map(shape).collect()
    }

    fn milli(&self, name: &str) -> u64 {
        self.resources.iter().filter(|r| r.name == name).map(milli_of).sum()
    }

    /// Resources of one name may lie in several roles or reservations of the offer.
    fn cut(&mut self, name: &str, mut wanted: u64) -> Vec<Resource> {
        let mut taken = Vec::new();
        for resource in self.resources.iter_mut().filter(|r| r.name == name) {
            let part = milli_of(resource).min(wanted);
            if part == 0 {
                continue;
            }
            let mut piece = resource.clone();
            set_milli(&mut piece, part);
            let left = milli_of(resource) - part;
            set_milli(resource, left);
            taken.push(piece);
            wanted -= part;
        }
        taken
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "Mesos keeps scalars in thousandths; negative ones are not offered"
)]
fn milli_of(resource: &Resource) -> u64 {
    resource.scalar.as_ref().map_or(0, |scalar| (scalar.value.max(0.0) * 1000.0).round() as u64)
}

#[expect(clippy::cast_precision_loss, reason = "offers are far below 2^52 thousandths")]
fn set_milli(resource: &mut Resource, milli: u64) {
    if let Some(scalar) = &mut resource.scalar {
        scalar.value = milli as f64 / 1000.0;
    }
}
