//! What `pause`, `resume`, `approve`, `retry`, `release` and `forget` share. Each writes what is asked for
//! under `control/`, and who asked to the history, in one transaction; the leader does it. What makes
//! no sense is refused by the command, with what would.

use super::publish::{ask, who};
use super::{Connection, Failure};
use crate::clock;
use crate::desired::did_you_mean;
use crate::plan::control::{Ask, CONTROL_VERSION, Control};
use crate::store::{EtcdStore, Key, Space, Txn};
use crate::surface::state::{HostState, State};
use crate::words::HostName;

/// etcd, and what it holds.
pub(super) struct Desk {
    store: EtcdStore,
    pub(super) state: State,
}

impl Desk {
    pub(super) async fn open(connection: &Connection) -> Result<Self, Failure> {
        let store = connection.connect().await?;
        let state = State::of(&store.list(Space::All).await?, clock::now());
        Ok(Self { store, state })
    }

    pub(super) async fn carry_out(&self, txn: &Txn, what: &str) -> Result<(), Failure> {
        ask(&self.store, &self.state, txn, what).await.map(drop)
    }
}

/// A host by its name, or the nearest ones.
pub(super) fn find_host<'a>(
    state: &'a State,
    name: &str,
) -> Result<(&'a HostName, &'a HostState), Failure> {
    let known = state.hosts.iter().filter(|(_, host)| host.observed.is_some());
    let names: Vec<&str> = known.clone().map(|(name, _)| name.as_str()).collect();
    known.into_iter().find(|(known, _)| known.as_str() == name).ok_or_else(|| {
        Failure::input(format!("there is no host `{name}`{}", or_else(name, &names)))
    })
}

/// `; did you mean …?`, or how to see what there is.
pub(super) fn or_else(name: &str, names: &[&str]) -> String {
    match did_you_mean(name, names) {
        Some(meant) => format!("; {meant}"),
        None => "; `calico-dcos status --hosts` and `calico-dcos get` list all".to_owned(),
    }
}

/// The person at the keyboard, now.
pub(super) fn by_me() -> Ask {
    Ask { version: CONTROL_VERSION, who: who(), at: clock::now(), why: None }
}

/// Where it is written.
pub(super) fn key(control: &Control) -> Key {
    Key::Control(control.path())
}
