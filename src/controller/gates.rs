//! Gates, asked: an answer of 200, or a Prometheus query that returns nothing. Anything else, also
//! none, is a no. No environment proxy and no redirect is followed.

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::redirect::Policy;
use reqwest::{Response, Url};
use serde::Deserialize;
use tokio_util::task::AbortOnDropHandle;

use super::outside;
use crate::desired::{Gate, PrometheusGate};
use crate::store::in_one_line;

/// All of an answer has to be there within this.
const PATIENCE: Duration = Duration::from_secs(5);
/// An answer of Prometheus is not read beyond this: it is a no by then.
const LARGEST: usize = 1024 * 1024;

/// At most one question at a time.
#[derive(Debug, Default)]
pub(super) struct Gates {
    asking: Option<AbortOnDropHandle<Result<(), String>>>,
}

impl Gates {
    /// Asks all of them at once.
    pub(super) fn ask(&mut self, gates: Vec<Gate>) {
        self.asking = Some(AbortOnDropHandle::new(tokio::spawn(ask(gates))));
    }

    /// The answer, when it is in. Nothing is lost if the future is dropped.
    pub(super) async fn answer(&mut self) -> Result<(), String> {
        let Some(asking) = &mut self.asking else { return std::future::pending().await };
        let answer = asking.await;
        self.asking = None;
        answer.unwrap_or_else(|error| Err(format!("the gates could not be asked: {error}")))
    }
}

/// The first no in the order of the documents.
async fn ask(gates: Vec<Gate>) -> Result<(), String> {
    join_all(gates.iter().map(ask_one)).await.into_iter().collect()
}

async fn ask_one(gate: &Gate) -> Result<(), String> {
    match gate {
        Gate::Http(url) => match get(url.as_str()).await?.status().as_u16() {
            200 => Ok(()),
            status => Err(format!("{url} answered {status} and not 200")),
        },
        Gate::Prometheus(gate) => ask_prometheus(gate).await,
    }
}

async fn ask_prometheus(gate: &PrometheusGate) -> Result<(), String> {
    let base = gate.url.as_str();
    let no = |what: String| format!("Prometheus at {base} {what}");
    let mut url = Url::parse(base).map_err(|error| no(format!("has no good URL: {error}")))?;
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(["api", "v1", "query"]);
    }
    url.query_pairs_mut().append_pair("query", &gate.query);
    let answer = get(url.as_str()).await?;
    let status = answer.status();
    let body = body(answer).await.map_err(|error| no(format!("answered {status}: {error}")))?;
    let answer: Answer = serde_json::from_slice(&body)
        .map_err(|error| no(format!("answered {status}, and not as its API does: {error}")))?;
    match answer {
        Answer::Success { data } if data.result.is_empty() => Ok(()),
        Answer::Success { data } => {
            let count = data.result.len();
            let first = data.result[0].to_string();
            let first: String = first.chars().take(120).collect();
            Err(no(format!("answers `{}` with {count} result(s), first {first}", gate.query)))
        }
        Answer::Error { error } => Err(no(format!("refuses `{}`: {error}", gate.query))),
    }
}

/// An answer of the query API.
#[derive(Debug, Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
enum Answer {
    Success { data: Data },
    Error { error: String },
}

/// A vector or a matrix. A scalar or a string is an answer, too: its list is not empty.
#[derive(Debug, Deserialize)]
struct Data {
    result: Vec<serde_json::Value>,
}

async fn get(url: &str) -> Result<Response, String> {
    let fail = |error: &dyn std::error::Error| {
        let plain = without_query(url);
        format!("{plain} did not answer: {}", in_one_line(error))
    };
    let client = outside::client(url).redirect(Policy::none()).timeout(PATIENCE).build();
    let client = client.map_err(|error| fail(&error))?;
    // The URL is named once, by us.
    client.get(url).send().await.map_err(|error| fail(&error.without_url()))
}

async fn body(mut answer: Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(chunk) =
        answer.chunk().await.map_err(|error| in_one_line(&error.without_url()))?
    {
        body.extend_from_slice(&chunk);
        if body.len() > LARGEST {
            return Err("more than 1 MiB".to_owned());
        }
    }
    Ok(body)
}

fn without_query(url: &str) -> &str {
    url.split_once('?').map_or(url, |(url, _)| url)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// Answers one request with this, and gives the request's first line.
    async fn server(answer: &str) -> (String, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answer = answer.to_owned();
        let asked = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            let request = String::from_utf8(request).unwrap();
            request.lines().next().unwrap().to_owned()
        });
        (url, asked)
    }

    fn reply(status: &str, body: &str) -> String {
        let length = body.len();
        format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}")
    }

    fn http(url: &str) -> Gate {
        serde_json::from_value(serde_json::json!({ "http": url })).unwrap()
    }

    fn prometheus(url: &str) -> Gate {
        let gate = serde_json::json!({"url": url, "query": "ALERTS{severity=\"page\"} > 0"});
        serde_json::from_value(serde_json::json!({ "prometheus": gate })).unwrap()
    }

    #[tokio::test]
    async fn only_200_opens_a_gate() {
        for (status, open) in
            [("200 OK", true), ("204 No Content", false), ("302 Found", false), ("503 No", false)]
        {
            let (url, asked) = server(&reply(status, "")).await;
            let answer = ask(vec![http(&format!("{url}/go"))]).await;
            assert_eq!(answer.is_ok(), open, "{status}: {answer:?}");
            assert_eq!(asked.await.unwrap(), "GET /go HTTP/1.1");
        }
    }

    #[tokio::test]
    async fn s50_what_does_not_answer_is_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let why = ask(vec![http(&url)]).await.unwrap_err();
        assert!(why.contains(&url) && why.contains("did not answer"), "{why}");
        // It hangs up in the middle.
        let (url, _asked) = server("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{").await;
        let why = ask(vec![prometheus(&url)]).await.unwrap_err();
        assert!(why.contains(&url), "{why}");
    }

    #[tokio::test]
    async fn a_query_that_returns_nothing_opens_a_gate() {
        let vector = |result: &str| {
            let data = format!(r#"{{"resultType":"vector","result":[{result}]}}"#);
            format!(r#"{{"status":"success","data":{data}}}"#)
        };
        let alert = r#"{"metric":{"alertname":"Down"},"value":[1,"1"]}"#;
        let error = r#"{"status":"error","errorType":"bad_data","error":"parse error"}"#;
        for (status, body, expected) in [
            ("200 OK", vector(""), None),
            ("200 OK", vector(alert), Some("Down")),
            ("400 Bad Request", error.to_owned(), Some("parse error")),
            ("200 OK", "<html>".to_owned(), Some("not as its API does")),
            ("502 Bad Gateway", String::new(), Some("502")),
        ] {
            let (url, asked) = server(&reply(status, &body)).await;
            let answer = ask(vec![prometheus(&format!("{url}/prom/"))]).await;
            match expected {
                None => assert_eq!(answer, Ok(())),
                Some(part) => assert!(answer.unwrap_err().contains(part), "{body}"),
            }
            let asked = asked.await.unwrap();
            assert!(asked.starts_with("GET /prom/api/v1/query?query=ALERTS%7B"), "{asked}");
        }
    }

    #[tokio::test]
    async fn all_have_to_be_open() {
        let (open, _) = server(&reply("200 OK", "")).await;
        let (closed, _) = server(&reply("500 No", "")).await;
        let why = ask(vec![http(&open), http(&closed)]).await.unwrap_err();
        assert!(why.contains(&closed), "{why}");
    }
}
