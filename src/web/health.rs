//! Whether the controller works, for whoever restarts it, and whether there is something to see here, for whoever
//! passes requests on.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::Shared;
use crate::clock;

/// Whether the controller works: false when its loop, or as a leader its passes, have stood still.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Health {
    /// The name of this process, as leaders are called.
    name: String,
    /// It need not be restarted.
    healthy: bool,
    /// Why it has to be, as a clause.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// It leads, or stands by.
    leads: bool,
    /// Seconds since its newest pass; absent for a standby, which makes none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pass_age_seconds: Option<f64>,
    /// Seconds since its loop turned.
    turn_age_seconds: f64,
    /// Mesos sends it offers and updates.
    subscribed: bool,
}

/// Whether there is something to see: etcd has been read and is followed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Ready {
    ready: bool,
    /// Why not, as a clause.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

pub(super) async fn health(State(site): Shared) -> Response {
    let now = clock::monotonic();
    let (beat, why) = (site.pulse.beat(), site.pulse.stuck(now));
    let age = |then| now.saturating_sub(then).as_secs_f64();
    let health = Health {
        name: site.name.clone(),
        healthy: why.is_none(),
        why,
        leads: beat.leads.is_some(),
        pass_age_seconds: beat.leads.as_ref().map(|leads| age(leads.passed)),
        turn_age_seconds: age(beat.turned),
        subscribed: beat.leads.is_some_and(|leads| leads.subscribed),
    };
    (code(health.healthy), Json(health)).into_response()
}

pub(super) async fn ready(State(site): Shared) -> Response {
    let (read, lost) = site.board.sight();
    let ready = read && lost.is_none();
    let why = (!ready).then(|| lost.unwrap_or_else(|| "etcd has not answered yet".to_owned()));
    (code(ready), Json(Ready { ready, why })).into_response()
}

fn code(good: bool) -> StatusCode {
    if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}
