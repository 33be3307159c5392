//! The executor of hosts, as a process that a simulated agent starts, on a machine of paper: its
//! files are in a folder, its services are lines.

use std::path::{Path, PathBuf};

use calico_dcos::desired::{ComponentSpec, Spec};
use calico_dcos::job::order::{Change, Ending, FromHost, Job, Letter, StepOrder, ToHost, Work};
use calico_dcos::mesos::v1::scheduler::{Call, Event, Kill, Message, Shutdown};
use calico_dcos::mesos::v1::{TaskState, TaskStatus};
use calico_dcos::observed::facts::{Facts, JournalState};
use calico_dcos::sim::wire::HostSignal;
use calico_dcos::words::{Attempt, Component, Generation, HostName, Run};
use serde_json::json;

use crate::paper;
use crate::site::Site;

/// Where the network of the changes is written.
const DOCUMENT: &str = "etc/cni/net.d/calico.conf";

struct Bench {
    site: Site,
    host: PathBuf,
}

impl Bench {
    async fn start() -> Self {
        let site = Site::start_with("node::node_process", |_| {}).await;
        let host = paper::lay_out(site.folder()).await;
        Self { site, host }
    }

    async fn launch(&mut self, task: &str, work: Work) {
        let job =
            Job { version: 1, host: HostName::from("agent1"), generation: Generation(1), work };
        self.site.launch(task, &String::from_utf8(job.to_bytes().unwrap()).unwrap()).await;
    }

    /// A change that writes one file, and is to ask before.
    async fn change(&mut self, task: &str, attempt: u64, stability_seconds: u32) {
        let agent = json!({"networking": "cni", "cni": {}});
        let spec = Spec::MesosAgent(serde_json::from_value(agent).unwrap());
        let hash = spec.hash(Component::MesosAgent).unwrap();
        let target = ComponentSpec { hash, spec, resources: None };
        let steps = vec![StepOrder { component: Component::MesosAgent, target }];
        let attempt = Attempt(attempt);
        let change = Change { attempt, may_disrupt: true, stability_seconds, steps };
        self.launch(task, Work::Change(change)).await;
    }

    /// The next question: for which attempt, and by which run.
    async fn question(&mut self) -> (Attempt, Run) {
        let asks = |event: &Event| match event {
            Event::Message(message) => {
                matches!(FromHost::from_bytes(&message.data.0), Ok(FromHost::Ask { .. }))
            }
            _ => false,
        };
        let Event::Message(message) = self.site.event(asks).await else { unreachable!() };
        match FromHost::from_bytes(&message.data.0) {
            Ok(FromHost::Ask { attempt, run, .. }) => (attempt, run),
            other => panic!("{other:?}"),
        }
    }

    fn answer(&self, message: &ToHost) {
        let data = message.to_bytes().unwrap().into();
        let (agent_id, executor_id) = (self.site.agent_id(), "ex".into());
        self.site.call(Call::Message(Message { agent_id, executor_id, data }));
    }

    fn admit(&self, attempt: Attempt, run: Run) {
        self.answer(&ToHost::Admitted { version: 1, attempt, run });
    }

    /// The last word of a task.
    async fn end(&mut self, task: &str) -> TaskStatus {
        loop {
            let status = self.site.update(task).await;
            if !matches!(status.state, TaskState::Starting | TaskState::Running) {
                return status;
            }
        }
    }

    /// What an observer says that is launched now: it has looked after all that was before.
    async fn facts(&mut self, task: &str) -> Facts {
        self.launch(task, Work::Observe { confirm_seconds: 3600 }).await;
        loop {
            let status = self.site.update(task).await;
            assert!(!status.state.is_terminal(), "{status:?}");
            let data = status.data.unwrap_or_default();
            if let Ok(FromHost::Facts { facts }) = FromHost::from_bytes(&data.0) {
                return *facts;
            }
        }
    }

    fn wrote(&self) -> bool {
        self.host.join(DOCUMENT).exists()
    }
}

fn ending(status: &TaskStatus) -> Ending {
    let data = status.data.clone().unwrap_or_default();
    match FromHost::from_bytes(&data.0) {
        Ok(FromHost::Ended { ending, .. }) => ending,
        other => panic!("{other:?}: {status:?}"),
    }
}

fn is_done(status: &TaskStatus) -> bool {
    matches!(ending(status), Ending::Journal { journal } if journal.state == JournalState::Done)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_waits_for_its_own_yes() {
    let mut bench = Bench::start().await;
    bench.change("t1", 5, 0).await;
    let (attempt, run) = bench.question().await;
    assert_eq!(attempt, Attempt(5));
    // Neither another run's nor another attempt's is an answer, so it asks again.
    bench.admit(attempt, Run::from("another"));
    bench.admit(Attempt(4), run.clone());
    bench.answer(&ToHost::Denied { version: 1, attempt, run: Run::from("another") });
    for _ in 0..2 {
        assert_eq!(bench.question().await, (attempt, run.clone()));
    }
    assert!(!bench.wrote());
    bench.admit(attempt, run);
    let status = bench.end("t1").await;
    assert!(is_done(&status) && status.state == TaskState::Finished, "{status:?}");
    assert!(bench.wrote());
    assert_eq!(paper::units_started(&bench.host), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_no_changes_nothing() {
    let mut bench = Bench::start().await;
    bench.change("t1", 5, 0).await;
    let (attempt, run) = bench.question().await;
    bench.answer(&ToHost::Denied { version: 1, attempt, run });
    let status = bench.end("t1").await;
    assert_eq!(ending(&status), Ending::NotAdmitted);
    assert_eq!(status.state, TaskState::Failed);
    assert_eq!(bench.facts("o").await.journal, None);
    assert!(!bench.wrote());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_or_repeated_launch_of_an_old_task_changes_nothing() {
    let mut bench = Bench::start().await;
    bench.change("t1", 5, 0).await;
    let (attempt, run) = bench.question().await;
    bench.admit(attempt, run);
    assert!(is_done(&bench.end("t1").await));
    // If it were run again, this would come back.
    std::fs::remove_file(bench.host.join(DOCUMENT)).unwrap();
    for (task, attempt, state) in [
        ("t2", 5, TaskState::Finished),
        ("t3", 4, TaskState::Failed),
        ("t4", 5, TaskState::Finished),
    ] {
        bench.change(task, attempt, 0).await;
        let status = bench.end(task).await;
        assert_eq!(status.state, state, "{status:?}");
        // It is answered from the journal, whosever attempt that is.
        assert!(is_done(&status), "{status:?}");
    }
    assert!(!bench.wrote());
    assert_eq!(paper::units_started(&bench.host), 1);
    // And the next attempt is an attempt.
    bench.change("t5", 6, 0).await;
    let (attempt, run) = bench.question().await;
    assert_eq!(attempt, Attempt(6));
    bench.admit(attempt, run);
    assert!(is_done(&bench.end("t5").await));
    assert!(bench.wrote());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_is_killed_before_its_yes_is_over() {
    let mut bench = Bench::start().await;
    bench.change("t1", 5, 0).await;
    let (attempt, run) = bench.question().await;
    let (task_id, agent_id) = ("t1".into(), Some(bench.site.agent_id()));
    bench.site.call(Call::Kill(Kill { task_id, agent_id, kill_policy: None }));
    assert_eq!(bench.end("t1").await.state, TaskState::Killed);
    bench.admit(attempt, run);
    assert_eq!(bench.facts("o").await.journal, None);
    assert!(!bench.wrote());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_ends_the_process_and_not_the_change() {
    let mut bench = Bench::start().await;
    bench.facts("o").await;
    bench.change("t1", 5, 3600).await;
    let (attempt, run) = bench.question().await;
    bench.admit(attempt, run.clone());
    paper::until_units_started(&bench.host, 1).await;
    let agent_id = bench.site.agent_id();
    bench.site.call(Call::Shutdown(Shutdown { executor_id: "ex".into(), agent_id }));
    for task in ["o", "t1"] {
        assert_eq!(bench.end(task).await.state, TaskState::Killed);
    }
    assert_eq!(bench.site.failure().await, 0);
    // The next process carries it on, under the run that was admitted, and asks nobody.
    let journal = bench.facts("o2").await.journal.unwrap();
    assert_eq!((journal.attempt, journal.run, journal.state), (attempt, run, JournalState::Open));
    paper::until_units_started(&bench.host, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_outlives_the_agent() {
    let mut bench = Bench::start().await;
    bench.change("t1", 5, 0).await;
    let (attempt, run) = bench.question().await;
    let pid = bench.site.pid().await;
    bench.site.signal(HostSignal::AgentStopped).await;
    bench.site.signal(HostSignal::AgentStarted).await;
    // What was sent before the agent had it is lost, so only what comes now counts.
    bench.site.forget_messages();
    assert_eq!(bench.question().await, (attempt, run.clone()));
    bench.admit(attempt, run);
    assert!(is_done(&bench.end("t1").await));
    assert_eq!(bench.site.pid().await, pid);
}

/// Somebody else has the lock, and stands still: who is asked is answered all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_is_not_given_back_keeps_nothing_else_waiting() {
    let mut bench = Bench::start().await;
    let folder = bench.host.join("var/lib/calico-dcos");
    std::fs::create_dir_all(&folder).unwrap();
    let lock = std::fs::File::create(folder.join("observer.lock")).unwrap();
    lock.lock().unwrap();
    bench.launch("o", Work::Observe { confirm_seconds: 3600 }).await;
    bench.change("t1", 5, 0).await;
    assert_eq!(bench.question().await.0, Attempt(5));
    let (task_id, agent_id) = ("t1".into(), Some(bench.site.agent_id()));
    bench.site.call(Call::Kill(Kill { task_id, agent_id, kill_policy: None }));
    assert_eq!(bench.end("t1").await.state, TaskState::Killed);
    drop(lock);
    while bench.site.update("o").await.data.is_none() {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_cannot_be_looked_at_says_what_cannot_be_read() {
    let mut bench = Bench::start().await;
    let file = bench.host.join("etc/machine-id");
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    bench.launch("o", Work::Observe { confirm_seconds: 3600 }).await;
    let is_blind = |event: &Event| match event {
        Event::Message(message) => match FromHost::from_bytes(&message.data.0) {
            Ok(FromHost::Blind { why, .. }) => why.contains("/etc/machine-id"),
            _ => false,
        },
        _ => false,
    };
    bench.site.event(is_blind).await;
    std::fs::remove_dir(&file).unwrap();
    while bench.site.update("o").await.data.is_none() {}
}

/// What is not known to be closed is not begun anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_cannot_read_the_journal_tells_whoever_launches_a_task() {
    let mut bench = Bench::start().await;
    let folder = bench.host.join("var/lib/calico-dcos");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("journal.json"), "{").unwrap();
    bench.launch("o", Work::Observe { confirm_seconds: 3600 }).await;
    let status = bench.end("o").await;
    assert_eq!(status.state, TaskState::Failed);
    assert!(status.message.unwrap().contains("the journal is damaged"));
    assert_eq!(bench.site.failure().await, 0);
}

/// Not a test: the child process that the tests above have the agent start.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "not a test; the others start it in child processes"]
async fn node_process() {
    let Ok(folder) = std::env::var("TEST_FOLDER") else { return };
    paper::run(Path::new(&folder)).await;
}
