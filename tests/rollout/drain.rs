//! Disruptions that are announced to the frameworks beforehand: `rollout.drain`.

use calico_dcos::mesos::v1::scheduler::{Call, Event as MesosEvent};
use calico_dcos::mesos::v1::{FrameworkId, InverseOffer, OfferId, TaskState, Unavailability};
use calico_dcos::plan::control::Scope;
use calico_dcos::plan::notice::{Notice, ScheduleEdit};
use calico_dcos::rollout::event::Event;
use calico_dcos::store::StoreEvent;
use calico_dcos::store::keys::{Key, Space};
use calico_dcos::words::{HostName, SpecHash};
use serde_json::{Value, json};

use super::bench::{Bench, CLUSTER, address, agent, attempt_of};

const OLD: SpecHash = SpecHash([9; 32]);

impl Bench {
    /// Hosts with work, and a minute between notice and start.
    fn drained(hosts: &[&'static str], slots: usize) -> Self {
        let mut bench = Self::new(hosts);
        bench.drains("{mode: maintenance, waitSeconds: 60}", slots);
        for host in hosts {
            bench.observe(host);
        }
        bench
    }

    fn drains(&mut self, drain: &str, slots: usize) {
        let text = CLUSTER.replace("rollout: {", &format!("rollout: {{drain: {drain}, "));
        self.write(Some(&text.replace("Restarts: 1", &format!("Restarts: {slots}"))));
        self.wait(5_000);
    }

    /// Our windows in the schedule, by host.
    fn announced(&self) -> Vec<String> {
        let of = |window: &Value| window["machine_ids"][0]["hostname"].as_str().map(str::to_owned);
        self.schedule.iter().filter_map(of).filter(|host| host.starts_with('a')).collect()
    }

    fn notice(&self, host: &str) -> Option<Notice> {
        let entry = self.etcd.get(&Key::Notice(HostName::from(host)))?;
        Some(serde_json::from_str(&entry.value).unwrap())
    }

    /// What offers say of the machine.
    pub(crate) fn unavailability(&self, host: &str) -> Option<Unavailability> {
        let machine = json!({ "hostname": host, "ip": address(host).to_string() });
        let of = |window: &&Value| {
            window["machine_ids"].as_array().is_some_and(|machines| machines.contains(&machine))
        };
        let window = self.schedule.iter().find(of)?;
        Some(serde_json::from_value(window["unavailability"].clone()).unwrap())
    }

    /// The host changes, and all is well.
    fn changes(&mut self, host: &'static str) {
        let task = self.launched().pop().expect("the change is launched");
        let attempt = attempt_of(&task);
        self.update(&task.task_id, host, TaskState::Starting, None);
        self.is_admitted(host, attempt);
        let hash = calico_dcos::job::order::Work::change(&super::bench::job(&task).work)
            .and_then(|change| change.steps.first())
            .map_or(OLD, |step| step.target.hash);
        self.done(&task.task_id, host, attempt, hash);
    }

    fn rescinded(&mut self) {
        self.event(Event::Disconnected);
        self.wait(2_100);
    }
}

/// Maintenance of another machine, as its operator wrote it.
fn of_others(host: &str) -> Value {
    json!({
        "unavailability": { "start": { "nanoseconds": 7 }, "why": "disk" },
        "machine_ids": [{ "ip": address(host).to_string(), "hostname": host }],
    })
}

#[test]
fn s82_the_frameworks_are_told_and_have_their_time_before_a_host_is_disrupted() {
    let mut bench = Bench::drained(&["a1", "a2"], 1);
    bench.schedule.push(of_others("b9"));
    bench.drains("{mode: maintenance, waitSeconds: 61}", 1);
    assert_eq!(bench.announced(), ["a1"], "as many as there are slots");
    let told = bench.now;
    bench.offer("a1");
    bench.wait(1_000);
    assert_eq!((bench.launched(), bench.slot("a1")), (vec![], None));
    assert_eq!(
        (bench.reason("a1"), bench.reason("a2")),
        ("waiting-for-gate".into(), "waiting-for-slot".into())
    );
    assert!(bench.text("a1").starts_with("the frameworks have been told"), "{}", bench.text("a1"));
    // Our own announcement does not hold us back, and is not taken for somebody else's.
    let stored = bench.etcd.get(&Key::Observed("a1".into())).unwrap().value;
    assert!(!stored.contains("\"away\""), "{stored}");

    bench.wait(told.plus_secs(62).since(bench.now));
    bench.confirm("a1");
    bench.offer("a1");
    assert!(bench.slot("a1").is_some(), "{}", bench.text("a1"));
    assert_eq!(bench.announced(), ["a1"], "an edit takes offers back: first the launch arrives");
    bench.changes("a1");
    let waves = |edit: &ScheduleEdit| (edit.add.len(), edit.remove.len());
    let edits: Vec<_> = bench.edits.iter().map(waves).collect();
    assert_eq!(edits, [(1, 0), (1, 0), (0, 1)], "the next is told while this one is at work");
    assert_eq!(bench.slot("a1"), None);
    assert_eq!(bench.announced(), ["a2"], "taken back when the host is done");
    assert_eq!(bench.notice("a1"), None);
    assert!(bench.schedule.contains(&of_others("b9")), "what others wrote is as they wrote it");
}

#[test]
fn s82_it_is_written_down_before_it_is_announced_and_until_it_is_taken_back() {
    let mut bench = Bench::new(&["a1"]);
    bench.observe("a1");
    bench.txns_held = Some(Vec::new());
    bench.drains("{mode: maintenance, waitSeconds: 60}", 1);
    while let Some(held) = bench.txns_held.as_mut().filter(|held| !held.is_empty()) {
        let next = held.remove(0);
        let held = std::mem::take(held);
        bench.txns_held = None;
        let announced = bench.announced();
        assert!(announced.is_empty() || bench.notice("a1").is_some(), "{announced:?}");
        // Whatever follows from the answer is held again.
        bench.txns_held = Some(held);
        bench.let_through(next);
    }
    bench.txns_held = None;
    assert!(bench.notice("a1").unwrap().given.is_some());
    assert_eq!(bench.announced(), ["a1"]);

    // The desire is gone. The record goes after the announcement.
    bench.txns_held = Some(Vec::new());
    bench.drains("{mode: none}", 1);
    while let Some(held) = bench.txns_held.as_mut().filter(|held| !held.is_empty()) {
        let next = held.remove(0);
        assert!(bench.announced().is_empty() || bench.notice("a1").is_some());
        bench.let_through(next);
    }
    bench.txns_held = None;
    assert_eq!((bench.announced(), bench.notice("a1")), (vec![], None));
}

#[test]
fn s82_killed_right_after_the_announcement_the_next_leader_goes_on_or_takes_it_back() {
    for wanted in [true, false] {
        let mut bench = Bench::drained(&["a1"], 1);
        let running = bench.running.clone();
        let written = bench.notice("a1").unwrap();
        // As if the answer had never come.
        let unanswered = Notice { given: None, ..written.clone() };
        let put = calico_dcos::store::txn::Txn::new()
            .put(Key::Notice("a1".into()), serde_json::to_string(&unanswered).unwrap());
        let _ = bench.etcd.txn(&put, None).unwrap();
        if !wanted {
            let put = calico_dcos::store::txn::Txn::new().put(Key::DesiredCluster, CLUSTER);
            let _ = bench.etcd.txn(&put, None).unwrap();
        }
        bench.edits.clear();
        bench.lead();
        for (task, host) in &running {
            bench.reconciled(task, host, TaskState::Running);
        }
        bench.wait(5_000);
        if wanted {
            assert_eq!(bench.announced(), ["a1"]);
            let again = bench.notice("a1").unwrap();
            assert_eq!(again.window, written.window, "it is not announced twice");
            assert!(again.given.is_some());
            continue;
        }
        assert_eq!(bench.announced(), Vec::<String>::new());
        // An edit of the leader before may still be on its way: it is looked for again.
        assert!(bench.notice("a1").is_some());
        let late = json!({
            "machine_ids": [{ "hostname": "a1", "ip": "10.0.0.1" }],
            "unavailability": {
                "start": { "nanoseconds": written.window.from.0 * 1_000_000 },
                "duration": { "nanoseconds": written.window.until.since(written.window.from) * 1_000_000 },
            },
        });
        bench.schedule.push(late);
        bench.wait(61_000);
        assert_eq!((bench.announced(), bench.notice("a1")), (vec![], None));
    }
}

#[test]
fn s82_a_schedule_that_is_closed_to_us_holds_the_host_with_the_reason_and_is_tried_again() {
    let mut bench = Bench::new(&["a1"]);
    bench.schedule_closed = Some("the master forbids it (403)".into());
    bench.drains("{mode: maintenance}", 1);
    bench.observe("a1");
    bench.offer("a1");
    bench.wait(1_000);
    assert_eq!((bench.launched(), bench.reason("a1")), (vec![], "waiting-for-gate".into()));
    assert!(bench.text("a1").contains("(403)"), "{}", bench.text("a1"));
    let stored = bench.etcd.get(&Key::RolloutMeasures).unwrap().value;
    assert!(stored.contains("(403)"), "every surface can tell: {stored}");
    let tried = bench.edits.len();
    bench.wait(60_000);
    assert!((1..=2).contains(&(bench.edits.len() - tried)), "{}", bench.edits.len() - tried);
    bench.schedule_closed = None;
    bench.wait(31_000);
    assert_eq!(bench.announced(), ["a1"]);
    let stored = bench.etcd.get(&Key::RolloutMeasures).unwrap().value;
    assert!(!stored.contains("403"), "{stored}");
    bench.confirm("a1");
    bench.offer("a1");
    assert!(bench.slot("a1").is_some(), "{}", bench.text("a1"));
}

#[test]
fn s82_a_machine_that_somebody_else_has_announced_is_left_alone() {
    let mut bench = Bench::new(&["a1"]);
    bench.schedule.push(of_others("a1"));
    let before = bench.schedule.clone();
    bench.observe("a1");
    bench.drains("{mode: maintenance}", 1);
    assert_eq!(bench.schedule, before);
    assert_eq!((bench.notice("a1"), bench.reason("a1")), (None, "waiting-for-window".into()));

    // And one that somebody announces after us: ours is gone with their edit.
    let mut bench = Bench::drained(&["a1"], 1);
    bench.schedule = before.clone();
    bench.offer("a1");
    bench.wait(70_000);
    assert_eq!((bench.slot("a1"), bench.notice("a1")), (None, None));
    assert_eq!((bench.schedule.clone(), bench.reason("a1")), (before, "waiting-for-window".into()));
}

#[test]
fn s82_an_announcement_that_was_overwritten_is_made_again_and_the_time_begins_anew() {
    let mut bench = Bench::drained(&["a1"], 1);
    bench.wait(50_000);
    // Somebody has replaced the schedule by one that does not know us.
    bench.schedule = vec![of_others("b9")];
    bench.confirm("a1");
    bench.offer("a1");
    bench.wait(20_000);
    assert_eq!((bench.slot("a1"), bench.announced()), (None, vec!["a1".to_owned()]));
    assert_eq!(bench.schedule.len(), 2);
    bench.wait(45_000);
    bench.confirm("a1");
    bench.offer("a1");
    assert!(bench.slot("a1").is_some(), "{}", bench.text("a1"));
}

#[test]
fn s82_inverse_offers_of_our_own_are_agreed_to_even_while_the_host_changes() {
    let mut bench = Bench::drained(&["a1"], 1);
    bench.wait(60_000);
    bench.confirm("a1");
    bench.offer("a1");
    let task = bench.launched().pop().unwrap();
    bench.update(&task.task_id, "a1", TaskState::Starting, None);
    let unavailability = bench.unavailability("a1").unwrap();
    bench.mesos(MesosEvent::InverseOffers(vec![InverseOffer {
        id: OfferId("i1".into()),
        url: None,
        framework_id: FrameworkId("f1".into()),
        agent_id: Some(agent("a1")),
        unavailability,
        resources: vec![],
    }]));
    let agrees = |call: &Call| matches!(call, Call::AcceptInverseOffers(_));
    assert!(bench.calls.iter().any(agrees), "{:?}", bench.calls);
    // The question of the host is answered with yes, as well.
    bench.is_admitted("a1", attempt_of(&task));
}

#[test]
fn s82_it_is_taken_back_when_the_host_is_paused_halted_released_or_forgotten() {
    for how in ["paused", "released", "forgotten", "deleted"] {
        let mut bench = Bench::drained(&["a1"], 1);
        assert_eq!(bench.announced(), ["a1"]);
        match how {
            "paused" => bench.pause(Scope::Host("a1".into())),
            "forgotten" => {
                bench.event(Event::Agents(vec![]));
                bench.hosts.clear();
                bench.forget("a1");
            }
            "released" => {
                bench.wait(60_000);
                bench.confirm("a1");
                bench.offer("a1");
                let task = bench.launched().pop().unwrap();
                let attempt = attempt_of(&task);
                bench.update(&task.task_id, "a1", TaskState::Starting, None);
                bench.is_admitted("a1", attempt);
                bench.pause(Scope::Host("a1".into()));
                bench.release("a1", attempt);
            }
            _ => bench.write(None),
        }
        bench.wait(10_000);
        assert_eq!((bench.announced(), bench.notice("a1")), (vec![], None), "{how}");
    }
}

#[test]
fn s82_an_announcement_that_nobody_used_within_its_hour_is_made_anew() {
    let mut bench = Bench::drained(&["a1"], 1);
    let first = bench.notice("a1").unwrap().window;
    for _ in 0..65 {
        bench.wait(60_000);
        bench.confirm("a1");
    }
    let second = bench.notice("a1").unwrap().window;
    assert!(second.from > first.from && bench.announced() == ["a1"], "{second:?}");
}

#[test]
fn s82_a_new_subscription_changes_nothing() {
    let mut bench = Bench::drained(&["a1"], 1);
    let notice = bench.notice("a1");
    bench.rescinded();
    assert_eq!((bench.notice("a1"), bench.announced()), (notice, vec!["a1".to_owned()]));
}

/// Mesos keeps windows until they are taken off, and names a machine once.
#[test]
fn an_announcement_of_others_that_is_over_is_waited_for_with_pauses_and_holds_up_nobody_else() {
    let mut bench = Bench::new(&["a1", "a2"]);
    let mut over = of_others("a1");
    over["unavailability"]["duration"] = json!({ "nanoseconds": 9 });
    bench.schedule.push(over);
    bench.drains("{mode: maintenance, waitSeconds: 1}", 1);
    for host in ["a1", "a2"] {
        bench.observe(host);
    }
    bench.wait(60_000);
    assert!(bench.edits.len() <= 6, "{} edits in a minute", bench.edits.len());
    let (reason, text) = (bench.reason("a1"), bench.text("a1"));
    assert!(
        reason == "waiting-for-gate" && text.contains("maintenance of its machine that is over"),
        "{text}"
    );
    let given = |bench: &Bench, host| bench.notice(host).is_some_and(|it| it.given.is_some());
    assert_eq!((given(&bench, "a1"), given(&bench, "a2")), (false, true));
    bench.schedule.remove(0);
    bench.wait(31_000);
    assert!(given(&bench, "a1"), "{}", bench.text("a1"));
}

#[test]
fn s82_what_a_backup_does_not_know_is_taken_back_by_the_leader_that_announced_it() {
    let mut bench = Bench::new(&["a1"]);
    bench.observe("a1");
    let backup = bench.etcd.clone();
    bench.drains("{mode: maintenance, waitSeconds: 60}", 1);
    assert_eq!(bench.announced(), ["a1"]);
    bench.etcd = backup;
    let snapshot = bench.etcd.list(Space::All);
    bench.watched = snapshot.revision;
    bench.event(Event::Store(StoreEvent::Listed(snapshot)));
    bench.wait(10_000);
    assert_eq!((bench.announced(), bench.notice("a1")), (vec![], None));
}

#[test]
fn hosts_that_cannot_be_announced_leave_the_line_and_the_others_their_slots() {
    let hosts = ["a1", "a2", "a3", "a4"];
    let mut bench = Bench::new(&hosts);
    for host in &hosts[..3] {
        let mut over = of_others(host);
        over["unavailability"]["duration"] = json!({ "nanoseconds": 9 });
        bench.schedule.push(over);
    }
    bench.drains("{mode: maintenance, waitSeconds: 1}", 1);
    for host in hosts {
        bench.observe(host);
    }
    bench.wait(60_000);
    for leads_anew in [false, true] {
        if leads_anew {
            let running = bench.running.clone();
            bench.lead();
            for (task, host) in &running {
                bench.reconciled(task, host, TaskState::Running);
            }
            bench.wait(5_000);
        }
        let reasons = hosts.map(|host| bench.reason(host));
        let out = "waiting-for-gate";
        assert_eq!(reasons, [out, out, out, "waiting-for-offer"], "{leads_anew}");
        let text = bench.text("a2");
        assert!(text.contains("take it off"), "{text}");
    }
    // More than twice as many as there are slots: an offer of the fourth is held all the same.
    bench.calls.clear();
    bench.txns_held = Some(Vec::new());
    bench.offer("a4");
    let declines = |call: &Call| matches!(call, Call::Decline(_));
    assert!(!bench.calls.iter().any(declines), "{:?}", bench.calls);
    for held in bench.txns_held.take().unwrap() {
        bench.let_through(held);
    }
    assert!(bench.slot("a4").is_some(), "{}", bench.text("a4"));
}
