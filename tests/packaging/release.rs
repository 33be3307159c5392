//! What a release is made of: `tools/release.sh` around a programme that stands for ours.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::{path, text};

/// The files of a release around `program`, by name.
fn pack(program: &Path, url: &str) -> BTreeMap<String, Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("dist");
    let done = Command::new(path("tools/release.sh"))
        .args([Path::new("pack"), program, &out])
        .envs([("SOURCE_DATE_EPOCH", "1700000000"), ("DOWNLOAD_URL", url)])
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let files = fs::read_dir(&out).unwrap().map(|file| file.unwrap());
    files
        .map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap()))
        .collect()
}

/// A file in a tar, by its path there.
fn packed(tar: &[u8], name: &str) -> Vec<u8> {
    let mut tar = tar::Archive::new(tar);
    for entry in tar.entries().unwrap() {
        let mut entry = entry.unwrap();
        let header = entry.header();
        assert_eq!((header.uid().unwrap(), header.mtime().unwrap()), (0, 1_700_000_000));
        if entry.path().unwrap() == Path::new(name) {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
            return bytes;
        }
    }
    panic!("no {name}")
}

#[test]
fn a_release_is_the_same_bytes_twice_and_complete() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("program");
    fs::write(&program, "not really").unwrap();
    let url = "https://mirror.example.com/1/calico-dcos";
    let release = pack(&program, url);
    assert_eq!(release, pack(&program, url));
    let file = |end: &str| &release[&format!("calico-dcos-{}{end}", env!("CARGO_PKG_VERSION"))];

    assert_eq!(release["calico-dcos"], b"not really");
    let sums = String::from_utf8(release["SHA256SUMS"].clone()).unwrap();
    assert_eq!(sums.lines().count(), release.len() - 1, "{sums}");

    let image = file("-image.tar");
    let config: Value = serde_json::from_slice(&packed(image, "config.json")).unwrap();
    assert_eq!(config["config"]["Entrypoint"], serde_json::json!(["/calico-dcos"]));
    assert!(text("Dockerfile").contains("USER 65534:65534\nENTRYPOINT [\"/calico-dcos\"]"));
    assert_eq!(config["config"]["User"], "65534:65534");
    assert_eq!(packed(&packed(image, "layer.tar"), "calico-dcos"), b"not really");

    let mut package = Vec::new();
    let zipped = file("-universe.tar.gz").as_slice();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(zipped), &mut package).unwrap();
    let place = "repo/packages/C/calico-dcos/0";
    let resource: Value =
        serde_json::from_slice(&packed(&package, &format!("{place}/resource.json"))).unwrap();
    assert_eq!(resource["assets"]["uris"]["calico-dcos"], url);
    let template = packed(&package, &format!("{place}/marathon.json.mustache"));
    assert_eq!(template, fs::read(path("charts/calico-dcos/marathon.json.mustache")).unwrap());

    let bill: Value = serde_json::from_slice(file(".cdx.json")).unwrap();
    let crates: Vec<&str> = bill["components"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    assert!(crates.contains(&"etcd-client") && !crates.contains(&"proptest"), "{crates:?}");
    for one in bill["components"].as_array().unwrap() {
        assert_eq!(one["hashes"][0]["content"].as_str().map(str::len), Some(64), "{one}");
        assert!(one["licenses"][0]["expression"].is_string(), "{one}");
    }
}

#[test]
fn a_download_by_another_name_is_refused() {
    // Mesos names the file after the end of the address, and the app starts it by its name.
    let done = Command::new(path("tools/release.sh"))
        .args(["pack", "/bin/true", "/nonexistent/dist"])
        .envs([("SOURCE_DATE_EPOCH", "1"), ("DOWNLOAD_URL", "https://mirror.example.com/v1")])
        .output()
        .unwrap();
    assert_eq!(done.status.code(), Some(2));
}
