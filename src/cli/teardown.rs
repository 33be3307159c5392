//! `teardown`: takes Calico off the cluster, has every host forget us, ends the framework, and removes what is in etcd.

use std::time::Duration;

use clap::Args;
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, timeout_at};

use super::apply::{confirmed, interactive, refuse_unasked};
use super::control::me;
use super::diff::text;
use super::format::{BOLD, count, fitted, print};
use super::publish::{changed, publish, who};
use super::{Connection, Exit, Failure};
use crate::clock;
use crate::plan::control::{Control, Teardown as Record};
use crate::plan::gate::Phase;
use crate::rollout::records::to_json;
use crate::store::{EtcdStore, Key, MAX_OPS, Outcome, Space, StoreEvent, Txn};
use crate::surface::entry::carry_out;
use crate::surface::known::Known;
use crate::surface::state::State;
use crate::surface::teardown::{self, Progress};
use crate::surface::view::View;
use crate::words::Revision;

const EXAMPLES: &str = "\
Examples:
  calico-dcos teardown                          show what would happen, ask, do it
  calico-dcos teardown --yes --leave-behind     hosts that cannot be reached stay as they are
  calico-dcos teardown --cancel                 hosts that have begun go on; `rollback` brings back the rest

Every component is taken off in reverse order and what was there before is restored, within the budget.
Then each host forgets us, the framework ends, and what is in etcd is removed once no controller runs any
more. It can be interrupted, and run again, at any point: a running controller goes on without it.

Exit codes: 0 done · 1 not confirmed, or not finished · 2 input · 3 halted · 4 environment";

/// A controller that stands by leads within a moment after the one before has ended.
const TAKES_OVER: Duration = Duration::from_secs(5);

/// Take Calico off the cluster, end the framework and remove its records
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Teardown {
    /// Do not ask. Needed where there is no terminal
    #[arg(short, long)]
    yes: bool,

    /// End also if hosts are unreachable, blocked, excluded or silent; they are listed
    #[arg(long)]
    leave_behind: bool,

    /// Stop it. Hosts on which nothing is left are observed again, and components stay off
    #[arg(long, conflicts_with_all = ["yes", "leave_behind"])]
    cancel: bool,

    /// Where etcd is
    #[command(flatten)]
    connection: Connection,
}

/// What the wait came to.
enum Waited {
    /// The framework has ended.
    Ended,
    /// These hosts keep it from ending.
    Stuck(Progress),
    Halted(String),
}

impl Teardown {
    pub(super) async fn execute(self) -> Result<Exit, Failure> {
        let store = self.connection.connect().await?;
        let state = State::of(&store.list(Space::All).await?, clock::now());
        if self.cancel {
            return cancel(&store, &state).await;
        }
        match &state.controls.teardown {
            None if is_empty(&state) => {
                print("Nothing of ours is in etcd under this prefix.\n")?;
                return Ok(Exit::Good);
            }
            None => {
                if !self.begin(&store, state).await? {
                    print("Nothing was changed.\n")?;
                    return Ok(Exit::Differs);
                }
            }
            Some(asked) => print(&format!("It is being taken off, as {} asked.\n", asked.who))?,
        }
        self.finish(&store).await
    }

    /// Shows what would happen, asks, and writes it down.
    async fn begin(&self, store: &EtcdStore, state: State) -> Result<bool, Failure> {
        refuse_unasked(self.yes)?;
        let asked = to_json(&teardown::asked(&me()));
        let control = record();
        let hosts = state.hosts.len();
        let question =
            format!("\nTake all of it off {}, and end the framework?", count(hosts, "host"));
        // Before the first documents there is nothing that could be taken off.
        if state.documents.is_empty() {
            if !self.yes && !confirmed(&question)? {
                return Ok(false);
            }
            let txn = Txn::new().put(control, asked);
            carry_out(store, &state, &txn, (&who(), "teardown")).await?;
            return Ok(true);
        }
        let proposed = teardown::documents(&state).map_err(|error| {
            Failure::input(format!("{error}; then run `calico-dcos teardown` again"))
        })?;
        let view = View::new(state, proposed, clock::now())?;
        print(&fitted(&text(&view, &view.plan(), false)))?;
        if !self.yes && !confirmed(&question)? {
            return Ok(false);
        }
        let mut edit = changed(&view);
        edit.control = Some((control, asked));
        publish(store, &view.state, &edit, "teardown").await?;
        Ok(true)
    }

    /// Waits for the controller, and removes what is in etcd then.
    async fn finish(&self, store: &EtcdStore) -> Result<Exit, Failure> {
        let mut watch =
            Watch { events: store.watch(), known: Known::default(), said: String::new() };
        loop {
            match watch.until_it_ends(self.leave_behind).await? {
                Waited::Ended => break,
                Waited::Halted(why) => return Err(Failure::new(Exit::Halted, why)),
                Waited::Stuck(progress) => {
                    print(&stuck(&progress))?;
                    let question = "End the framework all the same, and leave them as they are?";
                    let leave = self.leave_behind || (interactive() && confirmed(question)?);
                    if !leave {
                        print("Run it again once they are back, or with --leave-behind.\n")?;
                        return Ok(Exit::Differs);
                    }
                    watch.leave_behind(store).await?;
                }
            }
        }
        print("The framework has ended in Mesos.\n")?;
        let removed = remove_all_but_the_record(store).await?;
        print(&format!("Removed {} of ours from etcd.\n", count(removed, "key")))?;
        loop {
            watch.until_nobody_runs().await?;
            if remove_the_record(store).await? {
                break;
            }
        }
        print(&format!("{BOLD}Done.{BOLD:#} Nothing of ours is left in etcd.\n"))?;
        Ok(Exit::Good)
    }
}

fn is_empty(state: &State) -> bool {
    state.documents.is_empty()
        && state.accepted.is_none()
        && state.hosts.is_empty()
        && state.leader.is_none()
}

async fn cancel(store: &EtcdStore, state: &State) -> Result<Exit, Failure> {
    match &state.controls.teardown {
        None => Err(Failure::input(
            "nothing is being taken off; `calico-dcos status` says what is done",
        )),
        Some(Record { ended: Some(_), .. }) => Err(Failure::input(
            "the framework has ended already; run `calico-dcos teardown` to its end, and install anew",
        )),
        Some(_) => {
            let txn = Txn::new().delete(record());
            carry_out(store, state, &txn, (&who(), "teardown --cancel")).await?;
            print(
                "It is not taken off any further. `calico-dcos history` lists the generations, and \
                 `rollback` brings one back.\n",
            )?;
            Ok(Exit::Good)
        }
    }
}

fn stuck(progress: &Progress) -> String {
    let lines = progress.stuck.iter().map(|(host, why)| format!("  {host}: {why}\n"));
    format!("\n{progress}:\n{}", lines.collect::<String>())
}

/// What tells a controller that it has nothing to do any more.
fn record() -> Key {
    Key::Control(Control::Teardown.path())
}

async fn remove_all_but_the_record(store: &EtcdStore) -> Result<usize, Failure> {
    // The leader's key goes with its lease.
    let stay = [record(), Key::Leader];
    let snapshot = store.list(Space::All).await?;
    let keys = snapshot.entries.into_iter().map(|entry| entry.key);
    let keys: Vec<Key> = keys.filter(|key| !stay.contains(key)).collect();
    for some in keys.chunks(MAX_OPS) {
        let txn = some.iter().fold(Txn::new(), |txn, key| txn.delete(key.clone()));
        // It compares nothing, so that it is carried out.
        let _ = store.txn(&txn).await?;
    }
    Ok(keys.len())
}

/// Gives whether it is gone: not while anybody leads, who would install everything anew without it.
async fn remove_the_record(store: &EtcdStore) -> Result<bool, Failure> {
    let txn = Txn::new().if_at(Key::Leader, Revision(0)).delete(record());
    Ok(matches!(store.txn(&txn).await?, Outcome::Committed(_)))
}

/// What is in etcd, and what was said of it last.
struct Watch {
    events: Receiver<StoreEvent>,
    known: Known,
    said: String,
}

impl Watch {
    async fn next(&mut self) -> Result<&State, Failure> {
        loop {
            let event = self.events.recv().await;
            let event = event.ok_or_else(|| Failure::environment("the watch of etcd has ended"))?;
            self.known.fold(event, clock::now());
            if let Some(why) = self.known.lost() {
                let line = format!("etcd is lost: {why}");
                say(&mut self.said, line)?;
            } else if self.known.state().is_some() {
                break;
            }
        }
        self.known.state().ok_or_else(|| Failure::environment("the watch of etcd has ended"))
    }

    async fn until_it_ends(&mut self, leaving: bool) -> Result<Waited, Failure> {
        loop {
            let state = self.next().await?.clone();
            let Some(teardown) = state.controls.teardown.clone() else {
                return Err(Failure::input("somebody has cancelled it"));
            };
            if teardown.ended.is_some() {
                if !state.framework {
                    return Ok(Waited::Ended);
                }
                say(&mut self.said, with_leader("the framework ends", &state))?;
                continue;
            }
            let Ok(view) = View::new(state, Vec::new(), clock::now()) else {
                say(&mut self.said, "no documents: hosts forget us".to_owned())?;
                continue;
            };
            // Until then the plan is that of the documents before.
            if !view.documents_in_force() {
                say(&mut self.said, with_leader("the documents wait to be accepted", &view.state))?;
                continue;
            }
            if let Phase::Halted { why } = view.phase() {
                return Ok(Waited::Halted(format!(
                    "the rollout has halted: {why}; `calico-dcos status` and `retry` help, then run this again"
                )));
            }
            let progress = Progress::of(&view.plan());
            say(&mut self.said, with_leader(&progress.to_string(), &view.state))?;
            if progress.is_stuck() && !(leaving && teardown.leave_behind) {
                return Ok(Waited::Stuck(progress));
            }
        }
    }

    /// Hosts that cannot be freed are left as they are.
    async fn leave_behind(&self, store: &EtcdStore) -> Result<(), Failure> {
        let Some(state) = self.known.state() else { return Ok(()) };
        let Some(teardown) = state.controls.teardown.clone() else { return Ok(()) };
        let record = to_json(&Record { leave_behind: true, ..teardown });
        let txn = Txn::new().put(self::record(), record);
        carry_out(store, state, &txn, (&who(), "teardown --leave-behind")).await?;
        Ok(())
    }

    async fn until_nobody_runs(&mut self) -> Result<(), Failure> {
        loop {
            while let Some(leader) = self.leader() {
                let line = format!(
                    "Stop the controllers now: remove the Marathon app, uninstall the package, or stop the \
                     unit. {leader} still runs …"
                );
                say(&mut self.said, line)?;
                self.next().await?;
            }
            let seconds = TAKES_OVER.as_secs();
            let line =
                format!("Nobody leads. Whether another one takes over is seen in {seconds} s …");
            say(&mut self.said, line)?;
            let until = Instant::now() + TAKES_OVER;
            while self.leader().is_none() {
                let heard = timeout_at(until, self.next()).await.map(|next| next.map(|_| ()));
                match heard {
                    Ok(next) => next?,
                    Err(_) if self.known.lost().is_none() => return Ok(()),
                    // Who leads is not seen while etcd is lost: it is looked at anew.
                    Err(_) => {
                        self.next().await?;
                        break;
                    }
                }
            }
        }
    }

    fn leader(&self) -> Option<String> {
        Some(self.known.state()?.leader.as_ref()?.name.clone())
    }
}

fn with_leader(text: &str, state: &State) -> String {
    match state.leader {
        Some(_) => text.to_owned(),
        None => format!("{text}; no controller runs: start one"),
    }
}

/// Says it unless that was said last.
fn say(said: &mut String, line: String) -> Result<(), Failure> {
    if *said != line {
        print(&format!("{line}\n"))?;
        *said = line;
    }
    Ok(())
}
