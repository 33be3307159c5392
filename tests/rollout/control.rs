//! What operators ask for: pause, approve, retry, release, forget, as the controller does it.

use calico_dcos::mesos::v1::TaskState;
use calico_dcos::observed::fleet::Condition;
use calico_dcos::plan::control::{Approval, Ask, Control, Release, Scope};
use calico_dcos::rollout::event::Event;
use calico_dcos::rollout::records::to_json;
use calico_dcos::store::keys::Key;
use calico_dcos::store::txn::Txn;
use calico_dcos::words::{Attempt, Generation, HostName, Time};

use super::bench::{Bench, CLUSTER, listed};

fn asked() -> Ask {
    Ask { version: 1, who: "alice@desk".into(), at: Time(0), why: Some("disk swap".into()) }
}

impl Bench {
    pub(crate) fn forget(&mut self, host: &str) {
        self.ask_for(&Control::Forget(host.into()), Some(to_json(&asked())));
    }

    fn ask_for(&mut self, control: &Control, value: Option<String>) {
        let key = Key::Control(control.path());
        let txn = match value {
            Some(value) => Txn::new().put(key, value),
            None => Txn::new().delete(key),
        };
        let _ = self.etcd.txn(&txn, None).unwrap();
        self.pump();
    }

    pub(crate) fn pause(&mut self, scope: Scope) {
        self.ask_for(&Control::Paused(scope), Some(to_json(&asked())));
    }

    fn resume(&mut self, scope: Scope) {
        self.ask_for(&Control::Paused(scope), None);
    }

    fn approve(&mut self, generation: u64) {
        let generation = Generation(generation);
        let approval = Approval { version: 1, who: "alice".into(), at: Time(0), generation };
        self.ask_for(&Control::Approved, Some(to_json(&approval)));
    }

    pub(crate) fn retry(&mut self, host: &str) {
        self.ask_for(&Control::Retry(host.into()), Some(to_json(&asked())));
    }

    pub(crate) fn release(&mut self, host: &str, attempt: Attempt) {
        let release = Release { version: 1, who: "alice".into(), at: Time(0), attempt };
        self.ask_for(&Control::Release(host.into()), Some(to_json(&release)));
    }

    fn is_asked_for(&self, control: &Control) -> bool {
        self.etcd.get(&Key::Control(control.path())).is_some()
    }
}

#[test]
fn s24_a_pause_starts_nothing_and_says_who_asked_and_a_resume_goes_on() {
    for scope in [Scope::Cluster, Scope::Host("a1".into())] {
        let mut bench = Bench::new(&["a1"]);
        bench.observe("a1");
        bench.pause(scope.clone());
        bench.offer("a1");
        bench.wait(60_000);
        assert_eq!((bench.launched(), bench.slot("a1")), (vec![], None), "{scope}");
        assert_eq!(bench.reason("a1"), "paused");
        let text = bench.text("a1");
        assert!(text.contains("alice@desk") && text.contains("disk swap"), "{text}");
        bench.resume(scope);
        bench.offer("a1");
        bench.wait(10_000);
        assert_eq!(bench.launched().len(), 1);
        assert!(bench.slot("a1").is_some());
    }
}

#[test]
fn a_pause_survives_the_controller_and_lets_what_is_under_way_end_but_starts_no_retry() {
    let mut bench = Bench::new(&["a1"]);
    let (task, attempt, hash) = bench.changing("a1");
    bench.update(&task, "a1", TaskState::Starting, None);
    bench.pause(Scope::Cluster);
    bench.is_admitted("a1", attempt);
    bench.undone(&task, "a1", attempt, hash);
    let observer = bench.running[0].0.clone();
    bench.lead();
    bench.reconciled(&observer, "a1", TaskState::Running);
    bench.offer("a1");
    bench.wait(600_000);
    assert_eq!(bench.launched(), []);
    assert!(bench.slot("a1").is_some(), "a failed attempt keeps its slot");
    assert_eq!(bench.reason("a1"), "paused");
    bench.resume(Scope::Cluster);
    bench.offer("a1");
    bench.wait(10_000);
    assert_eq!(bench.launched().len(), 1, "the next attempt");
}

#[test]
fn s23_an_approval_is_of_one_generation_and_a_comment_does_not_take_it_back() {
    let mut bench = Bench::new(&["a1"]);
    let approved = CLUSTER.replace("rollout: {", "rollout: {start: approved, ");
    bench.write(Some(&approved));
    bench.wait(5_000);
    bench.observe("a1");
    bench.offer("a1");
    bench.wait(10_000);
    assert_eq!((bench.launched(), bench.reason("a1")), (vec![], "waiting-for-approval".into()));
    let generation = bench.machine.generation().0;
    bench.approve(generation + 1);
    bench.wait(10_000);
    assert_eq!(bench.reason("a1"), "waiting-for-approval", "of another generation");
    bench.approve(generation);
    bench.write(Some(&format!("# A word.\n{approved}")));
    bench.wait(5_000);
    bench.offer("a1");
    bench.wait(10_000);
    let task = bench.launched().pop().expect("it starts");
    assert_eq!(bench.machine.generation().0, generation);
    bench.update(&task.task_id, "a1", TaskState::Starting, None);
    bench.write(Some(&approved.replace("node:v1", "node:v2")));
    bench.wait(5_000);
    bench.update(&task.task_id, "a1", TaskState::Dropped, None);
    bench.offer("a1");
    bench.wait(60_000);
    assert_eq!((bench.launched(), bench.slot("a1")), (vec![], None), "the next waits again");
    assert_eq!(bench.reason("a1"), "waiting-for-approval");
}

#[test]
fn s47_a_retry_gives_a_failed_host_a_clean_sheet_and_the_halted_rollout_goes_on() {
    let mut bench = Bench::new(&["a1"]);
    let (mut task, mut attempt, hash) = bench.admitted("a1");
    for last in [false, true] {
        bench.undone(&task, "a1", attempt, hash);
        if !last {
            bench.wait(30_000);
            bench.offer("a1");
            bench.wait(10_000);
            let again = bench.launched().pop().expect("the second of two attempts");
            attempt = super::bench::attempt_of(&again);
            task = again.task_id;
            bench.update(&task, "a1", TaskState::Starting, None);
            bench.is_admitted("a1", attempt);
        }
    }
    assert_eq!(bench.reason("a1"), "failed");
    let state = |bench: &Bench| bench.etcd.get(&Key::RolloutState).unwrap().value;
    assert!(state(&bench).contains("halted"));
    bench.retry("a1");
    assert!(!bench.is_asked_for(&Control::Retry("a1".into())), "done, and taken away");
    assert!(state(&bench).contains("running"));
    bench.offer("a1");
    bench.wait(10_000);
    let third = bench.launched().pop().expect("a third attempt");
    assert!(super::bench::attempt_of(&third) > attempt);
    let guard = bench.guard();
    assert_eq!(guard.held, 1, "under the slot that it held all the time");
    bench.undone(&third.task_id, "a1", super::bench::attempt_of(&third), hash);
    let progress = bench.etcd.get(&Key::RolloutHost("a1".into())).unwrap().value;
    assert!(progress.contains("\"failures\":1"), "it counts from the beginning: {progress}");
}

#[test]
fn a_host_that_is_tried_again_while_its_edit_waits_for_approval_says_so() {
    let mut bench = Bench::new(&["a1"]);
    let (task, attempt, hash) = bench.admitted("a1");
    bench.write(Some(
        &CLUSTER
            .replace("rollout: {", "rollout: {start: approved, attempts: 1, ")
            .replace(", attempts: 2", ""),
    ));
    bench.wait(5_000);
    bench.undone(&task, "a1", attempt, hash);
    assert_eq!(bench.reason("a1"), "failed");
    bench.retry("a1");
    bench.offer("a1");
    bench.wait(10_000);
    assert_eq!((bench.launched(), bench.reason("a1")), (vec![], "waiting-for-approval".into()));
    bench.approve(bench.machine.generation().0);
    assert_eq!(bench.reason("a1"), "waiting-for-offer");
    bench.offer("a1");
    bench.wait(10_000);
    assert_eq!(bench.launched().len(), 1, "{}", bench.text("a1"));
}

#[test]
fn a_release_gives_back_the_slot_of_the_attempt_that_was_seen_and_no_later_one() {
    let mut bench = Bench::new(&["a1", "a2"]);
    bench.observe("a2");
    let (task, attempt, hash) = bench.admitted("a1");
    bench.release("a1", Attempt(attempt.0 + 1));
    assert!(bench.slot("a1").is_some(), "of another attempt");
    assert!(!bench.is_asked_for(&Control::Release("a1".into())));
    bench.undone(&task, "a1", attempt, hash);
    bench.release("a1", attempt);
    assert_eq!((bench.slot("a1"), bench.guard().held), (None, 0));
    assert!(!bench.is_asked_for(&Control::Release("a1".into())));
    bench.offer("a2");
    bench.wait(10_000);
    assert!(bench.slot("a2").is_some(), "the next one has it: {}", bench.text("a2"));
    assert_eq!(bench.ask("a1", attempt, "r1").len(), 0, "nobody admits what was released");
}

#[test]
fn s20_a_host_is_forgotten_only_when_it_is_not_active_and_holds_no_slot() {
    let mut bench = Bench::new(&["a1", "a2"]);
    bench.observe("a1");
    let forget = Control::Forget("a1".into());
    let record = Key::Observed(HostName::from("a1"));
    bench.ask_for(&forget, Some(to_json(&asked())));
    assert!(bench.etcd.get(&record).is_some(), "it is active");
    assert!(!bench.is_asked_for(&forget));
    bench.hosts = vec!["a2"];
    bench.event(Event::Agents(vec![listed("a2", Condition::Active)]));
    assert_eq!(bench.reason("a1"), "unreachable");
    bench.ask_for(&forget, Some(to_json(&asked())));
    assert!(bench.etcd.get(&record).is_none());
    assert!(bench.etcd.get(&Key::Tasks("a1".into())).is_none());
    let plan = bench.machine.plan(bench.now).unwrap();
    assert!(plan.hosts.iter().all(|host| host.name.as_str() != "a1"));
}

#[test]
fn a_control_that_cannot_be_read_starts_nothing_and_says_which_it_is() {
    let mut bench = Bench::new(&["a1"]);
    bench.observe("a1");
    bench.ask_for(&Control::Paused(Scope::Cluster), Some("yes".into()));
    bench.offer("a1");
    bench.wait(10_000);
    assert_eq!(bench.launched(), []);
    assert!(bench.text("a1").contains("control/paused/cluster"), "{}", bench.text("a1"));
    bench.resume(Scope::Cluster);
    bench.lead();
    bench.offer("a1");
    bench.confirm("a1");
    bench.wait(10_000);
    assert_eq!(bench.reason("a1"), "waiting-for-offer", "its task has not answered yet");
}
