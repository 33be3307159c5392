//! `explain FIELD`: the documentation of a field of the documents. It needs no connection.

use clap::Args;
use serde_json::json;

use super::format::{BOLD, CYAN, DIM, Output, print, structured};
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
            (None, Output::Text) => list(desired::fields()),
            (None, form) => structured(&desired::fields(), form)?,
            (Some(name), form) => {
                let field = desired::explain(name).map_err(Failure::input)?;
                if form == Output::Text { page(field)? } else { structured(field, form)? }
            }
        };
        print(&text)?;
        Ok(Exit::Good)
    }
}

fn list(fields: &[Field]) -> String {
    let width = fields.iter().map(|field| field.path.len()).max().unwrap_or_default();
    let line = |field: &Field| format!("{CYAN}{:width$}{CYAN:#}  {}\n", field.path, first(field));
    fields.iter().map(line).collect()
}

/// The first sentence of what it is for.
fn first(field: &Field) -> &str {
    field.description.split_inclusive(". ").next().unwrap_or_default().trim_end()
}

fn page(field: &Field) -> Result<String, Failure> {
    let Field { path, description, takes, .. } = field;
    let documents = field.documents.join(" and ");
    let mut parts = vec![format!("{BOLD}{path}{BOLD:#}  {DIM}in {documents}{DIM:#}\n\n")];
    if description != takes {
        parts.push(format!("{description}\n\n"));
    }
    let mut row = |name: &str, what: &str| {
        let mut name = name;
        for line in what.lines() {
            parts.push(format!("{DIM}{name:<9}{DIM:#}{line}\n"));
            name = "";
        }
    };
    row("type", takes);
    match &field.default {
        Some(default) => row("default", &default.to_string()),
        None if field.required => row("default", "none, it must be given"),
        None => {}
    }
    row("allowed", &words(&field.allowed));
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
        row("fields", &list(&direct));
    }
    Ok(parts.concat())
}

/// The words, one under the other, with what they mean.
fn words(allowed: &[Allowed]) -> String {
    let width = allowed.iter().map(|word| word.value.len()).max().unwrap_or_default();
    let line = |Allowed { value, description }: &Allowed| match description.as_str() {
        "" => format!("{value}\n"),
        meaning => format!("{value:width$}  {meaning}\n"),
    };
    allowed.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(name: &str) -> String {
        let page = page(desired::explain(name).unwrap()).unwrap();
        anstream::adapter::strip_str(&page).to_string()
    }

    #[test]
    fn a_page_says_all_that_is_known_of_a_field() {
        let pages =
            ["rollout.start", "spec.rollout.canary", "calicoNode.env.IP", "pool.kind", "days"];
        insta::assert_snapshot!(pages.map(plain).join("\n---\n\n"));
    }

    #[test]
    fn the_list_has_a_line_for_every_field() {
        let list = list(desired::fields());
        assert_eq!(list.lines().count(), desired::fields().len());
        assert!(list.lines().all(|line| line.contains("  ")), "{list}");
    }
}
