//! What programs read: the same reports that the commands print with `-o json`.

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::Shared;
use super::problem::{Kind, Problem};
use super::query::{HostsQuery, number};
use crate::desired::did_you_mean;
use crate::surface::history::HistoryReport;
use crate::surface::hosts::{HostsReport, OneHostReport};
use crate::surface::plan::PlanReport;
use crate::surface::status::StatusReport;
use crate::words::HostName;

/// Entries of the history, if nobody asks for another number.
const ENTRIES: usize = 100;

/// JSON that was made beside the threads that serve.
pub(super) struct JsonAnswer(Vec<u8>);

impl JsonAnswer {
    pub(super) fn of<T: Serialize>(value: &T) -> Self {
        // Our reports have text keys and cannot fail to serialise.
        Self(serde_json::to_vec(value).unwrap_or_default())
    }
}

impl IntoResponse for JsonAnswer {
    fn into_response(self) -> Response {
        let json = HeaderValue::from_static("application/json");
        ([(header::CONTENT_TYPE, json)], self.0).into_response()
    }
}

/// `/api/v1/status`
pub(super) async fn status(State(site): Shared) -> Result<JsonAnswer, Problem> {
    site.board.answer(|_, view, plan| JsonAnswer::of(&StatusReport::new(view, plan))).await
}

/// `/api/v1/plan`
pub(super) async fn plan(State(site): Shared) -> Result<JsonAnswer, Problem> {
    site.board.answer(|_, view, plan| JsonAnswer::of(&PlanReport::new(view, plan))).await
}

/// `/api/v1/hosts`
pub(super) async fn hosts(
    State(site): Shared,
    query: Result<Query<HostsQuery>, QueryRejection>,
) -> Result<JsonAnswer, Problem> {
    let query = read(query)?;
    let (wanted, range) = (query.wanted()?, query.range()?);
    site.board
        .answer(move |_, view, plan| JsonAnswer::of(&HostsReport::new(view, plan, &wanted, range)))
        .await
}

/// `/api/v1/hosts/HOST`
pub(super) async fn host(
    State(site): Shared,
    name: Result<Path<String>, PathRejection>,
) -> Result<JsonAnswer, Problem> {
    let name = HostName(named(name)?);
    let answer = site.board.answer(move |_, view, plan| {
        let report = OneHostReport::new(view, plan, &name);
        report.map(|report| JsonAnswer::of(&report)).ok_or_else(|| {
            let names: Vec<&str> = plan.hosts.iter().map(|host| host.name.as_str()).collect();
            no_host(&name, &names)
        })
    });
    answer.await?
}

/// There is no host of that name; names the nearest one.
pub(super) fn no_host(name: &HostName, names: &[&str]) -> Problem {
    let instead = did_you_mean(name.as_str(), names)
        .unwrap_or_else(|| "`/api/v1/hosts` lists all".to_owned());
    Problem::new(Kind::NotFound, format!("there is no host `{name}`; {instead}"))
}

/// How many entries.
#[derive(Debug, Default, Deserialize)]
pub(super) struct HistoryQuery {
    last: Option<String>,
}

/// `/api/v1/history`
pub(super) async fn history(
    State(site): Shared,
    query: Result<Query<HistoryQuery>, QueryRejection>,
) -> Result<JsonAnswer, Problem> {
    let last = number("last", read(query)?.last.as_ref(), ENTRIES)?;
    let report = site.board.with(|known| {
        let entries = known.history().cloned();
        known.state().map(|state| HistoryReport::new(state.revision, entries, last))
    });
    match report {
        Some(report) => Ok(JsonAnswer::of(&report)),
        None => Err(Problem::new(Kind::NotReady, "etcd has not been read yet")),
    }
}

/// What a path names, or what is wrong with it.
pub(super) fn named(path: Result<Path<String>, PathRejection>) -> Result<String, Problem> {
    path.map(|Path(name)| name).map_err(|error| {
        Problem::new(Kind::BadRequest, format!("the path is not understood: {}", error.body_text()))
    })
}

/// A query, or what is wrong with it.
pub(super) fn read<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Problem> {
    query.map(|Query(query)| query).map_err(|error| {
        Problem::new(
            Kind::BadRequest,
            format!("the query is not understood: {}", error.body_text()),
        )
    })
}
