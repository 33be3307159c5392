//! A clock that is set back by more than anything is put off for.

use calico_dcos::words::Time;

use super::bench::Bench;

const BACK_MS: u64 = 600_000;

impl Bench {
    fn set_the_clock_back(&mut self) {
        self.now = Time(self.now.0 - BACK_MS);
        self.pump();
    }
}

#[test]
fn agents_are_listed_and_launches_repeated_as_soon_as_before() {
    let mut bench = Bench::new(&["a1", "a2"]);
    bench.observe("a1");
    let observer = bench.observe("a2");
    bench.failed_in_the_fetcher(&observer, "a2");
    bench.hosts = vec!["a2"];
    bench.wait(60_000);
    assert_eq!(bench.reason("a1"), "unreachable");
    bench.set_the_clock_back();
    bench.hosts = vec!["a1", "a2"];
    bench.wait(11_000);
    assert_ne!(bench.reason("a1"), "unreachable");
    bench.offer("a2");
    assert_eq!(bench.launched().len(), 1, "the observer that ended");
}

/// Answers count for five seconds, and not for five seconds of a clock that shows them twice.
#[test]
fn gates_are_asked_anew() {
    let mut bench = Bench::gated(&["a1", "a2"]);
    bench.gates = Err("http://alerts/ok answered 503 and not 200".to_owned());
    bench.offer("a1");
    assert_eq!(bench.gates_asked, 1);
    bench.gates = Ok(());
    bench.set_the_clock_back();
    bench.wait(1_000);
    bench.offer("a1");
    bench.wait(1_000);
    assert_eq!((bench.launched().len(), bench.gates_asked), (1, 2));
}
