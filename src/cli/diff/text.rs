//! A plan as people read it.

use std::fmt::Write as _;

use super::super::format::{
    BOLD, CYAN, DIM, GREEN, RED, YELLOW, ago, count, duration, first_names, grouped,
};
use crate::plan::gate::{Phase, explain};
use crate::plan::reason::Reason;
use crate::plan::step::Disruption;
use crate::plan::summary::{ASSUMED_RESTART_SECONDS, Summary};
use crate::plan::{HostPlan, Plan, totals};
use crate::surface::group::{Group, VersionedStep, Wait, containers, groups, owners};
use crate::surface::sentence::{after_failures, becomes, census, restarts, stops};
use crate::surface::view::{Basis, View};

/// Names wider than this do not move the column after them.
const WIDEST: usize = 40;

/// The whole: what it is about, the groups, the numbers. With `all_hosts` every host is named.
/// Has the codes for colours in it, which are taken out where there is no terminal.
pub(in crate::cli) fn text(view: &View, plan: &Plan<'_>, all_hosts: bool) -> String {
    let mut page = Page { text: String::new(), all_hosts, view };
    page.head();
    let groups = groups(plan);
    for group in &groups {
        page.group(group);
    }
    page.summary(plan);
    page.text
}

struct Page<'v> {
    text: String,
    all_hosts: bool,
    view: &'v View,
}

impl Page<'_> {
    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a `String` cannot fail.
        let _ = writeln!(self.text, "{}", line.to_string().trim_end());
    }

    fn head(&mut self) {
        let view = self.view;
        let (generation, revision) = (view.generation(), view.state.revision);
        let about = match view.basis {
            Basis::InForce => format!("generation {generation}, in force"),
            Basis::Stored => "the documents in etcd, not in force yet".to_owned(),
            Basis::Proposed => "the documents proposed".to_owned(),
        };
        let next = if view.raises_generation {
            format!(" · would be generation {}", generation.next())
        } else {
            String::new()
        };
        self.line(format_args!("{BOLD}Plan{BOLD:#} for {about}{next} · etcd revision {revision}"));
        if let Some(findings) = &view.refused {
            self.line(format_args!(
                "{RED}{BOLD}The documents in etcd are refused and not in force:{BOLD:#}{RED:#}\n\n{}",
                findings.render(true)
            ));
        }
        if let Phase::Halted { why } = view.phase() {
            self.line(format_args!("{RED}{BOLD}Halted:{BOLD:#}{RED:#} {why}"));
            if let Some(next) = after_failures(view) {
                self.line(format_args!("{next}"));
            }
        }
        self.text.push('\n');
    }

    fn group(&mut self, group: &Group<'_, '_>) {
        let hosts = count(group.len(), "host");
        let what = match (group.steps.len(), group.launches.len(), group.ends.len()) {
            (0, 0, 0) => "",
            (0, _, _) => " · tasks only",
            _ => "",
        };
        self.line(format_args!("{BOLD}{hosts}{BOLD:#}{what}"));
        let labels: Vec<String> = group.steps.iter().map(becomes).collect();
        let width = labels.iter().map(|label| label.chars().count()).max().unwrap_or(0);
        for (VersionedStep { step, .. }, label) in group.steps.iter().zip(labels) {
            let mut stops = stops(step.disruption, group);
            let whose = self.owners(group.hosts(), step.disruption);
            if !whose.is_empty() {
                let link = match (step.disruption, group.len()) {
                    (Disruption::RestartAgent, _) => ", with it tasks of",
                    (_, 1) => ":",
                    _ => "; in all",
                };
                stops = format!("{stops}{link} {whose}");
            }
            let colour = if step.disruption.takes_slot() { YELLOW } else { DIM };
            let stops = if stops.is_empty() { stops } else { format!("{colour}{stops}{colour:#}") };
            let verb = step.action.verb();
            let pad = width.min(WIDEST + 20);
            self.line(format_args!(
                "  {CYAN}{:<16}{CYAN:#}  {verb:<7}  {label:<pad$}  {stops}",
                step.component.name()
            ));
        }
        let names = |kinds: &[crate::words::TaskKind]| {
            kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ")
        };
        if !group.launches.is_empty() {
            let launches = names(group.launches);
            self.line(format_args!("  {DIM}{:<16}  launch   {launches}{DIM:#}", "tasks"));
        }
        if !group.ends.is_empty() {
            let ends = names(group.ends);
            self.line(format_args!("  {DIM}{:<16}  end      {ends}{DIM:#}", "tasks"));
        }
        self.waits(&group.waits);
        self.text.push('\n');
    }

    fn waits(&mut self, waits: &[Wait<'_, '_>]) {
        let names: Vec<String> = waits
            .iter()
            .map(|wait| first_names(&wait.hosts.iter().map(|host| host.name).collect::<Vec<_>>()))
            .collect();
        let widest = |lengths: &mut dyn Iterator<Item = usize>| lengths.max().unwrap_or(0);
        let counts = widest(&mut waits.iter().map(|w| grouped(w.hosts.len() as u64).len()));
        let codes = widest(&mut waits.iter().map(|wait| wait.code.len()));
        let names_width = widest(&mut names.iter().map(|n| n.chars().count())).min(WIDEST);
        for (wait, names) in waits.iter().zip(names) {
            let colour = colour(wait.code);
            let (number, code, text) = (grouped(wait.hosts.len() as u64), wait.code, &wait.text);
            let names =
                if self.all_hosts { String::new() } else { format!("{names:<names_width$}  ") };
            self.line(format_args!(
                "  {number:>counts$}  {colour}{code:<codes$}{colour:#}  {names}{DIM}{text}{DIM:#}"
            ));
            if self.all_hosts {
                for host in &wait.hosts {
                    self.host(host, counts);
                }
            }
        }
    }

    /// Whose tasks a step stops, where Mesos was asked.
    fn owners<'p, 'a: 'p>(
        &self,
        hosts: impl Iterator<Item = &'p HostPlan<'a>>,
        disruption: Disruption,
    ) -> String {
        let workload = self.view.workload.as_ref();
        workload.map_or_else(String::new, |workload| owners(workload, hosts, disruption))
    }

    fn host(&mut self, host: &HostPlan<'_>, indent: usize) {
        let mut parts = Vec::new();
        let moves = !matches!(
            host.reason,
            Some(
                Reason::Blocked { .. }
                    | Reason::Failed { .. }
                    | Reason::Unreachable { .. }
                    | Reason::Gone
                    | Reason::Excluded
            )
        );
        for step in host.assessment.work.steps.iter().filter(|_| moves) {
            let whose = self.owners(std::iter::once(host), step.disruption);
            match containers(host, step.disruption) {
                0 if whose.is_empty() => {}
                0 => parts.push(format!("tasks stop: {whose}")),
                stopped => {
                    let whose = if whose.is_empty() { whose } else { format!(": {whose}") };
                    let stopped = count(stopped as usize, "container");
                    parts.push(format!("{stopped} stop{whose}"));
                }
            }
        }
        let report = host.view.record.reported.as_ref();
        parts.push(report.map_or("no facts".to_owned(), |report| {
            format!("facts of {}", ago(report.at, self.view.now))
        }));
        let name = host.name;
        self.line(format_args!("  {:indent$}  {name}  {DIM}{}{DIM:#}", "", parts.join(" · ")));
    }

    fn summary(&mut self, plan: &Plan<'_>) {
        let summary = &plan.summary;
        self.line(format_args!("{BOLD}{}{BOLD:#}", census(summary)));
        if summary.hosts == 0 {
            self.entry("", "the controller lists them once it has reached the Mesos master");
        }
        if summary.unknown > 0 && self.view.state.accepted.is_none() {
            self.line(format_args!(
                "           what {} is known once their observers have reported",
                if summary.unknown == summary.hosts {
                    "they need"
                } else {
                    "the unknown ones need"
                }
            ));
        }
        if summary.tasks > 0 {
            self.entry("tasks", &format!("{} to launch", grouped(summary.tasks as u64)));
        }
        if summary.to_change > 0 {
            self.entry("restarts", &restarts(summary));
        }
        let hosts = plan.hosts.iter().map(|host| (host.name, host.view));
        let registered = totals(hosts).registered;
        let rollout = self.view.rollout();
        self.entry(
            "budget",
            &format!(
                "maxConcurrentRestarts {} · {} of {} slots held · maxUnavailable {}",
                explain(rollout.max_concurrent_restarts, registered),
                summary.slots_held,
                summary.slots,
                explained_down(rollout.max_unavailable, registered, summary),
            ),
        );
        if summary.waves > 0 && !matches!(self.view.phase(), Phase::Halted { .. }) {
            let waves = count(summary.waves, "wave");
            let time = duration(summary.estimate_seconds);
            // Before anybody has seen one, the time is a guess, and is called so.
            let measures = self.view.state.measures.as_ref();
            let guess = match measures.and_then(|measures| measures.holds.mean_seconds()) {
                Some(_) => String::new(),
                None => format!(" (a restart taken as {ASSUMED_RESTART_SECONDS} s)"),
            };
            let slots = summary.slots;
            self.entry("time", &format!("about {time}, in {waves} of up to {slots}{guess}"));
        }
        for warning in self.view.warnings() {
            self.line(format_args!("{YELLOW}warning{YELLOW:#}    {warning}"));
        }
    }

    fn entry(&mut self, name: &str, text: &str) {
        self.line(format_args!("{name:<9}  {text}"));
    }
}

/// The colour of a reason, by its code.
pub(in crate::cli) fn colour(code: &str) -> anstyle::Style {
    match code {
        "in-progress" | "verifying" => GREEN,
        "failed" | "blocked" | "halted" | "gone" | "unreachable" => RED,
        "backing-off" | "unknown" | "too-many-unavailable" | "insufficient-resources" => YELLOW,
        _ => CYAN,
    }
}

fn explained_down(limit: crate::desired::Limit, registered: usize, summary: &Summary) -> String {
    let explained = explain(limit, registered);
    if limit.of(registered) < summary.max_unavailable {
        format!("{explained}, raised to the {} slots", summary.max_unavailable)
    } else {
        explained
    }
}
