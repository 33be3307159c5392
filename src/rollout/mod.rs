//! The controller as a state machine: events are folded, a pass decides, effects come out. No
//! I/O, no clock, no randomness: the same events at the same times give the same effects.
//!
//! - [`event`]: what goes in and what comes out.
//! - `fold`, with `listing` for the store and `updates` for tasks: each event put to where it
//!   belongs; marks what has to be looked at again.
//! - `pass`: one pass over what changed and over the candidates, in the order: accept documents,
//!   assess hosts, judge slots, start work (`start`, `dispatch`), offers (`wants`).
//! - `desire`, `control`, `canary`, `gates`, `host`, `slots`, `launch`, `tasks`, `offers`, `cut`, `backwards`,
//!   `teardown`, `starving`, `maintenance`, `members`, `notices`, `reconcile`, `restored`, `sight`, `ledger`: one matter each.
//! - [`records`]: what is kept in etcd.
//!
//! Invariants: nothing is launched that is not written down; nothing that disrupts is launched
//! without a slot reserved in the same transaction; a yes is sent only after its commit; every
//! write compares the leader key.

mod attempts;
mod backwards;
mod canary;
pub mod config;
mod control;
mod cut;
mod desire;
mod dispatch;
pub mod event;
mod fold;
mod gates;
mod host;
mod launch;
mod ledger;
mod listing;
mod maintenance;
mod members;
mod notices;
mod offers;
mod pass;
mod reconcile;
pub mod records;
mod restored;
mod sight;
mod slots;
mod start;
mod starving;
mod tasks;
mod teardown;
mod updates;
mod wants;

use std::collections::{BTreeMap, BTreeSet};

use crate::budget::books::Untrue;
use crate::budget::pace::{Permits, permits};
use crate::budget::slot::{Guard, Slot};
use crate::desired::Rollout;
use crate::mesos::v1::{FrameworkId, OfferId};
use crate::plan::canary::First;
use crate::plan::control::Controls;
use crate::plan::gate::{Limits, Phase};
use crate::plan::{FleetView, Plan};
use crate::words::{AgentId, Generation, HostName, Revision, TaskId, TaskKind, Time};

use config::Config;
use desire::Desire;
pub use desire::sources;
use event::{Effect, Event, Level, Note};
use gates::Gates;
use host::Hosts;
use launch::Launch;
use ledger::Ledger;
use maintenance::AskedBack;
use members::Etcd;
use notices::Notices;
use offers::Offers;
use reconcile::Reconciliation;
use records::{Measures, RolloutState, Stage};
use restored::Restored;
use wants::{Places, Wants};

/// The controller.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own, none excludes another"
)]
pub struct Controller {
    config: Config,
    /// The leader key's create revision while this process leads.
    leading: Option<Revision>,
    /// Everything in the store is known.
    listed: bool,
    session: Session,
    framework: Option<FrameworkId>,
    framework_saved: bool,
    desire: Desire,
    hosts: Hosts,
    /// Slots of hosts that nothing else is known of (somebody deleted their record): they count,
    /// and are the host's again when its agent is listed.
    stray_slots: BTreeMap<HostName, (Slot, Revision)>,
    /// Which host and kind a task is of.
    task_index: BTreeMap<TaskId, (HostName, TaskKind)>,
    /// Tasks that replaced ones have to make place for: by the old task.
    agents: BTreeMap<AgentId, HostName>,
    launching: BTreeMap<HostName, Launching>,
    guard: Option<(Guard, Revision)>,
    state: Option<RolloutState>,
    /// What operators ask for beside the documents.
    controls: Controls,
    /// The numbers of the entries of the history.
    history: BTreeSet<u64>,
    /// A record that cannot be read, as a sentence: nothing is begun, written or said to Mesos, since
    /// any of it may rest on what that record says.
    unreadable: Option<String>,
    /// The records of slots do not fit together; nothing starts.
    broken: Option<String>,
    /// The records of slots are those of a backup; nothing starts.
    restored: Option<Restored>,
    /// The cluster ID of etcd.
    cluster: String,
    /// The newest revision of it that was seen.
    newest: Revision,
    offers: Offers,
    /// Why wanted hosts get no offers is to be found out anew.
    explain_starving: bool,
    /// Inverse offers that are to be answered.
    asked_back: BTreeMap<OfferId, AskedBack>,
    wants: Wants,
    places: Places,
    /// Something was folded that a pass has to look at.
    dirty: bool,
    reconciliation: Reconciliation,
    ledger: Ledger,
    measures: Measures,
    next_poll: Option<Time>,
    last_poll: Option<Time>,
    /// When the last pass was, by the clock of then.
    last_pass: Time,
    /// The last list of agents brought no new one.
    agents_known: bool,
    /// The master does not let us list its agents: they are learned from offers.
    sightless: bool,
    /// Roles that this master gives us no offers for.
    given_up: Vec<String>,
    next_sweep: Time,
    /// Before this no observer of another release is replaced.
    next_foreign: Time,
    /// Who goes first, while not all may move.
    first: Option<First>,
    /// When the others may follow by themselves.
    canaries_due: Option<Time>,
    gates: Gates,
    /// What the frameworks are told before their hosts are disrupted.
    notices: Notices,
    /// When the members of our etcd were asked, and are to be asked.
    etcd: Etcd,
    /// When hosts that are to forget us, or a master that is to, are told again.
    farewell_due: Option<Time>,
    /// When the pace admits one more, if that is what the line waits for.
    next_permit: Option<Time>,
    tasks_made: u64,
    effects: Vec<Effect>,
}

/// A launch that waits for the task whose place it takes to end.
#[derive(Clone, Debug)]
struct Launching {
    launch: Launch,
    /// When the kills are repeated.
    again: Time,
}

/// How far the subscription is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Session {
    /// There is none.
    #[default]
    Off,
    /// Asked for.
    Opening,
    /// There is one; the agents are not listed yet.
    Open,
    /// There is one, and the agents are listed.
    Ready,
}

impl Controller {
    /// A controller that knows nothing yet.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            config,
            leading: None,
            listed: false,
            session: Session::Off,
            framework: None,
            framework_saved: false,
            desire: Desire::default(),
            hosts: Hosts::default(),
            stray_slots: BTreeMap::new(),
            task_index: BTreeMap::new(),
            agents: BTreeMap::new(),
            launching: BTreeMap::new(),
            guard: None,
            state: None,
            controls: Controls::default(),
            history: BTreeSet::new(),
            unreadable: None,
            broken: None,
            restored: None,
            cluster: String::new(),
            newest: Revision(0),
            offers: Offers::default(),
            explain_starving: false,
            asked_back: BTreeMap::new(),
            wants: Wants::default(),
            places: Places::default(),
            dirty: false,
            reconciliation: Reconciliation::default(),
            ledger: Ledger::default(),
            measures: Measures::default(),
            next_poll: None,
            last_poll: None,
            last_pass: Time(0),
            agents_known: false,
            sightless: false,
            given_up: Vec::new(),
            next_sweep: Time(0),
            next_foreign: Time(0),
            first: None,
            canaries_due: None,
            gates: Gates::default(),
            notices: Notices::default(),
            etcd: Etcd::default(),
            farewell_due: None,
            next_permit: None,
            tasks_made: 0,
            effects: Vec::new(),
        }
    }

    /// Folds an event. Decides nothing.
    pub fn handle(&mut self, event: Event, now: Time) {
        self.dirty |= self.fold(event, now);
    }

    /// Decides, for everything that was folded. Gives what is to be done, in its order.
    pub fn pass(&mut self, now: Time) -> Vec<Effect> {
        self.look_at_the_clock(now);
        let due = self.next_wake().is_some_and(|wake| wake <= now);
        if std::mem::take(&mut self.dirty) || due {
            self.decide(now);
        }
        std::mem::take(&mut self.effects)
    }

    /// When the next pass is due if nothing happens before.
    #[must_use]
    pub fn next_wake(&self) -> Option<Time> {
        if self.leading.is_none() || !self.listed || self.unreadable.is_some() {
            return None;
        }
        let session = matches!(self.session, Session::Open | Session::Ready);
        if self.has_ended() {
            return self.farewell_due.filter(|_| session);
        }
        let of_session = [
            self.farewell_due,
            self.reconciliation.next_wake(),
            self.next_poll,
            self.hosts.next_wake(),
            self.offers.next_wake(),
            self.launching.values().map(|launching| launching.again).min(),
            self.next_permit,
            self.canaries_due,
            self.notices.wake,
            self.etcd.wake,
            self.gates.next_wake().filter(|_| !self.hosts.line.is_empty()),
            (!self.hosts.all.is_empty()).then_some(self.next_sweep),
        ];
        let of_session = of_session.into_iter().filter(|_| session).flatten();
        of_session.chain(self.desire.next_look()).min()
    }

    /// The plan for the whole fleet, as `status` shows it. None before anything was accepted.
    pub fn plan(&self, now: Time) -> Option<Plan<'_>> {
        let rollout = self.rollout()?;
        let generation = self.desire.generation();
        let hosts = self.hosts.all.iter();
        let fleet = FleetView {
            hosts: hosts.filter_map(|(name, host)| Some((name, host.view(generation)?))).collect(),
            rollout,
            phase: self.phase(),
            canary: self.canary_phase(),
            asked: self.measures.asked(),
            permits: self.permits(now),
            own_host: self.config.own_host.as_ref(),
            mean_hold_seconds: self.measures.holds.mean_seconds(),
            now,
        };
        Some(crate::plan::plan(&fleet))
    }

    /// Compares the index, by which a pass decides, with a plan made from nothing. Right after a
    /// pass they say the same.
    ///
    /// # Errors
    ///
    /// What they differ in.
    pub fn index_agrees(&self, now: Time) -> Result<(), String> {
        let Some(plan) = self.plan(now) else { return Ok(()) };
        if !self.listed || !self.hosts.is_settled(now) {
            return Ok(());
        }
        for host in &plan.hosts {
            let waits = host.assessment.held.is_none() && host.assessment.work.disruptive;
            let indexed = (
                self.hosts.restless.contains(host.name),
                self.hosts.line.iter().any(|(_, name)| name == host.name),
            );
            if indexed != (!host.assessment.in_sync(), waits) {
                return Err(format!("{}: {indexed:?}, planned {:?}", host.name, host.assessment));
            }
        }
        let mut totals = crate::plan::totals(plan.hosts.iter().map(|host| (host.name, host.view)));
        totals.first_down.clear();
        totals.first_holders.clear();
        totals.pools.retain(|_, pool| *pool != crate::plan::gate::PoolTotals::default());
        let mut counted = self.hosts.totals.clone();
        counted.pools.retain(|_, pool| *pool != crate::plan::gate::PoolTotals::default());
        if counted == totals { Ok(()) } else { Err(format!("{counted:?}, planned {totals:?}")) }
    }

    /// When each host was last heard of; none for those on which there is nobody to be heard.
    pub fn heard(&self) -> impl ExactSizeIterator<Item = (&HostName, Option<Time>)> {
        let hosts = self.hosts.all.iter();
        hosts.map(|(name, host)| (name, (!host.is_mute()).then_some(host.heard)))
    }

    /// Mesos sends offers and updates, and its agents are listed.
    #[must_use]
    pub fn is_subscribed(&self) -> bool {
        self.session == Session::Ready
    }

    /// The generation that is in force; 0 before the first.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.desire.generation()
    }

    /// Why the documents in etcd are not in force, if they are not.
    #[must_use]
    pub fn refused(&self) -> Option<&str> {
        self.desire.refused.as_deref()
    }

    /// Nothing is to be done, and nothing is under way.
    #[must_use]
    pub fn is_quiet(&self, now: Time) -> bool {
        self.unrest(now).is_none()
    }

    /// What is under way or waited for, the first of it; none if nothing is.
    #[must_use]
    pub fn unrest(&self, now: Time) -> Option<&'static str> {
        let at_work = [
            (self.session != Session::Ready, "the subscription"),
            (self.desire.next_look().is_some(), "documents that are being edited"),
            (self.canaries_due.is_some_and(|at| at > now), "the time of the canaries"),
            (self.restored.is_some(), "the reports of all hosts"),
            (!self.hosts.busy.is_empty(), "work on hosts"),
            (!self.notices.is_empty(), "notices to the frameworks"),
            (self.reconciliation.next_wake().is_some(), "answers about tasks"),
            (!self.ledger.is_idle(), "answers of the store"),
            (!self.offers.suppressed(), "offers"),
        ];
        let under_way = at_work.into_iter().find_map(|(waits, what)| waits.then_some(what));
        under_way.or_else(|| self.hosts.await_a_time(now).then_some("a time that hosts wait for"))
    }

    fn rollout(&self) -> Option<&Rollout> {
        self.desire.accepted.as_ref().map(|in_force| &in_force.desired.cluster.spec.rollout)
    }

    fn phase(&self) -> Phase {
        if let Some(why) = self.unreadable.as_ref().or(self.broken.as_ref()) {
            return Phase::Halted { why: why.clone() };
        }
        if self.restored.is_some() {
            return Phase::Halted { why: Untrue::Restored.to_string() };
        }
        if self.desire.cluster_deleted() {
            let why = "the Cluster document was deleted; everything is held as it is".to_owned();
            return Phase::Halted { why };
        }
        match self.state.as_ref().map(|state| &state.stage) {
            Some(Stage::Halted { why }) => Phase::Halted { why: why.clone() },
            _ => self.rollout().map_or(Phase::Running, |rollout| {
                Phase::open(rollout, self.desire.generation(), &self.controls)
            }),
        }
    }

    fn limits(&self) -> Limits {
        let registered = self.hosts.totals.registered;
        self.rollout().map_or(Limits { slots: 0, max_unavailable: 0 }, |rollout| {
            Limits::of(rollout, registered)
        })
    }

    fn permits(&self, now: Time) -> Permits {
        let Some(rollout) = self.rollout() else { return Permits { now: 0, next: None } };
        let taken = self.guard.as_ref().map_or(&[][..], |(guard, _)| &guard.taken);
        permits(rollout.pace_for(self.limits().slots), taken, now)
    }

    fn note(&mut self, level: Level, host: Option<&HostName>, text: impl Into<String>) {
        self.effects.push(Effect::Note(Note { level, host: host.cloned(), text: text.into() }));
    }
}
