//! The first desired state of a cluster that never had one: documents that `run` is given.
//!
//! A package or a unit file brings them along, so that an installation needs no second step. They
//! count once: later on what is in etcd is in force, whatever a controller is started with.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;

use super::publish::{changed, publish};
use super::{Connection, Exit, Failure, input};
use crate::clock;
use crate::desired::{self, Findings, Source};
use crate::store::Space;
use crate::surface::state::State;
use crate::surface::view::{View, ViewError};

const VARIABLE: &str = "CALICO_DCOS_INITIAL_DOCUMENTS";

/// What a controller brings along.
#[derive(Debug, Args)]
#[command(next_help_heading = "First start")]
pub(super) struct Initial {
    /// Documents for a cluster that never had any; etcd's are never changed. As text they may
    /// stand in `CALICO_DCOS_INITIAL_DOCUMENTS`
    #[arg(long, value_name = "FILE", num_args = 1..)]
    initial: Vec<PathBuf>,

    /// The same as text.
    #[arg(long, hide = true, conflicts_with = "initial", env = VARIABLE, hide_env_values = true)]
    initial_documents: Option<String>,
}

impl Initial {
    /// Writes them if the cluster has none and never had; returns them by name.
    pub(super) async fn write(
        &self,
        etcd: &Connection,
    ) -> Result<BTreeMap<String, String>, Failure> {
        let sources = match &self.initial_documents {
            Some(text) => vec![Source::file(VARIABLE, text.as_str())],
            None => input::documents(&self.initial)?,
        };
        if sources.is_empty() {
            return Ok(BTreeMap::new());
        }
        let store = etcd.connect().await?;
        let state = State::of(&store.list(Space::All).await?, clock::now());
        if let Some(teardown) = &state.controls.teardown {
            tracing::warn!(
                "{} has it all taken off: the documents that it was started with are not written; to \
                 install anew, end that first with `calico-dcos teardown`",
                teardown.who
            );
            return Ok(BTreeMap::new());
        }
        if !state.documents.is_empty() || state.accepted.is_some() {
            return Ok(compare(&state, &sources));
        }
        let given = by_name(&sources).map_err(ViewError::Refused)?;
        let view = View::new(state, sources, clock::now())?;
        match publish(&store, &view.state, &changed(&view), "run --initial").await {
            Ok(revision) => {
                tracing::info!(%revision, "the documents that it was started with are written");
                Ok(given)
            }
            // Another controller, or a person.
            Err(failure) if failure.exit() == Exit::Stale => {
                tracing::info!("somebody else has just written documents; those are in force");
                Ok(given)
            }
            Err(failure) => Err(failure),
        }
    }
}

fn by_name(sources: &[Source]) -> Result<BTreeMap<String, String>, Findings> {
    let given = desired::read(sources)?;
    Ok(given.documents.iter().map(|(name, text)| (name.to_string(), text.clone())).collect())
}

/// Tells whoever changed an option, and waits for something to happen, that etcd's count. What is not valid
/// is compared with nothing.
fn compare(state: &State, sources: &[Source]) -> BTreeMap<String, String> {
    let given = match by_name(sources) {
        Ok(given) => given,
        Err(findings) => {
            tracing::warn!("the documents that it was started with are not valid: {findings}");
            return BTreeMap::new();
        }
    };
    let names = state.differing(&given);
    if !names.is_empty() {
        tracing::info!(
            documents = names.join(", "),
            "etcd's documents are in force, and differ from those that it was started with; to \
             change them use `calico-dcos edit` or `apply`"
        );
    }
    given
}
