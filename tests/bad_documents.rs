//! Bad documents: each gives clear findings in the right place, nothing panics, nothing takes long.
#![expect(clippy::expect_used, reason = "a test stops where it fails")]

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use calico_dcos::desired::{self, Desired, Findings, Source};

const HEAD: &str = "apiVersion: calico-dcos/v1\nkind: Cluster\nmetadata: {name: test}\n";

fn read(bytes: impl Into<Vec<u8>>) -> Result<Desired, Findings> {
    desired::read(&[Source::file("cluster.yaml", bytes)])
}

/// The first finding as `LINE:COLUMN PATH: MESSAGE`.
fn first(bytes: impl Into<Vec<u8>>) -> String {
    let findings = read(bytes).expect_err("the document is refused");
    let finding = &findings.0[0];
    assert!(finding.help.is_some() || finding.message.contains("expected"), "{findings}");
    assert!(findings.to_string().starts_with(&format!("error: {}", finding.message)));
    let place = finding.line.zip(finding.column).map(|(line, column)| format!("{line}:{column} "));
    format!("{}{}: {}", place.unwrap_or_default(), finding.path, finding.message)
}

#[test]
fn each_kind_of_bad_document_is_told_in_its_place() {
    let table = [
        ("unknown field", "spec: {dokcer: {}}", "4:8 spec.dokcer: unknown field `dokcer`"),
        (
            "wrong type",
            "spec: {docker: on}",
            "4:16 spec.docker: expected a map with `clusterAdvertise`, `clusterStore`, `clusterStoreOpts`, `enabled`, found `on`",
        ),
        (
            "duplicate key",
            "spec: {}\nspec: {}",
            "5:1 spec: `spec` stands here twice; the first is on line 4",
        ),
        (
            "bad word",
            "spec: {etcdProxy: {mode: proxy}}",
            "4:26 spec.etcdProxy.mode: expected one of `gateway`, `v2-proxy`, `grpc-proxy`, found `proxy`",
        ),
        (
            "bad percentage",
            "spec: {rollout: {maxUnavailable: 101%}}",
            "4:34 spec.rollout.maxUnavailable: expected a number of hosts such as 3, or a percentage from \"0%\" to \"100%\" such as \"5%\", found `101%`",
        ),
        (
            "negative number",
            "spec: {rollout: {settleSeconds: -5}}",
            "4:33 spec.rollout.settleSeconds: expected a whole number from 0 to 3600, found -5",
        ),
        (
            "no image",
            "spec: {calicoNode: {}}",
            "4:8 spec.calicoNode.image: the field `image` is missing",
        ),
        (
            "bad image",
            "spec: {calicoNode: {image: \"a b\"}}",
            "4:28 spec.calicoNode.image: expected an image reference such as `calico/node:v2.6.12` or `registry.example:5000/calico/node@sha256:…`, found `a b`",
        ),
        (
            "bad endpoint",
            "spec: {etcdProxy: {upstream: {endpoints: [\"10.0.0.1:2379\"]}}}",
            "4:43 spec.etcdProxy.upstream.endpoints[0]: expected an etcd client URL with port, without path, user name and password, such as `https://10.0.0.1:2379`, found `10.0.0.1:2379`",
        ),
        (
            "relative path",
            "spec: {etcdProxy: {binary: {path: bin/etcd}}}",
            "4:35 spec.etcdProxy.binary.path: expected an absolute path without `.` and `..`, such as `/etc/calico/ca.pem`, found `bin/etcd`",
        ),
        (
            "second Cluster",
            "---\nkind: Cluster",
            "5:1 apiVersion: the field `apiVersion` is missing",
        ),
    ];
    for (what, rest, expected) in table {
        assert_eq!(first(format!("{HEAD}{rest}\n")), expected, "{what}");
    }
}

#[test]
fn what_is_no_document_at_all_is_told() {
    let table: [(&str, Vec<u8>, &str); 9] = [
        ("empty", Vec::new(), ": there is no document in it"),
        ("comments only", b"# nothing\n---\n".to_vec(), ": there is no document in it"),
        ("not UTF-8", b"kind: \xff\n".to_vec(), "1:7 : this is not UTF-8"),
        (
            "2 MiB",
            vec![b'#'; 2 << 20],
            ": this is larger than 1048576 bytes, the most that is read",
        ),
        ("no YAML", b"a: [b\n".to_vec(), "1:4 : this is not YAML: unclosed bracket '['"),
        ("a text", b"hello\n".to_vec(), "1:1 : this is not a document"),
        (
            "no kind",
            b"apiVersion: calico-dcos/v1\n".to_vec(),
            "1:1 kind: the field `kind` is missing",
        ),
        ("unknown kind", b"kind: Clutser\n".to_vec(), "1:7 kind: there is no kind `Clutser`"),
        (
            "unknown version",
            b"apiVersion: v9\nkind: Cluster\nmetadata: {name: a}\n".to_vec(),
            "1:13 apiVersion: expected `calico-dcos/v1`, found `v9`",
        ),
    ];
    for (what, bytes, expected) in table {
        let told = first(bytes);
        assert!(told.starts_with(expected), "{what}: {told}");
    }
}

#[test]
fn documents_that_must_be_there_once_are() {
    let pool = "apiVersion: calico-dcos/v1\nkind: Pool\nmetadata: {name: p}\nspec: {selector: {names: [a]}}\n";
    assert_eq!(first(pool), ": there is no Cluster among the documents");
    assert_eq!(
        first(format!("{HEAD}---\n{HEAD}")),
        "6:7 kind: there is a second Cluster; the first is at cluster.yaml:1"
    );
    assert_eq!(
        first(format!("{HEAD}---\n{pool}---\n{pool}")),
        "11:7 kind: there is a second Pool `p`; the first is at cluster.yaml:5"
    );
}

/// Runs `read` on something built to be slow.
fn quickly(what: &str, text: &str) -> Findings {
    #[expect(clippy::disallowed_methods, reason = "the test is about time")]
    let start = Instant::now();
    let findings = read(text).expect_err("it is refused");
    let shown = findings.to_string();
    assert!(start.elapsed() < Duration::from_secs(10), "{what} took {:?}", start.elapsed());
    assert!(shown.len() < 4 << 20, "{what}: {} bytes are shown", shown.len());
    findings
}

#[test]
fn what_is_built_to_blow_up_is_refused_quickly() {
    let mut bomb = String::from("a: &a [x, x, x, x, x, x, x, x, x, x]\n");
    for (name, before) in ('b'..='i').zip('a'..='h') {
        let _ = writeln!(bomb, "{name}: &{name} [{}]", vec![format!("*{before}"); 10].join(", "));
    }
    let aliases = quickly("an alias bomb", &bomb);
    assert!(aliases.0[0].message.contains("more than 20000 values"), "{aliases}");

    let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(500_000), "*a, ".repeat(15_000));
    quickly("a long text, aliased", &long);
    quickly("deep lists", &"[".repeat(100_000));
    quickly("deep maps", &"{a: ".repeat(100_000));
    quickly(
        "deep indentation",
        &(0..1000).fold(String::new(), |text, n| text + &" ".repeat(n) + "a:\n"),
    );
    quickly("open quotes", &"\"".repeat(1 << 20));
    quickly("anchors", &"&a ".repeat(300_000));

    let fields: Vec<String> = (0..4_000).map(|n| format!("password{n}: {{token: x{n}}}")).collect();
    let one_line = format!("{HEAD}spec: {{docker: {{{}}}}}\n", fields.join(", "));
    assert_eq!(quickly("a long line of unknown fields", &one_line).0.len(), 1001);
}
