//! Taking all of it off, as operators ask for it: the documents that say so, how far it is, and what is
//! left behind.

use serde_json::{Value, json};

use super::ask::Person;
use super::state::State;
use super::text::{ago, count};
use super::view::View;
use crate::desired::{EditError, Source, set_path, value_at};
use crate::observed::fleet::HostRecord;
use crate::plan::Plan;
use crate::plan::control::{CONTROL_VERSION, Teardown};
use crate::plan::reason::Reason;
use crate::words::{Component, HostName, Time};

/// The documents of `state` with every component taken off. What was declared of a component stays
/// in the text, so that taking it back is one word. Whoever asks for this has approved it.
pub(crate) fn documents(state: &State) -> Result<Vec<Source>, EditError> {
    let mut sources = Vec::new();
    for (name, stored) in &state.documents {
        let mut text = stored.text.clone();
        let cluster = name == "cluster";
        for component in Component::ALL {
            let path = format!("spec.{component}.enabled");
            let says = value_at(&text, &path);
            if says == Some(Value::Bool(true)) || (cluster && says != Some(Value::Bool(false))) {
                text = set_path(&text, &path, &json!(false))?;
            }
        }
        if cluster && value_at(&text, "spec.rollout.start") == Some(json!("approved")) {
            text = set_path(&text, "spec.rollout.start", &json!("automatic"))?;
        }
        sources.push(Source::file(name, text));
    }
    Ok(sources)
}

/// What is asked for.
pub(crate) fn asked(by: &Person) -> Teardown {
    let (version, who, at) = (CONTROL_VERSION, by.who.clone(), by.at);
    Teardown { version, who, at, leave_behind: false, ended: None }
}

/// How far it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Hosts on which nothing of ours is left, or that are gone themselves.
    pub(crate) free: usize,
    /// All hosts.
    pub(crate) hosts: usize,
    /// Hosts that do not get there by themselves, each with why, by name.
    pub(crate) stuck: Vec<(HostName, String)>,
    /// Hosts that are on their way or have their turn still to come.
    pub(crate) moving: usize,
    /// What the first of those in line waits for, unless one is at work.
    pub(crate) waits: Option<String>,
}

impl Progress {
    /// Counts them.
    pub(crate) fn of(plan: &Plan<'_>) -> Self {
        let mut progress = Self { hosts: plan.hosts.len(), ..Self::default() };
        let mut at_work = false;
        for host in &plan.hosts {
            match &host.reason {
                _ if HostRecord::has_left(host.view.record) => progress.free += 1,
                Some(Reason::Gone) => progress.free += 1,
                Some(
                    reason @ (Reason::Unreachable { .. }
                    | Reason::Blocked { .. }
                    | Reason::Excluded
                    | Reason::Unknown { .. }),
                ) => progress.stuck.push((host.name.clone(), reason.to_string())),
                reason => {
                    progress.moving += 1;
                    at_work |=
                        matches!(reason, Some(Reason::InProgress { .. } | Reason::Verifying));
                    if let (None, Some(reason)) = (&progress.waits, reason) {
                        progress.waits = Some(format!("{}: {reason}", host.name));
                    }
                }
            }
        }
        if at_work {
            progress.waits = None;
        }
        progress
    }

    /// Nothing moves any more, and some hosts are not free.
    pub(crate) fn is_stuck(&self) -> bool {
        self.moving == 0 && !self.stuck.is_empty()
    }
}

/// `12 of 50 hosts are free of it`.
impl std::fmt::Display for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {} are free of it", self.free, count(self.hosts, "host"))?;
        if !self.stuck.is_empty() {
            write!(f, ", {} cannot be", self.stuck.len())?;
        }
        if let Some(waits) = &self.waits {
            write!(f, "; waiting, {waits}")?;
        }
        Ok(())
    }
}

/// For every surface, while one is asked for: who asked, when, and how far it is.
pub(crate) fn told(view: &View, now: Time) -> Option<String> {
    let teardown = view.state.controls.teardown.as_ref()?;
    let (who, at) = (&teardown.who, ago(teardown.at, now));
    Some(match teardown.ended {
        Some(_) => format!(
            "{who} has had it all taken off ({at}): the framework has ended. `calico-dcos teardown` \
             removes what is left in etcd"
        ),
        None => format!(
            "{who} has it all taken off ({at}): hosts without components forget us, and then the \
             framework ends. `calico-dcos teardown` shows how far it is"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired;
    use crate::surface::testing::{CLUSTER, NOW, POOL, fleet, put};

    fn text_of(source: &Source) -> String {
        String::from_utf8(source.bytes.clone()).unwrap()
    }

    #[test]
    fn documents_take_off_every_component_and_keep_what_was_declared() {
        let mut state = fleet(2);
        let approved = CLUSTER.replace("rollout: {", "rollout: {start: approved, ");
        put(&mut state, "cluster", &approved);
        put(
            &mut state,
            "pools/gpu",
            &POOL.replace("calicoNode: {", "calicoNode: {enabled: true, "),
        );
        let proposed = documents(&state).unwrap();
        let read = desired::read(&proposed).unwrap();
        let host = crate::desired::HostIdentity {
            name: "a1".into(),
            roles: ["*".to_owned()].into(),
            attributes: std::collections::BTreeMap::new(),
        };
        let spec = read.resolve(&host).unwrap();
        for component in Component::ALL {
            assert_eq!(spec.components[&component].spec, desired::Spec::Off, "{component}");
        }
        let texts: Vec<_> = proposed.iter().map(text_of).collect();
        assert!(texts[0].contains("calico/node"), "what was declared stays: {}", texts[0]);
        assert_eq!(value_at(&texts[0], "spec.rollout.start"), Some(json!("automatic")));
        assert_eq!(value_at(&texts[1], "spec.calicoNode.enabled"), Some(json!(false)));
        // The second time nothing is to be changed.
        put(&mut state, "cluster", &texts[0]);
        put(&mut state, "pools/gpu", &texts[1]);
        let again: Vec<_> =
            documents(&state).unwrap().into_iter().map(|source| text_of(&source)).collect();
        assert_eq!(again, texts);
    }

    #[test]
    fn every_surface_says_that_it_is_taken_off() {
        let mut state = fleet(3);
        let by = Person { who: "alice@desk".to_owned(), at: NOW };
        state.controls.teardown = Some(asked(&by));
        let view = View::new(state, Vec::new(), NOW).unwrap();
        let told = view.warnings().join("\n");
        assert!(told.contains("alice@desk has it all taken off"), "{told}");
    }
}
