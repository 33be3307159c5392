//! The login of a service account, against a DC/OS and a master in the test's hands.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::response::Response;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

use super::*;
use crate::mesos::auth::{Credentials, Kind};
use crate::mesos::operator::OperatorClient;
use crate::mesos::testing::{Got, Log, fixture, plain, serve, serve_tls, typed};
use crate::mesos::{Authorities, MesosError, NextStep, Options};

const VERSION: &str =
    r#"{"type":"GET_VERSION","get_version":{"version_info":{"version":"1.11.0"}}}"#;

fn account(login: &str) -> ServiceAccount {
    let key = std::fs::read_to_string(fixture("service.pkcs8.pem")).unwrap();
    ServiceAccount::new("calico".to_owned(), &key, login, Some("RS256")).unwrap()
}

fn operator(master: &str, account: Arc<ServiceAccount>) -> OperatorClient {
    let mut options = Options::new(format!("http://{master}").parse().unwrap());
    options.credentials = Some(Credentials(Kind::Service(account)));
    OperatorClient::new(&options).unwrap()
}

/// A token as DC/OS makes them, good for so many seconds.
fn token(number: usize, seconds: u64) -> String {
    let expires = clock::now().0 / 1000 + seconds;
    let claims = BASE64_URL_SAFE_NO_PAD.encode(json!({"exp": expires, "n": number}).to_string());
    format!("eyJ0.{claims}.token-{number}")
}

fn granted(number: usize, seconds: u64) -> Response {
    typed(200, "application/json", &json!({"token": token(number, seconds)}).to_string())
}

/// A login service that gives token 1, 2, 3 …, each good for that long; and how many it gave.
async fn logins(seconds: u64) -> (String, Arc<AtomicUsize>) {
    let given = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&given);
    let (address, _) =
        serve(move |_| granted(counter.fetch_add(1, Ordering::SeqCst) + 1, seconds)).await;
    (format!("http://{address}/acs/api/v1/auth/login"), given)
}

/// A master that accepts what this says.
async fn master(accepts: impl Fn(&Got) -> bool + Send + Sync + 'static) -> String {
    let answer = move |got: &Got| {
        if accepts(got) {
            typed(200, "application/json", VERSION)
        } else {
            plain(401, "401 Unauthorized.")
        }
    };
    serve(answer).await.0
}

#[tokio::test]
async fn the_account_proves_itself_with_a_signature_and_logs_in_once() {
    let (login, mut asked) = serve(|_| granted(7, 432_000)).await;
    let master =
        master(|got| got.header("authorization") == format!("token={}", token(7, 432_000))).await;
    let account = Arc::new(account(&format!("http://{login}/acs/api/v1/auth/login")));
    let before = clock::now().0 / 1000;
    let (one, other) = (operator(&master, Arc::clone(&account)), operator(&master, account));
    let (one, other) = tokio::join!(one.version(), other.version());
    assert_eq!((one.unwrap(), other.unwrap()), ("1.11.0".to_owned(), "1.11.0".to_owned()));

    let got = asked.recv().await.unwrap();
    assert!(asked.try_recv().is_err(), "it logged in twice");
    assert_eq!(
        (got.path.as_str(), &got.json()["uid"]),
        ("/acs/api/v1/auth/login", &json!("calico"))
    );
    assert_eq!(got.header("authorization"), "", "there is nothing to show yet");
    let own = got.json()["token"].as_str().unwrap().to_owned();
    let (signed, signature) = own.rsplit_once('.').unwrap();
    let public = std::fs::read(fixture("service.pub.der")).unwrap();
    let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public)
        .verify(signed.as_bytes(), &signature)
        .unwrap();
    let part = |at| BASE64_URL_SAFE_NO_PAD.decode(signed.split('.').nth(at).unwrap()).unwrap();
    let json = |at| serde_json::from_slice::<serde_json::Value>(&part(at)).unwrap();
    assert_eq!(json(0), json!({"alg": "RS256", "typ": "JWT"}));
    let expires = json(1)["exp"].as_u64().unwrap();
    assert_eq!(json(1)["uid"], "calico");
    assert!((before + 60..=before + 180).contains(&expires), "{before} {expires}");
}

#[tokio::test]
async fn a_token_is_renewed_before_it_expires() {
    let now = Time(1_000_000);
    for (life, renewed_after) in [(432_000, 388_800), (100, 90), (10, 30), (0, 30)] {
        let claims = json!({"exp": 1_000 + life}).to_string();
        let text = format!("x.{}.y", BASE64_URL_SAFE_NO_PAD.encode(claims));
        let token = Token::new(text, now).unwrap();
        assert_eq!(token.renew_at.0 - now.0, renewed_after * 1000, "{life}");
    }
    for unclear in ["opaque", "a.b.c", "x.eyJleHAiOi0xfQ.y", "x.eyJleHAiOjFlOTl9.y"] {
        let token = Token::new(unclear.to_owned(), now).unwrap();
        assert_eq!(token.renew_at.0 - now.0, 54 * 60 * 1000, "{unclear}");
    }

    let (login, given) = logins(1000).await;
    let account = Arc::new(account(&login));
    let master = master(|_| true).await;
    let operator = operator(&master, Arc::clone(&account));
    for _ in 0..2 {
        operator.version().await.unwrap();
        assert_eq!(given.load(Ordering::SeqCst), 1);
    }
    account.token.lock().await.as_mut().unwrap().renew_at = Time(0);
    for _ in 0..2 {
        operator.version().await.unwrap();
        assert_eq!(given.load(Ordering::SeqCst), 2);
    }
}

#[tokio::test]
async fn an_old_token_is_used_to_its_end_while_no_new_one_can_be_had() {
    let first = AtomicUsize::new(0);
    let (login, _) = serve(move |_| match first.fetch_add(1, Ordering::SeqCst) {
        0 => granted(1, 1000),
        _ => plain(503, "we are closed"),
    })
    .await;
    let account = Arc::new(account(&format!("http://{login}")));
    let master = master(|_| true).await;
    let operator = operator(&master, Arc::clone(&account));
    operator.version().await.unwrap();
    account.token.lock().await.as_mut().unwrap().renew_at = Time(0);
    operator.version().await.unwrap();
    assert!(account.token.lock().await.as_ref().unwrap().renew_at > clock::now(), "no storm");
    let mut token = account.token.lock().await;
    (token.as_mut().unwrap().renew_at, token.as_mut().unwrap().expires) = (Time(0), Time(0));
    drop(token);
    let error = operator.version().await.unwrap_err();
    assert_eq!(error.next_step(), NextStep::Resubscribe, "{error:?}");
}

#[tokio::test]
async fn a_401_is_answered_with_one_renewal() {
    let (login, given) = logins(1000).await;
    let second = master(|got| got.header("authorization").ends_with("token-2")).await;
    let good = operator(&second, Arc::new(account(&login)));
    assert_eq!(good.version().await.unwrap(), "1.11.0");
    assert_eq!(given.load(Ordering::SeqCst), 2);

    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let closed = master(move |_| counter.fetch_add(1, Ordering::SeqCst) > 1000).await;
    let error = operator(&closed, Arc::new(account(&login))).version().await.unwrap_err();
    assert!(matches!(error, MesosError::Unauthorized { .. }), "{error:?}");
    assert_eq!(error.next_step(), NextStep::GiveUp);
    assert_eq!((asked.load(Ordering::SeqCst), given.load(Ordering::SeqCst)), (2, 4));
}

#[tokio::test]
async fn a_login_that_fails_says_why_and_whether_to_wait() {
    let master = master(|_| true).await;
    let large = format!(r#"{{"token": "{}"}}"#, "x".repeat(LARGEST));
    let table: [(u16, &str, &str, NextStep, &str); 7] = [
        (401, "application/json", "{}", NextStep::GiveUp, "service account `calico` (401"),
        (403, "text/plain", "no", NextStep::GiveUp, "or this machine's clock is wrong"),
        (503, "text/html", "<html>", NextStep::Resubscribe, "is not ready (503)"),
        (404, "text/plain", "no", NextStep::GiveUp, "is this the login service"),
        (200, "text/html", "<html>", NextStep::GiveUp, "is this the login service"),
        (200, "application/json", r#"{"token": "a\nb"}"#, NextStep::GiveUp, "credentials file"),
        (200, "application/json", &large, NextStep::GiveUp, "is this the login service"),
    ];
    for (status, kind, body, step, words) in table {
        let (kind, body) = (kind.to_owned(), body.to_owned());
        let (login, _) = serve(move |_| typed(status, &kind, &body)).await;
        let account = Arc::new(account(&format!("http://{login}")));
        let error = operator(&master, account).version().await.unwrap_err();
        assert_eq!(error.next_step(), step, "{status}: {error:?}");
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains(words), "{status}: {cause}");
    }
    let error = operator(&master, Arc::new(account("http://127.0.0.1:9"))).version().await;
    assert_eq!(error.unwrap_err().next_step(), NextStep::Resubscribe);
}

#[tokio::test]
async fn a_login_over_tls_trusts_the_given_ca_only() {
    let (login, _) = serve_tls("server.pem", |_| granted(1, 1000)).await;
    let master = master(|_| true).await;
    let account = Arc::new(account(&format!("https://{login}")));
    let mut options = Options::new(format!("http://{master}").parse().unwrap());
    options.credentials = Some(Credentials(Kind::Service(account)));
    let error = OperatorClient::new(&options).unwrap().version().await.unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("give its CA with --mesos-ca"), "{cause}");
    options.authorities = Some(Authorities::read(&fixture("ca.pem")).unwrap());
    OperatorClient::new(&options).unwrap().version().await.unwrap();
}

#[tokio::test]
async fn no_secret_is_in_logs_errors_or_debug_output() {
    let log = Log::default();
    let _guard = log.keep();
    let (login, _) = logins(1000).await;
    let (echo, _) =
        serve(|got| plain(403, &format!("you said {}", got.header("authorization")))).await;
    let closed = master(|_| false).await;
    let account = Arc::new(account(&login));
    let mut told = vec![format!("{account:?}")];
    for master in [&echo, &closed] {
        let operator = operator(master, Arc::clone(&account));
        let error = operator.version().await.unwrap_err();
        told.push(format!("{operator:?} {error} {error:?}"));
    }
    told.push(format!("{account:?}"));
    let told = told.join("\n");
    assert!(told.contains("you said token=(secret)"), "{told}");
    let log = log.text();
    assert!(log.contains("logged in to DC/OS"), "{log}");
    let key = std::fs::read_to_string(fixture("service.pkcs8.pem")).unwrap();
    for secret in ["token-1", "token-2", "token-3", "eyJ", &key[40..60]] {
        assert!(!told.contains(secret) && !log.contains(secret), "{secret}: {told}\n{log}");
    }
}
