//! A proxy between a browser and a controller, as DC/OS' Admin Router is one: it serves below a path, takes `Authorization` for
//! its own, and passes everything else on until it is told to refuse some of it, with a page of its own.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;
use http::{HeaderMap, Method, StatusCode, Uri, header};
use reqwest::Client;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::support::PATIENCE;

/// Where the page is.
const PATH: &str = "/service/calico-dcos";

/// It; away when dropped.
pub(crate) struct Between {
    pub(crate) url: String,
    shared: Arc<Shared>,
    _stop: DropGuard,
}

struct Shared {
    behind: String,
    client: Client,
    /// Paths that begin like this are refused.
    refused: Mutex<Vec<&'static str>>,
    /// Asks that were refused so far.
    refusals: watch::Sender<usize>,
    /// Ends the answers that are under way.
    cut: Mutex<CancellationToken>,
}

impl Between {
    /// Before the controller at this address.
    pub(crate) async fn start(behind: &str) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let shared = Arc::new(Shared {
            behind: behind.to_owned(),
            client: Client::builder().tls_certs_only([]).build().unwrap(),
            refused: Mutex::default(),
            refusals: watch::Sender::new(0),
            cut: Mutex::default(),
        });
        let passes = Arc::clone(&shared);
        let router = Router::new().fallback(
            move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| {
                let shared = Arc::clone(&passes);
                async move { shared.pass(method, &uri, headers, body).await }
            },
        );
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}{PATH}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        tokio::spawn(
            async move { axum::serve(listener, router).with_graceful_shutdown(stopped).await },
        );
        Self { url, shared, _stop: stop.drop_guard() }
    }

    /// Ends every answer that is under way, and refuses from now on what begins with one of these.
    pub(crate) fn refuse(&self, paths: &[&'static str]) {
        paths.clone_into(&mut self.shared.refused.lock().unwrap());
        std::mem::take(&mut *self.shared.cut.lock().unwrap()).cancel();
    }

    /// Until something is refused once more.
    pub(crate) async fn until_refused(&self) {
        let mut refusals = self.shared.refusals.subscribe();
        let refused = tokio::time::timeout(PATIENCE, refusals.changed()).await;
        refused.expect("it is asked for").unwrap();
    }
}

impl Shared {
    async fn pass(
        &self,
        method: Method,
        uri: &Uri,
        mut headers: HeaderMap,
        body: Bytes,
    ) -> Response {
        let cut = self.cut.lock().unwrap().clone();
        let below = uri.path_and_query().unwrap().as_str().strip_prefix(PATH);
        let Some(below) = below else { return StatusCode::NOT_FOUND.into_response() };
        if headers.contains_key(header::AUTHORIZATION) {
            return (StatusCode::UNAUTHORIZED, "no token of this cluster").into_response();
        }
        if self.refused.lock().unwrap().iter().any(|path| below.starts_with(path)) {
            self.refusals.send_modify(|number| *number += 1);
            let page = "<html><h1>502 Bad Gateway</h1></html>";
            return (StatusCode::BAD_GATEWAY, [(header::CONTENT_TYPE, "text/html")], page)
                .into_response();
        }
        headers.remove(header::HOST);
        let request = self.client.request(method, format!("{}{below}", self.behind));
        let answer = request.headers(headers).body(body).send().await.unwrap();
        let mut passed = Response::builder().status(answer.status());
        passed.headers_mut().unwrap().extend(answer.headers().clone());
        let stream = answer.bytes_stream().take_until(cut.cancelled_owned());
        passed.body(Body::from_stream(stream)).unwrap()
    }
}
