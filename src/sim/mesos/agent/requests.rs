//! What an agent answers to HTTP requests, without the HTTP: status codes and bodies in the order
//! in which Mesos looks at things (`slave/http.cpp`; recordings e02, e10, e14 and 08).

use serde_json::{Value, json};

use super::api::Taken;
use super::{Agent, Process, decode};
use crate::sim::mesos::ConnId;
use crate::sim::mesos::calls::Outcome;
use crate::sim::mesos::config::AgentConfig;
use crate::sim::mesos::context::Context;

const JSON: &str = "application/json";
const PROTOBUF: &str = "application/x-protobuf";

/// What is looked at of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AgentRequest<'a> {
    /// `POST`.
    pub method: &'a str,
    /// Without the query.
    pub path: &'a str,
    /// `Content-Type`.
    pub content_type: Option<&'a str>,
    /// `Accept`.
    pub accept: Option<&'a str>,
    /// `Authorization`.
    pub authorization: Option<&'a str>,
    /// The body.
    pub body: &'a [u8],
}

/// What is answered.
#[derive(Clone, Debug, PartialEq)]
pub enum AgentAnswer {
    /// Nothing: nobody listens.
    Refused,
    /// A status code and a text, which may be empty.
    Plain(Outcome),
    /// 200 and a JSON value.
    Json(Value),
    /// 200 and a stream of events, which come as [`ToBody`](super::ToBody).
    Stream,
}

impl From<Outcome> for AgentAnswer {
    fn from(outcome: Outcome) -> Self {
        Self::Plain(outcome)
    }
}

impl Agent {
    pub(in crate::sim::mesos) fn request(
        &mut self,
        cx: &mut Context,
        config: &AgentConfig,
        version: &str,
        conn: ConnId,
        request: &AgentRequest<'_>,
    ) -> AgentAnswer {
        if self.process == Process::Down {
            return AgentAnswer::Refused;
        }
        let unknown = Outcome::refused(404, "404 Not Found.");
        if cx.now < self.api.routes_at {
            return unknown.into();
        }
        let path = request.path.trim_end_matches('/');
        let path = path.strip_prefix("/slave(1)").unwrap_or(path);
        let below = |prefix: &str| {
            path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if below("/api/v1/executor") {
            return match self.executor_request(cx, config, conn, request) {
                Ok(Taken::Stream) => AgentAnswer::Stream,
                Ok(Taken::Accepted) => Outcome::accepted().into(),
                Err(refused) => refused.into(),
            };
        }
        if below("/api/v1") {
            let answer =
                posted_json(request).and_then(|()| self.operator(cx, config, version, request));
            return answer.map_or_else(Into::into, AgentAnswer::Json);
        }
        match path {
            "/health" => Outcome { status: 200, body: String::new() }.into(),
            "/version" => AgentAnswer::Json(json!({ "version": version })),
            "/flags" => AgentAnswer::Json(json!({ "flags": self.flags(cx, config) })),
            "/state" if cx.now < self.api.recovered_at => {
                Outcome::refused(503, "Agent has not finished recovery").into()
            }
            "/state" => AgentAnswer::Json(json!({
                "version": version,
                "id": self.id,
                "pid": format!("slave(1)@{}", self.api.endpoint),
                "hostname": config.hostname,
                "flags": self.flags(cx, config),
            })),
            _ => unknown.into(),
        }
    }

    fn executor_request(
        &mut self,
        cx: &mut Context,
        config: &AgentConfig,
        conn: ConnId,
        request: &AgentRequest<'_>,
    ) -> Result<Taken, Outcome> {
        let caller = self.authenticated(request)?;
        if cx.now < self.api.recovered_at {
            return Err(Outcome::refused(503, "Agent has not finished recovery"));
        }
        posted_json(request)?;
        let call = decode::executor_call(request.body)?;
        if matches!(call.call, crate::mesos::v1::executor::Call::Subscribe(_))
            && !accepts_json(request.accept)
        {
            let text = "Expecting 'Accept' to allow 'application/x-protobuf' or 'application/json'";
            return Err(Outcome::refused(406, text));
        }
        let key = (call.framework_id.clone(), call.executor_id.clone());
        if caller.is_some_and(|caller| caller != key) {
            return Err(Outcome::refused(403, ""));
        }
        self.executor_call(cx, config, conn, call)
    }

    /// Whose token came with the request, if tokens are asked for. A real agent's are JSON web
    /// tokens; all that matters to an executor is that it gives back what it was given.
    fn authenticated(
        &self,
        request: &AgentRequest<'_>,
    ) -> Result<Option<super::ExecutorKey>, Outcome> {
        if !self.processes.as_ref().is_some_and(|processes| processes.authenticate) {
            return Ok(None);
        }
        let token = request.authorization.and_then(|value| value.strip_prefix("Bearer "));
        let known = self.executors.iter().find(|(_, executor)| {
            executor.live.as_ref().is_some_and(|live| Some(live.token.as_str()) == token)
        });
        let unauthorized = || Outcome::refused(401, "401 Unauthorized.");
        known.map(|(key, _)| Some(key.clone())).ok_or_else(unauthorized)
    }
}

/// Method and content type, in the order in which Mesos looks at them.
fn posted_json(request: &AgentRequest<'_>) -> Result<(), Outcome> {
    if request.method != "POST" {
        return Err(Outcome::refused(
            405,
            format!(
                "405 Method Not Allowed. Expecting one of {{ 'POST' }}, but received '{}'.",
                request.method
            ),
        ));
    }
    // Compared to the byte: a charset makes it another type.
    match request.content_type {
        Some(JSON) => Ok(()),
        None => Err(Outcome::refused(400, "Expecting 'Content-Type' to be present")),
        Some(PROTOBUF) => Err(Outcome::refused(400, "Failed to parse body into Call protobuf")),
        Some(_) => Err(Outcome::refused(
            415,
            "Expecting 'Content-Type' of application/json or application/x-protobuf",
        )),
    }
}

fn accepts_json(accept: Option<&str>) -> bool {
    accept.is_none_or(|accept| {
        accept.split(',').any(|entry| {
            let mut parts = entry.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default();
            let refused = parts.any(|parameter| parameter == "q=0" || parameter == "q=0.0");
            matches!(kind, JSON | "application/*" | "*/*") && !refused
        })
    })
}
