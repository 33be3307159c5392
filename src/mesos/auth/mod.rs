//! Who we are to the masters: a principal and a secret, or a service account of DC/OS, from a
//! file.

mod login;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::str::Utf8Error;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use reqwest::Client;
use reqwest::header::HeaderValue;
use serde_json::Value;

use super::address::is_exposed;
pub use login::LoginError;
use login::ServiceAccount;

/// No credentials are larger; in bytes.
const LARGEST: u64 = 64 * 1024;

/// A text that is in no output.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Secret(String);

impl Secret {
    pub(super) fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// For those who need it itself.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// How we prove who we are. No secret is in any output. A clone shares the login of the original.
#[derive(Clone, Debug)]
pub struct Credentials(Kind);

#[derive(Clone, Debug)]
enum Kind {
    /// HTTP basic authentication.
    Basic { principal: String, secret: Secret },
    /// A token, which a login gives.
    Service(Arc<ServiceAccount>),
}

/// Why a file holds no credentials. Its contents are not repeated.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// It cannot be read.
    #[error("the credentials file {path} cannot be read; check its name and permissions")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Everybody can read it.
    #[error(
        "the credentials file {path} can be read by everybody on this machine; run `chmod 600` on \
         it, and change the secret if it may have been read"
    )]
    Exposed {
        /// The file.
        path: PathBuf,
    },
    /// It holds something else.
    #[error(
        "the credentials file {path} is not understood: {what}; it should hold `PRINCIPAL SECRET` \
         on one line, or {{\"principal\": \"…\", \"secret\": \"…\"}}, as Mesos' own do, or the JSON \
         of a DC/OS service account"
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong, and in which line or field.
        what: String,
    },
    /// It holds a secret that Mesos never accepts.
    #[error(
        "the secret in the credentials file {path} has a colon in it, with which Mesos refuses \
         any login; change the secret, there and in the master's --credentials"
    )]
    Colon {
        /// The file.
        path: PathBuf,
    },
    /// It holds a service account whose parts are not as they should be.
    #[error("the service account in the credentials file {path} cannot be used: {why}")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        why: &'static str,
    },
}

impl Credentials {
    /// For basic authentication.
    #[must_use]
    pub fn new(principal: &str, secret: &str) -> Self {
        Self(Kind::Basic { principal: principal.to_owned(), secret: Secret::new(secret) })
    }

    /// Reads a file: in one of the two forms that Mesos takes for `--credential`, or a service
    /// account as DC/OS keeps it in a secret (`uid`, `private_key`, `login_endpoint`).
    pub fn read(path: &Path) -> Result<Self, CredentialsError> {
        let owned = || path.to_owned();
        let unreadable = |source| CredentialsError::Unreadable { path: owned(), source };
        let file = std::fs::File::open(path).map_err(unreadable)?;
        // Of the file that was opened, whatever its name may lead to by now.
        let mode = file.metadata().map_err(unreadable)?.permissions().mode();
        if is_exposed(mode) {
            return Err(CredentialsError::Exposed { path: owned() });
        }
        let mut bytes = Vec::new();
        file.take(LARGEST).read_to_end(&mut bytes).map_err(unreadable)?;
        let text = std::str::from_utf8(&bytes)
            .map_err(|error| Flaw::Form(format!("{} is no text", line_of(&bytes, error))));
        text.and_then(parse).map_err(|flaw| match flaw {
            Flaw::Form(what) => CredentialsError::Malformed { path: owned(), what },
            Flaw::Colon => CredentialsError::Colon { path: owned() },
            Flaw::Account(why) => CredentialsError::Unusable { path: owned(), why },
        })
    }

    /// Whom we authenticate as; also goes into `FrameworkInfo.principal`.
    #[must_use]
    pub fn principal(&self) -> &str {
        match &self.0 {
            Kind::Basic { principal, .. } => principal,
            Kind::Service(account) => account.uid(),
        }
    }

    /// Whether these are a service account's, which needs a login.
    fn need_login(&self) -> bool {
        matches!(self.0, Kind::Service(_))
    }

    /// Whether proving who we are needs TLS, wherever the masters are.
    pub(super) fn use_tls(&self) -> bool {
        matches!(&self.0, Kind::Service(account) if account.uses_tls())
    }

    /// What goes into `Authorization`; a service account logs in for it where it has to.
    pub(super) async fn authorization(&self, client: &Client) -> Result<HeaderValue, LoginError> {
        match &self.0 {
            Kind::Service(account) => account.authorization(client).await,
            Kind::Basic { principal, secret } => {
                let pair = BASE64_STANDARD.encode(format!("{principal}:{}", secret.reveal()));
                login::sensitive(&format!("Basic {pair}"))
            }
        }
    }

    /// A master did not accept this. Whether there can be another one.
    pub(super) async fn refused(&self, authorization: &HeaderValue) -> bool {
        if let Kind::Service(account) = &self.0 {
            account.refused(authorization).await;
        }
        self.need_login()
    }

    /// A text from a master, which may repeat what it was sent, without any secret of ours.
    pub(super) async fn scrub(&self, text: String) -> String {
        let secrets = match &self.0 {
            Kind::Service(account) => account.secrets().await,
            Kind::Basic { principal, secret } => {
                let pair = BASE64_STANDARD.encode(format!("{principal}:{}", secret.reveal()));
                vec![secret.reveal().to_owned(), pair]
            }
        };
        let secrets = secrets.iter().filter(|secret| !secret.is_empty());
        secrets.fold(text, |text, secret| text.replace(secret, "(secret)"))
    }
}

/// What is wrong with the contents of a file, which are not repeated.
#[derive(Debug, PartialEq, Eq)]
enum Flaw {
    Form(String),
    Colon,
    Account(&'static str),
}

fn parse(text: &str) -> Result<Credentials, Flaw> {
    if text.trim_start().starts_with(['{', '[']) {
        return parse_json(text);
    }
    let mut lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    let Some((number, line)) = lines.next() else {
        return Err(Flaw::Form("it is empty".to_owned()));
    };
    if let Some((another, _)) = lines.next() {
        return Err(Flaw::Form(format!("there is more in line {another}")));
    }
    let words: Vec<_> = line.split_whitespace().collect();
    match words[..] {
        [principal, secret] => basic(principal, secret),
        _ => Err(Flaw::Form(match words.len() {
            1 => format!("line {number} has one word"),
            many => format!("line {number} has {many} words"),
        })),
    }
}

/// Principal and secret, or a service account: which one it is, its fields tell.
fn parse_json(text: &str) -> Result<Credentials, Flaw> {
    // What serde says of a value repeats it; where it is, is enough.
    let json: Value = serde_json::from_str(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        Flaw::Form(format!("line {line}, column {column}, is not JSON"))
    })?;
    let optional = |name: &str| match json.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(Flaw::Form(format!("`{name}` is not a text"))),
    };
    let field = |name: &str| {
        optional(name)?.ok_or_else(|| Flaw::Form(format!("the field `{name}` is missing")))
    };
    if json.get("uid").is_some() {
        let (uid, key) = (field("uid")?, field("private_key")?);
        let endpoint = optional("login_endpoint")?.ok_or(Flaw::Account(login::NO_ENDPOINT))?;
        let account = ServiceAccount::new(uid.to_owned(), key, endpoint, optional("scheme")?);
        return Ok(Credentials(Kind::Service(Arc::new(account.map_err(Flaw::Account)?))));
    }
    basic(field("principal")?, field("secret")?)
}

/// The line that is not UTF-8.
fn line_of(bytes: &[u8], error: Utf8Error) -> String {
    let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
    format!("line {}", before.split(|byte| *byte == b'\n').count())
}

/// Mesos takes apart what it gets at the colon, and wants exactly two parts
/// (`3rdparty/libprocess/src/authenticator.cpp`).
fn basic(principal: &str, secret: &str) -> Result<Credentials, Flaw> {
    if principal.contains(':') || secret.contains(':') {
        return Err(Flaw::Colon);
    }
    Ok(Credentials::new(principal, secret))
}
