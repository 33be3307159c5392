//! Signs, colours and times, the same on all pages, and the buttons that ask for something.

use serde_json::{Value, json};

use crate::surface::ask::Asked;
use crate::surface::hosts::{IN_SYNC, Standing};
use crate::words::{Component, HostName, Time};

/// How a component stands, at a glance.
#[derive(Debug)]
pub(super) struct Cell {
    pub(super) sign: &'static str,
    pub(super) colour: &'static str,
    pub(super) words: String,
}

/// All that a component can be like, in the order of the key.
pub(super) const STANDINGS: [Standing; 8] = [
    Standing::InSync,
    Standing::Install,
    Standing::Change,
    Standing::Repair,
    Standing::Remove,
    Standing::Blocked,
    Standing::NotManaged,
    Standing::Unknown,
];

impl Cell {
    /// Of a component, or of none for the key.
    pub(super) fn new(standing: Standing, component: Option<Component>) -> Self {
        let (sign, colour, words) = match standing {
            Standing::InSync => ("✓", "good", "as declared"),
            Standing::Install => ("+", "work", "to be installed"),
            Standing::Change => ("↻", "work", "to be changed"),
            Standing::Repair => ("!", "wait", "to be repaired"),
            Standing::Remove => ("−", "work", "to be taken off"),
            Standing::Blocked => ("✕", "bad", "cannot be changed here"),
            Standing::NotManaged => ("·", "none", "not managed"),
            Standing::Unknown => ("?", "none", "not known"),
        };
        let words = match component {
            Some(component) => format!("{}: {words}", component.name()),
            None => words.to_owned(),
        };
        Self { sign, colour, words }
    }
}

/// The colour of a reason, by its word.
pub(super) fn colour(code: &str) -> &'static str {
    match code {
        IN_SYNC => "good",
        "in-progress" | "verifying" => "work",
        "failed" | "blocked" | "halted" | "gone" | "unreachable" => "bad",
        "backing-off"
        | "unknown"
        | "too-many-unavailable"
        | "insufficient-resources"
        | "paused"
        | "waiting-for-approval" => "wait",
        _ => "dim",
    }
}

/// A button that asks for something.
#[derive(Debug)]
pub(super) struct Button {
    pub(super) what: &'static str,
    pub(super) label: String,
    pub(super) body: String,
    pub(super) question: String,
}

impl Button {
    pub(super) fn new(what: &'static str, label: &str, body: &Value, question: &str) -> Self {
        let (label, body, question) = (label.to_owned(), body.to_string(), question.to_owned());
        Self { what, label, body, question }
    }

    /// Of something that is asked for with a question of its own.
    pub(super) fn of(what: &'static str, label: &str, body: &Value, asked: &Asked) -> Self {
        Self::new(what, label, body, asked.question.as_deref().unwrap_or(&asked.what))
    }
}

/// Pauses or resumes one host.
pub(super) fn pause_host(name: &HostName, paused: bool) -> Button {
    let body = json!({"host": name});
    if paused {
        let question = format!("Let host `{name}` go on?");
        return Button::new("resume", "Resume this host", &body, &question);
    }
    let question =
        format!("Start nothing new on host `{name}`? What is under way there goes on to its end.");
    Button::new("pause", "Pause this host", &body, &question)
}

/// Any text as a part of a path or of a query.
pub(super) fn encoded(text: &str) -> String {
    HostName::from(text).encoded()
}

/// How old facts are, and when they were last confirmed, where that is known.
pub(super) fn facts_age(facts: Option<Time>, heard: Option<Time>, now: Time) -> String {
    use crate::surface::text::{ago, duration};
    match (facts, heard) {
        (None, _) => "none yet".to_owned(),
        (Some(facts), None) => format!("changed {}", ago(facts, now)),
        (Some(_), Some(heard)) => format!("{} old", duration(now.since(heard) / 1000)),
    }
}
