//! Whom we trust over TLS, and what is wrong with a certificate in words.

#[cfg(test)]
mod tests;

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use reqwest::Certificate;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{CertificateError, RootCertStore};

/// The certificates that a master's own is checked against, in place of the machine's.
#[derive(Clone, Debug)]
pub struct Authorities(Vec<Certificate>);

/// Why a file holds no such certificates.
#[derive(Debug, thiserror::Error)]
pub enum AuthoritiesError {
    /// It cannot be read.
    #[error("the CA file {path} cannot be read; check its name and permissions")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It holds something else.
    #[error(
        "the CA file {path} holds no certificate, or a damaged one; it should be PEM \
         (-----BEGIN CERTIFICATE-----)"
    )]
    Malformed {
        /// The file.
        path: PathBuf,
    },
}

impl Authorities {
    /// Reads a file of one or more certificates in PEM.
    pub fn read(path: &Path) -> Result<Self, AuthoritiesError> {
        let pem = std::fs::read(path)
            .map_err(|source| AuthoritiesError::Unreadable { path: path.to_owned(), source })?;
        let malformed = || AuthoritiesError::Malformed { path: path.to_owned() };
        let mut certificates = Vec::new();
        for der in CertificateDer::pem_slice_iter(&pem) {
            let der = der.map_err(|_| malformed())?;
            let certificate = Certificate::from_der(&der).map_err(|_| malformed())?;
            // A file that is not understood is told now, not when a master is asked.
            RootCertStore::empty().add(der).map_err(|_| malformed())?;
            certificates.push(certificate);
        }
        if certificates.is_empty() { Err(malformed()) } else { Ok(Self(certificates)) }
    }

    pub(super) fn certificates(&self) -> impl Iterator<Item = Certificate> {
        self.0.iter().cloned()
    }
}

/// What is wrong with TLS, if that is why a request failed, and the next thing to do.
pub(super) fn fault(error: &reqwest::Error) -> Option<String> {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(fault) = error.downcast_ref::<rustls::Error>() {
            return Some(explain(fault));
        }
        next = match error.downcast_ref::<io::Error>() {
            // It hides what it holds from `source`.
            Some(io) => io.get_ref().map(|inner| inner as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
    None
}

fn explain(fault: &rustls::Error) -> String {
    let rustls::Error::InvalidCertificate(fault) = fault else {
        return format!("{fault}; if it does not speak TLS, write http:// in its address");
    };
    match fault {
        CertificateError::NotValidForName => {
            "its certificate is for another host; write the name that it is for".to_owned()
        }
        CertificateError::NotValidForNameContext { presented, .. } => format!(
            "its certificate is for another host ({}); write the name that it is for",
            presented.join(", ")
        ),
        CertificateError::UnknownIssuer => {
            "its certificate is not from a CA that is trusted here; \
             give its CA with --mesos-ca"
                .to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired; renew it, or set this machine's clock".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet; set this machine's clock".to_owned()
        }
        other => format!("its certificate is not good ({other:?}); renew it"),
    }
}
