//! What the program tells while it works: to standard error, so that output can be piped.

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

use super::Failure;

/// The variable with the level, for example `debug` or `info,calico_dcos::mesos=debug`.
const VARIABLE: &str = "CALICO_DCOS_LOG";

/// The form of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object a line, for machines.
    Json,
}

/// Starts logging at the level that the environment gives, else at this one.
pub(super) fn start(format: LogFormat, level: &str) -> Result<(), Failure> {
    let level = std::env::var(VARIABLE).unwrap_or_else(|_| level.to_owned());
    let filter = EnvFilter::try_new(&level).map_err(|error| {
        Failure::input(format!("{VARIABLE}={level} is not understood ({error}); try `debug`"))
    })?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second call, as in tests, changes nothing.
    let _ = match format {
        LogFormat::Text => {
            let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
            log.with_ansi(colours).with_target(false).try_init()
        }
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
    Ok(())
}
