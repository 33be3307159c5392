//! `examples/marathon` and `examples/systemd`.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use super::{assert_good_app, assert_understood, json, text, words};

const UNIT: &str = "examples/systemd/calico-dcos.service";

#[test]
fn the_marathon_apps_run() {
    let (binary, image) =
        (json("examples/marathon/binary.json"), json("examples/marathon/image.json"));
    assert_good_app(&binary);
    assert_good_app(&image);
    assert_eq!(binary["env"], image["env"], "one of the two was forgotten");
    assert!(binary["container"].is_null() && image["fetch"].is_null());
    // In the image there is no shell, so that nothing knows a port that Marathon chooses.
    assert_eq!(
        (&image["portDefinitions"][0]["port"], &image["requirePorts"]),
        (&9400.into(), &true.into())
    );
}

/// The value of a line `KEY=VALUE` of the unit.
fn setting<'u>(unit: &'u str, key: &str) -> &'u str {
    let mut lines = unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    let value = lines.next().unwrap_or_else(|| panic!("no {key}"));
    assert_eq!(lines.next(), None, "{key} twice");
    value
}

#[test]
fn the_systemd_unit_starts_the_controller() {
    let unit = text(UNIT);
    let line = setting(&unit, "ExecStart").replace("%H", "m1.example.com");
    let line = words(line.strip_prefix("/usr/local/bin/").unwrap(), &[]);
    assert!(setting(&unit, "EnvironmentFile").ends_with("/controller.env"));
    let environment: BTreeMap<String, String> = text("examples/systemd/controller.env")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split_once('=').unwrap())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    assert_understood(&line, &environment);
}

#[test]
fn systemd_knows_all_that_the_unit_says() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("calico-dcos.service");
    // The programme has to be where the unit says, and that file does not exist here.
    let program = env!("CARGO_BIN_EXE_calico-dcos");
    fs::write(&file, text(UNIT).replace("/usr/local/bin/calico-dcos", program)).unwrap();
    let Ok(done) =
        Command::new("systemd-analyze").arg("verify").arg("--man=no").arg(&file).output()
    else {
        return;
    };
    let said = String::from_utf8_lossy(&done.stderr);
    let ours: Vec<_> = said.lines().filter(|line| line.contains("calico-dcos")).collect();
    assert!(done.status.success() && ours.is_empty(), "{said}");
}
