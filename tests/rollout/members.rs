//! Hosts that carry members of our own etcd.

use calico_dcos::mesos::v1::TaskState;
use calico_dcos::plan::members::Member;
use calico_dcos::store::keys::Key;
use calico_dcos::words::SpecHash;

use super::bench::{Bench, CLUSTER, address, attempt_of};

/// `a1` and `a2` carry one each, known by address and by name; the third is on no host of ours.
fn members() -> Vec<Member> {
    let member = |name: &str| Member { name: name.into(), ..Member::default() };
    vec![
        Member { addresses: [address("a1")].into(), ..member("m1") },
        Member { hosts: ["A2".to_owned()].into(), ..member("m2") },
        member("m3"),
    ]
}

fn ill() -> Vec<Member> {
    let mut members = members();
    members[2].unwell = Some("does not answer".into());
    members
}

impl Bench {
    /// With three slots.
    fn with_members(hosts: &[&'static str], members: Result<Vec<Member>, String>) -> Self {
        let mut bench = Self::unled(hosts);
        bench.members = members;
        bench.lead();
        bench.write(Some(&CLUSTER.replace("Restarts: 1", "Restarts: 3")));
        bench.wait(5_000);
        for host in hosts {
            bench.observe(host);
        }
        bench
    }

    fn starts(&mut self, host: &str) -> bool {
        self.offer(host);
        self.wait(1_000);
        self.slot(host).is_some()
    }
}

#[test]
fn hosts_with_members_of_our_etcd_go_one_at_a_time_and_all_others_go_on() {
    let mut bench = Bench::with_members(&["a1", "a2", "a3"], Ok(members()));
    assert!(bench.starts("a1"));
    let task = bench.launched().pop().unwrap();
    assert!(!bench.starts("a2"));
    assert_eq!(bench.reason("a2"), "waiting-for-gate");
    assert!(bench.text("a2").contains("a1 is in a restart"), "{}", bench.text("a2"));
    assert!(bench.starts("a3"));
    // Another leader finds it the same.
    let running = bench.running.clone();
    let attempt = attempt_of(&task);
    bench.update(&task.task_id, "a1", TaskState::Starting, None);
    bench.lead();
    for (task, host) in &running {
        bench.reconciled(task, host, TaskState::Running);
    }
    bench.reconciled(&task.task_id, "a1", TaskState::Running);
    assert!(!bench.starts("a2"));
    bench.is_admitted("a1", attempt);
    let calico_dcos::job::order::Work::Supervise { target, .. } = super::bench::job(&task).work
    else {
        panic!("it supervises")
    };
    bench.done(&task.task_id, "a1", attempt, target.hash);
    assert!(bench.slot("a1").is_none());
    bench.confirm("a2");
    assert!(bench.starts("a2"), "{}", bench.text("a2"));
}

#[test]
fn a_member_that_is_not_healthy_holds_hosts_with_members_and_no_others() {
    let mut bench = Bench::with_members(&["a1", "a3"], Ok(ill()));
    assert!(!bench.starts("a1"));
    assert_eq!(bench.reason("a1"), "waiting-for-gate");
    assert!(bench.text("a1").contains("member m3 does not answer"), "{}", bench.text("a1"));
    let stored = bench.etcd.get(&Key::RolloutMeasures).unwrap().value;
    assert!(stored.contains("does not answer"), "every surface can tell: {stored}");
    assert!(bench.starts("a3"));
    let asked = bench.members_asked;
    bench.wait(60_000);
    assert!((5..=7).contains(&(bench.members_asked - asked)), "{}", bench.members_asked - asked);
    bench.members = Ok(members());
    bench.wait(11_000);
    bench.confirm("a1");
    assert!(bench.starts("a1"), "{}", bench.text("a1"));
}

#[test]
fn they_are_asked_right_before_such_a_host_starts() {
    let mut bench = Bench::with_members(&["a1", "a3"], Ok(members()));
    bench.wait(20_000);
    // Nobody has asked since.
    bench.members = Ok(ill());
    assert!(!bench.starts("a1"));
    assert!(bench.text("a1").contains("member m3 does not answer"), "{}", bench.text("a1"));
    let asked = bench.members_asked;
    assert!(bench.starts("a3"));
    assert_eq!(bench.members_asked, asked, "a host without one need not wait");
}

#[test]
fn what_is_not_known_holds_all_before_the_first_list_and_hosts_with_members_after_it() {
    let mut bench = Bench::with_members(&["a1", "a3"], Err("no answer".into()));
    for host in ["a1", "a3"] {
        assert!(!bench.starts(host));
        assert_eq!(bench.reason(host), "waiting-for-gate");
        assert!(bench.text(host).ends_with("is not known: no answer"), "{}", bench.text(host));
    }
    bench.members = Ok(members());
    bench.wait(11_000);
    assert!(bench.starts("a3"));
    bench.members = Err("no answer".into());
    bench.wait(61_000);
    bench.confirm("a1");
    assert!(!bench.starts("a1"), "who was listed is remembered");
    assert!(bench.text("a1").contains("no answer"), "{}", bench.text("a1"));
}

#[test]
fn a_host_that_holds_a_slot_is_tried_again_whatever_members_say() {
    let mut bench = Bench::with_members(&["a1"], Ok(members()));
    bench.offer("a1");
    let task = bench.launched().pop().unwrap();
    let attempt = attempt_of(&task);
    bench.update(&task.task_id, "a1", TaskState::Starting, None);
    bench.is_admitted("a1", attempt);
    // Most likely because of what it is in the midst of.
    bench.members = Ok(ill());
    bench.undone(&task.task_id, "a1", attempt, SpecHash([9; 32]));
    bench.wait(120_000);
    bench.confirm("a1");
    bench.offer("a1");
    bench.wait(1_000);
    assert!(bench.launched().iter().any(|task| attempt_of(task) > attempt));
}
