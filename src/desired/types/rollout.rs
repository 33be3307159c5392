//! How a change moves through the cluster: the `rollout` section.

use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::desired::limit::Limit;
use crate::desired::text::{ClockTime, HttpUrl, Known, TimeZoneName};
use crate::words::HostName;

/// How a change moves through the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Rollout {
    /// Whether an edit starts by itself or waits for `calico-dcos approve`, however it came into
    /// etcd.
    pub start: Start,
    /// Edits within so many seconds are one edit.
    #[schemars(range(max = 3600))]
    pub settle_seconds: u32,
    /// How many hosts may be disrupted at a time (the slots): a number, or a percentage of the
    /// registered hosts that are not excluded, rounded down, at least 1. 0 and "0%" start none.
    pub max_concurrent_restarts: Limit,
    /// How many hosts may be down, for whatever cause, at which nothing new starts. Never less
    /// than the slots.
    pub max_unavailable: Limit,
    /// How fast slots may be taken. Default: `burst` is the number of slots, `perMinute` is
    /// slots × 60 ÷ `stabilitySeconds`, without limit if that is 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pace: Option<Pace>,
    /// For how many seconds a host must have been healthy, measured on the host, before its
    /// slot is given back.
    #[schemars(range(max = 86400))]
    pub stability_seconds: u32,
    /// How many hosts may fail, summed over the rollout, until it halts.
    pub max_failures: NonZeroU32,
    /// How often a host is tried, with growing waits between, until it has failed.
    pub attempts: NonZeroU32,
    /// Names of agent attributes. Hosts move one value of the first attribute after the other,
    /// within it by the second, and so on. Default: by host name.
    #[schemars(inner(length(min = 1)))]
    pub order: Vec<String>,
    /// A few hosts move first, and the others only after a promotion. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
    /// When disruptive work may start. What has started ends, also after the window. Default: at
    /// any time.
    pub windows: Vec<Window>,
    /// Whether a host's disruption is announced to the frameworks beforehand.
    pub drain: Drain,
    /// Questions asked before each start. All must say yes; no answer is a no.
    pub gates: Vec<Gate>,
    /// Hosts to leave alone.
    pub exclude: Vec<HostName>,
    /// Whether nothing new starts.
    pub paused: bool,
}

impl Default for Rollout {
    fn default() -> Self {
        Self {
            start: Start::Automatic,
            settle_seconds: 2,
            max_concurrent_restarts: Limit::Count(1),
            max_unavailable: Limit::percent(10),
            pace: None,
            stability_seconds: 30,
            max_failures: NonZeroU32::MIN,
            attempts: NonZeroU32::MIN.saturating_add(2),
            order: Vec::new(),
            canary: None,
            windows: Vec::new(),
            drain: Drain::default(),
            gates: Vec::new(),
            exclude: Vec::new(),
            paused: false,
        }
    }
}

impl Rollout {
    /// The pace for so many slots: as declared, or the rate that never binds while slots are
    /// held for `stabilitySeconds`. None: without limit.
    pub fn pace_for(&self, slots: usize) -> Option<PermitRate> {
        let slots = u32::try_from(slots).unwrap_or(u32::MAX).max(1);
        let declared = self.pace.unwrap_or_default();
        let burst = declared.burst.map_or(slots, NonZeroU32::get);
        let interval_ms = match declared.per_minute {
            Some(per_minute) => 60_000 / u64::from(per_minute.get()),
            None => u64::from(self.stability_seconds) * 1000 / u64::from(slots),
        };
        (interval_ms > 0).then_some(PermitRate { burst, interval_ms })
    }
}

/// Whether an edit waits for a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Start {
    /// It starts when it has settled.
    Automatic,
    /// It waits for `calico-dcos approve`.
    Approved,
}

/// How fast new slots may be taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pace {
    /// How many may be taken at once. Default: the number of slots.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<NonZeroU32>,
    /// How many a minute after that. Default: slots × 60 ÷ `stabilitySeconds`.
    #[schemars(range(min = 1, max = 60000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_minute: Option<NonZeroU32>,
}

/// The pace in force, as a bucket is built from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PermitRate {
    /// The size of the bucket.
    pub burst: u32,
    /// One permit comes back each so many milliseconds; never 0.
    pub interval_ms: u64,
}

/// The hosts that move first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Canary {
    /// How many: a number, or a percentage; the first ones in order.
    #[serde(default = "one_host")]
    pub hosts: Limit,
    /// What lets the others follow once the canaries are stable.
    #[serde(default)]
    pub promote: Promote,
    /// For `automatic`: for how many seconds all of them must have been in sync, after their own
    /// `stabilitySeconds`.
    #[serde(default, skip_serializing_if = "is_none")]
    #[schemars(range(max = 604_800))]
    pub bake_seconds: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_none(seconds: &u32) -> bool {
    *seconds == 0
}

fn one_host() -> Limit {
    Limit::Count(1)
}

/// What ends the canary phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Promote {
    /// `calico-dcos approve`.
    #[default]
    Manual,
    /// That all canaries are stable.
    Automatic,
}

/// A span of time in which disruptive work may start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Window {
    /// The days on which it begins. Default: every day.
    #[serde(default = "every_day")]
    #[schemars(length(min = 1))]
    pub days: Vec<Day>,
    /// When it begins.
    pub start: ClockTime,
    /// When it ends; if that is before `start`, on the next day.
    pub end: ClockTime,
    /// By whose clock.
    #[serde(default = "utc")]
    pub timezone: TimeZoneName,
}

fn every_day() -> Vec<Day> {
    vec![Day::Mon, Day::Tue, Day::Wed, Day::Thu, Day::Fri, Day::Sat, Day::Sun]
}

fn utc() -> TimeZoneName {
    TimeZoneName::known("UTC")
}

/// A day of the week.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

/// Whether a host's disruption is announced to the frameworks of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Drain {
    /// How.
    pub mode: DrainMode,
    /// How many seconds the frameworks are given between announcement and start.
    #[schemars(range(max = 86400))]
    pub wait_seconds: u32,
}

/// How a disruption is announced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum DrainMode {
    /// Not at all.
    #[default]
    None,
    /// As maintenance of the Mesos master; only our own announcement is withdrawn afterwards.
    Maintenance,
}

/// A question asked before each start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(description = "`{http: URL}` or `{prometheus: {url: URL, query: PROMQL}}`")]
pub enum Gate {
    /// `{http: URL}`: open while a GET is answered with 200.
    Http(HttpUrl),
    /// `{prometheus: {url, query}}`: open while the query returns nothing (no alert fires).
    Prometheus(PrometheusGate),
}

/// A query that must return nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PrometheusGate {
    /// The server.
    pub url: HttpUrl,
    /// An instant query.
    #[schemars(length(min = 1))]
    pub query: String,
}
