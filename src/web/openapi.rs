//! What there is to ask, as an `OpenAPI` 3.1 document: the schemas are made from the types that are answered with, so that
//! they cannot say anything else.

use std::sync::LazyLock;

use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

use super::api::JsonAnswer;
use super::control::{self, Done, Request};
use super::events::Glance;
use super::health::{Health, Ready};
use super::problem::Problem;
use crate::surface::history::HistoryReport;
use crate::surface::hosts::{HostsReport, OneHostReport};
use crate::surface::plan::PlanReport;
use crate::surface::status::StatusReport;

/// Where the schemas are in the document.
const SCHEMAS: &str = "/components/schemas";

/// `/api/v1/openapi.json`
pub(super) async fn openapi() -> JsonAnswer {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(document);
    JsonAnswer::of(&*DOCUMENT)
}

/// A path that is read.
struct Read {
    path: &'static str,
    says: &'static str,
    schema: Schema,
    parameters: Value,
    /// Status codes other than 200, with what they mean.
    others: &'static [(&'static str, &'static str)],
}

fn document() -> Value {
    let mut given = generator(SchemaSettings::draft2020_12().for_serialize());
    let mut taken = generator(SchemaSettings::draft2020_12().for_deserialize());
    let (problem, done) = (of::<Problem>(&mut given), of::<Done>(&mut given));
    let request = of::<Request>(&mut taken);
    let mut paths = Map::new();
    for read in reads(&mut given) {
        paths.insert(read.path.to_owned(), json!({"get": get(&read, &problem)}));
    }
    let events = of::<Glance>(&mut given);
    paths.insert("/api/v1/events".to_owned(), json!({"get": {
        "summary": "That something has changed, as it happens: server-sent events `changed`, the data of each as \
                    the schema says, at most once a second",
        "responses": {
            "200": {"description": "A stream", "content": {"text/event-stream": {"schema": events}}},
            "503": refused("Too many listen", &problem),
        },
    }}));
    paths.insert("/metrics".to_owned(), json!({"get": {
        "summary": "Metrics for Prometheus",
        "responses": {"200": {"description": "OpenMetrics", "content": {"application/openmetrics-text": {}}}},
    }}));
    paths.insert(
        "/artifact/{sha256}/calico-dcos".to_owned(),
        json!({"get": {
            "summary": "This very program",
            "parameters": [parameter("path", "sha256", "The SHA-256 of this program, in hex")],
            "responses": {
                "200": {"description": "Its bytes", "content": {"application/octet-stream": {}}},
                "400": refused("The path is not understood", &problem),
                "404": refused("This process is another program", &problem),
            },
        }}),
    );
    for what in control::ALL {
        let path = format!("/api/v1/{what}");
        paths.insert(path, json!({"post": post(what, &request, &done, &problem)}));
    }
    let mut schemas = given.take_definitions(true);
    schemas.extend(taken.take_definitions(true));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "calico-dcos",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Fields are added within v1, never renamed or taken away. Times are milliseconds since \
                            the Unix epoch unless a name says otherwise.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "ownHeader": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "X-Calico-Dcos-Token",
                    "description": "The same token, for where a proxy keeps `Authorization` for its own; \
                                    where this is given it alone counts",
                },
            },
        },
    })
}

fn generator(mut settings: SchemaSettings) -> SchemaGenerator {
    settings.definitions_path = SCHEMAS.into();
    settings.meta_schema = None;
    settings.into_generator()
}

fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

fn reads(schemas: &mut SchemaGenerator) -> Vec<Read> {
    const ALL: &[(&str, &str)] = &[
        ("409", "There are no documents to plan for"),
        ("503", "etcd has not been read, or too many ask"),
    ];
    const ONE: &[(&str, &str)] = &[
        ("400", "The name is not understood"),
        ("404", "There is no such host"),
        ("409", "There are no documents to plan for"),
        ("503", "etcd has not been read, or too many ask"),
    ];
    const FOUND: &[(&str, &str)] = &[
        ("400", "The query is not understood"),
        ("409", "There are no documents to plan for"),
        ("503", "etcd has not been read, or too many ask"),
    ];
    let query = |name: &str, says: &str| parameter("query", name, says);
    let found = json!([
        query("search", "A part of the name"),
        query("reason", "A reason's word, or `in-sync`"),
        query("pool", "A pool's name"),
        query("attribute", "`NAME:VALUE` of an attribute of the agent"),
        query("offset", "How many to leave out"),
        query("limit", "How many to show; 100 if it is not given, at most 1000"),
    ]);
    let read =
        |path, says, schema, parameters, others| Read { path, says, schema, parameters, others };
    vec![
        read(
            "/api/v1/status",
            "How far the rollout is, who holds slots, and what hosts wait for",
            of::<StatusReport>(schemas),
            json!([]),
            ALL,
        ),
        read(
            "/api/v1/plan",
            "What would change, host by host",
            of::<PlanReport>(schemas),
            json!([]),
            ALL,
        ),
        read(
            "/api/v1/hosts",
            "The hosts that are looked for",
            of::<HostsReport>(schemas),
            found,
            FOUND,
        ),
        read(
            "/api/v1/hosts/{host}",
            "One host in full",
            of::<OneHostReport>(schemas),
            json!([parameter("path", "host", "The agent's hostname, percent-encoded")]),
            ONE,
        ),
        read(
            "/api/v1/history",
            "Who did what and when, the newest last",
            of::<HistoryReport>(schemas),
            json!([query("last", "So many of the newest entries; 100 if it is not given")]),
            &[("400", "The query is not understood"), ("503", "etcd has not been read")],
        ),
        read(
            "/health",
            "Whether the controller works; the same body with 503 when it has to be started again",
            of::<Health>(schemas),
            json!([]),
            &[],
        ),
        read(
            "/ready",
            "Whether etcd is read and followed; the same body with 503 when it is not",
            of::<Ready>(schemas),
            json!([]),
            &[],
        ),
    ]
}

fn parameter(place: &str, name: &str, says: &str) -> Value {
    let required = place == "path";
    json!({"name": name, "in": place, "required": required, "description": says, "schema": {"type": "string"}})
}

fn get(read: &Read, problem: &Schema) -> Value {
    let content = json!({"application/json": {"schema": read.schema}});
    let mut responses = json!({"200": {"description": "It", "content": content}});
    for (status, says) in read.others {
        responses[*status] = refused(says, problem);
    }
    json!({"summary": read.says, "parameters": read.parameters, "responses": responses})
}

fn post(what: &str, request: &Schema, done: &Schema, problem: &Schema) -> Value {
    let (summary, needs): (_, &[&str]) = match what {
        "pause" => ("Nothing new starts in the cluster, in a pool or on a host", &[]),
        "resume" => ("What was paused goes on", &[]),
        "approve" => ("The generation starts, or the others follow its canaries", &["generation"]),
        "retry" => ("A host's failed attempts are forgotten", &["host"]),
        "release" => ("A host's slot is given back, whatever it does", &["host", "attempt"]),
        _ => ("A host that is not coming back is taken off the list", &["host"]),
    };
    let not_null = |field: &&str| ((*field).to_owned(), json!({"not": {"type": "null"}}));
    let given: Map<String, Value> = needs.iter().map(not_null).collect();
    let body = match needs {
        [] => json!(request),
        _ => json!({"allOf": [request], "required": needs, "properties": given}),
    };
    json!({
        "summary": summary,
        "security": [{"token": []}, {"ownHeader": []}],
        "requestBody": {"required": !needs.is_empty(), "content": {"application/json": {"schema": body}}},
        "responses": {
            "200": {"description": "It is done", "content": {"application/json": {"schema": done}}},
            "400": refused("The request is not understood", problem),
            "401": refused("The token is absent or wrong", problem),
            "403": refused("This process was started without a token", problem),
            "404": refused("There is no such host or pool", problem),
            "408": refused("The request does not come to its end", problem),
            "409": refused("It makes no sense as things are, or another process leads", problem),
            "413": refused("The request is too long", problem),
            "503": refused("etcd does not answer, or others ask at this moment", problem),
        },
    })
}

fn refused(says: &str, problem: &Schema) -> Value {
    json!({"description": says, "content": {"application/problem+json": {"schema": problem}}})
}
