//! The operator client: the agents as the master sees them.

use std::net::SocketAddr;

use bytes::Bytes;
use http::HeaderMap;
use http::header::DATE;
use serde::de::DeserializeOwned;

use super::agents::agents_seen;
use super::body::{self, Unread};
use super::error::MesosError;
use super::features::Features;
use super::http::{Http, Led, Options, not_json};
use super::location::shown;
use super::slaves::Slaves;
use super::v1::operator::{Agent, Call, CallType, GetAgents, Response};
use super::workload::{FrameworkSeen, Frameworks, Workload};
use crate::observed::fleet::AgentSeen;
use crate::words::{HostName, Time};

pub(super) const PATH: &str = "/api/v1";

/// No answer is larger, in bytes. An agent takes about 4 KiB of `GET_AGENTS`.
const LARGEST: usize = 256 * 1024 * 1024;

/// Asks the master. Each question goes to whoever leads at that moment.
#[derive(Clone, Debug)]
pub struct OperatorClient {
    http: Http,
    options: Options,
}

impl OperatorClient {
    /// A client; nothing is sent yet.
    pub fn new(options: &Options) -> Result<Self, MesosError> {
        Ok(Self { http: Http::new(options)?, options: options.clone() })
    }

    /// All agents that are registered, or that a new master waits for. Those that are unreachable
    /// are not among them. Where the operator API is closed to us, `/slaves` is asked.
    pub async fn agents(&self) -> Result<Vec<AgentSeen>, MesosError> {
        let closed = match self.get_agents().await {
            Ok(list) => return Ok(agents_seen(&list)),
            Err(error) if error.is_closed() => error,
            Err(error) => return Err(error),
        };
        tracing::debug!(%closed, "the operator API is closed to us; asking /slaves");
        // What is wrong is told in terms of the operator API: that is what should be open.
        match self.read::<Slaves>("/slaves", None).await {
            Ok(slaves) => Ok(slaves.seen()),
            Err(_) => Err(closed),
        }
    }

    /// The answer to `GET_AGENTS`.
    pub async fn get_agents(&self) -> Result<GetAgents, MesosError> {
        match self.ask(CallType::GetAgents).await? {
            Response::GetAgents(answer) => Ok(answer),
            other => Err(unasked(&CallType::GetAgents, &other)),
        }
    }

    /// What runs on the agents, by framework. Two questions, whose answers grow with the tasks of
    /// the cluster (about 1 KiB each): for people who look, not for a loop.
    pub async fn workload(&self) -> Result<Workload, MesosError> {
        let ask = |kind: &'static str| Bytes::from(format!(r#"{{"type":"{kind}"}}"#));
        let frameworks = self.read(PATH, Some(&ask("GET_FRAMEWORKS"))).await?;
        let tasks = self.read(PATH, Some(&ask("GET_TASKS"))).await?;
        Ok(Workload::of(tasks, frameworks))
    }

    /// The version of the leading master, `1.12.0`.
    pub async fn version(&self) -> Result<String, MesosError> {
        match self.ask(CallType::GetVersion).await? {
            Response::GetVersion(answer) => Ok(answer.version),
            other => Err(unasked(&CallType::GetVersion, &other)),
        }
    }

    /// The frameworks that the master knows, those that have ended left out.
    pub async fn frameworks(&self) -> Result<Vec<FrameworkSeen>, MesosError> {
        let ask = Bytes::from_static(br#"{"type":"GET_FRAMEWORKS"}"#);
        Ok(self.read::<Frameworks>(PATH, Some(&ask)).await?.seen())
    }

    /// The time of the leading master, to the second; nothing if it does not tell.
    pub async fn date(&self) -> Result<Option<Time>, MesosError> {
        let ask = Bytes::from_static(br#"{"type":"GET_VERSION"}"#);
        let Led { answer, .. } = self.http.ask_leader(PATH, Some(&ask)).await?;
        Ok(date(answer.headers()))
    }

    /// Where the agents that are registered listen, host by host.
    pub async fn agent_addresses(&self) -> Result<Vec<(HostName, SocketAddr)>, MesosError> {
        let agents = self.get_agents().await?.agents.into_iter();
        let address = |pid: &str| pid.rsplit_once('@')?.1.parse().ok();
        let place =
            |agent: Agent| Some((agent.agent_info.hostname, address(agent.pid.as_deref()?)?));
        Ok(agents.filter_map(place).map(|(host, at)| (HostName(host), at)).collect())
    }

    /// What the leading master can do. One that does not let us ask is taken for a new one; one
    /// that is too old is an error.
    pub async fn features(&self) -> Result<Features, MesosError> {
        match self.version().await {
            Ok(version) => Features::of(&version),
            // Schedulers are let in by other rights, which the subscription will tell.
            Err(error) if error.is_closed() => Ok(Features::newest()),
            Err(error) => Err(error),
        }
    }

    async fn ask(&self, kind: CallType) -> Result<Response, MesosError> {
        let call = kind.to_string();
        let body = serde_json::to_vec(&Call { kind })
            .map_err(|source| MesosError::Unwritable { call, source })?;
        self.read(PATH, Some(&Bytes::from(body))).await
    }

    /// A call that is answered with nothing.
    pub(super) async fn tell(&self, call: &'static str, body: &Bytes) -> Result<(), MesosError> {
        tracing::debug!(call, "tells the master");
        self.http.ask_leader(PATH, Some(body)).await.map(drop)
    }

    pub(super) async fn read<T: DeserializeOwned>(
        &self,
        path: &str,
        body: Option<&Bytes>,
    ) -> Result<T, MesosError> {
        let Led { master, answer, .. } = self.http.ask_leader(path, body).await?;
        let address = shown(&master);
        if let Some(found) = not_json(&answer) {
            return Err(MesosError::NotMesos { address, found });
        }
        let patience = self.options.answer_timeout;
        let body = match tokio::time::timeout(patience, body::up_to(LARGEST, answer)).await {
            Ok(Ok(body)) => body,
            Ok(Err(Unread::TooLarge)) => {
                return Err(MesosError::Oversized { address, limit: LARGEST });
            }
            Ok(Err(Unread::Broken(source))) => {
                return Err(MesosError::Unreachable { address, source });
            }
            Err(_) => {
                let seconds = patience.as_secs_f64();
                return Err(MesosError::NoAnswer { address, seconds });
            }
        };
        serde_json::from_slice(&body).map_err(|source| MesosError::BadAnswer { address, source })
    }
}

/// The time of whoever answered, to the second; none if it does not tell.
#[must_use]
pub fn date(headers: &HeaderMap) -> Option<Time> {
    let date = jiff::fmt::rfc2822::parse(headers.get(DATE)?.to_str().ok()?).ok()?;
    u64::try_from(date.timestamp().as_millisecond()).ok().map(Time)
}

fn unasked(asked: &CallType, answer: &Response) -> MesosError {
    let got = match answer {
        Response::GetAgents(_) => CallType::GetAgents.to_string(),
        Response::GetVersion(_) => CallType::GetVersion.to_string(),
        Response::Unknown(kind) => kind.clone(),
    };
    MesosError::Rejected { message: format!("it answered {got} to {asked}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mesos::recording::{self, What};
    use crate::mesos::testing::{plain, redirect, serve, typed};
    use crate::mesos::workload::Restart;

    fn client(master: &str) -> OperatorClient {
        OperatorClient::new(&Options::new(format!("http://{master}").parse().unwrap())).unwrap()
    }

    /// The agents of a real cluster, one of them drained, another one restarting.
    fn recorded() -> String {
        answers("13_maintenance_drain_gone", "GET_AGENTS").next().unwrap()
    }

    /// What a real master answered to that question.
    fn answers(recording: &str, kind: &str) -> impl DoubleEndedIterator<Item = String> {
        let start = format!(r#"{{"type":"{kind}",""#);
        recording::read(recording).into_iter().filter_map(move |entry| match entry.what {
            What::Response(answer) if answer.body.starts_with(start.as_bytes()) => {
                String::from_utf8(answer.body).ok()
            }
            _ => None,
        })
    }

    #[tokio::test]
    async fn agents_and_version_are_asked_of_whoever_leads() {
        let (leader, mut received) = serve(|got| {
            if got.json()["type"] == "GET_AGENTS" {
                typed(200, "application/json", &recorded())
            } else {
                let version = r#"{"type":"GET_VERSION","get_version":{"version_info":
                    {"version":"1.12.0","build_time":1795361667.0}}}"#;
                typed(200, "application/json", version)
            }
        })
        .await;
        let location = format!("//{leader}/master/api/v1");
        let (standby, _asked) = serve(move |_| redirect(&location)).await;
        let client = client(&standby);

        let agents = client.get_agents().await.unwrap().agents;
        assert!(agents.iter().any(|agent| agent.active && agent.agent_info.hostname == "agent1"));
        assert_eq!(client.version().await.unwrap(), "1.12.0");
        let got = received.recv().await.unwrap();
        assert_eq!(
            (got.path.as_str(), &got.body[..]),
            ("/api/v1", &b"{\"type\":\"GET_AGENTS\"}"[..])
        );
        assert_eq!(got.header("content-type"), "application/json");
    }

    #[tokio::test]
    async fn an_answer_that_is_not_the_masters_is_an_error() {
        for (kind, body, words) in [
            ("text/html", "<html>", "answered HTML: is this the address of a Mesos master"),
            ("application/json", "{]", "is not understood"),
            ("application/json", r#"{"type":"GET_AGENTS"}"#, "is not understood"),
            ("application/json", r#"{"type":"GET_FLAGS"}"#, "answered GET_FLAGS to GET_AGENTS"),
        ] {
            let (master, _received) = serve(move |_| typed(200, kind, body)).await;
            let error = client(&master).get_agents().await.unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
        }
    }

    #[tokio::test]
    async fn where_the_operator_api_is_closed_the_agents_are_had_from_slaves() {
        let slaves = r#"{"slaves":[{"id":"S0","hostname":"a1","active":true}]}"#;
        let (leader, mut received) = serve(move |got| match got.path.as_str() {
            "/slaves" => typed(200, "application/json", slaves),
            _ => plain(403, "not you"),
        })
        .await;
        let location = format!("//{leader}/master");
        let (standby, _) = serve(move |got| redirect(&format!("{location}{}", got.path))).await;
        let seen = client(&standby).agents().await.unwrap();
        assert_eq!((seen.len(), seen[0].host.as_str()), (1, "a1"));
        assert_eq!(received.recv().await.unwrap().path, "/api/v1");
        let asked = received.recv().await.unwrap();
        assert_eq!((asked.path.as_str(), asked.body.len()), ("/slaves", 0));
        assert_eq!(client(&standby).features().await.unwrap(), Features::newest());

        let (closed, _) = serve(|_| plain(403, "not you")).await;
        let error = client(&closed).agents().await.unwrap_err();
        assert!(matches!(error, MesosError::Forbidden { .. }), "{error}");
    }

    #[tokio::test]
    async fn what_can_not_be_true_is_one_error_and_no_panic() {
        let nested = format!(r#"{{"type":{}1{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        let odd = r#"{"type":"GET_AGENTS","get_agents":{"agents":[{"agent_info":
            {"hostname":"\u0000/../é","id":{"value":"..\n"},"port":5051,"new_field":{}},
            "active":true,"version":"x","registered_time":{"nanoseconds":-5},
            "drain_info":{"state":"MELTING"},"capabilities":[{"type":"TIME_TRAVEL"}]}]}}"#;
        for (body, good) in [(nested.as_str(), false), (odd, true), ("", false), ("[]", false)] {
            let body = body.to_owned();
            let (master, _) = serve(move |_| typed(200, "application/json", &body)).await;
            match client(&master).agents().await {
                Ok(seen) => assert!(good && seen.len() == 1),
                Err(error) => {
                    assert!(!good && error.to_string().contains("is not understood"), "{error}");
                }
            }
        }
    }

    #[tokio::test]
    async fn what_runs_is_read_from_a_real_master() {
        let frameworks = answers("01_subscribe", "GET_FRAMEWORKS").next_back().unwrap();
        let tasks = answers("02_launch", "GET_TASKS").next_back().unwrap();
        let (master, _) = serve(move |got| {
            let about_tasks = got.json()["type"] == "GET_TASKS";
            typed(200, "application/json", if about_tasks { &tasks } else { &frameworks })
        })
        .await;
        let workload = client(&master).workload().await.unwrap();
        // The framework of the task was recorded elsewhere, so that it is known by its ID only.
        let agent = "cadbb8af-f917-4905-8790-a451d7c00426-S1".into();
        let stopped: Vec<_> = workload.stopped(&agent, Restart::Agent).collect();
        assert_eq!(stopped, [("cadbb8af-f917-4905-8790-a451d7c00426-0010", 1)]);
        assert_eq!(workload.stopped(&agent, Restart::Docker).count(), 0);
    }
}
