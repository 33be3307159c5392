//! Offers: which are held, which are given back and for how long, and when Mesos is asked for
//! more or for none.
//!
//! An offer is held only for a host that is wanted (`wants`); everything else is declined at once
//! with an explicit filter: for an hour where nothing is to be done, else for a part of the time
//! until the host's turn. Sets of hosts are kept up to date with every change, so that settling
//! costs what changed and not what is held.

use std::collections::{BTreeMap, BTreeSet};

use crate::mesos::v1::scheduler::{Call, Decline, Filters, Roles};
use crate::mesos::v1::{Offer, OfferId};
use crate::words::{HostName, Time};

/// For how long an offer is declined that nothing is to be done with.
const DECLINE_SECONDS: u64 = 3600;
/// REVIVE is not sent more often.
const REVIVE_EVERY_MS: u64 = 5_000;
/// A wanted host that was not offered for so long: an offer was lost, or a filter is in force
/// that an earlier subscription left behind.
const REVIVE_LOST_MS: u64 = 60_000;
/// A filter that ends within this is waited for: REVIVE brings the offers of the whole fleet.
const REVIVE_WORTH_MS: u64 = 5_000;
/// For the same reason it is sent early only for one host in so many.
const REVIVE_WORTH_HOSTS: usize = 200;
/// An offer that comes so long after SUPPRESS was not on its way: the call was lost, or the master
/// takes no notice of `suppressed_roles`.
const SUPPRESS_LOST_MS: u64 = 5_000;
/// No offer is declined for less: Mesos allocates every second.
const DECLINE_LEAST_SECONDS: u64 = 1;

/// The offers of one subscription.
#[derive(Clone, Debug, Default)]
pub(super) struct Offers {
    held: BTreeMap<OfferId, Held>,
    by_host: BTreeMap<HostName, BTreeSet<OfferId>>,
    /// Until when Mesos does not offer what was declined.
    declined: BTreeMap<HostName, Time>,
    /// Hosts whose offers are held.
    wanted: BTreeSet<HostName>,
    /// Those of them that have none.
    lacking: BTreeSet<HostName>,
    /// Hosts with an offer that are not wanted.
    surplus: BTreeSet<HostName>,
    /// Hosts whose offers came or went since [`Self::take_moved`].
    moved: BTreeSet<HostName>,
    suppressed: bool,
    /// When that was said last.
    suppressed_at: Time,
    /// Wanted hosts that were asked for in vain, and those that have come to it or ceased to be
    /// since [`Self::take_starving_moved`].
    starving: BTreeSet<HostName>,
    starving_moved: bool,
    revived: Option<Time>,
    /// When the wanted hosts without an offer were noted last, and those of them that still have
    /// none.
    noted: Option<Time>,
    overdue: BTreeSet<HostName>,
    /// When a wanted host that lacks an offer is worth a REVIVE at the earliest.
    look: Option<Time>,
}

#[derive(Clone, Debug)]
struct Held {
    host: HostName,
    offer: Offer,
    /// A launch with it is being written down.
    promised: bool,
}

impl Offers {
    /// A new subscription: offers of the old one are void, its filters may or may not be.
    pub(super) fn reset(&mut self, suppressed: bool) {
        let mut moved = std::mem::take(&mut self.moved);
        moved.extend(std::mem::take(&mut self.by_host).into_keys());
        let wanted = std::mem::take(&mut self.wanted);
        let look = Some(Time(0));
        let lacking = wanted.clone();
        let suppressed_at = self.suppressed_at;
        let starving = std::mem::take(&mut self.starving);
        *self = Self {
            wanted,
            lacking,
            moved,
            suppressed,
            suppressed_at,
            starving,
            look,
            ..Self::default()
        };
    }

    pub(super) fn suppressed(&self) -> bool {
        self.suppressed
    }

    pub(super) fn add(&mut self, host: HostName, offer: Offer, now: Time) {
        if self.suppressed && now.since(self.suppressed_at) >= SUPPRESS_LOST_MS {
            // It is said again as soon as nothing is wanted.
            self.suppressed = false;
        }
        self.declined.remove(&host);
        self.by_host.entry(host.clone()).or_default().insert(offer.id.clone());
        self.moved.insert(host.clone());
        self.file(&host);
        self.held.insert(offer.id.clone(), Held { host, offer, promised: false });
    }

    /// The offer is not valid any more, or was used.
    pub(super) fn remove(&mut self, id: &OfferId) -> Option<HostName> {
        let Held { host, .. } = self.held.remove(id)?;
        if let Some(ids) = self.by_host.get_mut(&host) {
            ids.remove(id);
            if ids.is_empty() {
                self.by_host.remove(&host);
            }
        }
        self.moved.insert(host.clone());
        self.file(&host);
        Some(host)
    }

    /// The offer is used. What it leaves of its agent is not offered again for so long.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to an hour")]
    pub(super) fn used(&mut self, id: &OfferId, refuse_seconds: f64, now: Time) {
        if let Some(host) = self.remove(id) {
            self.declined.insert(host, now.plus_secs(refuse_seconds as u64));
        }
    }

    /// The offers of a host that nothing was promised with.
    pub(super) fn of(&self, host: &HostName) -> impl Iterator<Item = &Offer> {
        let ids = self.by_host.get(host).into_iter().flatten();
        ids.filter_map(|id| self.held.get(id)).filter(|held| !held.promised).map(|h| &h.offer)
    }

    pub(super) fn has(&self, host: &HostName) -> bool {
        self.by_host.contains_key(host)
    }

    /// Keeps an offer for a launch that is being written down.
    pub(super) fn promise(&mut self, id: &OfferId) {
        if let Some(held) = self.held.get_mut(id) {
            held.promised = true;
        }
    }

    /// What was being written down was not: its offers are free again, but for those that are kept.
    pub(super) fn break_promises(&mut self, kept: &BTreeSet<OfferId>) {
        let broken = |(id, held): &(&OfferId, &mut Held)| held.promised && !kept.contains(*id);
        let mut free = BTreeSet::new();
        for (_, held) in self.held.iter_mut().filter(broken) {
            held.promised = false;
            free.insert(held.host.clone());
        }
        for host in free {
            self.file(&host);
            self.moved.insert(host);
        }
    }

    pub(super) fn is_held(&self, id: &OfferId) -> bool {
        self.held.contains_key(id)
    }

    // --- what is wanted --------------------------------------------------------------------

    /// Whether the host's offers are held from now on.
    pub(super) fn want(&mut self, host: &HostName, wanted: bool) {
        let changed = if wanted {
            !self.wanted.contains(host) && self.wanted.insert(host.clone())
        } else {
            self.wanted.remove(host)
        };
        if changed {
            self.file(host);
        }
    }

    /// Nobody's offers are wanted any more, until somebody says so.
    pub(super) fn want_none(&mut self) {
        self.wanted.clear();
        self.lacking.clear();
        self.overdue.clear();
        self.starving.clear();
        self.surplus = self.by_host.keys().cloned().collect();
    }

    pub(super) fn wants_none(&self) -> bool {
        self.wanted.is_empty()
    }

    /// Hosts whose offers came or went.
    pub(super) fn take_moved(&mut self) -> BTreeSet<HostName> {
        std::mem::take(&mut self.moved)
    }

    /// Hosts whose offers are going to be declined.
    pub(super) fn surplus(&self) -> &BTreeSet<HostName> {
        &self.surplus
    }

    fn file(&mut self, host: &HostName) {
        let (wanted, offered) = (self.wanted.contains(host), self.by_host.contains_key(host));
        if wanted && !offered {
            if self.lacking.insert(host.clone()) {
                self.look = Some(Time(0));
            }
        } else {
            self.lacking.remove(host);
            self.overdue.remove(host);
            self.starving_moved |= self.starving.remove(host);
        }
        if offered && !wanted {
            self.surplus.insert(host.clone());
        } else {
            self.surplus.remove(host);
        }
    }

    // --- calls -----------------------------------------------------------------------------

    /// Gives back what is not wanted, and asks for what is. `later` says of hosts whose turn
    /// comes later in how many seconds their offers are wanted again. Gives the calls in their
    /// order.
    pub(super) fn settle(
        &mut self,
        later: &BTreeMap<HostName, u64>,
        fleet: usize,
        now: Time,
    ) -> Vec<Call> {
        let mut calls = self.decline(later, now);
        if self.should_revive(fleet, now) {
            self.suppressed = false;
            self.revived = Some(now);
            self.note_overdue(now);
            self.declined.clear();
            self.look = Some(now.plus_ms(REVIVE_LOST_MS));
            calls.push(Call::Revive(Roles::default()));
        }
        calls
    }

    /// Asks for no offers, if that was not said yet.
    pub(super) fn suppress(&mut self, now: Time) -> Option<Call> {
        if self.suppressed || !self.held.is_empty() || !self.wanted.is_empty() {
            return None;
        }
        self.suppressed = true;
        self.suppressed_at = now;
        Some(Call::Suppress(Roles::default()))
    }

    fn decline(&mut self, later: &BTreeMap<HostName, u64>, now: Time) -> Vec<Call> {
        let mut groups: BTreeMap<u64, Vec<OfferId>> = BTreeMap::new();
        for host in &self.surplus {
            let ids = self.by_host.get(host).into_iter().flatten();
            let free = ids.filter(|id| self.held.get(id).is_some_and(|held| !held.promised));
            let seconds = later.get(host).copied().unwrap_or(DECLINE_SECONDS);
            let group = groups.entry(seconds.max(DECLINE_LEAST_SECONDS)).or_default();
            group.extend(free.cloned());
        }
        groups.retain(|_, offers| !offers.is_empty());
        let mut calls = Vec::with_capacity(groups.len());
        for (seconds, offer_ids) in groups {
            for id in &offer_ids {
                if let Some(host) = self.remove(id) {
                    self.declined.insert(host, now.plus_secs(seconds));
                }
            }
            #[expect(clippy::cast_precision_loss, reason = "at most an hour")]
            let filters = Some(Filters { refuse_seconds: seconds as f64 });
            calls.push(Call::Decline(Decline { offer_ids, filters }));
        }
        calls
    }

    /// Whether a wanted host waits for an offer that Mesos will not make by itself: offers are
    /// suppressed, or filtered, or one was lost on the way. `fleet` is how many hosts would be
    /// offered.
    fn should_revive(&mut self, fleet: usize, now: Time) -> bool {
        if self.lacking.is_empty() || self.look.is_none_or(|look| look > now) {
            return false;
        }
        // Filters of an earlier subscription may have survived it, and nobody knows of them.
        let first = self.revived.is_none();
        let patience = if first { REVIVE_EVERY_MS } else { REVIVE_LOST_MS };
        let long_ago = self.noted.is_none_or(|noted| now.since(noted) >= patience);
        let lost = long_ago && !self.overdue.is_empty();
        if lost && !first && !self.overdue.is_subset(&self.starving) {
            self.starving.extend(self.overdue.iter().cloned());
            self.starving_moved = true;
        }
        if long_ago && !lost {
            self.note_overdue(now);
        }
        let hidden = |host: &&HostName| {
            self.declined.get(*host).is_some_and(|until| *until > now.plus_ms(REVIVE_WORTH_MS))
        };
        let hidden = self.lacking.iter().filter(hidden).count();
        let worth_it = hidden * REVIVE_WORTH_HOSTS >= fleet || hidden * 4 >= self.wanted.len();
        let revive = self.suppressed || lost || (hidden > 0 && worth_it);
        let earliest = self.revived.map_or(now, |at| at.plus_ms(REVIVE_EVERY_MS));
        let next_note = self.noted.map(|noted| noted.plus_ms(patience));
        self.look = if revive { Some(earliest) } else { next_note };
        revive && earliest <= now
    }

    fn note_overdue(&mut self, now: Time) {
        self.noted = Some(now);
        self.overdue.clone_from(&self.lacking);
    }

    /// The clock has gone back: nobody knows how long ago anything was, or until when it is declined.
    pub(super) fn hurry(&mut self, now: Time) {
        (self.revived, self.noted) = (None, None);
        self.suppressed_at = self.suppressed_at.min(now);
        self.look = Some(Time(0));
    }

    /// Every offer that is held.
    pub(super) fn all(&self) -> impl Iterator<Item = &Offer> {
        self.held.values().map(|held| &held.offer)
    }

    /// Takes SUPPRESS back, if it was said.
    pub(super) fn ask_again(&mut self, now: Time) -> Option<Call> {
        if !std::mem::take(&mut self.suppressed) {
            return None;
        }
        self.revived = Some(now);
        self.declined.clear();
        Some(Call::Revive(Roles::default()))
    }

    /// Wanted hosts that were asked for in vain for more than a minute.
    pub(super) fn starving(&self) -> &BTreeSet<HostName> {
        &self.starving
    }

    /// Whether they are others than at the last look.
    pub(super) fn take_starving_moved(&mut self) -> bool {
        std::mem::take(&mut self.starving_moved)
    }

    /// Whether what was declined there is not offered again yet.
    pub(super) fn is_declined(&self, host: &HostName, now: Time) -> bool {
        self.declined.get(host).is_some_and(|until| *until > now)
    }

    /// When [`Self::settle`] has something to do without any event.
    pub(super) fn next_wake(&self) -> Option<Time> {
        self.look.filter(|_| !self.lacking.is_empty())
    }
}
