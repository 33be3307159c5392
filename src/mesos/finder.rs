//! Whom to ask: the masters as listed, or the one that ZooKeeper names.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::Url;
use tokio::time::{sleep, timeout};

use super::address::{Masters, Place};
use super::error::MesosError;
use super::location::shown;
use super::zookeeper::{Detector, Leader, Sight};

/// Finds masters. Clones share one session with ZooKeeper; it begins when it is first needed.
#[derive(Clone, Debug)]
pub(super) struct Finder {
    masters: Masters,
    detector: Arc<OnceLock<Detector>>,
}

/// The masters to ask, at least one, and on whose word.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) masters: Vec<Url>,
    /// The leader that ZooKeeper named.
    pub(super) leader: Option<Leader>,
}

impl Finder {
    pub(super) fn new(masters: Masters) -> Self {
        Self { masters, detector: Arc::default() }
    }

    pub(super) fn masters(&self) -> &Masters {
        &self.masters
    }

    /// The masters to ask now. Waits for ZooKeeper's first word, no longer than it may.
    pub(super) async fn find(&self, tls: bool, patience: Duration) -> Result<Found, MesosError> {
        let detector = match &self.masters.0 {
            Place::Listed(masters) => {
                return Ok(Found { masters: masters.clone(), leader: None });
            }
            Place::ZooKeeper(ensemble) => {
                self.detector.get_or_init(|| Detector::start(ensemble.clone(), tls))
            }
        };
        let mut sight = detector.sight();
        let known = |sight: &Sight| sight.leader.is_some() || sight.trouble.is_some();
        let address = self.masters.to_string();
        let Sight { leader, trouble } = match timeout(patience, sight.wait_for(known)).await {
            Ok(Ok(sight)) => sight.clone(),
            Ok(Err(_)) | Err(_) => Sight::default(),
        };
        match (leader, trouble) {
            (Some(leader), _) => {
                Ok(Found { masters: vec![leader.url.clone()], leader: Some(leader) })
            }
            (None, Some(source)) => Err(MesosError::NoLeader { address, source }),
            (None, None) => Err(MesosError::NoAnswer { address, seconds: patience.as_secs_f64() }),
        }
    }

    /// Waits until ZooKeeper names another leader than this; for ever where it is not asked.
    pub(super) async fn moved(&self, from: Option<&Leader>) -> String {
        let sight = self.detector.get().map(Detector::sight);
        if let Some(mut sight) = sight {
            let other = |sight: &Sight| sight.leader.is_some() && sight.leader.as_ref() != from;
            let found = sight.wait_for(other).await.ok().and_then(|sight| sight.leader.clone());
            if let Some(leader) = found {
                return shown(&leader.url);
            }
        }
        std::future::pending().await
    }

    /// Waits so long, or until there is another leader to be asked.
    pub(super) async fn pause(&self, wait: Duration) {
        let now = self.detector.get().and_then(|detector| detector.sight().borrow().leader.clone());
        tokio::select! {
            () = sleep(wait) => {}
            _ = self.moved(now.as_ref()) => {}
        }
    }
}
