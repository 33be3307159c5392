//! What a host fetches: by URL, and used only if it has the SHA-256 that was declared for it.

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, Url};
use sha2::{Digest, Sha256};

use super::files::{FileError, Root, Staging};
use super::state::FOLDER;
use crate::desired::Download;
use crate::words::SpecHash;

/// The largest file that is fetched, and that is taken out of an archive, in bytes.
const LARGEST: u64 = 512 << 20;
/// For a whole download.
const PATIENCE: Duration = Duration::from_mins(15);
/// Without any byte.
const SILENCE: Duration = Duration::from_mins(1);
/// So many files of each kind stay that nothing names any more: an edit may be taken back.
const MOST_UNUSED: usize = 2;

/// What went wrong with a download.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are said by the texts")]
pub enum DownloadError {
    /// The server does not give it.
    #[error("{url} cannot be downloaded; is it reachable from this host?")]
    Fetch { url: String, source: reqwest::Error },
    /// The server gives an error.
    #[error("{url} cannot be downloaded: the server answers {status}")]
    Refused { url: String, status: u16 },
    /// It is something else.
    #[error("{url} has the SHA-256 {found} and not {wanted}; correct the document or the file")]
    OtherContent { url: String, found: String, wanted: String },
    /// It does not end.
    #[error("{url} is larger than {} MiB", LARGEST >> 20)]
    TooLarge { url: String },
    /// The file that is on the host already is not there.
    #[error("{path} is not on this host; install it, or declare `url` and `sha256`")]
    Missing { path: String },
    /// The program is not in the archive.
    #[error("{url} holds no program `{name}`")]
    NotInside { url: String, name: String },
    /// It cannot be stored or read.
    #[error("{url} cannot be unpacked or stored")]
    Store { url: String, source: std::io::Error },
    /// It cannot be stored or read.
    #[error(transparent)]
    File(#[from] FileError),
}

/// What was fetched, kept by its SHA-256 below the state of the host.
#[derive(Clone, Debug)]
pub struct Downloads {
    root: Arc<Root>,
}

impl Downloads {
    /// Those of the host with this root.
    pub fn new(root: Arc<Root>) -> Self {
        Self { root }
    }

    /// The file as declared, for reading: as it lies on the host, or fetched unless it was before.
    pub async fn bytes(&self, from: &Download) -> Result<Vec<u8>, DownloadError> {
        match from {
            Download::Path(path) => match self.root.read(path.as_str())? {
                Some(found) => Ok(found.bytes),
                None => Err(DownloadError::Missing { path: path.to_string() }),
            },
            Download::Url { url, sha256 } => self.fetch(url.as_str(), sha256.as_str()).await,
        }
    }

    /// A program as declared: the file itself, or the one of this name in a `.tar.gz`. Gives the
    /// path under which it can be started.
    pub async fn program(&self, from: &Download, name: &str) -> Result<String, DownloadError> {
        let (url, sha256) = match from {
            Download::Path(path) if self.root.read(path.as_str())?.is_some() => {
                return Ok(path.to_string());
            }
            Download::Path(path) => return Err(DownloadError::Missing { path: path.to_string() }),
            Download::Url { url, sha256 } => (url.as_str(), sha256.as_str()),
        };
        let path = format!("{FOLDER}/programs/{name}-{sha256}");
        // It was checked before it got this name, and only root can have changed it since.
        if self.root.read(&path)?.is_some() {
            return Ok(path);
        }
        let bytes = self.fetch(url, sha256).await?;
        let program = unpack(url, bytes, name)?;
        self.root.write(&path, &program, 0o755, Staging::Beside)?;
        Ok(path)
    }

    /// Removes what is not in use, by its SHA-256, but for the newest few.
    pub fn prune(&self, in_use: impl Fn(&str) -> bool) -> Result<(), FileError> {
        for folder in ["downloads", "programs"] {
            let mut unused = Vec::new();
            for name in self.root.list(&format!("{FOLDER}/{folder}"))? {
                let path = format!("{FOLDER}/{folder}/{name}");
                // Of a program the name comes first. What has another name is being written.
                let sha256 = name.rsplit('-').next().filter(|sha256| sha256.len() == 64);
                if sha256.is_some_and(|sha256| !in_use(sha256))
                    && let Some(stamp) = self.root.stamp(&path)?
                {
                    unused.push((stamp.changed(), path));
                }
            }
            unused.sort();
            let surplus = unused.len().saturating_sub(MOST_UNUSED);
            for (_, path) in unused.iter().take(surplus) {
                self.root.remove(path)?;
            }
        }
        Ok(())
    }

    async fn fetch(&self, url: &str, wanted: &str) -> Result<Vec<u8>, DownloadError> {
        let path = format!("{FOLDER}/downloads/{wanted}");
        if let Some(found) = self.root.read(&path)?
            && SpecHash::of(&found.bytes).to_string() == wanted
        {
            return Ok(found.bytes);
        }
        let bytes = download(url, wanted).await?;
        self.root.write(&path, &bytes, 0o600, Staging::Beside)?;
        Ok(bytes)
    }
}

/// Straight into a file without a name, so that a large one does not stay in memory and one that
/// was cut off leaves nothing.
async fn download(url: &str, wanted: &str) -> Result<Vec<u8>, DownloadError> {
    let failed = |source: reqwest::Error| DownloadError::Fetch {
        url: url.to_owned(),
        source: source.without_url(),
    };
    let store = |source| DownloadError::Store { url: url.to_owned(), source };
    let mut answer = client(url).map_err(failed)?.get(url).send().await.map_err(failed)?;
    if !answer.status().is_success() {
        let status = answer.status().as_u16();
        return Err(DownloadError::Refused { url: url.to_owned(), status });
    }
    let mut file = tempfile::tempfile_in(std::env::temp_dir()).map_err(store)?;
    let (mut hash, mut size) = (Sha256::new(), 0_u64);
    while let Some(chunk) = answer.chunk().await.map_err(failed)? {
        size += chunk.len() as u64;
        if size > LARGEST {
            return Err(DownloadError::TooLarge { url: url.to_owned() });
        }
        hash.update(&chunk);
        file.write_all(&chunk).map_err(store)?;
    }
    let found = SpecHash(hash.finalize().into()).to_string();
    if found != wanted {
        let (url, wanted) = (url.to_owned(), wanted.to_owned());
        return Err(DownloadError::OtherContent { url, found, wanted });
    }
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0)).map_err(store)?;
    file.read_to_end(&mut bytes).map_err(store)?;
    Ok(bytes)
}

/// Redirects are followed: whatever they lead to, the content is checked.
fn client(url: &str) -> Result<Client, reqwest::Error> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = Client::builder()
        .dns_resolver(Arc::new(super::dns::Dns))
        .connect_timeout(Duration::from_secs(10))
        .read_timeout(SILENCE)
        .timeout(PATIENCE);
    match Url::parse(url) {
        // A host without CA certificates can still fetch over plain HTTP.
        Ok(url) if url.scheme() == "http" => builder.tls_certs_only([]).build(),
        _ => builder.build(),
    }
}

/// Takes a program out of a `.tar.gz`; what is none is the program itself.
fn unpack(url: &str, bytes: Vec<u8>, name: &str) -> Result<Vec<u8>, DownloadError> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(bytes);
    }
    let store = |source| DownloadError::Store { url: url.to_owned(), source };
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(bytes.as_slice()));
    for entry in archive.entries().map_err(store)? {
        let entry = entry.map_err(store)?;
        let path: PathBuf = entry.path().map_err(store)?.into_owned();
        if entry.header().entry_type().is_file() && path.file_name().is_some_and(|f| f == name) {
            let mut program = Vec::new();
            entry.take(LARGEST + 1).read_to_end(&mut program).map_err(store)?;
            if program.len() as u64 > LARGEST {
                return Err(DownloadError::TooLarge { url: url.to_owned() });
            }
            return Ok(program);
        }
    }
    Err(DownloadError::NotInside { url: url.to_owned(), name: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(files: &[(&str, &str)]) -> Vec<u8> {
        let mut archive = tar::Builder::new(flate2::write::GzEncoder::new(
            Vec::new(),
            flate2::Compression::fast(),
        ));
        for (path, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o755);
            archive.append_data(&mut header, path, content.as_bytes()).unwrap();
        }
        archive.into_inner().unwrap().finish().unwrap()
    }

    /// Serves one body to whoever asks.
    async fn serve(body: Vec<u8>) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/etcd.tar.gz", listener.local_addr().unwrap());
        let service = axum::Router::new().fallback(move || std::future::ready(body.clone()));
        tokio::spawn(async move { axum::serve(listener, service).await });
        url
    }

    fn declared(url: &str, sha256: &str) -> Download {
        serde_json::from_value(serde_json::json!({"url": url, "sha256": sha256})).unwrap()
    }

    #[tokio::test]
    async fn a_program_is_fetched_checked_unpacked_and_kept() {
        let body = archive(&[("etcd-v3/README", "x"), ("etcd-v3/etcd", "program")]);
        let (url, sha256) = (serve(body.clone()).await, SpecHash::of(&body).to_string());
        let folder = tempfile::tempdir().unwrap();
        let root = Arc::new(Root::new(folder.path()));
        let downloads = Downloads::new(Arc::clone(&root));
        let path = downloads.program(&declared(&url, &sha256), "etcd").await.unwrap();
        let found = root.read(&path).unwrap().unwrap();
        assert_eq!((found.bytes.as_slice(), found.attributes.mode), (b"program".as_slice(), 0o755));
        // The second time nobody is asked.
        let gone = declared("http://127.0.0.1:1/etcd.tar.gz", &sha256);
        assert_eq!(downloads.program(&gone, "etcd").await.unwrap(), path);
        let missing = downloads.program(&gone, "etcdctl").await.unwrap_err();
        assert!(matches!(missing, DownloadError::NotInside { .. }), "{missing}");
    }

    #[test]
    fn what_is_not_in_use_goes_but_for_the_newest_few() {
        let folder = tempfile::tempdir().unwrap();
        let root = Arc::new(Root::new(folder.path()));
        let downloads = Downloads::new(Arc::clone(&root));
        let sha256 = |digit: u32| digit.to_string().repeat(64);
        for digit in 1..=5 {
            for name in
                [format!("downloads/{}", sha256(digit)), format!("programs/etcd-{}", sha256(digit))]
            {
                root.write(&format!("{FOLDER}/{name}"), b"x", 0o600, Staging::Beside).unwrap();
            }
        }
        root.write(&format!("{FOLDER}/programs/.calico-dcos-a1B2c3"), b"x", 0o600, Staging::Beside)
            .unwrap();
        downloads.prune(|of| of == sha256(1)).unwrap();
        let left = [1, 4, 5].map(sha256);
        assert_eq!(root.list(&format!("{FOLDER}/downloads")).unwrap(), left);
        let programs = left.map(|sha256| format!("etcd-{sha256}"));
        let found = root.list(&format!("{FOLDER}/programs")).unwrap();
        assert_eq!(found[1..], programs);
    }

    #[tokio::test]
    async fn one_byte_that_differs_is_refused_and_nothing_is_kept() {
        let url = serve(b"something else".to_vec()).await;
        let folder = tempfile::tempdir().unwrap();
        let downloads = Downloads::new(Arc::new(Root::new(folder.path())));
        let error = downloads.bytes(&declared(&url, &"0".repeat(64))).await.unwrap_err();
        assert!(matches!(error, DownloadError::OtherContent { .. }), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
