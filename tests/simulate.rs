//! Whole runs in virtual time.

use calico_dcos::sim::run::{Options, World};
use calico_dcos::sim::scenario::Scenario;

const CLUSTER: &str = r#"
apiVersion: calico-dcos/v1
kind: Cluster
metadata: {name: test}
spec:
  rollout: {maxConcurrentRestarts: 5, maxUnavailable: 10, stabilitySeconds: 1}
  etcdProxy: {upstream: {endpoints: ["http://10.0.0.1:2379"]}, binary: {path: /usr/bin/etcd}}
  docker: {}
  mesosAgent: {networking: cni}
  calicoNode: {image: "calico/node:v2.6.12"}
"#;

fn run(scenario: &str) -> (calico_dcos::sim::report::Report, World) {
    let scenario = Scenario::read("test", scenario).unwrap();
    let documents = vec![("cluster.yaml".to_owned(), CLUSTER.to_owned())];
    let mut world = World::new(&scenario, documents, &Options { notes: true }).unwrap();
    world.run(scenario.until);
    (world.report(), world)
}

#[test]
fn a_fresh_cluster_converges_within_the_budget() {
    let (report, _) = run(r#"
apiVersion: calico-dcos/v1
kind: Scenario
seed: 1
desired: []
hosts: [{count: 50, name: "a{n}", restartSeconds: {median: 2}}]
"#);
    for line in &report.timeline {
        println!("{:9.3} {}", line.at, line.what);
    }
    println!(
        "{:#?}",
        calico_dcos::sim::report::Report {
            timeline: vec![],
            hosts: Default::default(),
            restarts: Default::default(),
            ..report.clone()
        }
    );
    assert!(report.converged);
    assert_eq!(report.budget_breaches, 0);
}
