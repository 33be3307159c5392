//! The login of a DC/OS service account: a token of our own, signed with the account's key, gets
//! one of DC/OS', which then goes with every request (`Authorization: token=…`).
//!
//! One login serves all connections. The token is renewed before it expires, and once more when
//! a master does not accept it; while DC/OS cannot be asked, the old one is used to its end.

#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use reqwest::header::HeaderValue;
use reqwest::{Client, StatusCode, Url};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Mutex;

use crate::clock;
use crate::mesos::body;
use crate::mesos::tls;
use crate::words::Time;

/// How long our own token is good for: it is used at once, and only once. DC/OS' documentation
/// asks for as little as clocks that differ allow.
const OWN_LIFE: u64 = 120;

/// How long a token of DC/OS is used that does not say how long it is good for.
const LIFE: Duration = Duration::from_hours(1);

/// Renewals that nobody has asked for are at least so far apart.
const APART: Duration = Duration::from_secs(30);

/// How long a login may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// No answer to a login is larger; in bytes.
const LARGEST: usize = 64 * 1024;

pub(super) const NO_ENDPOINT: &str = "it has no `login_endpoint`; add one like \
     https://leader.mesos/acs/api/v1/auth/login";

/// Why a service account got no token. No key and no token is in it.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are said by the texts")]
pub enum LoginError {
    /// No connection, or no answer.
    #[error("the login service of DC/OS at {endpoint} cannot be reached; check `login_endpoint`")]
    Unreachable { endpoint: String, source: reqwest::Error },
    /// A connection, but no answer in time.
    #[error("the login service of DC/OS at {endpoint} has not answered in time; is it overloaded?")]
    NoAnswer { endpoint: String },
    /// Its certificate is not good.
    #[error("the login service of DC/OS at {endpoint} cannot be trusted: {why}")]
    Untrusted { endpoint: String, why: String, source: reqwest::Error },
    /// It does not know the account, or its key.
    #[error(
        "DC/OS does not accept the service account `{uid}` ({status} from {endpoint}); its key may \
         have been replaced or have expired, or this machine's clock is wrong: give the account a \
         new key, and put it into the credentials file"
    )]
    Refused { endpoint: String, uid: String, status: u16 },
    /// It has trouble of its own.
    #[error("the login service of DC/OS at {endpoint} is not ready ({status}); it is asked again")]
    NotReady { endpoint: String, status: u16 },
    /// It answered something else.
    #[error(
        "{endpoint} answered something else than a token: is this the login service of DC/OS \
         (…/acs/api/v1/auth/login)?"
    )]
    NotLogin { endpoint: String },
    /// The key does not sign, or a token cannot be sent.
    #[error("the credentials cannot be used for a login; check the credentials file")]
    Unusable,
}

impl LoginError {
    /// Whether it will not get better by itself.
    pub(in crate::mesos) fn is_permanent(&self) -> bool {
        !matches!(self, Self::Unreachable { .. } | Self::NoAnswer { .. } | Self::NotReady { .. })
    }
}

/// A service account, and the token that it has at the moment.
pub(super) struct ServiceAccount {
    uid: String,
    endpoint: Url,
    key: RsaKeyPair,
    token: Mutex<Option<Token>>,
}

struct Token {
    text: String,
    header: HeaderValue,
    renew_at: Time,
    expires: Time,
}

#[derive(Deserialize)]
struct Answer {
    token: String,
}

#[derive(Deserialize)]
struct Claims {
    exp: Option<f64>,
}

impl ServiceAccount {
    /// Checks the parts. An error says what is wrong with them, without repeating any.
    pub(super) fn new(
        uid: String,
        key: &str,
        endpoint: &str,
        scheme: Option<&str>,
    ) -> Result<Self, &'static str> {
        if scheme.is_some_and(|scheme| scheme != "RS256") {
            return Err("its `scheme` is not RS256, which is the only one that DC/OS has");
        }
        let endpoint = Url::parse(endpoint).ok().filter(|url| {
            let plain = url.username().is_empty() && url.password().is_none();
            matches!(url.scheme(), "http" | "https") && plain && url.query().is_none()
        });
        let endpoint = endpoint.ok_or("its `login_endpoint` is not an http(s):// address")?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
            .map_err(|_| "its `private_key` is not a key in PEM (-----BEGIN …); copy it whole")?;
        let key = match &key {
            PrivateKeyDer::Pkcs8(key) => RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()),
            PrivateKeyDer::Pkcs1(key) => RsaKeyPair::from_der(key.secret_pkcs1_der()),
            _ => return Err("its `private_key` is not an RSA key; DC/OS has only those"),
        };
        let key = key.map_err(|_| "its `private_key` is not an RSA key of 2048 bits or more")?;
        Ok(Self { uid, endpoint, key, token: Mutex::new(None) })
    }

    pub(super) fn uid(&self) -> &str {
        &self.uid
    }

    pub(super) fn uses_tls(&self) -> bool {
        self.endpoint.scheme() == "https"
    }

    /// The token, renewed if it is time.
    pub(super) async fn authorization(&self, client: &Client) -> Result<HeaderValue, LoginError> {
        // Held over the login: others wait for its result instead of logging in too.
        let mut token = self.token.lock().await;
        match &mut *token {
            Some(token) if clock::now() < token.renew_at => Ok(token.header.clone()),
            Some(old) => {
                match self.login(client).await {
                    Ok(new) => *old = new,
                    Err(error) if clock::now() < old.expires => {
                        tracing::warn!(%error, "the login could not be renewed yet");
                        old.renew_at = after(clock::now(), APART);
                    }
                    Err(error) => return Err(error),
                }
                Ok(old.header.clone())
            }
            None => Ok(token.insert(self.login(client).await?).header.clone()),
        }
    }

    /// A master did not accept this token: it is used no more.
    pub(super) async fn refused(&self, header: &HeaderValue) {
        // Another connection may have got a new one meanwhile.
        self.token.lock().await.take_if(|token| token.header == *header);
    }

    /// What must appear nowhere.
    pub(super) async fn secrets(&self) -> Vec<String> {
        self.token.lock().await.iter().map(|token| token.text.clone()).collect()
    }

    async fn login(&self, client: &Client) -> Result<Token, LoginError> {
        let endpoint = || self.endpoint.to_string();
        let now = clock::now();
        let own = self.sign(now.0 / 1000 + OWN_LIFE)?;
        let request = client.post(self.endpoint.clone());
        let sent = request.json(&json!({"uid": self.uid, "token": own})).send();
        let exchange = async {
            let answer = sent.await?;
            let status = answer.status();
            Ok((status, body::up_to(LARGEST, answer).await))
        };
        let (status, body) = match tokio::time::timeout(PATIENCE, exchange).await {
            Ok(answered) => answered.map_err(|source: reqwest::Error| {
                let source = source.without_url();
                match tls::fault(&source) {
                    Some(why) => LoginError::Untrusted { endpoint: endpoint(), why, source },
                    None => LoginError::Unreachable { endpoint: endpoint(), source },
                }
            })?,
            Err(_) => return Err(LoginError::NoAnswer { endpoint: endpoint() }),
        };
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST => {
                let (uid, status) = (self.uid.clone(), status.as_u16());
                return Err(LoginError::Refused { endpoint: endpoint(), uid, status });
            }
            _ if status.is_server_error() => {
                return Err(LoginError::NotReady { endpoint: endpoint(), status: status.as_u16() });
            }
            _ => {}
        }
        let answer = body.ok().and_then(|body| serde_json::from_slice::<Answer>(&body).ok());
        let Some(Answer { token }) = answer.filter(|_| status.is_success()) else {
            return Err(LoginError::NotLogin { endpoint: endpoint() });
        };
        tracing::info!(uid = self.uid, "logged in to DC/OS");
        Token::new(token, now)
    }

    /// A token of our own: a JSON web token (RFC 7519), signed with RS256 (RFC 7518, 3.3).
    fn sign(&self, expires: u64) -> Result<String, LoginError> {
        let part = |value: serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let header = part(json!({"alg": "RS256", "typ": "JWT"}));
        let claims = part(json!({"uid": self.uid, "exp": expires}));
        let text = format!("{header}.{claims}");
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature)
            .map_err(|_| LoginError::Unusable)?;
        Ok(format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
    }
}

impl Token {
    /// To be renewed when nine tenths of its life are over.
    fn new(text: String, now: Time) -> Result<Self, LoginError> {
        let header = sensitive(&format!("token={text}"))?;
        let expires = expiry(&text).unwrap_or_else(|| after(now, LIFE));
        // By a clock of ours that is fast it may look expired; it is tried all the same.
        let life = Duration::from_millis(expires.since(now));
        let renew_at = after(now, (life * 9 / 10).max(APART));
        Ok(Self { text, header, renew_at, expires })
    }
}

fn after(time: Time, wait: Duration) -> Time {
    Time(time.0.saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)))
}

/// When a JSON web token expires, if it is one that says so.
fn expiry(token: &str) -> Option<Time> {
    let claims = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let seconds = serde_json::from_slice::<Claims>(&claims).ok()?.exp?;
    let expires = Duration::try_from_secs_f64(seconds).ok()?;
    Some(after(Time(0), expires))
}

/// A header that is not shown in any output.
pub(super) fn sensitive(text: &str) -> Result<HeaderValue, LoginError> {
    let mut header = HeaderValue::from_str(text).map_err(|_| LoginError::Unusable)?;
    header.set_sensitive(true);
    Ok(header)
}

/// Without key and token.
impl fmt::Debug for ServiceAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceAccount")
            .field("uid", &self.uid)
            .field("endpoint", &self.endpoint.as_str())
            .finish_non_exhaustive()
    }
}
