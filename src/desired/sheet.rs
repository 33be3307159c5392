//! One source as the checks see it: its text, where findings point, and what must not be shown.

use std::collections::HashSet;
use std::ops::Range;

use super::finding::{Excerpt, Finding};
use super::yaml::{Node, Parsed, Span, Value};

/// The most findings of one source that are told; nobody reads more.
const MAX_FINDINGS: usize = 1000;
/// The longest line that is shown whole, in bytes.
const SHOWN: usize = 400;

/// What ends a line in YAML.
const BREAKS: [char; 2] = ['\n', '\r'];

/// A source, and what has been found in it.
pub(super) struct Sheet<'a> {
    label: &'a str,
    text: &'a str,
    /// Values that look like secrets.
    hidden: Vec<Range<usize>>,
    findings: Vec<Finding>,
    /// Line, column and field of every finding.
    places: HashSet<(usize, usize, String)>,
}

impl<'a> Sheet<'a> {
    /// Takes over the faults of the YAML itself.
    pub(super) fn new(label: &'a str, text: &'a str, parsed: &Parsed) -> Self {
        let mut hidden = Vec::new();
        for document in &parsed.documents {
            hide(&document.root, false, &mut hidden);
        }
        if parsed.broken {
            hide_by_line(text, &mut hidden);
        } else {
            hide_comments(text, &mut hidden);
        }
        let mut sheet = Self { label, text, hidden, findings: Vec::new(), places: HashSet::new() };
        for fault in &parsed.faults {
            sheet.find(
                &fault.span,
                &fault.path,
                fault.message.clone(),
                Some(fault.help.to_owned()),
            );
        }
        sheet
    }

    /// Notes a finding; of several about one field in one place the first is enough.
    pub(super) fn find(
        &mut self,
        at: &Span,
        path: &str,
        message: impl Into<String>,
        help: Option<String>,
    ) {
        let new = self.places.insert((at.line, at.column, path.to_owned()));
        if new && self.findings.len() < MAX_FINDINGS {
            let finding = self.finding(at, path, message, help);
            self.findings.push(finding);
        }
    }

    /// A finding that points at `at`.
    pub(super) fn finding(
        &self,
        at: &Span,
        path: &str,
        message: impl Into<String>,
        help: Option<String>,
    ) -> Finding {
        Finding {
            file: self.label.to_owned(),
            line: Some(at.line),
            column: Some(at.column),
            path: path.to_owned(),
            message: message.into(),
            help,
            excerpt: self.excerpt(&at.bytes),
        }
    }

    /// All findings, in the order of the text.
    pub(super) fn into_findings(mut self) -> Vec<Finding> {
        self.findings.sort_by_key(|finding| (finding.line, finding.column));
        let left_out = self.places.len().saturating_sub(MAX_FINDINGS);
        if left_out > 0 {
            let message = format!("there are {left_out} findings more in this file");
            let help = "mend the first ones and look again";
            self.findings.push(Finding::overall(self.label, message, help));
        }
        self.findings
    }

    /// The line that a place is on, or the part of a very long one around it.
    fn excerpt(&self, bytes: &Range<usize>) -> Excerpt {
        let text = self.text;
        let start = text.floor_char_boundary(bytes.start);
        let from = text[..start].rfind(BREAKS).map_or(0, |newline| newline + 1);
        let to = text[start..].find(BREAKS).map_or(text.len(), |newline| start + newline);
        let (mut before, mut after) = ("", "");
        let (mut first, mut last) = (from, to);
        if to - from > SHOWN {
            first = text.ceil_char_boundary(from.max(start.saturating_sub(SHOWN / 2)));
            last = text.floor_char_boundary(to.min(first + SHOWN));
            before = if first > from { "…" } else { "" };
            after = if last < to { "…" } else { "" };
        }
        let shown = self.masked(first..last);
        let line = format!("{before}{shown}{after}");
        let within = |at: usize| (at.clamp(first, last) - first + before.len()).min(line.len());
        let (start, end) = (within(start), within(text.floor_char_boundary(bytes.end)));
        Excerpt { start, end: end.max(start), whole: first == from, line }
    }

    /// Notes a finding about the source as a whole.
    pub(super) fn refuse(&mut self, message: impl Into<String>, help: &str) {
        self.findings.push(Finding::overall(self.label, message, help));
    }

    /// How many findings there are; that it grows says that something was found.
    pub(super) fn count(&self) -> usize {
        self.places.len()
    }

    /// Whether the value at `at` must not be repeated in a message.
    pub(super) fn hides(&self, at: &Span) -> bool {
        self.hidden.iter().any(|hidden| overlap(hidden, &at.bytes))
    }

    /// A part of the text, hidden bytes as `*`, so that places stay where they are.
    fn masked(&self, part: Range<usize>) -> String {
        let near: Vec<_> = self.hidden.iter().filter(|hidden| overlap(hidden, &part)).collect();
        let is_hidden = |at: usize| near.iter().any(|hidden| hidden.contains(&at));
        let mask = |(at, c): (usize, char)| {
            let stars = if is_hidden(part.start + at) { c.len_utf8() } else { 0 };
            std::iter::repeat_n('*', stars).chain((stars == 0).then_some(c))
        };
        self.text[part.clone()].char_indices().flat_map(mask).collect()
    }
}

fn overlap(one: &Range<usize>, other: &Range<usize>) -> bool {
    one.start < other.end && other.start < one.end
}

/// Whether a literal under this name would be a secret in a document. The path of a file is none,
/// if the name says that it is one (`ETCD_KEY_FILE: /etc/calico/key.pem`).
pub(super) fn is_secret(name: &str, value: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let says = ["password", "secret", "token", "key", "passwd", "passphrase", "credential"];
    let file = (name.ends_with("file") || name.ends_with("path")) && value.starts_with('/');
    (says.iter().any(|word| name.contains(word)) && !file) || has_password(value)
}

/// Whether a text has a URL of the form `scheme://user:password@…` in it.
pub(super) fn has_password(text: &str) -> bool {
    text.split("://").skip(1).any(|rest| {
        let authority = rest.split(['/', '?', '#', ' ']).next().unwrap_or(rest);
        authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
    })
}

fn hide(node: &Node, secret: bool, hidden: &mut Vec<Range<usize>>) {
    match &node.value {
        Value::Map(entries) => {
            for entry in entries {
                let reference = matches!(entry.key.as_str(), "fromFile" | "fromRoute");
                let text = entry.value.text().unwrap_or_default();
                hide(&entry.value, !reference && (secret || is_secret(&entry.key, text)), hidden);
            }
        }
        Value::List(items) => items.iter().for_each(|item| hide(item, secret, hidden)),
        Value::Text(text) if secret || has_password(text) => hidden.push(node.span.bytes.clone()),
        Value::Number(_) if secret => hidden.push(node.span.bytes.clone()),
        _ => {}
    }
}

/// How far before a colon a name is looked for.
const LONGEST_NAME: usize = 100;

/// Where a line begins to tell a secret: after a name that says so, or with a password in a URL.
fn tells_secret(line: &str) -> Option<usize> {
    let named = line.match_indices(':').find(|(colon, _)| {
        let name = line.floor_char_boundary(colon.saturating_sub(LONGEST_NAME));
        is_secret(&line[name..*colon], "")
    });
    named.map(|(colon, _)| colon + 1).or(has_password(line).then_some(0))
}

/// What was put aside as a comment is in no tree.
fn hide_comments(text: &str, hidden: &mut Vec<Range<usize>>) {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let end = at + line.len();
        if let Some(comment) = line.find('#') {
            hidden.extend(tells_secret(&line[comment..]).map(|from| at + comment + from..end));
        }
        at = end;
    }
}

/// Without a tree: what follows a name that says secret on its line, what is indented below such
/// a line, and lines with a password in a URL.
fn hide_by_line(text: &str, hidden: &mut Vec<Range<usize>>) {
    let (mut at, mut below) = (0, None);
    for line in text.split_inclusive('\n') {
        let indent = line.len() - line.trim_start().len();
        if below.is_some_and(|column| indent > column) {
            hidden.push(at..at + line.len());
        } else if !line.trim().is_empty() {
            let from = tells_secret(line).map(|from| from.max(indent));
            // A password in a URL says nothing of the lines below it.
            below = from.filter(|from| *from > indent).map(|_| indent);
            hidden.extend(from.map(|from| at + from..at + line.len()));
        }
        at += line.len();
    }
}
