//! The commands as people use them: the real program, and real etcd where it is needed.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "in a test they are assertions")]

#[expect(dead_code, reason = "nothing here kills or freezes etcd")]
#[path = "support/mod.rs"]
mod support;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use calico_dcos::rollout::records::HistoryEntry;
use support::Etcd;
use tempfile::TempDir;

const CLUSTER: &str = "\
# The whole of it.
apiVersion: calico-dcos/v1
kind: Cluster
metadata: {name: test}
spec:
  calicoNode: {image: \"calico/node:v2.6.12\"}  # the last one for Mesos
";

const POOL: &str = "\
# A few.
apiVersion: calico-dcos/v1
kind: Pool
metadata: {name: gpu}
spec:
  selector: {attributes: {gpu: \"yes\"}}
  calicoNode: {image: \"calico/node:v2.6.11\"}
";

/// An address where nobody listens.
const NOWHERE: &str = "http://127.0.0.1:1";

/// What a command said and how it ended.
#[derive(Debug)]
struct Done {
    code: i32,
    out: String,
    err: String,
}

/// A folder with files, and how to reach etcd.
struct Desk {
    dir: TempDir,
    endpoint: String,
    editor: Option<String>,
}

impl Desk {
    fn new(endpoint: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { dir, endpoint: endpoint.to_owned(), editor: None }
    }

    fn file(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn run(&self, arguments: &[&str]) -> Done {
        self.run_with(arguments, "")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.given(env!("CARGO_BIN_EXE_calico-dcos"));
        command.args(arguments);
        command
    }

    /// A program that is told where etcd is.
    fn given(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.dir.path())
            .env("CALICO_DCOS_ETCD_ENDPOINTS", &self.endpoint)
            .env("TMPDIR", self.dir.path())
            .env_remove("VISUAL")
            .env_remove("RUST_BACKTRACE")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(editor) = &self.editor {
            command.env("EDITOR", editor);
        }
        command
    }

    fn run_with(&self, arguments: &[&str], input: &str) -> Done {
        let mut child = self.command(arguments).spawn().unwrap();
        // It may end without reading.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let done = Done {
            code: output.status.code().expect("it ends by itself"),
            out: text(output.stdout),
            err: text(output.stderr),
        };
        assert!(!done.err.contains("panicked"), "{done:?}");
        assert!(!done.out.contains('\u{1b}') && !done.err.contains('\u{1b}'), "{done:?}");
        done
    }

    /// Everything that etcd holds for us.
    fn stored(&self) -> String {
        self.run(&["export"]).out
    }
}

/// The revision of etcd that an export was read at.
fn revision_of(export: &str) -> serde_json::Value {
    serde_json::from_str::<serde_json::Value>(export).unwrap()["revision"].clone()
}

/// One error, with this code, that says this.
#[track_caller]
fn fails(done: &Done, code: i32, says: &str) {
    assert_eq!(done.code, code, "{done:?}");
    assert!(done.err.contains(says), "{done:?}");
    assert_eq!(done.err.matches("error: ").count().min(1), 1, "{done:?}");
    assert_eq!(done.out, "", "{done:?}");
}

#[test]
fn what_needs_no_connection_makes_none() {
    let desk = Desk::new(NOWHERE);
    desk.file("cluster.yaml", CLUSTER);
    desk.file("bad.yaml", CLUSTER.replace("image", "imag"));
    let done = desk.run(&["validate", "cluster.yaml"]);
    assert_eq!((done.code, done.out.as_str()), (0, "1 document: valid\n"));
    let done = desk.run(&["validate", "bad.yaml"]);
    assert!(done.code == 2 && done.out.contains("bad.yaml:6:16"), "{done:?}");
    let done = desk.run(&["validate", "-o", "json", "bad.yaml"]);
    let json: serde_json::Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!((done.code, &json["findings"][0]["line"]), (2, &6.into()));
    let done = desk.run_with(&["validate", "-"], CLUSTER);
    assert_eq!(done.code, 0, "{done:?}");
    for shell in ["bash", "zsh", "fish"] {
        let done = desk.run(&["completions", shell]);
        assert!(done.code == 0 && done.out.contains("calico-dcos"), "{shell}");
    }
}

#[test]
fn every_command_has_help_with_examples() {
    let desk = Desk::new(NOWHERE);
    let commands = ["validate", "diff", "apply", "edit", "get", "status", "export", "completions"];
    for command in commands {
        let done = desk.run(&[command, "--help"]);
        assert_eq!(done.code, 0, "{done:?}");
        let example = format!("  calico-dcos {command}");
        assert!(done.out.contains("Examples:") && done.out.contains(&example), "{}", done.out);
    }
}

#[test]
fn bad_usage_and_bad_files_end_before_anything_is_connected() {
    let desk = Desk::new(NOWHERE);
    desk.file("cluster.yaml", CLUSTER);
    desk.file("again.yaml", CLUSTER);
    desk.file("binary.yaml", [0xff, 0xfe, 0x00]);
    desk.file("x.json", "{}");
    fails(&desk.run(&["diff", "-o", "xml"]), 2, "[possible values: text, json, yaml]");
    fails(&desk.run(&["apply"]), 2, "--file");
    fails(&desk.run(&["get", "pool/x"]), 2, "`cluster` or `pools/NAME`");
    fails(&desk.run(&["diff", "-f", "none.yaml"]), 4, "none.yaml");
    fails(&desk.run(&["apply", "-f", "none.yaml"]), 4, "none.yaml");
    fails(&desk.run(&["validate", "none.yaml"]), 4, "none.yaml");
    fails(&desk.run(&["apply", "-f", "-", "-"]), 2, "twice");
    fails(&desk.run(&["diff", "--observed", "none.json"]), 4, "none.json");
    fails(&desk.run(&["diff", "--observed", "x.json"]), 2, "`calico-dcos export` writes one");
    fails(&desk.run(&["diff", "--observed", "cluster.yaml"]), 2, "make it anew");
    fails(&desk.run(&["status", "--until-done"]), 2, "--watch");
    let done = desk.run(&["validate", "binary.yaml"]);
    assert!(done.code == 2 && done.out.contains("not UTF-8"), "{done:?}");
    let done = desk.run(&["validate", "cluster.yaml", "again.yaml"]);
    assert!(done.code == 2 && done.out.contains("second Cluster"), "{done:?}");
}

#[test]
fn without_etcd_each_command_says_so_and_ends_with_4() {
    let desk = Desk::new(NOWHERE);
    desk.file("cluster.yaml", CLUSTER);
    for command in [
        &["diff"][..],
        &["diff", "-f", "cluster.yaml"],
        &["apply", "-f", "cluster.yaml"],
        &["get"],
        &["status"],
        &["status", "--watch"],
        &["export"],
    ] {
        let done = desk.run(command);
        fails(&done, 4, &format!("etcd at {NOWHERE} does not answer; check that it runs"));
        // In words, and no dump of what failed inside.
        assert!(done.err.contains("\n  because: Connection refused (os error 111)"), "{done:?}");
        assert!(!done.err.contains(['{', '"']), "{done:?}");
    }
}

#[test]
fn what_answers_in_the_place_of_etcd_is_called_so() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let desk = Desk::new(&format!("http://{}", listener.local_addr().unwrap()));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut asked = [0; 24];
            let _ = stream.read_exact(&mut asked);
            let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let done = desk.run(&["status"]);
    fails(&done, 4, "check that it runs and that the address is right");
    assert!(!done.err.contains(['{', '"']), "{done:?}");
}

#[test]
fn a_password_is_in_no_message() {
    let desk = Desk::new("http://root:geheim@127.0.0.1:1");
    let done = desk.run(&["get"]);
    fails(&done, 2, "has a user in it");
    assert!(!done.err.contains("geheim"), "{done:?}");
    let desk = Desk::new(NOWHERE);
    desk.file("bad.yaml", CLUSTER.replace("image:", "env: {ETCD_PASSWORD: geheim}, image:"));
    let done = desk.run(&["validate", "bad.yaml"]);
    assert!(done.code == 2 && !done.out.contains("geheim"), "{done:?}");
    let done = desk.run(&["diff", "-f", "bad.yaml"]);
    assert!(done.code == 4 && !done.err.contains("geheim"), "{done:?}");
}

#[test]
fn etcd_apply_writes_documents_word_for_word_and_only_what_differs() {
    let etcd = Etcd::start();
    let desk = Desk::new(&etcd.endpoint());
    desk.file("both.yaml", format!("{CLUSTER}---\n{POOL}"));
    fails(&desk.run(&["get"]), 2, "there is no document in etcd");
    fails(&desk.run(&["diff"]), 2, "no Cluster document");
    fails(&desk.run(&["status"]), 2, "no Cluster document");

    let done = desk.run(&["apply", "-f", "both.yaml"]);
    assert!(done.code == 0 && done.out.contains("Wrote 2 documents"), "{done:?}");
    assert!(done.out.contains("the pool `gpu` matches no host"), "{done:?}");
    assert!(!done.out.contains("refused"), "{done:?}");
    assert_eq!(desk.run(&["get", "cluster"]).out, CLUSTER);
    assert_eq!(desk.run(&["get", "pools/gpu"]).out, POOL);

    let before = desk.stored();
    let done = desk.run(&["apply", "-f", "both.yaml"]);
    assert!(done.code == 0 && done.out.contains("Nothing to write"), "{done:?}");
    assert_eq!(revision_of(&desk.stored()), revision_of(&before), "etcd was written to");

    desk.file("all.yaml", desk.run(&["get"]).out);
    let done = desk.run(&["apply", "-f", "all.yaml"]);
    assert!(done.out.contains("Nothing to write"), "{done:?}");
}

#[test]
fn etcd_is_not_touched_by_documents_that_do_not_go_together() {
    let etcd = Etcd::start();
    let desk = Desk::new(&etcd.endpoint());
    desk.file("cluster.yaml", CLUSTER);
    desk.file("again.yaml", CLUSTER);
    desk.file("bad.yaml", POOL.replace("selector", "selektor"));
    fails(&desk.run(&["apply", "-f", "cluster.yaml", "again.yaml"]), 2, "second Cluster");
    fails(&desk.run(&["apply", "-f", "cluster.yaml", "bad.yaml"]), 2, "did you mean `selector`?");
    fails(&desk.run(&["diff", "-f", "bad.yaml"]), 2, "did you mean `selector`?");
    fails(&desk.run(&["get"]), 2, "there is no document");
}

#[test]
fn s78_etcd_a_stale_plan_is_refused_with_what_changed_and_nothing_is_written() {
    let etcd = Etcd::start();
    let desk = Desk::new(&etcd.endpoint());
    desk.file("cluster.yaml", CLUSTER);
    desk.file("pool.yaml", POOL);
    desk.file("newer.yaml", CLUSTER.replace("12", "13"));
    assert_eq!(desk.run(&["apply", "-f", "cluster.yaml"]).code, 0);
    let done = desk.run(&["diff", "-o", "json", "-f", "newer.yaml"]);
    let plan: serde_json::Value = serde_json::from_str(&done.out).unwrap();
    let revision = plan["revision"].to_string();
    let if_revision =
        |revision: &str| desk.run(&["apply", "-f", "newer.yaml", "--if-revision", revision]);

    assert_eq!(desk.run(&["apply", "-f", "pool.yaml"]).code, 0);
    let before = desk.stored();
    fails(&if_revision(&revision), 5, "`pools/gpu` was created at revision");
    assert_eq!(revision_of(&desk.stored()), revision_of(&before), "nothing was written");
    fails(&if_revision("999999"), 2, "later than etcd's newest");
    assert_eq!(desk.run(&["get", "cluster"]).out, CLUSTER);

    let done = desk.run(&["diff", "-o", "json", "-f", "newer.yaml"]);
    let plan: serde_json::Value = serde_json::from_str(&done.out).unwrap();
    let done = if_revision(&plan["revision"].to_string());
    assert!(done.code == 0 && done.out.contains("Wrote 1 document"), "{done:?}");
}

#[test]
fn etcd_what_is_exported_can_be_looked_at_without_a_connection() {
    let etcd = Etcd::start();
    let desk = Desk::new(&etcd.endpoint());
    desk.file("cluster.yaml", CLUSTER);
    desk.file("newer.yaml", CLUSTER.replace("12", "13"));
    assert_eq!(desk.run(&["apply", "-f", "cluster.yaml"]).code, 0);
    let live = desk.run(&["diff", "-f", "newer.yaml", "-o", "json"]);
    assert_eq!(desk.run(&["export", "-o", "now.json"]).code, 0);
    fails(&desk.run(&["export", "-o", "none/now.json"]), 4, "none/now.json");

    let alone = Desk { dir: desk.dir, endpoint: NOWHERE.to_owned(), editor: None };
    let kept = alone.run(&["diff", "--observed", "now.json", "-f", "newer.yaml", "-o", "json"]);
    assert_eq!((kept.code, &kept.out), (live.code, &live.out));
    let yaml = alone.run(&["diff", "--observed", "now.json", "-o", "yaml"]);
    assert!(yaml.out.starts_with("apiVersion: calico-dcos/v1\nkind: Plan\n"), "{yaml:?}");
}

/// A command of somebody at a terminal whose standard error goes to a file, and what stands on the terminal. util-linux
/// makes the terminal.
fn at_a_terminal(desk: &Desk, arguments: &str, answer: &str) -> (i32, String) {
    let typed = format!("'{}' {arguments} 2>stderr", env!("CARGO_BIN_EXE_calico-dcos"));
    let mut command = desk.given("script");
    command.args(["-qec", &typed, "/dev/null"]).env("SHELL", "/bin/sh");
    let mut child = command.spawn().unwrap();
    let (mut keyboard, mut screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let (mut shown, mut piece) = (String::new(), [0; 1024]);
    while !shown.contains("[y/N] ") {
        let length = screen.read(&mut piece).unwrap();
        assert!(length > 0, "nothing was asked: {shown}");
        shown.push_str(&String::from_utf8_lossy(&piece[..length]));
    }
    keyboard.write_all(answer.as_bytes()).unwrap();
    screen.read_to_string(&mut shown).unwrap();
    (child.wait().unwrap().code().unwrap(), shown)
}

/// What a command shows on a terminal that is so wide, to the end.
fn shown(desk: &Desk, arguments: &str, columns: usize, colours: bool) -> String {
    let typed =
        format!("stty cols {columns} rows 50; '{}' {arguments}", env!("CARGO_BIN_EXE_calico-dcos"));
    let mut command = desk.given("script");
    command.args(["-qec", &typed, "/dev/null"]).env("SHELL", "/bin/sh").env("TERM", "xterm");
    if !colours {
        command.env("NO_COLOR", "1");
    }
    let output = command.stdin(Stdio::null()).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn etcd_colours_are_on_terminals_of_who_wants_them_and_lines_as_wide_as_these() {
    let etcd = Etcd::start();
    let desk = Desk::new(&etcd.endpoint());
    desk.file("both.yaml", format!("{CLUSTER}---\n{POOL}"));
    desk.file("bad.yaml", CLUSTER.replace("image", "imag"));
    assert_eq!(desk.run(&["apply", "-f", "both.yaml"]).code, 0);
    for (arguments, columns) in [
        ("status", 70),
        ("diff", 70),
        ("history", 70),
        ("doctor", 70),
        ("explain rollout.canary", 70),
        ("retry a1", 70),
        ("status --help", 70),
        ("--help", 100),
        // Pictures show lines of documents as these are.
        ("validate bad.yaml", usize::MAX),
    ] {
        let shown = |colours| shown(&desk, arguments, columns.min(200), colours);
        let [coloured, plain] = [true, false].map(shown);
        assert!(coloured.contains("\u{1b}["), "{arguments}: {coloured}");
        assert!(plain.len() > 40 && !plain.contains('\u{1b}'), "{arguments}: {plain}");
        // In a pipe; what it says there is looked at by `run_with`.
        desk.run(&arguments.split(' ').collect::<Vec<_>>());
        let wide = plain.lines().filter(|line| line.trim_end().chars().count() > columns);
        let wide: Vec<&str> = wide.filter(|line| line.trim().contains(' ')).collect();
        assert!(wide.is_empty(), "{arguments}: {wide:#?}");
    }
}

#[test]
fn etcd_a_watched_status_is_redrawn_also_without_colours() {
    let etcd = Etcd::start();
    let desk = Desk::new(&etcd.endpoint());
    let typed = format!("'{}' status --watch", env!("CARGO_BIN_EXE_calico-dcos"));
    for (terminal, redrawn) in [("xterm", true), ("dumb", false)] {
        let mut command = desk.given("script");
        command.args(["-qec", &typed, "/dev/null"]).env("SHELL", "/bin/sh").env("TERM", terminal);
        let mut child = command.env("NO_COLOR", "1").spawn().unwrap();
        let (mut screen, mut seen, mut piece) =
            (child.stdout.take().unwrap(), String::new(), [0; 1024]);
        while !seen.contains("no Cluster document") {
            let length = screen.read(&mut piece).unwrap();
            assert!(length > 0, "{seen}");
            seen.push_str(&String::from_utf8_lossy(&piece[..length]));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(seen.contains("\u{1b}[H\u{1b}[J"), redrawn, "{terminal}: {seen:?}");
    }
}

#[test]
fn etcd_whoever_sits_at_a_terminal_is_asked_also_where_errors_go_to_a_file() {
    let etcd = Etcd::start();
    let desk = Desk::new(&etcd.endpoint());
    desk.file("cluster.yaml", CLUSTER);
    let apply = "apply -f cluster.yaml";
    let (code, shown) = at_a_terminal(&desk, apply, "n\n");
    assert!(code == 1 && shown.contains("Write cluster (new)? [y/N]"), "{code} {shown}");
    assert_eq!(desk.run(&["get"]).out, "");
    let (code, shown) = at_a_terminal(&desk, apply, "y\n");
    assert!(code == 0 && shown.contains("Write cluster (new)? [y/N]"), "{code} {shown}");
    assert_eq!(desk.run(&["get", "cluster"]).out, CLUSTER);

    // What was typed is kept unless it was written.
    let mut desk = desk;
    desk.editor = Some(editor(&desk, "sed -i s/12/13/ \"$1\""));
    let (code, shown) = at_a_terminal(&desk, "edit", "n\n");
    assert_eq!(code, 1, "{shown}");
    let [draft] = &drafts(desk.dir.path())[..] else { panic!("no draft") };
    assert_eq!(fs::read_to_string(draft).unwrap(), CLUSTER.replace("12", "13"));
    fs::remove_file(draft).unwrap();
    // The second time the editor ends badly.
    let twice = "test -e again && exit 3; touch again; sed -i s/image/imag/ \"$1\"";
    desk.editor = Some(editor(&desk, twice));
    let (code, shown) = at_a_terminal(&desk, "edit", "y\n");
    let told = fs::read_to_string(desk.dir.path().join("stderr")).unwrap();
    assert!(code == 4 && told.contains("your text is kept in"), "{code} {shown} {told}");
    let [draft] = &drafts(desk.dir.path())[..] else { panic!("no draft") };
    assert!(fs::read_to_string(draft).unwrap().contains("imag:"));
    assert_eq!(desk.run(&["get", "cluster"]).out, CLUSTER);
}

/// An editor that does what the script says to the file `$1`.
fn editor(desk: &Desk, script: &str) -> String {
    let path = desk.file("my editor", format!("#!/bin/sh\n{script}\n"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    format!("'{}'", path.display())
}

fn drafts(dir: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let ours = |path: &PathBuf| path.to_string_lossy().contains("calico-dcos-");
    files.filter(ours).collect()
}

#[test]
fn etcd_edit_writes_what_is_good_and_keeps_what_is_not() {
    let etcd = Etcd::start();
    let mut desk = Desk::new(&etcd.endpoint());
    desk.file("cluster.yaml", CLUSTER);
    assert_eq!(desk.run(&["apply", "-f", "cluster.yaml"]).code, 0);

    desk.editor = Some(editor(&desk, "exit 0"));
    let done = desk.run(&["edit"]);
    assert!(done.code == 0 && done.out.contains("Nothing was changed"), "{done:?}");

    desk.editor = Some(editor(&desk, "stat -c %a \"$1\" > mode; sed -i s/12/13/ \"$1\""));
    let done = desk.run(&["edit", "--yes"]);
    assert!(done.code == 0 && done.out.contains("Wrote 1 document"), "{done:?}");
    assert_eq!(desk.run(&["get", "cluster"]).out, CLUSTER.replace("12", "13"));
    assert_eq!(fs::read_to_string(desk.dir.path().join("mode")).unwrap(), "600\n");
    assert_eq!(drafts(desk.dir.path()), [] as [PathBuf; 0]);

    desk.editor = Some(editor(&desk, "sed -i s/image/imag/ \"$1\""));
    let done = desk.run(&["edit", "cluster"]);
    assert!(done.code == 2 && done.err.contains("your text is kept in"), "{done:?}");
    assert!(fs::read_to_string(&drafts(desk.dir.path())[0]).unwrap().contains("imag:"));
    assert_eq!(desk.run(&["get", "cluster"]).out, CLUSTER.replace("12", "13"));

    desk.editor = Some(editor(&desk, "exit 3"));
    fails(&desk.run(&["edit"]), 4, "nothing was written");
    desk.editor = Some("/nonexistent/editor --wait".to_owned());
    fails(&desk.run(&["edit"]), 4, "set EDITOR");

    // Somebody else writes while the editor is open.
    let other = desk.file("other.yaml", CLUSTER.replace("12", "14"));
    let apply = format!(
        "'{}' apply -f '{}' > /dev/null; sed -i s/13/15/ \"$1\"",
        env!("CARGO_BIN_EXE_calico-dcos"),
        other.display()
    );
    desk.editor = Some(editor(&desk, &apply));
    let done = desk.run(&["edit"]);
    assert!(done.code == 5 && done.err.contains("`cluster` was written at revision"), "{done:?}");
    assert_eq!(desk.run(&["get", "cluster"]).out, CLUSTER.replace("12", "14"));
}

#[tokio::test]
async fn etcd_apply_and_edit_leave_in_the_history_who_wrote_what() {
    let etcd = Etcd::start();
    let mut desk = Desk::new(&etcd.endpoint());
    desk.file("both.yaml", format!("{CLUSTER}---\n{POOL}"));
    let by = |desk: &Desk, user: &str, arguments: &[&str]| {
        let done = desk.command(arguments).env("USER", user).env_remove("SUDO_USER").output();
        assert!(done.unwrap().status.success());
    };
    by(&desk, "alice", &["apply", "-f", "both.yaml"]);
    by(&desk, "alice", &["apply", "-f", "both.yaml"]);
    desk.editor = Some(editor(&desk, "sed -i s/12/13/ \"$1\""));
    by(&desk, "bob", &["edit", "--yes"]);
    let mut client = etcd_client::Client::connect([etcd.endpoint()], None).await.unwrap();
    let prefix = etcd_client::GetOptions::new().with_prefix();
    let found = client.get("/calico-dcos/history/", Some(prefix)).await.unwrap();
    let entries: Vec<HistoryEntry> =
        found.kvs().iter().map(|kv| serde_json::from_slice(kv.value()).unwrap()).collect();
    let told: Vec<_> = entries
        .iter()
        .map(|entry| (entry.who.split('@').next().unwrap(), entry.what.as_str()))
        .collect();
    let first = ("alice", "apply: wrote cluster (new), pools/gpu (new)");
    assert_eq!(told, [first, ("bob", "edit: wrote cluster")], "and nothing for what wrote nothing");
    assert!(entries.iter().all(|entry| entry.version == 1 && entry.at.0 > 1_700_000_000_000));
}

#[test]
fn etcd_status_tells_that_nobody_works_on_it() {
    let etcd = Etcd::start();
    let desk = Desk::new(&etcd.endpoint());
    desk.file("cluster.yaml", CLUSTER);
    assert_eq!(desk.run(&["apply", "-f", "cluster.yaml"]).code, 0);
    let done = desk.run(&["status"]);
    assert!(done.code == 1 && done.out.contains("nobody leads"), "{done:?}");
    let done = desk.run(&["status", "-o", "json"]);
    let status: serde_json::Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!((done.code, &status["status"]), (1, &"notAccepted".into()));
}

#[test]
fn etcd_a_watched_status_says_each_change_in_a_line() {
    let etcd = Etcd::start();
    let desk = Desk::new(&etcd.endpoint());
    desk.file("cluster.yaml", CLUSTER);
    let mut child = desk.command(&["status", "--watch"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let first = lines.next().unwrap();
    assert!(first.contains("no Cluster document in etcd"), "{first}");
    assert_eq!(desk.run(&["apply", "-f", "cluster.yaml"]).code, 0);
    let second = lines.next().unwrap();
    assert!(second.contains("generation 0 not accepted yet · 0 hosts"), "{second}");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test]
async fn etcd_a_user_without_permission_is_told_so() {
    let etcd = Etcd::start();
    let mut root = etcd_client::Client::connect([etcd.endpoint()], None).await.unwrap();
    root.user_add("root", "root", None).await.unwrap();
    root.user_grant_role("root", "root").await.unwrap();
    root.user_add("guest", "geheim", None).await.unwrap();
    root.auth_enable().await.unwrap();
    let desk = Desk::new(&etcd.endpoint());
    desk.file("cluster.yaml", CLUSTER);
    desk.file("password", "geheim");
    let guest = ["--etcd-user", "guest", "--etcd-password-file", "password"];
    for command in [&["get"][..], &["diff"], &["apply", "-f", "cluster.yaml"]] {
        fails(&desk.run(command), 4, "a client without a user");
        let done = desk.run(&[command, &guest].concat());
        fails(&done, 4, "user `guest`");
        assert!(!done.err.contains("geheim"), "{done:?}");
    }
}

#[tokio::test]
async fn s78_etcd_a_document_that_was_deleted_since_makes_a_plan_stale() {
    let etcd = Etcd::start();
    let desk = Desk::new(&etcd.endpoint());
    desk.file("both.yaml", format!("{CLUSTER}---\n{POOL}"));
    desk.file("newer.yaml", CLUSTER.replace("12", "13"));
    assert_eq!(desk.run(&["apply", "-f", "both.yaml"]).code, 0);
    let export: serde_json::Value = serde_json::from_str(&desk.stored()).unwrap();
    let revision = export["revision"].to_string();
    let mut other = etcd_client::Client::connect([etcd.endpoint()], None).await.unwrap();
    other.delete("/calico-dcos/desired/pools/gpu", None).await.unwrap();
    let stale = ["apply", "-f", "newer.yaml", "--if-revision", &revision];
    fails(&desk.run(&stale), 5, "`pools/gpu` was deleted");

    let newest = other.get("/calico-dcos", None).await.unwrap().header().unwrap().revision();
    other.compact(newest, None).await.unwrap();
    fails(&desk.run(&stale), 5, "has compacted revision");
}

/// What a controller that brings these documents along says first of them.
fn said_of_initial(desk: &Desk, file: &str) -> String {
    let mesos = ["--mesos-master", NOWHERE, "--artifact-url", "http://127.0.0.1:1/calico-dcos"];
    let run = [&["run", "--allow-open-etcd", "--initial", file][..], &mesos].concat();
    let mut child = desk.command(&run).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let said = lines.find(|line| line.contains("that it was started with")).unwrap_or_default();
    child.kill().unwrap();
    child.wait().unwrap();
    said
}

#[test]
fn etcd_documents_that_a_controller_brings_along_count_once() {
    let etcd = Etcd::start();
    let desk = Desk::new(&etcd.endpoint());
    desk.file("first.yaml", CLUSTER);
    desk.file("other.yaml", CLUSTER.replace("v2.6.12", "v2.6.11"));
    desk.file("bad.yaml", CLUSTER.replace("image", "imag"));
    let mesos = ["--mesos-master", NOWHERE, "--artifact-url", "http://127.0.0.1:1/calico-dcos"];
    let bad = [&["run", "--allow-open-etcd", "--initial", "bad.yaml"][..], &mesos].concat();
    let done = desk.run(&bad);
    assert!(done.code == 2 && done.err.contains("bad.yaml:6:16"), "{done:?}");

    let said = said_of_initial(&desk, "first.yaml");
    assert!(said.contains("the documents that it was started with are written"), "{said}");
    assert!(desk.run(&["history"]).out.contains("run --initial: wrote cluster (new)"));
    let said = said_of_initial(&desk, "other.yaml");
    assert!(said.contains("etcd's documents are in force"), "{said}");
    assert!(said.contains("documents=\"cluster\""), "{said}");
    assert_eq!(desk.run(&["get", "cluster"]).out, CLUSTER);
}
