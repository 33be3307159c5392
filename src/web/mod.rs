//! What is served over HTTP: the page, the API, events, metrics, health, and this program's own file.
//! Nothing here decides anything, and nothing here is waited for: the controller leaves signs
//! ([`Pulse`]), everything else is read from etcd by a watch of this room's own.
//!
//! - here: who starts it, and which path is answered by what.
//! - `server`: connections, and how many and how slow they may be.
//! - `board`: what is known, and one view of it that all readers share.
//! - `page`: for people.
//! - `api`, `health`: answers for programs.
//! - `events`: that something has changed, as it happens.
//! - `control`, `token`: what people ask for, and that they may.
//! - `metrics`: numbers for Prometheus.
//! - `artifact`: this program's own file, for hosts.
//! - `openapi`: what there is to ask, for programs.
//! - `problem`: every refusal, as RFC 9457 says.
//!
//! Leaders and standbys show the same; what only the leader knows (when each host was last heard of) is absent
//! on the others, which name it. Hosts that have fallen silent are named on all, since the leader writes that down.

mod api;
pub mod artifact;
mod board;
mod control;
mod events;
mod health;
mod metrics;
mod openapi;
mod page;
mod problem;
mod query;
mod server;
pub mod token;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::controller::pulse::Pulse;
use crate::store::EtcdStore;

use artifact::Artifact;
use board::Board;
use events::Events;
pub use page::first_page;
use token::Token;

/// What a request may send, in bytes; what is asked for takes a fraction of it.
const BODY: usize = 16 * 1024;

/// What is needed to serve.
#[derive(Debug)]
pub struct Options {
    /// Where everything is read from.
    pub store: EtcdStore,
    /// The signs of the controller in this process.
    pub pulse: Pulse,
    /// The name of this process, as a leader is called.
    pub name: String,
    /// This program's own file.
    pub artifact: Artifact,
    /// What lets somebody ask for something; without it nobody can.
    pub token: Option<Token>,
    /// The documents that this process brought along, by name; etcd's are in force.
    pub started_with: BTreeMap<String, String>,
}

/// What every answer is made from.
#[derive(Debug)]
struct Site {
    board: Arc<Board>,
    pulse: Pulse,
    name: String,
    artifact: Artifact,
    events: Events,
    token: Option<Token>,
    started_with: Arc<BTreeMap<String, String>>,
    store: EtcdStore,
    /// One request is carried out at a time: each reads all of etcd.
    desk: Mutex<()>,
}

type Shared = axum::extract::State<Arc<Site>>;

/// Serves until `shutdown`. Open answers get a few seconds to end, event streams end at once.
pub async fn serve(listener: TcpListener, options: Options, shutdown: CancellationToken) {
    let Options { store, pulse, name, artifact, token, started_with } = options;
    let started_with = Arc::new(started_with);
    let board = Board::start(&store, pulse.clone());
    let events = Events::start(Arc::clone(&board), shutdown.clone());
    let desk = Mutex::default();
    let site =
        Arc::new(Site { board, pulse, name, artifact, events, token, started_with, store, desk });
    server::serve(listener, router(site), server::LIMITS, shutdown).await;
}

fn router(site: Arc<Site>) -> Router {
    let control = |router: Router<_>, what: &&str| {
        router.route(&format!("/api/v1/{what}"), post(control::control))
    };
    control::ALL
        .iter()
        .fold(page::routes(Router::new()), control)
        .route("/health", get(health::health))
        .route("/ready", get(health::ready))
        .route("/api/v1/status", get(api::status))
        .route("/api/v1/plan", get(api::plan))
        .route("/api/v1/hosts", get(api::hosts))
        .route("/api/v1/hosts/{host}", get(api::host))
        .route("/api/v1/history", get(api::history))
        .route("/api/v1/openapi.json", get(openapi::openapi))
        .route("/api/v1/events", get(events::events))
        .route("/metrics", get(metrics::metrics))
        .route("/artifact/{digest}/calico-dcos", get(artifact::artifact))
        .fallback(problem::no_such_path)
        .method_not_allowed_fallback(problem::no_such_method)
        .layer(DefaultBodyLimit::max(BODY))
        .layer(map_response(with_headers))
        .with_state(site)
}

/// Nothing is kept by caches unless an answer says so, nothing is guessed, nothing is loaded from elsewhere.
async fn with_headers(mut response: Response) -> Response {
    const HEADERS: [(HeaderName, &str); 4] = [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; \
             connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'self'",
        ),
    ];
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}
