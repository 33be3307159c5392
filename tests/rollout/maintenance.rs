//! Maintenance that operators announce: point 36 of `CHECKLIST.md`.

use calico_dcos::mesos::v1::scheduler::{Call, Event as MesosEvent};
use calico_dcos::mesos::v1::{FrameworkId, InverseOffer, Nanoseconds, OfferId, Unavailability};
use calico_dcos::store::keys::Key;
use calico_dcos::words::{SpecHash, Time};

use super::bench::{Bench, agent, job};

/// From `from` on, for so many seconds, or without an end.
fn away(from: Time, seconds: Option<i64>) -> Unavailability {
    let start = Nanoseconds { nanoseconds: i64::try_from(from.0).unwrap() * 1_000_000 };
    Unavailability { start, duration: seconds.map(Nanoseconds::from_secs) }
}

impl Bench {
    fn ask_back(&mut self, id: &str, host: &str, unavailability: Unavailability) {
        self.calls.clear();
        self.mesos(MesosEvent::InverseOffers(vec![InverseOffer {
            id: OfferId(id.into()),
            url: None,
            framework_id: FrameworkId("f1".into()),
            agent_id: Some(agent(host)),
            unavailability,
            resources: vec![],
        }]));
    }

    /// The answers to inverse offers since the last look: agreed or not, and until when they are
    /// not to come again.
    fn answers(&mut self) -> Vec<(bool, Vec<OfferId>, f64)> {
        let answer = |call| match call {
            Call::AcceptInverseOffers(answer) => Some((true, answer)),
            Call::DeclineInverseOffers(answer) => Some((false, answer)),
            _ => None,
        };
        let calls = std::mem::take(&mut self.calls).into_iter().filter_map(answer);
        calls
            .map(|(agreed, answer)| {
                (agreed, answer.inverse_offer_ids, answer.filters.unwrap().refuse_seconds)
            })
            .collect()
    }
}

#[test]
fn point_36_an_offer_that_announces_maintenance_starts_nothing_that_disrupts() {
    let mut bench = Bench::new(&["a1", "a2"]);
    bench.observe("a1");
    let now = bench.now;
    bench.offer_with("a1", |offer| offer.unavailability = Some(away(now, Some(3_600))));
    assert_eq!((bench.launched(), bench.slot("a1")), (vec![], None));
    assert_eq!(bench.reason("a1"), "waiting-for-window");
    let text = "maintenance of its machine is announced in Mesos, from 1970-01-01T00:16:4";
    assert!(bench.text("a1").starts_with(text), "{}", bench.text("a1"));
    let stored = bench.etcd.get(&Key::Observed("a1".into())).unwrap().value;
    assert!(stored.contains("\"away\":{"), "every surface can tell: {stored}");

    // Observers are launched all the same, and others begin.
    let now = bench.now;
    bench.offer_with("a2", |offer| offer.unavailability = Some(away(now, None)));
    assert_eq!(bench.launched().len(), 1, "the observer of a2");
    assert!(bench.slot("a2").is_none());
}

#[test]
fn point_36_work_begins_when_maintenance_is_over_or_taken_back() {
    // Over, as announced; taken back, as the next offer shows; not spoken of any more.
    for (lasts, taken_back) in [(Some(60), false), (None, true), (None, false)] {
        let mut bench = Bench::new(&["a1"]);
        bench.observe("a1");
        let now = bench.now;
        bench.offer_with("a1", |offer| offer.unavailability = Some(away(now, lasts)));
        assert_eq!(bench.reason("a1"), "waiting-for-window", "{lasts:?}");
        if taken_back {
            bench.wait(1_000);
        } else {
            for _ in 0..if lasts.is_some() { 1 } else { 14 } {
                bench.wait(61_000);
                bench.confirm("a1");
            }
            assert_eq!(bench.reason("a1") == "waiting-for-window", lasts.is_none());
            bench.wait(80_000);
            bench.confirm("a1");
            assert_eq!(bench.reason("a1"), "waiting-for-offer");
        }
        let _ = bench.launched();
        bench.offer("a1");
        assert_eq!(bench.launched().len(), 1, "{lasts:?}");
        assert!(bench.slot("a1").is_some());
        let stored = bench.etcd.get(&Key::Observed("a1".into())).unwrap().value;
        assert!(!stored.contains("\"away\""), "{stored}");
    }
}

#[test]
fn point_36_inverse_offers_are_agreed_to_unless_a_slot_is_held_there() {
    let mut bench = Bench::new(&["a1", "a2"]);
    let (task, attempt, hash) = bench.admitted("a1");
    bench.observe("a2");
    let window = away(bench.now, Some(3_600));
    bench.ask_back("i1", "a1", window);
    assert_eq!(bench.answers(), [(false, vec![OfferId("i1".into())], 60.0)]);
    bench.ask_back("i2", "a2", window);
    assert_eq!(bench.answers(), [(true, vec![OfferId("i2".into())], 300.0)]);
    bench.wait(10_000);
    assert_eq!(bench.answers(), [], "each is answered once");
    // What has begun is brought to its end.
    bench.done(&task, "a1", attempt, hash);
    assert_eq!(bench.slot("a1"), None);
    bench.ask_back("i3", "a1", window);
    assert_eq!(bench.answers(), [(true, vec![OfferId("i3".into())], 300.0)]);
    assert_eq!((bench.reason("a1"), bench.slot("a2")), ("in sync".into(), None));
    // What is over and still in the schedule is asked about again and again.
    bench.ask_back("i4", "a1", away(Time(0), Some(1)));
    assert_eq!(bench.answers(), [(true, vec![OfferId("i4".into())], 3_600.0)]);
    assert_eq!(bench.reason("a1"), "in sync");
}

#[test]
fn point_36_maintenance_announced_after_the_launch_denies_the_question_and_holds_the_retry() {
    use calico_dcos::job::order::ToHost;
    use calico_dcos::mesos::v1::TaskState;
    let mut bench = Bench::new(&["a1"]);
    let (task, attempt, _) = bench.changing("a1");
    bench.update(&task, "a1", TaskState::Starting, None);
    let window = away(bench.now, Some(3_600));
    bench.ask_back("i1", "a1", window);
    assert!(matches!(bench.ask("a1", attempt, "r1")[..], [ToHost::Denied { .. }]));
    assert!(bench.slot("a1").unwrap().contains("reserved"));

    // One that was told yes is told so again; its failed attempt is not repeated meanwhile.
    let mut bench = Bench::new(&["a1"]);
    let (task, attempt, _) = bench.admitted("a1");
    bench.ask_back("i1", "a1", window);
    bench.is_admitted("a1", attempt);
    bench.undone(&task, "a1", attempt, SpecHash([9; 32]));
    let _ = bench.launched();
    bench.offer("a1");
    bench.ask_back("i2", "a1", window);
    bench.wait(60_000);
    let changes = bench.launched().into_iter().filter(|task| job(task).work.change().is_some());
    assert_eq!(changes.count(), 0);
    assert_eq!(bench.reason("a1"), "waiting-for-window");
    assert!(bench.slot("a1").is_some(), "a failed attempt keeps its slot");
}
