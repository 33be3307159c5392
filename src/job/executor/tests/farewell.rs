//! The end: the host is told to forget us.

use super::*;

const OBSERVE: Work = Work::Observe { confirm_seconds: 60 };

#[test]
fn a_host_that_only_observes_forgets_us_says_so_and_ends() {
    let mut bench = Bench::new();
    bench.launch("o", OBSERVE).did();
    assert_eq!(bench.leave(HOST).did(), [Effect::Leave]);
    // The order is repeated until it is answered.
    assert_eq!(bench.leave(HOST).did(), []);
    let did = bench.give(Input::Left(Ok(()))).did();
    let [
        Effect::Update { task, state: Finished, data: Some(FromHost::Left { host, .. }), .. },
        Effect::Exit,
    ] = &did[..]
    else {
        panic!("{did:?}")
    };
    assert_eq!((task.0.as_str(), host.as_str()), ("o", HOST));
}

#[test]
fn what_is_launched_while_it_leaves_fails_and_changes_nothing() {
    let mut bench = Bench::new();
    bench.launch("o", OBSERVE).leave(HOST).did();
    bench.change("t", 5);
    assert_eq!(bench.updates(), [("t".to_owned(), Starting), ("t".to_owned(), Failed)]);
}

#[test]
fn one_that_cannot_forget_us_says_why_and_goes_on() {
    let mut bench = Bench::new();
    bench.launch("o", OBSERVE).leave(HOST).did();
    let did = bench.give(Input::Left(Err("docker is still in force".to_owned()))).did();
    let [Effect::Send(FromHost::Stays { why, .. })] = &did[..] else { panic!("{did:?}") };
    assert_eq!(why, "docker is still in force");
    assert_eq!(bench.leave(HOST).did(), [Effect::Leave], "it is tried again");
}

#[test]
fn the_order_is_passed_over_where_it_does_not_fit() {
    // Meant for another host.
    let mut bench = Bench::new();
    bench.launch("o", OBSERVE).did();
    assert_eq!(bench.leave("elsewhere").did(), []);
    // A process that does not report of the host.
    assert_eq!(Bench::new().leave(HOST).did(), []);
    // A change is at work, and one more after the observer.
    let mut bench = Bench::new();
    bench.launch("o", OBSERVE).working().did();
    assert_eq!(bench.leave(HOST).did(), []);
    bench.close(|journal| journal.close_undone("it failed".into())).did();
    assert_eq!(bench.leave(HOST).did(), [Effect::Leave], "it has ended");
}

#[test]
fn a_journal_that_an_earlier_process_left_open_is_not_forgotten() {
    let mut before = Bench::new();
    before.working();
    let mut bench = Bench::on(before.disk.clone(), 2);
    bench.launch("o", OBSERVE).did();
    assert_eq!(bench.leave(HOST).did(), []);
}
