//! net-modules: a library in the agent itself, the program that it calls, and a manifest that
//! names both beside the modules of others.
//!
//! An agent has one manifest (`--modules`) or one folder of them (`--modules_dir`), and what is
//! set replaces what was. So ours holds everything that the agent had, in a folder of our own: that of DC/OS
//! is replaced at its upgrades. When theirs changes, ours is not in force any more.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::flags::{
    Ask, ETCD_AUTHORITY, Flags, HOOKS, ISOLATION, MODULES, MODULES_DIR, What, same,
};
use super::plan::{Content, Part, Plan, Read};
use crate::desired::NetModules;
use crate::node::files::Staging;
use crate::node::host::{Host, HostError};

/// Nothing else is in it: of a folder of manifests every file counts.
const FOLDER: &str = "/var/lib/calico-dcos/modules";

/// Where the modules of others are listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Theirs {
    /// Nowhere.
    Nowhere,
    /// In the flag itself.
    Text(String),
    /// In this file.
    File(String),
    /// In the files of this folder.
    Folder(String),
}

impl Theirs {
    /// As the agent's flags say; what was `known` counts while they name what is ours.
    fn of(flags: &Flags, library: &str, known: Option<&Self>) -> Result<Self, String> {
        let (modules, folder) = (flags.get(MODULES), flags.get(MODULES_DIR));
        let names_ours = same(folder, FOLDER) || modules.contains(FOLDER);
        if let (true, Some(known)) = (names_ours || modules.contains(library), known) {
            return Ok(known.clone());
        }
        if names_ours {
            return Ok(Self::Nowhere);
        }
        if !folder.is_empty() {
            return Ok(Self::Folder(folder.to_owned()));
        }
        let path = modules.strip_prefix("file://").unwrap_or(modules);
        match path.chars().next() {
            None => Ok(Self::Nowhere),
            Some('/') => Ok(Self::File(path.to_owned())),
            Some('{') => Ok(Self::Text(path.to_owned())),
            Some(_) => Err(format!(
                "the agent's modules cannot be taken over, as it does not say from which file they are; set {MODULES} to it"
            )),
        }
    }

    /// The file, or with `/` at its end the folder.
    pub(super) fn place(&self) -> Option<String> {
        match self {
            Self::Nowhere | Self::Text(_) => None,
            Self::File(path) => Some(path.clone()),
            Self::Folder(folder) => Some(format!("{folder}/")),
        }
    }

    /// The libraries that are listed, as they stand there.
    fn libraries(&self, host: &Host) -> Result<Vec<Value>, String> {
        let sentence = |error: HostError| error.sentence();
        let file = |path: &str| {
            let text = host.root.text(path).map_err(|error| sentence(error.into()))?;
            let text = text.ok_or_else(|| {
                format!(
                    "the agent's list of modules, {path}, is not there; it would not start again"
                )
            })?;
            libraries(&text).map_err(|error| format!("{path} is no list of modules ({error})"))
        };
        match self {
            Self::Nowhere => Ok(Vec::new()),
            Self::Text(text) => libraries(text)
                .map_err(|error| format!("the agent's --modules is no list of modules ({error})")),
            Self::File(path) => file(path),
            Self::Folder(folder) => {
                let names = host.root.list(folder).map_err(|error| sentence(error.into()))?;
                let files = names.iter().map(|name| file(&format!("{folder}/{name}")));
                Ok(files.collect::<Result<Vec<_>, _>>()?.concat())
            }
        }
    }
}

/// Library and program come before the manifest that names them.
pub(super) fn plan(
    host: &Host,
    wanted: &NetModules,
    flags: &Flags,
    known: Option<&Theirs>,
) -> Result<Plan, String> {
    let library = wanted.library_path.as_str();
    let theirs = Theirs::of(flags, library, known)?;
    let mut all = theirs.libraries(host)?;
    all.retain(|other| other["file"] != library);
    if let Some((name, file)) = all.iter().find_map(|other| named_elsewhere(wanted, other)) {
        return Err(format!(
            "the module {name} is loaded from {file} already; take it off the agent's list of modules, or declare that file as `libraryPath`"
        ));
    }
    all.push(manifest(wanted));
    let text = format!("{:#}\n", json!({ "libraries": all }));
    let path = format!("{FOLDER}/modules.json");
    let value = format!("file://{path}");
    let place = match &theirs {
        Theirs::Folder(_) => Ask::value(MODULES_DIR, FOLDER),
        // Some versions answer the path, others what is in the file.
        _ => Ask {
            variable: MODULES.to_owned(),
            what: What::File { value, inside: library.to_owned() },
        },
    };
    let part = |path: &str, content, mode| Part {
        path: path.to_owned(),
        content,
        mode,
        staging: Staging::Beside,
        read: Read::AtStart,
        goes: true,
    };
    let program = Part {
        // It is started anew for each container.
        read: Read::Live,
        ..part(wanted.plugin_path.as_str(), Content::From(wanted.plugin.clone()), 0o755)
    };
    let manifest = Part { staging: Staging::Above, ..part(&path, Content::Text(text), 0o644) };
    let hooks: Vec<&str> = wanted.hooks.iter().map(String::as_str).collect();
    Ok(Plan {
        parts: vec![part(library, Content::From(wanted.library.clone()), 0o755), program, manifest],
        asks: vec![
            place,
            Ask::items(ISOLATION, &[&wanted.isolation]),
            Ask::items(HOOKS, &hooks),
            Ask::value(ETCD_AUTHORITY, wanted.etcd_authority.as_str()),
        ],
        theirs: Some(theirs),
    })
}

/// What stands against the library in this agent: one that it cannot load keeps it from starting.
pub(super) fn unfit(wanted: &NetModules, version: Option<&str>, library: &[u8]) -> Option<String> {
    let Some(version) = version else {
        return Some("the agent's version is not known; is it running?".to_owned());
    };
    // x86-64, as the only processor that there are builds of ours for.
    if !library.starts_with(b"\x7fELF") || library.get(18) != Some(&0x3e) {
        return Some("the library of net-modules is no shared library for x86-64".to_owned());
    }
    // Mesos compares the version that a module was compiled with, a text in it, with its own.
    if !holds_text(library, version) {
        return Some(format!(
            "the library of net-modules was not built for Mesos {version}, and the agent would not start with it; declare the one that was"
        ));
    }
    let names = std::iter::once(&wanted.isolation).chain(&wanted.hooks);
    let missing = names.into_iter().find(|name| !holds_text(library, name))?;
    Some(format!(
        "the library of net-modules has no module {missing}, and the agent would not start with it"
    ))
}

/// Whether the bytes have this as a text of its own, as C keeps it.
fn holds_text(bytes: &[u8], text: &str) -> bool {
    let wanted = text.as_bytes();
    let mut from = 0;
    while let Some(at) = bytes[from..].windows(wanted.len()).position(|found| found == wanted) {
        let (start, end) = (from + at, from + at + wanted.len());
        // Linkers let a text end within a longer one, so only what follows is sure.
        let is_digit = |byte: &u8| byte.is_ascii_digit() || *byte == b'.';
        let before = start.checked_sub(1).and_then(|at| bytes.get(at));
        if bytes.get(end) == Some(&0) && !before.is_some_and(is_digit) {
            return true;
        }
        from = start + 1;
    }
    false
}

fn manifest(wanted: &NetModules) -> Value {
    let command = |key: &str| json!({"key": key, "value": wanted.plugin_path.as_str()});
    let isolator = json!({
        "name": wanted.isolation,
        "parameters": [command("isolator_command"), command("ipam_command")],
    });
    let hooks = wanted.hooks.iter().map(|name| json!({ "name": name }));
    let modules: Vec<Value> = std::iter::once(isolator).chain(hooks).collect();
    json!({"file": wanted.library_path.as_str(), "modules": modules})
}

/// One of our modules that another library is said to have.
fn named_elsewhere(wanted: &NetModules, library: &Value) -> Option<(String, String)> {
    let ours = |name: &&str| wanted.isolation == *name || wanted.hooks.iter().any(|h| h == name);
    let modules = library["modules"].as_array()?;
    let name = modules.iter().filter_map(|module| module["name"].as_str()).find(ours)?;
    let file = library["file"].as_str().or(library["name"].as_str()).unwrap_or("another library");
    Some((name.to_owned(), file.to_owned()))
}

fn libraries(text: &str) -> Result<Vec<Value>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Manifest {
        #[serde(default)]
        libraries: Vec<Value>,
    }
    Ok(serde_json::from_str::<Manifest>(text)?.libraries)
}
