//! What both clients share: one POST to whoever leads, and what to make of the answer.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue, LOCATION};
use reqwest::{Client, Response, StatusCode, Url};

use super::address::{Masters, endpoint, redirected, shown};
use super::auth::Credentials;
use super::error::{MesosError, NextStep};

/// How often a standby may refer to another master, for one question.
const MAX_HOPS: usize = 5;

/// How much of a refusal is kept, in bytes.
const MAX_REFUSAL: usize = 4096;

/// The one content type that a master takes; it compares to the byte, so nothing may be added.
pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Whom to ask, as whom, and how patiently.
#[derive(Clone, Debug)]
pub struct Options {
    /// The masters.
    pub masters: Masters,
    /// For basic authentication.
    pub credentials: Option<Credentials>,
    /// Until a connection stands.
    pub connect_timeout: Duration,
    /// Until an answer to a call begins, and from the subscription to the first event.
    pub answer_timeout: Duration,
    /// So many heartbeats missed, and the subscription is given up.
    pub missed_heartbeats: u32,
}

impl Options {
    /// With the times that suit a real cluster.
    #[must_use]
    pub fn new(masters: Masters) -> Self {
        Self {
            masters,
            credentials: None,
            connect_timeout: Duration::from_secs(5),
            answer_timeout: Duration::from_secs(30),
            missed_heartbeats: 5,
        }
    }
}

/// A connection pool of its own, with what every request needs.
#[derive(Clone, Debug)]
pub(super) struct Http {
    client: Client,
    options: Options,
}

impl Http {
    /// No proxy (masters are near), no redirects by itself (it would drop the credentials), one
    /// connection per master, and no limit on the whole of an answer: streams are endless.
    pub(super) fn new(options: &Options) -> Result<Self, MesosError> {
        // reqwest panics without a provider. If one is installed, this changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .http1_only()
            .tcp_nodelay(true)
            .tcp_keepalive(Duration::from_secs(30))
            .pool_max_idle_per_host(1)
            .connect_timeout(options.connect_timeout);
        if !options.masters.use_tls() {
            // Else a machine without CA certificates could not even speak plain HTTP.
            builder = builder.tls_certs_only([]);
        }
        let client = builder.build().map_err(|source| MesosError::Client { source })?;
        Ok(Self { client, options: options.clone() })
    }

    /// One POST to one master; `None` if it does not begin to answer in time.
    pub(super) async fn post(
        &self,
        master: &Url,
        path: &str,
        body: Bytes,
        stream: Option<&HeaderValue>,
    ) -> Result<Option<Response>, reqwest::Error> {
        let mut request = self
            .client
            .post(endpoint(master, path))
            .header(CONTENT_TYPE, JSON)
            .header(ACCEPT, JSON)
            .body(body);
        if let Some(id) = stream {
            request = request.header(super::scheduler::STREAM_ID, id);
        }
        if let Some(credentials) = &self.options.credentials {
            request = request.basic_auth(credentials.principal(), Some(credentials.secret()));
        }
        match tokio::time::timeout(self.options.answer_timeout, request.send()).await {
            Ok(answer) => answer.map(Some).map_err(reqwest::Error::without_url),
            Err(_) => Ok(None),
        }
    }

    /// Asks the masters one after the other, following redirects, until one answers with success.
    /// Returns it with its address.
    pub(super) async fn ask_leader(
        &self,
        path: &str,
        body: &Bytes,
    ) -> Result<(Url, Response), MesosError> {
        let mut worst: Option<MesosError> = None;
        for master in self.options.masters.iter() {
            match self.follow(master, path, body).await {
                Ok(answer) => return Ok(answer),
                // Something to be told to somebody says more than "not now".
                Err(error) => match worst {
                    Some(ref w) if w.next_step() == NextStep::GiveUp => {}
                    _ => worst = Some(error),
                },
            }
        }
        let addresses = self.options.masters.to_string();
        Err(match worst {
            Some(source)
                if source.next_step() == NextStep::Resubscribe
                    && self.options.masters.iter().count() > 1 =>
            {
                MesosError::NoneLeads { addresses, source: Box::new(source) }
            }
            Some(error) => error,
            None => MesosError::Circle { address: addresses },
        })
    }

    async fn follow(
        &self,
        first: &Url,
        path: &str,
        body: &Bytes,
    ) -> Result<(Url, Response), MesosError> {
        let mut master = first.clone();
        for _ in 0..=MAX_HOPS {
            let address = shown(&master);
            let answer = match self.post(&master, path, body.clone(), None).await {
                Ok(Some(answer)) => answer,
                Ok(None) => {
                    let seconds = self.options.answer_timeout.as_secs_f64();
                    return Err(MesosError::NoAnswer { address, seconds });
                }
                Err(source) => return Err(MesosError::Unreachable { address, source }),
            };
            if answer.status() != StatusCode::TEMPORARY_REDIRECT {
                return match answer.status() {
                    status if status.is_success() => Ok((master, answer)),
                    status => {
                        let html = is_html(&answer);
                        Err(refusal(address, status, html, text(answer).await))
                    }
                };
            }
            let location = answer.headers().get(LOCATION).and_then(|l| l.to_str().ok());
            let location = location.unwrap_or_default();
            master = redirected(&master, path, location).ok_or_else(|| {
                MesosError::BadRedirect { address, location: location.to_owned() }
            })?;
        }
        Err(MesosError::Circle { address: shown(&master) })
    }
}

/// What an answer other than success means while there is no subscription.
fn refusal(address: String, status: StatusCode, html: bool, body: String) -> MesosError {
    match status {
        StatusCode::UNAUTHORIZED => MesosError::Unauthorized { address },
        _ if html => MesosError::NotMesos { address, found: format!("HTML ({})", status.as_u16()) },
        StatusCode::FORBIDDEN => MesosError::Forbidden { address, body },
        _ if status.is_redirection() => {
            MesosError::NotMesos { address, found: format!("a redirect ({})", status.as_u16()) }
        }
        // A master that starts has no routes yet (MESOS-7697).
        StatusCode::NOT_FOUND => MesosError::NotReady { address, status: 404, body },
        _ if status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED => {
            MesosError::NotReady { address, status: status.as_u16(), body }
        }
        _ => MesosError::Rejected { message: format!("{}: {body}", status.as_u16()) },
    }
}

/// Whether an answer is a page for a browser.
pub(super) fn is_html(answer: &Response) -> bool {
    answer.headers().get(CONTENT_TYPE).is_some_and(|t| t.as_bytes().starts_with(b"text/html"))
}

/// What an answer that should be JSON is, if it is something else.
pub(super) fn not_json(answer: &Response) -> Option<String> {
    match answer.headers().get(CONTENT_TYPE) {
        Some(kind) if kind.as_bytes().starts_with(JSON.as_bytes()) => None,
        Some(_) if is_html(answer) => Some("HTML".to_owned()),
        Some(kind) => Some(format!("`{}`", kind.to_str().unwrap_or("binary").trim())),
        None => Some("without a content type".to_owned()),
    }
}

/// The text of a refusal, as much as is kept of it. What cannot be read is left out.
pub(super) async fn text(mut answer: Response) -> String {
    let mut bytes = Vec::new();
    let reading = async {
        while let Ok(Some(chunk)) = answer.chunk().await {
            bytes.extend_from_slice(&chunk);
            if bytes.len() >= MAX_REFUSAL {
                break;
            }
        }
    };
    // A refusal is at hand or it is not: nobody waits for its text.
    let _ = tokio::time::timeout(Duration::from_secs(2), reading).await;
    bytes.truncate(MAX_REFUSAL);
    String::from_utf8_lossy(&bytes).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_without_a_subscription_is_told_apart() {
        let table: [(u16, bool, NextStep, &str); 11] = [
            (401, false, NextStep::GiveUp, "Unauthorized"),
            (401, true, NextStep::GiveUp, "Unauthorized"),
            (403, false, NextStep::GiveUp, "Forbidden"),
            (302, false, NextStep::GiveUp, "NotMesos"),
            (404, true, NextStep::GiveUp, "NotMesos"),
            (404, false, NextStep::Resubscribe, "NotReady"),
            (503, false, NextStep::Resubscribe, "NotReady"),
            (500, false, NextStep::Resubscribe, "NotReady"),
            (501, false, NextStep::GiveUp, "Rejected"),
            (400, false, NextStep::GiveUp, "Rejected"),
            (415, false, NextStep::GiveUp, "Rejected"),
        ];
        for (status, html, step, name) in table {
            let code = StatusCode::from_u16(status).unwrap();
            let error = refusal("http://m".to_owned(), code, html, "why".to_owned());
            assert_eq!(error.next_step(), step, "{status}");
            assert!(format!("{error:?}").starts_with(name), "{status}: {error:?}");
        }
    }
}
