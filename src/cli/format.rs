//! How things are written for people, and where output goes.

use std::io::{self, Write};

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

/// The width of the terminal that output goes to, in columns; if it is none, what reads well.
pub(super) fn width() -> usize {
    let size = rustix::termios::tcgetwinsize(io::stdout());
    size.map_or(WIDTH, |size| usize::from(size.ws_col)).max(NARROWEST)
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
