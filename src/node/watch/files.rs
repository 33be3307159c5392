//! Signs of files, by inotify. A file is watched by the folders that lead to it: it may be renamed
//! into its place, as ours are, and so may any folder on the way (DC/OS exchanges links).

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;

use super::Sign;
use crate::node::files::Root;

/// By the descriptor of a folder's watch, the names in it that count.
type Names = BTreeMap<i32, Wanted>;

#[derive(Debug)]
enum Wanted {
    All,
    Some(BTreeSet<OsString>),
}

/// The watched files.
#[derive(Debug)]
pub(super) struct Files {
    inotify: AsyncFd<OwnedFd>,
    names: Mutex<Names>,
}

impl Files {
    pub(super) fn new() -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        #[expect(
            deprecated,
            reason = "what came in its place is unsafe; an owned descriptor stays open"
        )]
        let inotify = AsyncFd::new(inotify)?;
        Ok(Self { inotify, names: Mutex::default() })
    }

    /// Watches these files too. One that ends with `/` is a folder in which every file counts.
    /// What is watched already stays so; a folder that has been replaced since is watched anew.
    pub(super) fn add(&self, root: &Root, paths: &[String]) {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        for path in paths {
            if path.ends_with('/') {
                self.watch_folder(&root.place(path), None, &mut names);
            }
            let mut place = root.place(path.trim_end_matches('/'));
            let base = root.place("/");
            while let Some((folder, name)) = place.parent().zip(place.file_name()) {
                self.watch_folder(folder, Some(name.to_owned()), &mut names);
                if folder == base {
                    break;
                }
                place = folder.to_owned();
            }
        }
    }

    /// A folder that is not there gives no sign; the one above it does, when it is made.
    fn watch_folder(&self, folder: &Path, name: Option<OsString>, names: &mut Names) {
        let flags = WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVE
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::ATTRIB
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        let Ok(watch) = inotify::add_watch(&self.inotify, folder, flags) else { return };
        let wanted = names.entry(watch).or_insert_with(|| Wanted::Some(BTreeSet::new()));
        match (wanted, name) {
            (wanted, None) => *wanted = Wanted::All,
            (Wanted::Some(names), Some(name)) => drop(names.insert(name)),
            (Wanted::All, Some(_)) => {}
        }
    }

    /// Says what happens, until that cannot be had any more.
    pub(super) async fn watch(&self, sign: &Sign) -> io::Error {
        loop {
            let mut ready = match self.inotify.readable().await {
                Ok(ready) => ready,
                Err(error) => return error,
            };
            match self.read() {
                Ok(true) => sign.changed(),
                Ok(false) => {}
                Err(error) => return error,
            }
            ready.clear_ready();
        }
    }

    /// Reads what has come so far; whether something of it counts.
    fn read(&self) -> io::Result<bool> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(&self.inotify, &mut buffer);
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counts = false;
        loop {
            let event = match events.next() {
                Ok(event) => event,
                Err(Errno::AGAIN) => return Ok(counts),
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            let flags = event.events();
            if flags.contains(ReadFlags::IGNORED) {
                names.remove(&event.wd());
            }
            // Too much has happened at once, or the folder itself has gone.
            let whole = ReadFlags::QUEUE_OVERFLOW | ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF;
            counts |= flags.intersects(whole)
                || match (names.get(&event.wd()), event.file_name()) {
                    (Some(Wanted::All), Some(_)) => true,
                    (Some(Wanted::Some(names)), Some(name)) => {
                        names.contains(std::ffi::OsStr::from_bytes(name.to_bytes()))
                    }
                    _ => false,
                };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::files::Staging;

    struct Watched {
        files: Files,
        root: Root,
        folder: tempfile::TempDir,
    }

    impl Watched {
        fn new(folders: &[&str], paths: &[&str]) -> Self {
            let folder = tempfile::tempdir().unwrap();
            for name in folders {
                std::fs::create_dir_all(folder.path().join(name)).unwrap();
            }
            let root = Root::new(folder.path());
            let files = Files::new().unwrap();
            let watched = Self { files, root, folder };
            watched.add(paths);
            watched
        }

        fn add(&self, paths: &[&str]) {
            let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
            self.files.add(&self.root, &paths);
        }

        fn put(&self, path: &str) {
            self.root
                .write(path, rand::random::<u64>().to_string().as_bytes(), 0o644, Staging::Beside)
                .unwrap();
        }

        /// Whether there was a sign since the last time. The kernel has queued it by then.
        fn sign(&self) -> bool {
            self.files.read().unwrap()
        }
    }

    #[tokio::test]
    async fn what_is_renamed_into_place_edited_or_removed_gives_a_sign() {
        let watched = Watched::new(&["etc/docker"], &["/etc/docker/daemon.json"]);
        assert!(!watched.sign());
        watched.put("/etc/docker/daemon.json");
        assert!(watched.sign());
        let place = watched.folder.path().join("etc/docker/daemon.json");
        std::fs::write(&place, "x").unwrap();
        assert!(watched.sign());
        std::fs::remove_file(&place).unwrap();
        assert!(watched.sign());
        // Others in the same folder do not count.
        watched.put("/etc/docker/key.json");
        watched.put("/etc/hosts");
        assert!(!watched.sign());
    }

    #[tokio::test]
    async fn in_a_folder_every_file_counts() {
        let watched = Watched::new(&["etc/cni/net.d"], &["/etc/cni/net.d/"]);
        watched.put("/etc/cni/net.d/anything");
        assert!(watched.sign());
        std::fs::remove_dir_all(watched.folder.path().join("etc/cni/net.d")).unwrap();
        assert!(watched.sign());
    }

    #[tokio::test]
    async fn folders_that_come_later_or_are_exchanged_are_followed() {
        let watched = Watched::new(&["opt"], &["/opt/a/etc/file"]);
        watched.put("/opt/a/etc/file");
        assert!(watched.sign());
        // A look follows each sign, and watches anew.
        watched.add(&["/opt/a/etc/file"]);
        let at = |path: &str| watched.folder.path().join(path);
        std::fs::create_dir_all(at("opt/b/etc")).unwrap();
        std::fs::rename(at("opt/a"), at("opt/old")).unwrap();
        std::fs::rename(at("opt/b"), at("opt/a")).unwrap();
        assert!(watched.sign());
        watched.add(&["/opt/a/etc/file"]);
        watched.put("/opt/a/etc/file");
        assert!(watched.sign());
    }
}
