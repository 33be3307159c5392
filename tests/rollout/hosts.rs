//! What hosts say, in the words of their observers, executors and tasks.

use std::collections::BTreeMap;

use calico_dcos::job::order::{Ending, FromHost, ToHost, WIRE_VERSION, Work};
use calico_dcos::mesos::v1::scheduler::{Call, Event as MesosEvent, Message};
use calico_dcos::mesos::v1::{Blob, ExecutorId, TaskState, TaskStatus};
use calico_dcos::observed::facts::{
    Cgroups, ComponentFacts, FACTS_VERSION, FactOrder, Facts, Health, JournalFacts, JournalState,
    System,
};
use calico_dcos::words::{Attempt, Component, SpecHash, TaskId};

use super::bench::{Bench, CLUSTER, agent, job};

impl Bench {
    pub(crate) fn status(task: &TaskId, host: &str, state: TaskState) -> TaskStatus {
        let mut status = TaskStatus::new(task.clone(), state);
        status.agent_id = Some(agent(host));
        status
    }

    pub(crate) fn update(
        &mut self,
        task: &TaskId,
        host: &str,
        state: TaskState,
        data: Option<&FromHost>,
    ) {
        if state == TaskState::Running {
            self.running.push((task.clone(), host.to_owned()));
        }
        let mut status = Self::status(task, host, state);
        status.uuid = Some(Blob(vec![7; 16]));
        status.data = data.map(|data| Blob(serde_json::to_vec(data).unwrap()));
        self.mesos(MesosEvent::Update(status));
    }

    /// As an agent says it whose fetcher gets no executor.
    pub(crate) fn failed_in_the_fetcher(&mut self, task: &TaskId, host: &str) {
        let mut status = Self::status(task, host, TaskState::Failed);
        status.uuid = Some(Blob(vec![8; 16]));
        status.message = Some("Failed to launch container: Failed to fetch all URIs".to_owned());
        self.mesos(MesosEvent::Update(status));
    }

    /// The master's answer to a reconciliation.
    pub(crate) fn reconciled(&mut self, task: &TaskId, host: &str, state: TaskState) {
        let status = Self::status(task, host, state);
        self.mesos(MesosEvent::Update(status));
    }

    pub(crate) fn facts(
        &mut self,
        host: &str,
        node: Option<SpecHash>,
        journal: Option<JournalFacts>,
    ) -> Facts {
        let sequence = self.sequence.entry(host.to_owned()).or_default();
        *sequence += 1;
        let found = node.map(|hash| ComponentFacts {
            hash: Some(hash),
            version: None,
            health: Health::Healthy,
            running: true,
            recorded: true,
        });
        Facts {
            version: FACTS_VERSION,
            order: FactOrder { boot_id: host.into(), starts: 1, sequence: *sequence },
            machine_id: host.into(),
            system: System {
                os: "Debian 12".into(),
                architecture: "x86_64".into(),
                cgroups: Cgroups::V1,
            },
            docker: None,
            mesos_version: "1.1.0".into(),
            components: found.into_iter().map(|f| (Component::CalicoNode, f)).collect(),
            journal,
            stuck: None,
            agent_containers: 0,
            blocked: BTreeMap::new(),
            predecessor: None,
        }
    }

    /// The observer of a host says that its last facts still hold.
    pub(crate) fn confirm(&mut self, host: &str) {
        let sequence = self.sequence.get(host).copied().unwrap_or_default();
        let order = FactOrder { boot_id: host.into(), starts: 1, sequence };
        let confirm = FromHost::Confirm { version: WIRE_VERSION, host: host.into(), order };
        self.mesos(MesosEvent::Message(Message {
            agent_id: agent(host),
            executor_id: ExecutorId("e".into()),
            data: Blob(serde_json::to_vec(&confirm).unwrap()),
        }));
    }

    /// Starts the observer of a host, which reports an old calico/node that runs.
    pub(crate) fn observe(&mut self, host: &str) -> TaskId {
        self.offer(host);
        let observer = self.launched().pop().expect("an observer is launched");
        let facts = Box::new(self.facts(host, Some(SpecHash([9; 32])), None));
        self.update(&observer.task_id, host, TaskState::Running, Some(&FromHost::Facts { facts }));
        observer.task_id
    }

    /// A host's question, as it arrives.
    pub(crate) fn asks(host: &str, attempt: Attempt, run: &str) -> Message {
        let ask =
            FromHost::Ask { version: WIRE_VERSION, host: host.into(), attempt, run: run.into() };
        Message {
            agent_id: agent(host),
            executor_id: ExecutorId("e".into()),
            data: Blob(serde_json::to_vec(&ask).unwrap()),
        }
    }

    pub(crate) fn ask(&mut self, host: &str, attempt: Attempt, run: &str) -> Vec<ToHost> {
        self.calls.clear();
        let message = Self::asks(host, attempt, run);
        self.mesos(MesosEvent::Message(message));
        let answers = self.calls.iter().filter_map(|call| match call {
            Call::Message(message) => serde_json::from_slice(&message.data.0).ok(),
            _ => None,
        });
        answers.collect()
    }

    /// The machine answered yes.
    pub(crate) fn admitted(&mut self, host: &str) -> (TaskId, Attempt, SpecHash) {
        let (task, attempt, hash) = self.changing(host);
        self.update(&task, host, TaskState::Starting, None);
        self.is_admitted(host, attempt);
        (task, attempt, hash)
    }

    #[track_caller]
    pub(crate) fn is_admitted(&mut self, host: &str, attempt: Attempt) {
        let answers = self.ask(host, attempt, "r1");
        assert!(matches!(answers[..], [ToHost::Admitted { .. }]), "{answers:?}");
    }

    /// The host put everything back, and says so twice: one failure.
    pub(crate) fn undone(&mut self, task: &TaskId, host: &str, attempt: Attempt, hash: SpecHash) {
        let state = JournalState::Undone { why: "no route".into() };
        let failed = self.ended(host, attempt, hash, state);
        self.update(task, host, TaskState::Failed, Some(&failed));
        self.update(task, host, TaskState::Failed, Some(&failed));
    }

    /// All is well, under this task.
    pub(crate) fn done(&mut self, task: &TaskId, host: &str, attempt: Attempt, hash: SpecHash) {
        let done = self.ended(host, attempt, hash, JournalState::Done);
        self.update(task, host, TaskState::Running, Some(&done));
    }

    /// A host with an observer, and the change of its calico/node launched.
    pub(crate) fn changing(&mut self, host: &str) -> (TaskId, Attempt, SpecHash) {
        self.observe(host);
        self.ordered(host)
    }

    /// The change of its calico/node launched on a host that is observed.
    pub(crate) fn ordered(&mut self, host: &str) -> (TaskId, Attempt, SpecHash) {
        self.offer(host);
        let task = self.launched().pop().expect("the change is launched");
        let job = job(&task);
        let Work::Supervise { target, change, .. } = job.work else { panic!("{:?}", job.work) };
        let change = change.unwrap();
        assert!(change.may_disrupt);
        (task.task_id, change.attempt, target.hash)
    }

    pub(crate) fn ended(
        &mut self,
        host: &str,
        attempt: Attempt,
        hash: SpecHash,
        state: JournalState,
    ) -> FromHost {
        let journal = JournalFacts { attempt, run: "r1".into(), state };
        let facts = Box::new(self.facts(host, Some(hash), Some(journal.clone())));
        let ending = Ending::Journal { journal };
        FromHost::Ended { version: WIRE_VERSION, attempt, ending, facts }
    }
}

/// Nothing is launched there, so nobody says anything either.
#[test]
fn an_excluded_host_whose_observer_has_ended_is_excluded_and_not_unknown() {
    let mut bench = Bench::new(&["a1", "a2"]);
    let observer = bench.observe("a1");
    bench.write(Some(&CLUSTER.replace("rollout: {", "rollout: {exclude: [a1], ")));
    bench.wait(5_000);
    bench.update(&observer, "a1", TaskState::Failed, None);
    for minutes in [1, 10] {
        bench.wait(minutes * 60_000);
        bench.offer("a1");
        assert_eq!((bench.launched(), bench.reason("a1")), (vec![], "excluded".into()));
    }
    let heard: Vec<_> =
        bench.machine.heard().map(|(name, at)| (name.as_str(), at.is_some())).collect();
    assert_eq!(heard, [("a1", false), ("a2", true)], "its silence is no news");
}

#[test]
fn a_host_that_cannot_be_looked_at_says_why_and_is_not_believed_to_be_as_it_was() {
    let mut bench = Bench::new(&["a1"]);
    bench.offer("a1");
    let observer = bench.launched().pop().expect("an observer is launched").task_id;
    bench.update(&observer, "a1", TaskState::Running, None);
    let why = "/etc/machine-id is no plain file".to_owned();
    let blind = FromHost::Blind { version: WIRE_VERSION, host: "a1".into(), why: why.clone() };
    bench.says("a1", &blind);
    let unknown =
        |bench: &Bench| bench.reason("a1") == "unknown" && bench.text("a1").contains(&why);
    assert!(unknown(&bench), "{}", bench.text("a1"));
    let facts = Box::new(bench.facts("a1", Some(SpecHash([9; 32])), None));
    bench.update(&observer, "a1", TaskState::Running, Some(&FromHost::Facts { facts }));
    assert_ne!(bench.reason("a1"), "unknown");
    // It was seen before: another leader knows of it too, and nothing starts.
    bench.says("a1", &blind);
    bench.lead();
    bench.reconciled(&observer, "a1", TaskState::Running);
    bench.offer("a1");
    assert!(unknown(&bench) && bench.launched().is_empty(), "{}", bench.text("a1"));
    bench.confirm("a1");
    assert_ne!(bench.reason("a1"), "unknown", "the facts hold again");
    bench.offer("a1");
    assert_eq!(bench.launched().len(), 1);
}

#[test]
fn a_change_that_does_not_get_on_says_why() {
    let mut bench = Bench::new(&["a1"]);
    let observer = bench.observe("a1");
    let (task, attempt, _) = bench.ordered("a1");
    bench.update(&task, "a1", TaskState::Starting, None);
    bench.is_admitted("a1", attempt);
    let journal = JournalFacts { attempt, run: "r1".into(), state: JournalState::Open };
    for why in [Some("its unit does not start: the disk is full"), None] {
        let mut facts = bench.facts("a1", Some(SpecHash([9; 32])), Some(journal.clone()));
        facts.stuck = why.map(str::to_owned);
        let facts = FromHost::Facts { facts: Box::new(facts) };
        bench.update(&observer, "a1", TaskState::Running, Some(&facts));
        assert_eq!(bench.reason("a1"), "in-progress");
        assert_eq!(bench.text("a1").contains("the disk is full"), why.is_some());
    }
}
