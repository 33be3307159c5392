//! Hosts on which the predecessor has been: the Python framework of the same name.

use super::bare::all_is_in_force;
use super::document::Document;
use super::{Over, brought_to, reason, status, until_over};
use crate::host::{Host, NETWORKS, eventually};
use crate::witness;

/// What its installer of 0.3 leaves on an agent, and its last task there: its own state, a cluster store in
/// force, the network and its programs, calico/node. The proxy was a task, and has ended with the framework.
const LEAVES: &str = r#"
mkdir -p /etc/calico/installer
echo '{"docker-updated": true, "docker-created": "1479921600.0"}' >/etc/calico/installer/docker
printf '{"cluster-store":"etcd://127.0.0.1:2379"}' >/etc/docker/daemon.json
systemctl restart docker
for program in calico calico-ipam; do cp /usr/bin/true /opt/mesosphere/active/cni/$program; done
echo '{"name": "calico", "type": "calico", "ipam": {"type": "calico-ipam"}}' >NETWORKS/calico.cni
docker run --detach --restart=always --net=host --privileged --name=calico-node \
  --env FELIX_IGNORELOOSERPF=true --env HOSTNAME=$(hostname) --env ETCD_AUTHORITY=localhost:2379 \
  --env ETCD_SCHEME=http --volume /lib/modules:/lib/modules --volume /var/run/calico:/var/run/calico \
  calico/node:v2.6.12"#;

/// The store that it has set is taken over as it is, and its container replaced; neither Docker nor the agent
/// restarts. Its network has the name of ours in another file, which people have to move away: agents
/// would take either.
#[tokio::test]
#[ignore = "lab: needs hosts with systemd and Docker, which `make lab-test` brings up as root"]
async fn lab_hosts_of_the_predecessor_are_taken_over_without_a_restart() {
    let hosts = Host::all();
    drop(brought_to(&Document::lab().off()).await);
    for host in &hosts {
        host.run(&LEAVES.replace("NETWORKS", NETWORKS));
    }
    let since = witness::now();
    let controller = brought_to(&Document::lab()).await;
    for host in &hosts {
        let said = eventually(async || reason(host), |(code, _)| code == "blocked").await;
        assert!(said.1.contains("calico.cni names the same network"), "{}", said.1);
        // It is looked at again by itself.
        host.run(&format!("rm {NETWORKS}/calico.cni"));
    }
    for host in &hosts {
        eventually(async || reason(host).0, String::is_empty).await;
        all_is_in_force(host, "calico/node:v2.6.12").await;
        let kept = host.run("cat /etc/docker/daemon.json");
        assert_eq!(kept, r#"{"cluster-store":"etcd://127.0.0.1:2379"}"#, "not a byte is ours");
    }
    assert_eq!(until_over().await, Over::Done, "{}", status());
    assert_eq!(witness::outages(&hosts, since), []);

    // For the tests after this one.
    drop(controller);
    drop(brought_to(&Document::lab().off()).await);
    for host in &hosts {
        host.run("docker rm --force calico-node; rm -rf /etc/calico /etc/docker/daemon.json");
        host.run("systemctl restart docker");
    }
}
