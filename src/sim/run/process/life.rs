//! The life of a controller process: it is killed, stands still, is cut off, and comes back.

use crate::rollout::Controller;
use crate::words::Time;

use super::super::World;
use super::{Act, Life, Process, config};

impl World {
    /// The leader's process is killed, and started again after a while.
    pub(in crate::sim::run) fn crash(&mut self, for_ms: u64) {
        if let Some(at) = self.leader() {
            self.kill(at, for_ms);
        }
    }

    pub(super) fn kill(&mut self, at: usize, for_ms: u64) {
        let process = &mut self.processes[at];
        process.life = Life::Dead;
        process.incarnation += 1;
        process.machine = Controller::new(config(at));
        process.lease = None;
        process.leads = None;
        process.asks.clear();
        process.store_busy = false;
        process.astray = false;
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
    pub(in crate::sim::run) fn cut_from_etcd(&mut self, until: Time) {
        if let Some(at) = self.leader() {
            self.processes[at].etcd_cut_until = until;
        }
    }

    /// The leader and the master do not reach each other.
    pub(in crate::sim::run) fn cut_from_master(&mut self, until: Time) {
        let Some(at) = self.leader() else { return };
        self.processes[at].master_cut_until = until;
        if let Some(conn) = self.processes[at].conn.as_ref().map(|(conn, ..)| *conn) {
            self.town.cluster.mesos.disconnect(self.now, conn);
            self.stream_closed(at, conn);
        }
    }

    /// The leader's clock jumps.
    pub(in crate::sim::run) fn jump(&mut self, seconds: i32) {
        let Some(at) = self.leader() else { return };
        let process = &mut self.processes[at];
        process.ahead_ms += i64::from(seconds) * 1_000;
        // It notices with its next event, as a process does whose timers are steady.
        process.dirty = true;
    }

    /// The leader's process stands still; a second one stands for election meanwhile.
    pub(in crate::sim::run) fn pause(&mut self, for_ms: u64) {
        let Some(at) = self.leader() else { return };
        self.processes[at].life = Life::Paused;
        if self.processes.len() < 2 {
            self.start_process(self.now);
        }
        self.later(self.now.plus_ms(for_ms), Act::Back(at));
    }

    pub(super) fn back(&mut self, at: usize) {
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
