//! What masters write about themselves into ZooKeeper: under the path of their `--zk`, one
//! ephemeral, sequential node each, of which the lowest number leads
//! (`src/master/constants.hpp`, `src/master/detector/zookeeper.cpp` of Mesos).

use std::net::IpAddr;

use reqwest::Url;
use serde::Deserialize;

/// What the names of masters' nodes begin with, since Mesos 0.24.
const LABEL: &str = "json.info_";

/// Those of masters before.
const OLD_LABEL: &str = "info_";

/// Which of the nodes is the leader's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Leading<'a> {
    /// This one.
    Node(&'a str),
    /// There is none: no master runs, or none has been elected yet.
    Nobody,
    /// This one, of a master that is too old to be read.
    TooOld(&'a str),
}

/// The leader's node: the one with the lowest number. Others, like `log_replicas`, are none of
/// ours.
pub(super) fn leading(nodes: &[String]) -> Leading<'_> {
    let number = |node: &str| -> Option<u64> {
        let digits = node.strip_prefix(LABEL).or_else(|| node.strip_prefix(OLD_LABEL))?;
        // ZooKeeper's numbers are 32 bits wide and signed; after two thousand million elections
        // they go on below zero.
        let digits = digits.strip_prefix('-').unwrap_or(digits);
        digits.parse().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let numbered = nodes.iter().filter_map(|node| Some((number(node)?, node.as_str())));
    match numbered.min() {
        None => Leading::Nobody,
        Some((_, node)) if node.starts_with(OLD_LABEL) => Leading::TooOld(node),
        Some((_, node)) => Leading::Node(node),
    }
}

/// `MasterInfo`, as much of it as is needed.
#[derive(Deserialize)]
struct MasterInfo {
    #[serde(default)]
    address: Option<Address>,
    #[serde(default)]
    hostname: Option<String>,
    #[serde(default)]
    pid: Option<String>,
    #[serde(default)]
    port: Option<u16>,
}

#[derive(Deserialize)]
struct Address {
    #[serde(default)]
    hostname: Option<String>,
    #[serde(default)]
    ip: Option<String>,
    port: u16,
}

/// The address of the master that wrote this. Over TLS by name, since that is what certificates
/// are for; else by number, which needs no name service.
pub(super) fn address(record: &[u8], tls: bool) -> Option<Url> {
    let info: MasterInfo = serde_json::from_slice(record).ok()?;
    let name = |name: &Option<String>| name.clone().filter(|name| !name.is_empty());
    let (hostname, ip, port) = if let Some(address) = &info.address {
        (name(&address.hostname).or(name(&info.hostname)), name(&address.ip), address.port)
    } else {
        // `master@10.0.0.1:5050`; before there was an address.
        let pid = info.pid.as_deref().and_then(|pid| pid.split_once('@'));
        let ip = pid.and_then(|(_, address)| address.rsplit_once(':'));
        (name(&info.hostname), ip.map(|(ip, _)| ip.to_owned()), info.port?)
    };
    let host = if tls { hostname.or(ip) } else { ip.or(hostname) }?;
    let host = match host.parse::<IpAddr>() {
        Ok(IpAddr::V6(ip)) => format!("[{ip}]"),
        _ => host,
    };
    let scheme = if tls { "https" } else { "http" };
    let url = Url::parse(&format!("{scheme}://{host}:{port}")).ok()?;
    // Whatever the record says, it names a host and nothing else.
    let plain = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    (plain && url.username().is_empty() && url.password().is_none() && port != 0).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mesos::location::shown;

    #[test]
    fn the_lowest_number_leads_whatever_else_is_there() {
        let table: [(&[&str], Leading<'_>); 7] = [
            (&[], Leading::Nobody),
            (&["log_replicas"], Leading::Nobody),
            (&["log_replicas", "json.info_0000000012"], Leading::Node("json.info_0000000012")),
            (
                &["json.info_0000000100", "json.info_0000000099", "log_replicas"],
                Leading::Node("json.info_0000000099"),
            ),
            // By number and not by name.
            (&["info_0000000009", "json.info_0000000008"], Leading::Node("json.info_0000000008")),
            (&["info_0000000009", "json.info_0000000010"], Leading::TooOld("info_0000000009")),
            (&["json.info_", "json.info_x1", "info_+1"], Leading::Nobody),
        ];
        for (nodes, expected) in table {
            let nodes: Vec<_> = nodes.iter().map(|&node| node.to_owned()).collect();
            assert_eq!(leading(&nodes), expected, "{nodes:?}");
        }
    }

    #[test]
    fn a_record_names_the_address_of_its_master() {
        // As Mesos 1.11 writes it.
        let full = r#"{"address":{"hostname":"m1.example","ip":"10.0.0.1","port":5050},
            "capabilities":[{"type":"AGENT_UPDATE"}],"hostname":"m1.example",
            "id":"e2f3","ip":16777226,"pid":"master@10.0.0.1:5050","port":5050,
            "version":"1.11.0"}"#;
        let old =
            r#"{"hostname":"m1","id":"1","ip":16777226,"pid":"master@10.0.0.1:5050","port":5050}"#;
        let six = r#"{"address":{"hostname":"","ip":"fd00::1","port":5050}}"#;
        for (record, tls, url) in [
            (full, false, Some("http://10.0.0.1:5050")),
            (full, true, Some("https://m1.example:5050")),
            (old, false, Some("http://10.0.0.1:5050")),
            (old, true, Some("https://m1:5050")),
            (six, false, Some("http://[fd00::1]:5050")),
            (r#"{"address":{"hostname":"m","port":5051}}"#, false, Some("http://m:5051")),
            (r#"{"address":{"ip":"evil/path","port":5050}}"#, false, None),
            (r#"{"address":{"ip":"u:p@evil","port":5050}}"#, false, None),
            (r#"{"address":{"ip":"a b","port":5050}}"#, false, None),
            (r#"{"address":{"ip":"10.0.0.1","port":0}}"#, false, None),
            (r#"{"address":{"ip":"10.0.0.1","port":99999}}"#, false, None),
            (r#"{"address":{"port":5050}}"#, false, None),
            ("master@10.0.0.1:5050", false, None),
            ("", false, None),
        ] {
            let found = address(record.as_bytes(), tls);
            assert_eq!(found.as_ref().map(shown).as_deref(), url, "{record}");
        }
    }
}
