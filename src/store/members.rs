//! The members of etcd itself: who they are, where, and whether they are healthy.

use std::collections::BTreeSet;
use std::net::IpAddr;

use etcd_client::{AlarmAction, AlarmType, Client};
use futures_util::future::join_all;

use super::error::StoreError;
use super::etcd::{EtcdStore, open, within};
use super::in_one_line;
use crate::plan::members::Member;

impl EtcdStore {
    /// The version of the member that answers first, such as `3.4.23`.
    ///
    /// # Errors
    ///
    /// None answers.
    pub async fn version(&self) -> Result<String, StoreError> {
        let mut maintenance = self.client().maintenance_client();
        Ok(self.answer(maintenance.status()).await?.version().to_owned())
    }

    /// The members, each asked for its state at the addresses that it tells clients, all at once.
    /// Names are looked up; one that has no address is left to be compared by its name.
    ///
    /// # Errors
    ///
    /// The list, or the list of alarms, cannot be had.
    pub async fn members(&self) -> Result<Vec<Member>, StoreError> {
        let mut cluster = self.client().cluster_client();
        let listed = self.answer(cluster.member_list()).await?;
        let mut maintenance = self.client().maintenance_client();
        let alarms = maintenance.alarm(AlarmAction::Get, AlarmType::None, None);
        let alarms = self.answer(alarms).await?;
        let alarms: Vec<(u64, String)> = alarms
            .alarms()
            .iter()
            .map(|alarm| (alarm.member_id(), format!("{:?}", alarm.alarm()).to_uppercase()))
            .collect();
        let members = listed.members().iter().map(|member| async {
            let urls = member.peer_urls().iter().chain(member.client_urls());
            let hosts: BTreeSet<String> = urls.filter_map(|url| host_of(url)).collect();
            let addresses = join_all(hosts.iter().map(|host| self.addresses(host))).await;
            let alarm = alarms.iter().find(|(id, _)| *id == member.id());
            let unwell = match alarm {
                Some((_, alarm)) => Some(format!("has the alarm {alarm}")),
                None => self.unwell(member.id(), member.client_urls()).await,
            };
            let name = match member.name() {
                "" => format!("{:x}", member.id()),
                name => name.to_owned(),
            };
            Member { name, hosts, addresses: addresses.into_iter().flatten().collect(), unwell }
        });
        Ok(join_all(members).await)
    }

    /// What is wrong with a member, as a clause; none if it answers at one of its addresses and
    /// knows a leader.
    async fn unwell(&self, id: u64, urls: &[String]) -> Option<String> {
        let mut unwell = "has not started: it tells no address".to_owned();
        for url in urls {
            match self.status(url).await {
                Ok((found, _)) if found != id => {
                    unwell = format!("is not the one that answers at {url}");
                }
                Ok((_, Some(why))) => unwell = why,
                Ok((_, None)) => return None,
                Err(error) => unwell = format!("does not answer: {}", in_one_line(&error)),
            }
        }
        Some(unwell)
    }

    /// Who answers at an address, and what is wrong with it.
    async fn status(&self, url: &str) -> Result<(u64, Option<String>), StoreError> {
        let options = self.options().at(url);
        let names = options.names();
        let client: Client = open(&options, options.for_client().await?, &names).await?;
        let mut maintenance = client.maintenance_client();
        let status = within(options.timeout, &names, maintenance.status()).await?;
        let id = status.header().map_or(0, etcd_client::ResponseHeader::member_id);
        let why = match status.errors() {
            [] if status.leader() == 0 => Some("knows no leader".to_owned()),
            [] => None,
            errors => Some(format!("says: {}", errors.join("; "))),
        };
        Ok((id, why))
    }

    /// What a host's name stands for; nothing if nobody says so in time.
    async fn addresses(&self, host: &str) -> BTreeSet<IpAddr> {
        if let Ok(ip) = host.parse() {
            return BTreeSet::from([ip]);
        }
        let found = tokio::time::timeout(self.timeout(), tokio::net::lookup_host((host, 0))).await;
        let found = found.ok().and_then(Result::ok);
        found.into_iter().flatten().map(|address| address.ip()).collect()
    }
}

/// The host of a URL; IPv6 addresses without their brackets.
fn host_of(url: &str) -> Option<String> {
    let url = reqwest::Url::parse(url).ok()?;
    Some(url.host_str()?.trim_matches(['[', ']']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_had_from_urls_of_every_kind() {
        for (url, host) in [
            ("http://10.0.0.1:2380", Some("10.0.0.1")),
            ("https://A1.example:2379", Some("a1.example")),
            ("http://[fd00::1]:2379", Some("fd00::1")),
            ("unix://localhost:2379", Some("localhost")),
            ("nonsense", None),
        ] {
            assert_eq!(host_of(url).as_deref(), host, "{url}");
        }
    }
}
