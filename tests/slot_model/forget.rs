//! Forgets what can have no effect any more, so that there are fewer states to look at.
//!
//! That it has none now, the product's functions say: if one of them were to let an old message
//! pass, it would be kept and do its harm. That what has none now never will again rests on
//! this: the slots of a host, and its journals, are for ever newer attempts, a closed journal
//! stays closed, and each process has a new run.

use calico_dcos::job::protocol::{self, OnLaunch, Stage};

use super::controller::{self, Decision};
use super::model::Protocol;
use super::names;
use super::world::{Host, World};

pub(crate) fn forget(protocol: Protocol, world: &mut World) {
    for index in 0..world.hosts.len() {
        let mut host = world.hosts[index];
        let granted = |decision| controller::decide(protocol, world, index, decision).is_some();
        host.questions.retain(|question| granted(Decision::Admit(*question)));
        host.reports.retain(|report| granted(Decision::Conclude(*report)));
        forget_on_host(protocol, &mut host);
        world.hosts[index] = host;
    }
}

fn forget_on_host(protocol: Protocol, host: &mut Host) {
    let journal = host.journal;
    let over = |attempt| {
        protocol != Protocol::RunsOldLaunches
            && protocol::on_launch(journal.as_ref(), attempt) == OnLaunch::Answer
    };
    host.launches.retain(|attempt| !over(*attempt));
    // The process that asked is dead, or will not ask for this again.
    let (_, fresh) = names::newest(host);
    let (run, asks) = host.executor.map_or((fresh, None), |executor| (executor.run, executor.asks));
    host.answers.retain(|yes| {
        protocol::answers((yes.attempt, &run), (yes.attempt, &yes.run))
            && (asks == Some(yes.attempt) || !over(yes.attempt))
    });
    host.waiting.retain(|unit| {
        protocol == Protocol::UnitDoesNotLook
            || protocol::admits(journal.as_ref(), unit.attempt, &unit.run)
    });
    // A closed journal says no more than none if all that can still come is newer.
    let closed = journal.filter(|entry| entry.stage != Stage::Open);
    if let Some(entry) = closed {
        host.journal = None;
        if names::oldest(host).is_some_and(|oldest| oldest <= entry.attempt) {
            host.journal = journal;
        }
    }
}
