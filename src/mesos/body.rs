//! Reading the body of an answer without trusting its size.

use bytes::{Bytes, BytesMut};
use reqwest::Response;

/// Why a body was not read to its end.
#[derive(Debug)]
pub(super) enum Unread {
    /// It is larger than allowed.
    TooLarge,
    /// The connection broke.
    Broken(reqwest::Error),
}

/// The whole body, unpacked, if it has no more bytes than `limit`.
pub(super) async fn up_to(limit: usize, mut answer: Response) -> Result<Bytes, Unread> {
    let mut body = BytesMut::new();
    loop {
        match answer.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > limit => return Err(Unread::TooLarge),
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(body.freeze()),
            Err(error) => return Err(Unread::Broken(error.without_url())),
        }
    }
}
