//! What a simulated master answers over HTTP: `/api/v1/scheduler`, `/api/v1`, and the few paths that
//! clients ask before they know more.

use axum::body::Body;
use axum::extract::State as Shared;
use axum::response::Response;
use http::{HeaderMap, Method, Request as HttpRequest, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::json;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnboundedReceiverStream;

use super::calls::Outcome;
use super::decode;
use super::driver::{Driver, World};
use super::{ConnId, OperatorAnswer, SimMesos};
use crate::mesos::v1::scheduler::{Call, Request};
use crate::words::Time;

const JSON: &str = "application/json";
const PROTOBUF: &str = "application/x-protobuf";
const STREAM_ID: &str = "Mesos-Stream-Id";

/// Ends the subscription when the response is dropped, that is when the scheduler went away.
struct Hangup<W: World> {
    driver: Driver<W>,
    conn: ConnId,
}

impl<W: World> Drop for Hangup<W> {
    fn drop(&mut self) {
        let conn = self.conn;
        self.driver.tell(move |state| state.close(conn));
    }
}

/// Routes as libprocess does: a trailing slash and the name of the master's process do not
/// matter, and the longest prefix wins, so `/api/v1/operator` is `/api/v1`.
pub(super) async fn answer<W: World>(
    Shared(driver): Shared<Driver<W>>,
    request: HttpRequest<Body>,
) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().trim_end_matches('/');
    let path = path.strip_prefix("/master").unwrap_or(path);
    let below = |prefix: &str| {
        path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let scheduler = below("/api/v1/scheduler");
    let realm = match path {
        // Nobody has to be known for these.
        "/health" | "/version" | "/redirect" => None,
        _ if scheduler => Some("mesos-master-scheduler"),
        "/teardown" => Some("mesos-master-readwrite"),
        _ if below("/api/v1") => Some("mesos-master-readwrite"),
        _ => Some("mesos-master-readonly"),
    };
    let who = match realm {
        Some(realm) => match authenticate(&driver, realm, &parts.headers).await {
            Ok(who) => who,
            Err(refused) => return *refused,
        },
        None => None,
    };
    if scheduler || below("/api/v1") {
        if let Err(refused) = posted_json(&parts.method, &parts.headers) {
            return *refused;
        }
        let Ok(body) = body.collect().await else {
            return refuse(&Outcome::refused(400, "Failed to read the body"));
        };
        let body = body.to_bytes();
        return if scheduler {
            scheduler_call(&driver, &parts.headers, who.as_deref(), &body).await
        } else {
            operator_call(&driver, &parts.headers, &body).await
        };
    }
    match path {
        "/health" => plain(StatusCode::OK, String::new()),
        "/version" => match driver.ask(|state| state.world.mesos().version().to_string()).await {
            Some(version) => json_body(&json!({ "version": version })),
            None => gone(),
        },
        "/redirect" => match driver.ask(|state| state.world.mesos().master_info()).await {
            Some(master) => {
                let host = master.hostname.unwrap_or_default();
                let mut response = plain(StatusCode::TEMPORARY_REDIRECT, String::new());
                if let Ok(location) = format!("//{host}:{}", master.port).parse() {
                    response.headers_mut().insert(header::LOCATION, location);
                }
                response
            }
            None => gone(),
        },
        "/teardown" => {
            let Ok(form) = body.collect().await else { return gone() };
            let form = String::from_utf8_lossy(&form.to_bytes()).into_owned();
            let id = form.strip_prefix("frameworkId=").unwrap_or_default().to_owned();
            let call = json!({ "teardown": { "framework_id": { "value": id } } });
            let done = driver.ask(move |state| {
                let now = state.now();
                state.world.mesos().operate(now, "TEARDOWN", &call)
            });
            match done.await {
                Some(Ok(_)) => plain(StatusCode::OK, String::new()),
                Some(Err(outcome)) => refuse(&outcome),
                None => gone(),
            }
        }
        path => {
            let path = path.to_owned();
            match driver.ask(move |state| state.world.mesos().document(&path)).await {
                Some(Some(document)) => json_body(&document),
                Some(None) => plain(StatusCode::NOT_FOUND, "404 Not Found.".to_owned()),
                None => gone(),
            }
        }
    }
}

/// What a master answers that does not lead: where the leader is, as `host:port`, if it knows one.
/// Endpoints that need no leader answer as everywhere.
#[must_use]
pub fn standby<B>(
    version: &semver::Version,
    leader: Option<&str>,
    request: &HttpRequest<B>,
) -> Response {
    let path = request.uri().path().trim_end_matches('/');
    let own = path.strip_prefix("/master").unwrap_or(path);
    if own == "/health" {
        return plain(StatusCode::OK, String::new());
    }
    if own == "/version" {
        return json_body(&json!({ "version": version.to_string() }));
    }
    let Some(leader) = leader else { return gone() };
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    let path = if own == "/redirect" { String::new() } else { format!("/master{own}{query}") };
    let mut response = plain(StatusCode::TEMPORARY_REDIRECT, String::new());
    if let Ok(location) = format!("//{leader}{path}").parse() {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// Method and content type, in the order in which Mesos looks at them.
fn posted_json(method: &Method, headers: &HeaderMap) -> Result<(), Box<Response>> {
    if method != Method::POST {
        let text = format!(
            "405 Method Not Allowed. Expecting one of {{ 'POST' }}, but received '{method}'."
        );
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, text);
        response.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("POST"));
        return Err(Box::new(response));
    }
    let refused = |status, text| Err(Box::new(refuse(&Outcome::refused(status, text))));
    // Compared to the byte: a charset makes it another type.
    match headers.get(header::CONTENT_TYPE).map(header::HeaderValue::as_bytes) {
        None => refused(400, "Expecting 'Content-Type' to be present"),
        Some(kind) if kind == JSON.as_bytes() => Ok(()),
        Some(kind) if kind == PROTOBUF.as_bytes() => {
            refused(400, "Failed to parse body into Call protobuf")
        }
        Some(_) => {
            refused(415, "Expecting 'Content-Type' of application/json or application/x-protobuf")
        }
    }
}

fn accepts_json(headers: &HeaderMap) -> bool {
    let Some(accept) = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()) else {
        return true;
    };
    accept.split(',').any(|entry| {
        let mut parts = entry.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default();
        let refused = parts.any(|parameter| parameter == "q=0" || parameter == "q=0.0");
        matches!(kind, JSON | "application/*" | "*/*") && !refused
    })
}

fn not_acceptable() -> Response {
    let text = "Expecting 'Accept' to allow 'application/x-protobuf' or 'application/json'";
    refuse(&Outcome::refused(406, text))
}

/// Who asks, if that has to be known; it is found out before anything else is looked at.
async fn authenticate<W: World>(
    driver: &Driver<W>,
    realm: &str,
    headers: &HeaderMap,
) -> Result<Option<String>, Box<Response>> {
    let header = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let header = header.map(str::to_owned);
    let checked = driver.ask(move |state| match &state.world.mesos().authentication {
        Some(how) => how.check(header.as_deref()).map(|who| who.map(str::to_owned)),
        None => Ok(None),
    });
    let scheme = match checked.await {
        Some(Ok(who)) => return Ok(who),
        Some(Err(scheme)) => scheme,
        None => return Err(Box::new(gone())),
    };
    let challenge = format!("{scheme} realm=\"{realm}\"");
    let response = Response::builder()
        .status(StatusCode::UNAUTHORIZED)
        .header(header::WWW_AUTHENTICATE, challenge)
        .body(Body::from("401 Unauthorized."));
    Err(Box::new(respond(response)))
}

async fn scheduler_call<W: World>(
    driver: &Driver<W>,
    headers: &HeaderMap,
    who: Option<&str>,
    body: &[u8],
) -> Response {
    let request = match decode::scheduler_call(body) {
        Ok(request) => request,
        Err(outcome) => return refuse(&outcome),
    };
    let stream = headers.get(STREAM_ID).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let Request { framework_id, call: Call::Subscribe(mut subscribe) } = request else {
        let outcome = driver
            .ask(move |state| {
                let now = state.now();
                state.world.mesos().call(now, stream.as_deref(), request)
            })
            .await;
        return outcome.map_or_else(gone, |outcome| refuse(&outcome));
    };
    if framework_id != subscribe.framework_info.id {
        return refuse(&super::calls::differing_ids());
    }
    if let Some(who) = who {
        let principal = subscribe.framework_info.principal.get_or_insert_with(|| who.to_owned());
        if principal != who {
            return refuse(&super::calls::not_theirs(who, principal));
        }
    }
    if !accepts_json(headers) {
        return not_acceptable();
    }
    if stream.is_some() {
        return refuse(&super::calls::subscribe_with_stream());
    }
    open(driver, move |mesos, now, conn| {
        mesos.subscribe(now, conn, framework_id, subscribe).map(Some)
    })
    .await
}

/// Opens a stream, with an ID if `subscribe` gives one.
async fn open<W: World>(
    driver: &Driver<W>,
    subscribe: impl FnOnce(&mut SimMesos, Time, ConnId) -> Result<Option<String>, Outcome>
    + Send
    + 'static,
) -> Response {
    let own = driver.clone();
    let opened = driver
        .ask(move |state| {
            let now = state.now();
            let (conn, events) = state.open();
            // Made here, so that a scheduler that has gone away by now is hung up on too.
            let hangup = Hangup { driver: own, conn };
            let subscribed = subscribe(state.world.mesos(), now, conn);
            (hangup, events, subscribed)
        })
        .await;
    let Some((hangup, events, subscribed)) = opened else { return gone() };
    match subscribed {
        Ok(stream) => {
            let records = UnboundedReceiverStream::new(events).map(move |record| {
                let _held_as_long_as_the_response = &hangup;
                Ok::<_, std::convert::Infallible>(record)
            });
            let mut response = Response::builder().header(header::CONTENT_TYPE, JSON);
            if let Some(stream) = stream {
                response = response.header(STREAM_ID, stream);
            }
            respond(response.body(Body::from_stream(records)))
        }
        Err(outcome) => refuse(&outcome),
    }
}

async fn operator_call<W: World>(driver: &Driver<W>, headers: &HeaderMap, body: &[u8]) -> Response {
    let (kind, call) = match decode::operator_call(body) {
        Ok(call) => call,
        Err(outcome) => return refuse(&outcome),
    };
    if !accepts_json(headers) {
        return not_acceptable();
    }
    if kind == "SUBSCRIBE" {
        return open(driver, |mesos, now, conn| mesos.subscribe_operator(now, conn).map(|()| None))
            .await;
    }
    let answer = driver
        .ask(move |state| {
            let now = state.now();
            state.world.mesos().operate(now, &kind, &call)
        })
        .await;
    match answer {
        Some(Ok(OperatorAnswer::Told(body))) => json_body(&body),
        Some(Ok(OperatorAnswer::Done)) => plain(StatusCode::OK, String::new()),
        Some(Err(outcome)) => refuse(&outcome),
        None => gone(),
    }
}

fn refuse(outcome: &Outcome) -> Response {
    let status = StatusCode::from_u16(outcome.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    plain(status, outcome.body.clone())
}

fn gone() -> Response {
    plain(StatusCode::SERVICE_UNAVAILABLE, "No leader elected".to_owned())
}

/// Text, or nothing at all if it is empty.
pub(super) fn plain(status: StatusCode, text: String) -> Response {
    let response = Response::builder().status(status);
    respond(if text.is_empty() {
        response.body(Body::empty())
    } else {
        response.header(header::CONTENT_TYPE, "text/plain; charset=utf-8").body(Body::from(text))
    })
}

pub(super) fn json_body(value: &serde_json::Value) -> Response {
    respond(
        Response::builder().header(header::CONTENT_TYPE, JSON).body(Body::from(value.to_string())),
    )
}

/// A header that cannot be written would be a mistake of this file's.
pub(super) fn respond(response: Result<Response, http::Error>) -> Response {
    response.unwrap_or_else(|error| {
        tracing::error!(%error, "a response could not be put together");
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}
