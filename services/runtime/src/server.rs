//! A gRPC listener with every limit named.
//!
//! tonic 0.14.9 hands "not set" to hyper as "no limit" for concurrent streams and for streams reset
//! after an error of ours, which switches off hyper's own defences (MadeYouReset, CVE-2025-8671).
//! So nothing is left to a default here, and a test talks raw frames to see that it holds.
//!
//! Deadlines of calls are not set here: a stream lives for days and a question for seconds, so each
//! method has its own. Who may call what is not decided here either.

use std::{io, net::SocketAddr, time::Duration};

use tokio::net::TcpSocket;
use tonic::transport::{Server, server::TcpIncoming};

use crate::tls::Credentials;

/// Calls open at once on one connection. Callers multiplex thousands of deletions over a handful of
/// connections; at 1024 memory per connection stays bounded and a busy caller is not starved.
pub const CONNECTION_STREAMS_MAX: u32 = 1024;

/// Streams *we* reset after a peer's error before the connection is ended. hyper's own default,
/// which tonic overrides with "no limit".
pub const LOCAL_ERROR_RESETS_MAX: usize = 1024;

/// Streams a peer resets before we looked at them (Rapid Reset, CVE-2023-44487). h2's own default.
pub const PENDING_ACCEPT_RESETS_MAX: usize = 20;

/// Bytes a peer may send ahead on one stream: several full batches of commands or reports, so that
/// a stream is never idle for one round trip after each.
pub const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;

/// Bytes a peer may send ahead on all streams of a connection together.
pub const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// One HTTP/2 frame. Above the 16 KiB default, so that a batch is a few frames; small enough that
/// one batch does not hold up the other streams.
pub const FRAME_BYTES_MAX: u32 = 64 * 1024;

/// Metadata of one call: a few ids, a traceparent, a deadline.
pub const HEADER_LIST_BYTES_MAX: u32 = 16 * 1024;

/// One message, in either direction. tonic limits what it decodes but not what it encodes; set both
/// on every service and client, so that the sender notices and not the receiver.
pub const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A connection this long without a frame is asked whether it is alive.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);

/// And has this long to answer. Together: a dead peer is noticed within 50 s.
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// Connections the kernel holds until they are accepted. A restart brings every device back at
/// once; with the usual 128 most of them would wait for a SYN to be sent again.
pub const BACKLOG_CONNECTIONS: u32 = 4096;

/// What protects a connection.
#[derive(Clone, Debug)]
pub enum Security {
    /// Mutual TLS.
    Mutual(Credentials),
    /// Nothing, on this machine only.
    PlainLoopback,
}

/// A listener without TLS was asked for on an address that others can reach.
#[derive(Debug, thiserror::Error)]
#[error("{addr} can be reached from other machines, so it needs TLS")]
pub struct Exposed {
    pub addr: SocketAddr,
}

impl Security {
    /// Whether a listener may open on `addr`. Ask before binding.
    ///
    /// # Errors
    /// [`Exposed`] for [`Security::PlainLoopback`] on anything but loopback.
    pub fn check(&self, addr: SocketAddr) -> Result<(), Exposed> {
        match self {
            Self::Mutual(_) => Ok(()),
            Self::PlainLoopback if addr.ip().to_canonical().is_loopback() => Ok(()),
            Self::PlainLoopback => Err(Exposed { addr }),
        }
    }

    /// `server` with this protection.
    ///
    /// # Errors
    /// Certificates that cannot be used.
    pub fn apply(&self, server: Server) -> Result<Server, tonic::transport::Error> {
        match self {
            Self::Mutual(credentials) => server.tls_config(credentials.server()),
            Self::PlainLoopback => Ok(server),
        }
    }
}

/// A server with every limit set. Add protection with [`Security::apply`], then services.
#[must_use]
pub fn builder() -> Server {
    Server::builder()
        .max_concurrent_streams(CONNECTION_STREAMS_MAX)
        .http2_max_local_error_reset_streams(Some(LOCAL_ERROR_RESETS_MAX))
        .http2_max_pending_accept_reset_streams(Some(PENDING_ACCEPT_RESETS_MAX))
        .http2_max_header_list_size(HEADER_LIST_BYTES_MAX)
        .http2_adaptive_window(Some(false))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES_MAX)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .tcp_keepalive(Some(KEEPALIVE_INTERVAL))
        .tcp_nodelay(true)
        .accept_http1(false)
}

/// An open listener and where it is, which matters after asking for port 0.
#[derive(Debug)]
pub struct Bound {
    pub addr: SocketAddr,
    pub incoming: TcpIncoming,
}

/// Opens a listener for `Router::serve_with_incoming_shutdown`. tonic ignores the TCP settings of
/// the server there, so they are repeated on the listener.
///
/// # Errors
/// The address is taken, not ours or not allowed.
#[expect(
    clippy::unused_async,
    reason = "tokio registers the socket, so a runtime must be running"
)]
pub async fn bind(addr: SocketAddr) -> io::Result<Bound> {
    let socket = if addr.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // A restart must not wait for connections of the process before it to time out.
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    let incoming = TcpIncoming::from(socket.listen(BACKLOG_CONNECTIONS)?)
        .with_nodelay(Some(true))
        .with_keepalive(Some(KEEPALIVE_INTERVAL));
    Ok(Bound {
        addr: incoming.local_addr()?,
        incoming,
    })
}
