//! The documented examples and the schema in `desired-state/`.
#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use calico_dcos::desired::{self, Desired, Drain, HostIdentity, Source};
use calico_dcos::words::Component;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("desired-state")
}

fn example(name: &str) -> Desired {
    let bytes = fs::read(folder().join(name)).unwrap();
    desired::read(&[Source::file(name, bytes)]).unwrap_or_else(|findings| panic!("{findings}"))
}

fn host(name: &str, role: &str, attributes: &[(&str, &str)]) -> HostIdentity {
    HostIdentity {
        name: name.into(),
        roles: BTreeSet::from(["*".to_owned(), role.to_owned()]),
        attributes: attributes.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
    }
}

#[test]
fn every_example_is_valid_and_asks_for_nothing_that_this_version_cannot_do() {
    let mut seen = BTreeSet::new();
    for entry in fs::read_dir(folder()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if Path::new(&name).extension().is_some_and(|kind| kind == "yaml") {
            let desired = example(&name);
            assert_eq!(desired.remarks, [], "{name}");
            let rollout = &desired.cluster.spec.rollout;
            assert!(rollout.canary.is_none() && rollout.windows.is_empty(), "{name}");
            assert!(rollout.gates.is_empty() && rollout.drain == Drain::default(), "{name}");
            seen.insert(name);
        }
    }
    let wanted =
        ["cni.yaml", "minimal.yaml", "net-modules.yaml", "production.yaml", "tls-etcd.yaml"];
    assert!(wanted.iter().all(|name| seen.contains(*name)), "{seen:?}");
}

#[test]
fn the_commented_out_lines_of_the_production_example_are_valid_too() {
    let text = fs::read_to_string(folder().join("production.yaml")).unwrap();
    let uncommented: String = text
        .lines()
        .map(|line| {
            let code = ["# canary: {", "# windows: [", "# drain: {", "# gates:", "#   - "];
            let hidden = code.iter().any(|start| line.trim_start().starts_with(start));
            if hidden { line.replacen("# ", "", 1) + "\n" } else { format!("{line}\n") }
        })
        .collect();
    let desired = desired::read(&[Source::file("production.yaml", uncommented)])
        .unwrap_or_else(|findings| panic!("{findings}"));
    let rollout = &desired.cluster.spec.rollout;
    assert!(rollout.canary.is_some() && rollout.windows.len() == 1 && rollout.gates.len() == 2);
}

#[test]
fn the_production_example_resolves_as_its_comments_say() {
    let desired = example("production.yaml");
    let plain = desired.resolve(&host("a1", "*", &[])).unwrap();
    let public = desired.resolve(&host("p1", "slave_public", &[])).unwrap();
    let both = desired
        .resolve(&host("p2", "slave_public", &[("site", "oslo"), ("class", "edge")]))
        .unwrap();
    assert_eq!(plain.components.keys().copied().collect::<Vec<_>>(), Component::ALL);
    assert_eq!(public.pools, ["public"]);
    assert_eq!(both.pools, ["edge", "public"]);
    let differing = |a: &desired::HostSpec, b: &desired::HostSpec| -> Vec<Component> {
        let changed = |c: &Component| a.components[c].hash != b.components[c].hash;
        Component::ALL.into_iter().filter(changed).collect()
    };
    assert_eq!(differing(&plain, &public), [Component::Docker]);
    assert_eq!(differing(&public, &both), [Component::CalicoNode]);
    let unused = desired.warnings(&[host("a1", "*", &[])]);
    assert_eq!(unused.len(), 3, "{unused:?}");
}

#[test]
fn the_defaults_that_the_examples_spell_out_are_the_defaults() {
    let minimal = desired::read(&[Source::file("m", {
        let text = fs::read_to_string(folder().join("net-modules.yaml")).unwrap();
        text.lines().filter(|line| !line.contains("# default")).collect::<Vec<_>>().join("\n")
    })])
    .unwrap_or_else(|findings| panic!("{findings}"));
    let any = HostIdentity { attributes: BTreeMap::new(), ..host("a", "*", &[]) };
    assert_eq!(
        minimal.resolve(&any).unwrap().components,
        example("net-modules.yaml").resolve(&any).unwrap().components
    );
}

/// Regenerate with `UPDATE_SCHEMA=1 cargo test --test desired_state`.
#[test]
fn the_schema_is_current() {
    let path = folder().join("schema.json");
    let current = format!("{:#}\n", desired::schema());
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        fs::write(&path, &current).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == current,
        "desired-state/schema.json is not what the types say; run \
         `UPDATE_SCHEMA=1 cargo test --test desired_state` and commit the file"
    );
}
