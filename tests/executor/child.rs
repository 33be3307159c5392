//! The executor: it does what the data of its tasks says, and what is written into its inbox, a
//! file that the test writes. What it does it writes to its log.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use calico_dcos::mesos::executor::{Client, Environment, Order, Said};
use calico_dcos::mesos::v1::TaskState;

struct Desk {
    folder: PathBuf,
    read: usize,
}

impl Desk {
    fn write(&self, line: &str) {
        let log = self.folder.join("log");
        let mut log = std::fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
        writeln!(log, "{line}").unwrap();
    }

    /// The next line of the inbox.
    fn next(&mut self) -> Option<String> {
        let inbox = std::fs::read_to_string(self.folder.join("inbox")).unwrap_or_default();
        let line = inbox[..=inbox.rfind('\n')?].lines().nth(self.read)?.to_owned();
        self.read += 1;
        Some(line)
    }
}

fn said(task: &str, state: TaskState, data: Option<&[u8]>) -> Said {
    Said { task: task.into(), state, message: None, data: data.map(<[u8]>::to_vec) }
}

pub(crate) async fn run() {
    let Ok(folder) = std::env::var("TEST_FOLDER") else { return };
    let mut desk = Desk { folder: folder.into(), read: 0 };
    let environment = Environment::read(|name| std::env::var(name).ok()).unwrap();
    let program = std::env::var("TEST_PROGRAM").unwrap_or_default();
    desk.write(&format!("started {} as {program}", std::process::id()));
    let mut client = Client::start(environment).unwrap();
    let mut tasks: Vec<String> = Vec::new();
    let mut again = "";
    loop {
        let order = tokio::select! {
            order = client.next() => order,
            () = tokio::time::sleep(Duration::from_millis(20)) => {
                while let Some(line) = desk.next() {
                    poked(&mut client, &desk, &line);
                }
                continue;
            }
        };
        match order {
            Ok(Order::Subscribed { hostname, .. }) => {
                desk.write(&format!("subscribed{again} at {hostname}"));
                again = " again";
            }
            Ok(Order::Launch(task)) => {
                let id = task.task_id.0.clone();
                desk.write(&format!("launch {id}"));
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
                desk.write(&format!("kill {task}{grace}"));
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
            Err(ending) => return desk.write(&ending.to_string()),
        }
    }
}

fn poked(client: &mut Client, desk: &Desk, line: &str) {
    let words: Vec<_> = line.split(' ').collect();
    match words[..] {
        ["say", task, what] => {
            client.report(said(task, TaskState::Running, Some(what.as_bytes())));
            desk.write(&format!("said {what}"));
        }
        #[expect(clippy::exit, reason = "that is what is asked for")]
        ["exit", code] => std::process::exit(code.parse().unwrap()),
        _ => panic!("what is {line}?"),
    }
}
