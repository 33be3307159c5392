//! What `pause`, `resume`, `approve`, `retry`, `release` and `forget` share: they look at what is in etcd, ask, and
//! write what is asked for.

use super::format::print;
use super::publish::who;
use super::{Connection, Exit, Failure};
use crate::clock;
use crate::store::{EtcdStore, Space};
use crate::surface::ask::{Asked, Person, Refused};
use crate::surface::entry::{NotDone, carry_out};
use crate::surface::state::State;

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

    /// Does what is asked for, if it is not so already, and says so.
    pub(super) async fn settle(&self, asked: Result<Asked, Refused>) -> Result<Exit, Failure> {
        let said = match asked {
            Err(Refused::Already(text)) => text,
            asked => {
                let asked = asked?;
                self.carry_out(&asked).await?;
                asked.done
            }
        };
        print(&format!("{said}\n"))?;
        Ok(Exit::Good)
    }

    pub(super) async fn carry_out(&self, asked: &Asked) -> Result<(), Failure> {
        carry_out(&self.store, &self.state, &asked.txn, (&who(), &asked.what)).await?;
        Ok(())
    }
}

/// The person at the keyboard, now.
pub(super) fn me() -> Person {
    Person { who: who(), at: clock::now() }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Halted(_) => Self::new(Exit::Halted, refused),
            Refused::Unknown(_) | Refused::Already(_) | Refused::Senseless(_) => {
                Self::input(refused)
            }
        }
    }
}

impl From<NotDone> for Failure {
    fn from(error: NotDone) -> Self {
        match error {
            NotDone::Crowded => Self::new(Exit::Stale, error),
            NotDone::Store(error) => error.into(),
        }
    }
}
