//! Our scheduler client against the simulated master over real HTTP, while things go wrong. The
//! names carry the number of the point in `CHECKLIST.md` that they show.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use calico_dcos::mesos::scheduler::{CallSender, Subscription, connect};
use calico_dcos::mesos::v1::scheduler::{
    Accept, Acknowledge, Call, Decline, Event, Filters, InverseAnswer, Kill, Operation, Reconcile,
    ReconcileTask, Roles,
};
use calico_dcos::mesos::v1::{
    Capability, CapabilityType, CommandInfo, FrameworkId, FrameworkInfo, Offer, Resource,
    StatusReason, TaskInfo, TaskState, TaskStatus,
};
use calico_dcos::mesos::{Credentials, MesosError, NextStep, Options};
use calico_dcos::sim::mesos::http::{SimServer, World};
use calico_dcos::sim::mesos::{AgentConfig, Authentication, MesosConfig, NetworkFaults, SimMesos};
use calico_dcos::sim::wire::{FromExecutor, HostSignal, ToExecutor};
use calico_dcos::words::{TaskPhase, Time};
use serde_json::json;
use tokio::time::{Duration, timeout};

const LOCAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// How long a test waits for anything at all before it fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// Mesos, with executors that do at once what they are told and write down what that was.
struct Obedient {
    mesos: SimMesos,
    launched: Arc<Mutex<Vec<String>>>,
}

impl World for Obedient {
    fn mesos(&mut self) -> &mut SimMesos {
        &mut self.mesos
    }

    fn advance(&mut self, now: Time) {
        self.mesos.advance(now);
        for (agent, order) in self.mesos.drain_to_hosts() {
            let (task, state) = match order {
                ToExecutor::Launch { task, .. } => {
                    self.launched.lock().unwrap().push(task.to_string());
                    (task, TaskPhase::Running)
                }
                ToExecutor::Kill(task) => (task, TaskPhase::Killed),
                ToExecutor::Message(_) | ToExecutor::Shutdown => continue,
            };
            let update = FromExecutor::Update { task, state, message: None, data: None };
            self.mesos.from_executor(now, agent, update);
        }
    }

    fn next_deadline(&self) -> Option<Time> {
        self.mesos.next_deadline()
    }
}

/// A master with that many agents, each on a machine of its own, and what reached their hosts.
async fn serve(agents: u8) -> (SimServer<Obedient>, Arc<Mutex<Vec<String>>>) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut config = MesosConfig::new(semver::Version::new(1, 12, 0), 7);
    config.timings.allocation = 20;
    config.timings.registration_backoff = 1;
    config.timings.executor_reregistration = 50;
    config.timings.first_launch = 1;
    config.timings.master_recovery = 0;
    config.timings.detect_master = 30;
    config.timings.update_retry = 100;
    let now = calico_dcos::clock::now();
    let mut mesos = SimMesos::new(now, config);
    for number in 1..=agents {
        let ip = Ipv4Addr::new(10, 0, 0, number);
        mesos.add_agent(now, AgentConfig::new(&format!("a{number}"), ip, "*"));
    }
    let launched = Arc::new(Mutex::new(Vec::new()));
    let world = Obedient { mesos, launched: Arc::clone(&launched) };
    (SimServer::start(LOCAL, world).await.unwrap(), launched)
}

fn options(server: &SimServer<Obedient>) -> Options {
    Options::new(format!("http://{}", server.address()).parse().unwrap())
}

fn framework(id: Option<&FrameworkId>) -> FrameworkInfo {
    let capabilities = [CapabilityType::MultiRole, CapabilityType::PartitionAware];
    FrameworkInfo {
        user: "root".to_owned(),
        name: "calico".to_owned(),
        id: id.cloned(),
        failover_timeout: 1_209_600.0,
        checkpoint: true,
        roles: vec!["*".to_owned()],
        capabilities: capabilities.into_iter().map(Capability::from).collect(),
        ..FrameworkInfo::default()
    }
}

struct Scheduler {
    events: Subscription,
    calls: CallSender,
    /// Events that came while something else was waited for, oldest first.
    passed: VecDeque<Event>,
}

impl Scheduler {
    async fn connect(server: &SimServer<Obedient>, id: Option<&FrameworkId>) -> Self {
        let (events, calls) = connect(&options(server), framework(id), vec![]).await.unwrap();
        Self { events, calls, passed: VecDeque::new() }
    }

    fn id(&self) -> FrameworkId {
        self.events.framework_id().clone()
    }

    /// The next event, whatever it is.
    async fn next(&mut self) -> Result<Event, MesosError> {
        match self.passed.pop_front() {
            Some(event) => Ok(event),
            None => timeout(PATIENCE, self.events.next()).await.expect("an event"),
        }
    }

    /// The first event that is wanted, of those that have passed and those to come. Two kinds of
    /// events come in no order that a test could rely on, so the others are kept.
    async fn first<T>(&mut self, wanted: impl Fn(&Event) -> Option<T>) -> T {
        let found = self.passed.iter().enumerate().find_map(|(at, e)| Some((at, wanted(e)?)));
        if let Some((at, found)) = found {
            self.passed.remove(at);
            return found;
        }
        let to_come = async {
            loop {
                let event = self.events.next().await.unwrap();
                if let Some(found) = wanted(&event) {
                    return found;
                }
                if let Event::Rescind(id) = &event {
                    // Nobody is to launch on what is gone.
                    for event in &mut self.passed {
                        if let Event::Offers(offers) = event {
                            offers.retain(|offer| offer.id != *id);
                        }
                    }
                }
                self.passed.push_back(event);
            }
        };
        timeout(PATIENCE, to_come).await.expect("the event that is waited for")
    }

    /// The next offers.
    async fn offers(&mut self) -> Vec<Offer> {
        let offers = |event: &Event| match event {
            Event::Offers(offers) if !offers.is_empty() => Some(offers.clone()),
            _ => None,
        };
        self.first(offers).await
    }

    async fn update(&mut self) -> TaskStatus {
        let update = |event: &Event| match event {
            Event::Update(status) => Some(status.clone()),
            _ => None,
        };
        self.first(update).await
    }

    /// What ends the subscription.
    async fn end(&mut self) -> MesosError {
        let end = async {
            loop {
                if let Err(error) = self.events.next().await {
                    return error;
                }
            }
        };
        timeout(PATIENCE, end).await.expect("the end of the subscription")
    }

    fn launch(&self, task: &str, offer: &Offer) {
        let mut resources = vec![Resource::scalar("cpus", 0.1), Resource::scalar("mem", 32.0)];
        for resource in &mut resources {
            resource.role.clone_from(&offer.resources[0].role);
            resource.allocation_info.clone_from(&offer.resources[0].allocation_info);
        }
        let info = TaskInfo {
            name: task.to_owned(),
            task_id: task.into(),
            agent_id: offer.agent_id.clone(),
            resources,
            executor: None,
            command: Some(CommandInfo::shell("true")),
            kill_policy: None,
            data: None,
            labels: None,
            rest: serde_json::Map::new(),
        };
        self.calls.send(Call::Accept(Accept {
            offer_ids: vec![offer.id.clone()],
            operations: vec![Operation::Launch(vec![info])],
            filters: Some(Filters { refuse_seconds: 0.0 }),
        }));
    }

    /// A task that runs and whose updates were acknowledged.
    async fn running(&mut self, task: &str) -> TaskStatus {
        let offer = self.offers().await.remove(0);
        self.launch(task, &offer);
        let status = self.update().await;
        assert_eq!(status.state, TaskState::Running);
        self.calls.send(Call::Acknowledge(Acknowledge::of(&status).unwrap()));
        status
    }
}

#[tokio::test]
async fn point_21_of_two_schedulers_with_one_id_the_first_stops_and_does_not_come_back() {
    let (server, _) = serve(0).await;
    let mut first = Scheduler::connect(&server, None).await;
    let mut second = Scheduler::connect(&server, Some(&first.id())).await;
    let error = first.end().await;
    assert!(matches!(error, MesosError::FailedOver), "{error:?}");
    assert_eq!(error.next_step(), NextStep::GiveUp);
    // A call of the first one changes nothing for the second.
    first.calls.send(Call::Teardown);
    second.calls.send(Call::Reconcile(Reconcile::default()));
    assert!(matches!(second.next().await, Ok(Event::Subscribed(_))));
    assert!(matches!(second.next().await, Ok(Event::Heartbeat)));
    let known = server.with(|world, now| world.mesos.operate(now, "GET_FRAMEWORKS", &json!({})));
    let calico_dcos::sim::mesos::OperatorAnswer::Told(told) = known.await.unwrap().unwrap() else {
        panic!("nothing told")
    };
    assert_eq!(told["get_frameworks"]["frameworks"][0]["connected"], true);
}

#[tokio::test]
async fn point_22_a_framework_removed_by_an_operator_is_told_apart_and_never_given_a_new_id() {
    let (server, _) = serve(0).await;
    let mut scheduler = Scheduler::connect(&server, None).await;
    let id = scheduler.id();
    let call = json!({ "teardown": { "framework_id": { "value": id.as_str() } } });
    server.with(move |w, now| w.mesos.operate(now, "TEARDOWN", &call)).await.unwrap().unwrap();
    // The stream just ends; only the next attempt says why.
    assert_eq!(scheduler.end().await.next_step(), NextStep::Resubscribe);
    let error = connect(&options(&server), framework(Some(&id)), vec![]).await.unwrap_err();
    assert!(matches!(error, MesosError::Removed), "{error:?}");
    assert_eq!(error.next_step(), NextStep::GiveUp);
}

#[tokio::test]
async fn point_09_a_new_master_is_a_reason_to_subscribe_again_with_the_same_id() {
    let (server, _) = serve(1).await;
    let mut scheduler = Scheduler::connect(&server, None).await;
    let id = scheduler.id();
    scheduler.running("t").await;
    server.with(|world, now| world.mesos.master_failover(now)).await.unwrap();
    assert_eq!(scheduler.end().await.next_step(), NextStep::Resubscribe);
    let mut again = Scheduler::connect(&server, Some(&id)).await;
    assert_eq!(again.id(), id);
    again.offers().await;
    again.calls.send(Call::Reconcile(Reconcile::default()));
    // The acknowledgement may have been lost with the old master: then the update comes again too.
    let status = loop {
        let status = again.update().await;
        if status.reason == Some(StatusReason::Reconciliation) {
            break status;
        }
    };
    assert_eq!(status.state, TaskState::Running);
    assert!(status.uuid.is_none());
}

#[tokio::test]
async fn point_13_and_28_an_offer_that_is_gone_drops_its_task_and_the_next_one_takes_it() {
    let (server, launched) = serve(1).await;
    let mut scheduler = Scheduler::connect(&server, None).await;
    let offer = scheduler.offers().await.remove(0);
    // The agent restarts between OFFERS and ACCEPT.
    server
        .with(|world, now| {
            world.mesos.from_host(now, 0, HostSignal::AgentStopped);
            world.mesos.from_host(now, 0, HostSignal::AgentStarted);
        })
        .await
        .unwrap();
    let rescind = |event: &Event| match event {
        Event::Rescind(id) => Some(id.clone()),
        _ => None,
    };
    assert_eq!(scheduler.first(rescind).await, offer.id);
    scheduler.launch("t.1", &offer);
    let status = scheduler.update().await;
    assert_eq!(
        (status.state, status.reason),
        (TaskState::Dropped, Some(StatusReason::InvalidOffers))
    );
    let offer = scheduler.offers().await.remove(0);
    scheduler.launch("t.2", &offer);
    assert_eq!(scheduler.update().await.state, TaskState::Running);
    assert_eq!(*launched.lock().unwrap(), ["t.2"]);
}

#[tokio::test]
async fn point_40_updates_that_come_twice_and_late_carry_the_uuid_that_tells_them_apart() {
    let (server, _) = serve(1).await;
    let mut scheduler = Scheduler::connect(&server, None).await;
    let faults =
        NetworkFaults { duplicate: 1.0, delay: 0.5, delay_limit: 50, ..NetworkFaults::default() };
    server.with(move |world, now| world.mesos.set_faults(now, faults)).await.unwrap();
    let offer = scheduler.offers().await.remove(0);
    scheduler.launch("t", &offer);
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(scheduler.update().await);
    }
    assert!(seen.iter().all(|status| status.uuid == seen[0].uuid && status.uuid.is_some()));
    scheduler.calls.send(Call::Acknowledge(Acknowledge::of(&seen[0]).unwrap()));
    scheduler.calls.send(Call::Kill(Kill {
        task_id: "t".into(),
        agent_id: None,
        kill_policy: None,
    }));
    let killed = loop {
        let status = scheduler.update().await;
        if status.uuid != seen[0].uuid {
            break status;
        }
    };
    assert_eq!(killed.state, TaskState::Killed);
}

#[tokio::test]
async fn point_31_after_suppress_nothing_is_offered_until_revive() {
    let (server, _) = serve(2).await;
    let mut scheduler = Scheduler::connect(&server, None).await;
    let offers = scheduler.offers().await;
    scheduler.calls.send(Call::Suppress(Roles::default()));
    scheduler.calls.send(Call::Decline(Decline {
        offer_ids: offers.iter().map(|offer| offer.id.clone()).collect(),
        filters: Some(Filters { refuse_seconds: 0.0 }),
    }));
    // What was offered before the call arrived comes before the answer to the next one.
    let task = ReconcileTask { task_id: "nobody's".into(), agent_id: None };
    scheduler.calls.send(Call::Reconcile(Reconcile { tasks: vec![task] }));
    assert_eq!(scheduler.update().await.task_id.as_str(), "nobody's");
    scheduler.passed.clear();
    // Ten allocations go by.
    let quiet = timeout(Duration::from_millis(200), scheduler.offers()).await;
    assert!(quiet.is_err(), "offered although suppressed");
    scheduler.calls.send(Call::Revive(Roles::default()));
    assert!(!scheduler.offers().await.is_empty());
}

#[tokio::test]
async fn point_36_maintenance_is_announced_on_offers_and_asked_for_once_until_the_filter_is_over() {
    let (server, _) = serve(1).await;
    let mut scheduler = Scheduler::connect(&server, None).await;
    scheduler.running("t").await;
    let schedule = json!({ "windows": [{
        "machine_ids": [{ "hostname": "a1", "ip": "10.0.0.1" }],
        "unavailability": { "start": { "nanoseconds": 1 }, "duration": { "nanoseconds": 2 } },
    }] });
    let call = json!({ "update_maintenance_schedule": { "schedule": schedule } });
    server
        .with(move |w, now| w.mesos.operate(now, "UPDATE_MAINTENANCE_SCHEDULE", &call))
        .await
        .unwrap()
        .unwrap();
    let (mut asked, mut announced) = (Vec::new(), false);
    while asked.is_empty() || !announced {
        match scheduler.next().await.unwrap() {
            Event::InverseOffers(offers) => asked.extend(offers),
            Event::Offers(offers) => announced |= offers[0].unavailability.is_some(),
            _ => {}
        }
    }
    scheduler.calls.send(Call::AcceptInverseOffers(InverseAnswer {
        inverse_offer_ids: vec![asked[0].id.clone()],
        filters: Some(Filters { refuse_seconds: 3_600.0 }),
    }));
    let again = timeout(Duration::from_millis(200), async {
        loop {
            if let Event::InverseOffers(_) = scheduler.next().await.unwrap() {
                return;
            }
        }
    });
    assert!(again.await.is_err(), "asked again at once");
}

#[tokio::test]
async fn point_42_a_launch_on_its_way_to_an_agent_that_dies_is_dropped_and_safe_to_repeat() {
    let (server, launched) = serve(1).await;
    let mut scheduler = Scheduler::connect(&server, None).await;
    // At the first one the agent may not have heard yet under which ID it is registered: without
    // that it would come back as another.
    let first = scheduler.offers().await.remove(0);
    scheduler.calls.send(Call::Decline(Decline {
        offer_ids: vec![first.id],
        filters: Some(Filters { refuse_seconds: 0.0 }),
    }));
    let offer = scheduler.offers().await.remove(0);
    server
        .with(|world, now| world.mesos.from_host(now, 0, HostSignal::AgentStopped))
        .await
        .unwrap();
    scheduler.launch("t.1", &offer);
    server
        .with(|world, now| world.mesos.from_host(now, 0, HostSignal::AgentStarted))
        .await
        .unwrap();
    // Either the master knew already that the agent was away, and says so itself; or the launch
    // went nowhere, and the agent that is back says that it never came.
    let status = scheduler.update().await;
    assert_eq!(status.task_id.as_str(), "t.1");
    assert_eq!(status.state, TaskState::Dropped, "{status:?}");
    if let Some(acknowledge) = Acknowledge::of(&status) {
        scheduler.calls.send(Call::Acknowledge(acknowledge));
    }
    let offer = scheduler.offers().await.remove(0);
    scheduler.launch("t.2", &offer);
    let status = loop {
        let status = scheduler.update().await;
        if status.task_id.as_str() == "t.2" {
            break status;
        }
    };
    assert_eq!(status.state, TaskState::Running);
    assert_eq!(*launched.lock().unwrap(), ["t.2"]);
}

#[tokio::test]
async fn whoever_is_not_known_gets_a_challenge_of_the_realm_and_our_client_gives_up() {
    let (server, _) = serve(1).await;
    let basic =
        Authentication::Basic { principal: "calico".to_owned(), secret: "hunter2".to_owned() };
    server.with(|world, _| world.mesos.authenticate(basic)).await.unwrap();
    let challenges = [
        ("/api/v1/scheduler", Some("mesos-master-scheduler")),
        ("/master/api/v1", Some("mesos-master-readwrite")),
        ("/state", Some("mesos-master-readonly")),
        ("/version", None),
    ];
    let asks = reqwest::Client::builder().no_proxy().build().unwrap();
    for scheme in ["Basic", "Bearer"] {
        for (path, realm) in challenges {
            let answer =
                asks.get(format!("http://{}{path}", server.address())).send().await.unwrap();
            let told = answer.headers().get("www-authenticate").map(|it| it.to_str().unwrap());
            let challenge = realm.map(|realm| format!("{scheme} realm=\"{realm}\""));
            assert_eq!(told, challenge.as_deref(), "{path}");
            assert_eq!(answer.status().as_u16() == 401, realm.is_some(), "{path}");
        }
        let token = Authentication::Token("t0ken".to_owned());
        server.with(|world, _| world.mesos.authenticate(token)).await.unwrap();
    }
    for (given, status) in [("Bearer t0ken", 405), ("token=t0ken", 405), ("Bearer other", 401)] {
        let ask = asks.get(format!("http://{}/api/v1", server.address()));
        let answer = ask.header("authorization", given).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{given}");
    }
    let error = connect(&options(&server), framework(None), vec![]).await.unwrap_err();
    assert!(matches!(error, MesosError::Unauthorized { .. }), "{error:?}");
    assert_eq!(error.next_step(), NextStep::GiveUp);
}

#[tokio::test]
async fn whoever_is_known_is_let_in_as_himself_and_as_nobody_else() {
    let (server, _) = serve(1).await;
    let basic =
        Authentication::Basic { principal: "calico".to_owned(), secret: "hunter2".to_owned() };
    server.with(|world, _| world.mesos.authenticate(basic)).await.unwrap();
    let table = [
        ("calico", "hunter2", None, "in"),
        ("calico", "hunter2", Some("calico"), "in"),
        ("calico", "hunter2", Some("marathon"), "does not match principal 'marathon'"),
        ("calico", "hunter3", Some("calico"), "does not know us (401)"),
        ("marathon", "hunter2", None, "does not know us (401)"),
    ];
    for (principal, secret, claimed, expected) in table {
        let mut options = options(&server);
        options.credentials = Some(Credentials::new(principal, secret));
        let mut info = framework(None);
        info.principal = claimed.map(str::to_owned);
        match connect(&options, info, vec![]).await {
            Ok(_) => assert_eq!(expected, "in", "{principal} {secret} {claimed:?}"),
            Err(error) => {
                let said = error.to_string();
                assert!(said.contains(expected) && !said.contains(secret), "{said}");
                assert_eq!(error.next_step(), NextStep::GiveUp);
            }
        }
    }
}
