//! Documents from text to hosts, and everything that is wrong with bad ones.

mod findings;
mod hosts;
mod properties;

use super::*;

/// A Cluster with these lines below `spec:`, indented by two.
fn cluster(spec: &str) -> String {
    document("Cluster", "test", spec)
}

/// A Pool with these lines below `spec:`, indented by two.
fn pool(name: &str, spec: &str) -> String {
    document("Pool", name, spec)
}

fn document(kind: &str, name: &str, spec: &str) -> String {
    let head = format!("apiVersion: calico-dcos/v1\nkind: {kind}\nmetadata: {{name: {name}}}\n");
    if spec.is_empty() { head } else { format!("{head}spec:\n{spec}\n") }
}

/// Reads these texts as files `1.yaml`, `2.yaml` and so on.
fn texts(texts: &[&str]) -> Result<Desired, Findings> {
    let source = |(index, text): (usize, &&str)| Source::file(format!("{}.yaml", index + 1), *text);
    read(&texts.iter().enumerate().map(source).collect::<Vec<_>>())
}

fn good(documents: &[&str]) -> Desired {
    texts(documents).unwrap_or_else(|findings| panic!("{findings}"))
}

fn bad(documents: &[&str]) -> Findings {
    texts(documents).expect_err("the documents are refused")
}

fn host(name: &str) -> HostIdentity {
    HostIdentity {
        name: name.into(),
        roles: BTreeSet::from(["*".to_owned()]),
        attributes: BTreeMap::new(),
    }
}
