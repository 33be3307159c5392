//! Who leads, when everything is well and when it is not.

use std::time::Duration;

use calico_dcos::store::{
    Candidate, EtcdStore, Key, LeaderEvent, LeaderRecord, Leadership, Outcome, Txn,
};
use calico_dcos::words::{Revision, Time};
use etcd_client::{Client, PutOptions};
use tokio::sync::mpsc;

use crate::support::Etcd;
use crate::{connect, control, next, outsider, patiently};

const LEADER: &str = "/calico-dcos/leader";

fn stand(store: &EtcdStore, name: &str) -> (Leadership, mpsc::Receiver<LeaderEvent>) {
    let ttl = Duration::from_secs(8);
    Leadership::campaign(store, Candidate { name: name.into(), started: Time(7), ttl, url: None })
}

async fn elected(events: &mut mpsc::Receiver<LeaderEvent>) -> Revision {
    match next(events).await {
        LeaderEvent::Elected { create_revision } => create_revision,
        lost @ LeaderEvent::Lost { .. } => panic!("not elected: {lost:?}"),
    }
}

async fn lost(events: &mut mpsc::Receiver<LeaderEvent>) -> String {
    match next(events).await {
        LeaderEvent::Lost { why } => why,
        elected @ LeaderEvent::Elected { .. } => panic!("not lost: {elected:?}"),
    }
}

/// A time to live that grows is a keep-alive that arrived.
async fn renewed(client: &mut Client, lease: i64) {
    patiently("a keep-alive", async {
        let mut before = i64::MAX;
        loop {
            let left = client.lease_time_to_live(lease, None).await.unwrap().ttl();
            if left > before {
                return;
            }
            before = left;
        }
    })
    .await;
}

async fn holder(store: &EtcdStore) -> LeaderRecord {
    let entry = store.get(&Key::Leader).await.unwrap().expect("somebody leads");
    serde_json::from_str(&entry.value).unwrap()
}

#[tokio::test]
async fn one_leads_and_the_next_follows_when_it_resigns() {
    let etcd = Etcd::start();
    let store = connect(&etcd).await;
    let (first, mut first_events) = stand(&store, "first");
    let term = elected(&mut first_events).await;
    let (second, mut second_events) = stand(&store, "second");
    assert!(first.belief().holds());
    assert_eq!(holder(&store).await.name, "first");
    let act = |term| Txn::new().if_created_at(Key::Leader, term).put(control("a"), "");
    assert!(matches!(store.txn(&act(term)).await, Ok(Outcome::Committed(_))));

    let belief = first.belief();
    first.resign().await;
    assert!(!belief.holds());
    let next_term = elected(&mut second_events).await;
    assert!(next_term > term);
    assert!(second.belief().holds());
    assert_eq!(holder(&store).await.name, "second");
    // What the old one still had in hand (scenario 59).
    assert_eq!(store.txn(&act(term)).await.unwrap(), Outcome::Conflict);
    assert!(matches!(store.txn(&act(next_term)).await, Ok(Outcome::Committed(_))));
}

#[tokio::test]
async fn a_leader_that_is_silent_is_followed_when_its_lease_has_run_out() {
    let etcd = Etcd::start();
    let store = connect(&etcd).await;
    let mut dead = outsider(&etcd).await;
    let lease = dead.lease_grant(2, None).await.unwrap().id();
    dead.put(LEADER, "{}", Some(PutOptions::new().with_lease(lease))).await.unwrap();
    let (_leadership, mut events) = stand(&store, "heir");
    elected(&mut events).await;
    assert_eq!(dead.lease_time_to_live(lease, None).await.unwrap().ttl(), -1);
}

#[tokio::test]
async fn a_leader_whose_lease_or_key_somebody_took_says_so_and_stands_again() {
    let etcd = Etcd::start();
    let store = connect(&etcd).await;
    let (leadership, mut events) = stand(&store, "me");
    let first = elected(&mut events).await;
    let mut somebody = outsider(&etcd).await;
    let lease = somebody.get(LEADER, None).await.unwrap().kvs()[0].lease();
    // Then the stream of keep-alives stands, and is told of the end by a time to live of 0.
    renewed(&mut somebody, lease).await;
    somebody.lease_revoke(lease).await.unwrap();
    let why = lost(&mut events).await;
    // With the lease goes the key: either may be noticed first.
    assert!(why.contains("lease") || why.contains("deleted"), "{why}");
    let second = elected(&mut events).await;
    assert!(second > first);

    somebody.delete(LEADER, None).await.unwrap();
    let why = lost(&mut events).await;
    assert!(why.contains("deleted"), "{why}");
    assert!(elected(&mut events).await > second);
    assert!(leadership.belief().holds());
}

#[tokio::test]
async fn a_leader_without_etcd_stops_believing_before_its_lease_ends() {
    let etcd = Etcd::start();
    let store = connect(&etcd).await;
    let (leadership, mut events) = stand(&store, "me");
    elected(&mut events).await;
    let belief = leadership.belief();
    etcd.freeze();
    let why = lost(&mut events).await;
    assert!(why.contains("renewed"), "{why}");
    assert!(!belief.holds());
    etcd.thaw();
    elected(&mut events).await;
    assert!(belief.holds());
}

#[tokio::test]
async fn a_leader_outlasts_a_restart_of_etcd() {
    let mut etcd = Etcd::start();
    let store = connect(&etcd).await;
    let (leadership, mut events) = {
        let candidate = Candidate {
            name: "me".into(),
            started: Time(7),
            ttl: Duration::from_secs(20),
            url: None,
        };
        Leadership::campaign(&store, candidate)
    };
    let term = elected(&mut events).await;
    let lease = outsider(&etcd).await.get(LEADER, None).await.unwrap().kvs()[0].lease();
    etcd.kill();
    etcd.restart();
    let mut somebody = outsider(&etcd).await;
    renewed(&mut somebody, lease).await;
    assert!(leadership.belief().holds());
    assert!(events.try_recv().is_err(), "nothing was lost");
    assert_eq!(store.get(&Key::Leader).await.unwrap().unwrap().create_revision, term);
}
