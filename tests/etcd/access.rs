//! Who may write, and over what.

use std::path::PathBuf;

use calico_dcos::store::{EtcdOptions, EtcdStore, Key, StoreError};
use etcd_client::{Client, Permission};

use crate::support::Etcd;
use crate::{connect, options, outsider, put};

const PASSWORD: &str = "geheim";

/// Switches authentication on, with one user for our prefix and one for nothing.
async fn close(mut root: Client) -> Result<(), etcd_client::Error> {
    root.user_add("root", "root", None).await?;
    root.user_grant_role("root", "root").await?;
    root.role_add("calico").await?;
    let ours = Permission::read_write("/calico-dcos/").with_prefix();
    root.role_grant_permission("calico", ours).await?;
    root.user_add("calico", PASSWORD, None).await?;
    root.user_grant_role("calico", "calico").await?;
    root.user_add("guest", PASSWORD, None).await?;
    root.auth_enable().await?;
    Ok(())
}

fn as_user(etcd: &Etcd, user: &str, password: &str) -> EtcdOptions {
    let file = etcd.dir().join("password");
    std::fs::write(&file, format!("{password}\n")).unwrap();
    EtcdOptions { user: Some(user.into()), password_file: Some(file), ..options(etcd) }
}

async fn denied(options: &EtcdOptions) {
    let error = EtcdStore::connect(options).await.unwrap_err();
    assert!(matches!(error, StoreError::Denied { .. }), "{error:?}");
    let who = options.user.as_deref().unwrap_or("without a user");
    assert!(error.to_string().contains(who), "{error}");
    assert!(!format!("{error:?} {error} {options:?}").contains(PASSWORD));
}

#[tokio::test]
async fn a_prefix_that_anybody_can_write_is_refused_unless_allowed() {
    let etcd = Etcd::start();
    let open = connect(&etcd).await;
    let refused = open.check_openness(false).await.unwrap_err();
    assert!(refused.to_string().contains("--allow-open-etcd"), "{refused}");
    open.check_openness(true).await.unwrap();
    assert_eq!(open.get(&Key::DesiredCluster).await.unwrap(), None);
}

#[tokio::test]
async fn only_the_user_of_the_prefix_gets_in() {
    let etcd = Etcd::start();
    close(outsider(&etcd).await).await.unwrap();
    let store = EtcdStore::connect(&as_user(&etcd, "calico", PASSWORD)).await.unwrap();
    store.check_openness(false).await.unwrap();
    put(&store, Key::DesiredCluster, "kind: Cluster").await;
    let mut events = store.watch();
    assert!(crate::next_listing(&mut events).await.get(&Key::DesiredCluster).is_some());

    denied(&options(&etcd)).await;
    denied(&as_user(&etcd, "guest", PASSWORD)).await;
    denied(&as_user(&etcd, "calico", "geheimer")).await;
    let elsewhere =
        EtcdOptions { prefix: "/elsewhere".into(), ..as_user(&etcd, "calico", PASSWORD) };
    denied(&elsewhere).await;
}

fn tls_file(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tls")).join(name)
}

fn start_with_tls(more: &[&str]) -> Etcd {
    let (cert, key) = (tls_file("server.pem"), tls_file("server.key"));
    let (cert, key) = (cert.to_str().unwrap(), key.to_str().unwrap());
    Etcd::start_with(&[&["--cert-file", cert, "--key-file", key], more].concat())
}

#[tokio::test]
async fn tls_is_spoken_with_the_ca_and_refused_with_another() {
    let etcd = start_with_tls(&[]);
    let with_ca = |name| EtcdOptions { ca_file: Some(tls_file(name)), ..options(&etcd) };
    let store = EtcdStore::connect(&with_ca("ca.pem")).await.unwrap();
    put(&store, Key::Leader, "me").await;
    // Encrypted, but open to everybody.
    assert!(matches!(store.check_openness(false).await, Err(StoreError::Open { .. })));

    let error = EtcdStore::connect(&with_ca("other-ca.pem")).await.unwrap_err();
    assert!(matches!(error, StoreError::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_certificate_lets_in_and_keeps_others_out() {
    let ca = tls_file("ca.pem");
    let etcd = start_with_tls(&["--client-cert-auth", "--trusted-ca-file", ca.to_str().unwrap()]);
    let without = EtcdOptions { ca_file: Some(ca), ..options(&etcd) };
    let with = EtcdOptions {
        cert_file: Some(tls_file("client.pem")),
        key_file: Some(tls_file("client.key")),
        ..without.clone()
    };
    let store = EtcdStore::connect(&with).await.unwrap();
    put(&store, Key::Leader, "me").await;
    store.check_openness(false).await.unwrap();
    let error = EtcdStore::connect(&without).await.unwrap_err();
    assert!(matches!(error, StoreError::Unreachable { .. }), "{error:?}");
}
