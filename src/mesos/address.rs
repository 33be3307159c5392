//! Where the masters are.

use std::fmt;
use std::str::FromStr;

use reqwest::Url;

/// The masters to ask, in this order: `http(s)://HOST:PORT`, several with commas between them. Any
/// of them will do, as a standby names the leader; a list is for when one is down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Masters(Vec<Url>);

/// Why a text does not say where the masters are. The text is repeated only where it cannot hold
/// a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Nothing is given.
    #[error("no Mesos master is given; write, for example, http://leader.mesos:5050")]
    Empty,
    /// `zk://…`.
    #[error(
        "finding the master through ZooKeeper is not supported yet; list the masters instead: \
         http://HOST1:5050,http://HOST2:5050 (a standby names the leader)"
    )]
    ZooKeeper,
    /// `user:password@`.
    #[error(
        "a user or password does not belong in the address of a Mesos master, where logs and \
         process lists show it; put it into a credentials file"
    )]
    Secret,
    /// Anything else.
    #[error("`{0}` is not the address of a Mesos master; write, for example, http://HOST:5050")]
    NotAnAddress(String),
}

impl Masters {
    /// The addresses, at least one.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Url> {
        self.0.iter()
    }

    /// Whether any of them is asked over TLS.
    pub(super) fn use_tls(&self) -> bool {
        self.0.iter().any(|url| url.scheme() == "https")
    }
}

impl FromStr for Masters {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.trim().is_empty() {
            return Err(AddressError::Empty);
        }
        // Before it is split: `zk://` has its own commas.
        if text.trim_start().starts_with("zk://") {
            return Err(AddressError::ZooKeeper);
        }
        if text.contains('@') {
            return Err(AddressError::Secret);
        }
        text.split(',').map(|part| master(part.trim())).collect::<Result<_, _>>().map(Self)
    }
}

fn master(text: &str) -> Result<Url, AddressError> {
    let wrong = || AddressError::NotAnAddress(text.to_owned());
    let url = Url::parse(text).map_err(|_| wrong())?;
    let plain = url.query().is_none() && url.fragment().is_none();
    if !matches!(url.scheme(), "http" | "https") || !plain {
        return Err(wrong());
    }
    Ok(url)
}

impl fmt::Display for Masters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, url) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str(", ")?;
            }
            f.write_str(&shown(url))?;
        }
        Ok(())
    }
}

/// An address as people write it, without the slash that every URL ends in.
pub(super) fn shown(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}

/// The URL of an endpoint of a master. A proxy may have put the master under a path of its own.
pub(super) fn endpoint(master: &Url, path: &str) -> Url {
    let mut url = master.clone();
    url.set_path(&format!("{}{path}", master.path().trim_end_matches('/')));
    url
}

/// Which master a standby means by `location`, given for `path` of `standby`. Its usual form has
/// neither scheme nor our path: `//HOST:PORT/master/api/v1/scheduler`. The scheme stays ours;
/// `None` if it is no address, or would send credentials in the clear.
pub(super) fn redirected(standby: &Url, path: &str, location: &str) -> Option<Url> {
    let mut url = endpoint(standby, path).join(location).ok()?;
    let downgraded = standby.scheme() == "https" && url.scheme() != "https";
    if downgraded || !matches!(url.scheme(), "http" | "https") || location.contains('@') {
        return None;
    }
    let prefix = url.path().strip_suffix(path).unwrap_or_default().to_owned();
    url.set_path(&prefix);
    url.set_query(None);
    url.set_fragment(None);
    Some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masters_are_given_one_by_one_or_as_a_list() {
        for (text, shown) in [
            ("http://leader.mesos:5050", "http://leader.mesos:5050"),
            ("https://m1:5050, http://10.0.0.2:5050/", "https://m1:5050, http://10.0.0.2:5050"),
            ("http://[::1]:5050", "http://[::1]:5050"),
            ("https://dcos.example/mesos", "https://dcos.example/mesos"),
        ] {
            assert_eq!(text.parse::<Masters>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn what_is_not_a_master_is_refused_without_repeating_a_password() {
        for (text, error) in [
            ("", AddressError::Empty),
            (" ", AddressError::Empty),
            ("zk://u:secret@z1:2181,z2:2181/mesos", AddressError::ZooKeeper),
            ("http://u:secret@m1:5050", AddressError::Secret),
            ("m1:5050", AddressError::NotAnAddress("m1:5050".to_owned())),
            ("http://m1:5050,", AddressError::NotAnAddress(String::new())),
            ("http://m1:99999", AddressError::NotAnAddress("http://m1:99999".to_owned())),
            ("http://m1/?a=b", AddressError::NotAnAddress("http://m1/?a=b".to_owned())),
        ] {
            assert_eq!(text.parse::<Masters>(), Err(error.clone()), "{text}");
            assert!(!error.to_string().contains("secret"));
        }
    }

    #[test]
    fn a_redirect_keeps_the_scheme_and_finds_the_master_behind_the_path() {
        const PATH: &str = "/api/v1/scheduler";
        let table = [
            // As recorded from a real standby (`11_nonleading_redirect`).
            ("http://b:5061", "//a:5060/master/api/v1/scheduler", Some("http://a:5060/master")),
            ("https://b:5061", "//a:5060/master/api/v1/scheduler", Some("https://a:5060/master")),
            ("http://b:5061", "//a:5060", Some("http://a:5060")),
            ("http://b:5061", "http://a:5060/api/v1/scheduler", Some("http://a:5060")),
            ("http://b:5061", "https://a:5060/api/v1/scheduler", Some("https://a:5060")),
            ("https://b:5061", "http://a:5060/api/v1/scheduler", None),
            ("http://b/mesos", "/leader/api/v1/scheduler", Some("http://b/leader")),
            ("http://b:5061", "ftp://a:5060", None),
            ("http://b:5061", "//u:p@a:5060", None),
            ("http://b:5061", "//", None),
        ];
        for (standby, location, leader) in table {
            let standby = Url::parse(standby).unwrap();
            let found = redirected(&standby, PATH, location);
            assert_eq!(found.as_ref().map(shown).as_deref(), leader, "{standby} {location}");
        }
    }

    #[test]
    fn an_endpoint_is_under_the_masters_path() {
        for (master, url) in [
            ("http://a:5050", "http://a:5050/api/v1"),
            ("http://a:5050/master", "http://a:5050/master/api/v1"),
            ("https://dcos/mesos/", "https://dcos/mesos/api/v1"),
        ] {
            assert_eq!(endpoint(&Url::parse(master).unwrap(), "/api/v1").as_str(), url);
        }
    }
}
