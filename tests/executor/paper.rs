//! A machine of paper: a folder for its files, units that are files too, and an agent that says
//! what it was asked for here.

use std::convert::Infallible;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use calico_dcos::mesos::executor::Environment;
use calico_dcos::node::agent::Agent;
use calico_dcos::node::files::Root;
use calico_dcos::node::host::Host;
use calico_dcos::node::service::{Activity, Service, ServiceError, Services, Transient};
use calico_dcos::node::watch::Sign;
use calico_dcos::node::{executor, runner};
use calico_dcos::words::{Attempt, Run};
use futures_util::future::{BoxFuture, pending, ready};
use serde_json::json;
use tokio::io::AsyncWriteExt;

/// Lays the machine out below `folder`, and answers as its agent.
pub(crate) async fn lay_out(folder: &Path) -> PathBuf {
    let host = folder.join("host");
    let put = |path: &str, text: &str| {
        let path = host.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    put("proc/sys/kernel/random/boot_id", "b\n");
    put("etc/machine-id", "m\n");
    put("opt/cni/bin/calico", "");
    put("opt/cni/bin/calico-ipam", "");
    put("program", "program");
    put("started", "");
    std::fs::create_dir_all(host.join("etc/cni/net.d")).unwrap();

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    put("agent-url", &format!("http://{}", listener.local_addr().unwrap()));
    let flags = json!({"flags": {
        "isolation": "network/cni", "network_cni_config_dir": "/etc/cni/net.d",
        "network_cni_plugins_dir": "/opt/cni/bin",
    }});
    let answer =
        |body: serde_json::Value| axum::routing::get(move || ready(axum::Json(body.clone())));
    let router = axum::Router::new()
        .route("/version", answer(json!({"version": "1.12.0"})))
        .route("/flags", answer(flags));
    tokio::spawn(async move { axum::serve(listener, router).await });
    host
}

/// How often a transient unit was started.
pub(crate) fn units_started(host: &Path) -> usize {
    std::fs::read_to_string(host.join("started")).unwrap().lines().count()
}

/// Waits until that many were. The machine tells nobody, so it is looked at.
pub(crate) async fn until_units_started(host: &Path, count: usize) {
    for _ in 0..3000 {
        if units_started(host) >= count {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("{} units were started, and not {count}", units_started(host));
}

/// The process that the agent has started.
pub(crate) async fn run(folder: &Path) {
    let mut desk = tokio::net::UnixStream::connect(folder.join("desk")).await.unwrap();
    desk.write_all(format!("started {} as node\n", std::process::id()).as_bytes()).await.unwrap();
    let root = folder.join("host");
    let units = Arc::new(Units { root: root.clone(), host: OnceLock::new() });
    let mut host = Host::below(Root::new(&root), Arc::clone(&units) as Arc<dyn Services>).unwrap();
    host.program = root.join("program");
    units.host.set(host.clone()).ok();
    let environment = Environment::read(|name| std::env::var(name).ok()).unwrap();
    let url = std::fs::read_to_string(root.join("agent-url")).unwrap();
    executor::run(host, environment, Some(Agent { version: 1, url })).await.unwrap();
}

/// One agent that is up. What is started as a transient unit is a task of this very process: it
/// goes with it, as in a power cut.
#[derive(Debug)]
struct Units {
    root: PathBuf,
    host: OnceLock<Host>,
}

impl Units {
    /// What another process has started has ended with it.
    fn runs(&self, unit: &str) -> bool {
        let by = std::fs::read_to_string(self.root.join(unit)).unwrap_or_default();
        by == std::process::id().to_string()
    }

    fn start(&self, unit: &Transient) {
        let word = |after: &str| {
            let at = unit.command.iter().position(|word| word == after).unwrap();
            unit.command[at + 1].clone()
        };
        let (attempt, run) = (Attempt(word("--attempt").parse().unwrap()), Run(word("--run")));
        let path = self.root.join("started");
        let mut started = std::fs::File::options().append(true).open(path).unwrap();
        writeln!(started, "{}", unit.name).unwrap();
        let host = self.host.get().unwrap().clone();
        let marker = self.root.join(&unit.name);
        std::fs::write(&marker, std::process::id().to_string()).unwrap();
        tokio::spawn(async move {
            runner::run(&host, attempt, run).await;
            std::fs::remove_file(marker).unwrap();
        });
    }
}

type Answer<'a, T> = BoxFuture<'a, Result<T, ServiceError>>;

impl Services for Units {
    fn look<'a>(&'a self, unit: &'a str) -> Answer<'a, Option<Service>> {
        let is_there = unit == "mesos-agent.service" || self.runs(unit);
        let found = is_there.then(|| Service {
            activity: Activity::Active,
            file_state: "enabled".to_owned(),
            main_pid: 0,
            started_us: 1,
        });
        Box::pin(ready(Ok(found)))
    }
    fn command_line<'a>(&'a self, _: &'a str, _: u32) -> Answer<'a, Option<String>> {
        Box::pin(ready(Ok(None)))
    }
    fn watch<'a>(&'a self, _: &'a [&'static str], sign: &'a Sign) -> Answer<'a, Infallible> {
        sign.up();
        Box::pin(pending())
    }
    fn start<'a>(&'a self, unit: &'a str) -> Answer<'a, ()> {
        Box::pin(ready(refused(unit)))
    }
    fn restart<'a>(&'a self, unit: &'a str) -> Answer<'a, ()> {
        Box::pin(ready(refused(unit)))
    }
    fn reload<'a>(&'a self, unit: &'a str) -> Answer<'a, ()> {
        Box::pin(ready(refused(unit)))
    }
    fn stop<'a>(&'a self, unit: &'a str) -> Answer<'a, ()> {
        Box::pin(ready(refused(unit)))
    }
    fn reset_failed<'a>(&'a self, _: &'a str) -> Answer<'a, ()> {
        Box::pin(ready(Ok(())))
    }
    fn enable<'a>(&'a self, _: &'a str) -> Answer<'a, ()> {
        Box::pin(ready(Ok(())))
    }
    fn disable<'a>(&'a self, _: &'a str) -> Answer<'a, ()> {
        Box::pin(ready(Ok(())))
    }
    fn read_files_again(&self) -> Answer<'_, ()> {
        Box::pin(ready(Ok(())))
    }
    fn start_transient<'a>(&'a self, unit: &'a Transient) -> Answer<'a, ()> {
        if !self.runs(&unit.name) {
            self.start(unit);
        }
        Box::pin(ready(Ok(())))
    }
}

/// Nothing in these tests has a reason to touch a service.
fn refused(unit: &str) -> Result<(), ServiceError> {
    Err(ServiceError::NotUp { unit: unit.to_owned() })
}
