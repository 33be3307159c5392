//! In the place of Calico's programs in the containers of the lab: routes nothing, and answers as
//! they do when they are asked for their health. Built by rustc alone, static, with std only.
//!
//! - `GET /liveness` and `/readiness` on `FELIX_HEALTHHOST:FELIX_HEALTHPORT` (localhost:9099), as Felix;
//! - `/Plugin.Activate` and `GetCapabilities` on `/run/docker/plugins/calico{,-ipam}.sock`, as
//!   libnetwork's plugin, which is in calico/node unless `CALICO_LIBNETWORK_ENABLED` is false;
//! - `calico-node -felix-ready`, `-felix-live`, `-bird-ready`, `-bird-live`: exits as those probes do.
//!
//! `LAB_UNHEALTHY=1` makes it answer 503; `LAB_EXIT=N` makes it end with that status at once.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::process::ExitCode;
use std::thread;

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args().collect();
    let program = arguments[0].rsplit('/').next().unwrap_or_default().to_owned();
    if arguments.len() > 1 {
        return probe();
    }
    if let Some(status) = env::var("LAB_EXIT").ok().and_then(|status| status.parse::<u8>().ok()) {
        return ExitCode::from(status);
    }
    let image = fs::read_to_string("/etc/image").unwrap_or_default();
    println!("{program}: a stand-in for {}", image.trim());
    let is_off = env::var("CALICO_LIBNETWORK_ENABLED").is_ok_and(|value| value == "false");
    let plugin = program != "calico-node" || !is_off;
    if plugin && fs::create_dir_all("/run/docker/plugins").is_ok() {
        let network = "{\"Scope\":\"global\"}";
        serve_plugin("/run/docker/plugins/calico.sock", "NetworkDriver", network);
        let ipam = "{\"RequiresMACAddress\":false}";
        serve_plugin("/run/docker/plugins/calico-ipam.sock", "IpamDriver", ipam);
    }
    if program != "calico-node" {
        loop {
            thread::park();
        }
    }
    let listener = match TcpListener::bind(felix()) {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("{}: {error}", felix());
            return ExitCode::FAILURE;
        }
    };
    for stream in listener.incoming().flatten() {
        answer(stream, |path| match path {
            "/liveness" | "/readiness" if is_unhealthy() => (503, ""),
            "/liveness" | "/readiness" => (204, ""),
            _ => (404, ""),
        });
    }
    ExitCode::SUCCESS
}

fn felix() -> String {
    let or = |name, other: &str| env::var(name).unwrap_or_else(|_| other.to_owned());
    format!("{}:{}", or("FELIX_HEALTHHOST", "127.0.0.1"), or("FELIX_HEALTHPORT", "9099"))
}

fn is_unhealthy() -> bool {
    env::var_os("LAB_UNHEALTHY").is_some()
}

/// Asks the one that runs.
fn probe() -> ExitCode {
    let asked = TcpStream::connect(felix()).and_then(|mut stream| {
        stream.write_all(b"GET /readiness HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    });
    match asked {
        Ok(answer) if answer.starts_with("HTTP/1.1 2") => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn serve_plugin(path: &'static str, kind: &'static str, capabilities: &'static str) {
    // One that an earlier container left behind.
    let _ = fs::remove_file(path);
    match UnixListener::bind(path) {
        Ok(listener) => {
            thread::spawn(move || {
                let activate = format!("{{\"Implements\":[\"{kind}\"]}}");
                for stream in listener.incoming().flatten() {
                    answer(stream, |path| match path.rsplit('.').next() {
                        Some("Activate") => (200, activate.as_str()),
                        Some("GetCapabilities") => (200, capabilities),
                        _ => (404, "{}"),
                    });
                }
            });
        }
        Err(error) => eprintln!("{path}: {error}"),
    }
}

/// One request, one answer, and the end of the connection.
fn answer<'a>(mut stream: impl Read + Write, to: impl Fn(&str) -> (u16, &'a str)) {
    let mut request = Vec::new();
    let mut lines = BufReader::new(&mut stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        match lines.read_line(&mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) if line.trim().is_empty() => break,
            Ok(_) => {}
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        request.push(line);
    }
    // What is left unread would break the connection off before the answer is read.
    let _ = std::io::copy(&mut lines.take(length), &mut std::io::sink());
    let path = request.first().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
    let (status, body) = to(path);
    let length = body.len();
    let _ = write!(
        stream,
        "HTTP/1.1 {status} -\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
}
