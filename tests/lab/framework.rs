//! A framework that starts the executor of these tests on hosts of the lab.

use std::collections::{BTreeMap, VecDeque};

use calico_dcos::mesos::Options;
use calico_dcos::mesos::scheduler::{CallSender, Subscription, connect};
use calico_dcos::mesos::v1::scheduler::{
    Accept, Acknowledge, Call, Event, Filters, Message, Operation, Shutdown,
};
use calico_dcos::mesos::v1::{
    AllocationInfo, Capability, CapabilityType, FrameworkInfo, Offer, Resource, TaskInfo,
    TaskStatus,
};
use calico_dcos::words::AgentId;
use serde_json::{Value, json};

use crate::host::{Host, PATIENCE, gateway, share};

pub(crate) struct Framework {
    events: Subscription,
    calls: CallSender,
    offers: BTreeMap<String, Offer>,
    agents: BTreeMap<String, AgentId>,
    waiting: VecDeque<Event>,
    seen: Vec<Vec<u8>>,
}

impl Framework {
    pub(crate) async fn start() -> Self {
        // Where hosts find it; not in place, as one of an earlier test may still run.
        let (program, new) = (share().join("bin/lab-test"), share().join("bin/lab-test.new"));
        std::fs::copy(std::env::current_exe().unwrap(), &new).unwrap();
        std::fs::rename(new, program).unwrap();
        let framework = FrameworkInfo {
            user: "root".to_owned(),
            name: "lab test".to_owned(),
            failover_timeout: 0.0,
            checkpoint: true,
            roles: vec!["*".to_owned(), "slave_public".to_owned()],
            capabilities: vec![
                Capability::from(CapabilityType::PartitionAware),
                Capability::from(CapabilityType::MultiRole),
            ],
            ..FrameworkInfo::default()
        };
        Self::of(framework).await
    }

    /// As that framework, in the place of the scheduler that it had.
    pub(crate) async fn of(framework: FrameworkInfo) -> Self {
        let masters = format!("http://{}:5050", gateway()).parse().unwrap();
        let (events, calls) = connect(&Options::new(masters), framework, Vec::new()).await.unwrap();
        let (offers, agents, waiting, seen) = Default::default();
        Self { events, calls, offers, agents, waiting, seen }
    }

    /// Takes in one more event; updates are acknowledged, and those that come again are dropped.
    async fn take(&mut self) {
        let event = tokio::time::timeout(PATIENCE, self.events.next()).await;
        let event = event.unwrap_or_else(|_| panic!("nothing comes")).unwrap();
        match event {
            Event::Offers(offers) => {
                for offer in offers {
                    self.agents.insert(offer.hostname.clone(), offer.agent_id.clone());
                    self.offers.insert(offer.hostname.clone(), offer);
                }
            }
            Event::Rescind(offer) => self.offers.retain(|_, known| known.id != offer),
            Event::Update(status) => {
                if let Some(acknowledge) = Acknowledge::of(&status) {
                    let new = !self.seen.contains(&acknowledge.uuid.0);
                    self.seen.push(acknowledge.uuid.0.clone());
                    self.calls.send(Call::Acknowledge(acknowledge));
                    if !new {
                        return;
                    }
                }
                self.waiting.push_back(Event::Update(status));
            }
            event => self.waiting.push_back(event),
        }
    }

    /// The first event like that; the others stay.
    async fn event<T>(&mut self, is: impl Fn(&Event) -> Option<T>) -> T {
        loop {
            if let Some(at) = self.waiting.iter().position(|event| is(event).is_some()) {
                let event = self.waiting.remove(at).unwrap();
                return is(&event).unwrap();
            }
            self.take().await;
        }
    }

    /// The next update of a task in that state; earlier ones are passed over.
    pub(crate) async fn until(&mut self, task: &str, state: &str) -> TaskStatus {
        loop {
            let status = self
                .event(|event| match event {
                    Event::Update(status) if status.task_id.as_str() == task => {
                        Some(status.clone())
                    }
                    _ => None,
                })
                .await;
            if status.state.to_string() == state {
                return status;
            }
            assert!(!status.state.is_terminal(), "{status:?}");
        }
    }

    /// Starts a task on a host, in the host's executor, which may be there already. With a network, the
    /// executor wants to be in it.
    pub(crate) async fn launch(&mut self, host: &Host, task: &str, network: Option<&str>) {
        let mut executor = json!({
            "executor_id": {"value": format!("lab-{}", network.unwrap_or("host"))},
            "command": {
                "shell": false,
                "value": "/lab/bin/lab-test",
                "arguments": ["lab-test", "--ignored", "--exact", "executor_process", "--nocapture"],
            },
        });
        if let Some(name) = network {
            executor["container"] = json!({"type": "MESOS", "network_infos": [{"name": name}]});
        }
        self.launch_in(host, task, executor, &[]).await;
    }

    /// The same in an executor of the caller's, with data for it.
    pub(crate) async fn launch_in(
        &mut self,
        host: &Host,
        task: &str,
        mut executor: Value,
        data: &[u8],
    ) {
        let offer = loop {
            if let Some(offer) = self.offers.remove(&host.0) {
                break offer;
            }
            self.take().await;
        };
        let role = if host.0.starts_with('p') { "slave_public" } else { "*" };
        let resources = [("cpus", 0.1), ("mem", 32.0)].map(|(name, value)| Resource {
            role: Some(role.to_owned()),
            allocation_info: Some(AllocationInfo { role: Some(role.to_owned()) }),
            ..Resource::scalar(name, value)
        });
        executor["type"] = json!("CUSTOM");
        executor["resources"] = json!(resources);
        let mut task: TaskInfo = serde_json::from_value(json!({
            "name": task,
            "task_id": {"value": task},
            "agent_id": {"value": offer.agent_id.as_str()},
            "resources": resources,
            "executor": executor,
        }))
        .unwrap();
        task.data = Some(data.to_vec().into());
        self.calls.send(Call::Accept(Accept {
            offer_ids: vec![offer.id],
            operations: vec![Operation::Launch(vec![task])],
            filters: Some(Filters { refuse_seconds: 0.0 }),
        }));
    }

    /// Asks the executor of a host who it is. Messages may be lost, so it is asked again.
    pub(crate) async fn who(&mut self, host: &Host) -> String {
        let agent_id = self.agents[&host.0].clone();
        loop {
            let (agent_id, executor_id) = (agent_id.clone(), "lab-host".into());
            self.calls.send(Call::Message(Message {
                agent_id,
                executor_id,
                data: Vec::new().into(),
            }));
            let own = self.agents[&host.0].clone();
            let answer = self.event(|event| match event {
                Event::Message(message) if message.agent_id == own => Some(message.data.clone()),
                _ => None,
            });
            let patience = std::time::Duration::from_secs(2);
            if let Ok(data) = tokio::time::timeout(patience, answer).await {
                return String::from_utf8(data.0).unwrap();
            }
        }
    }

    /// Ends an executor of it.
    pub(crate) fn shut_down(&self, host: &Host, executor: &str) {
        let (executor_id, agent_id) = (executor.into(), self.agents[&host.0].clone());
        self.calls.send(Call::Shutdown(Shutdown { executor_id, agent_id }));
    }

    /// Ends all that it has started.
    pub(crate) fn end(self) {
        self.calls.send(Call::Teardown);
    }
}
