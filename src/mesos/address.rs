//! What people write to say where the masters are.

use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use reqwest::Url;

use super::auth::Secret;
use super::location::shown;

/// ZooKeeper's port, where none is given.
const ZOOKEEPER_PORT: u16 = 2181;

/// Where the masters are: `http(s)://HOST:PORT`, several with commas between them, or
/// `zk://HOST:PORT,…/PATH`. Of a list any will do, as a standby names the leader; a list is for
/// when one is down. ZooKeeper says who leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Masters(pub(super) Place);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Masters to ask in this order, at least one.
    Listed(Vec<Url>),
    /// Who knows them.
    ZooKeeper(Ensemble),
}

/// The ZooKeeper that masters register with: their `--zk`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ensemble {
    /// `HOST:PORT`, at least one.
    pub(super) servers: Vec<String>,
    /// Where the masters are registered: `/mesos`.
    pub(super) path: String,
    /// `user:password`, of ZooKeeper's `digest` scheme.
    pub(super) digest: Option<Secret>,
}

/// Why a text does not say where the masters are. The text is repeated only where it cannot hold
/// a password.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// Nothing is given.
    #[error("no Mesos master is given; write, for example, http://leader.mesos:5050")]
    Empty,
    /// `http://user:password@`.
    #[error(
        "a user or password does not belong in the address of a Mesos master, where logs and \
         process lists show it; put it into a credentials file"
    )]
    Secret,
    /// `zk://user:password@`, not in a file.
    #[error(
        "ZooKeeper's user and password do not belong on a command line or in the environment, \
         where process lists and Mesos itself show them; put the whole zk:// address into a file \
         that only you can read, and give file:///PATH/OF/IT"
    )]
    ZooKeeperSecret,
    /// `zk://`, and something is wrong with the rest.
    #[error("the address of ZooKeeper {0}; write, for example, zk://HOST1:2181,HOST2:2181/mesos")]
    NotAnEnsemble(&'static str),
    /// Anything else.
    #[error(
        "`{0}` is not the address of a Mesos master; write, for example, http://HOST:5050 or \
         zk://HOST:2181/mesos"
    )]
    NotAnAddress(String),
    /// `file://`, and the file cannot be read.
    #[error("the file with the address of the Mesos masters, {path}, cannot be read")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file holds a password, and everybody can read it.
    #[error(
        "the file {path} holds a password and can be read by everybody on this machine; run \
         `chmod 600` on it"
    )]
    Exposed {
        /// The file.
        path: PathBuf,
    },
}

impl Masters {
    /// Reads what was given: an address, or `file:///PATH` of a file that holds one. Only in a
    /// file may the address of a ZooKeeper have user and password.
    pub fn read(given: &str) -> Result<Self, AddressError> {
        let Some(path) = given.trim().strip_prefix("file://") else { return given.parse() };
        let path = Path::new(path);
        let unreadable = |source| AddressError::File { path: path.to_owned(), source };
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        let text = text.trim();
        if !text.contains('@') || !text.starts_with("zk://") {
            return text.parse();
        }
        let mode = std::fs::metadata(path).map_err(unreadable)?.permissions().mode();
        if is_exposed(mode) {
            return Err(AddressError::Exposed { path: path.to_owned() });
        }
        ensemble(text).map(|ensemble| Self(Place::ZooKeeper(ensemble)))
    }

    /// Whether any of them is certainly asked over TLS.
    pub(super) fn use_tls(&self) -> bool {
        match &self.0 {
            Place::Listed(masters) => masters.iter().any(|url| url.scheme() == "https"),
            Place::ZooKeeper(_) => false,
        }
    }

    /// Whether it is ZooKeeper that knows them.
    pub(super) fn are_found_by_zookeeper(&self) -> bool {
        matches!(self.0, Place::ZooKeeper(_))
    }
}

/// Whether a file with this mode can be read or written by everybody.
pub(super) fn is_exposed(mode: u32) -> bool {
    mode & 0o007 != 0
}

impl FromStr for Masters {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(AddressError::Empty);
        }
        // Before it is split: `zk://` has its own commas.
        if text.starts_with("zk://") {
            if text.contains('@') {
                return Err(AddressError::ZooKeeperSecret);
            }
            return ensemble(text).map(|ensemble| Self(Place::ZooKeeper(ensemble)));
        }
        if text.contains('@') {
            return Err(AddressError::Secret);
        }
        let masters = text.split(',').map(|part| master(part.trim())).collect::<Result<_, _>>()?;
        Ok(Self(Place::Listed(masters)))
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

/// Takes `zk://[USER:PASSWORD@]HOST[:PORT],…/PATH` apart, as Mesos does
/// (`src/zookeeper/url.hpp`): a password may hold anything, so the last `@` counts.
fn ensemble(text: &str) -> Result<Ensemble, AddressError> {
    let wrong = AddressError::NotAnEnsemble;
    let rest = text.strip_prefix("zk://").unwrap_or(text);
    let (digest, rest) = match rest.rsplit_once('@') {
        Some((digest, rest)) if digest.contains(':') => (Some(Secret::new(digest)), rest),
        Some(_) => return Err(wrong("has a user without a password")),
        None => (None, rest),
    };
    let (servers, path) = rest.split_once('/').unwrap_or((rest, ""));
    let path = path.trim_end_matches('/');
    if path.is_empty() {
        return Err(wrong("has no path, which is where the masters are registered"));
    }
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) || path.contains(['?', '#']) {
        return Err(wrong("has a path that ZooKeeper cannot have"));
    }
    let server = |text: &str| {
        // A URL parser knows what a host is, IPv6 too.
        let url = Url::parse(&format!("http://{text}")).ok()?;
        let plain = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        let host = url.host_str().filter(|_| plain && text.trim() == text)?;
        let port = if text.ends_with(":80") { 80 } else { url.port().unwrap_or(ZOOKEEPER_PORT) };
        (port != 0).then(|| format!("{host}:{port}"))
    };
    let servers: Option<Vec<_>> = servers.split(',').map(server).collect();
    let servers = servers.ok_or(wrong("has a server that is not HOST or HOST:PORT"))?;
    Ok(Ensemble { servers, path: format!("/{path}"), digest })
}

impl fmt::Display for Masters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Listed(masters) => {
                let masters: Vec<_> = masters.iter().map(shown).collect();
                f.write_str(&masters.join(", "))
            }
            Place::ZooKeeper(ensemble) => ensemble.fmt(f),
        }
    }
}

/// Without the password.
impl fmt::Display for Ensemble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "zk://{}{}", self.servers.join(","), self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str, mode: u32) -> (tempfile::NamedTempFile, String) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        let address = format!("file://{}", file.path().display());
        (file, address)
    }

    #[test]
    fn masters_are_given_one_by_one_as_a_list_or_by_zookeeper() {
        for (text, shown) in [
            ("http://leader.mesos:5050", "http://leader.mesos:5050"),
            ("https://m1:5050, http://10.0.0.2:5050/", "https://m1:5050, http://10.0.0.2:5050"),
            ("http://[::1]:5050", "http://[::1]:5050"),
            ("https://dcos.example/mesos", "https://dcos.example/mesos"),
            ("zk://z1:2181,z2:2182,z3/mesos", "zk://z1:2181,z2:2182,z3:2181/mesos"),
            ("zk://10.0.0.1:80/a/b/", "zk://10.0.0.1:80/a/b"),
            ("zk://[::1]:2181/mesos", "zk://[::1]:2181/mesos"),
        ] {
            assert_eq!(text.parse::<Masters>().unwrap().to_string(), shown);
            let (_file, address) = file(&format!("{text}\n"), 0o644);
            assert_eq!(Masters::read(&address).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn what_is_not_a_master_is_refused_without_repeating_a_password() {
        for (text, words) in [
            ("", "no Mesos master is given"),
            (" ", "no Mesos master is given"),
            ("http://u:secret@m1:5050", "credentials file"),
            ("m1:5050", "`m1:5050` is not the address"),
            ("http://m1:5050,", "`` is not the address"),
            ("http://m1:5050,zk://z/mesos", "`zk://z/mesos` is not the address"),
            ("http://m1:99999", "`http://m1:99999` is not the address"),
            ("http://m1/?a=b", "`http://m1/?a=b` is not the address"),
            ("zk://u:secret@z1:2181,z2:2181/mesos", "give file:///PATH"),
            ("zk://z1", "has no path"),
            ("zk://z1/", "has no path"),
            ("zk:///mesos", "a server that is not"),
            ("zk://z1,,z2/mesos", "a server that is not"),
            ("zk://z1:0/mesos", "a server that is not"),
            ("zk://z1:99999/mesos", "a server that is not"),
            ("zk://z1 /mesos", "a server that is not"),
            ("zk://z1/a//b", "a path that ZooKeeper cannot have"),
            ("zk://z1/a/../b", "a path that ZooKeeper cannot have"),
        ] {
            let error = text.parse::<Masters>().unwrap_err();
            assert!(error.to_string().contains(words), "{text}: {error}");
            assert!(!format!("{error} {error:?}").contains("secret"), "{text}");
        }
    }

    #[test]
    fn a_password_for_zookeeper_is_taken_from_a_file_that_is_not_open_to_all() {
        let text = "zk://calico:se@c/ret@z1,z2:2182/mesos\n";
        let (_private, address) = file(text, 0o640);
        let masters = Masters::read(&address).unwrap();
        assert_eq!(masters.to_string(), "zk://z1:2181,z2:2182/mesos");
        assert!(!format!("{masters:?}").contains("c/ret"));
        let Masters(Place::ZooKeeper(ensemble)) = masters else { panic!("it is a ZooKeeper") };
        assert_eq!(ensemble.digest, Some(Secret::new("calico:se@c/ret")));

        let (_open, address) = file(text, 0o644);
        let error = Masters::read(&address).unwrap_err();
        assert!(error.to_string().contains("chmod 600"), "{error}");
        let (_open, address) = file("http://u:secret@m1:5050", 0o600);
        assert!(matches!(Masters::read(&address), Err(AddressError::Secret)));
        let (_half, address) = file("zk://calico@z1/mesos", 0o600);
        assert!(Masters::read(&address).unwrap_err().to_string().contains("without a password"));
        let error = Masters::read("file:///nowhere/at/all").unwrap_err();
        assert!(error.to_string().contains("/nowhere/at/all"), "{error}");
    }
}
