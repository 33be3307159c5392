//! What an agent tells an executor in the environment of its process.

use std::fmt;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::HeaderValue;

use super::session::Terms;
use crate::mesos::v1::{ExecutorId, FrameworkId};

/// What Mesos' own library takes if the agent does not say (`executor.cpp`).
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);
/// Of an executor whose framework does not checkpoint nothing is said; it is used only until the
/// first subscription.
const RECOVERY: Duration = Duration::from_mins(15);
/// The agent's default for the time in which executors have to come back.
const RESUBSCRIBE: Duration = Duration::from_secs(2);

/// Why the environment is not that of an executor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are said by the texts")]
pub enum EnvironmentError {
    /// A variable is not there.
    #[error("{name} is not set; this command is started by a Mesos agent and not by hand")]
    Missing { name: &'static str },
    /// A variable is not what it should be.
    #[error(
        "{name} is `{value}`, which is not {expected}; which version of Mesos does this host run?"
    )]
    Wrong { name: &'static str, value: String, expected: &'static str },
    /// The token cannot be put into a header. It is not repeated.
    #[error(
        "MESOS_EXECUTOR_AUTHENTICATION_TOKEN holds characters that no token has; look at the \
         agent's --authenticate_http_executors and its secret key"
    )]
    Token,
}

/// The agent to subscribe with, and what it expects.
#[derive(Clone)]
pub struct Environment {
    pub(super) agent: Url,
    pub(super) token: Option<HeaderValue>,
    pub(super) ca_file: Option<String>,
    /// The rules of the exchange.
    pub terms: Terms,
}

/// The token is in no output.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment")
            .field("agent", &self.agent.as_str())
            .field("token", &self.token.is_some())
            .field("ca_file", &self.ca_file)
            .field("terms", &self.terms)
            .finish()
    }
}

impl Environment {
    /// Reads it by way of `get`, which gives the value of a variable: `|name|
    /// std::env::var(name).ok()` in a process.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Result<Self, EnvironmentError> {
        let need = |name| get(name).ok_or(EnvironmentError::Missing { name });
        let time = |name, default: Duration| match get(name) {
            None => Ok(millis(default)),
            Some(value) => duration(&value).map(millis).ok_or(EnvironmentError::Wrong {
                name,
                value,
                expected: "a duration such as `15mins`",
            }),
        };
        let flag = |name| get(name).is_some_and(|value| matches!(value.as_str(), "1" | "true"));
        let tls = flag("LIBPROCESS_SSL_ENABLED") || flag("SSL_ENABLED");
        let endpoint = need("MESOS_AGENT_ENDPOINT")?;
        let agent = Url::parse(&format!("{}://{endpoint}", if tls { "https" } else { "http" }));
        let agent = agent.ok().filter(|url| url.port_or_known_default().is_some() && plain(url));
        let agent = agent.ok_or(EnvironmentError::Wrong {
            name: "MESOS_AGENT_ENDPOINT",
            value: endpoint,
            expected: "an address and a port",
        })?;
        Ok(Self {
            agent,
            token: get("MESOS_EXECUTOR_AUTHENTICATION_TOKEN").as_deref().map(bearer).transpose()?,
            ca_file: get("LIBPROCESS_SSL_CA_FILE").filter(|file| tls && !file.is_empty()),
            terms: Terms {
                framework_id: FrameworkId(need("MESOS_FRAMEWORK_ID")?),
                executor_id: ExecutorId(need("MESOS_EXECUTOR_ID")?),
                checkpoint: flag("MESOS_CHECKPOINT"),
                recovery_ms: time("MESOS_RECOVERY_TIMEOUT", RECOVERY)?,
                resubscribe_within_ms: time("MESOS_SUBSCRIPTION_BACKOFF_MAX", RESUBSCRIBE)?,
                shutdown_grace_ms: time("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", SHUTDOWN_GRACE)?,
            },
        })
    }
}

fn plain(url: &Url) -> bool {
    url.path() == "/" && url.query().is_none() && url.username().is_empty()
}

fn bearer(token: &str) -> Result<HeaderValue, EnvironmentError> {
    let mut value =
        HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| EnvironmentError::Token)?;
    value.set_sensitive(true);
    Ok(value)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A duration as stout writes it: a number, which may have a fraction, and a unit.
fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(digits);
    let seconds = match unit {
        "ns" => 1e-9,
        "us" => 1e-6,
        "ms" => 1e-3,
        "secs" => 1.0,
        "mins" => 60.0,
        "hrs" => 3_600.0,
        "days" => 86_400.0,
        "weeks" => 604_800.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As recorded in e01; a test may change it.
    fn read(changes: &[(&str, Option<&str>)]) -> Result<Environment, EnvironmentError> {
        const RECORDED: [(&str, &str); 7] = [
            ("MESOS_AGENT_ENDPOINT", "127.0.0.1:6051"),
            ("MESOS_CHECKPOINT", "1"),
            ("MESOS_EXECUTOR_ID", "ex-1"),
            ("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", "5secs"),
            ("MESOS_FRAMEWORK_ID", "7ea990ea-4c04-4a6c-beba-81bff7b3b53b-0001"),
            ("MESOS_RECOVERY_TIMEOUT", "15mins"),
            ("MESOS_SUBSCRIPTION_BACKOFF_MAX", "2secs"),
        ];
        Environment::read(|name| match changes.iter().find(|(changed, _)| *changed == name) {
            Some((_, value)) => value.map(str::to_owned),
            None => RECORDED.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned()),
        })
    }

    #[test]
    fn a_recorded_environment_is_understood() {
        let Environment { agent, token, ca_file, terms } = read(&[]).unwrap();
        assert_eq!(agent.as_str(), "http://127.0.0.1:6051/");
        assert_eq!((token, ca_file), (None, None));
        let expected = Terms {
            framework_id: "7ea990ea-4c04-4a6c-beba-81bff7b3b53b-0001".into(),
            executor_id: "ex-1".into(),
            checkpoint: true,
            recovery_ms: 900_000,
            resubscribe_within_ms: 2_000,
            shutdown_grace_ms: 5_000,
        };
        assert_eq!(terms, expected);
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        for (name, value, text) in [
            ("MESOS_AGENT_ENDPOINT", None, "MESOS_AGENT_ENDPOINT is not set"),
            ("MESOS_FRAMEWORK_ID", None, "MESOS_FRAMEWORK_ID is not set"),
            ("MESOS_EXECUTOR_ID", None, "MESOS_EXECUTOR_ID is not set"),
            ("MESOS_AGENT_ENDPOINT", Some("a b"), "which is not an address and a port"),
            ("MESOS_AGENT_ENDPOINT", Some("h:1/x"), "which is not an address and a port"),
            ("MESOS_AGENT_ENDPOINT", Some("u:p@h:1"), "which is not an address and a port"),
            ("MESOS_RECOVERY_TIMEOUT", Some("15"), "which is not a duration"),
            ("MESOS_RECOVERY_TIMEOUT", Some("-3secs"), "which is not a duration"),
            ("MESOS_RECOVERY_TIMEOUT", Some("1e9weeks"), "which is not a duration"),
        ] {
            let error = read(&[(name, value)]).unwrap_err().to_string();
            assert!(error.contains(text), "{name}={value:?}: {error}");
        }
    }

    #[test]
    fn durations_are_those_of_stout() {
        for (text, ms) in [
            ("2secs", 2_000),
            ("15mins", 900_000),
            ("24hrs", 86_400_000),
            ("1.5secs", 1_500),
            ("300ms", 300),
            ("1weeks", 604_800_000),
            ("0ns", 0),
        ] {
            assert_eq!(duration(text).map(millis), Some(ms), "{text}");
        }
    }

    #[test]
    fn the_token_is_in_no_output() {
        let token = ("MESOS_EXECUTOR_AUTHENTICATION_TOKEN", Some("s3cr3t"));
        let environment = read(&[token]).unwrap();
        assert!(!format!("{environment:?}").contains("s3cr3t"));
        let error = read(&[(token.0, Some("s3cr3t\n"))]).unwrap_err();
        assert!(!format!("{error:?} {error}").contains("s3cr3t"));
    }

    #[test]
    fn tls_is_used_if_the_agent_uses_it() {
        let tls = ("LIBPROCESS_SSL_ENABLED", Some("true"));
        let ca = ("LIBPROCESS_SSL_CA_FILE", Some("/run/ca.crt"));
        let environment = read(&[tls, ca]).unwrap();
        assert_eq!(environment.agent.scheme(), "https");
        assert_eq!(environment.ca_file.as_deref(), Some("/run/ca.crt"));
        assert_eq!(read(&[ca]).unwrap().ca_file, None);
    }
}
