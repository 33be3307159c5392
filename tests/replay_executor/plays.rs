//! Which recordings are played against the simulated agent, and how each was made.

use calico_dcos::sim::mesos::{Processes, Timings};

/// How a recording was made.
pub(crate) struct Play {
    pub(crate) name: &'static str,
    /// The agent's flags, and how fast it is.
    pub(crate) agent: fn(&mut Processes),
    pub(crate) timings: fn(&mut Timings),
    /// Where the part ends that belongs to it.
    pub(crate) until: u64,
    /// Executors that ended by themselves without a word: with which status, and whether it was
    /// because their files were not to be had.
    pub(crate) ended: &'static [(&'static str, i32, bool)],
}

const fn play(name: &'static str) -> Play {
    Play { name, agent: |_| {}, timings: |_| {}, until: u64::MAX, ended: &[] }
}

pub(crate) const PLAYS: &[Play] = &[
    play("e01_exchange"),
    Play { ended: &[("ex-1", 256_256, false)], ..play("e01a_bad_executor_uri_query") },
    play("e02_wrong_calls"),
    Play { ended: &[("ex-s5", 256, false)], ..play("e03_shutdown") },
    Play {
        ended: &[("ex-s5", 256, false), ("ex-s6", 256, true), ("ex-s7", 256, true)],
        ..play("e04_bad_launches")
    },
    play("e10_restart_sigterm"),
    play("e11_restart_sigkill"),
    play("e12_resubscribe_late"),
    play("e13_ignores_restart"),
    Play {
        timings: |timings| timings.executor_reregistration = 10_000,
        // Agents of the next recording come and go after it.
        until: 17_000,
        ..play("e14_during_recovery")
    },
    play("e15_checkpoint_false"),
    play("e16_checkpoint_false_sigkill"),
    play("e17_lost_launch"),
    Play {
        agent: |agent| {
            agent.recovery_timeout = 5_000;
            (agent.until_routes, agent.until_recovered) = (1_500, 1_900);
        },
        ..play("e18_long_outage")
    },
    play("e19_executor_dies_meanwhile"),
    Play { timings: |timings| timings.detect_master = 30_000, ..play("e20_master_restart") },
    play("e21a_unacknowledged_tasks"),
    play("e21b_unacknowledged_tasks"),
    play("e22_executor_disconnects_agent_up"),
    Play { agent: |agent| agent.registration_timeout = 4_000, ..play("e24_never_registers") },
];

pub(crate) fn is_played(name: &str) -> bool {
    PLAYS.iter().any(|play| play.name == name)
}
