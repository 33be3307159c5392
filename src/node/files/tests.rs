use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use rustix::fs::FlockOperation;

use super::*;

fn root() -> (tempfile::TempDir, Root) {
    let folder = tempfile::tempdir().unwrap();
    let root = Root::new(folder.path());
    (folder, root)
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn a_file_is_made_with_its_folders_and_read_back() {
    let (folder, root) = root();
    assert_eq!(root.read("/etc/docker/daemon.json").unwrap(), None);
    assert!(root.write("/etc/docker/daemon.json", b"{}", 0o640, Staging::Beside).unwrap());
    let found = root.read("/etc/docker/daemon.json").unwrap().unwrap();
    assert_eq!((found.bytes.as_slice(), found.attributes.mode), (b"{}".as_slice(), 0o640));
    assert_eq!(names(&folder.path().join("etc/docker")), ["daemon.json"]);
    assert_eq!(root.list("/etc/docker").unwrap(), ["daemon.json"]);
    assert_eq!(root.list("/nowhere").unwrap(), [""; 0]);
}

#[test]
fn what_is_equal_keeps_its_inode_and_times_and_what_differs_its_mode() {
    let (folder, root) = root();
    let file = folder.path().join("f");
    std::fs::write(&file, "old").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o604)).unwrap();
    let before = std::fs::metadata(&file).unwrap();
    assert!(!root.write("/f", b"old", 0o600, Staging::Beside).unwrap());
    let after = std::fs::metadata(&file).unwrap();
    assert_eq!((before.ino(), before.mtime_nsec()), (after.ino(), after.mtime_nsec()));
    assert!(root.write("/f", b"new", 0o600, Staging::Beside).unwrap());
    let after = std::fs::metadata(&file).unwrap();
    assert_ne!(before.ino(), after.ino(), "it is replaced, not written over");
    assert_eq!(after.mode() & 0o7777, 0o604);
}

#[test]
fn what_was_found_is_restored_also_that_nothing_was_there() {
    let (folder, root) = root();
    root.write("/a", b"1", 0o640, Staging::Beside).unwrap();
    let (a, b) = (root.read("/a").unwrap(), root.read("/b").unwrap());
    root.write("/a", b"2", 0o600, Staging::Beside).unwrap();
    root.write("/b", b"2", 0o600, Staging::Beside).unwrap();
    root.restore("/a", a.as_ref(), Staging::Beside).unwrap();
    root.restore("/b", b.as_ref(), Staging::Beside).unwrap();
    assert_eq!(root.read("/a").unwrap(), a);
    assert_eq!(names(folder.path()), ["a"]);
    root.restore("/b", b.as_ref(), Staging::Beside).unwrap();
}

#[test]
fn a_link_in_place_of_the_file_is_neither_read_nor_written_through() {
    let (folder, root) = root();
    std::fs::write(folder.path().join("secret"), "s").unwrap();
    symlink("secret", folder.path().join("f")).unwrap();
    assert!(matches!(root.read("/f"), Err(FileError::NotPlain { .. })));
    assert!(root.write("/f", b"x", 0o600, Staging::Beside).is_err());
    std::fs::create_dir(folder.path().join("d")).unwrap();
    assert!(matches!(root.read("/d"), Err(FileError::NotPlain { .. })));
    assert_eq!(std::fs::read_to_string(folder.path().join("secret")).unwrap(), "s");
}

#[test]
fn links_of_folders_are_followed_below_the_root_and_never_in_a_circle() {
    let (folder, root) = root();
    std::fs::create_dir_all(folder.path().join("opt/packages/etc")).unwrap();
    symlink("/opt/packages/etc", folder.path().join("opt/etc")).unwrap();
    assert!(root.write("/opt/etc/f", b"x", 0o600, Staging::Beside).unwrap());
    assert_eq!(names(&folder.path().join("opt/packages/etc")), ["f"]);
    symlink("loop", folder.path().join("loop")).unwrap();
    assert!(matches!(root.read("/loop/f"), Err(FileError::Failed { .. })));
}

#[test]
fn a_link_that_somebody_else_made_is_not_followed() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let (folder, root) = root();
    std::fs::create_dir(folder.path().join("real")).unwrap();
    symlink("real", folder.path().join("link")).unwrap();
    std::os::unix::fs::lchown(folder.path().join("link"), Some(1000), None).unwrap();
    assert!(matches!(root.read("/link/f"), Err(FileError::ForeignLink { .. })));
}

#[test]
fn a_folder_that_everybody_can_write_is_refused_unless_it_is_sticky() {
    let (folder, root) = root();
    let open = folder.path().join("open");
    std::fs::create_dir(&open).unwrap();
    for (mode, refused) in [(0o777, true), (0o1777, false), (0o775, false)] {
        std::fs::set_permissions(&open, std::fs::Permissions::from_mode(mode)).unwrap();
        let written = root.write("/open/f", b"x", 0o600, Staging::Beside);
        assert_eq!(matches!(written, Err(FileError::OpenFolder { .. })), refused, "{mode:o}");
    }
}

#[test]
fn a_file_staged_above_is_never_seen_half_in_its_folder() {
    let (folder, root) = root();
    std::fs::create_dir_all(folder.path().join("etc/cni/net.d")).unwrap();
    assert!(root.write("/etc/cni/net.d/calico.conf", b"{}", 0o644, Staging::Above).unwrap());
    assert_eq!(names(&folder.path().join("etc/cni/net.d")), ["calico.conf"]);
    assert_eq!(names(&folder.path().join("etc/cni")), ["net.d"]);
}

#[test]
fn what_was_left_half_written_goes_with_the_next_write_and_what_is_being_written_stays() {
    let (folder, root) = root();
    let net_d = folder.path().join("etc/cni/net.d");
    std::fs::create_dir_all(&net_d).unwrap();
    let put = |place: &Path, name: &str| std::fs::write(place.join(name), "half").unwrap();
    put(&net_d, ".calico-dcos-a1B2c3");
    put(&net_d, ".calico-dcos-notes");
    symlink("/nowhere", net_d.join(".calico-dcos-l1nked")).unwrap();
    put(&net_d, ".calico-dcos-l0cked");
    let at_work = File::open(net_d.join(".calico-dcos-l0cked")).unwrap();
    fs::flock(&at_work, FlockOperation::LockExclusive).unwrap();
    let rest = [".calico-dcos-l0cked", ".calico-dcos-l1nked", ".calico-dcos-notes"];
    root.write("/etc/cni/net.d/f", b"x", 0o600, Staging::Beside).unwrap();
    assert_eq!(names(&net_d), [&rest[..], &["f"]].concat());
    // Put back unchanged, wherever it was staged.
    let found = root.read("/etc/cni/net.d/f").unwrap();
    put(&net_d, ".calico-dcos-a1B2c3");
    put(&folder.path().join("etc/cni"), ".calico-dcos-a1B2c3");
    root.restore("/etc/cni/net.d/f", found.as_ref(), Staging::Above).unwrap();
    assert_eq!(names(&net_d), [&rest[..], &["f"]].concat());
    assert_eq!(names(&folder.path().join("etc/cni")), ["net.d"]);
}

#[test]
fn a_folder_that_cannot_be_written_is_an_error_and_leaves_nothing() {
    let (folder, root) = root();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let error = root.write("/file/below", b"x", 0o600, Staging::Beside).unwrap_err();
    assert!(error.to_string().contains("/file/below"), "{error}");
    assert_eq!(names(folder.path()), ["file"]);
}
