//! `get`: documents as they are in etcd, word for word.

use std::collections::BTreeMap;

use clap::Args;
use serde::Serialize;

use super::edit::DocumentNameArg;
use super::format::{Output, print, structured};
use super::{Connection, Exit, Failure};
use crate::clock;
use crate::store::Space;
use crate::surface::state::State;
use crate::words::{Generation, Revision};

const EXAMPLES: &str = "\
Examples:
  calico-dcos get                        all documents
  calico-dcos get cluster > cluster.yaml
  calico-dcos get pools/gpu
  calico-dcos get --in-force             the set that is in force, if somebody wrote a bad one

Exit codes: 0 good · 2 no such document · 4 environment";

/// Print documents, word for word
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Get {
    /// `cluster`, or `pools/NAME`; all if none is named
    #[arg(value_name = "DOCUMENT")]
    pub name: Option<DocumentNameArg>,

    /// The accepted documents instead of those that are written
    #[arg(long)]
    pub in_force: bool,

    /// The form of the output; text is the documents themselves
    #[arg(short, long, value_name = "FORM", value_enum, default_value_t)]
    pub output: Output,

    /// Where etcd is
    #[command(flatten)]
    pub connection: Connection,
}

/// What `get -o json` prints.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Documents<'a> {
    api_version: &'static str,
    kind: &'static str,
    revision: Revision,
    generation: Generation,
    #[serde(rename = "documents")]
    texts: &'a BTreeMap<String, String>,
}

impl Get {
    /// Prints the documents.
    pub async fn execute(self) -> Result<Exit, Failure> {
        let store = self.connection.connect().await?;
        let space = if self.in_force { Space::Accepted } else { Space::All };
        let state = State::of(&store.list(space).await?, clock::now());
        let mut documents = match (self.in_force, &state.accepted) {
            (true, Some(in_force)) => in_force.set.documents.clone(),
            (true, None) => BTreeMap::new(),
            (false, _) => state.texts(),
        };
        if let Some(DocumentNameArg(name)) = &self.name {
            documents.retain(|document, _| *document == name.to_string());
        }
        if documents.is_empty() {
            return Err(self.nothing());
        }
        let value = Documents {
            api_version: "calico-dcos/v1",
            kind: "Documents",
            revision: state.revision,
            generation: state.generation(),
            texts: &documents,
        };
        print(&match self.output {
            Output::Text => joined(&documents),
            form => structured(&value, form)?,
        })?;
        Ok(Exit::Good)
    }

    fn nothing(&self) -> Failure {
        let which = if self.in_force { "in force" } else { "in etcd" };
        Failure::input(match &self.name {
            Some(DocumentNameArg(name)) => {
                format!("there is no document `{name}` {which}; `calico-dcos get` prints all")
            }
            None => {
                format!("there is no document {which}; `calico-dcos apply -f FILE` writes some")
            }
        })
    }
}

/// One document as it is; several with `---` between them, so that `apply` takes them back.
fn joined(documents: &BTreeMap<String, String>) -> String {
    let mut text = String::new();
    for document in documents.values() {
        if !text.is_empty() {
            text.push_str("---\n");
        }
        text.push_str(document);
        if !text.ends_with('\n') && documents.len() > 1 {
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::{Source, read};
    use crate::surface::testing::{CLUSTER, POOL};

    #[test]
    fn what_is_printed_can_be_applied_again() {
        let pool = POOL.trim_end();
        let documents = BTreeMap::from([
            ("cluster".to_owned(), CLUSTER.to_owned()),
            ("pools/gpu".to_owned(), pool.to_owned()),
        ]);
        let read = read(&[Source::file("x", joined(&documents))]).unwrap();
        let texts: Vec<_> = read.documents.values().map(|text| text.trim_end()).collect();
        assert_eq!(texts, [CLUSTER.trim_end(), pool]);
        let one = BTreeMap::from([("pools/gpu".to_owned(), pool.to_owned())]);
        assert_eq!(joined(&one), pool);
    }
}
