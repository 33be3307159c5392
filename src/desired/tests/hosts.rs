//! What hosts are to have, and the hashes of it.

use std::sync::Arc;

use super::*;
use crate::words::Component;

const FULL: &str = "  etcdProxy: {}
  docker: {}
  mesosAgent: {}
  calicoNode: {image: \"calico/node:v2.6.12\", env: {IP: {fromRoute: masters}}}
  calicoLibnetwork: {image: \"calico/node-libnetwork:v1.1.2\"}";

fn resolve(spec: &str) -> HostSpec {
    good(&[&cluster(spec)]).resolve(&host("a1")).unwrap()
}

fn hashes(spec: &str) -> Vec<(Component, String)> {
    resolve(spec).components.iter().map(|(c, spec)| (*c, spec.hash.to_string())).collect()
}

#[test]
fn s26_comments_key_order_and_spelled_out_defaults_change_no_hash() {
    let spelled = "  # A comment.
  calicoLibnetwork:
    volumes: []
    image: calico/node-libnetwork:v1.1.2
    env: {}
    enabled: true
  calicoNode:
    env:
      IP:
        fromRoute: \"masters\" # quoted
    image: 'calico/node:v2.6.12'
    resources: {mem: 256, cpus: 0.2}
  mesosAgent:
    cni:
      network:
        etcd_endpoints: http://127.0.0.1:2379
        ipam: {type: calico-ipam}
        type: calico
        cniVersion: 0.1.0
        name: calico
      plugins: []
      configDirectory: /etc/cni/net.d
    networking: cni
  docker: {clusterStoreOpts: {}, clusterStore: \"etcd://127.0.0.1:2379\", enabled: true}
  etcdProxy:
    binary: {path: /usr/bin/etcd}
    upstream: {discoverySrv: etcd.mesos}
    listen: 127.0.0.1:2379
    mode: gateway";
    assert_eq!(hashes(FULL), hashes(spelled));
}

/// Another release must give the same hashes, or every host would change when it is installed.
/// If this test fails, a field that was added does not leave itself out at its default.
#[test]
fn the_hashes_of_the_defaults_are_those_of_the_first_release() {
    let pinned: Vec<String> =
        hashes(FULL).iter().map(|(component, hash)| format!("{component} {hash}")).collect();
    insta::assert_snapshot!(pinned.join("\n"));
}

#[test]
fn every_field_of_a_component_is_in_its_hash() {
    let table = [
        ("etcdProxy: {}", "etcdProxy: {mode: v2-proxy}"),
        ("etcdProxy: {}", "etcdProxy: {listen: \"127.0.0.1:4001\"}"),
        ("etcdProxy: {}", "etcdProxy: {binary: {path: /opt/etcd}}"),
        ("etcdProxy: {}", "etcdProxy: {upstream: {endpoints: [\"http://a:1\"]}}"),
        ("etcdProxy: {}", "etcdProxy: {mode: v2-proxy, tls: {caFile: /ca.pem}}"),
        ("docker: {}", "docker: {clusterStore: \"etcd://10.0.0.1:2379\"}"),
        ("docker: {}", "docker: {clusterAdvertise: \"eth0:2376\"}"),
        ("docker: {}", "docker: {clusterStoreOpts: {kv.path: a}}"),
        ("mesosAgent: {}", "mesosAgent: {cni: {pluginDirectory: /x}}"),
        ("mesosAgent: {}", "mesosAgent: {cni: {configDirectory: /x}}"),
        ("mesosAgent: {}", "mesosAgent: {cni: {plugins: [{name: calico, path: /x}]}}"),
        ("mesosAgent: {}", "mesosAgent: {cni: {network: {name: a, type: b}}}"),
        ("calicoNode: {image: a}", "calicoNode: {image: b}"),
        ("calicoNode: {image: a}", "calicoNode: {image: a, env: {A: b}}"),
        (
            "calicoNode: {image: a}",
            "calicoNode: {image: a, volumes: [{hostPath: /a, containerPath: /b}]}",
        ),
        ("calicoLibnetwork: {image: a}", "calicoLibnetwork: {image: a, env: {A: b}}"),
        (
            "calicoNode: {image: a, env: {A: /b}}",
            "calicoNode: {image: a, env: {A: {fromFile: /b}}}",
        ),
    ];
    for (one, other) in table {
        assert_ne!(hashes(&format!("  {one}")), hashes(&format!("  {other}")), "{other}");
    }
}

#[test]
fn a_component_that_is_off_has_one_hash_of_its_own_whatever_else_it_says() {
    let off = hashes("  docker: {enabled: false}");
    assert_eq!(off, hashes("  docker: {enabled: false, clusterAdvertise: \"eth0:2376\"}"));
    assert_ne!(off[0].1, hashes("  calicoNode: {enabled: false}")[0].1);
    assert_ne!(off, hashes("  docker: {}"));
    assert_eq!(
        resolve("  calicoNode: {enabled: false}").components[&Component::CalicoNode].spec,
        Spec::Off
    );
}

#[test]
fn resources_belong_to_the_task_and_not_to_the_hash() {
    let spec = resolve("  etcdProxy: {resources: {cpus: 0.35}}\n  docker: {}");
    let proxy = &spec.components[&Component::EtcdProxy];
    assert_eq!(proxy.resources, Some(Resources::new(350, 128)));
    assert_eq!(proxy.hash, resolve("  etcdProxy: {}").components[&Component::EtcdProxy].hash);
    assert_eq!(spec.components[&Component::Docker].resources, None);
    assert!(
        resolve("  etcdProxy: {enabled: false}").components[&Component::EtcdProxy]
            .resources
            .is_none()
    );
}

#[test]
fn an_absent_section_is_not_managed() {
    assert_eq!(resolve("  docker: {}").components.keys().collect::<Vec<_>>(), [&Component::Docker]);
    assert!(good(&[&cluster("")]).resolve(&host("a1")).unwrap().components.is_empty());
}

#[test]
fn a_spec_is_read_back_as_it_was_sent() {
    for spec in resolve(FULL).components.values() {
        let json = serde_json::to_string(spec).unwrap();
        let back: ComponentSpec = serde_json::from_str(&json).unwrap();
        assert_eq!(&back, spec);
        assert_eq!(serde_json::to_string(&back).unwrap(), json);
    }
}

#[test]
fn a_pool_changes_the_fields_that_it_sets_and_no_others() {
    let spec = format!(
        "  calicoNode: {{image: \"a:1\", env: {{A: a, B: {{fromFile: /b}}}}}}
  etcdProxy: {{binary: {{url: \"http://x/y\", sha256: \"{}\"}}}}",
        "0".repeat(64)
    );
    let over = "  selector: {names: [a1]}
  calicoNode: {env: {B: b, C: c}}
  etcdProxy: {binary: {path: /etcd}}
  docker: {}";
    let desired = good(&[&cluster(&spec), &pool("edge", over)]);
    let spec = desired.resolve(&host("a1")).unwrap();
    let json = serde_json::to_value(&spec.components[&Component::CalicoNode].spec).unwrap();
    assert_eq!(
        json["calicoNode"],
        serde_json::json!({"image": "a:1", "env": {"A": "a", "B": "b", "C": "c"}, "volumes": []})
    );
    let proxy = serde_json::to_value(&spec.components[&Component::EtcdProxy].spec).unwrap();
    assert_eq!(proxy["etcdProxy"]["binary"], serde_json::json!({"path": "/etcd"}));
    assert!(spec.components.contains_key(&Component::Docker));
    let other = desired.resolve(&host("a2")).unwrap();
    assert!(other.pools.is_empty() && !other.components.contains_key(&Component::Docker));
}

#[test]
fn two_pools_that_set_one_field_of_one_host_are_an_error_that_names_both() {
    let table = [
        ("calicoNode: {image: \"b:1\"}", "calicoNode: {image: \"c:1\"}", "calicoNode.image"),
        ("calicoNode: {image: \"b:1\"}", "calicoNode: {image: \"b:1\"}", "calicoNode.image"),
        (
            "calicoNode: {env: {A: {fromFile: /a}}}",
            "calicoNode: {env: {A: b}}",
            "calicoNode.env.A.fromFile",
        ),
        ("rollout: {paused: true}", "rollout: {paused: false}", "rollout.paused"),
        ("rollout: {windows: []}", "rollout: {windows: []}", "rollout.windows"),
        ("rollout: {order: [a]}", "rollout: {order: [b]}", "rollout.order"),
        (
            "rollout: {maxConcurrentRestarts: 1}",
            "rollout: {maxConcurrentRestarts: 1}",
            "rollout.maxConcurrentRestarts",
        ),
    ];
    for (one, other, field) in table {
        let desired = good(&[
            &cluster("  calicoNode: {image: \"a:1\"}"),
            &pool("one", &format!("  selector: {{roles: [\"*\"]}}\n  {one}")),
            &pool("other", &format!("  selector: {{attributes: {{rack: r1}}}}\n  {other}")),
        ]);
        let mut both = host("a1");
        assert!(desired.resolve(&both).is_ok());
        both.attributes.insert("rack".to_owned(), "r1".to_owned());
        let expected = PoolConflict::SameField {
            first: "one".to_owned(),
            second: "other".to_owned(),
            field: field.to_owned(),
        };
        assert_eq!(desired.resolve(&both), Err(expected));
    }
}

#[test]
fn pools_that_set_different_fields_go_together() {
    let desired = good(&[
        &cluster("  docker: {clusterStoreOpts: {kv: x}}\n  calicoNode: {image: \"a:1\"}"),
        &pool(
            "one",
            "  selector: {roles: [\"*\"]}\n  calicoNode: {env: {A: a}}\n  docker: {clusterStoreOpts: {kv: y}}",
        ),
        &pool(
            "two",
            "  selector: {roles: [\"*\"]}\n  calicoNode: {env: {B: b}}\n  docker: {clusterStoreOpts: {kv.path: z}}",
        ),
    ]);
    assert_eq!(desired.resolve(&host("a1")).unwrap().pools, ["one", "two"]);
}

#[test]
fn what_a_pool_chooses_replaces_the_whole_choice() {
    let table = [
        (
            "etcdProxy: {upstream: {endpoints: [\"http://a:1\"]}}",
            "etcdProxy: {upstream: {discoverySrv: b}}",
        ),
        (
            "calicoNode: {image: a, env: {A: {fromFile: /a}}}",
            "calicoNode: {env: {A: {fromRoute: b}}}",
        ),
        ("docker: {clusterStoreOpts: {a: b}}", "docker: {clusterStoreOpts: {a: c}}"),
        (
            "mesosAgent: {cni: {plugins: [{name: a, path: /a}, {name: b, path: /b}]}}",
            "mesosAgent: {cni: {plugins: [{name: a, path: /c}]}}",
        ),
    ];
    for (below, above) in table {
        let edge = pool("edge", &format!("  selector: {{names: [a1]}}\n  {above}"));
        let desired = good(&[&cluster(&format!("  {below}")), &edge]);
        let laid = desired.resolve(&host("a1")).unwrap().components;
        let alone = resolve(&format!("  {}", above.replace("{env", "{image: a, env"))).components;
        assert_eq!(laid, alone, "{above}");
    }
}

#[test]
fn pools_good_by_themselves_that_are_not_good_together_are_an_error() {
    // `one` is complete, and the section of `two` is not in force as long as CNI is.
    let form = "networking: netModules, netModules: {library: {path: /l}, plugin: {path: /p}}";
    let desired = good(&[
        &cluster("  mesosAgent: {networking: cni}"),
        &pool("one", &format!("  selector: {{roles: [\"*\"]}}\n  mesosAgent: {{{form}}}")),
        &pool("two", "  selector: {names: [a1]}\n  mesosAgent: {cni: {plugins: []}}"),
    ]);
    let together = desired.resolve(&host("a1")).unwrap();
    assert_eq!(together.components, resolve(&format!("  mesosAgent: {{{form}}}")).components);

    let desired = good(&[
        &cluster("  mesosAgent: {enabled: false}"),
        &pool("one", "  selector: {roles: [\"*\"]}\n  mesosAgent: {networking: netModules}"),
        &pool("two", "  selector: {names: [a1]}\n  mesosAgent: {enabled: true}"),
    ]);
    assert!(desired.resolve(&host("a2")).is_ok());
    let conflict = desired.resolve(&host("a1")).unwrap_err();
    assert!(
        matches!(&conflict, PoolConflict::Together { pools, component: Component::MesosAgent, .. } if pools == &["one", "two"])
    );
    assert_eq!(
        conflict.to_string(),
        "the pools `one`, `two` together leave `mesosAgent` incomplete: `networking: netModules` needs a `netModules` section"
    );
}

#[test]
fn a_selector_matches_by_all_of_its_parts_and_by_any_value_of_each() {
    let table = [
        ("{names: [a1]}", true),
        ("{names: [a2]}", false),
        ("{names: [a2, a1]}", true),
        ("{roles: [\"*\"]}", true),
        ("{roles: [slave_public]}", false),
        ("{attributes: {rack: r1}}", true),
        ("{attributes: {rack: [r0, r1]}}", true),
        ("{attributes: {rack: r1, zone: z}}", false),
        ("{names: [a1], attributes: {rack: r2}}", false),
        ("{names: [a1], roles: [\"*\"], attributes: {rack: r1}}", true),
    ];
    let mut a1 = host("a1");
    a1.attributes.insert("rack".to_owned(), "r1".to_owned());
    for (selector, matches) in table {
        let pool = pool("p", &format!("  selector: {selector}\n  docker: {{}}"));
        let desired = good(&[&cluster(""), &pool]);
        assert_eq!(!desired.resolve(&a1).unwrap().pools.is_empty(), matches, "{selector}");
        assert_eq!(desired.warnings([&a1]).is_empty(), matches, "{selector}");
    }
}

#[test]
fn the_rollout_of_a_host_is_the_clusters_with_its_pools_laid_over() {
    let desired = good(&[
        &cluster("  rollout: {order: [rack], exclude: [a9], maxConcurrentRestarts: 5}"),
        &pool(
            "held",
            "  selector: {names: [a1]}\n  rollout: {paused: true, order: [zone], maxConcurrentRestarts: 2}",
        ),
    ]);
    let held = desired.resolve(&host("a1")).unwrap().rollout;
    assert_eq!(held.paused_by, Some(PausedBy::Pool("held".to_owned())));
    assert_eq!(held.order, ["zone"]);
    assert_eq!(
        held.pool_limit,
        Some(PoolLimit { pool: "held".to_owned(), limit: Limit::Count(2) })
    );
    let free = desired.resolve(&host("a2")).unwrap().rollout;
    assert_eq!(
        (free.paused_by, free.order, free.pool_limit),
        (None, vec!["rack".to_owned()], None)
    );
    assert!(desired.excludes(&"a9".into()) && !desired.excludes(&"a1".into()));
    let paused = good(&[
        &cluster("  rollout: {paused: true}"),
        &pool("p", "  selector: {names: [a1]}\n  rollout: {paused: false}"),
    ]);
    assert_eq!(paused.resolve(&host("a1")).unwrap().rollout.paused_by, Some(PausedBy::Cluster));
}

#[test]
fn hosts_of_the_same_pools_share_one_result() {
    let desired = Arc::new(good(&[
        &cluster(FULL),
        &pool(
            "edge",
            "  selector: {attributes: {site: edge}}\n  docker: {clusterAdvertise: \"eth1:1\"}",
        ),
    ]));
    let mut resolver = Resolver::new(Arc::clone(&desired));
    let mut edge = host("e1");
    edge.attributes.insert("site".to_owned(), "edge".to_owned());
    let [one, two] = ["a1", "a2"].map(|name| resolver.resolve(&host(name)).unwrap());
    assert!(Arc::ptr_eq(&one, &two));
    let at_the_edge = resolver.resolve(&edge).unwrap();
    assert_eq!(*at_the_edge, desired.resolve(&edge).unwrap());
    assert_ne!(at_the_edge, one);
}

#[test]
fn the_default_pace_is_the_rate_at_which_slots_come_back() {
    let pace =
        |rollout: &str, slots| good(&[&cluster(rollout)]).cluster.spec.rollout.pace_for(slots);
    let rate = |burst, interval_ms| Some(PermitRate { burst, interval_ms });
    assert_eq!(pace("  rollout: {}", 1), rate(1, 30_000));
    assert_eq!(pace("  rollout: {}", 500), rate(500, 60));
    assert_eq!(pace("  rollout: {stabilitySeconds: 0}", 5), None);
    assert_eq!(pace("  rollout: {pace: {perMinute: 2}}", 5), rate(5, 30_000));
    assert_eq!(pace("  rollout: {pace: {burst: 1}}", 5), rate(1, 6_000));
}

#[test]
fn what_is_applied_replaces_what_is_stored_under_the_same_name() {
    let stored = |name: &str, text: String| Source::stored(name.parse().unwrap(), text);
    let old = vec![
        stored("cluster", cluster("  docker: {}")),
        stored("pools/a", pool("a", "  selector: {names: [a1]}")),
        stored("pools/b", pool("b", "  selector: {names: [a1]}")),
    ];
    let new = format!(
        "{}---\n# b\n{}",
        cluster("  etcdProxy: {}"),
        pool("b", "  selector: {names: [b1]}")
    );
    let desired = read(&replace(old, vec![Source::file("new.yaml", new)])).unwrap();
    assert!(desired.cluster.spec.docker.is_none() && desired.pools.len() == 2);
    let texts: Vec<(String, &str)> =
        desired.documents.iter().map(|(name, text)| (name.to_string(), text.as_str())).collect();
    assert_eq!(texts[0], ("cluster".to_owned(), cluster("  etcdProxy: {}").as_str()));
    assert_eq!(texts[2].1, format!("# b\n{}", pool("b", "  selector: {names: [b1]}")));
}
