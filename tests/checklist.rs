//! `CHECKLIST.md` lists the points of a production scheduler and the test that shows each; every
//! test that it names exists, and every test that carries a point's number is in it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::path::Path;

const POINTS: usize = 60;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The names of all functions in a folder's Rust files.
fn functions(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            functions(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = std::fs::read_to_string(&path).unwrap();
            let name = |rest: &str| {
                let end = rest.find(|c: char| c != '_' && !c.is_alphanumeric())?;
                Some(rest[..end].to_owned())
            };
            names.extend(source.split("fn ").skip(1).filter_map(name));
            // Tests that a macro makes: `recording_01_subscribe: "01_subscribe", …`.
            names.extend(source.lines().filter_map(|line| {
                let (name, rest) = line.trim().split_once(": ")?;
                rest.starts_with('"').then(|| name.to_owned())
            }));
        }
    }
}

/// Each row: number, what the point is, names of tests.
fn rows() -> Vec<(usize, Vec<String>)> {
    let table = std::fs::read_to_string(root().join("CHECKLIST.md")).unwrap();
    table
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| ")?.split(" | ");
            let number = cells.next()?.trim().parse().ok()?;
            let shown = cells.nth(1)?;
            let tests = shown.split('`').skip(1).step_by(2).map(str::to_owned).collect();
            Some((number, tests))
        })
        .collect()
}

#[test]
fn every_point_has_a_row_and_every_test_in_it_exists() {
    let mut names = BTreeSet::new();
    functions(&root().join("src"), &mut names);
    functions(&root().join("tests"), &mut names);
    let rows = rows();
    let numbers: Vec<_> = rows.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (1..=POINTS).collect::<Vec<_>>());
    for (number, tests) in &rows {
        for test in tests {
            assert!(names.contains(test), "point {number}: there is no test {test}");
        }
    }
    let listed: BTreeSet<_> = rows.into_iter().flat_map(|(_, tests)| tests).collect();
    for name in names.iter().filter(|name| name.starts_with("point_")) {
        assert!(listed.contains(name), "{name} is not in CHECKLIST.md");
    }
}
