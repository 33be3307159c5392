//! Where a program or library comes from.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::desired::text::{AbsolutePath, HttpUrl, Sha256};

/// Where a file comes from: downloaded and checked (`url` and `sha256`), or already on the host
/// (`path`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Form", into = "Form")]
pub enum Download {
    /// Downloaded; used only if it has this SHA-256.
    Url {
        /// Where it is downloaded.
        url: HttpUrl,
        /// Its SHA-256 as downloaded (of the archive, if it is one).
        sha256: Sha256,
    },
    /// On the host.
    Path(AbsolutePath),
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    url: Option<HttpUrl>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sha256: Option<Sha256>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path: Option<AbsolutePath>,
}

impl Download {
    /// From the fields of a document.
    pub(super) fn of(
        url: Option<HttpUrl>,
        sha256: Option<Sha256>,
        path: Option<AbsolutePath>,
    ) -> Result<Self, &'static str> {
        match (url, sha256, path) {
            (Some(url), Some(sha256), None) => Ok(Self::Url { url, sha256 }),
            (None, None, Some(path)) => Ok(Self::Path(path)),
            _ => Err("expected either `url` and `sha256`, or `path`"),
        }
    }

    /// The fields of a document.
    pub(super) fn parts(self) -> (Option<HttpUrl>, Option<Sha256>, Option<AbsolutePath>) {
        match self {
            Self::Url { url, sha256 } => (Some(url), Some(sha256), None),
            Self::Path(path) => (None, None, Some(path)),
        }
    }

    /// The schema, with the same further required fields in each alternative.
    pub(super) fn schema_with(generator: &mut SchemaGenerator, more: &[(&str, Schema)]) -> Schema {
        let alternative = |fields: &[(&str, Schema)]| {
            let fields = || more.iter().chain(fields);
            let properties: Map<String, Value> = fields()
                .map(|(name, schema)| ((*name).to_owned(), schema.clone().into()))
                .collect();
            let required: Vec<&str> = fields().map(|(name, _)| *name).collect();
            json!({
                "type": "object",
                "properties": properties,
                "required": required,
                "additionalProperties": false,
            })
        };
        let url = generator.subschema_for::<HttpUrl>();
        let sha256 = generator.subschema_for::<Sha256>();
        let path = generator.subschema_for::<AbsolutePath>();
        schemars::json_schema!({
            "description": "`url` and `sha256` (downloaded and checked), or `path` (on the host)",
            "oneOf": [alternative(&[("url", url), ("sha256", sha256)]), alternative(&[("path", path)])],
        })
    }
}

impl TryFrom<Form> for Download {
    type Error = &'static str;

    fn try_from(form: Form) -> Result<Self, &'static str> {
        Self::of(form.url, form.sha256, form.path)
    }
}

impl From<Download> for Form {
    fn from(download: Download) -> Self {
        let (url, sha256, path) = download.parts();
        Self { url, sha256, path }
    }
}

impl JsonSchema for Download {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Download".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Self::schema_with(generator, &[])
    }
}
