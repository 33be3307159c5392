//! From the body of a request to a call, with Mesos' own words for what is wrong with it
//! (recorded; its JSON codec is stout's `protobuf.hpp`).

use serde::Deserialize;
use serde_json::Value;

use super::calls::Outcome;
use crate::mesos::v1::scheduler::{Call, Envelope, InvalidCall, Request};

/// What must be there if the thing before the last dot is.
const REQUIRED: [&str; 12] = [
    "subscribe.framework_info",
    "subscribe.framework_info.user",
    "subscribe.framework_info.name",
    "acknowledge.agent_id",
    "acknowledge.task_id",
    "acknowledge.uuid",
    "kill.task_id",
    "message.agent_id",
    "message.executor_id",
    "message.data",
    "shutdown.executor_id",
    "shutdown.agent_id",
];

/// Reads a call of a scheduler.
pub(super) fn scheduler_call(body: &[u8]) -> Result<Request, Outcome> {
    let value = object(body)?;
    if let Some(field) = REQUIRED.into_iter().find(|field| is_missing(&value, field)) {
        return Err(unconvertible(&format!("Missing required fields: {field}")));
    }
    let tasks = value.pointer("/reconcile/tasks").and_then(Value::as_array);
    if let Some(at) = tasks.and_then(|tasks| tasks.iter().position(|t| t.get("task_id").is_none()))
    {
        let field = format!("reconcile.tasks[{at}].task_id");
        return Err(unconvertible(&format!("Missing required fields: {field}")));
    }
    if let Some(why) = bad_task(&value).or_else(|| bad_bytes(&value)) {
        return Err(unconvertible(&why));
    }
    let envelope = Envelope::deserialize(value).map_err(|e| unconvertible(&e.to_string()))?;
    let request = Request::try_from(envelope).map_err(|invalid| match invalid {
        InvalidCall::Missing(_) => {
            Outcome::refused(400, format!("Failed to validate scheduler::Call: {invalid}"))
        }
        InvalidCall::Unsupported(_) => Outcome::refused(501, "501 Not Implemented."),
    })?;
    match &request.call {
        Call::Acknowledge(ack) if ack.uuid.0.len() != 16 => {
            Err(Outcome::refused(400, "Failed to validate scheduler::Call: Not a valid UUID"))
        }
        _ => Ok(request),
    }
}

/// A task to be launched without something that every task has.
fn bad_task(call: &Value) -> Option<String> {
    let operations = call.pointer("/accept/operations")?.as_array()?;
    operations.iter().enumerate().find_map(|(at, operation)| {
        let tasks = operation.pointer("/launch/task_infos")?.as_array()?;
        tasks.iter().enumerate().find_map(|(number, task)| {
            let lacks = ["name", "task_id", "agent_id"].iter().find(|f| task.get(**f).is_none())?;
            let place = format!("accept.operations[{at}].launch.task_infos[{number}]");
            Some(format!("Missing required fields: {place}.{lacks}"))
        })
    })
}

/// Bytes that are not base64.
fn bad_bytes(call: &Value) -> Option<String> {
    ["/acknowledge/uuid", "/message/data"].iter().find_map(|pointer| {
        let text = call.pointer(pointer)?.as_str()?;
        let alphabet = |c: &char| c.is_ascii_alphanumeric() || "+/=".contains(*c);
        let wrong = text.chars().find(|c| !alphabet(c))?;
        let field = pointer.rsplit('/').next()?;
        Some(format!("Failed to base64 decode bytes field '{field}': Invalid character '{wrong}'"))
    })
}

/// Reads the type of an operator's call, and its parameters.
pub(super) fn operator_call(body: &[u8]) -> Result<(String, Value), Outcome> {
    let value = object(body)?;
    match value.get("type").and_then(Value::as_str) {
        Some(kind) => Ok((kind.to_owned(), value)),
        None => Err(Outcome::refused(400, NO_OPERATOR_TYPE)),
    }
}

/// For a type that is absent or that Mesos does not know.
pub(super) const NO_OPERATOR_TYPE: &str =
    "Failed to validate master::Call: Expecting 'type' to be present";

/// The body as an object whose parts have the right kinds.
pub(super) fn object(body: &[u8]) -> Result<Value, Outcome> {
    let value: Value = serde_json::from_slice(body).map_err(|error| {
        let text = String::from_utf8_lossy(body);
        let near: String = text
            .lines()
            .nth(error.line().saturating_sub(1))
            .map(|line| line.chars().skip(error.column().saturating_sub(1)).collect())
            .unwrap_or_default();
        // At the end of the input nothing is left to show.
        let near = if error.is_eof() { "" } else { &near };
        let line = error.line();
        Outcome::refused(
            400,
            format!("Failed to parse body into JSON: syntax error at line {line} near: {near}"),
        )
    })?;
    let Value::Object(fields) = &value else {
        return Err(unconvertible("Expecting a JSON object"));
    };
    for (name, field) in fields {
        let expected = match name.as_str() {
            "type" => field.is_string(),
            // All other fields of a call are messages; those of names unknown are ignored.
            "framework_id"
            | "subscribe"
            | "accept"
            | "decline"
            | "accept_inverse_offers"
            | "decline_inverse_offers"
            | "revive"
            | "suppress"
            | "kill"
            | "shutdown"
            | "acknowledge"
            | "reconcile"
            | "message"
            | "update_framework" => field.is_object(),
            _ => true,
        };
        if !expected && !field.is_null() {
            let kind = kind(field);
            return Err(unconvertible(&format!("Not expecting a JSON {kind} for field '{name}'")));
        }
    }
    Ok(value)
}

fn unconvertible(why: &str) -> Outcome {
    Outcome::refused(400, format!("Failed to convert JSON into Call protobuf: {why}"))
}

fn is_missing(value: &Value, field: &str) -> bool {
    let pointer = format!("/{}", field.replace('.', "/"));
    let parent = pointer.rsplit_once('/').map_or("", |(parent, _)| parent);
    value.pointer(parent).is_some() && value.pointer(&pointer).is_none()
}

pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bodies and answers of recording 07a (and 05 for KILL, 04 for RECONCILE).
    #[test]
    fn wrong_bodies_are_answered_in_the_words_of_mesos() {
        let parse = "Failed to parse body into JSON: ";
        let convert = "Failed to convert JSON into Call protobuf: ";
        let validate = "Failed to validate scheduler::Call: ";
        let cases = [
            (r#"{"type": "SUBSCRIBE", "#, parse, "syntax error at line 1 near: "),
            ("not json", parse, "syntax error at line 1 near: ot json"),
            ("", parse, "syntax error at line 1 near: "),
            ("[]", convert, "Expecting a JSON object"),
            (r#""x""#, convert, "Expecting a JSON object"),
            ("{}", validate, "Expecting 'type' to be present"),
            (r#"{"type":"BOGUS"}"#, validate, "Expecting 'type' to be present"),
            (r#"{"type":1}"#, convert, "Not expecting a JSON number for field 'type'"),
            (
                r#"{"type":"RECONCILE","framework_id":"str","reconcile":{}}"#,
                convert,
                "Not expecting a JSON string for field 'framework_id'",
            ),
            (r#"{"type":"SUBSCRIBE"}"#, validate, "Expecting 'subscribe' to be present"),
            (r#"{"type":"RECONCILE"}"#, validate, "Expecting 'reconcile' to be present"),
            (
                r#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"name":"n"}}}"#,
                convert,
                "Missing required fields: subscribe.framework_info.user",
            ),
            (
                r#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"root"}}}"#,
                convert,
                "Missing required fields: subscribe.framework_info.name",
            ),
            (r#"{"type":"KILL","kill":{}}"#, convert, "Missing required fields: kill.task_id"),
            (
                r#"{"type":"RECONCILE","reconcile":{"tasks":[{"agent_id":{"value":"a"}}]}}"#,
                convert,
                "Missing required fields: reconcile.tasks[0].task_id",
            ),
        ];
        for (body, start, end) in cases {
            let refused = scheduler_call(body.as_bytes()).expect_err(body);
            assert_eq!(refused, Outcome::refused(400, format!("{start}{end}")), "{body}");
        }
    }

    #[test]
    fn calls_that_are_not_modelled_say_so() {
        let body = br#"{"type":"RECONCILE_OPERATIONS","reconcile_operations":{}}"#;
        assert_eq!(scheduler_call(body).unwrap_err().status, 501);
    }
}
