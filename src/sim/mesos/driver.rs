//! Runs a world in real time: one task owns it, does what it is asked, and wakes when something
//! in it is due.

use std::collections::HashMap;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Duration, Instant};

use super::{AgentIndex, ConnId, Outgoing, SimMesos, ToBody};
use crate::mesos::recordio;
use crate::words::Time;

/// A simulated Mesos, and what else belongs to its world: the hosts of its agents.
pub trait World: Send + 'static {
    /// The Mesos in it.
    fn mesos(&mut self) -> &mut SimMesos;
    /// Lets happen what is due, and carries orders and reports between agents and hosts.
    fn advance(&mut self, now: Time);
    /// When something happens next by itself.
    fn next_deadline(&self) -> Option<Time>;
}

/// Without hosts: for agents that run executors as processes.
impl World for SimMesos {
    fn mesos(&mut self) -> &mut SimMesos {
        self
    }

    fn advance(&mut self, now: Time) {
        SimMesos::advance(self, now);
    }

    fn next_deadline(&self) -> Option<Time> {
        SimMesos::next_deadline(self)
    }
}

type Request<W> = Box<dyn FnOnce(&mut State<W>) + Send>;

/// What asks the task that owns the world.
pub(super) struct Driver<W> {
    requests: mpsc::UnboundedSender<Request<W>>,
}

impl<W> Clone for Driver<W> {
    fn clone(&self) -> Self {
        Self { requests: self.requests.clone() }
    }
}

/// A world, its clock, and the streams that its events go to.
pub(super) struct State<W> {
    pub(super) world: W,
    streams: HashMap<ConnId, mpsc::UnboundedSender<Bytes>>,
    /// Those of executors; an error breaks the connection off.
    pub(super) agent_streams: HashMap<ConnId, mpsc::UnboundedSender<std::io::Result<Bytes>>>,
    /// What runs the processes of agents.
    pub(super) bodies: HashMap<AgentIndex, mpsc::UnboundedSender<ToBody>>,
    opened: u64,
    /// Wall clock and steady clock at the start: time goes on with the steady one.
    start: (Time, Instant),
}

impl<W: World> Driver<W> {
    /// Starts the task. It ends, and gives the world back, when `stop` says so.
    pub(super) fn start(
        world: W,
        stop: oneshot::Receiver<()>,
    ) -> (Self, tokio::task::JoinHandle<W>) {
        let (requests, inbox) = mpsc::unbounded_channel();
        let start = (crate::clock::now(), Instant::now());
        let state = State {
            world,
            streams: HashMap::new(),
            agent_streams: HashMap::new(),
            bodies: HashMap::new(),
            opened: 0,
            start,
        };
        (Self { requests }, tokio::spawn(state.run(inbox, stop)))
    }

    /// Does something with the world. None if it has been stopped.
    pub(super) async fn ask<R: Send + 'static>(
        &self,
        act: impl FnOnce(&mut State<W>) -> R + Send + 'static,
    ) -> Option<R> {
        let (answer, answered) = oneshot::channel();
        self.tell(move |state| {
            // Whoever asked may have gone away meanwhile.
            let _ = answer.send(act(state));
        });
        answered.await.ok()
    }

    /// The same without waiting for it.
    pub(super) fn tell(&self, act: impl FnOnce(&mut State<W>) + Send + 'static) {
        // After the stop there is no world to do anything with.
        let _ = self.requests.send(Box::new(act));
    }
}

impl<W: World> State<W> {
    async fn run(
        mut self,
        mut inbox: mpsc::UnboundedReceiver<Request<W>>,
        mut stop: oneshot::Receiver<()>,
    ) -> W {
        loop {
            self.world.advance(self.now());
            self.send_events();
            self.send_to_bodies();
            let wake = self.world.next_deadline().map(|at| self.instant(at));
            tokio::select! {
                // Dropped without a word, it means the same.
                _ = &mut stop => return self.world,
                request = inbox.recv() => match request {
                    Some(request) => {
                        self.world.advance(self.now());
                        request(&mut self);
                    }
                    None => return self.world,
                },
                () = sleep_until(wake) => {}
            }
        }
    }

    /// The time in this world.
    pub(super) fn now(&self) -> Time {
        let (wall, steady) = self.start;
        wall.plus_ms(u64::try_from(steady.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn instant(&self, at: Time) -> Instant {
        let (wall, steady) = self.start;
        steady + Duration::from_millis(at.since(wall))
    }

    /// A new connection, and where its events come out, as records.
    pub(super) fn open(&mut self) -> (ConnId, mpsc::UnboundedReceiver<Bytes>) {
        self.opened += 1;
        let (records, stream) = mpsc::unbounded_channel();
        self.streams.insert(ConnId(self.opened), records);
        (ConnId(self.opened), stream)
    }

    /// A new connection to an agent, and where its events come out, as records.
    pub(super) fn open_agent_stream(
        &mut self,
    ) -> (ConnId, mpsc::UnboundedReceiver<std::io::Result<Bytes>>) {
        self.opened += 1;
        let (records, stream) = mpsc::unbounded_channel();
        self.agent_streams.insert(ConnId(self.opened), records);
        (ConnId(self.opened), stream)
    }

    fn send_to_bodies(&mut self) {
        for (agent, message) in self.world.mesos().drain_to_bodies() {
            match message {
                ToBody::Event { conn, event } => {
                    let Some(stream) = self.agent_streams.get(&conn) else { continue };
                    match serde_json::to_vec(&event) {
                        Ok(json) => drop(stream.send(Ok(recordio::frame(&json)))),
                        Err(error) => tracing::error!(%error, "an event cannot be written as JSON"),
                    }
                }
                ToBody::Close { conn, orderly } => {
                    if let Some(stream) = self.agent_streams.remove(&conn)
                        && !orderly
                    {
                        // A reader that has gone away needs no word of it.
                        let _ = stream.send(Err(std::io::ErrorKind::ConnectionReset.into()));
                    }
                }
                order => {
                    if let Some(body) = self.bodies.get(&agent) {
                        // One that has ended obeys nothing any more.
                        let _ = body.send(order);
                    }
                }
            }
        }
    }

    /// The connection is no more.
    pub(super) fn close(&mut self, conn: ConnId) {
        self.streams.remove(&conn);
        let now = self.now();
        self.world.mesos().disconnect(now, conn);
    }

    fn send_events(&mut self) {
        for (conn, outgoing) in self.world.mesos().drain_events() {
            match outgoing {
                Outgoing::Event(event) => {
                    let Some(stream) = self.streams.get(&conn) else { continue };
                    match serde_json::to_vec(&event) {
                        // A reader that has gone away is noticed when its response is dropped.
                        Ok(json) => drop(stream.send(recordio::frame(&json))),
                        Err(error) => tracing::error!(%error, "an event cannot be written as JSON"),
                    }
                }
                Outgoing::Operator(event) => {
                    if let Some(stream) = self.streams.get(&conn) {
                        drop(stream.send(recordio::frame(event.to_string().as_bytes())));
                    }
                }
                Outgoing::Close => {
                    self.streams.remove(&conn);
                }
            }
        }
    }
}

async fn sleep_until(wake: Option<Instant>) {
    match wake {
        Some(wake) => tokio::time::sleep_until(wake).await,
        None => std::future::pending().await,
    }
}
