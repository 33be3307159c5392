//! `pause` and `resume`: nothing new starts in the cluster, in a pool or on a host.

use clap::Args;

use super::control::{Desk, by_me, find_host, key, or_else};
use super::format::{ago, print};
use super::{Connection, Exit, Failure};
use crate::plan::control::{Ask, Control, Scope};
use crate::rollout::records::to_json;
use crate::store::Txn;
use crate::surface::state::State;

const EXAMPLES: &str = "\
Examples:
  calico-dcos pause                             the whole cluster
  calico-dcos pause --pool gpu --why 'disk swap'
  calico-dcos pause --host a7
  calico-dcos resume                            what was paused with `pause`

What is under way goes on to its end; nothing new starts, retries included.

Exit codes: 0 done · 2 input · 4 environment";

/// Start nothing new in the cluster, in a pool or on a host
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
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
#[command(after_help = EXAMPLES)]
pub(super) struct Resume {
    #[command(flatten)]
    scope: ScopeArgs,

    /// Where etcd is
    #[command(flatten)]
    connection: Connection,
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::surface::testing::{POOL, fleet, put};
    use crate::words::Time;

    fn scope(pool: Option<&str>, host: Option<&str>) -> ScopeArgs {
        ScopeArgs { pool: pool.map(str::to_owned), host: host.map(str::to_owned) }
    }

    #[test]
    fn unknown_hosts_and_pools_are_answered_with_the_nearest_ones() {
        let mut state = fleet(12);
        put(&mut state, "pools/gpu", POOL);
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
