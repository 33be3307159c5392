//! What the master tells operators, and does for them: `/api/v1`, its event stream, and the older
//! read-only endpoints.

mod agents;
mod calls;
mod events;
mod legacy;
mod state;

pub use calls::OperatorAnswer;
