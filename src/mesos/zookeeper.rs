//! Who leads, as ZooKeeper says: one session that watches where the masters are registered. The
//! only room that knows the ZooKeeper client.
//!
//! Nothing is ever written. While ZooKeeper is down, the leader that was named last is the one to
//! ask: masters work on for a while, and none can take over.

mod old_tree;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;
use zookeeper_client::{Client, Error as ClientError, SessionState};

use super::address::Ensemble;
use super::location::shown;
use super::registered::{self, Leading};

pub use old_tree::{OldTree, OldTreeAddress};

/// How long ZooKeeper keeps a session that it does not hear of; that of Mesos' own.
const SESSION: Duration = Duration::from_secs(10);

/// The pause after a failure, at most; drawn between a half of it and this.
const PAUSE: Duration = Duration::from_secs(1);

/// Why it is not known who leads.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are said by the texts")]
pub enum ZooKeeperError {
    /// No server answers, or the session broke.
    #[error("none of the ZooKeeper servers answers; check their addresses, and that they run")]
    Unreachable { source: ClientError },
    /// The access list of a node does not let us read.
    #[error(
        "ZooKeeper does not let us read {path}; give the user and password of the masters' --zk, \
         in a file"
    )]
    Forbidden { path: String },
    /// The path is not there.
    #[error("ZooKeeper has no {path}; compare it with the masters' --zk")]
    NoPath { path: String },
    /// The path is there, and no master.
    #[error("no Mesos master is registered under {path}; start one")]
    Nobody { path: String },
    /// The leader's record makes no sense.
    #[error("what the leading master wrote into {node} is not understood; is it Mesos'?")]
    BadRecord { node: String },
    /// The leader is too old.
    #[error("the leading master ({node}) is of Mesos 0.23 or before; upgrade it to 1.0 at least")]
    TooOld { node: String },
}

impl ZooKeeperError {
    /// Whether it will not get better by itself.
    pub(super) fn is_permanent(&self) -> bool {
        matches!(self, Self::Forbidden { .. } | Self::BadRecord { .. } | Self::TooOld { .. })
    }
}

/// A leader, by its node: a master that comes back at the same address is another leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Leader {
    pub(super) url: Url,
    pub(super) node: String,
}

/// What is known.
#[derive(Clone, Debug, Default)]
pub(super) struct Sight {
    /// The leader named last.
    pub(super) leader: Option<Leader>,
    /// Why nothing newer is known.
    pub(super) trouble: Option<Arc<ZooKeeperError>>,
}

/// Watches. Dropped, it closes its session.
#[derive(Debug)]
pub(super) struct Detector {
    sight: watch::Receiver<Sight>,
    _task: AbortOnDropHandle<()>,
}

impl Detector {
    /// Starts to watch; masters are asked over TLS if that is said.
    pub(super) fn start(ensemble: Ensemble, tls: bool) -> Self {
        let (tell, sight) = watch::channel(Sight::default());
        let task = AbortOnDropHandle::new(tokio::spawn(watch_on(ensemble, tls, tell)));
        Self { sight, _task: task }
    }

    /// What is known, now and whenever it changes. The first value knows nothing.
    pub(super) fn sight(&self) -> watch::Receiver<Sight> {
        self.sight.clone()
    }
}

async fn watch_on(ensemble: Ensemble, tls: bool, tell: watch::Sender<Sight>) {
    loop {
        let Err(error) = follow(&ensemble, tls, &tell).await;
        trouble(&ensemble, error, &tell);
        tokio::time::sleep(PAUSE.mul_f64(rand::random_range(0.5..=1.0))).await;
    }
}

/// A session. Each server is tried once: pauses between rounds are ours.
async fn connect(ensemble: &Ensemble) -> Result<Client, ZooKeeperError> {
    let mut connector = Client::connector().with_session_timeout(SESSION).with_fail_eagerly();
    if let Some(digest) = &ensemble.digest {
        connector = connector.with_auth("digest", digest.reveal().as_bytes());
    }
    let connected = connector.connect(&ensemble.servers.join(",")).await;
    connected.map_err(|source| ZooKeeperError::Unreachable { source })
}

/// Why something at this path was not answered.
fn failed(error: ClientError, path: &str) -> ZooKeeperError {
    match error {
        ClientError::NoAuth | ClientError::AuthFailed => {
            ZooKeeperError::Forbidden { path: path.to_owned() }
        }
        source => ZooKeeperError::Unreachable { source },
    }
}

/// One session, until it breaks or its masters make no sense.
async fn follow(
    ensemble: &Ensemble,
    tls: bool,
    tell: &watch::Sender<Sight>,
) -> Result<Infallible, ZooKeeperError> {
    let path = ensemble.path.as_str();
    let client = connect(ensemble).await?;
    let failed = |error| failed(error, path);
    loop {
        let watcher = match client.list_and_watch_children(path).await {
            Ok((nodes, watcher)) => {
                if look(&client, ensemble, &nodes, tls, tell).await? == Look::Again {
                    continue;
                }
                watcher
            }
            Err(ClientError::NoNode) => {
                let (there, watcher) = client.check_and_watch_stat(path).await.map_err(failed)?;
                if there.is_some() {
                    continue;
                }
                trouble(ensemble, ZooKeeperError::NoPath { path: path.to_owned() }, tell);
                watcher
            }
            Err(error) => return Err(failed(error)),
        };
        // A connection that breaks and comes back within the session says nothing here: the
        // client sets its watches anew, and the server tells what they missed.
        let session = watcher.changed().await.session_state;
        if session.is_terminated() {
            let source = match session {
                SessionState::AuthFailed => ClientError::AuthFailed,
                _ => ClientError::SessionExpired,
            };
            return Err(failed(source));
        }
    }
}

#[derive(PartialEq, Eq)]
enum Look {
    Done,
    /// The leader has gone between two looks.
    Again,
}

/// Reads who leads, and tells.
async fn look(
    client: &Client,
    ensemble: &Ensemble,
    nodes: &[String],
    tls: bool,
    tell: &watch::Sender<Sight>,
) -> Result<Look, ZooKeeperError> {
    let within = |node: &str| format!("{}/{node}", ensemble.path);
    let node = match registered::leading(nodes) {
        Leading::Node(node) => within(node),
        Leading::Nobody => {
            trouble(ensemble, ZooKeeperError::Nobody { path: ensemble.path.clone() }, tell);
            return Ok(Look::Done);
        }
        Leading::TooOld(node) => {
            trouble(ensemble, ZooKeeperError::TooOld { node: within(node) }, tell);
            return Ok(Look::Done);
        }
    };
    let record = match client.get_data(&node).await {
        Ok((record, _)) => record,
        Err(ClientError::NoNode) => return Ok(Look::Again),
        Err(ClientError::NoAuth) => return Err(ZooKeeperError::Forbidden { path: node }),
        Err(source) => return Err(ZooKeeperError::Unreachable { source }),
    };
    match registered::address(&record, tls) {
        Some(url) => {
            let leader = Leader { url, node };
            tell.send_if_modified(|sight| {
                let changed = sight.leader.as_ref() != Some(&leader);
                if changed {
                    tracing::info!(leader = %shown(&leader.url), node = leader.node,
                        "ZooKeeper names the leading master");
                }
                let recovered = sight.trouble.take().is_some();
                sight.leader = Some(leader);
                changed || recovered
            });
        }
        None => trouble(ensemble, ZooKeeperError::BadRecord { node }, tell),
    }
    Ok(Look::Done)
}

/// Tells what is wrong, once for each kind of trouble in a row.
fn trouble(ensemble: &Ensemble, error: ZooKeeperError, tell: &watch::Sender<Sight>) {
    tell.send_if_modified(|sight| {
        let known = sight.trouble.as_ref().is_some_and(|old| old.to_string() == error.to_string());
        if !known {
            tracing::warn!(zookeeper = %ensemble, %error, "ZooKeeper names no leading master");
            if matches!(error, ZooKeeperError::Nobody { .. } | ZooKeeperError::NoPath { .. }) {
                sight.leader = None;
            }
            sight.trouble = Some(Arc::new(error));
        }
        !known
    });
}
