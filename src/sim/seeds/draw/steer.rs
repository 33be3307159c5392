//! What operators do beside changing targets, in half of all histories: approvals, canaries,
//! windows, gates, announced restarts, pauses, exclusions, hosts tried again and hosts forgotten.
//!
//! It is drawn by dice of its own: the rest of a history does not depend on it.

use std::collections::BTreeMap;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use serde_json::{Value, json};

use super::{ACT_MS, Dice, History, restore_of};
use crate::plan::control::Scope;
use crate::sim::run::people::{Request, Says};
use crate::sim::scenario::{Fault, Span, TimedEdit, TimedFault};
use crate::words::HostName;

/// Makes the numbers others than those of the rest.
const OWN: u64 = 0x0057_ee12;
/// Runs begin at this minute of the day, by UTC.
const FIRST_MINUTE: usize = 106;
/// The last window ends at this one, long after every run.
const LAST_MINUTE: usize = 540;

/// Half of all histories are steered.
pub(super) fn steer(history: &mut History) {
    let mut dice = Dice { rng: SmallRng::seed_from_u64(history.seed ^ OWN) };
    if !dice.percent(50) {
        return;
    }
    history.steered = true;
    let pooled = history.documents.len() > 1;
    let names = history.scenario.host_names();
    dice.rules(history);
    let lost = restore_of(&history.scenario.faults);
    if lost.is_none() {
        dice.changes_of_rules(history, &names);
    }
    dice.requests(history, &names, pooled);
    // What is asked for while a restore of etcd loses what is written has never been.
    let is_lost = |at: Span| lost.is_some_and(|(from, to)| (from..=to).contains(&at.ms));
    history.people.requests.retain(|(at, _)| !is_lost(*at));
    history.people.requests.sort_by_key(|(at, _)| *at);
}

impl Dice {
    /// The rules that stand in the documents, and who goes with them.
    fn rules(&mut self, history: &mut History) {
        let Some((_, text)) = history.documents.first_mut() else { return };
        let Ok(mut cluster) = serde_json::from_str::<Value>(text) else { return };
        let rollout = &mut cluster["spec"]["rollout"];
        if self.percent(80) {
            history.people.approves = Some(self.ms(3_000..45_000));
        }
        if self.percent(30) {
            rollout["start"] = json!("approved");
        }
        if self.percent(35) {
            rollout["canary"] = self.canary();
        }
        if self.percent(25) {
            rollout["windows"] = self.windows();
        }
        let drains = self.percent(20);
        if drains {
            let seconds = [0, 1, 10, 30][self.below(4)];
            rollout["drain"] = json!({"mode": "maintenance", "waitSeconds": seconds});
        }
        if self.percent(35) {
            rollout["gates"] = json!([{"http": "http://gates.invalid/ok"}]);
            history.people.gates = self.gates(drains);
        }
        *text = cluster.to_string();
    }

    fn canary(&mut self) -> Value {
        let hosts = [json!(1), json!(2), json!("30%")][self.below(3)].clone();
        if self.percent(50) {
            return json!({"hosts": hosts, "promote": "manual"});
        }
        json!({"hosts": hosts, "promote": "automatic", "bakeSeconds": self.below(45)})
    }

    /// One that is open for some minutes, and one that is open from a while after it on.
    fn windows(&mut self) -> Value {
        let (zone, ahead) =
            [("UTC", 0), ("Europe/Berlin", 120), ("Asia/Kolkata", 330)][self.below(3)];
        let clock = |minute: usize| {
            let minute = FIRST_MINUTE + minute + ahead;
            format!("{:02}:{:02}", minute / 60, minute % 60)
        };
        let (opens, lasts) = (self.below(3), 1 + self.below(3));
        let again = 6 + self.below(5);
        json!([
            {"start": clock(opens), "end": clock(opens + lasts), "timezone": zone},
            {"start": clock(again), "end": clock(LAST_MINUTE - FIRST_MINUTE), "timezone": zone},
        ])
    }

    /// They end open, but for a few: those never where restarts are announced, since an announcement
    /// stands for an hour.
    fn gates(&mut self, drains: bool) -> Vec<(Span, Says)> {
        let mut gates: Vec<(Span, Says)> = (0..=self.below(4))
            .map(|_| (self.ms(ACT_MS), [Says::Yes, Says::No, Says::Nothing][self.below(3)]))
            .collect();
        if self.percent(50) {
            gates.push((Span { ms: 0 }, Says::No));
        }
        gates.sort_by_key(|(at, _)| *at);
        if drains || self.percent(85) {
            let last = gates.last().map_or(0, |(at, _)| at.ms);
            gates.push((Span { ms: last + 1_000 + 1_000 * self.below(60) as u64 }, Says::Yes));
        }
        gates
    }

    /// Rules that are changed while work goes on.
    fn changes_of_rules(&mut self, history: &mut History, names: &[HostName]) {
        let mut edits = Vec::new();
        let mut edit = |at, path: &str, value: Value| {
            let set = BTreeMap::from([(format!("spec.rollout.{path}"), value)]);
            edits.push(TimedEdit { at, document: "cluster".to_owned(), set });
        };
        if self.percent(25) {
            let (at, host) = (self.ms(ACT_MS), self.pick(names));
            edit(at, "exclude", json!([host]));
            if self.percent(60) {
                edit(self.after(at), "exclude", json!([]));
            }
        }
        if self.percent(12) {
            let start = ["approved", "automatic"][self.below(2)];
            edit(self.ms(ACT_MS), "start", json!(start));
        }
        if self.percent(12) {
            let canary = self.canary();
            edit(self.ms(ACT_MS), "canary", canary);
        }
        history.scenario.edits.append(&mut edits);
        history.scenario.edits.sort_by_key(|edit| edit.at);
    }

    fn requests(&mut self, history: &mut History, names: &[HostName], pooled: bool) {
        let requests = &mut history.people.requests;
        for _ in 0..self.below(4) {
            let at = self.ms(ACT_MS);
            let scope = match self.below(5) {
                0 => Scope::Cluster,
                1 if pooled => Scope::Pool("other".to_owned()),
                _ => Scope::Host(self.pick(names)),
            };
            requests.push((at, Request::Pause(scope.clone())));
            if self.percent(80) {
                requests.push((self.after(at), Request::Resume(scope)));
            }
        }
        for fault in history.scenario.faults.iter().filter_map(TimedFault::fault) {
            let at = self.ms(ACT_MS);
            let at = self.after(at);
            match fault {
                Fault::RestartFails(host, _) => requests.push((at, Request::Retry(host))),
                Fault::HostGone(host) | Fault::HostDown(host, _) => {
                    requests.push((at, Request::Forget(host)));
                }
                _ => {}
            }
        }
    }

    fn after(&mut self, at: Span) -> Span {
        Span { ms: at.ms + self.ms(5_000..90_000).ms }
    }
}
