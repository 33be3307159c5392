//! The proxy to etcd in all its kinds, with upstreams of all kinds.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use etcd_client::Client;
use serde_json::{Value, json};
use tokio::net::UdpSocket;

use super::bare::writes_pass;
use super::document::Document;
use super::{Controller, Over, brought_to, facts, newest_attempt, status, until, until_over};
use crate::host::{Host, eventually, gateway, share};

/// A document for the public host alone, about its proxy alone.
fn of_proxy(proxy: Value) -> Document {
    let document = Document::lab().only(&Host::named("p1")).without("docker").without("calicoNode");
    document.with("etcdProxy", proxy)
}

fn gateway_to(endpoint: &str) -> Value {
    json!({"mode": "gateway", "upstream": {"endpoints": [endpoint]}, "binary": {"path": "/usr/bin/etcd"}})
}

async fn declare(proxy: Value) -> Controller {
    let controller = brought_to(&Document::lab()).await;
    of_proxy(proxy).apply();
    assert_eq!(until_over().await, Over::Done, "{}", status());
    controller
}

/// etcd's own proxy of v2 asks the peers, who are asked for by us.
#[tokio::test]
#[ignore = "lab: needs hosts with systemd and Docker, which `make lab-test` brings up as root"]
async fn lab_a_v2_proxy_finds_the_peers_and_passes_v2() {
    let host = Host::named("p1");
    let mut proxy = gateway_to(&format!("http://{}:2379", gateway()));
    proxy["mode"] = json!("v2-proxy");
    let _controller = declare(proxy).await;
    let line = host.run("pgrep -fa '[e]tcd --proxy=on'");
    assert!(line.contains(&format!("=http://{}:2380", gateway())), "{line}");
    host.run("curl -fsS -X PUT -d value=v2 http://127.0.0.1:2379/v2/keys/lab/v2");
    assert!(
        host.run("curl -fsS http://127.0.0.1:2379/v2/keys/lab/v2").contains("\"value\":\"v2\"")
    );
}

/// Members that are found by SRV records, of either naming, and followed as the records change.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "lab: needs hosts with systemd and Docker, which `make lab-test` brings up as root"]
async fn lab_a_proxy_follows_the_srv_records_of_its_members() {
    let host = Host::named("p1");
    let dns = Dns::serve("_etcd-server._client.etcd.lab").await;
    let of_docker = host.run("cat /etc/resolv.conf");
    host.run(&format!("echo nameserver {} >/etc/resolv.conf", gateway()));
    let mut proxy = gateway_to("");
    proxy["upstream"] = json!({"discoverySrv": "etcd.lab"});
    let _controller = declare(proxy).await;
    let line = || host.run("pgrep -fa '[e]tcd gateway'");
    assert!(line().contains("--endpoints=etcd0.lab:2379 "), "{}", line());
    writes_pass(&host).await;

    let before = newest_attempt();
    dns.say("_etcd-client._tcp.etcd.lab", &["etcd1.lab", "etcd0.lab"]);
    let followed = |now: &Value| {
        let journal = &facts(now, &host)["journal"];
        journal["attempt"].as_u64() > Some(before) && journal["state"]["is"] == "done"
    };
    until("the records are not followed", followed).await;
    assert!(line().contains("--endpoints=etcd0.lab:2379,etcd1.lab:2379 "), "{}", line());
    writes_pass(&host).await;
    host.run(&format!("printf '%s' '{of_docker}' >/etc/resolv.conf"));
}

/// A gateway passes TLS through to whoever asks; a proxy of v3 speaks it for them.
#[tokio::test]
#[ignore = "lab: needs hosts with systemd and Docker, which `make lab-test` brings up as root"]
async fn lab_an_upstream_may_speak_tls() {
    let host = Host::named("p1");
    let secure = Secure::start(&host).await;
    let _controller = declare(gateway_to(&secure.url)).await;
    let own = "curl -fsS --cacert /lab/tls/cert.pem https://127.0.0.1:2379";
    assert!(host.run(&format!("{own}/health")).contains("true"));
    host.run(&format!("{own}/v2/keys/lab/tls -X PUT -d value=passed"));

    let mut proxy = gateway_to(&secure.url);
    proxy["mode"] = json!("grpc-proxy");
    proxy["listen"] = json!("0.0.0.0:2379");
    proxy["tls"] = json!({"caFile": "/lab/tls/cert.pem"});
    of_proxy(proxy).apply();
    assert_eq!(until_over().await, Over::Done, "{}", status());
    let through = format!("http://{}:2379", host.address());
    let mut client = Client::connect([through], None).await.unwrap();
    client.put("/lab/tls", "spoken", None).await.unwrap();
    let range = json!({"key": STANDARD.encode("/lab/tls")});
    let line =
        format!("curl -fsS --cacert /lab/tls/cert.pem -d '{range}' {}/v3/kv/range", secure.url);
    assert!(host.run(&line).contains(&STANDARD.encode("spoken")));
}

/// An etcd that speaks TLS, with a certificate that is its own CA; ended when dropped.
struct Secure {
    url: String,
    etcd: Child,
    _data: tempfile::TempDir,
}

impl Secure {
    async fn start(host: &Host) -> Self {
        let (url, peers) =
            (format!("https://{}:2479", gateway()), format!("http://{}:2480", gateway()));
        // OpenSSL is in the image, as the package of CAs needs it.
        let pem = host.run(&format!(
            "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=lab -keyout - -out - \
               -addext subjectAltName=IP:{},IP:127.0.0.1 2>/dev/null",
            gateway()
        ));
        let (key, certificate) = pem.split_at(pem.find("-----BEGIN CERT").unwrap());
        let folder = share().join("tls");
        std::fs::create_dir_all(&folder).unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.join(name);
            std::fs::write(&path, text).unwrap();
            format!("--{name}={}", path.display())
        };
        std::fs::write(folder.join("cert.pem"), certificate).unwrap();
        let data = tempfile::tempdir().unwrap();
        let mut etcd =
            Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/bin/etcd"));
        etcd.arg(file("cert-file", certificate))
            .arg(file("key-file", key))
            .arg(format!("--data-dir={}", data.path().display()))
            .args(["--enable-v2", "--logger=zap", "--log-level=error"])
            .args(["listen", "advertise"].map(|what| format!("--{what}-client-urls={url}")))
            .arg(format!("--listen-peer-urls={peers}"))
            .arg(format!("--initial-advertise-peer-urls={peers}"))
            .arg(format!("--initial-cluster=default={peers}"));
        let etcd = etcd.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let health = format!("curl -fsS --cacert /lab/tls/cert.pem {url}/health || true");
        eventually(async || host.run(&health), |said| said.contains("true")).await;
        Self { url, etcd, _data: data }
    }
}

impl Drop for Secure {
    fn drop(&mut self) {
        let _ = self.etcd.kill();
        let _ = self.etcd.wait();
    }
}

/// A server of names that knows one service, and the addresses of its members: all are this machine.
struct Dns(Arc<Mutex<(String, Vec<String>)>>);

impl Dns {
    async fn serve(service: &str) -> Self {
        let socket = UdpSocket::bind((gateway(), 53)).await.expect("the port of DNS");
        let own = Self(Arc::new(Mutex::new((service.to_owned(), vec!["etcd0.lab".to_owned()]))));
        let known = Arc::clone(&own.0);
        let address: Ipv4Addr = gateway().parse().unwrap();
        tokio::spawn(async move {
            let mut packet = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut packet).await {
                let (service, members) = known.lock().unwrap().clone();
                let answer = answer(&packet[..length], &service, &members, address);
                let _ = socket.send_to(&answer, from).await;
            }
        });
        own
    }

    /// From now on it is this service, with these members.
    fn say(&self, service: &str, members: &[&str]) {
        let members = members.iter().map(|&member| member.to_owned()).collect();
        *self.0.lock().unwrap() = (service.to_owned(), members);
    }
}

/// The answer to a query (RFC 1035, RFC 2782). It lasts for a second.
fn answer(query: &[u8], service: &str, members: &[String], address: Ipv4Addr) -> Vec<u8> {
    let mut labels = Vec::new();
    let mut at = 12;
    while query[at] != 0 {
        let end = at + 1 + usize::from(query[at]);
        labels.push(String::from_utf8_lossy(&query[at + 1..end]).to_lowercase());
        at = end;
    }
    let (name, kind, question) = (labels.join("."), query[at + 2], &query[12..at + 5]);
    let data: Vec<Vec<u8>> = match kind {
        33 if name == service => members.iter().map(|member| srv(member)).collect(),
        1 if members.contains(&name) => vec![address.octets().to_vec()],
        _ => Vec::new(),
    };
    // An answer, with authority: that there is no such name, or that it has nothing of that kind.
    let is_known = name == service || members.contains(&name);
    let code = if is_known { 0x80 } else { 0x83 };
    let mut answer = vec![query[0], query[1], 0x85, code, 0, 1, 0, 0, 0, 0, 0, 0];
    answer[7] = u8::try_from(data.len()).unwrap();
    answer.extend_from_slice(question);
    for data in data {
        answer.extend([0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 1, 0, u8::try_from(data.len()).unwrap()]);
        answer.extend(data);
    }
    answer
}

/// Priority and weight, etcd's port, the name.
fn srv(member: &str) -> Vec<u8> {
    let mut data = vec![0, 0, 0, 0];
    data.extend(2379_u16.to_be_bytes());
    for label in member.split('.') {
        data.push(u8::try_from(label.len()).unwrap());
        data.extend(label.as_bytes());
    }
    data.push(0);
    data
}
