//! What is told about bad documents, as the operator sees it.

use insta::assert_snapshot;

use super::*;

/// Where and what, without pictures.
fn told(findings: &Findings) -> Vec<(usize, usize, &str, &str)> {
    let line = |finding: &Finding| finding.line.unwrap_or(0);
    let column = |finding: &Finding| finding.column.unwrap_or(0);
    findings.0.iter().map(|f| (line(f), column(f), f.path.as_str(), f.message.as_str())).collect()
}

#[test]
fn all_that_is_wrong_is_told_at_once_each_with_its_place() {
    let text = "\
apiVersion: calico-dcos/v1
kind: Cluster
metadata:
  name: Production
spec:
  rollout:
    maxConcurrentRestarts: 50 percent
    maxUnavailabel: 10%
    stabilitySeconds: -1
    paused: yes
    start: automatc
    order: rack
    windows:
      - {days: [Mon, Tues], start: \"25:00\", end: \"05:00\", timezone: Europe/Berln}
  calicoNod:
    image: calico/node:v2.6.12
  docker:
    clusterStore: 10.0.0.1:2379
  etcdProxy:
    upstream: {discoverySrv: etcd.mesos, endpoints: [\"http://10.0.0.1\"]}
    binary: {url: \"https://mirror.example/etcd.tar.gz\"}
    resources: {cpus: 0, mem: much}
  mesosAgent:
    networking: netModules
  docker:
    clusterAdvertise: eth0
  calicoLibnetwork:
    env: {AS: 64512, IP: {fromFil: /x}}
";
    assert_snapshot!(bad(&[text]));
}

#[test]
fn a_file_that_is_not_yaml_is_shown_where_it_breaks() {
    assert_snapshot!(bad(&["spec:\n  rollout: {paused: true\n  docker: {}\n"]));
}

#[test]
fn kinds_and_versions_that_do_not_exist_are_told() {
    assert_snapshot!(bad(&[
        "apiVersion: calico-dcos/v2\nkind: Clustr\n---\n- a\n---\nkind: Scenario\n---\napiVersion: v1\n"
    ]));
}

#[test]
fn documents_that_do_not_go_together_are_told() {
    let edge = pool("edge", "  selector: {names: [a1]}\n  docker: {clusterAdvertise: eth0:1}");
    let other =
        pool("other", "  selector: {names: [a0, a1]}\n  docker: {clusterAdvertise: eth0:1}");
    assert_snapshot!(bad(&[&cluster("  docker: {}"), &edge, &cluster(""), &edge, &other]));
}

#[test]
fn rules_across_fields_are_told() {
    let text = cluster(
        "  rollout:
    maxConcurrentRestarts: 2
    windows: [{start: \"05:00\", end: \"05:00\"}]
    canary: {hosts: 0}
  etcdProxy: {mode: grpc-proxy}
  docker: {}
  mesosAgent: {networking: netModules}",
    );
    let fast = pool("fast", "  selector: {names: [a1]}\n  rollout: {maxConcurrentRestarts: 3}");
    let nobody = pool("nobody", "  selector: {attributes: {}}\n  docker: {}");
    assert_snapshot!(bad(&[&text, &fast, &nobody]));
}

#[test]
fn a_pool_must_be_complete_with_the_cluster() {
    let edge = pool("edge", "  selector: {names: [a1]}\n  calicoNode: {env: {A: b}}");
    assert_snapshot!(bad(&[&cluster("  docker: {}"), &edge]));
    good(&[
        &cluster("  calicoNode: {enabled: false}"),
        &pool("p", "  selector: {names: [a1]}\n  calicoNode: {enabled: true, image: a}"),
    ]);
}

#[test]
fn what_has_no_effect_is_a_warning() {
    let text = cluster(
        "  rollout: {maxConcurrentRestarts: 0}
  etcdProxy: {tls: {caFile: /ca.pem}}
  mesosAgent:
    netModules: {library: {path: /lib.so}, plugin: {path: /plugin}}",
    );
    let desired = good(&[&text, &pool("edge", "  selector: {names: [a1]}")]);
    assert_snapshot!(render_warnings(&desired.remarks, false));
}

#[test]
fn a_secret_beside_a_finding_in_what_was_put_aside_as_a_comment_is_not_shown() {
    for comment in ["ETCD_PASSWORD: hunter2", "{env: {TOKEN: hunter2}}", "http://a:hunter2@b"] {
        let findings = bad(&[&cluster(&format!("  docker: {{nonsense: 1}} # {comment}"))]);
        let shown = format!("{findings}{}", serde_json::to_string(&findings).unwrap());
        assert!(shown.contains("nonsense") && !shown.contains("hunter2"), "{shown}");
    }
    let findings = bad(&[&cluster("  docker: {nonsense: 1} # as it is in doc: etc")]);
    assert!(findings.to_string().contains("as it is in doc: etc"), "{findings}");
}

#[test]
fn a_secret_is_refused_and_shown_nowhere() {
    let text = cluster(
        "  docker:
    clusterStore: etcd://root:hunter2@10.0.0.1:2379
    clusterStoreOpts: {kv.key: hunter2, kv.keyfile: /etc/key.pem}
  mesosAgent:
    cni: {network: {name: a, type: b, ipam: {api_token: hunter2}, list: [\"http://a:hunter2@b\"]}}
  calicoNode:
    image: calico/node:v2.6.12
    env:
      Etcd_Password: hunter2
      MY_SECRET: {value: hunter2}
      ETCD_KEY_FILE: /etc/calico/key.pem
      API_KEY_FILE: hunter2
      ACCESS_TOKEN: 2222
      ETCD_ENDPOINTS: http://root:hunter2@10.0.0.1:2379
      THE_PASSWORD: {fromFile: /etc/calico/password}
      PASSWORD: |
        hunter2",
    );
    let findings = bad(&[&text]);
    let shown = format!("{findings}{}", serde_json::to_string(&findings).unwrap());
    assert!(!shown.contains("hunter2") && !shown.contains("2222"), "{shown}");
    assert_snapshot!(findings);
}

#[test]
fn a_secret_is_shown_nowhere_if_the_document_cannot_be_parsed_either() {
    for text in [
        "a: {\nPASSWORD: hunter2 ] }\n",
        "token: &x hunter2: *y\n",
        "env:\n  MY_KEY: |\n    hunter2\n   hunter2: ]\n",
        "env: {X: [}, PASSWORD: hunter2\n",
        "url: http://root:hunter2@host: :\n  ]",
    ] {
        let shown = bad(&[text]).to_string();
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn a_very_long_line_is_cut_down_to_the_place() {
    let names: Vec<String> = (0..2000).map(|n| format!("a{n}")).collect();
    let text = cluster(&format!("  rollout: {{exclude: [{}, 5], paused: ja}}", names.join(", ")));
    assert_snapshot!(bad(&[&text]));
}

#[test]
fn the_key_in_etcd_and_the_name_in_the_document_must_agree() {
    let stored = |name: &str, text: &str| Source::stored(name.parse().unwrap(), text);
    let sources = [
        stored("cluster", &cluster("")),
        stored("pools/edge", &pool("ege", "  selector: {names: [a1]}")),
        stored("pools/two", &format!("{0}---\n{0}", pool("two", "  selector: {names: [a1]}"))),
    ];
    assert_snapshot!(read(&sources).unwrap_err());
}

#[test]
fn words_that_only_look_like_others_are_refused() {
    let table = [
        ("  rollout: {paused: yes}", "expected `true` or `false`, found `yes`"),
        ("  rollout: {paused: \"true\"}", "expected `true` or `false`, found `true`"),
        ("  rollout: {paused: True}", "expected `true` or `false`, found `True`"),
        ("  rollout: {attempts: 010}", "expected a whole number from 1 to 4294967295, found `010`"),
        ("  rollout: {attempts: 0x3}", "expected a whole number from 1 to 4294967295, found `0x3`"),
        (
            "  rollout: {attempts: 3.0}",
            "expected a whole number from 1 to 4294967295, found the number 3.0",
        ),
        (
            "  rollout: {attempts: 4294967296}",
            "expected a whole number from 1 to 4294967295, found 4294967296",
        ),
        ("  rollout: {order: [1.10]}", "expected a text, found the number 1.1"),
        (
            "  docker:",
            "expected a map with `clusterAdvertise`, `clusterStore`, `clusterStoreOpts`, `enabled`, found nothing",
        ),
        (
            "  docker: []",
            "expected a map with `clusterAdvertise`, `clusterStore`, `clusterStoreOpts`, `enabled`, found a list",
        ),
        ("  docker: {resources: {cpus: 1}}", "unknown field `resources`"),
        ("  docker: {<<: {enabled: true}}", "merge keys (`<<`) are not supported"),
        ("  docker: !docker {}", "the tag `!docker` is not supported"),
        ("  docker: {[a]: b}", "a key must be a text"),
        ("  docker: &a {clusterStoreOpts: *a}", "this alias refers to what it is a part of"),
    ];
    for (spec, message) in table {
        let findings = bad(&[&cluster(spec)]);
        assert_eq!(told(&findings)[0].3, message, "{spec}");
        assert!(findings.0[0].line.is_some_and(|line| line >= 4), "{spec}");
    }
}

#[test]
fn s01_s02_s05_s25_limits_that_cannot_be_read_start_nothing() {
    for limit in ["50 percent", "\"60\"", "40 %", "-1", "101%", "", "[]", "{}", "1.5", "true"] {
        let spec = format!("  rollout:\n    maxConcurrentRestarts: {limit}");
        let findings = bad(&[&cluster(&spec)]);
        let [(6, _, "spec.rollout.maxConcurrentRestarts", message)] = told(&findings)[..] else {
            panic!("{limit}: {findings}");
        };
        assert!(message.starts_with("expected a number of hosts such as 3"), "{message}");
    }
    let zero = good(&[&cluster("  rollout: {maxConcurrentRestarts: 0}")]);
    assert_eq!(zero.cluster.spec.rollout.max_concurrent_restarts.of(1000), 0);
    assert!(zero.remarks[0].message.starts_with("the budget is zero"));
}

#[test]
fn nothing_behind_too_many_findings_is_lost_in_silence() {
    let fields: Vec<String> = (0..1500).map(|n| format!("    x{n}: 1")).collect();
    let findings = bad(&[&cluster(&format!("  docker:\n{}", fields.join("\n")))]);
    assert_eq!(findings.0.len(), 1001);
    assert_eq!(findings.0[1000].message, "there are 500 findings more in this file");
}
