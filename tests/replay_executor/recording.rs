//! Reads the recordings of executors in `tests/fixtures/mesos-wire`; their README has the format.

use std::path::{Path, PathBuf};

/// An entry of a recording: when, from whose side, and what.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Milliseconds from the start.
    pub(crate) at: u64,
    /// The executor's ID; none for the scheduler.
    pub(crate) executor: Option<String>,
    pub(crate) what: What,
}

#[derive(Debug)]
pub(crate) enum What {
    /// What the recorder wrote down of what it did, or saw; with the lines below it.
    Note(String, Vec<String>),
    Request(Request),
    Response {
        connection: String,
        status: u16,
        stream: Option<String>,
        body: Vec<u8>,
    },
    /// A chunk of a stream.
    Chunk {
        connection: String,
        bytes: Vec<u8>,
    },
    /// A stream has ended, with the chunk that ends a response or without.
    Ended {
        connection: String,
        orderly: bool,
    },
    /// No answer.
    Failed {
        connection: String,
        call: String,
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

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// The body as JSON, if it is.
    pub(crate) fn json(&self) -> Option<serde_json::Value> {
        serde_json::from_slice(&self.body).ok()
    }
}

impl Entry {
    /// Connections of different executors have the same names.
    pub(crate) fn key(&self, connection: &str) -> String {
        format!("{} {connection}", self.executor.as_deref().unwrap_or_default())
    }
}

fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/mesos-wire")
}

/// The names of all recordings of this kind, in order.
pub(crate) fn names() -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(folder())
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with('e'))
        .filter_map(|name| name.strip_suffix(".txt").map(str::to_owned))
        .collect();
    names.sort();
    names
}

/// All entries of a recording.
pub(crate) fn read(name: &str) -> Vec<Entry> {
    const START: &[u8] = b"#### [+";
    let file = std::fs::read(folder().join(format!("{name}.txt"))).unwrap();
    let mut starts: Vec<_> = (0..file.len())
        .filter(|&at| file[at..].starts_with(START) && (at == 0 || file[at - 1] == b'\n'))
        .collect();
    starts.push(file.len());
    starts.windows(2).filter_map(|span| entry(&file[span[0]..span[1]])).collect()
}

fn entry(bytes: &[u8]) -> Option<Entry> {
    let end = bytes.iter().position(|&byte| byte == b'\n')?;
    let title = std::str::from_utf8(&bytes[..end]).unwrap();
    let (at, title) = title.strip_prefix("#### [+")?.split_once("s] ")?;
    let at: f64 = at.trim().parse().unwrap();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "seconds of a test"
    )]
    let at = (at * 1_000.0).round() as u64;
    let (who, title) = title.split_once(": ")?;
    let executor = who.strip_prefix("EXEC ").map(str::to_owned);
    let what = what(title, &bytes[end + 1..])?;
    Some(Entry { at, executor, what })
}

fn what(title: &str, rest: &[u8]) -> Option<What> {
    if let Some(text) = title.strip_prefix("NOTE ") {
        let lines = String::from_utf8_lossy(rest);
        return Some(What::Note(text.to_owned(), lines.lines().map(str::to_owned).collect()));
    }
    if let Some(stream) = title.strip_prefix("--- stream ") {
        let connection = stream[..stream.find([' ', ':'])?].to_owned();
        return Some(What::Ended { connection, orderly: stream.contains("ended by") });
    }
    if let Some(failed) = title.strip_prefix("!!! ") {
        let (connection, what) = failed.split_once(": ")?;
        let call = what.split(' ').next()?.to_owned();
        return Some(What::Failed { connection: connection.to_owned(), call });
    }
    let connection = title.split(" on connection ").nth(1)?.split(' ').next()?.to_owned();
    if title.starts_with("<<< CHUNK") {
        let length = title.rsplit(", ").next()?.strip_suffix(" bytes)")?.parse().unwrap();
        let bytes: &[u8] = rest.get(..length)?;
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
    let (first, second) = (words.next()?, words.next()?);
    Some(if title.starts_with(">>> REQUEST") {
        What::Request(Request { connection, method: first, path: second, headers, body })
    } else {
        let stream = header(&headers, "Mesos-Stream-Id").map(str::to_owned);
        What::Response { connection, status: second.parse().unwrap(), stream, body }
    })
}
