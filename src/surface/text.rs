//! How numbers, names and times are written for people.

use crate::words::{HostName, Time};

/// How many names stand for a group.
const NAMES: usize = 3;

/// `1 host`, `2 hosts`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{} {noun}{s}", grouped(number as u64))
}

/// `12,345`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The first names, and that there are more: `a1, a2, a3, …`.
pub(crate) fn first_names(hosts: &[&HostName]) -> String {
    let mut text: Vec<&str> = hosts.iter().take(NAMES).map(|name| name.as_str()).collect();
    if hosts.len() > NAMES {
        text.push("…");
    }
    text.join(", ")
}

/// A length of time, with the two largest units: `45 s`, `12 min`, `2 h 40 min`, `3 d 4 h`.
pub(crate) fn duration(seconds: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let large = UNITS.iter().position(|(size, _)| seconds >= *size).unwrap_or(UNITS.len() - 1);
    let (size, unit) = UNITS[large];
    let (number, rest) = (seconds / size, seconds % size);
    match UNITS.get(large + 1) {
        // Seconds beside minutes matter while there are few of them.
        Some((next, name)) if rest >= *next && (*next > 1 || number < 10) => {
            format!("{number} {unit} {} {name}", rest / next)
        }
        _ => format!("{number} {unit}"),
    }
}

/// How long ago: `3 min ago`, `now`.
pub(crate) fn ago(then: Time, now: Time) -> String {
    match now.since(then) / 1000 {
        0 => "now".to_owned(),
        seconds => format!("{} ago", duration(seconds)),
    }
}

/// With a capital at its beginning, as the sentence that it is.
pub(crate) fn capital(sentence: &str) -> String {
    let mut letters = sentence.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// `2026-11-23 01:02:03Z`.
pub(crate) fn clock(at: Time) -> String {
    let ms = i64::try_from(at.0).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    ms.map_or_else(String::new, |at| at.strftime("%Y-%m-%d %H:%M:%SZ").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_read_well() {
        for (seconds, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (95, "1 min 35 s"),
            (3_599, "59 min"),
            (3_600, "1 h"),
            (9_660, "2 h 41 min"),
            (90_000, "1 d 1 h"),
            (172_805, "2 d"),
        ] {
            assert_eq!(duration(seconds), text);
        }
        for (number, text) in [(1, "1 host"), (0, "0 hosts"), (1_234_567, "1,234,567 hosts")] {
            assert_eq!(count(number, "host"), text);
        }
    }

    #[test]
    fn a_group_is_named_by_its_first_hosts() {
        let hosts = ["a1", "a2", "a3", "a4"].map(HostName::from);
        let hosts: Vec<_> = hosts.iter().collect();
        assert_eq!(first_names(&hosts[..3]), "a1, a2, a3");
        assert_eq!(first_names(&hosts), "a1, a2, a3, …");
    }
}
