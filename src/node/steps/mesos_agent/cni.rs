//! CNI: plugins, one network document, and the isolator's flags.

use serde_json::Value;

use super::flags::{Ask, CNI_CONFIG_DIR, CNI_PLUGINS_DIR, Flags, ISOLATION};
use super::plan::{Content, Part, Plan, Read};
use crate::desired::{Cni, Plugin};
use crate::node::files::Staging;
use crate::node::host::{Host, HostError};
use crate::observed::support::{reads_networks_live, release};

const ISOLATOR: &str = "network/cni";

/// Plugins come first, then the document, renamed into its folder from outside it: the agent reads
/// every file there, whatever its name. From Mesos 1.2 on it does so when a container starts.
pub(super) fn plan(cni: &Cni, version: Option<&str>) -> Plan {
    let program = |plugin: &Plugin| Part {
        path: format!("{}/{}", folder(cni.plugin_directory.as_str()), plugin.name),
        content: Content::From(plugin.from.clone()),
        mode: 0o755,
        staging: Staging::Beside,
        read: Read::Live,
        // Other networks may use it by then, and unused it does nothing.
        goes: false,
    };
    let live = version.is_some_and(reads_networks_live);
    let document = Part {
        path: document_path(cni),
        content: Content::Text(format!("{:#}\n", Value::Object(cni.network.document().clone()))),
        mode: 0o644,
        staging: Staging::Above,
        read: if live { Read::Live } else { Read::AtStart },
        goes: true,
    };
    Plan {
        parts: cni.plugins.iter().map(program).chain([document]).collect(),
        asks: vec![
            Ask::items(ISOLATION, &[ISOLATOR]),
            Ask::value(CNI_CONFIG_DIR, cni.config_directory.as_str()),
            Ask::items(CNI_PLUGINS_DIR, &[cni.plugin_directory.as_str()]),
        ],
        theirs: None,
    }
}

/// What stands against the network on this agent; `isolation` is what the agent would run with.
pub(super) fn unfit(
    host: &Host,
    cni: &Cni,
    version: Option<&str>,
    flags: &Flags,
    isolation: &[String],
) -> Result<Option<String>, HostError> {
    if let Some(version) = version
        && release(version).is_none_or(|release| release < (1, 0))
    {
        return Ok(Some(format!("the agent is Mesos {version}, and CNI came with 1.0")));
    }
    // It would be accepted, and every container would be without an address (measured).
    let cni_version = text(cni, "cniVersion");
    if cni_version.and_then(release).is_some_and(|release| release >= (0, 3)) {
        return Ok(Some(format!(
            "Mesos reads results of CNI 0.1 and 0.2 only; write `cniVersion: \"0.2.0\"` in place of {}",
            cni_version.unwrap_or_default()
        )));
    }
    // The isolator gives parts of its host's `/etc` away and refuses to, if somebody else has one.
    if isolation.iter().any(|name| name.contains("NetworkIsolator")) {
        return Ok(Some(
            "the agent runs net-modules of somebody else, which CNI cannot run beside; take them off first"
                .to_owned(),
        ));
    }
    if let Some(program) = missing_program(host, cni, flags) {
        return Ok(Some(format!(
            "the network needs the plugin `{program}`, which is in none of the agent's plugin folders, and the agent would pass the network over; declare it under `plugins`"
        )));
    }
    let others = other_documents(host, cni)?;
    Ok((!others.is_empty()).then(|| {
        format!("{} names the same network, and which of the two counts is left to chance; move it out of the folder", others.join(", "))
    }))
}

/// Documents of other files that name the same network, with their names.
pub(super) fn other_documents(host: &Host, cni: &Cni) -> Result<Vec<String>, HostError> {
    let folder = folder(cni.config_directory.as_str());
    let mut others = Vec::new();
    for name in host.root.list(folder)? {
        let path = format!("{folder}/{name}");
        if path == document_path(cni) {
            continue;
        }
        // A folder or a link is nothing that the agent takes for a network.
        let Ok(Some(text)) = host.root.text(&path) else { continue };
        let document: Value = serde_json::from_str(&text).unwrap_or_default();
        if document.get("name") == cni.network.document().get("name") {
            others.push(path);
        }
    }
    Ok(others)
}

/// A program that the network names and that neither lies in a folder of the agent's nor comes
/// with it.
fn missing_program(host: &Host, cni: &Cni, flags: &Flags) -> Option<String> {
    let ipam = cni.network.document().get("ipam").and_then(|ipam| ipam.get("type")?.as_str());
    let mut folders = flags.items(CNI_PLUGINS_DIR);
    folders.push(cni.plugin_directory.as_str().to_owned());
    for program in text(cni, "type").into_iter().chain(ipam) {
        if cni.plugins.iter().any(|plugin| plugin.name.as_str() == program) {
            continue;
        }
        // The agent follows links there, whoever has made them.
        let is_in = |at: &String| host.root.place(&format!("{}/{program}", folder(at))).is_file();
        if !folders.iter().any(is_in) {
            return Some(program.to_owned());
        }
    }
    None
}

/// Where the document is written: the agent takes any name.
fn document_path(cni: &Cni) -> String {
    // A network may be named as it likes; a file may not.
    let safe: String = text(cni, "name")
        .unwrap_or_default()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '_' })
        .collect();
    format!("{}/{safe}.conf", folder(cni.config_directory.as_str()))
}

fn text<'a>(cni: &'a Cni, key: &str) -> Option<&'a str> {
    cni.network.document().get(key).and_then(Value::as_str)
}

fn folder(path: &str) -> &str {
    path.trim_end_matches('/')
}
