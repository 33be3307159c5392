//! Hosts without anybody who tells them anything, and with somebody who tells them what is long over.

use calico_dcos::mesos::v1::{FrameworkId, FrameworkInfo};
use calico_dcos::rollout::config::{Config, Delivery};
use calico_dcos::words::SpecHash;
use etcd_client::Client;
use serde_json::{Value, json};

use super::bare::all_is_in_force;
use super::{Over, as_declared, etcd, newest_attempt, status, until_over};
use crate::framework::Framework;
use crate::host::{Host, docker, eventually, gateway};
use crate::{until_active, witness};

/// All hosts lose their power at once while no controller runs.
#[tokio::test]
#[ignore = "lab: needs hosts with systemd and Docker, which `make lab-test` brings up as root"]
async fn lab_hosts_come_back_from_a_power_cut_by_themselves() {
    let hosts = Host::all();
    drop(as_declared().await);
    let attempt = newest_attempt();
    // Services have started again afterwards; nothing else is to differ.
    let files = |host: &Host| {
        let still = host.still();
        still.lines().filter(|line| line.starts_with('/')).map(str::to_owned).collect::<Vec<_>>()
    };
    let before: Vec<_> = hosts.iter().map(files).collect();
    let names: Vec<String> = hosts.iter().map(Host::container).collect();
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    docker(&[&["kill"][..], &all].concat());
    docker(&[&["start"][..], &all].concat());
    for host in &hosts {
        let up = async || host.run("systemctl is-active docker calico-dcos-etcd-proxy || true");
        eventually(up, |up| up == "active\nactive\n").await;
        let ready =
            "curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:9099/readiness || true";
        eventually(async || host.run(ready), |code| code == "204").await;
        until_active(host).await;
        all_is_in_force(host, "calico/node:v2.6.12").await;
        // Docker asks its store as it starts, so the proxy is there before it.
        let order = host.run(
            "systemctl show --value --property ExecMainStartTimestampMonotonic \\
               calico-dcos-etcd-proxy docker",
        );
        let order: Vec<u64> = order.split_whitespace().map(|at| at.parse().unwrap()).collect();
        assert!(order[0] < order[1], "{order:?}");
    }
    // A controller finds nothing to do but to look.
    let since = witness::now();
    let _controller = as_declared().await;
    assert_eq!(until_over().await, Over::Done, "{}", status());
    assert_eq!(newest_attempt(), attempt);
    assert_eq!(witness::outages(&hosts, since), []);
    assert_eq!(hosts.iter().map(files).collect::<Vec<_>>(), before);
}

/// Launches from before: the newest once more, and one that is older and says something else. Both are
/// answered from the journal.
#[tokio::test]
#[ignore = "lab: needs hosts with systemd and Docker, which `make lab-test` brings up as root"]
async fn lab_a_late_or_repeated_launch_changes_nothing() {
    let host = Host::named("a1");
    drop(as_declared().await);
    let journal = host.run("cat /var/lib/calico-dcos/journal.json");
    let journal: Value = serde_json::from_str(&journal).unwrap();
    let docker = host.run("cat /var/lib/calico-dcos/in-force/docker.json");
    let mut docker: Value = serde_json::from_str(&docker).unwrap();
    docker["target"]["spec"]["docker"]["clusterStore"] = json!("etcd://10.9.9.9:2379");
    let newest = journal["change"]["attempt"].as_u64().unwrap();
    let mut repeated = journal["change"].clone();
    repeated["is"] = json!("change");
    let late = json!({
        "is": "change", "attempt": newest - 1, "mayDisrupt": true, "stabilitySeconds": 0,
        "steps": [{"component": "docker", "target": docker["target"]}],
    });
    let (before, since) = (host.still(), witness::now());
    let mut framework = Framework::of(framework_of_product().await).await;
    for (task, work, state) in
        [("change.a1.repeated", repeated, "TASK_FINISHED"), ("change.a1.late", late, "TASK_FAILED")]
    {
        let job = json!({"version": 1, "host": host.0, "generation": 1, "work": work});
        // Of a leader of another version, which has an executor of its own.
        let url = format!("http://{}:5060/calico-dcos", gateway());
        let executor = json!({
            "executor_id": {"value": "calico-dcos.a1.late"},
            "command": {
                "shell": true,
                "value": "exec ./calico-dcos node executor",
                "uris": [{"value": url, "executable": true, "extract": false}],
            },
        });
        framework.launch_in(&host, task, executor, job.to_string().as_bytes()).await;
        let ended = framework.until(task, state).await;
        let data = ended.data.unwrap_or_else(|| panic!("{:?}", ended.message));
        let said: Value = serde_json::from_slice(&data.0).unwrap();
        assert_eq!(said["ending"]["journal"]["attempt"], newest, "{said}");
    }
    assert_eq!(host.still(), before);
    let executors = async || host.run("pgrep -fc '^[.]/calico-dcos node executor$'");
    framework.shut_down(&host, "calico-dcos.a1.late");
    eventually(executors, |number| number.trim() == "1").await;
    drop(framework);
    let _controller = as_declared().await;
    assert_eq!(host.still(), before);
    assert_eq!(witness::outages(&Host::all(), since), []);
}

/// Who the product is to Mesos.
async fn framework_of_product() -> FrameworkInfo {
    let mut client = Client::connect([etcd()], None).await.unwrap();
    let record = client.get("/calico-dcos/framework-id", None).await.unwrap();
    let record: Value = serde_json::from_slice(record.kvs()[0].value()).unwrap();
    let config = Config {
        name: "a late leader".to_owned(),
        framework_name: "calico-dcos".to_owned(),
        principal: None,
        roles: vec!["*".to_owned(), "slave_public".to_owned()],
        own_host: None,
        webui_url: None,
        delivery: Delivery { url: String::new(), digest: SpecHash([0; 32]) },
    };
    config.framework_info(Some(FrameworkId(record["id"].as_str().unwrap().to_owned())))
}
