//! Reads the recordings in `tests/fixtures/mesos-wire`; their README has the format.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// An entry of a recording, and when it happened, from the start of it.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) at: Duration,
    pub(crate) what: What,
}

#[derive(Debug)]
pub(crate) enum What {
    /// What the recorder wrote down of what it did, or saw.
    Note(String),
    Request(Request),
    Response(Response),
    /// A chunk of a stream.
    Chunk {
        connection: String,
        bytes: Vec<u8>,
    },
    /// The master ended a stream.
    Ended {
        connection: String,
    },
    /// The recorder ended a stream.
    HungUp {
        connection: String,
    },
    /// Nobody listened.
    Refused {
        connection: String,
    },
}

#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) connection: String,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) connection: String,
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

pub(crate) fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/mesos-wire")
}

/// What an entry begins with.
const START: &[u8] = b"#### [+";

/// All entries of a recording, by its name without `.txt`.
pub(crate) fn read(name: &str) -> Vec<Entry> {
    let file = std::fs::read(folder().join(format!("{name}.txt"))).unwrap();
    let mut starts: Vec<_> = (0..file.len())
        .filter(|&at| file[at..].starts_with(START) && (at == 0 || file[at - 1] == b'\n'))
        .collect();
    starts.push(file.len());
    starts.windows(2).filter_map(|span| entry(&file[span[0]..span[1]])).collect()
}

/// The streams of a recording: connection, path of the request, and all bytes.
pub(crate) fn streams(entries: &[Entry]) -> Vec<(String, String, Vec<u8>)> {
    let mut streams: Vec<(String, String, Vec<u8>)> = Vec::new();
    for entry in entries {
        match &entry.what {
            What::Request(request) => {
                streams.push((request.connection.clone(), request.path.clone(), Vec::new()));
            }
            What::Chunk { connection, bytes } => {
                if let Some(stream) = streams.iter_mut().rfind(|stream| stream.0 == *connection) {
                    stream.2.extend_from_slice(bytes);
                } else {
                    // It was opened in the recording before this one.
                    let operator = connection.starts_with("OP");
                    let path = if operator { "/api/v1" } else { "/api/v1/scheduler" };
                    streams.push((connection.clone(), path.to_owned(), bytes.clone()));
                }
            }
            _ => {}
        }
    }
    streams.retain(|stream| !stream.2.is_empty());
    streams
}

fn entry(bytes: &[u8]) -> Option<Entry> {
    let end = bytes.iter().position(|&byte| byte == b'\n')?;
    let title = std::str::from_utf8(&bytes[..end]).unwrap();
    let (at, title) = title.strip_prefix("#### [+")?.split_once("s] ")?;
    let at = Duration::from_secs_f64(at.trim().parse().unwrap());
    let what = what(title, &bytes[end + 1..])?;
    Some(Entry { at, what })
}

fn what(title: &str, rest: &[u8]) -> Option<What> {
    if let Some(text) = title.strip_prefix("NOTE ") {
        return Some(What::Note(text.to_owned()));
    }
    if let Some(stream) = title.strip_prefix("--- stream ") {
        let end = stream.find([' ', ':'])?;
        let connection = stream[..end].to_owned();
        return Some(if stream.contains("closed by us") {
            What::HungUp { connection }
        } else {
            What::Ended { connection }
        });
    }
    if let Some(failed) = title.strip_prefix("!!! connect failed on ") {
        return Some(What::Refused { connection: failed.split(':').next()?.to_owned() });
    }
    let connection = title.split(" on connection ").nth(1)?.split(' ').next()?.to_owned();
    if title.starts_with("<<< CHUNK") {
        let length = title.rsplit(", ").next()?.strip_suffix(" bytes)")?.parse().unwrap();
        let bytes: &[u8] = &rest[..length];
        return Some(What::Chunk { connection, bytes: bytes.to_vec() });
    }
    // Header lines end in the four characters `\r\n` before the newline; an empty one ends them.
    let separator = b"\n\\r\\n\n";
    let head_end = rest.windows(separator.len()).position(|window| window == separator)?;
    let head = std::str::from_utf8(&rest[..head_end]).unwrap();
    let mut lines = head.lines().map(|line| line.trim_end_matches("\\r\\n"));
    let line = lines.next()?.to_owned();
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    let length = header(&headers, "Content-Length").map_or(0, |length| length.parse().unwrap());
    let body = &rest[head_end + separator.len()..];
    let body = body[..length.min(body.len())].to_vec();
    let mut words = line.split(' ').map(str::to_owned);
    let first = words.next()?;
    let second = words.next()?;
    Some(if title.starts_with(">>> REQUEST") {
        What::Request(Request { connection, method: first, path: second, headers, body })
    } else {
        let status = second.parse().unwrap();
        What::Response(Response { connection, status, headers, body })
    })
}
