//! The Mesos agent of this host, as it answers on its own address.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::dns::Dns;
use super::host::{Host, HostError};

/// An agent answers at once, or is starting.
const ANSWER: Duration = Duration::from_secs(5);
const FILE: &str = "agent.json";

/// Where the agent answers. An executor is told; the runner reads it from the state of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Agent {
    /// Version of the record.
    pub version: u32,
    /// Such as `http://10.0.0.1:5051`.
    pub url: String,
}

impl Agent {
    /// From the environment of an executor.
    pub fn of_executor(get: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let endpoint = get("MESOS_AGENT_ENDPOINT")?;
        let tls = |name| get(name).is_some_and(|value| matches!(value.as_str(), "1" | "true"));
        let scheme =
            if tls("LIBPROCESS_SSL_ENABLED") || tls("SSL_ENABLED") { "https" } else { "http" };
        Some(Self { version: 1, url: format!("{scheme}://{endpoint}") })
    }

    /// The agent as it was last known.
    pub fn known(host: &Host) -> Result<Option<Self>, HostError> {
        Ok(host.state.read(FILE)?)
    }

    /// Remembers it.
    pub fn remember(&self, host: &Host) -> Result<(), HostError> {
        Ok(host.state.write(FILE, self)?)
    }

    /// Its version, such as `1.11.0`; `/version` is open also where the rest is not.
    pub async fn mesos_version(&self) -> Option<String> {
        self.field("version", "version").await?.as_str().map(str::to_owned)
    }

    /// The flags that it runs with; none if it does not answer or wants to know who asks.
    pub async fn flags(&self) -> Option<Value> {
        self.field("flags", "flags").await
    }

    /// One field of an answer. Agents before 1.0 have some of it in their state alone, which in
    /// newer ones is large.
    async fn field(&self, path: &str, name: &str) -> Option<Value> {
        if let Some(answer) = self.get(path).await {
            return answer.get(name).cloned();
        }
        self.get("state").await?.get(name).cloned()
    }

    /// The address that the agent registered with, without its port.
    pub fn address(&self) -> Option<String> {
        let url = reqwest::Url::parse(&self.url).ok()?;
        url.host_str().map(|host| host.trim_matches(['[', ']']).to_owned())
    }

    async fn get(&self, path: &str) -> Option<Value> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = reqwest::Client::builder().no_proxy().dns_resolver(Arc::new(Dns));
        let builder = builder.timeout(ANSWER);
        let http = if self.url.starts_with("http:") {
            builder.tls_certs_only([]).build()
        } else {
            // What is read here decides nothing about trust, and the agent is this machine.
            builder.tls_danger_accept_invalid_certs(true).build()
        };
        let answer = http.ok()?.get(format!("{}/{path}", self.url)).send().await.ok()?;
        answer.error_for_status().ok()?.json().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_is_that_of_the_agent() {
        for (tls, url) in [(None, "http://10.0.0.1:5051"), (Some("1"), "https://10.0.0.1:5051")] {
            let agent = Agent::of_executor(|name| match name {
                "MESOS_AGENT_ENDPOINT" => Some("10.0.0.1:5051".to_owned()),
                "LIBPROCESS_SSL_ENABLED" => tls.map(str::to_owned),
                _ => None,
            });
            assert_eq!(agent.map(|agent| agent.url).as_deref(), Some(url));
        }
    }
}
