//! `edit`: a document in an editor, and back to etcd if it is good.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use clap::Args;
use tempfile::NamedTempFile;

use super::apply::{confirmed, interactive, show_and_write};
use super::format::print;
use super::{Connection, Exit, Failure};
use crate::clock;
use crate::desired::{DocumentName, Findings, Source};
use crate::store::Space;
use crate::surface::state::State;
use crate::surface::view::{View, ViewError};

const EXAMPLES: &str = "\
Examples:
  calico-dcos edit                     the Cluster
  calico-dcos edit pools/gpu           a Pool; a new one if there is none of the name
  EDITOR='code --wait' calico-dcos edit

The editor is $VISUAL, else $EDITOR, else vi. What is not good can be edited again, with what is
wrong as comments; nothing is written before it is. If somebody else writes meanwhile, nothing is
written either (exit code 5), and your text is kept in a file.

Exit codes: 0 written, or nothing changed · 1 not confirmed · 2 input · 4 environment · 5 stale";

/// Comments that begin so are ours, and are taken out again.
const MARK: &str = "#! ";

/// Edit a document in $EDITOR, and apply it
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Edit {
    /// `cluster`, or `pools/NAME`
    #[arg(value_name = "DOCUMENT", default_value = "cluster")]
    pub name: DocumentNameArg,

    /// Do not ask before writing
    #[arg(short, long)]
    pub yes: bool,

    /// Where etcd is
    #[command(flatten)]
    pub connection: Connection,
}

/// The name of a document, as an argument.
#[derive(Clone, Debug)]
pub struct DocumentNameArg(pub DocumentName);

impl std::str::FromStr for DocumentNameArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|bad: crate::desired::BadText| bad.to_string())
    }
}

/// An edit that came to nothing.
#[derive(Debug, thiserror::Error)]
enum EditError {
    #[error("the editor `{0}` cannot be started; set EDITOR to one that can")]
    NoEditor(String, #[source] std::io::Error),
    #[error("the editor `{0}` ended with {1}; nothing was written")]
    Editor(String, std::process::ExitStatus),
    #[error("EDITOR has a quotation mark without its other half: {0}")]
    Quotes(String),
    #[error("cannot use a temporary file; check the folder that TMPDIR names")]
    File(#[source] std::io::Error),
}

impl From<EditError> for Failure {
    fn from(error: EditError) -> Self {
        match error {
            EditError::Quotes(_) => Self::input(error),
            _ => Self::environment(error),
        }
    }
}

impl Edit {
    /// Opens the editor until the document is good or given up, then applies it.
    pub async fn execute(self) -> Result<Exit, Failure> {
        let editor = editor()?;
        let DocumentNameArg(name) = self.name;
        let store = self.connection.connect().await?;
        let state = State::of(&store.list(Space::All).await?, clock::now());
        let stored = state.documents.get(&name.to_string()).map(|stored| stored.text.clone());
        let original = stored.unwrap_or_else(|| template(&name));
        let draft = Draft::new(&original)?;
        let ended = match draft.edited(&editor, &original, &name, &state) {
            Ok(Some(view)) => show_and_write(&store, &view, self.yes, "edit").await,
            Ok(None) => print("Nothing was changed.\n").map(|()| Exit::Good),
            Err(failure) => Err(failure),
        };
        let differs = draft.text().is_ok_and(|text| text != original);
        match ended {
            Ok(Exit::Good) => Ok(Exit::Good),
            ended if differs => draft.keep(ended),
            ended => ended,
        }
    }
}

/// What is edited: a file that only its owner can read.
struct Draft(NamedTempFile);

impl Draft {
    fn new(text: &str) -> Result<Self, EditError> {
        // Readable by its owner alone, as `tempfile` makes them.
        let file = tempfile::Builder::new().prefix("calico-dcos-").suffix(".yaml").tempfile();
        let mut file = file.map_err(EditError::File)?;
        file.write_all(text.as_bytes()).map_err(EditError::File)?;
        Ok(Self(file))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Opens it until it is good or given up; gives what it would do, and nothing if it is as it was.
    fn edited(
        &self,
        editor: &[String],
        original: &str,
        name: &DocumentName,
        state: &State,
    ) -> Result<Option<View>, Failure> {
        loop {
            self.open(editor)?;
            let text = self.text()?;
            if text == original {
                return Ok(None);
            }
            let source = Source::stored(name.clone(), text.clone());
            let findings = match View::new(state.clone(), vec![source], clock::now()) {
                Ok(view) => return Ok(Some(view)),
                Err(ViewError::Refused(findings)) => findings,
                Err(error) => return Err(error.into()),
            };
            print(&format!("{}\n", findings.render(true)))?;
            if !interactive() || !confirmed("\nEdit again?")? {
                return Err(ViewError::Refused(findings).into());
            }
            self.explain(&findings, &text)?;
        }
    }

    fn open(&self, editor: &[String]) -> Result<(), EditError> {
        let shown = editor.join(" ");
        let Some((program, arguments)) = editor.split_first() else { return Ok(()) };
        let status = Command::new(program).args(arguments).arg(self.path()).status();
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(EditError::Editor(shown, status)),
            Err(error) => Err(EditError::NoEditor(shown, error)),
        }
    }

    /// What was written, without our comments. Read by its path: editors replace files.
    fn text(&self) -> Result<String, EditError> {
        let bytes = std::fs::read(self.path()).map_err(EditError::File)?;
        Ok(without_comments(&String::from_utf8_lossy(&bytes)))
    }

    /// Puts what is wrong above the text.
    fn explain(&self, findings: &Findings, text: &str) -> Result<(), EditError> {
        let explained = with_comments(findings, text);
        std::fs::write(self.path(), explained).map_err(EditError::File)
    }

    /// Keeps the text, and tells where.
    fn keep(self, ended: Result<Exit, Failure>) -> Result<Exit, Failure> {
        let Ok((_, path)) = self.0.keep() else { return ended };
        let path = path.display();
        let text = format!("text is kept in {path}; `calico-dcos apply -f {path}` takes it");
        match ended {
            Ok(exit) => print(&format!("Your {text}.\n")).map(|()| exit),
            Err(failure) => Err(failure.with_hint(format!("your {text}"))),
        }
    }
}

fn with_comments(findings: &Findings, text: &str) -> String {
    let mut explained = String::new();
    for finding in &findings.0 {
        let place = finding.line.map(|line| format!("line {line}: ")).unwrap_or_default();
        let help = finding.help.as_deref().map(|help| format!("; {help}")).unwrap_or_default();
        for line in format!("{place}{}{help}", finding.message).lines() {
            explained.push_str(MARK);
            explained.push_str(line);
            explained.push('\n');
        }
    }
    explained.push_str(text);
    explained
}

fn without_comments(text: &str) -> String {
    text.split_inclusive('\n').filter(|line| !line.starts_with(MARK)).collect()
}

/// A document to begin with.
fn template(name: &DocumentName) -> String {
    match name {
        DocumentName::Cluster => "apiVersion: calico-dcos/v1\nkind: Cluster\nmetadata: {name: \
                                  production}\nspec: {}\n"
            .to_owned(),
        DocumentName::Pool(pool) => format!(
            "apiVersion: calico-dcos/v1\nkind: Pool\nmetadata: {{name: {pool}}}\nspec:\n  \
             selector: {{attributes: {{}}}}\n"
        ),
    }
}

/// The editor and its arguments.
fn editor() -> Result<Vec<String>, EditError> {
    let named = |variable| std::env::var(variable).ok().filter(|text| !text.trim().is_empty());
    let text = named("VISUAL").or_else(|| named("EDITOR")).unwrap_or_else(|| "vi".to_owned());
    split(&text).ok_or(EditError::Quotes(text))
}

/// Words as a shell takes them, of quotation marks alone: no shell ever sees the text.
fn split(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut rest = text.chars();
    while let Some(next) = rest.next() {
        match next {
            quote @ ('"' | '\'') => {
                let word = word.get_or_insert_default();
                loop {
                    match rest.next()? {
                        end if end == quote => break,
                        inside => word.push(inside),
                    }
                }
            }
            space if space.is_whitespace() => words.extend(word.take()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::read;

    #[test]
    fn an_editor_may_have_arguments_and_spaces_and_reaches_no_shell() {
        for (text, words) in [
            ("vi", &["vi"][..]),
            ("  code   --wait ", &["code", "--wait"]),
            ("'/opt/my editor' -n \"\"", &["/opt/my editor", "-n", ""]),
            ("e;rm -rf $HOME", &["e;rm", "-rf", "$HOME"]),
        ] {
            assert_eq!(split(text).unwrap(), words, "{text}");
        }
        assert_eq!(split("vi 'x"), None);
    }

    #[test]
    fn what_is_wrong_stands_above_the_text_and_is_taken_out_again() {
        let text = "# Mine.\nkind: Cluster\n#!not ours\n";
        let findings = read(&[Source::file("x", text)]).unwrap_err();
        let explained = with_comments(&findings, text);
        assert!(explained.starts_with("#! line 2: "), "{explained}");
        assert_eq!(without_comments(&explained), text);
    }

    #[test]
    fn the_text_can_be_read_by_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let draft = Draft::new("x").unwrap();
        let mode = std::fs::metadata(draft.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(draft.text().unwrap(), "x");
    }
}
