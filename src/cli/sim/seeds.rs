//! `sim seeds`: histories from seeds, and the story of one.

use std::io::Write as _;
use std::sync::Mutex;
use std::time::Duration;

use clap::Args;
use tokio::time::Instant;

use super::super::{Exit, Failure};
use crate::sim::seeds::laws::Breach;
use crate::sim::seeds::shrink::shrink;
use crate::sim::seeds::{History, range};

/// How often it says how far it is.
const TELLS: Duration = Duration::from_secs(2);

/// Random clusters, edits and faults in virtual time, each drawn from a number
#[derive(Debug, Args)]
pub(super) struct Seeds {
    /// The first number
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    from: u64,

    /// The number after the last one
    #[arg(long, value_name = "NUMBER")]
    to: u64,

    /// Tell everything that happens with the first number, whether or not a law is broken
    #[arg(long)]
    story: bool,

    /// Go on after a law is broken, until so many numbers did; one line is told of each
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    most: usize,
}

impl Seeds {
    /// Exit code 1 for a law that is broken.
    pub(super) fn execute(&self) -> Result<Exit, Failure> {
        if self.story {
            let history = History::of(self.from);
            let story = history.story(None).map_err(Failure::input)?;
            return print(&format!("{history}\n{story}")).map(|()| Exit::Good);
        }
        let began = Instant::now();
        let told = Mutex::new(began);
        let tell = |seed: u64, breach: Option<&Breach>| {
            if let Some(breach) = breach.filter(|_| self.most > 1) {
                let _ = writeln!(anstream::stderr(), "{seed}: {breach}");
            }
            let Ok(mut told) = told.try_lock() else { return };
            if told.elapsed() >= TELLS {
                *told = Instant::now();
                let a_second = (seed - self.from) / began.elapsed().as_secs().max(1);
                let _ = writeln!(anstream::stderr(), "{seed} of {}, {a_second} a second", self.to);
            }
        };
        match range::run(self.from..self.to, None, self.most, tell) {
            Ok(tally) => {
                let seconds = began.elapsed().as_secs();
                print(&format!("{} to {}: {tally}; {seconds} s\n", self.from, self.to))?;
                Ok(Exit::Good)
            }
            Err(broken) if self.most > 1 => {
                print(&format!("{} broke a law\n", broken.len()))?;
                Ok(Exit::Differs)
            }
            Err(mut broken) => {
                let (seed, breach) = broken.remove(0);
                let (least, breach) = shrink(&History::of(seed), breach, None);
                let story = least.story(None).map_err(Failure::input)?;
                let all = format!("--from {seed} --to {} --story", seed + 1);
                print(&format!(
                    "{story}\nThe least that does it:\n{least}\nseed {seed}: {breach}\n\
                     All of it: calico-dcos sim seeds {all}\n"
                ))?;
                Ok(Exit::Differs)
            }
        }
    }
}

fn print(text: &str) -> Result<(), Failure> {
    let written = anstream::stdout().lock().write_all(text.as_bytes());
    written.map_err(|error| Failure::environment(format!("cannot write: {error}")))
}
