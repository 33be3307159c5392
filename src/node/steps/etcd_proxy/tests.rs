use super::*;
use crate::desired::ProxyMode;
use crate::job::samples;
use crate::node::steps::fakes::{Fake, turn};
use crate::words::Attempt;

fn spec(declared: Value) -> Wanted {
    serde_json::from_value(declared).unwrap()
}

fn target(declared: Value) -> ComponentSpec {
    samples::spec(Component::EtcdProxy, Spec::EtcdProxy(spec(declared)))
}

/// A real port with something on it that speaks as an etcd does: what it says of a key by v2, and the
/// status of gRPC with which it answers a range.
async fn etcd_that(version: &'static str, v2: (u16, &'static str), v3: u8) -> SocketAddr {
    use axum::http::StatusCode;
    use axum::routing::{get, post};
    use std::future::ready;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let code = StatusCode::from_u16(v2.0).unwrap();
    let grpc = [("content-type", "application/grpc".to_owned()), ("grpc-status", v3.to_string())];
    let router = axum::Router::new()
        .route("/health", get(|| ready(r#"{"health":"true"}"#)))
        .route("/version", get(move || ready(format!(r#"{{"etcdserver":"{version}"}}"#))))
        .route("/v2/keys/{key}", get(move || ready((code, v2.1))))
        .route("/etcdserverpb.KV/Range", post(move || ready(grpc)));
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

const NO_KEY: (u16, &str) = (404, r#"{"errorCode":100,"message":"Key not found"}"#);
const NO_API: (u16, &str) = (404, "404 page not found");
/// Of gRPC: no user is named, and no leader is there.
const NOBODY: u8 = 3;
const UNAVAILABLE: u8 = 14;

/// One that is well, and has both interfaces.
async fn etcd() -> SocketAddr {
    etcd_that("3.4.23", NO_KEY, NOBODY).await
}

/// Somebody else listens there, and says a lot: it becomes a fact, which etcd keeps.
#[tokio::test]
async fn what_a_stranger_answers_is_cut() {
    for times in [5_000, 500_000] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let listen = listener.local_addr().unwrap().to_string();
        let page = axum::routing::get(move || std::future::ready("<p>é</p>".repeat(times)));
        let router = axum::Router::new().route("/health", page);
        tokio::spawn(async move { axum::serve(listener, router).await });
        let why = health::ask(&spec(json!({"listen": listen}))).await.unwrap_err();
        assert!(why.contains("/health") && why.len() < 1_000, "{} bytes", why.len());
    }
}

/// The unit is there once its file is, and its process has the words of the file.
fn run_unit(fake: &Fake) {
    let file = fake.text(FILE).unwrap();
    let line = file.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    fake.put("/proc/9/cmdline", &line.replace(' ', "\0"));
    fake.machine().units.get_mut(UNIT).unwrap().main_pid = 9;
}

fn gateway(listen: SocketAddr, upstream: &str) -> ComponentSpec {
    target(
        json!({"listen": listen.to_string(), "upstream": {"endpoints": [upstream]}, "binary": {"path": "/usr/bin/etcd"}}),
    )
}

#[test]
fn the_command_is_that_of_the_mode() {
    let members = ["http://10.0.0.1:2379".to_owned(), "http://10.0.0.2:2379".to_owned()];
    let tls = json!({"caFile": "/ca", "certFile": "/cert", "keyFile": "/key"});
    for (mode, expected) in [
        (
            "gateway",
            "/e gateway start --listen-addr=127.0.0.1:2379 --endpoints=10.0.0.1:2379,10.0.0.2:2379 --retry-delay=5s",
        ),
        (
            "grpc-proxy",
            "/e grpc-proxy start --listen-addr=127.0.0.1:2379 --endpoints=http://10.0.0.1:2379,http://10.0.0.2:2379 --data-dir=D --cacert=/ca --cert=/cert --key=/key",
        ),
        (
            "v2-proxy",
            "/e --proxy=on --listen-client-urls=http://127.0.0.1:2379 --initial-cluster=member0=http://10.0.0.1:2379,member1=http://10.0.0.2:2379 --data-dir=D --trusted-ca-file=/ca --cert-file=/cert --key-file=/key --peer-trusted-ca-file=/ca --peer-cert-file=/cert --peer-key-file=/key",
        ),
    ] {
        let wanted = spec(json!({"mode": mode, "tls": tls}));
        let mut words = command::of(&wanted, "/e", &members);
        for word in &mut words {
            if word.starts_with("--data-dir=") {
                "--data-dir=D".clone_into(word);
            }
        }
        assert_eq!(words.join(" "), expected);
    }
    // Another set of members never reads what was learnt of the one before.
    let wanted = spec(json!({"mode": "v2-proxy"}));
    assert_ne!(
        command::of(&wanted, "/e", &members)[4],
        command::of(&wanted, "/e", &members[..1])[4]
    );
}

#[test]
fn the_records_are_those_of_etcd_and_of_etcd_mesos() {
    let records = command::records(ProxyMode::Gateway, "etcd.mesos");
    assert_eq!(records.secure, ["_etcd-client-ssl._tcp.etcd.mesos"]);
    assert_eq!(records.plain, ["_etcd-client._tcp.etcd.mesos", "_etcd-server._client.etcd.mesos"]);
    let records = command::records(ProxyMode::V2Proxy, "etcd.mesos");
    assert_eq!(records.plain, ["_etcd-server._tcp.etcd.mesos"]);
}

#[tokio::test]
async fn a_proxy_comes_as_a_unit_and_a_second_run_changes_nothing() {
    let fake = Fake::new();
    fake.put("/usr/bin/etcd", "program");
    let target = gateway(etcd().await, "http://10.0.0.1:2379");
    assert_eq!(fake.observe(&EtcdProxy).await, None);
    fake.add_unit(UNIT, false);
    EtcdProxy.apply(&fake.host, turn(1), &target).await.unwrap();
    // It was started with something else: written is not in force.
    assert_eq!(fake.observe(&EtcdProxy).await.unwrap().hash, None);
    run_unit(&fake);
    let seen = fake.observe(&EtcdProxy).await.unwrap();
    assert_eq!((seen.hash, seen.health), (Some(target.hash), Health::Healthy));
    assert_eq!(fake.check(&EtcdProxy, &target).await, Finding::InForce);
    EtcdProxy.apply(&fake.host, turn(2), &target).await.unwrap();
    assert_eq!(fake.machine().count("restart"), 1);
    // Other members: what runs is not in force any more.
    let other =
        gateway(wanted(&target).unwrap().listen.as_str().parse().unwrap(), "http://10.0.0.2:2379");
    assert_eq!(fake.check(&EtcdProxy, &other).await, Finding::Ready { disrupts: true });
}

#[tokio::test]
async fn a_taken_port_is_refused_naming_who_holds_it() {
    let fake = Fake::new();
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = held.local_addr().unwrap();
    // The kernel's own tables of this very process, below the root of the test.
    let inode = std::fs::read_dir("/proc/self/fd").unwrap().flatten().filter_map(|open| {
        let link = std::fs::read_link(open.path()).ok()?.to_string_lossy().into_owned();
        Some(link.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())
    });
    let inode = inode.last().unwrap();
    fake.put(
        "/proc/net/tcp",
        &format!("head\n 0: 0100007F:{:04X} 0:0 0A 0:0 0:0 0 0 0 {inode} 1\n", address.port()),
    );
    fake.put("/proc/712/comm", "etcd\n");
    std::fs::create_dir_all(fake.host.root.place("/proc/712/fd")).unwrap();
    std::os::unix::fs::symlink(format!("socket:[{inode}]"), fake.host.root.place("/proc/712/fd/3"))
        .unwrap();
    let found = fake.check(&EtcdProxy, &gateway(address, "http://10.0.0.1:2379")).await;
    let Finding::Refused { why } = found else { panic!("{found:?}") };
    assert!(why.contains("taken by etcd (process 712)"), "{why}");
}

#[tokio::test]
async fn what_was_not_there_before_is_gone_after_an_undo_and_after_taking_it_off() {
    let fake = Fake::new();
    fake.put("/usr/bin/etcd", "program");
    let target = gateway(etcd().await, "http://10.0.0.1:2379");
    for off in [false, true] {
        fake.add_unit(UNIT, false);
        EtcdProxy.apply(&fake.host, turn(1), &target).await.unwrap();
        if off {
            let off = samples::spec(Component::EtcdProxy, Spec::Off);
            EtcdProxy.apply(&fake.host, turn(2), &off).await.unwrap();
            assert_eq!(fake.check(&EtcdProxy, &off).await, Finding::InForce);
        } else {
            fake.undo(&EtcdProxy, 1).await;
        }
        assert_eq!(fake.text(FILE), None);
        assert_eq!(fake.host.state.record(Component::EtcdProxy).unwrap(), None);
        let done = fake.machine().done.join(", ");
        assert!(done.contains(&format!("stop {UNIT}, disable {UNIT}")), "{done}");
        fake.machine().done.clear();
        fake.host.state.forget_before(Attempt(9)).unwrap();
    }
}

#[tokio::test]
async fn a_proxy_that_reaches_nobody_is_not_well() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    drop(silent);
    for mode in ["gateway", "v2-proxy", "grpc-proxy"] {
        let wanted = spec(json!({"mode": mode, "listen": address.to_string()}));
        let why = health::ask(&wanted).await.unwrap_err();
        assert!(why.contains("through the proxy"), "{mode}: {why}");
    }
}

/// A key is read by each interface that the mode lets through and the cluster has.
#[tokio::test]
async fn a_proxy_is_well_if_keys_can_be_read_through_it() {
    let broken = (500, r#"{"message":"no leader"}"#);
    for (version, v2, v3, modes, words) in [
        ("3.4.23", NO_KEY, NOBODY, &["gateway", "v2-proxy", "grpc-proxy"][..], ""),
        ("3.4.23", (200, "{}"), NOBODY, &["gateway", "v2-proxy"], ""),
        ("3.4.23", (401, "{}"), NOBODY, &["gateway", "v2-proxy"], ""),
        ("3.6.1", NO_API, NOBODY, &["gateway", "grpc-proxy"], ""),
        ("3.6.1", NO_API, NOBODY, &["v2-proxy"], "no v2 API"),
        ("2.3.8", NO_KEY, UNAVAILABLE, &["gateway", "v2-proxy"], ""),
        ("2.3.8", NO_API, UNAVAILABLE, &["gateway"], "no v2 API"),
        ("3.4.23", NO_KEY, UNAVAILABLE, &["gateway", "grpc-proxy"], "by v3"),
        ("3.4.23", broken, NOBODY, &["gateway", "v2-proxy"], "no leader"),
    ] {
        let listen = etcd_that(version, v2, v3).await.to_string();
        for mode in modes {
            let why = health::ask(&spec(json!({"mode": mode, "listen": listen}))).await.err();
            let what = format!("{mode} {version} {v2:?} {v3}: {why:?}");
            assert_eq!(why.is_none(), words.is_empty(), "{what}");
            assert!(why.unwrap_or_default().contains(words), "{what}");
        }
    }
}

/// systemd starts it again a second after it was killed; nobody has to do anything then.
#[tokio::test]
async fn a_proxy_on_its_way_up_is_waited_for() {
    let mut fake = Fake::new();
    fake.put("/usr/bin/etcd", "program");
    let target = gateway(etcd().await, "http://10.0.0.1:2379");
    fake.add_unit(UNIT, false);
    EtcdProxy.apply(&fake.host, turn(1), &target).await.unwrap();
    run_unit(&fake);
    let up = fake.machine().units[UNIT].clone();
    let down = Service { activity: Activity::Changing, main_pid: 0, ..up.clone() };
    fake.machine().units.insert(UNIT.to_owned(), down);
    fake.host.look_again = Duration::from_millis(50);
    let (seen, ()) = tokio::join!(fake.observe(&EtcdProxy), async {
        tokio::task::yield_now().await;
        fake.machine().units.insert(UNIT.to_owned(), up);
    });
    let seen = seen.unwrap();
    assert_eq!((seen.hash, seen.health), (Some(target.hash), Health::Healthy));
}
