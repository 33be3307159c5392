//! Events of Mesos' stream: `RecordIO` and [`Event`] against a bare serde loop, which is given the
//! same records ready to read, and has no enum to make of them. The records are those of a real
//! master, UPDATE and OFFERS; the stream comes in chunks of 8 KiB.

#![expect(clippy::unwrap_used, reason = "a benchmark of broken input is of no use")]

use std::hint::black_box;

use bytes::BytesMut;
use calico_dcos::mesos::recordio::{RecordIo, frame};
use calico_dcos::mesos::v1::scheduler::Event;
use calico_dcos::mesos::v1::{Offer, TaskStatus};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use serde::Deserialize;
use tokio_util::codec::Decoder;

const CHUNK: usize = 8 * 1024;

/// What one would write without a thought for anything but these two.
#[derive(Deserialize)]
struct Bare {
    #[serde(rename = "type")]
    kind: String,
    offers: Option<Offers>,
    update: Option<Update>,
}

#[derive(Deserialize)]
struct Offers {
    offers: Vec<Offer>,
}

#[derive(Deserialize)]
struct Update {
    status: TaskStatus,
}

/// The recorded events, a few hundred times over.
fn records() -> Vec<&'static str> {
    let recordings = [
        include_str!("../tests/fixtures/mesos-wire/02_launch.txt"),
        include_str!("../tests/fixtures/mesos-wire/05_kill.txt"),
        include_str!("../tests/fixtures/mesos-wire/e01_exchange.txt"),
    ];
    let once: Vec<_> = recordings
        .iter()
        .flat_map(|recording| recording.lines())
        .filter(|line| {
            line.starts_with(r#"{"type":"UPDATE","update""#)
                || line.starts_with(r#"{"type":"OFFERS""#)
        })
        .collect();
    once.repeat(100)
}

fn decode(criterion: &mut Criterion) {
    let records = records();
    let stream: Vec<u8> = records.iter().flat_map(|record| frame(record.as_bytes())).collect();
    let bytes = records.iter().map(|record| record.len() as u64).sum();

    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Bytes(bytes));
    group.bench_function("bare serde loop", |bench| {
        bench.iter(|| {
            for record in &records {
                let bare: Bare = serde_json::from_slice(record.as_bytes()).unwrap();
                black_box((
                    bare.kind,
                    bare.offers.map(|o| o.offers),
                    bare.update.map(|u| u.status),
                ));
            }
        });
    });
    group.bench_function("RecordIO and events", |bench| {
        bench.iter(|| {
            let (mut decoder, mut buffer) = (RecordIo::default(), BytesMut::new());
            let mut seen = 0;
            for chunk in stream.chunks(CHUNK) {
                buffer.extend_from_slice(chunk);
                while let Some(record) = decoder.decode(&mut buffer).unwrap() {
                    let event: Event = serde_json::from_slice(&record).unwrap();
                    black_box(event);
                    seen += 1;
                }
            }
            assert_eq!(seen, records.len());
        });
    });
    group.finish();
}

criterion_group!(benches, decode);
criterion_main!(benches);
