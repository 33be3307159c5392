//! Gates: `rollout.gates`.

use calico_dcos::mesos::v1::scheduler::{Call, CallType};
use calico_dcos::observed::fleet::Condition;
use calico_dcos::rollout::event::Event;
use calico_dcos::store::keys::Key;

use super::bench::{Bench, CLUSTER, listed};

impl Bench {
    pub(crate) fn gated(hosts: &[&'static str]) -> Self {
        let mut bench = Self::new(hosts);
        let gates = "rollout: {gates: [{http: \"http://alerts/ok\"}], ";
        bench.write(Some(
            &CLUSTER.replace("rollout: {", gates).replace("Restarts: 1", "Restarts: 5"),
        ));
        bench.wait(5_000);
        for host in hosts {
            bench.observe(host);
        }
        bench
    }
}

#[test]
fn s50_a_gate_is_asked_right_before_a_start_and_not_while_nothing_could_start() {
    let mut bench = Bench::gated(&["a1", "a2", "a3"]);
    bench.wait(60_000);
    assert_eq!(bench.gates_asked, 0, "there is no offer yet");
    bench.offer("a1");
    bench.wait(1_000);
    assert_eq!((bench.launched().len(), bench.gates_asked), (1, 1));
    bench.offer("a2");
    bench.wait(1_000);
    assert_eq!((bench.launched().len(), bench.gates_asked), (1, 2), "for each start anew");
    bench.wait(60_000);
    assert_eq!(bench.gates_asked, 2);
}

#[test]
fn s50_a_closed_gate_holds_all_starts_says_why_and_is_asked_again() {
    let mut bench = Bench::gated(&["a1", "a2"]);
    bench.gates = Err("http://alerts/ok answered 503 and not 200".to_owned());
    bench.offer("a1");
    bench.wait(1_000);
    assert_eq!((bench.launched(), bench.slot("a1")), (vec![], None));
    for host in ["a1", "a2"] {
        assert_eq!(bench.reason(host), "waiting-for-gate");
        assert!(bench.text(host).contains("answered 503"), "{}", bench.text(host));
    }
    let asked = bench.gates_asked;
    bench.wait(60_000);
    assert!((5..=7).contains(&(bench.gates_asked - asked)), "{}", bench.gates_asked - asked);
    // Another leader asks for itself, and knows meanwhile.
    let running = bench.running.clone();
    bench.lead();
    for (task, host) in &running {
        bench.reconciled(task, host, calico_dcos::mesos::v1::TaskState::Running);
    }
    assert_eq!(bench.reason("a2"), "waiting-for-gate");
    bench.gates = Ok(());
    bench.wait(11_000);
    bench.offer("a1");
    bench.wait(1_000);
    assert_eq!(bench.launched().len(), 1);
    assert_ne!(bench.reason("a2"), "waiting-for-gate");
}

/// Nobody asks then, so that it would be the reason for ever, whatever it would say by now.
#[test]
fn s50_a_closed_gate_is_no_reason_while_nothing_could_start_anyway() {
    let mut bench = Bench::gated(&["a1", "a2"]);
    let text = bench.etcd.get(&Key::DesiredCluster).unwrap().value;
    bench.write(Some(&text.replace("Restarts: 5", "Restarts: 1").replace("able: 5", "able: 1")));
    bench.gates = Err("http://alerts/ok answered 503 and not 200".to_owned());
    bench.offer("a1");
    bench.wait(1_000);
    assert_eq!(bench.reason("a1"), "waiting-for-gate");
    let away = vec![listed("a1", Condition::Active), listed("a2", Condition::Disconnected)];
    bench.event(Event::Agents(away));
    bench.gates = Ok(());
    let asked = bench.gates_asked;
    bench.wait(20_000);
    assert_eq!(bench.reason("a1"), "too-many-unavailable");
    assert_eq!((bench.launched(), bench.gates_asked), (vec![], asked));
    let back = ["a1", "a2"].map(|host| listed(host, Condition::Active)).to_vec();
    bench.event(Event::Agents(back));
    bench.offer("a1");
    bench.wait(1_000);
    assert_eq!((bench.launched().len(), bench.gates_asked), (1, asked + 1));
}

/// Gates are asked whether or not there are offers, so that none are wanted meanwhile.
#[test]
fn s50_mesos_is_asked_for_no_offers_while_a_gate_is_closed() {
    let mut bench = Bench::gated(&["a1"]);
    bench.gates = Err("no".to_owned());
    bench.calls.clear();
    bench.offer("a1");
    bench.wait(60_000);
    let last = |bench: &Bench| bench.calls.last().map(Call::kind);
    assert_eq!(last(&bench), Some(CallType::Suppress));
    bench.calls.clear();
    bench.gates = Ok(());
    bench.wait(11_000);
    assert_eq!(last(&bench), Some(CallType::Revive));
    bench.offer("a1");
    bench.wait(1_000);
    assert_eq!(bench.launched().len(), 1);
}

#[test]
fn a_gate_that_is_taken_out_of_the_documents_holds_nothing() {
    let mut bench = Bench::gated(&["a1"]);
    bench.gates = Err("no".to_owned());
    bench.offer("a1");
    bench.wait(1_000);
    assert_eq!(bench.reason("a1"), "waiting-for-gate");
    bench.write(Some(CLUSTER));
    bench.wait(5_000);
    bench.offer("a1");
    bench.wait(1_000);
    assert_eq!(bench.launched().len(), 1);
}

#[test]
fn s48_a_host_that_holds_a_slot_is_tried_again_whatever_gates_say() {
    let mut bench = Bench::gated(&["a1"]);
    let (task, attempt, hash) = {
        bench.offer("a1");
        bench.wait(100);
        let task = bench.launched().pop().unwrap();
        let attempt = super::bench::attempt_of(&task);
        bench.update(&task.task_id, "a1", calico_dcos::mesos::v1::TaskState::Starting, None);
        bench.is_admitted("a1", attempt);
        (task.task_id, attempt, calico_dcos::words::SpecHash([9; 32]))
    };
    bench.gates = Err("an alert fires: a1 is down".to_owned());
    bench.undone(&task, "a1", attempt, hash);
    bench.offer("a1");
    bench.wait(600_000);
    bench.confirm("a1");
    bench.offer("a1");
    bench.wait(10_000);
    assert_eq!(bench.launched().len(), 1, "{}", bench.text("a1"));
}
