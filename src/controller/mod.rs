//! The controller's shell: it waits for events, hands them to the state machine of
//! [`rollout`](crate::rollout), and carries out what that decides. It decides nothing itself.
//!
//! - here: stand for leader; one `term` after the other.
//! - `term`: one loop over everything that can happen while this process leads.
//! - `sight`: in which order listings and the watch of etcd are believed.
//! - `writer`: transactions, strictly one after the other.
//! - `gates`: questions asked right before disruptions start.
//! - `members`: the members of etcd, asked for.
//! - `mirror`: whether hosts find this very program where they are sent for it.
//! - `outside`: HTTP to gates and mirrors.
//! - `pulse`: the signs that it leaves for those who look at it.
//! - `schedule`: edits of Mesos' maintenance schedule, one at a time.
//! - `session`: the subscription to Mesos, with the pauses between two of them.
//!
//! Nothing in memory outlives a term: a new leader, in this process or in another, begins with
//! what is in etcd.

mod gates;
mod members;
pub mod mirror;
mod outside;
pub mod pulse;
mod schedule;
mod session;
mod sight;
mod term;
mod writer;

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::mesos::features::Features;
use crate::mesos::operator::OperatorClient;
use crate::mesos::{self, MesosError, NextStep};
use crate::rollout::config::Config;
use crate::store::{
    Candidate, EtcdOptions, EtcdStore, LeaderEvent, Leadership, StoreError, in_one_line,
};

use pulse::Pulse;
use term::{End, Term};

/// Who is failed over twice within this, while leading, ends: two that each take the framework
/// back would end each other's tasks without end.
const FIGHT: Duration = Duration::from_mins(10);

/// A standby shows so often that it is there.
const SIGN_EVERY: Duration = Duration::from_secs(5);

/// What a controller is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where etcd is.
    pub etcd: EtcdOptions,
    /// A prefix that anybody can write without credentials will do.
    pub allow_open_etcd: bool,
    /// Where Mesos is.
    pub mesos: mesos::Options,
    /// How long after its last sign of life a leader still counts as one.
    pub lease: Duration,
    /// For the state machine.
    pub config: Config,
    /// Where its page and API are reached, if they are.
    pub advertise_url: Option<String>,
    /// Where it leaves signs of life.
    pub pulse: Pulse,
}

/// Why the controller stopped.
#[derive(Debug, thiserror::Error)]
pub enum ControllerError {
    /// etcd cannot be used, found out at the start. Later on it is waited for.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Mesos cannot be used, and will not become usable by waiting.
    #[error(transparent)]
    Mesos(#[from] MesosError),
    /// The task that stands for leader has ended, which it never does by itself.
    #[error("the controller cannot stand for leader any more; start it again")]
    NoCandidate,
    /// A newer release has led here.
    #[error("{why}")]
    Outdated {
        /// Which record says so, and what to do.
        why: String,
    },
}

/// Runs until `shutdown`, or until something is wrong that waiting does not put right. Gives
/// leadership back before it returns; tasks and hosts go on without it.
pub async fn run(options: Options, shutdown: CancellationToken) -> Result<(), ControllerError> {
    let store = EtcdStore::connect(&options.etcd).await?;
    store.check_openness(options.allow_open_etcd).await?;
    greet(&options.mesos).await?;
    let mut usurped: Option<Duration> = None;
    loop {
        let candidate = Candidate {
            name: options.config.name.clone(),
            started: clock::now(),
            ttl: options.lease,
            url: options.advertise_url.clone(),
        };
        tracing::info!(name = options.config.name, "stands for leader");
        let (leadership, events) = Leadership::campaign(&store, candidate);
        let end = serve(&options, &store, &leadership, events, &shutdown).await;
        leadership.resign().await;
        match end {
            End::Shutdown => return Ok(()),
            End::Failed(error) => return Err(error),
            End::Usurped | End::StandDown => {
                if matches!(end, End::Usurped) {
                    let now = clock::monotonic();
                    let again = |before| now.saturating_sub(before) < FIGHT;
                    if usurped.replace(now).is_some_and(again) {
                        return Err(MesosError::FailedOver.into());
                    }
                }
                options.pulse.turn();
                // Whoever took over needs a moment to become the leader that it may already be.
                tokio::select! {
                    () = shutdown.cancelled() => return Ok(()),
                    () = tokio::time::sleep(options.lease) => {}
                }
            }
        }
    }
}

/// Asks Mesos for its version: what will never answer as a master is told at the start. One that
/// is down is not an error; it may come back at any time.
async fn greet(options: &mesos::Options) -> Result<(), MesosError> {
    match OperatorClient::new(options)?.version().await {
        Ok(version) => {
            Features::of(&version)?;
            tracing::info!(version, masters = %options.masters(), "Mesos answers");
        }
        // Schedulers are let in by other rights.
        Err(error @ MesosError::Forbidden { .. }) => tracing::warn!("{error}"),
        Err(error) if error.next_step() == NextStep::GiveUp => return Err(error),
        Err(error) => tracing::warn!("{}", in_one_line(&error)),
    }
    Ok(())
}

/// One candidacy: it leads as often as it is elected.
async fn serve(
    options: &Options,
    store: &EtcdStore,
    leadership: &Leadership,
    mut events: mpsc::Receiver<LeaderEvent>,
    shutdown: &CancellationToken,
) -> End {
    loop {
        options.pulse.turn();
        let event = tokio::select! {
            () = shutdown.cancelled() => return End::Shutdown,
            event = events.recv() => event,
            () = tokio::time::sleep(SIGN_EVERY) => continue,
        };
        match event {
            Some(LeaderEvent::Elected { create_revision }) => {
                let term = Term::new(options, store, leadership.belief(), create_revision);
                options.pulse.lead();
                let end = term.run(&mut events, shutdown).await;
                options.pulse.stand_by();
                if let Some(end) = end {
                    return end;
                }
            }
            Some(LeaderEvent::Lost { .. }) => {}
            None => return End::Failed(ControllerError::NoCandidate),
        }
    }
}
