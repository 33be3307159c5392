//! What a restart of the agent would bring in beside what is ours, found before the restart: an
//! agent that does not start again, or not as the same agent, costs all that runs on it.

use super::flags::{CNI_CONFIG_DIR, Change, Flags, ISOLATION, set_to};
use crate::node::host::Host;

const HOSTNAME: &str = "MESOS_HOSTNAME";
const PORT: &str = "MESOS_PORT";
const ATTRIBUTES: &str = "MESOS_ATTRIBUTES";
/// What an agent registers with; it recovers only as the same (Mesos: `slave/compatibility.cpp`).
const REGISTERED: [&str; 5] = [HOSTNAME, PORT, ATTRIBUTES, "MESOS_RESOURCES", "MESOS_DOMAIN"];
const POLICY: &str = "MESOS_RECONFIGURATION_POLICY";

/// The files of the agent's environment that are read after those of its package, in order; the
/// first is ours to write to.
pub(super) type Files = [(&'static str, String)];

/// What stands against a restart, as a sentence.
pub(super) fn conflict(
    host: &Host,
    flags: &Flags,
    files: &Files,
    changes: &[Change],
) -> Option<String> {
    let set = changes.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_deref()?)));
    for (variable, value) in set {
        if flags.is_fixed(variable) {
            return Some(format!(
                "the agent is started with {} on its command line, against which {variable} does not count; take it out there",
                flag(variable)
            ));
        }
        let pending = pending(files, variable);
        match pending {
            Some((file, _)) if file != files[0].0 => {
                return Some(format!(
                    "{file} sets {variable} too, and comes last; take it out there"
                ));
            }
            // Ours, from before a crash, or what is in force anyway.
            Some((_, set)) if set != value && set != flags.get(variable) => {
                return Some(format!(
                    "{} sets {variable} to what the agent does not run with yet; restart it, or take the line out",
                    files[0].0
                ));
            }
            _ => {}
        }
    }
    incompatible(flags, files).or_else(|| missing_folder(host, flags, changes))
}

/// An edit of what the agent is registered as, that waits for a restart.
fn incompatible(flags: &Flags, files: &Files) -> Option<String> {
    let policy = pending(files, POLICY).map_or(flags.get(POLICY).to_owned(), |(_, value)| value);
    if !matches!(policy.as_str(), "" | "equal" | "additive") {
        return Some(format!(
            "{POLICY} is `{policy}`, which the agent does not know; it would not start"
        ));
    }
    for variable in REGISTERED {
        let Some((file, new)) = pending(files, variable) else { continue };
        let old = flags.get(variable);
        // What is in a file of its own cannot be compared with what it was when it was read.
        if new.starts_with("file://") || new.starts_with('/') || compact(&new) == compact(old) {
            continue;
        }
        let taken = policy == "additive"
            && match variable {
                HOSTNAME | PORT => false,
                ATTRIBUTES => attributes(old).all(|pair| attributes(&new).any(|new| new == pair)),
                _ => true,
            };
        if !taken {
            return Some(format!(
                "{file} sets {variable} to something else than the agent is registered with, and it would not recover after a restart; take that back, or restart it as a new agent"
            ));
        }
    }
    None
}

/// The isolator looks for its folder when the agent starts.
fn missing_folder(host: &Host, flags: &Flags, changes: &[Change]) -> Option<String> {
    let folder = flags.get(CNI_CONFIG_DIR);
    let is_changed = changes.iter().any(|(variable, _)| variable == CNI_CONFIG_DIR);
    let isolates = flags.items(ISOLATION).iter().any(|name| name == "network/cni");
    (isolates && !is_changed && !folder.is_empty() && !host.root.place(folder).is_dir()).then(|| {
        format!("the agent's folder for CNI networks, {folder}, is gone, and it would not start again; make it")
    })
}

/// What the agent would read at its next start.
fn pending(files: &Files, variable: &str) -> Option<(&'static str, String)> {
    files.iter().rev().find_map(|(file, text)| Some((*file, set_to(text, variable)?)))
}

fn attributes(text: &str) -> impl Iterator<Item = String> {
    text.split(';').map(compact).filter(|pair| !pair.is_empty())
}

fn compact(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

fn flag(variable: &str) -> String {
    let name = variable.strip_prefix("MESOS_").unwrap_or(variable);
    format!("--{}", name.to_lowercase())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::node::steps::fakes::Fake;

    #[tokio::test]
    async fn what_would_keep_the_agent_down_is_found_before_it_is_restarted() {
        let fake = Fake::new();
        let running = json!({
            "isolation": "cgroups/cpu,network/cni", "network_cni_config_dir": "/etc/cni/net.d",
            "attributes": "rack:r1", "hostname": "a1", "resources": "cpus:2",
        });
        let check = |more: &str, later: &str| {
            let flags = Flags::read(&running).with_line(&["--hooks=x".to_owned()]);
            let files = [("/ours", more.to_owned()), ("/later", later.to_owned())];
            let change = |name: &str, value: &str| (name.to_owned(), Some(value.to_owned()));
            conflict(&fake.host, &flags, &files, &[change("MESOS_ISOLATION", "i")])
                .or_else(|| conflict(&fake.host, &flags, &[], &[change("MESOS_HOOKS", "x,y")]))
                .unwrap_or_default()
        };
        assert!(check("", "").contains("/etc/cni/net.d, is gone"));
        std::fs::create_dir_all(fake.host.root.place("/etc/cni/net.d")).unwrap();
        for (ours, later, text) in [
            ("", "", "--hooks on its command line"),
            ("", "MESOS_ISOLATION=z\n", "/later sets MESOS_ISOLATION"),
            ("MESOS_ISOLATION=z\n", "", "does not run with yet"),
            ("MESOS_ISOLATION=i\n", "", "--hooks"),
            ("MESOS_ISOLATION=cgroups/cpu,network/cni\n", "", "--hooks"),
            ("MESOS_ATTRIBUTES=rack:r1;zone:z\n", "", "/ours sets MESOS_ATTRIBUTES"),
            ("MESOS_ATTRIBUTES=\"rack: r1\"\n", "", "--hooks"),
            ("MESOS_RECONFIGURATION_POLICY=any\n", "", "`any`"),
            (
                "MESOS_ATTRIBUTES=rack:r1;zone:z\nMESOS_RECONFIGURATION_POLICY=additive\n",
                "",
                "--hooks",
            ),
            (
                "MESOS_ATTRIBUTES=rack:r2\nMESOS_RECONFIGURATION_POLICY=additive\n",
                "",
                "/ours sets MESOS_ATTRIBUTES",
            ),
            (
                "MESOS_RECONFIGURATION_POLICY=additive\n",
                "MESOS_HOSTNAME=a2\n",
                "/later sets MESOS_HOSTNAME",
            ),
            ("MESOS_RECONFIGURATION_POLICY=additive\n", "MESOS_RESOURCES=cpus:3\n", "--hooks"),
            ("", "MESOS_RESOURCES=cpus:3\n", "/later sets MESOS_RESOURCES"),
            ("", "MESOS_RESOURCES=file:///x\n", "--hooks"),
        ] {
            let why = check(ours, later);
            assert!(why.contains(text), "{ours:?} {later:?}: {why}");
        }
    }
}
