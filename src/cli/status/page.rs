//! The status as people read it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::super::diff::colour;
use super::super::format::{
    BOLD, CYAN, DIM, GREEN, RED, YELLOW, ago, count, duration, first_names, grouped,
};
use crate::budget::slot::SlotState;
use crate::plan::gate::Phase;
use crate::plan::reason::Reason;
use crate::plan::{HostPlan, Plan};
use crate::surface::group::rank;
use crate::surface::sentence::{after_failures, census, pauses};
use crate::surface::status::{RolloutStatus, ages};
use crate::surface::view::View;
use crate::words::HostName;

/// Holders of slots that are named; of more only how many there are.
const HOLDERS: usize = 12;

/// Names wider than this do not move the column after them.
const WIDEST: usize = 40;

/// How wide the bar of progress is.
const BAR: usize = 40;

/// The whole page, with codes for colours.
pub(super) fn text(view: &View, plan: &Plan<'_>) -> String {
    let mut page = String::new();
    head(&mut page, view, plan);
    hosts(&mut page, plan, RolloutStatus::of(view, plan));
    slots(&mut page, view, plan);
    waiting(&mut page, plan);
    facts(&mut page, view);
    for pause in pauses(&view.state.controls, view.now) {
        line(&mut page, format_args!("{YELLOW}paused{YELLOW:#}     {pause}"));
    }
    for warning in view.warnings() {
        line(&mut page, format_args!("{YELLOW}warning{YELLOW:#}    {warning}"));
    }
    page
}

/// One line, for where there is no terminal.
pub(super) fn summary(view: &View, plan: &Plan<'_>) -> String {
    let summary = &plan.summary;
    let standing = RolloutStatus::of(view, plan).word();
    let mut text = format!(
        "generation {} {standing} · {} · {} of {} slots held",
        view.generation(),
        census(summary),
        summary.slots_held,
        summary.slots
    );
    let reasons = summary.reasons.iter().map(|(code, number)| format!("{code} {number}"));
    let reasons: Vec<String> = reasons.collect();
    if !reasons.is_empty() {
        // Writing to a `String` cannot fail.
        let _ = write!(text, " · {}", reasons.join(", "));
    }
    text
}

fn line(page: &mut String, line: std::fmt::Arguments<'_>) {
    let _ = writeln!(page, "{}", line.to_string().trim_end());
}

fn head(page: &mut String, view: &View, plan: &Plan<'_>) {
    let standing = RolloutStatus::of(view, plan);
    let colour = match standing {
        RolloutStatus::Done => GREEN,
        RolloutStatus::Halted | RolloutStatus::Refused => RED,
        RolloutStatus::Paused | RolloutStatus::Unapproved | RolloutStatus::NotAccepted => YELLOW,
        RolloutStatus::InProgress => CYAN,
    };
    let since = view.state.rollout.as_ref().filter(|_| standing == RolloutStatus::InProgress);
    let since = since
        .map(|rollout| format!(" for {}", duration(view.now.since(rollout.since) / 1000)))
        .unwrap_or_default();
    let leader = match &view.state.leader {
        Some(leader) => format!("led by {}", leader.name),
        None => format!("{RED}nobody leads: no controller runs{RED:#}"),
    };
    line(
        page,
        format_args!(
            "{BOLD}Generation {}{BOLD:#} {colour}{}{colour:#}{since} · {leader} · etcd revision {}",
            view.generation(),
            standing.word(),
            view.state.revision
        ),
    );
    if let Phase::Halted { why } = view.phase() {
        line(page, format_args!("{RED}{BOLD}Halted:{BOLD:#}{RED:#} {why}"));
        if let Some(next) = after_failures(view) {
            line(page, format_args!("{next}"));
        }
    }
    if let Some(findings) = &view.refused {
        let title = "The documents in etcd are refused; those accepted before stay in force:";
        line(page, format_args!("{RED}{BOLD}{title}{BOLD:#}{RED:#}\n\n{}", findings.render(true)));
    }
    page.push('\n');
}

fn hosts(page: &mut String, plan: &Plan<'_>, standing: RolloutStatus) {
    let summary = &plan.summary;
    // Full only if every host is in sync.
    let of_all = |whole: usize| (summary.in_sync * whole).checked_div(summary.hosts);
    if let (Some(full), Some(percent)) = (of_all(BAR), of_all(100)) {
        let (done, rest) = ("█".repeat(full), "░".repeat(BAR - full));
        line(page, format_args!("{GREEN}{done}{GREEN:#}{DIM}{rest}{DIM:#}  {percent}% in sync"));
    }
    line(page, format_args!("{BOLD}{}{BOLD:#}", census(summary)));
    if summary.tasks > 0 {
        line(page, format_args!("tasks      {} to launch", grouped(summary.tasks as u64)));
    }
    let moves = standing == RolloutStatus::InProgress || standing == RolloutStatus::Refused;
    if summary.waves > 0 && moves {
        let (time, waves) = (duration(summary.estimate_seconds), count(summary.waves, "wave"));
        line(page, format_args!("time       about {time} left, in {waves}"));
    }
}

fn slots(page: &mut String, view: &View, plan: &Plan<'_>) {
    let summary = &plan.summary;
    line(page, format_args!("slots      {} of {} held", summary.slots_held, summary.slots));
    let holders: Vec<_> = plan.hosts.iter().filter(|host| host.view.slot.is_some()).collect();
    let width = holders.iter().take(HOLDERS).map(|host| host.name.as_str().chars().count());
    let width = width.max().unwrap_or(0);
    for host in holders.iter().take(HOLDERS) {
        let Some(slot) = host.view.slot else { continue };
        let (state, colour) = match slot.state {
            SlotState::Reserved => ("reserved", DIM),
            SlotState::Held { .. } => {
                ("held", host.reason.as_ref().map_or(GREEN, |it| colour(it.code())))
            }
        };
        let (name, attempt) = (host.name.as_str(), slot.attempt);
        let since = duration(view.now.since(slot.since) / 1000);
        let reason = reason_of(host);
        line(
            page,
            format_args!(
                "  {name:<width$}  {colour}{state:<8}{colour:#} for {since} · attempt {attempt} · \
                 {reason}"
            ),
        );
    }
    if holders.len() > HOLDERS {
        line(page, format_args!("  … and {} more", holders.len() - HOLDERS));
    }
}

fn reason_of(host: &HostPlan<'_>) -> String {
    match &host.reason {
        // What went wrong alone would read as if it were still tried.
        Some(reason @ Reason::Failed { .. }) => format!("failed: {reason}"),
        Some(reason) => reason.to_string(),
        None => "in sync".to_owned(),
    }
}

/// Hosts that hold no slot and are not in sync, by reason.
fn waiting(page: &mut String, plan: &Plan<'_>) {
    let mut groups: BTreeMap<(u8, &str, String), Vec<&HostName>> = BTreeMap::new();
    for host in plan.hosts.iter().filter(|host| host.view.slot.is_none()) {
        if let Some(reason) = &host.reason {
            let key = (rank(reason), reason.code(), reason.to_string());
            groups.entry(key).or_default().push(host.name);
        }
    }
    if groups.is_empty() {
        return;
    }
    line(page, format_args!("waiting"));
    let number = |hosts: &Vec<&HostName>| grouped(hosts.len() as u64);
    let names = groups.values().map(|hosts| first_names(hosts).chars().count());
    let width = names.max().unwrap_or(0).min(WIDEST);
    let numbers = groups.values().map(|hosts| number(hosts).len()).max().unwrap_or(0);
    let codes = groups.keys().map(|(_, code, _)| code.len()).max().unwrap_or(0);
    for ((_, code, text), hosts) in &groups {
        let (colour, number, names) = (colour(code), number(hosts), first_names(hosts));
        line(
            page,
            format_args!(
                "  {number:>numbers$}  {colour}{code:<codes$}{colour:#}  {names:<width$}  {DIM}{text}{DIM:#}"
            ),
        );
    }
}

/// How old the facts are. Observers confirm them without a write, so old ones may well hold.
fn facts(page: &mut String, view: &View) {
    if let Some((oldest, newest)) = ages(view) {
        let (newest, oldest) = (ago(newest, view.now), ago(oldest, view.now));
        line(page, format_args!("facts      last change {newest}, on the quietest host {oldest}"));
    }
}
