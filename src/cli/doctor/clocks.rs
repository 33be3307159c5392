//! Whose clock is off. Windows, ages and histories go by clocks; slots and journals do not.
//!
//! Whoever answers over HTTP says its time in the head of the answer, to the second: etcd, the
//! leading controller, the master, and the agents, whose clocks are those of their hosts.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use reqwest::Client;

use super::Finding;
use crate::clock;
use crate::mesos::operator::{OperatorClient, date};
use crate::surface::text::{count, first_names};
use crate::words::{HostName, Time};

const AREA: &str = "clocks";

/// From which difference on somebody should know, in seconds.
const SKEW_SECONDS: u64 = 10;

/// How long an answer may take; and how many hosts are asked at a time.
const PATIENCE: Duration = Duration::from_secs(3);
const AT_A_TIME: usize = 64;

/// What the clock of somebody tells, who has just answered.
pub(super) fn told(whose: &str, there: Time) -> Finding {
    let Some(apart) = skew(there, clock::now()) else {
        return Finding::good(AREA, format!("that of {whose} and the one here agree"));
    };
    Finding::notice(AREA, format!("that of {whose} {apart}"))
        .advice("set both by NTP: windows and ages go by the clocks of the controllers")
}

/// Asks the leading controller, whose page and API are at `url`.
pub(super) async fn leader(name: &str, url: &str) -> Option<Finding> {
    let health = format!("{}/health", url.trim_end_matches('/'));
    // One that is not well answers as well.
    let answer = client().ok()?.get(health).send().await.ok()?;
    Some(told(&format!("the controller {name}"), date(answer.headers())?))
}

/// Asks the master, and all agents.
pub(super) async fn hosts(operator: &OperatorClient) -> Vec<Finding> {
    let master = operator.date().await.ok().flatten();
    let mut findings: Vec<Finding> =
        master.map(|there| told("the master", there)).into_iter().collect();
    let (Ok(agents), Ok(client)) = (operator.agent_addresses().await, client()) else {
        return findings;
    };
    let asked = agents.len();
    let ask = |(host, at)| {
        let client = client.clone();
        async move { Some((host, of_agent(&client, at).await?)) }
    };
    let answers = stream::iter(agents).map(ask).buffer_unordered(AT_A_TIME);
    let answers: Vec<(HostName, Option<String>)> =
        answers.filter_map(std::future::ready).collect().await;
    findings.extend(of_hosts(asked, &answers));
    findings
}

/// How far the clock of an agent is off; none inside if it is not, none outside if nobody answers.
async fn of_agent(client: &Client, at: SocketAddr) -> Option<Option<String>> {
    let answer = client.get(format!("http://{at}/version")).send().await.ok()?;
    Some(skew(date(answer.headers())?, clock::now()))
}

fn of_hosts(asked: usize, answers: &[(HostName, Option<String>)]) -> Vec<Finding> {
    let off: Vec<_> =
        answers.iter().filter_map(|(host, apart)| Some((host, apart.as_deref()?))).collect();
    let told = |(host, apart): &(&HostName, &str)| {
        Finding::notice(AREA, format!("that of {host} {apart}"))
            .advice("set it by NTP; certificates that its Docker and Calico are shown go by it")
    };
    // One by one while they are few.
    if !off.is_empty() && off.len() <= 3 {
        return off.iter().map(told).collect();
    }
    let names: Vec<&HostName> = off.iter().map(|(host, _)| *host).collect();
    match (asked, answers.len(), off.len()) {
        (0, ..) => Vec::new(),
        (_, 0, _) => vec![Finding::good(
            AREA,
            "those of hosts are not known: no agent answers from here; nothing of ours on hosts \
             goes by them",
        )],
        (_, answered, 0) => {
            vec![Finding::good(
                AREA,
                format!("those of {} agree with the one here", of(answered, asked)),
            )]
        }
        (.., wrong) => vec![
            Finding::notice(
                AREA,
                format!(
                    "those of {} are more than {SKEW_SECONDS} s off the one here: {}",
                    count(wrong, "host"),
                    first_names(&names)
                ),
            )
            .advice("set all by NTP; if so many are wrong, look at the clock here first"),
        ],
    }
}

fn of(answered: usize, asked: usize) -> String {
    if answered == asked {
        count(asked, "host")
    } else {
        format!("{answered} of {}", count(asked, "host"))
    }
}

/// The clock is told to the second.
fn skew(there: Time, here: Time) -> Option<String> {
    let (ahead, behind) = (there.since(here) / 1000, here.since(there) / 1000);
    match (ahead >= SKEW_SECONDS, behind >= SKEW_SECONDS) {
        (true, _) => Some(format!("is {ahead} s ahead of the one here")),
        (_, true) => Some(format!("is {behind} s behind the one here")),
        _ => None,
    }
}

fn client() -> reqwest::Result<Client> {
    Client::builder().no_proxy().timeout(PATIENCE).tls_certs_only([]).build()
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn clocks_that_differ_by_more_than_a_little_are_told_whoever_is_ahead() {
        for (there, here, says) in [
            (60_000, 60_000, None),
            (60_000, 69_900, None),
            (60_000, 70_000, Some("is 10 s behind")),
            (70_000, 60_000, Some("is 10 s ahead")),
        ] {
            let said = skew(Time(there), Time(here));
            assert_eq!(said.is_some(), says.is_some(), "{there} {here}");
            assert!(said.unwrap_or_default().starts_with(says.unwrap_or_default()));
        }
    }

    #[test]
    fn hosts_whose_clocks_are_off_are_named_while_they_are_few() {
        let answer = |number: usize, wrong: bool| {
            (
                HostName(format!("a{number}")),
                wrong.then(|| "is 60 s ahead of the one here".to_owned()),
            )
        };
        for (wrong, level, says) in [
            (0, Level::Good, "those of 9 of 12 hosts agree"),
            (1, Level::Notice, "that of a0 is 60 s ahead"),
            (
                7,
                Level::Notice,
                "those of 7 hosts are more than 10 s off the one here: a0, a1, a2, …",
            ),
        ] {
            let answers: Vec<_> = (0..9).map(|number| answer(number, number < wrong)).collect();
            let findings = of_hosts(12, &answers);
            assert_eq!((findings.len(), findings[0].level), (1, level));
            assert!(findings[0].found.starts_with(says), "{}", findings[0].found);
        }
        assert!(of_hosts(2, &[])[0].found.contains("no agent answers"));
        assert_eq!(of_hosts(0, &[]), []);
    }

    /// An agent of a real server, which says a time of long ago.
    #[tokio::test]
    async fn an_agent_is_asked_for_its_time() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let at = listener.local_addr().unwrap();
        let old = [("date", "Tue, 01 Jan 2019 00:00:00 GMT")];
        let app = axum::Router::new()
            .route("/version", axum::routing::get(move || async move { (old, "{}") }));
        tokio::spawn(async move { axum::serve(listener, app).await });
        let apart = of_agent(&client().unwrap(), at).await.unwrap().unwrap();
        assert!(apart.ends_with("s behind the one here"), "{apart}");
        assert_eq!(of_agent(&client().unwrap(), ([127, 0, 0, 1], 1).into()).await, None);
    }
}
