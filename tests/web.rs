//! What a controller serves over HTTP: the real binary, a real etcd, and the simulated Mesos.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "in a test they are assertions, and what a test says when it fails"
)]

#[expect(dead_code, reason = "other tests use more of it")]
mod support;

use std::io::{BufRead, BufReader};
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Command, Stdio};

use calico_dcos::clock;
use calico_dcos::desired::{Source, read};
use calico_dcos::sim::mesos::http::SimServer;
use calico_dcos::sim::town::Town;
use calico_dcos::store::{EtcdOptions, EtcdStore, Key, Outcome, Txn};
use calico_dcos::words::SpecHash;
use futures_util::StreamExt;
use http::StatusCode;
use reqwest::{Client, Response};
use serde_json::{Value, json};
use support::{Etcd, PATIENCE};

const BINARY: &str = env!("CARGO_BIN_EXE_calico-dcos");

const TOKEN: &str = "a-token-that-nobody-guesses";

const CLUSTER: &str = "apiVersion: calico-dcos/v1\nkind: Cluster\nmetadata: {name: test}\nspec:\n  \
    rollout: {maxConcurrentRestarts: 3, stabilitySeconds: 0, settleSeconds: 0}\n  \
    docker: {clusterStore: etcd://127.0.0.1:2379}\n  calicoNode: {image: \"calico/node:v1\"}\n";

/// A cluster of five hosts that has its documents.
struct Site {
    etcd: Etcd,
    mesos: SimServer<Town>,
    dir: tempfile::TempDir,
    client: Client,
}

impl Site {
    async fn start() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        // A connection on which too much was sent is closed after the refusal, and must not be used again.
        let client = Client::builder().tls_certs_only([]).timeout(PATIENCE);
        let client = client.pool_max_idle_per_host(0).build().unwrap();
        let scenario = json!({
            "apiVersion": "calico-dcos/v1", "kind": "Scenario", "desired": [],
            "mesos": {"version": "1.11.0"},
            "hosts": [{"count": 5, "name": "a{n}", "restartSeconds": {"median": 0.2}}],
        });
        let desired = read(&[Source::file("cluster", CLUSTER)]).unwrap();
        let town = Town::new(&serde_json::from_value(scenario).unwrap(), desired, clock::now());
        let mesos = SimServer::start(([127, 0, 0, 1], 0).into(), town).await.unwrap();
        let etcd = Etcd::start();
        let options = EtcdOptions { endpoints: vec![etcd.endpoint()], ..EtcdOptions::default() };
        let store = EtcdStore::connect(&options).await.unwrap();
        let written = store.txn(&Txn::new().put(Key::DesiredCluster, CLUSTER)).await.unwrap();
        assert!(matches!(written, Outcome::Committed(_)), "{written:?}");
        let dir = tempfile::tempdir().unwrap();
        let mut token = std::fs::File::options();
        let token = token.write(true).create(true).mode(0o600).open(dir.path().join("token"));
        std::io::Write::write_all(&mut token.unwrap(), TOKEN.as_bytes()).unwrap();
        Self { etcd, mesos, dir, client }
    }

    fn etcd(&self) -> [String; 2] {
        ["--etcd-endpoints".to_owned(), self.etcd.endpoint()]
    }

    /// A controller that listens on a free port.
    fn run(&self, name: &str, with_token: bool) -> Controller {
        let mut command = Command::new(BINARY);
        command.arg("run").args(self.etcd()).args(["--allow-open-etcd", "--lease-seconds", "2"]);
        command.args(["--mesos-master", &format!("http://{}", self.mesos.address())]);
        command.args(["--listen", "127.0.0.1:0", "--log-format", "json", "--name", name]);
        command.args(["--advertise-url", &format!("http://{name}.example")]);
        if with_token {
            command.arg("--token-file").arg(self.dir.path().join("token"));
        }
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                let event: Value = serde_json::from_str(&line).unwrap_or_default();
                if let Some(address) = event["address"].as_str() {
                    let _ = tell.send(address.to_owned());
                }
                // Shown when the test fails.
                println!("{line}");
            }
        });
        let address = told.recv_timeout(PATIENCE).expect("it says where it listens");
        let url = format!("http://{address}");
        Controller { child, url, client: self.client.clone() }
    }

    /// What a command prints as JSON.
    fn command(&self, arguments: &[&str]) -> Value {
        let mut command = Command::new(BINARY);
        let output = command.args(arguments).args(self.etcd()).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

/// A controller's process; killed when dropped.
struct Controller {
    child: Child,
    url: String,
    client: Client,
}

impl Drop for Controller {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Controller {
    async fn get(&self, path: &str) -> Response {
        self.client.get(format!("{}{path}", self.url)).send().await.unwrap()
    }

    async fn json(&self, path: &str) -> Value {
        let response = self.get(path).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response.json().await.unwrap()
    }

    /// A refusal in the form of RFC 9457.
    async fn refused(response: Response, status: u16, words: &str) -> Value {
        let form = response.headers()["content-type"].to_str().unwrap().to_owned();
        let answered = response.status().as_u16();
        let problem: Value = response.json().await.unwrap();
        assert_eq!((answered, form.as_str()), (status, "application/problem+json"), "{problem}");
        assert_eq!(problem["status"], status);
        assert!(problem["type"].as_str().unwrap().starts_with("urn:calico-dcos:problem:"));
        assert!(problem["detail"].as_str().unwrap().contains(words), "{problem}");
        problem
    }

    async fn ask(&self, what: &str, token: Option<&str>, body: impl Into<String>) -> Response {
        let request = self.client.post(format!("{}/api/v1/{what}", self.url)).body(body.into());
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        request.send().await.unwrap()
    }

    async fn done(&self, what: &str, body: Value) -> String {
        let response = self.ask(what, Some(TOKEN), body.to_string()).await;
        let status = response.status();
        let done: Value = response.json().await.unwrap();
        assert_eq!(status, StatusCode::OK, "{done}");
        done["done"].as_str().unwrap().to_owned()
    }

    /// Listens to events until one says what is waited for.
    async fn until(&self, told: impl Fn(&Value) -> bool) -> Value {
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

    async fn until_any(&self) -> Value {
        self.until(|data| !data.is_null()).await
    }

    async fn until_done(&self) {
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
    async fn until_heard(&self, path: &str) -> Value {
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
    async fn until_led(&self) {
        let leads = async {
            while self.json("/health").await["leads"] != true {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, leads).await.expect("it leads");
    }
}

/// Whether an answer is what the document says of it, by a checker that was not written here.
struct Described(Value);

impl Described {
    async fn by(controller: &Controller) -> Self {
        let document = controller.json("/api/v1/openapi.json").await;
        assert_eq!(document["openapi"], "3.1.0");
        Self(document)
    }

    fn check(&self, schema: &Value, answer: &Value, what: &str) {
        let mut schema = schema.clone();
        schema["components"] = self.0["components"].clone();
        let (mut schemas, mut compiler) = (boon::Schemas::new(), boon::Compiler::new());
        compiler.set_default_draft(boon::Draft::V2020_12);
        compiler.add_resource("http://api.example/schema", schema).unwrap();
        let index = compiler.compile("http://api.example/schema", &mut schemas).unwrap();
        if let Err(wrong) = schemas.validate(answer, index) {
            panic!("{what}: {wrong:#}\n{answer:#}");
        }
    }

    fn of(&self, path: &str, method: &str, status: &str, form: &str) -> &Value {
        let schema = &self.0["paths"][path][method]["responses"][status]["content"][form]["schema"];
        assert!(schema.is_object(), "{path} {method} {status} is not described");
        schema
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_answers_as_its_own_document_says() {
    let site = Site::start().await;
    let controller = site.run("one", true);
    let described = Described::by(&controller).await;
    // Also while there is something to say of slots and steps.
    controller.until(|data| data["slotsHeld"] != 0 || data["status"] == "done").await;
    for ready in ["work", "done"] {
        for (path, asked) in [
            ("/health", "/health"),
            ("/ready", "/ready"),
            ("/api/v1/status", "/api/v1/status"),
            ("/api/v1/plan", "/api/v1/plan"),
            ("/api/v1/hosts", "/api/v1/hosts"),
            ("/api/v1/hosts/{host}", "/api/v1/hosts/a1"),
            ("/api/v1/history", "/api/v1/history"),
        ] {
            let answer = controller.json(asked).await;
            let schema = described.of(path, "get", "200", "application/json");
            described.check(schema, &answer, &format!("{asked} ({ready})"));
        }
        controller.until_done().await;
    }
    let event = controller.until_any().await;
    let schema = described.of("/api/v1/events", "get", "200", "text/event-stream");
    described.check(schema, &event, "an event");
    let problem: Value = controller.get("/api/v1/hosts/x").await.json().await.unwrap();
    let schema = described.of("/api/v1/hosts/{host}", "get", "404", "application/problem+json");
    described.check(schema, &problem, "a problem");
    let request = json!({"who": "alice", "host": "a1"});
    let form = &described.0["paths"]["/api/v1/pause"]["post"]["requestBody"]["content"];
    described.check(&form["application/json"]["schema"], &request, "a request");
    let response = controller.ask("pause", Some(TOKEN), request.to_string()).await;
    let schema = described.of("/api/v1/pause", "post", "200", "application/json");
    described.check(schema, &response.json().await.unwrap(), "what was done");
    for path in described.0["paths"].as_object().unwrap().keys() {
        assert!(
            README.contains(
                path.split('{').next().unwrap().trim_end_matches('/').rsplit('/').next().unwrap()
            ),
            "{path}"
        );
    }
}

const README: &str = include_str!("../README.md");

/// The names of the metrics that README documents.
fn documented() -> Vec<String> {
    let words = README.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let names = words.filter(|word| word.starts_with("calico_dcos_")).map(str::to_owned);
    names.collect::<std::collections::BTreeSet<String>>().into_iter().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_is_documented_and_every_documented_one_is_there() {
    let site = Site::start().await;
    let controller = site.run("one", false);
    controller.until_done().await;
    let led = controller.until_heard("/api/v1/hosts").await;
    assert_eq!(led["total"], 5);
    let response = controller.get("/metrics").await;
    let form = response.headers()["content-type"].to_str().unwrap().to_owned();
    assert!(form.starts_with("application/openmetrics-text; version=1.0.0"), "{form}");
    let text = response.text().await.unwrap();
    assert!(text.ends_with("# EOF\n"), "{text}");
    for line in [
        "calico_dcos_leads 1.0",
        "calico_dcos_stuck 0.0",
        "calico_dcos_subscribed 1.0",
        "calico_dcos_hosts{reason=\"in-sync\"} 5.0",
        "calico_dcos_hosts{reason=\"failed\"} 0.0",
        "calico_dcos_rollout{standing=\"done\"} 1.0",
        "calico_dcos_slots 3.0",
        "calico_dcos_tasks_launched_total{kind=\"observer\"} 5",
    ] {
        assert!(text.lines().any(|it| it == line), "{line}: {text}");
    }
    let families = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let families: Vec<&str> = families.collect();
    let documented = documented();
    // Without a holder there is nothing to tell.
    for name in documented.iter().filter(|name| *name != "calico_dcos_slot_age_seconds") {
        let family = name.strip_suffix("_total").unwrap_or(name);
        assert!(families.contains(&family), "{name} is documented and absent: {families:?}");
    }
    for family in families {
        let counted = format!("{family}_total");
        let known = documented.iter().any(|name| name == family || *name == counted);
        assert!(known, "{family} is not documented in README");
    }
    let alerts = include_str!("../examples/alerts.yaml");
    let words = alerts.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    for used in words.filter(|word| word.starts_with("calico_dcos_")) {
        assert!(
            documented.iter().any(|name| name == used),
            "{used} is in the alerts and nowhere else"
        );
    }
}

/// Debian's promtool, which `tools/promtool.sh` brings.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: it takes Prometheus' promtool, which only test-full brings"]
async fn long_promtool_takes_the_metrics_and_the_alerts() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let promtool = root.join("target/tools/bin/promtool");
    assert!(promtool.exists(), "there is no promtool; run tools/promtool.sh");
    let rules = Command::new(&promtool)
        .args(["check", "rules"])
        .arg(root.join("examples/alerts.yaml"))
        .output()
        .unwrap();
    assert!(rules.status.success(), "{}", String::from_utf8_lossy(&rules.stderr));
    let site = Site::start().await;
    let controller = site.run("one", false);
    controller.until_done().await;
    let text = controller.get("/metrics").await.text().await.unwrap();
    // promtool reads Prometheus' older format, which knows neither units nor an end, and wants counters to be
    // described under the names of their samples.
    let older: String = text
        .lines()
        .filter(|line| !line.starts_with("# UNIT") && !line.starts_with("# EOF"))
        .map(|line| match line.strip_prefix("# ") {
            Some(about) if about.contains("calico_dcos_tasks_launched ") => {
                format!("# {}\n", about.replace("tasks_launched ", "tasks_launched_total "))
            }
            _ => format!("{line}\n"),
        })
        .collect();
    let mut check = Command::new(&promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut check.stdin.take().unwrap(), older.as_bytes()).unwrap();
    let said = check.wait_with_output().unwrap();
    assert!(said.status.success(), "{}\n{older}", String::from_utf8_lossy(&said.stderr));
}

/// Reports of the same revision, without the time.
fn alike(mut one: Value, mut other: Value) {
    for report in [&mut one, &mut other] {
        report.as_object_mut().unwrap().remove("revision");
    }
    assert_eq!(one, other);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_says_what_the_commands_say_and_refuses_what_makes_no_sense() {
    let site = Site::start().await;
    let controller = site.run("one", false);
    controller.until_done().await;
    let health = controller.json("/health").await;
    assert_eq!((&health["healthy"], &health["leads"]), (&json!(true), &json!(true)), "{health}");
    assert_eq!(controller.json("/ready").await, json!({"ready": true}));

    let status = controller.json("/api/v1/status").await;
    assert_eq!(status["leaderUrl"], "http://one.example");
    alike(status, site.command(&["status", "-o", "json"]));
    alike(controller.json("/api/v1/plan").await, site.command(&["diff", "-o", "json"]));
    let history = controller.json("/api/v1/history?last=1").await;
    alike(history, site.command(&["history", "-o", "json", "--last", "1"]));

    let hosts = controller.until_heard("/api/v1/hosts?search=a&limit=2&offset=1&pool=").await;
    assert_eq!((&hosts["total"], &hosts["hosts"][1]["name"]), (&json!(5), &json!("a3")));
    assert_eq!(hosts["hosts"][0]["components"]["calicoNode"], "inSync");
    let host = controller.json("/api/v1/hosts/a4").await;
    assert_eq!((&host["host"]["name"], &host["plan"]["inSync"]), (&json!("a4"), &json!(true)));

    for (path, status, words) in [
        ("/api/v1/hosts/a44", 404, "did you mean `a4`?"),
        ("/api/v1/hosts/%3Cscript%3E", 404, "there is no host `<script>`"),
        ("/api/v1/hosts?limit=many", 400, "write `limit` as a whole number"),
        ("/api/v1/hosts?attribute=rack", 400, "NAME:VALUE"),
        ("/api/v1/nothing", 404, "nothing is served at"),
        ("/api/v1/pause", 405, "not asked by GET"),
    ] {
        Controller::refused(controller.get(path).await, status, words).await;
    }
    let response = controller.ask("status", None, "").await;
    Controller::refused(response, 405, "not asked by POST").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_get_this_very_program_and_no_other_file() {
    let site = Site::start().await;
    let controller = site.run("one", false);
    let own = std::fs::read(BINARY).unwrap();
    let digest = SpecHash::of(&own);
    let response = controller.get(&format!("/artifact/{digest}/calico-dcos?sha256={digest}")).await;
    assert_eq!(response.content_length(), Some(own.len() as u64));
    assert!(response.bytes().await.unwrap() == own);
    let other = SpecHash::of(b"other");
    for path in [
        &format!("/artifact/{other}/calico-dcos"),
        &format!("/artifact/{digest}/../../etc/passwd"),
        &format!("/artifact/{digest}/..%2f..%2fetc%2fpasswd"),
        "/artifact/..%2f..%2f..%2fproc%2fself%2fexe/calico-dcos",
        "/artifact/%2e%2e/calico-dcos",
    ] {
        Controller::refused(controller.get(path).await, 404, "").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_the_token_pauses_and_resumes_and_it_is_written_down() {
    let site = Site::start().await;
    let controller = site.run("one", true);
    controller.until_done().await;
    let none = controller.ask("pause", None, "").await;
    assert!(none.headers()["www-authenticate"].to_str().unwrap().starts_with("Bearer"));
    Controller::refused(none, 401, "--token-file").await;
    let wrong = controller.ask("pause", Some("another-token-of-some-length"), "").await;
    Controller::refused(wrong, 401, "--token-file").await;
    assert_eq!(controller.json("/api/v1/status").await["status"], "done");

    let said = controller.done("pause", json!({"who": "alice\n", "why": "disk swap"})).await;
    assert!(said.starts_with("Nothing new starts for the cluster."), "{said}");
    let history = controller.json("/api/v1/history?last=1").await;
    assert_eq!(history["entries"][0]["who"], "alice, by token from 127.0.0.1");
    assert_eq!(history["entries"][0]["what"], "pause of the cluster: disk swap");
    alike(history, site.command(&["history", "-o", "json", "--last", "1"]));
    for (what, body, status, words) in [
        ("pause", "{}", 409, "is paused already"),
        ("pause", "{", 400, "not understood"),
        ("pause", "{\"wy\": 1}", 400, "unknown field `wy`"),
        ("pause", "{\"pool\": \"gpu\"}", 404, "there is no pool `gpu`"),
        ("retry", "{\"host\": \"a44\"}", 404, "did you mean `a4`?"),
        ("retry", "{}", 400, "needs the field `host`"),
        ("retry", "{\"host\": \"a4\"}", 409, "no attempt of host `a4` has failed"),
        ("approve", "{\"generation\": 7}", 409, "generation 7 is not in force"),
        ("approve", "{}", 400, "needs the field `generation`"),
        ("release", "{\"host\": \"a4\"}", 400, "needs the field `attempt`"),
        ("release", "{\"host\": \"a4\", \"attempt\": 1}", 409, "holds no slot"),
        ("forget", "{\"host\": \"a4\"}", 409, "is active"),
        ("resume", "{\"host\": \"a4\"}", 409, "paused: the cluster"),
    ] {
        let response = controller.ask(what, Some(TOKEN), body).await;
        Controller::refused(response, status, words).await;
    }
    let long = "x".repeat(100_000);
    let response = controller.ask("pause", Some(TOKEN), long).await;
    Controller::refused(response, 413, "no request is as long").await;
    assert_eq!(controller.done("resume", json!({})).await, "the cluster goes on.");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_is_for_reading_and_names_the_leader_and_takes_over_its_page() {
    let site = Site::start().await;
    let leader = site.run("one", false);
    leader.until_done().await;
    Controller::refused(leader.ask("pause", None, "").await, 403, "--token-file").await;
    let standby = site.run("two", true);
    standby.until_done().await;
    let health = standby.json("/health").await;
    assert_eq!((&health["healthy"], &health["leads"]), (&json!(true), &json!(false)));
    assert!(health.get("passAgeSeconds").is_none(), "{health}");
    alike(standby.json("/api/v1/status").await, leader.json("/api/v1/status").await);
    let response = standby.ask("pause", Some(TOKEN), "").await;
    let problem = Controller::refused(response, 409, "`one` leads").await;
    assert_eq!(problem["leader"], "http://one.example");
    drop(leader);
    standby.until_led().await;
    assert_eq!(
        standby.done("pause", json!({"host": "a1"})).await.split('.').next(),
        Some("Nothing new starts for host `a1`")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn people_get_pages_that_load_nothing_from_elsewhere() {
    let site = Site::start().await;
    let controller = site.run("one", true);
    controller.until_done().await;
    for (path, words) in [
        ("/", "1 to 5 of 5 hosts"),
        ("/?search=a4", "1 to 1 of 1 host<"),
        ("/plan", "every host is as declared"),
        ("/history", "generation 1 done"),
        ("/hosts/a4", "as declared"),
    ] {
        let response = controller.get(path).await;
        let policy = response.headers()["content-security-policy"].to_str().unwrap().to_owned();
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        let form = response.headers()["content-type"].to_str().unwrap().to_owned();
        assert_eq!((response.status().as_u16(), form.as_str()), (200, "text/html; charset=utf-8"));
        let page = response.text().await.unwrap();
        assert!(page.contains(words), "{path}: {page}");
        assert!(!page.contains("src=\"http") && !page.contains("style="), "{page}");
    }
    for (path, form) in [("/assets/style.css", "text/css"), ("/assets/page.js", "text/javascript")]
    {
        let response = controller.get(path).await;
        assert!(response.headers()["content-type"].to_str().unwrap().starts_with(form));
        assert!(!response.text().await.unwrap().contains("http"), "{path} loads nothing");
    }
    let response = controller.get("/hosts/%3Cb%3E").await;
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    let page = response.text().await.unwrap();
    assert!(page.contains("there is no host `&#60;b&#62;`"), "{page}");
}

/// Slow clients and many listeners.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: a thousand connections"]
async fn long_a_thousand_who_listen_and_clients_that_say_nothing_hold_up_nothing() {
    let site = Site::start().await;
    let controller = site.run("one", true);
    let mut open = Vec::new();
    for _ in 0..1_024 {
        let response = controller.get("/api/v1/events").await;
        assert_eq!(response.status(), StatusCode::OK);
        open.push(response);
    }
    let response = controller.get("/api/v1/events").await;
    Controller::refused(response, 503, "too many listen").await;
    let address = controller.url.strip_prefix("http://").unwrap();
    let silent: Vec<_> = (0..100).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
    let done = async {
        while controller.json("/api/v1/status").await["status"] != "done" {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, done).await.expect("the rollout goes on");
    assert_eq!(controller.json("/health").await["healthy"], true);
    drop((open, silent));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_listens_does_not_hold_up_the_end() {
    let site = Site::start().await;
    let mut controller = site.run("one", false);
    controller.until_done().await;
    let mut stream = controller.get("/api/v1/events").await.bytes_stream();
    assert!(stream.next().await.is_some_and(|event| event.is_ok()), "it is told at once");
    let id = rustix::process::Pid::from_child(&controller.child);
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    let ended = async { while stream.next().await.is_some_and(|event| event.is_ok()) {} };
    tokio::time::timeout(PATIENCE, ended).await.expect("the stream ends");
    let status = tokio::task::spawn_blocking(move || controller.child.wait()).await.unwrap();
    assert_eq!(status.unwrap().code(), Some(0));
}
