//! The plan as `diff` shows it: hosts grouped by equal change, what each change stops, and why not now.

use askama::Template;

use super::frame::Frame;
use super::look::colour;
use crate::plan::Plan;
use crate::surface::group::{Group, groups};
use crate::surface::sentence::{becomes, census, restarts, stops};
use crate::surface::text::{count, duration, first_names, grouped};
use crate::surface::view::{Basis, View};

/// Groups that are shown.
const GROUPS: usize = 40;

/// Reasons of a group that are shown.
const WAITS: usize = 12;

/// The page.
#[derive(Debug, Template)]
#[template(path = "plan.html")]
pub(super) struct PlanPage {
    frame: Frame,
    about: String,
    census: String,
    facts: Vec<String>,
    groups: Vec<GroupOf>,
    more: usize,
}

#[derive(Debug)]
struct GroupOf {
    title: String,
    steps: Vec<StepOf>,
    tasks: String,
    waits: Vec<WaitOf>,
}

#[derive(Debug)]
struct StepOf {
    component: &'static str,
    verb: &'static str,
    becomes: String,
    stops: String,
    colour: &'static str,
}

#[derive(Debug)]
struct WaitOf {
    number: String,
    code: &'static str,
    colour: &'static str,
    names: String,
    text: String,
}

impl PlanPage {
    pub(super) fn new(frame: Frame, view: &View, plan: &Plan<'_>) -> Self {
        let (summary, generation) = (&plan.summary, view.generation());
        let mut about = match view.basis {
            Basis::InForce => format!("generation {generation}, in force"),
            Basis::Stored => "the documents in etcd, not in force yet".to_owned(),
            Basis::Proposed => "the documents proposed".to_owned(),
        };
        if view.raises_generation {
            about = format!("{about}; they would be generation {}", generation.next());
        }
        let mut facts = Vec::new();
        if summary.tasks > 0 {
            facts.push(format!("{} to launch", count(summary.tasks, "task")));
        }
        if summary.to_change > 0 {
            facts.push(format!("restarts: {}", restarts(summary)));
        }
        facts.push(format!(
            "{} of {} slots held, nothing starts while {} are down",
            summary.slots_held, summary.slots, summary.max_unavailable
        ));
        if summary.waves > 0 {
            let (time, waves) = (duration(summary.estimate_seconds), count(summary.waves, "wave"));
            facts.push(format!("about {time}, in {waves}"));
        }
        let all = groups(plan);
        let more = all.len().saturating_sub(GROUPS);
        let groups = all.iter().take(GROUPS).map(group).collect();
        Self { frame, about, census: census(summary), facts, groups, more }
    }
}

fn group(group: &Group<'_, '_>) -> GroupOf {
    let steps = group.steps.iter().map(|step| StepOf {
        component: step.step.component.name(),
        verb: step.step.action.verb(),
        becomes: becomes(step),
        stops: stops(step.step.disruption, group),
        colour: if step.step.disruption.takes_slot() { "wait" } else { "dim" },
    });
    let names = |kinds: &[crate::words::TaskKind]| {
        kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ")
    };
    let tasks = [("launches", group.launches), ("ends", group.ends)];
    let tasks = tasks.into_iter().filter(|(_, kinds)| !kinds.is_empty());
    let tasks: Vec<String> =
        tasks.map(|(verb, kinds)| format!("{verb} {}", names(kinds))).collect();
    let waits = group.waits.iter().take(WAITS).map(|wait| WaitOf {
        number: grouped(wait.hosts.len() as u64),
        code: wait.code,
        colour: colour(wait.code),
        names: first_names(&wait.hosts.iter().map(|host| host.name).collect::<Vec<_>>()),
        text: wait.text.clone(),
    });
    GroupOf {
        title: count(group.len(), "host"),
        steps: steps.collect(),
        tasks: tasks.join("; "),
        waits: waits.collect(),
    }
}
