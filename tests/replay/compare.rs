//! What a real master said against what the simulated one says: the same words, the same shape
//! key by key, and identifiers that stand for each other one to one.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

/// Which of ours stands for which identifier of a recording.
#[derive(Debug, Default)]
pub(crate) struct Names {
    ours: HashMap<String, String>,
    theirs: HashMap<String, String>,
}

impl Names {
    /// Whether the two stand for each other; from now on they do if nothing else did before.
    fn pair(&mut self, theirs: &str, ours: &str) -> bool {
        match (self.ours.get(theirs), self.theirs.get(ours)) {
            (None, None) => {
                self.ours.insert(theirs.to_owned(), ours.to_owned());
                self.theirs.insert(ours.to_owned(), theirs.to_owned());
                // A master's own ID is the first part of those that it gives out.
                if let (Some((theirs, _)), Some((ours, _))) = (given(theirs), given(ours)) {
                    self.ours.entry(theirs.to_owned()).or_insert_with(|| ours.to_owned());
                }
                true
            }
            (Some(known), _) => known == ours,
            (None, Some(_)) => false,
        }
    }

    /// A text of a recording with our identifiers in place of theirs.
    pub(crate) fn translate(&self, text: &str) -> String {
        let part = |c: char| c.is_ascii_alphanumeric() || "-_/+=".contains(c);
        let mut translated = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let word = rest.find(|c| !part(c)).unwrap_or(rest.len());
            if word == 0 {
                translated.push(first);
                rest = &rest[first.len_utf8()..];
                continue;
            }
            translated.push_str(&self.word(&rest[..word]));
            rest = &rest[word..];
        }
        translated
    }

    fn word(&self, word: &str) -> String {
        if let Some(ours) = self.ours.get(word) {
            return ours.clone();
        }
        if let Some((master, rest)) = given(word)
            && let Some(master) = self.ours.get(master)
        {
            return format!("{master}-{rest}");
        }
        match word.split_once('=').filter(|(_, value)| given(value).is_some()) {
            Some((key, value)) => format!("{key}={}", self.word(value)),
            None => word.to_owned(),
        }
    }
}

/// The parts of an ID that a master gave out: its own ID, and the rest.
fn given(id: &str) -> Option<(&str, &str)> {
    let (master, rest) = id.split_at_checked(36)?;
    (is_uuid(master)).then(|| rest.strip_prefix('-').map(|rest| (master, rest)))?
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// A text without the UUIDs in it, which are drawn anew each time.
pub(crate) fn without_uuids(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if rest.get(..36).is_some_and(is_uuid) {
            plain.push('U');
            rest = &rest[36..];
        } else {
            plain.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    plain
}

fn is_identifier(key: &str, text: &str) -> bool {
    key.ends_with("uuid") || is_uuid(text) || given(text).is_some()
}

/// What only the moment and the machine decide.
fn is_volatile(path: &str) -> bool {
    let key = path.rsplit(['.', ']']).next().unwrap_or_default();
    matches!(key, "nanoseconds" | "timestamp" | "executor_pid" | "start_time" | "elected_time")
        || key.starts_with("build_")
        || key.ends_with("registered_time")
}

/// What belongs to a framework that was over before the recording began: nobody knows it here.
fn is_history(names: &Names, place: &str, element: &Value) -> bool {
    let part = place.rsplit('.').next().unwrap_or_default();
    let id = match part {
        "completed_tasks[]" | "tasks[]" => {
            element.pointer("/framework_id/value").or(element.get("framework_id"))
        }
        "completed_frameworks[]" => {
            element.pointer("/framework_info/id/value").or(element.get("id"))
        }
        "completed_executors[]" => element.pointer("/executor_info/framework_id/value"),
        _ => return false,
    };
    id.and_then(Value::as_str).is_some_and(|id| !names.ours.contains_key(id))
}

/// What an element of a list is known by, so that lists without an order can be compared.
fn key(names: &Names, element: &Value) -> Option<String> {
    let text = |pointer: &str| element.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let role = || {
        let reserved = element.pointer("/reservations").map(Value::to_string);
        let role = [text("/role"), text("/allocation_info/role"), reserved];
        role.into_iter().flatten().collect::<Vec<_>>().join(" ")
    };
    // A status: its place among the others counts.
    if element.get("state").is_some() && element.get("timestamp").is_some() {
        return None;
    }
    let places = [
        "/task_id/value",
        "/id",
        "/agent_info/hostname",
        "/framework_info/id/value",
        "/executor_info/executor_id/value",
        "/hostname",
        "/name",
        "/type",
        "/id/hostname",
        "/key",
    ];
    let name = names.translate(&places.into_iter().find_map(text)?);
    Some(format!("{name} {}", role()).trim_end().to_owned())
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
            let lacks = theirs.keys().filter(|key| !ours.contains_key(*key)).count();
            if lacks > 8 {
                found.insert(format!("{place}: {lacks} keys missing"));
            }
            for (key, theirs) in theirs {
                let place = format!("{place}.{key}");
                let history = || {
                    let place = format!("{place}[]");
                    let mut elements = theirs.as_array().into_iter().flatten();
                    theirs.is_array() && elements.all(|one| is_history(names, &place, one))
                };
                match ours.get(key) {
                    Some(ours) => compare(names, &place, theirs, ours, found),
                    None if lacks > 8 || history() => {}
                    None => {
                        found.insert(format!("{place}: missing"));
                    }
                }
            }
            for key in ours.keys().filter(|key| !theirs.contains_key(*key)) {
                found.insert(format!("{place}.{key}: only here"));
            }
        }
        (Value::Array(theirs), Value::Array(ours)) => lists(names, place, theirs, ours, found),
        (Value::String(theirs), Value::String(ours)) => {
            let key = place.rsplit('.').next().unwrap_or_default();
            if is_identifier(key, theirs) {
                if !names.pair(theirs, ours) {
                    found.insert(format!("{place}: names another"));
                }
            } else if !is_volatile(place) && names.translate(theirs) != *ours {
                found.insert(format!("{place}: `{}`, here `{ours}`", names.translate(theirs)));
            }
        }
        (Value::Number(theirs), Value::Number(ours)) => {
            let same = theirs.as_f64() == ours.as_f64() && theirs.is_f64() == ours.is_f64();
            if !is_volatile(place) && !same {
                found.insert(format!("{place}: {theirs}, here {ours}"));
            }
        }
        _ if theirs == ours => {}
        _ => {
            found.insert(format!("{place}: {theirs}, here {ours}"));
        }
    }
}

fn lists(
    names: &mut Names,
    place: &str,
    theirs: &[Value],
    ours: &[Value],
    found: &mut BTreeSet<String>,
) {
    let place = format!("{place}[]");
    let theirs: Vec<_> =
        theirs.iter().filter(|element| !is_history(names, &place, element)).cloned().collect();
    let by_key = |list: &[Value]| -> Option<BTreeMap<String, Value>> {
        let keyed: Option<BTreeMap<_, _>> =
            list.iter().map(|element| Some((key(names, element)?, element.clone()))).collect();
        keyed.filter(|keyed| keyed.len() == list.len())
    };
    if let (Some(theirs), Some(ours)) = (by_key(&theirs), by_key(ours)) {
        for (key, theirs) in &theirs {
            if let Some(ours) = ours.get(key) {
                compare(names, &place, theirs, ours, found);
            }
        }
        let without = |one: &BTreeMap<String, Value>, other: &BTreeMap<String, Value>| {
            let rest: Vec<_> = one.keys().filter(|key| !other.contains_key(*key)).collect();
            match rest.len() {
                0 => None,
                1..=6 => Some(rest.into_iter().map(String::as_str).collect::<Vec<_>>().join(", ")),
                many => Some(format!("{many} elements")),
            }
        };
        found.extend(without(&theirs, &ours).map(|rest| format!("{place}: {rest} missing")));
        found.extend(without(&ours, &theirs).map(|rest| format!("{place}: {rest} only here")));
        return;
    }
    for (theirs, ours) in theirs.iter().zip(ours) {
        compare(names, &place, theirs, ours, found);
    }
    if theirs.len() != ours.len() {
        found.insert(format!("{place}: {} elements, here {}", theirs.len(), ours.len()));
    }
}
