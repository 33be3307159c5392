//! Where etcd is, and as whom to talk to it: the same options for every command.

use std::path::PathBuf;

use clap::Args;

use super::Failure;
use crate::store::{EtcdOptions, EtcdStore};

/// How to reach etcd.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "etcd")]
pub struct Connection {
    /// Addresses of etcd, with commas between them
    #[arg(
        long,
        value_name = "URL,…",
        value_delimiter = ',',
        default_value = "http://127.0.0.1:2379",
        env = "CALICO_DCOS_ETCD_ENDPOINTS",
        hide_env_values = true
    )]
    pub etcd_endpoints: Vec<String>,

    /// What all keys begin with
    #[arg(
        long,
        value_name = "PREFIX",
        default_value = "/calico-dcos",
        env = "CALICO_DCOS_ETCD_PREFIX",
        hide_env_values = true
    )]
    pub etcd_prefix: String,

    /// The user, if etcd has authentication switched on
    #[arg(long, value_name = "NAME", env = "CALICO_DCOS_ETCD_USER", hide_env_values = true)]
    pub etcd_user: Option<String>,

    /// A file with the user's password
    #[arg(
        long,
        value_name = "FILE",
        env = "CALICO_DCOS_ETCD_PASSWORD_FILE",
        hide_env_values = true
    )]
    pub etcd_password_file: Option<PathBuf>,

    /// Certificates (PEM) that etcd's own is checked against; needed with https
    #[arg(long, value_name = "FILE", env = "CALICO_DCOS_ETCD_CA", hide_env_values = true)]
    pub etcd_ca: Option<PathBuf>,

    /// Our certificate (PEM), if etcd asks for one
    #[arg(long, value_name = "FILE", env = "CALICO_DCOS_ETCD_CERT", hide_env_values = true)]
    pub etcd_cert: Option<PathBuf>,

    /// The key (PEM) of our certificate
    #[arg(long, value_name = "FILE", env = "CALICO_DCOS_ETCD_KEY", hide_env_values = true)]
    pub etcd_key: Option<PathBuf>,
}

impl Connection {
    /// The same for the store.
    #[must_use]
    pub fn options(&self) -> EtcdOptions {
        EtcdOptions {
            endpoints: self.etcd_endpoints.iter().map(|url| url.trim().to_owned()).collect(),
            prefix: self.etcd_prefix.clone(),
            user: self.etcd_user.clone(),
            password_file: self.etcd_password_file.clone(),
            ca_file: self.etcd_ca.clone(),
            cert_file: self.etcd_cert.clone(),
            key_file: self.etcd_key.clone(),
            ..EtcdOptions::default()
        }
    }

    /// Connects. Fails with exit code 4 if etcd does not answer or does not let us in, with 2 if
    /// the options contradict each other.
    pub async fn connect(&self) -> Result<EtcdStore, Failure> {
        Ok(EtcdStore::connect(&self.options()).await?)
    }
}
