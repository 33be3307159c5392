//! The structural check: a document's tree against the schema made from the types.
//!
//! It goes on after each finding, so that all of them are told at once. It knows the part of JSON
//! Schema that our own types produce, no more.

use serde_json::Value as Json;

use super::path::{child, item};
use super::schema::resolve;
use super::sheet::Sheet;
use super::text;
use super::yaml::{Node, Span, Value};

/// Notes on `sheet` all that is wrong with the structure of `node`, which stands at `path`.
pub(super) fn check(sheet: &mut Sheet<'_>, node: &Node, path: &str, schema: &Json) {
    let place = Place { node, key: &node.span, path: path.to_owned() };
    Walk { sheet }.value(&place, schema);
}

/// A value, with what findings about it point at.
struct Place<'n> {
    node: &'n Node,
    /// The key that it stands under, or what stands for one.
    key: &'n Span,
    path: String,
}

struct Walk<'w, 's> {
    sheet: &'w mut Sheet<'s>,
}

impl Walk<'_, '_> {
    fn find(&mut self, at: &Span, path: &str, message: String, help: Option<String>) {
        self.sheet.find(at, path, message, help);
    }

    fn value(&mut self, place: &Place<'_>, schema: &Json) {
        let schema = resolve(schema);
        let node = place.node;
        if node.value == Value::Null {
            let help = match types(schema).as_slice() {
                ["object"] => "take the line out, or write `{}` for the defaults",
                _ => "give it a value, or take the line out",
            };
            let message = format!("expected {}, found nothing", expected(schema));
            return self.find(place.key, &place.path, message, Some(help.to_owned()));
        }
        if let Some(words) = words(schema) {
            return self.word(place, schema, &words);
        }
        if let Some(forms) = schema["oneOf"].as_array() {
            return self.choice(place, schema, forms);
        }
        if !fits(node, schema) {
            return self.wrong(place, schema);
        }
        match &node.value {
            Value::Map(_) => self.map(place, schema),
            Value::List(items) => self.list(place, items, schema),
            Value::Text(text) => self.text(place, text, schema),
            Value::Number(number) => self.number(place, number, schema),
            Value::Bool(_) | Value::Null => {}
        }
    }

    fn wrong(&mut self, place: &Place<'_>, schema: &Json) {
        let message = format!("expected {}, found {}", expected(schema), self.found(place.node));
        let forms = schema["oneOf"].as_array().into_iter().flatten();
        let text = forms.chain([schema]).any(|form| types(form).contains(&"string"));
        let help = match &place.node.value {
            _ if self.sheet.hides(&place.node.span) => None,
            Value::Number(number) if text => Some(format!("a text is put in quotes: \"{number}\"")),
            Value::Bool(value) if text => Some(format!("a text is put in quotes: \"{value}\"")),
            Value::Text(_) if types(schema) == ["boolean"] => {
                Some("write `true` or `false`, without quotes".to_owned())
            }
            Value::Text(text) if text.parse::<serde_json::Number>().is_ok() => {
                Some("a number is written without quotes".to_owned())
            }
            _ => None,
        };
        self.find(&place.node.span, &place.path, message, help);
    }

    /// How a message calls what it found.
    fn found(&self, node: &Node) -> String {
        match &node.value {
            Value::Null => "nothing".to_owned(),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a map".to_owned(),
            _ if self.sheet.hides(&node.span) => "something that is not shown here".to_owned(),
            Value::Bool(value) => format!("`{value}`"),
            Value::Number(number) => format!("the number {number}"),
            Value::Text(text) if text.is_empty() => "an empty text".to_owned(),
            Value::Text(text) => format!("`{}`", shortened(text)),
        }
    }

    fn word(&mut self, place: &Place<'_>, schema: &Json, words: &[&str]) {
        if place.node.text().is_some_and(|text| words.contains(&text)) {
            return;
        }
        let message = format!("expected {}, found {}", expected(schema), self.found(place.node));
        let help = place.node.text().and_then(|text| did_you_mean(text, words));
        self.find(&place.node.span, &place.path, message, help);
    }

    /// A value of one of several forms. Among maps the form is told by the keys.
    fn choice(&mut self, place: &Place<'_>, schema: &Json, forms: &[Json]) {
        let Value::Map(entries) = &place.node.value else {
            return match forms.iter().find(|form| fits(place.node, resolve(form))) {
                Some(form) => self.value(place, form),
                None => self.wrong(place, schema),
            };
        };
        let has = |form: &Json, key: &str| form["properties"].get(key).is_some();
        let known = |form: &&Json| entries.iter().filter(|entry| has(form, &entry.key)).count();
        let Some(form) = forms.iter().rev().max_by_key(known).filter(|form| known(form) > 0) else {
            let names: Vec<&str> = forms.iter().flat_map(names).collect();
            if entries.is_empty() || names.is_empty() {
                return self.wrong(place, schema);
            }
            for entry in entries {
                self.unknown(&entry.key, &entry.key_span, &place.path, &names);
            }
            return;
        };
        // A key of another form would be called unknown: it is known, but not here.
        let other = entries
            .iter()
            .find(|entry| !has(form, &entry.key) && forms.iter().any(|form| has(form, &entry.key)));
        match other {
            Some(other) => {
                let own = entries.iter().find(|entry| has(form, &entry.key));
                let own = own.map_or("", |entry| entry.key.as_str());
                let message = format!("`{own}` and `{}` exclude each other", other.key);
                let help = Some(format!("expected {}", expected(schema)));
                self.find(&other.key_span, &child(&place.path, &other.key), message, help);
            }
            None => self.map(place, form),
        }
    }

    fn map(&mut self, place: &Place<'_>, schema: &Json) {
        let entries = place.node.entries();
        let names = names(schema);
        for entry in entries {
            let path = child(&place.path, &entry.key);
            let value = Place { node: &entry.value, key: &entry.key_span, path };
            let rule = schema["propertyNames"]["format"].as_str().unwrap_or_default();
            if let Err(bad) = text::check(rule, &entry.key) {
                let message =
                    format!("expected {}, found `{}`", bad.allowed, shortened(&entry.key));
                self.find(&entry.key_span, &value.path, message, None);
            }
            match (schema["properties"].get(&entry.key), &schema["additionalProperties"]) {
                (Some(property), _) => self.value(&value, property),
                (None, Json::Bool(false)) => {
                    self.unknown(&entry.key, &entry.key_span, &place.path, &names);
                }
                (None, rest @ Json::Object(_)) => self.value(&value, rest),
                _ => self.anything(&value),
            }
        }
        for name in required(place.node, schema) {
            if place.node.get(name).is_none() {
                let what = expected(resolve(&schema["properties"][name]));
                let help = Some(format!("add `{name}:` with {what}"));
                let message = format!("the field `{name}` is missing");
                self.find(place.key, &child(&place.path, name), message, help);
            }
        }
        if entries.is_empty() && schema["minProperties"].is_u64() {
            let message = format!("expected at least one of {}", quoted(&names));
            self.find(place.key, &place.path, message, None);
        }
    }

    /// What no schema describes; only `null` is refused, as everywhere.
    fn anything(&mut self, place: &Place<'_>) {
        match &place.node.value {
            Value::Null => self.value(place, &Json::Null),
            Value::Map(entries) => {
                for entry in entries {
                    let path = child(&place.path, &entry.key);
                    self.anything(&Place { node: &entry.value, key: &entry.key_span, path });
                }
            }
            Value::List(items) => {
                for (index, node) in items.iter().enumerate() {
                    self.anything(&Place { node, key: &node.span, path: item(&place.path, index) });
                }
            }
            _ => {}
        }
    }

    fn unknown(&mut self, key: &str, at: &Span, path: &str, names: &[&str]) {
        let allowed = format!("allowed here: {}", quoted(names));
        let help = match did_you_mean(key, names) {
            Some(nearest) => format!("{nearest} {allowed}"),
            None => allowed,
        };
        let message = format!("unknown field `{}`", shortened(key));
        self.find(at, &child(path, key), message, Some(help));
    }

    fn list(&mut self, place: &Place<'_>, items: &[Node], schema: &Json) {
        for (index, node) in items.iter().enumerate() {
            let place = Place { node, key: &node.span, path: item(&place.path, index) };
            self.value(&place, &schema["items"]);
        }
        if items.is_empty() && schema["minItems"].is_u64() {
            let message = "expected at least one item, found an empty list".to_owned();
            let help = "add one, or take the line out".to_owned();
            self.find(&place.node.span, &place.path, message, Some(help));
        }
    }

    fn text(&mut self, place: &Place<'_>, text: &str, schema: &Json) {
        let rule = schema["format"].as_str().unwrap_or_default();
        let empty = text.is_empty() && schema["minLength"].is_u64();
        if empty || text::check(rule, text).is_err() {
            let what = if rule.is_empty() { "a text that is not empty" } else { &expected(schema) };
            let message = format!("expected {what}, found {}", self.found(place.node));
            self.find(&place.node.span, &place.path, message, None);
        }
    }

    fn number(&mut self, place: &Place<'_>, number: &serde_json::Number, schema: &Json) {
        let value = number.as_f64().unwrap_or(f64::NAN);
        let (least, most) = range(schema);
        if !(least..=most).contains(&value) {
            let message = format!("expected {}, found {number}", expected(schema));
            self.find(&place.node.span, &place.path, message, None);
        }
    }
}

pub(super) fn types(schema: &Json) -> Vec<&str> {
    match &schema["type"] {
        Json::String(one) => vec![one],
        Json::Array(many) => many.iter().filter_map(Json::as_str).collect(),
        _ => Vec::new(),
    }
}

fn fits(node: &Node, schema: &Json) -> bool {
    let types = types(schema);
    types.is_empty()
        || types.into_iter().any(|name| match (&node.value, name) {
            (Value::Number(number), "integer") => !number.is_f64(),
            (Value::Bool(_), "boolean")
            | (Value::Number(_), "number")
            | (Value::Text(_), "string")
            | (Value::List(_), "array")
            | (Value::Map(_), "object") => true,
            _ => false,
        })
}

/// What is allowed, as it reads after "expected".
pub(super) fn expected(schema: &Json) -> String {
    if let Some(words) = words(schema) {
        let one_of = if words.len() > 1 { "one of " } else { "" };
        return format!("{one_of}{}", quoted(&words));
    }
    // Formats and choices are described in words; the descriptions of others say what they are for.
    let told = !schema["oneOf"].is_null() || text::is_rule(&schema["format"]);
    if let (true, Some(description)) = (told, schema["description"].as_str()) {
        return description.to_owned();
    }
    let (least, most) = range(schema);
    match types(schema).first().copied() {
        Some("string") => "a text".to_owned(),
        Some("boolean") => "`true` or `false`".to_owned(),
        Some("integer") => format!("a whole number from {least} to {most}"),
        Some("number") => format!("a number from {least} to {most}"),
        Some("array") => "a list".to_owned(),
        Some("object") => match names(schema).as_slice() {
            [] => "a map".to_owned(),
            names => format!("a map with {}", quoted(names)),
        },
        _ => "a value".to_owned(),
    }
}

fn range(schema: &Json) -> (f64, f64) {
    let least = schema["minimum"].as_f64().unwrap_or(f64::NEG_INFINITY);
    let widest = if schema["format"] == "uint32" { f64::from(u32::MAX) } else { f64::INFINITY };
    (least, schema["maximum"].as_f64().unwrap_or(widest))
}

/// The words of an enumeration; none if the schema is none.
pub(super) fn words(schema: &Json) -> Option<Vec<&str>> {
    let listed = schema["enum"].as_array().map(|words| words.iter().filter_map(Json::as_str));
    match (listed, schema["oneOf"].as_array()) {
        (Some(words), _) => Some(words.collect()),
        (None, Some(forms)) => forms.iter().map(|form| form["const"].as_str()).collect(),
        _ => None,
    }
}

pub(super) fn names(schema: &Json) -> Vec<&str> {
    schema["properties"]
        .as_object()
        .map(|all| all.keys().map(String::as_str).collect())
        .unwrap_or_default()
}

/// The fields that must be there. A section that is `enabled: false` needs no others.
fn required<'s>(node: &Node, schema: &'s Json) -> Vec<&'s str> {
    let off = node.get("enabled").is_some_and(|enabled| enabled.value == Value::Bool(false));
    let list = |list: &'s Json| list.as_array().into_iter().flatten().filter_map(Json::as_str);
    let conditional = list(&schema["else"]["required"]).filter(|_| !off);
    list(&schema["required"]).chain(conditional).collect()
}

fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The nearest of the names, if it is near enough to be what was meant.
pub fn did_you_mean(word: &str, names: &[&str]) -> Option<String> {
    if word.len() > 60 {
        return None;
    }
    let folded = word.to_lowercase();
    let distance = |name: &&&str| strsim::damerau_levenshtein(&folded, &name.to_lowercase());
    let nearest = names.iter().min_by_key(distance)?;
    let near = distance(&nearest) <= nearest.len().max(3) / 3;
    near.then(|| format!("did you mean `{nearest}`?"))
}
