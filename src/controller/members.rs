//! The members of etcd, asked for.

use tokio_util::task::AbortOnDropHandle;

use crate::plan::members::Member;
use crate::store::{EtcdStore, in_one_line};

/// At most one question at a time. It is bounded in time by the store.
#[derive(Debug, Default)]
pub(super) struct Members {
    asking: Option<AbortOnDropHandle<Result<Vec<Member>, String>>>,
}

impl Members {
    pub(super) fn ask(&mut self, store: EtcdStore) {
        let ask = async move { store.members().await.map_err(|error| in_one_line(&error)) };
        self.asking = Some(AbortOnDropHandle::new(tokio::spawn(ask)));
    }

    /// The answer, when it is in. Nothing is lost if the future is dropped.
    pub(super) async fn answer(&mut self) -> Result<Vec<Member>, String> {
        let Some(asking) = &mut self.asking else { return std::future::pending().await };
        let answer = asking.await;
        self.asking = None;
        answer.unwrap_or_else(|error| Err(format!("they could not be asked for: {error}")))
    }
}
