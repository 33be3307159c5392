//! Carries a [`Session`] out: its stream on one connection, its calls one after the other on
//! another, its wake-ups by a timer.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use reqwest::{Certificate, Client as Http, RequestBuilder, Response};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::codec::Decoder;

use super::environment::Environment;
use super::session::{Effect, Ending, Failure, Input, Order, Report, Session};
use crate::job::Uptime;
use crate::mesos::http::{JSON, text};
use crate::mesos::recordio::RecordIo;
use crate::mesos::v1::TaskState;
use crate::mesos::v1::executor::{Event, Request};
use crate::words::TaskId;

const PATH: &str = "/api/v1/executor";
/// For a connection to the agent, which is on the same machine.
const CONNECT: Duration = Duration::from_secs(1);
/// For the answer to a call. An agent that needs longer is taken as hanging.
const ANSWER: Duration = Duration::from_secs(10);

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are said by the texts")]
pub enum ExecutorError {
    /// The CA certificates cannot be read.
    #[error("the CA certificates in {file}, which the agent names, cannot be read")]
    Ca { file: String, source: std::io::Error },
    /// They are no certificates.
    #[error("{file}, which the agent names for its CA certificates, holds none that can be used")]
    BadCa { file: String, source: Option<reqwest::Error> },
    /// The HTTP client cannot be built.
    #[error("the HTTP client cannot be set up; is the agent's CA certificate installed?")]
    Http { source: reqwest::Error },
}

/// What the program says of a task; the client adds identity and time.
#[derive(Clone, Debug, PartialEq)]
pub struct Said {
    /// Which task.
    pub task: TaskId,
    /// Its state.
    pub state: TaskState,
    /// For people.
    pub message: Option<String>,
    /// For the scheduler.
    pub data: Option<Vec<u8>>,
}

type Opening = Pin<Box<dyn Future<Output = Result<Response, Failure>> + Send>>;
type Calling = Pin<Box<dyn Future<Output = (u64, Result<(), Failure>)> + Send>>;

enum Stream {
    None,
    Opening(Opening),
    Open(Box<Records>),
}

/// An executor's connection to its agent, from its start to the end of the process.
pub struct Client {
    http: Http,
    environment: Environment,
    session: Session,
    born: Instant,
    stream: Stream,
    /// Calls to be made, and the one under way.
    queue: VecDeque<(u64, Bytes)>,
    calling: Option<Calling>,
    orders: VecDeque<Result<Order, Ending>>,
}

impl Client {
    /// Prepares the connection; it is made as [`Self::next`] is called.
    pub fn start(environment: Environment) -> Result<Self, ExecutorError> {
        let http = http(&environment)?;
        let (session, effects) = Session::start(Uptime(0), environment.terms.clone());
        let mut client = Self {
            http,
            environment,
            session,
            born: Instant::now(),
            stream: Stream::None,
            queue: VecDeque::new(),
            calling: None,
            orders: VecDeque::new(),
        };
        client.carry_out(effects);
        Ok(client)
    }

    /// Says something of a task. It is repeated until the agent has it. Never waits; what is said
    /// goes out while [`Self::next`] is awaited.
    pub fn report(&mut self, said: Said) {
        #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit in 53 bits")]
        let timestamp = crate::clock::now().0 as f64 / 1_000.0;
        let Said { task, state, message, data } = said;
        let uuid = uuid::Uuid::new_v4();
        self.put(Input::Report(Report { task, state, message, data, uuid, timestamp }));
    }

    /// Sends bytes to the scheduler, once: Mesos promises nothing for them.
    pub fn send(&mut self, data: Vec<u8>) {
        self.put(Input::Send(data));
    }

    /// Ends as soon as the agent has all that was said; [`Self::next`] then returns the ending.
    pub fn leave(&mut self) {
        self.put(Input::Leave);
    }

    /// The next order, or that and why the process is to end: nothing comes after that. Nothing
    /// is lost if the future is dropped before it is ready.
    pub async fn next(&mut self) -> Result<Order, Ending> {
        loop {
            match self.orders.pop_front() {
                Some(Err(ending)) => {
                    self.orders.push_front(Err(ending.clone()));
                    return Err(ending);
                }
                Some(order) => return order,
                None => {}
            }
            let input = self.wait().await;
            self.put(input);
        }
    }

    /// Waits for one thing to happen.
    async fn wait(&mut self) -> Input {
        let wake = self.session.next_wake().map(|at| self.born + Duration::from_millis(at.0));
        loop {
            if self.calling.is_none()
                && let Some((call, body)) = self.queue.pop_front()
            {
                self.calling = Some(self.call(call, body));
            }
            tokio::select! {
                biased;
                input = self.stream.next() => return input,
                (call, answer) = pending_or(&mut self.calling) => {
                    self.calling = None;
                    if let Err(failure) = answer {
                        return Input::Failed { call, failure };
                    }
                }
                () = async {
                    match wake {
                        Some(at) => sleep_until(at).await,
                        None => std::future::pending().await,
                    }
                } => return Input::Tick,
            }
        }
    }

    fn put(&mut self, input: Input) {
        let now = Uptime(u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX));
        let effects = self.session.handle(now, input);
        self.carry_out(effects);
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Subscribe(request) => {
                    self.queue.clear();
                    self.calling = None;
                    self.stream = match body(&request) {
                        Ok(body) => Stream::Opening(Box::pin(post(self.request(body), None))),
                        Err(_) => Stream::None,
                    };
                }
                Effect::Call { call, request } => {
                    if let Ok(body) = body(&request) {
                        self.queue.push_back((call, body));
                    }
                }
                Effect::Order(order) => self.orders.push_back(Ok(order)),
                Effect::Warn(what) => tracing::warn!("{what}"),
                Effect::Exit(ending) => {
                    self.queue.clear();
                    (self.stream, self.calling) = (Stream::None, None);
                    self.orders.push_back(Err(ending));
                }
            }
        }
    }

    fn call(&self, call: u64, body: Bytes) -> Calling {
        let answer = post(self.request(body), Some(ANSWER));
        Box::pin(async move { (call, answer.await.map(drop)) })
    }

    fn request(&self, body: Bytes) -> RequestBuilder {
        let url = crate::mesos::location::endpoint(&self.environment.agent, PATH);
        let request =
            self.http.post(url).header(CONTENT_TYPE, JSON).header(ACCEPT, JSON).body(body);
        match &self.environment.token {
            Some(token) => request.header(AUTHORIZATION, token.clone()),
            None => request,
        }
    }
}

/// No proxy, no redirects, and no limit on the whole of an answer, as the stream is endless.
fn http(environment: &Environment) -> Result<Http, ExecutorError> {
    // reqwest panics without a provider. If one is installed, this changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = Http::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .http1_only()
        .tcp_nodelay(true)
        .pool_max_idle_per_host(1)
        .connect_timeout(CONNECT);
    if let Some(file) = &environment.ca_file {
        let pem = std::fs::read(file)
            .map_err(|source| ExecutorError::Ca { file: file.clone(), source })?;
        let certificates = Certificate::from_pem_bundle(&pem)
            .map_err(|source| ExecutorError::BadCa { file: file.clone(), source: Some(source) })?;
        if certificates.is_empty() {
            return Err(ExecutorError::BadCa { file: file.clone(), source: None });
        }
        builder = builder.tls_certs_only(certificates);
    } else if environment.agent.scheme() == "http" {
        // Else a machine without CA certificates could not even speak plain HTTP.
        builder = builder.tls_certs_only([]);
    }
    builder.build().map_err(|source| ExecutorError::Http { source })
}

/// All that a request is made of can be written as JSON; if not, it is a defect of ours.
fn body(request: &Request) -> Result<Bytes, serde_json::Error> {
    let body = serde_json::to_vec(request).map(Bytes::from);
    if let Err(error) = &body {
        tracing::error!(%error, call = %request.call.kind(), "a call cannot be written");
    }
    body
}

/// Posts, and waits for the beginning of the answer.
async fn post(request: RequestBuilder, patience: Option<Duration>) -> Result<Response, Failure> {
    let sent = match patience {
        Some(patience) => timeout(patience, request.send()).await,
        None => Ok(request.send().await),
    };
    let answer = match sent {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => {
            tracing::debug!(error = %error.without_url(), "the agent does not answer");
            return Err(Failure::Broken);
        }
        Err(_) => return Err(Failure::Broken),
    };
    if answer.status().is_success() {
        return Ok(answer);
    }
    let status = answer.status().as_u16();
    let body = text(answer).await;
    tracing::debug!(status, body, "the agent refuses");
    Err(Failure::Answer { status, body })
}

async fn pending_or<T>(future: &mut Option<Pin<Box<dyn Future<Output = T> + Send>>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

impl Stream {
    /// The next event, or the end of the stream. An event that cannot be read ends it: what else
    /// was missed cannot be known, and the agent tells it again.
    async fn next(&mut self) -> Input {
        loop {
            match self {
                Self::None => std::future::pending().await,
                Self::Opening(answer) => match answer.await {
                    Ok(answer) => *self = Self::Open(Box::new(Records::new(answer))),
                    Err(failure) => {
                        *self = Self::None;
                        return Input::Lost(failure);
                    }
                },
                Self::Open(records) => {
                    let Some(record) = records.next().await else {
                        *self = Self::None;
                        return Input::Lost(Failure::Broken);
                    };
                    match serde_json::from_slice::<Event>(&record) {
                        Ok(event) => return Input::Heard(event),
                        Err(error) => {
                            tracing::warn!(%error, "an event of the agent is not understood");
                            *self = Self::None;
                            return Input::Lost(Failure::Broken);
                        }
                    }
                }
            }
        }
    }
}

struct Records {
    answer: Response,
    decoder: RecordIo,
    buffer: BytesMut,
}

impl Records {
    fn new(answer: Response) -> Self {
        Self { answer, decoder: RecordIo::default(), buffer: BytesMut::new() }
    }

    /// The next record; none at the end of the stream, however it comes.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            match self.decoder.decode(&mut self.buffer) {
                Ok(Some(record)) => return Some(record),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%error, "the agent's stream cannot be read");
                    return None;
                }
            }
            match self.answer.chunk().await {
                Ok(Some(chunk)) => self.buffer.extend_from_slice(&chunk),
                Ok(None) => return None,
                Err(error) => {
                    tracing::debug!(error = %error.without_url(), "the agent's stream broke off");
                    return None;
                }
            }
        }
    }
}
