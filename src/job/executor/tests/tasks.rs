//! The executor, rule by rule: taking and ending tasks, and what an observer says.

use super::*;

fn supervise(change: Option<Change>) -> Work {
    Work::Supervise { component: CalicoNode, target: target(CalicoNode, 1), change }
}

fn observe() -> Work {
    Work::Observe { confirm_seconds: 60 }
}

#[test]
fn starting_is_sent_before_anything_else() {
    for work in [observe(), supervise(None), Work::Change(change(5, true, &[Docker]))] {
        let mut bench = Bench::new();
        let first = bench.launch("t", work).did().remove(0);
        assert!(matches!(first, Effect::Update { state: Starting, .. }), "{first:?}");
    }
}

#[test]
fn an_observer_ends_when_a_later_one_reports_of_the_host() {
    let mut bench = Bench::new();
    bench.launch("o", observe()).launch("n", supervise(None)).did();
    let did = bench.give(Input::Superseded).did();
    assert!(
        matches!(&did[..], [Effect::Update { task, state: Failed, .. }] if task.as_str() == "o"),
        "{did:?}"
    );
    // What it supervises is another matter.
    assert_eq!(bench.executor.tasks().count(), 1);
}

#[test]
fn a_job_that_cannot_be_taken_fails_with_the_reason() {
    let other = Executor::start(
        Identity { host: "a2".into(), run: "r1".into(), boot_id: "b".into(), starts: 1 },
        None,
    );
    let cases = [
        (Bench::new().executor, b"{".to_vec(), "cannot be read"),
        (Bench::new().executor, br#"{"version":2}"#.to_vec(), "version 2"),
        (other.0, job(observe()), "is for a1"),
    ];
    for (mut executor, data, part) in cases {
        let effects = executor.handle(Uptime(0), Input::Launch { task: "t".into(), data });
        let Some(Effect::Update { state: Failed, message: Some(why), .. }) = effects.get(1) else {
            panic!("{effects:?}");
        };
        assert!(why.contains(part), "{why}");
    }
}

#[test]
fn a_task_that_is_delivered_twice_is_taken_once() {
    let mut bench = Bench::new();
    bench.change("t", 5).did();
    assert_eq!(bench.change("t", 5).did(), []);
}

#[test]
fn a_supervisor_adopts_what_runs_and_leaves_it_running_when_killed() {
    let mut bench = Bench::new();
    let expected = updates(&[("s", Starting), ("s", Running)]);
    assert_eq!(bench.launch("s", supervise(None)).updates(), expected);
    let effects = bench.give(Input::Kill("s".into())).did();
    assert!(matches!(effects[..], [Effect::Update { state: Killed, .. }]), "{effects:?}");
}

#[test]
fn a_supervisor_that_carries_a_change_runs_once_it_is_done() {
    for (close, state) in [
        (Journal::close_done as fn(Journal) -> Journal, Running),
        (|journal| journal.close_undone("no".into()), Failed),
    ] {
        let mut bench = Bench::new();
        bench.launch("s", supervise(Some(change(5, true, &[CalicoNode]))));
        bench.stops(5).yes(5, "r1").did();
        bench.close(close);
        let stays = bench.executor.tasks().count() == 1;
        assert_eq!((bench.endings()[0].0, stays), (state, state == Running));
    }
}

#[test]
fn there_is_one_supervisor_and_one_observer_at_a_time() {
    for work in [supervise(None), supervise(Some(change(5, true, &[CalicoNode]))), observe()] {
        let mut bench = Bench::new();
        let first =
            if work.kind() == Some(TaskKind::Observer) { observe() } else { supervise(None) };
        bench.launch("first", first).did();
        let second = bench.launch("second", work).updates();
        assert_eq!(second, updates(&[("second", Starting), ("second", Failed)]));
        assert_eq!(bench.executor.tasks().count(), 1);
    }
}

#[test]
fn a_change_is_killed_only_while_nothing_has_begun() {
    let mut asking = Bench::new();
    asking.change("t", 5).stops(5).did();
    assert_eq!(asking.give(Input::Kill("t".into())).updates(), updates(&[("t", Killed)]));
    assert_eq!(asking.yes(5, "r1").did(), []);

    let mut working = Bench::new();
    working.working().did();
    assert_eq!(working.give(Input::Kill("t".into())).updates(), []);
    assert_eq!(working.close(Journal::close_done).updates(), updates(&[("t", Finished)]));
}

#[test]
fn an_observer_reports_at_the_start_and_what_changes_in_order() {
    let mut bench = Bench::new();
    bench.launch("o", observe());
    bench.containers = 3;
    let changed = bench.facts();
    bench.give(Input::Facts(changed.clone())).give(Input::Facts(changed));
    // What another executor of this host has said meanwhile is older.
    bench.now = Uptime(5_000);
    bench.containers = 4;
    let changed = bench.facts();
    bench.give(Input::Facts(changed));
    let order = |sequence| FactOrder { boot_id: "b".to_owned(), starts: 1, sequence };
    let reported = |effect| match effect {
        Effect::Update { state: Running, data: Some(FromHost::Facts { facts }), .. } => {
            Some((facts.order, facts.agent_containers))
        }
        _ => None,
    };
    let reported: Vec<_> = bench.did().into_iter().filter_map(reported).collect();
    assert_eq!(reported, [(order(0), 0), (order(1), 3), (order(5_000), 4)]);
}

#[test]
fn an_observer_confirms_at_the_interval_only_what_it_has_just_looked_at() {
    let mut bench = Bench::new();
    bench.launch("o", observe()).did();
    bench.now = Uptime(60_000);
    let effects = bench.executor.handle(bench.now, Input::Tick);
    assert_eq!(effects, [Effect::Survey], "not confirmed from memory");
    let same = bench.facts();
    let effects = bench.give(Input::Facts(same)).did();
    let [Effect::Send(FromHost::Confirm { order, .. })] = &effects[..] else {
        panic!("{effects:?}");
    };
    assert_eq!(order.sequence, 0);
    assert_eq!(bench.executor.next_wake(), Some(Uptime(120_000)));
}

#[test]
fn the_end_of_a_change_reaches_the_observer_too() {
    let mut bench = Bench::new();
    bench.launch("o", observe()).working().did();
    bench.close(Journal::close_done);
    let says_done = |effect: &Effect| {
        matches!(effect, Effect::Update { data: Some(FromHost::Facts { facts }), .. }
            if facts.journal == bench.disk.as_ref().map(Journal::facts))
    };
    assert!(bench.effects.iter().any(says_done), "{:?}", bench.effects);
}

#[test]
fn shutdown_ends_all_tasks_and_the_process_but_not_the_unit() {
    let mut bench = Bench::new();
    bench.launch("s", supervise(None)).working().did();
    let effects = bench.give(Input::Shutdown).did();
    assert!(
        matches!(
            effects[..],
            [
                Effect::Update { state: Killed, .. },
                Effect::Update { state: Killed, .. },
                Effect::Exit
            ]
        ),
        "{effects:?}"
    );
    assert_eq!(bench.disk.map(|journal| journal.is_open()), Some(true));
}

/// After an upgrade of ours, when tasks of the new version have replaced all that it had.
#[test]
fn a_process_without_tasks_ends_after_a_while_and_one_with_any_does_not() {
    let mut bench = Bench::new();
    bench.launch("o", observe()).launch("s", supervise(None)).at(600_000).did();
    bench.give(Input::Superseded).at(1_200_000).did();
    assert_eq!(bench.give(Input::Kill("s".into())).updates(), updates(&[("s", Killed)]));
    assert_eq!(bench.at(1_259_999).did(), []);
    // What comes in between starts it again.
    bench.launch("s2", supervise(None)).at(1_300_000).give(Input::Kill("s2".into())).did();
    assert_eq!(bench.executor.next_wake(), Some(Uptime(1_360_000)));
    assert_eq!(bench.at(1_360_000).did(), [Effect::Exit]);
}

#[test]
fn a_process_stays_for_an_open_journal() {
    let mut bench = Bench::new();
    bench.working().did();
    let open = bench.disk.clone().unwrap();
    let mut bench = Bench::on(Some(open), 2);
    let ends = |effects: Vec<Effect>| effects.contains(&Effect::Exit);
    assert!(!ends(bench.at(1).at(600_000).did()));
    assert!(!ends(bench.close(Journal::close_done).did()));
    assert!(ends(bench.at(660_000).did()));
}

/// Silence would say nothing.
#[test]
fn a_host_that_cannot_be_looked_at_says_so_and_that_it_can_be_again() {
    let mut bench = Bench::new();
    bench.launch("o", Work::Observe { confirm_seconds: 3600 }).did();
    let why = "/etc/machine-id is no plain file".to_owned();
    let blind = [Effect::Send(FromHost::Blind { version: 1, host: HOST.into(), why: why.clone() })];
    for _ in 0..2 {
        assert_eq!(bench.give(Input::Blind { why: why.clone() }).did(), blind);
    }
    let facts = Input::Facts(bench.facts());
    let did = bench.give(facts).did();
    assert!(matches!(&did[..], [Effect::Send(FromHost::Confirm { .. })]), "{did:?}");
    let facts = Input::Facts(bench.facts());
    assert_eq!(bench.give(facts).did(), []);
    // One that never saw anything reports all of it then.
    let mut bench = Bench::new();
    let launch =
        Input::Launch { task: TaskId::from("o"), data: job(Work::Observe { confirm_seconds: 60 }) };
    bench.executor.handle(Uptime(0), launch);
    assert_eq!(bench.give(Input::Blind { why }).did(), blind);
    let facts = Input::Facts(bench.facts());
    let did = bench.give(facts).did();
    assert!(matches!(&did[..], [Effect::Update { data: Some(_), .. }]), "{did:?}");
}
