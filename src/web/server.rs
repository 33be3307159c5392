//! Connections, and what keeps many or slow ones from becoming anybody's problem: there are only so many, a
//! request has to come within seconds, and none lasts for ever.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::control::Peer;

/// Connections at a time; more wait until one ends.
const CONNECTIONS: usize = 1280;

/// For the head of a request, also for the next one on the same connection.
const HEAD: Duration = Duration::from_secs(15);

/// The head of a request, in bytes. A query has all that a page can be asked for in a fraction of it.
const HEAD_BYTES: usize = 16 * 1024;

/// A connection lasts so long at most: whoever reads too slowly, or not at all, makes place for others.
/// Pages that follow events connect again by themselves.
const LIFETIME: Duration = Duration::from_mins(10);

/// What is being answered when the server stops has so long to end.
const FAREWELL: Duration = Duration::from_secs(3);

/// After the system has refused a connection, for want of file descriptors as a rule.
const PAUSE: Duration = Duration::from_millis(200);

/// Answers what comes until told to stop.
pub(super) async fn serve(listener: TcpListener, router: Router, shutdown: CancellationToken) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = accept(&listener, &places) => accepted,
        };
        match accepted {
            Ok((stream, peer, place)) => {
                let (router, shutdown) = (router.clone(), shutdown.clone());
                connections.spawn(async move {
                    converse(stream, peer, router, shutdown).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection to the page or the API was not accepted");
                sleep(PAUSE).await;
            }
        }
    }
    drop(listener);
    connections.close();
    // Whoever is slower than that is cut off with the process.
    let _ = timeout(FAREWELL, connections.wait()).await;
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, Peer, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    // Small answers are not held back; without it they are slower, nothing else.
    let _ = stream.set_nodelay(true);
    Ok((stream, Peer(peer), place))
}

async fn converse(stream: TcpStream, peer: Peer, router: Router, shutdown: CancellationToken) {
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        router.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let talk = async {
        tokio::select! {
            ended = connection.as_mut() => return ended,
            () = shutdown.cancelled() => {}
        }
        connection.as_mut().graceful_shutdown();
        connection.await
    };
    match timeout(LIFETIME, talk).await {
        Ok(Ok(())) => {}
        // The other end's doing, and its to notice.
        Ok(Err(error)) => tracing::debug!(%error, "a connection has ended"),
        Err(_) => tracing::debug!("a connection has reached its longest time"),
    }
}
