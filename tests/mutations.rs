//! What a master that lies may send: mutations of recorded streams, fed to the decoder of records
//! and to those of events, in any chunks. Nothing may panic, loop or take memory that was only
//! announced. `fuzz/` has the same targets for cargo-fuzz, which needs a nightly toolchain.
#![expect(clippy::expect_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use bytes::BytesMut;
use calico_dcos::mesos::recordio::RecordIo;
use calico_dcos::mesos::v1::operator::Response;
use calico_dcos::mesos::v1::scheduler::{Envelope, Event, Request};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::time::Instant;
use tokio_util::codec::Decoder;

/// Small enough that a record which is only announced is found out.
const LIMIT: usize = 1 << 20;

/// The bodies of all chunks and requests of the recordings.
fn corpus() -> Vec<Vec<u8>> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/mesos-wire");
    let mut corpus = Vec::new();
    for file in std::fs::read_dir(folder).expect("the recordings") {
        let bytes = std::fs::read(file.expect("a file").path()).expect("a recording");
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"{")) {
            let mut record = line.len().to_string().into_bytes();
            record.push(b'\n');
            record.extend_from_slice(line);
            corpus.push(record);
        }
    }
    corpus
}

fn mutate(random: &mut SmallRng, corpus: &[Vec<u8>]) -> Vec<u8> {
    let pick = |random: &mut SmallRng| corpus[random.random_range(0..corpus.len())].clone();
    let mut bytes = pick(random);
    for _ in 0..random.random_range(1..6) {
        let at = random.random_range(0..=bytes.len());
        match random.random_range(0..7) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, random.random()),
            2 => bytes.extend_from_slice(&pick(random)),
            3 if at < bytes.len() => bytes[at] = random.random(),
            4 => drop(bytes.splice(at..at, *b"99999999999999999999")),
            5 => drop(bytes.splice(at..at, "[".repeat(300).into_bytes())),
            _ => {
                let end = (at + random.random_range(0..40)).min(bytes.len());
                drop(bytes.drain(at..end));
            }
        }
    }
    bytes
}

/// Decodes as a client does, and as the simulated master does.
fn decode(random: &mut SmallRng, bytes: &[u8]) -> usize {
    let (mut decoder, mut buffer) = (RecordIo::with_limit(LIMIT), BytesMut::new());
    let (mut rest, mut records) = (bytes, 0);
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at(random.random_range(1..=rest.len()));
        buffer.extend_from_slice(chunk);
        rest = after;
        loop {
            match decoder.decode(&mut buffer) {
                Ok(Some(record)) => {
                    records += 1;
                    look(&record);
                }
                Ok(None) => break,
                Err(_) => return records,
            }
        }
        assert!(buffer.capacity() <= 2 * LIMIT + bytes.len(), "memory for an announcement");
    }
    records
}

fn look(record: &[u8]) {
    // What can be read can be written, and reads as the same.
    if let Ok(event) = serde_json::from_slice::<Event>(record) {
        let written = serde_json::to_vec(&event).expect("an event that was read can be written");
        assert_eq!(serde_json::from_slice::<Event>(&written).ok(), Some(event));
    }
    let _ = serde_json::from_slice::<Response>(record);
    if let Ok(envelope) = serde_json::from_slice::<Envelope>(record) {
        let _ = Request::try_from(envelope);
    }
}

fn run(seconds: u64, seed: u64) -> (u64, usize) {
    let corpus = corpus();
    let mut random = SmallRng::seed_from_u64(seed);
    let end = Instant::now() + Duration::from_secs(seconds);
    let (mut rounds, mut records) = (0, 0);
    while Instant::now() < end {
        let bytes = mutate(&mut random, &corpus);
        records += decode(&mut random, &bytes);
        rounds += 1;
    }
    (rounds, records)
}

#[test]
fn point_10_mutated_streams_do_no_harm() {
    let (rounds, records) = run(1, 1);
    assert!(rounds > 10 && records > 10, "{rounds} rounds, {records} records");
}

#[test]
#[ignore = "long: a minute of mutations"]
fn long_a_minute_of_mutated_streams_does_no_harm() {
    let seed = rand::rng().random();
    println!("seed {seed}");
    let (rounds, records) = run(60, seed);
    assert!(rounds > 1_000 && records > 1_000, "{rounds} rounds, {records} records");
}
