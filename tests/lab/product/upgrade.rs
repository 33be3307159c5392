//! Upgrades: of calico/node, and of ourselves.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::routing::get;
use calico_dcos::words::SpecHash;
use serde_json::Value;
use tokio::net::TcpListener;

use super::bare::all_is_in_force;
use super::document::Document;
use super::{
    Controller, Over, as_declared, facts, holders, launched, newest_attempt, own_program, reason,
    status, tasks, until, until_over,
};
use crate::host::{self, Host, PROXY, eventually, gateway};
use crate::witness::{self, Outage};

/// Between its end and its successor's start nothing is done that could have been done before, and
/// never on two hosts at a time.
#[tokio::test]
#[ignore = "lab: needs hosts with systemd and Docker, which `make lab-test` brings up as root"]
async fn lab_an_upgrade_of_calico_node_restarts_nothing_else() {
    let (_controller, hosts) = (as_declared().await, Host::all());
    let (since, known) = (witness::now(), tasks().await);
    let begun = hosts[0].run("date +%s");
    Document::lab().with("calicoNode/image", "calico/node:v2.6.13").apply();
    assert_eq!(until_over().await, Over::Done, "{}", status());
    assert_eq!(witness::outages(&hosts, since), []);
    let mut gaps = Vec::new();
    for host in &hosts {
        all_is_in_force(host, "calico/node:v2.6.13").await;
        assert_eq!(launched(host, &known).await, ["calico-node"], "{host:?}");
        let (gap, between) = gap(host, begun.trim());
        // Not the new one's making, let alone the pull of its image.
        assert!(!between.iter().any(|event| event == "create"), "{between:?}");
        let (without, own) = ((gap.to - gap.from) / 1_000, restart_of_a_twin(host));
        println!("{}: {without} ms without calico/node, a restart takes Docker {own} ms", host.0);
        // Other work of this machine may fall upon either of the two.
        assert!(without <= 2 * own + 250, "{host:?}: {without} ms, and {own} ms by itself");
        gaps.push(gap);
    }
    assert_eq!(witness::most_at_once(&gaps), 1, "{gaps:?}");
}

/// How long, in milliseconds, Docker itself takes on this host to end a container of that image and to
/// start it again: the longest of three times.
fn restart_of_a_twin(host: &Host) -> u64 {
    let said = host.run(
        "docker run --detach --name twin --privileged --network none calico/node:v2.6.13 >/dev/null
         for n in 1 2 3; do
           curl -fsS -o /dev/null -w '%{time_total}\\n' --unix-socket /var/run/docker.sock \
             -X POST 'http://docker/containers/twin/restart?t=0'
         done
         docker rm --force twin >/dev/null",
    );
    let took = said.lines().map(|line| Duration::from_secs_f64(line.parse().unwrap()));
    u64::try_from(took.max().unwrap().as_millis()).unwrap()
}

/// When a host was without its calico/node, in microseconds of the clock that all hosts share, and what
/// Docker did meanwhile.
fn gap(host: &Host, since: &str) -> (Outage, Vec<String>) {
    let events = host.run(&format!(
        "docker events --since {since} --until $(date +%s.%N) --filter type=container \
         --format '{{{{.TimeNano}}}} {{{{.Action}}}}'"
    ));
    let events: Vec<(u64, String)> = events
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(at, action)| (at.parse::<u64>().unwrap() / 1_000, action.to_owned()))
        .collect();
    let when = |wanted: &str| events.iter().find(|(_, action)| action == wanted).unwrap().0;
    let (from, to) = (when("die"), when("start"));
    let within = events.into_iter().filter(|(at, _)| (from..=to).contains(at));
    let gap = Outage { from, to, host: host.0.clone(), service: "calico-node".to_owned() };
    (gap, within.map(|(_, action)| action).collect())
}

/// What runs is left alone by a new version of this program; hosts take it with the next task that
/// they are given, and then for all of their tasks, so that the executor of the version before ends.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "lab: needs hosts with systemd and Docker, which `make lab-test` brings up as root"]
async fn lab_a_new_version_of_ours_disturbs_nothing() {
    let (host, hosts) = (Host::named("a1"), Host::all());
    drop(as_declared().await);
    let (since, attempt, known) = (witness::now(), newest_attempt(), tasks().await);
    let before: Vec<_> = hosts.iter().map(Host::still).collect();
    let proxy = proxy_start(&host);
    let next = Next::serve().await;
    let controller = Controller::of(&next.program, &next.url());
    until("the new one does not lead", leads(&controller)).await;
    next.until_looked_at_by(1).await;
    assert_eq!(until_over().await, Over::Done, "{}", status());
    host.run("docker rm --force calico-node");
    let changed = |now: &Value| {
        let journal = &facts(now, &host)["journal"];
        journal["attempt"].as_u64() > Some(attempt) && journal["state"]["is"] == "done"
    };
    until("the new one does not put a container back", changed).await;
    assert_eq!(until_over().await, Over::Done, "{}", status());
    assert_eq!(newest_attempt(), attempt + 1);
    assert_eq!(next.fetched.load(Ordering::SeqCst), 1 + 1, "only one host had anything to do");
    for (host, before) in hosts.iter().zip(&before).skip(1) {
        assert_eq!(host.still(), *before);
    }
    all_is_in_force(&host, "calico/node:v2.6.12").await;
    // All its tasks went along, what they supervise was left alone, and the executor of the version
    // before has nothing to do any more: a minute later it ends.
    assert_eq!(launched(&host, &known).await, ["calico-node", "etcd-proxy", "observer"]);
    assert_eq!(proxy_start(&host), proxy);
    let (old, new) = (digest(&own_program()), digest(&next.program));
    let over = witness::now();
    eventually(async || executors(&host), |run| *run == BTreeSet::from([new.clone()])).await;
    println!("the old executor ended {} s later", (witness::now() - over) / 1_000_000);
    assert_eq!(executors(&hosts[1]), BTreeSet::from([old]), "nobody launched anything there");
    let facts_at = facts(&super::export(), &host)["order"].clone();
    host.run("docker rm --force calico-node");
    let seen = |now: &Value| facts(now, &host)["order"] != facts_at;
    until("the new observer is silent", seen).await;
    assert_eq!(until_over().await, Over::Done, "{}", status());
    assert_eq!(witness::outages(&hosts, since), []);
    drop(controller);
    back_to_own(&host).await;
}

/// When the proxy's process started.
fn proxy_start(host: &Host) -> String {
    host.run(&format!("systemctl show --property ExecMainStartTimestampMonotonic {PROXY}"))
}

/// The version before leads again, and the host's tasks go back with the next one: an observer may go to an
/// executor that started earlier, too.
async fn back_to_own(host: &Host) {
    let own = digest(&own_program());
    let controller = Controller::start();
    until("the old one does not lead", leads(&controller)).await;
    host.run("docker rm --force calico-node");
    let back = |now: &Value| {
        let tasks =
            now["hosts"][&host.0]["tasks"]["tasks"].as_object().cloned().unwrap_or_default();
        tasks.len() == 3 && tasks.values().all(|task| task["program"] == own)
    };
    until("its tasks do not come back", back).await;
    assert_eq!(until_over().await, Over::Done, "{}", status());
}

/// As the guide upgrades controllers, with standbys of both versions: leadership is handed over to whichever
/// is there, hosts notice nothing, and what is declared next is done by the new one.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "lab: needs hosts with systemd and Docker, which `make lab-test` brings up as root"]
async fn lab_controllers_of_two_versions_hand_over_without_a_disruption() {
    let hosts = Host::all();
    let old = as_declared().await;
    let old_standby = Controller::start();
    let next = Next::serve().await;
    let new = [(); 2].map(|()| Controller::of(&next.program, &next.url()));
    next.until_looked_at_by(2).await;
    let (since, known) = (witness::now(), tasks().await);
    let before: Vec<_> = hosts.iter().map(Host::still).collect();
    let one_of = |controllers: &[&Controller]| {
        let lead: Vec<_> = controllers.iter().map(|one| leads(one)).collect();
        move |now: &Value| lead.iter().any(|leads| leads(now))
    };
    until("the old one does not lead", leads(&old)).await;
    let begun = witness::now();
    drop(old);
    until("nobody follows", one_of(&[&old_standby, &new[0], &new[1]])).await;
    println!("handed over after {} ms", (witness::now() - begun) / 1_000);
    drop(old_standby);
    until("none of the new ones leads", one_of(&[&new[0], &new[1]])).await;
    assert_eq!(until_over().await, Over::Done, "{}", status());
    for (host, before) in hosts.iter().zip(&before) {
        assert_eq!(host.still(), *before);
        assert_eq!(launched(host, &known).await, [""; 0], "{host:?}");
    }
    assert_eq!(next.fetched.load(Ordering::SeqCst), 2, "no host has fetched it");
    Document::lab().with("calicoNode/image", "calico/node:v2.6.13").apply();
    assert_eq!(until_over().await, Over::Done, "{}", status());
    for host in &hosts {
        all_is_in_force(host, "calico/node:v2.6.13").await;
    }
    assert_eq!(witness::outages(&hosts, since), []);
}

/// The digests of the programs that run as executors on a host.
fn executors(host: &Host) -> BTreeSet<String> {
    let said = host.run(
        "for pid in $(pgrep --full '^./calico-dcos node executor'); do sha256sum /proc/$pid/exe; done",
    );
    said.lines().filter_map(|line| Some(line.split_once(' ')?.0.to_owned())).collect()
}

fn digest(program: &Path) -> String {
    SpecHash::of(&std::fs::read(program).unwrap()).to_string()
}

/// What came with one byte changed is never run.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "lab: needs hosts with systemd and Docker, which `make lab-test` brings up as root"]
async fn lab_an_artifact_with_one_byte_changed_is_not_run() {
    waits_for_the_artifact(Served::Damaged).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "lab: needs hosts with systemd and Docker, which `make lab-test` brings up as root"]
async fn lab_an_artifact_that_is_not_there_is_waited_for() {
    waits_for_the_artifact(Served::Nothing).await;
}

/// Nothing on the host is touched, and it says why it waits. Under the same address the artifact is fetched
/// anew, and as soon as it is there and whole, the host goes on.
async fn waits_for_the_artifact(served: Served) {
    let (host, hosts) = (Host::named("a1"), Host::all());
    drop(as_declared().await);
    let (since, known) = (witness::now(), tasks().await);
    let next = Next::serve().await;
    next.serves(served);
    let controller = Controller::of(&next.program, &next.url());
    until("the new one does not lead", leads(&controller)).await;
    let journal = host.run("cat /var/lib/calico-dcos/journal.json");
    host.run("docker rm --force calico-node");
    let waits = eventually(async || reason(&host), |(_, why)| why.contains("in a row")).await;
    assert_eq!(waits.0, "backing-off", "{}", waits.1);
    assert!(waits.1.contains("launches in a row came to nothing"), "{}", waits.1);
    assert!(next.fetched.load(Ordering::SeqCst) >= 2, "each launch fetches it anew");
    assert!(
        states(&known).await.iter().all(|state| state == "TASK_FAILED" || state == "TASK_STAGING")
    );
    assert_eq!(holders(), [""; 0]);
    assert_eq!(host.run("docker ps --quiet --filter name=calico-node"), "");
    assert_eq!(host.run("cat /var/lib/calico-dcos/journal.json"), journal);
    next.serves(Served::Whole);
    let back = async || host.run("docker ps --format '{{.Image}}' --filter name=calico-node");
    eventually(back, |image| image.trim() == "calico/node:v2.6.12").await;
    assert_eq!(until_over().await, Over::Done, "{}", status());
    assert_eq!(witness::outages(&hosts, since), []);
    drop(controller);
    back_to_own(&host).await;
}

/// In which states the tasks are that were launched since.
async fn states(since: &BTreeSet<String>) -> Vec<String> {
    let tasks = host::get(&format!("http://{}:5050/tasks", gateway())).await;
    let new = |task: &&Value| !since.contains(task["id"].as_str().unwrap());
    let tasks = tasks["tasks"].as_array().unwrap().iter().filter(new);
    tasks.map(|task| task["state"].as_str().unwrap().to_owned()).collect()
}

fn leads(controller: &Controller) -> impl Fn(&Value) -> bool + use<> {
    let id = format!(":{}", controller.0.id());
    move |now| now["leader"]["name"].as_str().is_some_and(|name| name.ends_with(&id))
}

/// What a host gets that fetches the program.
#[derive(Clone, Copy, Debug)]
enum Served {
    Whole,
    /// With one byte changed.
    Damaged,
    /// The answer is 404.
    Nothing,
}

/// A next version of the program, and a server where hosts fetch it.
struct Next {
    program: PathBuf,
    address: SocketAddr,
    served: Arc<Mutex<Served>>,
    fetched: Arc<AtomicUsize>,
}

impl Next {
    async fn serve() -> Self {
        // What comes after the end of an executable changes nothing but its digest.
        let mut bytes = std::fs::read(own_program()).unwrap();
        bytes.extend_from_slice(format!("another version, {}", witness::now()).as_bytes());
        let program = own_program().with_file_name("calico-dcos-next");
        let new = program.with_extension("new");
        std::fs::write(&new, &bytes).unwrap();
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::rename(&new, &program).unwrap();
        let mut other = bytes.clone();
        *other.last_mut().unwrap() ^= 1;
        let (bytes, other) = (Bytes::from(bytes), Bytes::from(other));
        let served = Arc::new(Mutex::new(Served::Whole));
        let fetched = Arc::<AtomicUsize>::default();
        let (now, count) = (Arc::clone(&served), Arc::clone(&fetched));
        let serve = move || {
            count.fetch_add(1, Ordering::SeqCst);
            let answer = match *now.lock().unwrap() {
                Served::Whole => Ok(bytes.clone()),
                Served::Damaged => Ok(other.clone()),
                Served::Nothing => Err(StatusCode::NOT_FOUND),
            };
            std::future::ready(answer)
        };
        let listener = TcpListener::bind((gateway(), 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/calico-dcos", get(serve));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { program, address, served, fetched }
    }

    /// So many controllers have looked whether it is their own program; whoever comes later is a host.
    async fn until_looked_at_by(&self, controllers: usize) {
        eventually(async || self.fetched.load(Ordering::SeqCst), |n| *n == controllers).await;
    }

    fn serves(&self, what: Served) {
        *self.served.lock().unwrap() = what;
    }

    fn url(&self) -> String {
        format!("http://{}/calico-dcos", self.address)
    }
}
