//! The runner as a process: a transient unit that carries out what [`crate::job::runner`] says,
//! outside the executor's sandbox, whatever becomes of the executor.

use std::time::Duration;

use tracing::Instrument as _;

use super::boot;
use super::host::{Host, HostError, blocking};
use super::service::Transient;
use super::state::Lock;
use super::steps::{self, Turn};
use crate::job::journal::{Journal, Progress};
use crate::job::order::Change;
use crate::job::runner::{Answer, Command, Outcome, Runner};
use crate::job::{Finding, Uptime};
use crate::words::{Attempt, Component, Run};

/// The name of the unit for an attempt.
pub fn unit_name(attempt: Attempt) -> String {
    format!("calico-dcos-change-{attempt}.service")
}

/// Looks at a change before anybody is asked. What would keep its unit from starting is found now, while
/// there is no slot that waits for it.
pub async fn inspect(host: Host, change: Change) -> Vec<Finding> {
    if let Err(error) = boot::copy_program(&host) {
        return vec![Finding::Refused { why: error.sentence() }];
    }
    steps::check_all(host, change).await
}

/// Starts the unit for an attempt, unless it runs. It runs a copy of this program that outlives
/// the sandbox.
pub async fn start_unit(host: &Host, attempt: Attempt, run: &Run) -> Result<(), HostError> {
    let unit = host.services.look(&unit_name(attempt)).await?;
    if unit.is_some_and(|unit| unit.is_up()) {
        return Ok(());
    }
    let program = boot::copy_program(host)?;
    let command = [
        program.as_str(),
        "node",
        "runner",
        "--attempt",
        &attempt.to_string(),
        "--run",
        run.as_str(),
    ];
    let unit = Transient {
        name: unit_name(attempt),
        description: format!(
            "calico-dcos: attempt {attempt} to bring this host to its declared state"
        ),
        command: command.map(str::to_owned).to_vec(),
    };
    Ok(host.services.start_transient(&unit).await?)
}

/// Runs to the end. The lock is held meanwhile, and by the process after this returned.
pub async fn run(host: &Host, attempt: Attempt, run: Run) -> Outcome {
    let mut lock = None;
    let (mut runner, mut command) = Runner::start(attempt, run);
    // The journal as it was last written, for what the steps are to be asked.
    let mut journal = None;
    let mut answers = 0;
    loop {
        tracing::debug!(?command, "next");
        let answer = match command {
            Command::Exit(outcome) => {
                clear_away(host, &outcome, attempt);
                return outcome;
            }
            Command::Lock => match take_lock(host).await {
                Ok((taken, found)) => {
                    lock = Some(taken);
                    journal.clone_from(&found);
                    Answer::Locked(found)
                }
                Err(error) => return Outcome::Interrupted { why: error.sentence() },
            },
            Command::Check(order) => Answer::Found(steps::check(host, &order).await),
            Command::ArmBootUnit => Answer::Did(said(boot::arm(host).await)),
            Command::Write(next) => {
                let written = write(host, &next).await;
                if written.is_ok() {
                    tracing::info!(attempt = %attempt, progress = ?next.progress, begun = next.begun.len(), "journal");
                    journal = Some(next);
                }
                Answer::Did(said(written))
            }
            Command::Apply(order) => {
                let step = step(attempt, order.component);
                step.in_scope(|| tracing::info!("applies"));
                let turn = turn(attempt, journal.as_ref());
                Answer::Did(said(steps::apply(host, turn, &order).instrument(step).await))
            }
            Command::Verify(order) => {
                let step = step(attempt, order.component);
                Answer::Did(steps::verify(host, &order).instrument(step).await)
            }
            Command::Probe(at) => {
                sleep_until(at).await;
                Answer::Did(probe(host, journal.as_ref()).await)
            }
            Command::Undo(order) => {
                let step = step(attempt, order.component);
                step.in_scope(|| tracing::warn!("puts back"));
                let turn = turn(attempt, journal.as_ref());
                let undone = steps::undo(host, turn, order.component).instrument(step).await;
                Answer::Did(undo_said(host, attempt, order.component, undone))
            }
        };
        debug_assert!(lock.is_some(), "nothing is done without the lock");
        stop_point(answers, &answer);
        answers += 1;
        command = runner.handle(uptime(), answer);
    }
}

fn turn(attempt: Attempt, journal: Option<&Journal>) -> Turn {
    let may_disrupt = journal.is_some_and(|journal| journal.change.may_disrupt);
    Turn { attempt, may_disrupt }
}

/// What is logged within it names the step.
fn step(attempt: Attempt, component: Component) -> tracing::Span {
    tracing::info_span!("step", %attempt, %component)
}

/// Milliseconds since boot.
pub(super) fn uptime() -> Uptime {
    Uptime(u64::try_from(crate::clock::monotonic().as_millis()).unwrap_or(u64::MAX))
}

async fn take_lock(host: &Host) -> Result<(Lock, Option<Journal>), HostError> {
    let state = host.state.clone();
    blocking(move || {
        let lock = state.lock()?;
        Ok((lock, state.journal()?))
    })
    .await
}

async fn sleep_until(at: Uptime) {
    let ms = at.since(uptime());
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

/// On the way there all has to be in force and well, on the way back what is there has to be well.
async fn probe(host: &Host, journal: Option<&Journal>) -> Result<(), String> {
    match journal {
        Some(journal) if journal.progress == Progress::Forward => {
            steps::all_in_force(host, &journal.change).await
        }
        Some(journal) => steps::all_well(host, &journal.change).await,
        None => Ok(()),
    }
}

/// Writes the journal. Before it is closed the boot unit goes: cut off between the two, the open journal
/// is carried on by an executor, while nobody would come for the unit of a closed one.
async fn write(host: &Host, journal: &Journal) -> Result<(), HostError> {
    if !journal.is_open()
        && let Err(error) = boot::disarm(host).await
    {
        // At the next start of the host it finds nothing to do, and goes.
        tracing::warn!(error = error.sentence(), "the boot unit stays");
    }
    Ok(host.state.write_journal(journal)?)
}

/// Tells people where to find what could not be put back.
fn undo_said(
    host: &Host,
    attempt: Attempt,
    component: Component,
    undone: Result<(), HostError>,
) -> Result<(), String> {
    let undone = said(undone);
    let failed = undone.as_ref().err().map(String::as_str);
    let folder = host.state.note_undo(attempt, component, failed).unwrap_or_else(|error| {
        tracing::warn!(error = HostError::from(error).sentence(), "this is not on record");
        None
    });
    undone.map_err(|why| match folder {
        Some(folder) => format!("{why}; what was there before is kept in {folder}"),
        None => why,
    })
}

/// What a closed journal does not need any more. If it cannot be done it is done next time.
fn clear_away(host: &Host, outcome: &Outcome, attempt: Attempt) {
    if *outcome != Outcome::Closed {
        return;
    }
    let forgotten = host.state.forget_before(attempt).map_err(HostError::from);
    let prune = |texts: String| host.downloads.prune(|sha256| texts.contains(sha256));
    let pruned = match host.state.texts() {
        Ok(texts) => prune(texts).map_err(HostError::from),
        Err(error) => Err(error.into()),
    };
    for error in [forgotten, pruned].into_iter().filter_map(Result::err) {
        tracing::warn!(error = error.sentence(), "not all could be cleared away");
    }
}

fn said(done: Result<(), HostError>) -> Result<(), String> {
    done.map_err(|error| error.sentence())
}

/// For tests of power cuts: the process ends, as if it had been killed, with this answer unheard.
/// systemd gives the variable to a unit after `systemctl set-environment`.
fn stop_point(number: u64, answer: &Answer) {
    let wanted = std::env::var("CALICO_DCOS_STOP_AT_ANSWER").ok();
    if wanted.is_some_and(|wanted| wanted == number.to_string()) {
        tracing::warn!(number, ?answer, "stops here, as it was told to");
        #[expect(clippy::exit, reason = "that is what it was told")]
        std::process::exit(137);
    }
}

#[cfg(test)]
mod tests;
