//! One term: one loop over everything that can happen while this process leads.

use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::mpsc;
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::gates::Gates;
use super::members::Members;
use super::pulse::Pulse;
use super::schedule::{Edited, Schedule};
use super::session::{FromMesos, Mesos};
use super::sight::{Seen, Sight};
use super::writer::{Writer, Written};
use super::{ControllerError, Options};
use crate::clock;
use crate::mesos::operator::OperatorClient;
use crate::mesos::v1::scheduler::{Call, Operation};
use crate::mesos::watch::AgentWatch;
use crate::mesos::{MesosError, NextStep};
use crate::observed::fleet::AgentSeen;
use crate::plan::members::Member;
use crate::rollout::Controller;
use crate::rollout::event::{Effect, Event, Level, Note};
use crate::store::{Belief, EtcdStore, LeaderEvent, StoreEvent, in_one_line};
use crate::words::Revision;

/// Events folded before the next pass, at most: so many may be ready at once after a start.
const BATCH: usize = 512;

/// With so many transactions on their way the machine is not asked for more.
const BACKLOG: usize = 64;

/// The timer never rings sooner than this, and looks at the wall clock, which may jump, at
/// least so often.
const SHORTEST: Duration = Duration::from_millis(5);
const LONGEST: Duration = Duration::from_secs(5);

/// How a term ends, other than by losing an election.
#[derive(Debug)]
pub(super) enum End {
    /// It was asked to.
    Shutdown,
    /// Somebody else leads, or acts as if.
    StandDown,
    /// Another scheduler has our framework ID, and etcd says that we lead.
    Usurped,
    /// Waiting will not put it right.
    Failed(ControllerError),
}

/// Everything that belongs to one term. Dropped, nothing of it goes on.
pub(super) struct Term {
    machine: Controller,
    belief: Belief,
    sight: Sight,
    watch: mpsc::Receiver<StoreEvent>,
    writer: Writer,
    mesos: Mesos,
    operator: Result<OperatorClient, MesosError>,
    poll: Option<Poll>,
    agents: AgentWatch,
    gates: Gates,
    schedule: Schedule,
    store: EtcdStore,
    members: Members,
    /// Agents came or went while they were being listed.
    stale: bool,
    pulse: Pulse,
    /// How many there have been in this term.
    passes: u64,
}

/// A question for the agents under way; at most one.
type Poll = AbortOnDropHandle<Result<Vec<AgentSeen>, MesosError>>;

/// Something to fold.
enum Input {
    Shutdown,
    Leader(Option<LeaderEvent>),
    Store(Option<StoreEvent>),
    Written(Option<Written>),
    Mesos(FromMesos),
    Agents(Result<Result<Vec<AgentSeen>, MesosError>, JoinError>),
    AgentsChanged,
    Gates(Result<(), String>),
    Schedule(Edited),
    Members(Result<Vec<Member>, String>),
    Timer,
}

impl Term {
    pub(super) fn new(
        options: &Options,
        store: &EtcdStore,
        belief: Belief,
        created: Revision,
    ) -> Self {
        tracing::info!(term = created.0, "leads");
        let mut machine = Controller::new(options.config.clone());
        machine.handle(Event::Leading { created }, clock::now());
        Self {
            machine,
            belief,
            sight: Sight::default(),
            watch: store.watch(),
            writer: Writer::start(store.clone()),
            mesos: Mesos::new(options.mesos.clone()),
            operator: OperatorClient::new(&options.mesos),
            poll: None,
            agents: AgentWatch::start(options.mesos.clone()),
            gates: Gates::default(),
            schedule: Schedule::default(),
            store: store.clone(),
            members: Members::default(),
            stale: false,
            pulse: options.pulse.clone(),
            passes: 0,
        }
    }

    /// Works until the term ends; `None` if that is because leadership was lost.
    pub(super) async fn run(
        mut self,
        leader: &mut mpsc::Receiver<LeaderEvent>,
        shutdown: &CancellationToken,
    ) -> Option<End> {
        loop {
            self.pulse.turn();
            // Nobody acts who cannot know that he still leads; the next event tells.
            let ready = self.sight.may_decide() && self.writer.waiting() < BACKLOG;
            if ready
                && self.belief.holds()
                && let Some(end) = self.pass()
            {
                return Some(end);
            }
            let mut input = self.next(leader, shutdown).await;
            for _ in 0..BATCH {
                match input {
                    Input::Shutdown => return Some(End::Shutdown),
                    Input::Leader(Some(LeaderEvent::Lost { why })) => {
                        tracing::warn!(why, "does not lead any more");
                        return None;
                    }
                    Input::Leader(None) => {
                        return Some(End::Failed(ControllerError::NoCandidate));
                    }
                    Input::Leader(Some(LeaderEvent::Elected { .. })) | Input::Timer => {}
                    Input::Store(None) | Input::Written(None) => {
                        // A part has failed: a new term has new ones.
                        tracing::error!("the connection to etcd has ended; please report this");
                        return Some(End::StandDown);
                    }
                    Input::Store(Some(event)) => self.watched(event),
                    Input::Written(Some(answer)) => self.written(answer),
                    Input::Mesos(FromMesos::Ended(error)) => {
                        if let Some(end) = self.unsubscribed(error) {
                            return Some(end);
                        }
                    }
                    Input::Mesos(said) => self.heard(said),
                    Input::Agents(answer) => self.listed_agents(answer),
                    Input::Gates(answer) => self.fold(Event::GatesAnswered(answer)),
                    Input::Members(answer) => self.fold(Event::Members(answer)),
                    Input::Schedule(answer) => self.fold(Event::ScheduleEdited(answer)),
                    Input::AgentsChanged => {
                        self.stale = self.poll.is_some();
                        self.ask_for_agents();
                    }
                }
                match self.next(leader, shutdown).now_or_never() {
                    None | Some(Input::Timer) => break,
                    Some(another) => input = another,
                }
            }
        }
    }

    /// Decides, and has it carried out. What is logged meanwhile names the pass.
    fn pass(&mut self) -> Option<End> {
        self.passes += 1;
        let _span = tracing::info_span!("pass", number = self.passes).entered();
        let began = clock::monotonic();
        let effects = self.machine.pass(clock::now());
        let subscribed = self.machine.is_subscribed();
        self.pulse.pass(began, subscribed, self.machine.heard());
        effects.into_iter().find_map(|effect| self.carry_out(effect))
    }

    /// The next thing that happens. Nothing is lost if the future is dropped.
    async fn next(
        &mut self,
        leader: &mut mpsc::Receiver<LeaderEvent>,
        shutdown: &CancellationToken,
    ) -> Input {
        let timer = self.until_wake();
        let poll = async {
            match &mut self.poll {
                Some(poll) => poll.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => Input::Shutdown,
            event = leader.recv() => Input::Leader(event),
            event = self.watch.recv(), if self.sight.is_clear() => Input::Store(event),
            answer = self.writer.answer() => Input::Written(answer),
            said = self.mesos.next() => Input::Mesos(said),
            agents = poll => Input::Agents(agents),
            () = self.agents.changed() => Input::AgentsChanged,
            answer = self.gates.answer() => Input::Gates(answer),
            answer = self.schedule.answer() => Input::Schedule(answer),
            answer = self.members.answer() => Input::Members(answer),
            () = tokio::time::sleep(timer) => Input::Timer,
        }
    }

    fn until_wake(&self) -> Duration {
        let wait = self.machine.next_wake().map(|at| at.since(clock::now()));
        wait.map_or(LONGEST, |ms| Duration::from_millis(ms).clamp(SHORTEST, LONGEST))
    }

    fn fold(&mut self, event: Event) {
        self.machine.handle(event, clock::now());
    }

    // --- events ----------------------------------------------------------------------------

    fn watched(&mut self, event: StoreEvent) {
        if let StoreEvent::Lost { why } = &event {
            tracing::warn!(why, "the watch of etcd is lost; it begins anew");
        }
        match self.sight.watched(event) {
            Seen::News(event) => self.fold(Event::Store(event)),
            Seen::List => self.writer.list(),
            Seen::Old => {}
        }
    }

    fn written(&mut self, answer: Written) {
        let event = match answer {
            Written::Done(id, outcome) => Event::TxnDone { id, outcome },
            Written::Unknown(id) => Event::TxnUnknown { id },
            Written::Listed(snapshot) => {
                self.sight.listed(&snapshot);
                Event::Store(StoreEvent::Listed(snapshot))
            }
        };
        self.fold(event);
    }

    fn heard(&mut self, said: FromMesos) {
        match said {
            FromMesos::Presented { given_up } => self.fold(Event::Presented { given_up }),
            FromMesos::Event(event) => self.fold(Event::Mesos(*event)),
            FromMesos::Refused(error) | FromMesos::Ended(error) => {
                tracing::warn!("{}", in_one_line(&error));
            }
        }
    }

    fn unsubscribed(&mut self, error: MesosError) -> Option<End> {
        match error {
            MesosError::Removed if self.machine.has_ended() => {
                self.fold(Event::Removed);
                return None;
            }
            MesosError::Removed => return Some(End::Failed(error.into())),
            MesosError::FailedOver => {
                tracing::error!("{error}; this process stands down");
                // A leader of this prefix subscribes with our ID once our lease is over.
                let usurped = self.belief.holds();
                return Some(if usurped { End::Usurped } else { End::StandDown });
            }
            _ if error.next_step() == NextStep::GiveUp => {
                tracing::error!("{}", in_one_line(&error));
            }
            _ => tracing::warn!("{}", in_one_line(&error)),
        }
        self.fold(Event::Disconnected);
        None
    }

    fn listed_agents(&mut self, answer: Result<Result<Vec<AgentSeen>, MesosError>, JoinError>) {
        self.poll = None;
        match answer {
            Ok(Ok(agents)) => self.fold(Event::Agents(agents)),
            // The machine asks again by itself.
            Ok(Err(error)) if error.is_closed() => {
                self.fold(Event::AgentsHidden { why: in_one_line(&error) });
            }
            Ok(Err(error)) => {
                tracing::warn!("cannot list the agents: {}", in_one_line(&error));
            }
            Err(error) => tracing::error!("cannot list the agents: {error}"),
        }
        if std::mem::take(&mut self.stale) {
            self.ask_for_agents();
        }
    }

    // --- effects ---------------------------------------------------------------------------

    fn carry_out(&mut self, effect: Effect) -> Option<End> {
        match effect {
            Effect::Txn { id, txn } => self.writer.txn(id, txn),
            Effect::Relist => {
                if self.sight.want() {
                    self.writer.list();
                }
            }
            Effect::Subscribe(subscribe) => self.mesos.subscribe(*subscribe),
            Effect::Unsubscribe => self.mesos.hang_up(),
            Effect::Call(call) => {
                self.count(&call);
                self.mesos.call(*call);
            }
            Effect::PollAgents => self.ask_for_agents(),
            Effect::AskGates(gates) => self.gates.ask(gates),
            Effect::EditSchedule(edit) => self.schedule.edit(&self.operator, edit),
            Effect::AskMembers => self.members.ask(self.store.clone()),
            Effect::Resign => return Some(End::StandDown),
            Effect::GiveUp { why } => {
                return Some(End::Failed(ControllerError::Outdated { why }));
            }
            Effect::Note(note) => tell(&note),
        }
        None
    }

    fn count(&self, call: &Call) {
        let Call::Accept(accept) = call else { return };
        for operation in &accept.operations {
            if let Operation::Launch(tasks) = operation {
                for task in tasks {
                    self.pulse.launched(&task.name);
                }
            }
        }
    }

    fn ask_for_agents(&mut self) {
        let operator = match &self.operator {
            Ok(operator) if self.poll.is_none() => operator.clone(),
            Ok(_) => return,
            Err(error) => {
                tracing::error!("cannot list the agents: {}", in_one_line(error));
                return;
            }
        };
        let ask = async move { operator.agents().await };
        self.poll = Some(AbortOnDropHandle::new(tokio::spawn(ask)));
    }
}

fn tell(note: &Note) {
    let host = note.host.as_ref().map(crate::words::HostName::as_str);
    match note.level {
        Level::Info => tracing::info!(host, "{}", note.text),
        Level::Warning => tracing::warn!(host, "{}", note.text),
    }
}
