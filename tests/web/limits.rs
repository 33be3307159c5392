//! Clients that are many, slow or silent.

use std::time::Duration;

use calico_dcos::clock;
use http::StatusCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::site::{CLUSTER, Controller, Site, TOKEN};
use crate::support::PATIENCE;

/// How long an edit takes until every host is as it says.
async fn time_of_an_edit(site: &Site, controller: &Controller, generation: u64) -> Duration {
    let began = clock::monotonic();
    site.declare(&CLUSTER.replace("calico/node:v1", &format!("calico/node:v{generation}"))).await;
    let done = async {
        loop {
            let status = controller.json("/api/v1/status").await;
            if status["generation"] == generation && status["status"] == "done" {
                break;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, done).await.expect("the rollout goes on");
    clock::monotonic().saturating_sub(began)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: a thousand connections"]
async fn long_a_thousand_who_listen_and_clients_that_say_nothing_hold_up_nothing() {
    let site = Site::start().await;
    let controller = site.run("one", true);
    controller.until_done().await;
    // Offers are asked for again five seconds after the last time at the earliest, so the first edit is not counted.
    time_of_an_edit(&site, &controller, 2).await;
    let alone = time_of_an_edit(&site, &controller, 3).await;
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
    let crowded = time_of_an_edit(&site, &controller, 4).await;
    println!("an edit on five hosts: {alone:?} alone, {crowded:?} with 1,024 who listen");
    assert!(crowded < alone + Duration::from_secs(5), "{alone:?} {crowded:?}");
    assert_eq!(controller.json("/health").await["healthy"], true);
    drop((open, silent));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_the_token_is_refused_before_its_body_is_read() {
    let site = Site::start().await;
    let controller = site.run("one", true);
    controller.until_led().await;
    let address = controller.url.strip_prefix("http://").unwrap();
    let head = "POST /api/v1/pause HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n";
    for (token, status) in [("", "401"), (TOKEN, "408")] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!("{head}Authorization: Bearer {token}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut said = [0; 12];
        let read = tokio::time::timeout(PATIENCE, stream.read_exact(&mut said)).await;
        read.expect("it is answered").unwrap();
        assert_eq!(std::str::from_utf8(&said).unwrap(), format!("HTTP/1.1 {status}"));
    }
}
