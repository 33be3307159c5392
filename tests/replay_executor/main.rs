//! The recordings of executors and their agents (`e…` in `tests/fixtures/mesos-wire`): our
//! executor client is told what a real agent said, our simulated agent is asked what a real one
//! was asked. Differences are those of the table `DIFFERENCES.md` beside the recordings, no more
//! and no less.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod agent;
mod client;
mod compare;
mod plays;
#[expect(dead_code, reason = "other tests use more of it")]
#[path = "../recordings/mod.rs"]
mod recording;

use std::collections::BTreeSet;

/// The rows of the table: recordings, difference, reason.
fn table() -> Vec<(String, String)> {
    let table = std::fs::read_to_string(recording::folder().join("DIFFERENCES.md")).unwrap();
    let row = |line: &str| {
        let mut cells = line.strip_prefix("| ")?.split(" | ");
        let (recordings, difference) = (cells.next()?.to_owned(), cells.next()?);
        let why = cells.next()?;
        if recordings == "recordings" {
            return None;
        }
        assert!(why.len() > 10, "without a reason: {line}");
        Some((recordings, difference.trim_matches('`').to_owned()))
    };
    table.lines().filter_map(row).collect()
}

/// The differences that are listed for a recording and begin so.
fn listed(name: &str, side: &str) -> BTreeSet<String> {
    let mine = |recordings: &str| recordings.split(", ").any(|recording| recording == name);
    let rows = table().into_iter().filter(|(recordings, _)| mine(recordings));
    rows.map(|(_, difference)| difference).filter(|text| text.starts_with(side)).collect()
}

/// Says which differences are not listed, and which listed ones there are not.
fn check(name: &str, side: &str, found: &BTreeSet<String>) -> Result<(), String> {
    let found: BTreeSet<_> = found
        .iter()
        .map(|text| format!("{side}{}", text.replace('`', "'").replace('|', "/")))
        .collect();
    let listed = listed(name, side);
    let rows = |set: Vec<&String>| {
        set.iter().map(|text| format!("| {name} | `{text}` |")).collect::<Vec<_>>().join("\n")
    };
    let new = rows(found.difference(&listed).collect());
    let over = rows(listed.difference(&found).collect());
    if new.is_empty() && over.is_empty() {
        return Ok(());
    }
    Err(format!("not listed:\n{new}\nlisted, and no longer there:\n{over}\n"))
}

/// Each recording is played on both sides, or the table says why not.
#[test]
fn no_recording_is_forgotten() {
    let rows = table();
    for name in recording::executors() {
        let says = |text: &str| {
            let mine = |recordings: &str| recordings.split(", ").any(|r| r == name);
            rows.iter().any(|(recordings, what)| mine(recordings) && what == text)
        };
        let (agent, client) = (plays::is_played(&name), client::has_executor(&name));
        assert_eq!(says("not played: agent"), !agent, "{name}: its agent side");
        assert_eq!(says("not played: executor"), !client, "{name}: its executor side");
    }
}
