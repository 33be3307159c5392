//! Power cuts: a change that is cut off between any two of its steps is carried on by whoever comes
//! next, and disrupts nothing that it would not have disrupted anyway.
//!
//! `CALICO_DCOS_STOP_AT_ANSWER` ends the unit that makes the change after so many answers of the
//! machine. Once it says that it has, something else of the host is killed too.

use std::time::Duration;

use futures_util::future::join_all;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

use super::document::Document;
use super::{Over, as_declared, facts, newest_attempt, status, until, until_over};
use crate::host::{Host, Mark};
use crate::witness;

/// What is killed besides the unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Nothing,
    Executor,
    Agent,
    Host,
}

/// How many answers there are when all goes well: five for a step that disrupts, four for one that does
/// not, one for the lock, two that all is well. After the last one of all, that the journal is closed,
/// nothing is left to be carried on, and nothing else of the change may be left either.
const POINTS: u64 = 18;

/// One with another store, another network and another image: three steps, and two of them disrupt.
fn other() -> Document {
    Document::lab()
        .with("docker/clusterStore", "etcd://localhost:2379")
        .with("mesosAgent/cni/network/mtu", 1450)
        .with("calicoNode/image", "calico/node:v2.6.13")
}

/// At a sample: before anything is touched, with Docker restarted and not verified yet, with the container
/// replaced.
#[tokio::test]
#[ignore = "lab: needs hosts with systemd and Docker, which `make lab-test` brings up as root"]
async fn lab_a_change_that_is_cut_off_is_carried_on() {
    let _controller = as_declared().await;
    for (point, victims) in [
        (3, [Victim::Executor, Victim::Agent, Victim::Host]),
        (4, [Victim::Nothing, Victim::Host, Victim::Agent]),
        (13, [Victim::Agent, Victim::Executor, Victim::Host]),
    ] {
        cut_off(point, victims).await;
    }
}

/// At every point, with every victim; which host it is goes round.
#[tokio::test]
#[ignore = "lab: needs hosts with systemd and Docker, which `make lab-test-all` brings up as root"]
async fn lab_all_changes_that_are_cut_off_anywhere_are_carried_on() {
    let _controller = as_declared().await;
    let mut victims = [Victim::Executor, Victim::Agent, Victim::Host];
    for point in 0..POINTS {
        cut_off(point, victims).await;
        victims.rotate_left(1);
    }
}

/// Hosts lose their power at moments that are drawn, each one in the middle of a rollout, and while one
/// of them is down the others go on. `LAB_SEED` plays a run again.
#[tokio::test]
#[ignore = "lab: needs hosts with systemd and Docker, which `make lab-test-all` brings up as root"]
async fn lab_all_hosts_lose_their_power_at_any_moment_of_a_rollout() {
    const ROUNDS: usize = 8;
    let seed = std::env::var("LAB_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(rand::random::<u64>);
    println!("LAB_SEED={seed}");
    let mut random = SmallRng::seed_from_u64(seed);
    let _controller = as_declared().await;
    let hosts = Host::all();
    for round in 0..ROUNDS {
        Document::lab().apply();
        assert_eq!(until_over().await, Over::Done, "{}", status());
        let (since, attempt) = (witness::now(), newest_attempt());
        let victim = &hosts[random.random_range(0..hosts.len())];
        // About as long as the rollout takes.
        let moment = Duration::from_millis(random.random_range(0..20_000));
        println!("round {round}: {victim:?} after {moment:?}");
        other().apply();
        // The moment is what is drawn: nothing is waited for.
        tokio::time::sleep(moment).await;
        victim.cut_power();
        let whole = |now: &Value| {
            hosts.iter().all(|host| {
                let journal = &facts(now, host)["journal"];
                journal["attempt"].as_u64() > Some(attempt) && journal["state"]["is"] == "done"
            })
        };
        until("a host is not brought to its end", whole).await;
        assert_eq!(until_over().await, Over::Done, "{}", status());
        // The rollout may have been over before.
        victim.until_up().await;
        hosts.iter().for_each(is_whole);
        let outages = witness::outages(&hosts, since);
        let what = format!("LAB_SEED={seed}, round {round}: {outages:?}");
        assert!(witness::most_at_once(&outages) <= 1, "{what}");
        for host in &hosts {
            let own: Vec<_> = outages.iter().filter(|outage| outage.host == host.0).collect();
            assert!(own.len() <= 1, "{what}");
            assert!(own.iter().all(|outage| outage.service == "docker.service"), "{what}");
        }
    }
}

/// One change of all hosts, and a cut on each of them.
async fn cut_off(point: u64, victims: [Victim; 3]) {
    println!("cut off after answer {point}: {victims:?}");
    let budget = |document: Document| document.with("rollout/maxConcurrentRestarts", 3);
    budget(Document::lab()).apply();
    assert_eq!(until_over().await, Over::Done, "{}", status());
    let hosts = Host::all();
    let (since, attempt) = (witness::now(), newest_attempt());
    let marks: Vec<Mark> = hosts.iter().map(Host::mark).collect();
    for host in &hosts {
        host.run(&format!("systemctl set-environment CALICO_DCOS_STOP_AT_ANSWER={point}"));
    }
    budget(other()).apply();
    join_all(hosts.iter().zip(&marks).zip(victims).map(async |((host, mark), victim)| {
        mark.until_said("stops here, as it was told to").await;
        strike(host, victim);
    }))
    .await;
    let ended = |now: &Value| {
        hosts.iter().all(|host| {
            let journal = &facts(now, host)["journal"];
            journal["attempt"].as_u64() > Some(attempt) && journal["state"]["is"] == "done"
        })
    };
    until("a change is not carried on", ended).await;
    assert_eq!(until_over().await, Over::Done, "{}", status());
    let seen = witness::outages(&hosts, since);
    for (host, victim) in hosts.iter().zip(victims) {
        let what = format!("{host:?}, {victim:?} at {point}: {seen:?}");
        is_whole(host);
        let own = seen.iter().filter(|outage| outage.host == host.0);
        let (docker, agent): (Vec<_>, Vec<_>) =
            own.partition(|outage| outage.service == "docker.service");
        // A host that starts with the new file needs no restart of its Docker.
        assert!(docker.len() <= 1, "{what}");
        assert!(docker.len() == 1 || victim == Victim::Host, "{what}");
        assert_eq!(agent.len(), usize::from(victim == Victim::Agent), "{what}");
    }
    // Of a journal that nobody could tell it of the controller knows nothing, so it may try again. Such an
    // attempt waits, and then finds all in force.
    assert!(newest_attempt() <= attempt + 6, "{seen:?}");
}

fn strike(host: &Host, victim: Victim) {
    let unit = host.unit();
    match victim {
        Victim::Nothing => {}
        Victim::Executor => drop(host.run("pkill -KILL -f '^[.]/calico-dcos node executor$'")),
        Victim::Agent => {
            host.run(&format!("systemctl kill --kill-who main --signal KILL {unit}"));
        }
        Victim::Host => return host.cut_power(),
    }
    host.run("systemctl unset-environment CALICO_DCOS_STOP_AT_ANSWER");
}

/// All services answer, and nothing of the change is left but its result.
fn is_whole(host: &Host) {
    let info = host.run("docker info 2>/dev/null");
    assert!(info.contains("etcd://localhost:2379"), "{host:?}: {info}");
    let nodes = host.run("docker ps --all --format '{{.Names}} {{.Image}}'");
    assert_eq!(nodes, "calico-node calico/node:v2.6.13\n", "{host:?}");
    let left = host.run(
        "find /etc /opt/mesosphere /var/lib/dcos -name '.calico-dcos-*' -o -name 'calico-dcos-boot*'
         ls /var/lib/calico-dcos/trial 2>/dev/null || true
         systemctl list-units --all --plain --no-legend 'calico-dcos-change-*'
         systemctl --failed --plain --no-legend",
    );
    assert_eq!(left, "", "{host:?}");
}
