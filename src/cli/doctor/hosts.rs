//! What is wrong with documents, controllers and hosts, as etcd has them.

use std::collections::BTreeMap;

use super::{Finding, clocks};
use crate::plan::reason::TROUBLE;
use crate::surface::state::State;
use crate::surface::text::{count, first_names};
use crate::surface::view::{View, ViewError};
use crate::words::HostName;

/// Looks at what is in etcd.
pub(super) async fn look(state: State) -> Vec<Finding> {
    let now = state.at;
    let mut findings = vec![match &state.leader {
        Some(leader) => Finding::good("controller", format!("{} leads", leader.name)),
        None => Finding::notice("controller", "no controller leads")
            .advice("start one with `calico-dcos run`; its log says what it waits for"),
    }];
    if let Some(leader) = &state.leader
        && let Some(url) = &leader.url
    {
        findings.extend(clocks::leader(&leader.name, url).await);
    }
    // Each says what to do about it.
    let unreadable = state.unreadable.iter();
    findings.extend(unreadable.map(|sentence| Finding::problem("controller", sentence)));
    match View::new(state, Vec::new(), now) {
        Ok(view) => findings.extend(documents(&view).into_iter().chain(hosts(&view))),
        Err(ViewError::NoDocuments) => findings.push(
            Finding::notice("documents", "there is no Cluster document")
                .advice("begin with desired-state/minimal.yaml: `calico-dcos apply -f FILE`"),
        ),
        Err(ViewError::Refused(_)) => findings.push(refused()),
    }
    findings
}

fn refused() -> Finding {
    Finding::problem("documents", "the documents in etcd are not valid, and change nothing")
        .advice("`calico-dcos get | calico-dcos validate -` shows each finding in its place")
}

fn documents(view: &View) -> Vec<Finding> {
    if view.refused.is_some() {
        return vec![refused()];
    }
    let generation = view.generation();
    let mut findings =
        vec![Finding::good("documents", format!("they are valid, generation {generation}"))];
    let warnings = view.warnings();
    findings.extend(warnings.into_iter().map(|warning| Finding::notice("documents", warning)));
    findings
}

/// What keeps hosts from being in sync that somebody has to see to, equal ones together.
fn hosts(view: &View) -> Vec<Finding> {
    let plan = view.plan();
    let mut groups: BTreeMap<(&str, String), Vec<&HostName>> = BTreeMap::new();
    for host in &plan.hosts {
        let Some(reason) = &host.reason else { continue };
        if TROUBLE.contains(&reason.code()) {
            groups.entry((reason.code(), reason.to_string())).or_default().push(host.name);
        }
    }
    let sync = format!("{} of {} in sync", plan.summary.in_sync, count(plan.summary.hosts, "host"));
    let mut findings = vec![Finding::good("hosts", sync)];
    findings.extend(groups.into_iter().map(|((code, why), names)| {
        let finding = Finding::notice("hosts", format!("{code}: {} ({why})", first_names(&names)));
        match code {
            "failed" => finding.advice("mend what it names there, then `calico-dcos retry HOST`"),
            _ => finding,
        }
    }));
    findings
}
