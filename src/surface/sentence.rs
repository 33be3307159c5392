//! A plan's parts in words, without the colours of a terminal.

use super::group::{Group, VersionedStep};
use super::text::{ago, count, grouped};
use super::view::View;
use crate::plan::control::{Controls, Pause};
use crate::plan::gate::Phase;
use crate::plan::step::{Action, Disruption};
use crate::plan::summary::Summary;
use crate::rollout::records::Stage;
use crate::words::{Component, Time};

/// Pauses that are told.
const PAUSES: usize = 12;

/// What it becomes, and from what where that says something.
pub(crate) fn becomes(step: &VersionedStep<'_>) -> String {
    let VersionedStep { step, from, to } = step;
    match (step.action, *from, to.as_deref()) {
        (Action::Remove, from, _) => from.unwrap_or_default().to_owned(),
        (Action::Change, Some(from), Some(to)) if from == to => format!("{to}, other settings"),
        (Action::Change, Some(from), Some(to)) => format!("{from} → {to}"),
        // Somebody else's, which makes place. Docker and the agent stay what they are.
        (Action::Install, Some(from), Some(to))
            if step.disruption.takes_slot()
                && !matches!(step.component, Component::Docker | Component::MesosAgent) =>
        {
            format!("{from} → {to}")
        }
        (_, _, to) => to.unwrap_or_default().to_owned(),
    }
}

/// What stops meanwhile on each host of a group; nothing if nothing does.
pub(crate) fn stops(disruption: Disruption, group: &Group<'_, '_>) -> String {
    let Some(what) = stopping(disruption) else { return String::new() };
    let each = if group.len() > 1 { " on each" } else { "" };
    match group.containers(disruption) {
        (_, 0) => what.to_owned(),
        (1, 1) => format!("{what}, 1 container stops{each}"),
        (least, most) if least == most => format!("{what}, {most} containers stop{each}"),
        (least, most) => format!("{what}, {least}–{most} containers stop{each}"),
    }
}

/// What stops on a host; none if nothing does.
pub(crate) fn stopping(disruption: Disruption) -> Option<&'static str> {
    Some(match disruption {
        Disruption::None => return None,
        Disruption::ReloadDocker => "reloads Docker, nothing stops",
        Disruption::ReplaceProxy => "the proxy is away for a moment",
        Disruption::RestartDocker => "restarts Docker",
        Disruption::RestartAgent => "restarts the Mesos agent",
        Disruption::ReplaceNode => "routing pauses for a moment",
        Disruption::ReplaceLibnetwork => "new Docker networks wait for a moment",
    })
}

/// What lets a rollout go on that has halted for failures; other halts say by themselves what ends them.
pub(crate) fn after_failures(view: &View) -> Option<String> {
    let stage = view.state.rollout.as_ref().map(|rollout| &rollout.stage);
    let (Some(Stage::Halted { why }), Phase::Halted { why: shown }) = (stage, view.phase()) else {
        return None;
    };
    let failed = view.state.hosts.iter().filter(|(_, host)| {
        let progress = host.progress.as_ref();
        progress.is_some_and(|it| it.failed && it.generation == view.generation())
    });
    let failed: Vec<&str> = failed.map(|(name, _)| name.as_str()).collect();
    let ends = match failed[..] {
        [] => "one of the hosts that hold a slot is done, or `calico-dcos release HOST` gives its slot back".to_owned(),
        [one] => format!("what failed is mended and `calico-dcos retry {one}` given"),
        _ => "what failed is mended and `calico-dcos retry HOST` given".to_owned(),
    };
    (*why == shown).then(|| {
        format!("Nothing starts until {ends}, or until the documents declare something else.")
    })
}

/// What is paused, by whom and why; of very many the first.
pub(crate) fn pauses(controls: &Controls, now: Time) -> Vec<String> {
    let all = controls.pauses().map(|Pause { scope, ask }| {
        let why = ask.why.map(|why| format!(": {why}")).unwrap_or_default();
        format!("{scope}, by {}, {}{why}", ask.who, ago(ask.at, now))
    });
    let mut told: Vec<String> = all.collect();
    let more = told.len().saturating_sub(PAUSES);
    told.truncate(PAUSES);
    if more > 0 {
        told.push(format!("… and {more} more"));
    }
    told
}

/// `40 hosts: 2 in sync, 35 to change, 3 unknown`.
pub(crate) fn census(summary: &Summary) -> String {
    let parts = [
        (summary.in_sync, "in sync"),
        (summary.to_change, "to change"),
        (summary.blocked, "blocked"),
        (summary.failed, "failed"),
        (summary.unreachable, "unreachable"),
        (summary.unknown, "unknown"),
        (summary.excluded, "excluded"),
    ];
    let parts: Vec<String> = parts
        .into_iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, word)| format!("{} {word}", grouped(number as u64)))
        .collect();
    let hosts = count(summary.hosts, "host");
    if parts.is_empty() { hosts } else { format!("{hosts}: {}", parts.join(", ")) }
}

/// `docker 20, mesosAgent 20 · 240 containers stop`.
pub(crate) fn restarts(summary: &Summary) -> String {
    let by_service: Vec<String> = summary
        .restarts
        .iter()
        .map(|(service, number)| format!("{service} {}", grouped(*number as u64)))
        .collect();
    if by_service.is_empty() {
        return "none".to_owned();
    }
    let containers = match summary.containers {
        0 => String::new(),
        number => format!(" · {} containers stop", grouped(number)),
    };
    format!("{}{containers}", by_service.join(", "))
}
