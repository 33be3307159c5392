//! How far it is: one line that is redrawn on a terminal, a line every other second elsewhere.

use std::io::Write as _;
use std::time::Duration;

use super::mirror::Glance;
use crate::cli::format::{
    BOLD, CYAN, DIM, GREEN, YELLOW, count, duration, first_names, redraws, steer,
};
use crate::clock;

/// Between two lines where there is no terminal.
const EVERY: Duration = Duration::from_secs(2);

/// Cells of the bar.
const BAR: usize = 24;

/// To the beginning of the line, and clear it.
const CLEAR: &str = "\r\x1b[2K";

/// Standard output, with a line at its end that is redrawn.
#[derive(Debug)]
pub(super) struct Progress {
    terminal: bool,
    /// The redrawn line is there.
    drawn: bool,
    last: Option<Duration>,
    /// When the work that is measured began, by the monotonic clock.
    since: Duration,
    /// How many hosts got in sync since, and how long the newest of them took.
    done: (usize, Duration),
    /// Hosts in sync when it began.
    before: usize,
}

impl Progress {
    pub(super) fn new() -> Self {
        let (terminal, since) = (redraws(), clock::monotonic());
        Self { terminal, drawn: false, last: None, since, done: (0, Duration::ZERO), before: 0 }
    }

    /// Elapsed time and the estimate are measured from now on.
    pub(super) fn begin(&mut self, in_sync: usize) {
        (self.since, self.before, self.last) = (clock::monotonic(), in_sync, None);
        self.done = (0, Duration::ZERO);
    }

    /// A line that stays. That nobody reads it is no error.
    pub(super) fn say(&mut self, text: &str) {
        self.clear();
        let _ = writeln!(anstream::stdout(), "{text}");
    }

    /// A heading.
    pub(super) fn head(&mut self, text: &str) {
        self.say(&format!("\n{BOLD}{text}{BOLD:#}"));
    }

    /// Something that happened.
    pub(super) fn event(&mut self, text: &str) {
        self.say(&format!("  {YELLOW}▸{YELLOW:#} {text}"));
    }

    /// Where it stands.
    pub(super) fn show(&mut self, glance: &Glance, hosts: usize, tasks: u64) {
        let left = self.left(glance, hosts);
        let line = line(glance, hosts, tasks, self.elapsed(), left);
        self.draw(&line);
    }

    /// How many hosts have reported, before there is a plan.
    pub(super) fn show_known(&mut self, known: usize, hosts: usize) {
        self.draw(&format!("  {known} of {} have reported", count(hosts, "host")));
    }

    /// Redraws the line; where it cannot be redrawn, not too often.
    fn draw(&mut self, line: &str) {
        let now = clock::monotonic();
        let mut out = anstream::stdout();
        if self.terminal {
            steer(CLEAR);
            let _ = write!(out, "{line}").and_then(|()| out.flush());
            self.drawn = true;
        } else if self.last.is_none_or(|last| now.saturating_sub(last) >= EVERY) {
            self.last = Some(now);
            let _ = writeln!(out, "{line}");
        }
    }

    fn elapsed(&self) -> Duration {
        clock::monotonic().saturating_sub(self.since)
    }

    /// From how fast it went until the newest host; none before the first.
    fn left(&mut self, glance: &Glance, hosts: usize) -> Option<Duration> {
        let done = glance.in_sync.saturating_sub(self.before);
        let elapsed = self.elapsed();
        if done != self.done.0 {
            self.done = (done, elapsed);
        }
        let (_, then) = self.done;
        let ahead = hosts.saturating_sub(glance.in_sync + glance.rest);
        let (done, ahead) = (u32::try_from(done).ok()?, u32::try_from(ahead).ok()?);
        let left = (then * ahead).checked_div(done)?;
        Some(left.saturating_sub(elapsed.saturating_sub(then)))
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.drawn) {
            steer(CLEAR);
        }
    }
}

fn line(
    glance: &Glance,
    hosts: usize,
    tasks: u64,
    elapsed: Duration,
    left: Option<Duration>,
) -> String {
    let filled = (glance.in_sync * BAR).checked_div(hosts).unwrap_or(BAR).min(BAR);
    let (full, empty) = ("█".repeat(filled), "░".repeat(BAR - filled));
    let holders: Vec<_> = glance.holders.iter().collect();
    let holders = match first_names(&holders) {
        names if names.is_empty() => names,
        names => format!(" ({names})"),
    };
    let left = match left.map(|left| left.as_secs()) {
        Some(0) => String::new(),
        Some(left) => format!(", about {} left", duration(left)),
        None => ", no estimate yet".to_owned(),
    };
    format!(
        "  {GREEN}{full}{GREEN:#}{DIM}{empty}{DIM:#} {:>width$} of {hosts} in sync · {CYAN}{} of {} \
         slots{CYAN:#}{holders} · {} · {}{left}",
        glance.in_sync,
        glance.holders.len(),
        glance.slots,
        count(usize::try_from(tasks).unwrap_or(usize::MAX), "task"),
        duration(elapsed.as_secs()),
        width = hosts.to_string().len(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_far_it_is() {
        let glance = Glance {
            in_sync: 10,
            slots: 3,
            holders: ["a11", "a12", "a13"].map(Into::into).to_vec(),
            ..Glance::default()
        };
        let (elapsed, left) = (Duration::from_secs(65), Some(Duration::from_secs(30)));
        let line = anstream::adapter::strip_str(&line(&glance, 20, 61, elapsed, left)).to_string();
        assert_eq!(
            line,
            "  ████████████░░░░░░░░░░░░ 10 of 20 in sync · 3 of 3 slots (a11, a12, a13) · 61 tasks \
             · 1 min 5 s, about 30 s left"
        );
    }
}
