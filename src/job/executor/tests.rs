//! The executor, rule by rule: here the way of a change, in [`tasks`] the tasks and reports.

mod farewell;
mod tasks;

use super::*;
use crate::job::order::{Ending, Work};
use crate::job::samples::{HOST, change, facts, job, target};
use crate::observed::facts::FactOrder;
use crate::words::Component::{CalicoNode, Docker};
use TaskPhase::{Failed, Finished, Killed, Running, Starting};

/// An executor with the time, the disk and what it did so far.
struct Bench {
    executor: Executor,
    now: Uptime,
    disk: Option<Journal>,
    /// What the node would say of itself beside the journal.
    containers: u32,
    effects: Vec<Effect>,
}

impl Bench {
    fn new() -> Self {
        Self::on(None, 1)
    }

    fn on(disk: Option<Journal>, starts: u64) -> Self {
        let (host, boot_id) = (HostName::from(HOST), "b".to_owned());
        let identity = Identity { host, run: Run(format!("r{starts}")), boot_id, starts };
        let (executor, effects) = Executor::start(identity, disk.clone());
        Self { executor, now: Uptime(0), disk, containers: 0, effects }
    }

    /// One input; surveys and journal writes are answered at once.
    fn give(&mut self, input: Input) -> &mut Self {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            for effect in self.executor.handle(self.now, input) {
                match &effect {
                    Effect::Survey => inputs.push(Input::Facts(self.facts())),
                    Effect::WriteJournal(journal) => {
                        self.disk = Some(journal.clone());
                        inputs.push(Input::JournalSynced);
                    }
                    _ => {}
                }
                self.effects.push(effect);
            }
        }
        self
    }

    fn facts(&self) -> Facts {
        let journal = self.disk.as_ref().map(Journal::facts);
        Facts { agent_containers: self.containers, ..facts(journal) }
    }

    fn launch(&mut self, task: &str, work: Work) -> &mut Self {
        self.give(Input::Launch { task: TaskId::from(task), data: job(work) })
    }

    fn change(&mut self, task: &str, attempt: u64) -> &mut Self {
        self.launch(task, Work::Change(change(attempt, true, &[Docker])))
    }

    fn inspected(&mut self, attempt: u64, finding: Finding) -> &mut Self {
        self.give(Input::Inspected { attempt: Attempt(attempt), findings: vec![finding] })
    }

    fn stops(&mut self, attempt: u64) -> &mut Self {
        self.inspected(attempt, Finding::Ready { disrupts: true })
    }

    fn leave(&mut self, host: &str) -> &mut Self {
        self.give(Input::Message(ToHost::Leave { version: 1, host: host.into() }))
    }

    fn yes(&mut self, attempt: u64, run: &str) -> &mut Self {
        let (attempt, run) = (Attempt(attempt), Run::from(run));
        self.give(Input::Message(ToHost::Admitted { version: 1, attempt, run }))
    }

    fn no(&mut self, attempt: u64, run: &str) -> &mut Self {
        let (attempt, run) = (Attempt(attempt), Run::from(run));
        self.give(Input::Message(ToHost::Denied { version: 1, attempt, run }))
    }

    fn at(&mut self, ms: u64) -> &mut Self {
        self.now = Uptime(ms);
        self.give(Input::Tick)
    }

    /// Brings attempt 5 of task `t` to where its unit works.
    fn working(&mut self) -> &mut Self {
        self.change("t", 5).stops(5).yes(5, "r1")
    }

    /// The unit closes the journal.
    fn close(&mut self, close: impl FnOnce(Journal) -> Journal) -> &mut Self {
        let journal = close(self.disk.clone().expect("there is a journal"));
        self.disk = Some(journal.clone());
        self.give(Input::JournalSeen(journal)).give(Input::UnitEnded)
    }

    /// What was done since this was last asked.
    fn did(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    fn updates(&mut self) -> Vec<(String, TaskPhase)> {
        let update = |effect| match effect {
            Effect::Update { task, state, .. } => Some((task.0, state)),
            _ => None,
        };
        self.did().into_iter().filter_map(update).collect()
    }

    fn endings(&mut self) -> Vec<(TaskPhase, Ending)> {
        let ending = |effect| match effect {
            Effect::Update { state, data: Some(FromHost::Ended { ending, .. }), .. } => {
                Some((state, ending))
            }
            _ => None,
        };
        self.did().into_iter().filter_map(ending).collect()
    }

    fn asks(&mut self) -> usize {
        let ask = |effect: &&Effect| matches!(effect, Effect::Send(FromHost::Ask { .. }));
        self.did().iter().filter(ask).count()
    }

    fn starts_of_units(&mut self) -> Vec<(u64, String)> {
        let start = |effect| match effect {
            Effect::StartUnit { attempt, run } => Some((attempt.0, run.0)),
            _ => None,
        };
        self.did().into_iter().filter_map(start).collect()
    }
}

fn updates(expected: &[(&str, TaskPhase)]) -> Vec<(String, TaskPhase)> {
    expected.iter().map(|(task, state)| ((*task).to_owned(), *state)).collect()
}

#[test]
fn a_disruptive_change_asks_at_once_and_every_second_for_a_minute() {
    let mut bench = Bench::new();
    assert_eq!(bench.change("t", 5).asks(), 0, "it is looked at first");
    assert_eq!(bench.stops(5).asks(), 1);
    for second in 1..60 {
        assert_eq!(bench.at(second * 1000 - 1).asks(), 0);
        assert_eq!(bench.at(second * 1000).asks(), 1, "{second}");
    }
    assert_eq!(bench.at(59_999).endings(), []);
    assert_eq!(bench.at(60_000).endings(), [(Failed, Ending::NotAdmitted)]);
    assert_eq!(bench.yes(5, "r1").did(), [], "too late");
    assert_eq!(bench.executor.next_wake(), Some(Uptime(120_000)), "then it has nothing to do");
}

#[test]
fn with_a_yes_the_journal_is_written_before_the_unit_is_started() {
    let mut bench = Bench::new();
    bench.change("t", 5).stops(5).did();
    let admitted = ToHost::Admitted { version: 1, attempt: Attempt(5), run: Run::from("r1") };
    let effects = bench.executor.handle(Uptime(0), Input::Message(admitted));
    let [Effect::WriteJournal(journal)] = effects.as_slice() else { panic!("{effects:?}") };
    assert_eq!((journal.attempt(), journal.is_open()), (Attempt(5), true));
    assert_eq!(bench.give(Input::JournalSynced).starts_of_units(), [(5, "r1".to_owned())]);
}

#[test]
fn only_a_yes_for_this_attempt_and_run_is_a_yes_and_twice_is_once() {
    let mut bench = Bench::new();
    bench.change("t", 5).stops(5).did();
    assert_eq!(bench.yes(5, "r2").yes(4, "r1").yes(6, "r1").no(5, "r2").no(4, "r1").did(), []);
    assert_eq!(bench.yes(5, "r1").yes(5, "r1").starts_of_units().len(), 1);
    assert_eq!(bench.no(5, "r1").did(), [], "it is under way");
}

#[test]
fn a_no_ends_the_change_with_nothing_changed() {
    let mut bench = Bench::new();
    let endings = bench.change("t", 5).stops(5).no(5, "r1").endings();
    assert_eq!(endings, [(Failed, Ending::NotAdmitted)]);
    assert_eq!(bench.disk, None);
}

#[test]
fn a_change_that_stops_nothing_is_journalled_without_asking() {
    let mut bench = Bench::new();
    bench.launch("t", Work::Change(change(5, false, &[Docker])));
    bench.inspected(5, Finding::Ready { disrupts: false });
    let effects = bench.did();
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Send(_))));
    assert!(effects.iter().any(|effect| matches!(effect, Effect::WriteJournal(_))));
}

#[test]
fn what_the_inspection_finds_decides_before_anybody_is_asked() {
    let refused = Finding::Refused { why: "a swarm".to_owned() };
    let ready = Finding::Ready { disrupts: true };
    for (may_disrupt, finding, expected) in [
        (false, ready, Ending::NeedsSlot { component: Docker }),
        (false, refused.clone(), Ending::Refused { why: "a swarm".to_owned() }),
        (true, refused, Ending::Refused { why: "a swarm".to_owned() }),
    ] {
        let mut bench = Bench::new();
        bench.launch("t", Work::Change(change(5, may_disrupt, &[Docker])));
        assert_eq!(bench.inspected(5, finding).endings(), [(Failed, expected)]);
        assert_eq!(bench.disk, None);
    }
}

#[test]
fn the_update_says_how_the_journal_was_closed() {
    let mut done = Bench::new();
    let endings = done.working().close(Journal::close_done).endings();
    let journal = done.facts().journal.expect("it has one");
    assert_eq!(endings, [(Finished, Ending::Journal { journal })]);

    let mut undone = Bench::new();
    let endings = undone.working().close(|journal| journal.close_undone("no".into())).endings();
    let journal = undone.facts().journal.expect("it has one");
    assert_eq!(endings, [(Failed, Ending::Journal { journal })]);
}

#[test]
fn facts_from_before_the_end_do_not_go_with_the_ending() {
    let mut bench = Bench::new();
    bench.working().did();
    let (before, open) = (bench.facts(), bench.disk.clone().expect("it is open"));
    bench.executor.handle(Uptime(0), Input::JournalSeen(open.close_done()));
    let effects = bench.executor.handle(Uptime(0), Input::Facts(before));
    assert_eq!(effects, [Effect::Survey]);
}

#[test]
fn an_executor_that_finds_an_open_journal_carries_it_on_without_asking() {
    let mut first = Bench::new();
    first.working();
    let mut second = Bench::on(first.disk.clone(), 2);
    assert_eq!(second.starts_of_units(), [(5, "r1".to_owned())]);
    // The same attempt, launched again, waits for the end and is answered from the journal.
    assert_eq!(second.change("again", 5).updates(), updates(&[("again", Starting)]));
    let closed = second.close(Journal::close_done).updates();
    assert_eq!(closed, updates(&[("again", Finished)]));
}

#[test]
fn an_attempt_that_is_not_newer_than_the_journal_is_never_run_again() {
    let mut bench = Bench::new();
    bench.working().close(Journal::close_done).did();
    assert_eq!(bench.change("t5", 5).updates(), updates(&[("t5", Starting), ("t5", Finished)]));
    // An older one did not do its work: the answer is a failure and names the newer one.
    bench.change("t4", 4);
    let journal = bench.facts().journal.expect("it has one");
    assert_eq!(bench.endings(), [(Failed, Ending::Journal { journal })]);
    assert_eq!(bench.change("t6", 6).stops(6).asks(), 1);
}

#[test]
fn one_change_at_a_time_and_a_newer_one_waits_for_the_journal() {
    let mut bench = Bench::new();
    bench.working().did();
    assert_eq!(bench.change("t6", 6).updates(), updates(&[("t6", Starting)]));
    assert_eq!(bench.close(Journal::close_done).updates(), updates(&[("t", Finished)]));
    assert_eq!(bench.stops(6).asks(), 1);
}

#[test]
fn a_newer_disruptive_attempt_takes_the_place_of_one_that_has_not_begun() {
    let mut bench = Bench::new();
    bench.change("t5", 5).stops(5).change("t6", 6);
    assert_eq!(bench.endings(), [(Failed, Ending::NotAdmitted)]);
    assert_eq!(bench.yes(5, "r1").starts_of_units(), []);
    assert_eq!(bench.stops(6).yes(6, "r1").starts_of_units(), [(6, "r1".to_owned())]);
}

#[test]
fn a_unit_that_ended_with_its_journal_open_is_started_again_ever_more_slowly() {
    let mut bench = Bench::new();
    bench.working().did();
    let mut at = 0;
    for wait in [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000] {
        bench.give(Input::UnitEnded);
        assert_eq!(bench.executor.next_wake(), Some(Uptime(at + wait)));
        at += wait;
        assert_eq!(bench.at(at).starts_of_units(), [(5, "r1".to_owned())]);
    }
}

#[test]
fn a_journal_that_cannot_be_written_ends_the_change_and_starts_no_unit() {
    let mut bench = Bench::new();
    bench.change("t", 5).stops(5).did();
    let admitted = ToHost::Admitted { version: 1, attempt: Attempt(5), run: Run::from("r1") };
    bench.executor.handle(Uptime(0), Input::Message(admitted));
    bench.give(Input::JournalFailed { why: "disk full".to_owned(), found: None });
    let endings = bench.endings();
    assert!(
        matches!(&endings[..], [(Failed, Ending::Refused { why })] if why.contains("disk full"))
    );
}

/// The file was in its place, and something failed after that.
#[test]
fn a_journal_that_is_on_disk_all_the_same_is_carried_on() {
    let mut bench = Bench::new();
    bench.change("t", 5).stops(5).did();
    let admitted = ToHost::Admitted { version: 1, attempt: Attempt(5), run: Run::from("r1") };
    let effects = bench.executor.handle(Uptime(0), Input::Message(admitted));
    let [Effect::WriteJournal(written)] = &effects[..] else { panic!("{effects:?}") };
    let (why, found) = ("no answer".to_owned(), Some(written.clone()));
    bench.disk = found.clone();
    bench.give(Input::JournalFailed { why, found });
    assert_eq!(bench.starts_of_units(), [(5, "r1".to_owned())]);
    assert_eq!(bench.close(Journal::close_done).updates(), updates(&[("t", Finished)]));
}

#[test]
fn a_journal_that_another_process_has_opened_is_carried_on_if_that_is_gone() {
    let mut other = Bench::new();
    let open = other.working().disk.clone().expect("it is open");
    let mut bench = Bench::on(None, 2);
    bench.disk = Some(open.clone());
    assert_eq!(bench.give(Input::JournalSeen(open.clone())).starts_of_units(), []);
    assert_eq!(bench.executor.next_wake(), Some(Uptime(10_000)));
    // It gets on, whoever sees to that: nothing is missed, and nothing is started anew each time.
    let begun = open.clone().begin(0);
    assert_eq!(bench.at(9_999).give(Input::JournalSeen(begun)).starts_of_units(), []);
    assert_eq!(bench.at(10_000).starts_of_units(), [(5, "r1".to_owned())]);
    // One that is closed by then is nobody's any more.
    let mut bench = Bench::on(None, 2);
    bench.give(Input::JournalSeen(open.clone())).give(Input::JournalSeen(open.close_done()));
    assert_eq!(bench.at(10_000).starts_of_units(), []);
}

#[test]
fn why_a_unit_does_not_start_is_told_with_the_facts_until_it_gets_on() {
    let mut bench = Bench::new();
    let reported = |bench: &mut Bench| {
        let facts = bench.did().into_iter().filter_map(|effect| match effect {
            Effect::Update { data: Some(FromHost::Facts { facts }), .. } => Some(facts.stuck),
            _ => None,
        });
        facts.collect::<Vec<_>>()
    };
    bench.launch("o", Work::Observe { confirm_seconds: 3600 }).working();
    assert_eq!(reported(&mut bench), [None]);
    let not_started = || Input::UnitNotStarted { why: "the disk is full".to_owned() };
    assert_eq!(reported(bench.give(not_started())), [], "it may be an accident");
    let why = Some("its unit does not start: the disk is full".to_owned());
    assert_eq!(reported(bench.give(not_started())), [why]);
    assert_eq!(reported(bench.give(not_started())), [], "it is known");
    let ends = reported(bench.give(Input::UnitEnded));
    assert!(matches!(&ends[..], [Some(why)] if why.contains("journalctl")), "{ends:?}");
    let begun = bench.disk.clone().expect("it is open").begin(0);
    bench.disk = Some(begun.clone());
    assert_eq!(reported(bench.give(Input::JournalSeen(begun))), [None]);
}

#[test]
fn a_late_reading_of_the_journal_changes_nothing() {
    let mut bench = Bench::new();
    bench.working().close(Journal::close_done);
    let old = bench.disk.clone().expect("it is closed");
    bench.change("t6", 6).stops(6).yes(6, "r1").did();
    assert_eq!(bench.give(Input::JournalSeen(old)).did(), []);
    assert_eq!(bench.executor.tasks().count(), 1);
}
