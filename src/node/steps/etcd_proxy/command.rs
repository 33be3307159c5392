//! The proxy's command line, its unit, and which DNS records name its members.

use sha2::{Digest, Sha256};

use crate::desired::{EtcdProxy as Wanted, ProxyMode};
use crate::node::dns::{self, Records};
use crate::node::host::HostError;
use crate::words::SpecHash;

/// Where a proxy keeps what it learns. Another set of members gets another folder: an old file
/// would be believed more than the command line (etcd: `proxy/cluster`).
const DATA: &str = "/var/lib/calico-dcos/etcd-proxy";

/// The records that name the members. A proxy of v2 asks the peers, all others the clients'
/// addresses; etcd-mesos has names of its own for those (etcd-mesos #126).
pub(super) fn records(mode: ProxyMode, domain: &str) -> Records {
    let name = |prefix: &str| format!("{prefix}.{domain}");
    let (secure, plain) = match mode {
        ProxyMode::V2Proxy => (name("_etcd-server-ssl._tcp"), vec![name("_etcd-server._tcp")]),
        ProxyMode::Gateway | ProxyMode::GrpcProxy => (
            name("_etcd-client-ssl._tcp"),
            vec![name("_etcd-client._tcp"), name("_etcd-server._client")],
        ),
    };
    Records { secure: vec![secure], plain }
}

/// Whether what passes through the proxy is TLS that it cannot look into.
pub(super) fn passes_tls(wanted: &Wanted) -> bool {
    match &wanted.upstream {
        crate::desired::Upstream::Endpoints(endpoints) => {
            wanted.mode == ProxyMode::Gateway
                && endpoints.iter().any(|endpoint| endpoint.as_str().starts_with("https"))
        }
        crate::desired::Upstream::DiscoverySrv(_) => {
            wanted.mode == ProxyMode::Gateway && wanted.tls.is_some()
        }
    }
}

/// Program and arguments. `members` are URLs.
pub(super) fn of(wanted: &Wanted, program: &str, members: &[String]) -> Vec<String> {
    let listen = wanted.listen.as_str();
    let plain =
        |url: &String| url.split_once("://").map_or(url.as_str(), |(_, rest)| rest).to_owned();
    let data = || {
        let of = SpecHash(Sha256::digest(members.join(",")).into()).short();
        format!("--data-dir={DATA}/{of}")
    };
    let mut words = vec![program.to_owned()];
    match wanted.mode {
        ProxyMode::Gateway => {
            let endpoints: Vec<String> = members.iter().map(plain).collect();
            words.extend(["gateway".to_owned(), "start".to_owned()]);
            words.push(format!("--listen-addr={listen}"));
            words.push(format!("--endpoints={}", endpoints.join(",")));
            // A member that was down is tried again after this, and not after a minute.
            words.push("--retry-delay=5s".to_owned());
        }
        ProxyMode::GrpcProxy => {
            words.extend(["grpc-proxy".to_owned(), "start".to_owned()]);
            words.push(format!("--listen-addr={listen}"));
            words.push(format!("--endpoints={}", members.join(",")));
            words.push(data());
            let tls = wanted.tls.as_ref();
            words.extend(tls.map(|tls| format!("--cacert={}", tls.ca_file)));
            words.extend(tls.and_then(|tls| Some(format!("--cert={}", tls.cert_file.as_ref()?))));
            words.extend(tls.and_then(|tls| Some(format!("--key={}", tls.key_file.as_ref()?))));
        }
        ProxyMode::V2Proxy => {
            let cluster = members.iter().enumerate().map(|(n, url)| format!("member{n}={url}"));
            words.push("--proxy=on".to_owned());
            words.push(format!("--listen-client-urls=http://{listen}"));
            words.push(format!("--initial-cluster={}", cluster.collect::<Vec<_>>().join(",")));
            words.push(data());
            let tls = wanted.tls.as_ref();
            for role in ["", "peer-"] {
                words.extend(tls.map(|tls| format!("--{role}trusted-ca-file={}", tls.ca_file)));
                let cert = tls.and_then(|tls| tls.cert_file.as_ref());
                words.extend(cert.map(|file| format!("--{role}cert-file={file}")));
                let key = tls.and_then(|tls| tls.key_file.as_ref());
                words.extend(key.map(|file| format!("--{role}key-file={file}")));
            }
        }
    }
    words
}

/// The file of the unit.
pub(super) fn unit_file(command: &[String]) -> String {
    // None of these words has a blank or a quote; `%` and `$` mean something to systemd.
    let words: Vec<String> =
        command.iter().map(|word| word.replace('%', "%%").replace('$', "$$")).collect();
    format!(
        "# Written by calico-dcos, and kept so: change the document `etcdProxy` in its place.\n\
         [Unit]\n\
         Description=Proxy to the etcd cluster, for Docker and Calico on this host\n\
         Wants=network-online.target\n\
         After=network-online.target\n\
         Before=docker.service\n\
         \n\
         [Service]\n\
         ExecStart={}\n\
         Restart=always\n\
         RestartSec=1\n\
         StartLimitInterval=0\n\
         LimitNOFILE=65536\n\
         NoNewPrivileges=yes\n\
         \n\
         [Install]\n\
         WantedBy=multi-user.target\n",
        words.join(" ")
    )
}

/// A proxy of v2 asks peers, so with endpoints of clients they are asked who their peers are.
pub(super) async fn peers_of(endpoints: &[String]) -> Result<Vec<String>, HostError> {
    #[derive(serde::Deserialize)]
    struct Members {
        members: Vec<Member>,
    }
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Member {
        #[serde(rename = "peerURLs")]
        peers: Vec<String>,
    }
    let http = dns::http(std::time::Duration::from_secs(3))
        .map_err(|error| HostError::Found(format!("no HTTP client: {error}")))?;
    for endpoint in endpoints {
        let Ok(answer) = http.get(format!("{endpoint}/v2/members")).send().await else { continue };
        let Ok(Members { members }) = answer.json().await else { continue };
        let mut peers: Vec<String> = members.into_iter().flat_map(|member| member.peers).collect();
        if !peers.is_empty() {
            peers.sort();
            return Ok(peers);
        }
    }
    let why = format!(
        "none of {} says who its peers are, which a v2 proxy has to know; is its v2 API on?",
        endpoints.join(", ")
    );
    Err(HostError::Found(why))
}
