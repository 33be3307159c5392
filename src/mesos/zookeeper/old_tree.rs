//! What the predecessor keeps in ZooKeeper: the Python framework of the same name. Read, and never
//! written: `doctor` tells of it.
//!
//! `<path>/framework` holds its framework's ID, `<path>/agent/<agent ID>` a JSON object with one
//! entry for each kind of task that it has run there (its `framework/zookeeper.py`).

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use serde_json::{Map, Value};
use zookeeper_client::{Client, Error as ClientError};

use super::ZooKeeperError;
use crate::mesos::address::{AddressError, Ensemble, Masters, Place};

/// Where its package has it: beside the masters' own, under this path.
const BY_DEFAULT: &str = "/calico";
/// All of it is read within this time, or it is as if nobody had answered.
const WITHIN: Duration = Duration::from_secs(20);
/// Agents that are asked for at a time, and at most in all.
const AT_A_TIME: usize = 64;
const MOST: usize = 50_000;

/// Where its tree may be.
#[derive(Clone, Debug)]
pub struct OldTreeAddress(Ensemble);

impl OldTreeAddress {
    /// Reads `zk://HOST,…/PATH`, its option `CALICO_ZK`, or `file:///PATH` of a file with it.
    pub fn read(given: &str) -> Result<Self, AddressError> {
        match Masters::read(given)?.0 {
            Place::ZooKeeper(ensemble) => Ok(Self(ensemble)),
            Place::Listed(_) => Err(AddressError::NotAnEnsemble("does not begin with zk://")),
        }
    }

    /// Where its package puts it, if ZooKeeper is known by the masters' address.
    #[must_use]
    pub fn beside(masters: &Masters) -> Option<Self> {
        let Place::ZooKeeper(ensemble) = &masters.0 else { return None };
        Some(Self(Ensemble { path: BY_DEFAULT.to_owned(), ..ensemble.clone() }))
    }
}

impl std::fmt::Display for OldTreeAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// What is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OldTree {
    /// The ID of its framework.
    pub framework: Option<String>,
    /// Agents that it remembers, also those that are gone.
    pub agents: usize,
    /// How many of them had each kind of task, by its name there, such as `TaskRunEtcdProxy`.
    pub kinds: BTreeMap<String, usize>,
}

impl OldTree {
    /// Reads it; none if it is not there.
    pub async fn look(at: &OldTreeAddress) -> Result<Option<Self>, ZooKeeperError> {
        let silent = |_| ZooKeeperError::Unreachable { source: ClientError::Timeout };
        tokio::time::timeout(WITHIN, look(&at.0)).await.map_err(silent)?
    }

    fn count(&mut self, record: &[u8]) {
        let kinds: Map<String, Value> = serde_json::from_slice(record).unwrap_or_default();
        for (kind, _) in kinds {
            *self.kinds.entry(kind).or_default() += 1;
        }
    }
}

async fn look(ensemble: &Ensemble) -> Result<Option<OldTree>, ZooKeeperError> {
    let path = ensemble.path.as_str();
    let client = super::connect(ensemble).await?;
    let failed = |error| super::failed(error, path);
    let framework = match client.get_data(&format!("{path}/framework")).await {
        Ok((id, _)) => Some(String::from_utf8_lossy(&id).into_owned()),
        Err(ClientError::NoNode) => None,
        Err(error) => return Err(failed(error)),
    };
    let agents = match client.list_children(&format!("{path}/agent")).await {
        Ok(agents) => agents,
        Err(ClientError::NoNode) => Vec::new(),
        Err(error) => return Err(failed(error)),
    };
    if framework.is_none() && agents.is_empty() {
        return Ok(None);
    }
    let mut tree = OldTree { framework, agents: agents.len(), ..OldTree::default() };
    let read = |agent: String| record(&client, format!("{path}/agent/{agent}"));
    let mut records =
        stream::iter(agents.into_iter().take(MOST)).map(read).buffer_unordered(AT_A_TIME);
    while let Some(record) = records.next().await {
        match record {
            Ok((record, _)) => tree.count(&record),
            Err(ClientError::NoNode) => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(Some(tree))
}

async fn record(
    client: &Client,
    path: String,
) -> Result<(Vec<u8>, zookeeper_client::Stat), ClientError> {
    client.get_data(&path).await
}
