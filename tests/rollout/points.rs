//! Points of `CHECKLIST.md` that no scenario shows by itself.

use std::collections::BTreeSet;

use calico_dcos::mesos::v1::scheduler::{Call, CallType, Event as MesosEvent, Failure};
use calico_dcos::mesos::v1::{CapabilityType, FrameworkInfo, OfferId, TaskState};
use calico_dcos::rollout::config::Config;
use calico_dcos::rollout::event::Event;
use calico_dcos::store::keys::Key;
use calico_dcos::store::txn::Txn;

use super::bench::{Bench, agent, config};

impl Bench {
    /// The offers that were answered since the last look, each time that one was.
    fn answered(&mut self) -> Vec<OfferId> {
        let offers = std::mem::take(&mut self.calls).into_iter().filter_map(|call| match call {
            Call::Accept(accept) => Some(accept.offer_ids),
            Call::Decline(decline) => Some(decline.offer_ids),
            _ => None,
        });
        offers.flatten().collect()
    }
}

#[test]
fn point_16_nothing_is_said_of_offers_before_the_framework_id_is_written_down() {
    let mut bench = Bench::unled(&["a1"]);
    bench.txns_held = Some(Vec::new());
    bench.stand();
    bench.offer("a1");
    bench.wait(2_500);
    bench.offer("a1");
    assert_eq!(bench.answered(), []);
    assert!(bench.etcd.get(&Key::FrameworkId).is_none());
    for held in bench.txns_held.take().unwrap() {
        bench.carry_out(held);
    }
    bench.pump();
    assert!(bench.etcd.get(&Key::FrameworkId).is_some());
    assert_eq!(bench.launched().len(), 1, "the observer");
}

#[test]
fn point_18_tasks_are_kept_for_two_weeks_without_a_leader() {
    let mut bench = Bench::new(&["a1"]);
    bench.event(Event::Disconnected);
    bench.wait(5_000);
    let timeouts: Vec<_> = bench
        .subscriptions
        .iter()
        .map(|subscribe| subscribe.framework_info.failover_timeout)
        .collect();
    assert_eq!(timeouts, [14.0 * 24.0 * 3_600.0; 2], "also of the one that knows its ID");
    assert!(bench.subscriptions[1].framework_info.id.is_some());
}

/// Neither can be changed afterwards: both subscriptions, the one that makes the framework and the
/// one that knows its ID, have to say them.
fn infos() -> Vec<FrameworkInfo> {
    let mut bench = Bench::new(&["a1"]);
    bench.event(Event::Disconnected);
    bench.wait(5_000);
    let infos: Vec<_> = bench.subscriptions.into_iter().map(|it| it.framework_info).collect();
    assert_eq!(infos.iter().map(|info| info.id.is_some()).collect::<Vec<_>>(), [false, true]);
    infos
}

#[test]
fn point_19_checkpointing_is_asked_for_from_the_first_subscription_on() {
    assert!(infos().iter().all(|info| info.checkpoint));
}

#[test]
fn point_20_the_principal_is_said_from_the_first_subscription_on() {
    assert!(infos().iter().all(|info| info.principal.as_deref() == Some("calico")));
}

#[test]
fn point_25_all_is_declared_that_it_takes_to_be_offered_every_agent() {
    use CapabilityType::{GpuResources, MultiRole, PartitionAware, RegionAware};
    for info in infos() {
        let declared: Vec<_> = info.capabilities.into_iter().map(|it| it.kind).collect();
        assert_eq!(declared, [MultiRole, PartitionAware, GpuResources, RegionAware]);
        assert_eq!((info.role, info.roles), (None, vec!["*".into(), "slave_public".into()]));
    }
}

#[test]
fn point_33_a_subscription_while_nothing_is_to_be_done_says_again_that_no_offers_are_wanted() {
    let mut bench = Bench::new(&["a1"]);
    let (task, attempt, hash) = bench.admitted("a1");
    bench.done(&task, "a1", attempt, hash);
    bench.wait(10_000);
    assert!(bench.calls.iter().any(|call| call.kind() == CallType::Suppress));
    bench.event(Event::Disconnected);
    bench.wait(5_000);
    let suppressed: Vec<_> =
        bench.subscriptions.iter().map(|it| it.suppressed_roles.clone()).collect();
    assert_eq!(suppressed, [vec![], vec!["*".to_owned(), "slave_public".to_owned()]]);
}

#[test]
fn point_26_every_offer_is_answered_or_held_for_a_host_that_is_next_in_line() {
    let hosts = ["a1", "a2", "a3", "a4", "a5", "a6", "a7", "a8", "a9"];
    let mut bench = Bench::new(&hosts);
    for host in hosts {
        bench.observe(host);
    }
    let _ = bench.answered();
    let offers: BTreeSet<OfferId> =
        hosts.iter().chain(&["unheard-of"]).map(|host| bench.offer(host)).collect();
    bench.wait(10_000);
    let answered = bench.answered();
    let once: BTreeSet<OfferId> = answered.iter().cloned().collect();
    assert_eq!(once.len(), answered.len(), "none is answered twice");
    assert!(once.is_subset(&offers));
    let held = offers.len() - once.len();
    assert!(held <= 2, "{held} are held, and there is one slot");
}

#[test]
fn point_27_an_offer_of_an_earlier_subscription_is_not_used() {
    let mut bench = Bench::new(&["a1", "a2"]);
    bench.observe("a2");
    let (task, attempt, hash) = bench.admitted("a1");
    let old = bench.offer("a2");
    bench.event(Event::Disconnected);
    bench.wait(3_000);
    for (task, host) in bench.running.clone() {
        bench.reconciled(&task, &host, TaskState::Running);
    }
    bench.calls.clear();
    bench.done(&task, "a1", attempt, hash);
    bench.wait(10_000);
    assert_eq!(bench.slot("a1"), None);
    assert!(!bench.answered().contains(&old), "it is void");
    assert_eq!(bench.slot("a2"), None);
    let new = bench.offer("a2");
    assert_eq!(bench.answered(), [new]);
    assert!(bench.slot("a2").is_some());
}

#[test]
fn point_30_offers_that_are_of_no_use_are_declined_in_one_call() {
    let mut bench = Bench::new(&["a1"]);
    let (task, attempt, hash) = bench.admitted("a1");
    bench.done(&task, "a1", attempt, hash);
    bench.wait(10_000);
    let names: Vec<String> = (0..500).map(|n| format!("b{n}")).collect();
    let offers: Vec<_> = names.iter().map(|name| bench.make_offer(name)).collect();
    bench.calls.clear();
    bench.mesos(MesosEvent::Offers(offers));
    bench.wait(10_000);
    let declines: Vec<usize> = bench
        .calls
        .iter()
        .filter_map(|call| match call {
            Call::Decline(decline) => Some(decline.offer_ids.len()),
            _ => None,
        })
        .collect();
    assert_eq!(declines, [500]);
}

#[test]
fn point_46_a_launch_that_nothing_is_heard_of_is_asked_after_and_launched_again_when_it_is_lost() {
    let mut bench = Bench::new(&["a1"]);
    bench.offer("a1");
    let observer = bench.launched().pop().unwrap().task_id;
    let asks = |call: &Call| match call {
        Call::Reconcile(reconcile) => reconcile.tasks.iter().any(|ask| ask.task_id == observer),
        _ => false,
    };
    bench.wait(55_000);
    assert!(!bench.calls.iter().any(asks), "it has time");
    bench.wait(40_000);
    assert!(bench.calls.iter().any(asks));
    bench.reconciled(&observer, "a1", TaskState::Dropped);
    bench.wait(2_000);
    bench.calls.clear();
    bench.offer("a1");
    let again = bench.launched().pop().unwrap().task_id;
    assert_ne!(again, observer);
}

#[test]
fn point_47_a_failure_is_a_reason_to_look_and_no_more() {
    let mut bench = Bench::new(&["a1"]);
    let (task, attempt, hash) = bench.admitted("a1");
    let slot = bench.slot("a1");
    bench.calls.clear();
    for executor_id in [None, Some(calico_dcos::mesos::v1::ExecutorId("e".into()))] {
        bench.mesos(MesosEvent::Failure(Failure {
            agent_id: Some(agent("a1")),
            executor_id,
            status: Some(9),
        }));
    }
    bench.wait(5_000);
    assert_eq!((bench.reason("a1"), bench.slot("a1")), ("in-progress".into(), slot));
    assert!(bench.calls.iter().all(|call| call.kind() != CallType::Kill));
    bench.done(&task, "a1", attempt, hash);
    assert_eq!(bench.reason("a1"), "in sync");
}

#[test]
fn point_56_name_link_and_labels_say_in_mesos_what_the_framework_is_and_who_leads() {
    for info in infos() {
        assert_eq!(info.name, "calico-dcos");
        assert_eq!(info.webui_url.as_deref(), Some("http://calico.example/"));
        let labels = info.labels.unwrap().labels.into_iter();
        let labels: Vec<_> = labels.map(|label| (label.key, label.value.unwrap())).collect();
        assert_eq!(
            labels,
            [
                ("calico-dcos.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
                ("calico-dcos.controller".to_owned(), "test".to_owned())
            ]
        );
    }
    // Where nobody has named a page, there is no link to one.
    let without = Config { webui_url: None, ..config() };
    assert_eq!(without.framework_info(None).webui_url, None);
}

#[test]
fn point_58_what_cannot_be_read_stops_all_and_not_a_part() {
    for key in [Key::Slot("a2".into()), Key::SlotGuard, Key::Tasks("a2".into())] {
        let mut bench = Bench::new(&["a1", "a2"]);
        let (task, attempt, _) = bench.changing("a1");
        bench.update(&task, "a1", TaskState::Starting, None);
        let _ = bench.etcd.txn(&Txn::new().put(key.clone(), "{"), None).unwrap();
        bench.lead();
        for (task, host) in bench.running.clone() {
            bench.reconciled(&task, &host, TaskState::Running);
        }
        assert_eq!(bench.ask("a1", attempt, "r1"), [], "{key:?}: nobody is told yes");
        bench.offer("a2");
        bench.wait(100_000);
        let disrupts = |task: &_| super::bench::job(task).work.change().is_some();
        assert!(!bench.launched().iter().any(disrupts), "{key:?}");
    }
}
