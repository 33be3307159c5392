//! Installation as the guide describes it: from nothing, by Marathon, to all hosts in sync; and off again.

use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::time::Duration;

use etcd_client::{Client, DeleteOptions};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::bare::all_is_in_force;
use super::document::Document;
use super::{Over, brought_to, etcd, facts, program, reason, status, until, until_over};
use crate::host::{Host, eventually, fetch, gateway, post};
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

/// As the guide takes it off: nothing of ours is left on hosts, in Mesos or in etcd.
async fn taken_off() {
    drop(brought_to(&Document::lab().off()).await);
    let mut client = Client::connect([etcd()], None).await.unwrap();
    let framework = client.get("/calico-dcos/framework-id", None).await.unwrap();
    let framework: Value = serde_json::from_slice(framework.kvs()[0].value()).unwrap();
    let id = format!("frameworkId={}", framework["id"].as_str().unwrap());
    post(&format!("http://{}:5050/teardown", gateway()), id).await;
    client.delete("/calico-dcos/", Some(DeleteOptions::new().with_prefix())).await.unwrap();
    for host in Host::all() {
        let ours = "pgrep --full '^./calico-dcos node' || true";
        eventually(async || host.run(ours), String::is_empty).await;
        host.run("rm -r /var/lib/calico-dcos");
    }
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
