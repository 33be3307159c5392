//! What is wrong with a document, where, and what to do about it.

use std::fmt;

use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet};
use serde::Serialize;

/// One thing that is wrong with a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// The file, or the key in etcd.
    pub file: String,
    /// From 1; none if it concerns no single place.
    pub line: Option<usize>,
    /// From 1, in characters.
    pub column: Option<usize>,
    /// The field, such as `spec.calicoNode.env.IP`; empty if it is no field's.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What is allowed, the nearest valid name, what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    #[serde(skip)]
    pub(super) excerpt: Excerpt,
}

/// The line that a finding points at, with secrets masked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Excerpt {
    pub(super) line: String,
    /// The bytes of `line` that are pointed at.
    pub(super) start: usize,
    pub(super) end: usize,
    /// Whether `line` has the line's beginning.
    pub(super) whole: bool,
}

impl Finding {
    /// A finding about a whole source, or about what is missing among all of them.
    pub(super) fn overall(file: &str, message: impl Into<String>, help: &str) -> Self {
        Self {
            file: file.to_owned(),
            line: None,
            column: None,
            path: String::new(),
            message: message.into(),
            help: Some(help.to_owned()),
            excerpt: Excerpt::default(),
        }
    }

    /// The finding with a picture of its place.
    fn picture(&self, level: Level<'_>, renderer: &Renderer) -> String {
        let mut group = level.primary_title(&self.message).elements(None::<Origin<'_>>);
        match (self.line, self.column) {
            (Some(line), Some(column)) => {
                let place = AnnotationKind::Primary.span(self.excerpt.start..self.excerpt.end);
                let snippet =
                    Snippet::source(&self.excerpt.line).line_start(line).annotation(place);
                group = if self.excerpt.whole {
                    group.element(snippet.path(&self.file))
                } else {
                    let origin = Origin::path(&self.file).line(line).char_column(column);
                    group.element(origin).element(snippet)
                };
            }
            _ if !self.file.is_empty() => group = group.element(Origin::path(&self.file)),
            _ => {}
        }
        if !self.path.is_empty() {
            group = group.element(Level::NOTE.with_name("field").message(&self.path));
        }
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help));
        }
        renderer.render(&[group])
    }
}

/// All that is wrong with a set of documents; never empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(transparent)]
pub struct Findings(pub Vec<Finding>);

impl Findings {
    /// All findings with pictures, in colour if `styled`.
    pub fn render(&self, styled: bool) -> String {
        render(&self.0, &Level::ERROR, styled)
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

/// Findings that are no errors, with pictures.
pub fn render_warnings(findings: &[Finding], styled: bool) -> String {
    render(findings, &Level::WARNING, styled)
}

fn render(findings: &[Finding], level: &Level<'_>, styled: bool) -> String {
    let renderer = if styled { Renderer::styled() } else { Renderer::plain() };
    let pictures = findings.iter().map(|finding| finding.picture(level.clone(), &renderer));
    pictures.collect::<Vec<_>>().join("\n\n")
}
