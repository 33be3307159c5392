//! Credentials from files: what is taken, what is refused, and that no secret is told.

use serde_json::json;

use super::*;
use crate::mesos::testing::fixture;

fn file(text: &[u8], mode: u32) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, text).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
    file
}

fn read(text: &str) -> Result<Credentials, CredentialsError> {
    Credentials::read(file(text.as_bytes(), 0o600).path())
}

/// A service account as DC/OS keeps it, with one field changed.
fn account(field: &str, value: serde_json::Value) -> String {
    let key = std::fs::read_to_string(fixture("service.pkcs8.pem")).unwrap();
    let mut account = json!({
        "scheme": "RS256",
        "uid": "calico",
        "private_key": key,
        "login_endpoint": "https://leader.mesos/acs/api/v1/auth/login",
    });
    account[field] = value;
    account.to_string()
}

#[test]
fn both_forms_of_mesos_are_read() {
    for text in ["calico hunter2\n", r#"{"principal": "calico", "secret": "hunter2"}"#] {
        let credentials = read(text).unwrap();
        assert_eq!(credentials.principal(), "calico");
        assert!(!credentials.need_login());
        let Kind::Basic { secret, .. } = credentials.0 else { panic!("{text}") };
        assert_eq!(secret.reveal(), "hunter2");
    }
}

#[test]
fn a_service_account_is_read_with_its_key_in_either_form() {
    for key in ["service.pkcs8.pem", "service.pkcs1.pem"] {
        let key = std::fs::read_to_string(fixture(key)).unwrap();
        let credentials = read(&account("private_key", json!(key))).unwrap();
        assert_eq!(credentials.principal(), "calico");
        assert!(credentials.need_login() && credentials.use_tls());
        let shown = format!("{credentials:?}");
        assert!(!shown.contains(&key[40..60]) && shown.contains("leader.mesos"), "{shown}");
    }
    // What tools leave out, or add.
    let whole = account("extra", json!([1]));
    read(&whole.replace(r#""scheme":"RS256","#, "")).unwrap();
}

#[test]
fn a_service_account_that_cannot_work_is_refused_with_what_to_do() {
    let ec = std::fs::read_to_string(fixture("server.key")).unwrap();
    let key = std::fs::read_to_string(fixture("service.pkcs8.pem")).unwrap();
    let small = key.lines().take(5).collect::<Vec<_>>().join("\n");
    for (field, value, words) in [
        ("scheme", json!("HS256"), "`scheme` is not RS256"),
        ("login_endpoint", json!(null), "no `login_endpoint`"),
        ("login_endpoint", json!("leader.mesos"), "not an http(s):// address"),
        ("login_endpoint", json!("https://u:hunter2@leader"), "not an http(s):// address"),
        ("private_key", json!("hunter2"), "not a key in PEM"),
        ("private_key", json!(small), "not a key in PEM"),
        ("private_key", json!(ec), "not an RSA key"),
    ] {
        let error = read(&account(field, value)).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(shown.contains(words) && !shown.contains("hunter2"), "{field}: {shown}");
    }
}

#[test]
fn anything_else_is_refused_with_line_or_field_and_the_secret_stays_secret() {
    for (text, words) in [
        ("", "it is empty"),
        (" \n\n", "it is empty"),
        ("calico", "line 1 has one word"),
        ("\ncalico hunter2 more", "line 2 has 3 words"),
        ("calico hunter2\n\nother hunter2\n", "there is more in line 3"),
        (r#"{"principal": "hunter2"}"#, "the field `secret` is missing"),
        (r#"{"secret": "hunter2"}"#, "the field `principal` is missing"),
        (r#"{"uid": "hunter2"}"#, "the field `private_key` is missing"),
        (r#"{"uid": 7, "private_key": "hunter2"}"#, "`uid` is not a text"),
        (r#"{"principal": ["calico"], "secret": "hunter2"}"#, "`principal` is not a text"),
        (r#"["calico", "hunter2"]"#, "the field `principal` is missing"),
        ("{\n\"principal\": \"calico\",\n\"secret\": hunter2}", "line 3, column 11, is not JSON"),
        ("{\"principal\": \"calico\"", "line 1, column 22, is not JSON"),
    ] {
        let error = read(text).unwrap_err();
        assert!(matches!(error, CredentialsError::Malformed { .. }), "{text}: {error}");
        let shown = format!("{error} {error:?}");
        assert!(shown.contains(words) && !shown.contains("hunter2"), "{text}: {shown}");
    }
    let error = read("calico hunter:2").unwrap_err();
    assert!(matches!(error, CredentialsError::Colon { .. }), "{error}");
    let binary = file(b"\ncalico \xff\xfe", 0o600);
    let error = Credentials::read(binary.path()).unwrap_err();
    assert!(error.to_string().contains("line 2 is no text"), "{error}");
    assert!(!format!("{:?}", Credentials::new("calico", "hunter2")).contains("hunter2"));
    let missing = Credentials::read(Path::new("/nowhere/at/all")).unwrap_err();
    assert!(matches!(missing, CredentialsError::Unreadable { .. }));
}

#[test]
fn a_file_that_everybody_can_read_is_refused() {
    for (mode, good) in [(0o600, true), (0o640, true), (0o644, false), (0o602, false)] {
        let file = file(b"calico hunter2", mode);
        match Credentials::read(file.path()) {
            Ok(_) => assert!(good, "{mode:o}"),
            Err(error) => {
                assert!(!good && error.to_string().contains("chmod 600"), "{mode:o}: {error}");
            }
        }
    }
}

#[tokio::test]
async fn what_a_master_repeats_of_our_secrets_is_taken_out() {
    let credentials = Credentials::new("calico", "hunter2");
    let text = "you sent Basic Y2FsaWNvOmh1bnRlcjI=, that is calico:hunter2".to_owned();
    let scrubbed = credentials.scrub(text).await;
    assert_eq!(scrubbed, "you sent Basic (secret), that is calico:(secret)");
}
