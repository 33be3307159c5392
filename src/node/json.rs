//! Changes of single keys in a JSON object that people have written: what is not ours keeps its
//! order, its spelling and its white space.

use std::fmt;
use std::ops::Range;

use serde::Deserializer as _;
use serde::de::{Error as _, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

/// One member of an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: Value,
    /// Where the value stands in the text.
    at: Range<usize>,
}

/// The members of the object that `text` is, in order. A key given twice is an error: which of
/// the two counts is different from program to program.
pub fn members(text: &str) -> Result<Vec<Member>, serde_json::Error> {
    struct Members<'a>(&'a str);
    impl<'de> Visitor<'de> for Members<'de> {
        type Value = Vec<Member>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a JSON object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<Member>, A::Error> {
            let mut members: Vec<Member> = Vec::new();
            while let Some((key, raw)) = map.next_entry::<String, &'de RawValue>()? {
                if members.iter().any(|member| member.key == key) {
                    return Err(A::Error::custom(format_args!("`{key}` is given twice")));
                }
                let value = serde_json::from_str(raw.get()).map_err(A::Error::custom)?;
                // A raw value borrows from the text: where it stands there is a difference of addresses.
                let start = raw.get().as_ptr() as usize - self.0.as_ptr() as usize;
                members.push(Member { key, value, at: start..start + raw.get().len() });
            }
            Ok(members)
        }
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let members = deserializer.deserialize_map(Members(text))?;
    deserializer.end()?;
    Ok(members)
}

/// Sets a key: in its place if it is there, else as the last one, indented like the one before it.
pub fn set(text: &str, key: &str, value: &Value) -> Result<String, serde_json::Error> {
    let members = members(text)?;
    if let Some(member) = members.iter().find(|member| member.key == key) {
        if member.value == *value {
            return Ok(text.to_owned());
        }
        return Ok(splice(text, member.at.clone(), &value.to_string()));
    }
    let entry = format!("{}: {value}", Value::from(key));
    let Some(last) = members.last() else {
        let inside = open(text)..text.rfind('}').unwrap_or(text.len());
        return Ok(splice(text, inside, &format!("\n    {entry}\n")));
    };
    let before = members.len().checked_sub(2).map_or_else(|| open(text), |at| members[at].at.end);
    let gap = &text[before..last.at.start];
    let space: String =
        gap.trim_start_matches(',').chars().take_while(|c| c.is_whitespace()).collect();
    // In `{"a": 1}` nothing stands between the brace and the first key.
    let space = if space.is_empty() && members.len() == 1 { " " } else { &space };
    Ok(splice(text, last.at.end..last.at.end, &format!(",{space}{entry}")))
}

/// Takes a key out, with its comma.
pub fn remove(text: &str, key: &str) -> Result<String, serde_json::Error> {
    let members = members(text)?;
    let Some(at) = members.iter().position(|member| member.key == key) else {
        return Ok(text.to_owned());
    };
    let member = &members[at];
    let span = match (at.checked_sub(1).map(|before| &members[before]), members.get(at + 1)) {
        (Some(before), _) => before.at.end..member.at.end,
        (None, Some(_)) => {
            let comma = text[member.at.end..].find(',').map_or(0, |comma| comma + 1);
            open(text)..member.at.end + comma
        }
        (None, None) => open(text)..text.rfind('}').unwrap_or(text.len()),
    };
    Ok(splice(text, span, ""))
}

/// Behind the brace that opens the object.
fn open(text: &str) -> usize {
    text.find('{').map_or(0, |at| at + 1)
}

fn splice(text: &str, at: Range<usize>, new: &str) -> String {
    format!("{}{new}{}", &text[..at.start], &text[at.end..])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_key_is_set_and_nothing_else_is_touched() {
        for (before, after) in [
            ("{}", "{\n    \"k\": 1\n}"),
            ("{ }\n", "{\n    \"k\": 1\n}\n"),
            (r#"{"a": 2}"#, r#"{"a": 2, "k": 1}"#),
            (r#"{"b":[1,{"k":3}],"a":"}"}"#, r#"{"b":[1,{"k":3}],"a":"}","k": 1}"#),
            ("{\n  \"b\": 2,\n  \"a\": 3\n}\n", "{\n  \"b\": 2,\n  \"a\": 3,\n  \"k\": 1\n}\n"),
            ("{\n\t\"b\": 2\n}\n", "{\n\t\"b\": 2,\n\t\"k\": 1\n}\n"),
            ("{\"k\":  {\"x\": 1} , \"b\" :2}", "{\"k\":  1 , \"b\" :2}"),
            ("{\"k\" : 1.0}", "{\"k\" : 1}"),
            ("{\"k\" :  1 }", "{\"k\" :  1 }"),
        ] {
            assert_eq!(set(before, "k", &json!(1)).unwrap(), after);
        }
    }

    #[test]
    fn a_key_is_taken_out_with_its_comma() {
        for (before, after) in [
            (r#"{"k": 1}"#, "{}"),
            (r#"{"k": 1, "a": 2}"#, r#"{ "a": 2}"#),
            (r#"{"a": 2, "k": 1}"#, r#"{"a": 2}"#),
            (
                "{\n  \"a\": 2,\n  \"k\": {\"k\": 1},\n  \"b\": 3\n}",
                "{\n  \"a\": 2,\n  \"b\": 3\n}",
            ),
            (r#"{"a": 2}"#, r#"{"a": 2}"#),
        ] {
            assert_eq!(remove(before, "k").unwrap(), after);
        }
    }

    #[test]
    fn what_is_no_object_or_not_clear_is_refused() {
        for text in
            ["", "[]", "{", "{\"a\": 1,}", "{\"a\": 1} {}", "{\"a\": 1, \"a\": 2}", "// c\n{}"]
        {
            assert!(members(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_was_set_is_there_what_was_removed_is_not_and_the_rest_stays(
            others in proptest::collection::btree_map("[a-j{},\"]{1,3}", any::<i32>(), 0..5),
            pretty: bool,
        ) {
            let whole = json!(others);
            let text = if pretty { serde_json::to_string_pretty(&whole) } else { serde_json::to_string(&whole) };
            let text = text.unwrap();
            let with = set(&text, "key", &json!({"x": [1]})).unwrap();
            let mut expected = whole.clone();
            expected["key"] = json!({"x": [1]});
            prop_assert_eq!(serde_json::from_str::<Value>(&with).unwrap(), expected);
            let without = remove(&with, "key").unwrap();
            prop_assert_eq!(serde_json::from_str::<Value>(&without).unwrap(), whole);
        }
    }
}
