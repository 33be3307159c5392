//! What all pages have in common: how far the rollout is, who leads, and what somebody has to know before anything else.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::Site;
use super::super::board::Shown;
use super::super::problem::Problem;
use super::Refusal;
use crate::plan::Plan;
use crate::plan::gate::Phase;
use crate::surface::sentence::{after_failures, pauses};
use crate::surface::status::RolloutStatus;
use crate::surface::text::{clock, duration};
use crate::surface::view::View;

/// Which page it is, and of which process.
#[derive(Clone, Debug)]
pub(super) struct Here {
    /// From this page to the first one.
    pub(super) root: &'static str,
    /// Its path below that.
    pub(super) page: &'static str,
    /// Another build has another one.
    pub(super) version: String,
    /// The name of this process.
    pub(super) name: String,
    /// It leads.
    pub(super) leads: bool,
    /// Something can be asked for here.
    pub(super) asks: bool,
    /// The documents that this process brought along.
    pub(super) started_with: Arc<BTreeMap<String, String>>,
}

impl Here {
    pub(super) fn new(site: &Site, root: &'static str, page: &'static str) -> Self {
        let leads = site.pulse.beat().leads.is_some();
        let version = site.artifact.digest().to_string().chars().take(12).collect();
        let asks = leads && site.token.is_some();
        let started_with = Arc::clone(&site.started_with);
        Self { root, page, version, name: site.name.clone(), leads, asks, started_with }
    }

    /// What makes a page of a problem.
    pub(super) fn refusal(&self) -> impl Fn(Problem) -> Refusal + use<> {
        let (root, version) = (self.root, self.version.clone());
        move |problem| Refusal {
            root,
            version: version.clone(),
            title: problem.title(),
            detail: problem.detail().to_owned(),
            problem,
        }
    }
}

/// The frame of a page.
#[derive(Debug)]
pub(super) struct Frame {
    here: &'static str,
    pub(super) root: &'static str,
    pub(super) version: String,
    pub(super) release: &'static str,
    pub(super) cluster: String,
    /// The sign of the page in a browser's tab, in the colour of how far the rollout is.
    pub(super) icon: String,
    /// Of the hosts, those in sync.
    pub(super) percent: usize,
    pub(super) at: String,
    pub(super) standing: &'static str,
    pub(super) colour: &'static str,
    pub(super) generation: u64,
    pub(super) since: String,
    pub(super) leader: Option<String>,
    pub(super) leader_url: Option<String>,
    pub(super) leads: bool,
    pub(super) asks: bool,
    pub(super) name: String,
    pub(super) revision: u64,
    pub(super) notes: Vec<Note>,
}

/// Something to be known before anything else.
#[derive(Debug)]
pub(super) struct Note {
    pub(super) colour: &'static str,
    pub(super) title: &'static str,
    pub(super) text: String,
    /// Its lines and spaces are kept.
    pub(super) verbatim: bool,
}

impl Frame {
    pub(super) fn new(here: Here, shown: &Shown, view: &View, plan: &Plan<'_>) -> Self {
        let standing = RolloutStatus::of(view, plan);
        let state = &view.state;
        let since = state.rollout.as_ref().filter(|_| standing == RolloutStatus::InProgress);
        let since = since.map(|rollout| duration(view.now.since(rollout.since) / 1000));
        // Whoever writes etcd may write anything there.
        let url = state.leader.as_ref().and_then(|leader| leader.url.clone());
        let url = url.filter(|url| url.starts_with("http://") || url.starts_with("https://"));
        let colour = match standing {
            RolloutStatus::Done => "good",
            RolloutStatus::Halted | RolloutStatus::Refused => "bad",
            RolloutStatus::Paused | RolloutStatus::Unapproved | RolloutStatus::NotAccepted => {
                "wait"
            }
            RolloutStatus::InProgress => "work",
        };
        Self {
            here: here.page,
            root: here.root,
            version: here.version,
            release: env!("CARGO_PKG_VERSION"),
            cluster: view.desired.cluster.metadata.name.to_string(),
            at: clock(view.now),
            standing: standing.word(),
            colour,
            icon: icon(colour),
            percent: (plan.summary.in_sync * 100).checked_div(plan.summary.hosts).unwrap_or(0),
            generation: view.generation().0,
            since: since.map(|since| format!(" for {since}")).unwrap_or_default(),
            leader: state.leader.as_ref().map(|leader| leader.name.clone()),
            leader_url: url,
            leads: here.leads,
            asks: here.asks,
            name: here.name,
            revision: state.revision.0,
            notes: notes(shown, view, &here.started_with),
        }
    }

    /// The pages that are linked from all.
    #[expect(clippy::unused_self, reason = "templates call methods")]
    pub(super) fn pages(&self) -> [(&'static str, &'static str); 3] {
        [("Hosts", ""), ("Plan", "plan"), ("History", "history")]
    }

    pub(super) fn is(&self, path: &str) -> bool {
        self.here == path
    }
}

/// A dot. Style sheets do not reach it, so it has colours of its own, which show on light and dark.
fn icon(colour: &str) -> String {
    let fill = match colour {
        "good" => "2da44e",
        "bad" => "e5484d",
        "wait" => "d29922",
        _ => "3b82f6",
    };
    format!(
        "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E\
         %3Ccircle cx='8' cy='8' r='7' fill='%23{fill}'/%3E%3C/svg%3E"
    )
}

fn notes(shown: &Shown, view: &View, started_with: &BTreeMap<String, String>) -> Vec<Note> {
    let note = |colour, title, text: String, verbatim| Note { colour, title, text, verbatim };
    let mut notes = Vec::new();
    if let Some(why) = &shown.lost {
        notes.push(note("bad", "etcd is lost, this may be old", why.clone(), false));
    }
    if let Phase::Halted { why } = view.phase() {
        let next = after_failures(view).map(|next| format!(". {next}")).unwrap_or_default();
        notes.push(note("bad", "Halted", format!("{why}{next}"), false));
    }
    if let Some(findings) = &view.refused {
        let title = "The documents in etcd are refused; those accepted before stay in force";
        notes.push(note("bad", title, findings.render(false), true));
    }
    let paused = pauses(&view.state.controls, view.now).join("\n");
    if !paused.is_empty() {
        notes.push(note("wait", "Paused", paused, true));
    }
    let differing = view.state.differing(started_with);
    if !differing.is_empty() {
        let text = format!(
            "Options of this process make other documents than those in etcd, which are in force: {}",
            differing.join(", ")
        );
        notes.push(note("wait", "", text, false));
    }
    notes.extend(view.warnings().into_iter().map(|text| note("wait", "", text, false)));
    notes
}
