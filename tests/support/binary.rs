//! The real binary, how it ends, and whom it meets.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};

use super::PATIENCE;

/// `run`, with a short lease.
pub(crate) fn run(etcd: &str, mesos: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_calico-dcos"));
    command
        .args(["run", "--etcd-endpoints", etcd, "--allow-open-etcd", "--lease-seconds", "2"])
        .args(["--mesos-master", mesos, "--artifact-url", "http://demo.invalid/calico-dcos"]);
    // Masters are near: a proxy that the environment names, and that does not work, is not asked.
    for proxy in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY"] {
        command.env(proxy, "http://127.0.0.1:1").env("no_proxy", "");
    }
    command
}

/// Exit code, and standard output and error, of what has to end by itself.
pub(crate) fn ends(mut command: Command) -> (Option<i32>, String) {
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().expect("the binary can be run");
    let id = rustix::process::Pid::from_child(&child);
    let (done, is_done) = std::sync::mpsc::channel();
    std::thread::spawn(move || done.send(child.wait_with_output()));
    let Ok(output) = is_done.recv_timeout(PATIENCE) else {
        let _ = rustix::process::kill_process(id, rustix::process::Signal::KILL);
        panic!("it does not end");
    };
    let Output { status, stdout, stderr } = output.expect("its output can be read");
    let said = String::from_utf8([stdout, stderr].concat());
    (status.code(), said.expect("it speaks UTF-8"))
}

/// Ends with that code and one error, which has these words in it.
#[track_caller]
pub(crate) fn fails(command: Command, code: i32, words: &str) {
    let (ended, said) = ends(command);
    let errors = said.lines().filter(|line| line.starts_with("error:")).count();
    assert!(ended == Some(code) && errors == 1, "{ended:?}, {errors} errors: {said}");
    assert!(said.contains(words) && !said.contains("panicked"), "{words}: {said}");
}

/// An address where nobody listens.
pub(crate) fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("a bound port")
}

/// Answers each request with these bytes, to the path that was asked for, and hangs up.
pub(crate) fn answering(answer: impl Fn(&str) -> Vec<u8> + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("a bound port");
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            // Whoever hangs up has seen enough.
            let _ = converse(stream, &answer);
        }
    });
    address
}

fn converse(stream: TcpStream, answer: &impl Fn(&str) -> Vec<u8>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream);
    let (mut path, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
        if path.is_empty() {
            line.split(' ').nth(1).unwrap_or_default().clone_into(&mut path);
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    reader.by_ref().take(length).read_to_end(&mut Vec::new())?;
    reader.into_inner().write_all(&answer(&path))
}

/// An answer over HTTP/1.1, after which the connection is closed.
pub(crate) fn http(status: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
    .into_bytes()
}
