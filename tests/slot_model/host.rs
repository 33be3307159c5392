//! A host: its executor, its journal, and the units that carry an open journal out.

use calico_dcos::job::protocol::{self, Entry, OnLaunch, Stage};
use calico_dcos::words::Attempt;

use super::model::Protocol;
use super::names;
use super::world::{Executor, Host, InForce, Post, Ticket};

/// A new executor process: its run was never heard of before.
pub(crate) fn start_executor(host: &mut Host) {
    let (_, run) = names::newest(host);
    host.executor = Some(Executor { run, asks: None });
}

/// A launch arrives, for the first time or again.
pub(crate) fn hear_launch(protocol: Protocol, host: &mut Host, attempt: Attempt) {
    let Some(executor) = &mut host.executor else { return };
    // Of two attempts only the newer one can hold the slot: the older one gives up.
    if executor.asks.is_some_and(|asked| attempt <= asked) {
        return;
    }
    let runs = match protocol::on_launch(host.journal.as_ref(), attempt) {
        OnLaunch::Proceed => true,
        OnLaunch::Wait => false,
        OnLaunch::Answer => protocol == Protocol::RunsOldLaunches,
    };
    if !runs {
        report(protocol, host);
    } else if protocol == Protocol::HostDoesNotAsk {
        open(protocol, host, attempt);
    } else {
        executor.asks = Some(attempt);
        ask(host);
    }
}

/// Asks, for the first time or again.
pub(crate) fn ask(host: &mut Host) {
    if let Some(Executor { run, asks: Some(attempt) }) = host.executor {
        host.questions.put(Ticket { attempt, run });
    }
}

/// A yes arrives. Whether it answers the question that is asked, the product says.
pub(crate) fn hear_yes(protocol: Protocol, host: &mut Host, yes: Ticket) {
    let Some(Executor { run, asks: Some(attempt) }) = host.executor else { return };
    if protocol::answers((attempt, &run), (yes.attempt, &yes.run)) {
        open(protocol, host, attempt);
    }
}

/// No yes came in time: the host changes nothing.
pub(crate) fn give_up(host: &mut Host) {
    if let Some(executor) = &mut host.executor {
        executor.asks = None;
    }
}

/// The journal is on disk. Before that nothing has happened, so no death in between is modelled.
fn open(protocol: Protocol, host: &mut Host, attempt: Attempt) {
    let Some(executor) = &mut host.executor else { return };
    executor.asks = None;
    let again = Entry { attempt, run: executor.run, stage: Stage::Open };
    match protocol::open(host.journal.as_ref(), attempt, executor.run) {
        Ok(entry) => host.journal = Some(entry),
        Err(_) if protocol == Protocol::RunsOldLaunches => host.journal = Some(again),
        Err(_) => {}
    }
}

/// The unit that is to be started for the journal on disk: right after it was opened, and by
/// whoever finds it open.
pub(crate) fn to_start(protocol: Protocol, host: &Host) -> Option<Ticket> {
    let (attempt, run) = protocol::carry_on(host.journal.as_ref())?;
    let opened = host.executor.is_some_and(|executor| executor.run == *run);
    (opened || protocol != Protocol::CarriesNothingOn).then_some(Ticket { attempt, run: *run })
}

/// A unit gets the host's lock, and looks at the journal.
pub(crate) fn lock(protocol: Protocol, host: &mut Host, unit: Ticket) {
    host.waiting.retain(|waiting| *waiting != unit);
    let admitted = protocol::admits(host.journal.as_ref(), unit.attempt, &unit.run);
    if protocol == Protocol::UnitDoesNotLook {
        host.journal = Some(Entry { attempt: unit.attempt, run: unit.run, stage: Stage::Open });
    }
    host.unit = Some(unit).filter(|_| admitted || protocol == Protocol::UnitDoesNotLook);
}

/// What the unit that has the lock does next: stop what runs; wait until what is wanted is in
/// force; close the journal.
pub(crate) fn work(host: &mut Host, repeated: &mut bool, turned_back: &mut bool) {
    let Some(unit) = host.unit else { return };
    let goal = host.goal(unit.attempt);
    if host.in_force == goal {
        close(host, true);
    } else if host.disrupted {
        host.in_force = goal;
    } else {
        *repeated |= host.disrupted_before.has(unit.attempt);
        *turned_back |= host.in_force == InForce::Wanted;
        host.disrupted_before.put(unit.attempt);
        host.disrupted = true;
    }
}

/// The change fails and is put back.
pub(crate) fn fail(host: &mut Host) {
    host.in_force = InForce::Other;
    close(host, false);
}

fn close(host: &mut Host, done: bool) {
    if let Some(closed) = host.journal.and_then(|entry| protocol::close(entry, done)) {
        host.journal = Some(closed);
        host.disrupted = false;
    }
    host.unit = None;
}

/// All processes end; what was written stays. The boot unit carries an open journal on.
pub(crate) fn reboot(protocol: Protocol, host: &mut Host) {
    host.executor = None;
    host.unit = None;
    host.waiting = Post::default();
    if let Some(unit) = to_start(protocol, host) {
        host.waiting.put(unit);
    }
}

/// The machine is gone for good: whatever it was in the middle of is over.
pub(crate) fn vanish(host: &mut Host) {
    host.executor = None;
    host.journal = None;
    host.waiting = Post::default();
    host.unit = None;
    host.in_force = InForce::Other;
    host.disrupted = false;
    host.disrupted_before = Post::default();
    host.gone = true;
}

/// The operator wants something else: what is in force, and all that was ordered, is outdated.
pub(crate) fn outdate(host: &mut Host) {
    host.in_force = match host.in_force {
        InForce::Wanted => InForce::Former,
        InForce::Other | InForce::Former => InForce::Other,
    };
    let (newest, _) = names::newest(host);
    host.outdated = Some(newest);
}

/// The executor tells what the journal says.
pub(crate) fn report(protocol: Protocol, host: &mut Host) {
    if let Some(told) = told(protocol, host) {
        host.reports.put(told);
    }
}

/// What a report would say now.
pub(crate) fn told(protocol: Protocol, host: &Host) -> Option<Entry<u8>> {
    let entry = host.journal?;
    let stage = match entry.stage {
        Stage::Open
            if protocol == Protocol::FreesOnHealthy
                && host.in_force == host.goal(entry.attempt) =>
        {
            Stage::Done
        }
        stage => stage,
    };
    Some(Entry { stage, ..entry })
}
