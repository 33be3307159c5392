mod property;

use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::mesos::v1::TaskState;
use crate::mesos::v1::executor::{Kill, Subscribed, Update};

fn terms() -> Terms {
    Terms {
        framework_id: "f".into(),
        executor_id: "ex".into(),
        checkpoint: true,
        recovery_ms: 900_000,
        resubscribe_within_ms: 2_000,
        shutdown_grace_ms: 5_000,
    }
}

fn subscribed() -> Event {
    let info: Subscribed = serde_json::from_value(json!({
        "executor_info": {"executor_id": {"value": "ex"}},
        "framework_info": {"user": "root", "name": "n"},
        "agent_info": {"hostname": "a1", "port": 5051, "id": {"value": "S1"}},
    }))
    .unwrap();
    Event::Subscribed(Box::new(info))
}

fn launch(task: &str) -> Event {
    let task = json!({"name": task, "task_id": {"value": task}, "agent_id": {"value": "S1"}});
    Event::Launch(serde_json::from_value(task).unwrap())
}

fn report(task: &str, state: TaskState, uuid: u128) -> Input {
    let uuid = Uuid::from_u128(uuid);
    let (message, data) = (None, None);
    Input::Report(Report { task: task.into(), state, message, data, uuid, timestamp: 1.5 })
}

fn acknowledged(task: &str, uuid: u128) -> Input {
    let uuid = Blob(Uuid::from_u128(uuid).as_bytes().to_vec());
    Input::Heard(Event::Acknowledged(Acknowledged { task_id: task.into(), uuid }))
}

/// A session that has subscribed and runs task `t`.
fn running() -> Session {
    let (mut session, effects) = Session::start(Uptime(0), terms());
    assert!(matches!(effects.as_slice(), [Effect::Subscribe(_)]), "{effects:?}");
    session.handle(Uptime(0), Input::Heard(subscribed()));
    session.handle(Uptime(0), Input::Heard(launch("t")));
    session
}

/// What a SUBSCRIBE among the effects says: tasks, and the states of updates.
fn subscribe(effects: &[Effect]) -> Option<(Vec<String>, Vec<String>)> {
    effects.iter().find_map(|effect| match effect {
        Effect::Subscribe(request) => match &request.call {
            Call::Subscribe(call) => Some((
                call.unacknowledged_tasks.iter().map(|t| t.task_id.0.clone()).collect(),
                call.unacknowledged_updates.iter().map(|u| u.status.state.to_string()).collect(),
            )),
            _ => None,
        },
        _ => None,
    })
}

fn updates(effects: &[Effect]) -> Vec<(u64, &TaskStatus)> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Call { call, request } => match &request.call {
                Call::Update(update) => Some((*call, &update.status)),
                _ => None,
            },
            _ => None,
        })
        .collect()
}

fn exit(effects: &[Effect]) -> Option<&Ending> {
    effects.iter().find_map(|effect| match effect {
        Effect::Exit(ending) => Some(ending),
        _ => None,
    })
}

fn answer(status: u16, body: &str) -> Failure {
    Failure::Answer { status, body: body.to_owned() }
}

#[test]
fn an_update_has_what_an_agent_asks_for() {
    let mut session = running();
    let effects = session.handle(Uptime(0), report("t", TaskState::Starting, 7));
    let [(1, status)] = updates(&effects)[..] else { panic!("{effects:?}") };
    let written = serde_json::to_value(status).unwrap();
    let expected = json!({
        "task_id": {"value": "t"}, "state": "TASK_STARTING", "source": "SOURCE_EXECUTOR",
        "executor_id": {"value": "ex"}, "timestamp": 1.5, "uuid": "AAAAAAAAAAAAAAAAAAAABw==",
    });
    assert_eq!(written, expected);
}

#[test]
fn what_is_not_acknowledged_is_said_with_every_subscribe() {
    let mut session = running();
    let none: Vec<String> = Vec::new();
    // Nothing said yet: the task itself.
    let effects = session.handle(Uptime(1_000), Input::Lost(Failure::Broken));
    assert_eq!(subscribe(&effects), Some((vec!["t".to_owned()], none.clone())));
    session.handle(Uptime(1_010), Input::Heard(subscribed()));
    // Said and answered 202, which means nothing.
    session.handle(Uptime(1_020), report("t", TaskState::Starting, 1));
    session.handle(Uptime(1_020), report("t", TaskState::Running, 2));
    let effects = session.handle(Uptime(2_000), Input::Lost(Failure::Broken));
    let both = vec!["TASK_STARTING".to_owned(), "TASK_RUNNING".to_owned()];
    assert_eq!(subscribe(&effects), Some((vec!["t".to_owned()], both)));
    session.handle(Uptime(2_010), Input::Heard(subscribed()));
    // One of them acknowledged: the agent knows the task.
    session.handle(Uptime(2_020), acknowledged("t", 1));
    let effects = session.handle(Uptime(3_000), Input::Lost(Failure::Broken));
    assert_eq!(subscribe(&effects), Some((none.clone(), vec!["TASK_RUNNING".to_owned()])));
    session.handle(Uptime(3_010), Input::Heard(subscribed()));
    session.handle(Uptime(3_020), acknowledged("t", 2));
    let effects = session.handle(Uptime(4_000), Input::Lost(Failure::Broken));
    assert_eq!(subscribe(&effects), Some((none.clone(), none)));
}

#[test]
fn what_is_said_while_the_agent_is_away_goes_out_when_it_is_back() {
    let mut session = running();
    session.handle(Uptime(1_000), Input::Lost(Failure::Broken));
    // The attempt is under way: too late for its SUBSCRIBE.
    let effects = session.handle(Uptime(1_001), report("t", TaskState::Starting, 1));
    assert!(effects.is_empty(), "{effects:?}");
    let effects = session.handle(Uptime(1_010), Input::Heard(subscribed()));
    assert_eq!(updates(&effects).len(), 1);
    // It is not said twice on one stream.
    assert!(session.handle(Uptime(1_020), Input::Tick).is_empty());
}

#[test]
fn point_04_attempts_go_on_in_time_for_an_agent_that_restarts() {
    let mut session = running();
    let mut now = Uptime(1_000);
    let mut effects = session.handle(now, Input::Lost(Failure::Broken));
    // As recorded in e10 and e14: refused, then 404, then 503.
    let answers = [Failure::Broken, answer(404, "404 Not Found."), answer(503, "Agent has not…")];
    for failure in answers.into_iter().cycle().take(30) {
        assert!(subscribe(&effects).is_some(), "at {now:?}: {effects:?}");
        assert_eq!(session.handle(now, Input::Lost(failure)), []);
        let wake = session.next_wake().unwrap();
        assert!((50..=200).contains(&wake.since(now)), "{wake:?}");
        now = wake;
        effects = session.handle(now, Input::Tick);
    }
    // One that hangs is given up while there is still time.
    assert_eq!(session.next_wake(), Some(now.plus_ms(1_000)));
    assert!(subscribe(&session.handle(now.plus_ms(1_000), Input::Tick)).is_some());
}

#[test]
fn point_05_streams_that_do_not_last_make_no_tight_loop() {
    let mut session = running();
    let (mut now, mut attempts) = (Uptime(10_000), 0);
    while now < Uptime(20_000) {
        let effects = session.handle(now, Input::Lost(Failure::Broken));
        attempts += usize::from(subscribe(&effects).is_some());
        if subscribe(&effects).is_none() {
            now = session.next_wake().unwrap();
            attempts += usize::from(subscribe(&session.handle(now, Input::Tick)).is_some());
        }
        session.handle(now, Input::Heard(subscribed()));
    }
    assert!((40..=60).contains(&attempts), "{attempts}");
}

#[test]
fn point_08_some_answers_are_final() {
    let table = [
        (400, "Framework cannot be found", true),
        (400, "Executor cannot be found", true),
        (401, "401 Unauthorized.", true),
        (403, "", true),
        (415, "", true),
        (404, "404 Not Found.", false),
        (500, "", false),
        (503, "Agent has not finished recovery", false),
    ];
    for (status, body, last) in table {
        let mut session = running();
        session.handle(Uptime(1_000), Input::Lost(Failure::Broken));
        let effects = session.handle(Uptime(1_000), Input::Lost(answer(status, body)));
        let expected = Ending::Refused { status, body: body.to_owned() };
        assert_eq!(exit(&effects), last.then_some(&expected), "{status} {body}");
        // What is over stays so.
        assert_eq!(last, session.next_wake().is_none());
    }
}

#[test]
fn an_agent_that_stays_away_ends_the_process() {
    let mut session = running();
    session.handle(Uptime(5_000), Input::Lost(Failure::Broken));
    for at in [5_001, 500_000, 904_999] {
        let effects = session.handle(Uptime(at), Input::Lost(Failure::Broken));
        assert_eq!(exit(&effects), None, "{at}");
    }
    let effects = session.handle(Uptime(905_000), Input::Tick);
    assert_eq!(exit(&effects), Some(&Ending::AgentGone { seconds: 900 }));
}

#[test]
fn without_checkpointing_the_end_of_the_agent_is_the_end() {
    let terms = Terms { checkpoint: false, ..terms() };
    let (mut session, _) = Session::start(Uptime(0), terms);
    // The agent is there, as it has just started this process.
    assert_eq!(exit(&session.handle(Uptime(0), Input::Lost(Failure::Broken))), None);
    session.handle(Uptime(200), Input::Tick);
    session.handle(Uptime(200), Input::Heard(subscribed()));
    let effects = session.handle(Uptime(300), Input::Lost(Failure::Broken));
    assert_eq!(exit(&effects), Some(&Ending::NotCheckpointed));
}

#[test]
fn point_60_the_process_ends_only_when_its_last_words_are_acknowledged() {
    let mut session = running();
    session.handle(Uptime(0), report("t", TaskState::Finished, 1));
    assert_eq!(exit(&session.handle(Uptime(0), Input::Leave)), None);
    assert_eq!(exit(&session.handle(Uptime(9_000), Input::Lost(Failure::Broken))), None);
    session.handle(Uptime(9_500), Input::Heard(subscribed()));
    // Of another update.
    assert_eq!(exit(&session.handle(Uptime(9_600), acknowledged("t", 2))), None);
    let effects = session.handle(Uptime(9_600), acknowledged("t", 1));
    assert_eq!(exit(&effects), Some(&Ending::Done));
}

#[test]
fn a_shutdown_is_obeyed_before_the_agent_kills() {
    let mut session = running();
    let effects = session.handle(Uptime(1_000), Input::Heard(Event::Shutdown));
    assert_eq!(effects, [Effect::Order(Order::Shutdown)]);
    session.handle(Uptime(1_000), report("t", TaskState::Killed, 1));
    session.handle(Uptime(1_000), Input::Leave);
    // A framework that is torn down acknowledges nothing any more.
    assert_eq!(session.next_wake(), Some(Uptime(5_500)));
    assert_eq!(exit(&session.handle(Uptime(5_499), Input::Tick)), None);
    assert_eq!(exit(&session.handle(Uptime(5_500), Input::Tick)), Some(&Ending::OutOfGrace));
}

/// As recorded in e21b: the agent has given the executor up.
#[test]
fn a_shutdown_may_come_in_place_of_subscribed() {
    let mut session = running();
    session.handle(Uptime(1_000), Input::Lost(Failure::Broken));
    let effects = session.handle(Uptime(1_100), Input::Heard(Event::Shutdown));
    assert_eq!(effects, [Effect::Order(Order::Shutdown)]);
    let effects = session.handle(Uptime(1_100), report("t", TaskState::Killed, 1));
    assert_eq!(updates(&effects).len(), 1);
    assert_eq!(subscribe(&session.handle(Uptime(3_000), Input::Tick)), None);
}

#[test]
fn nothing_is_said_that_would_never_be_acknowledged() {
    let mut session = running();
    let of_nobody = session.handle(Uptime(0), report("x", TaskState::Running, 1));
    assert!(matches!(&of_nobody[..], [Effect::Warn(_)]), "{of_nobody:?}");
    session.handle(Uptime(0), report("t", TaskState::Failed, 2));
    let after_the_end = session.handle(Uptime(0), report("t", TaskState::Running, 3));
    assert!(matches!(&after_the_end[..], [Effect::Warn(_)]), "{after_the_end:?}");
    session.handle(Uptime(0), acknowledged("t", 2));
    let forgotten = session.handle(Uptime(0), report("t", TaskState::Running, 4));
    assert!(matches!(&forgotten[..], [Effect::Warn(_)]), "{forgotten:?}");
    assert_eq!(exit(&session.handle(Uptime(0), Input::Leave)), Some(&Ending::Done));
}

#[test]
fn a_task_that_is_delivered_twice_is_taken_once() {
    let mut session = running();
    assert_eq!(session.handle(Uptime(0), Input::Heard(launch("t"))), []);
    let other = session.handle(Uptime(0), Input::Heard(launch("u")));
    assert!(matches!(&other[..], [Effect::Order(Order::Launch(_))]));
    assert_eq!(session.unacknowledged_tasks().count(), 2);
}

#[test]
fn a_kill_carries_the_grace_that_somebody_gave() {
    let mut session = running();
    for (policy, grace_ms) in [
        (json!({"task_id": {"value": "t"}}), None),
        (json!({"task_id": {"value": "t"}, "kill_policy": {}}), None),
        (
            json!({"task_id": {"value": "t"}, "kill_policy": {"grace_period": {"nanoseconds": 3_000_000_000_i64}}}),
            Some(3_000),
        ),
        (
            json!({"task_id": {"value": "t"}, "kill_policy": {"grace_period": {"nanoseconds": -5_000_000}}}),
            Some(0),
        ),
    ] {
        let kill: Kill = serde_json::from_value(policy).unwrap();
        let effects = session.handle(Uptime(0), Input::Heard(Event::Kill(kill)));
        assert_eq!(effects, [Effect::Order(Order::Kill { task: "t".into(), grace_ms })]);
    }
}

#[test]
fn what_stays_without_acknowledgement_is_repeated_slower_and_slower() {
    let mut session = running();
    session.handle(Uptime(0), report("t", TaskState::Starting, 1));
    let mut times = Vec::new();
    while times.len() < 9 {
        let now = session.next_wake().unwrap();
        times.push(now.0 / 1_000);
        assert_eq!(updates(&session.handle(now, Input::Tick)).len(), 1);
    }
    assert_eq!(times, [10, 30, 70, 150, 310, 630, 1_230, 1_830, 2_430]);
    session.handle(Uptime(3_000_000), acknowledged("t", 1));
    assert_eq!(session.next_wake(), None);
}

#[test]
fn point_13_a_call_that_fails_shows_what_to_do() {
    let table: [(Failure, bool, bool); 5] = [
        (Failure::Broken, true, false),
        (answer(503, "Agent has not finished recovery"), true, false),
        (answer(404, "404 Not Found."), true, false),
        (answer(400, "Executor cannot be found"), true, false),
        (answer(400, "Failed to validate Executor::Call: Not a valid UUID"), false, true),
    ];
    for (failure, again, given_up) in table {
        let mut session = running();
        session.handle(Uptime(0), report("t", TaskState::Starting, 1));
        let told = failure.clone();
        let effects = session.handle(Uptime(5_000), Input::Failed { call: 1, failure: told });
        assert_eq!(subscribe(&effects).is_some(), again, "{failure:?}");
        assert_eq!(session.unacknowledged_updates().count() == 0, given_up, "{failure:?}");
    }
}

#[test]
fn a_call_of_an_earlier_stream_says_nothing_of_the_present_one() {
    let mut session = running();
    session.handle(Uptime(0), report("t", TaskState::Starting, 1));
    session.handle(Uptime(5_000), Input::Lost(Failure::Broken));
    session.handle(Uptime(5_010), Input::Heard(subscribed()));
    let late = Input::Failed { call: 1, failure: Failure::Broken };
    assert_eq!(session.handle(Uptime(6_000), late), []);
}

#[test]
fn messages_are_for_those_who_are_there() {
    let mut session = running();
    assert_eq!(session.handle(Uptime(0), Input::Send(vec![1])).len(), 1);
    session.handle(Uptime(1_000), Input::Lost(Failure::Broken));
    assert_eq!(session.handle(Uptime(1_000), Input::Send(vec![1])), []);
}

#[test]
fn point_48_an_error_ends_it_and_an_unknown_event_does_not() {
    let mut session = running();
    let unknown = session.handle(Uptime(0), Input::Heard(Event::Unknown("NEW".to_owned())));
    assert!(matches!(&unknown[..], [Effect::Warn(_)]));
    assert_eq!(session.handle(Uptime(0), Input::Heard(Event::Heartbeat)), []);
    let effects = session.handle(Uptime(0), Input::Heard(Event::Error("no".to_owned())));
    assert_eq!(exit(&effects), Some(&Ending::Told("no".to_owned())));
    assert_eq!(session.handle(Uptime(1), Input::Tick), []);
}
