//! Everything that can happen next, and what must hold whatever happens.

use calico_dcos::job::protocol::Entry;
use calico_dcos::words::Attempt;
use stateright::{Model, Property};

use super::controller::{self, Decision};
use super::world::{Host, InForce, Ticket, Txn, World};
use super::{forget, host, names};

/// How many hosts may be disrupted.
pub(crate) const LIMIT: u32 = 1;
/// Transactions on their way to etcd at a time: two, so that one can overtake the other.
const SENT_AT_MOST: usize = 2;

pub(crate) const BUDGET_KEPT: &str = "no more hosts are disrupted than there are slots";
pub(crate) const RUN_ONCE: &str = "no attempt disrupts its host twice";
const NO_WAY_BACK: &str = "what is wanted is not replaced by what was wanted before";
const GUARD_RIGHT: &str = "the guard counts the slots";
const SLOT_FIRST: &str = "a disrupted host has a slot";
const ALL_DONE: &str = "both hosts get there";

/// The protocol as agreed, and weakened by one piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Agreed,
    /// How many slots are taken is known to the controller alone, and to none after it.
    CountsInMemory,
    /// The reservation alone is taken for permission.
    HostDoesNotAsk,
    /// The yes is sent together with the transaction that makes it true.
    AnswersBeforeCommit,
    /// A slot that was read as reserved is deleted, whatever it has become.
    WithdrawsBlindly,
    /// A reservation does not fail because another one came first.
    GuardNotCompared,
    /// A unit that waited for the lock goes ahead.
    UnitDoesNotLook,
    /// A host that is healthy and has what is wanted gives its slot back, its journal still open.
    FreesOnHealthy,
    /// A launch is run although the journal has its attempt.
    RunsOldLaunches,
    /// A slot is freed by a journal that is closed, whichever attempt it is of.
    TakesAnyEvidence,
    /// A held slot gets no other attempt.
    NeverTriesAgain,
    /// Only the process that opened a journal starts the unit for it.
    CarriesNothingOn,
}

/// How much may go wrong in one history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Faults {
    /// Processes that die, reboots, changes that fail.
    pub(crate) failures: u8,
    /// Hosts that lose what was in force.
    pub(crate) drifts: u8,
    /// Edits, so that something else is wanted. One at most.
    pub(crate) edits: u8,
    /// Machines that are gone for good; a blank one comes back in their place.
    pub(crate) gone: u8,
    /// Elections that the leader before does not notice. Only who counts in memory has any to notice: all
    /// others let every controller act at any time.
    pub(crate) elections: u8,
}

impl Faults {
    pub(crate) const NONE: Self = Self { failures: 0, drifts: 0, edits: 0, gone: 0, elections: 0 };
}

/// The one thing that happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Decide(usize, Decision, Txn),
    Commit(usize, Txn),
    ControllersCrash,
    /// A controller leads, and the one that led before does not know.
    Elect,
    /// The operator edits what is wanted.
    Edit,
    /// All messages from and to the host are lost.
    Lose(usize),
    OnHost(usize, HostStep),
}

/// What happens on a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HostStep {
    ExecutorStarts,
    ExecutorDies,
    HearsLaunch(Attempt),
    AsksAgain,
    HearsYes(Ticket),
    GivesUp,
    StartsUnit(Ticket),
    UnitLocks(Ticket),
    UnitWorks,
    ChangeFails,
    UnitDies,
    Reboots,
    Drifts,
    Vanishes,
    Returns,
    Reports(Entry<u8>),
}

impl Step {
    /// Whether it is needed on the way to the end, or only what can come in between.
    pub(crate) fn is_progress(self) -> bool {
        let fault = matches!(
            self,
            Self::Lose(_)
                | Self::Edit
                | Self::Elect
                | Self::OnHost(_, HostStep::Drifts | HostStep::Vanishes)
        );
        !fault && !self.is_failure()
    }

    fn is_failure(self) -> bool {
        use HostStep::{ChangeFails, ExecutorDies, Reboots, UnitDies};
        matches!(
            self,
            Self::ControllersCrash
                | Self::OnHost(_, ChangeFails | ExecutorDies | Reboots | UnitDies)
        )
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct SlotModel {
    pub(crate) protocol: Protocol,
    faults: Faults,
}

impl SlotModel {
    pub(crate) fn new(protocol: Protocol, faults: Faults) -> Self {
        Self { protocol, faults }
    }

    fn decisions(self, world: &World, index: usize, steps: &mut Vec<Step>) {
        let host = &world.hosts[index];
        let mut add = |decision| {
            let txn = controller::decide(self.protocol, world, index, decision);
            let txn = txn.filter(|txn| !host.sent.has(*txn));
            steps.extend(txn.map(|txn| Step::Decide(index, decision, txn)));
        };
        if host.gone {
            add(Decision::Collect);
        } else if host.in_force != InForce::Wanted {
            add(Decision::Reserve);
        }
        add(Decision::Withdraw);
        if self.protocol != Protocol::NeverTriesAgain {
            add(Decision::TryAgain);
        }
        host.reports.iter().for_each(|report| add(Decision::Conclude(report)));
        host.questions.iter().for_each(|question| add(Decision::Admit(question)));
    }

    fn on_host(self, host: &Host, faults: Faults, mut add: impl FnMut(HostStep)) {
        if let Some(executor) = host.executor {
            host.launches.iter().for_each(|attempt| add(HostStep::HearsLaunch(attempt)));
            host.answers.iter().for_each(|yes| add(HostStep::HearsYes(yes)));
            if let Some(attempt) = executor.asks {
                add(HostStep::GivesUp);
                if !host.questions.has(Ticket { attempt, run: executor.run }) {
                    add(HostStep::AsksAgain);
                }
            }
            let unit = host::to_start(self.protocol, host);
            if let Some(unit) = unit.filter(|unit| !host.waiting.has(*unit)) {
                add(HostStep::StartsUnit(unit));
            }
            let told = host::told(self.protocol, host).filter(|told| !host.reports.has(*told));
            if let Some(told) = told {
                add(HostStep::Reports(told));
            }
        } else if host.gone {
            add(HostStep::Returns);
        } else {
            add(HostStep::ExecutorStarts);
        }
        if faults.gone > 0 && !host.gone {
            add(HostStep::Vanishes);
        }
        match host.unit {
            Some(_) => add(HostStep::UnitWorks),
            None => host.waiting.iter().for_each(|unit| add(HostStep::UnitLocks(unit))),
        }
        let idle = host.unit.is_none() && !host.disrupted;
        if faults.drifts > 0 && host.in_force == InForce::Wanted && idle {
            add(HostStep::Drifts);
        }
        if faults.failures == 0 || host.gone {
            return;
        }
        add(HostStep::Reboots);
        if host.executor.is_some() {
            add(HostStep::ExecutorDies);
        }
        if host.unit.is_some() {
            add(HostStep::UnitDies);
            if host.disrupted {
                add(HostStep::ChangeFails);
            }
        }
    }

    fn take(self, world: &mut World, index: usize, step: HostStep) {
        let protocol = self.protocol;
        let World { hosts, faults, repeated, turned_back, .. } = world;
        let host = &mut hosts[index];
        match step {
            HostStep::ExecutorStarts => host::start_executor(host),
            HostStep::ExecutorDies => host.executor = None,
            HostStep::HearsLaunch(attempt) => host::hear_launch(protocol, host, attempt),
            HostStep::AsksAgain => host::ask(host),
            HostStep::HearsYes(yes) => host::hear_yes(protocol, host, yes),
            HostStep::GivesUp => host::give_up(host),
            HostStep::StartsUnit(unit) => host.waiting.put(unit),
            HostStep::UnitLocks(unit) => host::lock(protocol, host, unit),
            HostStep::UnitWorks => host::work(host, repeated, turned_back),
            HostStep::ChangeFails => host::fail(host),
            HostStep::UnitDies => host.unit = None,
            HostStep::Reboots => host::reboot(protocol, host),
            HostStep::Reports(_) => host::report(protocol, host),
            HostStep::Drifts => {
                host.in_force = InForce::Other;
                faults.drifts -= 1;
            }
            HostStep::Vanishes => {
                host::vanish(host);
                faults.gone -= 1;
            }
            HostStep::Returns => host.gone = false,
        }
    }
}

impl Model for SlotModel {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        let mut hosts = [Host::default(); 2];
        hosts.iter_mut().for_each(host::start_executor);
        vec![World { held: 0, hosts, faults: self.faults, repeated: false, turned_back: false }]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        let sent: usize = world.hosts.iter().map(|host| host.sent.iter().count()).sum();
        for (index, host) in world.hosts.iter().enumerate() {
            if sent < SENT_AT_MOST {
                self.decisions(world, index, steps);
            }
            steps.extend(host.sent.iter().map(|txn| Step::Commit(index, txn)));
            self.on_host(host, world.faults, |step| steps.push(Step::OnHost(index, step)));
            let (told, asked) = (host.reports.is_empty(), host.questions.is_empty());
            if !(told && asked && host.launches.is_empty() && host.answers.is_empty()) {
                steps.push(Step::Lose(index));
            }
        }
        let loses = sent > 0 || self.protocol == Protocol::CountsInMemory;
        if loses && world.faults.failures > 0 {
            steps.push(Step::ControllersCrash);
        }
        if world.faults.elections > 0 {
            steps.push(Step::Elect);
        }
        if world.faults.edits > 0 {
            steps.push(Step::Edit);
        }
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        let mut next = world.clone();
        next.faults.failures -= u8::from(step.is_failure());
        match step {
            Step::Decide(index, _, txn) => {
                controller::send(self.protocol, &mut next.hosts[index], txn);
            }
            Step::Commit(index, txn) => controller::commit(self.protocol, &mut next, index, txn),
            Step::ControllersCrash => controller::crash(self.protocol, &mut next),
            Step::Elect => {
                next.faults.elections -= 1;
                controller::elect(self.protocol, &mut next);
            }
            Step::Edit => {
                next.faults.edits -= 1;
                next.hosts.iter_mut().for_each(host::outdate);
            }
            Step::Lose(index) => next.hosts[index].lose_messages(),
            Step::OnHost(index, step) => self.take(&mut next, index, step),
        }
        forget::forget(self.protocol, &mut next);
        names::shorten(&mut next);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(BUDGET_KEPT, |_, world: &World| {
                world.hosts.iter().filter(|host| host.disrupted).count() <= LIMIT as usize
            }),
            Property::always(RUN_ONCE, |_, world: &World| !world.repeated),
            Property::always(NO_WAY_BACK, |_, world: &World| !world.turned_back),
            Property::always(GUARD_RIGHT, |_, world: &World| {
                world.hosts.iter().filter(|host| host.slot.is_some()).count() == world.held as usize
            }),
            Property::always(SLOT_FIRST, |_, world: &World| {
                world.hosts.iter().all(|host| !host.disrupted || host.slot.is_some())
            }),
            Property::sometimes(ALL_DONE, |_, world: &World| is_done(world)),
        ]
    }
}

/// Both hosts have what is wanted, and all slots are free.
pub(crate) fn is_done(world: &World) -> bool {
    let wanted = |host: &Host| host.in_force == InForce::Wanted;
    world.hosts.iter().all(|host| wanted(host) && !host.disrupted && host.slot.is_none())
}
