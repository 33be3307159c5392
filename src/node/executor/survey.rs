//! One look at the host, by the process whose observer reports of it.

use crate::node::host::{Host, blocking};
use crate::node::observer;
use crate::node::state::{State, StateError};
use crate::node::watch::FileSigns;
use crate::observed::facts::Facts;
use crate::words::TaskId;

/// What came of a look.
pub(super) struct Survey {
    /// The observer that has taken the reports of this host before it.
    pub reports: Option<TaskId>,
    pub found: Found,
}

pub(super) enum Found {
    Facts(Box<Facts>),
    /// An observer that was launched later reports of this host, and no more this one.
    Superseded(TaskId),
    /// It cannot be looked at; why.
    Nothing(String),
}

/// One process of a host reports: that of the observer that was launched last.
pub(super) struct Claim {
    pub observer: TaskId,
    /// How many executors have started here before this one.
    pub starts: u64,
    /// It has taken the reports before.
    pub had: bool,
}

impl Claim {
    /// Whether the reports are this observer's. Waits for a lock.
    fn holds(&self, state: &State) -> Result<bool, StateError> {
        if self.had {
            state.has_reports(&self.observer)
        } else {
            state.take_reports(&self.observer, self.starts).map(|()| true)
        }
    }
}

/// Looks at the host, if its reports are those of the observer that asks.
pub(super) async fn look(host: &Host, files: &FileSigns, claim: Option<Claim>) -> Survey {
    let mut reports = None;
    if let Some(claim) = claim {
        let (observer, state) = (claim.observer.clone(), host.state.clone());
        match blocking(move || Ok(claim.holds(&state)?)).await {
            Ok(true) => reports = Some(observer),
            Ok(false) => return Survey { reports, found: Found::Superseded(observer) },
            Err(error) => {
                let error = error.sentence();
                tracing::error!(error, "whether another process reports cannot be known");
            }
        }
    }
    // Before the look, so that nothing changes between the two.
    let looked = match files.watch(host) {
        Ok(()) => observer::survey(host).await,
        Err(error) => Err(error),
    };
    let found = match looked {
        Ok(facts) => Found::Facts(Box::new(facts)),
        Err(error) => Found::Nothing(error.sentence()),
    };
    Survey { reports, found }
}
