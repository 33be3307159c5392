//! Everything that runs during the demo, and what is done to it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::mirror::{Glance, Mirror};
use super::process::{Etcd, Launch, Process};
use super::progress::Progress;
use crate::cli::{Exit, Failure};
use crate::clock;
use crate::desired::{Source, read, set_path};
use crate::sim::mesos::NetworkFaults;
use crate::sim::mesos::http::SimServer;
use crate::sim::run::document_key;
use crate::sim::scenario::{Fault, TimedEdit};
use crate::sim::town::Town;
use crate::store::{Key, Outcome, StoreEvent, Txn};
use crate::words::{HostName, Time};

/// How often it is looked at.
const TICK: Duration = Duration::from_millis(200);

/// How late a message is at most while the network is bad, in milliseconds.
const LATE_MS: u64 = 30_000;

/// Something that is done at its time.
#[derive(Clone, Debug)]
pub(super) enum Act {
    Fault(Fault),
    Edit(TimedEdit),
    StartController,
    /// The oldest controller, which stands still, goes on.
    WakeController,
    WakeEtcd,
    NetworkGood,
}

/// The cluster, with what is known of it.
pub(super) struct Stage {
    pub(super) etcd: Etcd,
    pub(super) mesos: SimServer<Town>,
    pub(super) launch: Launch,
    pub(super) controllers: Vec<Process>,
    pub(super) watch: mpsc::Receiver<StoreEvent>,
    pub(super) mirror: Mirror,
    pub(super) progress: Progress,
    /// The documents as declared, by name.
    pub(super) documents: BTreeMap<String, String>,
    pub(super) hosts: usize,
    /// What is still to be done, and when.
    pub(super) ahead: Vec<(Time, Act)>,
    /// Half-way the controller is killed.
    pub(super) kill_half_way: bool,
    /// Hosts whose failure was told.
    told: BTreeSet<HostName>,
    /// Transactions under the prefix, elections apart.
    writes: u64,
    limit: Time,
}

/// A stretch of the demo is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// As it was meant to.
    Done {
        /// Transactions while it was quiet.
        writes: u64,
    },
    /// The rollout has halted.
    Halted,
    /// It takes too long.
    TooLong,
}

impl Over {
    pub(super) fn exit(self) -> Exit {
        match self {
            Self::Done { .. } => Exit::Good,
            Self::Halted => Exit::Halted,
            Self::TooLong => Exit::Differs,
        }
    }
}

impl Stage {
    pub(super) fn new(
        etcd: Etcd,
        mesos: SimServer<Town>,
        launch: Launch,
        (hosts, limit): (usize, Time),
    ) -> Self {
        let watch = etcd.store.watch();
        Self {
            etcd,
            mesos,
            launch,
            controllers: Vec::new(),
            watch,
            mirror: Mirror::default(),
            progress: Progress::new(),
            documents: BTreeMap::new(),
            hosts,
            ahead: Vec::new(),
            kill_half_way: false,
            told: BTreeSet::new(),
            writes: 0,
            limit,
        }
    }

    /// Starts one more controller.
    pub(super) fn start_controller(&mut self) -> Result<(), Failure> {
        let controller = self.launch.start()?;
        self.controllers.push(controller);
        Ok(())
    }

    /// Writes documents, all or none.
    pub(super) async fn write(&self, documents: &BTreeMap<String, String>) -> Result<(), Failure> {
        let mut txn = Txn::new();
        for (name, text) in documents {
            txn = txn.put(document_key(name), text.clone());
        }
        match self.etcd.store.txn(&txn).await? {
            Outcome::Committed(_) => Ok(()),
            Outcome::Conflict => {
                Err(Failure::environment("etcd refuses a write that has no condition"))
            }
        }
    }

    /// Waits until every host has reported what is there.
    pub(super) async fn until_known(&mut self) -> Result<Over, Failure> {
        let mut tick = tick();
        loop {
            self.take_in(&mut tick).await?;
            let state = self.mirror.state(clock::now());
            let reported = |host: &crate::surface::state::HostState| {
                host.observed.as_ref().is_some_and(|record| record.facts().is_some())
            };
            let known = state.hosts.values().filter(|host| reported(host)).count();
            if known >= self.hosts {
                return Ok(Over::Done { writes: 0 });
            }
            self.progress.show_known(known, self.hosts);
            if clock::now() > self.limit {
                return Ok(Over::TooLong);
            }
        }
    }

    /// Waits until all is done and has been quiet for so long.
    pub(super) async fn until_quiet(&mut self, quiet: Duration) -> Result<Over, Failure> {
        let quiet_ms = u64::try_from(quiet.as_millis()).unwrap_or(u64::MAX);
        let mut tick = tick();
        let mut since: Option<(Time, u64)> = None;
        loop {
            self.take_in(&mut tick).await?;
            let now = clock::now();
            self.act(now).await?;
            let glance = self.mirror.glance(now)?;
            self.narrate(&glance).await?;
            let (tasks, suppressed) = self
                .of_town(|town, _| {
                    let suppressed = town.cluster.mesos.traffic().since_suppress.is_some();
                    (town.cluster.launched(), suppressed)
                })
                .await?;
            let done = glance.is_in_sync(self.hosts) && suppressed && self.ahead.is_empty();
            match since {
                Some((at, writes)) if done => {
                    if now.since(at) >= quiet_ms {
                        return Ok(Over::Done { writes: self.writes - writes });
                    }
                }
                None if done => {
                    self.progress.show(&glance, self.hosts, tasks);
                    since = Some((now, self.writes));
                }
                _ => {
                    since = None;
                    self.progress.show(&glance, self.hosts, tasks);
                }
            }
            if let Some(why) = glance.halted.filter(|_| self.ahead.is_empty()) {
                self.progress.event(&format!("halted: {why}"));
                return Ok(Over::Halted);
            }
            if now > self.limit {
                return Ok(Over::TooLong);
            }
        }
    }

    /// Does something with the hosts and Mesos.
    pub(super) async fn of_town<R: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Town, Time) -> R + Send + 'static,
    ) -> Result<R, Failure> {
        let done = self.mesos.with(act).await;
        done.ok_or_else(|| {
            Failure::environment("the simulated Mesos has ended by itself; please report this")
        })
    }

    /// Waits for the next tick, taking in what etcd tells meanwhile.
    async fn take_in(&mut self, tick: &mut tokio::time::Interval) -> Result<(), Failure> {
        loop {
            let event = tokio::select! {
                event = self.watch.recv() => event,
                _ = tick.tick() => break,
            };
            let Some(event) = event else { continue };
            let changes = self.mirror.fold(event);
            let writes: BTreeSet<_> = changes
                .iter()
                .filter(|change| *change.key() != Key::Leader)
                .map(crate::store::Change::revision)
                .collect();
            self.writes += writes.len() as u64;
            self.of_town(move |town, now| town.stored(&changes, now)).await?;
        }
        if self.controllers.iter_mut().any(Process::has_ended) {
            return Err(Failure::environment("the controller has ended by itself"));
        }
        Ok(())
    }

    /// Tells failures, and kills the controller when its time has come.
    async fn narrate(&mut self, glance: &Glance) -> Result<(), Failure> {
        for (host, (failures, why)) in &glance.failures {
            if self.told.insert(host.clone()) {
                let times = if *failures == 1 { "once" } else { "again" };
                self.progress.event(&format!(
                    "{host} failed {times} and put back what was there before: {why}. It keeps its \
                     slot and is tried again."
                ));
            }
        }
        if self.kill_half_way && glance.in_sync * 2 >= self.hosts {
            self.kill_half_way = false;
            self.kill_controller().await?;
            self.start_controller()?;
            let text = "another one was started and goes on from what is in etcd, as soon as the \
                        lease of the killed one has run out";
            self.progress.event(text);
        }
        Ok(())
    }

    async fn kill_controller(&mut self) -> Result<(), Failure> {
        let cannot = |error: io::Error| {
            Failure::environment(format!("the controller cannot be killed: {error}"))
        };
        for mut controller in std::mem::take(&mut self.controllers) {
            let id = controller.id();
            controller.kill().await.map_err(cannot)?;
            self.progress.event(&format!("kill -9 {id}: the controller is gone"));
            self.happened(format!("kill -9 {id}: the controller is gone")).await?;
        }
        Ok(())
    }

    async fn happened(&self, what: String) -> Result<(), Failure> {
        self.of_town(move |town, now| town.meter.happened(what, now)).await
    }

    // --- what is done to it ----------------------------------------------------------------

    /// Does what is due.
    async fn act(&mut self, now: Time) -> Result<(), Failure> {
        let (due, ahead) =
            std::mem::take(&mut self.ahead).into_iter().partition(|(at, _)| *at <= now);
        self.ahead = ahead;
        let due: Vec<(Time, Act)> = due;
        for (_, act) in due {
            match act {
                Act::Fault(fault) => self.fault(fault, now).await?,
                Act::Edit(edit) => self.edit(&edit).await?,
                Act::StartController => {
                    self.progress.event("the controller is started again");
                    self.start_controller()?;
                }
                Act::WakeController => {
                    self.progress.event("the controller that stood still goes on");
                    signal(self.controllers.first(), Signal::CONT)?;
                }
                Act::WakeEtcd => {
                    self.progress.event("etcd answers again");
                    signal(Some(&self.etcd.process), Signal::CONT)?;
                }
                Act::NetworkGood => {
                    self.progress.event("the network is good again");
                    self.of_town(|town, now| {
                        town.cluster.set_network(now, NetworkFaults::default());
                    })
                    .await?;
                }
            }
        }
        Ok(())
    }

    async fn fault(&mut self, fault: Fault, now: Time) -> Result<(), Failure> {
        let text = format!("fault: {fault:?}");
        self.progress.event(&text);
        self.happened(text).await?;
        match fault {
            Fault::ControllerCrash(ms) => {
                self.kill_controller().await?;
                self.ahead.push((now.plus_ms(ms), Act::StartController));
            }
            Fault::ControllerPaused(ms) => {
                signal(self.controllers.first(), Signal::STOP)?;
                if self.controllers.len() < 2 {
                    self.start_controller()?;
                }
                self.ahead.push((now.plus_ms(ms), Act::WakeController));
            }
            Fault::EtcdDown(ms) => {
                signal(Some(&self.etcd.process), Signal::STOP)?;
                self.ahead.push((now.plus_ms(ms), Act::WakeEtcd));
            }
            Fault::EtcdCompaction => self.etcd.compact().await?,
            other => {
                if let Fault::LoseMessages(lose) = &other {
                    self.ahead.push((now.plus_ms(lose.span.ms), Act::NetworkGood));
                }
                self.of_town(move |town, now| befall(town, now, other)).await?;
            }
        }
        Ok(())
    }

    /// Changes fields of a document as declared, as an operator does.
    pub(super) async fn edit(&mut self, edit: &TimedEdit) -> Result<(), Failure> {
        let Some(text) = self.documents.get(&edit.document) else {
            let sentence =
                format!("an edit names the document `{}`, which there is not", edit.document);
            return Err(Failure::input(sentence));
        };
        let mut text = text.clone();
        for (path, value) in &edit.set {
            text = set_path(&text, path, value).map_err(Failure::input)?;
            self.progress.event(&format!("edit: {path} is now {value}"));
            self.happened(format!("edit: {path} is now {value}")).await?;
        }
        self.documents.insert(edit.document.clone(), text);
        let sources = self.sources();
        let desired = read(&sources).map_err(|findings| Failure::input(findings.render(true)))?;
        self.of_town(move |town, _| town.declare(desired)).await?;
        self.write(&self.documents).await
    }

    /// The documents as declared.
    pub(super) fn sources(&self) -> Vec<Source> {
        self.documents.iter().map(|(name, text)| Source::file(name, text.clone())).collect()
    }
}

fn tick() -> tokio::time::Interval {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick
}

fn signal(process: Option<&Process>, signal: Signal) -> Result<(), Failure> {
    let id = process.and_then(|process| Pid::from_raw(i32::try_from(process.id()).ok()?));
    let Some(id) = id else { return Ok(()) };
    kill_process(id, signal)
        .map_err(|error| Failure::environment(format!("cannot signal process {id:?}: {error}")))
}

/// What happens to hosts and Mesos.
fn befall(town: &mut Town, now: Time, fault: Fault) {
    let cluster = &mut town.cluster;
    match fault {
        Fault::MasterFailover => cluster.mesos.master_failover(now),
        Fault::HostDown(host, ms) => cluster.power_cut(now, &host, ms),
        Fault::HostGone(host) => cluster.gone(now, &host),
        Fault::Maintenance(host, ms) => cluster.announce_maintenance(now, &host, ms),
        Fault::RestartFails(host, times) => cluster.fail_restarts(&host, times),
        Fault::AgentDown(host, ms) => cluster.agent_down(now, &host, ms),
        Fault::ExecutorHangs(host, ms) => cluster.hang_executor(now, &host, ms),
        Fault::ExecutorDies(host) => cluster.kill_executor(now, &host),
        Fault::NewAgentId(host) => cluster.forget_agent(now, &host),
        Fault::Drift(host, component) => cluster.drift(now, &host, component),
        Fault::LoseMessages(lose) => {
            let faults = NetworkFaults {
                lose: lose.probability,
                duplicate: lose.duplicate,
                delay: lose.late,
                delay_limit: LATE_MS,
            };
            cluster.set_network(now, faults);
        }
        // The processes are not the town's; and those that only a run in virtual time can do were
        // refused before.
        Fault::ControllerCrash(_)
        | Fault::ControllerPaused(_)
        | Fault::EtcdDown(_)
        | Fault::EtcdCompaction
        | Fault::EtcdRestored(_)
        | Fault::AnswersLost(_)
        | Fault::CrashAtWrite(_)
        | Fault::EtcdCut(_)
        | Fault::MasterCut(_)
        | Fault::WatchLate(_)
        | Fault::ClockJump(_) => {}
    }
}

/// Whether a file can be written there; it is made if it is not there.
pub(super) fn is_writable(path: &Path) -> io::Result<()> {
    std::fs::File::options().create(true).append(true).open(path).map(drop)
}
