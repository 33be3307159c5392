//! A made-up cluster, for benchmarks of what is done about one.

use calico_dcos::sim::run::{Options, World};
use calico_dcos::sim::scenario::Scenario;

pub(crate) const CLUSTER: &str = "apiVersion: calico-dcos/v1\nkind: Cluster\nmetadata: {name: bench}\nspec:\n  \
    rollout: {maxConcurrentRestarts: 100}\n  \
    etcdProxy: {upstream: {endpoints: [\"http://10.0.0.1:2379\"]}, binary: {path: /usr/bin/etcd}}\n  \
    docker: {}\n  mesosAgent: {networking: cni}\n  calicoNode: {image: \"calico/node:v2.6.12\"}\n";

const SCENARIO: &str = "apiVersion: calico-dcos/v1\nkind: Scenario\nseed: 7\ndesired: [cluster.yaml]\n\
    mesos: {version: 1.1.0}\nhosts:\n  - {count: COUNT, name: \"a{n}\", observed: {installed: true}}\nuntil: converged\n";

/// So many hosts, each of them as [`CLUSTER`] declares.
pub(crate) fn in_sync(count: u64) -> World {
    let text = SCENARIO.replace("COUNT", &count.to_string());
    let scenario = Scenario::read("bench", &text).expect("it is written above");
    let documents = [("cluster.yaml".to_owned(), CLUSTER.to_owned())];
    let mut world =
        World::new(&scenario, &documents, &Options::default()).expect("the documents are good");
    world.run(scenario.until);
    world
}
