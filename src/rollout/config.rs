//! What the controller is told at its start and does not change.

use crate::mesos::features::capabilities;
use crate::mesos::v1::{FrameworkId, FrameworkInfo, Label, Labels, Uri};
use crate::words::{HostName, SpecHash};

/// Two weeks: how long Mesos keeps our tasks while nobody leads.
const FAILOVER_SECONDS: f64 = 14.0 * 24.0 * 3600.0;

/// What the controller is told at its start.
#[derive(Clone, Debug)]
pub struct Config {
    /// This process, for people: host and process ID.
    pub name: String,
    /// The framework's name in Mesos.
    pub framework_name: String,
    /// The principal, if Mesos asks for one. It can never be changed.
    pub principal: Option<String>,
    /// The roles whose offers are wanted.
    pub roles: Vec<String>,
    /// The agent that the controller runs on; it moves last.
    pub own_host: Option<HostName>,
    /// Where people find out more, as a link from Mesos' own page.
    pub webui_url: Option<String>,
    /// How hosts get our binary.
    pub delivery: Delivery,
}

/// Where hosts get our binary, and how they know that it is ours.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// A URL whose path ends in `calico-dcos`.
    pub url: String,
    /// The SHA-256 of the binary.
    pub digest: SpecHash,
}

impl Delivery {
    /// The executor's command: the only line of shell there is. What is run as root must not
    /// check itself, so the check comes before it; nothing but the digest is put into the line.
    #[must_use]
    pub fn command(&self) -> String {
        format!(
            "echo '{}  calico-dcos' | sha256sum -c --quiet - && exec ./calico-dcos node executor",
            self.digest
        )
    }

    /// What Mesos is to fetch. Caches on the way know a file by its URL alone, so that of another version
    /// has another one; servers of files pass over what they are asked beside the path.
    ///
    /// Mesos' own cache is not used: a file that was damaged on the way would stay in it, and each try
    /// would find it there. Little is lost, as an agent empties it when it starts (Mesos: `fetcher.cpp`),
    /// and until then a host starts one executor.
    #[must_use]
    pub fn uri(&self) -> Uri {
        let joint = if self.url.contains('?') { '&' } else { '?' };
        Uri {
            value: format!("{}{joint}sha256={}", self.url, self.digest),
            executable: Some(true),
            extract: false,
            cache: Some(false),
            // What is asked would be part of the name otherwise.
            output_file: Some("calico-dcos".to_owned()),
        }
    }
}

impl Config {
    /// Who we are to Mesos. `checkpoint` and `principal` can never be changed afterwards; an
    /// older master drops the capabilities that it does not know.
    #[must_use]
    pub fn framework_info(&self, id: Option<FrameworkId>) -> FrameworkInfo {
        FrameworkInfo {
            user: "root".to_owned(),
            name: self.framework_name.clone(),
            id,
            failover_timeout: FAILOVER_SECONDS,
            checkpoint: true,
            role: None,
            roles: self.roles.clone(),
            hostname: None,
            principal: self.principal.clone(),
            webui_url: self.webui_url.clone(),
            capabilities: capabilities(),
            labels: Some(self.labels()),
        }
    }

    /// Who leads, for those who look at frameworks in Mesos.
    fn labels(&self) -> Labels {
        let label =
            |key: &str, value: &str| Label { key: key.to_owned(), value: Some(value.to_owned()) };
        let version = label("calico-dcos.version", env!("CARGO_PKG_VERSION"));
        Labels { labels: vec![version, label("calico-dcos.controller", &self.name)] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_version_has_another_url_and_the_same_name() {
        let of = |url: &str, byte| Delivery { url: url.to_owned(), digest: SpecHash([byte; 32]) };
        let (one, other) =
            (of("http://x/calico-dcos", 1).uri(), of("http://x/calico-dcos", 2).uri());
        assert_eq!(one.value, format!("http://x/calico-dcos?sha256={}", SpecHash([1; 32])));
        assert_ne!(one.value, other.value);
        assert_eq!(one.output_file, other.output_file);
        assert_eq!(one.cache, Some(false), "a damaged one is fetched anew");
        let signed = of("http://x/calico-dcos?key=k", 1).uri();
        assert!(signed.value.starts_with("http://x/calico-dcos?key=k&sha256="), "{}", signed.value);
    }
}
