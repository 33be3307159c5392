//! What people hold back: followed in etcd, and held against every attempt that is ordered there.
//!
//! A leader knows of what stands in etcd only when it has been told, decides by its own clock, and
//! its transaction may be under way for a while: so much is allowed for, and no more.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::History;
use super::laws::{Breach, Law};
use crate::budget::slot::{Slot, SlotState};
use crate::desired::{Desired, DrainMode, HostSpec, Promote, Start};
use crate::mesos::agents::away;
use crate::observed::tasks::HostTasks;
use crate::plan::canary::{Canaries, CanaryPhase, due};
use crate::plan::control::{Control, Controls, Scope};
use crate::plan::notice::{Notice, Window};
use crate::plan::window::{Opening, opening};
use crate::rollout::records::{RolloutState, Stage};
use crate::sim::run::World;
use crate::sim::run::people::{People, Says};
use crate::store::{Entry, Key};
use crate::words::{Attempt, Generation, HostName, Revision, Time};

/// A transaction is carried out so long after it was decided at most: a leader that is cut off for
/// longer is none any more. Answers of gates are good for five seconds of it.
const UNDER_WAY_MS: u64 = 15_000;

/// What holds.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Else all that people do is in the documents, and nothing is judged here.
    steered: bool,
    people: People,
    /// How far the leaders' clocks may be off, in milliseconds.
    skew_ms: u64,
    desired: Option<Arc<Desired>>,
    specs: BTreeMap<HostName, Arc<HostSpec>>,
    generation: Generation,
    state: Option<RolloutState>,
    controls: Controls,
    /// Pauses: when they were written, and since when leaders know of them.
    pauses: BTreeMap<String, (Revision, Option<Time>)>,
    slots: BTreeMap<HostName, Slot>,
    /// The newest attempt that was ordered.
    newest: Attempt,
    notices: BTreeMap<HostName, Window>,
    /// Notices that a backup does not know: whoever leads next cannot tell whose they are.
    lost_notices: BTreeMap<HostName, Window>,
    /// What was ordered before etcd was put back is not judged: not before this.
    judged_from: Time,
}

/// How an attempt came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// It takes a slot.
    New,
    /// The host has held its slot before.
    Again,
    /// It disrupts nothing.
    Live,
}

impl Held {
    pub(super) fn new(history: &History) -> Self {
        let (people, skew_ms) = (history.people.clone(), history.skew_ms());
        Self { steered: history.steered, people, skew_ms, ..Self::default() }
    }

    /// etcd is another one: all of it comes anew.
    pub(super) fn start_over(&mut self, now: Time) {
        let (steered, skew_ms) = (self.steered, self.skew_ms);
        let people = std::mem::take(&mut self.people);
        let judged_from = now.plus_ms(UNDER_WAY_MS);
        let mut lost_notices = std::mem::take(&mut self.lost_notices);
        lost_notices.append(&mut self.notices);
        *self = Self { steered, people, skew_ms, lost_notices, judged_from, ..Self::default() };
    }

    pub(super) fn in_force(
        &mut self,
        generation: Generation,
        desired: &Arc<Desired>,
        specs: BTreeMap<HostName, Arc<HostSpec>>,
    ) {
        self.generation = generation;
        self.desired = Some(Arc::clone(desired));
        self.specs = specs;
    }

    pub(super) fn deleted(&mut self, key: &Key) {
        match key {
            Key::Slot(host) => drop(self.slots.remove(host)),
            Key::Notice(host) => drop(self.notices.remove(host)),
            Key::Control(path) => {
                self.pauses.remove(path);
                if let Some(control) = Control::parse(path) {
                    self.controls.delete(&control);
                }
            }
            _ => {}
        }
    }

    /// Something was written. Gives what is broken by it.
    pub(super) fn put(&mut self, world: &World, entry: &Entry) -> Result<(), Breach> {
        if !self.steered {
            return Ok(());
        }
        match &entry.key {
            Key::Slot(host) => {
                if let Ok(slot) = serde_json::from_str(&entry.value) {
                    self.slots.insert(host.clone(), slot);
                }
            }
            Key::Notice(host) => {
                if let Ok(notice) = serde_json::from_str::<Notice>(&entry.value) {
                    self.lost_notices.retain(|_, lost| *lost != notice.window);
                    self.notices.insert(host.clone(), notice.window);
                }
            }
            Key::Control(path) => {
                let Some(control) = Control::parse(path) else { return Ok(()) };
                if let Control::Paused(_) = control {
                    self.pauses.insert(path.clone(), (entry.mod_revision, None));
                }
                // What cannot be read is not there: people wrote it, by the product's own hand.
                let _ = self.controls.put(control, &entry.value);
            }
            Key::RolloutState => {
                let state = serde_json::from_str(&entry.value).ok();
                let before = std::mem::replace(&mut self.state, state);
                if world.now() >= self.judged_from && self.promotes_early(before.as_ref()) {
                    let what = "canaries are promoted that nobody promotes, or not yet";
                    return Err(Breach::new(Law::Canary, world, what));
                }
            }
            Key::Tasks(host) => {
                let Ok(tasks) = serde_json::from_str::<HostTasks>(&entry.value) else {
                    return Ok(());
                };
                let attempts = tasks.tasks.values().filter_map(|task| task.attempt);
                let newest = attempts.max().filter(|attempt| *attempt > self.newest);
                if let Some(attempt) = newest {
                    self.newest = attempt;
                    self.ordered(world, host, attempt)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Notes which pauses leaders have been told of.
    pub(super) fn look(&mut self, world: &World) {
        for (revision, known) in self.pauses.values_mut().filter(|(_, known)| known.is_none()) {
            *known = world.leaders_know(*revision).then(|| world.now());
        }
    }

    fn ordered(&self, world: &World, host: &HostName, attempt: Attempt) -> Result<(), Breach> {
        if world.now() < self.judged_from {
            return Ok(());
        }
        let slot = self.slots.get(host).filter(|slot| slot.attempt == attempt);
        let order = match slot.map(|slot| &slot.state) {
            None => Order::Live,
            Some(SlotState::Reserved) => Order::New,
            Some(SlotState::Held { .. }) => Order::Again,
        };
        match self.against(world, host, order) {
            Some((law, why)) => {
                let what = format!("attempt {attempt} of {host} ({order:?}) is ordered: {why}");
                Err(Breach::new(law, world, what))
            }
            None => Ok(()),
        }
    }

    /// What an attempt that is ordered now breaks.
    fn against(&self, world: &World, host: &HostName, order: Order) -> Option<(Law, String)> {
        let desired = self.desired.as_ref()?;
        let rollout = &desired.cluster.spec.rollout;
        if rollout.start == Start::Approved && !self.controls.approves(self.generation) {
            return Some((Law::Approved, format!("generation {} is not", self.generation)));
        }
        if self.is_paused(host, |known| world.now().since(known) > UNDER_WAY_MS) {
            return Some((Law::Paused, "it is paused, as leaders know".to_owned()));
        }
        if order != Order::Live && self.windows_stay_closed(host, world.now()) {
            return Some((Law::Windows, "all windows are closed".to_owned()));
        }
        if order == Order::Again {
            return None;
        }
        if desired.excludes(host) {
            return Some((Law::Halt, "it is excluded".to_owned()));
        }
        if let Some((_, canaries)) = self.canaries()
            && !canaries.hosts.contains(host)
        {
            return Some((Law::Canary, format!("{:?} go first", canaries.hosts)));
        }
        if order == Order::Live {
            return None;
        }
        let at = world.elapsed_ms();
        let from = at.saturating_sub(UNDER_WAY_MS + self.skew_ms);
        if !rollout.gates.is_empty() && self.people.kept_closed(from, at) {
            return Some((Law::Gates, format!("no gate was open since {from} ms")));
        }
        let latest = world.now().plus_ms(self.skew_ms);
        if rollout.drain.mode == DrainMode::Maintenance && !is_announced(world, host, latest) {
            return Some((
                Law::Notices,
                "the frameworks have not been told, or not yet".to_owned(),
            ));
        }
        None
    }

    /// Whether people or documents hold back what has not begun on a host. `counts` says whether a
    /// pause that leaders know of since then does.
    fn is_paused(&self, host: &HostName, counts: impl Fn(Time) -> bool) -> bool {
        let Some(spec) = self.specs.get(host) else { return false };
        let pools = spec.pools.iter().cloned().map(Scope::Pool);
        let scopes = [Scope::Cluster, Scope::Host(host.clone())].into_iter().chain(pools);
        let mut pauses = scopes.filter_map(|scope| self.pauses.get(&Control::Paused(scope).path()));
        spec.rollout.paused_by.is_some() || pauses.any(|(_, known)| known.is_some_and(&counts))
    }

    /// By every clock that a leader may have had since it decided.
    fn windows_stay_closed(&self, host: &HostName, now: Time) -> bool {
        let Some(spec) = self.specs.get(host) else { return false };
        let from = Time(now.0.saturating_sub(UNDER_WAY_MS + self.skew_ms));
        let to = now.plus_ms(self.skew_ms);
        match opening(&spec.rollout.windows, from) {
            Opening::Open { .. } => false,
            Opening::Closed { until } => until.is_none_or(|until| until > to),
        }
    }

    /// Those that go first while the others wait, and what ends that.
    fn canaries(&self) -> Option<(Promote, Canaries)> {
        let rollout = &self.desired.as_ref()?.cluster.spec.rollout;
        let state = self.state.as_ref().filter(|state| state.generation == self.generation)?;
        let open = !matches!(state.stage, Stage::Done { .. });
        let asked = self.controls.promotes(self.generation);
        match CanaryPhase::of(rollout, open, state.canary.as_ref(), asked) {
            CanaryPhase::Only(canary, chosen) => {
                Some((canary.promote, chosen.cloned().unwrap_or_default()))
            }
            CanaryPhase::Over => None,
        }
    }

    /// Whether canaries are promoted by what was written last, though nobody has asked for it and
    /// their time is not over.
    fn promotes_early(&self, before: Option<&RolloutState>) -> bool {
        let Some((state, canaries)) = self.state.as_ref().and_then(with_canaries) else {
            return false;
        };
        let before = before.filter(|before| before.generation == state.generation);
        let known = before.and_then(with_canaries).and_then(|(_, canaries)| canaries.promoted);
        let rules = self.desired.as_ref().and_then(|it| it.cluster.spec.rollout.canary.as_ref());
        let (Some(promoted), None, Some(rules)) = (canaries.promoted, known, rules) else {
            return false;
        };
        let stable = canaries.stable.filter(|_| rules.promote == Promote::Automatic);
        let by_itself = stable.is_some_and(|stable| due(rules, stable) <= promoted);
        !by_itself && !self.controls.promotes(state.generation)
    }

    // --- the end ---------------------------------------------------------------------------

    /// Whether people hold a host back for good.
    pub(super) fn rests(&self, host: &HostName) -> bool {
        self.is_paused(host, |_| true)
    }

    /// Whether the documents leave a host out.
    pub(super) fn excludes(&self, host: &HostName) -> bool {
        self.desired.as_ref().is_some_and(|desired| desired.excludes(host))
    }

    /// Whether the frameworks are told of the host by a notice that a restore has lost.
    pub(super) fn is_told_by_nobody(&self, world: &World, host: &HostName) -> bool {
        let lost = self.lost_notices.get(host).map(Window::away);
        lost.is_some_and(|lost| world.cluster().announced(host).map(away) == Some(lost))
    }

    /// Whether a host that holds a slot is held back for good: others may wait for it.
    pub(super) fn keeps_a_slot(&self, world: &World) -> bool {
        self.slots.keys().any(|host| {
            self.rests(host) || self.waits_for_approval() || self.is_told_by_nobody(world, host)
        })
    }

    /// Whether the budget of the cluster, or of the host's pool, starts none.
    pub(super) fn starts_none(&self, host: &HostName) -> bool {
        let Some(desired) = &self.desired else { return false };
        let pool = self.specs.get(host).and_then(|spec| spec.rollout.pool_limit.as_ref());
        let of_pool = pool.is_some_and(|own| own.limit.of(self.specs.len()) == 0);
        let rollout = &desired.cluster.spec.rollout;
        of_pool || rollout.max_concurrent_restarts.of(self.specs.len()) == 0
    }

    /// Whether nobody is there who would approve.
    pub(super) fn waits_for_approval(&self) -> bool {
        let rollout = self.desired.as_ref().map(|desired| &desired.cluster.spec.rollout);
        rollout.is_some_and(|rollout| rollout.start == Start::Approved)
            && self.people.approves.is_none()
            && !self.controls.approves(self.generation)
    }

    /// Whether the others wait for canaries for good: nobody is there who would promote them, or one
    /// of those is not `well`.
    pub(super) fn waits_for_canaries(&self, well: impl Fn(&HostName) -> bool) -> bool {
        self.canaries().is_some_and(|(promote, canaries)| {
            let nobody = promote == Promote::Manual && self.people.approves.is_none();
            nobody || !canaries.hosts.iter().all(well)
        })
    }

    /// Whether gates are closed at the end.
    pub(super) fn waits_for_gates(&self) -> bool {
        let gates = |desired: &Arc<Desired>| !desired.cluster.spec.rollout.gates.is_empty();
        self.desired.as_ref().is_some_and(gates) && self.people.gates_say(u64::MAX) != Says::Yes
    }
}

fn with_canaries(state: &RolloutState) -> Option<(&RolloutState, &Canaries)> {
    Some((state, state.canary.as_ref()?))
}

/// Whether the frameworks were told that the machine is away by then, by whomever.
fn is_announced(world: &World, host: &HostName, latest: Time) -> bool {
    let away = world.cluster().announced(host);
    let latest = i128::from(latest.0) * 1_000_000;
    away.is_some_and(|away| i128::from(away.start.nanoseconds) <= latest)
}
