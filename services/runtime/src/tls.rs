//! One certificate authority, one certificate, one key: what a process shows and whom it believes.
//!
//! Both directions are authenticated. The server asks for a client certificate and refuses a
//! handshake without one; the client believes only our own authority, never the public roots.

use std::{fmt, fs, io, path::Path, path::PathBuf, time::Duration};

use tonic::transport::{Certificate, ClientTlsConfig, Identity};

/// How long a handshake may take that has begun, on either side. Whom a listener has room for until then,
/// [`crate::handshake`] says.
pub const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// A certificate could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}", path.display())]
pub struct Error {
    pub path: PathBuf,
    #[source]
    pub source: io::Error,
}

/// Who we are and whose word we take, all in PEM.
#[derive(Clone)]
pub struct Credentials {
    /// The authority that both ends trust.
    pub ca_pem: String,
    /// Our own chain, leaf first.
    pub cert_pem: String,
    /// The key of the leaf. Never printed.
    pub key_pem: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("ca_pem", &self.ca_pem)
            .field("cert_pem", &self.cert_pem)
            .field("key_pem", &"[key]")
            .finish()
    }
}

impl Credentials {
    /// Reads `ca.pem`, `{name}.pem` and `{name}.key` from `dir`.
    ///
    /// # Errors
    /// The file that could not be read, with the reason.
    pub fn from_dir(dir: impl AsRef<Path>, name: &str) -> Result<Self, Error> {
        let read = |file: String| {
            let path = dir.as_ref().join(file);
            fs::read_to_string(&path).map_err(|source| Error { path, source })
        };
        Ok(Self {
            ca_pem: read("ca.pem".into())?,
            cert_pem: read(format!("{name}.pem"))?,
            key_pem: read(format!("{name}.key"))?,
        })
    }

    /// The dialling side. `server_name` is the DNS name or address the server's certificate must
    /// carry.
    #[must_use]
    pub fn client(&self, server_name: &str) -> ClientTlsConfig {
        install_provider();
        ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&self.ca_pem))
            .identity(Identity::from_pem(&self.cert_pem, &self.key_pem))
            .domain_name(server_name)
            .timeout(HANDSHAKE_MAX)
    }
}

/// Chooses the cryptography of the process: ring. May be called any number of times.
///
/// This is the single place that names a provider. rustls panics when two are compiled in and none
/// is chosen, and which ones are compiled in depends on every library in the lock file.
pub fn install_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // An error only says that another thread came first, with the same choice.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_never_prints_the_key() {
        let credentials = Credentials {
            ca_pem: "ca".into(),
            cert_pem: "certificate".into(),
            key_pem: "hush".into(),
        };
        let printed = format!("{credentials:?}");
        assert!(printed.contains("certificate"));
        assert!(!printed.contains("hush"));
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = Credentials::from_dir("/nonexistent", "phones").unwrap_err();
        assert_eq!(error.to_string(), "cannot read /nonexistent/ca.pem");
    }

    #[test]
    fn the_provider_may_be_installed_twice() {
        install_provider();
        install_provider();
        assert!(rustls::crypto::CryptoProvider::get_default().is_some());
    }
}
