//! Pictures of the page, for the README: `make screenshots` draws them anew.

use calico_dcos::sim::cluster::Cluster;
use calico_dcos::words::Time;
use serde_json::json;

use crate::browser::Browser;
use crate::site::{Controller, Site};

/// Where they go; without it they are only looked at.
const VARIABLE: &str = "CALICO_DCOS_PICTURES";

const PRODUCTION: &str = "apiVersion: calico-dcos/v1\nkind: Cluster\nmetadata: {name: production}\nspec:\n  \
    rollout: {maxConcurrentRestarts: 6, maxUnavailable: 30, stabilitySeconds: 0, settleSeconds: 0, maxFailures: 5, order: [rack]}\n  \
    etcdProxy: {upstream: {discoverySrv: etcd.mesos}, binary: {path: /usr/bin/etcd}}\n  \
    docker: {clusterStore: etcd://127.0.0.1:2379}\n  mesosAgent: {networking: cni}\n  \
    calicoNode: {image: \"calico/node:v2.6.12\"}\n";

/// A machine is away, and two do not start again.
fn accidents(cluster: &mut Cluster, now: Time) {
    for host in ["worker-b17", "worker-c4"] {
        cluster.fail_restarts(&host.into(), 9);
    }
    cluster.power_cut(now, &"worker-d11".into(), 3_600_000);
}

async fn cluster() -> (Site, Controller) {
    let rack = |rack: &str, count: u32| {
        json!({
            "count": count, "name": format!("worker-{rack}{{n}}"), "attributes": {"rack": rack},
            "restartSeconds": {"median": 1.2, "sigma": 0.3},
        })
    };
    let swarm = json!({
        "count": 3, "name": "edge-{n}", "attributes": {"rack": "d"},
        "observed": {"docker": {"version": "20.10.24", "swarm": true}},
    });
    let hosts = json!([rack("a", 60), rack("b", 60), rack("c", 60), rack("d", 57), swarm]);
    let site = Site::of(hosts, PRODUCTION, accidents).await;
    let controller = site.run("controller-1", true);
    (site, controller)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: it takes a browser, which only test-full brings"]
async fn long_pictures_of_a_rollout_that_are_neither_empty_nor_cut_off() {
    let (_site, controller) = cluster().await;
    controller.until(|data| data["inSync"].as_u64() >= Some(150)).await;
    let browser = Browser::start().await;
    let page = |path: &str| format!("{}/{path}", controller.url);
    for (name, path, scheme, [width, height]) in [
        ("page-light", "", "light", [1280, 1300]),
        ("page-dark", "", "dark", [1280, 1300]),
        ("page-narrow", "", "light", [390, 1300]),
        ("host", "hosts/worker-b17", "light", [1280, 940]),
        ("plan", "plan", "dark", [1280, 640]),
    ] {
        browser.size(width, height).await;
        browser.likes(scheme).await;
        browser.open(&page(path)).await;
        browser.until("document.getElementById('live').textContent === 'live'").await;
        let wider = "document.documentElement.scrollWidth > document.documentElement.clientWidth";
        assert_eq!(browser.says(wider).await, false, "{name} is cut off at the side");
        let picture = browser.picture().await;
        assert!(picture.len() > 10_000, "{name} is empty: {} bytes", picture.len());
        if let Some(dir) = std::env::var_os(VARIABLE) {
            std::fs::write(std::path::Path::new(&dir).join(format!("{name}.png")), picture)
                .unwrap();
        }
    }
}
