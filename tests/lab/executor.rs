//! The executor: this very program, started by an agent inside a host. It runs its tasks until they
//! are killed, and answers each message with who it is: another process would say something else.

use calico_dcos::mesos::executor::{Client, Environment, Order, Said};
use calico_dcos::mesos::v1::TaskState;

pub(crate) async fn run() {
    // Without them somebody has run the tests, not an agent.
    let Ok(environment) = Environment::read(|name| std::env::var(name).ok()) else { return };
    let me = format!("{:016x}", rand::random::<u64>());
    let mut client = Client::start(environment).unwrap();
    let said = |task: &str, state, data: Option<&str>| Said {
        task: task.into(),
        state,
        message: None,
        data: data.map(|data| data.as_bytes().to_vec()),
    };
    while let Ok(order) = client.next().await {
        match order {
            Order::Subscribed { .. } => {}
            Order::Launch(task) => {
                client.report(said(task.task_id.as_str(), TaskState::Starting, None));
                client.report(said(task.task_id.as_str(), TaskState::Running, Some(&me)));
            }
            Order::Kill { task, .. } => client.report(said(task.as_str(), TaskState::Killed, None)),
            Order::Message(_) => client.send(me.clone().into_bytes()),
            Order::Shutdown => client.leave(),
        }
    }
}
