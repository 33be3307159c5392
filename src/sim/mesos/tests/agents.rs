//! Agents that restart, go away, come back, or never do; and masters that change.

use super::*;

fn active(bench: &mut Bench) -> Vec<bool> {
    let agents = bench.mesos.get_agents(bench.now).unwrap().agents;
    agents.iter().map(|agent| agent.active).collect()
}

fn kinds(events: &[Event]) -> Vec<EventType> {
    events.iter().map(Event::kind).collect()
}

/// Recorded (06a, e10): no FAILURE and no UPDATE tell of a restart.
#[test]
fn a_restart_is_seen_by_rescind_inactivity_and_new_offers() {
    let mut bench = Bench::running("t");
    bench.call(Call::Revive(Roles::default()));
    assert_eq!(bench.offers().len(), 0, "still held");
    let id = bench.mesos.agent_id(0).cloned();
    bench.signal(0, HostSignal::AgentStopped);
    assert_eq!(kinds(&bench.events()), [EventType::Rescind]);
    assert_eq!(active(&mut bench), [false]);

    bench.run(1_500);
    bench.signal(0, HostSignal::AgentStarted);
    bench.run(1_980);
    assert_eq!(active(&mut bench), [false], "it waits for its executors");
    bench.run(1_100);
    assert_eq!(active(&mut bench), [true]);
    assert_eq!(bench.mesos.agent_id(0).cloned(), id);
    assert_eq!(kinds(&bench.events()), [EventType::Offers]);
    let agent = bench.mesos.get_agents(bench.now).unwrap().agents.swap_remove(0);
    assert!(agent.reregistered_time > agent.registered_time);
    assert_eq!(bench.reconcile("t", None)[0].0, TaskState::Running);
}

#[test]
fn an_unacknowledged_update_comes_twice_and_later_ones_wait_for_it() {
    let mut bench = Bench::running("t");
    bench.report("t", TaskPhase::Running);
    let before = bench.updates();
    bench.signal(0, HostSignal::AgentStopped);
    bench.report("t", TaskPhase::Finished);
    bench.signal(0, HostSignal::AgentStarted);
    bench.run(3_100);
    let resent = bench.updates();
    assert_eq!(resent.len(), 2, "as recorded (e10)");
    assert!(resent.iter().all(|status| status.uuid == before[0].uuid));
    bench.acknowledge(&resent[0]);
    assert_eq!(bench.states(), [(TaskState::Finished, None)], "it waited with the executor");
}

#[test]
fn an_executor_that_died_meanwhile_fails_its_tasks_without_a_failure() {
    let mut bench = Bench::running("t");
    bench.signal(0, HostSignal::AgentStopped);
    bench.report("t", TaskPhase::Finished);
    bench.mesos.from_executor(bench.now, 0, FromExecutor::Exited);
    bench.signal(0, HostSignal::AgentStarted);
    bench.run(3_100);
    let events = bench.events();
    assert!(!kinds(&events).contains(&EventType::Failure), "recorded (e19)");
    bench.events.extend(events.into_iter().map(|e| (bench.conn, Outgoing::Event(Box::new(e)))));
    let terminated = Some(StatusReason::ExecutorTerminated);
    assert_eq!(bench.states()[0], (TaskState::Failed, terminated), "the update is lost with it");
}

/// Recorded (e17).
#[test]
fn a_launch_lost_in_a_dying_agent_is_dropped() {
    let mut bench = Bench::new(ours(), &["*"]);
    let offer = bench.offers().swap_remove(0);
    let operations = vec![Operation::Launch(vec![task_info("t", &offer)])];
    let accept = Accept { offer_ids: vec![offer.id], operations, filters: None };
    bench.mesos.call_as(bench.now, &bench.id.clone(), &bench.stream.clone(), Call::Accept(accept));
    bench.signal(0, HostSignal::AgentStopped);
    bench.signal(0, HostSignal::AgentStarted);
    bench.run(3_100);
    let dropped = (TaskState::Dropped, Some(StatusReason::Reconciliation));
    let updates = bench.updates();
    assert_eq!(updates.len(), 2);
    assert_eq!((updates[0].state.clone(), updates[0].reason.clone()), dropped);
    bench.acknowledge(&updates[0]);
    assert_eq!(bench.reconcile("t", Some(offer.agent_id.as_str()))[0].0, TaskState::Gone);
}

#[test]
fn a_launch_that_waits_for_its_executor_is_dropped_by_a_restart() {
    let mut bench = Bench::new(ours(), &["*"]);
    bench.launch("t");
    bench.run(100);
    bench.signal(0, HostSignal::AgentStopped);
    bench.signal(0, HostSignal::AgentStarted);
    bench.run(3_100);
    assert!(bench.take_orders().is_empty());
    assert_eq!(bench.states()[0], (TaskState::Dropped, Some(StatusReason::AgentRestarted)));
}

/// Recorded (06b, e18).
#[test]
fn point_53_an_agent_away_too_long_is_unreachable_until_it_returns() {
    for (info, lost) in [(ours(), TaskState::Unreachable), (plain(), TaskState::Lost)] {
        let mut bench = Bench::new(info, &["*"]);
        let agent = bench.launch("t").agent_id;
        bench.run(400);
        bench.report_all("t", &[TaskPhase::Running]);
        bench.run(2_000);
        bench.signal(0, HostSignal::AgentStopped);
        bench.events();
        bench.run(74_900);
        assert_eq!(active(&mut bench), [false]);
        bench.run(200);
        assert_eq!(active(&mut bench), [true; 0], "in neither list");
        let events = bench.events();
        assert_eq!(kinds(&events), [EventType::Update, EventType::Failure]);
        let Event::Update(status) = &events[0] else { panic!("{events:?}") };
        assert_eq!(status.state, lost);
        assert_eq!(status.reason, Some(StatusReason::AgentRemoved));
        assert_eq!(status.message.as_deref(), Some("health check timed out"));
        assert!(status.uuid.is_none() && status.unreachable_time.is_some());
        let answer = (lost, Some("Reconciliation: Task is unreachable".to_owned()));
        assert_eq!(bench.reconcile("t", None), std::slice::from_ref(&answer));
        assert_eq!(bench.reconcile("never", Some(agent.as_str())), [answer]);

        bench.signal(0, HostSignal::AgentStarted);
        bench.run(3_100);
        let back = bench.updates().swap_remove(0);
        assert_eq!(back.state, TaskState::Running);
        assert_eq!(back.reason, Some(StatusReason::AgentReregistered));
        assert_eq!(back.uuid, None);
    }
}

#[test]
fn a_machine_that_dies_is_noticed_only_by_the_pings() {
    let mut bench = Bench::running("t");
    bench.signal(0, HostSignal::MachineDown);
    bench.run(70_000);
    assert_eq!(active(&mut bench), [true]);
    bench.run(5_010);
    assert_eq!(active(&mut bench), [true; 0]);
    bench.events();
    bench.signal(0, HostSignal::MachineUp);
    bench.run(3_100);
    let states = bench.states();
    assert_eq!(states[0], (TaskState::Running, Some(StatusReason::AgentReregistered)));
    assert_eq!(states[1], (TaskState::Failed, Some(StatusReason::ExecutorTerminated)));
}

#[test]
fn a_machine_that_is_back_before_the_pings_end_registers_again() {
    let mut bench = Bench::running("t");
    bench.signal(0, HostSignal::MachineDown);
    bench.run(20_000);
    bench.signal(0, HostSignal::MachineUp);
    bench.run(60_000);
    assert_eq!(active(&mut bench), [true]);
    let reasons: Vec<_> = bench.states().into_iter().map(|(_, reason)| reason).collect();
    assert!(!reasons.contains(&Some(StatusReason::AgentRemoved)));
    assert!(reasons.contains(&Some(StatusReason::ExecutorTerminated)));
}

/// Recorded (06a): also for `PARTITION_AWARE` frameworks.
#[test]
fn without_checkpoints_tasks_are_lost_with_the_agent_process() {
    let mut bench = Bench::new(FrameworkInfo { checkpoint: false, ..ours() }, &["*"]);
    bench.launch("t");
    bench.run(400);
    bench.report_all("t", &[TaskPhase::Running]);
    bench.take_orders();
    bench.signal(0, HostSignal::AgentStopped);
    let status = bench.updates().pop().unwrap();
    assert_eq!(status.state, TaskState::Lost);
    assert_eq!(status.message.as_deref(), Some("Agent a1 disconnected"));
    assert_eq!(bench.take_orders(), [ToExecutor::Shutdown]);
}

/// Recorded (13).
#[test]
fn an_agent_marked_gone_never_comes_back() {
    let mut bench = Bench::running("t");
    let agent = bench.mesos.agent_id(0).unwrap().clone();
    bench.mesos.agent_gone(bench.now, 0);
    bench.run(5);
    let by_operator = Some(StatusReason::AgentRemovedByOperator);
    assert_eq!(bench.states(), [(TaskState::GoneByOperator, by_operator)]);
    assert_eq!(bench.take_orders(), [ToExecutor::Shutdown]);
    let text = Some("Reconciliation: Task is gone".to_owned());
    assert_eq!(bench.reconcile("t", Some(agent.as_str())), [(TaskState::GoneByOperator, text)]);
    bench.signal(0, HostSignal::AgentStarted);
    bench.run(5_000);
    assert_eq!(active(&mut bench), [true; 0]);
}

#[test]
fn a_new_agent_id_costs_the_old_tasks() {
    let mut bench = Bench::running("t");
    let old = bench.mesos.agent_id(0).cloned();
    bench.signal(0, HostSignal::AgentStopped);
    bench.mesos.agent_forgets(bench.now, 0);
    bench.signal(0, HostSignal::AgentStarted);
    bench.run(2_000);
    assert_ne!(bench.mesos.agent_id(0).cloned(), old);
    assert_eq!(bench.states(), [(TaskState::Lost, Some(StatusReason::AgentRemoved))]);
    assert_eq!(active(&mut bench), [true]);
}

/// Recorded (10, e20).
#[test]
fn a_new_master_learns_from_its_agents() {
    let mut bench = Bench::running("t");
    let (agent, master) = (bench.mesos.agent_id(0).unwrap().clone(), bench.mesos.master_info().id);
    bench.report("t", TaskPhase::Running);
    bench.events();
    bench.mesos.master_failover(bench.now);
    bench.run(0);
    assert_eq!(bench.events.pop(), Some((bench.conn, Outgoing::Close)));
    assert_ne!(bench.mesos.master_info().id, master);
    let recovering = bench.call(Call::Reconcile(Reconcile::default()));
    assert_eq!(recovering, Outcome::refused(503, "Master has not finished recovery"));
    bench.run(200);
    assert_eq!(bench.call(Call::Teardown), Outcome::refused(400, "Framework cannot be found"));
    let agents = bench.mesos.get_agents(bench.now).unwrap();
    assert_eq!((agents.agents.len(), agents.recovered_agents.len()), (0, 1));

    bench.subscribe(2, bench.again(), &[]);
    assert_eq!(bench.reconcile("t", Some(agent.as_str())), [], "no answer: it may come back");
    assert_eq!(bench.reconcile("t", None), []);
    bench.run(3_200);
    assert_eq!(active(&mut bench), [true]);
    assert_eq!(bench.updates().len(), 2, "what was unacknowledged comes again");
    assert_eq!(bench.reconcile("t", None)[0].0, TaskState::Running);
    assert_eq!(bench.reconcile("never", None)[0].0, TaskState::NotKnown);
}

#[test]
fn a_framework_that_only_agents_know_is_not_subscribed() {
    let mut bench = Bench::running("t");
    bench.mesos.master_failover(bench.now);
    bench.run(3_500);
    assert_eq!(bench.call(Call::Teardown), Outcome::refused(403, "Framework is not subscribed"));
    let agent = bench.mesos.get_agents(bench.now).unwrap().agents.swap_remove(0);
    assert_eq!(agent.allocated_resources[0].amount(), Some(0.2), "task and executor");
}

/// The master breaks the connection on which it was about to register.
#[test]
fn an_agent_that_is_given_up_on_its_way_back_goes_on_trying() {
    let mut bench = Bench::running("t");
    bench.signal(0, HostSignal::MachineDown);
    bench.run(74_900);
    bench.signal(0, HostSignal::MachineUp);
    bench.run(10_000);
    assert_eq!(active(&mut bench), [true]);
    assert_eq!(bench.updates()[0].state, TaskState::Unreachable, "it was given up");
}

#[test]
fn an_agent_that_a_new_master_never_sees_becomes_unreachable() {
    let mut bench = Bench::running("t");
    bench.signal(0, HostSignal::MachineDown);
    bench.mesos.master_failover(bench.now);
    bench.run(300);
    bench.subscribe(2, bench.again(), &[]);
    bench.run(599_000);
    assert_eq!(bench.reconcile("t", None), []);
    bench.run(2_000);
    let agents = bench.mesos.get_agents(bench.now).unwrap();
    assert_eq!((agents.agents.len(), agents.recovered_agents.len()), (0, 0));
    assert_eq!(bench.reconcile("t", None)[0].0, TaskState::NotKnown);
}
