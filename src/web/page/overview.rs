//! The first page: progress, slots, and the hosts × components.

use std::collections::BTreeMap;

use askama::Template;
use serde_json::json;

use super::frame::Frame;
use super::glance::{Bar, ComponentBar, Map, components};
use super::history::Line;
use super::look::{Button, Cell, STANDINGS, colour, encoded, facts_age};
use crate::plan::reason::TROUBLE;
use crate::plan::{HostPlan, Plan};
use crate::surface::ask::{Person, approve};
use crate::surface::hosts::{HostLine, IN_SYNC, Wanted, page};
use crate::surface::sentence::{census, restarts};
use crate::surface::status::{RolloutStatus, SlotReport};
use crate::surface::text::{count, duration, grouped};
use crate::surface::view::View;

/// Hosts on a page.
pub(super) const ROWS: usize = 50;

/// Holders of slots that are shown; of more only how many there are.
const HOLDERS: usize = 12;

/// Attributes with more values than this are no failure domains that anybody chooses from.
const VALUES: usize = 40;

/// The page.
#[derive(Debug, Template)]
#[template(path = "overview.html")]
pub(super) struct Overview {
    frame: Frame,
    census: String,
    in_sync: String,
    time: String,
    waves: String,
    slots: usize,
    slots_held: usize,
    restarts: String,
    trouble: String,
    trouble_words: String,
    trouble_colour: &'static str,
    bar: Bar,
    asks: Vec<Button>,
    holders: Vec<Holder>,
    more_holders: usize,
    chips: Vec<Chip>,
    search: String,
    reasons: Vec<Choice>,
    pools: Vec<Choice>,
    attributes: Vec<Choice>,
    components: Vec<ComponentBar>,
    map: Map,
    recent: Vec<Line>,
    rows: Vec<Row>,
    shown: String,
    before: Option<String>,
    after: Option<String>,
    key: Vec<Cell>,
}

/// A host with a slot.
#[derive(Debug)]
struct Holder {
    name: String,
    path: String,
    state: &'static str,
    since: String,
    attempt: u64,
    code: String,
    colour: &'static str,
    text: String,
    release: Option<Button>,
}

/// Hosts of one reason.
#[derive(Debug)]
struct Chip {
    name: String,
    number: String,
    colour: &'static str,
    link: String,
    chosen: bool,
}

/// Something to choose.
#[derive(Debug)]
struct Choice {
    name: String,
    chosen: bool,
}

/// One host.
#[derive(Debug)]
struct Row {
    name: String,
    path: String,
    cells: Vec<Cell>,
    code: String,
    colour: &'static str,
    text: String,
    facts: String,
}

impl Overview {
    pub(super) fn new(
        frame: Frame,
        view: &View,
        plan: &Plan<'_>,
        (wanted, offset): (&Wanted, usize),
        recent: Vec<Line>,
    ) -> Self {
        let summary = &plan.summary;
        let (total, lines) = page(view, plan, wanted, (offset, ROWS));
        let end = offset + lines.len();
        let holders: Vec<_> = plan.hosts.iter().filter(|host| host.view.slot.is_some()).collect();
        let (time, waves) = left(view, plan);
        let (trouble, trouble_words) = trouble(plan);
        Self {
            census: census(summary),
            in_sync: format!(
                "{} of {}",
                grouped(summary.in_sync as u64),
                count(summary.hosts, "host")
            ),
            time,
            waves,
            slots: summary.slots,
            slots_held: summary.slots_held,
            restarts: match restarts(summary) {
                none if none == "none" => "no restart is planned".to_owned(),
                some => format!("to restart: {some}"),
            },
            trouble_colour: if trouble > 0 { "bad" } else { "" },
            trouble: grouped(trouble as u64),
            trouble_words,
            bar: Bar::of_hosts(plan),
            asks: if frame.asks { asks(view) } else { Vec::new() },
            more_holders: holders.len().saturating_sub(HOLDERS),
            holders: holders
                .iter()
                .take(HOLDERS)
                .filter_map(|it| holder(it, view, frame.asks))
                .collect(),
            chips: chips(plan, wanted),
            search: wanted.search.clone().unwrap_or_default(),
            reasons: reasons(plan, wanted),
            pools: pools(view, wanted),
            attributes: attributes(view, plan, wanted),
            components: components(plan),
            map: Map::of(plan),
            recent,
            shown: match &lines[..] {
                [] => String::new(),
                _ => format!("{} to {end} of {}", offset + 1, count(total, "host")),
            },
            before: (offset > 0).then(|| link(wanted, offset.saturating_sub(ROWS))),
            after: (total > end).then(|| link(wanted, end)),
            rows: lines.into_iter().map(|line| row(line, view)).collect(),
            key: STANDINGS.map(|standing| Cell::new(standing, None)).into(),
            frame,
        }
    }
}

/// How long it takes yet, and in how many waves; signs for nothing where nothing moves.
fn left(view: &View, plan: &Plan<'_>) -> (String, String) {
    let summary = &plan.summary;
    match RolloutStatus::of(view, plan) {
        RolloutStatus::Done => ("–".to_owned(), "nothing has to change".to_owned()),
        RolloutStatus::InProgress | RolloutStatus::Refused if summary.waves > 0 => (
            format!("≈ {}", duration(summary.estimate_seconds)),
            format!("in {}", count(summary.waves, "wave")),
        ),
        RolloutStatus::InProgress | RolloutStatus::Refused => {
            ("–".to_owned(), "nothing waits for a slot".to_owned())
        }
        other => ("–".to_owned(), other.word().to_owned()),
    }
}

/// Hosts that somebody has to look at, and why.
fn trouble(plan: &Plan<'_>) -> (usize, String) {
    let bad = plan.summary.reasons.iter().filter(|(code, _)| TROUBLE.contains(code));
    let bad: Vec<_> = bad.map(|(code, number)| (*number, *code)).collect();
    if bad.is_empty() {
        return (0, "nobody has to look at anything".to_owned());
    }
    let words = bad.iter().map(|(number, code)| format!("{} {code}", grouped(*number as u64)));
    (bad.iter().map(|(number, _)| number).sum(), words.collect::<Vec<_>>().join(", "))
}

/// What can be asked for the whole cluster.
fn asks(view: &View) -> Vec<Button> {
    let mut asks = Vec::new();
    let generation = view.generation();
    let by = Person { who: String::new(), at: view.now };
    if let Ok(asked) = approve(view, Some(generation), &by) {
        let body = json!({"generation": generation});
        asks.push(Button::of("approve", "Approve", &body, &asked));
    }
    asks.push(match &view.state.controls.paused {
        Some(_) => {
            Button::new("resume", "Resume the cluster", &json!({}), "Let the cluster go on?")
        }
        None => Button::new(
            "pause",
            "Pause the cluster",
            &json!({}),
            "Start nothing new in the whole cluster? What is under way goes on to its end.",
        ),
    });
    asks
}

fn holder(host: &HostPlan<'_>, view: &View, asks: bool) -> Option<Holder> {
    let SlotReport { state, attempt, since, .. } = SlotReport::of(host)?;
    let release = asks.then(|| release(host, view)).flatten();
    let (code, text) = reason(host);
    Some(Holder {
        name: host.name.to_string(),
        path: host.name.encoded(),
        state,
        since: duration(view.now.since(since) / 1000),
        attempt: attempt.0,
        colour: colour(&code),
        code,
        text,
        release,
    })
}

/// Gives back the slot that is seen; an ordinary one is given back by itself.
fn release(host: &HostPlan<'_>, view: &View) -> Option<Button> {
    let code = host.reason.as_ref().map(crate::plan::reason::Reason::code)?;
    if !matches!(code, "failed" | "unreachable" | "unknown" | "blocked" | "backing-off") {
        return None;
    }
    super::host::release(&view.state, host.name, view.now)
}

fn reason(host: &HostPlan<'_>) -> (String, String) {
    match &host.reason {
        Some(reason) => (reason.code().to_owned(), reason.to_string()),
        None => (IN_SYNC.to_owned(), String::new()),
    }
}

fn row(line: HostLine, view: &View) -> Row {
    let (code, text) = match line.reason {
        Some(reason) => (reason.code, reason.text),
        None => (IN_SYNC.to_owned(), String::new()),
    };
    let cells = line.components.into_iter();
    Row {
        path: line.name.encoded(),
        name: line.name.0,
        cells: cells.map(|(component, it)| Cell::new(it, Some(component))).collect(),
        colour: colour(&code),
        code,
        text,
        facts: facts_age(line.facts_at, line.heard_at, view.now),
    }
}

fn chips(plan: &Plan<'_>, wanted: &Wanted) -> Vec<Chip> {
    let summary = &plan.summary;
    let reasons = summary.reasons.iter().map(|(code, number)| (*code, *number));
    let all = [(IN_SYNC, summary.in_sync)].into_iter().chain(reasons);
    all.filter(|(_, number)| *number > 0)
        .map(|(code, number)| {
            let chosen = wanted.reason.as_deref() == Some(code);
            // Chosen once more, it is not looked for any more.
            let reason = (!chosen).then(|| code.to_owned());
            let link = link(&Wanted { reason, ..wanted.clone() }, 0);
            let number = grouped(number as u64);
            Chip { name: code.to_owned(), number, colour: colour(code), link, chosen }
        })
        .collect()
}

fn reasons(plan: &Plan<'_>, wanted: &Wanted) -> Vec<Choice> {
    let mut names: Vec<&str> =
        [IN_SYNC].into_iter().chain(plan.summary.reasons.keys().copied()).collect();
    names.extend(wanted.reason.as_deref().filter(|reason| !names.contains(reason)));
    choices(names, wanted.reason.as_deref())
}

fn pools(view: &View, wanted: &Wanted) -> Vec<Choice> {
    let names = view.desired.pools.iter().map(|pool| pool.metadata.name.as_str());
    choices(names.collect(), wanted.pool.as_deref())
}

/// Failure domains: the attributes that the documents order by, or else those with few values.
fn attributes(view: &View, plan: &Plan<'_>, wanted: &Wanted) -> Vec<Choice> {
    let order = &view.rollout().order;
    let mut values: BTreeMap<&str, BTreeMap<&str, usize>> = BTreeMap::new();
    for host in &plan.hosts {
        for (name, value) in &host.view.record.agent.attributes {
            if order.is_empty() || order.contains(name) {
                *values.entry(name).or_default().entry(value).or_default() += 1;
            }
        }
    }
    let few = values.into_iter().filter(|(_, values)| values.len() <= VALUES);
    let names: Vec<String> = few
        .flat_map(|(name, values)| values.into_keys().map(move |value| format!("{name}:{value}")))
        .collect();
    let chosen = wanted.attribute.as_ref().map(|(name, value)| format!("{name}:{value}"));
    choices(names.iter().map(String::as_str).collect(), chosen.as_deref())
}

fn choices(names: Vec<&str>, chosen: Option<&str>) -> Vec<Choice> {
    let choice = |name: &str| Choice { name: name.to_owned(), chosen: chosen == Some(name) };
    names.into_iter().map(choice).collect()
}

/// The same page, looking for that.
fn link(wanted: &Wanted, offset: usize) -> String {
    let attribute = wanted.attribute.as_ref().map(|(name, value)| format!("{name}:{value}"));
    let fields = [
        ("search", wanted.search.clone()),
        ("reason", wanted.reason.clone()),
        ("pool", wanted.pool.clone()),
        ("attribute", attribute),
        ("offset", (offset > 0).then(|| offset.to_string())),
    ];
    let fields = fields.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let fields: Vec<String> =
        fields.map(|(name, value)| format!("{name}={}", encoded(&value))).collect();
    if fields.is_empty() { "./".to_owned() } else { format!("./?{}", fields.join("&")) }
}
