//! What a real agent or master said against what the simulated ones say: the same words, the same
//! shape key by key, and identifiers that stand for each other one to one.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;

/// Which of ours stands for which identifier of a recording.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    pub(crate) ours: HashMap<String, String>,
}

impl Names {
    /// Whether the two stand for each other; from now on they do if nothing else did before.
    pub(crate) fn pair(&mut self, theirs: &str, ours: &str) -> bool {
        if let Some(known) = self.ours.get(theirs) {
            return known == ours;
        }
        if self.ours.values().any(|taken| taken == ours) {
            return false;
        }
        self.ours.insert(theirs.to_owned(), ours.to_owned());
        true
    }

    /// A text of a recording with our identifiers in place of theirs: the longest first, as one
    /// may be the beginning of another.
    pub(crate) fn translate(&self, text: &str) -> String {
        let mut names: Vec<_> = self.ours.iter().filter(|(name, _)| text.contains(*name)).collect();
        names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        let mut text = text.to_owned();
        for (theirs, ours) in names {
            text = text.replace(theirs, ours);
        }
        text
    }
}

fn is_uuid(text: &str) -> bool {
    text.len() >= 36
        && text.bytes().take(36).enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// A text that is more than an identifier, without those in it.
fn without_ids(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skip = if text.len() > 36 && is_uuid(rest) { 36 } else { first.len_utf8() };
        plain.push(if skip == 36 { '#' } else { first });
        rest = &rest[skip..];
    }
    plain
}

/// Its first line.
fn short(text: &str) -> String {
    match text.split_once('\n') {
        Some((line, _)) => format!("{line} …"),
        None => text.to_owned(),
    }
}

/// What only the moment and the machine decide.
fn is_volatile(key: &str) -> bool {
    matches!(key, "timestamp" | "executor_pid" | "nanoseconds" | "ip")
}

/// What an element of a list is known by, if the order of the list means nothing.
fn name(element: &Value) -> Option<&str> {
    element.get("name").or_else(|| element.get("type"))?.as_str()
}

/// Compares, learns what stands for what, and adds the differences to `found`, each as
/// `where: what`.
pub(crate) fn compare(
    names: &mut Names,
    place: &str,
    theirs: &Value,
    ours: &Value,
    found: &mut BTreeSet<String>,
) {
    match (theirs, ours) {
        (Value::Object(theirs), Value::Object(ours)) => {
            for (key, theirs) in theirs {
                let place = format!("{place}.{key}");
                match ours.get(key) {
                    Some(_) if is_volatile(key) && !theirs.is_object() => {}
                    Some(ours) => compare(names, &place, theirs, ours, found),
                    None => {
                        found.insert(format!("{place}: missing"));
                    }
                }
            }
            for key in ours.keys().filter(|key| !theirs.contains_key(*key)) {
                found.insert(format!("{place}.{key}: only here"));
            }
        }
        (Value::Array(theirs), Value::Array(ours)) => {
            let place = format!("{place}[]");
            if theirs.len() != ours.len() {
                found.insert(format!("{place}: {} elements, here {}", theirs.len(), ours.len()));
            }
            for (at, theirs) in theirs.iter().enumerate() {
                let known_by = name(theirs);
                let twin = ours.iter().find(|ours| known_by.is_some() && name(ours) == known_by);
                match twin.or_else(|| ours.get(at)) {
                    Some(ours) => compare(names, &place, theirs, ours, found),
                    None => {
                        found.insert(format!("{place}: {} missing", known_by.unwrap_or("one")));
                    }
                }
            }
        }
        (Value::String(theirs), Value::String(ours)) => {
            let same = if place.rsplit('.').next() == Some("uuid") || is_uuid(theirs) {
                names.pair(theirs, ours)
            } else {
                names.translate(theirs) == *ours
            };
            if !same && without_ids(theirs) != without_ids(ours) {
                let (theirs, ours) = (short(&names.translate(theirs)), short(ours));
                found.insert(format!("{place}: `{theirs}`, here `{ours}`"));
            }
        }
        (Value::Number(theirs), Value::Number(ours)) if theirs.as_f64() == ours.as_f64() => {}
        _ if theirs == ours => {}
        _ => {
            found.insert(format!("{place}: {theirs}, here {ours}"));
        }
    }
}
