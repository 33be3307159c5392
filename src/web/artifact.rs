//! This very program, for hosts to fetch. Its path names what it is by its SHA-256, so that no other file can be meant:
//! nothing of a path is ever looked up on a disk.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use super::Shared;
use super::api::named;
use super::problem::{Kind, Problem};
use crate::words::SpecHash;

/// Downloads at a time; the others wait. A rollout asks for few at once, a restart of all agents for many.
const DOWNLOADS: usize = 32;

/// Read at a time, in bytes.
const PIECE: usize = 256 * 1024;

/// The file that this process was started from, also if it was replaced meanwhile.
#[derive(Clone, Debug)]
pub struct Artifact {
    file: Arc<File>,
    size: u64,
    digest: SpecHash,
    places: Arc<Semaphore>,
}

impl Artifact {
    /// Reads it once, for its digest.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub fn of_this_program() -> io::Result<Self> {
        Self::of(File::open("/proc/self/exe")?)
    }

    fn of(mut file: File) -> io::Result<Self> {
        let mut hash = Sha256::new();
        let mut buffer = vec![0; PIECE];
        let mut size = 0;
        loop {
            match io::Read::read(&mut file, &mut buffer)? {
                0 => break,
                read => {
                    hash.update(&buffer[..read]);
                    size += read as u64;
                }
            }
        }
        let digest = SpecHash(hash.finalize().into());
        let places = Arc::new(Semaphore::new(DOWNLOADS));
        Ok(Self { file: Arc::new(file), size, digest, places })
    }

    /// What hosts check it against.
    #[must_use]
    pub fn digest(&self) -> SpecHash {
        self.digest
    }

    /// Where it is served, below the address of the page.
    #[must_use]
    pub fn path(&self) -> String {
        format!("artifact/{}/calico-dcos", self.digest)
    }

    /// The bytes, piece by piece; the place is given back with the last one, or when nobody reads on.
    async fn stream(&self) -> Result<Body, Problem> {
        let place = Arc::clone(&self.places).acquire_owned().await;
        let place = place.map_err(|_| Problem::new(Kind::Busy, "too many fetch it at a time"))?;
        let file = Arc::clone(&self.file);
        let pieces = stream::try_unfold((0, place), move |(at, place)| {
            let file = Arc::clone(&file);
            async move {
                let read = tokio::task::spawn_blocking(move || piece(&file, at)).await;
                let bytes = read.map_err(io::Error::other)??;
                let next = at + bytes.len() as u64;
                Ok::<_, io::Error>((!bytes.is_empty()).then_some((bytes, (next, place))))
            }
        });
        Ok(Body::from_stream(pieces))
    }
}

fn piece(file: &File, at: u64) -> io::Result<Bytes> {
    let mut buffer = vec![0; PIECE];
    let read = file.read_at(&mut buffer, at)?;
    buffer.truncate(read);
    Ok(buffer.into())
}

/// `/artifact/SHA256/calico-dcos`
pub(super) async fn artifact(
    State(site): Shared,
    digest: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let artifact = &site.artifact;
    if named(digest)? != artifact.digest.to_string() {
        return Err(Problem::new(
            Kind::NotFound,
            "this process is another version, and has no other file than its own; ask the leader",
        ));
    }
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
        (header::CONTENT_LENGTH, artifact.size.into()),
        // What a path names never changes.
        (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable")),
    ];
    Ok((headers, artifact.stream().await?).into_response())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[tokio::test]
    async fn the_file_comes_whole_also_when_it_was_replaced_and_its_place_is_given_back() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let text: Vec<u8> = (0..PIECE + 7).map(|at| u8::try_from(at % 251).unwrap()).collect();
        file.write_all(&text).unwrap();
        let artifact = Artifact::of(File::open(file.path()).unwrap()).unwrap();
        file.close().unwrap();
        assert_eq!(artifact.digest(), SpecHash::of(&text));
        for _ in 0..=DOWNLOADS {
            let body = artifact.stream().await.unwrap();
            let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
            assert!(bytes == text, "{} bytes", bytes.len());
        }
    }
}
