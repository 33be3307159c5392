//! The section of a component, as it was written.

use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Resources;
use crate::words::Component;

/// What a component's section declares, beside `enabled` and `resources`, which every one has.
pub trait Managed: JsonSchema + Serialize + DeserializeOwned {
    /// Which component.
    const COMPONENT: Component;
    /// The fields that have no default.
    const REQUIRED: &'static [&'static str];
    /// What the supervising task holds by default; none if the component has no such task.
    const RESOURCES: Option<Resources>;
}

macro_rules! sections {
    ($($(#[$doc:meta])* $name:ident { prefix: $prefix:literal, complete: $complete:literal })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
        #[serde(transparent)]
        pub struct $name<T> {
            written: Map<String, Value>,
            #[serde(skip)]
            declares: PhantomData<T>,
        }

        impl<T> $name<T> {
            /// The section as written, without defaults.
            pub fn written(&self) -> &Map<String, Value> {
                &self.written
            }
        }

        impl<T: Managed> JsonSchema for $name<T> {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                format!(concat!($prefix, "{}"), T::schema_name()).into()
            }

            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                section_schema::<T>(generator, $complete)
            }
        }
    )*};
}

sections! {
    /// A component's section in a Cluster.
    Declared { prefix: "", complete: true }
    /// A component's section in a Pool: fields that replace the Cluster's.
    Override { prefix: "Pool", complete: false }
}

/// `T`'s own schema with `enabled` and `resources`; what has no default is required only in a
/// section that is complete in itself and not `enabled: false`.
fn section_schema<T: Managed>(generator: &mut SchemaGenerator, complete: bool) -> Schema {
    let mut schema = T::json_schema(generator);
    schema.remove("required");
    let resources = T::RESOURCES.map(|default| {
        let mut resources: Value = generator.subschema_for::<Resources>().into();
        // Each of the two has its own default.
        partial(&mut resources, generator.definitions());
        resources["description"] = "What the supervising task holds on its agent.".into();
        resources["default"] = json!(default);
        resources
    });
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.insert(
            "enabled".to_owned(),
            json!({
                "type": "boolean",
                "default": true,
                "description": "false: the component is taken off, and what was there before is restored.",
            }),
        );
        properties.extend(resources.map(|resources| ("resources".to_owned(), resources)));
        if !complete {
            properties.values_mut().for_each(|value| partial(value, generator.definitions()));
        }
    }
    if complete && !T::REQUIRED.is_empty() {
        schema.insert(
            "if".to_owned(),
            json!({
                "properties": {"enabled": {"const": false}}, "required": ["enabled"],
            }),
        );
        schema.insert("else".to_owned(), json!({"required": T::REQUIRED}));
    }
    schema
}

/// Takes defaults and required fields out of a schema: in a pool, what is left out is what the
/// Cluster says. Choices stay whole, as they are replaced whole.
fn partial(schema: &mut Value, definitions: &Map<String, Value>) {
    let Value::Object(fields) = schema else { return };
    fields.remove("default");
    let name = fields.get("$ref").and_then(Value::as_str).and_then(|path| path.rsplit('/').next());
    let referred = name.and_then(|name| definitions.get(name)).and_then(Value::as_object).cloned();
    if let Some(definition) = referred.filter(|definition| definition.contains_key("properties")) {
        fields.remove("$ref");
        for (key, value) in definition {
            fields.entry(key).or_insert(value);
        }
    }
    fields.remove("required");
    if let Some(Value::Object(properties)) = fields.get_mut("properties") {
        properties.values_mut().for_each(|value| partial(value, definitions));
    }
}
