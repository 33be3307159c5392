//! One host: declared against found, what it says of itself and when, and what was done to it.

use askama::Template;
use serde_json::json;

use super::frame::Frame;
use super::history::Line;
use super::look::{Button, Cell, colour, facts_age, pause_host};
use crate::observed::facts::{Facts, Health, JournalState};
use crate::surface::ask::{Person, forget, has_failed, release as ask_release};
use crate::surface::hosts::{IN_SYNC, OneHostReport};
use crate::surface::plan::{ActionReport, StepReport};
use crate::surface::state::State;
use crate::surface::text::{ago, clock, duration};
use crate::surface::view::View;
use crate::words::{Component, HostName, SpecHash, Time};

/// As much of a hash as people compare.
const HASH: usize = 8;

/// The page.
#[derive(Debug, Template)]
#[template(path = "host.html")]
pub(super) struct HostPage {
    frame: Frame,
    name: String,
    code: String,
    colour: &'static str,
    text: String,
    asks: Vec<Button>,
    about: Vec<(&'static str, String)>,
    components: Vec<ComponentOf>,
    facts: Vec<(&'static str, String)>,
    facts_age: String,
    tasks: Vec<(&'static str, String)>,
    entries: Vec<Line>,
}

#[derive(Debug)]
struct ComponentOf {
    name: &'static str,
    cell: Cell,
    wanted: String,
    wanted_hash: String,
    found: String,
    found_hash: String,
    health: String,
    step: String,
}

impl HostPage {
    pub(super) fn new(
        frame: Frame,
        view: &View,
        report: &OneHostReport,
        entries: Vec<Line>,
    ) -> Self {
        let now = view.now;
        let (code, text) = match &report.host.reason {
            Some(reason) => (reason.code.clone(), reason.text.clone()),
            None => (IN_SYNC.to_owned(), String::new()),
        };
        let asks = if frame.asks { asks(view, &report.host.name) } else { Vec::new() };
        let components = Component::ALL.map(|it| component(it, report));
        Self {
            frame,
            name: report.host.name.to_string(),
            colour: colour(&code),
            code,
            text,
            asks,
            about: about(report, now),
            components: components.into(),
            facts: report.facts.as_ref().map(facts).unwrap_or_default(),
            facts_age: facts_age(report.host.facts_at, report.host.heard_at, now),
            tasks: report.tasks.iter().map(|(kind, id)| (kind.name(), id.to_string())).collect(),
            entries,
        }
    }
}

/// What makes sense to ask for this host.
fn asks(view: &View, name: &HostName) -> Vec<Button> {
    let (state, by) = (&view.state, Person { who: String::new(), at: view.now });
    let body = json!({"host": name});
    let paused = state.controls.paused_hosts.contains_key(name);
    let mut asks = vec![pause_host(name, paused)];
    if state.hosts.get(name).is_some_and(|host| has_failed(state, host)) {
        let question = format!("Forget what went wrong on `{name}`, so that it is tried again?");
        asks.push(Button::new("retry", "Try again", &body, &question));
    }
    asks.extend(release(state, name, view.now));
    if forget(state, name.as_str(), &by).is_ok() {
        let question = format!("Take `{name}` off the list, with all that is known of it?");
        asks.push(Button::new("forget", "Forget this host", &body, &question));
    }
    asks
}

/// Gives back the slot that is seen; none if the host holds none.
pub(super) fn release(state: &State, name: &HostName, now: Time) -> Option<Button> {
    let attempt = state.hosts.get(name)?.slot.as_ref()?.attempt;
    let by = Person { who: String::new(), at: now };
    let asked = ask_release(state, name.as_str(), Some(attempt), &by).ok()?;
    let body = json!({"host": name, "attempt": attempt});
    Some(Button::of("release", "Release the slot", &body, &asked))
}

fn about(report: &OneHostReport, now: Time) -> Vec<(&'static str, String)> {
    let agent = &report.agent;
    let condition = serde_json::to_value(report.host.agent).ok();
    let condition = condition.and_then(|it| Some(it.as_str()?.to_owned())).unwrap_or_default();
    let attributes = agent.attributes.iter().map(|(name, value)| format!("{name}:{value}"));
    let roles: Vec<&str> = agent.roles.iter().map(String::as_str).collect();
    let mut about = vec![
        ("agent", format!("{condition} since {}, {}", clock(agent.since), ago(agent.since, now))),
        ("agent ID", agent.id.clone()),
        ("Mesos", agent.mesos_version.clone()),
        ("roles", roles.join(", ")),
        ("attributes", attributes.collect::<Vec<_>>().join(", ")),
        ("pools", report.host.pools.join(", ")),
    ];
    if let Some(slot) = &report.host.slot {
        let since = duration(now.since(slot.since) / 1000);
        about.push(("slot", format!("{} for {since}, attempt {}", slot.state, slot.attempt)));
    }
    if let Some(attempts) = report.attempts.as_ref().filter(|it| it.failures > 0) {
        let failed = if attempts.failed { ", no more are made" } else { "" };
        about.push(("failed attempts", format!("{}{failed}: {}", attempts.failures, attempts.why)));
    }
    about.retain(|(_, said)| !said.is_empty());
    about
}

fn component(component: Component, report: &OneHostReport) -> ComponentOf {
    let wanted = report.plan.wanted.get(&component);
    let found = report.facts.as_ref().and_then(|facts| facts.components.get(&component));
    let standing = report.host.components.get(&component).copied();
    let short = |hash: SpecHash| hash.to_string().chars().take(HASH).collect();
    let blocked = report.facts.as_ref().and_then(|facts| facts.blocked.get(&component));
    let step = report.plan.steps.iter().find(|step| step.component == component);
    ComponentOf {
        name: component.name(),
        cell: Cell::new(
            standing.unwrap_or(crate::surface::hosts::Standing::Unknown),
            Some(component),
        ),
        wanted: match wanted {
            Some(wanted) => wanted.version.clone().unwrap_or_else(|| "off".to_owned()),
            None => "not managed".to_owned(),
        },
        wanted_hash: wanted.map(|wanted| short(wanted.hash)).unwrap_or_default(),
        found: match found {
            Some(found) => found.version.clone().unwrap_or_default(),
            None => String::new(),
        },
        found_hash: found.and_then(|found| found.hash).map(short).unwrap_or_default(),
        health: match found.map(|found| &found.health) {
            Some(Health::Healthy) => "healthy".to_owned(),
            Some(Health::Unhealthy { why }) => format!("unhealthy: {why}"),
            Some(Health::Unknown) => "not asked yet".to_owned(),
            None => String::new(),
        },
        step: match (blocked, step) {
            (Some(why), _) => why.clone(),
            (None, Some(step)) => told(step),
            (None, None) => String::new(),
        },
    }
}

fn told(step: &StepReport) -> String {
    let verb = match step.action {
        ActionReport::Install => "install",
        ActionReport::Change => "change",
        ActionReport::Repair => "repair",
        ActionReport::Remove => "take off",
    };
    let text = match (&step.from, &step.to) {
        (Some(from), Some(to)) if from != to => format!("{verb}: {from} → {to}"),
        (_, Some(to)) => format!("{verb}: {to}"),
        (Some(from), None) => format!("{verb}: {from}"),
        (None, None) => verb.to_owned(),
    };
    match step.containers {
        0 => text,
        1 => format!("{text}; 1 container stops"),
        number => format!("{text}; {number} containers stop"),
    }
}

fn facts(facts: &Facts) -> Vec<(&'static str, String)> {
    let mut told = vec![
        ("system", format!("{}, {}", facts.system.os, facts.system.architecture)),
        ("control groups", format!("{:?}", facts.system.cgroups).to_lowercase()),
        ("machine ID", facts.machine_id.clone()),
        ("boot ID", facts.order.boot_id.clone()),
        ("Mesos agent", facts.mesos_version.clone()),
    ];
    if let Some(docker) = &facts.docker {
        let swarm = if docker.swarm { ", in a swarm" } else { "" };
        told.push((
            "Docker",
            format!("{}{swarm}, containers: {}", docker.version, docker.containers),
        ));
        told.extend(docker.cluster_store.clone().map(|store| ("cluster store", store)));
    }
    if let Some(journal) = &facts.journal {
        let state = match &journal.state {
            JournalState::Open => "open".to_owned(),
            JournalState::Done => "done".to_owned(),
            JournalState::Undone { why } => format!("undone: {why}"),
        };
        told.push(("journal", format!("attempt {}, {state}", journal.attempt)));
    }
    told
}
