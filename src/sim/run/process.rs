//! A controller process in a run: the real state machine, and a model of the shell around it.

mod life;
mod mesos;
mod store;

use crate::mesos::v1::FrameworkId;
use crate::mesos::v1::scheduler::{Call, Subscribe};
use crate::plan::members::Member;
use crate::plan::notice::ScheduleEdit;
use crate::rollout::Controller;
use crate::rollout::config::{Config, Delivery};
use crate::rollout::event::{Effect, Event, Level, TxnId};
use crate::sim::mesos::ConnId;
use crate::store::txn::{LeaseId, Txn};
use crate::words::{Revision, SpecHash, Time};

use super::World;
use super::plant::Plant;

/// A process that cannot reach Mesos tries again after this.
const AGAIN_MS: u64 = 1_000;
/// A call to Mesos, one way.
const CALL_MS: u64 = 1;

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
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct Process {
    pub machine: Controller,
    life: Life,
    incarnation: u64,
    lease: Option<LeaseId>,
    /// The leader key's create revision, while the process believes to lead.
    leads: Option<Revision>,
    asks: std::collections::VecDeque<Ask>,
    store_busy: bool,
    /// A transaction had no answer: nothing more is sent before the next listing.
    astray: bool,
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
            astray: false,
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
            Effect::Resign | Effect::GiveUp { .. } => self.resign(at),
            Effect::Note(note) => {
                if self.notes || note.level == Level::Warning {
                    self.town.meter.happened(note.to_string(), self.now);
                }
            }
        }
    }
}
