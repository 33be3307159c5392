//! HTTP towards what is neither Mesos nor etcd: gates, and mirrors.

use reqwest::{Client, ClientBuilder};

/// A client without a proxy from the environment, to be finished.
pub(super) fn client(url: &str) -> ClientBuilder {
    // reqwest panics without a provider. If one is installed, this changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = Client::builder().no_proxy();
    if url.starts_with("https:") {
        return builder;
    }
    // Else a machine without CA certificates could not even speak plain HTTP.
    builder.tls_certs_only([])
}
