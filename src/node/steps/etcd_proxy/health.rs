//! Whether a proxy is well: asked through it, as its clients would.
//!
//! That it listens proves nothing, and `/health` may be answered by what could not read a key. So a key
//! is read by each interface that the declared mode lets through and the cluster has: of v2 as Docker and
//! old Calico do, of v3 with a linearizable range, which etcd answers only while it has a leader.

use std::time::Duration;

use etcd_client::{Client, ConnectOptions, Error, GetOptions};
use reqwest::StatusCode;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Wanted, command};
use crate::desired::ProxyMode;
use crate::node::dns;

/// An etcd whose members elect a leader answers later than this, and is not well.
const ANSWER: Duration = Duration::from_secs(3);
/// A gateway without any member that it reaches closes a connection at once.
const STAYS_OPEN: Duration = Duration::from_millis(300);
/// An answer is no larger, in bytes.
const LARGEST: usize = 64 * 1024;
/// So much is repeated of what was answered, in characters.
const SAID: usize = 300;
const NO_V2: &str = "there is no v2 API behind it";
/// Asked for, whether it is there or not.
const KEY: &str = "calico-dcos";

/// Asks etcd through the proxy; an error is why it is not well. Behind TLS only that a member is
/// there can be known, as the certificates are those of the proxy's clients.
pub(super) async fn ask(wanted: &Wanted) -> Result<(), String> {
    let address = wanted.listen.as_str();
    let asked = match wanted.mode {
        ProxyMode::Gateway if command::passes_tls(wanted) => stays_open(address).await,
        ProxyMode::Gateway => both(address).await,
        ProxyMode::V2Proxy => match v2(address).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(NO_V2.to_owned()),
            Err(why) => Err(why),
        },
        ProxyMode::GrpcProxy => v3(address).await,
    };
    asked.map_err(|what| {
        // Somebody else may listen there, and the reason becomes a fact, which etcd keeps.
        let what: String = what.chars().take(SAID).collect();
        format!("etcd does not answer through the proxy at {address}: {what}")
    })
}

/// All that the cluster has: etcd before 3.0 has v2 alone, etcd 3.6 v3 alone.
async fn both(address: &str) -> Result<(), String> {
    #[derive(serde::Deserialize)]
    struct Version {
        etcdserver: String,
    }
    let (_, health) = get(address, "health").await?;
    if !health.contains("true") {
        return Err(format!("/health says {}", health.trim()));
    }
    let (_, version) = get(address, "version").await?;
    let Version { etcdserver } = serde_json::from_str(&version)
        .map_err(|_| format!("/version says {}, which is not etcd's", version.trim()))?;
    let has_v3 = !etcdserver.starts_with("2.");
    if has_v3 {
        v3(address).await?;
    }
    let has_v2 = v2(address).await?;
    if has_v2 || has_v3 { Ok(()) } else { Err(NO_V2.to_owned()) }
}

/// Reads a key by v2; no if there is no such API. That somebody else may read it is an answer too.
async fn v2(address: &str) -> Result<bool, String> {
    let path = format!("v2/keys/{KEY}");
    let (status, text) = get(address, &path).await?;
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Ok(true),
        // etcd says in JSON that there is no such key.
        StatusCode::NOT_FOUND => Ok(text.trim_start().starts_with('{')),
        status if status.is_success() => Ok(true),
        status => Err(format!("reading a key by v2: {status} {}", text.trim())),
    }
}

/// Reads a key by v3.
async fn v3(address: &str) -> Result<(), String> {
    let read = async {
        let options = ConnectOptions::new().with_connect_timeout(ANSWER);
        let mut client = Client::connect([format!("http://{address}")], Some(options)).await?;
        client.get(KEY, Some(GetOptions::new().with_keys_only())).await
    };
    match timeout(ANSWER, read).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) if is_answer(&error) => Ok(()),
        Ok(Err(error)) => Err(format!("reading a key by v3: {error}")),
        Err(_) => Err(format!("reading a key by v3: no answer within {} s", ANSWER.as_secs())),
    }
}

/// Whether it is etcd that refused: it wants to know who asks.
fn is_answer(error: &Error) -> bool {
    /// `INVALID_ARGUMENT` (no user is named), `PERMISSION_DENIED`, `FAILED_PRECONDITION`, `UNAUTHENTICATED`.
    const REFUSALS: [i32; 4] = [3, 7, 9, 16];
    matches!(error, Error::GRpcStatus(status) if REFUSALS.contains(&i32::from(status.code())))
}

/// GET; statuses are for the caller to judge, but for those of servers that have failed.
async fn get(address: &str, path: &str) -> Result<(StatusCode, String), String> {
    let failed = |error: reqwest::Error| format!("/{path}: {}", error.without_url());
    let http = dns::http(ANSWER).map_err(failed)?;
    let mut answer = http.get(format!("http://{address}/{path}")).send().await.map_err(failed)?;
    let status = answer.status();
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(failed)? {
        body.extend_from_slice(&piece);
        if body.len() > LARGEST {
            return Err(format!("/{path}: {status}, and more than etcd would say"));
        }
    }
    let text = String::from_utf8_lossy(&body).into_owned();
    if status.is_server_error() {
        return Err(format!("/{path}: {status} {}", text.trim()));
    }
    Ok((status, text))
}

async fn stays_open(address: &str) -> Result<(), String> {
    let mut stream = match timeout(ANSWER, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(error.to_string()),
        Err(_) => return Err("no connection".to_owned()),
    };
    match timeout(STAYS_OPEN, stream.read(&mut [0])).await {
        Err(_) => Ok(()),
        Ok(_) => Err("it closes connections; no member can be reached".to_owned()),
    }
}
