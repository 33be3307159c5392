//! `history`: who did what and when, as long as it is kept.

use clap::Args;

use super::format::{DIM, Output, ago, fitted, print, structured};
use super::{Connection, Exit, Failure};
use crate::clock;
use crate::rollout::records::{HistoryEntry, from_json};
use crate::store::{Key, Space};
use crate::surface::history::HistoryReport;
use crate::words::Time;

const EXAMPLES: &str = "\
Examples:
  calico-dcos history               the newest twenty entries, the newest last
  calico-dcos history --last 1000   all that is kept
  calico-dcos history -o json

Exit codes: 0 good · 4 environment";

/// Show who changed what, and what was done
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct History {
    /// So many of the newest entries
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    last: usize,

    /// The form of the output
    #[arg(short, long, value_name = "FORM", value_enum, default_value_t)]
    output: Output,

    /// Where etcd is
    #[command(flatten)]
    connection: Connection,
}

impl History {
    pub(super) async fn execute(self) -> Result<Exit, Failure> {
        let store = self.connection.connect().await?;
        let listed = store.list(Space::History).await?;
        let of_history = listed.entries.iter().filter(|it| matches!(it.key, Key::History(_)));
        // What cannot be read is from a later release, and nothing rests on it.
        let entries = of_history.filter_map(|it| from_json(&it.key.path(), &it.value).ok());
        let report = HistoryReport::new(listed.revision, entries, self.last);
        print(&match self.output {
            Output::Text => fitted(&text(&report.entries, clock::now())),
            form => structured(&report, form)?,
        })?;
        Ok(Exit::Good)
    }
}

fn text(entries: &[HistoryEntry], now: Time) -> String {
    if entries.is_empty() {
        return "Nothing has happened yet.\n".to_owned();
    }
    let ages: Vec<String> = entries.iter().map(|entry| ago(entry.at, now)).collect();
    let age = ages.iter().map(|age| age.chars().count()).max().unwrap_or(0);
    let who = entries.iter().map(|entry| entry.who.chars().count()).max().unwrap_or(0);
    let lines = entries.iter().zip(&ages).map(|(entry, ago)| {
        format!("{DIM}{ago:>age$}{DIM:#}  {:<who$}  {}\n", entry.who, entry.what)
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_stand_in_columns_the_newest_last() {
        let entry = |at, who: &str, what: &str| HistoryEntry {
            version: 1,
            at: Time(at),
            who: who.to_owned(),
            what: what.to_owned(),
        };
        let entries = [
            entry(1_000, "alice@desk", "apply: wrote cluster"),
            entry(3_000, "calico-dcos", "generation 2 accepted"),
        ];
        let plain = anstream::adapter::strip_str(&text(&entries, Time(9_000))).to_string();
        let lines: Vec<&str> = plain.lines().collect();
        assert!(lines[0].ends_with("alice@desk   apply: wrote cluster"), "{plain}");
        assert!(lines[1].ends_with("calico-dcos  generation 2 accepted"), "{plain}");
        assert_eq!(text(&[], Time(0)), "Nothing has happened yet.\n");
    }
}
