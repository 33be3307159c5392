//! Launches, status updates, KILL, MESSAGE and reconciliation.

use super::*;

#[test]
fn a_task_runs_and_its_resources_come_back() {
    let mut bench = Bench::new(ours(), &["*"]);
    let offer = bench.launch("t1");
    assert!((cpus(&offer) - 4.0).abs() < 1e-9);
    assert!(bench.take_orders().is_empty(), "a new executor takes 350 ms");
    bench.run(350);
    let launch = ToExecutor::Launch { task: "t1".into(), data: b"t1".to_vec() };
    assert_eq!(bench.take_orders(), [launch]);
    bench.report_all("t1", &[TaskPhase::Starting, TaskPhase::Running]);

    // Task and executor are charged once; the offer names the executor that runs.
    bench.run(1_000);
    let rest = bench.offers().swap_remove(0);
    assert!((cpus(&rest) - 3.8).abs() < 1e-9);
    assert_eq!(rest.executor_ids, ["ex".into()]);
    bench.accept(&rest, vec![task_info("t2", &rest)]);
    bench.run(10);
    assert_eq!(bench.take_orders().len(), 1, "a running executor takes a task in 10 ms");
    bench.run(1_000);
    assert!((cpus(&bench.offers()[0]) - 3.7).abs() < 1e-9);
}

/// The state and the words for a task on an offer that was changed in some way.
type Wrong = (fn(&mut TaskInfo), TaskState, &'static str);

/// Texts from recordings 07a and 07d.
#[test]
fn invalid_tasks_get_an_error_and_valid_ones_beside_them_start() {
    let cases: [Wrong; 8] = [
        (|t| t.resources.clear(), TaskState::Error, "Task uses no resources"),
        (
            |t| t.resources[1] = Resource::scalar("mem", -1.0),
            TaskState::Error,
            "Resource 'mem:-1' is invalid: Invalid scalar resource: value <= 0",
        ),
        (
            |t| t.resources = vec![Resource::scalar("cpus", 1000.0)],
            TaskState::Error,
            "Total resources cpus(allocated: *):1000.1; mem(allocated: *):32 required by task and \
             its executor is more than available \
             ports(allocated: *):[31000-31999]; cpus(allocated: *):4; mem(allocated: *):8192; \
             disk(allocated: *):32768",
        ),
        (
            |t| t.command = Some(CommandInfo::shell("true")),
            TaskState::Error,
            "Task should have at least one (but not both) of CommandInfo or ExecutorInfo present",
        ),
        (
            |t| t.executor = None,
            TaskState::Error,
            "Task should have at least one (but not both) of CommandInfo or ExecutorInfo present",
        ),
        (|t| t.task_id = "a/b".into(), TaskState::Error, "'a/b' contains invalid characters"),
        (|t| t.task_id = "..".into(), TaskState::Error, "'..' is disallowed"),
        (
            |t| t.agent_id = "elsewhere".into(),
            TaskState::Error,
            "Task uses invalid agent elsewhere while agent ",
        ),
    ];
    for (change, state, text) in cases {
        let mut bench = Bench::new(ours(), &["*"]);
        let offer = bench.offers().swap_remove(0);
        let mut wrong = task_info("wrong", &offer);
        change(&mut wrong);
        bench.accept(&offer, vec![wrong, task_info("right", &offer)]);
        let status = bench.updates().swap_remove(0);
        let message = status.message.clone().unwrap();
        assert!(message.starts_with(text), "{message}");
        assert_eq!((status.state, status.uuid), (state, None));
        bench.run(400);
        assert_eq!(bench.take_orders().len(), 1, "the valid one: {text}");
    }
}

#[test]
fn a_task_id_is_not_used_twice_at_a_time() {
    let mut bench = Bench::running("t");
    bench.call(Call::Revive(Roles::default()));
    bench.signal(0, HostSignal::AgentStopped);
    bench.signal(0, HostSignal::AgentStarted);
    bench.run(4_000);
    let offer = bench.offers().swap_remove(0);
    bench.accept(&offer, vec![task_info("t", &offer)]);
    let status = bench.updates().swap_remove(0);
    assert_eq!(status.message.as_deref(), Some("Task has duplicate ID: t"));
    assert_eq!(status.reason, Some(StatusReason::TaskInvalid));
}

#[test]
fn an_executor_must_be_described_the_same_to_the_byte() {
    let mut bench = Bench::new(ours(), &["*"]);
    let offer = bench.launch("t1");
    bench.run(1_000);
    let rest = bench.offers().swap_remove(0);
    let mut other = task_info("t2", &offer);
    other.executor.as_mut().unwrap().command = Some(CommandInfo::shell("false"));
    bench.accept(&rest, vec![other]);
    let message = bench.updates().swap_remove(0).message.unwrap();
    assert!(message.contains("not compatible"), "{message}");
}

#[test]
fn offers_that_are_not_valid_drop_the_tasks_and_free_the_valid_offers() {
    for (info, state) in [(ours(), TaskState::Dropped), (plain(), TaskState::Lost)] {
        let mut bench = Bench::new(info, &["*", "*"]);
        let offers = bench.offers();
        let ids = |ids: &[&str]| ids.iter().map(|&id| OfferId::from(id)).collect::<Vec<_>>();
        let (one, two) = (offers[0].id.as_str(), offers[1].id.as_str());
        let cases = [
            (ids(&["nope", one]), "Offer nope is no longer valid"),
            (ids(&[one]), ""),
            (ids(&[two, two]), "Duplicate offer"),
        ];
        for (offer_ids, text) in cases {
            let tasks = vec![task_info("t", &offers[0])];
            let operations = vec![Operation::Launch(tasks)];
            bench.call(Call::Accept(Accept { offer_ids, operations, filters: None }));
            let status = bench.updates().swap_remove(0);
            let text = format!("Task launched with invalid offers: {text}");
            assert!(status.message.as_deref().unwrap().starts_with(&text), "{status:?}");
            assert_eq!(
                (status.state, status.reason),
                (state.clone(), Some(StatusReason::InvalidOffers))
            );
        }
        bench.run(1_000);
        assert_eq!(bench.offers().len(), 2, "both were discarded, and are offered again");
    }
}

#[test]
fn point_37_offers_of_two_agents_do_not_go_together() {
    let mut bench = Bench::new(plain(), &["*", "*"]);
    let offers = bench.offers();
    let offer_ids = offers.iter().map(|offer| offer.id.clone()).collect();
    let operations = vec![Operation::Launch(vec![task_info("t", &offers[0])])];
    bench.call(Call::Accept(Accept { offer_ids, operations, filters: None }));
    let message = bench.updates().swap_remove(0).message.unwrap();
    assert!(message.contains("Aggregated offers must belong to one single agent"), "{message}");
}

#[test]
fn updates_go_out_one_by_one_and_again_until_acknowledged() {
    let mut bench = Bench::new(ours(), &["*"]);
    bench.launch("t");
    bench.run(400);
    bench.report("t", TaskPhase::Starting);
    bench.report("t", TaskPhase::Running);
    let first = bench.updates();
    assert_eq!(first.len(), 1, "RUNNING waits for the acknowledgement of STARTING");
    assert_eq!(first[0].executor_id, Some("ex".into()));
    assert_eq!(first[0].data, Some(Blob(vec![1])));
    // Ten seconds, then twice as long each time.
    let mut resent = Vec::new();
    for second in 1..=75 {
        bench.run(1_000);
        resent.extend(bench.updates().iter().map(|_| second));
    }
    assert_eq!(resent, [10, 30, 70]);
    let wrong = TaskStatus { uuid: Some(Blob(vec![0; 16])), ..first[0].clone() };
    bench.acknowledge(&wrong);
    assert_eq!(bench.states(), []);
    bench.acknowledge(&first[0]);
    assert_eq!(bench.states(), [(TaskState::Running, None)]);
}

#[test]
fn updates_are_dropped_while_the_framework_is_away_and_sent_again_when_it_subscribes() {
    let mut bench = Bench::running("t");
    bench.mesos.disconnect(bench.now, bench.conn);
    bench.report("t", TaskPhase::Finished);
    // Tries after 10 and 30 seconds find nobody; the next one would come after 70.
    bench.run(35_000);
    bench.subscribe(2, bench.again(), &[]);
    assert_eq!(bench.states(), [(TaskState::Finished, None)], "at once");
}

/// Recordings 04 and 05: the answers and their words.
#[test]
fn reconciliation_answers_with_what_the_master_knows() {
    let mut bench = Bench::running("t");
    let agent = bench.mesos.agent_id(0).unwrap().as_str().to_owned();
    let text = |text: &str| Some(format!("Reconciliation: {text}"));
    let latest = || (TaskState::Running, text("Latest task state"));
    assert_eq!(bench.reconcile("t", None), [latest()]);
    assert_eq!(bench.reconcile("t", Some("no-such-agent")), [latest()]);
    let unknown = text("Task is unknown to the agent");
    assert_eq!(bench.reconcile("never", Some(&agent)), [(TaskState::Gone, unknown.clone())]);
    let nowhere = (TaskState::NotKnown, text("Task is unknown"));
    assert_eq!(bench.reconcile("never", None), std::slice::from_ref(&nowhere));
    assert_eq!(bench.reconcile("never", Some("no-such-agent")), [nowhere]);

    // Implicit: what is in the table, a finished task too until it is acknowledged.
    bench.report("t", TaskPhase::Finished);
    let finished = bench.updates().swap_remove(0);
    bench.call(Call::Reconcile(Reconcile::default()));
    let answers = bench.updates();
    assert_eq!(answers.len(), 1);
    assert_eq!((&answers[0].state, &answers[0].data), (&TaskState::Finished, &None));
    bench.acknowledge(&finished);
    bench.call(Call::Reconcile(Reconcile::default()));
    assert_eq!(bench.updates(), []);
    assert_eq!(bench.reconcile("t", Some(&agent)), [(TaskState::Gone, unknown)]);
}

#[test]
fn kill_reaches_the_executor_or_is_answered_like_reconciliation() {
    let mut bench = Bench::running("t");
    let kill = |task: &str, agent: Option<&str>| {
        let (task_id, agent_id) = (task.into(), agent.map(Into::into));
        Call::Kill(Kill { task_id, agent_id, kill_policy: None })
    };
    bench.call(kill("t", None));
    assert_eq!(bench.take_orders(), [ToExecutor::Kill("t".into())]);
    bench.call(kill("t", Some("elsewhere")));
    assert_eq!((bench.take_orders(), bench.states()), (Vec::new(), Vec::new()), "ignored");
    bench.call(kill("never", None));
    assert_eq!(bench.states(), [(TaskState::NotKnown, Some(StatusReason::Reconciliation))]);

    // Kept while the agent is away.
    bench.signal(0, HostSignal::AgentStopped);
    bench.call(kill("t", None));
    bench.signal(0, HostSignal::AgentStarted);
    assert_eq!(bench.take_orders(), []);
    bench.run(3_100);
    assert_eq!(bench.take_orders(), [ToExecutor::Kill("t".into())]);
}

#[test]
fn a_task_killed_before_it_was_handed_over_never_reaches_the_host() {
    let mut bench = Bench::new(ours(), &["*"]);
    bench.launch("t");
    let kill = Kill { task_id: "t".into(), agent_id: None, kill_policy: None };
    bench.call(Call::Kill(kill));
    let killed = (TaskState::Killed, Some(StatusReason::TaskKilledDuringLaunch));
    assert_eq!(bench.states(), [killed]);
    bench.run(2_000);
    assert_eq!(bench.take_orders(), []);
    assert!((cpus(&bench.offers()[0]) - 4.0).abs() < 1e-9, "executor and task are given back");
}

#[test]
fn messages_go_both_ways() {
    let mut bench = Bench::running("t");
    let agent_id = bench.mesos.agent_id(0).unwrap().clone();
    let message = |executor: &str, data: u8| Message {
        agent_id: agent_id.clone(),
        executor_id: executor.into(),
        data: Blob(vec![data]),
    };
    bench.call(Call::Message(message("ex", 1)));
    assert!(bench.call(Call::Message(message("nobody", 2))).is_accepted());
    assert_eq!(bench.take_orders(), [ToExecutor::Message(vec![1])]);
    bench.mesos.from_executor(bench.now, 0, FromExecutor::Message(vec![3]));
    bench.run(5);
    assert_eq!(bench.events(), [Event::Message(message("ex", 3))]);
}

/// Recorded (e01): FAILURE first, and no `TASK_FAILED` for what has ended.
#[test]
fn the_end_of_an_executor_is_a_failure_and_fails_its_tasks() {
    for (ended, kinds) in
        [(false, &[EventType::Failure, EventType::Update][..]), (true, &[EventType::Failure][..])]
    {
        let mut bench = Bench::running("t");
        if ended {
            bench.report_all("t", &[TaskPhase::Finished]);
        }
        bench.events();
        bench.mesos.from_executor(bench.now, 0, FromExecutor::Exited);
        bench.run(5);
        let events = bench.events();
        assert_eq!(events.iter().map(Event::kind).collect::<Vec<_>>(), kinds);
        if let Some(Event::Update(status)) = events.get(1) {
            assert_eq!(status.reason, Some(StatusReason::ExecutorTerminated));
            assert_eq!(status.state, TaskState::Failed);
        }
    }
}
