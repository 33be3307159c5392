//! Launches, status updates, KILL, MESSAGE and reconciliation.

use super::*;

#[test]
fn a_task_runs_and_its_resources_come_back() {
    let mut bench = Bench::new(ours(), &["*"]);
    let offer = bench.launch("t1");
    assert!((cpus(&offer) - 4.0).abs() < 1e-9);
    assert!(bench.take_orders().is_empty(), "a new executor takes 350 ms");
    bench.run(350);
    let launch = ToExecutor::Launch { task: "t1".into(), data: b"t1".to_vec() };
    assert_eq!(bench.take_orders(), [launch]);
    bench.report_all("t1", &[TaskPhase::Starting, TaskPhase::Running]);

    // Task and executor are charged once; the offer names the executor that runs.
    bench.run(1_000);
    let rest = bench.offers().swap_remove(0);
    assert!((cpus(&rest) - 3.8).abs() < 1e-9);
    assert_eq!(rest.executor_ids, ["ex".into()]);
    bench.accept(&rest, vec![task_info("t2", &rest)]);
    bench.run(10);
    assert_eq!(bench.take_orders().len(), 1, "a running executor takes a task in 10 ms");
    bench.run(1_000);
    assert!((cpus(&bench.offers()[0]) - 3.7).abs() < 1e-9);
}
