//! Whether a mirror has this very program. Hosts refuse any other by its SHA-256, one by one and in words that only their
//! sandboxes have; one look from here tells it once, and where the mistake was made.

use std::time::Duration;

use reqwest::Response;
use sha2::{Digest, Sha256};

use super::outside;
use crate::rollout::config::Delivery;
use crate::words::SpecHash;

/// For the whole of it.
const PATIENCE: Duration = Duration::from_mins(5);

/// What is wrong with a mirror.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are said by the texts")]
pub enum MirrorError {
    /// It cannot be reached from here; hosts may be able to.
    #[error(
        "{url} could not be fetched here, so it is not known whether hosts find this program there"
    )]
    Fetch { url: String, source: reqwest::Error },
    /// It is not there.
    #[error("{url} answers {status}; hosts fetch this program from there: put it there")]
    Refused { url: String, status: u16 },
    /// It is something else.
    #[error(
        "{url} has the SHA-256 {found}, and this program {wanted}: hosts refuse it; put the very file \
         that runs here there, each version at a place of its own"
    )]
    Other { url: String, found: SpecHash, wanted: SpecHash },
}

/// Fetches what hosts would fetch, and compares.
///
/// # Errors
///
/// It is not this program, or could not be fetched.
pub async fn check(delivery: &Delivery) -> Result<(), MirrorError> {
    let url = || delivery.url.clone();
    let fail =
        |source: reqwest::Error| MirrorError::Fetch { url: url(), source: source.without_url() };
    let client = outside::client(&delivery.url).timeout(PATIENCE).build().map_err(fail)?;
    let answer = client.get(&delivery.url).send().await.map_err(fail)?;
    if !answer.status().is_success() {
        return Err(MirrorError::Refused { url: url(), status: answer.status().as_u16() });
    }
    let found = digest(answer).await.map_err(fail)?;
    if found != delivery.digest {
        return Err(MirrorError::Other { url: url(), found, wanted: delivery.digest });
    }
    Ok(())
}

async fn digest(mut answer: Response) -> Result<SpecHash, reqwest::Error> {
    let mut hash = Sha256::new();
    while let Some(piece) = answer.chunk().await? {
        hash.update(&piece);
    }
    Ok(SpecHash(hash.finalize().into()))
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::get;
    use tokio::net::TcpListener;

    use super::*;

    async fn said(path: &str) -> Result<(), String> {
        let mirror = Router::new()
            .route("/this/calico-dcos", get("this program"))
            .route("/other/calico-dcos", get("another one"));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}{path}/calico-dcos", listener.local_addr().unwrap());
        let serving = tokio::spawn(axum::serve(listener, mirror).into_future());
        let digest = SpecHash(Sha256::digest("this program").into());
        let checked = check(&Delivery { url, digest }).await;
        serving.abort();
        checked.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_mirror_has_this_very_program_or_it_is_told_what_it_has() {
        assert_eq!(said("/this").await, Ok(()));
        let other = said("/other").await.unwrap_err();
        assert!(other.contains("put the very file that runs here there"), "{other}");
        let nothing = said("/nowhere").await.unwrap_err();
        assert!(nothing.contains("/nowhere/calico-dcos answers 404"), "{nothing}");
    }

    #[tokio::test]
    async fn a_mirror_that_only_hosts_reach_is_told_as_such() {
        let url = "http://127.0.0.1:1/calico-dcos".to_owned();
        let delivery = Delivery { url, digest: SpecHash([0; 32]) };
        let error = check(&delivery).await.unwrap_err();
        assert!(matches!(error, MirrorError::Fetch { .. }), "{error}");
        assert!(error.to_string().starts_with(&delivery.url), "{error}");
    }
}
