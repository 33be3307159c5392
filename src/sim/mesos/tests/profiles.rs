//! What differs from one version of the master to the next.

use serde_json::{Value, json};

use super::*;

/// A master of that version with a public agent.
fn master(version: &str) -> (SimMesos, Time) {
    let now = Time(1_000_000);
    let mut mesos = SimMesos::new(now, MesosConfig::new(version.parse().unwrap(), 7));
    mesos.add_agent(now, host(1, "slave_public"));
    mesos.advance(now.plus_ms(5_000));
    (mesos, now.plus_ms(5_000))
}

fn told(mesos: &mut SimMesos, now: Time, kind: &str) -> Value {
    match mesos.operate(now, kind, &json!({})).unwrap() {
        OperatorAnswer::Told(told) => told[kind.to_lowercase()].clone(),
        OperatorAnswer::Done => panic!("nothing told"),
    }
}

/// Subscribes as ours does on a new master. Gives the stream, and the framework as it was taken.
fn subscribed(mesos: &mut SimMesos, now: Time) -> (FrameworkId, String, Value) {
    let call = Subscribe { framework_info: ours(), suppressed_roles: Vec::new() };
    let stream = mesos.subscribe(now, ConnId(1), None, call).unwrap();
    let frameworks = told(mesos, now, "GET_FRAMEWORKS");
    let info = frameworks["frameworks"][0]["framework_info"].clone();
    let id = FrameworkId(info["id"]["value"].as_str().unwrap().to_owned());
    (id, stream, info)
}

#[test]
fn an_older_master_knows_less_of_everything() {
    // Version, capabilities of ours, whether it knows roles, whether it tells reservations as such,
    // and deactivation; which calls it knows.
    const NEWER: &[&str] = &["UPDATE_FRAMEWORK", "DEACTIVATE_AGENT", "MARK_AGENT_GONE"];
    const OLDER: &[&str] = &[];
    let table = [
        ("1.0.4", 0, false, false, false, OLDER),
        ("1.4.0", 2, true, true, false, OLDER),
        ("1.9.0", 2, true, true, true, NEWER),
        ("1.11.0", 2, true, true, true, NEWER),
    ];
    for (version, capabilities, roles, reservations, deactivated, calls) in table {
        let (mut mesos, now) = master(version);
        assert_eq!(told(&mut mesos, now, "GET_VERSION")["version_info"]["version"], version);
        let (id, stream, info) = subscribed(&mut mesos, now);
        let known = info["capabilities"].as_array().map_or(0, Vec::len);
        assert_eq!((known, info["roles"].is_array()), (capabilities, roles), "{version}: {info}");

        let agent = told(&mut mesos, now, "GET_AGENTS")["agents"][0].clone();
        let total = &agent["total_resources"][0];
        let own = &agent["agent_info"]["resources"][0];
        assert_eq!(total["role"], "slave_public", "{version}");
        assert_eq!(total["reservations"].is_array(), reservations, "{version}");
        assert_eq!(
            (own["role"].is_null(), own["reservations"].is_array()),
            (reservations, reservations)
        );
        assert_eq!(agent.get("deactivated").is_some(), deactivated, "{version}");
        assert_eq!(agent["capabilities"].is_array(), version != "1.0.4", "{version}");

        let update = Subscribe { framework_info: mine(&id), suppressed_roles: Vec::new() };
        let outcome = mesos.call_as(now, &id, &stream, Call::UpdateFramework(update));
        if calls.contains(&"UPDATE_FRAMEWORK") {
            assert_eq!(outcome.status, 200, "{version}: {outcome:?}");
        } else {
            let words = "Failed to validate scheduler::Call: Expecting 'type' to be present";
            assert_eq!((outcome.status, outcome.body.as_str()), (400, words), "{version}");
        }
        for kind in ["DEACTIVATE_AGENT", "MARK_AGENT_GONE"] {
            let call = json!({ kind.to_lowercase(): { "agent_id": agent["agent_info"]["id"] } });
            let known = calls.contains(&kind);
            let words = "Failed to validate master::Call: Expecting 'type' to be present";
            match mesos.operate(now, kind, &call) {
                Ok(_) => assert!(known, "{version}: {kind}"),
                Err(refused) => assert_eq!((known, refused.body.as_str()), (false, words)),
            }
        }
    }
}

fn mine(id: &FrameworkId) -> FrameworkInfo {
    FrameworkInfo { id: Some(id.clone()), ..ours() }
}

#[test]
fn a_task_that_cannot_be_seen_is_lost_where_nothing_better_is_known() {
    for (version, state) in [("1.0.4", TaskState::Lost), ("1.4.0", TaskState::NotKnown)] {
        let (mut mesos, now) = master(version);
        let (id, stream, _) = subscribed(&mut mesos, now);
        let task = ReconcileTask { task_id: "t".into(), agent_id: None };
        let ask = Call::Reconcile(Reconcile { tasks: vec![task] });
        assert!(mesos.call_as(now, &id, &stream, ask).is_accepted());
        let states = mesos.drain_events().into_iter().filter_map(|(_, outgoing)| match outgoing {
            Outgoing::Event(event) => match *event {
                Event::Update(status) => Some(status.state),
                _ => None,
            },
            _ => None,
        });
        assert_eq!(states.collect::<Vec<_>>(), [state], "{version}");
    }
}
