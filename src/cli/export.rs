//! `export`: everything that surfaces look at, as one file.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;

use super::diff::load;
use super::format::{Output, print, structured};
use super::{Connection, Exit, Failure};

const EXAMPLES: &str = "\
Examples:
  calico-dcos export -o now.json
  calico-dcos diff --observed now.json -f cluster.yaml    elsewhere, with no connection

The file holds documents, facts, tasks, slots and the progress of hosts. There are no secrets in
documents, so there are none in it.

Exit codes: 0 good · 4 environment";

/// Write documents, facts, tasks, slots and progress to one file
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Export {
    /// The file; standard output if none is given
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Where etcd is
    #[command(flatten)]
    pub connection: Connection,
}

/// The file cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write `{}`; check the folder and its permissions", .path.display())]
struct Unwritable {
    path: PathBuf,
    source: std::io::Error,
}

impl Export {
    /// Writes the file.
    pub async fn execute(self) -> Result<Exit, Failure> {
        let state = load(&self.connection).await?;
        let text = structured(&state, Output::Json)?;
        match &self.output {
            None => print(&text)?,
            Some(path) => replace(path, &text).map_err(|source| {
                Failure::environment(Unwritable { path: path.clone(), source })
            })?,
        }
        Ok(Exit::Good)
    }
}

/// The whole file or, if something fails, what was there before.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let mut file = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))?;
    file.write_all(text.as_bytes())?;
    file.persist(path)?;
    Ok(())
}
