//! A rollout of two hundred hosts while everything around it breaks, at instants that nobody chose.

use std::collections::BTreeMap;
use std::time::Duration;

use calico_dcos::rollout::records::Stage;
use calico_dcos::sim::cluster::Cluster;
use calico_dcos::sim::host::HostModel;
use etcd_client::{AlarmAction, AlarmOptions, AlarmType, Client};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use crate::bench::{Bench, Linked, Setting, in_sync, leader};
use crate::link::Mode;

const HOSTS: u32 = 200;
const BUDGET: usize = 10;
const NAMES: [&str; 3] = ["first", "second", "third"];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    Kill,
    Stop,
    HandOver,
    KillEtcd,
    FreezeEtcd,
    FillEtcd,
    EtcdCut,
    EtcdDeaf,
    EtcdSlow,
    MasterCut,
    MasterDeaf,
}

const FAULTS: [Fault; 11] = [
    Fault::Kill,
    Fault::Stop,
    Fault::HandOver,
    Fault::KillEtcd,
    Fault::FreezeEtcd,
    Fault::FillEtcd,
    Fault::EtcdCut,
    Fault::EtcdDeaf,
    Fault::EtcdSlow,
    Fault::MasterCut,
    Fault::MasterDeaf,
];

impl Bench {
    /// Hosts in a restart at once, at most, and all restarts of hosts, as the hosts saw it.
    async fn witnessed(&self) -> (usize, usize) {
        let witness = |cluster: &mut Cluster, _| {
            let witnesses = cluster.hosts().iter().map(HostModel::witness);
            (cluster.peak().peak, witnesses.map(|witness| witness.restarts.len()).sum())
        };
        self.hosts(witness).await
    }

    /// etcd takes no writes for want of space, or takes them again.
    async fn etcd_is_full(&self, action: AlarmAction) {
        let mut outsider = Client::connect([self.etcd.endpoint()], None).await.unwrap();
        let status = outsider.status().await.unwrap();
        let mut here = AlarmOptions::new();
        here.with_member(status.header().unwrap().member_id());
        outsider.alarm(action, AlarmType::Nospace, Some(here)).await.unwrap();
    }
}

struct Soak {
    bench: Bench,
    controllers: Vec<Linked>,
    random: SmallRng,
}

impl Soak {
    /// One fault from its beginning to its end. Mostly it meets the leader.
    async fn suffer(&mut self, fault: Fault) {
        let leader = leader(&self.bench.state().await).map(str::to_owned);
        let leads = NAMES.iter().position(|name| leader.as_deref() == Some(name));
        let any = self.random.random_range(0..NAMES.len());
        let hit = leads.filter(|_| self.random.random_bool(0.7)).unwrap_or(any);
        // Some end before the lease does, and some after it.
        let lasts = Duration::from_millis(self.random.random_range(50..8_000));
        let it = &self.controllers[hit];
        match fault {
            Fault::Kill => self.controllers[hit] = self.bench.start_linked(NAMES[hit]).await,
            Fault::HandOver => {
                it.process.signal(Signal::TERM);
                let next = self.bench.start_linked(NAMES[hit]).await;
                let before = std::mem::replace(&mut self.controllers[hit], next);
                assert_eq!(before.process.ends().await.0, Some(0));
            }
            Fault::Stop => {
                it.process.freeze();
                sleep(lasts).await;
                it.process.thaw();
            }
            Fault::KillEtcd => {
                self.bench.etcd.kill();
                sleep(lasts / 4).await;
                self.bench.etcd.restart();
            }
            Fault::FreezeEtcd => {
                self.bench.etcd.freeze();
                sleep(lasts / 4).await;
                self.bench.etcd.thaw();
            }
            Fault::FillEtcd => {
                self.bench.etcd_is_full(AlarmAction::Activate).await;
                sleep(lasts).await;
                self.bench.etcd_is_full(AlarmAction::Deactivate).await;
            }
            Fault::EtcdCut => it.etcd.during(Mode::Cut, lasts).await,
            Fault::EtcdDeaf => it.etcd.during(Mode::NoAnswers, lasts).await,
            Fault::EtcdSlow => {
                let mode = Mode::Slow(Duration::from_millis(100));
                it.etcd.during(mode, lasts).await;
            }
            Fault::MasterCut => it.master.during(Mode::Cut, lasts).await,
            Fault::MasterDeaf => it.master.during(Mode::NoAnswers, lasts).await,
        }
    }
}

/// `SOAK_SEED` chooses the faults; when they strike depends on the machine as well.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: two hundred hosts in real time, three controllers, a fault at every turn"]
async fn long_two_hundred_hosts_are_restarted_once_each_whatever_breaks() {
    let seed = std::env::var("SOAK_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let setting = Setting {
        hosts: HOSTS,
        rollout: "maxConcurrentRestarts: 10, ",
        restart_seconds: 2.0,
        ..Setting::default()
    };
    let bench = Bench::new(setting).await;
    let mut controllers = Vec::new();
    for name in NAMES {
        controllers.push(bench.start_linked(name).await);
    }
    let mut soak = Soak { bench, controllers, random: SmallRng::seed_from_u64(seed) };
    let (began, mut suffered) = (Instant::now(), BTreeMap::<Fault, u32>::new());
    let mut leaders = 1;
    let mut led = None;
    loop {
        // Something moves between two faults, however little.
        let before = in_sync(&soak.bench.state().await);
        let next = before + soak.random.random_range(1..8);
        let state = soak
            .bench
            .until("more hosts in sync", |state| in_sync(state) >= next.min(HOSTS as usize))
            .await;
        let now = leader(&state).map(str::to_owned);
        leaders += u32::from(led.is_some() && now != led);
        led = now;
        if in_sync(&state) == HOSTS as usize {
            break;
        }
        let fault = *FAULTS.choose(&mut soak.random).unwrap();
        *suffered.entry(fault).or_default() += 1;
        soak.suffer(fault).await;
    }
    soak.bench
        .until("done", |state| {
            let stage = state.rollout.as_ref().map(|rollout| &rollout.stage);
            matches!(stage, Some(Stage::Done { .. }))
        })
        .await;
    soak.bench.no_breach().await;
    let (peak, restarts) = soak.bench.witnessed().await;
    println!(
        "seed {seed}: {HOSTS} hosts in {} s through {} faults {suffered:?}, {leaders} leaders; \
         {restarts} restarts, at most {peak} at once",
        began.elapsed().as_secs(),
        suffered.values().sum::<u32>(),
    );
    assert!(peak <= BUDGET, "{peak}");
    assert_eq!(restarts, HOSTS as usize);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: a hundred hosts in real time, and ten controllers"]
async fn long_a_controller_killed_ten_times_in_one_rollout_of_a_hundred_hosts() {
    let rollout = "maxConcurrentRestarts: 10, ";
    let setting = Setting { hosts: 100, rollout, restart_seconds: 1.0, ..Setting::default() };
    let bench = Bench::new(setting).await;
    let mut controller = bench.start();
    for kill in 1..=10 {
        bench.in_sync(kill * 8).await;
        drop(controller);
        controller = bench.start();
    }
    bench.converged(1).await;
    let (peak, restarts) = bench.witnessed().await;
    assert_eq!((peak, restarts), (10, 100));
    drop(controller);
}
