//! Against real ZooKeeper servers, which `tools/zookeeper.sh` fetches.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use tokio::time::Instant;
use zookeeper_client::{Acl, Acls, AuthId, CreateMode, Permission};

use super::*;
use crate::mesos::scheduler::connect;
use crate::mesos::testing::{Got, Then, events, serve};
use crate::mesos::v1::FrameworkInfo;
use crate::mesos::v1::scheduler::Event;
use crate::mesos::{Masters, MesosError, Options};

/// How long a test waits for anything at all before it fails.
const PATIENCE: Duration = Duration::from_mins(1);

/// Servers of one ensemble, each a process of its own.
struct Zoo {
    dir: TempDir,
    ports: Vec<u16>,
    processes: Vec<Child>,
}

impl Zoo {
    fn start(count: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ports: Vec<u16> = free_ports(count * 3);
        let (clients, peers) = ports.split_at(count);
        for (at, client) in clients.iter().enumerate() {
            let home = dir.path().join(at.to_string());
            std::fs::create_dir(&home).unwrap();
            let mut config = format!(
                "tickTime=500\ninitLimit=20\nsyncLimit=10\ndataDir={}\nclientPort={client}\n",
                home.display()
            );
            if count > 1 {
                std::fs::write(home.join("myid"), (at + 1).to_string()).unwrap();
                for (at, pair) in peers.chunks(2).enumerate() {
                    let (number, peer, election) = (at + 1, pair[0], pair[1]);
                    writeln!(config, "server.{number}=127.0.0.1:{peer}:{election}").unwrap();
                }
            }
            std::fs::write(home.join("zoo.cfg"), config).unwrap();
        }
        let mut zoo = Self { dir, ports: clients.to_vec(), processes: Vec::new() };
        zoo.run();
        zoo
    }

    /// Starts all servers and waits until they serve.
    fn run(&mut self) {
        let program =
            PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/tools/zookeeper/bin/zookeeper");
        assert!(program.exists(), "there is no ZooKeeper to test with: run tools/zookeeper.sh");
        for at in 0..self.ports.len() {
            let process = Command::new(&program)
                .arg(self.dir.path().join(at.to_string()).join("zoo.cfg"))
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            self.processes.push(process);
        }
        let start = Instant::now();
        while self.sessions().is_none() {
            assert!(start.elapsed() < PATIENCE, "ZooKeeper does not serve");
            // A server tells nobody that it serves; it has to be asked.
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// As a power cut does.
    fn kill(&mut self) {
        for mut process in self.processes.drain(..) {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    fn servers(&self) -> String {
        let servers: Vec<_> = self.ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        servers.join(",")
    }

    fn ensemble(&self, digest: Option<&str>) -> Ensemble {
        Ensemble {
            servers: self.servers().split(',').map(str::to_owned).collect(),
            path: "/mesos".to_owned(),
            digest: digest.map(crate::mesos::auth::Secret::new),
        }
    }

    /// How many sessions there are; `None` while not all servers serve.
    fn sessions(&self) -> Option<usize> {
        let count = |port: &u16| {
            let mut stream = TcpStream::connect(("127.0.0.1", *port)).ok()?;
            // A server that starts may take a question and never answer it.
            stream.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
            stream.write_all(b"mntr").ok()?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).ok()?;
            let line = answer.lines().find_map(|line| line.strip_prefix("zk_global_sessions\t"))?;
            line.parse().ok()
        };
        self.ports.iter().map(count).collect::<Option<Vec<usize>>>()?.into_iter().max()
    }

    /// Waits until there are so many sessions.
    async fn settle(&self, sessions: usize) {
        let start = Instant::now();
        while self.sessions() != Some(sessions) {
            let now = self.sessions();
            assert!(start.elapsed() < PATIENCE, "{now:?} sessions in place of {sessions}");
            // Nor that a session has ended.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn client(&self) -> Client {
        Client::connector().with_session_timeout(SESSION).connect(&self.servers()).await.unwrap()
    }

    /// A master of its own session at this address; it is gone when that is dropped.
    async fn master(&self, address: &str) -> Client {
        let client = self.client().await;
        let (ip, port) = address.rsplit_once(':').unwrap();
        let record = format!(r#"{{"address":{{"hostname":"m","ip":"{ip}","port":{port}}}}}"#);
        let options = CreateMode::EphemeralSequential.with_acls(Acls::anyone_all());
        client.create("/mesos/json.info_", record.as_bytes(), &options).await.unwrap();
        client
    }

    async fn mkdir(&self, acls: Acls<'_>, digest: &[u8]) {
        let client = self.client().await;
        client.auth("digest", digest).await.unwrap();
        let options = CreateMode::Persistent.with_acls(acls);
        client.create("/mesos", b"", &options).await.unwrap();
        client.create("/mesos/log_replicas", b"", &options).await.unwrap();
    }
}

impl Drop for Zoo {
    fn drop(&mut self) {
        self.kill();
    }
}

fn free_ports(count: usize) -> Vec<u16> {
    let listeners: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}

/// Waits until this is known, and says how long it took.
async fn wait(detector: &Detector, known: impl Fn(&Sight) -> bool) -> Duration {
    let start = Instant::now();
    let mut sight = detector.sight();
    let waited = tokio::time::timeout(PATIENCE, sight.wait_for(|sight| known(sight))).await;
    assert!(waited.is_ok(), "{:?}", detector.sight().borrow());
    start.elapsed()
}

fn leads(address: &str) -> impl Fn(&Sight) -> bool {
    let wanted = format!("http://{address}");
    move |sight| sight.leader.as_ref().is_some_and(|leader| shown(&leader.url) == wanted)
}

fn troubled(words: &str) -> impl Fn(&Sight) -> bool {
    move |sight| sight.trouble.as_ref().is_some_and(|trouble| trouble.to_string().contains(words))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: starts ZooKeeper servers"]
async fn long_the_leader_is_found_and_the_next_one_within_a_second() {
    let zoo = Zoo::start(1);
    let detector = Detector::start(zoo.ensemble(None), false);
    wait(&detector, troubled("has no /mesos")).await;
    zoo.mkdir(Acls::anyone_all(), b"a:b").await;
    wait(&detector, troubled("no Mesos master is registered")).await;
    let first = zoo.master("10.0.0.1:5050").await;
    wait(&detector, leads("10.0.0.1:5050")).await;
    let second = zoo.master("10.0.0.2:5050").await;
    let _third = zoo.master("10.0.0.3:5051").await;
    zoo.settle(4).await;
    assert!(leads("10.0.0.1:5050")(&detector.sight().borrow()), "the eldest leads");

    drop(first);
    let took = wait(&detector, leads("10.0.0.2:5050")).await;
    assert!(took < Duration::from_secs(1), "{took:?}");
    drop(second);
    let took = wait(&detector, leads("10.0.0.3:5051")).await;
    assert!(took < Duration::from_secs(1), "{took:?}");
    // Ours, and that of the third master.
    zoo.settle(2).await;
    drop(detector);
    zoo.settle(1).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: starts ZooKeeper servers"]
async fn long_user_and_password_open_what_is_closed_to_others() {
    let zoo = Zoo::start(1);
    let owner = [Acl::new(Permission::ALL, AuthId::new("auth", ""))];
    zoo.mkdir(Acls::from(&owner[..]), b"calico:hunter2").await;
    for digest in [None, Some("calico:wrong")] {
        let detector = Detector::start(zoo.ensemble(digest), false);
        wait(&detector, troubled("does not let us read /mesos")).await;
        assert!(!format!("{detector:?} {:?}", detector.sight().borrow()).contains("wrong"));
    }
    let detector = Detector::start(zoo.ensemble(Some("calico:hunter2")), false);
    wait(&detector, troubled("no Mesos master is registered")).await;
    // No session stays behind, however often somebody was refused.
    zoo.settle(1).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: starts ZooKeeper servers"]
async fn long_the_tree_of_the_predecessor_is_read_and_left_as_it_is() {
    let zoo = Zoo::start(1);
    let at = OldTreeAddress::read(&format!("zk://{}/calico", zoo.servers())).unwrap();
    let masters: Masters = format!("zk://{}/mesos", zoo.servers()).parse().unwrap();
    assert_eq!(OldTreeAddress::beside(&masters).unwrap().to_string(), at.to_string());
    assert_eq!(OldTree::look(&at).await.unwrap(), None);

    let client = zoo.client().await;
    let options = CreateMode::Persistent.with_acls(Acls::anyone_all());
    for path in ["/calico", "/calico/agent"] {
        client.create(path, b"", &options).await.unwrap();
    }
    client.create("/calico/framework", b"cadbb8af-0001", &options).await.unwrap();
    for number in 0..200 {
        let record: &[u8] = match number {
            0 => b"<html>",
            1 => br#"{"TaskRunEtcdProxy": {"state": 1}, "TaskInstallCalicoCNI": {"state": 2}}"#,
            _ => br#"{"TaskRunEtcdProxy": {"task_id": "TaskRunEtcdProxy-1", "state": 1}}"#,
        };
        client.create(&format!("/calico/agent/S{number}"), record, &options).await.unwrap();
    }
    let tree = OldTree::look(&at).await.unwrap().unwrap();
    let kinds = [("TaskInstallCalicoCNI".to_owned(), 1), ("TaskRunEtcdProxy".to_owned(), 199)];
    let framework = Some("cadbb8af-0001".to_owned());
    assert_eq!(tree, OldTree { framework, agents: 200, kinds: kinds.into() });
    assert_eq!(client.list_children("/calico/agent").await.unwrap().len(), 200);
    // No session of ours stays.
    zoo.settle(1).await;

    let owner = [Acl::new(Permission::ALL, AuthId::new("auth", ""))];
    client.auth("digest", b"a:b").await.unwrap();
    let closed = CreateMode::Persistent.with_acls(Acls::from(&owner[..]));
    client.create("/closed", b"", &closed).await.unwrap();
    client.create("/closed/framework", b"x", &closed).await.unwrap();
    let at = OldTreeAddress::read(&format!("zk://{}/closed", zoo.servers())).unwrap();
    let error = OldTree::look(&at).await.unwrap_err();
    assert!(error.to_string().contains("does not let us read /closed"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: starts ZooKeeper servers"]
async fn long_a_record_that_makes_no_sense_is_told() {
    let zoo = Zoo::start(1);
    zoo.mkdir(Acls::anyone_all(), b"a:b").await;
    let detector = Detector::start(zoo.ensemble(None), false);
    let client = zoo.client().await;
    let options = CreateMode::Ephemeral.with_acls(Acls::anyone_all());
    client.create("/mesos/json.info_0000000003", b"<html>", &options).await.unwrap();
    wait(&detector, troubled("json.info_0000000003 is not understood")).await;
    client.create("/mesos/info_0000000002", b"\x0a\x00", &options).await.unwrap();
    wait(&detector, troubled("(/mesos/info_0000000002) is of Mesos 0.23")).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: starts ZooKeeper servers"]
async fn long_a_subscription_ends_when_another_master_leads() {
    const SUBSCRIBED: &[u8] =
        br#"{"type":"SUBSCRIBED","subscribed":{"framework_id":{"value":"F-0"}}}"#;
    let subscribe = |_: &Got| events(crate::mesos::recordio::frame(SUBSCRIBED), 1, Then::Hang);
    let (one, _) = serve(subscribe).await;
    let (two, mut asked) = serve(subscribe).await;
    let zoo = Zoo::start(1);
    zoo.mkdir(Acls::anyone_all(), b"a:b").await;
    let first = zoo.master(&one).await;
    let _second = zoo.master(&two).await;

    let masters: Masters = format!("zk://{}/mesos", zoo.servers()).parse().unwrap();
    let options = Options::new(masters);
    let framework = FrameworkInfo { name: "calico".to_owned(), ..Default::default() };
    let (mut subscription, _calls) = connect(&options, framework.clone(), vec![]).await.unwrap();
    assert!(matches!(subscription.next().await, Ok(Event::Subscribed(_))));
    let start = Instant::now();
    drop(first);
    let error = subscription.next().await.unwrap_err();
    let MesosError::LeaderMoved { address } = &error else { panic!("{error:?}") };
    assert_eq!(*address, format!("http://{two}"));
    let (_subscription, _calls) = connect(&options, framework, vec![]).await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(asked.recv().await.unwrap().path, "/api/v1/scheduler");
    // One session serves all clients of these options.
    zoo.settle(2).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: ZooKeeper is down for a minute"]
async fn long_an_ensemble_that_is_down_for_a_minute_comes_back_without_a_session_too_many() {
    let mut zoo = Zoo::start(3);
    zoo.mkdir(Acls::anyone_all(), b"a:b").await;
    let master = zoo.master("10.0.0.1:5050").await;
    let masters: Masters = format!("zk://{}/mesos", zoo.servers()).parse().unwrap();
    let options = Options::new(masters);
    let finder = options.finder;
    let found = finder.find(false, PATIENCE).await.unwrap();
    assert_eq!(shown(&found.masters[0]), "http://10.0.0.1:5050");

    zoo.kill();
    let down = Instant::now();
    while down.elapsed() < Duration::from_mins(1) {
        // The leader that was named last is the one to ask, and nobody waits.
        let found = finder.find(false, Duration::from_secs(1)).await.unwrap();
        assert_eq!(shown(&found.masters[0]), "http://10.0.0.1:5050");
        // Not to wait for something: that minute is what is tried, and sessions run out in real time.
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    drop(master);
    let before = found.leader;
    zoo.run();
    let up = Instant::now();
    let _master = zoo.master("10.0.0.2:5050").await;
    // The session of the master before may live on for ten seconds.
    let moved = tokio::time::timeout(PATIENCE, finder.moved(before.as_ref())).await.unwrap();
    assert_eq!(moved, "http://10.0.0.2:5050");
    assert!(up.elapsed() < Duration::from_secs(20), "{:?}", up.elapsed());
    zoo.settle(2).await;
    drop(finder);
    zoo.settle(1).await;
}
