//! Files of the host: read and replaced as root, on a machine that is not ours alone.
//!
//! - A file is replaced by renaming a complete, synced one over it, so that a crash leaves the old
//!   or the new one. Mode, owner and `SELinux` label of what was there are kept.
//! - A file that is a symbolic link is neither read nor replaced. A folder that is one is entered
//!   if root has made the link (DC/OS keeps `/opt/mesosphere/etc` so); others could lead anywhere.
//! - What is equal already is not touched: neither inode nor times change.

mod staging;

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Component as Part, Path, PathBuf};

use rustix::fs::{self, AtFlags, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use staging::{stage, staged_in, sweep};

pub use staging::Staging;

/// Nothing that is kept or compared is larger; in bytes.
const LARGEST: u64 = 512 << 20;
/// Links in one path; more are a loop.
const MOST_LINKS: usize = 16;
const LABEL: &str = "security.selinux";

/// What went wrong with a file.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are said by the texts")]
pub enum FileError {
    /// A system call failed.
    #[error("{path} cannot be {what}")]
    Failed { path: String, what: &'static str, source: io::Error },
    /// The file is a link, a folder, a device.
    #[error("{path} is no plain file; put one in its place, or move it away")]
    NotPlain { path: String },
    /// A link in the path that somebody else than root has made.
    #[error("{path} leads through a link that root has not made; replace {link} by a folder")]
    ForeignLink { path: String, link: String },
    /// A folder in the path that everybody can write.
    #[error("{path} is in {folder}, which everybody can write; take that permission away")]
    OpenFolder { path: String, folder: String },
    /// It is of another encoding.
    #[error("{path} is not UTF-8, so that it could not be written back as it is; make it UTF-8")]
    NotText { path: String },
    /// It does not fit.
    #[error("{path} is larger than {} MiB, which no file of its kind is", LARGEST >> 20)]
    TooLarge { path: String },
}

/// A plain file as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its content.
    pub bytes: Vec<u8>,
    /// Mode, owner and label.
    pub attributes: Attributes,
}

/// What is kept of a file beside its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attributes {
    /// Permissions, such as `0o644`.
    pub mode: u32,
    /// Owner and group; none: those of this process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<(u32, u32)>,
    /// The label of `SELinux`, if the file system has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<Vec<u8>>,
}

impl Attributes {
    /// Those of a new file.
    pub fn new(mode: u32) -> Self {
        Self { mode, owner: None, label: None }
    }
}

/// See [`Root::stamp`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    file: (u64, u64),
    changed: (i64, i64),
    size: i64,
}

impl Stamp {
    /// When the file was last changed, in seconds and nanoseconds: the later, the larger.
    pub fn changed(self) -> (i64, i64) {
        self.changed
    }
}

/// The file system below one folder: `/`, or a test's own.
#[derive(Clone, Debug)]
pub struct Root(PathBuf);

impl Root {
    /// Everything below `folder`.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    /// Where an absolute path really is; for what has to be named to another program.
    pub fn place(&self, path: &str) -> PathBuf {
        self.0.join(path.trim_start_matches('/'))
    }

    /// The file, or none if there is none.
    pub fn read(&self, path: &str) -> Result<Option<Found>, FileError> {
        let Some((folder, name)) = self.folder(path, false)? else { return Ok(None) };
        let failed = failed(path, "read");
        // Not blocking: a named pipe would keep us for ever.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = match fs::openat(&folder, &name, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => return Err(FileError::NotPlain { path: path.to_owned() }),
            Err(error) => return Err(failed(error.into())),
        };
        let stat = fs::fstat(&file).map_err(|error| failed(error.into()))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(FileError::NotPlain { path: path.to_owned() });
        }
        let mut bytes = Vec::new();
        (&file).take(LARGEST + 1).read_to_end(&mut bytes).map_err(&failed)?;
        if bytes.len() as u64 > LARGEST {
            return Err(FileError::TooLarge { path: path.to_owned() });
        }
        let attributes = Attributes {
            mode: stat.st_mode & 0o7777,
            owner: Some((stat.st_uid, stat.st_gid)),
            label: label(&file),
        };
        Ok(Some(Found { bytes, attributes }))
    }

    /// What changes whenever the file does; none if there is none. It saves reading large files
    /// again and again.
    pub fn stamp(&self, path: &str) -> Result<Option<Stamp>, FileError> {
        let Some((folder, name)) = self.folder(path, false)? else { return Ok(None) };
        match fs::statat(&folder, &name, AtFlags::SYMLINK_NOFOLLOW) {
            // The time of change cannot be set by a program.
            Ok(stat) => Ok(Some(Stamp {
                file: (stat.st_dev, stat.st_ino),
                changed: (stat.st_ctime, stat.st_ctime_nsec.cast_signed()),
                size: stat.st_size,
            })),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(failed(path, "looked at")(error.into())),
        }
    }

    /// The text of a file that is written back: what is not UTF-8 would not come back as it was, and is an error.
    pub fn exact_text(&self, path: &str) -> Result<Option<String>, FileError> {
        let Some(found) = self.read(path)? else { return Ok(None) };
        let text = String::from_utf8(found.bytes);
        text.map(Some).map_err(|_| FileError::NotText { path: path.to_owned() })
    }

    /// The text of a file; what is not UTF-8 is replaced.
    pub fn text(&self, path: &str) -> Result<Option<String>, FileError> {
        let found = self.read(path)?;
        Ok(found.map(|found| String::from_utf8_lossy(&found.bytes).into_owned()))
    }

    /// Makes the file's content `bytes`. One that is there keeps its attributes, a new one gets
    /// `mode`; folders are made as needed. Says whether anything was changed.
    pub fn write(
        &self,
        path: &str,
        bytes: &[u8],
        mode: u32,
        staging: Staging,
    ) -> Result<bool, FileError> {
        let found = self.read(path)?;
        if found.as_ref().is_some_and(|found| found.bytes == bytes) {
            return Ok(false);
        }
        let attributes = found.map_or_else(|| Attributes::new(mode), |found| found.attributes);
        self.replace(path, &mut &*bytes, &attributes, staging)?;
        Ok(true)
    }

    /// Makes a new file of what is read from `source`, however long that is.
    pub fn write_from(
        &self,
        path: &str,
        source: &mut dyn Read,
        mode: u32,
    ) -> Result<(), FileError> {
        self.replace(path, source, &Attributes::new(mode), Staging::Beside)
    }

    /// Makes the file what was found once: that file, or none.
    pub fn restore(
        &self,
        path: &str,
        found: Option<&Found>,
        staging: Staging,
    ) -> Result<(), FileError> {
        // Whoever was cut off while it wrote the file had it staged in either.
        for staging in [Staging::Beside, Staging::Above] {
            if let Some((staged, _)) = self.folder(staged_in(path, staging), false)? {
                sweep(&staged);
            }
        }
        match found {
            None => self.remove(path).map(drop),
            Some(found) if self.read(path)?.as_ref() == Some(found) => Ok(()),
            Some(found) => {
                self.replace(path, &mut found.bytes.as_slice(), &found.attributes, staging)
            }
        }
    }

    /// Removes a file. Says whether there was one.
    pub fn remove(&self, path: &str) -> Result<bool, FileError> {
        let Some((folder, name)) = self.folder(path, false)? else { return Ok(false) };
        match fs::unlinkat(&folder, &name, AtFlags::empty()) {
            Ok(()) => sync(&folder).map(|()| true).map_err(failed(path, "removed")),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(failed(path, "removed")(error.into())),
        }
    }

    /// The names in a folder, sorted; empty if it does not exist.
    pub fn list(&self, path: &str) -> Result<Vec<String>, FileError> {
        let Some((folder, _)) = self.folder(&format!("{path}/."), false)? else {
            return Ok(Vec::new());
        };
        let failed = failed(path, "listed");
        let entries = std::fs::read_dir(by_descriptor(&folder)).map_err(&failed)?;
        let mut names = Vec::new();
        for entry in entries {
            names.push(entry.map_err(&failed)?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    fn replace(
        &self,
        path: &str,
        source: &mut dyn Read,
        attributes: &Attributes,
        staging: Staging,
    ) -> Result<(), FileError> {
        let failed = failed(path, "written");
        let nowhere = || failed(Errno::NOENT.into());
        let (folder, name) = self.folder(path, true)?.ok_or_else(nowhere)?;
        let (staged, _) = self.folder(staged_in(path, staging), true)?.ok_or_else(nowhere)?;
        sweep(&staged);
        let mut file = stage(&staged).map_err(&failed)?;
        io::copy(source, &mut file).map_err(&failed)?;
        dress(file.as_file(), attributes).map_err(|error| failed(error.into()))?;
        file.as_file().sync_all().map_err(&failed)?;
        let into = by_descriptor(&folder).join(&name);
        file.persist(into).map_err(|error| failed(error.error))?;
        sync(&folder).map_err(&failed)?;
        if staging == Staging::Above { sync(&staged).map_err(&failed) } else { Ok(()) }
    }

    /// The folder that a path is in, and the last part of it; none if there is no such folder
    /// and none is to be made.
    fn folder(&self, path: &str, make: bool) -> Result<Option<(OwnedFd, String)>, FileError> {
        let failed = failed(path, "reached");
        let root =
            || fs::open(&self.0, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        let mut folder = root().map_err(|error| failed(error.into()))?;
        let mut parts = plain_parts(Path::new(path));
        let name = parts.pop().unwrap_or_else(|| ".".to_owned());
        parts.reverse();
        let mut links = 0;
        while let Some(part) = parts.pop() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match fs::openat(&folder, &part, flags, Mode::empty()) {
                Ok(next) => folder = next,
                Err(Errno::NOENT) if make => {
                    match fs::mkdirat(&folder, &part, Mode::from_raw_mode(0o755)) {
                        Ok(()) => sync(&folder).map_err(&failed)?,
                        Err(Errno::EXIST) => {}
                        Err(error) => return Err(failed(error.into())),
                    }
                    parts.push(part);
                    continue;
                }
                Err(Errno::NOENT) => return Ok(None),
                Err(Errno::LOOP | Errno::NOTDIR) if links < MOST_LINKS => {
                    links += 1;
                    let target = trusted_link(&folder, &part, path)?;
                    if target.is_absolute() {
                        folder = root().map_err(|error| failed(error.into()))?;
                    }
                    parts.extend(plain_parts(&target).into_iter().rev());
                    continue;
                }
                Err(error) => return Err(failed(error.into())),
            }
            let stat = fs::fstat(&folder).map_err(|error| failed(error.into()))?;
            if stat.st_mode & 0o1002 == 0o002 {
                return Err(FileError::OpenFolder { path: path.to_owned(), folder: part });
            }
        }
        Ok(Some((folder, name)))
    }
}

fn plain_parts(path: &Path) -> Vec<String> {
    let text = |part: Part<'_>| match part {
        Part::Normal(name) => Some(name.to_string_lossy().into_owned()),
        Part::ParentDir => Some("..".to_owned()),
        _ => None,
    };
    // `Path` drops a last `.`, by which a folder itself is meant.
    let itself = path.to_str().is_some_and(|path| path.ends_with("/."));
    path.components().filter_map(text).chain(itself.then(|| ".".to_owned())).collect()
}

/// Where a link leads, if it is one and root (or this very user, in tests) has made it.
fn trusted_link(folder: &OwnedFd, name: &str, path: &str) -> Result<PathBuf, FileError> {
    let failed = failed(path, "reached");
    let stat = fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|error| failed(error.into()))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
        return Err(failed(Errno::NOTDIR.into()));
    }
    if stat.st_uid != 0 && stat.st_uid != rustix::process::geteuid().as_raw() {
        let (path, link) = (path.to_owned(), name.to_owned());
        return Err(FileError::ForeignLink { path, link });
    }
    let target = fs::readlinkat(folder, name, Vec::new()).map_err(|error| failed(error.into()))?;
    Ok(PathBuf::from(target.to_string_lossy().into_owned()))
}

fn dress(file: &File, attributes: &Attributes) -> rustix::io::Result<()> {
    if let Some((user, group)) = attributes.owner {
        let stat = fs::fstat(file)?;
        if (stat.st_uid, stat.st_gid) != (user, group) {
            fs::fchown(file, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)))?;
        }
    }
    if let Some(wanted) =
        attributes.label.as_ref().filter(|wanted| label(file) != Some((*wanted).clone()))
    {
        fs::fsetxattr(file, LABEL, wanted, fs::XattrFlags::empty())?;
    }
    // After the owner: a change of owner takes set-user-ID bits away.
    fs::fchmod(file, Mode::from_raw_mode(attributes.mode))
}

/// None where the file system has no labels.
fn label(file: &File) -> Option<Vec<u8>> {
    let mut value = vec![0; 512];
    let length = fs::fgetxattr(file, LABEL, &mut value).ok()?;
    value.truncate(length);
    Some(value)
}

fn by_descriptor(folder: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", folder.as_fd().as_raw_fd()))
}

fn sync(folder: &OwnedFd) -> io::Result<()> {
    // The descriptor of the root is for its path alone, which cannot be synced.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = fs::openat(folder, ".", flags, Mode::empty())?;
    Ok(fs::fsync(folder)?)
}

fn failed(path: &str, what: &'static str) -> impl Fn(io::Error) -> FileError {
    move |source| FileError::Failed { path: path.to_owned(), what, source }
}

#[cfg(test)]
mod tests;
