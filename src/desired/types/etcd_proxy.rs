//! The `etcdProxy` section.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Download, Managed, Resources};
use crate::desired::text::{AbsolutePath, DnsName, EtcdEndpoint, Known, Listen};
use crate::words::Component;

/// A proxy on each host, so that Docker and Calico find etcd at one local address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct EtcdProxy {
    /// What kind of proxy.
    pub mode: ProxyMode,
    /// Where it answers on the host.
    pub listen: Listen,
    /// Where the etcd cluster is found.
    pub upstream: Upstream,
    /// The etcd program.
    pub binary: Download,
    /// Certificates on the host, with which the proxy speaks to etcd. A gateway passes TLS
    /// through and needs none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

impl Default for EtcdProxy {
    fn default() -> Self {
        Self {
            mode: ProxyMode::Gateway,
            listen: Listen::known("127.0.0.1:2379"),
            upstream: Upstream::DiscoverySrv(DnsName::known("etcd.mesos")),
            binary: Download::Path(AbsolutePath::known("/usr/bin/etcd")),
            tls: None,
        }
    }
}

impl Managed for EtcdProxy {
    const COMPONENT: Component = Component::EtcdProxy;
    const REQUIRED: &'static [&'static str] = &[];
    const RESOURCES: Option<Resources> = Some(Resources::new(100, 128));
}

/// What kind of proxy; it decides which of etcd's APIs pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProxyMode {
    /// `etcd gateway`: passes everything, v2, v3 and TLS. etcd 3.0 and later.
    Gateway,
    /// `etcd --proxy=on`: v2 only. Up to etcd 3.5.
    V2Proxy,
    /// `etcd grpc-proxy`: v3 only. etcd 3.1 and later.
    GrpcProxy,
}

/// Where the etcd cluster is found: exactly one of the two.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(
    description = "`{discoverySrv: NAME}` (by the SRV records of a domain) or `{endpoints: [URL, …]}`"
)]
pub enum Upstream {
    /// By the SRV records of this domain; those of etcd-mesos are known too.
    DiscoverySrv(DnsName),
    /// At these client URLs.
    Endpoints(#[schemars(length(min = 1))] Vec<EtcdEndpoint>),
}

/// Files on the host, read by the proxy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tls {
    /// The certificates that sign etcd's.
    pub ca_file: AbsolutePath,
    /// The proxy's own certificate, if etcd asks for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert_file: Option<AbsolutePath>,
    /// Its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_file: Option<AbsolutePath>,
}
