//! The recordings of a real Mesos, played against the simulated one; the differences are those of
//! `tests/fixtures/mesos-wire/DIFFERENCES.md`, no more and no less.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod clients;
mod compare;
mod player;
#[expect(dead_code, reason = "other tests use more of it")]
#[path = "../recordings/mod.rs"]
mod recording;
mod stage;

use std::collections::BTreeSet;

use stage::{Act, Play};

/// The differences that are listed for a recording.
fn listed(name: &str) -> BTreeSet<String> {
    let table = std::fs::read_to_string(recording::folder().join("DIFFERENCES.md")).unwrap();
    table
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| ")?.split(" | ");
            let (recordings, difference) = (cells.next()?, cells.next()?);
            let why = cells.next()?;
            let mine = recordings.split(", ").any(|recording| recording == name);
            assert!(!mine || why.len() > 10, "without a reason: {line}");
            mine.then(|| difference.trim_matches('`').to_owned())
        })
        .collect()
}

async fn check(play: &'static Play) {
    let found = player::play(play).await;
    let found: BTreeSet<_> = found
        .iter()
        .map(|text| compare::without_uuids(text).replace('`', "'").replace('|', "/"))
        .collect();
    let listed = listed(play.name);
    let rows = |set: Vec<&String>| {
        set.iter()
            .map(|text| format!("| {} | `{text}` |", play.name))
            .collect::<Vec<_>>()
            .join("\n")
    };
    let new = rows(found.difference(&listed).collect());
    let over = rows(listed.difference(&found).collect());
    assert!(
        new.is_empty() && over.is_empty(),
        "differences that are not listed:\n{new}\nlisted ones that no longer occur:\n{over}"
    );
}

macro_rules! plays {
    ($($test:ident: $name:literal $(after [$(($before:literal, $lasts:literal)),+])?,
       $seasoned:literal, $agents:expr, $directions:expr;)+) => {
        $(
            #[tokio::test(start_paused = true)]
            async fn $test() {
                static PLAY: Play = Play {
                    name: $name,
                    before: &[$($(($before, $lasts)),+)?],
                    agents: $agents,
                    directions: $directions,
                    timings: |timings| timings.ping_timeout = 3_800,
                    seasoned: $seasoned,
                };
                check(&PLAY).await;
            }
        )+
    };
}

const TWO: &[&str] = &["agent1", "agent2"];

const THREE: &[&str] = &["agent1", "agent2", "agent3"];

plays! {
    recording_01_subscribe: "01_subscribe", false, TWO, &[];
    recording_02_launch: "02_launch", false, TWO, &[];
    recording_03_decline_suppress_revive: "03_decline_suppress_revive", false, TWO, &[];
    recording_04_reconcile_plain: "04_reconcile_plain", false, TWO, &[];
    recording_04_reconcile_partition_aware: "04_reconcile_partition_aware", false, TWO, &[];
    recording_05_kill: "05_kill", false, TWO, &[];
    recording_06a_agent_restart: "06a_agent_restart_checkpointed", false, TWO, &[
        ("SIGKILL the agent process", Act::Stop("agent1")),
        ("start the agent again", Act::Start("agent1")),
    ];
    recording_06b_agent_gone: "06b_agent_gone_unreachable"
        after [("06a_agent_restart_checkpointed", 21.740)], false, TWO, &[
        ("SIGKILL the agent process", Act::Stop("agent1")),
        ("start the agent again", Act::Start("agent1")),
        ("=== SIGKILL agent1", Act::Stop("agent1")),
        ("(work_dir intact; executors", Act::Start("agent1")),
    ];
    recording_06c_agent_unregisters: "06c_agent_sigusr1_unregister"
        after [("06a_agent_restart_checkpointed", 21.740), ("06b_agent_gone_unreachable", 39.437)],
        false, TWO, &[
        ("SIGKILL the agent process", Act::Stop("agent1")),
        ("start the agent again", Act::Start("agent1")),
        ("=== SIGKILL agent1", Act::Stop("agent1")),
        ("(work_dir intact; executors", Act::Start("agent1")),
        ("=== SIGUSR1 to agent1", Act::Unregister("agent1")),
        // The note of it is the beginning of one before.
        ("@76.605", Act::Start("agent1")),
    ];
    recording_06d_executor_killed: "06d_executor_killed", false, TWO, &[];
    recording_07a_bad_calls: "07a_bad_calls", true, TWO, &[];
    recording_07b_resubscribe: "07b_resubscribe", true, TWO, &[];
    recording_07c_unknown_type: "07c_type_UNKNOWN_crashes_master", true, TWO, &[];
    recording_07d_invalid_launch: "07d_invalid_launch_partition_aware", true, TWO, &[];
    recording_08_operator_api: "08_operator_api", true, TWO, &[
        ("a third agent joins", Act::Join("agent3")),
        ("leaves with SIGUSR1", Act::Unregister("agent3")),
    ];
    recording_09_teardown: "09_teardown", true, TWO, &[];
    recording_10_sigkill: "10_master_restart_sigkill", true, TWO, &[
        ("=== stop master", Act::StopMaster),
        ("=== start master", Act::Lead(5050)),
    ];
    recording_10_sigterm: "10_master_restart_sigterm", true, TWO, &[
        ("=== stop master", Act::StopMaster),
        ("=== start master", Act::Lead(5050)),
    ];
    recording_11_redirect: "11_nonleading_redirect", false, &["agent5"], &[
        ("two masters 5060 (A)", Act::Listen(5060)),
        ("two masters 5060 (A) and 5061", Act::Standby("5061", Some("5060"))),
        ("@14.740", Act::StopMaster),
        ("@17.900", Act::Lead(5061)),
        ("=== start A again", Act::Standby("5060", Some("5061"))),
        ("ZooKeeper stopped", Act::Standby("5060", None)),
        ("=== ZooKeeper stopped", Act::StopMaster),
    ];
    recording_12_offers: "12_offers_roles_reservations", true, TWO, &[
        ("agent3 has static reservations", Act::Join("agent3 with reservations")),
        ("@46.300", Act::Unregister("agent3 with reservations")),
    ];
    recording_13_maintenance: "13_maintenance_drain_gone", true, THREE, &[];
    recording_14_docker: "14_docker_containerizer", true, &["agent1", "agent2", "agent4"], &[];
}
