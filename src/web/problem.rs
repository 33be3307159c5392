//! Refusals, in the form of RFC 9457: `application/problem+json`.

use axum::body::Body;
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

/// After so many seconds it may work.
const AGAIN: u32 = 2;

/// Why a request is not answered as asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Problem {
    /// The kind of problem: a name that is compared, not followed.
    #[serde(rename = "type")]
    kind: String,
    /// The kind in words.
    title: &'static str,
    /// The status code of the answer.
    status: u16,
    /// What is wrong this time, with what to do about it.
    detail: String,
    /// Where the leader's page and API are, if that is where to ask.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) leader: Option<String>,
    /// What `kind` is the name of.
    #[serde(skip)]
    of: Kind,
}

/// The kinds, with their status, name and title.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The request is not one that can be understood.
    BadRequest,
    /// A token is needed and absent or wrong.
    Unauthorized,
    /// Controls are not switched on.
    Forbidden,
    /// There is no such path, host or pool.
    NotFound,
    /// The path is not asked that way.
    Method,
    /// It makes no sense as things are.
    Conflict,
    /// There are no documents yet.
    NoDocuments,
    /// There are documents, and none of them were ever good.
    Refused,
    /// Another process leads.
    NotLeader,
    /// The request is longer than any that makes sense.
    TooLarge,
    /// The request comes slower than any that makes sense.
    TooSlow,
    /// Too many ask at a time.
    Busy,
    /// etcd has not been read yet, or does not answer.
    NotReady,
    /// A fault of this program.
    Internal,
}

impl Kind {
    fn of(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::BadRequest => {
                (StatusCode::BAD_REQUEST, "bad-request", "The request is not understood")
            }
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized", "A token is needed"),
            Self::Forbidden => {
                (StatusCode::FORBIDDEN, "controls-off", "Controls are not switched on")
            }
            Self::NotFound => (StatusCode::NOT_FOUND, "not-found", "There is no such thing"),
            Self::Method => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "This path is not asked that way",
            ),
            Self::Conflict => (StatusCode::CONFLICT, "conflict", "It makes no sense as things are"),
            Self::NoDocuments => (StatusCode::CONFLICT, "no-documents", "No documents yet"),
            Self::Refused => {
                (StatusCode::CONFLICT, "documents-refused", "The documents are refused")
            }
            Self::NotLeader => (StatusCode::CONFLICT, "not-leader", "Another process leads"),
            Self::TooLarge => {
                (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The request is too long")
            }
            Self::TooSlow => {
                (StatusCode::REQUEST_TIMEOUT, "too-slow", "The request takes too long")
            }
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy", "Too many ask at a time"),
            Self::NotReady => {
                (StatusCode::SERVICE_UNAVAILABLE, "not-ready", "Nothing is known yet")
            }
            Self::Internal => {
                (StatusCode::INTERNAL_SERVER_ERROR, "internal", "A fault of this program")
            }
        }
    }
}

impl Problem {
    /// With a sentence that says what to do.
    pub(super) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let (status, name, title) = kind.of();
        Self {
            kind: format!("urn:calico-dcos:problem:{name}"),
            title,
            status: status.as_u16(),
            detail: detail.into(),
            leader: None,
            of: kind,
        }
    }

    /// The kind.
    pub(super) fn kind(&self) -> Kind {
        self.of
    }

    /// The kind in words.
    pub(super) fn title(&self) -> &'static str {
        self.title
    }

    /// The sentence.
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    /// The status code of the answer.
    pub(super) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        let json = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, json);
        if matches!(self.of, Kind::Busy | Kind::NotReady) {
            headers.insert(header::RETRY_AFTER, AGAIN.into());
        }
        if self.status == StatusCode::UNAUTHORIZED.as_u16() {
            let scheme = HeaderValue::from_static("Bearer realm=\"calico-dcos\"");
            headers.insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

/// For all other paths.
pub(super) async fn no_such_path(uri: Uri) -> Problem {
    Problem::new(
        Kind::NotFound,
        format!("nothing is served at `{}`; `/api/v1/openapi.json` says what there is", uri.path()),
    )
}

/// For paths that are asked another way.
pub(super) async fn no_such_method(method: Method, uri: Uri) -> Problem {
    Problem::new(
        Kind::Method,
        format!("`{}` is not asked by {method}; `/api/v1/openapi.json` says how", uri.path()),
    )
}
