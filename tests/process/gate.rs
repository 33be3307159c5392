//! What stands between a controller and the simulated master: a port of its own, on which every call
//! and every event is written down, and goes on as the test says.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::http::{Request, Response, StatusCode, header};
use calico_dcos::mesos::recordio::frame;
use calico_dcos::sim::mesos::http::{SimServer, World};
use futures_util::StreamExt;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_stream::wrappers::UnboundedReceiverStream;

use crate::support::PATIENCE;

type Chunk = std::io::Result<Bytes>;

/// What happens to a call.
pub(crate) enum Call {
    /// It is carried out, and answered.
    Pass,
    /// It is carried out, and the connection is closed in place of an answer.
    LoseAnswer,
    /// It is carried out when the test says so; whoever drops the sender says so too.
    Wait(oneshot::Receiver<()>),
    /// It is carried out, and answered only when the test says so.
    AnswerLater(oneshot::Receiver<()>),
    /// It is answered as ever, and lost after that.
    Swallow,
    /// It is refused with this status, in these words, and not carried out.
    Refuse(StatusCode, &'static str),
    /// Another master leads: this `Location`.
    Redirect(String),
}

/// What happens to an event, and to the stream that it comes on.
#[derive(Debug)]
pub(crate) enum Event {
    Pass,
    Drop,
    Twice,
    /// It is passed on, and then this one, which did not come from the master.
    Then(Value),
    /// The connection stays, and nothing comes on it any more.
    Stall,
    /// The connection breaks in the middle of the record.
    Break,
    /// The stream ends in the middle of the record, in good order.
    End,
}

type OnCall = Box<dyn FnMut(&str, &mut Value) -> Call + Send>;
type OnEvent = Box<dyn FnMut(&Value) -> Event + Send>;

/// All that has come by.
#[derive(Default)]
pub(crate) struct Log {
    /// Calls of the scheduler by their type, those of operators as `operator TYPE`, others as
    /// `GET /path`; with their bodies.
    pub(crate) calls: Vec<(String, Value)>,
    /// Events that the scheduler was given.
    pub(crate) events: Vec<Value>,
}

impl Log {
    pub(crate) fn count(&self, kind: &str) -> usize {
        self.calls.iter().filter(|(name, _)| name == kind).count()
    }

    pub(crate) fn events<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.events.iter().filter(move |event| event["type"] == kind)
    }

    /// The offers of that agent that the scheduler has had for a heartbeat, and has not answered.
    pub(crate) fn held(&self, agent: &Value) -> usize {
        let beat = self.events.iter().rposition(|event| event["type"] == "HEARTBEAT");
        let old = self.events[..beat.unwrap_or(0)].iter();
        let offers = old.filter_map(|event| event["offers"]["offers"].as_array()).flatten();
        let offers = offers.filter(|offer| offer["agent_id"] == *agent);
        let answered = |id: &Value| {
            let rescinded = self.events("RESCIND").any(|event| event["rescind"]["offer_id"] == *id);
            rescinded
                || self.calls.iter().any(|(_, call)| {
                    ["accept", "decline"].iter().any(|answer| {
                        call[answer]["offer_ids"].as_array().is_some_and(|ids| ids.contains(id))
                    })
                })
        };
        offers.filter(|offer| !answered(&offer["id"])).count()
    }

    /// The statuses that the scheduler was given.
    pub(crate) fn updates(&self) -> impl Iterator<Item = &Value> {
        self.events("UPDATE").map(|event| &event["update"]["status"])
    }
}

struct State {
    log: Log,
    on_call: OnCall,
    on_event: OnEvent,
}

#[derive(Clone)]
pub(crate) struct Gate {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
    /// Counts what has come by.
    seen: watch::Sender<u64>,
}

impl Gate {
    /// Opens it before this master.
    pub(crate) async fn open<W: World>(mesos: Arc<SimServer<W>>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let state = State {
            log: Log::default(),
            on_call: Box::new(|_, _| Call::Pass),
            on_event: Box::new(|_| Event::Pass),
        };
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(state));
        let gate = Self { address, state, seen: watch::Sender::new(0) };
        let own = gate.clone();
        let handler = move |request| {
            let (gate, mesos) = (own.clone(), Arc::clone(&mesos));
            async move { gate.answer(&mesos, request).await }
        };
        let router = axum::Router::new().fallback(handler);
        tokio::spawn(async move { axum::serve(listener, router).await });
        gate
    }

    /// From now on calls are treated like this. The name is that in [`Log::calls`].
    pub(crate) fn calls(&self, treat: impl FnMut(&str, &mut Value) -> Call + Send + 'static) {
        self.state.lock().unwrap().on_call = Box::new(treat);
    }

    /// Only the next call of that name is treated like this.
    pub(crate) fn next_call(&self, kind: &'static str, treat: Call) {
        let mut treat = Some(treat);
        self.calls(move |name, _| match treat.take_if(|_| name == kind) {
            Some(treat) => treat,
            None => Call::Pass,
        });
    }

    /// From now on events for the scheduler are treated like this.
    pub(crate) fn events(&self, treat: impl FnMut(&Value) -> Event + Send + 'static) {
        self.state.lock().unwrap().on_event = Box::new(treat);
    }

    /// Only the next event is treated like this.
    pub(crate) fn next_event(&self, treat: Event) {
        let mut treat = Some(treat);
        self.events(move |_| treat.take().unwrap_or(Event::Pass));
    }

    pub(crate) fn look<R>(&self, at: impl FnOnce(&Log) -> R) -> R {
        at(&self.state.lock().unwrap().log)
    }

    /// Waits until what has come by is as hoped for.
    pub(crate) async fn until(&self, what: &str, hope: impl Fn(&Log) -> bool) {
        let mut seen = self.seen.subscribe();
        let waiting = seen.wait_for(|_| self.look(&hope));
        let waited = tokio::time::timeout(PATIENCE, waiting).await.map(|seen| seen.is_ok());
        let last: Vec<String> = self
            .look(|log| log.calls.iter().rev().take(12).map(|(kind, _)| kind.clone()).collect());
        assert_eq!(waited, Ok(true), "never {what}; the last calls, backwards: {last:?}");
    }

    /// Waits for so many more heartbeats of the master.
    pub(crate) async fn heartbeats(&self, more: usize) {
        let beats = |log: &Log| log.events("HEARTBEAT").count();
        let before = self.look(beats);
        self.until("heartbeats", |log| beats(log) >= before + more).await;
    }

    async fn answer<W: World>(
        &self,
        mesos: &SimServer<W>,
        request: Request<Body>,
    ) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(body, 1 << 24).await.unwrap();
        let mut call: Value = serde_json::from_slice(&body).unwrap_or_default();
        let kind = call["type"].as_str().unwrap_or_default();
        let name = match parts.uri.path() {
            "/api/v1/scheduler" => kind.to_owned(),
            "/api/v1" => format!("operator {kind}"),
            path => format!("{} {path}", parts.method),
        };
        let treat = {
            let mut state = self.state.lock().unwrap();
            state.log.calls.push((name.clone(), call.clone()));
            (state.on_call)(&name, &mut call)
        };
        self.seen.send_modify(|seen| *seen += 1);
        let body = if call.is_null() { body } else { call.to_string().into() };
        let forwarded = Request::from_parts(parts, Body::from(body));
        match treat {
            Call::Pass => {}
            Call::Wait(go) => drop(go.await),
            Call::AnswerLater(go) => {
                let response = mesos.request(forwarded).await;
                let _ = go.await;
                return response;
            }
            Call::LoseAnswer => {
                mesos.request(forwarded).await;
                return broken();
            }
            Call::Swallow => {
                let response = Response::builder().status(StatusCode::ACCEPTED);
                return response.body(Body::empty()).unwrap();
            }
            Call::Refuse(status, words) => {
                return Response::builder().status(status).body(words.into()).unwrap();
            }
            Call::Redirect(location) => {
                let response = Response::builder().status(StatusCode::TEMPORARY_REDIRECT);
                return response.header(header::LOCATION, location).body(Body::empty()).unwrap();
            }
        }
        let response = mesos.request(forwarded).await;
        if name != "SUBSCRIBE" || response.status() != StatusCode::OK {
            return response;
        }
        let (head, body) = response.into_parts();
        let (tell, told) = mpsc::unbounded_channel();
        tokio::spawn(self.clone().pass_on(body, tell));
        let chunks = UnboundedReceiverStream::new(told).then(|chunk| async move {
            if chunk.is_err() {
                // The server sends what it has when it finds nothing more: before this.
                tokio::task::yield_now().await;
            }
            chunk
        });
        Response::from_parts(head, Body::from_stream(chunks))
    }

    /// Passes events on until either side ends the stream. The simulated master gives each record
    /// as one chunk.
    async fn pass_on(self, body: Body, to: mpsc::UnboundedSender<Chunk>) {
        let mut records = body.into_data_stream();
        loop {
            let record = tokio::select! {
                () = to.closed() => return,
                record = records.next() => match record {
                    Some(record) => record.unwrap(),
                    None => return,
                },
            };
            let json = record.iter().position(|byte| *byte == b'\n').unwrap() + 1;
            let event: Value = serde_json::from_slice(&record[json..]).unwrap();
            let treat = (self.state.lock().unwrap().on_event)(&event);
            let half = record.slice(..json + (record.len() - json) / 2);
            match treat {
                Event::Pass => self.give(&to, event),
                Event::Twice => {
                    self.give(&to, event.clone());
                    self.give(&to, event);
                }
                Event::Then(another) => {
                    self.give(&to, event);
                    self.give(&to, another);
                }
                Event::Drop => {}
                Event::Stall => return to.closed().await,
                Event::End => return drop(to.send(Ok(half))),
                Event::Break => {
                    let _ = to.send(Ok(half));
                    return drop(to.send(Err(std::io::ErrorKind::ConnectionReset.into())));
                }
            }
        }
    }

    fn give(&self, to: &mpsc::UnboundedSender<Chunk>, event: Value) {
        // Written down first: who acts on it must find it there.
        let record = frame(event.to_string().as_bytes());
        self.state.lock().unwrap().log.events.push(event);
        let _ = to.send(Ok(record));
        self.seen.send_modify(|seen| *seen += 1);
    }
}

/// An answer that never begins: the connection is closed.
fn broken() -> Response<Body> {
    let lost: Chunk = Err(std::io::ErrorKind::ConnectionReset.into());
    Response::new(Body::from_stream(futures_util::stream::once(async { lost })))
}
