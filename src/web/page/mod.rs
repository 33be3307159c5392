//! The page for people: rendered here, kept up to date by a small script that fetches it again when something has changed.
//! All links are relative, so that it works behind any path; nothing is loaded from elsewhere; everything that comes
//! from outside is escaped by the templates.
//!
//! - here: paths, and the files beside the page.
//! - `frame`: what all pages have in common.
//! - `glance`: bars and the map of the fleet.
//! - `overview`, `plan`, `history`, `host`: one page each.
//! - `look`: signs, colours and times.

mod frame;
mod glance;
mod history;
mod host;
mod look;
mod overview;
mod plan;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;

use super::api::{named, no_host, read};
use super::board::Shown;
use super::problem::{Kind, Problem};
use super::query::HostsQuery;
use super::{Shared, Site};
use crate::rollout::records::HistoryEntry;
use crate::surface::hosts::{OneHostReport, Wanted};
use crate::surface::state::State as Stored;
use crate::surface::view::View;
use crate::words::{HostName, Time};
use frame::{Frame, Here};

/// What is kept by browsers for so long; its links change with each build.
const KEPT: HeaderValue = HeaderValue::from_static("public, max-age=86400");

/// The paths of the page.
pub(super) fn routes(router: Router<Arc<Site>>) -> Router<Arc<Site>> {
    let file = |form: &'static str, text: &'static str| {
        let headers = [(header::CONTENT_TYPE, form)];
        get(move || async move { (headers, [(header::CACHE_CONTROL, KEPT)], text) })
    };
    router
        .route("/", get(overview))
        .route("/plan", get(plan))
        .route("/history", get(history))
        .route("/hosts/{host}", get(host))
        .route(
            "/assets/style.css",
            file("text/css; charset=utf-8", include_str!("../assets/style.css")),
        )
        .route(
            "/assets/page.js",
            file("text/javascript; charset=utf-8", include_str!("../assets/page.js")),
        )
}

type Page = Result<Html<String>, Refusal>;

async fn overview(State(site): Shared, query: Result<Query<HostsQuery>, QueryRejection>) -> Page {
    let here = Here::new(&site, "./", "");
    let refuse = here.refusal();
    let query = read(query).and_then(|query| Ok((query.wanted()?, query.offset()?)));
    let (wanted, offset) = query.map_err(&refuse)?;
    let entries = newest(&site, history::RECENT);
    let page = site.board.answer(move |shown, view, plan| {
        let frame = Frame::new(here, shown, view, plan);
        let recent = history::lines(entries.into_iter(), view.now);
        rendered(&overview::Overview::new(frame, view, plan, (&wanted, offset), recent))
    });
    page.await.and_then(|page| page).map_err(refuse)
}

async fn plan(State(site): Shared) -> Page {
    let here = Here::new(&site, "./", "plan");
    let refuse = here.refusal();
    let page = site.board.answer(move |shown, view, plan| {
        rendered(&plan::PlanPage::new(Frame::new(here, shown, view, plan), view, plan))
    });
    page.await.and_then(|page| page).map_err(refuse)
}

async fn history(State(site): Shared) -> Page {
    let here = Here::new(&site, "./", "history");
    let refuse = here.refusal();
    let entries = newest(&site, history::ENTRIES);
    let page = site.board.answer(move |shown, view, plan| {
        let entries = history::lines(entries.into_iter(), view.now);
        rendered(&history::History { frame: Frame::new(here, shown, view, plan), entries })
    });
    page.await.and_then(|page| page).map_err(refuse)
}

fn newest(site: &Site, number: usize) -> Vec<HistoryEntry> {
    site.board.with(|known| known.history().rev().take(number).cloned().collect())
}

async fn host(State(site): Shared, name: Result<Path<String>, PathRejection>) -> Page {
    let here = Here::new(&site, "../", "host");
    let refuse = here.refusal();
    let name = HostName(named(name).map_err(&refuse)?);
    let entries: Vec<_> = site.board.with(|known| {
        let about = known.history().rev().filter(|entry| history::names(&entry.what, &name));
        about.take(history::OF_A_HOST).cloned().collect()
    });
    let page = site.board.answer(move |shown, view, plan| {
        let Some(report) = OneHostReport::new(view, plan, &name) else {
            let names: Vec<&str> = plan.hosts.iter().map(|host| host.name.as_str()).collect();
            return Err(no_host(&name, &names));
        };
        let entries = history::lines(entries.into_iter(), view.now);
        let frame = Frame::new(here, shown, view, plan);
        rendered(&host::HostPage::new(frame, view, &report, entries))
    });
    page.await.and_then(|page| page).map_err(refuse)
}

/// The first page of what is in etcd, as a standby shows it to whoever asks for nothing in particular. None if there are no
/// documents to plan for. It is what a benchmark measures: from what is known to the bytes.
#[must_use]
pub fn first_page(state: Stored, now: Time) -> Option<String> {
    let shown = Shown { view: Ok(View::new(state, Vec::new(), now).ok()?), lost: None };
    let view = shown.view.as_ref().ok()?;
    let plan = view.plan();
    let (version, name, started_with) = (String::new(), String::new(), Arc::default());
    let here =
        Here { root: "./", page: "", version, name, leads: false, asks: false, started_with };
    let frame = Frame::new(here, &shown, view, &plan);
    let wanted = (&Wanted::default(), 0);
    overview::Overview::new(frame, view, &plan, wanted, Vec::new()).render().ok()
}

fn rendered(page: &impl Template) -> Result<Html<String>, Problem> {
    page.render().map(Html).map_err(|error| {
        tracing::error!(%error, "a page cannot be rendered");
        Problem::new(Kind::Internal, "the page cannot be rendered; the log says more")
    })
}

/// A problem as a page.
#[derive(Debug, Template)]
#[template(path = "problem.html")]
struct Refusal {
    root: &'static str,
    version: String,
    title: &'static str,
    detail: String,
    problem: Problem,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self.render() {
            Ok(text) => (self.problem.status(), Html(text)).into_response(),
            Err(_) => self.problem.into_response(),
        }
    }
}
