//! Names for attempts and runs, as small as can be.
//!
//! Attempts of one host are only compared with each other, and runs only for equality. So states
//! that differ in nothing but such numbers are one state, and the number of states is finite
//! however often something is tried again.

use calico_dcos::job::protocol::Entry;
use calico_dcos::words::Attempt;

use super::world::{Executor, Host, Record, State, Then, Ticket, Txn, World};

/// A visitor of each place where a host, or something under way, names an attempt or a run.
struct Names<'a> {
    attempt: &'a mut dyn FnMut(&mut Attempt),
    run: &'a mut dyn FnMut(&mut u8),
}

impl Names<'_> {
    fn ticket(&mut self, ticket: &mut Ticket) {
        (self.attempt)(&mut ticket.attempt);
        (self.run)(&mut ticket.run);
    }

    fn record(&mut self, record: &mut Record) {
        (self.attempt)(&mut record.attempt);
        if let State::Held(Some(run)) = &mut record.state {
            (self.run)(run);
        }
    }

    fn entry(&mut self, entry: &mut Entry<u8>) {
        (self.attempt)(&mut entry.attempt);
        (self.run)(&mut entry.run);
    }

    fn txn(&mut self, txn: &mut Txn) {
        txn.slot.iter_mut().for_each(|slot| self.record(slot));
        match &mut txn.then {
            Then::Nothing => {}
            Then::Launch(attempt) => (self.attempt)(attempt),
            Then::Answer(ticket) => self.ticket(ticket),
        }
    }

    /// All but [`Host::disrupted_before`] and [`Host::outdated`], which remember attempts and make
    /// none happen.
    fn host(&mut self, host: &mut Host) {
        if let Some(Executor { run, asks }) = &mut host.executor {
            (self.run)(run);
            if let Some(attempt) = asks {
                (self.attempt)(attempt);
            }
        }
        host.slot.iter_mut().for_each(|slot| self.record(slot));
        host.journal.iter_mut().for_each(|entry| self.entry(entry));
        host.unit.iter_mut().for_each(|unit| self.ticket(unit));
        host.waiting.rename(|unit| self.ticket(unit));
        host.sent.rename(|txn| self.txn(txn));
        host.launches.rename(|attempt| (self.attempt)(attempt));
        host.questions.rename(|question| self.ticket(question));
        host.answers.rename(|answer| self.ticket(answer));
        host.reports.rename(|entry| self.entry(entry));
    }
}

/// The largest attempt that anything still names, and a run that nothing names.
pub(crate) fn newest(host: &Host) -> (Attempt, u8) {
    let (mut attempt, mut run) = (Attempt(0), 0);
    Names {
        attempt: &mut |named| attempt = attempt.max(*named),
        run: &mut |named| run = run.max(*named + 1),
    }
    .host(&mut host.clone());
    (attempt, run)
}

/// The smallest attempt that anything still names.
pub(crate) fn oldest(host: &Host) -> Option<Attempt> {
    let mut oldest: Option<Attempt> = None;
    Names {
        attempt: &mut |named| oldest = Some(oldest.map_or(*named, |oldest| oldest.min(*named))),
        run: &mut |_| {},
    }
    .host(&mut host.clone());
    oldest
}

/// Gives all hosts the smallest names that keep the order of their attempts, and sorts the hosts.
pub(crate) fn shorten(world: &mut World) {
    world.hosts.iter_mut().for_each(shorten_host);
    world.hosts.sort_unstable();
}

fn shorten_host(host: &mut Host) {
    let (mut attempts, mut runs) = (0_u64, [None; 32]);
    let mut next = 0;
    Names {
        attempt: &mut |named| attempts |= 1 << named.0,
        run: &mut |named| {
            if runs[usize::from(*named)].is_none() {
                runs[usize::from(*named)] = Some(next);
                next += 1;
            }
        },
    }
    .host(host);
    // Of the attempts that can still happen, the newest that is outdated, if one is.
    host.outdated = host.outdated.and_then(|newest| {
        let older = attempts & (u64::MAX >> (63 - newest.0));
        older.checked_ilog2().map(|attempt| Attempt(u64::from(attempt)))
    });
    // An attempt that nothing names can never happen again.
    host.disrupted_before.retain(|attempt| attempts & (1 << attempt.0) != 0);
    // Numbers begin with 1: nothing is newer than an attempt 0.
    let rank = |named: &mut Attempt| {
        named.0 = 1 + u64::from((attempts & ((1 << named.0) - 1)).count_ones());
    };
    host.disrupted_before.rename(rank);
    host.outdated.iter_mut().for_each(rank);
    Names {
        attempt: &mut { rank },
        run: &mut |named| *named = runs[usize::from(*named)].unwrap_or(*named),
    }
    .host(host);
}
