//! What a controller serves over HTTP: the real binary, a real etcd, and the simulated Mesos.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "in a test they are assertions, and what a test says when it fails"
)]

#[expect(dead_code, reason = "other tests use more of it")]
#[path = "../support/mod.rs"]
mod support;

mod between;
mod browser;
mod contract;
mod limits;
mod page;
mod pictures;
mod script;
mod site;

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use calico_dcos::plan::reason::CODES;
use calico_dcos::store::{Key, Txn};
use calico_dcos::words::SpecHash;
use futures_util::StreamExt;
use http::StatusCode;
use serde_json::{Value, json};
use site::{BINARY, CLUSTER, Controller, Site, TOKEN};
use support::PATIENCE;

const README: &str = include_str!("../../README.md");

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
        "calico_dcos_options_differ 0.0",
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
    let alerts = include_str!("../../examples/alerts.yaml");
    let words = alerts.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    for used in words.filter(|word| word.starts_with("calico_dcos_")) {
        assert!(
            documented.iter().any(|name| name == used),
            "{used} is in the alerts and nowhere else"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn options_that_differ_from_etcd_are_shown_and_change_nothing() {
    let site = Site::start().await;
    let given = site.dir.path().join("given.yaml");
    std::fs::write(&given, CLUSTER.replace("calico/node:v1", "calico/node:v9")).unwrap();
    let controller = site.run_with("one", false, &["--initial", given.to_str().unwrap()]);
    controller.until_done().await;
    let text = controller.get("/metrics").await.text().await.unwrap();
    assert!(text.contains("calico_dcos_options_differ 1.0\n"), "{text}");
    let page = controller.get("/").await.text().await.unwrap();
    assert!(page.contains("make other documents than those in etcd, which are in force: cluster"));
    let host = controller.json("/api/v1/hosts/a1").await;
    assert_eq!(host["plan"]["wanted"]["calicoNode"]["version"], "calico/node:v1");
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_that_were_never_good_are_told_in_the_metrics() {
    let site = Site::start().await;
    site.declare("kind: Cluster\n").await;
    let controller = site.run("one", false);
    let told = async |wanted: &[&str], absent: &str| {
        let told = async {
            loop {
                let text = controller.get("/metrics").await.text().await.unwrap();
                if wanted.iter().all(|wanted| text.lines().any(|line| line == *wanted)) {
                    assert!(!text.contains(absent), "{text}");
                    break;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, told).await.unwrap_or_else(|_| panic!("never {wanted:?}"));
    };
    let none = "calico_dcos_generation 0.0";
    let refused = "calico_dcos_documents_refused 1.0";
    told(&[refused, "calico_dcos_documents_in_force 0.0", none], "calico_dcos_slots").await;
    // Without any nothing is refused, and nothing waits to be accepted.
    let store = site.store().await;
    let _ = store.txn(&Txn::new().delete(Key::DesiredCluster)).await.unwrap();
    told(&["calico_dcos_documents_refused 0.0", none], "calico_dcos_documents_in_force").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_pass_is_a_span_of_the_log() {
    let site = Site::start().await;
    let controller = site.run("one", false);
    controller.until_done().await;
    let log = controller.log.lock().unwrap();
    let passes = log.iter().filter(|event| event["span"]["name"] == "pass");
    let numbers: std::collections::BTreeSet<u64> =
        passes.filter_map(|event| event["span"]["number"].as_u64()).collect();
    assert!(numbers.len() > 1, "several passes had something to say: {numbers:?}");
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
        ("/api/v1/hosts/%FF", 400, "the path is not understood"),
        ("/artifact/%FF/calico-dcos", 400, "the path is not understood"),
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
    // As the page asks, behind a proxy that keeps `Authorization` for its own.
    let behind = |token| {
        let request = controller.client.post(format!("{}/api/v1/retry", controller.url));
        request.header("authorization", "token=of-dcos").header("x-calico-dcos-token", token)
    };
    let response = behind("another-token-of-some-length").send().await.unwrap();
    Controller::refused(response, 401, "X-Calico-Dcos-Token").await;
    Controller::refused(behind(TOKEN).send().await.unwrap(), 400, "needs the field `host`").await;

    let said = controller.done("pause", json!({"who": "alice\n", "why": "disk swap"})).await;
    assert!(said.starts_with("Nothing new starts for the cluster."), "{said}");
    // What is served follows etcd.
    let told = async {
        loop {
            let history = controller.json("/api/v1/history?last=1").await;
            if history["entries"][0]["who"] != "one" {
                return history;
            }
            tokio::task::yield_now().await;
        }
    };
    let history = tokio::time::timeout(PATIENCE, told).await.expect("it is written down");
    assert_eq!(history["entries"][0]["who"], "alice, by token from 127.0.0.1");
    assert_eq!(history["entries"][0]["what"], "pause of the cluster: disk swap");
    alike(history, site.command(&["history", "-o", "json", "--last", "1"]));
    for (what, body, status, words) in [
        ("pause", "{", 400, "not understood"),
        ("pause", "[null, null]", 400, "send a JSON object"),
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
    ] {
        let response = controller.ask(what, Some(TOKEN), body).await;
        Controller::refused(response, status, words).await;
    }
    let padded = |length: usize| format!("{:length$}", "{}");
    let response = controller.ask("pause", Some(TOKEN), padded(16 * 1024 + 1)).await;
    Controller::refused(response, 413, "no request is as long").await;
    let response = controller.ask("resume", Some(TOKEN), padded(16 * 1024)).await;
    let done: Value = response.json().await.unwrap();
    assert_eq!(done["done"], "The cluster goes on.");
}

#[tokio::test(flavor = "multi_thread")]
async fn s80_an_unknown_name_is_not_found_and_what_is_so_already_is_said_and_changes_nothing() {
    let site = Site::start().await;
    let controller = site.run("one", true);
    controller.until_done().await;
    for (scope, near) in [
        (json!({"host": "a44"}), "there is no host `a44`; did you mean `a4`?"),
        (json!({"pool": "gpu"}), "there is no pool `gpu`"),
    ] {
        for what in ["pause", "resume"] {
            let answer = controller.ask(what, Some(TOKEN), scope.to_string()).await;
            Controller::refused(answer, 404, near).await;
        }
    }
    let ask = async |what: &str, scope: &Value| {
        let answer = controller.ask(what, Some(TOKEN), scope.to_string()).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let done: Value = answer.json().await.unwrap();
        (done["done"].as_str().unwrap().to_owned(), done["revision"].as_u64().unwrap())
    };
    for (scope, name) in [(json!({}), "the cluster"), (json!({"host": "a4"}), "host `a4`")] {
        let (said, before) = ask("resume", &scope).await;
        assert!(said.contains("is not paused, and nothing else is"), "{said}");
        let (said, paused) = ask("pause", &scope).await;
        assert!(said.starts_with(&format!("Nothing new starts for {name}.")), "{said}");
        assert!(paused > before, "it is written down");
        let (said, seen) = ask("pause", &scope).await;
        assert!(said.contains("is paused already") && seen == paused, "{said} {seen} {paused}");
        let (said, resumed) = ask("resume", &scope).await;
        assert!(said.ends_with("goes on.") && resumed > paused, "{said}");
    }
    // What changed nothing is in no history.
    let history = site.command(&["history", "-o", "json", "--last", "4"]);
    let what: Vec<_> =
        history["entries"].as_array().unwrap().iter().map(|it| &it["what"]).collect();
    let [cluster, host] = ["the cluster", "host `a4`"];
    let expected = [cluster, cluster, host, host].into_iter().zip(["pause", "resume"].repeat(2));
    let expected: Vec<_> =
        expected.map(|(scope, ask)| json!(format!("{ask} of {scope}"))).collect();
    assert_eq!(what, expected.iter().collect::<Vec<_>>());
}

/// `NAME N` of each reason on the page.
fn chips(page: &str) -> BTreeMap<String, u64> {
    let list = page.split_once("<ul class=\"chips\">").unwrap().1.split_once("</ul>").unwrap().0;
    let chips = list.split("<li>").skip(1).map(|chip| {
        let (head, number) = chip.split_once(" <b>").unwrap();
        let name = head.rsplit('>').next().unwrap().to_owned();
        (name, number.split_once('<').unwrap().0.parse().unwrap())
    });
    chips.collect()
}

/// `calico_dcos_hosts{reason="NAME"} N` of each reason that there is.
fn measured(metrics: &str) -> BTreeMap<String, u64> {
    let lines = metrics.lines().filter_map(|line| line.strip_prefix("calico_dcos_hosts{reason=\""));
    let all = lines.map(|line| {
        let (name, number) = line.split_once("\"} ").unwrap();
        (name.to_owned(), number.trim_end_matches(".0").parse().unwrap())
    });
    all.filter(|(_, number)| *number > 0).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn s81_each_host_not_at_its_target_has_one_reason_and_page_api_and_metrics_agree() {
    let hosts = json!([
        {"count": 6, "name": "a{n}", "restartSeconds": {"median": 0.2}},
        {"count": 2, "name": "swarm-{n}", "observed": {"docker": {"version": "20.10.24", "swarm": true}}},
    ]);
    let cluster = CLUSTER.replace("rollout: {", "rollout: {maxUnavailable: 9, exclude: [a5], ");
    let site = Site::of(hosts, &cluster, |_, _| {}).await;
    let controller = site.run("one", true);
    controller.until(|data| data["inSync"].as_u64() == Some(5)).await;
    controller.done("pause", json!({"host": "a1"})).await;
    let edited = cluster.replace("rollout: {", "rollout: {start: approved, ");
    site.declare(&edited.replace("calico/node:v1", "calico/node:v2")).await;

    let expected = json!({"blocked": 2, "excluded": 1, "paused": 1, "waiting-for-approval": 4});
    let settled = async {
        while controller.json("/api/v1/status").await["summary"]["reasons"] != expected {
            tokio::task::yield_now().await;
        }
    };
    let settled = tokio::time::timeout(PATIENCE, settled).await;
    let status = controller.json("/api/v1/status").await;
    assert!(settled.is_ok(), "{}", status["summary"]["reasons"]);
    assert_eq!((&status["summary"]["hosts"], &status["summary"]["inSync"]), (&json!(8), &json!(0)));
    let expected: BTreeMap<String, u64> = serde_json::from_value(expected).unwrap();
    assert_eq!(expected.values().sum::<u64>(), 8);
    assert!(expected.keys().all(|code| CODES.contains(&code.as_str())));

    let mut by_host: BTreeMap<String, u64> = BTreeMap::new();
    for host in controller.json("/api/v1/hosts").await["hosts"].as_array().unwrap() {
        let code = host["reason"]["code"].as_str().unwrap().to_owned();
        *by_host.entry(code).or_default() += 1;
    }
    assert_eq!(by_host, expected);
    assert_eq!(chips(&controller.get("/").await.text().await.unwrap()), expected);
    assert_eq!(measured(&controller.get("/metrics").await.text().await.unwrap()), expected);
    let plan = site.command(&["diff", "-o", "json"]);
    assert_eq!(plan["summary"]["reasons"], json!(expected));
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
    let metrics = standby.get("/metrics").await.text().await.unwrap();
    for line in ["leads 0.0", "stuck 0.0", "etcd_lost 0.0", "hosts{reason=\"in-sync\"} 5.0"] {
        assert!(metrics.contains(&format!("\ncalico_dcos_{line}\n")), "{line}: {metrics}");
    }
    for of_leaders in ["subscribed", "pass_age", "silence"] {
        assert!(!metrics.contains(&format!("calico_dcos_{of_leaders}")), "{of_leaders}: {metrics}");
    }
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
    let response = controller.get("/hosts/%FF").await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    let page = response.text().await.unwrap();
    assert!(page.contains("<pre>the path is not understood"), "{page}");
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
