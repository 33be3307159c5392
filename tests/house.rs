//! The rules of the house that a compiler does not see (ARCHITECTURE.md): the pure rooms touch
//! nothing outside themselves, every room is known to be pure or not, and no file grows too long.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Rooms that decide: no I/O, no clock, no randomness, and no task of an asynchronous runtime.
const PURE: [&str; 6] = ["budget", "desired", "job", "observed", "plan", "rollout"];

/// Rooms that carry out and report, and those that model or test.
const OTHER: [&str; 8] = ["cli", "controller", "mesos", "node", "sim", "store", "surface", "web"];

/// Files in other rooms that decide, and keep the same rule.
const PURE_FILES: [&str; 2] = ["mesos/executor/session.rs", "mesos/executor/session/outbox.rs"];

/// What a pure room may not name, as the beginning of a path or one whole segment of it.
const FORBIDDEN: [&str; 29] = [
    "axum",
    "etcd_client",
    "rand",
    "reqwest",
    "tempfile",
    "tokio",
    "tokio_stream",
    "tokio_util",
    "std::env",
    "std::fs",
    "std::io",
    "std::os",
    "std::process",
    "std::thread",
    "Instant",
    "SystemTime",
    "TcpListener",
    "TcpStream",
    "UdpSocket",
    "UnixListener",
    "UnixStream",
    "new_v4",
    "crate::cli",
    "crate::clock",
    "crate::controller",
    "crate::node",
    "crate::sim",
    "crate::surface",
    "crate::web",
];

/// Lines of a file, its tests included.
const LONGEST: usize = 800;

#[test]
fn pure_rooms_name_nothing_of_the_outside_world() {
    let mut found = Vec::new();
    let rooms = PURE.iter().flat_map(|room| rust_files(&src().join(room)));
    let files = rooms.chain(PURE_FILES.iter().map(|file| src().join(file)));
    for file in files.filter(|file| !is_test(file)) {
        let text = fs::read_to_string(&file).unwrap();
        for (line, path) in paths(without_tests(&text)) {
            if let Some(word) = forbidden(&path) {
                found.push(format!("{}:{line}: {path} ({word})", file.display()));
            }
        }
    }
    assert!(
        found.is_empty(),
        "these rooms take time and events as values and give effects as values; do it in `controller`, \
         `store` or `node` and pass the result in:\n{}",
        found.join("\n")
    );
}

#[test]
fn every_room_is_known() {
    for entry in fs::read_dir(src()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(
            !path.is_dir() || PURE.contains(&name) || OTHER.contains(&name),
            "src/{name} is not on a list of tests/house.rs: say there whether the room is pure"
        );
    }
}

#[test]
fn no_file_is_too_long() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for folder in ["src", "tests", "benches", "examples"] {
        for file in rust_files(&root.join(folder)) {
            let lines = fs::read_to_string(&file).unwrap().lines().count();
            assert!(lines <= LONGEST, "{}: {lines} lines, of at most {LONGEST}", file.display());
        }
    }
}

/// The acceptance scenarios, but for those that are for knowledge only, and the properties of all histories
/// ([`PROPERTIES`]).
const SCENARIOS: &str = "1 2 3 5 7 8 9 10 12 14 16 18 19 21 22 23 24 25 26 28 29 30 31 32 33 34 35 \
    36 37 39 41 42 43b 44 47 48 49 50 51 52 54 55 56 57 58 59 60 62 63 64 65 67 68 69 70 71 72 73 \
    74 76 77 78 79 80 81 82 83";

/// Held to together in all histories that are drawn, by tests that a macro makes.
const PROPERTIES: &str = "s86_to_s91_hold_in_every_history_part_1_of_8 ";

#[test]
fn every_scenario_is_shown_by_a_test_that_carries_its_number() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut shown: BTreeSet<String> = BTreeSet::new();
    for file in rust_files(&src()).into_iter().chain(rust_files(&root.join("tests"))) {
        let text = fs::read_to_string(&file).unwrap();
        for name in tests(&text) {
            let numbers = name.split('_').filter_map(|word| word.strip_prefix('s'));
            shown.extend(numbers.map(|number| number.trim_start_matches('0').to_owned()));
        }
    }
    let missing: Vec<&str> =
        SCENARIOS.split(' ').filter(|number| !shown.contains(*number)).collect();
    assert!(missing.is_empty(), "no test is named after scenarios {missing:?}");
    let seeds = fs::read_to_string(root.join("tests/seeds.rs")).unwrap();
    assert!(seeds.contains(PROPERTIES), "no test is named after the properties 86 to 91");
}

/// The names of the functions that are tests.
fn tests(code: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let (mut is_test, mut before) = (false, "");
    for (_, token) in tokens(code) {
        match (before, token) {
            // `#[test]`, and `#[tokio::test]` with or without arguments.
            ("[" | "::", "test") => is_test = true,
            ("fn", name) if std::mem::take(&mut is_test) => names.push(name),
            _ => {}
        }
        before = token;
    }
    names
}

/// The reader below is itself code that can be wrong.
#[test]
fn the_reader_finds_what_is_hidden_and_skips_what_is_no_code() {
    for (text, expected) in [
        ("use std::fs;", Some("std::fs")),
        ("use std::{collections::BTreeMap, fs::{self, File}};", Some("std::fs")),
        ("use std::{\n    time::{Duration, Instant},\n};", Some("Instant")),
        ("let t = std :: time :: SystemTime::now();", Some("SystemTime")),
        ("fn f(r: &'static str) { ::tokio::spawn(r) }", Some("tokio")),
        ("let c = '\"'; use reqwest::Client; // \"", Some("reqwest")),
        ("let r = r#\"a \" b\"#; rand::random()", Some("rand")),
        ("fn now() -> Time { crate::clock::now() }", Some("crate::clock")),
        ("/* a /* nested */ comment */ use axum::Json;", Some("axum")),
        ("// use std::fs;\n/* tokio */ /// rand::rng()\nlet s = \"\\\"std::fs\\\"\";", None),
        ("use crate::store_fs; let instant = brand; let my_tokio = Instantly;", None),
        ("use std::{collections::BTreeMap, fmt}; use std::time::Duration;", None),
        ("struct S;\n#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n", None),
        ("#[cfg(test)]\nmod tests;\nuse std::fs;\n", Some("std::fs")),
    ] {
        let found = paths(without_tests(text)).iter().find_map(|(_, path)| forbidden(path));
        assert_eq!(found, expected, "{text}");
    }
    let code = "#[test]\nfn s01_a() {}\nfn s02_b() {}\n#[tokio::test(flavor = \"x\")]\nasync fn \
                s03_c() {}\n// #[test]\nfn s04_d() {}";
    assert_eq!(tests(code), ["s01_a", "s03_c"]);
    assert_eq!(paths("a;\n\nuse std::{\n  fs};").pop(), Some((4, "std::fs".to_owned())));
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// All `.rs` files below `folder`, none if it does not exist.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files = Vec::new();
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Whether a file of `src` holds nothing but tests: they may read files, and use the model.
fn is_test(file: &Path) -> bool {
    file.with_extension("").iter().any(|part| part == "tests")
}

/// The text up to the module of tests, which by habit stands last. (`mod tests;` may stand anywhere.)
fn without_tests(text: &str) -> &str {
    let begins = |at: &usize| text[*at..].lines().nth(1).is_some_and(|line| line.ends_with('{'));
    let module = text.match_indices("#[cfg(test)]\nmod ").map(|(at, _)| at).find(begins);
    module.map_or(text, |end| &text[..end])
}

/// The entry of [`FORBIDDEN`] that `path` runs into.
fn forbidden(path: &str) -> Option<&'static str> {
    let segments: Vec<&str> = path.split("::").collect();
    FORBIDDEN.into_iter().find(|entry| {
        let entry: Vec<&str> = entry.split("::").collect();
        if entry.len() == 1 { segments.contains(&entry[0]) } else { segments.starts_with(&entry) }
    })
}

/// Every path that the code names, with its line; those in nested braces (`use a::{b, c}`) in full.
fn paths(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    // What stands before each brace that is open, and the path that is being read.
    let (mut open, mut path) = (vec![String::new()], String::new());
    for (line, token) in tokens(code) {
        match token {
            "::" if path.is_empty() => {} // `::tokio` is `tokio`
            "::" => path.push_str("::"),
            "{" => open.push(if path.ends_with("::") {
                std::mem::take(&mut path)
            } else {
                String::new()
            }),
            "}" => drop(open.pop()),
            word if word.starts_with(|c: char| c.is_alphanumeric() || c == '_') => {
                if !path.ends_with("::") {
                    path = open.last().cloned().unwrap_or_default();
                }
                path.push_str(word);
                found.push((line, path.clone()));
                continue;
            }
            _ => path.clear(),
        }
        if token == "}" {
            path.clear();
        }
    }
    found
}

/// Words, `::` and single signs of the code, with their lines. Comments, texts and characters are
/// left out, a lifetime is a sign and a word.
fn tokens(code: &str) -> Vec<(usize, &str)> {
    let mut tokens = Vec::new();
    let (mut rest, mut line) = (code, 1);
    while let Some(first) = rest.chars().next() {
        let word = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(length) = literal(rest) {
            length
        } else {
            let length = if word > 0 {
                word
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            if !first.is_whitespace() {
                tokens.push((line, &rest[..length]));
            }
            length
        };
        line += rest[..length].matches('\n').count();
        rest = &rest[length..];
    }
    tokens
}

/// The length of the comment at the beginning, with those nested in it.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        if text[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if text[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// The length of the text, raw text or character at the beginning, if there is one.
fn literal(text: &str) -> Option<usize> {
    if let Some(raw) = text.strip_prefix("br").or_else(|| text.strip_prefix('r')) {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            let start = text.len() - raw.len() + hashes + 1;
            return Some(text[start..].find(&end).map_or(text.len(), |at| start + at + end.len()));
        }
    }
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    // 'a is a lifetime, 'a' a character.
    let after = text.chars().nth(2);
    if quote == '\'' && after != Some('\'') && !text.starts_with("'\\") {
        return None;
    }
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return Some(at + c.len_utf8()),
            _ => {}
        }
    }
    Some(text.len())
}
