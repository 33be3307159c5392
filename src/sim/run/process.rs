//! A controller process in a run: the real state machine, and a model of the shell around it.

use crate::mesos::agents::agents_seen;
use crate::mesos::features::Features;
use crate::mesos::v1::FrameworkId;
use crate::mesos::v1::scheduler::{Call, Event as MesosEvent, Subscribe};
use crate::plan::members::Member;
use crate::plan::notice::ScheduleEdit;
use crate::rollout::Controller;
use crate::rollout::config::{Config, Delivery};
use crate::rollout::event::{Effect, Event, Level, TxnId};
use crate::rollout::records::to_json;
use crate::sim::mesos::ConnId;
use crate::store::LeaderRecord;
use crate::store::keys::{Key, Space};
use crate::store::txn::{LeaseId, Op, Outcome, StoreEvent, Txn};
use crate::words::{Revision, SpecHash, Time};

use super::plant::Plant;
use super::{ETCD_MS, START, World};

/// A leader's lease.
const LEASE_MS: u64 = 10_000;
/// A process that cannot reach Mesos tries again after this.
const AGAIN_MS: u64 = 1_000;
/// A call to Mesos, one way.
const CALL_MS: u64 = 1;
/// A transaction that etcd does not answer for so long is given up.
const ETCD_TIMEOUT_MS: u64 = 5_000;

/// Something that is due. `u64` is the incarnation of the process it belongs to: what was meant
/// for one that is dead is dropped.
#[derive(Clone, Debug)]
pub(super) enum Act {
    /// Something reaches the machine.
    Deliver(usize, u64, Box<Event>),
    /// The store carries out the next thing of a process' queue.
    Store(usize, u64),
    /// Changes reach a watcher.
    Watch(usize, u64),
    /// The process renews its lease, or stands for election.
    Lease(usize, u64),
    /// A call reaches the master.
    Call(usize, u64, ConnId, Box<Call>),
    /// A SUBSCRIBE reaches the master.
    Subscribe(usize, u64, Box<Subscribe>),
    /// The process asks for the agents.
    Poll(usize, u64),
    /// etcd tells its members.
    Members(usize, u64),
    /// An edit of the maintenance schedule reaches the master.
    Schedule(usize, u64, Box<ScheduleEdit>),
    /// The machine asked to be woken.
    Wake(usize, u64),
    /// A process starts again, or wakes up.
    Back(usize),
    /// etcd answers again.
    EtcdUp,
    /// etcd is backed up.
    Backup,
    /// The network is good again.
    NetworkGood,
    /// A fault happens.
    Fault(usize),
    /// A fault is over.
    FaultOver,
    /// The operator edits.
    Edit(usize),
    /// Somebody asks for something.
    Request(usize),
    /// Whoever approves looks in.
    LookIn,
}

// Acts are ordered by time and sequence only, which are unique.
impl PartialEq for Act {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
impl Eq for Act {}
impl PartialOrd for Act {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Act {
    fn cmp(&self, _: &Self) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}

/// Whether a process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Running,
    Dead,
    /// It stands still; what reaches it waits.
    Paused,
}

/// What a process has asked of the store and not got yet.
#[derive(Clone, Debug)]
enum Ask {
    Txn(TxnId, Box<Txn>, Time),
    List,
}

/// A controller process.
#[derive(Debug)]
pub(super) struct Process {
    pub machine: Controller,
    life: Life,
    incarnation: u64,
    lease: Option<LeaseId>,
    /// The leader key's create revision, while the process believes to lead.
    leads: Option<Revision>,
    asks: std::collections::VecDeque<Ask>,
    store_busy: bool,
    watched: Option<Revision>,
    /// What it watches is going to be looked at.
    watch_due: bool,
    conn: Option<(ConnId, Option<FrameworkId>, String)>,
    /// When its last stream ended by itself.
    closed_at: Time,
    woken_for: Option<Time>,
    stalled: Vec<Act>,
    dirty: bool,
    /// By how many milliseconds its clock is ahead.
    ahead_ms: i64,
    /// It does not reach etcd, or the master, until then.
    etcd_cut_until: Time,
    master_cut_until: Time,
}

impl Process {
    pub(super) fn leads(&self) -> bool {
        self.life == Life::Running && self.leads.is_some()
    }

    /// What was written at this revision has reached it.
    pub(super) fn knows(&self, revision: Revision) -> bool {
        self.watched.is_some_and(|watched| watched >= revision)
    }

    /// The time by its clock.
    pub(super) fn clock(&self, now: Time) -> Time {
        Time(now.0.saturating_add_signed(self.ahead_ms))
    }

    /// When its clock shows this time.
    fn when(&self, shown: Time) -> Time {
        Time(shown.0.saturating_add_signed(-self.ahead_ms))
    }
}

/// The one member of the modelled etcd, which is on none of the hosts.
fn elsewhere() -> Member {
    Member { name: "etcd".to_owned(), ..Member::default() }
}

fn config(number: usize) -> Config {
    Config {
        name: format!("controller-{number}"),
        framework_name: "calico-dcos".to_owned(),
        principal: None,
        roles: vec!["*".to_owned(), "slave_public".to_owned()],
        own_host: None,
        webui_url: None,
        delivery: Delivery {
            url: "http://controller.invalid/artifact/calico-dcos".to_owned(),
            digest: SpecHash::of(b"calico-dcos"),
        },
    }
}

impl World {
    pub(super) fn start_process(&mut self, at: Time) {
        let number = self.processes.len();
        let ahead_ms = self.plant.map_or(0, Plant::is_ahead);
        self.processes.push(Process {
            machine: Controller::new(config(number)),
            life: Life::Running,
            incarnation: 0,
            lease: None,
            leads: None,
            asks: std::collections::VecDeque::new(),
            store_busy: false,
            watched: None,
            watch_due: false,
            conn: None,
            closed_at: Time(0),
            woken_for: None,
            stalled: Vec::new(),
            dirty: false,
            ahead_ms,
            etcd_cut_until: Time(0),
            master_cut_until: Time(0),
        });
        self.later(at, Act::Lease(number, 0));
    }

    pub(super) fn act(&mut self, act: Act) {
        let owner = match &act {
            Act::Deliver(at, incarnation, _)
            | Act::Watch(at, incarnation)
            | Act::Lease(at, incarnation)
            | Act::Wake(at, incarnation)
            | Act::Poll(at, incarnation)
            | Act::Members(at, incarnation)
            | Act::Subscribe(at, incarnation, _) => Some((*at, *incarnation)),
            // What has left the process happens whatever becomes of it.
            _ => None,
        };
        if let Some((at, incarnation)) = owner {
            let process = &mut self.processes[at];
            if process.incarnation != incarnation || process.life == Life::Dead {
                return;
            }
            if process.life == Life::Paused {
                process.stalled.push(act);
                return;
            }
        }
        match act {
            Act::Deliver(at, _, event) => self.hand(at, *event),
            Act::Store(at, incarnation) => self.store_next(at, incarnation),
            Act::Watch(at, _) => self.watch(at),
            Act::Lease(at, _) => self.lease(at),
            Act::Call(at, incarnation, conn, call) => self.call(at, incarnation, conn, *call),
            Act::Subscribe(at, _, subscribe) => self.subscribe(at, *subscribe),
            Act::Poll(at, _) => self.poll(at),
            Act::Members(at, _) => self.hand(at, Event::Members(Ok(vec![elsewhere()]))),
            Act::Schedule(at, incarnation, edit) => self.edit_schedule(at, incarnation, &edit),
            Act::Wake(at, _) => {
                self.processes[at].woken_for = None;
                self.processes[at].dirty = true;
            }
            Act::Back(at) => self.back(at),
            Act::EtcdUp => self.etcd_up = true,
            Act::Backup => self.backup = Some(self.etcd.clone()),
            Act::NetworkGood => {
                self.town
                    .cluster
                    .set_network(self.now, crate::sim::mesos::NetworkFaults::default());
            }
            Act::Fault(at) => self.fault(at),
            Act::FaultOver => self.ahead -= 1,
            Act::Edit(at) => self.edit(at),
            Act::Request(at) => self.request(at),
            Act::LookIn => self.look_in(),
        }
    }

    fn hand(&mut self, at: usize, event: Event) {
        let event = match self.plant {
            Some(plant) => plant.told(event),
            None => event,
        };
        let process = &mut self.processes[at];
        let now = process.clock(self.now);
        process.machine.handle(event, now);
        process.dirty = true;
    }

    /// Lets a process decide, and carries out what it decided.
    pub(super) fn decide(&mut self, at: usize) {
        let process = &mut self.processes[at];
        if process.life != Life::Running || !std::mem::take(&mut process.dirty) {
            return;
        }
        let now = process.clock(self.now);
        let effects = process.machine.pass(now);
        self.passes += 1;
        for effect in effects {
            self.carry_out(at, effect);
        }
        let process = &mut self.processes[at];
        if let Some(wake) = process.machine.next_wake() {
            let late = self.plant.map_or(0, Plant::oversleeps);
            let wake = process.when(wake).max(self.now.plus_ms(1)).plus_ms(late);
            if process.woken_for.is_none_or(|earlier| earlier > wake) {
                process.woken_for = Some(wake);
                let incarnation = process.incarnation;
                self.later(wake, Act::Wake(at, incarnation));
            }
        }
    }

    fn carry_out(&mut self, at: usize, effect: Effect) {
        let incarnation = self.processes[at].incarnation;
        let soon = self.now.plus_ms(CALL_MS);
        let effect = match self.plant {
            Some(plant) => plant.does(effect),
            None => Some(effect),
        };
        let Some(effect) = effect else { return };
        match effect {
            Effect::Txn { id, txn } => {
                let ask = Ask::Txn(id, Box::new(txn), self.now);
                self.processes[at].asks.push_back(ask);
                self.store_soon(at);
            }
            Effect::Relist => {
                self.processes[at].asks.push_back(Ask::List);
                self.store_soon(at);
            }
            Effect::Subscribe(subscribe) => {
                // Two that believe to lead take the stream from each other, with pauses.
                let due = soon.max(self.processes[at].closed_at.plus_ms(AGAIN_MS));
                self.later(due, Act::Subscribe(at, incarnation, subscribe));
            }
            Effect::Unsubscribe => {
                if let Some((conn, ..)) = self.processes[at].conn.take() {
                    self.conns.remove(&conn);
                    self.town.cluster.mesos.disconnect(self.now, conn);
                }
            }
            Effect::Call(call) => {
                if let Some((conn, ..)) = &self.processes[at].conn {
                    let conn = *conn;
                    self.calls_under_way += 1;
                    self.later(soon, Act::Call(at, incarnation, conn, call));
                }
            }
            Effect::PollAgents => self.later(soon, Act::Poll(at, incarnation)),
            Effect::AskGates(_) => self.ask_gates(at, incarnation, soon),
            Effect::AskMembers => self.later(soon, Act::Members(at, incarnation)),
            Effect::EditSchedule(edit) => {
                self.later(soon, Act::Schedule(at, incarnation, Box::new(edit)));
            }
            Effect::Resign => self.resign(at),
            Effect::Note(note) => {
                if self.notes || note.level == Level::Warning {
                    self.town.meter.happened(note.to_string(), self.now);
                }
            }
        }
    }

    // --- the store -------------------------------------------------------------------------

    fn store_soon(&mut self, at: usize) {
        let process = &mut self.processes[at];
        if !std::mem::replace(&mut process.store_busy, true) {
            let incarnation = process.incarnation;
            self.later(self.now.plus_ms(ETCD_MS), Act::Store(at, incarnation));
        }
    }

    fn store_next(&mut self, at: usize, incarnation: u64) {
        if self.processes[at].incarnation != incarnation {
            return;
        }
        let Some(ask) = self.processes[at].asks.pop_front() else {
            self.processes[at].store_busy = false;
            return;
        };
        if !self.etcd_up || self.processes[at].etcd_cut_until > self.now {
            let gave_up = match &ask {
                Ask::Txn(id, _, since) => (self.now.since(*since) > ETCD_TIMEOUT_MS).then_some(*id),
                Ask::List => None,
            };
            match gave_up {
                Some(id) => self.deliver(at, incarnation, Event::TxnUnknown { id }),
                None => self.processes[at].asks.push_front(ask),
            }
            self.later(self.now.plus_ms(200), Act::Store(at, incarnation));
            return;
        }
        let event = match ask {
            Ask::Txn(id, txn, _) => match self.etcd.txn(&txn, None) {
                Ok(_) if self.answers_lost_until > self.now => Event::TxnUnknown { id },
                Ok(outcome) => Event::TxnDone { id, outcome },
                Err(refused) => {
                    self.town.meter.happened(format!("etcd refused: {refused}"), self.now);
                    Event::TxnUnknown { id }
                }
            },
            Ask::List => {
                let snapshot = self.etcd.list(Space::All);
                self.processes[at].watched = Some(snapshot.revision);
                Event::Store(StoreEvent::Listed(snapshot))
            }
        };
        if matches!(event, Event::TxnDone { .. }) && self.dies_at_write(at) {
            return;
        }
        self.deliver(at, incarnation, event);
        if self.processes[at].asks.is_empty() {
            self.processes[at].store_busy = false;
        } else {
            self.later(self.now.plus_ms(ETCD_MS), Act::Store(at, incarnation));
        }
    }

    fn deliver(&mut self, at: usize, incarnation: u64, event: Event) {
        self.act(Act::Deliver(at, incarnation, Box::new(event)));
    }

    pub(super) fn watch_later(&mut self, at: usize) {
        self.watch_at(at, self.now.plus_ms(ETCD_MS));
    }

    fn watch_at(&mut self, at: usize, due: Time) {
        let process = &mut self.processes[at];
        if process.life != Life::Dead && !std::mem::replace(&mut process.watch_due, true) {
            let incarnation = process.incarnation;
            self.later(due, Act::Watch(at, incarnation));
        }
    }

    fn watch(&mut self, at: usize) {
        self.processes[at].watch_due = false;
        let Some(from) = self.processes[at].watched else {
            // A standby looks for the leader only.
            if self.processes[at].leads.is_none() && self.etcd.get(&Key::Leader).is_none() {
                self.stand(at);
            }
            return;
        };
        if !self.etcd_up
            || self.processes[at].etcd_cut_until > self.now
            || self.watch_late_until > self.now
        {
            self.watch_at(at, self.now.plus_ms(200));
            return;
        }
        let revision = self.etcd.revision();
        let event = match self.etcd.changes_since(from) {
            Ok(changes) if changes.is_empty() => return,
            Ok(changes) => StoreEvent::Changed { revision, changes },
            Err(_) => return self.list(at),
        };
        self.processes[at].watched = Some(revision);
        self.hand(at, Event::Store(event));
    }

    /// Everything is listed again, in the order of the transactions.
    fn list(&mut self, at: usize) {
        self.processes[at].asks.push_back(Ask::List);
        self.store_soon(at);
    }

    /// What was watched is not there any more: all who watch list.
    pub(super) fn list_anew(&mut self) {
        for at in 0..self.processes.len() {
            let process = &self.processes[at];
            if process.life != Life::Dead && process.watched.is_some() {
                self.list(at);
            }
        }
    }

    /// Whether the leader dies now, after what it wrote and before it hears of it.
    fn dies_at_write(&mut self, at: usize) -> bool {
        let Some((left, for_ms)) = self.crash_at.filter(|_| self.processes[at].leads()) else {
            return false;
        };
        self.crash_at = (left > 1).then_some((left - 1, for_ms));
        if left > 1 {
            return false;
        }
        self.kill(at, for_ms);
        true
    }

    // --- leadership ------------------------------------------------------------------------

    fn lease(&mut self, at: usize) {
        let incarnation = self.processes[at].incarnation;
        self.later(self.now.plus_ms(LEASE_MS / 3), Act::Lease(at, incarnation));
        if self.plant == Some(Plant::NeverRests) {
            let _ = self.etcd.txn(&Txn::new().put(Key::History(1), "again"), None);
        }
        self.stand(at);
    }

    /// Keeps the lease, and leads if nobody does.
    fn stand(&mut self, at: usize) {
        if !self.etcd_up || self.processes[at].etcd_cut_until > self.now {
            return;
        }
        if let Some(lease) = self.processes[at].lease {
            let left = self.etcd.keep_alive(lease, self.now);
            if left > 0 {
                if self.processes[at].leads.is_none() {
                    self.campaign(at, lease);
                }
                return;
            }
            self.processes[at].lease = None;
            if self.processes[at].leads.take().is_some() {
                self.processes[at].watched = None;
                self.hand(at, Event::Deposed);
            }
        }
        let lease = self.etcd.grant_lease(LEASE_MS, self.now);
        self.processes[at].lease = Some(lease);
        self.campaign(at, lease);
    }

    fn campaign(&mut self, at: usize, lease: LeaseId) {
        let name = format!("controller-{at}");
        let value = to_json(&LeaderRecord { version: 1, name, started: START, url: None });
        let mut txn = Txn::new().if_at(Key::Leader, Revision(0));
        txn.ops.push(Op::Put { key: Key::Leader, value, lease: true });
        if let Ok(Outcome::Committed(created)) = self.etcd.txn(&txn, Some(lease)) {
            self.processes[at].leads = Some(created);
            self.town.meter.happened(format!("controller-{at} leads"), self.now);
            self.hand(at, Event::Leading { created });
        }
    }

    fn resign(&mut self, at: usize) {
        let process = &mut self.processes[at];
        process.leads = None;
        process.watched = None;
        if let Some(lease) = process.lease.take() {
            self.etcd.revoke(lease);
        }
    }

    // --- Mesos -----------------------------------------------------------------------------

    fn subscribe(&mut self, at: usize, mut subscribe: Subscribe) {
        self.next_conn += 1;
        let conn = ConnId(self.next_conn);
        let id = subscribe.framework_info.id.clone();
        self.conns.insert(conn, at);
        let again = Act::Subscribe(at, self.processes[at].incarnation, Box::new(subscribe.clone()));
        let version = self.town.cluster.mesos.version().to_string();
        if let Ok(features) = Features::of(&version) {
            let given_up = features.adapt(&mut subscribe.framework_info);
            self.hand(at, Event::Presented { given_up });
        }
        let cut = self.processes[at].master_cut_until > self.now;
        if !cut
            && let Ok(stream) =
                self.town.cluster.mesos.subscribe(self.now, conn, id.clone(), subscribe)
        {
            self.processes[at].conn = Some((conn, id, stream));
        } else {
            self.conns.remove(&conn);
            self.later(self.now.plus_ms(AGAIN_MS), again);
        }
    }

    fn call(&mut self, at: usize, incarnation: u64, conn: ConnId, call: Call) {
        self.calls_under_way -= 1;
        let process = &self.processes[at];
        let Some((current, id, stream)) = &process.conn else { return };
        if process.incarnation != incarnation || *current != conn {
            return;
        }
        let Some(id) = id.clone() else { return };
        let stream = stream.clone();
        if self.notes && self.converged_at.is_some() {
            self.town.meter.happened(format!("called: {call:?}"), self.now);
        }
        match call {
            Call::Suppress(_) => self.calls_since_suppress = 0,
            // Mesos asks for a machine again for as long as its schedule names it.
            Call::AcceptInverseOffers(_) | Call::DeclineInverseOffers(_) => {}
            // Offers that crossed with SUPPRESS are given back.
            _ if self.town.cluster.mesos.is_owed(&call) => {}
            _ => self.calls_since_suppress += 1,
        }
        let outcome = self.town.cluster.mesos.call_as(self.now, &id, &stream, call);
        if !outcome.is_accepted() {
            self.stream_closed(at, conn);
        }
    }

    pub(super) fn mesos_event(&mut self, at: usize, conn: ConnId, event: MesosEvent) {
        if let (MesosEvent::Subscribed(subscribed), Some((current, id, _))) =
            (&event, &mut self.processes[at].conn)
            && *current == conn
        {
            *id = Some(subscribed.framework_id.clone());
        }
        let incarnation = self.processes[at].incarnation;
        self.deliver(at, incarnation, Event::Mesos(event));
    }

    pub(super) fn stream_closed(&mut self, at: usize, conn: ConnId) {
        let open = self.processes[at].conn.as_ref().is_some_and(|(current, ..)| *current == conn);
        self.conns.remove(&conn);
        if open {
            self.processes[at].conn = None;
            self.processes[at].closed_at = self.now;
            let incarnation = self.processes[at].incarnation;
            self.deliver(at, incarnation, Event::Disconnected);
        }
    }

    fn poll(&mut self, at: usize) {
        self.operator_calls += 1;
        if self.processes[at].master_cut_until > self.now {
            return;
        }
        if let Ok(list) = self.town.cluster.mesos.get_agents(self.now) {
            if self.notes {
                let listed = format!("controller-{at} lists {} agents", list.agents.len());
                self.town.meter.happened(listed, self.now);
            }
            self.hand(at, Event::Agents(agents_seen(&list)));
        }
    }

    /// What has left a process is carried out whatever becomes of it.
    fn edit_schedule(&mut self, at: usize, incarnation: u64, edit: &ScheduleEdit) {
        self.operator_calls += 1;
        let (edit, forgotten) = match self.plant {
            Some(plant) => plant.edits(edit.clone()),
            None => (edit.clone(), Vec::new()),
        };
        let answer = if self.processes[at].master_cut_until > self.now {
            Err("the master cannot be reached".to_owned())
        } else {
            self.town.cluster.edit_schedule(self.now, &edit)
        };
        let answer = answer.map(|found| found.into_iter().chain(forgotten).collect());
        self.deliver(at, incarnation, Event::ScheduleEdited(answer));
    }

    // --- its life --------------------------------------------------------------------------

    /// The leader's process is killed, and started again after a while.
    pub(super) fn crash(&mut self, for_ms: u64) {
        if let Some(at) = self.leader() {
            self.kill(at, for_ms);
        }
    }

    fn kill(&mut self, at: usize, for_ms: u64) {
        let process = &mut self.processes[at];
        process.life = Life::Dead;
        process.incarnation += 1;
        process.machine = Controller::new(config(at));
        process.lease = None;
        process.leads = None;
        process.asks.clear();
        process.store_busy = false;
        process.watched = None;
        process.watch_due = false;
        process.woken_for = None;
        process.stalled.clear();
        if let Some((conn, ..)) = process.conn.take() {
            self.conns.remove(&conn);
            self.town.cluster.mesos.disconnect(self.now, conn);
        }
        self.later(self.now.plus_ms(for_ms), Act::Back(at));
    }

    fn leader(&self) -> Option<usize> {
        self.processes.iter().position(Process::leads)
    }

    /// The leader and etcd do not reach each other.
    pub(super) fn cut_from_etcd(&mut self, until: Time) {
        if let Some(at) = self.leader() {
            self.processes[at].etcd_cut_until = until;
        }
    }

    /// The leader and the master do not reach each other.
    pub(super) fn cut_from_master(&mut self, until: Time) {
        let Some(at) = self.leader() else { return };
        self.processes[at].master_cut_until = until;
        if let Some(conn) = self.processes[at].conn.as_ref().map(|(conn, ..)| *conn) {
            self.town.cluster.mesos.disconnect(self.now, conn);
            self.stream_closed(at, conn);
        }
    }

    /// The leader's clock jumps.
    pub(super) fn jump(&mut self, seconds: i32) {
        let Some(at) = self.leader() else { return };
        let process = &mut self.processes[at];
        process.ahead_ms += i64::from(seconds) * 1_000;
        // It notices with its next event, as a process does whose timers are steady.
        process.dirty = true;
    }

    /// The leader's process stands still; a second one stands for election meanwhile.
    pub(super) fn pause(&mut self, for_ms: u64) {
        let Some(at) = self.leader() else { return };
        self.processes[at].life = Life::Paused;
        if self.processes.len() < 2 {
            self.start_process(self.now);
        }
        self.later(self.now.plus_ms(for_ms), Act::Back(at));
    }

    fn back(&mut self, at: usize) {
        let before = std::mem::replace(&mut self.processes[at].life, Life::Running);
        let incarnation = self.processes[at].incarnation;
        if before == Life::Dead {
            self.later(self.now, Act::Lease(at, incarnation));
        }
        // What waited arrives at once, before the process notices that it has lost its lease.
        for act in std::mem::take(&mut self.processes[at].stalled) {
            self.act(act);
        }
        self.processes[at].dirty = true;
    }
}
