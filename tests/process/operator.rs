//! An operator who steers a rollout with the commands, and a gate that holds it.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use calico_dcos::clock;
use calico_dcos::store::Key;
use calico_dcos::surface::state::State;
use calico_dcos::surface::view::View;
use calico_dcos::words::Generation;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::bench::{Bench, Setting, document, in_sync};
use crate::support::binary::ends;

/// A command of an operator: its exit code, and all that it said.
pub(crate) fn command(bench: &Bench, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_calico-dcos"));
    command.args(arguments).args(["--etcd-endpoints", &bench.etcd.endpoint()]);
    ends(command)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_is_released_only_by_who_says_yes() {
    let bench = Bench::new(Setting { restart_seconds: 600.0, ..Setting::default() }).await;
    let _controller = bench.start();
    let (host, _) = bench.held().await;
    let slot = bench.store.get(&Key::Slot(host.clone())).await.unwrap();
    let (code, said) = command(&bench, &["release", host.as_str()]);
    assert_eq!((code, said.contains("give --yes")), (Some(2), true), "{said}");
    let kept = bench.store.get(&Key::Slot(host.clone())).await.unwrap();
    assert_eq!(kept.map(|entry| entry.create_revision), slot.map(|entry| entry.create_revision));
    let (code, said) = command(&bench, &["release", host.as_str(), "--yes"]);
    assert_eq!((code, said.contains("is given back")), (Some(0), true), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_stages_stops_and_takes_back_a_rollout() {
    let done = |bench: &Bench, arguments: &[&str]| {
        let (code, said) = command(bench, arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {said}");
        said
    };
    let staged = |image| document(image).replace("rollout: {", "rollout: {start: approved, ");
    let held = |state: &State, reason: &str| {
        let view = View::new(state.clone(), Vec::new(), clock::now());
        view.is_ok_and(|view| {
            view.documents_in_force() && view.plan().summary.reasons.get(reason) == Some(&3)
        })
    };
    let converged = |state: &State, generation| {
        state.generation() == Generation(generation) && in_sync(state) == 3
    };
    let bench = Bench::new(Setting { restart_seconds: 0.2, ..Setting::default() }).await;
    bench.put(&staged("calico/node:v1")).await;
    let _controller = bench.start();
    bench.until("waiting for approval", |state| held(state, "waiting-for-approval")).await;
    assert!(done(&bench, &["approve", "--yes"]).contains("Generation 1 starts"));
    bench.until("in sync", |state| converged(state, 1)).await;

    assert!(done(&bench, &["pause", "--why", "disk swap"]).contains("Nothing new starts"));
    assert!(done(&bench, &["pause"]).contains("is paused already"));
    assert!(done(&bench, &["resume", "--host", "a1"]).contains("paused: the cluster"));
    bench.put(&staged("calico/node:v2")).await;
    bench.until("accepted", |state| state.generation() == Generation(2)).await;
    done(&bench, &["approve", "--generation", "2", "--yes"]);
    bench.until("paused", |state| held(state, "paused")).await;
    let (code, said) = command(&bench, &["status"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains(" paused") && said.contains("paused since") && said.contains("disk swap"),
        "{said}"
    );
    done(&bench, &["resume"]);
    bench.until("in sync with the second", |state| converged(state, 2)).await;

    done(&bench, &["rollback", "1", "--yes"]);
    bench.until("accepted again", |state| state.generation() == Generation(3)).await;
    done(&bench, &["approve", "--yes"]);
    bench.until("in sync with the first", |state| converged(state, 3)).await;
    assert_eq!(bench.state().await.texts()["cluster"], staged("calico/node:v1"));

    let history = done(&bench, &["history", "--last", "100"]);
    for what in [
        "approval of generation 2",
        "pause of the cluster: disk swap",
        "resume of the cluster",
        "rollback 1: wrote cluster",
        "generation 3 done",
    ] {
        assert!(history.contains(what), "{what}: {history}");
    }
    assert!(done(&bench, &["approve", "--yes"]).contains("Generation 3 is approved already."));
    for (arguments, hint) in [
        (vec!["approve", "--generation", "2"], "generation 2 is not in force, 3 is"),
        (vec!["pause", "--pool", "gpu"], "there is no pool `gpu`"),
        (vec!["pause", "--host", "a11"], "did you mean `a1`?"),
        (vec!["retry", "a1"], "no attempt of host `a1` has failed"),
        (vec!["release", "a1"], "host `a1` holds no slot; nobody does"),
        (vec!["forget", "a1"], "is active"),
        (vec!["rollback", "77"], "generation 77 is not kept; 1 to 3 are"),
    ] {
        let (code, said) = command(&bench, &arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {said}");
        assert!(said.contains(hint), "{arguments:?}: {said}");
    }

    let canary = "rollout: {start: approved, canary: {hosts: 1}, ";
    bench.put(&document("calico/node:v3").replace("rollout: {", canary)).await;
    bench.until("accepted", |state| state.generation() == Generation(4)).await;
    done(&bench, &["approve", "--yes"]);
    let stable = |state: &State| {
        let canary = state.rollout.as_ref().and_then(|rollout| rollout.canary.as_ref());
        canary.is_some_and(|canary| canary.stable.is_some())
    };
    let state = bench.until("a stable canary", stable).await;
    assert_eq!(in_sync(&state), 1);
    let (code, said) = command(&bench, &["status"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("waiting for approval") && said.contains("a1 went first"), "{said}");
    assert!(done(&bench, &["approve", "--yes"]).contains("goes on to all hosts"));
    bench.until("in sync with the fourth", |state| converged(state, 4)).await;
}

/// A gate that a test opens and closes: its URL, and whether it is open.
async fn gate() -> (String, Arc<AtomicBool>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/go", listener.local_addr().unwrap());
    let open = Arc::new(AtomicBool::new(false));
    let is_open = Arc::clone(&open);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            let status = if is_open.load(Ordering::SeqCst) { "200 OK" } else { "503 No" };
            let answer =
                format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (url, open)
}

#[tokio::test(flavor = "multi_thread")]
async fn s50_nothing_is_disrupted_before_a_gate_answers_200() {
    let bench = Bench::new(Setting { restart_seconds: 0.2, ..Setting::default() }).await;
    let (url, open) = gate().await;
    let gated = format!("rollout: {{gates: [{{http: \"{url}\"}}], ");
    bench.put(&document("calico/node:v1").replace("rollout: {", &gated)).await;
    let _controller = bench.start();
    let waits = |state: &State| {
        let view = View::new(state.clone(), Vec::new(), clock::now());
        view.is_ok_and(|view| view.plan().summary.reasons.get("waiting-for-gate") == Some(&3))
    };
    let state = bench.until("waiting for the gate", waits).await;
    assert!(state.hosts.values().all(|host| host.slot.is_none()));
    let (code, said) = command(&bench, &["status"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("answered 503 and not 200"), "{said}");
    open.store(true, Ordering::SeqCst);
    bench.until("in sync", |state| in_sync(state) == 3).await;
}
