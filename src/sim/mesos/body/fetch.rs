//! Puts files into sandboxes, as Mesos' fetcher does: over HTTP or from this machine, with a cache
//! for those that ask for it, executable or unpacked if asked.

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::sync::Mutex;

use crate::mesos::v1::Uri;

/// For the whole of one download.
const DOWNLOAD: Duration = Duration::from_mins(10);

/// Why a file is not there.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("{uri}: only http://, https://, file:// and paths are fetched here")]
    Scheme { uri: String },
    #[error("{uri}: its name leads out of the sandbox, or there is none; give an output_file")]
    Name { uri: String },
    #[error("{uri}: the download failed; is the address right, and does the server run?")]
    Http { uri: String, source: reqwest::Error },
    #[error("{uri}: {status}; is the address right?")]
    Status { uri: String, status: u16 },
    #[error("{uri}: it cannot be written to {}", path.display())]
    File { uri: String, path: PathBuf, source: std::io::Error },
    #[error("{uri}: it cannot be unpacked; is it the archive that its name says?")]
    Archive { uri: String },
}

/// One per agent.
pub(super) struct Fetcher {
    cache: PathBuf,
    /// One lock for each URI, so that what several want at once is fetched once.
    locks: Mutex<HashMap<String, Arc<Mutex<()>>>>,
}

impl Fetcher {
    pub(super) fn new(cache: &Path) -> Self {
        Self { cache: cache.to_owned(), locks: Mutex::default() }
    }

    /// Fetches one file into a sandbox.
    pub(super) async fn fetch(&self, uri: &Uri, sandbox: &Path) -> Result<(), FetchError> {
        let name = file_name(uri).ok_or_else(|| FetchError::Name { uri: uri.value.clone() })?;
        let target = sandbox.join(name);
        let failed = |path: &Path| {
            let (uri, path) = (uri.value.clone(), path.to_owned());
            move |source| FetchError::File { uri, path, source }
        };
        if let Some(folder) = target.parent() {
            tokio::fs::create_dir_all(folder).await.map_err(failed(folder))?;
        }
        if uri.cache == Some(true) {
            let cached = self.cached(uri).await?;
            tokio::fs::copy(&cached, &target).await.map_err(failed(&target))?;
        } else {
            get(&uri.value, &target).await?;
        }
        if uri.executable == Some(true) {
            let mode = std::fs::Permissions::from_mode(0o755);
            tokio::fs::set_permissions(&target, mode).await.map_err(failed(&target))?;
        } else if uri.extract {
            unpack(&uri.value, &target, sandbox).await?;
        }
        Ok(())
    }

    async fn cached(&self, uri: &Uri) -> Result<PathBuf, FetchError> {
        let lock = Arc::clone(self.locks.lock().await.entry(uri.value.clone()).or_default());
        let _held = lock.lock().await;
        let cached = self.cache.join(URL_SAFE_NO_PAD.encode(Sha256::digest(uri.value.as_bytes())));
        if !tokio::fs::try_exists(&cached).await.unwrap_or(false) {
            let failed = |source| {
                let (uri, path) = (uri.value.clone(), cached.clone());
                FetchError::File { uri, path, source }
            };
            tokio::fs::create_dir_all(&self.cache).await.map_err(failed)?;
            // Under its name only when it is whole.
            let partial = cached.with_extension("partial");
            get(&uri.value, &partial).await?;
            tokio::fs::rename(&partial, &cached).await.map_err(failed)?;
        }
        Ok(cached)
    }
}

/// The name in the sandbox: as asked, or the last part of the URI, its query included.
fn file_name(uri: &Uri) -> Option<PathBuf> {
    let name = match &uri.output_file {
        Some(name) => name.as_str(),
        None => uri.value.rsplit('/').next()?,
    };
    let path = Path::new(name);
    let inside = path.components().all(|c| matches!(c, std::path::Component::Normal(_)));
    (inside && !name.is_empty()).then(|| path.to_owned())
}

async fn get(uri: &str, target: &Path) -> Result<(), FetchError> {
    let failed = |source| FetchError::File { uri: uri.to_owned(), path: target.to_owned(), source };
    let local = uri.strip_prefix("file://").or(uri.starts_with('/').then_some(uri));
    if let Some(path) = local {
        tokio::fs::copy(path, target).await.map_err(failed)?;
        return Ok(());
    }
    if !uri.starts_with("http://") && !uri.starts_with("https://") {
        return Err(FetchError::Scheme { uri: uri.to_owned() });
    }
    let wrong = |source: reqwest::Error| FetchError::Http {
        uri: uri.to_owned(),
        source: source.without_url(),
    };
    let mut answer = client(uri).map_err(wrong)?.get(uri).send().await.map_err(wrong)?;
    if !answer.status().is_success() {
        let status = answer.status().as_u16();
        return Err(FetchError::Status { uri: uri.to_owned(), status });
    }
    let mut file = tokio::fs::File::create(target).await.map_err(failed)?;
    while let Some(chunk) = answer.chunk().await.map_err(wrong)? {
        file.write_all(&chunk).await.map_err(failed)?;
    }
    file.flush().await.map_err(failed)
}

fn client(uri: &str) -> Result<reqwest::Client, reqwest::Error> {
    // reqwest panics without a provider. If one is installed, this changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = reqwest::Client::builder().no_proxy().timeout(DOWNLOAD);
    if uri.starts_with("http://") {
        // Else a machine without CA certificates could not even speak plain HTTP.
        builder = builder.tls_certs_only([]);
    }
    builder.build()
}

/// With the same tools as Mesos' fetcher, for the same endings of the name.
async fn unpack(uri: &str, file: &Path, sandbox: &Path) -> Result<(), FetchError> {
    const TAR: [&str; 7] = [".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz"];
    const ZIP: [&str; 1] = [".zip"];
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let ends = |with: &[&str]| with.iter().any(|ending| name.ends_with(ending));
    let mut command = if ends(&TAR) {
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(sandbox).arg("-xf").arg(file);
        tar
    } else if ends(&ZIP) {
        let mut unzip = Command::new("unzip");
        unzip.arg("-o").arg("-d").arg(sandbox).arg(file);
        unzip
    } else {
        return Ok(());
    };
    let quiet = std::process::Stdio::null;
    let done = command.stdin(quiet()).stdout(quiet()).stderr(quiet()).status().await;
    match done {
        Ok(status) if status.success() => Ok(()),
        _ => Err(FetchError::Archive { uri: uri.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(value: &str, output_file: Option<&str>) -> Uri {
        Uri {
            value: value.to_owned(),
            executable: None,
            extract: true,
            cache: None,
            output_file: output_file.map(str::to_owned),
        }
    }

    #[test]
    fn a_file_is_named_as_mesos_names_it() {
        for (value, output, name) in [
            ("http://h/a/exec.py?tok=abc", None, Some("exec.py?tok=abc")),
            ("http://h/a/exec.py?tok=abc", Some("exec.py"), Some("exec.py")),
            ("file:///x/b", Some("bin/b"), Some("bin/b")),
            ("/x/b", None, Some("b")),
            ("http://h/a/", None, None),
            ("http://h/..", None, None),
            ("http://h/a", Some("../a"), None),
            ("http://h/a", Some("/etc/a"), None),
        ] {
            let found = file_name(&uri(value, output));
            assert_eq!(found.as_deref(), name.map(Path::new), "{value} {output:?}");
        }
    }

    #[tokio::test]
    async fn archives_are_unpacked_and_what_is_not_there_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let (source, sandbox) = (folder.path().join("src"), folder.path().join("box"));
        std::fs::create_dir_all(&source).unwrap();
        std::fs::create_dir_all(&sandbox).unwrap();
        std::fs::write(source.join("inner"), "hello").unwrap();
        let archive = folder.path().join("a.tgz");
        let tar = std::process::Command::new("tar")
            .args(["-C".as_ref(), source.as_os_str(), "-czf".as_ref(), archive.as_os_str()])
            .arg("inner")
            .status();
        assert!(tar.unwrap().success());
        let fetcher = Fetcher::new(&folder.path().join("cache"));
        fetcher.fetch(&uri(archive.to_str().unwrap(), None), &sandbox).await.unwrap();
        assert_eq!(std::fs::read_to_string(sandbox.join("inner")).unwrap(), "hello");

        std::fs::write(&archive, "no archive").unwrap();
        for (value, text) in [
            (archive.to_str().unwrap(), "cannot be unpacked"),
            ("/no/such/file", "cannot be written"),
            ("ftp://h/a", "only http://"),
            ("http://127.0.0.1:1/a", "the download failed"),
        ] {
            let error = fetcher.fetch(&uri(value, None), &sandbox).await.unwrap_err();
            assert!(error.to_string().contains(text), "{value}: {error}");
        }
    }

    #[tokio::test]
    async fn what_is_cached_is_fetched_once() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("program");
        std::fs::write(&source, "one").unwrap();
        let fetcher = Fetcher::new(&folder.path().join("cache"));
        let cached = Uri {
            cache: Some(true),
            executable: Some(true),
            ..uri(source.to_str().unwrap(), None)
        };
        let sandboxes: Vec<_> = ["a", "b", "c"].map(|name| folder.path().join(name)).into();
        for sandbox in &sandboxes {
            fetcher.fetch(&cached, sandbox).await.unwrap();
            std::fs::write(&source, "two").unwrap();
            let file = sandbox.join("program");
            assert_eq!(std::fs::read_to_string(&file).unwrap(), "one");
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o755);
        }
    }
}
