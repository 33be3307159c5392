//! What both clients share: one POST to whoever leads, and what to make of the answer.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, LOCATION};
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};

use super::address::Masters;
use super::auth::Credentials;
use super::error::{MesosError, NextStep};
use super::finder::{Finder, Found};
use super::location::{endpoint, redirected, shown};
use super::tls::{self, Authorities};
use super::zookeeper::Leader;

/// How often a standby may refer to another master, for one question.
const MAX_HOPS: usize = 5;

/// How much of a refusal is kept, in bytes.
const MAX_REFUSAL: usize = 4096;

/// The one content type that a master takes; it compares to the byte, so nothing may be added.
pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Whom to ask, as whom, and how patiently. Clones share one session with ZooKeeper, and one login.
#[derive(Clone, Debug)]
pub struct Options {
    /// Who are the masters.
    pub(super) finder: Finder,
    /// How we prove who we are.
    pub credentials: Option<Credentials>,
    /// Who signs the masters' certificates, if not those that this machine trusts. With it,
    /// masters that ZooKeeper names are asked over TLS.
    pub authorities: Option<Authorities>,
    /// Until a connection stands.
    pub connect_timeout: Duration,
    /// Until an answer to a call begins, and from the subscription to the first event.
    pub answer_timeout: Duration,
    /// So many heartbeats missed, and the subscription is given up.
    pub missed_heartbeats: u32,
    /// Who resolves names in place of this machine.
    #[cfg(test)]
    pub(super) names: Option<super::testing::Names>,
}

impl Options {
    /// With the times that suit a real cluster.
    #[must_use]
    pub fn new(masters: Masters) -> Self {
        Self {
            finder: Finder::new(masters),
            credentials: None,
            authorities: None,
            connect_timeout: Duration::from_secs(5),
            answer_timeout: Duration::from_secs(30),
            missed_heartbeats: 5,
            #[cfg(test)]
            names: None,
        }
    }

    /// The masters.
    #[must_use]
    pub fn masters(&self) -> &Masters {
        self.finder.masters()
    }

    /// Whether anybody is asked over TLS if there are [authorities](Self::authorities).
    #[must_use]
    pub fn may_use_tls(&self) -> bool {
        let masters = self.masters();
        masters.use_tls() || masters.are_found_by_zookeeper() || self.login_uses_tls()
    }

    fn login_uses_tls(&self) -> bool {
        self.credentials.as_ref().is_some_and(Credentials::use_tls)
    }

    /// Waits so long, or until ZooKeeper names another leader.
    pub async fn pause(&self, wait: Duration) {
        self.finder.pause(wait).await;
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
        if let Some(authorities) = &options.authorities {
            builder = builder.tls_certs_only(authorities.certificates());
        } else if !options.masters().use_tls() && !options.login_uses_tls() {
            // Else a machine without CA certificates could not even speak plain HTTP.
            builder = builder.tls_certs_only([]);
        }
        #[cfg(test)]
        if let Some(names) = &options.names {
            builder = builder.dns_resolver(names.clone());
        }
        let client = builder.build().map_err(|source| MesosError::Client { source })?;
        Ok(Self { client, options: options.clone() })
    }

    /// One POST of a call under a subscription.
    pub(super) async fn post(
        &self,
        master: &Url,
        path: &str,
        body: Bytes,
        stream: &HeaderValue,
    ) -> Result<Response, MesosError> {
        let request = self.question(master, path, Some(&body));
        self.send(master, request.header(super::scheduler::STREAM_ID, stream)).await
    }

    /// A GET, or a POST if there is a body.
    fn question(&self, master: &Url, path: &str, body: Option<&Bytes>) -> RequestBuilder {
        let url = endpoint(master, path);
        match body {
            Some(body) => self.client.post(url).header(CONTENT_TYPE, JSON).body(body.clone()),
            None => self.client.get(url),
        }
        .header(ACCEPT, JSON)
    }

    /// Sends it as whoever we are. A login that has run out is renewed, once.
    async fn send(&self, master: &Url, request: RequestBuilder) -> Result<Response, MesosError> {
        let Some(credentials) = &self.options.credentials else {
            return self.send_as(None, master, request).await;
        };
        let again = request.try_clone();
        let us = credentials.authorization(&self.client).await?;
        let answer = self.send_as(Some(&us), master, request).await?;
        let Some(again) = again.filter(|_| answer.status() == StatusCode::UNAUTHORIZED) else {
            return Ok(answer);
        };
        if !credentials.refused(&us).await {
            return Ok(answer);
        }
        let us = credentials.authorization(&self.client).await?;
        self.send_as(Some(&us), master, again).await
    }

    async fn send_as(
        &self,
        us: Option<&HeaderValue>,
        master: &Url,
        mut request: RequestBuilder,
    ) -> Result<Response, MesosError> {
        if let Some(us) = us {
            request = request.header(AUTHORIZATION, us);
        }
        let address = shown(master);
        match tokio::time::timeout(self.options.answer_timeout, request.send()).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(source)) => {
                let source = source.without_url();
                Err(match tls::fault(&source) {
                    Some(why) => MesosError::Untrusted { address, why, source },
                    None => MesosError::Unreachable { address, source },
                })
            }
            Err(_) => {
                let seconds = self.options.answer_timeout.as_secs_f64();
                Err(MesosError::NoAnswer { address, seconds })
            }
        }
    }

    /// Over TLS where nothing else says so: masters that ZooKeeper names.
    fn tls_by_default(&self) -> bool {
        self.options.authorities.is_some()
    }

    /// Asks the masters one after the other, following redirects, until one answers with success:
    /// by POST, or by GET without a body.
    pub(super) async fn ask_leader(
        &self,
        path: &str,
        body: Option<&Bytes>,
    ) -> Result<Led, MesosError> {
        let patience = self.options.answer_timeout;
        let Found { masters, leader } =
            self.options.finder.find(self.tls_by_default(), patience).await?;
        let mut worst: Option<MesosError> = None;
        for master in &masters {
            match self.follow(master, path, body).await {
                Ok((master, answer)) => return Ok(Led { master, answer, leader }),
                // Something to be told to somebody says more than "not now".
                Err(error) => match worst {
                    Some(ref w) if w.next_step() == NextStep::GiveUp => {}
                    _ => worst = Some(error),
                },
            }
        }
        let addresses = self.options.masters().to_string();
        Err(match worst {
            Some(source) if source.next_step() == NextStep::Resubscribe && masters.len() > 1 => {
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
        body: Option<&Bytes>,
    ) -> Result<(Url, Response), MesosError> {
        let mut master = first.clone();
        for _ in 0..=MAX_HOPS {
            let address = shown(&master);
            let answer = self.send(&master, self.question(&master, path, body)).await?;
            if answer.status() != StatusCode::TEMPORARY_REDIRECT {
                return match answer.status() {
                    status if status.is_success() => Ok((master, answer)),
                    status => {
                        let html = is_html(&answer);
                        Err(refusal(address, status, html, self.text(answer).await))
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

    /// The text of a refusal, as much as is kept of it, without any secret that it repeats.
    pub(super) async fn text(&self, answer: Response) -> String {
        let text = text(answer).await;
        match &self.options.credentials {
            Some(credentials) => credentials.scrub(text).await,
            None => text,
        }
    }

    /// Waits until ZooKeeper names another leader than this; says where it is.
    pub(super) async fn moved(&self, from: Option<&Leader>) -> String {
        self.options.finder.moved(from).await
    }
}

/// What was answered, and by whom.
#[derive(Debug)]
pub(super) struct Led {
    pub(super) master: Url,
    pub(super) answer: Response,
    /// Whom ZooKeeper had named, if it was asked.
    pub(super) leader: Option<Leader>,
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
    fn point_08_a_refusal_without_a_subscription_is_told_apart() {
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
