//! TLS for a listener that other systems come to with HTTP of whichever version they speak.
//!
//! tonic offers HTTP/2 alone in a handshake (ALPN, RFC 7301), and whoever offers `http/1.1` alone, as most libraries for HTTP do,
//! is turned away before it has said anything. So the handshake is done here; what comes of it tonic serves as any other
//! connection, and knows its peer's certificate as it does of its own.

use std::io;
use std::sync::Arc;

use futures_util::{Stream, StreamExt as _};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::tls::{self, Credentials, HANDSHAKE_MAX};

/// What is spoken here, best first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];
/// Handshakes at a time. Who comes then waits: at most [`HANDSHAKE_MAX`] for one that says nothing.
const AT_A_TIME_MAX: usize = 256;

/// Certificates that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("a certificate or key is no PEM")]
    Pem(#[from] rustls::pki_types::pem::Error),
    #[error("a certificate or key can't be used")]
    Unusable(#[from] rustls::Error),
    #[error("the authority can't be used")]
    Authority(#[from] rustls::server::VerifierBuilderError),
}

/// The connections of `incoming` whose peers have shown a certificate of our authority, each as soon as it has; the others are
/// dropped.
///
/// # Errors
/// Certificates that can't be used.
pub fn mutual<S>(
    incoming: S,
    credentials: &Credentials,
) -> Result<impl Stream<Item = io::Result<TlsStream<TcpStream>>> + use<S>, Error>
where
    S: Stream<Item = io::Result<TcpStream>>,
{
    let acceptor = TlsAcceptor::from(Arc::new(config(credentials)?));
    let shake = move |tcp: io::Result<TcpStream>| {
        let acceptor = acceptor.clone();
        async move {
            match tcp {
                // One that came to nothing is its peer's to see, and ends no listener.
                Ok(tcp) => timeout(HANDSHAKE_MAX, acceptor.accept(tcp))
                    .await
                    .ok()?
                    .ok()
                    .map(Ok),
                Err(error) => Some(Err(error)),
            }
        }
    };
    let shaken = incoming.map(shake).buffer_unordered(AT_A_TIME_MAX);
    Ok(shaken.filter_map(std::future::ready))
}

fn config(credentials: &Credentials) -> Result<ServerConfig, Error> {
    tls::install_provider();
    let mut roots = RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(credentials.ca_pem.as_bytes()) {
        roots.add(authority?)?;
    }
    let chain = CertificateDer::pem_slice_iter(credentials.cert_pem.as_bytes());
    let key = PrivateKeyDer::from_pem_slice(credentials.key_pem.as_bytes())?;
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build()?;
    let mut config = ServerConfig::builder()
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain.collect::<Result<_, _>>()?, key)?;
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
    Ok(config)
}
