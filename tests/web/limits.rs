//! Clients that are many, slow or silent.

use http::StatusCode;

use crate::site::{Controller, Site};
use crate::support::PATIENCE;

/// Slow clients and many listeners.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: a thousand connections"]
async fn long_a_thousand_who_listen_and_clients_that_say_nothing_hold_up_nothing() {
    let site = Site::start().await;
    let controller = site.run("one", true);
    let mut open = Vec::new();
    for _ in 0..1_024 {
        let response = controller.get("/api/v1/events").await;
        assert_eq!(response.status(), StatusCode::OK);
        open.push(response);
    }
    let response = controller.get("/api/v1/events").await;
    Controller::refused(response, 503, "too many listen").await;
    let address = controller.url.strip_prefix("http://").unwrap();
    let silent: Vec<_> = (0..100).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
    let done = async {
        while controller.json("/api/v1/status").await["status"] != "done" {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, done).await.expect("the rollout goes on");
    assert_eq!(controller.json("/health").await["healthy"], true);
    drop((open, silent));
}
