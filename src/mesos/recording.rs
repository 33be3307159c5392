//! Reads the recordings in `tests/fixtures/mesos-wire` (their format is in its README), so that
//! tests see what a real master sent and was sent.

use std::path::Path;

/// One entry of a recording.
#[derive(Debug)]
pub(crate) enum Entry {
    /// A request: connection, the request line, the body.
    Request { connection: String, line: String, body: Vec<u8> },
    /// A response: connection, status code, the body.
    Response { connection: String, status: u16, body: Vec<u8> },
    /// A chunk of a stream.
    Chunk { connection: String, bytes: Vec<u8> },
}

/// All entries of all recordings, with the name of the file.
pub(crate) fn all() -> Vec<(String, Vec<Entry>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/mesos-wire");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "txt"))
        .collect();
    files.sort();
    files
        .into_iter()
        .map(|path| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            (name, entries(&std::fs::read(path).unwrap()))
        })
        .collect()
}

/// The entries of one recording, by its name without `.txt`.
pub(crate) fn named(name: &str) -> Vec<Entry> {
    let found = all().into_iter().find(|(file, _)| file == name);
    found.unwrap_or_else(|| panic!("no recording {name}")).1
}

/// The streams of a recording whose requests went to `path`: connection and all its bytes.
pub(crate) fn streams(entries: &[Entry], path: &str) -> Vec<(String, Vec<u8>)> {
    let line = format!("POST {path} HTTP/1.1");
    let mut streams: Vec<(String, Vec<u8>)> = Vec::new();
    for entry in entries {
        match entry {
            Entry::Request { connection, line: found, .. } if *found == line => {
                streams.push((connection.clone(), Vec::new()));
            }
            Entry::Chunk { connection, bytes } => {
                if let Some((_, stream)) = streams.iter_mut().rfind(|(c, _)| c == connection) {
                    stream.extend_from_slice(bytes);
                }
            }
            _ => {}
        }
    }
    streams.retain(|(_, stream)| !stream.is_empty());
    streams
}

fn entries(file: &[u8]) -> Vec<Entry> {
    const START: &[u8] = b"#### [";
    let mut starts: Vec<_> = (0..file.len())
        .filter(|&at| file[at..].starts_with(START) && (at == 0 || file[at - 1] == b'\n'))
        .collect();
    starts.push(file.len());
    starts.windows(2).filter_map(|span| entry(&file[span[0]..span[1]])).collect()
}

fn entry(bytes: &[u8]) -> Option<Entry> {
    let end = bytes.iter().position(|&b| b == b'\n')?;
    let title = std::str::from_utf8(&bytes[..end]).unwrap();
    let rest = &bytes[end + 1..];
    let connection = title.split(" on connection ").nth(1)?.split(' ').next()?.to_owned();
    if title.contains("<<< CHUNK") {
        let length = title.rsplit(", ").next()?.strip_suffix(" bytes)")?.parse().unwrap();
        return Some(Entry::Chunk { connection, bytes: rest[..length].to_vec() });
    }
    // Header lines end in the four characters `\r\n` before the newline; an empty one ends them.
    let separator = b"\n\\r\\n\n";
    let head_end = rest.windows(separator.len()).position(|w| w == separator)?;
    let head = std::str::from_utf8(&rest[..head_end]).unwrap();
    let mut headers = head.lines().map(|line| line.trim_end_matches("\\r\\n").to_owned());
    let line = headers.next()?;
    let length = headers
        .find_map(|header| header.strip_prefix("Content-Length: ").map(str::to_owned))
        .map_or(0, |length| length.parse().unwrap());
    let body = &rest[head_end + separator.len()..];
    let body = body[..length.min(body.len())].to_vec();
    if title.contains(">>> REQUEST") {
        return Some(Entry::Request { connection, line, body });
    }
    let status = line.split(' ').nth(1)?.parse().unwrap();
    Some(Entry::Response { connection, status, body })
}
