//! Edits of Mesos' maintenance schedule.

use std::time::Duration;

use tokio_util::task::AbortOnDropHandle;

use crate::mesos::MesosError;
use crate::mesos::operator::OperatorClient;
use crate::plan::notice::{Found, ScheduleEdit};
use crate::store::in_one_line;
use crate::words::HostName;

/// An edit takes up to seven questions, and masters are asked one after the other.
const PATIENCE: Duration = Duration::from_mins(1);

/// What became of an edit, for the state machine.
pub(super) type Edited = Result<Vec<(HostName, Found)>, String>;

/// At most one edit at a time: the state machine waits for its answer.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    editing: Option<AbortOnDropHandle<Edited>>,
}

impl Schedule {
    pub(super) fn edit(
        &mut self,
        operator: &Result<OperatorClient, MesosError>,
        edit: ScheduleEdit,
    ) {
        let operator = operator.as_ref().map_err(|error| in_one_line(error)).cloned();
        let ask = async move {
            let operator = operator?;
            match tokio::time::timeout(PATIENCE, operator.edit_schedule(&edit)).await {
                Ok(edited) => edited.map_err(|error| in_one_line(&error)),
                Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
            }
        };
        self.editing = Some(AbortOnDropHandle::new(tokio::spawn(ask)));
    }

    /// The answer, when it is in. Nothing is lost if the future is dropped.
    pub(super) async fn answer(&mut self) -> Edited {
        let Some(editing) = &mut self.editing else { return std::future::pending().await };
        let answer = editing.await;
        self.editing = None;
        answer.unwrap_or_else(|error| Err(format!("it could not be edited: {error}")))
    }
}
