//! Installation as the guide describes it: from nothing, by Marathon, to all hosts in sync; and off again.

use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use etcd_client::{Client, GetOptions};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::timeout;

use super::bare::all_is_in_force;
use super::document::Document;
use super::{
    Controller, Over, as_declared, etcd, facts, program, reason, status, until, until_over,
};
use crate::host::{Host, PATIENCE, eventually, fetch, gateway};
use crate::witness;

/// The user of the example, as Debian numbers it.
const NOBODY: u32 = 65_534;

/// With the example as it is but for the addresses of this place, and the open etcd of the lab.
#[tokio::test]
#[ignore = "lab: needs hosts with systemd and Docker, which `make lab-test` brings up as root"]
async fn lab_as_a_marathon_app_it_comes_from_nothing_to_in_sync() {
    taken_off().await;
    let (hosts, since) = (Host::all(), witness::now());
    let app = app();
    let task = Task::launch(&app).await;
    task.until_healthy(&app).await;
    Document::lab().with("rollout/start", "approved").apply();
    let known = |now: &Value| hosts.iter().all(|host| !facts(now, host).is_null());
    until("not all hosts are known", known).await;
    // Only observers run before somebody has looked.
    for host in &hosts {
        eventually(async || reason(host).0, |code| code == "waiting-for-approval").await;
        let changed = "docker ps --all --quiet; cat /etc/docker/daemon.json 2>/dev/null || true";
        assert_eq!(host.run(changed), "", "{host:?}");
    }
    // What was just written may not have been accepted yet: it says so, and people ask again.
    let approved = async || program("approve").arg("--yes").output().unwrap();
    eventually(approved, |approved| approved.status.success()).await;
    assert_eq!(until_over().await, Over::Done, "{}", status());
    for host in &hosts {
        all_is_in_force(host, "calico/node:v2.6.12").await;
    }
    let seen = witness::outages(&hosts, since);
    assert_eq!((seen.len(), witness::most_at_once(&seen)), (hosts.len(), 1), "{seen:?}");
    let page = String::from_utf8(fetch(&task.url("/")).await.unwrap()).unwrap();
    assert!(page.contains("in sync"), "{page}");
}

/// What was there before us is there again to the byte, whoever wrote it in whichever form, and nothing of
/// ours is left on hosts, in Mesos or in etcd.
#[tokio::test]
#[ignore = "lab: needs hosts with systemd and Docker, which `make lab-test` brings up as root"]
async fn lab_a_teardown_leaves_hosts_byte_for_byte_as_before() {
    taken_off().await;
    let hosts = Host::all();
    for host in &hosts {
        host.run("printf '{\\n\\t\"log-level\" : \"warn\"\\n}' >/etc/docker/daemon.json");
    }
    let before: Vec<_> = hosts.iter().map(files).collect();
    let controller = as_declared().await;
    let since = witness::now();
    torn_down(controller).await;
    for (host, before) in hosts.iter().zip(&before) {
        assert_eq!(files(host), *before, "{host:?}");
        let ours = host
            .run("docker ps --all --quiet; find / -xdev -name '*calico-dcos*' -path '*system*'");
        assert_eq!(ours, "", "{host:?}");
    }
    let seen = witness::outages(&hosts, since);
    assert!(witness::most_at_once(&seen) <= 1, "{seen:?}");
    for host in &hosts {
        host.run("rm /etc/docker/daemon.json");
    }
}

/// Kind, mode, owner and content of everything that is configured or installed.
fn files(host: &Host) -> String {
    host.run(
        "set -- /etc /opt /usr/local /var/lib/calico-dcos
         find \"$@\" -xdev -printf '%p %y %m %U:%G %l\\n' 2>/dev/null | sort
         find \"$@\" -xdev -type f -exec sha256sum {} + 2>/dev/null | sort --key 2",
    )
}

pub(super) async fn taken_off() {
    let controller = as_declared().await;
    torn_down(controller).await;
}

/// As the guide takes it off: the command says when the controller is to be stopped.
async fn torn_down(controller: Controller) {
    let mut command = tokio::process::Command::from(program("teardown"));
    command.arg("--yes").stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let running = command.spawn().unwrap();
    let mut client = Client::connect([etcd()], None).await.unwrap();
    let under = || Some(GetOptions::new().with_prefix().with_count_only());
    let documents = async || {
        let found = client.clone().get("/calico-dcos/desired/", under()).await;
        found.map_or(1, |found| found.count())
    };
    eventually(documents, |count| *count == 0).await;
    drop(controller);
    let ended = timeout(PATIENCE, running.wait_with_output()).await.expect("it ends").unwrap();
    assert!(ended.status.success(), "{ended:?}");
    assert_eq!(client.get("/calico-dcos/", under()).await.unwrap().count(), 0);
}

/// The example with the addresses of the lab in it.
fn app() -> Value {
    let here = |port: u16| format!("http://{}:{port}", gateway());
    let example = include_str!("../../../examples/marathon/binary.json");
    let text = example
        .replace("https://downloads.example.com/calico-dcos/0.1.0", &here(5060))
        .replace("http://leader.mesos:5050", &here(5050))
        .replace(
            "https://10.0.0.11:2379,https://10.0.0.12:2379,https://10.0.0.13:2379",
            &here(2379),
        )
        .replace("calico-dcos run", "calico-dcos run --allow-open-etcd");
    assert!(!text.contains("example.com") && !text.contains("leader.mesos"), "{text}");
    let mut app: Value = serde_json::from_str(&text).unwrap();
    let environment = app["env"].as_object_mut().unwrap();
    for name in ["CALICO_DCOS_ETCD_CA", "CALICO_DCOS_ETCD_CERT", "CALICO_DCOS_ETCD_KEY"] {
        environment.remove(name).expect("the example names it");
    }
    app
}

/// One instance of an app, with what Marathon and Mesos do for it.
struct Task {
    child: Child,
    port: u16,
    _sandbox: TempDir,
}

impl Task {
    /// Fetches what the app names into a sandbox, picks the port, and starts the command there as the app's
    /// user, with the app's environment and Marathon's own, and nothing else of ours.
    async fn launch(app: &Value) -> Self {
        let sandbox = tempfile::tempdir().unwrap();
        assert_eq!(app["user"], "nobody");
        chown(sandbox.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        for entry in app["fetch"].as_array().unwrap() {
            let uri = entry["uri"].as_str().unwrap();
            let file = sandbox.path().join(uri.rsplit('/').next().unwrap());
            std::fs::write(&file, fetch(uri).await.unwrap()).unwrap();
            let mode = if entry["executable"] == true { 0o755 } else { 0o644 };
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        assert_eq!(app["portDefinitions"][0]["port"], 0, "Marathon picks one");
        let free = std::net::TcpListener::bind((gateway(), 0)).unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let environment = app["env"].as_object().unwrap();
        let given = environment.iter().map(|(name, value)| (name, value.as_str().unwrap()));
        let child = Command::new("/bin/sh")
            .args(["-c", app["cmd"].as_str().unwrap()])
            .current_dir(sandbox.path())
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .envs([("HOST", gateway()), ("MESOS_SANDBOX", sandbox.path().display().to_string())])
            .envs([("PORT", port.to_string()), ("PORT0", port.to_string())])
            .env("MARATHON_APP_ID", app["id"].as_str().unwrap())
            .envs(given)
            .uid(NOBODY)
            .gid(NOBODY)
            .spawn()
            .unwrap();
        Self { child, port, _sandbox: sandbox }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}:{}{path}", gateway(), self.port)
    }

    /// Within the time after which Marathon would begin to count failures.
    async fn until_healthy(&self, app: &Value) {
        let check = &app["healthChecks"][0];
        let url = self.url(check["path"].as_str().unwrap());
        let grace = Duration::from_secs(check["gracePeriodSeconds"].as_u64().unwrap());
        let healthy = eventually(async || fetch(&url).await.is_some(), |is| *is);
        tokio::time::timeout(grace, healthy).await.expect("it is healthy in time");
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = self.child.wait();
    }
}
