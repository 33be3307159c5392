//! What people install: the DC/OS package, the Marathon apps, the systemd unit. Each says how our
//! program is started, and each of these lines is read by the program's own definition.

#![expect(clippy::unwrap_used, reason = "in a test it is an assertion")]

mod cosmos;
mod docs;
mod examples;
mod release;
mod universe;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// A file of this repository.
fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn text(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn json(name: &str) -> Value {
    serde_json::from_str(&text(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The words of a command line, as a shell that knows only quotes and these variables makes them.
fn words(line: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in line.chars() {
        match (c, quote) {
            ('\'' | '"', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (_, Some(open)) if c == open => quote = None,
            (' ', None) => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    assert_eq!(quote, None, "{line}");
    words.extend(word);
    let known = |mut word: String| {
        for (name, value) in variables {
            word = word.replace(&format!("${name}"), value);
        }
        assert!(!word.contains('$'), "{word} is not known where {line} runs");
        word
    };
    words.into_iter().map(known).collect()
}

/// Fails unless `calico-dcos` would take these words with these variables.
fn assert_understood(words: &[String], environment: &BTreeMap<String, String>) {
    let usage = calico_dcos::cli::usage();
    let run = usage.find_subcommand("run").unwrap();
    let mut line = words.to_vec();
    for (name, value) in environment.iter().filter(|(name, _)| name.starts_with("CALICO_DCOS_")) {
        let mut options = run.get_arguments();
        let Some(option) =
            options.find(|one| one.get_env().is_some_and(|env| env == name.as_str()))
        else {
            assert_eq!(name, "CALICO_DCOS_LOG", "no option reads this variable");
            continue;
        };
        line.push(format!("--{}={value}", option.get_long().unwrap()));
    }
    if let Err(error) = usage.clone().try_get_matches_from(&line) {
        panic!("{line:?}: {error}");
    }
}

/// The environment of an app.
fn environment(app: &Value) -> BTreeMap<String, String> {
    serde_json::from_value(app["env"].clone()).unwrap()
}

/// What holds for each app that Marathon is to run, wherever it comes from.
fn assert_good_app(app: &Value) {
    let labels: BTreeMap<String, String> = serde_json::from_value(app["labels"].clone()).unwrap();
    let environment = environment(app);
    let framework =
        environment.get("CALICO_DCOS_FRAMEWORK_NAME").map_or("calico-dcos", String::as_str);
    // By this label Cosmos finds the framework that it ends when the package is uninstalled.
    assert_eq!(labels["DCOS_PACKAGE_FRAMEWORK_NAME"], framework);
    // All three, or Admin Router does not lead to the page.
    assert_eq!(labels["DCOS_SERVICE_NAME"], app["id"].as_str().unwrap().trim_start_matches('/'));
    assert_eq!(labels["DCOS_SERVICE_SCHEME"], "http");
    assert_eq!(labels["DCOS_SERVICE_PORT_INDEX"], "0");
    assert_eq!(app["portDefinitions"].as_array().unwrap().len(), 1);
    assert_eq!(app["healthChecks"][0]["path"], "/health");
    assert_eq!(app["healthChecks"][0]["portIndex"], 0);
    assert!(app["healthChecks"][0]["maxConsecutiveFailures"].as_u64() > Some(0));
    assert_eq!(app["constraints"], serde_json::json!([["hostname", "UNIQUE"]]));

    let known = [("HOST", "a1.example.com"), ("PORT0", "31001")];
    let line = match (app["cmd"].as_str(), app["args"].as_array()) {
        (Some(line), None) => words(line.strip_prefix("exec ./").unwrap(), &known),
        (None, Some(args)) => {
            let args = args.iter().map(|word| word.as_str().unwrap());
            ["calico-dcos"].into_iter().chain(args).map(str::to_owned).collect()
        }
        other => panic!("Marathon wants either of the two: {other:?}"),
    };
    assert_understood(&line, &environment);
    if let Some(fetched) = app["fetch"].as_array() {
        // What the app runs is what it sends to the hosts, which check it against its own digest.
        assert_eq!(fetched[0]["uri"], environment["CALICO_DCOS_ARTIFACT_URL"].as_str());
        assert_eq!(fetched[0]["executable"], true);
    }
}
