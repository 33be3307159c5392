//! From texts to the desired state, or to everything that is wrong with them.

use std::collections::{BTreeMap, HashMap};

use serde::de::DeserializeOwned;

use super::check::{check, did_you_mean};
use super::finding::{Finding, Findings};
use super::schema::definition;
use super::sheet::Sheet;
use super::types::{Cluster, Pool};
use super::yaml::{Document, Node, Parsed, Span, Value, parse};
use super::{Desired, DocumentName, rules};

/// The largest source that is read.
pub const MAX_BYTES: usize = 1 << 20;

/// A text that holds documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The name of the file, or the key in etcd: how findings call it.
    pub label: String,
    /// The text, as it was read.
    pub bytes: Vec<u8>,
    /// The one document that it must hold; none: any number of any documents.
    pub holds: Option<DocumentName>,
}

impl Source {
    /// A file of any number of documents.
    pub fn file(label: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self { label: label.into(), bytes: bytes.into(), holds: None }
    }

    /// The value of a key in etcd, which must be the document that the key says.
    pub fn stored(name: DocumentName, bytes: impl Into<Vec<u8>>) -> Self {
        Self { label: format!("desired/{name}"), bytes: bytes.into(), holds: Some(name) }
    }

    /// The documents that the source holds, as far as it can be read; for [`replace`].
    pub fn names(&self) -> Vec<DocumentName> {
        let text = std::str::from_utf8(&self.bytes).ok().filter(|text| text.len() <= MAX_BYTES);
        let documents = text.map(|text| parse(text).documents).unwrap_or_default();
        documents.iter().filter_map(|document| name_of(&document.root)).collect()
    }
}

/// What is stored, with what `new` holds in the place of the documents of the same names: the
/// sources to [`read`] for what would be in force if `new` were applied.
pub fn replace(stored: Vec<Source>, new: Vec<Source>) -> Vec<Source> {
    let replaced: Vec<DocumentName> = new.iter().flat_map(Source::names).collect();
    let keeps = |source: &Source| source.holds.as_ref().is_none_or(|name| !replaced.contains(name));
    stored.into_iter().filter(keeps).chain(new).collect()
}

/// Reads and checks documents: one Cluster, and Pools of different names.
pub fn read(sources: &[Source]) -> Result<Desired, Findings> {
    let mut reading = Reading::default();
    for source in sources {
        reading.source(source);
    }
    reading.finish()
}

/// A document that is good by itself.
pub(super) struct Good<T> {
    pub(super) document: T,
    /// The index of its source.
    pub(super) source: usize,
    pub(super) root: Node,
}

#[derive(Default)]
struct Reading<'s> {
    /// One for each source, in order.
    sheets: Vec<Sheet<'s>>,
    clusters: Vec<Good<Cluster>>,
    pools: Vec<Good<Pool>>,
    /// Where each document was seen first, good or not.
    seen: HashMap<DocumentName, String>,
    cluster_seen: bool,
    documents: BTreeMap<DocumentName, String>,
}

impl<'s> Reading<'s> {
    fn source(&mut self, source: &'s Source) {
        if source.bytes.len() > MAX_BYTES {
            let message = format!("this is larger than {MAX_BYTES} bytes, the most that is read");
            let help = "split it into a file for each document";
            return self.unusable(source, "", |sheet| sheet.refuse(message, help));
        }
        let text = match std::str::from_utf8(&source.bytes) {
            Ok(text) => text,
            Err(error) => return self.not_utf8(source, error.valid_up_to()),
        };
        let parsed = parse(text);
        if parsed.documents.is_empty() && parsed.faults.is_empty() {
            let help = "a document begins with `apiVersion: calico-dcos/v1`";
            let refuse = |sheet: &mut Sheet<'_>| sheet.refuse("there is no document in it", help);
            return self.unusable(source, text, refuse);
        }
        self.sheets.push(Sheet::new(&source.label, text, &parsed));
        self.cluster_seen |= parsed.broken;
        self.held(source, &parsed);
        let single = parsed.documents.len() == 1;
        for document in parsed.documents {
            let own = if single { text } else { within(text, &document) };
            self.document(document, own, source);
        }
    }

    /// A source of which nothing can be used. It may have been the Cluster.
    fn unusable(&mut self, source: &'s Source, text: &'s str, find: impl FnOnce(&mut Sheet<'s>)) {
        let mut sheet = Sheet::new(&source.label, text, &Parsed::default());
        find(&mut sheet);
        self.sheets.push(sheet);
        self.cluster_seen |= matches!(source.holds, None | Some(DocumentName::Cluster));
    }

    fn not_utf8(&mut self, source: &'s Source, at: usize) {
        let text = std::str::from_utf8(&source.bytes[..at]).unwrap_or_default();
        let line = text.matches('\n').count() + 1;
        let column = text.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
        let place = Span { line, column, bytes: at..at };
        let help = Some("save the file as UTF-8".to_owned());
        self.unusable(source, text, |sheet| sheet.find(&place, "", "this is not UTF-8", help));
    }

    /// A key in etcd holds one document, the one that it is named after.
    fn held(&mut self, source: &Source, parsed: &Parsed) {
        let Some(name) = &source.holds else { return };
        let holds: Vec<_> =
            parsed.documents.iter().map(|document| name_of(&document.root)).collect();
        let wrong = match holds.as_slice() {
            [Some(held)] if held != name => Some(format!("the document is `{held}`")),
            [] | [_] => None,
            more => Some(format!("there are {} documents", more.len())),
        };
        if let (Some(wrong), Some(sheet)) = (wrong, self.sheets.last_mut()) {
            let message = format!("the key is for the document `{name}`, but {wrong} in it");
            let help = "put each document under the key of its own name; `calico-dcos apply` does";
            sheet.refuse(message, help);
        }
    }

    fn document(&mut self, document: Document, text: &str, source: &Source) {
        let index = self.sheets.len() - 1;
        let sheet = &mut self.sheets[index];
        let before = sheet.count();
        let root = document.root;
        let Some(kind) = kind(sheet, &root) else {
            self.cluster_seen = true; // Who knows what it was to be: "no Cluster" might be false.
            return;
        };
        rules::secrets(sheet, &root);
        check(sheet, &root, "", definition(kind));
        let clean = sheet.count() == before;
        self.cluster_seen |= kind == "Cluster";
        let Some(name) = name_of(&root) else { return };
        let place = format!("{}:{}", source.label, root.span.line);
        if let Some(first) = self.seen.get(&name) {
            let (message, help) = match &name {
                DocumentName::Cluster => (
                    format!("there is a second Cluster; the first is at {first}"),
                    "one Cluster is for all hosts; what differs between hosts belongs into a Pool",
                ),
                DocumentName::Pool(pool) => (
                    format!("there is a second Pool `{pool}`; the first is at {first}"),
                    "give one of them another name",
                ),
            };
            let at = root.get("kind").map_or(&root.span, |kind| &kind.span).clone();
            return self.sheets[index].find(&at, "kind", message, Some(help.to_owned()));
        }
        self.seen.insert(name.clone(), place);
        if !clean {
            return;
        }
        self.documents.insert(name, text.to_owned());
        if kind == "Cluster" {
            self.clusters.extend(typed(&mut self.sheets[index], root, index));
        } else {
            self.pools.extend(typed(&mut self.sheets[index], root, index));
        }
    }

    fn finish(mut self) -> Result<Desired, Findings> {
        let mut findings = Vec::new();
        let mut warnings = Vec::new();
        if let Some(cluster) = self.clusters.first() {
            warnings = rules::check(cluster, &self.pools, &mut self.sheets);
        } else if !self.cluster_seen {
            let help = "give the file of the Cluster too; it holds what all hosts are to have";
            findings.push(Finding::overall("", "there is no Cluster among the documents", help));
        }
        findings.extend(self.sheets.into_iter().flat_map(Sheet::into_findings));
        match self.clusters.pop() {
            Some(cluster) if findings.is_empty() => {
                let mut pools: Vec<Pool> =
                    self.pools.into_iter().map(|pool| pool.document).collect();
                pools.sort_by(|one, other| one.metadata.name.cmp(&other.metadata.name));
                Ok(Desired::new(cluster.document, pools, self.documents, warnings))
            }
            _ => Err(Findings(findings)),
        }
    }
}

/// The text of one document among several, without the line of `---` before it.
fn within<'t>(text: &'t str, document: &Document) -> &'t str {
    let own = text.get(document.bytes.clone()).unwrap_or_default();
    own.strip_prefix("\r\n").or_else(|| own.strip_prefix('\n')).unwrap_or(own)
}

/// The name of a document, if it says one.
fn name_of(root: &Node) -> Option<DocumentName> {
    match root.get("kind")?.text()? {
        "Cluster" => Some(DocumentName::Cluster),
        "Pool" => root.get("metadata")?.get("name")?.text()?.parse().ok().map(DocumentName::Pool),
        _ => None,
    }
}

/// The kind that a document says; none, and findings, if there is no such kind.
fn kind(sheet: &mut Sheet<'_>, root: &Node) -> Option<&'static str> {
    let help = "a document has `apiVersion`, `kind`, `metadata` and `spec`; the kinds are `Cluster` and `Pool`";
    if !matches!(root.value, Value::Map(_)) {
        sheet.find(&root.span, "", "this is not a document", Some(help.to_owned()));
        return None;
    }
    match root.get("kind") {
        Some(kind) if kind.text() == Some("Cluster") => return Some("Cluster"),
        Some(kind) if kind.text() == Some("Pool") => return Some("Pool"),
        Some(kind) => {
            let found = kind.text().unwrap_or("something that is no text");
            let message =
                format!("there is no kind `{}`", found.chars().take(60).collect::<String>());
            let help = match kind.text() {
                Some("Scenario") => "a Scenario is read by `calico-dcos simulate`".to_owned(),
                Some(text) => did_you_mean(text, &["Cluster", "Pool"]).unwrap_or(help.to_owned()),
                None => help.to_owned(),
            };
            sheet.find(&kind.span, "kind", message, Some(help));
        }
        None => {
            sheet.find(&root.span, "kind", "the field `kind` is missing", Some(help.to_owned()));
        }
    }
    let version = &definition("Cluster")["properties"]["apiVersion"];
    if let Some(found) = root.get("apiVersion") {
        check(sheet, found, "apiVersion", version);
    }
    None
}

/// The document as its type. The checks before leave nothing to complain about; should they, what serde says
/// is passed on rather than lost.
fn typed<T: DeserializeOwned>(sheet: &mut Sheet<'_>, root: Node, source: usize) -> Option<Good<T>> {
    match serde_json::from_value(root.to_json()) {
        Ok(document) => Some(Good { document, source, root }),
        Err(error) => {
            sheet.find(&root.span, "", format!("the document cannot be used: {error}"), None);
            None
        }
    }
}
