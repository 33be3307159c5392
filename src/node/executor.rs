//! The executor as a process: [`crate::job::executor`] decides, this carries out between the agent
//! and the machine.
//!
//! Everything that takes time is a task of its own that ends in an input, so that the agent is
//! always answered. The process changes nothing on the machine but its own state: the runner does.

mod survey;

use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep_until};

use super::agent::Agent;
use super::host::{Host, HostError};
use super::runner::{self, uptime};
use super::service::Activity;
use super::watch::{Changes, FileSigns};
use super::watchdog::Watchdog;
use super::{farewell, observer};
use crate::job::executor::{Effect, Executor, Identity, Input};
use crate::job::journal::Journal;
use crate::job::order::{Letter, ToHost};
use crate::mesos::executor::{Client, Ending, Environment, Order, Said};
use crate::mesos::v1::TaskState;
use crate::words::{Attempt, HostName, Run, TaskId, TaskKind, TaskPhase};
use survey::{Claim, Found, Survey, look};

/// Between two looks at a unit that is at work.
const LOOK_AT_UNIT: Duration = Duration::from_millis(500);
/// A look that takes longer hangs: the process ends, and Mesos says so to the controller. A host
/// that is silent for ever would be the worse one.
const HANGS_AFTER: Duration = Duration::from_mins(3);
/// For the status of a process that ended because it hung.
const HUNG: i32 = 70;

/// Runs until the agent wants no more, and says why it ends.
pub async fn run(
    host: Host,
    environment: Environment,
    agent: Option<Agent>,
) -> Result<Ending, HostError> {
    let mut client =
        Client::start(environment).map_err(|error| HostError::Found(error.to_string()))?;
    // Under which name the controller knows this host is for the agent to say.
    let hostname = loop {
        match client.next().await {
            Ok(Order::Subscribed { hostname, .. }) => break hostname,
            Ok(order) => tracing::warn!(?order, "came before the subscription, and is passed over"),
            Err(ending) => return Ok(ending),
        }
    };
    let (identity, journal) = match begin(&host, hostname, agent.as_ref()) {
        Ok(begun) => begun,
        Err(error) => return Ok(decline(client, &error).await),
    };
    tracing::info!(host = %identity.host, run = %identity.run, starts = identity.starts, "executor");
    let starts = identity.starts;
    let (executor, effects) = Executor::start(identity, journal);
    let (inputs, arrived) = unbounded_channel();
    let changes = Changes::start(&host);
    let (files, watched, surveys, reports) = (changes.files(), None, Surveys::None, None);
    let shell = Shell {
        host,
        starts,
        executor,
        client,
        inputs,
        watched,
        surveys,
        files,
        reports,
        leaving: false,
    };
    Ok(shell.live(effects, arrived, changes).await)
}

/// Who this process is, and what the host remembers.
fn begin(
    host: &Host,
    name: String,
    agent: Option<&Agent>,
) -> Result<(Identity, Option<Journal>), HostError> {
    if let Some(agent) = agent {
        agent.remember(host)?;
    }
    let identity = Identity {
        host: HostName(name),
        run: Run(uuid::Uuid::new_v4().to_string()),
        boot_id: observer::boot_id(host)?,
        starts: host.state.count_start()?,
    };
    Ok((identity, host.state.journal()?))
}

/// Nothing can be done here: whoever launches a task is told why, and the process ends.
async fn decline(mut client: Client, error: &HostError) -> Ending {
    let why = error.sentence();
    tracing::error!(why, "this host cannot be worked on");
    loop {
        match client.next().await {
            Ok(Order::Launch(task)) => {
                let (task, message) = (task.task_id, Some(why.clone()));
                client.report(Said { task, state: TaskState::Failed, message, data: None });
                client.leave();
            }
            Ok(_) => {}
            Err(ending) => return ending,
        }
    }
}

/// How many looks at the machine are wanted; one is under way at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Surveys {
    None,
    UnderWay,
    OneMoreAfterwards,
}

/// What a task of its own came to.
#[expect(
    clippy::large_enum_variant,
    reason = "there is one at a time, and it is taken apart at once"
)]
enum Arrived {
    Input(Input),
    Surveyed(Survey),
    /// What is remembered of us is removed, or why not.
    Left(Result<(), String>),
    /// The unit of this attempt is not watched any more; why it could not be started.
    UnitEnded(Attempt, Option<String>),
}

struct Shell {
    host: Host,
    /// How many executors have started here before this one.
    starts: u64,
    executor: Executor,
    client: Client,
    inputs: UnboundedSender<Arrived>,
    /// The attempt whose unit is watched.
    watched: Option<Attempt>,
    surveys: Surveys,
    files: FileSigns,
    /// The observer that has taken the reports of this host.
    reports: Option<TaskId>,
    /// What is remembered of us is to be removed: nothing is looked at any more.
    leaving: bool,
}

impl Shell {
    async fn live(
        mut self,
        effects: Vec<Effect>,
        mut arrived: UnboundedReceiver<Arrived>,
        mut changes: Changes,
    ) -> Ending {
        self.carry_out(effects);
        loop {
            let wake = self
                .executor
                .next_wake()
                .map(|at| Instant::now() + Duration::from_millis(at.since(uptime())));
            tokio::select! {
                order = self.client.next() => match order {
                    Ok(order) => self.ordered(order),
                    Err(ending) => return ending,
                },
                Some(arrived) = arrived.recv() => self.arrived(arrived),
                () = async { match wake {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                } } => self.put(Input::Tick),
                () = changes.next() => self.survey(),
            }
        }
    }

    fn put(&mut self, input: Input) {
        let effects = self.executor.handle(uptime(), input);
        self.carry_out(effects);
    }

    fn ordered(&mut self, order: Order) {
        match order {
            Order::Subscribed { .. } => {}
            Order::Launch(task) => {
                let data = task.data.map(|data| data.0).unwrap_or_default();
                self.see_journal();
                self.put(Input::Launch { task: task.task_id, data });
            }
            Order::Kill { task, .. } => self.put(Input::Kill(task)),
            Order::Message(bytes) => match ToHost::from_bytes(&bytes) {
                Ok(message) => self.put(Input::Message(message)),
                Err(error) => tracing::warn!(%error, "a message is passed over"),
            },
            Order::Shutdown => self.put(Input::Shutdown),
        }
    }

    fn arrived(&mut self, arrived: Arrived) {
        match arrived {
            Arrived::Input(input) => self.put(input),
            Arrived::Surveyed(survey) => {
                let again = std::mem::replace(&mut self.surveys, Surveys::None);
                self.reports = survey.reports.or(self.reports.take());
                if self.leaving {
                    return self.leave();
                }
                if again == Surveys::OneMoreAfterwards {
                    self.survey();
                }
                self.surveyed(survey.found);
            }
            Arrived::Left(outcome) => {
                // What stays is looked at again.
                self.leaving = outcome.is_ok();
                self.put(Input::Left(outcome));
            }
            Arrived::UnitEnded(attempt, not_started) => {
                if self.watched == Some(attempt) {
                    self.watched = None;
                }
                self.put(match not_started {
                    Some(why) => Input::UnitNotStarted { why },
                    None => Input::UnitEnded,
                });
            }
        }
    }

    fn surveyed(&mut self, found: Found) {
        match found {
            Found::Facts(facts) => {
                self.see_journal();
                self.put(Input::Facts(*facts));
            }
            // Another one may have been launched here meanwhile.
            Found::Superseded(observer) if self.observer() == Some(&observer) => {
                self.put(Input::Superseded);
            }
            Found::Superseded(_) => {}
            Found::Nothing(why) => {
                tracing::error!(why, "this host cannot be looked at");
                self.put(Input::Blind { why });
            }
        }
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Update { task, state, message, data } => {
                    let data = data.and_then(|data| data.to_bytes().ok());
                    self.client.report(Said { task, state: mesos_state(state), message, data });
                }
                Effect::Send(message) => {
                    if let Ok(bytes) = message.to_bytes() {
                        self.client.send(bytes);
                    }
                }
                Effect::Inspect(change) => self.spawn(|host| async move {
                    let attempt = change.attempt;
                    let findings = runner::inspect(host, change).await;
                    Arrived::Input(Input::Inspected { attempt, findings })
                }),
                Effect::WriteJournal(journal) => {
                    let input = match self.open_journal(&journal) {
                        Ok(()) => Input::JournalSynced,
                        Err(error) => {
                            let found = self.host.state.journal().ok().flatten();
                            Input::JournalFailed { why: error.sentence(), found }
                        }
                    };
                    // Not handled here: the effects after this one come first.
                    let _ = self.inputs.send(Arrived::Input(input));
                }
                Effect::StartUnit { attempt, run } => self.start_unit(attempt, run),
                Effect::Survey => self.survey(),
                Effect::Leave => {
                    self.leaving = true;
                    if self.surveys == Surveys::None {
                        self.leave();
                    }
                }
                Effect::Exit => self.client.leave(),
            }
        }
    }

    /// While one release follows another there are two executors on a host, so what counts is on disk.
    fn see_journal(&mut self) {
        match self.host.state.journal() {
            Ok(Some(journal)) => self.put(Input::JournalSeen(journal)),
            Ok(None) => {}
            Err(error) => {
                let error = HostError::from(error).sentence();
                tracing::error!(error, "the journal cannot be read");
            }
        }
    }

    /// Writes it in the place of the one on disk, if that one lets it.
    fn open_journal(&self, journal: &Journal) -> Result<(), HostError> {
        let current = self.host.state.journal()?;
        Journal::open(current.as_ref(), journal.change.clone(), journal.run.clone())
            .map_err(|not_opened| HostError::Found(not_opened.to_string()))?;
        Ok(self.host.state.write_journal(journal)?)
    }

    fn spawn<F: Future<Output = Arrived> + Send + 'static>(&self, work: impl FnOnce(Host) -> F) {
        let (inputs, work) = (self.inputs.clone(), work(self.host.clone()));
        // Nobody listens any more: the process is ending.
        tokio::spawn(async move { inputs.send(work.await).is_ok() });
    }

    /// Removes what is remembered of us, while no look is under way that could write some of it anew.
    fn leave(&self) {
        self.spawn(|host| async move {
            let outcome = farewell::leave(&host).await;
            Arrived::Left(outcome.map_err(|error| error.sentence()))
        });
    }

    /// The observer that runs here.
    fn observer(&self) -> Option<&TaskId> {
        let mut tasks = self.executor.tasks();
        tasks.find(|(_, kind)| *kind == TaskKind::Observer).map(|(task, _)| task)
    }

    fn survey(&mut self) {
        // Without a task there is nobody to tell.
        if self.leaving || self.executor.tasks().next().is_none() {
            return;
        }
        if self.surveys != Surveys::None {
            self.surveys = Surveys::OneMoreAfterwards;
            return;
        }
        self.surveys = Surveys::UnderWay;
        let claim = self.observer().map(|observer| Claim {
            observer: observer.clone(),
            starts: self.starts,
            had: self.reports.as_ref() == Some(observer),
        });
        let files = self.files.clone();
        self.spawn(|host| async move {
            let _watchdog = Watchdog::over(HANGS_AFTER, || {
                tracing::error!("the look at this host hangs, so this process ends");
                // Nothing that hangs could be ended in order.
                std::process::exit(HUNG);
            });
            Arrived::Surveyed(look(&host, &files, claim).await)
        });
    }

    /// Starts the unit and watches it to its end, telling of the journal as it goes.
    fn start_unit(&mut self, attempt: Attempt, run: Run) {
        if self.watched == Some(attempt) {
            return;
        }
        self.watched = Some(attempt);
        let inputs = self.inputs.clone();
        self.spawn(|host| async move {
            if let Err(error) = runner::start_unit(&host, attempt, &run).await {
                let why = error.sentence();
                tracing::error!(why, "the unit cannot be started");
                return Arrived::UnitEnded(attempt, Some(why));
            }
            tracing::info!(%attempt, "the unit is at work");
            loop {
                tokio::time::sleep(LOOK_AT_UNIT).await;
                let unit = host.services.look(&runner::unit_name(attempt)).await;
                let at_work = match unit {
                    Ok(Some(unit)) => {
                        !matches!(unit.activity, Activity::Inactive | Activity::Failed)
                    }
                    Ok(None) => false,
                    // systemd does not answer; the unit is another matter.
                    Err(_) => true,
                };
                // Read after that look: what it wrote last is in it.
                if let Ok(Some(journal)) = host.state.journal() {
                    let _ = inputs.send(Arrived::Input(Input::JournalSeen(journal)));
                }
                if !at_work {
                    return Arrived::UnitEnded(attempt, None);
                }
            }
        });
    }
}

fn mesos_state(phase: TaskPhase) -> TaskState {
    match phase {
        TaskPhase::Starting => TaskState::Starting,
        TaskPhase::Running => TaskState::Running,
        TaskPhase::Finished => TaskState::Finished,
        TaskPhase::Failed => TaskState::Failed,
        TaskPhase::Killed => TaskState::Killed,
    }
}
