//! Who we are to the master: a principal and a secret, from a file.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// For HTTP basic authentication. The secret is in no output.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    principal: String,
    secret: String,
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
    /// It holds something else.
    #[error(
        "the credentials file {path} is not understood; it should hold `PRINCIPAL SECRET` on one \
         line, or {{\"principal\": \"…\", \"secret\": \"…\"}}, as Mesos' own do"
    )]
    Malformed {
        /// The file.
        path: PathBuf,
    },
}

#[derive(Deserialize)]
struct Json {
    principal: String,
    secret: String,
}

impl Credentials {
    /// From their parts.
    #[must_use]
    pub fn new(principal: &str, secret: &str) -> Self {
        Self { principal: principal.to_owned(), secret: secret.to_owned() }
    }

    /// Reads a file in one of the two forms that Mesos takes for `--credential`.
    pub fn read(path: &Path) -> Result<Self, CredentialsError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| CredentialsError::Unreadable { path: path.to_owned(), source })?;
        parse(&text).ok_or_else(|| CredentialsError::Malformed { path: path.to_owned() })
    }

    /// Whom we authenticate as; also goes into `FrameworkInfo.principal`.
    #[must_use]
    pub fn principal(&self) -> &str {
        &self.principal
    }

    pub(super) fn secret(&self) -> &str {
        &self.secret
    }
}

fn parse(text: &str) -> Option<Credentials> {
    if text.trim_start().starts_with('{') {
        let Json { principal, secret } = serde_json::from_str(text).ok()?;
        return Some(Credentials { principal, secret });
    }
    let mut words = text.split_whitespace();
    let credentials = Credentials::new(words.next()?, words.next()?);
    words.next().is_none().then_some(credentials)
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("principal", &self.principal).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_mesos_are_read() {
        let wanted = Some(Credentials::new("calico", "hunter2"));
        assert_eq!(parse("calico hunter2\n"), wanted);
        assert_eq!(parse(r#"{"principal": "calico", "secret": "hunter2"}"#), wanted);
    }

    #[test]
    fn anything_else_is_refused_and_the_secret_stays_secret() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for text in ["", "calico", "calico hunter2 more", r#"{"principal": "hunter2"}"#] {
            std::fs::write(&file, text).unwrap();
            let error = Credentials::read(file.path()).unwrap_err();
            assert!(matches!(error, CredentialsError::Malformed { .. }), "{text}");
            assert!(!format!("{error} {error:?}").contains("hunter2"));
        }
        assert!(!format!("{:?}", Credentials::new("calico", "hunter2")).contains("hunter2"));
        let missing = Credentials::read(Path::new("/nowhere/at/all")).unwrap_err();
        assert!(matches!(missing, CredentialsError::Unreadable { .. }));
    }
}
