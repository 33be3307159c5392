//! The maintenance schedule: what Mesos refuses (`maintenance.cpp`), and what it does.

use serde_json::{Value, json};

use super::*;

impl Bench {
    fn operate(&mut self, kind: &str, parameters: &Value) -> Result<OperatorAnswer, String> {
        let call = json!({ kind.to_lowercase(): parameters });
        self.mesos.operate(self.now, kind, &call).map_err(|refused| format!("{refused:?}"))
    }

    fn schedule(&mut self, windows: &Value) -> Result<OperatorAnswer, String> {
        let schedule = json!({ "schedule": { "windows": windows } });
        self.operate("UPDATE_MAINTENANCE_SCHEDULE", &schedule)
    }
}

fn machine(number: u8) -> Value {
    json!({ "hostname": format!("a{number}"), "ip": format!("10.0.0.{number}") })
}

fn window(machines: &[Value], seconds: i64) -> Value {
    let nanoseconds = |seconds: i64| json!({ "nanoseconds": seconds * 1_000_000_000 });
    let away = json!({ "start": nanoseconds(7), "duration": nanoseconds(seconds) });
    json!({ "machine_ids": machines, "unavailability": away })
}

#[test]
fn schedules_that_make_no_sense_are_refused_and_the_one_before_stays() {
    let mut bench = Bench::new(ours(), &["*", "*"]);
    let good = json!([window(&[machine(1)], 60)]);
    bench.schedule(&good).unwrap();
    let upper = json!({ "hostname": "A1", "ip": "10.0.0.1" });
    for (windows, words) in [
        (json!([{ "machine_ids": [machine(1)] }]), "'unavailability'"),
        (json!([window(&[], 60)]), "List of machines in the maintenance window is empty"),
        (json!([window(&[machine(1)], -1)]), "'duration' is negative"),
        (json!([window(&[json!({})], 60)]), "Both 'hostname' and 'ip' for a machine are empty"),
        (json!([window(&[json!({ "ip": "a1" })], 60)]), "Failed to parse"),
        (json!([window(&[machine(1), machine(1)], 60)]), "appears more than once"),
        (json!([window(&[machine(1)], 60), window(&[machine(1)], 90)]), "appears more than once"),
        (json!([window(&[machine(1)], 60), window(&[upper], 60)]), "appears more than once"),
    ] {
        let refused = bench.schedule(&windows).unwrap_err();
        assert!(refused.contains("400") && refused.contains(words), "{windows}: {refused}");
        assert_eq!(bench.mesos.maintenance_schedule()["windows"], good);
    }
    // Windows of different machines may overlap, and machines may be unknown.
    let overlapping = json!([window(&[machine(1)], 60), window(&[machine(2), machine(9)], 90)]);
    bench.schedule(&overlapping).unwrap();
}

#[test]
fn all_offers_are_taken_back_and_come_again_with_what_is_announced() {
    let mut bench = Bench::new(ours(), &["*", "*"]);
    assert_eq!(bench.offers().len(), 2);
    bench.events.clear();
    bench.schedule(&json!([window(&[machine(1)], 60)])).unwrap();
    bench.run(2_000);
    let events = bench.events();
    let rescinds = events.iter().filter(|event| event.kind() == EventType::Rescind);
    assert_eq!(rescinds.count(), 2, "also of those that nothing is announced of (recorded, 13)");
    let offers = events.iter().filter_map(|event| match event {
        Event::Offers(offers) => Some(offers),
        _ => None,
    });
    let announced = offers.flatten().map(|offer| offer.unavailability.is_some());
    assert_eq!(announced.filter(|announced| *announced).count(), 1);
}

#[test]
fn a_machine_goes_down_with_its_agent_and_stays_in_the_schedule_until_it_is_up() {
    let mut bench = Bench::new(ours(), &["*", "*"]);
    let machines = json!({ "machines": [machine(1)] });
    let refused = bench.operate("START_MAINTENANCE", &machines).unwrap_err();
    assert!(refused.contains("is not part of a maintenance schedule"), "{refused}");
    let refused = bench.operate("START_MAINTENANCE", &json!({ "machines": [] })).unwrap_err();
    assert!(refused.contains("List of machines is empty"), "{refused}");
    bench.schedule(&json!([window(&[machine(1), machine(2)], 60)])).unwrap();
    let refused = bench.operate("STOP_MAINTENANCE", &machines).unwrap_err();
    assert!(refused.contains("is not in DOWN mode"), "{refused}");
    bench.operate("START_MAINTENANCE", &machines).unwrap();
    let refused = bench.operate("START_MAINTENANCE", &machines).unwrap_err();
    assert!(refused.contains("is not in DRAINING mode"), "{refused}");
    let agents = |bench: &mut Bench| bench.mesos.get_agents(bench.now).unwrap().agents.len();
    assert_eq!(agents(&mut bench), 1);
    bench.signal(0, HostSignal::AgentStarted);
    bench.run(5_000);
    assert_eq!(agents(&mut bench), 1, "it is not let in");
    let refused = bench.schedule(&json!([window(&[machine(2)], 60)])).unwrap_err();
    assert!(refused.contains("is deactivated and cannot be removed"), "{refused}");
    let status = bench.operate("GET_MAINTENANCE_STATUS", &json!({})).unwrap();
    let OperatorAnswer::Told(status) = status else { panic!("{status:?}") };
    let status = &status["get_maintenance_status"]["status"];
    assert_eq!(status["down_machines"], json!([machine(1)]));
    assert_eq!(status["draining_machines"], json!([{ "id": machine(2) }]));

    bench.operate("STOP_MAINTENANCE", &machines).unwrap();
    assert_eq!(bench.mesos.maintenance_schedule()["windows"], json!([window(&[machine(2)], 60)]));
    bench.signal(0, HostSignal::AgentStarted);
    bench.run(5_000);
    assert_eq!(agents(&mut bench), 2);
}
