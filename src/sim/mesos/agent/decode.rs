//! From the body of a request to an executor's call, with Mesos' own words for what is wrong with
//! it (recorded in e02).

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde::Deserialize;
use serde_json::Value;

use crate::mesos::v1::executor::{Call, Envelope, Request};
use crate::mesos::v1::{Blob, StatusSource, TaskState, TaskStatus};
use crate::sim::mesos::calls::Outcome;

/// What must be there if the thing before the last dot is.
const REQUIRED: [&str; 6] = [
    "executor_id",
    "framework_id",
    "update.status",
    "update.status.task_id",
    "update.status.state",
    "message.data",
];

/// What has to be an object.
const MESSAGES: [&str; 8] = [
    "framework_id",
    "executor_id",
    "subscribe",
    "update",
    "update.status",
    "update.status.task_id",
    "update.status.executor_id",
    "message",
];

/// Bytes, which may lack their padding.
const BYTES: [&str; 3] = ["update.status.uuid", "update.status.data", "message.data"];

/// Reads a call of an executor.
pub(super) fn executor_call(body: &[u8]) -> Result<Request, Outcome> {
    let mut value = crate::sim::mesos::decode::object(body)?;
    for path in MESSAGES {
        if let Some(found) = at(&value, path).filter(|found| !found.is_object()) {
            let (kind, field) = (crate::sim::mesos::decode::kind(found), last(path));
            return Err(wrong(&format!("Not expecting a JSON {kind} for field '{field}'")));
        }
    }
    for path in BYTES {
        if let Some(text) = at(&value, path).and_then(Value::as_str) {
            let bytes = bytes(text, last(path))?;
            if let Some(field) = value.pointer_mut(&pointer(path)) {
                *field = Value::String(STANDARD.encode(bytes));
            }
        }
    }
    if let Some(state) = at(&value, "update.status.state").and_then(Value::as_str)
        && matches!(TaskState::from(state), TaskState::Unknown(_))
    {
        return Err(wrong(&format!("Failed to find enum for '{state}'")));
    }
    let is_missing = |path: &&str| {
        let parent = path.rsplit_once('.').map(|(parent, _)| parent);
        at(&value, path).is_none() && parent.is_none_or(|parent| at(&value, parent).is_some())
    };
    let missing: Vec<_> = REQUIRED.into_iter().filter(is_missing).collect();
    if !missing.is_empty() {
        return Err(wrong(&format!("Missing required fields: {}", missing.join(", "))));
    }
    let envelope = Envelope::deserialize(value).map_err(|error| wrong(&error.to_string()))?;
    let request = Request::try_from(envelope).map_err(|why| invalid(&why.to_string()))?;
    if let Call::Update(update) = &request.call {
        check(&request, &update.status)?;
    }
    Ok(request)
}

fn check(request: &Request, status: &TaskStatus) -> Result<(), Outcome> {
    let Some(Blob(uuid)) = &status.uuid else {
        return Err(invalid("Expecting 'uuid' to be present"));
    };
    let version = uuid::Uuid::from_slice(uuid).map_or(0, |uuid| uuid.get_version_num());
    if !(1..=5).contains(&version) {
        return Err(invalid("Not a valid UUID"));
    }
    let Request { framework_id, executor_id, .. } = request;
    if let Some(named) = status.executor_id.as_ref().filter(|named| *named != executor_id) {
        return Err(invalid(&format!(
            "ExecutorID in Call: {executor_id} does not match ExecutorID in TaskStatus: {named}"
        )));
    }
    let who = format!("executor {executor_id} of framework {framework_id}");
    if status.source != Some(StatusSource::Executor) {
        return Err(invalid(&format!(
            "Received Call from {who} with invalid source, expecting 'SOURCE_EXECUTOR'"
        )));
    }
    if status.state == TaskState::Staging {
        return Err(invalid(&format!("Received TASK_STAGING from {who} which is not allowed")));
    }
    Ok(())
}

fn bytes(text: &str, field: &str) -> Result<Vec<u8>, Outcome> {
    let is_standard = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
    let fail =
        |why: String| Err(wrong(&format!("Failed to base64 decode bytes field '{field}': {why}")));
    if let Some(bad) = text.chars().find(|c| !is_standard(*c)) {
        return fail(format!("Invalid character '{bad}'"));
    }
    STANDARD_NO_PAD.decode(text.trim_end_matches('=')).or_else(|error| fail(error.to_string()))
}

fn pointer(path: &str) -> String {
    format!("/{}", path.replace('.', "/"))
}

fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    value.pointer(&pointer(path)).filter(|found| !found.is_null())
}

fn last(path: &str) -> &str {
    path.rsplit_once('.').map_or(path, |(_, last)| last)
}

fn wrong(why: &str) -> Outcome {
    Outcome::refused(400, format!("Failed to convert JSON into Call protobuf: {why}"))
}

fn invalid(why: &str) -> Outcome {
    Outcome::refused(400, format!("Failed to validate Executor::Call: {why}"))
}
