//! How a command ends: one table of exit codes, and one place that prints errors.

use std::error::Error;
use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};

use super::format::fitted_to;
use crate::store::StoreError;

/// The table, for the help of the whole program.
pub(super) const TABLE: &str = "\
Exit codes of all commands:
  0  good: in sync, done, valid
  1  differences, in progress, paused, not converged
  2  the input or the command line is wrong
  3  the rollout has halted
  4  the environment: etcd, Mesos, files
  5  stale: what --if-revision names has changed since";

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// In sync, done, valid.
    Good = 0,
    /// Differences, in progress, paused, not converged.
    Differs = 1,
    /// The input or the command line is wrong.
    Input = 2,
    /// The rollout has halted.
    Halted = 3,
    /// etcd, Mesos, files.
    Environment = 4,
    /// What `--if-revision` names has changed since.
    Stale = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command could not do its work: printed once, by [`Failure::print`], with its causes.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    error: Box<dyn Error + Send + Sync>,
    hints: Vec<String>,
}

impl Failure {
    /// Ends with this code.
    pub fn new(exit: Exit, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { exit, error: error.into(), hints: Vec::new() }
    }

    /// The input or the command line is wrong.
    pub fn input(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(Exit::Input, error)
    }

    /// Something outside the program is.
    pub fn environment(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(Exit::Environment, error)
    }

    /// Adds a line that helps whoever has to deal with it, for example where a log is.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// The exit code.
    #[must_use]
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// Prints it to standard error.
    pub fn print(&self) {
        let red = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
        // Standard error is gone: there is nobody left to be told.
        let text = fitted_to(&format!("{red}error{red:#}: {self}\n"), std::io::stderr());
        let _ = anstream::stderr().write_all(text.as_bytes());
    }
}

/// The error, its causes (each on a line, unless the line before says it already), the hints.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.error.to_string();
        let mut cause = self.error.source();
        while let Some(error) = cause {
            let said = error.to_string();
            if !text.ends_with(&said) {
                write!(text, "\n  because: {said}")?;
            }
            cause = error.source();
        }
        f.write_str(&text)?;
        self.hints.iter().try_for_each(|hint| write!(f, "\n  {hint}"))
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Options(_) | StoreError::TooLarge => Self::input(error),
            _ => Self::environment(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the house is cold; close the window")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn an_error_is_printed_with_its_causes_and_hints_once_each() {
        let failure = Failure::environment(Outer(std::io::Error::other("no such window")));
        assert_eq!(
            failure.with_hint("its log: /tmp/log").to_string(),
            "the house is cold; close the window\n  because: no such window\n  its log: /tmp/log"
        );
        assert_eq!(Failure::input("a: b").to_string(), "a: b");
    }

    #[test]
    fn the_table_in_the_help_is_the_one_that_is_used() {
        let all =
            [Exit::Good, Exit::Differs, Exit::Input, Exit::Halted, Exit::Environment, Exit::Stale];
        let codes = TABLE.lines().skip(1).map(|line| line.trim_start().split(' ').next());
        let expected = all.map(|exit| (exit as u8).to_string());
        assert!(codes.eq(expected.iter().map(|code| Some(code.as_str()))));
    }
}
