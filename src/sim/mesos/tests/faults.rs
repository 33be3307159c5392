//! Messages that are lost, repeated or late; and that a run can be repeated.

use std::collections::BTreeSet;

use super::*;

#[test]
fn a_lost_update_is_sent_again_and_a_lost_message_is_not() {
    let mut bench = Bench::running("t");
    let all = NetworkFaults { lose: 1.0, ..NetworkFaults::default() };
    bench.mesos.set_faults(bench.now, all);
    bench.report("t", TaskPhase::Finished);
    bench.mesos.from_executor(bench.now, 0, FromExecutor::Message(vec![1]));
    bench.run(9_000);
    assert_eq!(bench.events(), []);
    bench.mesos.set_faults(bench.now, NetworkFaults::default());
    bench.run(2_000);
    assert_eq!(bench.states(), [(TaskState::Finished, None)]);
}

#[test]
fn repeated_messages_carry_the_same_uuid() {
    let mut bench = Bench::running("t");
    let twice = NetworkFaults { duplicate: 1.0, ..NetworkFaults::default() };
    bench.mesos.set_faults(bench.now, twice);
    bench.report("t", TaskPhase::Finished);
    let uuids: Vec<_> = bench.updates().into_iter().map(|status| status.uuid).collect();
    assert_eq!(uuids.len(), 2);
    assert_eq!(uuids[0], uuids[1]);
}

/// Whatever is lost, repeated or late: every state arrives, and in order.
#[test]
fn every_update_arrives_in_the_end() {
    for seed in 0..20 {
        let mut bench = Bench::running("t");
        let faults = NetworkFaults { lose: 0.4, duplicate: 0.3, delay: 0.5, delay_limit: 30_000 };
        bench.mesos = {
            let config = MesosConfig { seed, ..config() };
            SimMesos::new(bench.now, config)
        };
        bench.mesos.add_agent(bench.now, host(1, "*"));
        bench.run(2_000);
        bench.subscribe(1, ours(), &[]);
        bench.launch("t");
        bench.run(400);
        bench.mesos.set_faults(bench.now, faults);
        for data in 0..5 {
            let (task, message) = (TaskId::from("t"), None);
            let (state, data) = (TaskPhase::Running, Some(vec![data]));
            bench.mesos.from_executor(
                bench.now,
                0,
                FromExecutor::Update { task, state, message, data },
            );
        }
        let (mut seen, mut order) = (BTreeSet::new(), Vec::new());
        for _ in 0..600 {
            bench.run(60_000);
            for status in bench.updates() {
                bench.acknowledge(&status);
                if seen.insert(status.uuid.clone()) {
                    order.extend(status.data.unwrap().0);
                }
            }
        }
        assert_eq!(order, [0, 1, 2, 3, 4], "seed {seed}");
    }
}

/// A story with a bit of everything.
fn story(seed: u64) -> Vec<(ConnId, Outgoing)> {
    let mut mesos = SimMesos::new(Time(0), MesosConfig { seed, ..config() });
    let faults = NetworkFaults { lose: 0.2, duplicate: 0.2, delay: 0.2, delay_limit: 500 };
    mesos.set_faults(Time(0), faults);
    for number in 1..=20 {
        mesos.add_agent(Time(0), host(number, "*"));
    }
    let call = Subscribe { framework_info: ours(), suppressed_roles: Vec::new() };
    mesos.subscribe(Time(5_000), ConnId(1), None, call).unwrap();
    for agent in 0..20 {
        mesos.from_host(Time(6_000), agent, HostSignal::AgentStopped);
        mesos.from_host(Time(9_000), agent, HostSignal::AgentStarted);
    }
    mesos.master_failover(Time(20_000));
    mesos.advance(Time(200_000));
    mesos.drain_events()
}

#[test]
fn the_same_seed_tells_the_same_story() {
    assert_eq!(story(1), story(1));
    assert_ne!(story(1), story(2));
}

#[test]
fn ten_thousand_idle_agents_have_nothing_due() {
    let mut mesos = SimMesos::new(Time(0), config());
    for number in 0..10_000_u32 {
        let ip = Ipv4Addr::from(0x0a00_0000 + number);
        mesos.add_agent(Time(0), AgentConfig::new(&format!("a{number}"), ip, "*"));
    }
    mesos.advance(Time(5_000));
    assert_eq!(mesos.get_agents(Time(5_000)).unwrap().agents.len(), 10_000);
    assert_eq!(mesos.next_deadline(), None);
}
