//! What goes wrong with etcd, as sentences with the next thing to do.

use std::fmt;
use std::path::PathBuf;

use super::txn::Refused;

/// A request that etcd did not carry out, or options that cannot work.
///
/// No password is in any of them: passwords are read from files and handed on, nothing else.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No answer in time, a broken connection, or a cluster without a leader. A write that was
    /// under way may have been done: read before it is repeated.
    #[error(
        "etcd at {endpoints} does not answer; check that it runs and that the address is right"
    )]
    Unreachable {
        /// The addresses that were tried.
        endpoints: String,
        /// What the connection said; nothing if it stayed silent.
        #[source]
        source: Option<Cause>,
    },
    /// The user may not do this, or is none.
    #[error(
        "etcd does not let {who} read and write under `{prefix}`; give the name and the password \
         file of a user that may"
    )]
    Denied {
        /// The user, for people.
        who: String,
        /// The prefix of our keys.
        prefix: String,
        /// What etcd said.
        #[source]
        source: Cause,
    },
    /// The database has reached its quota; etcd takes no writes.
    #[error(
        "etcd has no space left and takes no writes; compact and defragment it, then clear the \
         alarm with `etcdctl alarm disarm`"
    )]
    NoSpace,
    /// A transaction larger than etcd's limit, 1.5 MiB by default.
    #[error("etcd refuses a write as too large; make the document smaller")]
    TooLarge,
    /// etcd does not take the transaction.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Anybody who reaches etcd can write under the prefix.
    #[error(
        "anybody who reaches etcd can write under `{prefix}` and so be root on every host; switch \
         on etcd's authentication or client certificates, or accept it with --allow-open-etcd"
    )]
    Open {
        /// The prefix of our keys.
        prefix: String,
    },
    /// The options contradict each other or lack something.
    #[error("{0}")]
    Options(String),
    /// A file named in the options cannot be read.
    #[error("cannot read {what} `{}`; check the path and its permissions", path.display())]
    File {
        /// What the file is for.
        what: &'static str,
        /// Where it was looked for.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The changes or the listing asked for are compacted away.
    #[error("etcd has compacted what was asked for; ask again")]
    Compacted,
    /// Something answers, and it does not know etcd's v3 API.
    #[error(
        "what answers at {endpoints} is no etcd with the v3 API, 3.4 or newer; check the address and its port"
    )]
    NotEtcd {
        /// The addresses that were tried.
        endpoints: String,
        /// What it said.
        #[source]
        source: Cause,
    },
    /// Anything else that etcd or its client says.
    #[error("etcd refused the request; its logs may say more")]
    Other(#[source] Cause),
}

/// What etcd or its client said, in words: as it is shown by itself, a broken connection is a dump of structures.
#[derive(Debug)]
pub struct Cause(Box<etcd_client::Error>);

impl From<etcd_client::Error> for Cause {
    fn from(error: etcd_client::Error) -> Self {
        Self(Box::new(error))
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let etcd_client::Error::GRpcStatus(status) = &*self.0 else {
            return fmt::Display::fmt(&self.0, f);
        };
        let mut innermost = std::error::Error::source(status);
        while let Some(inner) = innermost.and_then(std::error::Error::source) {
            innermost = Some(inner);
        }
        match innermost {
            Some(inner) => fmt::Display::fmt(inner, f),
            None if status.message().is_empty() => f.write_str(status.code().description()),
            None => f.write_str(status.message()),
        }
    }
}

impl std::error::Error for Cause {}

/// What a [`StoreError`] names beside the error itself.
#[derive(Clone, Debug)]
pub(super) struct Names {
    pub(super) endpoints: String,
    pub(super) prefix: String,
    pub(super) user: Option<String>,
}

/// gRPC status codes (`google/rpc/code.proto`), by the numbers that etcd's Go server sends.
mod code {
    pub(super) const CANCELLED: i32 = 1;
    pub(super) const UNKNOWN: i32 = 2;
    pub(super) const DEADLINE_EXCEEDED: i32 = 4;
    pub(super) const PERMISSION_DENIED: i32 = 7;
    pub(super) const UNIMPLEMENTED: i32 = 12;
    pub(super) const INTERNAL: i32 = 13;
    pub(super) const UNAVAILABLE: i32 = 14;
    pub(super) const UNAUTHENTICATED: i32 = 16;
}

impl Names {
    pub(super) fn silent(&self) -> StoreError {
        StoreError::Unreachable { endpoints: self.endpoints.clone(), source: None }
    }

    /// Sorts an error of the client. Beside the codes it looks at the texts of etcd's
    /// `api/v3rpc/rpctypes/error.go`, the same from 3.4 to 3.6, because one code stands for many.
    pub(super) fn sort(&self, error: etcd_client::Error) -> StoreError {
        use etcd_client::Error;
        let (number, message) = match &error {
            Error::GRpcStatus(status) => (i32::from(status.code()), status.message()),
            Error::TransportError(_) | Error::IoError(_) | Error::WatchError(_) => {
                (code::UNAVAILABLE, "")
            }
            _ => return StoreError::Other(error.into()),
        };
        let says = |text: &str| message.contains(text);
        let by_etcd = says("etcdserver: ");
        if says("user name is empty") || says("authentication failed") || says("is not enabled") {
            return self.denied(error);
        }
        if says("database space exceeded") {
            return StoreError::NoSpace;
        }
        if says("request is too large") || says("larger than max") {
            return StoreError::TooLarge;
        }
        if says("requested lease not found") {
            return StoreError::Refused(Refused::NoLease);
        }
        if says("required revision has been compacted") {
            return StoreError::Compacted;
        }
        match number {
            code::PERMISSION_DENIED | code::UNAUTHENTICATED => self.denied(error),
            code::UNAVAILABLE | code::DEADLINE_EXCEEDED => self.unreachable(error),
            code::UNIMPLEMENTED if !by_etcd => {
                StoreError::NotEtcd { endpoints: self.endpoints.clone(), source: error.into() }
            }
            // A broken connection has no code of its own.
            code::CANCELLED | code::UNKNOWN | code::INTERNAL if !by_etcd => self.unreachable(error),
            _ => StoreError::Other(error.into()),
        }
    }

    fn unreachable(&self, error: etcd_client::Error) -> StoreError {
        StoreError::Unreachable { endpoints: self.endpoints.clone(), source: Some(error.into()) }
    }

    fn denied(&self, error: etcd_client::Error) -> StoreError {
        let who = match &self.user {
            Some(user) => format!("user `{user}`"),
            None => "a client without a user".to_owned(),
        };
        StoreError::Denied { who, prefix: self.prefix.clone(), source: error.into() }
    }
}

/// An error with all its causes, in one line.
pub(crate) fn in_one_line(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        line.push_str(": ");
        line.push_str(&next.to_string());
        cause = next.source();
    }
    line
}
