//! The facts of a host, as found: nothing in here is remembered from an earlier look.

use super::agent::Agent;
use super::host::{Host, HostError};
use super::{remains, steps};
use crate::observed::facts::{Cgroups, FACTS_VERSION, FactOrder, Facts, System};
use crate::words::Component;

/// Looks at the whole host. The order in the facts is for the executor to fill in.
pub async fn survey(host: &Host) -> Result<Facts, HostError> {
    // Read before the rest: what is found cannot be older than the journal it is reported with.
    let journal = host.state.journal()?.map(|journal| journal.facts());
    let system = system(host)?;
    let overview = steps::observe_all(host).await;
    let mut blocked = overview.blocked;
    if let Some(why) = steps::host_is_blocked(host).await {
        blocked = Component::ALL.into_iter().map(|component| (component, why.clone())).collect();
    }
    let docker = steps::docker_facts(host).await;
    let mesos_version = match Agent::known(host)? {
        Some(agent) => agent.mesos_version().await,
        None => None,
    };
    Ok(Facts {
        version: FACTS_VERSION,
        order: FactOrder { boot_id: String::new(), starts: 0, sequence: 0 },
        machine_id: line(host, "/etc/machine-id")?,
        system,
        docker,
        // While the agent restarts it does not say; that is no other version.
        mesos_version: last_known_version(host, mesos_version)?,
        components: overview.components,
        journal,
        stuck: None,
        agent_containers: host.docker.mesos_containers().await.unwrap_or(0),
        blocked,
        predecessor: remains::look(host).await,
    })
}

/// The kernel's name for this boot.
pub fn boot_id(host: &Host) -> Result<String, HostError> {
    line(host, "/proc/sys/kernel/random/boot_id")
}

/// What the agent said last, as it stays the same while the agent is away.
fn last_known_version(host: &Host, said: Option<String>) -> Result<String, HostError> {
    #[derive(Default, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Known {
        version: u32,
        mesos: String,
    }
    let file = "mesos-version.json";
    let known = host.state.read::<Known>(file)?.unwrap_or_default();
    match said {
        Some(mesos) if mesos != known.mesos => {
            host.state.write(file, &Known { version: 1, mesos: mesos.clone() })?;
            Ok(mesos)
        }
        _ => Ok(known.mesos),
    }
}

fn system(host: &Host) -> Result<System, HostError> {
    let release = match host.root.text("/etc/os-release") {
        Ok(Some(text)) => Some(text),
        // A link to ../usr/lib/os-release, on most systems.
        _ => host.root.text("/usr/lib/os-release")?,
    };
    let name = release
        .as_deref()
        .unwrap_or_default()
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="));
    let cgroups = if host.root.read("/sys/fs/cgroup/cgroup.controllers")?.is_some() {
        Cgroups::V2
    } else if host.root.read("/sys/fs/cgroup/unified/cgroup.controllers")?.is_some() {
        Cgroups::Hybrid
    } else {
        Cgroups::V1
    };
    Ok(System {
        os: name.unwrap_or("an unnamed system").trim_matches('"').to_owned(),
        architecture: rustix::system::uname().machine().to_string_lossy().into_owned(),
        cgroups,
    })
}

fn line(host: &Host, path: &str) -> Result<String, HostError> {
    Ok(host.root.text(path)?.unwrap_or_default().trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::steps::fakes::Fake;
    use crate::observed::facts::Health;

    #[tokio::test]
    async fn a_host_is_described_as_found() {
        let fake = Fake::new();
        fake.put("/etc/machine-id", "abc\n");
        fake.put("/usr/lib/os-release", "NAME=x\nPRETTY_NAME=\"CentOS Linux 7 (Core)\"\n");
        fake.put("/sys/fs/cgroup/unified/cgroup.controllers", "");
        let facts = survey(&fake.host).await.unwrap();
        assert_eq!(
            (facts.machine_id.as_str(), facts.system.os.as_str()),
            ("abc", "CentOS Linux 7 (Core)")
        );
        assert_eq!(facts.system.cgroups, Cgroups::Hybrid);
        let docker = facts.docker.unwrap();
        assert_eq!(
            (docker.version.as_str(), docker.containers, docker.cluster_store),
            ("20.10.24", 3, None)
        );
        let found = &facts.components[&Component::Docker];
        assert_eq!((found.hash, &found.health, found.running), (None, &Health::Healthy, true));
        assert_eq!(facts.journal, None);
    }

    /// What the kernel and systemd show of the three layouts: where the second version of control groups
    /// is mounted, if it is.
    #[tokio::test]
    async fn the_layout_of_control_groups_is_that_of_the_mounts() {
        let first =
            [("/sys/fs/cgroup/cpu,cpuacct/tasks", "1\n"), ("/sys/fs/cgroup/systemd/tasks", "1\n")];
        let second = "cpuset cpu io memory hugetlb pids rdma\n";
        for (more, expected) in [
            (&[][..], Cgroups::V1),
            // Mounted for systemd alone, without controllers.
            (&[("/sys/fs/cgroup/unified/cgroup.controllers", "")], Cgroups::Hybrid),
            (&[("/sys/fs/cgroup/unified/cgroup.controllers", second)], Cgroups::Hybrid),
        ] {
            let fake = Fake::new();
            for (file, text) in first.iter().chain(more) {
                fake.put(file, text);
            }
            assert_eq!(system(&fake.host).unwrap().cgroups, expected, "{more:?}");
        }
        let fake = Fake::new();
        fake.put("/sys/fs/cgroup/cgroup.controllers", second);
        fake.put("/sys/fs/cgroup/system.slice/docker.service/cgroup.procs", "7\n");
        assert_eq!(system(&fake.host).unwrap().cgroups, Cgroups::V2);
    }

    #[tokio::test]
    async fn a_docker_that_does_not_answer_is_not_well() {
        let fake = Fake::new();
        fake.machine().units.get_mut("docker.service").unwrap().activity =
            crate::node::service::Activity::Failed;
        let facts = survey(&fake.host).await.unwrap();
        assert_eq!(facts.docker, None);
        let health = &facts.components[&Component::Docker].health;
        assert!(matches!(health, Health::Unhealthy { .. }), "{health:?}");
    }

    #[tokio::test]
    async fn a_docker_that_takes_no_store_is_blocked_and_says_why() {
        let blocked = async |change: fn(&Fake), text: &str| {
            let fake = Fake::new();
            change(&fake);
            let facts = survey(&fake.host).await.unwrap();
            let why = facts.blocked.get(&Component::Docker).cloned().unwrap_or_default();
            assert!(why.contains(text), "{text}: {why}");
            // What needs no store goes on.
            assert_eq!(facts.blocked.len(), 1);
        };
        let version = |fake: &Fake| fake.machine().info["ServerVersion"] = "23.0.1".into();
        blocked(version, "Docker 23.0.1 knows no cluster store").await;
        let swarm = |fake: &Fake| fake.machine().info["Swarm"]["LocalNodeState"] = "active".into();
        blocked(swarm, "swarm").await;
        let flag = |fake: &Fake| {
            fake.put("/proc/7/cmdline", "dockerd\0--cluster-store\0etcd://x:1\0");
            fake.machine().units.get_mut("docker.service").unwrap().main_pid = 7;
        };
        blocked(flag, "started with --cluster-store").await;
        blocked(|fake| fake.put("/etc/docker/daemon.json", "{"), "cannot be read").await;
    }

    #[tokio::test]
    async fn a_system_without_systemd_is_not_supported() {
        let fake = Fake::new();
        fake.machine().without_systemd = true;
        let facts = survey(&fake.host).await.unwrap();
        assert_eq!(facts.blocked.len(), Component::ALL.len());
        assert!(facts.blocked[&Component::CalicoNode].contains("systemd"), "{:?}", facts.blocked);
    }

    #[tokio::test]
    async fn a_host_with_a_calico_of_dcos_is_left_alone() {
        let fake = Fake::new();
        fake.add_unit("dcos-calico-felix.service", true);
        let facts = survey(&fake.host).await.unwrap();
        assert_eq!(facts.blocked.len(), Component::ALL.len());
        assert!(facts.blocked[&Component::Docker].contains("DC/OS"));
    }
}
