//! `pause`, `resume`, `approve`, `retry`, `release`, `forget`: control of a rollout. Each writes what
//! is asked for under `control/`, and who asked to the history, in one transaction; the leader does
//! it. What makes no sense is refused here, with what would.

use clap::Args;

use super::apply::confirmed;
use super::diff::text;
use super::format::{ago, first_names, print};
use super::publish::{ask, who};
use super::state::{HostState, State};
use super::view::View;
use super::{Connection, Exit, Failure};
use crate::clock;
use crate::desired::did_you_mean;
use crate::observed::fleet::Condition;
use crate::plan::control::{
    Approval, Ask, CONTROL_VERSION, Control, Release as ReleaseRecord, Scope,
};
use crate::plan::gate::Phase;
use crate::rollout::records::to_json;
use crate::store::{EtcdStore, Key, Space, Txn};
use crate::words::HostName;

const PAUSE: &str = "\
Examples:
  calico-dcos pause                             the whole cluster
  calico-dcos pause --pool gpu --why 'disk swap'
  calico-dcos pause --host a7
  calico-dcos resume                            what was paused with `pause`

What is under way goes on to its end; nothing new starts, retries included.

Exit codes: 0 done · 2 input · 4 environment";

const APPROVE: &str = "\
Examples:
  calico-dcos approve                   show the diff, ask, approve the generation in force
  calico-dcos approve --generation 42   only if that is the one in force

Where `rollout.start` is `approved`, each new generation waits for it. Repairs of drift go on in a
generation that was approved.

Exit codes: 0 done · 1 not confirmed · 2 nothing waits, or another generation does · 4 environment";

const RETRY: &str = "\
Examples:
  calico-dcos retry a7        its failed attempts are forgotten, and it is tried again at once
  calico-dcos retry a7 a9     a rollout that halted for them goes on

Exit codes: 0 done · 2 input · 4 environment";

const RELEASE: &str = "\
Examples:
  calico-dcos release a7      asks before it does it

The slot is given back though the host has not reported that it is done. If it is still at work,
more hosts than the budget allows may be disrupted: look at it first. A host whose agent Mesos calls
gone gives its slot back by itself.

Exit codes: 0 done · 1 not confirmed · 2 input · 4 environment";

const FORGET: &str = "\
Examples:
  calico-dcos forget a7       a host that is not coming back

It is taken off the list with all that is known of it. If it does come back, it is a new host.

Exit codes: 0 done · 2 it is active, or holds a slot · 4 environment";

/// What is paused or resumed.
#[derive(Debug, Args)]
#[group(multiple = false)]
struct ScopeArgs {
    /// The hosts of a pool; without this and --host, the whole cluster
    #[arg(long, value_name = "NAME")]
    pool: Option<String>,

    /// One host
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
}

/// Start nothing new in the cluster, in a pool or on a host
#[derive(Debug, Args)]
#[command(after_help = PAUSE)]
pub(super) struct Pause {
    #[command(flatten)]
    scope: ScopeArgs,

    /// The reason, for all who wonder
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,

    /// Where etcd is
    #[command(flatten)]
    connection: Connection,
}

/// End a pause
#[derive(Debug, Args)]
#[command(after_help = PAUSE)]
pub(super) struct Resume {
    #[command(flatten)]
    scope: ScopeArgs,

    /// Where etcd is
    #[command(flatten)]
    connection: Connection,
}

/// Let the generation in force start
#[derive(Debug, Args)]
#[command(after_help = APPROVE)]
pub(super) struct Approve {
    /// Refuse if another generation is in force
    #[arg(long, value_name = "GENERATION")]
    generation: Option<u64>,

    /// Do not ask
    #[arg(short, long)]
    yes: bool,

    /// Where etcd is
    #[command(flatten)]
    connection: Connection,
}

/// Try hosts again whose attempts failed
#[derive(Debug, Args)]
#[command(after_help = RETRY)]
pub(super) struct Retry {
    /// The hosts
    #[arg(value_name = "HOST", required = true)]
    hosts: Vec<String>,

    /// Where etcd is
    #[command(flatten)]
    connection: Connection,
}

/// Give back a host's slot, whatever the host does
#[derive(Debug, Args)]
#[command(after_help = RELEASE)]
pub(super) struct Release {
    /// The host
    #[arg(value_name = "HOST")]
    host: String,

    /// Do not ask
    #[arg(short, long)]
    yes: bool,

    /// Where etcd is
    #[command(flatten)]
    connection: Connection,
}

/// Take a host off the list that is not coming back
#[derive(Debug, Args)]
#[command(after_help = FORGET)]
pub(super) struct Forget {
    /// The host
    #[arg(value_name = "HOST")]
    host: String,

    /// Where etcd is
    #[command(flatten)]
    connection: Connection,
}

/// etcd, and what it holds.
struct Desk {
    store: EtcdStore,
    state: State,
}

impl Desk {
    async fn open(connection: &Connection) -> Result<Self, Failure> {
        let store = connection.connect().await?;
        let state = State::of(&store.list(Space::All).await?, clock::now());
        Ok(Self { store, state })
    }

    async fn carry_out(&self, txn: &Txn, what: &str) -> Result<(), Failure> {
        ask(&self.store, &self.state, txn, what).await.map(drop)
    }
}

impl Pause {
    pub(super) async fn execute(self) -> Result<Exit, Failure> {
        let desk = Desk::open(&self.connection).await?;
        let scope = self.scope.find(&desk.state)?;
        if let Some(held) = pause_at(&desk.state, &scope) {
            print(&format!("{scope} is paused already, {}.\n", told(held, &desk.state)))?;
            return Ok(Exit::Good);
        }
        let what = match &self.why {
            Some(why) => format!("pause of {scope}: {why}"),
            None => format!("pause of {scope}"),
        };
        let asked = Ask { why: self.why, ..by_me() };
        let control = key(&Control::Paused(scope.clone()));
        desk.carry_out(&Txn::new().put(control, to_json(&asked)), &what).await?;
        let held = desk.state.hosts.values().filter(|host| host.slot.is_some()).count();
        print(&format!(
            "Nothing new starts for {scope}. What is under way goes on to its end; slots held: {held}.\n"
        ))?;
        Ok(Exit::Good)
    }
}

impl Resume {
    pub(super) async fn execute(self) -> Result<Exit, Failure> {
        let desk = Desk::open(&self.connection).await?;
        let scope = self.scope.find(&desk.state)?;
        if pause_at(&desk.state, &scope).is_none() {
            return Err(Failure::input(not_paused(&scope, &desk.state)));
        }
        let control = key(&Control::Paused(scope.clone()));
        desk.carry_out(&Txn::new().delete(control), &format!("resume of {scope}")).await?;
        print(&format!("{scope} goes on.\n"))?;
        Ok(Exit::Good)
    }
}

impl Approve {
    pub(super) async fn execute(self) -> Result<Exit, Failure> {
        let desk = Desk::open(&self.connection).await?;
        let view = View::new(desk.state.clone(), Vec::new(), clock::now())?;
        let generation = view.generation();
        if let Some(wanted) = self.generation.filter(|wanted| *wanted != generation.0) {
            return Err(Failure::input(format!(
                "generation {wanted} is not in force, {generation} is; look at `calico-dcos diff` again"
            )));
        }
        if !view.documents_in_force() {
            return Err(Failure::input(
                "the documents in etcd are not in force yet, so there is nothing to approve; wait for \
                 the controller to accept them (`calico-dcos status`)",
            ));
        }
        match view.phase() {
            Phase::Unapproved => {}
            Phase::Halted { why } => return Err(Failure::new(Exit::Halted, why)),
            Phase::Running if desk.state.controls.approves(generation) => {
                return Err(Failure::input(format!("generation {generation} is approved already")));
            }
            Phase::Running => {
                return Err(Failure::input(
                    "nothing waits for an approval: rollout.start is `automatic`",
                ));
            }
        }
        print(&text(&view, &view.plan(), false))?;
        if !self.yes && !confirmed(&format!("\nLet generation {generation} start?"))? {
            print("Nothing was approved.\n")?;
            return Ok(Exit::Differs);
        }
        let Ask { version, who, at, .. } = by_me();
        let approval = Approval { version, who, at, generation };
        let txn = Txn::new().put(key(&Control::Approved), to_json(&approval));
        desk.carry_out(&txn, &format!("approval of generation {generation}")).await?;
        print(&format!("Generation {generation} starts.\n"))?;
        Ok(Exit::Good)
    }
}

impl Retry {
    pub(super) async fn execute(self) -> Result<Exit, Failure> {
        let desk = Desk::open(&self.connection).await?;
        let generation = desk.state.generation();
        let mut txn = Txn::new();
        for name in &self.hosts {
            let (name, host) = find_host(&desk.state, name)?;
            let progress = host.progress.as_ref();
            if progress.is_none_or(|it| it.generation != generation || it.failures == 0) {
                return Err(Failure::input(format!(
                    "no attempt of host `{name}` has failed in generation {generation}; \
                     `calico-dcos status` says what it waits for"
                )));
            }
            txn = txn.put(key(&Control::Retry(name.clone())), to_json(&by_me()));
        }
        let names = self.hosts.join(", ");
        desk.carry_out(&txn, &format!("retry of {names}")).await?;
        print(&format!("{names}: tried again. `calico-dcos status --watch` shows it.\n"))?;
        Ok(Exit::Good)
    }
}

impl Release {
    pub(super) async fn execute(self) -> Result<Exit, Failure> {
        let desk = Desk::open(&self.connection).await?;
        let (name, host) = find_host(&desk.state, &self.host)?;
        let Some(slot) = &host.slot else {
            let held = desk.state.hosts.iter().filter(|(_, host)| host.slot.is_some());
            let held: Vec<&HostName> = held.map(|(name, _)| name).collect();
            let who = match &held[..] {
                [] => "nobody does".to_owned(),
                held => format!("{} of the hosts do: {}", held.len(), first_names(held)),
            };
            return Err(Failure::input(format!("host `{name}` holds no slot; {who}")));
        };
        let question = format!(
            "Host `{name}` has held its slot since {} for attempt {}, and has not said that it is \
             done. If it still works, more hosts than the budget may be disrupted. Release it?",
            ago(slot.since, desk.state.at),
            slot.attempt
        );
        if !self.yes && !confirmed(&question)? {
            print("Nothing was released.\n")?;
            return Ok(Exit::Differs);
        }
        let Ask { version, who, at, .. } = by_me();
        let release = ReleaseRecord { version, who, at, attempt: slot.attempt };
        let txn = Txn::new().put(key(&Control::Release(name.clone())), to_json(&release));
        desk.carry_out(&txn, &format!("release of {name}, attempt {}", slot.attempt)).await?;
        print(&format!("The slot of {name} is given back.\n"))?;
        Ok(Exit::Good)
    }
}

impl Forget {
    pub(super) async fn execute(self) -> Result<Exit, Failure> {
        let desk = Desk::open(&self.connection).await?;
        let (name, host) = find_host(&desk.state, &self.host)?;
        let active =
            host.observed.as_ref().is_some_and(|it| it.agent.condition == Condition::Active);
        if active {
            return Err(Failure::input(format!(
                "the agent of host `{name}` is active, and would be listed again at once; \
                 rollout.exclude leaves a host alone"
            )));
        }
        if host.slot.is_some() {
            return Err(Failure::input(format!(
                "host `{name}` holds a slot: nobody knows whether it is at work; look at it, and \
                 `calico-dcos release {name}` first"
            )));
        }
        let txn = Txn::new().put(key(&Control::Forget(name.clone())), to_json(&by_me()));
        desk.carry_out(&txn, &format!("forget {name}")).await?;
        print(&format!("{name} is taken off the list.\n"))?;
        Ok(Exit::Good)
    }
}

impl ScopeArgs {
    /// What is meant, if there is such a thing.
    fn find(&self, state: &State) -> Result<Scope, Failure> {
        if let Some(host) = &self.host {
            return Ok(Scope::Host(find_host(state, host)?.0.clone()));
        }
        let Some(pool) = &self.pool else { return Ok(Scope::Cluster) };
        let names = state.documents.keys().filter_map(|name| name.strip_prefix("pools/"));
        let names: Vec<&str> = names.collect();
        if names.contains(&pool.as_str()) || state.controls.paused_pools.contains_key(pool) {
            return Ok(Scope::Pool(pool.clone()));
        }
        Err(Failure::input(format!("there is no pool `{pool}`{}", or_else(pool, &names))))
    }
}

/// A host by its name, or the nearest ones.
fn find_host<'a>(state: &'a State, name: &str) -> Result<(&'a HostName, &'a HostState), Failure> {
    let known = state.hosts.iter().filter(|(_, host)| host.observed.is_some());
    let names: Vec<&str> = known.clone().map(|(name, _)| name.as_str()).collect();
    known.into_iter().find(|(known, _)| known.as_str() == name).ok_or_else(|| {
        Failure::input(format!("there is no host `{name}`{}", or_else(name, &names)))
    })
}

/// `; did you mean …?`, or how to see what there is.
fn or_else(name: &str, names: &[&str]) -> String {
    match did_you_mean(name, names) {
        Some(meant) => format!("; {meant}"),
        None => "; `calico-dcos status --hosts` and `calico-dcos get` list all".to_owned(),
    }
}

fn pause_at<'a>(state: &'a State, scope: &Scope) -> Option<&'a Ask> {
    let controls = &state.controls;
    match scope {
        Scope::Cluster => controls.paused.as_ref(),
        Scope::Pool(name) => controls.paused_pools.get(name),
        Scope::Host(name) => controls.paused_hosts.get(name),
    }
}

/// `since 5 minutes ago by alice@desk: disk swap`.
fn told(asked: &Ask, state: &State) -> String {
    let why = asked.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    format!("{} by {}{why}", ago(asked.at, state.at), asked.who)
}

/// What is paused instead.
fn not_paused(scope: &Scope, state: &State) -> String {
    let controls = &state.controls;
    let cluster = controls.paused.iter().map(|_| Scope::Cluster);
    let pools = controls.paused_pools.keys().cloned().map(Scope::Pool);
    let hosts = controls.paused_hosts.keys().cloned().map(Scope::Host);
    let paused: Vec<String> = cluster.chain(pools).chain(hosts).map(|it| it.to_string()).collect();
    if paused.is_empty() {
        return format!(
            "{scope} is not paused, and nothing else is; what `rollout.paused` in a document holds is \
             ended by editing it"
        );
    }
    format!("{scope} is not paused; paused: {}", paused.join(", "))
}

fn by_me() -> Ask {
    Ask { version: CONTROL_VERSION, who: who(), at: clock::now(), why: None }
}

fn key(control: &Control) -> Key {
    Key::Control(control.path())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::fleet;
    use crate::words::Time;

    fn scope(pool: Option<&str>, host: Option<&str>) -> ScopeArgs {
        ScopeArgs { pool: pool.map(str::to_owned), host: host.map(str::to_owned) }
    }

    #[test]
    fn unknown_hosts_and_pools_are_answered_with_the_nearest_ones() {
        let mut state = fleet(12);
        crate::cli::testing::put(&mut state, "pools/gpu", crate::cli::testing::POOL);
        assert_eq!(scope(None, None).find(&state).unwrap(), Scope::Cluster);
        assert_eq!(scope(Some("gpu"), None).find(&state).unwrap(), Scope::Pool("gpu".to_owned()));
        let known = state.hosts.keys().next().unwrap().to_string();
        let found = scope(None, Some(&known)).find(&state).unwrap();
        assert_eq!(found, Scope::Host(known.as_str().into()));
        let refused = |args: ScopeArgs| args.find(&state).unwrap_err().to_string();
        assert!(refused(scope(Some("gpus"), None)).contains("did you mean `gpu`?"));
        let odd = format!("{known}x");
        assert!(refused(scope(None, Some(&odd))).contains("did you mean `"), "{odd}");
        assert!(refused(scope(None, Some("nothing-like-it"))).contains("list all"));
    }

    #[test]
    fn what_is_not_paused_is_answered_with_what_is() {
        let mut state = fleet(1);
        assert!(not_paused(&Scope::Cluster, &state).contains("nothing else is"));
        let asked = Ask { why: Some("disk swap".to_owned()), at: Time(0), ..by_me() };
        assert!(told(&asked, &state).ends_with(": disk swap"));
        state.controls.paused_pools.insert("gpu".to_owned(), asked);
        assert!(not_paused(&Scope::Cluster, &state).ends_with("paused: pool `gpu`"));
    }
}
