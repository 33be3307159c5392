//! A simulated master with one agent whose executors are processes, and a scheduler.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use calico_dcos::mesos::Options;
use calico_dcos::mesos::scheduler::{CallSender, Subscription, connect};
use calico_dcos::mesos::v1::scheduler::{Accept, Acknowledge, Call, Event, Filters, Operation};
use calico_dcos::mesos::v1::{
    AllocationInfo, Capability, CapabilityType, FrameworkInfo, Offer, Resource, TaskInfo,
    TaskStatus,
};
use calico_dcos::sim::mesos::http::SimServer;
use calico_dcos::sim::mesos::{AgentConfig, MesosConfig, Processes, SimMesos};
use calico_dcos::sim::wire::HostSignal;
use calico_dcos::words::AgentId;
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixListener;
use tokio::sync::{mpsc, watch};

/// How long a test waits for anything at all before it fails.
const PATIENCE: Duration = Duration::from_secs(30);

const LOCAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

pub(crate) struct Site {
    /// The test that is the executor's process.
    process: &'static str,
    folder: TempDir,
    desk: Desk,
    server: SimServer<SimMesos>,
    events: Subscription,
    calls: CallSender,
    waiting: VecDeque<Event>,
    seen: Vec<Vec<u8>>,
    offers: Vec<Offer>,
    agent: Option<AgentId>,
}

impl Site {
    pub(crate) async fn start(change: impl FnOnce(&mut Processes)) -> Self {
        Self::start_with("executor_process", change).await
    }

    pub(crate) async fn start_with(
        process: &'static str,
        change: impl FnOnce(&mut Processes),
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let desk = Desk::open(folder.path());
        let mut config = MesosConfig::new(semver::Version::new(1, 12, 0), 7);
        config.timings.allocation = 20;
        config.timings.registration_backoff = 1;
        config.timings.master_recovery = 0;
        // Long enough that a busy machine does not look like an executor that does not come back.
        config.timings.executor_reregistration = 4_000;
        let mesos = SimMesos::new(calico_dcos::clock::now(), config);
        let server = SimServer::start(LOCAL, mesos).await.unwrap();
        let mut agent = AgentConfig::new("agent1", Ipv4Addr::LOCALHOST, "*");
        let work_dir = folder.path().join("work");
        let mut processes = Processes::new(work_dir.to_str().unwrap());
        change(&mut processes);
        agent.processes = Some(processes);
        server.add_process_agent(LOCAL, agent).await.unwrap();

        let masters = format!("http://{}", server.address()).parse().unwrap();
        let capability = Capability::from(CapabilityType::PartitionAware);
        let framework = FrameworkInfo {
            user: "root".to_owned(),
            name: "test".to_owned(),
            failover_timeout: 60.0,
            checkpoint: true,
            capabilities: vec![capability],
            ..FrameworkInfo::default()
        };
        let (events, calls) = connect(&Options::new(masters), framework, Vec::new()).await.unwrap();
        let (waiting, seen) = (VecDeque::new(), Vec::new());
        let (offers, agent) = (Vec::new(), None);
        Self { process, folder, desk, server, events, calls, waiting, seen, offers, agent }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Passes over what executors have said so far beside updates.
    pub(crate) fn forget_messages(&mut self) {
        self.waiting.retain(|event| !matches!(event, Event::Message(_)));
    }

    pub(crate) fn call(&self, call: Call) {
        self.calls.send(call);
    }

    pub(crate) fn agent_id(&self) -> AgentId {
        self.agent.clone().unwrap()
    }

    pub(crate) async fn agent_endpoint(&self) -> String {
        let agents = self.server.with(SimMesos::get_agents).await.unwrap();
        let pid = agents.unwrap().agents[0].pid.clone().unwrap();
        pid.rsplit('@').next().unwrap().to_owned()
    }

    pub(crate) fn http() -> reqwest::Client {
        reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap()
    }

    pub(crate) async fn signal(&self, signal: HostSignal) {
        self.server.with(move |mesos, now| mesos.from_host(now, 0, signal)).await.unwrap();
    }

    // --- events ----------------------------------------------------------------------------------

    /// Takes in one more event; updates are acknowledged, and those that come again are dropped.
    async fn take(&mut self) {
        let event = tokio::time::timeout(PATIENCE, self.events.next()).await;
        let event =
            event.unwrap_or_else(|_| panic!("nothing comes; the executor says: {}", self.log()));
        match event.unwrap() {
            Event::Heartbeat | Event::Subscribed(_) => {}
            Event::Offers(offers) => {
                self.agent = offers.first().map(|offer| offer.agent_id.clone());
                self.offers.extend(offers);
            }
            Event::Rescind(rescinded) => self.offers.retain(|offer| offer.id != rescinded),
            Event::Update(status) => {
                if let Some(acknowledge) = Acknowledge::of(&status) {
                    let new = !self.seen.contains(&acknowledge.uuid.0);
                    self.seen.push(acknowledge.uuid.0.clone());
                    self.call(Call::Acknowledge(acknowledge));
                    if !new {
                        return;
                    }
                }
                self.waiting.push_back(Event::Update(status));
            }
            event => self.waiting.push_back(event),
        }
    }

    /// The first event like that; the others stay.
    pub(crate) async fn event(&mut self, is: impl Fn(&Event) -> bool) -> Event {
        loop {
            if let Some(at) = self.waiting.iter().position(&is) {
                return self.waiting.remove(at).unwrap();
            }
            self.take().await;
        }
    }

    pub(crate) async fn update(&mut self, task: &str) -> TaskStatus {
        let of = |event: &Event| match event {
            Event::Update(status) => status.task_id.as_str() == task,
            _ => false,
        };
        match self.event(of).await {
            Event::Update(status) => status,
            _ => unreachable!(),
        }
    }

    pub(crate) async fn states(&mut self, task: &str, count: usize) -> Vec<String> {
        let mut states = Vec::new();
        while states.len() < count {
            states.push(self.update(task).await.state.to_string());
        }
        states
    }

    pub(crate) async fn data(&mut self, task: &str) -> Vec<u8> {
        self.update(task).await.data.unwrap().0
    }

    /// The wait status of the executor that has ended.
    pub(crate) async fn failure(&mut self) -> i32 {
        let event = self.event(|event| matches!(event, Event::Failure(_))).await;
        let Event::Failure(failure) = event else { panic!("{event:?}") };
        failure.status.unwrap()
    }

    // --- launches --------------------------------------------------------------------------------

    /// What the agent fetches: it becomes this very program, as the executor.
    pub(crate) fn script(&self) -> String {
        let path = self.folder.path().join("script.sh");
        let text = format!(
            "#!/bin/sh\nTEST_PROGRAM=$0 exec \"$TEST_EXECUTABLE\" --ignored --exact {} --nocapture\n",
            self.process
        );
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    pub(crate) async fn launch(&mut self, task: &str, job: &str) {
        let uri = self.script();
        self.start_task(task, "ex", &uri, "./executor.sh", job).await;
    }

    pub(crate) async fn launch_with(
        &mut self,
        task: &str,
        executor: &str,
        uri: &str,
        program: &str,
    ) {
        self.start_task(task, executor, uri, program, "run").await;
    }

    async fn start_task(
        &mut self,
        task: &str,
        executor: &str,
        uri: &str,
        program: &str,
        job: &str,
    ) {
        // An executor that has just ended gives its own back bit by bit.
        let cpus = |offer: &Offer| {
            let cpus = offer.resources.iter().filter(|resource| resource.name == "cpus");
            cpus.filter_map(Resource::amount).sum::<f64>()
        };
        while self.offers.iter().map(cpus).sum::<f64>() < 1.0 {
            self.take().await;
        }
        let offers = std::mem::take(&mut self.offers);
        let resources = |cpus, mem| {
            [("cpus", cpus), ("mem", mem)].map(|(name, value)| Resource {
                role: Some("*".to_owned()),
                allocation_info: Some(AllocationInfo { role: Some("*".to_owned()) }),
                ..Resource::scalar(name, value)
            })
        };
        let exe = std::env::current_exe().unwrap();
        let variables = json!([
            {"name": "TEST_EXECUTABLE", "value": exe.to_str().unwrap()},
            {"name": "TEST_FOLDER", "value": self.folder.path().to_str().unwrap()},
        ]);
        let arguments =
            if program == "./sleep" { json!(["sleep", "60"]) } else { json!([program]) };
        let output = if program == "./sleep" { "sleep" } else { "executor.sh" };
        let task: TaskInfo = serde_json::from_value(json!({
            "name": task,
            "task_id": {"value": task},
            "agent_id": {"value": self.agent_id().as_str()},
            "resources": resources(0.1, 32.0),
            "data": base64::Engine::encode(&base64::prelude::BASE64_STANDARD, job),
            "executor": {
                "type": "CUSTOM",
                "executor_id": {"value": executor},
                "resources": resources(0.1, 32.0),
                "command": {
                    "shell": false,
                    "value": program,
                    "arguments": arguments,
                    "uris": [{"value": uri, "executable": true, "extract": false, "cache": true,
                              "output_file": output}],
                    "environment": {"variables": variables},
                },
            },
        }))
        .unwrap();
        let accept = Accept {
            offer_ids: offers.into_iter().map(|offer| offer.id).collect(),
            operations: vec![Operation::Launch(vec![task])],
            filters: Some(Filters { refuse_seconds: 0.0 }),
        };
        self.call(Call::Accept(accept));
    }

    // --- the executor ----------------------------------------------------------------------------

    /// What the executor has told so far.
    pub(crate) fn log(&self) -> String {
        self.desk.told.borrow().clone()
    }

    /// Waits until the executor has done that; returns all that it told.
    pub(crate) async fn until_log(&self, what: &str) -> String {
        let mut told = self.desk.told.clone();
        let done = tokio::time::timeout(PATIENCE, told.wait_for(|log| log.contains(what))).await;
        done.unwrap_or_else(|_| panic!("no `{what}`: {}", self.log())).unwrap().clone()
    }

    /// Tells the executor, which has told that it started, to do that.
    pub(crate) fn poke(&self, what: &str) {
        self.desk.orders.send(format!("{what}\n")).unwrap();
    }

    pub(crate) async fn pid(&self) -> i32 {
        let log = self.until_log("\n").await;
        let line = log.lines().find_map(|line| line.strip_prefix("started ")).unwrap();
        line.split(' ').next().unwrap().parse().unwrap()
    }

    /// Stops the executor's process in its tracks.
    pub(crate) async fn freeze(&self) -> i32 {
        let number = self.pid().await;
        let pid = rustix::process::Pid::from_raw(number).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
        number
    }
}

/// Where the test and its executor meet: a socket on which the executor tells what it does, and
/// is told what to do, a line each.
struct Desk {
    told: watch::Receiver<String>,
    orders: mpsc::UnboundedSender<String>,
}

impl Desk {
    fn open(folder: &Path) -> Self {
        let listener = UnixListener::bind(folder.join("desk")).unwrap();
        let (tell, told) = watch::channel(String::new());
        let (orders, mut to_do) = mpsc::unbounded_channel::<String>();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let (reader, mut writer) = stream.into_split();
            let mut lines = BufReader::new(reader).lines();
            loop {
                tokio::select! {
                    line = lines.next_line() => match line {
                        Ok(Some(line)) => tell.send_modify(|log| {
                            log.push_str(&line);
                            log.push('\n');
                        }),
                        // The executor has ended; what it told stays.
                        Ok(None) | Err(_) => return tell.closed().await,
                    },
                    Some(order) = to_do.recv() => {
                        writer.write_all(order.as_bytes()).await.unwrap();
                    }
                }
            }
        });
        Self { told, orders }
    }
}
