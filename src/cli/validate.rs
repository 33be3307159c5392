//! `validate FILE…`: checks documents. It needs no connection.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

use clap::Args;
use serde::Serialize;

use super::format::{Output, print, structured};
use super::{Exit, Failure, input};
use crate::desired::{self, Finding, Findings, MAX_BYTES, Source, render_warnings};

const EXAMPLES: &str = "\
Examples:
  calico-dcos validate cluster.yaml pools.yaml
  calico-dcos validate desired-state/cni.yaml
  cat cluster.yaml | calico-dcos validate -
  calico-dcos validate -o json cluster.yaml | jq .findings

Exit codes: 0 valid · 2 not valid · 4 a file cannot be read";

/// Check documents; needs no connection
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Validate {
    /// Documents, any number in a file; a folder stands for its YAML files, `-` for standard input
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,

    /// The form of the output
    #[arg(short, long, value_name = "FORM", value_enum, default_value_t)]
    pub output: Output,
}

impl Validate {
    /// Prints all that is wrong, each with a picture of its place.
    pub fn execute(&self) -> Result<Exit, Failure> {
        let verdict = validate(&input::documents(&self.files)?);
        print(&match self.output {
            Output::Text => verdict.text(true),
            form => structured(&verdict, form)?,
        })?;
        Ok(verdict.exit())
    }
}

/// A file of documents cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read `{}`; check that it exists and that you may read it", path.display())]
pub struct Unreadable {
    path: PathBuf,
    source: io::Error,
}

/// Reads files of documents: of a folder all `*.yaml` and `*.yml` in it, by name; `-` is the
/// standard input.
pub fn sources(paths: &[PathBuf]) -> Result<Vec<Source>, Unreadable> {
    let mut sources = Vec::new();
    for path in paths {
        let read = if path == Path::new("-") {
            contents(io::stdin().lock()).map(|bytes| vec![Source::file("<stdin>", bytes)])
        } else if path.is_dir() {
            folder(path)
        } else {
            file(path).map(|source| vec![source])
        };
        sources.extend(read.map_err(|source| Unreadable { path: path.clone(), source })?);
    }
    Ok(sources)
}

fn folder(path: &Path) -> io::Result<Vec<Source>> {
    let mut files = fs::read_dir(path)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<Vec<_>>>()?;
    files.retain(|file| file.extension().is_some_and(|kind| kind == "yaml" || kind == "yml"));
    files.sort();
    files.iter().map(|path| file(path)).collect()
}

fn file(path: &Path) -> io::Result<Source> {
    let bytes = contents(fs::File::open(path)?)?;
    Ok(Source::file(path.display().to_string(), bytes))
}

/// All bytes, but no more than it takes to see that they are too many.
fn contents(from: impl io::Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What `validate` prints.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// Whether the documents can be applied.
    pub valid: bool,
    /// The names of the documents, if they are valid: `cluster`, `pools/NAME`.
    pub documents: Vec<String>,
    /// All that is wrong.
    pub findings: Vec<Finding>,
    /// What has no effect, or perhaps not the one that was meant.
    pub warnings: Vec<Finding>,
}

/// Checks documents.
pub fn validate(sources: &[Source]) -> Verdict {
    match desired::read(sources) {
        Ok(desired) => Verdict {
            valid: true,
            documents: desired.documents.keys().map(ToString::to_string).collect(),
            findings: Vec::new(),
            warnings: desired.remarks,
        },
        Err(Findings(findings)) => {
            Verdict { valid: false, documents: Vec::new(), findings, warnings: Vec::new() }
        }
    }
}

impl Verdict {
    /// 0: valid; 2: not.
    pub fn exit(&self) -> Exit {
        if self.valid { Exit::Good } else { Exit::Input }
    }

    /// For people, in colour if `styled`: the findings with pictures, and one line of summary.
    pub fn text(&self, styled: bool) -> String {
        let mut parts = Vec::new();
        if !self.findings.is_empty() {
            parts.push(Findings(self.findings.clone()).render(styled));
        }
        if !self.warnings.is_empty() {
            parts.push(render_warnings(&self.warnings, styled));
        }
        let count = |count: usize, what: &str| match count {
            1 => format!("1 {what}"),
            _ => format!("{count} {what}s"),
        };
        parts.push(match (self.valid, self.warnings.len()) {
            (false, _) => format!("{}: not valid", count(self.findings.len(), "finding")),
            (true, 0) => format!("{}: valid", count(self.documents.len(), "document")),
            (true, warnings) => format!(
                "{}: valid, with {}",
                count(self.documents.len(), "document"),
                count(warnings, "warning")
            ),
        });
        parts.join("\n\n") + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "apiVersion: calico-dcos/v1\nkind: Cluster\nmetadata: {name: a}\n";

    fn verdict(text: &str) -> Verdict {
        validate(&[Source::file("a.yaml", text)])
    }

    #[test]
    fn the_verdict_says_what_is_valid_and_what_is_not() {
        assert_eq!(
            (verdict(GOOD).exit(), verdict(GOOD).text(false).as_str()),
            (Exit::Good, "1 document: valid\n")
        );
        let zero = verdict(&format!("{GOOD}spec: {{rollout: {{maxConcurrentRestarts: 0}}}}"));
        assert_eq!(zero.exit(), Exit::Good);
        assert!(zero.text(false).ends_with("\n\n1 document: valid, with 1 warning\n"));
        let bad = verdict(&format!("{GOOD}spek: {{}}"));
        assert_eq!(bad.exit(), Exit::Input);
        assert!(bad.text(false).starts_with("error: unknown field `spek`\n"));
        assert!(bad.text(false).ends_with("\n\n1 finding: not valid\n"));
        let json = serde_json::to_value(&bad).unwrap();
        assert_eq!(json["findings"][0]["path"], "spek");
        assert_eq!(json["findings"][0]["line"], 4);
    }

    #[test]
    fn folders_and_large_files_are_read_and_missing_ones_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("b.yaml"), GOOD).unwrap();
        fs::write(at("a.yml"), vec![b'#'; 2 << 20]).unwrap();
        fs::write(at("c.txt"), "x").unwrap();
        let read = sources(&[folder.path().to_owned()]).unwrap();
        let sizes: Vec<usize> = read.iter().map(|source| source.bytes.len()).collect();
        assert_eq!(sizes, [MAX_BYTES + 1, GOOD.len()]);
        let missing = sources(&[at("none.yaml")]).unwrap_err().to_string();
        assert!(missing.contains("none.yaml"), "{missing}");
    }
}
