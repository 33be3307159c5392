//! How Cosmos makes an app of a package, as far as our template needs it.
//!
//! It uses mustache.java without HTML escaping, and texts are escaped as in JSON before. No crate
//! of Mustache does that, and most are not kept up; the part that we use is this page.

use serde_json::{Map, Value};

/// The app for these options: the defaults of `config`, over them `options`, and the resources.
pub(crate) fn app(template: &str, config: &Value, resource: &Value, options: &Value) -> Value {
    let mut context = filled(config, options);
    context["resource"] = resource.clone();
    let text = render(template, &context);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// `options` with the defaults of their schema.
pub(crate) fn filled(schema: &Value, options: &Value) -> Value {
    let Some(properties) = schema["properties"].as_object() else {
        return if options.is_null() { schema["default"].clone() } else { options.clone() };
    };
    let mut all = options.as_object().cloned().unwrap_or_else(Map::new);
    for (name, property) in properties {
        let value = filled(property, &options[name]);
        if !value.is_null() {
            all.insert(name.clone(), value);
        }
    }
    Value::Object(all)
}

/// Panics on whatever is not balanced, or no tag that Cosmos and we both know.
fn render(template: &str, context: &Value) -> String {
    let mut out = String::new();
    let rest = section(template, context, true, None, &mut out);
    assert_eq!(rest, "");
    out
}

/// Renders up to the end of the section `name`, and returns what comes after it.
fn section<'t>(
    template: &'t str,
    context: &Value,
    shown: bool,
    name: Option<&str>,
    out: &mut String,
) -> &'t str {
    let mut rest = template;
    let mut hidden = String::new();
    while let Some((before, after)) = rest.split_once("{{") {
        let (tag, after) = after.split_once("}}").unwrap();
        let out = if shown { &mut *out } else { &mut hidden };
        out.push_str(before);
        rest = after;
        if let Some(end) = tag.strip_prefix('/') {
            assert_eq!(Some(end), name, "the section that ends is not the one that began");
            return rest;
        } else if let Some(inner) = tag.strip_prefix('#') {
            rest = section(
                rest,
                context,
                shown && is_something(find(context, inner)),
                Some(inner),
                out,
            );
        } else if let Some(inner) = tag.strip_prefix('^') {
            rest = section(
                rest,
                context,
                shown && !is_something(find(context, inner)),
                Some(inner),
                out,
            );
        } else if !tag.starts_with('!') {
            out.push_str(&written(find(context, tag)));
        }
    }
    assert_eq!(name, None, "a section that has no end");
    out.push_str(rest);
    ""
}

fn find<'c>(context: &'c Value, path: &str) -> &'c Value {
    let known = |c: char| c.is_ascii_alphanumeric() || "-.".contains(c);
    assert!(path.chars().all(known), "`{path}` is no name");
    path.split('.').fold(context, |at, name| &at[name])
}

/// What opens a section in mustache.java: 0 does, an empty text does not.
fn is_something(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(_) | Value::Object(_) => panic!("our template has no lists: {value}"),
        _ => true,
    }
}

fn written(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => {
            let quoted = serde_json::to_string(text).unwrap();
            quoted[1..quoted.len() - 1].to_owned()
        }
        Value::Array(_) | Value::Object(_) => panic!("only texts, numbers and truths: {value}"),
        plain => plain.to_string(),
    }
}

#[test]
fn the_rendering_is_that_of_cosmos() {
    let context = serde_json::json!({
        "a": {"text": "x\"y\n", "empty": "", "zero": 0, "half": 0.5, "yes": true, "no": false},
    });
    for (template, text) in [
        ("<{{a.text}}>", "<x\\\"y\\n>"),
        ("{{a.zero}} {{a.half}} {{a.yes}} {{a.no}} {{a.none}}.", "0 0.5 true false ."),
        (
            "{{#a.yes}}1{{/a.yes}}{{#a.no}}2{{/a.no}}{{#a.zero}}3{{/a.zero}}{{#a.empty}}4{{/a.empty}}",
            "13",
        ),
        ("{{^a.yes}}1{{/a.yes}}{{^a.no}}2{{/a.no}}{{^a.none}}3{{/a.none}}", "23"),
        ("{{#a.no}}{{#a.yes}}1{{/a.yes}}{{/a.no}}2", "2"),
        ("1{{! any\n thing }}2", "12"),
    ] {
        assert_eq!(render(template, &context), text, "{template}");
    }
    for bad in
        ["{{#a.yes}}", "{{#a.no}}{{/a.yes}}", "{{/a}}", "{{a b}}", "{{>part}}", "{{{a.text}}}"]
    {
        let rendered = std::panic::catch_unwind(|| render(bad, &context));
        assert!(rendered.is_err(), "{bad}");
    }
}
