//! The JSON Schema of the documents, made from the types: for editors
//! (`desired-state/schema.json`), and for the structural check, which walks it.

use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::types::{Cluster, Pool};

/// The schema of any document, with all definitions.
pub fn schema() -> &'static Value {
    static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
        let mut generator = SchemaSettings::draft2020_12().for_deserialize().into_generator();
        let kinds = [
            Value::from(generator.subschema_for::<Cluster>()),
            Value::from(generator.subschema_for::<Pool>()),
        ];
        let mut definitions = Value::Object(generator.take_definitions(true));
        tidy(&mut definitions);
        // Two places that attributes on the types do not reach.
        definitions["HostName"]["minLength"] = json!(1);
        definitions["PoolRollout"]["properties"]["order"]["items"]["minLength"] = json!(1);
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "Desired state of calico-dcos",
            "oneOf": kinds,
            "$defs": definitions,
        })
    });
    &SCHEMA
}

/// The definition that `schema` refers to, or itself.
pub(super) fn resolve(schema: &Value) -> &Value {
    let name = schema["$ref"].as_str().and_then(|path| path.strip_prefix("#/$defs/"));
    name.map_or(schema, |name| self::definition(name))
}

/// A definition by its name.
pub(super) fn definition(name: &str) -> &'static Value {
    &schema()["$defs"][name]
}

/// A field that may be left out need not take `null` too: an empty `docker:` would say nothing,
/// where its author meant something.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if let Some(Value::Array(types)) = fields.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    fields.insert("type".to_owned(), only);
                }
            }
            if let Some(Value::String(description)) = fields.get_mut("description") {
                *description = description.replace('\n', " ");
            }
            if fields.get("default") == Some(&Value::Null) {
                fields.remove("default");
            }
            unwrap_option(fields);
            fields.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}

/// `anyOf: [X, null]` becomes X.
fn unwrap_option(fields: &mut Map<String, Value>) {
    let Some(Value::Array(forms)) = fields.get_mut("anyOf") else { return };
    forms.retain(|form| form["type"] != "null");
    if let [Value::Object(only)] = forms.as_slice() {
        let only = only.clone();
        fields.remove("anyOf");
        fields.extend(only);
    }
}
