//! In which order hosts move: the same for the same hosts, however they are listed.

use std::collections::BTreeMap;

use crate::words::HostName;

/// A host's place in the line. Compared as bytes, in the order of the fields.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OrderKey {
    /// Those that somebody has been told of go first.
    untold: bool,
    /// The host that the controller runs on goes last.
    own_host: bool,
    /// Those with members of our etcd go one at a time, after those without.
    member: bool,
    /// Attempts that failed: those that failed least go first.
    failures: u32,
    /// The values of the attributes of `rollout.order`, numbers by value; none goes last.
    attributes: Vec<(bool, String)>,
    /// The name, numbers by value.
    name: String,
}

impl OrderKey {
    /// The key of one host.
    #[must_use]
    pub fn new(
        name: &HostName,
        attributes: &BTreeMap<String, String>,
        order: &[String],
        failures: u32,
        own_host: bool,
    ) -> Self {
        let value = |attribute: &String| match attributes.get(attribute) {
            Some(value) => (false, natural(value)),
            None => (true, String::new()),
        };
        Self {
            untold: true,
            own_host,
            member: false,
            failures,
            attributes: order.iter().map(value).collect(),
            name: natural(name.as_str()),
        }
    }
}

impl OrderKey {
    /// The place of the same host with a member of our etcd on it.
    #[must_use]
    pub(super) fn apart(self) -> Self {
        Self { member: true, ..self }
    }

    /// The place before all others.
    #[must_use]
    pub(super) fn first(self) -> Self {
        Self { untold: false, ..self }
    }
}

/// A text whose byte order is that of people: `a2` before `a10`. Each run of digits is preceded
/// by its length.
fn natural(text: &str) -> String {
    let mut key = String::with_capacity(text.len() + 4);
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let digits = &rest[start..];
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        let number = digits[..end].trim_start_matches('0');
        key.push_str(&rest[..start]);
        // Two digits for the length: no longer number fits into a host name's label.
        let length = u32::try_from(number.len()).unwrap_or(u32::MAX);
        key.extend(
            [length / 10, length].map(|value| char::from_digit(value % 10, 10)).iter().flatten(),
        );
        key.push_str(number);
        rest = &digits[end..];
    }
    key.push_str(rest);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(mut hosts: Vec<(&str, &str)>, order: &[&str], own: &str) -> Vec<String> {
        let order: Vec<String> = order.iter().map(|o| (*o).to_owned()).collect();
        hosts.sort_by_key(|(name, rack)| {
            let attributes = BTreeMap::from([("rack".to_owned(), (*rack).to_owned())]);
            OrderKey::new(&(*name).into(), &attributes, &order, 0, *name == own)
        });
        hosts.into_iter().map(|(name, _)| name.to_owned()).collect()
    }

    #[test]
    fn s21_the_controllers_own_host_goes_last_and_an_unknown_one_changes_nothing() {
        let hosts = vec![("a1", "r1"), ("a10", "r1"), ("a2", "r1")];
        assert_eq!(sorted(hosts.clone(), &[], "a1"), ["a2", "a10", "a1"]);
        assert_eq!(sorted(hosts, &[], "elsewhere"), ["a1", "a2", "a10"]);
    }

    #[test]
    fn s21_hosts_that_failed_less_go_first() {
        let none = BTreeMap::new();
        let failed = OrderKey::new(&"a1".into(), &none, &[], 2, false);
        assert!(OrderKey::new(&"a9".into(), &none, &[], 0, false) < failed);
    }

    #[test]
    fn s22_the_order_does_not_depend_on_how_the_hosts_are_listed() {
        let hosts = vec![("a3", "r2"), ("a1", "r2"), ("a2", "r1"), ("a20", "r1")];
        let mut reversed = hosts.clone();
        reversed.reverse();
        let expected = ["a2", "a20", "a1", "a3"];
        assert_eq!(sorted(hosts, &["rack"], ""), expected);
        assert_eq!(sorted(reversed, &["rack"], ""), expected);
    }
}
