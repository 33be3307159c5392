//! Nothing that anybody can write makes reading panic, lie or tell secrets.

use proptest::prelude::*;

use super::*;

const EXAMPLE: &str = "\
apiVersion: calico-dcos/v1
kind: Cluster
metadata: {name: test}
spec:
  rollout: {maxConcurrentRestarts: \"5%\", pace: {burst: 1, perMinute: 2}, exclude: [a1, \"b\"]}
  etcdProxy:
    upstream: {endpoints: [\"http://10.0.0.1:2379\"]}
    binary: &etcd {path: /usr/bin/etcd}
    resources: {cpus: 0.1, mem: 128}
  mesosAgent:
    cni:
      plugins: [{name: calico, path: /x}]
      network: {name: calico, type: calico, mtu: 1440, ipam: {type: calico-ipam}}
  calicoNode:
    image: calico/node:v2.6.12 # a comment
    env: {IP: {fromRoute: masters}, ETCD_PASSWORD: {fromFile: /etc/password}}
---
# The edge.
apiVersion: calico-dcos/v1
kind: Pool
metadata: {name: edge}
spec:
  selector: {attributes: {rack: [r1, r2]}, roles: [\"*\"]}
  etcdProxy: {binary: {path: /opt/etcd}}
";

/// Pieces that mean something in YAML or in our documents.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "\n",
            "  ",
            "- ",
            ": ",
            "{",
            "}",
            "[",
            "]",
            ",",
            "#",
            "&a ",
            "*a",
            "*etcd",
            "!!str ",
            "|\n",
            ">\n",
            "'",
            "\"",
            "---\n",
            "...\n",
            "%YAML 1.2\n",
            "<<: ",
            "? ",
            "null",
            "~",
            "true",
            "-1",
            "1e999",
            "5%",
            "0x1f",
            "é",
            "\u{feff}",
            "\t",
            "\r\n",
            "spec:",
            "enabled: false",
            "paused: yes",
            "kind: Pool\n",
        ])
        .prop_map(str::to_owned),
        "[ -~]{0,6}",
        any::<char>().prop_map(String::from),
    ]
}

/// The example with some stretches replaced.
fn mutated() -> impl Strategy<Value = String> {
    let cut = (any::<prop::sample::Index>(), 0usize..12, piece());
    prop::collection::vec(cut, 0..4).prop_map(|cuts| {
        let mut text = EXAMPLE.to_owned();
        for (at, length, piece) in cuts {
            let from = text.floor_char_boundary(at.index(text.len() + 1));
            let to = text.ceil_char_boundary((from + length).min(text.len()));
            text.replace_range(from..to, &piece);
        }
        text
    })
}

/// Reads, and checks what must hold whatever was read.
fn reads_well(text: &str) -> Result<(), TestCaseError> {
    let lines = text.matches(['\n', '\r']).count() + 1;
    match texts(&[text]) {
        Ok(desired) => {
            let stored = desired.documents.iter();
            let stored: Vec<Source> =
                stored.map(|(name, text)| Source::stored(name.clone(), text.as_str())).collect();
            let again =
                read(&stored).map_err(|findings| TestCaseError::fail(findings.to_string()))?;
            prop_assert_eq!(&again.cluster, &desired.cluster);
            prop_assert_eq!(&again.pools, &desired.pools);
            prop_assert_eq!(&again.documents, &desired.documents);
        }
        Err(findings) => {
            prop_assert!(!findings.0.is_empty());
            let _ = findings.to_string();
            for finding in &findings.0 {
                prop_assert!(!finding.message.contains("cannot be used"), "{}", findings);
                prop_assert!(finding.line.is_none_or(|line| (1..=lines + 1).contains(&line)));
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_or_refused(text in prop::collection::vec(piece(), 0..40)) {
        reads_well(&text.concat())?;
    }

    #[test]
    fn a_damaged_document_is_read_or_refused_and_what_was_read_is_kept_verbatim(text in mutated()) {
        reads_well(&text)?;
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let source = Source::file("x", bytes);
        let _ = source.names();
        if let Err(findings) = read(&[source]) {
            let _ = findings.to_string();
        }
    }

    #[test]
    fn a_secret_is_never_told(text in mutated()) {
        let text = text.replace("{fromFile: /etc/password}", "hunter2hunter2");
        if let Err(findings) = texts(&[&text]) {
            let json = serde_json::to_string(&findings).unwrap();
            let shown = format!("{findings}{json}");
            // Where the damage took the name off, nobody can know that it was a secret.
            if text.contains("ETCD_PASSWORD: hunter2") {
                prop_assert!(!shown.contains("hunter2"), "{}", shown);
            }
        }
    }

    #[test]
    fn setting_a_value_sets_that_value(text in mutated(), value in "[ -~é]{0,12}") {
        let value = serde_json::Value::from(value);
        for path in ["spec.calicoNode.image", "spec.rollout.paused", "metadata.name"] {
            let first = text.split("---\n").next().unwrap_or_default();
            if let Ok(edited) = set_path(first, path, &value) {
                let tree = yaml::parse(&edited).documents.remove(0).root.to_json();
                let pointer = format!("/{}", path.replace('.', "/"));
                prop_assert_eq!(tree.pointer(&pointer), Some(&value));
            }
        }
    }
}

#[test]
fn the_example_itself_is_good() {
    good(&[EXAMPLE]);
}

#[test]
fn every_default_is_good_where_it_is_written_out() {
    fn defaults(schema: &serde_json::Value, found: &mut Vec<(String, String)>) {
        let format = schema::resolve(schema)["format"].as_str().unwrap_or_default();
        if let Some(default) = schema["default"].as_str() {
            found.push((format.to_owned(), default.to_owned()));
        }
        match schema {
            serde_json::Value::Object(map) => map.values().for_each(|value| defaults(value, found)),
            serde_json::Value::Array(list) => list.iter().for_each(|value| defaults(value, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    defaults(schema(), &mut found);
    assert!(found.len() > 10, "{found:?}");
    for (format, default) in found {
        assert_eq!(text::check(&format, &default), Ok(()), "{format}: {default}");
    }
}
