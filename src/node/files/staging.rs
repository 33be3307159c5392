//! Files that are being written, and what is left of them when that was cut off.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{self, AtFlags, FileType, FlockOperation, Mode, OFlags};

use super::by_descriptor;

/// What the name of a file begins with that is being written; six letters and digits follow.
const STAGED: &str = ".calico-dcos-";
/// So many that were left behind are removed at a time.
const MOST_SWEPT: usize = 100;

/// Where a file is written before it is renamed into its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Staging {
    /// Beside it.
    Beside,
    /// In the folder above: for folders in which every file counts, such as the agent's for CNI.
    Above,
}

/// The path whose folder a file is staged in.
pub(super) fn staged_in(path: &str, staging: Staging) -> &str {
    match staging {
        Staging::Beside => path,
        Staging::Above => Path::new(path).parent().and_then(Path::to_str).unwrap_or("/"),
    }
}

/// A new file, locked for as long as it is being written.
pub(super) fn stage(folder: &OwnedFd) -> io::Result<tempfile::NamedTempFile> {
    loop {
        // 0600 until it has its owner: what was kept from others stays so at every moment.
        let file = tempfile::Builder::new().prefix(STAGED).tempfile_in(by_descriptor(folder))?;
        fs::flock(&file, FlockOperation::LockExclusive)?;
        // Another process may have swept it away before it was locked.
        if fs::fstat(&file)?.st_nlink > 0 {
            return Ok(file);
        }
    }
}

/// Removes what was left half written in a folder by processes that were cut off. What is still
/// being written is locked; what cannot be removed is in nobody's way.
pub(super) fn sweep(folder: &OwnedFd) {
    let staged = |name: &str| {
        name.strip_prefix(STAGED).is_some_and(|rest| {
            rest.len() == 6 && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
        })
    };
    let Ok(entries) = std::fs::read_dir(by_descriptor(folder)) else { return };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    for name in names.filter(|name| staged(name)).take(MOST_SWEPT) {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let Ok(file) = fs::openat(folder, &name, flags, Mode::empty()) else { continue };
        let plain = fs::fstat(&file)
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
        if plain && fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _ = fs::unlinkat(folder, &name, AtFlags::empty());
        }
    }
}
