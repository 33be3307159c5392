//! Our side of the recordings: what real masters sent, cut in two at every byte, is read as the
//! same records and events, and what they mean is what the snapshots say.

use std::fmt::Write;

use bytes::{Bytes, BytesMut};
use calico_dcos::mesos::recordio::RecordIo;
use calico_dcos::mesos::v1::scheduler::{Acknowledge, Event};
use tokio_util::codec::Decoder;

use crate::recording::{self, What};

/// All records of a stream that is fed in one piece.
fn records(stream: &[u8]) -> Vec<Bytes> {
    let (mut decoder, mut buffer) = (RecordIo::default(), BytesMut::from(stream));
    let mut records = Vec::new();
    while let Some(record) = decoder.decode(&mut buffer).unwrap() {
        records.push(record);
    }
    assert!(decoder.decode_eof(&mut buffer).unwrap().is_none());
    records
}

/// Feeds all bytes up to each split as one chunk, and the rest as another. Where a record ends,
/// the decoder is as it was at the start; so it is enough to look at each record with its framing
/// by itself, and no stream has to be read once for each of its bytes.
fn split_everywhere(stream: &[u8], whole: &[Bytes]) {
    let mut rest = stream;
    for record in whole {
        let length = record.len().to_string().len() + 1 + record.len();
        let (framed, after) = rest.split_at(length);
        for at in 0..length {
            let mut decoder = RecordIo::default();
            let mut buffer = BytesMut::from(&framed[..at]);
            assert_eq!(decoder.decode(&mut buffer).unwrap(), None, "a record before its end");
            buffer.extend_from_slice(&framed[at..]);
            assert_eq!(decoder.decode(&mut buffer).unwrap().as_ref(), Some(record), "cut at {at}");
            assert!(buffer.is_empty());
        }
        rest = after;
    }
    assert!(rest.is_empty());
}

/// An event in a few words, and what has to be done about it.
fn conclusion(event: &Event) -> String {
    let last = |id: &str| id.rsplit('-').next().unwrap_or_default().to_owned();
    match event {
        Event::Subscribed(subscribed) => {
            format!("subscribed as {}", last(subscribed.framework_id.as_str()))
        }
        Event::Offers(offers) => {
            let mut text = "offers".to_owned();
            for offer in offers {
                let role = offer.allocation_info.as_ref().and_then(|info| info.role.as_deref());
                let cpus: f64 = offer
                    .resources
                    .iter()
                    .filter(|resource| resource.name == "cpus")
                    .filter_map(calico_dcos::mesos::v1::Resource::amount)
                    .sum();
                let away = if offer.unavailability.is_some() { " away soon" } else { "" };
                let role = role.map(|role| format!(" for {role}")).unwrap_or_default();
                write!(text, ", {}{role}: {cpus:.2} cpus{away}", offer.hostname).unwrap();
            }
            text
        }
        Event::Update(status) => {
            let reason = status.reason.as_ref().map(|reason| format!(", {reason}"));
            let answer =
                if Acknowledge::of(status).is_some() { "acknowledge" } else { "take note" };
            let reason = reason.unwrap_or_default();
            format!("{} is {}{reason}: {answer}", status.task_id, status.state)
        }
        Event::Rescind(offer) => format!("offer {} is gone", last(offer.as_str())),
        Event::Failure(failure) => match (&failure.agent_id, &failure.executor_id) {
            (_, Some(executor)) => format!("executor {executor} has ended"),
            (Some(agent), None) => format!("agent {} is away", last(agent.as_str())),
            (None, None) => "something is away".to_owned(),
        },
        Event::Error(message) => format!("over: {message}"),
        Event::Unknown(kind) => panic!("not known: {kind}"),
        other => other.kind().to_string(),
    }
}

fn check(name: &str) {
    let entries = recording::read(name);
    let mut conclusions = String::new();
    for stream in recording::streams(&entries) {
        let whole = records(&stream.bytes);
        split_everywhere(&stream.bytes, &whole);
        if !stream.path.ends_with("/scheduler") {
            continue;
        }
        let connection = stream.key;
        writeln!(conclusions, "{connection}").unwrap();
        for record in &whole {
            let event: Event = serde_json::from_slice(record).unwrap();
            if event != Event::Heartbeat {
                writeln!(conclusions, "  {}", conclusion(&event)).unwrap();
            }
        }
        let ended = entries.iter().any(
            |entry| matches!(&entry.what, What::Ended { connection: ended, .. } if *ended == connection),
        );
        if ended {
            writeln!(conclusions, "  end").unwrap();
        }
    }
    insta::assert_snapshot!(name, conclusions);
}

macro_rules! reads {
    ($($test:ident: $name:literal;)+) => {
        $(
            #[test]
            fn $test() {
                check($name);
            }
        )+
    };
}

reads! {
    clients_read_01: "01_subscribe";
    clients_read_02: "02_launch";
    clients_read_03: "03_decline_suppress_revive";
    clients_read_04_plain: "04_reconcile_plain";
    clients_read_04_partition_aware: "04_reconcile_partition_aware";
    clients_read_05: "05_kill";
    clients_read_06a: "06a_agent_restart_checkpointed";
    clients_read_06b: "06b_agent_gone_unreachable";
    clients_read_06c: "06c_agent_sigusr1_unregister";
    clients_read_06d: "06d_executor_killed";
    clients_read_07a: "07a_bad_calls";
    clients_read_07b: "07b_resubscribe";
    clients_read_07c: "07c_type_UNKNOWN_crashes_master";
    clients_read_07d: "07d_invalid_launch_partition_aware";
    clients_read_08: "08_operator_api";
    clients_read_09: "09_teardown";
    clients_read_10_sigkill: "10_master_restart_sigkill";
    clients_read_10_sigterm: "10_master_restart_sigterm";
    clients_read_11: "11_nonleading_redirect";
    clients_read_12: "12_offers_roles_reservations";
    clients_read_13: "13_maintenance_drain_gone";
    clients_read_14: "14_docker_containerizer";
}

/// Each recording is read by a client, and played against the simulated master.
#[test]
fn no_recording_is_left_out() {
    let (source, plays) = (include_str!("clients.rs"), include_str!("main.rs"));
    for name in recording::names().iter().filter(|name| !name.starts_with('e')) {
        assert!(source.contains(&format!("\"{name}\"")), "{name} is not read");
        assert!(plays.contains(&format!(": \"{name}\"")), "{name} is not played");
    }
}
