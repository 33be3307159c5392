//! A machine for tests: a folder for its files, a Docker daemon on a real socket, and services
//! that are counted and not run.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::{Seen, Step, Turn};
use crate::desired::ComponentSpec;
use crate::job::Finding;
use crate::node::files::{Root, Staging};
use crate::node::host::Host;
use crate::node::service::{Activity, Service, ServiceError, Services, Transient};
use crate::node::watch::Sign;
use crate::words::Attempt;

/// What the machine is, and what was done to it.
#[derive(Debug, Default)]
pub(in crate::node) struct Machine {
    pub units: BTreeMap<String, Service>,
    /// `restart docker.service`, in order.
    pub done: Vec<String>,
    /// What the daemon says of itself.
    pub info: Value,
    /// Verbs that fail, with the unit: `restart docker.service`.
    pub broken: Vec<String>,
    /// Containers by name.
    pub containers: BTreeMap<String, Value>,
    /// Images by name.
    pub images: BTreeMap<String, Value>,
    /// Images that a pull brings.
    pub registry: BTreeMap<String, Value>,
    /// Starts of services so far, which stand for the time.
    pub clock: u64,
    /// What systemd says of the words of any process.
    pub line: Option<String>,
    /// Who listens to Docker's events.
    listeners: Vec<UnboundedSender<()>>,
    /// There is no systemd.
    pub without_systemd: bool,
    /// Who wants to know of changes of units.
    signs: Vec<Sign>,
    root: PathBuf,
}

impl Machine {
    pub(in crate::node) fn count(&self, what: &str) -> usize {
        self.done.iter().filter(|done| done.starts_with(what)).count()
    }

    fn container_event(&mut self) {
        self.listeners.retain(|listener| listener.send(()).is_ok());
    }

    fn daemon_json(&self) -> Option<Value> {
        let text = std::fs::read_to_string(self.root.join("etc/docker/daemon.json"));
        match text {
            Ok(text) => serde_json::from_str(&text).ok(),
            Err(_) => Some(json!({})),
        }
    }

    /// What dockerd 20.10 does with its file at start, and at SIGHUP.
    fn docker_reads(&mut self, reload: bool) -> bool {
        let Some(file) = self.daemon_json() else { return reload };
        if file.get("unknown").is_some() {
            return reload;
        }
        let store = file["cluster-store"].as_str().unwrap_or_default();
        let advertise = file["cluster-advertise"].as_str().unwrap_or_default();
        let takes = !reload || (self.info["ClusterStore"] == "" && !advertise.is_empty());
        if takes {
            self.info["ClusterStore"] = store.into();
            self.info["ClusterAdvertise"] = advertise.replace("eth0", "10.0.0.1").into();
        }
        true
    }
}

/// The machine and the handle to it.
#[derive(Debug)]
pub(in crate::node) struct Fake {
    pub host: Host,
    machine: Arc<Mutex<Machine>>,
    folder: tempfile::TempDir,
}

impl Fake {
    /// A machine with Docker 20.10 and no store.
    pub(in crate::node) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let info = json!({
            "ServerVersion": "20.10.24", "ClusterStore": "", "ClusterAdvertise": "",
            "ContainersRunning": 3, "Swarm": {"LocalNodeState": "inactive"},
        });
        let root = folder.path().to_owned();
        let machine = Arc::new(Mutex::new(Machine { info, root, ..Machine::default() }));
        let services = Arc::new(FakeServices(Arc::clone(&machine)));
        let mut host = Host::below(Root::new(folder.path()), services).unwrap();
        host.look_again = Duration::from_millis(1);
        // A test's own program is a hundred times as large as the product's.
        host.program = folder.path().join("program");
        std::fs::write(&host.program, "program").unwrap();
        let fake = Self { host, machine, folder };
        fake.add_unit("docker.service", true);
        fake.put("/proc/1/comm", "systemd\n");
        serve(&fake.folder.path().join("var/run"), Arc::clone(&fake.machine));
        fake
    }

    pub(in crate::node) fn machine(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().unwrap()
    }

    /// For a server that has to know what was done.
    pub(in crate::node) fn share(&self) -> Arc<Mutex<Machine>> {
        Arc::clone(&self.machine)
    }

    pub(in crate::node) fn add_unit(&self, name: &str, up: bool) {
        let activity = if up { Activity::Active } else { Activity::Inactive };
        let file_state = "enabled".to_owned();
        let unit = Service { activity, file_state, main_pid: 0, started_us: 1 };
        self.machine().units.insert(name.to_owned(), unit);
    }

    pub(in crate::node) fn put(&self, path: &str, text: &str) {
        self.host.root.write(path, text.as_bytes(), 0o644, Staging::Beside).unwrap();
    }

    pub(in crate::node) fn text(&self, path: &str) -> Option<String> {
        self.host.root.text(path).unwrap()
    }

    pub(super) async fn observe(&self, step: &impl Step) -> Option<Seen> {
        super::look_at(step, &self.host).await.unwrap()
    }

    pub(super) async fn check(&self, step: &impl Step, target: &ComponentSpec) -> Finding {
        super::find(step, &self.host, target).await.unwrap()
    }

    pub(super) async fn undo(&self, step: &impl Step, attempt: u64) {
        super::put_back(step, &self.host, turn(attempt)).await.unwrap();
    }
}

/// An attempt that holds a slot.
pub(super) fn turn(attempt: u64) -> Turn {
    Turn { attempt: Attempt(attempt), may_disrupt: true }
}

/// One that holds none.
pub(super) fn without_slot(attempt: u64) -> Turn {
    Turn { may_disrupt: false, ..turn(attempt) }
}

#[derive(Debug)]
struct FakeServices(Arc<Mutex<Machine>>);

impl FakeServices {
    fn act<'a>(&'a self, verb: &'a str, unit: &'a str) -> BoxFuture<'a, Result<(), ServiceError>> {
        let mut machine = self.0.lock().unwrap();
        let done = format!("{verb} {unit}");
        let not_up = Err(ServiceError::NotUp { unit: unit.to_owned() });
        if machine.broken.contains(&done) {
            machine.done.push(done);
            return Box::pin(std::future::ready(not_up));
        }
        machine.done.push(done);
        machine.signs.iter().for_each(Sign::changed);
        machine.clock += 1;
        let now = machine.clock;
        let starts = matches!(verb, "start" | "restart");
        let mut well = true;
        if unit == "docker.service" && (starts || verb == "reload") {
            well = machine.docker_reads(verb == "reload");
        }
        if let Some(service) = machine.units.get_mut(unit) {
            if starts && (verb == "restart" || service.activity != Activity::Active) {
                service.started_us = now * 1_000_000;
                service.activity = if well { Activity::Active } else { Activity::Failed };
            } else if verb == "stop" {
                service.activity = Activity::Inactive;
            }
        }
        Box::pin(std::future::ready(if well { Ok(()) } else { not_up }))
    }
}

impl Services for FakeServices {
    fn look<'a>(&'a self, unit: &'a str) -> BoxFuture<'a, Result<Option<Service>, ServiceError>> {
        let machine = self.0.lock().unwrap();
        let found = if machine.without_systemd {
            Err(ServiceError::NoBus { source: "no such file".into() })
        } else {
            Ok(machine.units.get(unit).cloned())
        };
        Box::pin(std::future::ready(found))
    }
    fn command_line<'a>(
        &'a self,
        _: &'a str,
        _: u32,
    ) -> BoxFuture<'a, Result<Option<String>, ServiceError>> {
        Box::pin(std::future::ready(Ok(self.0.lock().unwrap().line.clone())))
    }
    fn watch<'a>(
        &'a self,
        _: &'a [&'static str],
        sign: &'a Sign,
    ) -> BoxFuture<'a, Result<Infallible, ServiceError>> {
        self.0.lock().unwrap().signs.push(sign.clone());
        sign.up();
        Box::pin(std::future::pending())
    }
    fn start<'a>(&'a self, unit: &'a str) -> BoxFuture<'a, Result<(), ServiceError>> {
        self.act("start", unit)
    }
    fn restart<'a>(&'a self, unit: &'a str) -> BoxFuture<'a, Result<(), ServiceError>> {
        self.act("restart", unit)
    }
    fn reload<'a>(&'a self, unit: &'a str) -> BoxFuture<'a, Result<(), ServiceError>> {
        self.act("reload", unit)
    }
    fn stop<'a>(&'a self, unit: &'a str) -> BoxFuture<'a, Result<(), ServiceError>> {
        self.act("stop", unit)
    }
    fn reset_failed<'a>(&'a self, unit: &'a str) -> BoxFuture<'a, Result<(), ServiceError>> {
        self.act("reset-failed", unit)
    }
    fn enable<'a>(&'a self, unit: &'a str) -> BoxFuture<'a, Result<(), ServiceError>> {
        self.act("enable", unit)
    }
    fn disable<'a>(&'a self, unit: &'a str) -> BoxFuture<'a, Result<(), ServiceError>> {
        self.act("disable", unit)
    }
    fn read_files_again(&self) -> BoxFuture<'_, Result<(), ServiceError>> {
        self.act("daemon-reload", "")
    }
    fn start_transient<'a>(
        &'a self,
        unit: &'a Transient,
    ) -> BoxFuture<'a, Result<(), ServiceError>> {
        self.act("transient", &unit.name)
    }
}

type Shared = State<Arc<Mutex<Machine>>>;

/// The daemon's API, for as long as its unit is up.
fn serve(folder: &std::path::Path, machine: Arc<Mutex<Machine>>) {
    std::fs::create_dir_all(folder).unwrap();
    let listener = tokio::net::UnixListener::bind(folder.join("docker.sock")).unwrap();
    let router = Router::new()
        .route("/info", get(info))
        .route("/events", get(events))
        .route("/containers/{name}/json", get(container))
        .route("/containers/create", post(create))
        .route("/containers/{name}/start", post(start))
        .route("/containers/{name}/stop", post(stop))
        .route("/containers/{name}/rename", post(rename))
        .route("/containers/{name}", delete(remove))
        .route("/images/create", post(pull))
        .route("/images/{*name}", get(image))
        .with_state(machine);
    tokio::spawn(async move { axum::serve(listener, router).await });
}

async fn info(State(machine): Shared) -> Result<Json<Value>, StatusCode> {
    let machine = machine.lock().unwrap();
    match machine.units["docker.service"].activity {
        Activity::Active => Ok(Json(machine.info.clone())),
        _ => Err(StatusCode::SERVICE_UNAVAILABLE),
    }
}

/// A line for each event, for as long as the daemon runs.
async fn events(State(machine): Shared) -> Body {
    let (sender, events) = unbounded_channel();
    machine.lock().unwrap().listeners.push(sender);
    Body::from_stream(futures_util::stream::unfold(events, async |mut events| {
        events.recv().await.map(|()| (Ok::<_, Infallible>("{\"status\":\"die\"}\n"), events))
    }))
}

async fn container(
    State(machine): Shared,
    Path(name): Path<String>,
) -> Result<Json<Value>, StatusCode> {
    machine.lock().unwrap().containers.get(&name).cloned().map(Json).ok_or(StatusCode::NOT_FOUND)
}

/// What `inspect` says of a container is made of what it was created with.
async fn create(
    State(machine): Shared,
    Query(query): Query<BTreeMap<String, String>>,
    Json(mut body): Json<Value>,
) -> StatusCode {
    let mut machine = machine.lock().unwrap();
    let name = query["name"].clone();
    if machine.containers.contains_key(&name) {
        return StatusCode::CONFLICT;
    }
    let image = body["Image"].as_str().unwrap_or_default().to_owned();
    let by_id = |image: &&Value| image["Id"] == image.as_str().unwrap_or_default();
    let Some(id) = machine
        .images
        .get(&image)
        .or_else(|| machine.images.values().find(|known| known["Id"] == image.as_str()))
        .or_else(|| machine.images.values().find(by_id))
        .map(|image| image["Id"].clone())
    else {
        return StatusCode::NOT_FOUND;
    };
    let host_config = body["HostConfig"].take();
    machine.done.push(format!("create {name} of {image}"));
    let inspect = json!({
        "Image": id, "Config": body, "HostConfig": host_config, "State": {"Running": false},
    });
    machine.containers.insert(name, inspect);
    StatusCode::CREATED
}

async fn start(State(machine): Shared, Path(name): Path<String>) -> StatusCode {
    let mut machine = machine.lock().unwrap();
    let broken = machine.broken.contains(&format!("run {name}"));
    machine.done.push(format!("run {name}"));
    match machine.containers.get_mut(&name) {
        Some(_) if broken => StatusCode::INTERNAL_SERVER_ERROR,
        Some(container) => {
            container["State"] = json!({"Running": true});
            StatusCode::NO_CONTENT
        }
        None => StatusCode::NOT_FOUND,
    }
}

async fn stop(State(machine): Shared, Path(name): Path<String>) -> StatusCode {
    let mut machine = machine.lock().unwrap();
    match machine.containers.get_mut(&name) {
        Some(container) => {
            container["State"] = json!({"Running": false});
            StatusCode::NO_CONTENT
        }
        None => StatusCode::NOT_FOUND,
    }
}

async fn rename(
    State(machine): Shared,
    Path(name): Path<String>,
    Query(query): Query<BTreeMap<String, String>>,
) -> StatusCode {
    let mut machine = machine.lock().unwrap();
    if machine.containers.contains_key(&query["name"]) {
        return StatusCode::CONFLICT;
    }
    let Some(container) = machine.containers.remove(&name) else { return StatusCode::NOT_FOUND };
    machine.containers.insert(query["name"].clone(), container);
    StatusCode::NO_CONTENT
}

async fn remove(State(machine): Shared, Path(name): Path<String>) -> StatusCode {
    let mut machine = machine.lock().unwrap();
    if machine.containers.remove(&name).is_none() {
        return StatusCode::NOT_FOUND;
    }
    machine.done.push(format!("remove {name}"));
    machine.container_event();
    StatusCode::NO_CONTENT
}

async fn pull(State(machine): Shared, Query(query): Query<BTreeMap<String, String>>) -> String {
    let mut machine = machine.lock().unwrap();
    let name = format!("{}:{}", query["fromImage"], query["tag"]);
    machine.done.push(format!("pull {name}"));
    match machine.registry.get(&name).cloned() {
        Some(image) => {
            machine.images.insert(name, image);
            "{\"status\":\"Pulling\"}\n{\"status\":\"done\"}\n".to_owned()
        }
        None => "{\"status\":\"Pulling\"}\n{\"error\":\"manifest unknown\"}\n".to_owned(),
    }
}

async fn image(
    State(machine): Shared,
    Path(path): Path<String>,
) -> Result<Json<Value>, StatusCode> {
    let name = path.strip_suffix("/json").unwrap_or(&path);
    let machine = machine.lock().unwrap();
    let by_id = || machine.images.values().find(|image| image["Id"] == name);
    machine.images.get(name).or_else(by_id).cloned().map(Json).ok_or(StatusCode::NOT_FOUND)
}
