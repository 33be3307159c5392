//! Certificates that are good, and all others.

use super::*;
use crate::mesos::operator::OperatorClient;
use crate::mesos::testing::{fixture, serve, serve_tls, typed};
use crate::mesos::{MesosError, NextStep, Options};

const VERSION: &str =
    r#"{"type":"GET_VERSION","get_version":{"version_info":{"version":"1.11.0"}}}"#;

async fn ask(address: &str, ca: Option<&str>) -> Result<String, MesosError> {
    let mut options = Options::new(address.parse().unwrap());
    options.authorities = ca.map(|ca| Authorities::read(&fixture(ca)).unwrap());
    OperatorClient::new(&options)?.version().await
}

#[test]
fn a_file_without_a_certificate_is_no_ca() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let damaged = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    let key = std::fs::read_to_string(fixture("server.key")).unwrap();
    for text in ["", "hello", "-----BEGIN CERTIFICATE-----\n", damaged, &key] {
        std::fs::write(&file, text).unwrap();
        let error = Authorities::read(file.path()).unwrap_err();
        assert!(matches!(error, AuthoritiesError::Malformed { .. }), "{text}: {error}");
    }
    let error = Authorities::read(Path::new("/nowhere/at/all")).unwrap_err();
    assert!(error.to_string().contains("/nowhere/at/all"));
}

#[tokio::test]
async fn point_15_a_certificate_is_trusted_or_it_is_said_why_not() {
    let table = [
        ("server.pem", Some("ca.pem"), None),
        (
            "server.pem",
            None,
            Some("not from a CA that is trusted here; give its CA with --mesos-ca"),
        ),
        ("other-host.pem", Some("ca.pem"), Some("for another host (")),
        ("other-host.pem", Some("ca.pem"), Some("other.example")),
        ("expired.pem", Some("ca.pem"), Some("has expired; renew it")),
    ];
    for (certificate, ca, words) in table {
        let answer = |_: &_| typed(200, "application/json", VERSION);
        let (master, _) = serve_tls(certificate, answer).await;
        match (ask(&format!("https://{master}"), ca).await, words) {
            (Ok(version), None) => assert_eq!(version, "1.11.0"),
            (Err(error), Some(words)) => {
                assert!(error.to_string().contains(words), "{certificate}: {error}");
                assert_eq!(error.next_step(), NextStep::GiveUp, "{certificate}");
            }
            (result, _) => panic!("{certificate} {ca:?}: {result:?}"),
        }
    }
}

#[tokio::test]
async fn https_where_http_is_spoken_is_told_and_the_other_way_around() {
    let (plain, _) = serve(|_| typed(200, "application/json", VERSION)).await;
    let error = ask(&format!("https://{plain}"), Some("ca.pem")).await.unwrap_err();
    assert!(error.to_string().contains("write http:// in its address"), "{error}");
    let (secure, _) = serve_tls("server.pem", |_| typed(200, "application/json", VERSION)).await;
    let error = ask(&format!("http://{secure}"), None).await.unwrap_err();
    assert_eq!(error.next_step(), NextStep::Resubscribe, "{error}");
}
