//! A limit as operators write it: a number of hosts, or a percentage of them.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::text::BadText;

/// The name of the rule in the JSON Schema.
pub(super) const FORMAT: &str = "limit";

const ALLOWED: &str =
    "a number of hosts such as 3, or a percentage from \"0%\" to \"100%\" such as \"5%\"";

/// A percentage, 0 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Percent(u8);

impl Percent {
    /// The number, 0 to 100.
    pub fn get(self) -> u8 {
        self.0
    }
}

impl FromStr for Percent {
    type Err = BadText;

    fn from_str(text: &str) -> Result<Self, BadText> {
        let digits = text.strip_suffix('%').filter(|d| d.bytes().all(|b| b.is_ascii_digit()));
        let number = digits.and_then(|d| d.parse().ok()).filter(|number| *number <= 100);
        number.map(Self).ok_or(BadText { allowed: ALLOWED })
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

/// How many hosts: `3`, or `"5%"` of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    /// So many hosts.
    Count(u32),
    /// So many of a hundred.
    Percent(Percent),
}

impl Limit {
    /// The limit for `hosts` hosts. A percentage is rounded down but gives at least 1, so that a
    /// small cluster moves at all; 0 and 0% give none.
    pub fn of(self, hosts: usize) -> usize {
        match self {
            Self::Count(count) => usize::try_from(count).unwrap_or(usize::MAX),
            Self::Percent(Percent(0)) => 0,
            Self::Percent(Percent(percent)) => (hosts.saturating_mul(percent.into()) / 100).max(1),
        }
    }

    /// A percentage, capped at 100.
    pub const fn percent(percent: u8) -> Self {
        Self::Percent(Percent(if percent > 100 { 100 } else { percent }))
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => count.fmt(f),
            Self::Percent(percent) => percent.fmt(f),
        }
    }
}

impl Serialize for Limit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Count(count) => serializer.serialize_u32(*count),
            Self::Percent(percent) => serializer.collect_str(percent),
        }
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl Visitor<'_> for Reader {
            type Value = Limit;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(ALLOWED)
            }

            fn visit_u64<E: de::Error>(self, count: u64) -> Result<Limit, E> {
                u32::try_from(count)
                    .map(Limit::Count)
                    .map_err(|_| E::invalid_value(de::Unexpected::Unsigned(count), &self))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Limit, E> {
                text.parse().map(Limit::Percent).map_err(E::custom)
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

impl JsonSchema for Limit {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Limit".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": ["integer", "string"],
            "minimum": 0,
            "maximum": u32::MAX,
            "format": FORMAT,
            "pattern": "^(100|[0-9]{1,2})%$",
            "description": ALLOWED,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Limit, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn s01_s02_s03_a_limit_is_a_count_or_a_percentage_rounded_down_but_at_least_one() {
        let table = [
            ("2", 4, 2),
            ("\"50%\"", 4, 2),
            ("\"60%\"", 4, 2),
            ("0", 4, 0),
            ("\"0%\"", 4, 0),
            ("\"50%\"", 3, 1),
            ("\"50%\"", 2, 1),
            ("\"50%\"", 0, 1),
            ("\"5%\"", 10_000, 500),
            ("\"100%\"", 7, 7),
        ];
        for (written, hosts, limit) in table {
            assert_eq!(read(written).unwrap().of(hosts), limit, "{written} of {hosts}");
        }
    }

    #[test]
    fn s01_s05_what_is_neither_is_refused() {
        for written in [
            "\"50 percent\"",
            "\"60\"",
            "\"40 %\"",
            "-1",
            "\"101%\"",
            "\"-1%\"",
            "\"%\"",
            "\"+5%\"",
            "1.5",
            "\"300%\"",
            "null",
            "true",
        ] {
            assert!(read(written).is_err(), "{written}");
        }
    }

    #[test]
    fn it_is_written_as_it_was_read() {
        for written in ["3", "\"5%\""] {
            assert_eq!(serde_json::to_string(&read(written).unwrap()).unwrap(), written);
        }
    }
}
