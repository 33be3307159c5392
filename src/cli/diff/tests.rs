//! What people and programs see, on made-up clusters.

use insta::assert_snapshot;

use super::*;
use crate::desired::Source;
use crate::mesos::workload::Workload;
use crate::rollout::records::Stage;
use crate::surface::plan::schema;
use crate::surface::testing::{CLUSTER, NOW, POOL, accept, enter, fleet, put, sync};

fn view(state: State, proposed: &[&str]) -> View {
    let proposed = proposed.iter().map(|text| Source::file("new.yaml", *text)).collect();
    View::new(state, proposed, NOW).unwrap_or_else(|error| panic!("{error}"))
}

/// The text without codes for colours.
fn plain(view: &View, all_hosts: bool) -> String {
    anstream::adapter::strip_str(&text(view, &view.plan(), all_hosts)).to_string()
}

/// Forty hosts, all but the last two of every twenty in sync with what is declared.
fn settled() -> State {
    let mut state = fleet(40);
    accept(&mut state);
    for number in (1..=40).filter(|number| (1..18).contains(&(number % 20))) {
        sync(&mut state, &format!("a{number}"));
    }
    enter(&mut state, Stage::Done { at: NOW });
    state
}

#[test]
fn a_first_start_of_forty_hosts() {
    assert_snapshot!(plain(&view(fleet(40), &[]), false));
}

#[test]
fn ten_thousand_hosts_read_as_a_few_lines() {
    let mut state = fleet(10_000);
    accept(&mut state);
    let text = plain(&view(state, &[]), false);
    assert!(text.lines().count() < 30, "{text}");
    assert_snapshot!(text);
}

#[test]
fn before_anything_has_reported() {
    let mut state = fleet(5);
    for host in state.hosts.values_mut() {
        host.observed.as_mut().unwrap().reported = None;
    }
    assert_snapshot!(plain(&view(state, &[]), false));
}

#[test]
fn a_proposed_image_and_a_pool_that_matches_nothing() {
    let newer = CLUSTER.replace("v2.6.12", "v2.6.13");
    let proposed = view(settled(), &[&newer, POOL]);
    assert!(proposed.raises_generation);
    assert_snapshot!(plain(&proposed, false));
}

#[test]
fn whose_containers_stop_is_said_where_mesos_was_asked() {
    let mut state = fleet(9);
    accept(&mut state);
    let id = |name: &str| {
        let host = state.hosts.iter().find(|(host, _)| host.as_str() == name).unwrap().1;
        host.observed.as_ref().unwrap().agent.id.clone()
    };
    let workload = Workload::default()
        .with(&id("a7"), "marathon", true, 12)
        .with(&id("a7"), "spark", true, 3)
        .with(&id("a8"), "marathon", true, 12)
        .with(&id("a8"), "batch", false, 2);
    let mut view = view(state, &[]);
    view.workload = Some(workload);
    let text = plain(&view, true);
    for line in [
        "restarts Docker, 12–15 containers stop on each; in all marathon 24, spark 3",
        "restarts the Mesos agent, with it tasks of batch 2",
        "a7  15 containers stop: marathon 12, spark 3 · facts",
        "a8  12 containers stop: marathon 12 · tasks stop: batch 2 · facts",
        "a6  12 containers stop · facts",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
    let report = serde_json::to_value(PlanReport::new(&view, &view.plan())).unwrap();
    let impact = serde_json::json!({
        "docker": {"marathon": 24, "spark": 3}, "mesosAgent": {"batch": 2},
    });
    assert_eq!(report["impact"], impact);
}

#[test]
fn every_host_is_named_if_that_is_asked_for() {
    let mut state = fleet(20);
    accept(&mut state);
    let text = plain(&view(state, &[]), true);
    for number in 1..=20 {
        let lines =
            text.lines().filter(|line| line.trim_start().starts_with(&format!("a{number} ")));
        assert_eq!(lines.count(), 1, "a{number} in\n{text}");
    }
    assert_snapshot!(text);
}

#[test]
fn no_host_is_named_twice_in_groups() {
    let view = view(fleet(60), &[]);
    let plan = view.plan();
    let groups = crate::surface::group::groups(&plan);
    let mut names: Vec<_> =
        groups.iter().flat_map(crate::surface::group::Group::hosts).map(|host| host.name).collect();
    let all = names.len();
    names.sort();
    names.dedup();
    assert_eq!((names.len(), all), (60, 60));
}

#[test]
fn refused_documents_are_shown_above_all_else() {
    let mut state = settled();
    put(&mut state, "cluster", &CLUSTER.replace("docker: {}", "doker: {}"));
    let view = view(state, &[]);
    assert!(!view.documents_in_force() && view.refused.is_some());
    assert_snapshot!(plain(&view, false));
}

#[test]
fn s77_exit_codes_tell_difference_and_halt() {
    let mut state = settled();
    state.hosts.retain(|name, _| name.as_str() == "a1");
    let code = |state: &State, proposed: &[&str]| {
        let view = view(state.clone(), proposed);
        exit(&view, &view.plan())
    };
    assert_eq!(code(&state, &[]), Exit::Good);
    let text = plain(&view(state.clone(), &[]), false);
    assert!(text.contains("1 host: 1 in sync") && !text.contains("change"), "{text}");
    let newer = CLUSTER.replace("v2.6.12", "v2.6.13");
    assert_eq!(code(&state, &[&newer]), Exit::Differs);
    let excluded = newer.replace("rollout: {", "rollout: {exclude: [a1], ");
    assert_eq!(code(&state, &[&excluded]), Exit::Good);
    enter(&mut state, Stage::Halted { why: "a1 failed".to_owned() });
    assert_eq!(code(&state, &[]), Exit::Halted);
    assert_eq!(code(&state, &[&newer]), Exit::Differs, "an edit is a new rollout");
    let comment = format!("{CLUSTER}# nothing\n");
    assert_eq!(code(&state, &[&comment]), Exit::Halted, "a comment is none");
}

#[test]
fn a_deleted_cluster_holds_everything() {
    let mut state = settled();
    state.documents.clear();
    let view = view(state, &[]);
    assert_eq!(exit(&view, &view.plan()), Exit::Halted);
    assert!(plain(&view, false).contains("the Cluster document was deleted"));
}

#[test]
fn there_may_be_nothing_to_plan_for() {
    let mut state = fleet(1);
    state.documents.clear();
    let error = View::new(state.clone(), Vec::new(), NOW).unwrap_err();
    assert!(matches!(error, ViewError::NoDocuments), "{error}");
    put(&mut state, "cluster", "kind: Cluster");
    let error = View::new(state, Vec::new(), NOW).unwrap_err();
    assert!(matches!(error, ViewError::Refused(_)), "{error}");
}

#[test]
fn failures_of_the_generation_before_do_not_count_for_an_edit() {
    use crate::plan::progress::HostProgress;
    let mut state = settled();
    let mut progress = HostProgress::new(state.generation(), NOW);
    (progress.failures, progress.failed, progress.why) = (3, true, "no route".to_owned());
    for host in state.hosts.values_mut() {
        host.progress = Some(progress.clone());
    }
    let newer = CLUSTER.replace("v2.6.12", "v2.6.13");
    assert_eq!(view(state.clone(), &[&newer]).plan().summary.failed, 0);
    // An edit that changes no host is no new rollout.
    accept(&mut state);
    put(&mut state, "cluster", &newer);
    state.accepted.as_mut().unwrap().set.documents = state.texts();
    progress.generation = state.generation();
    for host in state.hosts.values_mut() {
        host.progress = Some(progress.clone());
    }
    let paused = newer.replace("rollout: {", "rollout: {maxFailures: 9, ");
    assert!(view(state, &[&paused]).plan().summary.failed > 0);
}

#[test]
fn what_programs_see_of_one_host() {
    let mut state = settled();
    state.hosts.retain(|name, _| ["a1", "a18"].contains(&name.as_str()));
    let view = view(state, &[&CLUSTER.replace("v2.6.12", "v2.6.13")]);
    let report = serde_json::to_value(PlanReport::new(&view, &view.plan())).unwrap();
    insta::assert_json_snapshot!(report);
}

#[test]
fn what_is_wanted_is_what_the_controller_renders() {
    let view = view(settled(), &[]);
    let report = serde_json::to_value(PlanReport::new(&view, &view.plan())).unwrap();
    let rendered: std::collections::BTreeMap<_, _> = view.rendered().collect();
    for host in report["hosts"].as_array().unwrap() {
        let name = crate::words::HostName::from(host["name"].as_str().unwrap());
        let record = serde_json::to_value(&rendered[&name]).unwrap();
        assert_eq!(host["wanted"], record["components"]);
        assert_eq!(host["reason"].is_null(), host["inSync"].as_bool().unwrap());
    }
}

/// Regenerate with `UPDATE_SCHEMA=1 cargo test plan_schema`.
#[test]
fn the_plan_schema_is_current() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("plan.schema.json");
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(&path, schema()).unwrap();
    }
    assert!(
        std::fs::read_to_string(&path).unwrap_or_default() == schema(),
        "plan.schema.json is not what the types say; run `UPDATE_SCHEMA=1 cargo test plan_schema` \
         and commit the file"
    );
}
