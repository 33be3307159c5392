//! Masters that lie, files that are wrong, keys that have expired and certificates of others: the real
//! binary ends with one clear sentence, without a secret in it, and with the right exit code.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "in a test they are assertions")]

#[expect(dead_code, reason = "other tests use more of it")]
mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use support::Etcd;
use support::binary::{answering, ends, fails, http, run};

/// A file of `tests/fixtures/mesos-tls`.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/mesos-tls").join(name)
}

fn version(number: &str) -> String {
    json!({"type": "GET_VERSION", "get_version": {"version_info": {"version": number}}}).to_string()
}

#[test]
fn what_does_not_answer_as_a_mesos_master_is_called_so() {
    const JSON: &str = "content-type: application/json\r\n";
    const TEXT: &str = "content-type: text/plain\r\n";
    const HTML: &str = "content-type: text/html\r\n";
    let etcd = Etcd::start();
    let good = version("1.11.0");
    let deep = format!(r#"{{"type":{}"#, "[".repeat(100_000));
    let ours = "is this the address of a Mesos master";
    for (status, headers, body, words) in [
        ("200 OK", HTML, "<html>", format!("answered HTML: {ours}")),
        ("404 Not Found", HTML, "<html>", format!("answered HTML (404): {ours}")),
        ("200 OK", TEXT, &good, format!("answered `text/plain`: {ours}")),
        ("200 OK", "", &good, format!("answered without a content type: {ours}")),
        ("302 Found", "location: /login\r\n", "", format!("answered a redirect (302): {ours}")),
        ("401 Unauthorized", "", "", "does not know us (401); check the credentials file".into()),
        ("307 Temporary Redirect", "location: ftp://m\r\n", "", "give the leader's address".into()),
        ("200 OK", JSON, "{]", "is not understood".into()),
        ("200 OK", JSON, &deep, "is not understood".into()),
        ("200 OK", JSON, r#"{"type":"GET_VERSION"}"#, "is not understood".into()),
        ("200 OK", JSON, r#"{"type":"GET_FLAGS"}"#, "answered GET_FLAGS to GET_VERSION".into()),
        ("200 OK", JSON, &version("0.28.2"), "is of version 0.28.2; upgrade it to 1.0.0".into()),
    ] {
        let answer = http(status, headers, body);
        let master = answering(move |_| answer.clone());
        fails(run(&etcd.endpoint(), &format!("http://{master}")), 4, &words);
    }
}

#[test]
fn files_and_addresses_that_cannot_be_used_are_one_clear_error_without_the_secret() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str, mode: u32| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path.display().to_string()
    };
    let credentials = |file: String| vec!["--mesos-credentials-file".to_owned(), file];
    let (http, https) = ("http://127.0.0.1:1".to_owned(), "https://127.0.0.1:1".to_owned());
    let table = [
        (http.clone(), credentials("/nowhere".to_owned()), 4, "/nowhere cannot be read"),
        (http.clone(), credentials(file("open", "u hunter2", 0o644)), 4, "run `chmod 600`"),
        (http.clone(), credentials(file("odd", "u hunter2 x", 0o600)), 4, "is not understood"),
        (
            http.clone(),
            credentials(file("sa", r#"{"uid": "u", "private_key": "hunter2"}"#, 0o600)),
            4,
            "no `login_endpoint`",
        ),
        (https, vec!["--mesos-ca".to_owned(), file("ca", "hunter2", 0o644)], 4, "no certificate"),
        (http, vec!["--mesos-ca".to_owned(), file("ca", "", 0o644)], 2, "use https://"),
        ("http://u:hunter2@m:5050".to_owned(), vec![], 2, "put it into a credentials file"),
        ("zk://u:hunter2@z/mesos".to_owned(), vec![], 2, "give file:///"),
        (format!("file://{}", file("zk", "zk://u:hunter2@z/m", 0o644)), vec![], 4, "chmod 600"),
        ("file:///nowhere".to_owned(), vec![], 4, "/nowhere, cannot be read"),
    ];
    for (masters, more, code, hint) in table {
        let mut command = run("http://127.0.0.1:1", &masters);
        command.args(&more);
        let (ended, said) = ends(command);
        assert_eq!(ended, Some(code), "{masters} {more:?}: {said}");
        assert!(said.contains(hint) && !said.contains("hunter2"), "{masters} {more:?}: {said}");
    }
}

#[test]
fn a_service_account_whose_key_has_expired_is_told_so() {
    let etcd = Etcd::start();
    let files = tempfile::tempdir().unwrap();
    let login = answering(|_| http("401 Unauthorized", "", "token expired"));
    let account = files.path().join("account.json");
    let key = std::fs::read_to_string(fixture("service.pkcs8.pem")).unwrap();
    let text = json!({
        "scheme": "RS256", "uid": "calico", "private_key": key,
        "login_endpoint": format!("http://{login}/acs/api/v1/auth/login"),
    });
    std::fs::write(&account, text.to_string()).unwrap();
    std::fs::set_permissions(&account, std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .unwrap();
    let master = answering(|_| http("401 Unauthorized", "", ""));
    let mut command = run(&etcd.endpoint(), &format!("http://{master}"));
    command.arg("--mesos-credentials-file").arg(&account);
    let (ended, said) = ends(command);
    assert_eq!(ended, Some(4), "{said}");
    let words = "DC/OS does not accept the service account `calico` (401";
    assert!(said.contains(words) && said.contains("have expired"), "{said}");
    assert!(!said.contains(&key[40..60]) && !said.contains("eyJ"), "{said}");
}

/// A server that shows this certificate to whoever comes.
async fn showing(certificate: &str) -> String {
    let certificates = CertificateDer::pem_file_iter(fixture(certificate)).unwrap();
    let certificates = certificates.collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_file(fixture("server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A client that does not trust us hangs up.
            let _ = acceptor.accept(stream).await;
        }
    });
    format!("https://{address}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_another_host_ends_the_controller_with_what_to_do() {
    let etcd = Etcd::start();
    for (certificate, words) in [
        ("other-host.pem", "its certificate is for another host"),
        ("expired.pem", "its certificate has expired; renew it"),
    ] {
        let mut command = run(&etcd.endpoint(), &showing(certificate).await);
        command.arg("--mesos-ca").arg(fixture("ca.pem"));
        tokio::task::block_in_place(|| fails(command, 4, words));
    }
    // The CA of the machine, which does not know it.
    let command = run(&etcd.endpoint(), &showing("server.pem").await);
    tokio::task::block_in_place(|| fails(command, 4, "give its CA with --mesos-ca"));
}
