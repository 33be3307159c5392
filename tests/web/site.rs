//! A cluster to look at: the real binary, a real etcd, and the simulated Mesos.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use calico_dcos::clock;
use calico_dcos::desired::{Source, read};
use calico_dcos::sim::cluster::Cluster;
use calico_dcos::sim::mesos::http::SimServer;
use calico_dcos::sim::town::Town;
use calico_dcos::store::{EtcdOptions, EtcdStore, Key, Outcome, Txn};
use calico_dcos::words::Time;
use futures_util::StreamExt;
use http::StatusCode;
use reqwest::{Client, Response};
use serde_json::{Value, json};

use crate::support::{Etcd, PATIENCE};

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_calico-dcos");

pub(crate) const TOKEN: &str = "a-token-that-nobody-guesses";

pub(crate) const CLUSTER: &str = "apiVersion: calico-dcos/v1\nkind: Cluster\nmetadata: {name: test}\nspec:\n  \
    rollout: {maxConcurrentRestarts: 3, stabilitySeconds: 0, settleSeconds: 0}\n  \
    docker: {clusterStore: etcd://127.0.0.1:2379}\n  calicoNode: {image: \"calico/node:v1\"}\n";

/// A cluster of five hosts that has its documents.
pub(crate) struct Site {
    pub(crate) etcd: Etcd,
    pub(crate) mesos: SimServer<Town>,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) client: Client,
}

impl Site {
    /// Five hosts.
    pub(crate) async fn start() -> Self {
        let hosts = json!([{"count": 5, "name": "a{n}", "restartSeconds": {"median": 0.2}}]);
        Self::of(hosts, CLUSTER, |_, _| {}).await
    }

    /// These hosts, for which that is declared, after this has happened to them.
    pub(crate) async fn of(hosts: Value, cluster: &str, before: fn(&mut Cluster, Time)) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        // A connection on which too much was sent is closed after the refusal, and must not be used again.
        let client = Client::builder().tls_certs_only([]).timeout(PATIENCE);
        let client = client.pool_max_idle_per_host(0).build().unwrap();
        let scenario = json!({
            "apiVersion": "calico-dcos/v1", "kind": "Scenario", "desired": [],
            "mesos": {"version": "1.11.0"}, "hosts": hosts,
        });
        let desired = read(&[Source::file("cluster", cluster)]).unwrap();
        let now = clock::now();
        let mut town = Town::new(&serde_json::from_value(scenario).unwrap(), desired, now);
        before(&mut town.cluster, now);
        let mesos = SimServer::start(([127, 0, 0, 1], 0).into(), town).await.unwrap();
        let etcd = Etcd::start();
        let dir = tempfile::tempdir().unwrap();
        let mut token = std::fs::File::options();
        let token = token.write(true).create(true).mode(0o600).open(dir.path().join("token"));
        std::io::Write::write_all(&mut token.unwrap(), TOKEN.as_bytes()).unwrap();
        let site = Self { etcd, mesos, dir, client };
        site.declare(cluster).await;
        site
    }

    /// As somebody edits etcd.
    pub(crate) async fn declare(&self, cluster: &str) {
        let store = self.store().await;
        let written = store.txn(&Txn::new().put(Key::DesiredCluster, cluster)).await.unwrap();
        assert!(matches!(written, Outcome::Committed(_)), "{written:?}");
    }

    pub(crate) async fn store(&self) -> EtcdStore {
        let endpoints = vec![self.etcd.endpoint()];
        let options = EtcdOptions { endpoints, ..EtcdOptions::default() };
        EtcdStore::connect(&options).await.unwrap()
    }

    pub(crate) fn etcd(&self) -> [String; 2] {
        ["--etcd-endpoints".to_owned(), self.etcd.endpoint()]
    }

    /// A controller that listens on a free port.
    pub(crate) fn run(&self, name: &str, with_token: bool) -> Controller {
        self.run_with(name, with_token, &[])
    }

    /// With more options.
    pub(crate) fn run_with(&self, name: &str, with_token: bool, more: &[&str]) -> Controller {
        let mut command = Command::new(BINARY);
        command.arg("run").args(self.etcd()).args(["--allow-open-etcd", "--lease-seconds", "2"]);
        command.args(["--mesos-master", &format!("http://{}", self.mesos.address())]);
        command.args(["--listen", "127.0.0.1:0", "--log-format", "json", "--name", name]);
        command.args(["--advertise-url", &format!("http://{name}.example")]);
        command.args(more);
        if with_token {
            command.arg("--token-file").arg(self.dir.path().join("token"));
        }
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let (tell, told) = std::sync::mpsc::channel();
        let told_of: Arc<Mutex<Vec<Value>>> = Arc::default();
        let events = Arc::clone(&told_of);
        std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                let event: Value = serde_json::from_str(&line).unwrap_or_default();
                if let Some(address) = event["address"].as_str() {
                    let _ = tell.send(address.to_owned());
                }
                // Shown when the test fails.
                println!("{line}");
                events.lock().unwrap().push(event);
            }
        });
        let address = told.recv_timeout(PATIENCE).expect("it says where it listens");
        let url = format!("http://{address}");
        Controller { child, url, client: self.client.clone(), log: told_of }
    }

    /// What a command prints as JSON.
    pub(crate) fn command(&self, arguments: &[&str]) -> Value {
        let mut command = Command::new(BINARY);
        let output = command.args(arguments).args(self.etcd()).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

/// A controller's process; killed when dropped.
pub(crate) struct Controller {
    pub(crate) child: Child,
    pub(crate) url: String,
    pub(crate) client: Client,
    /// What it has logged so far.
    pub(crate) log: Arc<Mutex<Vec<Value>>>,
}

impl Drop for Controller {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Controller {
    pub(crate) async fn get(&self, path: &str) -> Response {
        self.client.get(format!("{}{path}", self.url)).send().await.unwrap()
    }

    pub(crate) async fn json(&self, path: &str) -> Value {
        let response = self.get(path).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response.json().await.unwrap()
    }

    /// A refusal in the form of RFC 9457.
    pub(crate) async fn refused(response: Response, status: u16, words: &str) -> Value {
        let form = response.headers()["content-type"].to_str().unwrap().to_owned();
        let answered = response.status().as_u16();
        let problem: Value = response.json().await.unwrap();
        assert_eq!((answered, form.as_str()), (status, "application/problem+json"), "{problem}");
        assert_eq!(problem["status"], status);
        assert!(problem["type"].as_str().unwrap().starts_with("urn:calico-dcos:problem:"));
        assert!(problem["detail"].as_str().unwrap().contains(words), "{problem}");
        problem
    }

    pub(crate) async fn ask(
        &self,
        what: &str,
        token: Option<&str>,
        body: impl Into<String>,
    ) -> Response {
        let request = self.client.post(format!("{}/api/v1/{what}", self.url)).body(body.into());
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        request.send().await.unwrap()
    }

    pub(crate) async fn done(&self, what: &str, body: Value) -> String {
        let response = self.ask(what, Some(TOKEN), body.to_string()).await;
        let status = response.status();
        let done: Value = response.json().await.unwrap();
        assert_eq!(status, StatusCode::OK, "{done}");
        done["done"].as_str().unwrap().to_owned()
    }

    /// Listens to events until one says what is waited for.
    pub(crate) async fn until(&self, told: impl Fn(&Value) -> bool) -> Value {
        let listening = async {
            loop {
                let mut stream = self.get("/api/v1/events").await.bytes_stream();
                let mut text = String::new();
                while let Some(Ok(bytes)) = stream.next().await {
                    text.push_str(std::str::from_utf8(&bytes).unwrap());
                    while let Some((event, rest)) = text.split_once("\n\n") {
                        let data = event.lines().find_map(|line| line.strip_prefix("data: "));
                        let data: Value =
                            data.map_or(Value::Null, |data| serde_json::from_str(data).unwrap());
                        if told(&data) {
                            return data;
                        }
                        text = rest.to_owned();
                    }
                }
            }
        };
        tokio::time::timeout(PATIENCE, listening).await.expect("it is told")
    }

    pub(crate) async fn until_any(&self) -> Value {
        self.until(|data| !data.is_null()).await
    }

    pub(crate) async fn until_done(&self) {
        self.until(|data| data["status"] == "done").await;
        // The leader writes that down a moment after the last host is in sync.
        let written = async {
            while !self.json("/api/v1/history").await.to_string().contains("generation 1 done") {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, written).await.expect("it is written down");
    }

    /// Hosts, when the leader has said when it heard of them.
    pub(crate) async fn until_heard(&self, path: &str) -> Value {
        let heard = async {
            loop {
                let hosts = self.json(path).await;
                if hosts["hosts"][0]["heardAt"].is_u64() {
                    return hosts;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, heard).await.expect("the leader knows")
    }

    /// Until it leads.
    pub(crate) async fn until_led(&self) {
        let leads = async {
            while self.json("/health").await["leads"] != true {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, leads).await.expect("it leads");
    }
}
