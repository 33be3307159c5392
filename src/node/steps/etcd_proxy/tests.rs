use super::*;
use crate::desired::ProxyMode;
use crate::job::samples;
use crate::node::steps::fakes::Fake;

fn spec(declared: Value) -> Wanted {
    serde_json::from_value(declared).unwrap()
}

fn target(declared: Value) -> ComponentSpec {
    samples::spec(Component::EtcdProxy, Spec::EtcdProxy(spec(declared)))
}

/// A real port with something on it that says it is a healthy etcd.
async fn etcd() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let health = || std::future::ready(r#"{"health":"true"}"#);
    let router = axum::Router::new().route("/health", axum::routing::get(health));
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
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
    EtcdProxy.apply(&fake.host, Attempt(1), &target).await.unwrap();
    // It was started with something else: written is not in force.
    assert_eq!(fake.observe(&EtcdProxy).await.unwrap().hash, None);
    run_unit(&fake);
    let seen = fake.observe(&EtcdProxy).await.unwrap();
    assert_eq!((seen.hash, seen.health), (Some(target.hash), Health::Healthy));
    assert_eq!(fake.check(&EtcdProxy, &target).await, Finding::InForce);
    EtcdProxy.apply(&fake.host, Attempt(2), &target).await.unwrap();
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
        EtcdProxy.apply(&fake.host, Attempt(1), &target).await.unwrap();
        if off {
            let off = samples::spec(Component::EtcdProxy, Spec::Off);
            EtcdProxy.apply(&fake.host, Attempt(2), &off).await.unwrap();
            assert_eq!(fake.check(&EtcdProxy, &off).await, Finding::InForce);
        } else {
            fake.undo(&EtcdProxy, Attempt(1)).await;
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
    let why = ask(&spec(json!({"listen": address.to_string()}))).await.unwrap_err();
    assert!(why.contains("through the proxy"), "{why}");
    assert_eq!(ask(&spec(json!({"listen": etcd().await.to_string()}))).await, Ok(()));
}
