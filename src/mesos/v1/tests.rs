//! The types against what a real master sent and was sent.

use serde_json::Value;
use tokio_util::codec::Decoder;

use super::operator::Response;
use super::scheduler::{Acknowledge, Call, Envelope, Event, InvalidCall, Request, Subscribe};
use super::{
    Attribute, Blob, CapabilityType, FrameworkInfo, Resource, StatusReason, TaskState, TaskStatus,
};
use crate::mesos::recording::{self, What};
use crate::mesos::recordio::RecordIo;

const SCHEDULER: &str = "/api/v1/scheduler";

/// Every event of every scheduler's stream, as text.
fn recorded_events() -> Vec<String> {
    let mut events = Vec::new();
    for (_, entries) in recording::all() {
        for stream in recording::streams(&entries).iter().filter(|it| it.path == SCHEDULER) {
            let mut buffer = stream.bytes.as_slice().into();
            let mut decoder = RecordIo::default();
            while let Some(record) = decoder.decode(&mut buffer).unwrap() {
                events.push(String::from_utf8(record.to_vec()).unwrap());
            }
        }
    }
    events
}

/// Where `whole` does not say what `part` says. Numbers are compared as numbers; an empty list is
/// as good as none.
fn lost(whole: &Value, part: &Value) -> Option<String> {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => part.iter().find_map(|(key, part)| {
            if part.as_array().is_some_and(Vec::is_empty) {
                return None;
            }
            let whole = whole.get(key).unwrap_or(&Value::Null);
            lost(whole, part).map(|path| format!(".{key}{path}"))
        }),
        (Value::Array(whole), Value::Array(part)) if whole.len() == part.len() => {
            let mut pairs = whole.iter().zip(part).enumerate();
            pairs.find_map(|(at, (w, p))| lost(w, p).map(|path| format!("[{at}]{path}")))
        }
        (Value::Number(whole), Value::Number(part)) if whole.as_f64() == part.as_f64() => None,
        _ if whole == part => None,
        _ => Some(format!(": {part}, written back as {whole}")),
    }
}

#[test]
fn events_are_written_back_as_the_master_wrote_them() {
    let events = recorded_events();
    assert!(events.len() > 150, "only {} events", events.len());
    for text in &events {
        let event: Event = serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"));
        assert!(!matches!(event, Event::Unknown(_)), "{text}");
        let (written, read): (Value, Value) =
            (serde_json::to_value(&event).unwrap(), serde_json::from_str(text).unwrap());
        assert_eq!(written, read);
        // Timestamps have more digits than a fast parser keeps; all else is the same to the byte.
        if !text.contains("timestamp") {
            assert_eq!(serde_json::to_string(&event).unwrap(), *text);
        }
    }
}

#[test]
fn calls_that_a_master_took_are_read_and_written_back() {
    let mut taken = 0;
    for (file, entries) in recording::all() {
        for (at, entry) in entries.iter().enumerate() {
            let What::Request(asked) = &entry.what else { continue };
            let answer = entries[at..].iter().find_map(|entry| match &entry.what {
                What::Response(answer) if answer.connection == asked.connection => {
                    Some(answer.status)
                }
                _ => None,
            });
            let Some(original) = asked.json() else { continue };
            if asked.path != SCHEDULER || !matches!(answer, Some(200 | 202)) {
                continue;
            }
            let envelope = match serde_json::from_slice::<Envelope>(&asked.body) {
                Ok(envelope) => envelope,
                // A real master forgives some types; those calls are in 07a only.
                Err(error) if file == "07a_bad_calls" => {
                    println!("not read: {error}: {original}");
                    continue;
                }
                Err(error) => panic!("{file}: {error}: {original}"),
            };
            let request = match Request::try_from(envelope) {
                Ok(request) => request,
                Err(InvalidCall::Unsupported(_)) => continue,
                Err(error) => panic!("{file}: {error}: {original}"),
            };
            let written = serde_json::to_value(&request).unwrap();
            // Other operations than LAUNCH, and the unknown fields of 07a, are not for us to keep.
            let kept =
                !["RESERVE", "LAUNCH_GROUP"].iter().any(|t| original.to_string().contains(t))
                    && file != "07a_bad_calls";
            if kept {
                assert_eq!(lost(&written, &original), None, "{file}");
            }
            taken += 1;
        }
    }
    assert!(taken > 100, "only {taken} calls");
}

/// Calls that a master refuses with `Expecting '…' to be present` are refused with the same text.
#[test]
fn calls_that_lack_a_part_are_refused_in_the_masters_words() {
    const PREFIX: &str = "Failed to validate scheduler::Call: ";
    let mut compared = Vec::new();
    let entries = recording::read("07a_bad_calls");
    for pair in entries.windows(2) {
        let (What::Request(asked), What::Response(answer)) = (&pair[0].what, &pair[1].what) else {
            continue;
        };
        let text = String::from_utf8_lossy(&answer.body);
        let Some(expected) = text.strip_prefix(PREFIX).filter(|_| answer.status == 400) else {
            continue;
        };
        let Ok(envelope) = serde_json::from_slice::<Envelope>(&asked.body) else { continue };
        if let Err(error) = Request::try_from(envelope) {
            assert_eq!(error.to_string(), expected, "{}", String::from_utf8_lossy(&asked.body));
            compared.push(expected.to_owned());
        }
    }
    assert!(compared.iter().any(|text| text == "Expecting 'type' to be present"), "{compared:?}");
    assert!(compared.len() >= 4, "{compared:?}");
}

#[test]
fn agents_are_written_back_as_the_master_wrote_them() {
    let mut seen = 0;
    for (_, entries) in recording::all() {
        for entry in &entries {
            let What::Response(answer) = &entry.what else { continue };
            let body = &answer.body;
            if answer.status != 200 || !body.starts_with(br#"{"type":"GET_AGENTS""#) {
                continue;
            }
            let response: Response = serde_json::from_slice(body).unwrap();
            let original: Value = serde_json::from_slice(body).unwrap();
            let written = serde_json::to_value(&response).unwrap();
            assert_eq!(lost(&written, &original), None);
            seen += 1;
        }
    }
    assert!(seen >= 2, "only {seen}");
}

#[test]
fn point_48_names_and_fields_of_a_newer_mesos_are_kept_or_passed_over() {
    let event: Event = serde_json::from_str(r#"{"type":"NEWS","news":{"a":[1]}}"#).unwrap();
    assert_eq!(event, Event::Unknown("NEWS".to_owned()));

    let status = r#"{"task_id":{"value":"t"},"state":"TASK_FROZEN","reason":"REASON_COLD","x":1}"#;
    let status: TaskStatus = serde_json::from_str(status).unwrap();
    assert_eq!(status.state, TaskState::Unknown("TASK_FROZEN".to_owned()));
    assert_eq!(status.reason, Some(StatusReason::Unknown("REASON_COLD".to_owned())));
    assert!(!status.state.is_terminal(), "what is not known is not dead");

    let resource = r#"{"name":"gpus","type":"SCALAR","scalar":{"value":1.0},"shared":{"x":{}}}"#;
    let read: Resource = serde_json::from_str(resource).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), resource, "an offer is echoed as it came");
}

#[test]
fn a_known_event_without_its_body_is_an_error() {
    for text in [r#"{"type":"OFFERS"}"#, r#"{"type":"UPDATE","update":null}"#, r"{}"] {
        assert!(serde_json::from_str::<Event>(text).is_err(), "{text}");
    }
}

#[test]
fn point_35_a_reservation_is_found_in_both_forms() {
    let table = [
        (r#"{"name":"cpus","type":"SCALAR","role":"*"}"#, None),
        (r#"{"name":"cpus","type":"SCALAR"}"#, None),
        (r#"{"name":"cpus","type":"SCALAR","role":"slave_public"}"#, Some("slave_public")),
        (
            r#"{"name":"cpus","type":"SCALAR","reservations":[{"type":"STATIC","role":"a"},
                {"type":"DYNAMIC","role":"a/b"}]}"#,
            Some("a/b"),
        ),
    ];
    for (json, owner) in table {
        let resource: Resource = serde_json::from_str(json).unwrap();
        assert_eq!(resource.reserved_for(), owner, "{json}");
    }
}

#[test]
fn attributes_read_as_in_the_agents_flag() {
    let table = [
        (r#"{"name":"a","type":"TEXT","text":{"value":"r1"}}"#, "r1"),
        (r#"{"name":"a","type":"SCALAR","scalar":{"value":16.0}}"#, "16"),
        (
            r#"{"name":"a","type":"RANGES","ranges":{"range":[{"begin":10,"end":20},
                {"begin":30,"end":40}]}}"#,
            "[10-20, 30-40]",
        ),
        (r#"{"name":"a","type":"SET","set":{"item":["x","y"]}}"#, "{x, y}"),
    ];
    for (json, value) in table {
        assert_eq!(serde_json::from_str::<Attribute>(json).unwrap().value(), value);
    }
}

#[test]
fn point_39_only_a_status_with_a_uuid_asks_for_an_acknowledgement() {
    let mut status = TaskStatus::new("t".into(), TaskState::Running);
    status.agent_id = Some("a".into());
    status.reason = Some(StatusReason::Reconciliation);
    assert_eq!(Acknowledge::of(&status), None);
    status.uuid = Some(Blob(vec![7; 16]));
    assert_eq!(Acknowledge::of(&status).unwrap().uuid, Blob(vec![7; 16]));
}

#[test]
fn a_subscription_is_written_with_the_defaults_that_a_master_prints() {
    let framework_info = FrameworkInfo {
        user: "root".to_owned(),
        name: "calico".to_owned(),
        roles: vec!["*".to_owned()],
        capabilities: vec![CapabilityType::MultiRole.into()],
        ..FrameworkInfo::default()
    };
    let call = Call::Subscribe(Subscribe { framework_info, suppressed_roles: Vec::new() });
    let text = serde_json::to_string(&Request { framework_id: None, call }).unwrap();
    assert_eq!(
        text,
        r#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"root","name":"calico","#
            .to_owned()
            + r#""failover_timeout":0.0,"checkpoint":false,"roles":["*"],"#
            + r#""capabilities":[{"type":"MULTI_ROLE"}]}}}"#
    );
}

#[test]
fn point_57_payloads_stay_out_of_debug_output() {
    let payload = Blob(b"a payload that might hold a secret".to_vec());
    assert_eq!(format!("{payload:?}"), "Blob(34 bytes)");
}
