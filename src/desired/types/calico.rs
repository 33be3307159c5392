//! The `calicoNode` and `calicoLibnetwork` sections.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Managed, Resources};
use crate::desired::text::{AbsolutePath, EnvName, Image, Route};
use crate::words::Component;

/// The calico/node container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CalicoNode {
    /// The image. It has no default: which Calico runs is for the operator to say.
    pub image: Image,
    /// Its environment. Default: none beyond what the image sets.
    #[serde(default)]
    #[schemars(extend("propertyNames" = {"format": "environment-name"}))]
    pub env: BTreeMap<EnvName, EnvValue>,
    /// What is mounted beyond what calico/node always needs. Default: nothing.
    #[serde(default)]
    pub volumes: Vec<Volume>,
}

impl Managed for CalicoNode {
    const COMPONENT: Component = Component::CalicoNode;
    const REQUIRED: &'static [&'static str] = &["image"];
    const RESOURCES: Option<Resources> = Some(Resources::new(200, 256));
}

/// The calico/node-libnetwork container of old Calico; later ones have it in calico/node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CalicoLibnetwork {
    /// The image. It has no default: which Calico runs is for the operator to say.
    pub image: Image,
    /// Its environment. Default: none beyond what the image sets.
    #[serde(default)]
    #[schemars(extend("propertyNames" = {"format": "environment-name"}))]
    pub env: BTreeMap<EnvName, EnvValue>,
    /// What is mounted beyond Docker's plugin directory. Default: nothing.
    #[serde(default)]
    pub volumes: Vec<Volume>,
}

impl Managed for CalicoLibnetwork {
    const COMPONENT: Component = Component::CalicoLibnetwork;
    const REQUIRED: &'static [&'static str] = &["image"];
    const RESOURCES: Option<Resources> = Some(Resources::new(200, 256));
}

/// A value of the environment: a text, or where the host finds it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "serde_json::Value", into = "serde_json::Value")]
pub enum EnvValue {
    /// The text itself.
    Literal(String),
    /// The content of a file on the host. So a secret never stands in a document.
    FromFile(AbsolutePath),
    /// The host's own address towards somewhere.
    FromRoute(Route),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum Reference {
    FromFile(AbsolutePath),
    FromRoute(Route),
}

impl TryFrom<serde_json::Value> for EnvValue {
    type Error = serde_json::Error;

    fn try_from(value: serde_json::Value) -> Result<Self, serde_json::Error> {
        match value {
            serde_json::Value::String(text) => Ok(Self::Literal(text)),
            other => Ok(match serde_json::from_value(other)? {
                Reference::FromFile(path) => Self::FromFile(path),
                Reference::FromRoute(route) => Self::FromRoute(route),
            }),
        }
    }
}

impl From<EnvValue> for serde_json::Value {
    fn from(value: EnvValue) -> Self {
        match value {
            EnvValue::Literal(text) => text.into(),
            EnvValue::FromFile(path) => serde_json::json!({"fromFile": path}),
            EnvValue::FromRoute(route) => serde_json::json!({"fromRoute": route}),
        }
    }
}

/// Literals are left out: an environment is where secrets end up by mistake.
impl fmt::Debug for EnvValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(_) => f.write_str("Literal(…)"),
            Self::FromFile(path) => write!(f, "FromFile({path})"),
            Self::FromRoute(route) => write!(f, "FromRoute({route})"),
        }
    }
}

impl JsonSchema for EnvValue {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "EnvValue".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let reference = |name: &str, schema: schemars::Schema| {
            serde_json::json!({
                "type": "object",
                "properties": {name: schema},
                "required": [name],
                "additionalProperties": false,
            })
        };
        let from_file = reference("fromFile", generator.subschema_for::<AbsolutePath>());
        let from_route = reference("fromRoute", generator.subschema_for::<Route>());
        schemars::json_schema!({
            "description": "a text, `{fromFile: PATH}` (a file on the host) or `{fromRoute: masters}` (the host's own address towards there)",
            "oneOf": [{"type": "string"}, from_file, from_route],
        })
    }
}

/// A file or directory of the host, seen in the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Volume {
    /// On the host.
    pub host_path: AbsolutePath,
    /// In the container.
    pub container_path: AbsolutePath,
    /// Whether the container can only read it. Default: true.
    #[serde(default = "yes")]
    pub read_only: bool,
}

fn yes() -> bool {
    true
}
