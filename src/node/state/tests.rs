use super::*;
use crate::job::samples::{change, target};
use crate::words::Run;

fn state() -> (tempfile::TempDir, Arc<Root>, State) {
    let folder = tempfile::tempdir().unwrap();
    let root = Arc::new(Root::new(folder.path()));
    let state = State::new(Arc::clone(&root));
    (folder, root, state)
}

#[test]
fn a_journal_is_read_back_and_a_damaged_one_is_not_taken_as_none() {
    let (_folder, root, state) = state();
    assert_eq!(state.journal().unwrap(), None);
    let journal = Journal::open(None, change(7, true, &Component::ALL), Run::from("r")).unwrap();
    state.write_journal(&journal).unwrap();
    assert_eq!(state.journal().unwrap(), Some(journal));
    root.write(&path("journal.json"), b"{", 0o600, Staging::Beside).unwrap();
    assert!(matches!(state.journal(), Err(StateError::Journal(_))));
}

/// Also one in an executor that started first: a leader of an earlier version has launched it there.
#[test]
fn the_observer_that_was_launched_last_has_the_reports() {
    let (_folder, root, state) = state();
    let [one, two, three] = ["one", "two", "three"].map(TaskId::from);
    for (launched, starts, before) in [(&one, 4, &two), (&two, 6, &one), (&three, 4, &two)] {
        state.take_reports(launched, starts).unwrap();
        assert!(state.has_reports(launched).unwrap() && !state.has_reports(before).unwrap());
    }
    // As the release before writes it.
    let old = br#"{"version":1,"starts":7}"#;
    root.write(&path("observer.json"), old, 0o600, Staging::Beside).unwrap();
    assert!(!state.has_reports(&three).unwrap());
}

#[test]
fn starts_are_counted_over_processes() {
    let (_folder, root, state) = state();
    assert_eq!([state.count_start().unwrap(), state.count_start().unwrap()], [0, 1]);
    assert_eq!(State::new(root).count_start().unwrap(), 2);
}

#[test]
fn the_lock_is_had_by_one_at_a_time() {
    let (_folder, _root, state) = state();
    let held = state.lock().unwrap();
    let place = state.root.place(&path("lock"));
    let second = open(place, OFlags::RDWR, Mode::empty()).unwrap();
    let try_it = || flock(&second, FlockOperation::NonBlockingLockExclusive);
    assert!(try_it().is_err());
    drop(held);
    assert!(try_it().is_ok());
}

#[test]
fn what_was_kept_first_is_put_back_with_its_record() {
    let (_folder, root, state) = state();
    let docker = Component::Docker;
    let files = ["/etc/a".to_owned(), "/etc/b".to_owned()];
    root.write("/etc/a", b"before", 0o640, Staging::Beside).unwrap();
    let old = Record::new(Attempt(1), &target(docker, 1), None, Value::Null);
    state.set_record(docker, Some(&old)).unwrap();
    state.keep(Attempt(2), docker, &files, Value::Null).unwrap();
    for file in &files {
        root.write(file, b"after", 0o600, Staging::Beside).unwrap();
    }
    let new = Record::new(Attempt(2), &target(docker, 2), Some(&old), Value::Null);
    state.set_record(docker, Some(&new)).unwrap();
    // A process that carries the attempt on does not keep what it finds by then.
    state.keep(Attempt(2), docker, &files, Value::Null).unwrap();
    let kept = state.kept(Attempt(2), docker).unwrap().unwrap();
    state.put_back(docker, &kept).unwrap();
    let found = root.read("/etc/a").unwrap().unwrap();
    assert_eq!((found.bytes.as_slice(), found.attributes.mode), (b"before".as_slice(), 0o640));
    assert_eq!(root.read("/etc/b").unwrap(), None);
    assert_eq!(state.record(docker).unwrap(), Some(old));
    assert_eq!(state.kept(Attempt(2), Component::EtcdProxy).unwrap(), None);
}

/// What can be put back is, and it is not forgotten whose the rest is.
#[test]
fn a_file_that_cannot_be_put_back_keeps_neither_the_others_nor_the_record_from_it() {
    let (_folder, root, state) = state();
    let docker = Component::Docker;
    let files = ["/etc/a".to_owned(), "/etc/b".to_owned(), "/etc/c".to_owned()];
    let old = Record::new(Attempt(1), &target(docker, 1), None, Value::Null);
    state.set_record(docker, Some(&old)).unwrap();
    for file in &files {
        root.write(file, b"before", 0o640, Staging::Beside).unwrap();
    }
    let kept = state.keep(Attempt(2), docker, &files, Value::Null).unwrap();
    root.write("/etc/a", b"after", 0o600, Staging::Beside).unwrap();
    root.write("/etc/c", b"after", 0o600, Staging::Beside).unwrap();
    // A folder has come into its place.
    root.remove("/etc/b").unwrap();
    std::fs::create_dir(root.place("/etc/b")).unwrap();
    assert!(state.put_back(docker, &kept).is_err());
    for other in ["/etc/a", "/etc/c"] {
        assert_eq!(root.read(other).unwrap().unwrap().bytes, b"before", "{other}");
    }
    assert_eq!(state.record(docker).unwrap(), Some(old));
}

#[test]
fn what_was_kept_for_old_attempts_is_forgotten() {
    let (_folder, root, state) = state();
    for attempt in [9, 10, 11] {
        state.keep(Attempt(attempt), Component::Docker, &[], Value::Null).unwrap();
    }
    state.forget_before(Attempt(10)).unwrap();
    assert_eq!(root.list(&path("kept")).unwrap(), ["10-docker", "11-docker"]);
}

/// It is the only copy of what was there.
#[test]
fn what_could_not_be_put_back_is_not_forgotten() {
    let (_folder, root, state) = state();
    let docker = Component::Docker;
    assert_eq!(
        state.note_undo(Attempt(1), docker, Some("full")).unwrap(),
        None,
        "nothing was kept"
    );
    for attempt in 1..=12 {
        state.keep(Attempt(attempt), docker, &[], Value::Null).unwrap();
    }
    let noted = state.note_undo(Attempt(9), docker, Some("the disk is full")).unwrap().unwrap();
    assert_eq!(root.text(&format!("{noted}/not-put-back")).unwrap().unwrap(), "the disk is full\n");
    // One more try has worked.
    state.note_undo(Attempt(8), docker, Some("the disk is full")).unwrap();
    assert_eq!(state.note_undo(Attempt(8), docker, None).unwrap(), None);
    state.forget_before(Attempt(12)).unwrap();
    assert_eq!(root.list(&path("kept")).unwrap(), ["12-docker", "9-docker"]);
    // No more than a few of them.
    for attempt in 20..30 {
        state.keep(Attempt(attempt), docker, &[], Value::Null).unwrap();
        state.note_undo(Attempt(attempt), docker, Some("the disk is full")).unwrap();
    }
    state.forget_before(Attempt(40)).unwrap();
    let left = root.list(&path("kept")).unwrap();
    assert_eq!((left.len(), left[0].as_str()), (MOST_NOT_PUT_BACK + 1, "22-docker"));
    assert_eq!(left.last().unwrap(), "9-docker", "the first is from before anything of ours");
}

#[test]
fn what_is_left_of_a_backup_is_kept_and_what_cannot_be_removed_stops_nothing() {
    let (_folder, root, state) = state();
    for attempt in 1..=3 {
        state.keep(Attempt(attempt), Component::Docker, &[], Value::Null).unwrap();
    }
    root.write(&path("kept/2-docker/manifest.json"), b"{", 0o600, Staging::Beside).unwrap();
    let noted = state.note_undo(Attempt(2), Component::Docker, Some("it is damaged")).unwrap();
    assert_eq!(noted, Some(path("kept/2-docker")));
    // Nothing of ours, and no folder.
    root.write(&path("kept/0-stray"), b"x", 0o600, Staging::Beside).unwrap();
    assert!(state.forget_before(Attempt(4)).is_err(), "it is told");
    assert_eq!(root.list(&path("kept")).unwrap(), ["0-stray", "2-docker"]);
}

#[test]
fn a_file_of_a_newer_release_is_named_so() {
    let (_folder, root, state) = state();
    let file = path("in-force/docker.json");
    root.write(&file, br#"{"version": 2}"#, 0o600, Staging::Beside).unwrap();
    let error = state.record(Component::Docker).unwrap_err();
    assert!(matches!(error, StateError::Newer { found: 2, .. }), "{error}");
}
