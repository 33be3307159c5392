//! The flags of the agent, what they are to have, and the file of its environment that sets them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(super) const ISOLATION: &str = "MESOS_ISOLATION";
pub(super) const HOOKS: &str = "MESOS_HOOKS";
pub(super) const MODULES: &str = "MESOS_MODULES";
pub(super) const MODULES_DIR: &str = "MESOS_MODULES_DIR";
pub(super) const CNI_CONFIG_DIR: &str = "MESOS_NETWORK_CNI_CONFIG_DIR";
pub(super) const CNI_PLUGINS_DIR: &str = "MESOS_NETWORK_CNI_PLUGINS_DIR";
pub(super) const ETCD_AUTHORITY: &str = "ETCD_AUTHORITY";

/// What an agent isolates by if nobody says so; the others that matter have no default.
const DEFAULT_ISOLATION: &str = "posix/cpu,posix/mem";

/// The flags that the agent runs with, by the variables that set them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Flags {
    values: BTreeMap<String, String>,
    /// Given on the command line, against which no variable counts.
    fixed: BTreeSet<String>,
}

impl Flags {
    /// From what the agent answers.
    pub(super) fn read(flags: &Value) -> Self {
        let flags = flags.as_object().into_iter().flatten();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let values = flags.filter_map(|(name, value)| Some((variable(name), text(value)?)));
        Self { values: values.collect(), fixed: BTreeSet::new() }
    }

    /// From the variables of the process. Its arguments are for [`Flags::with_line`] to add.
    pub(super) fn of_environment(environment: &[u8]) -> Self {
        let words = environment.split(|byte| *byte == 0).map(String::from_utf8_lossy);
        let pairs = words.filter_map(|word| {
            word.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))
        });
        let ours = pairs.filter(|(name, _)| name.starts_with("MESOS_") || name == ETCD_AUTHORITY);
        let mut values: BTreeMap<_, _> = ours.collect();
        values.entry(ISOLATION.to_owned()).or_insert_with(|| DEFAULT_ISOLATION.to_owned());
        Self { values, fixed: BTreeSet::new() }
    }

    /// With the words that the agent was started with, which win over the environment.
    pub(super) fn with_line(mut self, words: &[String]) -> Self {
        for word in words {
            let flag = word.strip_prefix("--").and_then(|word| word.split_once('='));
            if let Some((name, value)) = flag {
                self.values.insert(variable(name), value.to_owned());
                self.fixed.insert(variable(name));
            }
        }
        self
    }

    /// With a variable that is no flag.
    pub(super) fn with(mut self, name: &str, value: Option<String>) -> Self {
        self.values.extend(value.map(|value| (name.to_owned(), value)));
        self
    }

    /// The value; empty if there is none.
    pub(super) fn get(&self, variable: &str) -> &str {
        self.values.get(variable).map_or("", |value| value.trim())
    }

    /// Whether the flag is given where the environment does not count.
    pub(super) fn is_fixed(&self, variable: &str) -> bool {
        self.fixed.contains(variable)
    }

    /// The items of a list.
    pub(super) fn items(&self, variable: &str) -> Vec<String> {
        items(variable, self.get(variable))
    }

    fn holds(&self, ask: &Ask) -> bool {
        match &ask.what {
            What::Value(value) => same(self.get(&ask.variable), value),
            What::File { value, inside } => {
                let has = self.get(&ask.variable);
                same(has, value) || has.contains(inside)
            }
            What::Items(wanted) => {
                let has = self.items(&ask.variable);
                wanted.iter().all(|item| contains(&has, item))
            }
        }
    }

    /// Whether the agent runs with all of this.
    pub(super) fn hold(&self, asks: &[Ask]) -> bool {
        asks.iter().all(|ask| self.holds(ask))
    }
}

/// What one variable is to say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Ask {
    /// Such as `MESOS_ISOLATION`.
    pub variable: String,
    /// All of it, or what has to be in it.
    pub what: What,
}

/// See [`Ask`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum What {
    /// The list has these items, beside those of others.
    Items(Vec<String>),
    /// Exactly this.
    Value(String),
    /// This path, or what is in the file, of which this text is a part: an agent answers either.
    File {
        /// The path, as it is set.
        value: String,
        /// Only this file has it.
        inside: String,
    },
}

impl Ask {
    pub(super) fn items(variable: &str, items: &[&str]) -> Self {
        let items = items.iter().map(|item| (*item).to_owned()).collect();
        Self { variable: variable.to_owned(), what: What::Items(items) }
    }

    pub(super) fn value(variable: &str, value: &str) -> Self {
        Self { variable: variable.to_owned(), what: What::Value(value.to_owned()) }
    }

    /// Adds the items of another one, of the same variable.
    pub(super) fn add(&mut self, other: &Self) {
        if let What::Items(items) = &mut self.what {
            let new = other.list().iter().filter(|item| !contains(items, item)).cloned();
            let new: Vec<_> = new.collect();
            items.extend(new);
        }
    }

    fn list(&self) -> &[String] {
        match &self.what {
            What::Items(items) => items,
            What::Value(_) | What::File { .. } => &[],
        }
    }
}

/// What a variable has to become: a value, or what it was before us.
pub(super) type Change = (String, Option<String>);

/// What has to change so that the agent runs with `new`, and not with what of `ours` is in it no
/// more. A list is given in full: a later file of the environment replaces what an earlier one says.
pub(super) fn changes(running: &Flags, ours: &[Ask], new: &[Ask]) -> Vec<Change> {
    let mut changes = Vec::new();
    for ask in new {
        let old = ours.iter().filter(|old| old.variable == ask.variable);
        let value = match &ask.what {
            What::Value(value) | What::File { value, .. } => {
                (!running.holds(ask)).then(|| value.clone())
            }
            What::Items(wanted) => {
                let gone: Vec<&String> =
                    old.flat_map(Ask::list).filter(|item| !contains(wanted, item)).collect();
                let has = running.items(&ask.variable);
                let mut list = has.clone();
                list.retain(|item| !gone.contains(&item));
                let missing = wanted.iter().filter(|item| !contains(&has, item)).cloned();
                list.extend(missing);
                (list != has).then(|| list.join(separator(&ask.variable)))
            }
        };
        changes.extend(value.map(|value| (ask.variable.clone(), Some(value))));
    }
    let names = |asks: &[Ask], old: &Ask| asks.iter().any(|ask| ask.variable == old.variable);
    let gone = ours.iter().filter(|old| !names(new, old) && running.holds(old));
    changes.extend(gone.map(|old| (old.variable.clone(), None)));
    changes
}

/// What of `new` is there by us: what the agent does not run with yet, and what was ours before.
pub(super) fn ours(running: &Flags, ours: &[Ask], new: &[Ask]) -> Vec<Ask> {
    let was_ours = |ask: &Ask, item: &String| {
        ours.iter().any(|old| old.variable == ask.variable && old.list().contains(item))
    };
    let of = |ask: &Ask| {
        let what = match &ask.what {
            What::Value(_) | What::File { .. } => {
                let was_ours = ours.iter().any(|old| old.variable == ask.variable);
                (was_ours || !running.holds(ask)).then(|| ask.what.clone())
            }
            What::Items(wanted) => {
                let has = running.items(&ask.variable);
                let new = |item: &&String| !contains(&has, item) || was_ours(ask, item);
                let items: Vec<_> = wanted.iter().filter(new).cloned().collect();
                (!items.is_empty()).then_some(What::Items(items))
            }
        };
        what.map(|what| Ask { variable: ask.variable.clone(), what })
    };
    new.iter().filter_map(of).collect()
}

/// The text of the environment's file with the changes. All else stays, comments and the ends of lines
/// too. What is to be as `before` gets its line of that text, or none.
pub(super) fn environment(text: &str, before: &str, changes: &[Change]) -> String {
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    let usual = match text.split_inclusive('\n').next().map(end) {
        Some(end) if !end.is_empty() => end,
        _ => "\n",
    };
    for (variable, value) in changes {
        let new = match value {
            Some(value) => Some(format!("{variable}={value}")),
            None => before.lines().rfind(|line| names(line, variable)).map(str::to_owned),
        };
        match (lines.iter().rposition(|line| names(line, variable)), new) {
            (Some(at), Some(new)) => lines[at] = new + end(&lines[at]),
            (Some(at), None) => drop(lines.remove(at)),
            (None, Some(new)) if value.is_some() => {
                if let Some(last) = lines.last_mut().filter(|last| end(last).is_empty()) {
                    last.push_str(usual);
                }
                lines.push(new + usual);
            }
            (None, _) => {}
        }
    }
    let text = lines.concat();
    // The end of the last line was put there for the sake of one of ours after it.
    if text.strip_suffix(usual) == Some(before) { before.to_owned() } else { text }
}

/// What a line ends with; the last one of a file may end with nothing.
fn end(line: &str) -> &str {
    &line[line.trim_end_matches('\n').trim_end_matches('\r').len()..]
}

/// What the text sets a variable to: the last line counts.
pub(super) fn set_to(text: &str, variable: &str) -> Option<String> {
    let line = text.lines().rfind(|line| names(line, variable))?;
    let (_, value) = line.split_once('=')?;
    let value = value.trim();
    let unquoted = ['"', '\'']
        .into_iter()
        .find_map(|quote| value.strip_prefix(quote).and_then(|value| value.strip_suffix(quote)));
    Some(unquoted.unwrap_or(value).to_owned())
}

/// Whether two values mean the same: a folder may end with a slash.
pub(super) fn same(a: &str, b: &str) -> bool {
    a.trim().trim_end_matches('/') == b.trim().trim_end_matches('/')
}

fn contains(list: &[String], item: &str) -> bool {
    list.iter().any(|other| same(other, item))
}

fn items(variable: &str, text: &str) -> Vec<String> {
    let items = text.split(separator(variable)).map(str::trim);
    items.filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

fn separator(variable: &str) -> &'static str {
    if variable == CNI_PLUGINS_DIR { ":" } else { "," }
}

fn variable(flag: &str) -> String {
    format!("MESOS_{}", flag.to_uppercase())
}

fn names(line: &str, variable: &str) -> bool {
    line.trim_start().strip_prefix(variable).is_some_and(|rest| rest.starts_with('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running(flags: &Value) -> Flags {
        Flags::read(flags)
    }

    fn as_text(changes: &[Change]) -> Vec<(&str, &str)> {
        changes
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_deref().unwrap_or("-")))
            .collect()
    }

    #[test]
    fn lists_are_extended_in_full_and_shortened_by_what_is_ours() {
        let (cni, modules) =
            (Ask::items(ISOLATION, &["network/cni"]), Ask::items(ISOLATION, &["com_x_Iso"]));
        let hooks = Ask::items(HOOKS, &["com_x_Hook"]);
        for (isolation, old, new, expected) in [
            ("cgroups/cpu", None, &cni, Some("cgroups/cpu,network/cni")),
            ("", None, &cni, Some("network/cni")),
            ("a, network/cni ,b", None, &cni, None),
            // Somebody has added one since: it stays where it is.
            ("a,network/cni,b", Some(&cni), &cni, None),
            ("a,network/cni,b", Some(&cni), &modules, Some("a,b,com_x_Iso")),
            // It was there before us, so it stays.
            ("a,network/cni", None, &modules, Some("a,network/cni,com_x_Iso")),
        ] {
            let flags = running(&serde_json::json!({ "isolation": isolation }));
            let old: Vec<Ask> = old.into_iter().cloned().collect();
            let found = changes(&flags, &old, std::slice::from_ref(new));
            let expected: Vec<_> = expected.map(|value| (ISOLATION, value)).into_iter().collect();
            assert_eq!(as_text(&found), expected, "{isolation} {old:?}");
        }
        // `MESOS_HOOKS=` is a list of nothing, and not of one item without a name.
        let flags = running(&serde_json::json!({"hooks": ""}));
        assert_eq!(as_text(&changes(&flags, &[], &[hooks])), [(HOOKS, "com_x_Hook")]);
    }

    #[test]
    fn what_is_not_wanted_any_more_goes_only_if_it_is_there() {
        let ask = Ask::value(CNI_CONFIG_DIR, "/etc/cni/net.d");
        let with = running(&serde_json::json!({"network_cni_config_dir": "/etc/cni/net.d/"}));
        let ask = std::slice::from_ref(&ask);
        assert_eq!(as_text(&changes(&with, ask, &[])), [(CNI_CONFIG_DIR, "-")]);
        assert_eq!(changes(&Flags::default(), ask, &[]), []);
        assert_eq!(changes(&with, ask, ask), []);
        assert_eq!(ours(&with, &[], ask), []);
        assert_eq!(ours(&with, ask, ask), ask);
        assert_eq!(ours(&Flags::default(), &[], ask), ask);
    }

    #[test]
    fn an_argument_wins_and_the_default_isolation_counts() {
        let environment = b"MESOS_HOOKS=x\0MESOS_NETWORK_CNI_CONFIG_DIR=/a\0HOME=/\0";
        let words = ["mesos-slave", "--hooks=y"].map(str::to_owned);
        let flags = Flags::of_environment(environment).with_line(&words);
        assert_eq!((flags.get(HOOKS), flags.is_fixed(HOOKS)), ("y", true));
        assert_eq!((flags.get(CNI_CONFIG_DIR), flags.is_fixed(CNI_CONFIG_DIR)), ("/a", false));
        assert_eq!(flags.items(ISOLATION), ["posix/cpu", "posix/mem"]);
        assert_eq!(flags.get("HOME"), "");
    }

    #[test]
    fn an_environment_keeps_what_is_not_ours() {
        let set = |text: &str| environment(text, "", &[("A".to_owned(), Some("1".to_owned()))]);
        assert_eq!(set(""), "A=1\n");
        assert_eq!(set("AB=2\n# A=3\nA=4\nC=5\n"), "AB=2\n# A=3\nA=1\nC=5\n");
        let restore = |text: &str, old: &str| environment(text, old, &[("A".to_owned(), None)]);
        assert_eq!(restore("A=1\nC=5\n", "A=4\n"), "A=4\nC=5\n");
        assert_eq!(restore("A=1\nC=5\n", ""), "C=5\n");
        assert_eq!(restore("C=5\n", "A=4\n"), "C=5\n");
        assert_eq!(set_to("A=1\nA='2 3'\n", "A").as_deref(), Some("2 3"));
    }

    #[test]
    fn each_line_keeps_its_own_end() {
        let set = |text: &str| environment(text, "", &[("A".to_owned(), Some("1".to_owned()))]);
        for (before, with) in [
            ("B=2\r\nA=4\r\nC=5\r\n", "B=2\r\nA=1\r\nC=5\r\n"),
            ("B=2\nA=4\r\nC=5", "B=2\nA=1\r\nC=5"),
            ("B=2\r\n# x\n", "B=2\r\n# x\nA=1\r\n"),
            ("B=2", "B=2\nA=1\n"),
            ("A=4", "A=1"),
        ] {
            assert_eq!(set(before), with);
            assert_eq!(environment(with, before, &[("A".to_owned(), None)]), before);
        }
    }
}
