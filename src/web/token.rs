//! The token that lets somebody ask for something: in a file, compared without telling by time how near a guess is.

use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use axum::http::{HeaderMap, HeaderName, header};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Where the token may be, too: proxies like DC/OS' Admin Router keep `Authorization` for their own.
pub(super) const OWN_HEADER: HeaderName = HeaderName::from_static("x-calico-dcos-token");

/// In characters; as much as nobody guesses.
const SHORTEST: usize = 16;

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// It cannot be read.
    #[error("cannot read the token file `{}`; check that it exists and that you may read it", .path.display())]
    Unreadable {
        /// The path as given.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Everybody can read it.
    #[error("everybody can read the token file `{}`; let only its owner read it (chmod 600)", .path.display())]
    Exposed {
        /// The path as given.
        path: PathBuf,
    },
    /// It holds no token.
    #[error(
        "the token file `{}` has to hold one line of {SHORTEST} characters or more, without spaces; \
         `openssl rand -hex 32` makes one", .path.display()
    )]
    Weak {
        /// The path as given.
        path: PathBuf,
    },
}

/// Only its hash is kept, so that all compares are of one length.
#[derive(Clone)]
pub struct Token([u8; 32]);

impl Token {
    /// Reads it from a file.
    ///
    /// # Errors
    ///
    /// The file cannot be read, can be read by everybody, or holds no token.
    pub fn read(path: &Path) -> Result<Self, TokenError> {
        let owned = || path.to_owned();
        let unreadable = |source| TokenError::Unreadable { path: owned(), source };
        let mode = std::fs::metadata(path).map_err(unreadable)?.permissions().mode();
        if mode & 0o004 != 0 {
            return Err(TokenError::Exposed { path: owned() });
        }
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        let text = text.trim();
        if text.len() < SHORTEST || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TokenError::Weak { path: owned() });
        }
        Ok(Self::of(text))
    }

    fn of(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }

    /// Whether a request carries it: in our own header if that is there, else as `Authorization: Bearer …`.
    pub(super) fn is_in(&self, headers: &HeaderMap) -> bool {
        let given = match headers.get(OWN_HEADER) {
            Some(value) => value.to_str().ok(),
            None => bearer(headers),
        };
        given.is_some_and(|token| Self::of(token.trim()).0.ct_eq(&self.0).into())
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn only_the_token_itself_is_taken() {
        let token = Token::of("0123456789abcdef");
        for (given, taken) in [
            ("Bearer 0123456789abcdef", true),
            ("bearer  0123456789abcdef", true),
            ("Bearer 0123456789abcdeg", false),
            ("Bearer 0123456789abcde", false),
            ("Bearer 0123456789abcdef0", false),
            ("Basic 0123456789abcdef", false),
            ("0123456789abcdef", false),
            ("Bearer", false),
            ("", false),
        ] {
            let headers = [(header::AUTHORIZATION, HeaderValue::from_static(given))];
            assert_eq!(token.is_in(&headers.into_iter().collect()), taken, "{given}");
        }
        assert!(!token.is_in(&HeaderMap::new()));
    }

    #[test]
    fn our_own_header_is_the_only_one_that_counts_where_it_is_given() {
        const GOOD: &str = "0123456789abcdef";
        let token = Token::of(GOOD);
        for (own, authorization, taken) in [
            (GOOD, "", true),
            (GOOD, "token=of-somebody-else", true),
            ("0123456789abcdeg", "Bearer 0123456789abcdef", false),
            ("", "Bearer 0123456789abcdef", false),
            ("Bearer 0123456789abcdef", "", false),
        ] {
            let headers = [
                (OWN_HEADER, HeaderValue::from_static(own)),
                (header::AUTHORIZATION, HeaderValue::from_static(authorization)),
            ];
            let headers = headers.into_iter().collect();
            assert_eq!(token.is_in(&headers), taken, "{own}, {authorization}");
        }
    }

    #[test]
    fn a_file_that_others_read_or_that_holds_none_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let refused = |text: &str, mode| {
            std::fs::write(file.path(), text).unwrap();
            let permissions = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(file.path(), permissions).unwrap();
            Token::read(file.path()).map(drop).map_err(|error| error.to_string())
        };
        assert_eq!(refused("0123456789abcdef\n", 0o640), Ok(()));
        assert!(refused("0123456789abcdef", 0o644).unwrap_err().contains("everybody can read"));
        assert!(refused("short", 0o600).unwrap_err().contains("16 characters"));
        assert!(refused("two words that are long", 0o600).unwrap_err().contains("one line"));
        let gone = Token::read(Path::new("/nowhere/token")).unwrap_err();
        assert!(gone.to_string().contains("check that it exists"));
    }
}
