//! What goes wrong in a run.

use super::process::Act;
use super::{Fault, World};
use crate::sim::mesos::NetworkFaults;
use crate::sim::scenario::{EtcdRestored, LoseMessages};
use crate::words::Time;

/// How late a message is at most.
const LATE_MS: u64 = 30_000;
/// Another cluster ID than that of the run.
const OTHER_CLUSTER: u64 = 0x0ca1_1c0e;

impl World {
    pub(super) fn fault(&mut self, at: usize) {
        let fault = self.faults[at].clone();
        let now = self.now;
        self.town.meter.happened(format!("fault: {fault:?}"), now);
        let over_after = self.befall(fault, now);
        // Agents notice a fault of Mesos for a while after it.
        self.later(now.plus_ms(over_after + 1), Act::FaultOver);
    }

    /// Gives after how many milliseconds it is over.
    fn befall(&mut self, fault: Fault, now: Time) -> u64 {
        let cluster = &mut self.town.cluster;
        match fault {
            Fault::ControllerCrash(ms) => self.crash(ms),
            Fault::ControllerPaused(ms) => self.pause(ms),
            Fault::CrashAtWrite(crash) => {
                self.crash_at = Some((crash.nth.max(1), crash.span.ms));
                return crash.span.ms;
            }
            Fault::EtcdDown(ms) => {
                self.etcd_up = false;
                self.later(now.plus_ms(ms), Act::EtcdUp);
                return ms;
            }
            Fault::EtcdCompaction => self.etcd.compact(self.etcd.revision()),
            Fault::EtcdRestored(restored) => self.restore(restored),
            Fault::AnswersLost(ms) => {
                self.answers_lost_until = now.plus_ms(ms);
                return ms;
            }
            Fault::EtcdCut(ms) => {
                self.cut_from_etcd(now.plus_ms(ms));
                return ms;
            }
            Fault::MasterCut(ms) => {
                self.cut_from_master(now.plus_ms(ms));
                return ms;
            }
            Fault::WatchLate(ms) => {
                self.watch_late_until = now.plus_ms(ms);
                return ms;
            }
            Fault::ClockJump(seconds) => self.jump(seconds),
            Fault::LoseMessages(lose) => return self.lose_messages(lose, now),
            Fault::MasterFailover => cluster.mesos.master_failover(now),
            Fault::HostDown(host, ms) => {
                cluster.power_cut(now, &host, ms);
                return ms;
            }
            Fault::Maintenance(host, ms) => {
                cluster.announce_maintenance(now, &host, ms);
                return ms;
            }
            Fault::AgentDown(host, ms) => {
                cluster.agent_down(now, &host, ms);
                return ms;
            }
            Fault::ExecutorHangs(host, ms) => {
                cluster.hang_executor(now, &host, ms);
                return ms;
            }
            Fault::HostGone(host) => cluster.gone(now, &host),
            Fault::RestartFails(host, times) => cluster.fail_restarts(&host, times),
            Fault::ExecutorDies(host) => cluster.kill_executor(now, &host),
            Fault::NewAgentId(host) => cluster.forget_agent(now, &host),
            Fault::Drift(host, component) => cluster.drift(now, &host, component),
        }
        0
    }

    fn lose_messages(&mut self, lose: LoseMessages, now: Time) -> u64 {
        let faults = NetworkFaults {
            lose: lose.probability,
            duplicate: lose.duplicate,
            delay: lose.late,
            delay_limit: LATE_MS,
        };
        self.town.cluster.set_network(now, faults);
        self.later(now.plus_ms(lose.span.ms), Act::NetworkGood);
        lose.span.ms + LATE_MS
    }

    /// etcd is what it was when the backup was taken. All that watch it list anew.
    fn restore(&mut self, restored: EtcdRestored) {
        let Some(backup) = self.backup.take() else { return };
        let cluster = restored.other_cluster.then_some(OTHER_CLUSTER);
        self.etcd.restore(backup, cluster, self.now);
        self.seen = self.etcd.revision();
        self.restores += 1;
        self.look_again();
        self.list_anew();
    }
}
