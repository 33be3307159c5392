//! What operators ask for beside the documents: each is a transaction that writes it under `control/`, and the leader
//! does it. What makes no sense is refused with what would. Commands, page and API ask the same.

use super::sentence::after_failures;
use super::state::{HostState, State};
use super::text::{ago, capital, first_names};
use super::view::View;
use crate::desired::{Start, did_you_mean};
use crate::observed::fleet::Condition;
use crate::plan::canary::CanaryPhase;
use crate::plan::control::{Approval, Ask, CONTROL_VERSION, Control, Release, Scope};
use crate::plan::gate::Phase;
use crate::plan::reason::Reason;
use crate::rollout::records::to_json;
use crate::store::{Key, Txn};
use crate::words::{Attempt, Generation, HostName, Time};

/// Something that can be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// What to write.
    pub(crate) txn: Txn,
    /// For the history.
    pub(crate) what: String,
    /// What to think of first, where it needs a yes.
    pub(crate) question: Option<String>,
    /// What is said when it is done.
    pub(crate) done: String,
}

/// It makes no sense as things are, as a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// There is no such host or pool.
    #[error("{0}")]
    Unknown(String),
    /// It is so already: nothing is wrong with asking twice, and nothing is to be done.
    #[error("{0}")]
    Already(String),
    /// Something else would.
    #[error("{0}")]
    Senseless(String),
    /// Not while the rollout is halted.
    #[error("{0}")]
    Halted(String),
}

/// Who asks, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Person {
    /// For people.
    pub(crate) who: String,
    /// Now.
    pub(crate) at: Time,
}

/// What is paused or resumed, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ScopeName {
    /// All hosts.
    Cluster,
    /// Those of a pool.
    Pool(String),
    /// One.
    Host(String),
}

impl Person {
    fn ask(&self, why: Option<String>) -> Ask {
        Ask { version: CONTROL_VERSION, who: self.who.clone(), at: self.at, why }
    }
}

/// Nothing new starts there.
pub(crate) fn pause(
    state: &State,
    scope: &ScopeName,
    why: Option<String>,
    by: &Person,
) -> Result<Asked, Refused> {
    let scope = scope.find(state)?;
    if let Some(held) = pause_at(state, &scope) {
        let held = told(held, by.at);
        return Err(Refused::Already(capital(&format!("{scope} is paused already, {held}."))));
    }
    let what = match &why {
        Some(why) => format!("pause of {scope}: {why}"),
        None => format!("pause of {scope}"),
    };
    let held = state.hosts.values().filter(|host| host.slot.is_some()).count();
    let done = format!(
        "Nothing new starts for {scope}. What is under way goes on to its end; slots held: {held}."
    );
    let txn = Txn::new().put(key(&Control::Paused(scope)), to_json(&by.ask(why)));
    Ok(Asked { txn, what, question: None, done })
}

/// What was paused goes on.
pub(crate) fn resume(state: &State, scope: &ScopeName) -> Result<Asked, Refused> {
    let scope = scope.find(state)?;
    if pause_at(state, &scope).is_none() {
        return Err(Refused::Already(not_paused(&scope, state)));
    }
    let (what, done) = (format!("resume of {scope}"), capital(&format!("{scope} goes on.")));
    let txn = Txn::new().delete(key(&Control::Paused(scope)));
    Ok(Asked { txn, what, question: None, done })
}

/// The generation in force may start, or the others may follow its canaries. With `seen`, only if that is the
/// generation in force.
pub(crate) fn approve(
    view: &View,
    seen: Option<Generation>,
    by: &Person,
) -> Result<Asked, Refused> {
    let generation = view.generation();
    if let Some(seen) = seen.filter(|seen| *seen != generation) {
        return Err(Refused::Senseless(format!(
            "generation {seen} is not in force, {generation} is; look at `calico-dcos diff` again"
        )));
    }
    if !view.documents_in_force() {
        return Err(Refused::Senseless(NOT_IN_FORCE.to_owned()));
    }
    let (control, what, question, done) = if starts(view)? {
        (Control::Approved, "approval", format!("Let generation {generation} start?"), "starts")
    } else {
        let question = format!("Let the others follow in generation {generation}?");
        (Control::Promoted, "promotion", question, "goes on to all hosts")
    };
    let (who, at) = (by.who.clone(), by.at);
    let approval = Approval { version: CONTROL_VERSION, who, at, generation };
    Ok(Asked {
        txn: Txn::new().put(key(&control), to_json(&approval)),
        what: format!("{what} of generation {generation}"),
        question: Some(question),
        done: format!("Generation {generation} {done}."),
    })
}

const NOT_IN_FORCE: &str = "the documents in etcd are not in force yet, so there is nothing to approve; wait for \
                            the controller to accept them (`calico-dcos status`)";

/// Whether an approval lets the generation start; else it lets the others follow the canaries.
fn starts(view: &View) -> Result<bool, Refused> {
    let refused = |text: &str| Err(Refused::Senseless(text.to_owned()));
    match (view.phase(), view.canary()) {
        (Phase::Unapproved, _) => return Ok(true),
        (Phase::Unaccepted, _) => return refused(NOT_IN_FORCE),
        (Phase::Halted { why }, _) => {
            let next = after_failures(view).map(|next| format!(". {next}")).unwrap_or_default();
            let why = format!(
                "the rollout has halted, so that nothing waits for an approval: {why}{next}"
            );
            return Err(Refused::Halted(why));
        }
        (Phase::Running, CanaryPhase::Only(_, Some(canaries))) => {
            if canaries.stable.is_some() {
                return Ok(false);
            }
            let names: Vec<&str> = canaries.hosts.iter().map(HostName::as_str).collect();
            return refused(&format!(
                "the canaries ({}) are not stable yet, so that there is nothing to approve; look at \
                 `calico-dcos status`, or take `rollout.canary` out of the documents",
                names.join(", ")
            ));
        }
        (Phase::Running, CanaryPhase::Only(_, None)) => {
            return refused(
                "the canaries have not been chosen yet, so that there is nothing to approve; look at \
                 `calico-dcos status`",
            );
        }
        (Phase::Running, CanaryPhase::Over) => {}
    }
    let (generation, controls) = (view.generation(), &view.state.controls);
    if controls.promotes(generation) {
        Err(Refused::Already(format!("Generation {generation} goes on to all hosts already.")))
    } else if controls.approves(generation) {
        Err(Refused::Already(format!("Generation {generation} is approved already.")))
    } else if view.rollout().start == Start::Automatic {
        refused("nothing waits for an approval: rollout.start is `automatic`, and no canary waits")
    } else {
        refused("nothing waits for an approval")
    }
}

/// What went wrong on these hosts is forgotten.
pub(crate) fn retry(state: &State, hosts: &[String], by: &Person) -> Result<Asked, Refused> {
    let view = View::new(state.clone(), Vec::new(), by.at).ok();
    let mut txn = Txn::new();
    let mut blocked = String::new();
    for name in hosts {
        let (name, host) = find_host(state, name)?;
        let precondition = view.as_ref().and_then(|view| match view.held_afresh(name)? {
            Reason::Blocked { why } => Some(why),
            _ => None,
        });
        if !has_failed(state, host) {
            return Err(Refused::Senseless(not_failed(name, state.generation(), precondition)));
        }
        if let Some(why) = precondition {
            blocked = format!("{blocked} {name} stays blocked: {why}.");
        }
        txn = txn.put(key(&Control::Retry(name.clone())), to_json(&by.ask(None)));
    }
    let names = hosts.join(", ");
    let done = format!("{names}: tried again. `calico-dcos status --watch` shows it.{blocked}");
    Ok(Asked { txn, what: format!("retry of {names}"), question: None, done })
}

/// Whether something went wrong on a host that `retry` forgets: an attempt, a launch, or a
/// precondition that the host alone can see, for which it is asked again ever later.
pub(crate) fn has_failed(state: &State, host: &HostState) -> bool {
    let progress = host.progress.as_ref().filter(|it| it.generation == state.generation());
    progress.is_some_and(|it| it.failures > 0 || it.refused.is_some() || it.unlaunched.is_some())
}

fn not_failed(name: &HostName, generation: Generation, precondition: Option<String>) -> String {
    match precondition {
        Some(why) => format!(
            "host `{name}` is blocked, and to try again changes nothing: {why}; once that is put \
             right it goes on by itself"
        ),
        None => format!(
            "no attempt of host `{name}` has failed in generation {generation}; \
             `calico-dcos status` says what it waits for"
        ),
    }
}

/// The host's slot is given back, whatever the host does. With `seen`, only if it is held for that attempt.
pub(crate) fn release(
    state: &State,
    name: &str,
    seen: Option<Attempt>,
    by: &Person,
) -> Result<Asked, Refused> {
    let (name, host) = find_host(state, name)?;
    let Some(slot) = &host.slot else {
        let held = state.hosts.iter().filter(|(_, host)| host.slot.is_some());
        let held: Vec<&HostName> = held.map(|(name, _)| name).collect();
        let who = match &held[..] {
            [] => "nobody does".to_owned(),
            held => format!("{} of the hosts do: {}", held.len(), first_names(held)),
        };
        return Err(Refused::Senseless(format!("host `{name}` holds no slot; {who}")));
    };
    let attempt = slot.attempt;
    if let Some(seen) = seen.filter(|seen| *seen != attempt) {
        return Err(Refused::Senseless(format!(
            "host `{name}` holds its slot for attempt {attempt} by now, not for {seen}; look at it again"
        )));
    }
    let question = format!(
        "Host `{name}` has held its slot since {} for attempt {attempt}, and has not said that it is \
         done. If it still works, more hosts than the budget may be disrupted. Release it?",
        ago(slot.since, by.at),
    );
    let (who, at) = (by.who.clone(), by.at);
    let release = Release { version: CONTROL_VERSION, who, at, attempt };
    Ok(Asked {
        txn: Txn::new().put(key(&Control::Release(name.clone())), to_json(&release)),
        what: format!("release of {name}, attempt {attempt}"),
        question: Some(question),
        done: format!("The slot of {name} is given back."),
    })
}

/// The host is taken off the list.
pub(crate) fn forget(state: &State, name: &str, by: &Person) -> Result<Asked, Refused> {
    let (name, host) = find_host(state, name)?;
    let active = host.observed.as_ref().is_some_and(|it| it.agent.condition == Condition::Active);
    if active {
        return Err(Refused::Senseless(format!(
            "the agent of host `{name}` is active, and would be listed again at once; \
             rollout.exclude leaves a host alone"
        )));
    }
    if host.slot.is_some() {
        return Err(Refused::Senseless(format!(
            "host `{name}` holds a slot: nobody knows whether it is at work; look at it, and \
             `calico-dcos release {name}` first"
        )));
    }
    let txn = Txn::new().put(key(&Control::Forget(name.clone())), to_json(&by.ask(None)));
    let (what, done) = (format!("forget {name}"), format!("{name} is taken off the list."));
    Ok(Asked { txn, what, question: None, done })
}

impl ScopeName {
    /// What is meant, if there is such a thing.
    fn find(&self, state: &State) -> Result<Scope, Refused> {
        let pool = match self {
            Self::Cluster => return Ok(Scope::Cluster),
            Self::Host(host) => return Ok(Scope::Host(find_host(state, host)?.0.clone())),
            Self::Pool(pool) => pool,
        };
        let names = state.documents.keys().filter_map(|name| name.strip_prefix("pools/"));
        let names: Vec<&str> = names.collect();
        if names.contains(&pool.as_str()) || state.controls.paused_pools.contains_key(pool) {
            return Ok(Scope::Pool(pool.clone()));
        }
        Err(Refused::Unknown(format!("there is no pool `{pool}`{}", or_else(pool, &names))))
    }
}

/// A host by its name, or the nearest ones.
fn find_host<'a>(state: &'a State, name: &str) -> Result<(&'a HostName, &'a HostState), Refused> {
    let known = state.hosts.iter().filter(|(_, host)| host.observed.is_some());
    let names: Vec<&str> = known.clone().map(|(name, _)| name.as_str()).collect();
    known.into_iter().find(|(known, _)| known.as_str() == name).ok_or_else(|| {
        Refused::Unknown(format!("there is no host `{name}`{}", or_else(name, &names)))
    })
}

/// `; did you mean …?`, or how to see what there is.
fn or_else(name: &str, names: &[&str]) -> String {
    match did_you_mean(name, names) {
        Some(meant) => format!("; {meant}"),
        None => "; `calico-dcos diff --hosts` and `calico-dcos get` list all".to_owned(),
    }
}

fn key(control: &Control) -> Key {
    Key::Control(control.path())
}

fn pause_at<'a>(state: &'a State, scope: &Scope) -> Option<&'a Ask> {
    let controls = &state.controls;
    match scope {
        Scope::Cluster => controls.paused.as_ref(),
        Scope::Pool(name) => controls.paused_pools.get(name),
        Scope::Host(name) => controls.paused_hosts.get(name),
    }
}

/// `5 minutes ago by alice@desk: disk swap`.
fn told(asked: &Ask, now: Time) -> String {
    let why = asked.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    format!("{} by {}{why}", ago(asked.at, now), asked.who)
}

/// What is paused instead.
fn not_paused(scope: &Scope, state: &State) -> String {
    let controls = &state.controls;
    let cluster = controls.paused.iter().map(|_| Scope::Cluster);
    let pools = controls.paused_pools.keys().cloned().map(Scope::Pool);
    let hosts = controls.paused_hosts.keys().cloned().map(Scope::Host);
    let paused: Vec<String> = cluster.chain(pools).chain(hosts).map(|it| it.to_string()).collect();
    if paused.is_empty() {
        return capital(&format!(
            "{scope} is not paused, and nothing else is; what `rollout.paused` in a document holds is \
             ended by editing it."
        ));
    }
    capital(&format!("{scope} is not paused; paused: {}.", paused.join(", ")))
}

#[cfg(test)]
mod tests;
