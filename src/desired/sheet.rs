//! One source as the checks see it: its text, where findings point, and what must not be shown.

use std::ops::Range;

use super::finding::{Excerpt, Finding};
use super::yaml::{Node, Parsed, Span, Value};

/// A source, and what has been found in it.
pub(super) struct Sheet<'a> {
    label: &'a str,
    text: &'a str,
    /// Values that look like secrets.
    hidden: Vec<Range<usize>>,
    pub(super) findings: Vec<Finding>,
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
        }
        let mut sheet = Self { label, text, hidden, findings: Vec::new() };
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
        path: impl ToString,
        message: impl Into<String>,
        help: Option<String>,
    ) {
        let finding = self.finding(at, path, message, help);
        let place = |finding: &Finding| (finding.line, finding.column, finding.path.clone());
        if !self.findings.iter().any(|known| place(known) == place(&finding)) {
            self.findings.push(finding);
        }
    }

    /// A finding that points at `at`.
    pub(super) fn finding(
        &self,
        at: &Span,
        path: impl ToString,
        message: impl Into<String>,
        help: Option<String>,
    ) -> Finding {
        let start = self.text.floor_char_boundary(at.bytes.start.min(self.text.len()));
        let from = self.text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let to = self.text[start..].find('\n').map_or(self.text.len(), |newline| start + newline);
        let line = self.masked(from..to);
        let line = line.trim_end_matches('\r');
        let end = (at.bytes.end.clamp(start, to) - from).min(line.len());
        Finding {
            file: self.label.to_owned(),
            line: Some(at.line),
            column: Some(at.column),
            path: path.to_string(),
            message: message.into(),
            help,
            excerpt: Excerpt::new(line, (start - from).min(line.len()), end),
        }
    }

    /// Whether the value at `at` must not be repeated in a message.
    pub(super) fn hides(&self, at: &Span) -> bool {
        self.hidden.iter().any(|hidden| hidden.start < at.bytes.end && at.bytes.start < hidden.end)
    }

    /// A part of the text, hidden bytes as `*`, so that places stay where they are.
    fn masked(&self, part: Range<usize>) -> String {
        let hidden = |at: usize| self.hidden.iter().any(|hidden| hidden.contains(&at));
        let mask = |(at, c): (usize, char)| {
            let stars = if hidden(part.start + at) { c.len_utf8() } else { 0 };
            std::iter::repeat_n('*', stars).chain((stars == 0).then_some(c))
        };
        self.text[part.clone()].char_indices().flat_map(mask).collect()
    }
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

/// Without a tree: what follows a name that says secret on its line, and what is indented below
/// such a line.
fn hide_by_line(text: &str, hidden: &mut Vec<Range<usize>>) {
    let (mut at, mut below) = (0, None);
    for line in text.split_inclusive('\n') {
        let indent = line.len() - line.trim_start().len();
        if below.is_some_and(|column| indent > column) {
            hidden.push(at..at + line.len());
        } else if !line.trim().is_empty() {
            let colon = line.match_indices(':').find(|(colon, _)| is_secret(&line[..*colon], ""));
            below = colon.map(|_| indent);
            hidden.extend(colon.map(|(colon, _)| at + colon + 1..at + line.len()));
        }
        at += line.len();
    }
}
