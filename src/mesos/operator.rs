//! The operator client: the agents as the master sees them.

use bytes::Bytes;

use super::body::{self, Unread};
use super::error::MesosError;
use super::http::{Http, Led, Options, not_json};
use super::location::shown;
use super::v1::operator::{Agent, Call, CallType, Response};

const PATH: &str = "/api/v1";

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

    /// All registered agents, connected or not. Those that are unreachable are not among them; nor
    /// are those that a new master has not heard of yet.
    pub async fn get_agents(&self) -> Result<Vec<Agent>, MesosError> {
        match self.ask(CallType::GetAgents).await? {
            Response::GetAgents(answer) => Ok(answer.agents),
            other => Err(unasked(&CallType::GetAgents, &other)),
        }
    }

    /// The version of the leading master, `1.12.0`.
    pub async fn version(&self) -> Result<String, MesosError> {
        match self.ask(CallType::GetVersion).await? {
            Response::GetVersion(answer) => Ok(answer.version),
            other => Err(unasked(&CallType::GetVersion, &other)),
        }
    }

    async fn ask(&self, kind: CallType) -> Result<Response, MesosError> {
        let call = kind.to_string();
        let body = serde_json::to_vec(&Call { kind })
            .map_err(|source| MesosError::Unwritable { call, source })?;
        let Led { master, answer, .. } = self.http.ask_leader(PATH, &Bytes::from(body)).await?;
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
    use crate::mesos::recording::{self, Entry};
    use crate::mesos::testing::{redirect, serve, typed};

    fn client(master: &str) -> OperatorClient {
        OperatorClient::new(&Options::new(format!("http://{master}").parse().unwrap())).unwrap()
    }

    /// The agents of a real cluster, one of them drained, another one restarting.
    fn recorded() -> String {
        let entries = recording::named("13_maintenance_drain_gone");
        let agents = entries.into_iter().find_map(|entry| match entry {
            Entry::Response { body, .. } if body.starts_with(b"{\"type\":\"GET_AGENTS\"") => {
                Some(body)
            }
            _ => None,
        });
        String::from_utf8(agents.unwrap()).unwrap()
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

        let agents = client.get_agents().await.unwrap();
        assert!(agents.iter().any(|agent| agent.active && agent.agent_info.hostname == "agent1"));
        assert_eq!(client.version().await.unwrap(), "1.12.0");
        let got = received.recv().await.unwrap();
        assert_eq!(
            (got.path.as_str(), &got.body[..]),
            ("/master/api/v1", &b"{\"type\":\"GET_AGENTS\"}"[..])
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
}
