//! `apply`: writes documents to etcd, after showing what they would do.

use std::fs::File;
use std::io::{self, BufRead as _, IsTerminal as _, Write};
use std::path::PathBuf;

use clap::Args;

use super::diff::text;
use super::format::{BOLD, count, fitted, print};
use super::publish::{changed, publish, unchanged_since};
use super::{Connection, Exit, Failure, input};
use crate::clock;
use crate::store::{EtcdStore, Space};
use crate::surface::state::State;
use crate::surface::view::View;
use crate::words::Revision;

const EXAMPLES: &str = "\
Examples:
  calico-dcos apply -f cluster.yaml                  show the diff, ask, write
  calico-dcos apply -f cluster.yaml pools.yaml --yes
  calico-dcos diff -f cluster.yaml                   says: etcd revision 1042
  calico-dcos apply -f cluster.yaml --if-revision 1042    only if no document changed since

All documents are written in one transaction, word for word. Nothing is asked without a terminal.

Exit codes: 0 written, or nothing to write · 1 not confirmed · 2 input · 4 environment · 5 stale";

/// Write documents to etcd, after showing what they would do
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Apply {
    /// Documents, any number in a file; a folder stands for its YAML files, `-` for standard input
    #[arg(short, long, value_name = "FILE", num_args = 1.., required = true)]
    pub file: Vec<PathBuf>,

    /// Refuse if a document was written, created or deleted after this revision
    #[arg(long, value_name = "REVISION")]
    pub if_revision: Option<u64>,

    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,

    /// Where etcd is
    #[command(flatten)]
    pub connection: Connection,
}

impl Apply {
    /// Shows the plan, asks, writes.
    pub async fn execute(self) -> Result<Exit, Failure> {
        let proposed = input::documents(&self.file)?;
        let store = self.connection.connect().await?;
        let state = State::of(&store.list(Space::All).await?, clock::now());
        if let Some(revision) = self.if_revision {
            unchanged_since(&store, &state, Revision(revision)).await?;
        }
        let view = View::new(state, proposed, clock::now())?;
        show_and_write(&store, &view, self.yes, "apply").await
    }
}

/// Shows the plan, asks unless `yes`, and writes what differs; the history names the command.
pub(super) async fn show_and_write(
    store: &EtcdStore,
    view: &View,
    yes: bool,
    command: &str,
) -> Result<Exit, Failure> {
    let edit = changed(view);
    if edit.is_empty() {
        print("Nothing to write: etcd has these documents already.\n")?;
        return Ok(Exit::Good);
    }
    print(&fitted(&text(view, &view.plan(), false)))?;
    let names = edit.names(&view.state);
    if !yes && !confirmed(&format!("\nWrite {names}?"))? {
        print("Nothing was written.\n")?;
        return Ok(Exit::Differs);
    }
    let revision = publish(store, &view.state, &edit, command).await?;
    let written = count(edit.written.len() + edit.deleted.len(), "document");
    print(&format!(
        "\n{BOLD}Wrote {written}{BOLD:#} ({names}) at etcd revision {revision}. \
         `calico-dcos status --watch` shows what becomes of it.\n"
    ))?;
    Ok(Exit::Good)
}

/// Asks on a terminal; where there is none, nobody can answer, and the answer is yes.
pub(super) fn confirmed(question: &str) -> Result<bool, Failure> {
    if !interactive() {
        return Ok(true);
    }
    let failed = |error| Failure::environment(format!("cannot ask on the terminal: {error}"));
    let mut answer = String::new();
    write!(terminal().map_err(failed)?, "{question} [y/N] ").map_err(failed)?;
    io::stdin().lock().read_line(&mut answer).map_err(failed)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// Where a question is read: standard error, unless that goes elsewhere.
fn terminal() -> io::Result<Box<dyn Write>> {
    if io::stderr().is_terminal() {
        return Ok(Box::new(io::stderr()));
    }
    Ok(Box::new(File::options().write(true).open("/dev/tty")?))
}

/// Whether there is somebody who can be asked.
pub(super) fn interactive() -> bool {
    io::stdin().is_terminal()
}

/// For what is done only if somebody says yes: on a terminal, or by `--yes`.
pub(super) fn refuse_unasked(yes: bool) -> Result<(), Failure> {
    if yes || interactive() {
        return Ok(());
    }
    Err(Failure::input("there is no terminal to ask on; look at it on one, or give --yes"))
}
