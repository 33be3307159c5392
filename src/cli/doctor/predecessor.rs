//! What the predecessor has left, what it would be as documents, and what becomes of its hosts with
//! them: the Python framework of the same name. Its framework in Mesos is looked at beside Mesos.
//!
//! Who is taken over without a restart is what `plan` says of these documents and of what hosts
//! have reported. What only a host can see, such as who holds a port, it says when it is asked.

use std::collections::BTreeMap;

use super::Finding;
use super::equivalent::{self, Old};
use crate::mesos::{OldTree, OldTreeAddress};
use crate::plan::reason::Reason;
use crate::plan::step::{Disruption, Step};
use crate::store::in_one_line;
use crate::surface::sentence::stopping;
use crate::surface::state::State;
use crate::surface::text::{count, first_names};
use crate::surface::view::View;
use crate::words::HostName;

const AREA: &str = "predecessor";

/// Looks into ZooKeeper.
pub(super) async fn tree(at: &OldTreeAddress) -> (Finding, Option<OldTree>) {
    match OldTree::look(at).await {
        Ok(None) => (Finding::good(AREA, format!("it keeps nothing at {at}")), None),
        Ok(Some(tree)) => {
            let found = format!(
                "its records are at {at}: framework {}, {}",
                tree.framework.as_deref().unwrap_or("unknown"),
                count(tree.agents, "agent")
            );
            let finding = Finding::notice(AREA, found).advice(
                "nothing reads them once its app has ended; remove them then with ZooKeeper's \
                 `zkCli.sh`, so that nobody starts it again on them",
            );
            (finding, Some(tree))
        }
        Err(error) => {
            let finding = Finding::notice(AREA, format!("{at}: {}", in_one_line(&error)));
            (finding.advice("what it keeps there is not known; see --predecessor-zk"), None)
        }
    }
}

/// What was found of it on hosts, and the documents for them, if there are any to be had.
pub(super) fn look(state: &State, tree: Option<&OldTree>) -> (Vec<Finding>, Option<String>) {
    let hosts: Vec<Old<'_>> =
        state.hosts.iter().filter_map(|(name, host)| Old::of(name, host)).collect();
    if hosts.is_empty() {
        let records = state.hosts.values().filter_map(|host| host.observed.as_ref());
        let reported = records.filter(|record| record.facts().is_some()).count();
        let found =
            format!("of {} that reported, none has anything of it", count(reported, "host"));
        let nothing = (reported > 0).then(|| Finding::good(AREA, found));
        return (nothing.into_iter().collect(), None);
    }
    let (at_work, left): (Vec<Old<'_>>, Vec<Old<'_>>) = hosts.into_iter().partition(is_at_work);
    let mut findings: Vec<Finding> = files(&left).into_iter().collect();
    if at_work.is_empty() {
        return (findings, None);
    }
    let names: Vec<&HostName> = at_work.iter().map(|old| old.name).collect();
    findings.push(Finding::notice(AREA, format!("what it set is in use {}", on(&names))).advice(
        "the documents below take it over; `calico-dcos doctor -o json | jq -r .documents` \
             prints them alone",
    ));
    let equivalent = equivalent::of(&at_work, tree);
    findings.extend(equivalent.unlike.into_iter().map(|(what, names)| {
        Finding::notice(AREA, format!("another {what} than the documents say is {}", on(&names)))
            .advice("give those hosts a Pool with what they have, or let them change")
    }));
    findings.extend(forecast(state, &names, &equivalent.text));
    findings.extend(networks(&at_work));
    (findings, Some(equivalent.text))
}

fn is_at_work(old: &Old<'_>) -> bool {
    let foreign = old.facts.docker.as_ref().is_some_and(|docker| !docker.foreign.is_empty());
    old.remains.are_in_use() || foreign
}

fn on(names: &[&HostName]) -> String {
    format!("on {} ({})", count(names.len(), "host"), first_names(names))
}

/// Where nothing of it is in use.
fn files(left: &[Old<'_>]) -> Option<Finding> {
    let names: Vec<&HostName> = left.iter().map(|old| old.name).collect();
    let one = left.first()?;
    let files: Vec<&str> = one.remains.files.iter().map(String::as_str).collect();
    let found = format!("files of it lie {}, and nothing uses them", on(&names));
    let advice = format!("they do no harm, and can be removed: {}", files.join(", "));
    Some(Finding::notice(AREA, found).advice(advice))
}

/// Its network has the name of ours in another file, and a host refuses to leave that to chance.
fn networks(at_work: &[Old<'_>]) -> Option<Finding> {
    let having = at_work.iter().filter(|old| old.remains.network.is_some());
    let names: Vec<&HostName> = having.clone().map(|old| old.name).collect();
    let network = having.clone().find_map(|old| old.remains.network.as_ref())?;
    let found =
        format!("its network is {} in {}, beside which ours is not put", on(&names), network.path);
    Some(Finding::notice(AREA, found).advice(
        "once these documents are in force, remove that file: the hosts are `blocked` until then, \
         and the network is back under its name a moment later; containers that run keep theirs",
    ))
}

/// What the plan says of each of them, equal ones together.
fn forecast(state: &State, names: &[&HostName], text: &str) -> Vec<Finding> {
    let documents = BTreeMap::from([("cluster".to_owned(), text.to_owned())]);
    let view = match View::of_set(state.clone(), &documents, state.at) {
        Ok(view) => view,
        Err(error) => {
            let advice = "what becomes of its hosts is not known; mend the documents first";
            return vec![Finding::notice(AREA, error.to_string()).advice(advice)];
        }
    };
    let plan = view.plan();
    let mut groups: BTreeMap<(Vec<Step>, Option<String>), Vec<&HostName>> = BTreeMap::new();
    for host in plan.hosts.iter().filter(|host| names.contains(&host.name)) {
        let blocked = match &host.assessment.held {
            Some(
                held @ (Reason::Blocked { .. }
                | Reason::Unreachable { .. }
                | Reason::Unknown { .. }),
            ) => Some(format!("{}: {held}", held.code())),
            _ => None,
        };
        groups.entry((host.assessment.work.steps.clone(), blocked)).or_default().push(host.name);
    }
    groups
        .iter()
        .map(|((steps, blocked), names)| outlook(steps, blocked.as_deref(), names))
        .collect()
}

fn outlook(steps: &[Step], blocked: Option<&str>, names: &[&HostName]) -> Finding {
    let who = format!("{} ({})", count(names.len(), "host"), first_names(names));
    if let Some(why) = blocked {
        return Finding::notice(AREA, format!("{who} would not be taken over, {why}"));
    }
    let restart = |step: &&Step| {
        matches!(step.disruption, Disruption::RestartDocker | Disruption::RestartAgent)
    };
    let restarts: Vec<&str> =
        steps.iter().filter(restart).filter_map(|step| stopping(step.disruption)).collect();
    let each: Vec<String> = steps
        .iter()
        .filter(|step| !restart(step))
        .map(|step| {
            format!("{}: {}", step.component, stopping(step.disruption).unwrap_or("nothing stops"))
        })
        .collect();
    let rest = if each.is_empty() { String::new() } else { format!(" ({})", each.join("; ")) };
    if restarts.is_empty() {
        let found = format!("{who} would be taken over without a restart of Docker or agent{rest}");
        return Finding::good(AREA, found);
    }
    Finding::notice(AREA, format!("taking over {who} {}{rest}", restarts.join(" and ")))
        .advice("within maxConcurrentRestarts, one host after the other; `diff` says what stops")
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;
    use crate::surface::testing;

    /// `level found`, in order.
    fn told(state: &State) -> (Vec<String>, Option<String>) {
        let (findings, documents) = look(state, None);
        let told = findings.iter().map(|finding| format!("{:?} {}", finding.level, finding.found));
        (told.collect(), documents)
    }

    #[test]
    fn hosts_are_told_apart_by_what_taking_them_over_restarts() {
        let mut state = testing::predecessors(5);
        // Live from Mesos 1.2 on; a store that is not what most have; a host that cannot be changed.
        for name in ["a1", "a2", "a4", "a5"] {
            testing::facts_of(&mut state, name).mesos_version = "1.2.0".to_owned();
        }
        let facts = testing::facts_of(&mut state, "a4");
        facts.docker.as_mut().unwrap().foreign.clear();
        facts.docker.as_mut().unwrap().cluster_store = None;
        let why = "this processor is aarch64".to_owned();
        testing::facts_of(&mut state, "a5").blocked.insert(crate::words::Component::Docker, why);
        let (told, documents) = told(&state);
        insta::assert_snapshot!(told.join("\n"), @r"
        Notice what it set is in use on 5 hosts (a1, a2, a3, …)
        Good 2 hosts (a1, a2) would be taken over without a restart of Docker or agent (etcdProxy: nothing stops; docker: nothing stops; mesosAgent: nothing stops; calicoNode: routing pauses for a moment)
        Notice 1 host (a5) would not be taken over, blocked: this processor is aarch64
        Notice taking over 1 host (a3) restarts the Mesos agent (etcdProxy: nothing stops; docker: nothing stops; calicoNode: routing pauses for a moment)
        Notice taking over 1 host (a4) restarts Docker (etcdProxy: nothing stops; mesosAgent: nothing stops; calicoNode: routing pauses for a moment)
        Notice its network is on 5 hosts (a1, a2, a3, …) in /opt/mesosphere/etc/dcos/network/cni/calico.cni, beside which ours is not put
        ");
        assert!(documents.unwrap().contains("clusterStore: \"etcd://127.0.0.1:2379\""));
    }

    #[test]
    fn a_host_that_was_taken_over_has_only_files_left() {
        let mut state = testing::predecessors(2);
        for name in ["a1", "a2"] {
            let facts = testing::facts_of(&mut state, name);
            facts.docker.as_mut().unwrap().foreign.clear();
            let remains = facts.predecessor.as_mut().unwrap();
            (remains.network, remains.node) = (None, None);
        }
        let (told, documents) = told(&state);
        assert_eq!(told, ["Notice files of it lie on 2 hosts (a1, a2), and nothing uses them"]);
        assert_eq!(documents, None);
    }

    #[test]
    fn where_it_never_was_that_is_good_and_where_nobody_reported_nothing_is_said() {
        let (findings, _) = look(&testing::fleet(3), None);
        assert_eq!((findings.len(), findings[0].level), (1, Level::Good));
        let empty = State::empty(testing::NOW, crate::words::Revision(1));
        assert_eq!(look(&empty, None), (Vec::new(), None));
    }
}
