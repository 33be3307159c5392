//! `explain FIELD`: the documentation of a field of the documents. It needs no connection.

use std::fmt::Write as _;

use clap::Args;
use serde_json::{Value, json};

use super::format::{BOLD, CYAN, DIM, Output, print, structured, width, wrapped};
use super::{Exit, Failure};
use crate::desired::{self, Allowed, Field};

const EXAMPLES: &str = "\
Examples:
  calico-dcos explain                                 all fields, a line each
  calico-dcos explain spec.rollout.maxConcurrentRestarts
  calico-dcos explain windows.start                   the end of a path is enough
  calico-dcos explain pool.spec.selector
  calico-dcos explain calicoNode -o json

Exit codes: 0 it is a field · 2 it is none, or several are called so";

/// Say what a field of the documents means: type, default, allowed values, an example
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Explain {
    /// A path such as `spec.rollout.start`, or the end of one; without it all fields are listed
    #[arg(value_name = "FIELD")]
    field: Option<String>,

    /// The form of the output
    #[arg(short, long, value_name = "FORM", value_enum, default_value_t)]
    output: Output,
}

impl Explain {
    /// Prints it.
    pub(super) fn execute(&self) -> Result<Exit, Failure> {
        let text = match (&self.field, self.output) {
            (None, Output::Text) => list(desired::fields(), width()),
            (None, form) => structured(&desired::fields(), form)?,
            (Some(name), form) => {
                let field = desired::explain(name).map_err(Failure::input)?;
                if form == Output::Text { page(field, width())? } else { structured(field, form)? }
            }
        };
        print(&text)?;
        Ok(Exit::Good)
    }
}

/// Between the name of a row and what it says.
const NAME: usize = 9;

/// A line for each field, or more where `columns` are too few.
fn list(fields: &[Field], columns: usize) -> String {
    let width = fields.iter().map(|field| field.path.len()).max().unwrap_or_default();
    let mut text = String::new();
    for field in fields {
        let mut path = field.path.as_str();
        for line in beside(width + 2, first(field), columns) {
            // Writing to a `String` cannot fail.
            let _ = writeln!(text, "{CYAN}{path:width$}{CYAN:#}  {line}");
            path = "";
        }
    }
    text
}

/// The lines of a text beside something of that width.
fn beside(width: usize, text: &str, columns: usize) -> Vec<String> {
    // Where nothing would be left, the terminal breaks the lines.
    wrapped(text, columns.saturating_sub(width).max(24))
}

/// The first sentence of what it is for.
fn first(field: &Field) -> &str {
    field.description.split_inclusive(". ").next().unwrap_or_default().trim_end()
}

fn page(field: &Field, columns: usize) -> Result<String, Failure> {
    let Field { path, description, takes, .. } = field;
    let documents = field.documents.join(" and ");
    let mut parts = vec![format!("{BOLD}{path}{BOLD:#}  {DIM}in {documents}{DIM:#}\n\n")];
    if description != takes {
        parts.push(format!("{}\n\n", wrapped(description, columns).join("\n")));
    }
    let mut row = |name: &str, what: &str| {
        let mut name = name;
        for line in what.lines() {
            parts.push(format!("{DIM}{name:<NAME$}{DIM:#}{line}\n"));
            name = "";
        }
    };
    row("type", &beside(NAME, takes, columns).join("\n"));
    match &field.default {
        Some(Value::Object(map)) => row("default", &structured(map, Output::Yaml)?),
        Some(default) => row("default", &default.to_string()),
        None if field.required => row("default", "none, it must be given"),
        None => {}
    }
    row("allowed", &words(&field.allowed, columns - NAME));
    if let Some(example) = &field.example {
        let name = path.rsplit('.').next().unwrap_or_default().trim_end_matches("[]");
        let name = if name == "*" { "NAME" } else { name };
        row("example", &structured(&json!({ name: example }), Output::Yaml)?);
    }
    let inner = |field: &&Field| {
        let inside = |rest: &str| rest.starts_with(['.', '[']);
        field.path.strip_prefix(path.as_str()).is_some_and(inside)
    };
    let known = desired::fields().iter().filter(inner);
    let direct: Vec<Field> =
        known.filter(|one| field.fields.contains(&one.path)).cloned().collect();
    if !direct.is_empty() {
        row("fields", &list(&direct, columns - NAME));
    }
    Ok(parts.concat())
}

/// The words, one under the other, with what they mean.
fn words(allowed: &[Allowed], columns: usize) -> String {
    let width = allowed.iter().map(|word| word.value.len()).max().unwrap_or_default();
    let mut text = String::new();
    for Allowed { value, description } in allowed {
        let mut value = value.as_str();
        for line in beside(width + 2, description, columns) {
            let line = format!("{value:width$}  {line}");
            // Writing to a `String` cannot fail.
            let _ = writeln!(text, "{}", line.trim_end());
            value = "";
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(name: &str) -> String {
        let page = page(desired::explain(name).unwrap(), 100).unwrap();
        anstream::adapter::strip_str(&page).to_string()
    }

    #[test]
    fn a_page_says_all_that_is_known_of_a_field() {
        let pages =
            ["rollout.start", "spec.rollout.canary", "calicoNode.env.IP", "pool.kind", "days"];
        insta::assert_snapshot!(pages.map(plain).join("\n---\n\n"));
    }

    #[test]
    fn the_list_has_every_field() {
        let list = anstream::adapter::strip_str(&list(desired::fields(), 100)).to_string();
        let named = list.lines().filter(|line| !line.starts_with(' ')).count();
        assert_eq!(named, desired::fields().len(), "{list}");
    }

    #[test]
    fn no_page_and_no_list_is_wider_than_the_terminal() {
        for columns in [80, 100, 200] {
            let mut texts = vec![list(desired::fields(), columns)];
            texts.extend(desired::fields().iter().map(|field| page(field, columns).unwrap()));
            for text in texts {
                let text = anstream::adapter::strip_str(&text).to_string();
                // An example is a document, and is shown as it is written.
                let lines = text.lines().take_while(|line| !line.starts_with("example"));
                // One long word cannot be broken.
                let breaks =
                    |line: &&str| line.rsplit("  ").next().is_some_and(|it| it.contains(' '));
                let wide = lines.filter(|line| line.chars().count() > columns).filter(breaks);
                let wide: Vec<&str> = wide.collect();
                assert!(wide.is_empty(), "{columns}: {wide:#?}");
            }
        }
    }
}
