//! Members of our own etcd on hosts of the cluster: those hosts go one at a time, and only while
//! all members are healthy. What is not known holds back.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::words::HostName;

use super::reason::Reason;

/// The members of our etcd: part of `rollout/measures`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Members {
    /// All of them, as they were listed last; none before the first time.
    #[serde(default)]
    pub members: Vec<Member>,
    /// Why nobody knows how they are now; none if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown: Option<String>,
}

/// One of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// For people: its name, or its ID before it has started.
    pub name: String,
    /// The hosts of its peer and client URLs, as they stand there.
    pub hosts: BTreeSet<String>,
    /// Their addresses.
    pub addresses: BTreeSet<IpAddr>,
    /// What is wrong with it, as a clause; none if it is healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unwell: Option<String>,
}

impl Members {
    /// The member on a host; none if there is none, as far as is known. `own`: the controller
    /// runs there, which is where addresses lead that are nobody's in particular (`127.0.0.1`).
    #[must_use]
    pub fn on(&self, host: &HostName, ip: Option<IpAddr>, own: bool) -> Option<&Member> {
        self.members.iter().find(|member| {
            let named = member.hosts.iter().any(|name| name.eq_ignore_ascii_case(host.as_str()));
            let nobodys = |ip: &IpAddr| ip.is_loopback() || ip.is_unspecified();
            let is_there = |known: &IpAddr| if nobodys(known) { own } else { ip == Some(*known) };
            named || member.addresses.iter().any(is_there)
        })
    }

    /// What is wrong with the first member that is not healthy, as a clause.
    #[must_use]
    pub fn unwell(&self) -> Option<String> {
        self.members.iter().find_map(|member| {
            let why = member.unwell.as_ref()?;
            Some(format!("member {} {why}", member.name))
        })
    }
}

/// What keeps a host back for the sake of our etcd. `member`: the one on it; `busy`: another host
/// with a member that is in a restart.
#[must_use]
pub fn wait(members: &Members, member: Option<&str>, busy: Option<&HostName>) -> Option<Reason> {
    let closed = |why| Some(Reason::WaitingForGate { why });
    let unknown = || members.unknown.as_deref().unwrap_or("it has not been asked yet");
    if members.members.is_empty() {
        let what = "which hosts carry members of our etcd is not known";
        return closed(format!("{what}: {}", unknown()));
    }
    let carries = format!("it carries member {} of our etcd, and", member?);
    if members.unknown.is_some() {
        return closed(format!("{carries} whether all are healthy is not known: {}", unknown()));
    }
    if let Some(why) = members.unwell() {
        return closed(format!("{carries} not all are healthy: {why}"));
    }
    let busy = busy?;
    closed(format!("{carries} such hosts go one at a time: {busy} is in a restart"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, hosts: &[&str], addresses: &[[u8; 4]], unwell: Option<&str>) -> Member {
        Member {
            name: name.into(),
            hosts: hosts.iter().map(|&host| host.to_owned()).collect(),
            addresses: addresses.iter().map(|ip| IpAddr::from(*ip)).collect(),
            unwell: unwell.map(str::to_owned),
        }
    }

    #[test]
    fn a_host_is_known_by_its_name_and_by_its_address_and_not_by_one_that_is_everybodys() {
        let members = Members {
            members: vec![
                member("m1", &["A1.example"], &[], None),
                member("m2", &["etcd-2"], &[[10, 0, 0, 2]], None),
                member("m3", &["localhost"], &[[127, 0, 0, 1]], None),
            ],
            unknown: None,
        };
        for (host, ip, own, expected) in [
            ("a1.example", None, false, Some("m1")),
            ("a2", Some([10, 0, 0, 2]), false, Some("m2")),
            ("a3", Some([10, 0, 0, 3]), false, None),
            ("a4", Some([127, 0, 0, 1]), false, None),
            ("a5", Some([10, 0, 0, 5]), true, Some("m3")),
            ("a6", None, false, None),
        ] {
            let found = members.on(&host.into(), ip.map(IpAddr::from), own);
            assert_eq!(found.map(|member| member.name.as_str()), expected, "{host}");
        }
    }

    #[test]
    fn only_what_is_known_to_be_well_lets_a_host_with_a_member_start() {
        let well = || Members {
            members: vec![member("m1", &["a1"], &[], None), member("m2", &["a2"], &[], None)],
            unknown: None,
        };
        let ill = || {
            let why = "does not answer";
            Members { members: vec![member("m2", &["a2"], &[], Some(why))], unknown: None }
        };
        let unknown = || Members { unknown: Some("no answer".into()), ..well() };
        let a1 = HostName::from("a1");
        let never = Members::default;
        let failed = || Members { unknown: Some("403".into()), ..never() };
        for (members, on, busy, expected) in [
            (never(), None, None, Some("not been asked yet")),
            (failed(), None, None, Some("is not known: 403")),
            (failed(), Some("m1"), None, Some("is not known: 403")),
            (well(), None, None, None),
            (well(), None, Some(&a1), None),
            (well(), Some("m2"), None, None),
            (well(), Some("m2"), Some(&a1), Some("a1 is in a restart")),
            (ill(), Some("m1"), None, Some("member m2 does not answer")),
            (ill(), None, None, None),
            (unknown(), Some("m1"), None, Some("no answer")),
            (unknown(), None, None, None),
        ] {
            let reason = wait(&members, on, busy);
            match expected {
                None => assert_eq!(reason, None, "{members:?} {on:?}"),
                Some(part) => {
                    let reason = reason.unwrap();
                    assert_eq!(reason.code(), "waiting-for-gate");
                    assert!(reason.to_string().contains(part), "{reason}");
                }
            }
        }
    }
}
