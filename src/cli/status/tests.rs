//! What people and programs see of a rollout.

use insta::assert_snapshot;

use super::*;
use crate::budget::slot::{Guard, SLOT_VERSION, Slot, SlotState};
use crate::plan::control::{Ask, CONTROL_VERSION};
use crate::plan::progress::HostProgress;
use crate::rollout::records::{Holds, Measures, Stage};
use crate::store::LeaderRecord;
use crate::surface::state::State;
use crate::surface::testing::{CLUSTER, NOW, accept, carry, enter, fleet, put, sync};
use crate::words::{Attempt, HostName, Run, SpecHash, Time};

/// Forty hosts in the midst of their first rollout.
fn running() -> State {
    let mut state = fleet(40);
    accept(&mut state);
    for number in 1..=12 {
        sync(&mut state, &format!("a{number}"));
    }
    let held = SlotState::Held { taken_by: Some(Run("r1".to_owned())) };
    for (host, attempt, since, slot) in
        [("a13", 13, 42_000, held), ("a14", 14, 1_500, SlotState::Reserved)]
    {
        carry(&mut state, host, Attempt(attempt));
        let since = Time(NOW.0 - since);
        let slot = Slot {
            version: SLOT_VERSION,
            attempt: Attempt(attempt),
            generation: state.generation(),
            target: SpecHash::of(b""),
            state: slot,
            since,
            attempt_since: since,
        };
        state.hosts.get_mut(&HostName::from(host)).unwrap().slot = Some(slot);
    }
    state.guard = Some(Guard { held: 2, ..Guard::new("1".to_owned()) });
    state.leader = Some(LeaderRecord {
        version: 1,
        name: "master1/4711".to_owned(),
        started: Time(0),
        url: None,
    });
    state
}

fn view(state: State) -> View {
    View::new(state, Vec::new(), NOW).unwrap_or_else(|error| panic!("{error}"))
}

fn plain(view: &View) -> String {
    anstream::adapter::strip_str(&page::text(view, &view.plan())).to_string()
}

#[test]
fn a_rollout_of_forty_hosts() {
    assert_snapshot!(plain(&view(running())));
}

#[test]
fn what_is_paused_is_told_also_where_nothing_waits_for_it() {
    let mut state = running();
    let ask = |who: &str, why: Option<&str>| Ask {
        version: CONTROL_VERSION,
        who: who.to_owned(),
        at: Time(NOW.0 - 120_000),
        why: why.map(str::to_owned),
    };
    let controls = &mut state.controls;
    controls.paused_hosts.insert("a1".into(), ask("alice", Some("disk swap")));
    controls.paused_pools.insert("gpu".to_owned(), ask("bob", None));
    let view = view(state);
    let page = plain(&view);
    assert!(page.contains("paused     pool `gpu`, by bob, 2 min ago\n"), "{page}");
    assert!(page.contains("paused     host `a1`, by alice, 2 min ago: disk swap\n"), "{page}");
    let report = serde_json::to_value(StatusReport::new(&view, &view.plan())).unwrap();
    assert_eq!(report["pauses"][1]["host"], "a1", "{report}");
}

#[test]
fn a_rollout_in_one_line() {
    let view = view(running());
    assert_snapshot!(page::summary(&view, &view.plan()));
}

#[test]
fn a_halt_and_refused_documents_without_a_controller() {
    let mut state = running();
    enter(&mut state, Stage::Halted { why: "1 failed (a13); maxFailures is 1".to_owned() });
    let progress = HostProgress { failed: true, ..HostProgress::new(state.generation(), NOW) };
    state.hosts.get_mut(&HostName::from("a13")).unwrap().progress = Some(progress);
    put(&mut state, "cluster", &CLUSTER.replace("v2.6.12", ""));
    state.leader = None;
    assert_snapshot!(plain(&view(state)));
}

#[test]
fn records_that_cannot_be_true_halt_as_in_the_controller() {
    use crate::budget::books::Untrue;
    let mut other = running();
    other.cluster = Some("2".to_owned());
    let mut miscounted = running();
    miscounted.guard.as_mut().unwrap().held = 5;
    for (state, why) in
        [(other, Untrue::Restored), (miscounted, Untrue::Miscounted { counted: 5, found: 2 })]
    {
        let view = view(state);
        let shown = plain(&view);
        assert_eq!(RolloutStatus::of(&view, &view.plan()).exit(), Exit::Halted);
        assert!(shown.contains(&format!("Halted: {why}")), "{shown}");
        assert!(!shown.contains("or until the documents declare"), "{shown}");
    }
}

#[test]
fn the_time_that_is_left_is_told_from_how_long_hosts_held_their_slots() {
    let mut state = running();
    let assumed = view(state.clone()).plan().summary.estimate_seconds;
    let mut holds = Holds::default();
    holds.add(5_000);
    state.measures = Some(Measures { holds, ..Measures::default() });
    let known = view(state).plan().summary.estimate_seconds;
    assert_eq!(known, assumed / 60 * 5, "60 s are assumed, 5 s were seen");
}

#[test]
fn for_programs() {
    let mut state = running();
    state.hosts.retain(|name, _| ["a1", "a13", "a14", "a15"].contains(&name.as_str()));
    let view = view(state);
    let report = serde_json::to_value(StatusReport::new(&view, &view.plan())).unwrap();
    insta::assert_json_snapshot!(report);
}

#[test]
fn the_exit_code_is_the_standing() {
    let standing = |state: &State| {
        let view = view(state.clone());
        RolloutStatus::of(&view, &view.plan())
    };
    let mut state = running();
    assert_eq!(standing(&state).exit(), Exit::Differs);
    state.hosts.retain(|name, _| ["a1", "a2"].contains(&name.as_str()));
    state.guard.as_mut().unwrap().held = 0;
    assert_eq!(standing(&state), RolloutStatus::Done);
    let newer = CLUSTER.replace("v2.6.12", "v2.6.13");
    put(&mut state, "cluster", &newer);
    assert_eq!(standing(&state), RolloutStatus::NotAccepted);
    put(&mut state, "cluster", &newer.replace("rollout: {", "rollout: {paused: true, "));
    accept(&mut state);
    assert_eq!(standing(&state), RolloutStatus::Paused);
    put(&mut state, "cluster", "kind: Cluster");
    assert_eq!(standing(&state), RolloutStatus::Refused);
    enter(&mut state, Stage::Halted { why: "x".to_owned() });
    assert_eq!(standing(&state).exit(), Exit::Halted);
}
