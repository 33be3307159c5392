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

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::response::IntoResponse;
    use futures_util::stream;

    use super::*;
    use crate::mesos::testing::serve;

    async fn asked(master: &str) -> Response {
        // reqwest panics without a provider.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
        client.get(format!("http://{master}")).send().await.unwrap()
    }

    #[tokio::test]
    async fn a_body_is_read_to_its_limit_and_no_further() {
        let chunk = || Ok::<_, std::io::Error>(Bytes::from_static(&[b'x'; 999]));
        let (master, _) =
            serve(move |_| Body::from_stream(stream::repeat_with(chunk)).into_response()).await;
        let read = up_to(10_000, asked(&master).await).await;
        assert!(matches!(read, Err(Unread::TooLarge)), "{read:?}");

        let (master, _) = serve(|_| "x".repeat(1_000).into_response()).await;
        for (limit, fits) in [(999, false), (1_000, true)] {
            let read = up_to(limit, asked(&master).await).await;
            assert_eq!(read.is_ok_and(|body| body.len() == 1_000), fits, "{limit}");
        }
    }
}
