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
