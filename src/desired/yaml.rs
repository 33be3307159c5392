//! YAML as a tree in which every key and value knows its place.
//!
//! The parser of `serde_yaml` gives events; the tree is built from them, so that everything that
//! is wrong with a document can be told at once and shown where it stands. Bounded in size, nodes and
//! depth; aliases are expanded within the same bounds.

use std::collections::HashMap;
use std::ops::Range;

use serde_json::{Map, Number};
use serde_yaml::granit_parser::{
    self, Event, Parser, ScalarStyle, Span as Marks, StrInput, StructureStyle,
};

use super::path::{child, item};

/// The most nodes of one source, aliases expanded.
const MAX_NODES: usize = 20_000;
/// The most text that aliases may add.
const MAX_ALIASED_BYTES: usize = 1 << 20;
const MAX_DEPTH: usize = 64;

/// A place in a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    /// From 1.
    pub(super) line: usize,
    /// From 1, in characters.
    pub(super) column: usize,
    pub(super) bytes: Range<usize>,
}

impl From<Marks> for Span {
    fn from(marks: Marks) -> Self {
        let start = marks.start.byte_offset().unwrap_or(0);
        let end = marks.end.byte_offset().unwrap_or(start);
        Self {
            line: marks.start.line(),
            column: marks.start.col() + 1,
            bytes: start..end.max(start),
        }
    }
}

/// A value and its place.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) span: Span,
    pub(super) value: Value,
    /// Whether it is written on the lines below its key, by indentation.
    pub(super) block: bool,
    /// It and all below it.
    size: usize,
    text_bytes: usize,
}

/// A value; numbers and booleans only where they are written without quotes.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key with its value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_span: Span,
    pub(super) value: Node,
}

impl Node {
    /// The value under a key of a map.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// The entries of a map; none of anything else.
    pub(super) fn entries(&self) -> &[Entry] {
        if let Value::Map(entries) = &self.value { entries } else { &[] }
    }

    /// The text, if it is one.
    pub(super) fn text(&self) -> Option<&str> {
        if let Value::Text(text) = &self.value { Some(text) } else { None }
    }

    /// Without the places.
    pub(super) fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Number(number) => number.clone().into(),
            Value::Text(text) => text.clone().into(),
            Value::List(items) => items.iter().map(Self::to_json).collect(),
            Value::Map(entries) => {
                let pair = |entry: &Entry| (entry.key.clone(), entry.value.to_json());
                entries.iter().map(pair).collect::<Map<_, _>>().into()
            }
        }
    }
}

/// One document of a source.
#[derive(Debug)]
pub(super) struct Document {
    /// Where its text is, without `---`.
    pub(super) bytes: Range<usize>,
    pub(super) root: Node,
}

/// What is wrong with the YAML itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) span: Span,
    /// The field; empty where the parser itself gave up.
    pub(super) path: String,
    pub(super) message: String,
    pub(super) help: &'static str,
}

/// What a source holds: its documents, and what is wrong with them as YAML. Nothing behind a fault that
/// ends the parsing (`broken`) has been looked at.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    pub(super) documents: Vec<Document>,
    pub(super) faults: Vec<Fault>,
    pub(super) broken: bool,
}

/// Parses all documents of a source; those that hold nothing are left out.
pub(super) fn parse(text: &str) -> Parsed {
    let mut options = granit_parser::Options::default();
    options.disallow_directives = true;
    options.set_emit_comments(false);
    let mut builder = Builder {
        events: Parser::new_from_str_with_options(text, options),
        anchors: HashMap::new(),
        faults: Vec::new(),
        nodes: 0,
        aliased_bytes: 0,
    };
    let mut documents = Vec::new();
    let end = builder.stream(&mut documents, text.len());
    let mut faults = builder.faults;
    let broken = end.is_err();
    faults.extend(end.err());
    Parsed { documents, faults, broken }
}

struct Builder<'a> {
    events: Parser<'a, StrInput<'a>>,
    anchors: HashMap<usize, Node>,
    faults: Vec<Fault>,
    nodes: usize,
    aliased_bytes: usize,
}

impl<'a> Builder<'a> {
    fn next(&mut self) -> Result<Option<(Event<'a>, Span)>, Fault> {
        match self.events.next_event() {
            None => Ok(None),
            Some(Ok((event, marks))) => Ok(Some((event, marks.into()))),
            Some(Err(error)) => {
                let at = *error.marker();
                let start = at.byte_offset().unwrap_or(0);
                Err(Fault {
                    span: Span { line: at.line(), column: at.col() + 1, bytes: start..start },
                    path: String::new(),
                    message: format!("this is not YAML: {}", error.info()),
                    help: "look at indentation, quotes and brackets here and on the lines above",
                })
            }
        }
    }

    fn stream(&mut self, documents: &mut Vec<Document>, end: usize) -> Result<(), Fault> {
        let mut start = 0;
        while let Some((event, span)) = self.next()? {
            match event {
                Event::DocumentStart(explicit, _) => {
                    let marker = if explicit { span.bytes } else { start..start };
                    if let Some(last) = documents.last_mut() {
                        last.bytes.end = last.bytes.end.min(marker.start);
                    }
                    start = marker.end;
                    self.anchors.clear();
                    let Some((event, span)) = self.next()? else { return Ok(()) };
                    let root = self.node(event, span, "", 0)?;
                    if root.value != Value::Null {
                        documents.push(Document { bytes: start..end, root });
                    }
                }
                Event::DocumentEnd => start = span.bytes.end,
                _ => {}
            }
        }
        Ok(())
    }

    fn node(
        &mut self,
        event: Event<'a>,
        span: Span,
        path: &str,
        depth: usize,
    ) -> Result<Node, Fault> {
        self.nodes += 1;
        if self.nodes > MAX_NODES || depth > MAX_DEPTH {
            return Err(too_large(span, path));
        }
        let anchor = event.anchor_id();
        if let Some(tag) = event.tag() {
            self.faults.push(Fault {
                span: span.clone(),
                path: path.to_owned(),
                message: format!("the tag `{}` is not supported", tag.original()),
                help: "take it out; quotes make a text of what would be a number",
            });
        }
        let node = match event {
            Event::Alias(id) => self.alias(id, span, path)?,
            Event::Scalar(text, style, ..) => {
                let block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
                let text_bytes = text.len();
                let value = scalar(&text, style == ScalarStyle::Plain);
                Node { span, value, block, size: 1, text_bytes }
            }
            Event::SequenceStart(style, ..) => self.list(style, span, path, depth)?,
            Event::MappingStart(style, ..) => self.map(style, span, path, depth)?,
            _ => Node { span, value: Value::Null, block: false, size: 1, text_bytes: 0 },
        };
        if let Some(id) = anchor {
            self.anchors.insert(id, node.clone());
        }
        Ok(node)
    }

    /// The aliased node, but in the place of the alias; what is below it stays where it is written.
    fn alias(&mut self, id: usize, span: Span, path: &str) -> Result<Node, Fault> {
        let Some(node) = self.anchors.get(&id) else {
            return Err(Fault {
                span,
                path: path.to_owned(),
                message: "this alias refers to what it is a part of".to_owned(),
                help: "write the value out",
            });
        };
        self.nodes += node.size;
        self.aliased_bytes += node.text_bytes;
        if self.nodes > MAX_NODES || self.aliased_bytes > MAX_ALIASED_BYTES {
            return Err(too_large(span, path));
        }
        Ok(Node { span, block: false, ..node.clone() })
    }

    fn list(
        &mut self,
        style: StructureStyle,
        mut span: Span,
        path: &str,
        depth: usize,
    ) -> Result<Node, Fault> {
        let (mut items, mut size, mut text_bytes) = (Vec::new(), 1, 0);
        while let Some((event, at)) = self.next()? {
            if event == Event::SequenceEnd {
                span.bytes.end = at.bytes.end.max(span.bytes.start);
                break;
            }
            let item = self.node(event, at, &item(path, items.len()), depth + 1)?;
            size += item.size;
            text_bytes += item.text_bytes;
            items.push(item);
        }
        let block = style == StructureStyle::Block;
        Ok(Node { span, value: Value::List(items), block, size, text_bytes })
    }

    fn map(
        &mut self,
        style: StructureStyle,
        mut span: Span,
        path: &str,
        depth: usize,
    ) -> Result<Node, Fault> {
        let (mut entries, mut size, mut text_bytes) = (Vec::<Entry>::new(), 1, 0);
        let mut lines = HashMap::new();
        while let Some((event, key_span)) = self.next()? {
            if event == Event::MappingEnd {
                span.bytes.end = key_span.bytes.end.max(span.bytes.start);
                break;
            }
            let key = self.key(event, &key_span, path, depth)?;
            let path = child(path, key.as_deref().unwrap_or_default());
            let Some((event, at)) = self.next()? else { break };
            let value = self.node(event, at, &path, depth + 1)?;
            size += 1 + value.size;
            let Some(key) = key else { continue };
            text_bytes += key.len() + value.text_bytes;
            if let Some(line) = lines.insert(key.clone(), key_span.line) {
                self.faults.push(Fault {
                    path,
                    message: format!("`{key}` stands here twice; the first is on line {line}"),
                    span: key_span,
                    help: "keep one of the two",
                });
                continue;
            }
            entries.push(Entry { key, key_span, value });
        }
        let block = style == StructureStyle::Block;
        Ok(Node { span, value: Value::Map(entries), block, size, text_bytes })
    }

    /// The text of a key; none, and a fault, if the key is no text.
    fn key(
        &mut self,
        event: Event<'a>,
        span: &Span,
        path: &str,
        depth: usize,
    ) -> Result<Option<String>, Fault> {
        if let Some((text, _)) = event.scalar() {
            let (text, merge) = (text.to_owned(), text == "<<");
            self.node(event, span.clone(), path, depth + 1)?;
            if merge {
                self.faults.push(Fault {
                    span: span.clone(),
                    path: path.to_owned(),
                    message: "merge keys (`<<`) are not supported".to_owned(),
                    help: "write the fields out; what differs between hosts belongs into a Pool",
                });
                return Ok(None);
            }
            return Ok(Some(text));
        }
        self.node(event, span.clone(), path, depth + 1)?;
        self.faults.push(Fault {
            span: span.clone(),
            path: path.to_owned(),
            message: "a key must be a text".to_owned(),
            help: "write `name: value`",
        });
        Ok(None)
    }
}

fn too_large(span: Span, path: &str) -> Fault {
    Fault {
        span,
        path: path.to_owned(),
        message: format!(
            "the document holds more than {MAX_NODES} values, or goes deeper than {MAX_DEPTH} levels"
        ),
        help: "aliases count each time they are used; write fewer of them",
    }
}

/// What a scalar is. As in YAML 1.2, and stricter: `yes`, `0x1f` and `010` are texts.
fn scalar(text: &str, plain: bool) -> Value {
    if !plain {
        return Value::Text(text.to_owned());
    }
    match text {
        "" | "~" | "null" => return Value::Null,
        "true" => return Value::Bool(true),
        "false" => return Value::Bool(false),
        _ => {}
    }
    // A number is what JSON takes for one; with that, nothing is a number by surprise.
    match text.strip_prefix('+').unwrap_or(text).parse::<Number>() {
        Ok(number) => Value::Number(number),
        Err(_) => Value::Text(text.to_owned()),
    }
}
