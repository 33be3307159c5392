//! The guides in `docs/` say what is so.

use std::collections::BTreeSet;
use std::path::Path;

use clap::error::ErrorKind::{DisplayHelp, MissingRequiredArgument};

use super::{path, text, words};

/// The words of all reasons, as the product has them.
fn reasons() -> BTreeSet<String> {
    let source = text("src/plan/reason.rs");
    let function = source.split_once("fn code(").unwrap().1.split_once("\n    }\n").unwrap().0;
    function.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_guide_has_every_reason_and_no_other() {
    let guide = text("docs/operations.md");
    let table = guide.split_once("| reason |").unwrap().1.split_once("\n\n").unwrap().0;
    let told: BTreeSet<String> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(reason, _)| reason.to_owned())
        .collect();
    let reasons = reasons();
    assert!(reasons.len() >= 20 && reasons.contains("waiting-for-slot"), "{reasons:?}");
    assert_eq!(told, reasons);
}

#[test]
fn the_guide_has_every_alert_and_no_other() {
    let guide = text("docs/operations.md");
    let table = guide.split_once("| alert |").unwrap().1.split_once("\n\n").unwrap().0;
    let told = table.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let told: Vec<&str> = told.map(|(alert, _)| alert).collect();
    let rules = text("examples/alerts.yaml");
    let alerts: Vec<&str> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() > 10, "{alerts:?}");
    assert_eq!(told, alerts);
}

/// All sources with tests, as one text.
fn sources(folder: &Path, all: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, all);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn what_is_said_to_go_together_is_shown_by_a_test_or_reported() {
    let mut all = String::new();
    for folder in ["src", "tests"] {
        sources(&path(folder), &mut all);
    }
    let table = text("docs/compatibility.md");
    let rows = table.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| what |"));
    let mut seen = 0;
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [_, state, shown] = cells.as_slice() else { panic!("{row}") };
        seen += 1;
        if state.starts_with("reported") {
            assert!(state.contains("projectcalico/"), "who says so? {row}");
            continue;
        }
        assert!(state.starts_with("tested") || state.starts_with("blocked"), "{row}");
        let test = shown.trim_matches('`');
        assert!(all.contains(&format!("fn {test}(")), "there is no test {test}");
        assert!(!state.contains("in the lab") || test.starts_with("lab_"), "{row}");
    }
    assert!(seen > 20);
}

#[test]
fn every_guide_is_linked_from_the_first_page() {
    let readme = text("README.md");
    let mut seen = 0;
    for entry in std::fs::read_dir(path("docs")).unwrap() {
        let file = entry.unwrap().path();
        if file.extension().is_some_and(|extension| extension == "md") {
            let name = file.file_name().unwrap().to_str().unwrap();
            assert!(readme.contains(&format!("](docs/{name})")), "README does not lead to {name}");
            seen += 1;
        }
    }
    assert!(seen >= 3, "{seen}");
}

#[test]
fn commands_in_the_guides_are_understood() {
    let usage = calico_dcos::cli::usage();
    let mut seen = 0;
    for guide in ["README.md", "docs/install.md", "docs/operations.md"] {
        for line in text(guide).lines().filter_map(|line| line.strip_prefix("$ ")) {
            let line = line.split("  ").next().unwrap_or_default();
            for part in line.split(['|', '>', '&', ';']).map(str::trim) {
                if part.starts_with("calico-dcos ") {
                    let words = words(part, &[]);
                    if let Err(error) = usage.clone().try_get_matches_from(&words) {
                        panic!("{guide}: {part}: {error}");
                    }
                    seen += 1;
                }
            }
        }
    }
    assert!(seen > 20, "{seen}");
}

/// Sentences name the next thing to do: `calico-dcos …` between backticks, in all that people are told.
#[test]
fn commands_in_sentences_are_understood() {
    let usage = calico_dcos::cli::usage();
    let mut all = String::new();
    sources(&path("src"), &mut all);
    // A sentence may be broken over lines of its source.
    let lines: Vec<&str> = all.split("\\\n").map(str::trim_start).collect();
    let all = lines.concat();
    let mut seen = 0;
    for line in all.lines() {
        for named in line.split('`').skip(1).step_by(2) {
            let parts = named.split(['|', '>']).map(str::trim);
            for part in parts.filter(|part| part.starts_with("calico-dcos ")) {
                // What stands for something: any of its kind is as good.
                let part = part.replace("GENERATION", "1").replace("COMMAND", "diff");
                let known = match usage.clone().try_get_matches_from(part.split(' ')) {
                    Ok(_) => true,
                    // The name of a command alone stands for it, whatever it needs.
                    Err(error) => matches!(error.kind(), MissingRequiredArgument | DisplayHelp),
                };
                assert!(known, "`{part}` is no command of ours");
                seen += 1;
            }
        }
    }
    assert!(seen > 30, "{seen}");
}
