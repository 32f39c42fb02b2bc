use std::net::{IpAddr, Ipv4Addr};

use futures_util::StreamExt as _;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpSocket;
use tokio_rustls::TlsConnector;

use super::*;
use crate::certs::DevCa;
use crate::peer::Role;
use crate::server;

/// Longer than any test: who goes, goes for somebody else.
const NEVER: Duration = Duration::from_secs(24 * 60 * 60);
const PATIENCE: Duration = Duration::from_secs(60);
const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;
const THERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// A listener, and one who may come.
struct Door {
    at: SocketAddr,
    caller: TlsConnector,
}

impl Door {
    async fn open(limits: Limits) -> Self {
        let ca = DevCa::create().unwrap();
        let own = ca.issue(Role::Coordinator, "c1", &[]).unwrap();
        let bound = server::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))
            .await
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config(&own, HTTP.protocols).unwrap()));
        let mut shaken = Handshakes::new(bound.incoming, acceptor, limits);
        tokio::spawn(async move {
            while let Some(connection) = shaken.next().await {
                let mut connection = connection.unwrap();
                tokio::spawn(async move { connection.write_all(b"welcome").await });
            }
        });
        let shown = ca.issue(Role::Caller, "app", &[]).unwrap();
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_slice_iter(ca.pem().as_bytes()) {
            roots.add(authority.unwrap()).unwrap();
        }
        let chain = CertificateDer::pem_slice_iter(shown.cert_pem.as_bytes());
        let key = PrivateKeyDer::from_pem_slice(shown.key_pem.as_bytes()).unwrap();
        let caller = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_client_auth_cert(chain.map(Result::unwrap).collect(), key)
            .unwrap();
        Self {
            at: SocketAddr::from((HERE, bound.addr.port())),
            caller: TlsConnector::from(Arc::new(caller)),
        }
    }

    async fn connect(&self, from: Ipv4Addr) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(IpAddr::V4(from), 0)).unwrap();
        socket.connect(self.at).await.unwrap()
    }

    /// So many who say nothing.
    async fn silent(&self, from: Ipv4Addr, count: usize) -> Vec<TcpStream> {
        let mut silent = Vec::with_capacity(count);
        for _ in 0..count {
            silent.push(self.connect(from).await);
        }
        silent
    }

    /// Whether somebody who means it is served.
    async fn admits(&self, from: Ipv4Addr) -> bool {
        let served = async {
            let tcp = self.connect(from).await;
            let name = ServerName::try_from("localhost").unwrap();
            let mut tls = self.caller.connect(name, tcp).await.ok()?;
            let mut words = [0; 7];
            tls.read_exact(&mut words).await.ok()?;
            Some(words)
        };
        timeout(PATIENCE, served).await.ok().flatten() == Some(*b"welcome")
    }
}

/// Returns once so many of them were hung up on, and are the first ones.
async fn hung_up(connections: &mut [TcpStream], count: usize) {
    for connection in &mut connections[..count] {
        let end = timeout(PATIENCE, connection.read(&mut [0])).await.unwrap();
        assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    }
    for connection in &connections[count..] {
        let nothing = connection.try_read(&mut [0]).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
    }
}

const PATIENT: Limits = Limits {
    first_byte: NEVER,
    handshake: NEVER,
    ..LIMITS
};

#[tokio::test]
async fn who_says_nothing_holds_up_nobody() {
    let door = Door::open(PATIENT).await;
    let room = LIMITS.at_a_time_max;
    let mut silent = door.silent(HERE, room + 10).await;
    hung_up(&mut silent, 10).await;
    assert!(door.admits(THERE).await);
    hung_up(&mut silent, 11).await;
    // Behind a proxy everybody has one address. Who has shaken hands has left, and there is room for one.
    assert!(door.admits(HERE).await);
    hung_up(&mut silent, 11).await;
    door.silent(HERE, 1).await;
    hung_up(&mut silent, 11).await;
    assert!(door.admits(HERE).await);
    hung_up(&mut silent, 12).await;
}

#[tokio::test]
async fn who_says_a_little_goes_after_those_who_say_nothing_and_holds_up_nobody_either() {
    let few = Limits {
        at_a_time_max: 4,
        ..PATIENT
    };
    let door = Door::open(few).await;
    let mut slow = door.silent(HERE, 2).await;
    for connection in &mut slow {
        // The beginning of a record of TLS.
        connection.write_all(&[22, 3, 1]).await.unwrap();
    }
    // Heard, because somebody who came later is served.
    assert!(door.admits(HERE).await);
    let mut silent = door.silent(HERE, 3).await;
    hung_up(&mut silent, 1).await;
    hung_up(&mut slow, 0).await;
    for _ in 0..8 {
        assert!(door.admits(HERE).await);
    }
    hung_up(&mut slow, 0).await;
    // A whole room of those.
    let mut slow = slow;
    for last in 1..=32_u8 {
        for mut connection in door.silent(Ipv4Addr::new(127, 0, 1, last), 2).await {
            // It may have had to go already.
            let _ = connection.write_all(&[22, 3, 1]).await;
            slow.push(connection);
        }
    }
    assert!(door.admits(THERE).await && door.admits(HERE).await);
}

#[tokio::test]
async fn who_says_nothing_has_less_time_than_who_has_begun() {
    let hasty = Limits {
        first_byte: Duration::from_secs(2),
        ..PATIENT
    };
    let door = Door::open(hasty).await;
    let mut begun = door.connect(HERE).await;
    begun.write_all(&[22]).await.unwrap();
    let mut silent = door.silent(HERE, 3).await;
    hung_up(&mut silent, 3).await;
    hung_up(&mut [begun], 0).await;
    assert!(door.admits(HERE).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_who_come_back_at_once_from_one_address_are_let_in() {
    for (manner, count) in [(GRPC, 400), (DEVICES, 1_500)] {
        // The room is what may turn them away: on a busy machine they and the listener share, some are slow to say a word.
        let roomy = Limits {
            at_a_time_max: manner.limits.at_a_time_max,
            ..PATIENT
        };
        let door = Arc::new(Door::open(roomy).await);
        let mut coming = JoinSet::new();
        for _ in 0..count {
            let door = Arc::clone(&door);
            coming.spawn(async move { door.admits(HERE).await });
        }
        let admitted = coming.join_all().await;
        assert_eq!(admitted.iter().filter(|it| **it).count(), count);
    }
}
