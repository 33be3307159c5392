//! Who did what and when.

use askama::Template;

use super::frame::Frame;
use crate::rollout::records::HistoryEntry;
use crate::surface::text::{ago, clock};
use crate::words::{HostName, Time};

/// Entries on the page, on the first page, and on that of a host.
pub(super) const ENTRIES: usize = 200;
pub(super) const RECENT: usize = 5;
pub(super) const OF_A_HOST: usize = 20;

/// The page.
#[derive(Debug, Template)]
#[template(path = "history.html")]
pub(super) struct History {
    pub(super) frame: Frame,
    pub(super) entries: Vec<Line>,
}

/// One entry.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) at: String,
    pub(super) ago: String,
    pub(super) who: String,
    pub(super) what: String,
}

pub(super) fn lines(entries: impl Iterator<Item = HistoryEntry>, now: Time) -> Vec<Line> {
    let line = |entry: HistoryEntry| Line {
        at: clock(entry.at),
        ago: ago(entry.at, now),
        who: entry.who,
        what: entry.what,
    };
    entries.map(line).collect()
}

/// Whether a sentence names a host, and not one that only begins like it.
pub(super) fn names(sentence: &str, host: &HostName) -> bool {
    let is_part = |letter: char| letter.is_alphanumeric() || "-_".contains(letter);
    sentence.match_indices(host.as_str()).any(|(at, name)| {
        let (before, after) = (&sentence[..at], &sentence[at + name.len()..]);
        // A dot ends a sentence or goes on with the name.
        let mut after = after.chars();
        let goes_on = match after.next() {
            Some('.') => after.next().is_some_and(is_part),
            Some(letter) => is_part(letter),
            None => false,
        };
        !before.ends_with(|letter| is_part(letter) || letter == '.') && !goes_on
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_names_a_host_only_by_its_whole_name() {
        for (sentence, host, named) in [
            ("retry of a1, a2", "a1", true),
            ("1 failed (a1); maxFailures is 1", "a1", true),
            ("release of a10, attempt 7", "a1", false),
            ("pause of host `a1.example`", "a1", false),
            ("pause of host `a1.example`", "a1.example", true),
            ("forget b-a1", "a1", false),
            ("The slot of a1.", "a1", true),
            ("", "a1", false),
        ] {
            assert_eq!(names(sentence, &host.into()), named, "{sentence}: {host}");
        }
    }
}
