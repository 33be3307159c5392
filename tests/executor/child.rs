//! The executor: it does what the data of its tasks says, and what the test tells it over a
//! socket. What it does it tells there.

use std::path::Path;

use calico_dcos::mesos::executor::{Client, Environment, Order, Said};
use calico_dcos::mesos::v1::TaskState;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

struct Desk {
    orders: Lines<BufReader<OwnedReadHalf>>,
    teller: OwnedWriteHalf,
}

impl Desk {
    async fn open(folder: &Path) -> Self {
        let stream = UnixStream::connect(folder.join("desk")).await.unwrap();
        let (reader, teller) = stream.into_split();
        Self { orders: BufReader::new(reader).lines(), teller }
    }

    async fn tell(&mut self, line: &str) {
        self.teller.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }
}

fn said(task: &str, state: TaskState, data: Option<&[u8]>) -> Said {
    Said { task: task.into(), state, message: None, data: data.map(<[u8]>::to_vec) }
}

pub(crate) async fn run() {
    let Ok(folder) = std::env::var("TEST_FOLDER") else { return };
    let mut desk = Desk::open(folder.as_ref()).await;
    let environment = Environment::read(|name| std::env::var(name).ok()).unwrap();
    let program = std::env::var("TEST_PROGRAM").unwrap_or_default();
    desk.tell(&format!("started {} as {program}", std::process::id())).await;
    let mut client = Client::start(environment).unwrap();
    let mut tasks: Vec<String> = Vec::new();
    let mut again = "";
    loop {
        let order = tokio::select! {
            order = client.next() => order,
            line = desk.orders.next_line() => {
                // Without the test there is nothing left to do.
                let Ok(Some(line)) = line else { return };
                poked(&mut client, &mut desk, &line).await;
                continue;
            }
        };
        match order {
            Ok(Order::Subscribed { hostname, .. }) => {
                desk.tell(&format!("subscribed{again} at {hostname}")).await;
                again = " again";
            }
            Ok(Order::Launch(task)) => {
                let id = task.task_id.0.clone();
                desk.tell(&format!("launch {id}")).await;
                match task.data.unwrap_or_default().0.as_slice() {
                    b"quiet" => {}
                    b"finish" => {
                        client.report(said(&id, TaskState::Starting, None));
                        client.report(said(&id, TaskState::Finished, None));
                        continue;
                    }
                    _ => {
                        client.report(said(&id, TaskState::Starting, None));
                        client.report(said(&id, TaskState::Running, None));
                    }
                }
                tasks.push(id);
            }
            Ok(Order::Kill { task, grace_ms }) => {
                let grace = grace_ms.map_or_else(String::new, |ms| format!(" within {ms} ms"));
                desk.tell(&format!("kill {task}{grace}")).await;
                tasks.retain(|known| *known != task.0);
                client.report(said(task.as_str(), TaskState::Killed, None));
            }
            Ok(Order::Message(data)) => client.send([b"echo ", data.as_slice()].concat()),
            Ok(Order::Shutdown) => {
                for task in tasks.drain(..) {
                    client.report(said(&task, TaskState::Killed, None));
                }
                client.leave();
            }
            Err(ending) => return desk.tell(&ending.to_string()).await,
        }
    }
}

async fn poked(client: &mut Client, desk: &mut Desk, line: &str) {
    let words: Vec<_> = line.split(' ').collect();
    match words[..] {
        ["say", task, what] => {
            client.report(said(task, TaskState::Running, Some(what.as_bytes())));
            desk.tell(&format!("said {what}")).await;
        }
        #[expect(clippy::exit, reason = "that is what is asked for")]
        ["exit", code] => std::process::exit(code.parse().unwrap()),
        _ => panic!("what is {line}?"),
    }
}
