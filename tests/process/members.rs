//! Members of our own etcd on hosts of the cluster. A real etcd says where they are and how they are.

use std::net::Ipv4Addr;

use calico_dcos::sim::host::HostModel;
use calico_dcos::sim::host::witness::Hold;
use calico_dcos::surface::state::State;
use etcd_client::{Client, MemberAddOptions};

use crate::bench::{Bench, Setting, in_sync, reasons};

/// Where others reach the member: at the first two hosts. There are no others, so that nobody calls.
const ON_TWO_HOSTS: [&str; 2] = ["http://10.77.0.1:2380", "http://10.77.0.2:2380"];

impl Bench {
    /// When each host was disrupted.
    async fn holds(&self) -> Vec<Vec<Hold>> {
        let of = |host: &HostModel| host.witness().holds.clone();
        self.hosts(move |cluster, _| cluster.hosts().iter().map(of).collect()).await
    }
}

/// The first two hosts wait, as a member is not well.
fn wait_for_the_members(state: &State) -> bool {
    let reasons = reasons(state);
    ["a1", "a2"].into_iter().all(|host| {
        let reason = reasons.get(&host.into());
        reason.is_some_and(|(code, text)| {
            code == "waiting-for-gate" && text.contains("has not started")
        })
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_with_members_of_our_etcd_go_one_at_a_time_and_only_while_all_members_are_healthy() {
    let setting = Setting {
        hosts: 4,
        rollout: "maxConcurrentRestarts: 4, ",
        restart_seconds: 3.0,
        agent: |index, agent| {
            agent.ip = Ipv4Addr::new(10, 77, 0, u8::try_from(index + 1).unwrap());
        },
        ..Setting::default()
    };
    let bench = Bench::new(setting).await;
    let mut outsider = Client::connect([bench.etcd.endpoint()], None).await.unwrap();
    let member = outsider.member_list().await.unwrap().members()[0].id();
    outsider.member_update(member, ON_TWO_HOSTS.map(str::to_owned)).await.unwrap();
    // Announced and not there. It has no vote, so that the other one goes on.
    let learner = Some(MemberAddOptions::new().with_is_learner());
    let added = outsider.member_add(["http://10.77.9.9:2380"], learner).await.unwrap();
    let added = added.member().unwrap().id();

    let _controller = bench.start();
    let held = |state: &State| in_sync(state) == 2 && wait_for_the_members(state);
    bench.until("those without a member in sync, and no others", held).await;
    let holds: Vec<usize> = bench.holds().await.iter().map(Vec::len).collect();
    assert_eq!(holds, [0, 0, 1, 1]);

    outsider.member_remove(added).await.unwrap();
    bench.converged(1).await;
    let holds = bench.holds().await;
    let [[first], [second]] = [&holds[0][..], &holds[1][..]] else { panic!("{holds:?}") };
    let apart = |one: &Hold, other: &Hold| one.to.is_some_and(|to| to <= other.from);
    assert!(apart(first, second) || apart(second, first), "{first:?}, {second:?}");
}
