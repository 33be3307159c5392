use super::*;
use crate::plan::progress::HostProgress;
use crate::surface::testing::{CLUSTER, NOW, POOL, accept, fleet, put};

#[test]
fn unknown_hosts_and_pools_are_answered_with_the_nearest_ones() {
    let mut state = fleet(12);
    put(&mut state, "pools/gpu", POOL);
    let pool = |name: &str| ScopeName::Pool(name.to_owned());
    let host = |name: &str| ScopeName::Host(name.to_owned());
    assert_eq!(ScopeName::Cluster.find(&state).unwrap(), Scope::Cluster);
    assert_eq!(pool("gpu").find(&state).unwrap(), Scope::Pool("gpu".to_owned()));
    let known = state.hosts.keys().next().unwrap().to_string();
    assert_eq!(host(&known).find(&state).unwrap(), Scope::Host(known.as_str().into()));
    let refused = |scope: ScopeName| scope.find(&state).unwrap_err().to_string();
    assert!(refused(pool("gpus")).contains("did you mean `gpu`?"));
    let odd = format!("{known}x");
    assert!(refused(host(&odd)).contains("did you mean `"), "{odd}");
    assert!(refused(host("nothing-like-it")).contains("list all"));
}

fn alice() -> Person {
    Person { who: "alice@desk".to_owned(), at: NOW }
}

#[test]
fn before_a_controller_has_accepted_an_edit_nobody_is_told_to_approve_it() {
    let mut state = fleet(1);
    put(&mut state, "cluster", &CLUSTER.replace("rollout: {", "rollout: {start: approved, "));
    let view = View::new(state.clone(), Vec::new(), NOW).unwrap();
    let told = |view: &View| {
        let plan = view.plan();
        let reason = plan.hosts[0].reason.clone().unwrap();
        (reason.code(), reason.to_string().contains("`calico-dcos approve`"))
    };
    assert_eq!(told(&view), ("waiting-for-approval", false));
    let refused = approve(&view, None, &alice()).unwrap_err();
    assert!(refused.to_string().contains("not in force yet"), "{refused}");
    accept(&mut state);
    let view = View::new(state, Vec::new(), NOW).unwrap();
    assert_eq!(told(&view), ("waiting-for-approval", true));
    assert!(approve(&view, None, &alice()).is_ok());
}

#[test]
fn what_was_approved_or_promoted_before_is_said_to_be_so() {
    let mut state = fleet(1);
    put(&mut state, "cluster", &CLUSTER.replace("rollout: {", "rollout: {start: approved, "));
    accept(&mut state);
    let generation = state.generation();
    let said = Approval { version: CONTROL_VERSION, who: "bob".to_owned(), at: NOW, generation };
    for (control, already) in
        [(Control::Approved, "is approved already."), (Control::Promoted, "to all hosts already.")]
    {
        state.controls.put(control, &to_json(&said)).unwrap();
        let view = View::new(state.clone(), Vec::new(), NOW).unwrap();
        let refused = approve(&view, Some(generation), &alice()).unwrap_err();
        assert!(
            matches!(&refused, Refused::Already(text) if text.ends_with(already)),
            "{refused:?}"
        );
    }
}

#[test]
fn a_retry_of_a_host_that_is_blocked_says_what_that_means() {
    let mut state = fleet(20);
    accept(&mut state);
    let name = |name: &str| [name.to_owned()];
    let refused = |state: &State, host| retry(state, &name(host), &alice()).unwrap_err();
    let text = refused(&state, "a1").to_string();
    assert!(text.starts_with("no attempt of host `a1` has failed"), "{text}");
    let text = refused(&state, "a18").to_string();
    assert!(
        text.contains("is blocked") && text.contains("Docker 23 has no cluster store"),
        "{text}"
    );

    // What only the host can see is asked for again, at once.
    let mut progress = HostProgress::new(state.generation(), NOW);
    progress.refused = Some("the port is taken by dnsmasq".to_owned());
    progress.retry_at = NOW.plus_secs(300);
    state.hosts.get_mut(&HostName::from("a1")).unwrap().progress = Some(progress.clone());
    assert!(!retry(&state, &name("a1"), &alice()).unwrap().done.contains("blocked"));
    progress.refused = None;
    progress.failures = 1;
    state.hosts.get_mut(&HostName::from("a18")).unwrap().progress = Some(progress);
    let done = retry(&state, &name("a18"), &alice()).unwrap().done;
    assert!(done.contains("a18 stays blocked: Docker 23"), "{done}");
}

#[test]
fn what_is_not_paused_is_answered_with_what_is() {
    let mut state = fleet(1);
    assert!(not_paused(&Scope::Cluster, &state).contains("nothing else is"));
    let asked = alice().ask(Some("disk swap".to_owned()));
    assert!(told(&asked, NOW).ends_with("by alice@desk: disk swap"));
    state.controls.paused_pools.insert("gpu".to_owned(), asked);
    assert!(not_paused(&Scope::Cluster, &state).ends_with("paused: pool `gpu`."));
}

#[test]
fn a_halt_for_failures_says_what_to_do_next() {
    let mut state = fleet(12);
    accept(&mut state);
    let why = "1 failed (a3); maxFailures is 1".to_owned();
    let generation = state.generation();
    let record = serde_json::json!({
        "version": 1, "generation": generation, "stage": {"is": "halted", "why": why}, "since": NOW,
    });
    state.rollout = Some(serde_json::from_value(record).unwrap());
    let told = |state: &State| {
        let view = View::new(state.clone(), Vec::new(), NOW).unwrap();
        approve(&view, None, &alice()).unwrap_err()
    };
    let refused = told(&state);
    assert!(matches!(&refused, Refused::Halted(_)), "{refused:?}");
    let text = refused.to_string();
    assert!(text.starts_with("the rollout has halted") && text.contains(&why), "{text}");
    assert!(text.contains("`calico-dcos release HOST`"), "where nobody has failed: {text}");
    let mut progress = HostProgress::new(generation, NOW);
    (progress.failures, progress.failed) = (3, true);
    state.hosts.get_mut(&HostName::from("a3")).unwrap().progress = Some(progress);
    assert!(told(&state).to_string().contains("`calico-dcos retry a3`"), "{}", told(&state));
}
