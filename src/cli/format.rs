//! How things are written for people, and where output goes.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write};
use std::os::fd::AsFd;

use anstyle::{AnsiColor, Color, Style};
use clap::ValueEnum;
use serde::Serialize;

use super::Failure;
pub(super) use crate::surface::text::{ago, count, duration, first_names, grouped};

pub(super) const BOLD: Style = Style::new().bold();
pub(super) const DIM: Style = Style::new().dimmed();
pub(super) const GREEN: Style = colour(AnsiColor::Green);
pub(super) const YELLOW: Style = colour(AnsiColor::Yellow);
pub(super) const RED: Style = colour(AnsiColor::Red);
pub(super) const CYAN: Style = colour(AnsiColor::Cyan);

const fn colour(colour: AnsiColor) -> Style {
    Style::new().fg_color(Some(Color::Ansi(colour)))
}

/// Where there is no terminal.
const WIDTH: usize = 100;
/// In a narrower one lines are broken by the terminal.
const NARROWEST: usize = 40;

/// The form of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
    /// The same as JSON, easier to read.
    Yaml,
}

/// Writes to standard output, with colours only on a terminal. That somebody stops reading
/// (`| head`) is no error.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut out = anstream::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::environment(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Whether what was written can be written over: on a terminal that understands more than lines.
pub(super) fn redraws() -> bool {
    io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|kind| kind != "dumb")
}

/// Writes a code that moves the cursor or clears, which is no colour: it is also for who wants none. That nobody reads it is no
/// error.
pub(super) fn steer(code: &str) {
    let _ = io::stdout().write_all(code.as_bytes());
}

/// The width of the terminal that output goes to, in columns; if it is none, what reads well.
pub(super) fn width() -> usize {
    let size = rustix::termios::tcgetwinsize(io::stdout());
    size.map_or(WIDTH, |size| usize::from(size.ws_col)).max(NARROWEST)
}

/// A page as a terminal of its width shows it best; elsewhere lines stay whole, for programs that read them.
pub(super) fn fitted(page: &str) -> String {
    fitted_to(page, io::stdout())
}

/// The same for a page that goes there.
pub(super) fn fitted_to(page: &str, there: impl AsFd) -> String {
    let columns = rustix::termios::tcgetwinsize(there).map(|size| usize::from(size.ws_col));
    match columns {
        Ok(columns) if columns >= NARROWEST => folded(page, columns),
        _ => page.to_owned(),
    }
}

/// Lines that are wider than that go on below, under the last column that leaves half of the width. Codes of colours take
/// no place.
fn folded(page: &str, columns: usize) -> String {
    let mut text = String::with_capacity(page.len());
    for line in page.split_inclusive('\n') {
        let plain = anstream::adapter::strip_str(line).to_string();
        if plain.trim_end().chars().count() <= columns {
            text.push_str(line);
            continue;
        }
        let indent = last_column(&plain, columns / 2);
        let mut at = 0;
        // Spaces before a word belong to it, until they are where a line ends.
        for word in pieces(line) {
            let wide = anstream::adapter::strip_str(word).to_string().trim_end().chars().count();
            if at + wide > columns && at > indent {
                text.truncate(text.trim_end_matches(' ').len());
                let _ = write!(text, "\n{:indent$}", "");
                let word = word.trim_start_matches(' ');
                text.push_str(word);
                at = indent + anstream::adapter::strip_str(word).to_string().chars().count();
            } else {
                text.push_str(word);
                at += wide;
            }
        }
    }
    text
}

/// Where the last column begins that leaves so much; the beginning of the line if there is none.
fn last_column(line: &str, most: usize) -> usize {
    let letters: Vec<char> = line.chars().collect();
    let begins = |at: &usize| letters[*at] != ' ' && letters[..*at].ends_with(&[' ', ' ']);
    (0..letters.len().min(most)).rev().find(begins).unwrap_or(0)
}

/// A line in pieces that each end before a space that follows a word.
fn pieces(line: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let (mut start, mut word) = (0, false);
    for (at, letter) in line.char_indices() {
        if letter == ' ' && word {
            pieces.push(&line[start..at]);
            (start, word) = (at, false);
        } else if letter != ' ' {
            word = true;
        }
    }
    pieces.push(&line[start..]);
    pieces
}

/// The words of a paragraph in lines of at most `width` columns; a word that is longer has one of
/// its own.
pub(super) fn wrapped(paragraph: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut free = 0;
    for word in paragraph.split(' ') {
        let length = word.chars().count();
        match lines.last_mut() {
            Some(line) if length < free => {
                line.push(' ');
                line.push_str(word);
                free -= length + 1;
            }
            _ => {
                lines.push(word.to_owned());
                free = width.saturating_sub(length);
            }
        }
    }
    lines
}

/// A value for programs, ending in a line break.
pub(super) fn structured<T: Serialize>(value: &T, output: Output) -> Result<String, Failure> {
    let failed = |error: &dyn std::fmt::Display| {
        Failure::environment(format!("the output cannot be written: {error}"))
    };
    let mut text = match output {
        Output::Yaml => serde_yaml::to_string(value).map_err(|error| failed(&error))?,
        Output::Json | Output::Text => {
            serde_json::to_string_pretty(value).map_err(|error| failed(&error))?
        }
    };
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_wide_goes_on_under_its_column() {
        let row = format!(
            "  9  {RED}halted{RED:#}  a1, a2, a3, …  {DIM}the rollout has halted: 1 failed{DIM:#}\n"
        );
        let plain = |columns| anstream::adapter::strip_str(&folded(&row, columns)).to_string();
        assert_eq!(plain(62), "  9  halted  a1, a2, a3, …  the rollout has halted: 1 failed\n");
        assert_eq!(
            plain(58),
            "  9  halted  a1, a2, a3, …  the rollout has halted: 1\n                            failed\n"
        );
        assert_eq!(
            plain(40),
            "  9  halted  a1, a2, a3, …  the rollout\n             has halted: 1 failed\n"
        );
        assert_eq!(
            folded("Sentences without columns.\nb\n", 20),
            "Sentences without\ncolumns.\nb\n"
        );
        assert_eq!(folded("  averyveryverylongword\n", 10), "  averyveryverylongword\n");
    }

    #[test]
    fn a_paragraph_is_broken_between_words() {
        let lines = |text, width| wrapped(text, width).join("|");
        assert_eq!(lines("one two three", 7), "one two|three");
        assert_eq!(lines("one two three", 8), "one two|three");
        assert_eq!(lines("one two three", 13), "one two three");
        assert_eq!(lines("one extraordinary three", 5), "one|extraordinary|three");
        assert_eq!(lines("drei Städte", 11), "drei Städte");
        assert_eq!(lines("", 5), "");
    }
}
