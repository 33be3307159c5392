//! A master in a test's own hands: it answers whatever the test says.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::serve::Listener;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing_subscriber::fmt::MakeWriter;

/// A request that has come in.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Got {
    /// A header as text; empty if it is not there.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// Serves on a port of its own. Returns `127.0.0.1:PORT`, and what comes in, in order.
pub(crate) async fn serve(
    answer: impl Fn(&Got) -> Response + Send + Sync + 'static,
) -> (String, mpsc::UnboundedReceiver<Got>) {
    serve_at("127.0.0.1:0", answer).await
}

/// The same at an address.
pub(crate) async fn serve_at(
    address: &str,
    answer: impl Fn(&Got) -> Response + Send + Sync + 'static,
) -> (String, mpsc::UnboundedReceiver<Got>) {
    let listener = TcpListener::bind(address).await.unwrap();
    serve_on(listener, answer)
}

/// The same over TLS, with that certificate of `tests/fixtures/mesos-tls`.
pub(crate) async fn serve_tls(
    certificate: &str,
    answer: impl Fn(&Got) -> Response + Send + Sync + 'static,
) -> (String, mpsc::UnboundedReceiver<Got>) {
    let certificates = CertificateDer::pem_file_iter(fixture(certificate)).unwrap();
    let certificates = certificates.collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_file(fixture("server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    serve_on(Tls { tcp, acceptor: TlsAcceptor::from(Arc::new(config)) }, answer)
}

/// A file of `tests/fixtures/mesos-tls`.
pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/mesos-tls").join(name)
}

struct Tls {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let (stream, peer) = self.tcp.accept().await.unwrap();
            // A client that does not trust us hangs up.
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, peer);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

fn serve_on<L>(
    listener: L,
    answer: impl Fn(&Got) -> Response + Send + Sync + 'static,
) -> (String, mpsc::UnboundedReceiver<Got>)
where
    L: Listener<Addr = SocketAddr>,
{
    let (sender, received) = mpsc::unbounded_channel();
    let answer = Arc::new(answer);
    let handler = move |request: Request| {
        let (sender, answer) = (sender.clone(), Arc::clone(&answer));
        async move {
            let (parts, body) = request.into_parts();
            let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
            let got = Got { path: parts.uri.path().to_owned(), headers: parts.headers, body };
            let response = answer(&got);
            // The test may have seen enough.
            let _ = sender.send(got);
            response
        }
    };
    let address = listener.local_addr().unwrap().to_string();
    let router = Router::new().fallback(handler);
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (address, received)
}

/// An answer with a body of text.
pub(crate) fn plain(status: u16, body: &str) -> Response {
    typed(status, "text/plain; charset=utf-8", body)
}

/// An answer with a body of some type.
pub(crate) fn typed(status: u16, kind: &str, body: &str) -> Response {
    let status = StatusCode::from_u16(status).unwrap();
    (status, [("content-type", kind.to_owned())], body.to_owned()).into_response()
}

/// A redirect.
pub(crate) fn redirect(location: &str) -> Response {
    (StatusCode::TEMPORARY_REDIRECT, [("location", location.to_owned())]).into_response()
}

/// What a stream does after its bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Then {
    /// It ends as it should.
    End,
    /// It stays open, and nothing comes.
    Hang,
}

/// An event stream of these bytes, in chunks of random sizes.
pub(crate) fn events(bytes: impl Into<Bytes>, seed: u64, then: Then) -> Response {
    let (mut bytes, mut random, mut chunks) =
        (bytes.into(), SmallRng::seed_from_u64(seed), Vec::new());
    while !bytes.is_empty() {
        let size = random.random_range(1..=bytes.len().min(300));
        chunks.push(Ok(bytes.split_to(size)));
    }
    let chunks = stream::iter(chunks);
    match then {
        Then::End => streamed(chunks),
        Then::Hang => streamed(chunks.chain(stream::pending())),
    }
}

/// What a test sends over a stream as it goes; an error breaks the connection.
pub(crate) type Feed = mpsc::UnboundedSender<std::io::Result<Bytes>>;

/// An event stream that a test feeds.
pub(crate) fn live(mut bytes: mpsc::UnboundedReceiver<std::io::Result<Bytes>>) -> Response {
    streamed(stream::poll_fn(move |context| bytes.poll_recv(context)))
}

fn streamed(chunks: impl Stream<Item = std::io::Result<Bytes>> + Send + 'static) -> Response {
    let headers = [("content-type", "application/json"), ("mesos-stream-id", "stream-1")];
    (headers, Body::from_stream(chunks)).into_response()
}

/// A log for a test to read.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Log {
    /// All that this thread has to tell goes here until the guard is dropped.
    pub(crate) fn keep(&self) -> tracing::subscriber::DefaultGuard {
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_writer(self.clone())
            .with_ansi(false)
            .finish();
        tracing::subscriber::set_default(subscriber)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// A resolver of names that gives one address after the other, and the last one from then on.
#[derive(Clone, Debug)]
pub(crate) struct Names(Arc<Mutex<Vec<IpAddr>>>);

impl Names {
    pub(crate) fn new(addresses: &[IpAddr]) -> Self {
        Self(Arc::new(Mutex::new(addresses.iter().rev().copied().collect())))
    }
}

impl Resolve for Names {
    fn resolve(&self, _: Name) -> Resolving {
        let mut addresses = self.0.lock().unwrap();
        let last = addresses.len() == 1;
        let address = if last { addresses.last().copied() } else { addresses.pop() };
        // The port is that of the URL.
        let found: Addrs = Box::new(address.into_iter().map(|ip| SocketAddr::new(ip, 0)));
        Box::pin(std::future::ready(Ok(found)))
    }
}
