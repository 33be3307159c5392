//! One value of a document changed in its text, everything else left as its author wrote it.

use serde_json::Value as Json;

use super::path::{Step, steps};
use super::yaml::{Entry, Node, Value, parse};

/// A value cannot be set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// The path is not well formed.
    #[error("`{path}` is not the path of a field; write it like `spec.calicoNode.image`")]
    Path {
        /// The path as given.
        path: String,
    },
    /// The text is no single YAML document.
    #[error("the text is not one YAML document; `calico-dcos validate` says what is wrong with it")]
    Document,
    /// Something on the way is no map or list, or the value is written over several lines.
    #[error("`{path}` cannot be set in this document; edit the text, or give the whole document")]
    Place {
        /// The path as given.
        path: String,
    },
}

/// Sets the value at `path` (`spec.calicoNode.image`) and returns the new text. Comments, order and
/// the form of all else stay. A field that is not there yet is added to the map it belongs to.
pub fn set_path(text: &str, path: &str, value: &Json) -> Result<String, EditError> {
    let wrong_path = || EditError::Path { path: path.to_owned() };
    let steps = steps(path).filter(|steps| !steps.is_empty()).ok_or_else(wrong_path)?;
    let mut parsed = parse(text);
    let document = match (parsed.documents.pop(), parsed.documents.is_empty()) {
        (Some(document), true) if parsed.faults.is_empty() => document,
        _ => return Err(EditError::Document),
    };
    let wrong_place = || EditError::Place { path: path.to_owned() };
    let edited = replaced(text, &document.root, &steps, value).ok_or_else(wrong_place)?;
    // What was meant is checked against what the text now says.
    let mut wanted = document.root.to_json();
    set_json(&mut wanted, &steps, value).ok_or_else(wrong_place)?;
    match parse(&edited).documents.as_slice() {
        [after] if after.root.to_json() == wanted => Ok(edited),
        _ => Err(wrong_place()),
    }
}

/// The value at `path` of a text that is one document; none if there is none.
#[must_use]
pub fn value_at(text: &str, path: &str) -> Option<Json> {
    let mut parsed = parse(text);
    let document = parsed.documents.pop().filter(|_| parsed.documents.is_empty())?;
    let mut node = &document.root;
    for step in steps(path)? {
        node = match (step, &node.value) {
            (Step::Key(key), Value::Map(_)) => node.get(&key)?,
            (Step::Index(index), Value::List(items)) => items.get(index)?,
            _ => return None,
        };
    }
    Some(node.to_json())
}

fn replaced(text: &str, root: &Node, steps: &[Step], value: &Json) -> Option<String> {
    let mut node = root;
    for (depth, step) in steps.iter().enumerate() {
        let next = match (step, &node.value) {
            (Step::Key(key), Value::Map(_)) => node.get(key),
            (Step::Index(index), Value::List(items)) => items.get(*index),
            _ => None,
        };
        match next {
            Some(next) => node = next,
            None => return added(text, node, &steps[depth..], value),
        }
    }
    if node.block {
        return None;
    }
    let bytes = node.span.bytes.clone();
    let space = if text[..bytes.start].ends_with(':') { " " } else { "" };
    Some(format!("{}{space}{}{}", &text[..bytes.start], written(value), &text[bytes.end..]))
}

/// The text with a field added in front of the first one of a map.
fn added(text: &str, map: &Node, steps: &[Step], value: &Json) -> Option<String> {
    let (Step::Key(key), inner) = steps.split_first()? else { return None };
    let mut nested = written(value);
    for step in inner.iter().rev() {
        let Step::Key(key) = step else { return None };
        nested = format!("{{{}: {nested}}}", written(&key.as_str().into()));
    }
    let field = format!("{}: {nested}", written(&key.as_str().into()));
    let first: Option<&Entry> = map.entries().first();
    let Value::Map(_) = &map.value else { return None };
    let (at, field) = match first {
        Some(first) if map.block => {
            let at = first.key_span.bytes.start;
            (at, format!("{field}\n{}", " ".repeat(first.key_span.column - 1)))
        }
        Some(_) => (map.span.bytes.start + 1, format!("{field}, ")),
        None => (map.span.bytes.start + 1, field),
    };
    Some(format!("{}{field}{}", &text[..at], &text[at..]))
}

/// A value as YAML: plain where that says the same, else as JSON, which is YAML too.
fn written(value: &Json) -> String {
    let plain = |text: &&str| {
        let good = |c: char| c.is_ascii_alphanumeric() || "/._-@".contains(c);
        text.starts_with(|c: char| c.is_ascii_alphabetic())
            && text.chars().enumerate().all(|(at, c)| good(c) || (c == ':' && at + 1 < text.len()))
            && !matches!(*text, "true" | "false" | "null")
    };
    match value.as_str().filter(plain) {
        Some(text) => text.to_owned(),
        None => value.to_string(),
    }
}

fn set_json(value: &mut Json, steps: &[Step], new: &Json) -> Option<()> {
    let Some((step, rest)) = steps.split_first() else {
        *value = new.clone();
        return Some(());
    };
    let next = match (step, value) {
        (Step::Key(key), Json::Object(map)) => {
            map.entry(key.clone()).or_insert_with(|| Json::Object(serde_json::Map::new()))
        }
        (Step::Index(index), Json::Array(items)) => items.get_mut(*index)?,
        _ => return None,
    };
    set_json(next, rest, new)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TEXT: &str = "\
# The cluster.
spec:
  rollout: {maxConcurrentRestarts: 1} # slots
  calicoNode:
    image: calico/node:v2.6.12   # the last for Mesos
    env: {}
  etcdProxy:
    upstream:
      endpoints: [\"http://a:1\", 'http://b:2']
";

    #[test]
    fn only_the_value_changes() {
        let table = [
            (
                "spec.calicoNode.image",
                json!("calico/node:v2.6.13"),
                "image: calico/node:v2.6.13   # the last",
            ),
            (
                "spec.rollout.maxConcurrentRestarts",
                json!("5%"),
                "{maxConcurrentRestarts: \"5%\"} # slots",
            ),
            (
                "spec.etcdProxy.upstream.endpoints[1]",
                json!("http://c:3"),
                "[\"http://a:1\", http://c:3]",
            ),
            ("spec.rollout", json!({"paused": true}), "rollout: {\"paused\":true} # slots"),
            ("spec.rollout.paused", json!(true), "{paused: true, maxConcurrentRestarts: 1}"),
            ("spec.calicoNode.env.AS", json!("64512"), "env: {AS: \"64512\"}"),
            (
                "spec.docker.clusterAdvertise",
                json!("eth0:2376"),
                "spec:\n  docker: {clusterAdvertise: eth0:2376}\n  rollout:",
            ),
            ("metadata.name", json!("x"), "# The cluster.\nmetadata: {name: x}\nspec:"),
        ];
        for (path, value, expected) in table {
            let edited = set_path(TEXT, path, &value).unwrap();
            assert!(edited.contains(expected), "{path}:\n{edited}");
            assert!(edited.starts_with("# The cluster."), "{edited}");
        }
    }

    #[test]
    fn what_cannot_be_set_is_said() {
        for path in
            ["spec.calicoNode", "spec.calicoNode.image.x", "spec.etcdProxy.upstream.endpoints[7]"]
        {
            assert_eq!(
                set_path(TEXT, path, &json!("x")),
                Err(EditError::Place { path: path.to_owned() })
            );
        }
        assert!(matches!(set_path(TEXT, "a..b", &json!(1)), Err(EditError::Path { .. })));
        assert_eq!(set_path("a: [", "a", &json!(1)), Err(EditError::Document));
        assert_eq!(set_path("a: 1\n---\na: 1\n", "a", &json!(1)), Err(EditError::Document));
    }
}
