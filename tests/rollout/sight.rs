//! Agents that a master does not let us list, and those that it gives us no role for.

use calico_dcos::mesos::v1::scheduler::{Call, CallType, Event as MesosEvent, Failure};
use calico_dcos::observed::fleet::{Condition, HostRecord, Part, Share};
use calico_dcos::rollout::event::Event;
use calico_dcos::store::keys::Key;
use calico_dcos::words::HostName;

use super::bench::{Bench, agent};

impl Bench {
    fn limits(&self) -> String {
        self.etcd.get(&Key::RolloutMeasures).map(|entry| entry.value).unwrap_or_default()
    }

    fn condition(&self, host: &str) -> Option<Condition> {
        let entry = self.etcd.get(&Key::Observed(HostName::from(host)))?;
        Some(serde_json::from_str::<HostRecord>(&entry.value).unwrap().agent.condition)
    }

    fn agent_fails(&mut self, host: &str) {
        self.mesos(MesosEvent::Failure(Failure {
            agent_id: Some(agent(host)),
            executor_id: None,
            status: None,
        }));
    }
}

#[test]
fn a_host_that_has_fallen_silent_is_named_in_etcd_until_it_speaks_again() {
    let mut bench = Bench::new(&["a1"]);
    let (task, attempt, hash) = bench.admitted("a1");
    bench.done(&task, "a1", attempt, hash);
    bench.wait(5 * 60_000);
    assert!(!bench.limits().contains("hostsSilent"), "{}", bench.limits());
    bench.wait(2 * 60_000);
    assert_eq!(bench.reason("a1"), "unknown");
    assert!(bench.limits().contains("silent for 6 minutes"), "{}", bench.limits());
    assert!(bench.limits().contains("no longer: a1;"), "{}", bench.limits());
    let revision = bench.etcd.revision();
    bench.wait(10 * 60_000);
    assert_eq!(bench.etcd.revision(), revision, "nothing is written while nothing changes");

    bench.confirm("a1");
    assert_eq!(bench.reason("a1"), "in sync", "at once");
    bench.wait(60_000);
    assert!(!bench.limits().contains("hostsSilent"), "{}", bench.limits());
}

#[test]
fn agents_that_may_not_be_listed_are_known_once_they_are_offered() {
    let mut bench = Bench::without_list(&["a1"]);
    assert_eq!(bench.condition("a1"), None);
    assert!(bench.limits().contains("agentsHidden"), "{}", bench.limits());
    let (task, attempt, hash) = bench.admitted("a1");
    bench.done(&task, "a1", attempt, hash);
    bench.wait(10_000);
    bench.offer("a1");
    let kinds: Vec<_> = bench.calls.iter().map(Call::kind).collect();
    assert!(!kinds.contains(&CallType::Suppress), "another agent may come: {kinds:?}");
    let decline = bench.calls.iter().rev().find_map(|call| match call {
        Call::Decline(decline) => decline.filters,
        _ => None,
    });
    assert!(decline.is_some_and(|filters| filters.refuse_seconds >= 3_600.0));
    let revision = bench.etcd.revision();
    bench.wait(100_000);
    assert_eq!(bench.etcd.revision(), revision, "it is said once");

    bench.agent_fails("a1");
    assert_eq!(bench.condition("a1"), Some(Condition::Unreachable));
    bench.offer("a1");
    assert_eq!(bench.condition("a1"), Some(Condition::Active));

    // Somebody gave us the right.
    bench.hidden = false;
    bench.wait(61_000);
    assert!(!bench.limits().contains("agentsHidden"));
    assert!(bench.calls.iter().any(|call| call.kind() == CallType::Suppress));
    bench.agent_fails("a1");
    assert_eq!(bench.condition("a1"), Some(Condition::Active), "the list says more");
}

#[test]
fn offers_are_asked_for_again_when_agents_may_not_be_listed_any_more() {
    let mut bench = Bench::new(&["a1"]);
    let (task, attempt, hash) = bench.admitted("a1");
    bench.done(&task, "a1", attempt, hash);
    bench.wait(10_000);
    assert!(bench.calls.iter().any(|call| call.kind() == CallType::Suppress));
    bench.hidden = true;
    bench.calls.clear();
    bench.wait(61_000);
    let kinds: Vec<_> = bench.calls.iter().map(Call::kind).collect();
    assert_eq!(kinds, [CallType::Revive]);
}

#[test]
fn hosts_that_one_role_does_not_reach_are_blocked_and_named_and_nothing_waits_for_them() {
    let mut bench = Bench::new(&["a1", "p1"]);
    let part = |total: u64| Part { total, used: 0, offered: 0 };
    let share = Share { cpus: part(4_000), mem: part(4_000_000) };
    bench.rooms.insert("p1".to_owned(), [("slave_public".to_owned(), share)].into());
    bench.rooms.insert("a1".to_owned(), [("*".to_owned(), share)].into());
    bench.event(Event::Presented { given_up: vec!["slave_public".to_owned()] });
    bench.wait(61_000);
    assert!(bench.limits().contains("out of reach: p1\""), "{}", bench.limits());
    assert!(bench.text("p1").contains("upgrade Mesos to 1.3"), "{}", bench.text("p1"));
    let (task, attempt, hash) = bench.admitted("a1");
    bench.done(&task, "a1", attempt, hash);
    bench.wait(10_000);
    assert!(bench.calls.iter().any(|call| call.kind() == CallType::Suppress), "{:?}", bench.calls);
    let revision = bench.etcd.revision();
    bench.calls.clear();
    bench.wait(120_000);
    assert_eq!((bench.calls.len(), bench.etcd.revision()), (0, revision), "it is said once");
    // The master was upgraded.
    bench.event(Event::Presented { given_up: vec![] });
    bench.wait(61_000);
    assert!(!bench.limits().contains("oneRole"), "{}", bench.limits());
    assert!(bench.calls.iter().any(|call| call.kind() == CallType::Revive), "p1 is not asked for");
    assert!(bench.text("p1").contains("observer"), "{}", bench.text("p1"));
}
