//! How to reach etcd and as whom.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use etcd_client::{Certificate, ConnectOptions, Identity, TlsOptions};

use super::error::{Names, StoreError};

/// etcd closes connections that are probed more often than each 5 s
/// (`--grpc-keepalive-min-time`).
const PROBE_EVERY: Duration = Duration::from_secs(6);

/// Where etcd is, which keys are ours, and who we are. Oldest supported: etcd 3.4.
#[derive(Clone)]
pub struct EtcdOptions {
    /// `http://HOST:PORT` or `https://HOST:PORT`, at least one.
    pub endpoints: Vec<String>,
    /// What all our keys begin with, for example `/calico-dcos`.
    pub prefix: String,
    /// The user, if etcd has authentication switched on.
    pub user: Option<String>,
    /// The file with the user's password; line breaks at its end do not count.
    pub password_file: Option<PathBuf>,
    /// The certificates (PEM) that etcd's own is checked against. Needed with `https`.
    pub ca_file: Option<PathBuf>,
    /// Our certificate (PEM), if etcd asks for one.
    pub cert_file: Option<PathBuf>,
    /// The key (PEM) of `cert_file`.
    pub key_file: Option<PathBuf>,
    /// How long an answer may take, and how long a silence is borne.
    pub timeout: Duration,
}

impl Default for EtcdOptions {
    fn default() -> Self {
        Self {
            endpoints: vec!["http://127.0.0.1:2379".to_owned()],
            prefix: "/calico-dcos".to_owned(),
            user: None,
            password_file: None,
            ca_file: None,
            cert_file: None,
            key_file: None,
            timeout: Duration::from_secs(5),
        }
    }
}

impl fmt::Debug for EtcdOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.names();
        f.debug_struct("EtcdOptions")
            .field("endpoints", &names.endpoints)
            .field("prefix", &names.prefix)
            .field("user", &names.user)
            .finish_non_exhaustive()
    }
}

impl EtcdOptions {
    /// The prefix with one slash at its end.
    pub(super) fn root(&self) -> String {
        format!("{}/", self.prefix.trim_end_matches('/'))
    }

    pub(super) fn names(&self) -> Names {
        // Somebody may have put a password into an address; it is refused, and not shown.
        let shown = |endpoint: &String| match endpoint.rsplit_once('@') {
            Some((_, host)) => format!("***@{host}"),
            None => endpoint.clone(),
        };
        Names {
            endpoints: self.endpoints.iter().map(shown).collect::<Vec<_>>().join(", "),
            prefix: self.prefix.clone(),
            user: self.user.clone(),
        }
    }

    /// The same credentials for another place.
    pub(super) fn at(&self, endpoint: &str) -> Self {
        Self { endpoints: vec![endpoint.to_owned()], ..self.clone() }
    }

    /// The same place, as somebody who has no credentials.
    pub(super) fn anonymous(&self) -> Self {
        let (user, password_file) = (None, None);
        Self { user, password_file, cert_file: None, key_file: None, ..self.clone() }
    }

    /// Finds contradictions, then reads the files.
    pub(super) async fn for_client(&self) -> Result<ConnectOptions, StoreError> {
        self.check()?;
        let mut options = ConnectOptions::new()
            .with_connect_timeout(self.timeout)
            .with_keep_alive(PROBE_EVERY, self.timeout)
            // etcd takes probes without an open stream for an attack.
            .with_keep_alive_while_idle(false)
            .with_auto_token_refresh(true);
        if let (Some(user), Some(file)) = (&self.user, &self.password_file) {
            let password = read("the password file", file).await?;
            let password = String::from_utf8_lossy(&password);
            options = options.with_user(user, password.trim_end_matches(['\r', '\n']));
        }
        if let Some(ca) = &self.ca_file {
            let ca = Certificate::from_pem(read("the CA file", ca).await?);
            let mut tls = TlsOptions::new().ca_certificate(ca);
            if let (Some(cert), Some(key)) = (&self.cert_file, &self.key_file) {
                let cert = read("the certificate file", cert).await?;
                let key = read("the key file", key).await?;
                tls = tls.identity(Identity::from_pem(cert, key));
            }
            options = options.with_tls(tls);
        }
        Ok(options)
    }

    fn check(&self) -> Result<(), StoreError> {
        let wrong = |what: &str| Err(StoreError::Options(what.to_owned()));
        if self.endpoints.is_empty() {
            return wrong("no address of etcd is given; give at least one, like http://HOST:2379");
        }
        if self.endpoints.iter().any(|endpoint| endpoint.contains('@')) {
            return wrong("an address of etcd has a user in it; give user and password file apart");
        }
        if self.prefix.trim_end_matches('/').is_empty() || !self.prefix.starts_with('/') {
            return wrong("the prefix of etcd's keys must be like /calico-dcos");
        }
        if self.user.is_some() != self.password_file.is_some() {
            return wrong("etcd's user and password file go together; give both or neither");
        }
        if self.cert_file.is_some() != self.key_file.is_some() {
            return wrong("the client certificate and its key go together; give both or neither");
        }
        let https = |endpoint: &String| endpoint.starts_with("https://");
        if !self.endpoints.iter().all(|e| https(e) || e.starts_with("http://")) {
            return wrong("an address of etcd is neither http:// nor https://; write it in full");
        }
        if self.endpoints.iter().any(https) && self.ca_file.is_none() {
            return wrong(
                "etcd's https:// needs a CA file to check its certificate against; give --etcd-ca",
            );
        }
        let tls = self.ca_file.is_some() || self.cert_file.is_some();
        if tls && !self.endpoints.iter().all(https) {
            return wrong(
                "certificates are given, but an address of etcd is http://; use https://",
            );
        }
        Ok(())
    }
}

async fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, StoreError> {
    let at = path.to_owned();
    // Small files, once at start: not worth tokio's file system.
    tokio::task::spawn_blocking(move || std::fs::read(at))
        .await
        .unwrap_or_else(|stopped| Err(std::io::Error::other(stopped)))
        .map_err(|source| StoreError::File { what, path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn options_that_cannot_work_are_refused_before_anything_is_sent() {
        let base = EtcdOptions::default;
        let file = || Some(PathBuf::from("/nonexistent/file"));
        let at = |endpoint: &str| EtcdOptions { endpoints: vec![endpoint.into()], ..base() };
        let table = [
            (EtcdOptions { endpoints: vec![], ..base() }, "at least one"),
            (at("http://root:geheim@etcd:2379"), "apart"),
            (at("etcd:2379"), "in full"),
            (at("https://etcd:2379"), "CA file"),
            (EtcdOptions { prefix: "/".into(), ..base() }, "/calico-dcos"),
            (EtcdOptions { prefix: "x".into(), ..base() }, "/calico-dcos"),
            (EtcdOptions { user: Some("a".into()), ..base() }, "both or neither"),
            (EtcdOptions { key_file: file(), ..base() }, "both or neither"),
            (EtcdOptions { ca_file: file(), ..base() }, "use https"),
            (EtcdOptions { ca_file: file(), ..at("https://e:1") }, "the CA file `/nonexistent"),
        ];
        for (options, hint) in table {
            let error = options.for_client().await.err().map(|e| e.to_string()).unwrap_or_default();
            assert!(error.contains(hint), "{options:?}: {error}");
            assert!(!error.contains("geheim") && !format!("{options:?}").contains("geheim"));
        }
    }
}
