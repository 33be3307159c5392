//! The command line: one file per command, each with its options and an `execute` that gives an
//! [`Exit`] or says what went wrong as a [`Failure`].

pub mod apply;
mod approve;
pub mod completions;
pub mod connection;
mod control;
mod demo;
pub mod diff;
mod doctor;
pub mod edit;
pub mod exit;
mod explain;
pub mod export;
mod forget;
mod format;
pub mod get;
mod groups;
mod history;
mod initial;
mod input;
mod logging;
mod mesos;
mod node;
mod pause;
mod publish;
mod release;
mod retry;
mod rollback;
mod run;
mod sim;
pub mod simulate;
pub mod status;
mod teardown;
pub mod validate;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser};

pub use connection::Connection;
pub use exit::{Exit, Failure};

/// Keeps the Calico network stack on every agent of a Mesos or DC/OS cluster at the state
/// declared in YAML.
#[derive(Debug, Parser)]
#[command(
    name = "calico-dcos",
    version,
    propagate_version = true,
    help_template = groups::template(),
    after_help = exit::TABLE
)]
struct Cli {
    #[command(subcommand)]
    command: groups::Command,
}

/// All commands and their options, to check a command line without running it.
#[must_use]
pub fn usage() -> clap::Command {
    Cli::command()
}

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    // One provider for all of the process: reqwest and tonic would each panic without.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cli = Cli::parse();
    let done = runtime().and_then(|runtime| {
        let done = runtime.block_on(cli.command.execute());
        // Nothing that is still blocked on the outside world holds the process up.
        runtime.shutdown_background();
        done
    });
    match done {
        Ok(exit) => exit.into(),
        Err(failure) => {
            failure.print();
            failure.exit().into()
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::environment(format!("cannot start threads: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_of_all_commands_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_help_shows_every_command_once_in_a_group() {
        let mut program = Cli::command();
        let help = program.render_help().to_string();
        // clap's own is what the last line of the help is about.
        for command in program.get_subcommands().filter(|it| it.get_name() != "help") {
            let line = format!("\n  {} ", command.get_name());
            let shown = usize::from(!command.is_hide_set());
            assert_eq!(help.matches(&line).count(), shown, "{}: {help}", command.get_name());
        }
        let widest = help.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(100), "{help}");
        insta::assert_snapshot!(help);
    }

    /// A line of an example up to what explains it, as a shell would take it apart.
    fn words(line: &str) -> Vec<String> {
        let mut words = vec![String::new()];
        let mut quoted = false;
        for c in line.split("  ").next().unwrap_or_default().chars() {
            match c {
                '\'' => quoted = !quoted,
                ' ' if !quoted => words.push(String::new()),
                c => words.last_mut().unwrap().push(c),
            }
        }
        words.retain(|word| !word.is_empty());
        words
    }

    #[test]
    fn every_command_shows_examples_that_it_understands() {
        let program = Cli::command();
        let shown = program
            .get_subcommands()
            .filter(|command| !command.is_hide_set() && !command.get_subcommands().any(|_| true));
        let mut wrong = Vec::new();
        for command in shown {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let lines: Vec<_> = help.split("\\\n").map(str::trim_start).collect();
            let help = lines.join("");
            let mut examples = 0;
            // What pipes and redirections lead to is not ours.
            for part in help.lines().flat_map(|line| line.split(['|', '>', ';', '&'])) {
                let Some(line) = part.trim().strip_prefix("calico-dcos ") else { continue };
                let line = [vec!["calico-dcos".to_owned()], words(line)].concat();
                if let Err(error) = Cli::try_parse_from(&line) {
                    wrong.push(format!("{}: {line:?}: {error}", command.get_name()));
                }
                examples += usize::from(line.get(1).is_some_and(|word| word == command.get_name()));
            }
            if examples == 0 {
                wrong.push(format!("{} shows no example of itself", command.get_name()));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
