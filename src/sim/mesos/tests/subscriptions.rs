//! Streams: who gets one, who loses it, and which calls are refused.

use super::*;

/// The texts are recorded (07a) or read in the source.
#[test]
fn a_framework_that_may_not_subscribe_gets_an_error_on_a_stream_that_ends() {
    let multi = ours().capabilities;
    let roles = |roles: &[&str]| roles.iter().map(|&role| role.to_owned()).collect::<Vec<_>>();
    let cases = [
        (
            FrameworkInfo { role: Some("a b".to_owned()), ..plain() },
            "'FrameworkInfo.role' is not a valid role: Role component 'a b' is invalid because it \
             contains backspace or whitespace",
        ),
        (
            FrameworkInfo { roles: roles(&["a"]), ..plain() },
            "'FrameworkInfo.roles' must not be set when the framework is not MULTI_ROLE capable",
        ),
        (
            FrameworkInfo { role: Some("a".to_owned()), capabilities: multi, ..plain() },
            "'FrameworkInfo.role' must not be set when the framework is MULTI_ROLE capable",
        ),
        (
            FrameworkInfo { roles: roles(&["a", "a"]), ..ours() },
            "'FrameworkInfo.roles' contains duplicate items: { a }",
        ),
        (
            FrameworkInfo { roles: roles(&["/x", "..", "-x"]), ..ours() },
            "'FrameworkInfo.roles' contains invalid role: Role '/x' cannot start with a slash",
        ),
        (
            FrameworkInfo { failover_timeout: 1e30, ..plain() },
            "The framework failover_timeout (1e+30) is invalid",
        ),
    ];
    for (info, text) in cases {
        let mut mesos = SimMesos::new(Time(0), config());
        let call = Subscribe { framework_info: info, suppressed_roles: Vec::new() };
        mesos.subscribe(Time(1), ConnId(1), None, call).expect("a stream");
        let error = Outgoing::Event(Box::new(Event::Error(text.to_owned())));
        assert_eq!(mesos.drain_events(), [(ConnId(1), error), (ConnId(1), Outgoing::Close)]);
    }
}

#[test]
fn the_first_events_are_subscribed_heartbeat_and_offers() {
    let mut bench = Bench::new(ours(), &["*"]);
    let first: Vec<_> = bench.events_of(ConnId(1)).iter().map(Event::kind).collect();
    assert_eq!(first, [EventType::Subscribed, EventType::Heartbeat, EventType::Offers]);
    bench.run(31_000);
    assert_eq!(bench.events_of(ConnId(1)), [Event::Heartbeat, Event::Heartbeat]);
}

#[test]
fn point_23_calls_are_fenced_by_the_stream_id() {
    let mut bench = Bench::new(ours(), &["*"]);
    let old = bench.stream.clone();
    let events = bench.subscribe(2, bench.again(), &[]);
    assert_ne!(bench.stream, old);
    assert_eq!(events.len(), 2, "SUBSCRIBED and HEARTBEAT; offers come with the next allocation");
    let told = bench.events_of(ConnId(1));
    assert_eq!(told.last(), Some(&Event::Error("Framework failed over".to_owned())));
    bench.run(1_000);
    assert_eq!(bench.offers().len(), 1);

    let id = bench.id.clone();
    let reconcile = || Call::Reconcile(Reconcile::default());
    let no_match = format!(
        "The stream ID '{old}' included in this request didn't match the stream ID currently \
         associated with framework ID {id}"
    );
    let request = |id: &FrameworkId| Request { framework_id: Some(id.clone()), call: reconcile() };
    let nobody = FrameworkId::from("nope");
    let cases = [
        (request(&nobody), Some(old.clone()), 400, "Framework cannot be found"),
        (
            request(&id),
            None,
            400,
            "All non-subscribe calls should include the 'Mesos-Stream-Id' header",
        ),
        (request(&id), Some(old), 400, no_match.as_str()),
        (request(&id), Some(bench.stream.clone()), 202, ""),
    ];
    for (request, stream, status, body) in cases {
        let outcome = bench.mesos.call(bench.now, stream.as_deref(), request);
        assert_eq!((outcome.status, outcome.body.as_str()), (status, body));
    }
    bench.mesos.disconnect(bench.now, bench.conn);
    let outcome = bench.call(reconcile());
    assert_eq!((outcome.status, outcome.body.as_str()), (403, "Framework is not subscribed"));
}

#[test]
fn a_framework_that_does_not_come_back_is_removed_with_its_tasks() {
    let mut bench = Bench::running("t");
    bench.mesos.disconnect(bench.now, bench.conn);
    bench.run(59_000);
    assert!(bench.take_orders().is_empty());
    let events = bench.subscribe(2, bench.again(), &[]);
    assert!(matches!(events[..], [Event::Subscribed(_), ..]), "in time");
    bench.mesos.disconnect(bench.now, bench.conn);
    bench.run(60_010);
    assert_eq!(bench.take_orders(), [ToExecutor::Shutdown]);
    let events = bench.subscribe(3, bench.again(), &[]);
    assert_eq!(events, [Event::Error("Framework has been removed".to_owned())]);
}

#[test]
fn teardown_ends_stream_and_framework() {
    let mut bench = Bench::running("t");
    assert!(bench.call(Call::Teardown).is_accepted());
    assert!(bench.events.contains(&(bench.conn, Outgoing::Close)));
    assert_eq!(bench.take_orders(), [ToExecutor::Shutdown]);
    let agent = bench.mesos.get_agents(bench.now).unwrap().agents.swap_remove(0);
    assert_eq!(agent.allocated_resources, []);
}

#[test]
fn point_19_and_20_principal_and_checkpoint_cannot_be_changed() {
    let mut bench = Bench::new(ours(), &[]);
    let other = FrameworkInfo { principal: Some("somebody".to_owned()), ..bench.again() };
    let events = bench.subscribe(2, other, &[]);
    assert_eq!(events, [Event::Error("Changing framework's principal is not allowed.".into())]);
}
