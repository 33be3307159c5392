//! Reads the recordings in `tests/fixtures/mesos-wire`; their README has the format. They are of two
//! kinds: of schedulers and operators, and (`e…`) of executors beside a scheduler.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// An entry of a recording.
#[derive(Debug)]
pub(crate) struct Entry {
    /// From the start of the recording.
    pub(crate) at: Duration,
    /// The ID of the executor on whose side it was written down; none for a scheduler's.
    pub(crate) executor: Option<String>,
    pub(crate) what: What,
}

#[derive(Debug)]
pub(crate) enum What {
    /// What the recorder wrote down of what it did, or saw; with the lines below it.
    Note(String, Vec<String>),
    Request(Request),
    Response(Response),
    /// A chunk of a stream.
    Chunk {
        connection: String,
        bytes: Vec<u8>,
    },
    /// A stream was ended from afar, with the chunk that ends a response or without.
    Ended {
        connection: String,
        orderly: bool,
    },
    /// The recorder ended a stream.
    HungUp {
        connection: String,
    },
    /// Nobody listened.
    Refused {
        connection: String,
    },
    /// The connection ended in place of an answer, or of the call.
    Unanswered {
        connection: String,
        call: Option<String>,
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

/// All bytes that came over one stream.
#[derive(Debug)]
pub(crate) struct Stream {
    /// See [`Entry::key`].
    pub(crate) key: String,
    /// The path that was asked for.
    pub(crate) path: String,
    /// An executor's.
    pub(crate) executor: bool,
    pub(crate) bytes: Vec<u8>,
}

impl Entry {
    /// Milliseconds from the start.
    pub(crate) fn ms(&self) -> u64 {
        u64::try_from((self.at.as_micros() + 500) / 1_000).unwrap()
    }

    /// Connections of different executors have the same names.
    pub(crate) fn key(&self, connection: &str) -> String {
        match &self.executor {
            Some(executor) => format!("{executor} {connection}"),
            None => connection.to_owned(),
        }
    }
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

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }
}

fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/mesos-wire")
}

/// The names of all recordings, in order.
pub(crate) fn names() -> Vec<String> {
    let files = std::fs::read_dir(folder()).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> =
        names.filter_map(|name| name.strip_suffix(".txt").map(str::to_owned)).collect();
    names.sort();
    names
}

/// Those of executors.
pub(crate) fn executors() -> Vec<String> {
    names().into_iter().filter(|name| name.starts_with('e')).collect()
}

/// All entries of all recordings, with their names.
pub(crate) fn all() -> Vec<(String, Vec<Entry>)> {
    names().into_iter().map(|name| (name.clone(), read(&name))).collect()
}

/// All entries of a recording, by its name without `.txt`.
pub(crate) fn read(name: &str) -> Vec<Entry> {
    const START: &[u8] = b"#### [+";
    let file = std::fs::read(folder().join(format!("{name}.txt"))).unwrap();
    let mut starts: Vec<_> = (0..file.len())
        .filter(|&at| file[at..].starts_with(START) && (at == 0 || file[at - 1] == b'\n'))
        .collect();
    starts.push(file.len());
    starts.windows(2).filter_map(|span| entry(&file[span[0]..span[1]])).collect()
}

/// The streams of a recording.
pub(crate) fn streams(entries: &[Entry]) -> Vec<Stream> {
    let mut streams: Vec<Stream> = Vec::new();
    for entry in entries {
        let executor = entry.executor.is_some();
        match &entry.what {
            What::Request(request) => {
                let (key, path) = (entry.key(&request.connection), request.path.clone());
                streams.push(Stream { key, path, executor, bytes: Vec::new() });
            }
            What::Chunk { connection, bytes } => {
                let key = entry.key(connection);
                if let Some(stream) = streams.iter_mut().rfind(|stream| stream.key == key) {
                    stream.bytes.extend_from_slice(bytes);
                } else {
                    // It was opened in the recording before this one.
                    let operator = connection.starts_with("OP");
                    let path = if operator { "/api/v1" } else { "/api/v1/scheduler" };
                    streams.push(Stream {
                        key,
                        path: path.to_owned(),
                        executor,
                        bytes: bytes.clone(),
                    });
                }
            }
            _ => {}
        }
    }
    streams.retain(|stream| !stream.bytes.is_empty());
    streams
}

fn entry(bytes: &[u8]) -> Option<Entry> {
    let end = bytes.iter().position(|&byte| byte == b'\n')?;
    let title = std::str::from_utf8(&bytes[..end]).unwrap();
    let (at, mut title) = title.strip_prefix("#### [+")?.split_once("s] ")?;
    let at = Duration::from_secs_f64(at.trim().parse().unwrap());
    let mut executor = None;
    if let Some((id, rest)) = title.strip_prefix("EXEC ").and_then(|rest| rest.split_once(": ")) {
        (executor, title) = (Some(id.to_owned()), rest);
    }
    title = title.strip_prefix("SCHED: ").unwrap_or(title);
    let what = what(title, &bytes[end + 1..])?;
    Some(Entry { at, executor, what })
}

fn what(title: &str, rest: &[u8]) -> Option<What> {
    let until = |text: &str, ends: &[char]| {
        let end = text.find(ends).unwrap_or(text.len());
        text[..end].to_owned()
    };
    if let Some(text) = title.strip_prefix("NOTE ") {
        let lines = String::from_utf8_lossy(rest);
        return Some(What::Note(text.to_owned(), lines.lines().map(str::to_owned).collect()));
    }
    if let Some(stream) = title.strip_prefix("--- stream ") {
        let connection = until(stream, &[' ', ':']);
        return Some(if stream.contains("closed by us") {
            What::HungUp { connection }
        } else {
            What::Ended { connection, orderly: stream.contains("ended by") }
        });
    }
    if let Some(failed) = title.strip_prefix("!!! ") {
        if let Some(refused) = failed.strip_prefix("connect failed on ") {
            return Some(What::Refused { connection: until(refused, &[':']) });
        }
        if let Some(failed) = failed.strip_prefix("no response head on ") {
            return Some(What::Unanswered { connection: until(failed, &[':']), call: None });
        }
        let (connection, call) = failed.split_once(": ")?;
        let call = Some(until(call, &[' ']));
        return Some(What::Unanswered { connection: connection.to_owned(), call });
    }
    let connection = title.split(" on connection ").nth(1)?.split(' ').next()?.to_owned();
    if title.starts_with("<<< CHUNK") {
        let length = title.rsplit(", ").next()?.strip_suffix(" bytes)")?.parse().unwrap();
        let bytes: &[u8] = rest.get(..length)?;
        return Some(What::Chunk { connection, bytes: bytes.to_vec() });
    }
    message(connection, title.starts_with(">>> REQUEST"), rest)
}

/// A request or a response. Header lines end in the four characters `\r\n` before the newline; an
/// empty one ends them.
fn message(connection: String, request: bool, rest: &[u8]) -> Option<What> {
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
    Some(if request {
        What::Request(Request { connection, method: first, path: second, headers, body })
    } else {
        let status = second.parse().unwrap();
        What::Response(Response { connection, status, headers, body })
    })
}
