//! The installation guide, as somebody follows it who has never seen us.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdout};
use tokio::time::timeout;

use super::bare::all_is_in_force;
use super::document::Document;
use super::install::taken_off;
use super::own_program;
use crate::host::{Host, PATIENCE, docker, eventually};
use crate::witness;

const GUIDE: &str = include_str!("../../../docs/install.md");

/// What the guide shows and other tests run.
const ELSEWHERE: [&str; 3] = [
    "make release",          // `make release-check`
    "dcos package install ", // `tests/packaging` renders what DC/OS would run
    "curl --fail ",          // `lab_as_a_marathon_app_it_comes_from_nothing_to_in_sync`
];

/// Where the checkout is that the guide speaks of.
const CHECKOUT: &str = "/root/calico-dcos";

/// With no more of its own than what the guide leaves to people: addresses, documents, and a yes where
/// they are asked. The programme is what hosts have here, from the leading controller itself.
#[tokio::test]
#[ignore = "lab: needs hosts with systemd and Docker, which `make lab-test` brings up as root"]
async fn lab_the_installation_guide_word_for_word() {
    taken_off().await;
    let (hosts, since) = (Host::all(), witness::now());
    let mut machine = Machine::start();
    let mut teardown = None;
    let mut skipped = 0;
    for command in commands() {
        if ELSEWHERE.iter().any(|elsewhere| command.starts_with(elsewhere)) {
            skipped += 1;
            continue;
        }
        if command.starts_with("set -a;") {
            machine.put_in_addresses();
        }
        if command.starts_with("calico-dcos approve") {
            let waits = |now: &Value| {
                let hosts = now["hosts"].as_array().cloned().unwrap_or_default();
                hosts.iter().filter(|host| host["reason"]["code"] == "waiting-for-approval").count()
            };
            let known = |now: &Value| waits(now) == hosts.len();
            eventually(async || machine.status().await, known).await;
        }
        if command == "calico-dcos teardown" {
            // The guide says when to go on, and so does the command.
            for host in &hosts {
                all_is_in_force(host, "calico/node:v2.6.12").await;
            }
            let mut running = Typed::new(&machine, command);
            running.until_said("Stop the controllers now").await;
            teardown = Some(running);
            continue;
        }
        machine.types(command).await;
        if command.starts_with("cp desired-state/") {
            let document = Document::lab().with("rollout/start", "approved");
            machine.write(&format!("{CHECKOUT}/cluster.yaml"), &document.text());
        }
    }
    assert_eq!(skipped, ELSEWHERE.len(), "the guide has changed");
    teardown.expect("the guide ends with it").until_said("Nothing of ours is left in etcd").await;
    let seen = witness::outages(&hosts, since);
    assert!(witness::most_at_once(&seen) == 1, "{seen:?}");
}

/// All that stands behind a `$`, in order.
fn commands() -> impl Iterator<Item = &'static str> {
    GUIDE.lines().filter_map(|line| line.strip_prefix("$ "))
}

/// A machine with Debian, the checkout, and what has to be there: an etcd. Removed when dropped.
struct Machine {
    host: Host,
    /// What later commands of the same shell know.
    environment: String,
}

impl Machine {
    fn start() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let host = Host::named("m1");
        let machine = Self { host, environment: format!("cd {CHECKOUT}") };
        let started = Command::new(root.join("tools/lab/lab.sh")).args(["machine", "m1"]).output();
        let started = started.unwrap();
        assert!(started.status.success(), "{started:?}");
        let container = machine.host.container();
        machine.host.run(&format!("mkdir -p {CHECKOUT}/target/dist"));
        for folder in ["desired-state", "examples"] {
            let folder = root.join(folder).display().to_string();
            docker(&["cp", &folder, &format!("{container}:{CHECKOUT}")]);
        }
        let program = own_program().display().to_string();
        docker(&["cp", &program, &format!("{container}:{CHECKOUT}/target/dist/calico-dcos")]);
        machine.host.run(&format!(
            "cd {CHECKOUT}/target/dist && sha256sum calico-dcos >SHA256SUMS
             install /lab/bin/etcdctl /usr/local/bin"
        ));
        machine.host.run(
            "ip address add 10.0.0.11/32 dev lo
             mkdir /root/pki && cd /root/pki
             new='openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2'
             $new -subj /CN=authority -keyout ca.key -out ca.pem
             $new -subj /CN=etcd -CA ca.pem -CAkey ca.key -keyout etcd.key -out etcd.pem \
               -addext subjectAltName=IP:10.0.0.11 -addext basicConstraints=critical,CA:FALSE
             url=https://10.0.0.11:2379
             systemd-run --quiet --unit etcd-of-the-guide --property Type=notify /usr/bin/etcd \
               --data-dir /var/lib/etcd-of-the-guide --cert-file $PWD/etcd.pem --key-file $PWD/etcd.key \
               --listen-client-urls $url --advertise-client-urls $url",
        );
        machine
    }

    /// What the guide leaves to who follows it.
    fn put_in_addresses(&self) {
        let given = include_str!("../../../examples/systemd/controller.env");
        let own = given.lines().filter_map(|line| {
            let (name, _) = line.split_once('=')?;
            match name {
                "CALICO_DCOS_MESOS_CREDENTIALS_FILE" | "CALICO_DCOS_ARTIFACT_URL" => None,
                "CALICO_DCOS_MESOS_MASTER" => Some(format!("{name}=http://leader.mesos:5050\n")),
                "CALICO_DCOS_ETCD_ENDPOINTS" => Some(format!("{name}=https://10.0.0.11:2379\n")),
                _ => Some(format!("{line}\n")),
            }
        });
        self.write("/etc/calico-dcos/controller.env", &own.collect::<String>());
        self.host.run("install -m 644 /root/pki/ca.pem /etc/calico-dcos/etcd-ca.pem");
    }

    /// Keeps owner and mode.
    fn write(&self, path: &str, text: &str) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let new = format!("{}:/root/new", self.host.container());
        docker(&["cp", &file.path().display().to_string(), &new]);
        self.host.run(&format!("cat /root/new >{path}"));
    }

    /// Runs a command of the guide on a terminal; it has to succeed, or to say that things differ.
    async fn types(&mut self, command: &str) {
        if command.starts_with("export ") || command.starts_with("set -a;") {
            self.environment = format!("{}; {command}", self.environment);
            return;
        }
        println!("$ {command}");
        let mut typed = Typed::new(self, command);
        let mut said = String::new();
        let ended = timeout(PATIENCE, async {
            typed.output.read_to_string(&mut said).await.unwrap();
            typed.child.wait().await.unwrap()
        });
        let ended = ended.await.unwrap_or_else(|_| panic!("{command} does not end"));
        println!("{said}");
        let differs =
            ["calico-dcos doctor", "calico-dcos status", "calico-dcos diff"].contains(&command);
        assert!(ended.success() || (differs && ended.code() == Some(1)), "{command}: {ended}");
    }

    async fn status(&self) -> Value {
        let mut typed = Typed::new(self, "calico-dcos status --output json");
        let mut said = String::new();
        typed.output.read_to_string(&mut said).await.unwrap();
        serde_json::from_str(&said).unwrap_or_default()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Nothing of it is left to a failed start either.
        let name = self.host.container();
        let _ = Command::new("docker").args(["rm", "--force", "--volumes", &name]).output();
    }
}

/// A command that runs on a terminal of the machine, where whatever it asks is answered by yes.
struct Typed {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Typed {
    fn new(machine: &Machine, command: &str) -> Self {
        let line = format!("LINE={}\n{command}", machine.environment);
        let mut child = tokio::process::Command::new("docker")
            .args(["exec", "--interactive", "--env", &line, "--env", "TERM=xterm"])
            .arg(machine.host.container())
            .args(["script", "--quiet", "--return", "--echo", "never"])
            .args(["--command", "exec bash -c \"$LINE\"", "/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut answers = child.stdin.take().unwrap();
        // It stays open for as long as the command runs: at its end a terminal is hung up.
        tokio::spawn(async move {
            let _ = answers.write_all(b"y\n").await;
            std::future::pending::<()>().await;
        });
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, output }
    }

    async fn until_said(&mut self, text: &str) {
        let mut lines = (&mut self.output).lines();
        let said = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                println!("{line}");
                if line.contains(text) {
                    return true;
                }
            }
            false
        };
        assert_eq!(timeout(PATIENCE, said).await, Ok(true), "it does not say {text}");
    }
}
