//! The model behind Mesos' HTTP API: a server for a world, in real time.

use std::net::{IpAddr, SocketAddr};

use axum::body::Body;
use axum::extract::State as Shared;
use axum::response::Response;
use http::Request as HttpRequest;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::answers::answer;
pub use super::answers::standby;
use super::driver::Driver;
pub use super::driver::World;
use crate::words::Time;

/// Why the server cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Somebody else listens there.
    #[error("{address} is in use; stop the program that listens there, or give another address")]
    InUse {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// Nobody may listen there.
    #[error("cannot listen on {address}; give an address and a port of this machine")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
}

/// A world that is served. It ends when this is dropped.
pub struct SimServer<W> {
    address: SocketAddr,
    driver: Driver<W>,
    stop: Option<oneshot::Sender<()>>,
    world: Option<JoinHandle<W>>,
    serving: JoinHandle<()>,
}

impl<W: World> SimServer<W> {
    /// Serves the world on that address; port 0 takes a free one. Real time starts now.
    ///
    /// # Errors
    /// If nothing can listen there.
    pub async fn start(listen: SocketAddr, mut world: W) -> Result<Self, ServerError> {
        let refused = |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::AddrInUse => ServerError::InUse { address: listen, source },
            _ => ServerError::Listen { address: listen, source },
        };
        let listener = tokio::net::TcpListener::bind(listen).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        if let IpAddr::V4(ip) = address.ip() {
            world.mesos().set_address(ip, address.port());
        }
        let (stop, stopped) = oneshot::channel();
        let (driver, world) = Driver::start(world, stopped);
        let router = axum::Router::new().fallback(answer::<W>).with_state(driver.clone());
        let serving = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "the simulated Mesos no longer accepts connections");
            }
        });
        Ok(Self { address, driver, stop: Some(stop), world: Some(world), serving })
    }

    pub(super) fn driver(&self) -> &Driver<W> {
        &self.driver
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers a request as if it had come over the network, which virtual time does not pass on.
    pub async fn request(&self, request: HttpRequest<Body>) -> Response {
        answer(Shared(self.driver.clone()), request).await
    }

    /// Does something with the world at its present time. None if it has ended by a panic.
    pub async fn with<R: Send + 'static>(
        &self,
        act: impl FnOnce(&mut W, Time) -> R + Send + 'static,
    ) -> Option<R> {
        self.driver
            .ask(move |state| {
                let now = state.now();
                act(&mut state.world, now)
            })
            .await
    }

    /// Ends it: streams end, calls are answered 503. Returns the world, unless it has panicked.
    pub async fn stop(mut self) -> Option<W> {
        self.stop.take();
        self.world.take()?.await.ok()
    }
}

impl<W> Drop for SimServer<W> {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
