//! What follows from flags, files and versions, without touching anything.

use serde_json::{Map, Value};

use crate::desired::{Cni, Plugin};
use crate::words::SpecHash;

const ISOLATOR: &str = "network/cni";

/// The flags that matter, as the agent runs with them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Flags {
    isolation: String,
    config_directory: String,
    plugin_directories: String,
}

impl Flags {
    /// From the answer to `/flags`.
    pub(super) fn read(flags: &Value) -> Self {
        Self::by(|name| flags.get(name).and_then(Value::as_str).map(str::to_owned))
    }

    /// From the process: an argument wins over the environment, as in Mesos.
    pub(super) fn of_process(line: &[u8], environment: &[u8]) -> Self {
        let texts = |bytes: &[u8]| {
            let words =
                bytes.split(|byte| *byte == 0).map(|w| String::from_utf8_lossy(w).into_owned());
            words.collect::<Vec<_>>()
        };
        let (line, environment) = (texts(line), texts(environment));
        Self::by(|name| {
            let (argument, variable) =
                (format!("--{name}="), format!("MESOS_{}=", name.to_uppercase()));
            let of = |words: &[String], start: &str| {
                words.iter().find_map(|word| word.strip_prefix(start)).map(str::to_owned)
            };
            of(&line, &argument).or_else(|| of(&environment, &variable))
        })
    }

    fn by(get: impl Fn(&str) -> Option<String>) -> Self {
        let text = |name| get(name).unwrap_or_default();
        Self {
            isolation: text("isolation"),
            config_directory: text("network_cni_config_dir"),
            plugin_directories: text("network_cni_plugins_dir"),
        }
    }

    /// The settings that the environment has to get, with their full values: an override replaces
    /// what it overrides.
    pub(super) fn missing(&self, cni: &Cni) -> Vec<(String, String)> {
        let mut missing = Vec::new();
        let (config, plugins) = (cni.config_directory.as_str(), cni.plugin_directory.as_str());
        if !self.isolation.split(',').any(|name| name.trim() == ISOLATOR) {
            let isolation = match self.isolation.trim() {
                "" => ISOLATOR.to_owned(),
                others => format!("{others},{ISOLATOR}"),
            };
            missing.push(("MESOS_ISOLATION".to_owned(), isolation));
        }
        if !same_folder(&self.config_directory, config) {
            missing.push(("MESOS_NETWORK_CNI_CONFIG_DIR".to_owned(), config.to_owned()));
        }
        if !self.plugin_directories.split(':').any(|folder| same_folder(folder, plugins)) {
            let folders = match self.plugin_directories.as_str() {
                "" => plugins.to_owned(),
                others => format!("{others}:{plugins}"),
            };
            missing.push(("MESOS_NETWORK_CNI_PLUGINS_DIR".to_owned(), folders));
        }
        missing
    }
}

fn same_folder(a: &str, b: &str) -> bool {
    a.trim_end_matches('/') == b.trim_end_matches('/')
}

/// What stands against a network on this agent.
pub(super) fn unfit(
    cni: &Cni,
    version: Option<&str>,
    flags: Option<&Flags>,
    others: &[String],
) -> Option<String> {
    if let Some(version) = version
        && release(version).is_none_or(|release| release < (1, 0))
    {
        return Some(format!("the agent is Mesos {version}, and CNI came with 1.0"));
    }
    if flags.is_none() {
        return Some("the agent's flags are not known; is it running?".to_owned());
    }
    // It would be accepted, and every container would be without an address (measured).
    let cni_version = cni.network.document().get("cniVersion").and_then(Value::as_str);
    if cni_version.and_then(release).is_some_and(|release| release >= (0, 3)) {
        return Some(format!(
            "Mesos reads results of CNI 0.1 and 0.2 only; write `cniVersion: \"0.2.0\"` in place of {}",
            cni_version.unwrap_or_default()
        ));
    }
    // The isolator gives parts of its host's `/etc` away and refuses to, if somebody else has one.
    let modules = flags.is_some_and(|flags| flags.isolation.contains("NetworkIsolator"));
    if modules {
        return Some(
            "the agent runs net-modules, which CNI cannot run beside; take them off first"
                .to_owned(),
        );
    }
    (!others.is_empty()).then(|| {
        format!("{} names the same network, and which of the two counts is left to chance; move it out of the folder", others.join(", "))
    })
}

/// Where the document is written: the agent takes any name.
pub(super) fn document_path(cni: &Cni) -> String {
    let name = cni.network.document().get("name").and_then(Value::as_str).unwrap_or_default();
    // A network may be named as it likes; a file may not.
    let safe: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '_' })
        .collect();
    format!("{}/{safe}.conf", cni.config_directory.as_str().trim_end_matches('/'))
}

/// The document as text.
pub(super) fn document(cni: &Cni) -> String {
    format!("{:#}\n", Value::Object(cni.network.document().clone()))
}

pub(super) fn plugin_path(cni: &Cni, plugin: &Plugin) -> String {
    format!("{}/{}", cni.plugin_directory.as_str().trim_end_matches('/'), plugin.name)
}

pub(super) fn digest(bytes: &[u8]) -> String {
    SpecHash::of(bytes).to_string()
}

/// Of each program that was written, by its path.
pub(super) fn digests(paths: &[String], programs: &[Vec<u8>]) -> Value {
    let pairs = paths.iter().zip(programs);
    Value::Object(
        pairs.map(|(path, bytes)| (path.clone(), digest(bytes).into())).collect::<Map<_, _>>(),
    )
}

/// Sets variables in a file of `NAME=value` lines. All else stays, comments too.
pub(super) fn set_environment(text: &str, variables: &[(String, String)]) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for (name, value) in variables {
        let new = format!("{name}={value}");
        match lines.iter().rposition(|line| names(line, name)) {
            Some(at) => lines[at] = new,
            None => lines.push(new),
        }
    }
    joined(&lines)
}

/// Takes variables out, or puts their lines of an old text back.
pub(super) fn restore_environment<'a>(
    text: &str,
    old: &str,
    variables: impl Iterator<Item = &'a str>,
) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for name in variables {
        let before = old.lines().rfind(|line| names(line, name));
        if let Some(at) = lines.iter().rposition(|line| names(line, name)) {
            match before {
                Some(before) => before.clone_into(&mut lines[at]),
                None => drop(lines.remove(at)),
            }
        }
    }
    joined(&lines)
}

fn names(line: &str, variable: &str) -> bool {
    line.trim_start().strip_prefix(variable).is_some_and(|rest| rest.starts_with('='))
}

fn joined(lines: &[String]) -> String {
    lines.iter().fold(String::new(), |text, line| text + line + "\n")
}

/// The first two numbers of a version.
pub(super) fn release(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split(['.', '-', '+']).map_while(|part| part.parse().ok());
    Some((numbers.next()?, numbers.next()?))
}
