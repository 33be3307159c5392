//! The runner, rule by rule: a script says what each command is answered.

use super::*;
use crate::job::order::Change;
use crate::job::samples::change;
use crate::words::Component::{Docker, MesosAgent};

const STABILITY_MS: u64 = 30_000;

type Does = fn(&Host, &Command) -> Result<(), String>;

/// A host that answers well unless told otherwise, and notes what it was told to do.
struct Host {
    disk: Option<Journal>,
    now: Uptime,
    seen: Vec<Command>,
    /// In what state each step is found, by component.
    found: fn(&Host, &StepOrder) -> Finding,
    /// What commands come to.
    does: Does,
    /// The process dies instead of carrying this command out.
    dies_at: fn(&Command) -> bool,
}

impl Host {
    fn with(change: Change) -> Self {
        let journal = Journal::open(None, change, Run::from("r1")).expect("nothing is open");
        Self {
            disk: Some(journal),
            now: Uptime(0),
            seen: Vec::new(),
            found: |host, step| {
                if host.did(|seen| *seen == Command::Verify(step.clone())) {
                    Finding::InForce
                } else {
                    Finding::Ready { disrupts: true }
                }
            },
            does: |_, _| Ok(()),
            dies_at: |_| false,
        }
    }

    fn did(&self, what: impl Fn(&Command) -> bool) -> bool {
        self.seen.iter().any(what)
    }

    /// Runs one process to its end; none if it died.
    fn run(&mut self, attempt: u64, run: &str) -> Option<Outcome> {
        let (mut runner, mut command) = Runner::start(Attempt(attempt), Run::from(run));
        loop {
            self.seen.push(command.clone());
            if (self.dies_at)(&command) {
                return None;
            }
            let did = (self.does)(self, &command);
            let answer = match command {
                Command::Exit(outcome) => return Some(outcome),
                Command::Lock => Answer::Locked(self.disk.clone()),
                Command::Check(step) => Answer::Found((self.found)(self, &step)),
                Command::Write(journal) => {
                    self.disk = Some(journal);
                    Answer::Did(did)
                }
                Command::Probe(at) => {
                    self.now = self.now.max(at);
                    Answer::Did(did)
                }
                Command::ArmBootUnit
                | Command::Apply(_)
                | Command::Verify(_)
                | Command::Undo(_) => Answer::Did(did),
            };
            command = runner.handle(self.now, answer);
        }
    }

    fn progress(&self) -> &Progress {
        &self.disk.as_ref().expect("there is a journal").progress
    }

    /// What was done to the machine, in order.
    fn touched(&self) -> Vec<String> {
        let name = |command: &Command| match command {
            Command::ArmBootUnit => Some("arm".to_owned()),
            Command::Apply(step) => Some(format!("apply {}", step.component)),
            Command::Verify(step) => Some(format!("verify {}", step.component)),
            Command::Undo(step) => Some(format!("undo {}", step.component)),
            _ => None,
        };
        self.seen.iter().filter_map(name).collect()
    }
}

fn both() -> Change {
    change(5, true, &[Docker, MesosAgent])
}

#[test]
fn steps_are_taken_in_order_and_closed_after_the_stability_time() {
    let mut host = Host::with(both());
    assert_eq!(host.run(5, "r1"), Some(Outcome::Closed));
    assert_eq!(*host.progress(), Progress::Done);
    assert_eq!(host.now, Uptime(STABILITY_MS));
    let expected = ["arm", "apply docker", "verify docker"];
    assert_eq!(host.touched()[..3], expected);
    assert_eq!(host.touched()[3..], ["arm", "apply mesosAgent", "verify mesosAgent"]);
}

#[test]
fn a_unit_that_is_not_admitted_touches_nothing() {
    for (attempt, run) in [(5, "r2"), (4, "r1"), (6, "r1")] {
        let mut host = Host::with(both());
        assert_eq!(host.run(attempt, run), Some(Outcome::NotAdmitted));
        assert_eq!(host.seen.len(), 2, "lock and exit: {:?}", host.seen);
    }
    let mut closed = Host::with(both());
    closed.run(5, "r1");
    closed.seen.clear();
    assert_eq!(closed.run(5, "r1"), Some(Outcome::NotAdmitted));
    assert_eq!(closed.touched(), [""; 0]);
}

#[test]
fn each_step_is_in_the_journal_before_it_is_applied() {
    let mut host = Host::with(both());
    host.run(5, "r1");
    let mut begun = Vec::new();
    for command in &host.seen {
        match command {
            Command::Write(journal) => begun.clone_from(&journal.begun),
            Command::Apply(step) => {
                let index = both().steps.iter().position(|other| other == step);
                assert_eq!(begun.last().copied(), index, "{step:?}");
            }
            _ => {}
        }
    }
}

#[test]
fn the_boot_unit_is_armed_before_the_first_disruption_only() {
    let mut host = Host::with(change(5, false, &[Docker]));
    host.found = |_, _| Finding::Ready { disrupts: false };
    assert_eq!(host.run(5, "r1"), Some(Outcome::Closed));
    assert_eq!(host.touched(), ["apply docker", "verify docker"]);
}

#[test]
fn what_is_in_force_is_left_alone() {
    let mut host = Host::with(both());
    host.found = |_, _| Finding::InForce;
    assert_eq!(host.run(5, "r1"), Some(Outcome::Closed));
    assert_eq!(*host.progress(), Progress::Done);
    assert_eq!(host.touched(), [""; 0]);
}

#[test]
fn a_failed_step_is_undone_with_those_before_it_in_reverse_order() {
    let failures: [Does; 2] = [
        |_, command| match command {
            Command::Apply(step) if step.component == MesosAgent => Err("no".to_owned()),
            _ => Ok(()),
        },
        |_, command| match command {
            Command::Verify(step) if step.component == MesosAgent => Err("no".to_owned()),
            _ => Ok(()),
        },
    ];
    for does in failures {
        let mut host = Host { does, ..Host::with(both()) };
        assert_eq!(host.run(5, "r1"), Some(Outcome::Closed));
        assert_eq!(*host.progress(), Progress::Undone { why: "no".into() });
        let undone = host.touched().split_off(host.touched().len() - 2);
        assert_eq!(undone, ["undo mesosAgent", "undo docker"]);
    }
}

#[test]
fn a_refused_precondition_undoes_only_what_was_begun() {
    let mut host = Host::with(both());
    host.found = |_, step| match step.component {
        MesosAgent => Finding::Refused { why: "another architecture".to_owned() },
        _ => Finding::Ready { disrupts: true },
    };
    host.run(5, "r1");
    assert_eq!(*host.progress(), Progress::Undone { why: "another architecture".into() });
    assert_eq!(host.touched(), ["arm", "apply docker", "verify docker", "undo docker"]);
}

#[test]
fn a_change_that_may_not_disrupt_stops_nothing() {
    let mut host = Host::with(change(5, false, &[Docker]));
    host.run(5, "r1");
    assert!(matches!(host.progress(), Progress::Undone { why } if why.contains("docker")));
    assert_eq!(host.touched(), [""; 0]);
}

/// The journal stays open meanwhile, and with it the slot.
#[test]
fn s49_a_lapse_starts_the_stability_time_again() {
    let mut host = Host::with(both());
    host.does = |host, command| match command {
        Command::Probe(at) if *at == Uptime(20_000) && host.now < *at => Err("lapse".to_owned()),
        _ => Ok(()),
    };
    assert_eq!(host.run(5, "r1"), Some(Outcome::Closed));
    assert_eq!(*host.progress(), Progress::Done);
    assert_eq!(host.now, Uptime(21_000 + STABILITY_MS));
}

#[test]
fn what_never_gets_well_is_undone_and_the_reason_kept() {
    let mut host = Host::with(both());
    host.does = |host, command| match command {
        Command::Probe(_) if !host.did(|seen| matches!(seen, Command::Undo(_))) => {
            Err("docker does not answer".to_owned())
        }
        _ => Ok(()),
    };
    assert_eq!(host.run(5, "r1"), Some(Outcome::Closed));
    assert_eq!(*host.progress(), Progress::Undone { why: "docker does not answer".into() });
    assert_eq!(host.now.0, PATIENCE_MS + 3 * STABILITY_MS);
}

#[test]
fn an_undo_that_fails_does_not_keep_the_others_from_it_and_is_told() {
    let mut host = Host::with(both());
    host.does = |_, command| match command {
        Command::Verify(step) if step.component == MesosAgent => Err("no".to_owned()),
        Command::Undo(step) if step.component == MesosAgent => Err("stuck".to_owned()),
        _ => Ok(()),
    };
    host.run(5, "r1");
    let why = "no; and could not be put back: stuck".to_owned();
    assert_eq!(*host.progress(), Progress::Undone { why });
    assert_eq!(host.touched().last().map(String::as_str), Some("undo docker"));
}

#[test]
fn a_process_that_dies_anywhere_is_carried_on_to_the_same_end() {
    let deaths: [fn(&Command) -> bool; 6] = [
        |command| matches!(command, Command::Check(_)),
        |command| matches!(command, Command::ArmBootUnit),
        |command| matches!(command, Command::Write(_)),
        |command| matches!(command, Command::Apply(step) if step.component == MesosAgent),
        |command| matches!(command, Command::Verify(step) if step.component == MesosAgent),
        |command| matches!(command, Command::Probe(_)),
    ];
    for (number, dies_at) in deaths.into_iter().enumerate() {
        let mut host = Host { dies_at, ..Host::with(both()) };
        assert_eq!(host.run(5, "r1"), None, "{number}");
        host.dies_at = |_| false;
        assert_eq!(host.run(5, "r1"), Some(Outcome::Closed), "{number}");
        assert_eq!(*host.progress(), Progress::Done, "{number}");
    }
}

#[test]
fn a_process_that_dies_on_the_way_back_is_carried_on_backwards() {
    let mut host = Host::with(both());
    host.does = |_, command| match command {
        Command::Verify(step) if step.component == MesosAgent => Err("no".to_owned()),
        _ => Ok(()),
    };
    host.dies_at = |command| matches!(command, Command::Undo(step) if step.component == Docker);
    assert_eq!(host.run(5, "r1"), None);
    // The fault is gone, and still nothing goes forward any more.
    host.dies_at = |_| false;
    host.does = |_, _| Ok(());
    host.seen.clear();
    assert_eq!(host.run(5, "r1"), Some(Outcome::Closed));
    assert_eq!(*host.progress(), Progress::Undone { why: "no".into() });
    assert_eq!(host.touched(), ["undo mesosAgent", "undo docker"]);
}

#[test]
fn a_journal_that_cannot_be_written_stays_open_and_nothing_is_touched() {
    let mut host = Host::with(change(5, true, &[Docker]));
    host.does = |_, command| match command {
        Command::Write(_) => Err("disk full".to_owned()),
        _ => Ok(()),
    };
    let why = "disk full".to_owned();
    assert_eq!(host.run(5, "r1"), Some(Outcome::Interrupted { why }));
    assert_eq!(host.touched(), ["arm"]);
}
