//! What people ask for through the API and the page: the same as by the commands, written down in the same way. It
//! takes the token, and a process that leads, so that the standbys stay for reading.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest as _, Request as HttpRequest, State};
use axum::http::{HeaderMap, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::api::JsonAnswer;
use super::board::PATIENCE;
use super::problem::{Kind, Problem};
use super::{Shared, Site};
use crate::clock;
use crate::store::{Space, in_one_line};
use crate::surface::ask::{self, Asked, Person, Refused, ScopeName};
use crate::surface::entry::{NotDone, carry_out};
use crate::surface::state::State as Stored;
use crate::surface::view::View;
use crate::words::{Attempt, Generation, Revision};

/// What can be asked for, each by its own path.
pub(super) const ALL: [&str; 6] = ["pause", "resume", "approve", "retry", "release", "forget"];

/// Longer words of people are cut.
const WORDS: usize = 200;

/// For the body of a request, once its head is there.
const BODY_TIME: Duration = Duration::from_secs(10);

/// Where a request comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) SocketAddr);

/// What is asked for; which field is needed depends on the path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Request {
    /// Who asks, in their own words, for the history.
    #[serde(default)]
    who: Option<String>,
    /// The reason, for all who wonder (`pause`).
    #[serde(default)]
    why: Option<String>,
    /// The hosts of a pool (`pause`, `resume`); without this and `host`, the whole cluster.
    #[serde(default)]
    pool: Option<String>,
    /// One host (`pause`, `resume`, `retry`, `release`, `forget`).
    #[serde(default)]
    host: Option<String>,
    /// The generation that was looked at (`approve`): another one is not approved.
    #[serde(default)]
    generation: Option<u64>,
    /// The attempt that was looked at (`release`): a later one keeps its slot.
    #[serde(default)]
    attempt: Option<u64>,
}

/// What was done, or that there was nothing to do as it is so already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Done {
    /// A sentence.
    done: String,
    /// The etcd revision that it was written at, or seen.
    revision: Revision,
}

/// `POST /api/v1/{pause,resume,approve,retry,release,forget}`
pub(super) async fn control(
    State(site): Shared,
    Extension(Peer(peer)): Extension<Peer>,
    asked_by: HttpRequest,
) -> Result<JsonAnswer, Problem> {
    may(&site, asked_by.headers(), peer)?;
    leads(&site)?;
    let uri = asked_by.uri().clone();
    let late = |_| Problem::new(Kind::TooSlow, "the request did not come to its end in time");
    let body = timeout(BODY_TIME, Bytes::from_request(asked_by, &())).await.map_err(late)?;
    let request = read(body)?;
    let crowd = |_| Problem::new(Kind::Busy, "others ask for something at this moment; ask again");
    let _desk = timeout(PATIENCE, site.desk.lock()).await.map_err(crowd)?;
    let state = site.store.list(Space::All).await.map_err(|error| unreachable(&error))?;
    let state = Stored::of(&state, clock::now());
    let by = Person { who: who(&request, peer), at: clock::now() };
    let what = uri.path().rsplit('/').next().unwrap_or_default();
    let asked = match asked(what, request, &state, &by)? {
        Order::New(asked) => asked,
        Order::AsItIs(done) => return Ok(JsonAnswer::of(&Done { done, revision: state.revision })),
    };
    let entry = (by.who.as_str(), asked.what.as_str());
    let revision = carry_out(&site.store, &state, &asked.txn, entry).await;
    let revision = revision.map_err(|error| match error {
        NotDone::Crowded => Problem::new(Kind::Busy, error.to_string()),
        NotDone::Store(error) => unreachable(&error),
    })?;
    tracing::info!(who = by.who, what = asked.what, "asked for through the API");
    Ok(JsonAnswer::of(&Done { done: asked.done, revision }))
}

/// The token is there.
fn may(site: &Site, headers: &HeaderMap, peer: SocketAddr) -> Result<(), Problem> {
    let Some(token) = &site.token else {
        return Err(Problem::new(
            Kind::Forbidden,
            "nothing can be asked for here: this controller was started without --token-file; \
             use the commands, or start it with one",
        ));
    };
    if token.is_in(headers) {
        return Ok(());
    }
    tracing::warn!(%peer, "asked for something without the token");
    Err(Problem::new(
        Kind::Unauthorized,
        "send the token of --token-file as `X-Calico-Dcos-Token: TOKEN` or `Authorization: Bearer TOKEN`",
    ))
}

/// This process leads; else who does is named.
fn leads(site: &Site) -> Result<(), Problem> {
    if site.pulse.beat().leads.is_some() {
        return Ok(());
    }
    let leader = site.board.with(|known| known.state().and_then(|state| state.leader.clone()));
    let (text, url) = match leader {
        Some(leader) => (format!("`{}` leads; ask there", leader.name), leader.url),
        None => ("no process leads at this moment; ask again soon".to_owned(), None),
    };
    let mut problem = Problem::new(Kind::NotLeader, text);
    problem.leader = url;
    Err(problem)
}

fn read(body: Result<Bytes, BytesRejection>) -> Result<Request, Problem> {
    let bytes = body.map_err(|error| match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            Problem::new(Kind::TooLarge, "no request is as long as that")
        }
        _ => Problem::new(Kind::BadRequest, error.body_text()),
    })?;
    if bytes.is_empty() {
        return Ok(Request::default());
    }
    // serde would take the values of a list for the fields in their order.
    if !bytes.trim_ascii_start().starts_with(b"{") {
        return Err(Problem::new(Kind::BadRequest, "send a JSON object, or nothing"));
    }
    serde_json::from_slice(&bytes).map_err(|error| {
        Problem::new(Kind::BadRequest, format!("the request is not understood: {error}"))
    })
}

/// What is to become of a request.
enum Order {
    /// It is to be written down.
    New(Asked),
    /// It is so already, as a sentence.
    AsItIs(String),
}

fn asked(what: &str, request: Request, state: &Stored, by: &Person) -> Result<Order, Problem> {
    let lacks =
        |field: &str| Problem::new(Kind::BadRequest, format!("`{what}` needs the field `{field}`"));
    let Request { why, pool, host, generation, attempt, .. } = request;
    let scope = || match (&host, pool) {
        (Some(_), Some(_)) => {
            Err(Problem::new(Kind::BadRequest, "give `pool` or `host`, not both"))
        }
        (Some(host), None) => Ok(ScopeName::Host(host.clone())),
        (None, Some(pool)) => Ok(ScopeName::Pool(pool)),
        (None, None) => Ok(ScopeName::Cluster),
    };
    let one = || host.clone().ok_or_else(|| lacks("host"));
    let asked = match what {
        "pause" => ask::pause(state, &scope()?, why.map(|why| cut(&why)), by),
        "resume" => ask::resume(state, &scope()?),
        "approve" => {
            let seen = generation.ok_or_else(|| lacks("generation"))?;
            let view = View::new(state.clone(), Vec::new(), by.at);
            let view = view.map_err(|error| super::board::no_documents(&error))?;
            ask::approve(&view, Some(Generation(seen)), by)
        }
        "retry" => ask::retry(state, &[one()?], by),
        "release" => {
            let seen = attempt.ok_or_else(|| lacks("attempt"))?;
            ask::release(state, &one()?, Some(Attempt(seen)), by)
        }
        "forget" => ask::forget(state, &one()?, by),
        _ => {
            let text = format!("`{what}` cannot be asked for; {} can", ALL.join(", "));
            return Err(Problem::new(Kind::NotFound, text));
        }
    };
    match asked {
        Ok(asked) => Ok(Order::New(asked)),
        Err(Refused::Already(text)) => Ok(Order::AsItIs(text)),
        Err(refused @ Refused::Unknown(_)) => {
            Err(Problem::new(Kind::NotFound, refused.to_string()))
        }
        Err(refused @ (Refused::Senseless(_) | Refused::Halted(_))) => {
            Err(Problem::new(Kind::Conflict, refused.to_string()))
        }
    }
}

/// `alice, by token from 10.0.0.7`: the token proves only that whoever asks has it.
fn who(request: &Request, peer: SocketAddr) -> String {
    let named = request.who.as_deref().map(cut).filter(|who| !who.is_empty());
    let named = named.unwrap_or_else(|| "somebody".to_owned());
    format!("{named}, by token from {}", peer.ip())
}

/// As long as it may be, and in one line.
fn cut(text: &str) -> String {
    let text = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter });
    text.take(WORDS).collect::<String>().trim().to_owned()
}

fn unreachable(error: &crate::store::StoreError) -> Problem {
    Problem::new(Kind::NotReady, in_one_line(error))
}
