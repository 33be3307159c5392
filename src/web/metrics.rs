//! Metrics for Prometheus, in the `OpenMetrics` format: README names each of them. What is in etcd is the same on every
//! process; what only the leader knows is absent on the others.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::board::{Board, Shown};
use super::problem::{Kind, Problem};
use super::{Shared, Site};
use crate::clock;
use crate::plan::Plan;
use crate::plan::reason::CODES;
use crate::surface::hosts::IN_SYNC;
use crate::surface::status::{RolloutStatus, ages};
use crate::surface::view::View;
use crate::words::{Component, Generation, Time};

/// A number that goes up and down.
type Number = Gauge<f64, AtomicU64>;

/// Numbers by labels.
type Numbers = Family<Vec<(&'static str, String)>, Number>;

/// `/metrics`
pub(super) async fn metrics(State(site): Shared) -> Result<Response, Problem> {
    let started_with = Arc::clone(&site.started_with);
    let mut registry = in_etcd(&site.board, started_with).await?;
    of_process(&site, &mut registry);
    let mut text = String::new();
    encode(&mut text, &registry).map_err(|error| {
        tracing::error!(%error, "the metrics cannot be written");
        Problem::new(Kind::Internal, "the metrics cannot be written; the log says more")
    })?;
    let form = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static(form))], text).into_response())
}

/// What is in etcd. Without etcd, or without documents to plan for, there is less to tell. Where too many ask, nothing
/// is told at all: what is absent would be taken for gone.
async fn in_etcd(
    board: &Board,
    started_with: Arc<BTreeMap<String, String>>,
) -> Result<Registry, Problem> {
    let seen = board.answer(move |shown, view, plan| {
        let mut registry = of_cluster(shown, view, plan);
        let differing = number_of(float(view.state.differing(&started_with).len() as u64));
        registry.register(
            "options_differ",
            "Documents that the options of this process make otherwise than they are in etcd",
            differing,
        );
        registry
    });
    match seen.await {
        Err(problem) => without_plan(problem),
        seen => seen,
    }
}

fn without_plan(problem: Problem) -> Result<Registry, Problem> {
    let mut registry = Registry::with_prefix("calico_dcos");
    match problem.kind() {
        Kind::Busy => return Err(problem),
        Kind::Refused => documents(&mut registry, true, Some(false), Generation(0)),
        Kind::NoDocuments => documents(&mut registry, false, None, Generation(0)),
        _ => {}
    }
    Ok(registry)
}

/// What this process does.
fn of_process(site: &Site, registry: &mut Registry) {
    let (beat, now) = (site.pulse.beat(), clock::monotonic());
    let (read, lost) = site.board.sight();
    let build = Numbers::default();
    build.get_or_create(&vec![("version", env!("CARGO_PKG_VERSION").to_owned())]).set(1.0);
    registry.register("build", "Always 1; the label is the version of calico-dcos", build);
    let leads = flag(beat.leads.is_some());
    registry.register("leads", "Whether this process leads (1) or stands by (0)", leads);
    let stuck = flag(site.pulse.stuck(now).is_some());
    registry.register("stuck", "Whether this process has stood still (1), as /health says", stuck);
    let lost = flag(!read || lost.is_some());
    registry.register("etcd_lost", "Whether etcd is not followed (1): all else may be old", lost);
    registry.register_with_unit(
        "pass_duration",
        "How long the passes of the controller took",
        Unit::Seconds,
        site.pulse.passes.clone(),
    );
    registry.register(
        "tasks_launched",
        "Tasks launched by this process, by kind",
        site.pulse.launched.clone(),
    );
    let Some(leads) = beat.leads else { return };
    let subscribed = flag(leads.subscribed);
    registry.register("subscribed", "Whether Mesos sends it offers (1); leader only", subscribed);
    let since = now.saturating_sub(leads.passed).as_secs_f64();
    seconds(registry, "pass_age", "Time since the newest pass; leader only", since);
    let wall = clock::now();
    if let Some(oldest) = leads.heard.values().min() {
        let help = "Time since the host that has been silent for longest was heard of; leader only";
        seconds(registry, "silence", help, age(*oldest, wall));
    }
}

/// What the cluster is like.
fn of_cluster(shown: &Shown, view: &View, plan: &Plan<'_>) -> Registry {
    let mut all = Registry::with_prefix("calico_dcos");
    let (registry, summary) = (&mut all, &plan.summary);
    let in_force = view.documents_in_force();
    documents(registry, view.refused.is_some(), Some(in_force), view.generation());
    let rollout = Numbers::default();
    for standing in RolloutStatus::EACH {
        let is = RolloutStatus::of(view, plan) == standing && shown.lost.is_none();
        rollout.get_or_create(&vec![("standing", standing.code().to_owned())]).set(one(is));
    }
    registry.register("rollout", "1 at how far the rollout is, 0 at the others", rollout);
    let hosts = Numbers::default();
    for reason in CODES.iter().chain([&IN_SYNC]) {
        let number = match *reason {
            IN_SYNC => summary.in_sync,
            reason => summary.reasons.get(reason).copied().unwrap_or(0),
        };
        hosts.get_or_create(&vec![("reason", (*reason).to_owned())]).set(float(number as u64));
    }
    registry.register("hosts", "Hosts by why they do not move, or in-sync", hosts);
    for (name, help, number) in [
        ("slots", "Slots that there are", summary.slots as u64),
        ("slots_held", "Slots that are held", summary.slots_held as u64),
        ("max_unavailable", "Hosts down at which nothing starts", summary.max_unavailable as u64),
        ("containers_to_stop", "Containers that planned restarts stop", summary.containers),
    ] {
        registry.register(name, help, number_of(float(number)));
    }
    let held = Numbers::default();
    for host in &plan.hosts {
        if let Some(slot) = host.view.slot {
            let labels = vec![("host", host.name.to_string())];
            held.get_or_create(&labels).set(age(slot.since, view.now));
        }
    }
    registry.register_with_unit(
        "slot_age",
        "Since when a host holds its slot",
        Unit::Seconds,
        held,
    );
    let restarts = Numbers::default();
    for component in Component::ALL {
        let labels = vec![("component", component.name().to_owned())];
        let number = summary.restarts.get(&component).copied().unwrap_or(0);
        restarts.get_or_create(&labels).set(float(number as u64));
    }
    registry.register("restarts_planned", "Restarts that the plan has, by service", restarts);
    facts(registry, view);
    let expected = float(summary.estimate_seconds);
    seconds(registry, "estimate", "How long the rollout is expected to take yet", expected);
    all
}

fn facts(registry: &mut Registry, view: &View) {
    let Some((oldest, newest)) = ages(view) else { return };
    let help = "Time since the facts of a host changed: of the one where that is longest ago";
    seconds(registry, "facts_oldest", help, age(oldest, view.now));
    seconds(
        registry,
        "facts_newest",
        "Time since facts of any host changed",
        age(newest, view.now),
    );
}

/// Where there are none, nothing is told of their being in force.
fn documents(
    registry: &mut Registry,
    refused: bool,
    in_force: Option<bool>,
    generation: Generation,
) {
    let refused = flag(refused);
    registry.register("documents_refused", "Whether those in etcd are not good (1)", refused);
    if let Some(in_force) = in_force.map(flag) {
        let help = "Whether those in etcd are in force (1)";
        registry.register("documents_in_force", help, in_force);
    }
    let generation = number_of(float(generation.0));
    registry.register(
        "generation",
        "The generation that is in force; 0 before the first",
        generation,
    );
}

fn seconds(registry: &mut Registry, name: &str, help: &str, value: f64) {
    registry.register_with_unit(name, help, Unit::Seconds, number_of(value));
}

fn age(then: Time, now: Time) -> f64 {
    std::time::Duration::from_millis(now.since(then)).as_secs_f64()
}

fn number_of(value: f64) -> Number {
    let number = Number::default();
    number.set(value);
    number
}

fn flag(is: bool) -> Number {
    number_of(one(is))
}

fn one(is: bool) -> f64 {
    f64::from(u8::from(is))
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53")]
fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::pulse::Pulse;
    use crate::store::{Entry, Key, Snapshot, StoreEvent};
    use crate::surface::testing::CLUSTER;
    use crate::web::board::{PATIENCE, PENS};
    use crate::words::Revision;

    #[tokio::test(start_paused = true)]
    async fn where_too_many_ask_nothing_is_told_instead_of_less() {
        let (tell, events) = tokio::sync::mpsc::channel(1);
        let board = Board::follow(events, Pulse::new(std::time::Duration::ZERO));
        let (key, revision) = (Key::DesiredCluster, Revision(1));
        let value = CLUSTER.to_owned();
        let entry = Entry { key, value, mod_revision: revision, create_revision: revision };
        let snapshot = Snapshot { revision, cluster_id: 1, entries: vec![entry] };
        tell.send(StoreEvent::Listed(snapshot)).await.unwrap();
        board.news().changed().await.unwrap();
        let (release, held) = std::sync::mpsc::channel::<()>();
        let held = Arc::new(std::sync::Mutex::new(held));
        let (tell_begun, mut begun) = tokio::sync::mpsc::channel(PENS);
        let slow = (0..PENS).map(|_| {
            let (board, held, tell) = (Arc::clone(&board), Arc::clone(&held), tell_begun.clone());
            tokio::spawn(async move {
                let answer = move |_: &Shown, _: &View, _: &Plan<'_>| {
                    tell.blocking_send(()).unwrap();
                    let _ended = held.lock().unwrap().recv();
                };
                board.answer(answer).await
            })
        });
        let slow: Vec<_> = slow.collect();
        for _ in 0..PENS {
            begun.recv().await.unwrap();
        }
        let asked = Arc::clone(&board);
        let asked = tokio::spawn(async move { in_etcd(&asked, Arc::default()).await });
        tokio::task::yield_now().await;
        tokio::time::advance(PATIENCE).await;
        let problem = asked.await.unwrap().map(|_| "metrics").unwrap_err();
        assert_eq!(problem.status().as_u16(), 503);
        drop(release);
        for slow in slow {
            slow.await.unwrap().unwrap();
        }
        assert!(in_etcd(&board, Arc::default()).await.is_ok());
    }
}
