//! The members of etcd itself, asked for through the store.

use std::collections::BTreeMap;
use std::net::IpAddr;

use calico_dcos::plan::members::{Member, Members};
use calico_dcos::store::{EtcdOptions, EtcdStore};
use etcd_client::{AlarmAction, AlarmOptions, AlarmType, Client};

use crate::support::Etcd;
use crate::{TIMEOUT, connect, patiently};

async fn connect_all(members: &[Etcd]) -> EtcdStore {
    let endpoints = members.iter().map(Etcd::endpoint).collect();
    let options = EtcdOptions { endpoints, timeout: TIMEOUT, ..EtcdOptions::default() };
    EtcdStore::connect(&options).await.expect("etcd answers")
}

/// What is wrong with each, by name.
fn states(members: &[Member]) -> BTreeMap<&str, Option<&str>> {
    members.iter().map(|member| (member.name.as_str(), member.unwell.as_deref())).collect()
}

#[tokio::test]
async fn each_member_is_asked_for_itself_and_only_all_of_them_are_well() {
    let mut cluster = Etcd::three();
    let store = connect_all(&cluster).await;
    let members = store.members().await.unwrap();
    assert_eq!(states(&members), [("m0", None), ("m1", None), ("m2", None)].into());
    let local = IpAddr::from([127, 0, 0, 1]);
    assert!(members.iter().all(|member| member.addresses.contains(&local)));
    let known = Members { members, unknown: None };
    assert!(known.on(&"a1".into(), Some(local), false).is_none(), "everybody has that one");
    assert!(known.on(&"a1".into(), None, true).is_some());

    // One is not there any more; two are still enough to say so.
    cluster[1].kill();
    let members = until(&store, "m1").await;
    let why = Members { members, unknown: None }.unwell().unwrap();
    assert!(why.starts_with("member m1 does not answer"), "{why}");
    cluster[1].restart();
    until(&store, "").await;
}

#[tokio::test]
#[ignore = "long: each question waits for its answer to the last"]
async fn long_a_member_that_stands_still_is_not_well() {
    let cluster = Etcd::three();
    let store = connect_all(&cluster).await;
    cluster[2].freeze();
    until(&store, "m2").await;
    cluster[2].thaw();
    until(&store, "").await;
}

/// Asks until this one alone does not answer, or all of them are well. An answer may have been
/// asked for at the one that is not there, and the others elect a leader first.
async fn until(store: &EtcdStore, ill: &str) -> Vec<Member> {
    let asking = async {
        loop {
            let Ok(members) = store.members().await else { continue };
            let says = |member: &Member| match &member.unwell {
                Some(why) => member.name == ill && why.starts_with("does not answer"),
                None => member.name != ill,
            };
            if members.iter().all(says) {
                return members;
            }
        }
    };
    patiently("the members", asking).await
}

#[tokio::test]
async fn alarms_and_members_that_have_not_started_are_told() {
    let etcd = Etcd::start();
    let store = connect(&etcd).await;
    let mut outsider = Client::connect([etcd.endpoint()], None).await.unwrap();
    let id = outsider.member_list().await.unwrap().members()[0].id();
    let raise = (AlarmAction::Activate, AlarmType::Nospace);
    let mut options = AlarmOptions::new();
    options.with_member(id);
    outsider.alarm(raise.0, raise.1, Some(options.clone())).await.unwrap();
    let members = store.members().await.unwrap();
    assert_eq!(states(&members), [("default", Some("has the alarm NOSPACE"))].into());
    outsider.alarm(AlarmAction::Deactivate, AlarmType::Nospace, Some(options)).await.unwrap();
    assert_eq!(states(&store.members().await.unwrap()), [("default", None)].into());

    // Announced to the cluster and not there: with it two of two are needed.
    let added = outsider.member_add(["http://127.0.0.2:2380"], None).await.unwrap();
    let added = added.member().unwrap().id();
    match patiently("an answer", store.members()).await {
        Ok(members) => {
            let name = format!("{added:x}");
            let states = states(&members);
            assert!(states[name.as_str()].unwrap().starts_with("has not started"), "{states:?}");
            let m = members.iter().find(|member| member.name == name).unwrap();
            assert!(m.addresses.contains(&IpAddr::from([127, 0, 0, 2])));
        }
        // Alone it may have no leader any more: not known is as good.
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
