//! `sim seeds`: histories from seeds, in ranges that can be stopped and gone on with, and the story
//! of one.

use std::io::Write as _;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use super::super::{Exit, Failure};
use crate::sim::seeds::laws::Breach;
use crate::sim::seeds::range::{Orders, Ran, run};
use crate::sim::seeds::{History, shrink::shrink};

/// How often it says how far it is.
const TELLS: Duration = Duration::from_secs(2);

/// Random clusters, edits and faults in virtual time, each drawn from a number
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Ctrl-C and SIGTERM let the histories under way end; what has run is told then, with the \
                        command that goes on from there."
)]
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

    /// How many run at a time [default: one on each processor]
    #[arg(long, value_name = "NUMBER")]
    workers: Option<NonZeroUsize>,
}

impl Seeds {
    /// Exit code 1 for a law that is broken, and for a range that was stopped.
    pub(super) async fn execute(self) -> Result<Exit, Failure> {
        if self.story {
            let history = History::of(self.from);
            let story = history.story(None).map_err(Failure::input)?;
            return print(&format!("{history}\n{story}")).map(|()| Exit::Good);
        }
        let stop = Arc::new(AtomicBool::new(false));
        let cannot = |error| Failure::environment(format!("cannot wait for signals: {error}"));
        let mut terminate = signal(SignalKind::terminate()).map_err(cannot)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(cannot)?;
        let began = Instant::now();
        let work = {
            let (seeds, stop) = (self.clone(), Arc::clone(&stop));
            tokio::task::spawn_blocking(move || seeds.run(&stop, began))
        };
        tokio::pin!(work);
        let stopped = async {
            tokio::select! { _ = terminate.recv() => {} _ = interrupt.recv() => {} }
        };
        let ran = tokio::select! {
            ran = &mut work => ran,
            () = stopped => {
                stop.store(true, Ordering::Relaxed);
                work.await
            }
        };
        let ran = ran.map_err(Failure::environment)?;
        self.tell(&ran, began.elapsed())
    }

    fn run(&self, stop: &AtomicBool, began: Instant) -> Ran {
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
        let orders =
            Orders { plant: None, most: self.most, workers: self.workers, stop: Some(stop) };
        run(self.from..self.to, orders, tell)
    }

    /// What has run, what it broke, and how to go on.
    fn tell(&self, ran: &Ran, took: Duration) -> Result<Exit, Failure> {
        if let [(seed, breach)] = &ran.broken[..]
            && self.most <= 1
        {
            let (least, breach) = shrink(&History::of(*seed), breach.clone(), None);
            let story = least.story(None).map_err(Failure::input)?;
            let all = format!("--from {seed} --to {} --story", seed + 1);
            print(&format!(
                "{story}\nThe least that does it:\n{least}\nseed {seed}: {breach}\n\
                 All of it: calico-dcos sim seeds {all}\n"
            ))?;
        }
        let Ran { tally, broken, next } = ran;
        print(&format!("{} to {next}: {tally}; {} s\n", self.from, took.as_secs()))?;
        if !broken.is_empty() {
            let seeds: Vec<String> = broken.iter().map(|(seed, _)| seed.to_string()).collect();
            print(&format!("{} broke one: {}\n", seeds.len(), seeds.join(", ")))?;
        }
        if *next < self.to {
            print(&format!("to go on: {}\n", self.command_from(*next)))?;
        }
        Ok(if broken.is_empty() && *next >= self.to { Exit::Good } else { Exit::Differs })
    }

    fn command_from(&self, next: u64) -> String {
        let most = if self.most > 1 { format!(" --most {}", self.most) } else { String::new() };
        let workers = self.workers.map(|count| format!(" --workers {count}")).unwrap_or_default();
        format!("calico-dcos sim seeds --from {next} --to {}{most}{workers}", self.to)
    }
}

fn print(text: &str) -> Result<(), Failure> {
    let written = anstream::stdout().lock().write_all(text.as_bytes());
    written.map_err(|error| Failure::environment(format!("cannot write: {error}")))
}
