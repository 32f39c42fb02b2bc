//! TLS for every listener: who shows a certificate of our authority is let through, and who says nothing keeps nobody out.
//!
//! tonic shakes hands with as many at a time as come, and keeps each that says nothing for as long as it is allowed: ten thousand
//! of them take the process its files. It also offers HTTP/2 alone (ALPN, RFC 7301), and whoever offers `http/1.1` alone, as most
//! libraries for HTTP do, is turned away before it has said anything. So the handshake is done here; what comes of it tonic serves
//! as any other connection, and knows its peer's certificate as it does of its own.

mod room;

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use futures_util::future::Abortable;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use self::room::{Network, Place, Room};
use crate::tls::{self, Credentials, HANDSHAKE_MAX};

/// How a listener meets who comes.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// What is spoken there, best first.
    protocols: &'static [&'static [u8]],
    limits: Limits,
}

/// Where gRPC is spoken.
pub const GRPC: Manner = Manner {
    protocols: &[b"h2"],
    limits: LIMITS,
};

/// Where other systems come with HTTP of whichever version they speak.
pub const HTTP: Manner = Manner {
    protocols: &[b"h2", b"http/1.1"],
    limits: LIMITS,
};

/// Where devices attach. A mast or a company's gateway stands in front of many of them with one address, and all of them are
/// back at once when it is.
pub const DEVICES: Manner = Manner {
    protocols: GRPC.protocols,
    limits: Limits {
        at_a_time_max: 2048,
        ..LIMITS
    },
};

/// How much patience and room there is for peers who have not shown who they are.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Handshakes at a time: more than a restart brings at once, and fewer than a process has files for.
    at_a_time_max: usize,
    /// Until the first byte. A client says the first word of TLS as soon as it is connected: twice lost on the way, it is there after
    /// three seconds (RFC 6298: 1 s, then 2).
    first_byte: Duration,
    /// From then on.
    handshake: Duration,
}

const LIMITS: Limits = Limits {
    at_a_time_max: 512,
    first_byte: Duration::from_secs(4),
    handshake: HANDSHAKE_MAX,
};

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
/// dropped. Nobody waits for those who say nothing: see [`room`].
///
/// # Errors
/// Certificates that can't be used.
pub fn mutual<S>(
    incoming: S,
    credentials: &Credentials,
    manner: Manner,
) -> Result<impl Stream<Item = io::Result<TlsStream<TcpStream>>> + use<S>, Error>
where
    S: Stream<Item = io::Result<TcpStream>>,
{
    let acceptor = TlsAcceptor::from(Arc::new(config(credentials, manner.protocols)?));
    Ok(Handshakes::new(incoming, acceptor, manner.limits))
}

/// Shakes hands with whoever comes.
struct Handshakes<S> {
    incoming: Pin<Box<S>>,
    acceptor: TlsAcceptor,
    limits: Limits,
    room: Room,
    /// The ticket of each with what came of it; `None`: nothing. Each is a task, as arithmetic is what it costs, and there may be
    /// more than one processor for that.
    under_way: JoinSet<(u64, Option<TlsStream<TcpStream>>)>,
    closed: bool,
}

impl<S> Handshakes<S> {
    fn new(incoming: S, acceptor: TlsAcceptor, limits: Limits) -> Self {
        Self {
            incoming: Box::pin(incoming),
            acceptor,
            limits,
            room: Room::new(limits.at_a_time_max),
            under_way: JoinSet::new(),
            closed: false,
        }
    }

    fn begin(&mut self, tcp: TcpStream, peer: SocketAddr) {
        // Who finds no room is hung up on.
        let Some(Place { ticket, heard, end }) =
            self.room.enter(Network::of(peer.ip()), Instant::now())
        else {
            return;
        };
        let (acceptor, limits) = (self.acceptor.clone(), self.limits);
        let shaken = async move {
            let said = timeout(limits.first_byte, tcp.peek(&mut [0])).await.ok()?;
            said.ok().filter(|bytes| *bytes > 0)?;
            heard.store(true, Ordering::Relaxed);
            let tls = timeout(limits.handshake, acceptor.accept(tcp)).await.ok()?;
            tls.ok()
        };
        let shaken = Abortable::new(shaken, end);
        self.under_way
            .spawn(async move { (ticket, shaken.await.ok().flatten()) });
    }
}

impl<S> Stream for Handshakes<S>
where
    S: Stream<Item = io::Result<TcpStream>>,
{
    type Item = io::Result<TlsStream<TcpStream>>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            // Those who are here go before those who come.
            if let Poll::Ready(Some(shaken)) = this.under_way.poll_join_next(context) {
                // One that came to nothing is its peer's to see, and ends no listener.
                let Ok((ticket, shaken)) = shaken else {
                    this.room.sweep();
                    continue;
                };
                this.room.leave(ticket);
                match shaken {
                    Some(tls) => return Poll::Ready(Some(Ok(tls))),
                    None => continue,
                }
            }
            if this.closed {
                return if this.under_way.is_empty() {
                    Poll::Ready(None)
                } else {
                    Poll::Pending
                };
            }
            match this.incoming.as_mut().poll_next(context) {
                Poll::Ready(Some(Ok(tcp))) => {
                    // One that has left already has no address.
                    if let Ok(peer) = tcp.peer_addr() {
                        this.begin(tcp, peer);
                    }
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(None) => this.closed = true,
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

fn config(credentials: &Credentials, protocols: &[&[u8]]) -> Result<ServerConfig, Error> {
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
    config.alpn_protocols = protocols.iter().map(|it| it.to_vec()).collect();
    Ok(config)
}

#[cfg(test)]
mod tests;
