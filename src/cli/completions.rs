//! `completions`: what a shell needs to complete our command line.

use clap::{Args, CommandFactory as _};
use clap_complete::{Shell, generate};

use super::format::print;
use super::{Cli, Exit, Failure};

const EXAMPLES: &str = "\
Examples:
  calico-dcos completions bash > ~/.local/share/bash-completion/completions/calico-dcos
  calico-dcos completions zsh > ~/.zfunc/_calico-dcos
  calico-dcos completions fish > ~/.config/fish/completions/calico-dcos.fish";

/// Print completions for a shell
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Completions {
    /// The shell
    #[arg(value_enum)]
    pub shell: Shell,
}

impl Completions {
    /// Prints them.
    pub fn execute(&self) -> Result<Exit, Failure> {
        let mut script = Vec::new();
        generate(self.shell, &mut Cli::command(), "calico-dcos", &mut script);
        print(&String::from_utf8_lossy(&script))?;
        Ok(Exit::Good)
    }
}
