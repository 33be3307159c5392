//! Docker's API on its socket: what the steps need, and no more. Paths carry no version, so the
//! daemon answers with its own newest; the fields that are read have been the same since 1.10.

use std::convert::Infallible;
use std::path::Path;
use std::time::Duration;

use reqwest::{Client, Method, Response, StatusCode, Url};
use serde::Deserialize;
use serde_json::{Value, json};

use super::watch::Sign;

/// For an answer that costs the daemon nothing.
const ANSWER: Duration = Duration::from_mins(1);
/// A question is answered within this. One look at a host asks five: a daemon that hangs is told of long before the
/// executor would be taken to hang.
const QUESTION: Duration = Duration::from_secs(20);
/// A pull without any progress for so long has failed.
const PULL_SILENCE: Duration = Duration::from_mins(3);
/// An answer is no larger, in bytes; `inspect` of a large image has some 100 KiB.
const LARGEST: usize = 8 << 20;

/// What went wrong with Docker.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are said by the texts")]
pub enum DockerError {
    /// No connection, or no answer.
    #[error("Docker does not answer on its socket; is it running?")]
    Silent(#[source] reqwest::Error),
    /// It answered that it will not.
    #[error("Docker refuses to {what}: {text}")]
    Refused { what: &'static str, status: u16, text: String },
    /// It answered something else.
    #[error("Docker's answer to {what} is not understood; which version is it?")]
    Strange { what: &'static str, source: Option<serde_json::Error> },
    /// The image cannot be had.
    #[error("the image {image} cannot be pulled: {text}")]
    Pull { image: String, text: String },
}

/// The daemon.
#[derive(Clone, Debug)]
pub struct Docker {
    http: Client,
    /// For an answer that may be silent for days.
    patient: Client,
}

/// What the daemon says of itself (`GET /info`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Info {
    /// Such as `20.10.24`.
    pub server_version: String,
    /// The store in force; empty if there is none.
    pub cluster_store: String,
    /// Its own address as announced; empty if there is none.
    pub cluster_advertise: String,
    /// Containers that run.
    pub containers_running: u32,
    /// Swarm mode.
    pub swarm: Swarm,
}

/// Swarm mode, as far as it matters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Swarm {
    /// `inactive` unless the daemon is a member.
    pub local_node_state: String,
}

impl Info {
    /// The daemon is a member of a swarm, or on its way.
    pub fn is_in_swarm(&self) -> bool {
        !matches!(self.swarm.local_node_state.as_str(), "" | "inactive")
    }
}

impl Docker {
    /// The daemon behind a socket. Nothing is connected yet.
    pub fn new(socket: &Path) -> Result<Self, DockerError> {
        // reqwest panics without a provider, and refuses to start without certificates.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = || Client::builder().unix_socket(socket).no_proxy().tls_certs_only([]);
        let http = client().read_timeout(PULL_SILENCE).build().map_err(DockerError::Silent)?;
        let patient = client().build().map_err(DockerError::Silent)?;
        Ok(Self { http, patient })
    }

    /// Says whenever something happens to one of these containers, until the daemon ends.
    pub async fn watch(
        &self,
        containers: &[&'static str],
        sign: &Sign,
    ) -> Result<Infallible, DockerError> {
        // Without those of the health check, which come every few seconds and change nothing.
        let events = [
            "create",
            "destroy",
            "die",
            "health_status",
            "kill",
            "oom",
            "pause",
            "rename",
            "start",
            "stop",
            "unpause",
            "update",
        ];
        let filters = json!({"type": ["container"], "container": containers, "event": events});
        let url = Url::parse_with_params(&url("events"), [("filters", filters.to_string())]);
        let url = url.map_err(|_| DockerError::Strange { what: "events", source: None })?;
        let mut answer = self.patient.get(url).send().await.map_err(DockerError::Silent)?;
        if !answer.status().is_success() {
            let status = answer.status().as_u16();
            let text = text(answer).await;
            return Err(DockerError::Refused { what: "tell of its containers", status, text });
        }
        sign.up();
        while answer.chunk().await.map_err(DockerError::Silent)?.is_some() {
            sign.changed();
        }
        Err(DockerError::Strange { what: "events", source: None })
    }

    /// What the daemon says of itself.
    pub async fn info(&self) -> Result<Info, DockerError> {
        let answer = self.ask(Method::GET, "info", None, "say what it is").await?;
        read(answer, "info").await
    }

    /// How many containers of a Mesos agent run: they are named so by its Docker containerizer.
    pub async fn mesos_containers(&self) -> Result<u32, DockerError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Running {
            #[serde(default)]
            names: Vec<String>,
        }
        let answer = self.ask(Method::GET, "containers/json", None, "list its containers").await?;
        let running: Vec<Running> = read(answer, "containers").await?;
        let of_agent = |running: &&Running| running.names.iter().any(|n| n.starts_with("/mesos-"));
        Ok(u32::try_from(running.iter().filter(of_agent).count()).unwrap_or(u32::MAX))
    }

    /// A container by its name; none if there is none.
    pub async fn container(&self, name: &str) -> Result<Option<Value>, DockerError> {
        let path = format!("containers/{name}/json");
        optional(self.ask(Method::GET, &path, None, "inspect a container").await, "inspect").await
    }

    /// An image by its name or ID; none if there is none.
    pub async fn image(&self, name: &str) -> Result<Option<Value>, DockerError> {
        let path = format!("images/{name}/json");
        optional(self.ask(Method::GET, &path, None, "inspect an image").await, "inspect").await
    }

    /// Gets an image from its registry; `progress` is told about once per line of the daemon's.
    pub async fn pull(
        &self,
        image: &str,
        mut progress: impl FnMut(&str),
    ) -> Result<(), DockerError> {
        // One JSON object a line; an error comes as one of them, after a status of 200.
        #[derive(Deserialize)]
        struct Line {
            status: Option<String>,
            error: Option<String>,
        }
        let (name, tag) = split(image);
        let failed = |text: String| DockerError::Pull { image: image.to_owned(), text };
        let path = format!("images/create?fromImage={}&tag={}", escape(name), escape(tag));
        let request = self.http.post(url(&path));
        let mut answer = request.send().await.map_err(DockerError::Silent)?;
        if !answer.status().is_success() {
            return Err(failed(text(answer).await));
        }
        let mut rest = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(DockerError::Silent)? {
            rest.extend_from_slice(&chunk);
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                let Ok(line) = serde_json::from_slice::<Line>(&line) else { continue };
                if let Some(error) = line.error {
                    return Err(failed(error));
                }
                if let Some(status) = line.status {
                    progress(&status);
                }
            }
            if rest.len() > LARGEST {
                return Err(DockerError::Strange { what: "pull", source: None });
            }
        }
        Ok(())
    }

    /// Makes a container.
    pub async fn create(&self, name: &str, body: &Value) -> Result<(), DockerError> {
        let path = format!("containers/create?name={name}");
        self.ask(Method::POST, &path, Some(body), "create a container").await.map(drop)
    }

    /// Gives a container another name, which must be free.
    pub async fn rename(&self, name: &str, to: &str) -> Result<(), DockerError> {
        let path = format!("containers/{name}/rename?name={to}");
        self.ask(Method::POST, &path, None, "rename a container").await.map(drop)
    }

    /// Starts a container; nothing if it runs.
    pub async fn start(&self, name: &str) -> Result<(), DockerError> {
        let path = format!("containers/{name}/start");
        self.ask(Method::POST, &path, None, "start a container").await.map(drop)
    }

    /// Removes a container, running or not; nothing if there is none.
    pub async fn remove(&self, name: &str) -> Result<(), DockerError> {
        // A container that is stopped first can end in order; one that does not is killed.
        let stop = format!("containers/{name}/stop?t=10");
        let path = format!("containers/{name}?force=true");
        for (method, path) in [(Method::POST, stop), (Method::DELETE, path)] {
            match self.ask(method, &path, None, "remove a container").await {
                Ok(_) | Err(DockerError::Refused { status: 404, .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        what: &'static str,
    ) -> Result<Response, DockerError> {
        let patience = if method == Method::GET { QUESTION } else { ANSWER };
        let mut request = self.http.request(method, url(path)).timeout(patience);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.map_err(DockerError::Silent)?;
        let status = answer.status();
        // 304: it is so already.
        if status.is_success() || status == StatusCode::NOT_MODIFIED {
            return Ok(answer);
        }
        Err(DockerError::Refused { what, status: status.as_u16(), text: text(answer).await })
    }
}

fn url(path: &str) -> String {
    format!("http://docker/{path}")
}

/// Name and tag or digest; Docker takes both under `tag`.
fn split(image: &str) -> (&str, &str) {
    if let Some((name, digest)) = image.split_once('@') {
        return (name, digest);
    }
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (image, "latest"),
    }
}

/// For a query: an image's name has no other signs that mean something there.
fn escape(text: &str) -> String {
    text.replace('%', "%25").replace(':', "%3A").replace('/', "%2F").replace('+', "%2B")
}

async fn bytes(mut answer: Response, what: &'static str) -> Result<Vec<u8>, DockerError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(DockerError::Silent)? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > LARGEST {
            return Err(DockerError::Strange { what, source: None });
        }
    }
    Ok(bytes)
}

async fn read<T: serde::de::DeserializeOwned>(
    answer: Response,
    what: &'static str,
) -> Result<T, DockerError> {
    let bytes = bytes(answer, what).await?;
    serde_json::from_slice(&bytes)
        .map_err(|source| DockerError::Strange { what, source: Some(source) })
}

async fn optional(
    answer: Result<Response, DockerError>,
    what: &'static str,
) -> Result<Option<Value>, DockerError> {
    match answer {
        Ok(answer) => read(answer, what).await.map(Some),
        Err(DockerError::Refused { status: 404, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Docker's errors are `{"message": "…"}`, those of old ones plain text.
async fn text(answer: Response) -> String {
    let bytes = bytes(answer, "an error").await.unwrap_or_default();
    let message = serde_json::from_slice::<Value>(&bytes).ok();
    let message = message.and_then(|body| body.get("message")?.as_str().map(str::to_owned));
    let text = message.unwrap_or_else(|| String::from_utf8_lossy(&bytes).into_owned());
    text.trim().chars().take(500).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_split_as_docker_reads_it() {
        for (image, name, tag) in [
            ("calico/node:v2.6.12", "calico/node", "v2.6.12"),
            ("calico/node", "calico/node", "latest"),
            ("r.example:5000/calico/node", "r.example:5000/calico/node", "latest"),
            ("r.example:5000/node:v1", "r.example:5000/node", "v1"),
            ("node@sha256:ab", "node", "sha256:ab"),
        ] {
            assert_eq!(split(image), (name, tag));
        }
    }

    #[test]
    fn a_member_of_a_swarm_is_known() {
        for (state, expected) in
            [("", false), ("inactive", false), ("active", true), ("pending", true)]
        {
            let swarm = Swarm { local_node_state: state.to_owned() };
            assert_eq!(Info { swarm, ..Info::default() }.is_in_swarm(), expected);
        }
    }
}
