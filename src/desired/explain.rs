//! What each field of the documents is: from the schema, which is made from the types, and with an
//! example from the documented ones.
//!
//! Paths have `[]` after a list and `*` for any key: `spec.rollout.windows[].start`,
//! `spec.calicoNode.env.*`.

use std::sync::LazyLock;

use serde::Serialize;
use serde_json::Value as Json;

use super::check::{expected, names, types, words};
use super::path::{Step, steps};
use super::schema::resolve;
use super::{schema, yaml};

/// Where examples are taken from, the first one that has the field.
const EXAMPLES: [&str; 4] = [
    include_str!("../../desired-state/production.yaml"),
    include_str!("../../desired-state/tls-etcd.yaml"),
    include_str!("../../desired-state/net-modules.yaml"),
    include_str!("explain.yaml"),
];

/// How many names are offered in place of one that does not exist.
const OFFERED: usize = 3;

/// A field of the documents.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Field {
    /// Where it stands, such as `spec.rollout.windows[].start`.
    pub path: String,
    /// The kinds of documents that have it: `Cluster`, `Pool`.
    pub documents: Vec<&'static str>,
    /// What it is for.
    pub description: String,
    /// What it takes, in words.
    #[serde(rename = "type")]
    pub takes: String,
    /// Whether it must be there wherever the map around it is (and is not switched off).
    pub required: bool,
    /// What holds if it is left out, where that is one value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<Json>,
    /// The only values that it takes, if it is one of a few.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed: Vec<Allowed>,
    /// A value that it may have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub example: Option<Json>,
    /// The paths of the fields directly in it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
}

/// One of a few values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Allowed {
    /// The value.
    pub value: String,
    /// What it means.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
}

/// No single field is called so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoField {
    /// There is none.
    #[error(
        "the documents have no field `{name}`{}; `calico-dcos explain` lists all of them",
        offer("; the nearest: ", nearest)
    )]
    Unknown {
        /// What was asked for.
        name: String,
        /// Paths of fields with similar names.
        nearest: Vec<String>,
    },
    /// Several are.
    #[error("`{name}` is the name of several fields, say which one{}", offer(": ", paths))]
    Several {
        /// What was asked for.
        name: String,
        /// Their paths.
        paths: Vec<String>,
    },
}

fn offer(before: &str, paths: &[String]) -> String {
    let quoted: Vec<_> = paths.iter().map(|path| format!("`{path}`")).collect();
    if quoted.is_empty() { String::new() } else { format!("{before}{}", quoted.join(", ")) }
}

/// All fields, those of a Cluster first, each before those in it.
pub fn fields() -> &'static [Field] {
    static FIELDS: LazyLock<Vec<Field>> = LazyLock::new(|| {
        let mut walk = Walk { document: "Cluster", found: Vec::new() };
        let kinds = schema()["oneOf"].as_array().into_iter().flatten();
        for (kind, document) in kinds.zip(["Cluster", "Pool"]) {
            walk.document = document;
            walk.inside("", resolve(kind));
        }
        let mut fields = walk.found;
        let examples: Vec<Json> = EXAMPLES.into_iter().flat_map(documents).collect();
        for field in &mut fields {
            field.example = example(field, &examples);
        }
        fields
    });
    &FIELDS
}

/// The field of that name: a path (`spec.calicoNode.image`, also with list indices), the end of one
/// (`maxFailures`), or either after the kind of its document (`pool.spec.selector`).
pub fn explain(name: &str) -> Result<&'static Field, NoField> {
    let unknown = |nearest| NoField::Unknown { name: name.to_owned(), nearest };
    let Some(mut asked) = segments(name) else { return Err(unknown(Vec::new())) };
    let document = asked.first().and_then(|first| {
        ["Cluster", "Pool"].into_iter().find(|kind| kind.eq_ignore_ascii_case(first))
    });
    if document.is_some() {
        asked.remove(0);
    }
    let has = |field: &&Field| document.is_none_or(|kind| field.documents.contains(&kind));
    let fields = || fields().iter().filter(has);
    let whole = fields().find(|field| {
        let own = own_segments(field);
        ends_with(&own, &asked)
            && (own.len() == asked.len() || own.len() == asked.len() + 1 && own[0] == "spec")
    });
    if let Some(field) = whole {
        return Ok(field);
    }
    let ends: Vec<&Field> =
        fields().filter(|field| ends_with(&own_segments(field), &asked)).collect();
    match ends.as_slice() {
        [] => Err(unknown(nearest(asked.last().map_or("", String::as_str)))),
        [only] => Ok(only),
        several => Err(NoField::Several {
            name: name.to_owned(),
            paths: several.iter().map(|field| field.path.clone()).collect(),
        }),
    }
}

/// The keys of a path; none if it is not well formed.
fn segments(path: &str) -> Option<Vec<String>> {
    let keys = steps(&path.replace("[]", ""))?.into_iter().filter_map(|step| match step {
        Step::Key(key) => Some(key),
        Step::Index(_) => None,
    });
    let keys: Vec<String> = keys.collect();
    (!keys.is_empty()).then_some(keys)
}

fn own_segments(field: &Field) -> Vec<&str> {
    field.path.split('.').map(|segment| segment.trim_end_matches("[]")).collect()
}

/// Whether `own` ends with what was asked for. `*` is any key, but not the first one asked for.
fn ends_with(own: &[&str], asked: &[String]) -> bool {
    let Some(start) = own.len().checked_sub(asked.len()) else { return false };
    let same = |own: &str, asked: &str| own.eq_ignore_ascii_case(asked);
    let Some((first, rest)) = asked.split_first() else { return false };
    same(own[start], first)
        && own[start + 1..].iter().zip(rest).all(|(own, asked)| *own == "*" || same(own, asked))
}

/// Fields that may have been meant: a similar name first, then names in which it occurs.
fn nearest(word: &str) -> Vec<String> {
    let word = word.to_lowercase();
    if word.len() > 60 {
        return Vec::new();
    }
    let mut near: Vec<(usize, &str)> = Vec::new();
    for field in fields() {
        let Some(name) = own_segments(field).last().map(|name| name.to_lowercase()) else {
            continue;
        };
        let distance = strsim::damerau_levenshtein(&word, &name);
        if distance <= name.len().max(3) / 3 {
            near.push((distance, &field.path));
        } else if word.len() > 2 && name.contains(&word) {
            near.push((name.len(), &field.path));
        }
    }
    near.sort_by_key(|(distance, _)| *distance);
    near.into_iter().take(OFFERED).map(|(_, path)| path.to_owned()).collect()
}

struct Walk {
    document: &'static str,
    found: Vec<Field>,
}

impl Walk {
    /// Notes the fields in what `schema` describes, which stands at `path`, and returns their paths.
    fn inside(&mut self, path: &str, schema: &Json) -> Vec<String> {
        let mut paths = Vec::new();
        let list = |list: &Json| list.as_array().cloned().unwrap_or_default();
        let required = [list(&schema["required"]), list(&schema["else"]["required"])].concat();
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let required = required.iter().any(|one| one == name);
            paths.push(self.field(join(path, name), property, required));
        }
        match &schema["additionalProperties"] {
            rest @ Json::Object(_) => paths.push(self.field(join(path, "*"), rest, false)),
            Json::Bool(true) => paths.push(self.field(join(path, "*"), &Json::Null, false)),
            _ => {}
        }
        if words(schema).is_none() {
            for form in schema["oneOf"].as_array().into_iter().flatten() {
                for inner in self.inside(path, resolve(form)) {
                    if !paths.contains(&inner) {
                        paths.push(inner);
                    }
                }
            }
        }
        if schema["items"].is_object() {
            paths.extend(self.inside(&format!("{path}[]"), resolve(&schema["items"])));
        }
        paths
    }

    /// Notes a field and those in it, and returns its path.
    fn field(&mut self, path: String, property: &Json, required: bool) -> String {
        let schema = resolve(property);
        let described = property["description"].as_str().or_else(|| schema["description"].as_str());
        let allowed = allowed(resolve(schema.get("items").unwrap_or(schema)));
        let at = self.found.iter().position(|field| field.path == path);
        if let Some(at) = at {
            let field = &mut self.found[at];
            if !field.documents.contains(&self.document) {
                field.documents.push(self.document);
            }
            let more = allowed.into_iter().filter(|word| !field.allowed.contains(word));
            let more: Vec<Allowed> = more.collect();
            field.allowed.extend(more);
        } else {
            self.found.push(Field {
                path: path.clone(),
                documents: vec![self.document],
                description: described.unwrap_or("Whatever else is wanted there, as it is.").into(),
                takes: takes(schema),
                required,
                default: property.get("default").or_else(|| schema.get("default")).cloned(),
                allowed,
                example: None,
                fields: Vec::new(),
            });
        }
        let inner = self.inside(&path, schema);
        if let Some(field) = self.found.iter_mut().find(|field| field.path == path) {
            let more = inner.into_iter().filter(|path| !field.fields.contains(path));
            let more: Vec<String> = more.collect();
            field.fields.extend(more);
        }
        path
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn takes(schema: &Json) -> String {
    if words(schema).is_some() {
        return "a word".to_owned();
    }
    let items = resolve(&schema["items"]);
    match types(schema).as_slice() {
        ["array"] if words(items).is_some() => "a list of words".to_owned(),
        ["array"] => format!("a list, each {}", takes(items)),
        ["object"] if schema["additionalProperties"].is_object() => {
            format!("a map of names, each to {}", takes(resolve(&schema["additionalProperties"])))
        }
        ["object"] if !names(schema).is_empty() => "a map".to_owned(),
        _ => expected(schema),
    }
}

fn allowed(schema: &Json) -> Vec<Allowed> {
    let forms = schema["oneOf"].as_array();
    let description = |word: &str| {
        let form = forms.into_iter().flatten().find(|form| form["const"] == word);
        form.and_then(|form| form["description"].as_str()).unwrap_or_default().to_owned()
    };
    let words = words(schema).unwrap_or_default();
    words
        .into_iter()
        .map(|word| Allowed { value: word.to_owned(), description: description(word) })
        .collect()
}

fn documents(text: &str) -> Vec<Json> {
    yaml::parse(text).documents.iter().map(|document| document.root.to_json()).collect()
}

/// What the field has in one of the examples, best one that is not the default.
fn example(field: &Field, examples: &[Json]) -> Option<Json> {
    let values = || examples.iter().filter_map(|document| value(document, &own_segments(field)));
    let telling = values().find(|value| field.default.as_ref() != Some(value));
    telling.or_else(|| values().next()).cloned()
}

fn value<'j>(at: &'j Json, path: &[&str]) -> Option<&'j Json> {
    match (at, path.split_first()) {
        (_, None) => Some(at),
        (Json::Array(items), _) => items.iter().find_map(|item| value(item, path)),
        (Json::Object(map), Some((&"*", rest))) => map.values().find_map(|one| value(one, rest)),
        (Json::Object(map), Some((name, rest))) => value(map.get(*name)?, rest),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::{Source, read};
    use super::*;

    #[test]
    fn every_field_says_what_it_is_and_has_an_example() {
        let mut seen = BTreeSet::new();
        for field in fields() {
            assert!(seen.insert(&field.path), "{} twice", field.path);
            assert!(!field.description.is_empty() && !field.takes.is_empty(), "{field:?}");
            assert_eq!(explain(&field.path).unwrap(), field);
        }
        let bare = fields().iter().filter(|field| field.example.is_none());
        let bare: Vec<_> = bare.map(|field| &field.path).collect();
        assert!(bare.is_empty(), "explain.yaml needs {bare:#?}");
    }

    #[test]
    fn the_examples_are_valid() {
        for text in EXAMPLES {
            read(&[Source::file("example", text)]).unwrap_or_else(|bad| panic!("{bad}"));
        }
    }

    #[test]
    fn a_field_is_found_by_its_path_by_the_end_of_it_and_in_a_kind_of_document() {
        for (asked, path) in [
            ("spec.calicoNode.image", "spec.calicoNode.image"),
            ("calicoNode.image", "spec.calicoNode.image"),
            ("caliconode.image", "spec.calicoNode.image"),
            ("maxFailures", "spec.rollout.maxFailures"),
            ("spec.rollout.windows[0].start", "spec.rollout.windows[].start"),
            ("spec.rollout.windows[].start", "spec.rollout.windows[].start"),
            ("windows.start", "spec.rollout.windows[].start"),
            ("rollout.start", "spec.rollout.start"),
            ("calicoNode.env.IP.fromRoute", "spec.calicoNode.env.*.fromRoute"),
            ("docker.clusterStoreOpts[\"kv.certfile\"]", "spec.docker.clusterStoreOpts.*"),
            ("pool.spec.selector", "spec.selector"),
            ("Pool.metadata.name", "metadata.name"),
            ("mesosAgent.cni.network.ipam", "spec.mesosAgent.cni.network.*"),
            ("spec", "spec"),
        ] {
            assert_eq!(explain(asked).map(|field| field.path.as_str()), Ok(path), "{asked}");
        }
    }

    #[test]
    fn what_is_no_field_is_answered_with_the_nearest_ones() {
        for (asked, offered) in [
            ("spec.rollout.maxConcurentRestarts", vec!["spec.rollout.maxConcurrentRestarts"]),
            ("unavailable", vec!["spec.rollout.maxUnavailable"]),
            ("cluster.spec.selector", vec!["spec.selector"]),
            ("xyzzy", vec![]),
            ("a..b", vec![]),
            ("", vec![]),
        ] {
            let Err(NoField::Unknown { nearest, .. }) = explain(asked) else { panic!("{asked}") };
            assert_eq!(nearest, offered, "{asked}");
        }
        let several = ["calicoLibnetwork", "calicoNode"].map(|name| format!("spec.{name}.image"));
        let Err(NoField::Several { paths, .. }) = explain("image") else { panic!() };
        assert_eq!(paths, several);
    }

    #[test]
    fn types_defaults_and_words_are_those_of_the_schema() {
        let start = explain("rollout.start").unwrap();
        assert_eq!(
            (start.takes.as_str(), start.default.clone()),
            ("a word", Some("automatic".into()))
        );
        let words: Vec<_> = start.allowed.iter().map(|word| word.value.as_str()).collect();
        assert_eq!(words, ["automatic", "approved"]);
        assert!(start.allowed.iter().all(|word| !word.description.is_empty()));
        let kind = explain("kind").unwrap();
        assert_eq!((kind.documents.as_slice(), kind.allowed.len()), (&["Cluster", "Pool"][..], 2));
        let image = explain("spec.calicoNode.image").unwrap();
        assert!(image.required && image.default.is_none());
        assert!(image.takes.starts_with("an image reference"), "{}", image.takes);
        assert_eq!(explain("settleSeconds").unwrap().takes, "a whole number from 0 to 3600");
        let spec = explain("spec.rollout").unwrap();
        assert!(spec.fields.contains(&"spec.rollout.pace".to_owned()), "{:?}", spec.fields);
    }
}
