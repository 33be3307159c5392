//! The command line, nothing else: see [`calico_dcos::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    calico_dcos::cli::main()
}
