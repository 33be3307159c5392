//! Names, looked up without the C library: a static program must not load its modules.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::proto::rr::{RData, RecordType};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Names under which members may be found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Records {
    /// Of members that speak TLS; asked first.
    pub secure: Vec<String>,
    /// Of members that do not. The first name that has any is taken.
    pub plain: Vec<String>,
}

/// What went wrong with a look-up.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are said by the texts")]
pub enum DnsError {
    /// The resolver cannot be set up.
    #[error("the resolver cannot be set up; look at /etc/resolv.conf")]
    Setup(#[source] hickory_resolver::net::NetError),
    /// A host is not found.
    #[error(
        "no address of {name} is found; is the name right, and does /etc/resolv.conf name a server?"
    )]
    NoAddress { name: String },
    /// Nothing is found.
    #[error("none of the SRV records {} is found; is the domain the one of the etcd cluster?", names.join(", "))]
    Nothing { names: Vec<String> },
}

/// The resolver of the host, as `/etc/resolv.conf` says at the time of the look-up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dns;

impl Dns {
    /// The first address of a host.
    pub async fn address(self, name: &str) -> Result<IpAddr, DnsError> {
        let unknown = || DnsError::NoAddress { name: name.to_owned() };
        let found = resolver()?.lookup_ip(name).await.map_err(|_| unknown())?;
        found.iter().next().ok_or_else(unknown)
    }

    /// The members as URLs, sorted.
    pub async fn members(self, records: &Records) -> Result<Vec<String>, DnsError> {
        let resolver = resolver()?;
        let names = |scheme, names: &[String]| {
            names.iter().map(|name| (scheme, name.clone())).collect::<Vec<_>>()
        };
        let all: Vec<(&str, String)> =
            [names("https", &records.secure), names("http", &records.plain)].concat();
        for (scheme, name) in &all {
            // The last dot: no search domains.
            let Ok(found) = resolver.lookup(format!("{name}."), RecordType::SRV).await else {
                continue;
            };
            let mut members: Vec<String> = found
                .answers()
                .iter()
                .filter_map(|record| match &record.data {
                    RData::SRV(srv) => Some(url(scheme, &srv.target.to_utf8(), srv.port)),
                    _ => None,
                })
                .collect();
            members.sort();
            if !members.is_empty() {
                return Ok(members);
            }
        }
        Err(DnsError::Nothing { names: all.into_iter().map(|(_, name)| name).collect() })
    }
}

/// A client for what is near and speaks plain HTTP, whose every request ends within `limit`.
pub fn http(limit: Duration) -> reqwest::Result<reqwest::Client> {
    // Without a provider the client panics, and with certificates to read it may not start.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let plain = reqwest::Client::builder().no_proxy().tls_certs_only([]);
    plain.dns_resolver(Arc::new(Dns)).timeout(limit).build()
}

/// For downloads.
impl Resolve for Dns {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = resolver()?.lookup_ip(name.as_str()).await?;
            let addresses: Vec<SocketAddr> =
                found.iter().map(|ip| SocketAddr::new(ip, 0)).collect();
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

fn resolver() -> Result<TokioResolver, DnsError> {
    let builder = TokioResolver::builder_tokio().map_err(DnsError::Setup)?;
    builder.build().map_err(DnsError::Setup)
}

fn url(scheme: &str, target: &str, port: u16) -> String {
    format!("{scheme}://{}:{port}", target.trim_end_matches('.'))
}
