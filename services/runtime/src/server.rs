//! A gRPC listener with every limit named.
//!
//! tonic 0.14.9 hands "not set" to hyper as "no limit" for concurrent streams and for streams reset
//! after an error of ours, which switches off hyper's own defences (MadeYouReset, CVE-2025-8671).
//! So nothing is left to a default here, and a test talks raw frames to see that it holds.
//!
//! Deadlines of calls are not set here: a stream lives for days and a question for seconds, so each
//! method has its own. Who may call what is not decided here either.

use std::{io, net::SocketAddr, time::Duration};

use futures_util::{StreamExt as _, stream::BoxStream};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::server::TlsStream;
use tonic::transport::{
    Server,
    server::{Router, TcpIncoming},
};

use crate::{
    handshake::{self, Manner},
    tls::Credentials,
};

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
}

/// A server with every limit set. Add services, and serve them on a [`Guarded`] listener.
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

impl Bound {
    /// The listener under this protection.
    ///
    /// # Errors
    /// Certificates that cannot be used.
    pub fn guarded(self, security: &Security, manner: Manner) -> Result<Guarded, handshake::Error> {
        Ok(Guarded {
            addr: self.addr,
            incoming: match security {
                Security::Mutual(credentials) => {
                    Incoming::Tls(handshake::mutual(self.incoming, credentials, manner)?.boxed())
                }
                Security::PlainLoopback => Incoming::Plain(self.incoming),
            },
        })
    }
}

/// An open listener that knows whom to let through.
pub struct Guarded {
    pub addr: SocketAddr,
    incoming: Incoming,
}

enum Incoming {
    Tls(BoxStream<'static, io::Result<TlsStream<TcpStream>>>),
    Plain(TcpIncoming),
}

impl Guarded {
    /// Serves whoever is let through, until `end`; then nobody new, and those who are there finish.
    ///
    /// # Errors
    /// The listener is gone.
    pub async fn serve(
        self,
        router: Router,
        end: impl Future<Output = ()>,
    ) -> Result<(), tonic::transport::Error> {
        match self.incoming {
            Incoming::Tls(incoming) => router.serve_with_incoming_shutdown(incoming, end).await,
            Incoming::Plain(incoming) => router.serve_with_incoming_shutdown(incoming, end).await,
        }
    }
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

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
        time::timeout,
    };
    use tonic::{
        Code, Request, Status,
        service::interceptor::InterceptedService,
        transport::{Certificate, ClientTlsConfig, Endpoint, Identity, ServerTlsConfig},
    };
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

    use super::*;
    use crate::{
        certs::DevCa,
        client,
        peer::{self, Role},
        shutdown::Shutdown,
    };

    const LATE: Duration = Duration::from_secs(20);
    const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

    /// A health service that only answers callers, and says on refusal whom it saw.
    async fn serve(security: &Security, shutdown: &Shutdown) -> SocketAddr {
        security.check(ANY).unwrap();
        let bound = bind(ANY).await.unwrap();
        let guarded = bound.guarded(security, handshake::GRPC).unwrap();
        let addr = guarded.addr;
        let router = health(builder());
        let token = shutdown.token();
        shutdown.spawn(async move { guarded.serve(router, token.cancelled()).await.unwrap() });
        addr
    }

    /// As tonic does it by itself.
    async fn serve_on(server: Server, shutdown: &Shutdown) -> SocketAddr {
        let bound = bind(ANY).await.unwrap();
        let router = health(server);
        let token = shutdown.token();
        shutdown.spawn(async move {
            router
                .serve_with_incoming_shutdown(bound.incoming, token.cancelled())
                .await
                .unwrap();
        });
        bound.addr
    }

    fn health(mut server: Server) -> Router {
        let (_, health) = tonic_health::server::health_reporter();
        let service =
            InterceptedService::new(health, |request: Request<()>| {
                match peer::of_request(&request)? {
                    Some(peer) if peer.role == Role::Caller => Ok(request),
                    Some(peer) => Err(Status::permission_denied(peer.to_string())),
                    None => Ok(request),
                }
            });
        server.add_service(service)
    }

    async fn check(addr: SocketAddr, security: &Security) -> Result<(), Status> {
        let url = format!("localhost:{}", addr.port());
        let channel = client::endpoint(&url, security).unwrap().connect_lazy();
        let request = client::request(HealthCheckRequest::default(), LATE);
        HealthClient::new(channel).check(request).await.map(drop)
    }

    #[tokio::test]
    async fn a_server_knows_its_peer_by_the_certificate() {
        let ca = DevCa::create().unwrap();
        let mutual = |role, name| Security::Mutual(ca.issue(role, name, &[]).unwrap());
        let shutdown = Shutdown::new();
        let addr = serve(&mutual(Role::Coordinator, "c1"), &shutdown).await;

        check(addr, &mutual(Role::Caller, "app")).await.unwrap();
        let refused = check(addr, &mutual(Role::Device, "d1")).await.unwrap_err();
        assert_eq!(
            (refused.code(), refused.message()),
            (Code::PermissionDenied, "device/d1")
        );
        assert!(shutdown.drain(LATE).await);
    }

    #[tokio::test]
    async fn a_stranger_is_not_served() {
        let ca = DevCa::create().unwrap();
        let coordinator = ca.issue(Role::Coordinator, "c1", &[]).unwrap();
        let shutdown = Shutdown::new();
        let addr = serve(&Security::Mutual(coordinator), &shutdown).await;

        // A certificate of another authority, shown to a server that the client does trust.
        let mut stranger = DevCa::create()
            .unwrap()
            .issue(Role::Caller, "app", &[])
            .unwrap();
        stranger.ca_pem = ca.pem().to_owned();
        assert!(check(addr, &Security::Mutual(stranger)).await.is_err());
        // No certificate at all.
        assert!(anonymous(addr, ca.pem()).await.is_err());
        // No TLS at all.
        assert!(check(addr, &Security::PlainLoopback).await.is_err());
        // A server whose certificate is no server's, as a device on the same machine might try.
        let device = Security::Mutual(ca.issue(Role::Device, "d1", &[]).unwrap());
        let addr = serve(&device, &shutdown).await;
        let caller = Security::Mutual(ca.issue(Role::Caller, "app", &[]).unwrap());
        assert!(check(addr, &caller).await.is_err());
        assert!(shutdown.drain(LATE).await);
    }

    /// No listener of ours asks for a certificate without requiring one; if one ever does, whoever
    /// shows none must not pass for a neighbour on loopback.
    #[tokio::test]
    async fn tls_without_a_certificate_is_not_the_same_as_no_tls() {
        let ca = DevCa::create().unwrap();
        let coordinator = ca.issue(Role::Coordinator, "c1", &[]).unwrap();
        let lenient = ServerTlsConfig::new()
            .identity(Identity::from_pem(
                &coordinator.cert_pem,
                &coordinator.key_pem,
            ))
            .client_ca_root(Certificate::from_pem(&coordinator.ca_pem))
            .client_auth_optional(true);
        let shutdown = Shutdown::new();
        let addr = serve_on(builder().tls_config(lenient).unwrap(), &shutdown).await;

        let refused = anonymous(addr, ca.pem()).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated);
        assert!(shutdown.drain(LATE).await);
    }

    /// A client that trusts the server and shows no certificate.
    async fn anonymous(addr: SocketAddr, ca_pem: &str) -> Result<(), Status> {
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca_pem));
        let endpoint = Endpoint::from_shared(format!("https://localhost:{}", addr.port())).unwrap();
        let channel = endpoint.tls_config(tls).unwrap().connect_lazy();
        HealthClient::new(channel)
            .check(HealthCheckRequest::default())
            .await
            .map(drop)
    }

    #[tokio::test]
    async fn a_plain_listener_stays_on_the_machine() {
        let shutdown = Shutdown::new();
        let addr = serve(&Security::PlainLoopback, &shutdown).await;
        check(addr, &Security::PlainLoopback).await.unwrap();
        for addr in ["127.0.0.2:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert!(Security::PlainLoopback.check(addr.parse().unwrap()).is_ok());
        }
        for addr in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1"] {
            assert!(
                Security::PlainLoopback
                    .check(addr.parse().unwrap())
                    .is_err()
            );
        }
        assert!(shutdown.drain(LATE).await);
    }

    const HEADERS: u8 = 1;
    const SETTINGS: u8 = 4;
    const GOAWAY: u8 = 7;
    const WINDOW_UPDATE: u8 = 8;
    const END_HEADERS: u8 = 4;
    const ENHANCE_YOUR_CALM: u32 = 11;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        frame
    }

    async fn read_frame(socket: &mut (impl AsyncReadExt + Unpin)) -> io::Result<(u8, Vec<u8>)> {
        let mut head = [0; 9];
        socket.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        socket.read_exact(&mut payload).await?;
        Ok((head[3], payload))
    }

    async fn greet(addr: SocketAddr) -> TcpStream {
        let mut socket = TcpStream::connect(addr).await.unwrap();
        socket
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .await
            .unwrap();
        socket.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
        socket
    }

    #[tokio::test]
    async fn the_limits_are_on_the_wire() {
        let shutdown = Shutdown::new();
        let mut socket = greet(serve(&Security::PlainLoopback, &shutdown).await).await;
        let (kind, payload) = read_frame(&mut socket).await.unwrap();
        assert_eq!(kind, SETTINGS);
        let settings: Vec<(u16, u32)> = payload
            .chunks_exact(6)
            .map(|s| {
                let value = u32::from_be_bytes([s[2], s[3], s[4], s[5]]);
                (u16::from_be_bytes([s[0], s[1]]), value)
            })
            .collect();
        for limit in [
            (3, CONNECTION_STREAMS_MAX),
            (4, STREAM_WINDOW_BYTES),
            (5, FRAME_BYTES_MAX),
            (6, HEADER_LIST_BYTES_MAX),
        ] {
            assert!(
                settings.contains(&limit),
                "{limit:?} is not among {settings:?}"
            );
        }
        drop(socket);
        assert!(shutdown.drain(LATE).await);
    }

    /// `MadeYouReset`: the peer opens a stream and provokes an error on it, so that *we* reset it. The
    /// stream no longer counts as open, while its request is still being worked on.
    #[tokio::test]
    async fn a_peer_that_provokes_resets_is_sent_away() {
        let shutdown = Shutdown::new();
        let (mut read, mut write) = greet(serve(&Security::PlainLoopback, &shutdown).await)
            .await
            .into_split();
        // :method POST, :scheme http, :path /a, :authority a
        let block = [0x83, 0x86, 0x04, 2, b'/', b'a', 0x01, 1, b'a'];
        let mut attack = Vec::new();
        let attempts = u32::try_from(LOCAL_ERROR_RESETS_MAX).unwrap() + 100;
        for stream in (1..).step_by(2).take(usize::try_from(attempts).unwrap()) {
            attack.extend(frame(HEADERS, END_HEADERS, stream, &block));
            // More than a window can hold is an error of the stream, not of the connection.
            attack.extend(frame(WINDOW_UPDATE, 0, stream, &[0x7f, 0xff, 0xff, 0xff]));
        }
        let attacker = tokio::spawn(async move {
            // Fails once the server has ended the connection, which is the point.
            let _ = write.write_all(&attack).await;
            write
        });
        let reason = timeout(LATE, async {
            loop {
                match read_frame(&mut read).await {
                    Ok((GOAWAY, payload)) => {
                        break Some(u32::from_be_bytes([
                            payload[4], payload[5], payload[6], payload[7],
                        ]));
                    }
                    Ok(_) => {}
                    Err(_) => break None,
                }
            }
        });
        assert_eq!(reason.await.unwrap(), Some(ENHANCE_YOUR_CALM));
        drop(attacker.await.unwrap());
        assert!(shutdown.drain(LATE).await);
    }
}
