//! Files that commands read.

use std::path::{Path, PathBuf};

use crate::desired::Source;

use super::validate::{Unreadable, sources};
use super::{Exit, Failure};
use crate::surface::state::{BadExport, State};

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// A file of documents cannot be read.
    #[error(transparent)]
    Documents(#[from] Unreadable),
    /// An export cannot be read.
    #[error("cannot read `{}`; check that it exists and that you may read it", .path.display())]
    Unreadable {
        /// The path as given.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// It is no export.
    #[error("`{}` cannot be used", .path.display())]
    Export {
        /// The path as given.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: BadExport,
    },
    /// Standard input holds one thing.
    #[error("`-` is given twice; standard input can be read once")]
    StdinTwice,
}

impl From<InputError> for Failure {
    fn from(error: InputError) -> Self {
        let exit = match error {
            InputError::Documents(_) | InputError::Unreadable { .. } => Exit::Environment,
            InputError::Export { .. } | InputError::StdinTwice => Exit::Input,
        };
        Self::new(exit, error)
    }
}

/// Reads files and folders of documents; `-` is standard input.
pub(super) fn documents(paths: &[PathBuf]) -> Result<Vec<Source>, InputError> {
    if paths.iter().filter(|path| path.as_os_str() == "-").count() > 1 {
        return Err(InputError::StdinTwice);
    }
    Ok(sources(paths)?)
}

/// Reads what `export` wrote.
pub(super) fn export(path: &Path) -> Result<State, InputError> {
    let bytes = std::fs::read(path)
        .map_err(|source| InputError::Unreadable { path: path.to_owned(), source })?;
    State::from_export(&bytes)
        .map_err(|source| InputError::Export { path: path.to_owned(), source })
}
