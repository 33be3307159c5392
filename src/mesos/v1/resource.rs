//! What an agent has: resources and attributes (`mesos.proto`).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::common::AllocationInfo;

open_enum! {
    /// What a [`Resource`] or an [`Attribute`] holds.
    ValueType {
        /// A number.
        Scalar = "SCALAR",
        /// Ranges of integers.
        Ranges = "RANGES",
        /// A set of texts.
        Set = "SET",
        /// A text; attributes only.
        Text = "TEXT",
    }
}

/// A number of a [`Resource`] or [`Attribute`]; Mesos counts in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scalar {
    /// The number.
    pub value: f64,
}

/// Both ends belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// The first.
    pub begin: u64,
    /// The last.
    pub end: u64,
}

/// `{"range": […]}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ranges {
    /// The ranges.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub range: Vec<Range>,
}

/// `{"item": […]}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Set {
    /// The texts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub item: Vec<String>,
}

/// `{"value": "…"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Text {
    /// The text.
    pub value: String,
}

/// One entry of a resource's stack of reservations; the last is the present owner.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reservation {
    /// `STATIC` or `DYNAMIC`.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// For whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// By whom, labels, and what newer versions add: echoed as given.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

impl Reservation {
    /// What an agent's operator set aside for a role.
    #[must_use]
    pub fn of_static(role: &str) -> Self {
        Self { kind: Some("STATIC".to_owned()), role: Some(role.to_owned()), rest: Map::new() }
    }
}

/// A quantity of something on an agent. In a launch it has to be given back in the form in which
/// it was offered, so fields that this program does not know are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Resource {
    /// `cpus`, `mem` (MB), `disk` (MB), `ports`, …
    pub name: String,
    /// Which of the following is set.
    #[serde(rename = "type")]
    pub kind: ValueType,
    /// The number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scalar: Option<Scalar>,
    /// The ranges.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ranges: Option<Ranges>,
    /// The set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<Set>,
    /// Without `RESERVATION_REFINEMENT`: whom it is reserved for, `*` if nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// For which role it is offered or used; `MULTI_ROLE` frameworks only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocation_info: Option<AllocationInfo>,
    /// With `RESERVATION_REFINEMENT`: whom it is reserved for, nobody if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reservations: Vec<Reservation>,
    /// `provider_id`, `reservation`, `disk`, `revocable`, `shared`, and what newer versions add.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

impl Resource {
    /// A number of something, reserved for nobody.
    #[must_use]
    pub fn scalar(name: &str, value: f64) -> Self {
        Self { scalar: Some(Scalar { value }), ..Self::empty(name, ValueType::Scalar) }
    }

    /// Ranges of something, reserved for nobody. Both ends belong to a range.
    #[must_use]
    pub fn ranges(name: &str, ranges: &[(u64, u64)]) -> Self {
        let range = ranges.iter().map(|&(begin, end)| Range { begin, end }).collect();
        Self { ranges: Some(Ranges { range }), ..Self::empty(name, ValueType::Ranges) }
    }

    fn empty(name: &str, kind: ValueType) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            scalar: None,
            ranges: None,
            set: None,
            role: None,
            allocation_info: None,
            reservations: Vec::new(),
            rest: Map::new(),
        }
    }

    /// The number, if it is one.
    #[must_use]
    pub fn amount(&self) -> Option<f64> {
        self.scalar.map(|scalar| scalar.value)
    }

    /// The number in thousandths, in which Mesos keeps it; 0 if it is none.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is not negative, and too large ones are cut"
    )]
    pub fn milli(&self) -> u64 {
        self.amount().map_or(0, |amount| (amount.max(0.0) * 1000.0).round() as u64)
    }

    /// The role that it is reserved for, in either form; `None` if anybody may use it.
    #[must_use]
    pub fn reserved_for(&self) -> Option<&str> {
        match self.reservations.last() {
            Some(owner) => owner.role.as_deref(),
            None => self.role.as_deref().filter(|role| *role != "*"),
        }
    }
}

/// A property of an agent, as its operator gave it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attribute {
    /// Its name.
    pub name: String,
    /// Which of the following is set.
    #[serde(rename = "type")]
    pub kind: ValueType,
    /// The number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scalar: Option<Scalar>,
    /// The ranges.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ranges: Option<Ranges>,
    /// The set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<Set>,
    /// The text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Text>,
}

impl Attribute {
    /// A text attribute.
    #[must_use]
    pub fn text(name: &str, value: &str) -> Self {
        Self {
            name: name.to_owned(),
            kind: ValueType::Text,
            scalar: None,
            ranges: None,
            set: None,
            text: Some(Text { value: value.to_owned() }),
        }
    }

    /// The value as the agent's `--attributes` flag has it: `r1`, `16`, `[10-20, 30-40]`, `{a, b}`.
    #[must_use]
    pub fn value(&self) -> String {
        if let Some(text) = &self.text {
            return text.value.clone();
        }
        if let Some(scalar) = self.scalar {
            return scalar.value.to_string();
        }
        if let Some(ranges) = &self.ranges {
            let ranges: Vec<_> =
                ranges.range.iter().map(|r| format!("{}-{}", r.begin, r.end)).collect();
            return format!("[{}]", ranges.join(", "));
        }
        self.set.as_ref().map(|set| format!("{{{}}}", set.item.join(", "))).unwrap_or_default()
    }
}
