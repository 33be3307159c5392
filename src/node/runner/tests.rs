//! The runner on a machine that is cut off after each answer, one after the other.

use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use super::*;
use crate::desired::{ComponentSpec, Spec};
use crate::job::order::{Change, StepOrder};
use crate::job::samples;
use crate::node::steps::fakes::Fake;
use crate::words::Component;

fn docker(store: &str) -> ComponentSpec {
    let declared = serde_json::from_value(json!({"clusterStore": store})).unwrap();
    samples::spec(Component::Docker, Spec::Docker(declared))
}

fn open(fake: &Fake, attempt: u64, target: ComponentSpec, may_disrupt: bool) {
    let steps = vec![StepOrder { component: Component::Docker, target }];
    let change = Change { attempt: Attempt(attempt), may_disrupt, stability_seconds: 0, steps };
    let current = fake.host.state.journal().unwrap();
    let journal = Journal::open(current.as_ref(), change, Run::from("r")).unwrap();
    fake.host.state.write_journal(&journal).unwrap();
}

fn progress(fake: &Fake) -> Progress {
    fake.host.state.journal().unwrap().unwrap().progress
}

#[tokio::test]
async fn a_change_is_taken_to_its_end_and_cleared_away() {
    let fake = Fake::new();
    open(&fake, 5, docker("etcd://127.0.0.1:1"), true);
    assert_eq!(run(&fake.host, Attempt(5), Run::from("r")).await, Outcome::Closed);
    assert_eq!(progress(&fake), Progress::Done);
    assert_eq!(fake.machine().count("restart"), 1);
    // The boot unit was there meanwhile, and is gone.
    assert_eq!(fake.machine().count("enable"), 1);
    assert_eq!(fake.machine().count("disable"), 1);
    assert_eq!(fake.text("/etc/systemd/system/calico-dcos-boot.service"), None);
    // It is over: whoever comes late touches nothing.
    assert_eq!(run(&fake.host, Attempt(5), Run::from("r")).await, Outcome::NotAdmitted);
    assert_eq!(fake.machine().count("restart"), 1);
}

/// Nobody is to ask for a slot that could not be used.
#[tokio::test]
async fn a_program_that_cannot_be_started_is_found_before_anybody_is_asked() {
    let steps = vec![StepOrder { component: Component::Docker, target: docker("etcd://x:1") }];
    let change = Change { attempt: Attempt(5), may_disrupt: true, stability_seconds: 0, steps };
    let fake = Fake::new();
    let found = inspect(fake.host.clone(), change.clone()).await;
    assert_eq!(found, [Finding::Ready { disrupts: true }]);
    // As on a file system that is mounted with `noexec`.
    let program = boot::copy_program(&fake.host).unwrap();
    let place = fake.host.root.place(&program);
    // Whatever else lies there is no reason.
    std::fs::create_dir(place.with_file_name("of-somebody")).unwrap();
    assert!(boot::copy_program(&fake.host).is_ok());
    std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o600)).unwrap();
    let found = inspect(fake.host.clone(), change.clone()).await;
    assert!(
        matches!(&found[..], [Finding::Refused { why }] if why.contains("noexec")),
        "{found:?}"
    );
    // There is no room for it.
    std::fs::remove_dir_all(place.parent().unwrap()).unwrap();
    fake.put("/var/lib/calico-dcos/bin", "in the way");
    let found = inspect(fake.host.clone(), change).await;
    assert!(
        matches!(&found[..], [Finding::Refused { why }] if why.contains("calico-dcos/bin")),
        "{found:?}"
    );
}

#[tokio::test]
async fn a_unit_of_another_run_touches_nothing() {
    let fake = Fake::new();
    open(&fake, 5, docker("etcd://127.0.0.1:1"), true);
    assert_eq!(run(&fake.host, Attempt(5), Run::from("other")).await, Outcome::NotAdmitted);
    assert_eq!(fake.machine().done, [""; 0]);
}

#[tokio::test]
async fn what_fails_is_put_back_and_the_journal_says_why() {
    let fake = Fake::new();
    fake.put("/etc/docker/daemon.json", "{\"debug\": true}");
    fake.machine().broken.push("restart docker.service".to_owned());
    open(&fake, 5, docker("etcd://127.0.0.1:1"), true);
    assert_eq!(run(&fake.host, Attempt(5), Run::from("r")).await, Outcome::Closed);
    let Progress::Undone { why } = progress(&fake) else { panic!("{:?}", progress(&fake)) };
    assert!(why.contains("docker.service is not up"), "{why}");
    assert_eq!(fake.text("/etc/docker/daemon.json").as_deref(), Some("{\"debug\": true}"));
}

#[tokio::test]
async fn what_would_have_to_stop_and_may_not_is_left_alone() {
    let fake = Fake::new();
    open(&fake, 5, docker("etcd://127.0.0.1:1"), false);
    assert_eq!(run(&fake.host, Attempt(5), Run::from("r")).await, Outcome::Closed);
    assert!(matches!(progress(&fake), Progress::Undone { why } if why.contains("may not")));
    assert_eq!(fake.machine().count("restart"), 0);
}

#[tokio::test]
async fn what_cannot_be_put_back_is_named_and_outlives_what_is_needed_no_more() {
    let fake = Fake::new();
    let host = &fake.host;
    fake.put("/etc/docker/daemon.json", "{\"debug\": true}");
    let files = ["/etc/docker/daemon.json".to_owned()];
    host.state.keep(Attempt(5), Component::Docker, &files, json!(null)).unwrap();
    host.state.keep(Attempt(4), Component::Docker, &files, json!(null)).unwrap();
    let failed = Err(HostError::Found("the disk is full".to_owned()));
    let said = undo_said(host, Attempt(5), Component::Docker, failed).unwrap_err();
    let kept = "/var/lib/calico-dcos/kept/5-docker";
    assert_eq!(said, format!("the disk is full; what was there before is kept in {kept}"));
    for digit in ["1", "2", "3"] {
        fake.put(&format!("/var/lib/calico-dcos/downloads/{}", digit.repeat(64)), "x");
    }
    let record = format!("{{\"version\": 1, \"url\": \"{}\"}}", "1".repeat(64));
    fake.put("/var/lib/calico-dcos/in-force/etcdProxy.json", &record);
    fake.put(&format!("/var/lib/calico-dcos/downloads/{}", "4".repeat(64)), "x");
    clear_away(host, &Outcome::Closed, Attempt(9));
    assert_eq!(host.root.list("/var/lib/calico-dcos/kept").unwrap(), ["5-docker"]);
    assert_eq!(fake.text(&format!("{kept}/0")).as_deref(), Some("{\"debug\": true}"));
    let left = host.root.list("/var/lib/calico-dcos/downloads").unwrap();
    assert_eq!(left, ["1", "3", "4"].map(|digit| digit.repeat(64)));
}

/// Whoever comes after a journal that is closed finds nothing to carry on, so nothing may be left then.
#[tokio::test]
async fn the_boot_unit_is_gone_before_the_journal_is_closed() {
    let fake = Fake::new();
    open(&fake, 5, docker("etcd://127.0.0.1:1"), true);
    boot::arm(&fake.host).await.unwrap();
    let journal = fake.host.state.journal().unwrap().unwrap();
    write(&fake.host, &journal).await.unwrap();
    assert!(fake.text("/etc/systemd/system/calico-dcos-boot.service").is_some(), "it is open");
    // Cut off here: the journal cannot be written any more.
    let file = fake.host.root.place("/var/lib/calico-dcos/journal.json");
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir_all(file.join("in-the-way")).unwrap();
    write(&fake.host, &journal.close_done()).await.unwrap_err();
    assert_eq!(fake.text("/etc/systemd/system/calico-dcos-boot.service"), None);
    assert_eq!(fake.machine().count("disable calico-dcos-boot.service"), 1);
}

/// Every process is cut off after one answer more than the one before: after each, a fresh one
/// finds a journal from which it can go on, to the same end, and nothing is restarted in vain.
#[tokio::test]
async fn a_process_cut_off_anywhere_is_carried_on_to_the_same_end() {
    for answers in 1..12 {
        let fake = Fake::new();
        open(&fake, 5, docker("etcd://127.0.0.1:1"), true);
        cut_off_after(&fake.host, answers).await;
        let was_open = fake.host.state.journal().unwrap().unwrap().is_open();
        let expected = if was_open { Outcome::Closed } else { Outcome::NotAdmitted };
        assert_eq!(run(&fake.host, Attempt(5), Run::from("r")).await, expected, "{answers}");
        assert_eq!(progress(&fake), Progress::Done, "{answers}");
        assert_eq!(fake.machine().count("restart"), 1, "{answers}");
        let text = fake.text("/etc/docker/daemon.json").unwrap();
        assert!(text.contains("etcd://127.0.0.1:1"), "{answers}: {text}");
    }
}

/// Carries out so many commands and is gone, what it did last unheard.
async fn cut_off_after(host: &Host, answers: usize) {
    let (mut runner, mut command) = Runner::start(Attempt(5), Run::from("r"));
    let mut journal = None;
    let turn = Turn { attempt: Attempt(5), may_disrupt: true };
    for _ in 0..answers {
        let answer = match command {
            Command::Exit(_) => return,
            Command::Lock => {
                journal = host.state.journal().unwrap();
                Answer::Locked(journal.clone())
            }
            Command::Check(order) => Answer::Found(steps::check(host, &order).await),
            Command::ArmBootUnit => Answer::Did(said(boot::arm(host).await)),
            Command::Write(next) => {
                host.state.write_journal(&next).unwrap();
                journal = Some(next);
                Answer::Did(Ok(()))
            }
            Command::Apply(order) => Answer::Did(said(steps::apply(host, turn, &order).await)),
            Command::Verify(order) => Answer::Did(steps::verify(host, &order).await),
            Command::Probe(_) => Answer::Did(probe(host, journal.as_ref()).await),
            Command::Undo(order) => {
                Answer::Did(said(steps::undo(host, turn, order.component).await))
            }
        };
        command = runner.handle(uptime(), answer);
    }
}
