//! Where an agent's executors knock: the listener of its HTTP API, there while the modelled process of
//! the agent is up.

use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::State as Shared;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, Request as HttpRequest, StatusCode, header};
use http_body_util::BodyExt;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnboundedReceiverStream;

use crate::sim::mesos::answers::{json_body, plain, respond};
use crate::sim::mesos::driver::{Driver, World};
use crate::sim::mesos::{AgentAnswer, AgentIndex, AgentRequest, ConnId};

/// Nobody listens any more when it is dropped.
pub(super) struct Door<W> {
    agent: AgentIndex,
    address: SocketAddr,
    driver: Driver<W>,
    /// Bound and not used yet.
    spare: Option<TcpListener>,
    serving: Option<JoinHandle<()>>,
}

impl<W: World> Door<W> {
    /// At that address, where nobody listens before [`Self::open`]. `spare` is used for the first time.
    pub(super) fn new(
        driver: Driver<W>,
        agent: AgentIndex,
        address: SocketAddr,
        spare: Option<TcpListener>,
    ) -> Self {
        Self { agent, address, driver, spare, serving: None }
    }

    /// Listens; returns the real address.
    pub(super) async fn open(&mut self) -> std::io::Result<SocketAddr> {
        self.close().await;
        let listener = match self.spare.take() {
            Some(listener) => listener,
            None => TcpListener::bind(self.address).await?,
        };
        let address = listener.local_addr()?;
        let own = (self.driver.clone(), self.agent);
        let router = axum::Router::new().fallback(answer::<W>).with_state(own);
        self.serving = Some(tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "a simulated agent no longer accepts connections");
            }
        }));
        Ok(address)
    }

    /// Nobody listens at the address when this returns: it can be bound again.
    pub(super) async fn close(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
            // Its only end is that it was ended here.
            let _ = serving.await;
        }
    }
}

impl<W> Drop for Door<W> {
    fn drop(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
        }
    }
}

/// Tells the model when the response is dropped, that is when the executor went away.
struct Hangup<W: World> {
    driver: Driver<W>,
    agent: AgentIndex,
    conn: ConnId,
}

impl<W: World> Drop for Hangup<W> {
    fn drop(&mut self) {
        let (agent, conn) = (self.agent, self.conn);
        self.driver.tell(move |state| {
            state.agent_streams.remove(&conn);
            let now = state.now();
            state.world.mesos().agent_disconnect(now, agent, conn);
        });
    }
}

async fn answer<W: World>(
    Shared((driver, agent)): Shared<(Driver<W>, AgentIndex)>,
    request: HttpRequest<Body>,
) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = body.collect().await else {
        return plain(StatusCode::BAD_REQUEST, "Failed to read the body".to_owned());
    };
    let body = body.to_bytes();
    let own = driver.clone();
    let answered = driver.ask(move |state| {
        let now = state.now();
        let (conn, events) = state.open_agent_stream();
        let hangup = Hangup { driver: own, agent, conn };
        let request = AgentRequest {
            method: parts.method.as_str(),
            path: parts.uri.path(),
            content_type: text(&parts.headers, &header::CONTENT_TYPE),
            accept: text(&parts.headers, &header::ACCEPT),
            authorization: text(&parts.headers, &header::AUTHORIZATION),
            body: &body,
        };
        let answer = state.world.mesos().agent_request(now, agent, conn, &request);
        (answer, hangup, events)
    });
    match answered.await {
        Some((AgentAnswer::Stream, hangup, events)) => stream(hangup, events),
        Some((AgentAnswer::Json(value), ..)) => json_body(&value),
        Some((AgentAnswer::Plain(outcome), ..)) => {
            let status =
                StatusCode::from_u16(outcome.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let mut response = plain(status, outcome.body);
            if status == StatusCode::METHOD_NOT_ALLOWED {
                let post = header::HeaderValue::from_static("POST");
                response.headers_mut().insert(header::ALLOW, post);
            }
            response
        }
        // A connection that was open before: the nearest to no answer at all.
        Some((AgentAnswer::Refused, ..)) | None => {
            let mut response = plain(StatusCode::SERVICE_UNAVAILABLE, String::new());
            let close = header::HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
            response
        }
    }
}

fn stream<W: World>(
    hangup: Hangup<W>,
    events: mpsc::UnboundedReceiver<std::io::Result<Bytes>>,
) -> Response {
    let records = UnboundedReceiverStream::new(events).map(move |record| {
        let _held_as_long_as_the_response = &hangup;
        record
    });
    let json = "application/json";
    respond(Response::builder().header(header::CONTENT_TYPE, json).body(Body::from_stream(records)))
}

fn text<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
