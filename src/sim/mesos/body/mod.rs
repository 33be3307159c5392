//! Agents whose executors are real processes: each has an address of its own, where it serves
//! the executor API, and starts what it is told to launch as children of this process.
//!
//! The model decides ([`ToBody`] says what), this carries out. While the modelled process of an
//! agent is down nobody listens at its address; its executors live on, as they do under a real
//! agent.

mod fetch;
mod process;

use std::net::{IpAddr, SocketAddr};

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

use super::driver::{Driver, World};
use super::http::{ServerError, SimServer, json_body, plain, respond};
use super::{AgentAnswer, AgentConfig, AgentIndex, AgentRequest, ConnId, ToBody};
use process::{Happened, Runner};

impl<W: World> SimServer<W> {
    /// Adds an agent that listens at that address (port 0 takes a free one) and starts executors
    /// as processes, as the user that this process runs as. `config` needs
    /// [`processes`](AgentConfig::processes); its address and port are set here. The processes
    /// end with this server.
    ///
    /// # Errors
    /// If nothing can listen there.
    pub async fn add_process_agent(
        &self,
        listen: SocketAddr,
        mut config: AgentConfig,
    ) -> Result<AgentIndex, ServerError> {
        let refused = |source| ServerError::Listen { address: listen, source };
        let listener = TcpListener::bind(listen).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        if let IpAddr::V4(ip) = address.ip() {
            (config.ip, config.port) = (ip, address.port());
        }
        let work_dir = config.processes.as_ref().map(|p| p.work_dir.clone()).unwrap_or_default();
        let driver = self.driver().clone();
        let (orders, inbox) = mpsc::unbounded_channel();
        let added = self.driver().ask(move |state| {
            let now = state.now();
            let agent = state.world.mesos().add_agent(now, config);
            state.bodies.insert(agent, orders);
            agent
        });
        let Some(agent) = added.await else {
            return Err(refused(std::io::Error::other("the simulated Mesos has ended")));
        };
        let (happened, happenings) = mpsc::unbounded_channel();
        let runner = Runner::new(&work_dir, happened);
        let body =
            ProcessBody { agent, address, driver, runner, spare: Some(listener), serving: None };
        tokio::spawn(body.run(inbox, happenings));
        Ok(agent)
    }
}

/// What an agent has outside the model.
struct ProcessBody<W> {
    agent: AgentIndex,
    address: SocketAddr,
    driver: Driver<W>,
    runner: Runner,
    /// Bound and not used yet.
    spare: Option<TcpListener>,
    serving: Option<JoinHandle<()>>,
}

impl<W: World> ProcessBody<W> {
    /// Until the world has ended.
    async fn run(
        mut self,
        mut inbox: mpsc::UnboundedReceiver<ToBody>,
        mut happenings: mpsc::UnboundedReceiver<Happened>,
    ) {
        loop {
            tokio::select! {
                order = inbox.recv() => match order {
                    Some(order) => self.obey(order).await,
                    None => return,
                },
                Some(happened) = happenings.recv() => self.report(happened),
            }
        }
    }

    async fn obey(&mut self, order: ToBody) {
        match order {
            ToBody::Start(start) => self.runner.start(*start),
            ToBody::Kill { container } => self.runner.kill(&container),
            ToBody::Listen(true) => self.listen().await,
            ToBody::Listen(false) => self.deaf().await,
            // The driver holds the streams.
            ToBody::Event { .. } | ToBody::Close { .. } => {}
        }
    }

    fn report(&self, happened: Happened) {
        let agent = self.agent;
        self.driver.tell(move |state| {
            let now = state.now();
            let mesos = state.world.mesos();
            match happened {
                Happened::Started { container, pid } => {
                    mesos.process_started(now, agent, &container, pid);
                }
                Happened::Ended { container, status, not_started } => {
                    let why = not_started.as_deref();
                    mesos.process_ended(now, agent, &container, status, why);
                }
            }
        });
    }

    async fn listen(&mut self) {
        self.deaf().await;
        let listener = match self.spare.take() {
            Some(listener) => Ok(listener),
            None => TcpListener::bind(self.address).await,
        };
        let listener = match listener {
            Ok(listener) => listener,
            Err(error) => {
                let address = self.address;
                return tracing::error!(%error, %address, "a simulated agent cannot listen again");
            }
        };
        let own = (self.driver.clone(), self.agent);
        let router = axum::Router::new().fallback(answer::<W>).with_state(own);
        self.serving = Some(tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "a simulated agent no longer accepts connections");
            }
        }));
    }

    /// Nobody listens at the address when this returns: it can be bound again.
    async fn deaf(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
            // Its only end is that it was ended here.
            let _ = serving.await;
        }
    }
}

impl<W> Drop for ProcessBody<W> {
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
