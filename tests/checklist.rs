//! `CHECKLIST.md` lists the points of a production scheduler, and what must do no harm, with the
//! tests that show each: every test that it names exists and carries the number of its point, and
//! every test that carries a number is in its row.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const POINTS: usize = 60;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The tests of all Rust files in a folder, each with the points whose numbers it carries.
fn tests(folder: &Path, found: &mut BTreeMap<String, BTreeSet<usize>>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            tests(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            for (name, above) in functions(&std::fs::read_to_string(&path).unwrap()) {
                let mut points = named(&name);
                points.extend(told(&above));
                found.entry(name).or_default().append(&mut points);
            }
        }
    }
}

/// The tests in a source: name, and what is said right above them.
fn functions(source: &str) -> Vec<(String, String)> {
    let (mut functions, mut above, mut test) = (Vec::new(), String::new(), false);
    for line in source.lines().map(str::trim) {
        if let Some(words) = line.strip_prefix("///") {
            above.push_str(words);
        } else if line.starts_with("#[") {
            test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
        } else {
            // In the block of `proptest!` attributes look the same.
            let name = line.trim_start_matches("async ").strip_prefix("fn ").filter(|_| test);
            if let Some(end) = name.and_then(|name| name.find('(')) {
                let name = name.unwrap_or_default()[..end].to_owned();
                functions.push((name, std::mem::take(&mut above)));
            }
            (above, test) = (String::new(), false);
        }
    }
    functions
}

/// `point_13_and_28_…`.
fn named(name: &str) -> BTreeSet<usize> {
    let mut words = name.split('_').skip_while(|word| *word != "point").skip(1);
    let mut points = BTreeSet::new();
    while let Some(number) = words.next().and_then(|word| word.parse().ok()) {
        points.insert(number);
        if words.next() != Some("and") {
            break;
        }
    }
    points
}

/// `Points 16 and 24 of …`.
fn told(above: &str) -> BTreeSet<usize> {
    let (Some(start), true) = (above.find("Point"), above.contains("`CHECKLIST.md`")) else {
        return BTreeSet::new();
    };
    let sentence = above[start..].split("of `CHECKLIST.md`").next().unwrap_or_default();
    sentence.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
}

/// The rows of the table under a heading: first cell, and the tests that are named in the last.
fn rows(heading: &str) -> Vec<(String, Vec<String>)> {
    let text = std::fs::read_to_string(root().join("CHECKLIST.md")).unwrap();
    let start = text.find(heading).unwrap() + heading.len();
    let part = text[start..].split("\n#").next().unwrap_or_default();
    let table = part.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
    table
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"))
        .map(|line| {
            let first = line.split(" | ").next().unwrap_or_default().to_owned();
            let shown = line.rsplit(" | ").next().unwrap_or_default();
            let tests = shown.split('`').skip(1).step_by(2).map(str::to_owned).collect();
            (first, tests)
        })
        .collect()
}

fn all_tests() -> BTreeMap<String, BTreeSet<usize>> {
    let mut found = BTreeMap::new();
    tests(&root().join("src"), &mut found);
    tests(&root().join("tests"), &mut found);
    found
}

#[test]
fn every_point_is_shown_by_tests_that_carry_its_number_and_each_of_those_is_listed() {
    let known = all_tests();
    let mut listed: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
    let rows = rows("# What a scheduler in production has to do");
    let numbers: Vec<usize> = rows.iter().map(|(number, _)| number.parse().unwrap()).collect();
    assert_eq!(numbers, (1..=POINTS).collect::<Vec<_>>());
    let mut wrong = Vec::new();
    for (number, (_, shown)) in numbers.iter().zip(rows) {
        if shown.is_empty() {
            wrong.push(format!("point {number}: no test"));
        }
        for test in shown {
            match known.get(&test) {
                None => wrong.push(format!("point {number}: there is no test {test}")),
                Some(points) if !points.contains(number) => {
                    wrong.push(format!("point {number}: {test} does not carry the number"));
                }
                Some(_) => {}
            }
            listed.entry(test).or_default().insert(*number);
        }
    }
    for (test, points) in known.iter().filter(|(_, points)| !points.is_empty()) {
        if listed.get(test) != Some(points) {
            wrong
                .push(format!("{test} carries {points:?} and is listed at {:?}", listed.get(test)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_line_of_the_other_tables_is_shown_by_tests_that_there_are() {
    let known = all_tests();
    for (table, least) in [
        ("## What must do no harm", 12),
        ("## What people see and install", 30),
        ("### What may be asked of page and API", 9),
    ] {
        let rows = rows(table);
        assert!(rows.len() >= least, "{table}: {rows:?}");
        for (what, shown) in rows {
            assert!(!shown.is_empty(), "{what}: no test");
            for test in shown {
                assert!(known.contains_key(&test), "{what}: there is no test {test}");
            }
        }
    }
}
