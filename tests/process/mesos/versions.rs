//! Masters that are too old for what is hoped for.

use calico_dcos::rollout::records::{Limit, Measures, Stage};
use calico_dcos::store::Key;
use calico_dcos::words::HostName;

use crate::bench::{Bench, Setting, document, reasons, summary};

impl Bench {
    async fn limits(&self) -> Vec<Limit> {
        let measures = self.store.get(&Key::RolloutMeasures).await.unwrap().unwrap();
        let measures: Measures = serde_json::from_str(&measures.value).unwrap();
        measures.limits.into_keys().collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn below_mesos_1_3_a_public_host_is_blocked_with_the_reason_and_all_others_converge() {
    let setting = Setting { public: 1, version: "1.0.0", ..Setting::default() };
    let bench = Bench::new(setting).await;
    let public = HostName::from("p1");
    let controller = bench.start();
    let state = bench
        .until("done but for the public host", |state| {
            let stage = state.rollout.as_ref().map(|rollout| &rollout.stage);
            let told = summary(state).map(|it| (it.in_sync, it.blocked));
            matches!(stage, Some(Stage::Done { .. })) && told == Some((3, 1))
        })
        .await;
    let (code, why) = reasons(&state).remove(&public).unwrap();
    assert_eq!(code, "blocked");
    let words = "all its resources are reserved for `slave_public`, and this Mesos gives a \
                 framework one role, ours being `*`; upgrade Mesos to 1.3 or newer";
    assert!(why.starts_with(words), "{why}");
    assert_eq!(bench.limits().await, [Limit::OneRole]);
    assert!(controller.said().contains("out of reach until Mesos is 1.3"), "{}", controller.said());
    bench.quiet().await;
    bench.bounded(1, &[]);
    assert_eq!(bench.launched().await, 3 * 3);
    let restarts = bench
        .hosts(|cluster, _| {
            let restarts = cluster.hosts().iter().map(|host| host.witness().restarts.len());
            restarts.collect::<Vec<_>>()
        })
        .await;
    assert_eq!(restarts, [1, 1, 1, 0]);
    bench.no_breach().await;

    // The next leading master is newer: the subscription to it tells.
    bench.hosts(|cluster, now| cluster.mesos.upgrade(now, "1.11.0".parse().unwrap())).await;
    bench.converged(1).await;
    assert_eq!(bench.limits().await, []);
    bench.put(&document("calico/node:v2")).await;
    bench.converged(2).await;
    bench.quiet().await;
    bench.bounded(4, &[("ACCEPT", 4), ("RECONCILE", 20), ("ACKNOWLEDGE", 20)]);
}
