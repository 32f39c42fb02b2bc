//! Who is on the other end: a role and a name, taken from the client certificate alone.
//!
//! The certificate carries exactly one URI, `spiffe://farewell/{role}/{name}`. Exactly one, because
//! with two the answer would depend on which one a reader looks at first. Nothing a peer *says* is
//! used, and nothing is cached: the identity is a property of the connection.

use std::{fmt, str::FromStr};

use tonic::{
    Extensions, Request, Status,
    transport::server::{TcpConnectInfo, TlsConnectInfo},
};
use x509_parser::{extensions::GeneralName, prelude::FromDer, prelude::X509Certificate};

/// The one trust domain. A certificate of another one is not ours, whoever signed it.
pub const TRUST_DOMAIN: &str = "farewell";

/// Longest name of a peer. It ends up in logs, in rate-limit keys and in MQTT topics.
pub const NAME_BYTES_MAX: usize = 128;

/// What a peer may be. What each may *do* is decided elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Holds data of accounts and erases it: an agent or a service.
    Participant,
    /// A person who works on stalled deletions.
    Operator,
    /// Asks for deletions on behalf of account owners.
    Caller,
    /// A phone, a watch, a hub.
    Device,
    /// A person of the support desk.
    Desk,
    /// The coordinator itself.
    Coordinator,
    /// Fetches events: another of the company's systems, or a partner's.
    Receiver,
    /// Another region's coordinators, which pass on what their callers ask.
    Cell,
}

impl Role {
    /// Every role, in the order of declaration.
    pub const ALL: [Self; 8] = [
        Self::Participant,
        Self::Operator,
        Self::Caller,
        Self::Device,
        Self::Desk,
        Self::Coordinator,
        Self::Receiver,
        Self::Cell,
    ];

    /// The word for it in a certificate.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Participant => "participant",
            Self::Operator => "operator",
            Self::Caller => "caller",
            Self::Device => "device",
            Self::Desk => "desk",
            Self::Coordinator => "coordinator",
            Self::Receiver => "receiver",
            Self::Cell => "cell",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == word)
            .ok_or_else(|| Error::Role(word.to_owned()))
    }
}

/// One authenticated peer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Peer {
    pub role: Role,
    /// `[A-Za-z0-9._-]`, at most [`NAME_BYTES_MAX`].
    pub name: String,
}

/// Why a certificate names no peer.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("the certificate cannot be parsed")]
    Malformed,
    #[error("the certificate carries no URI name")]
    NoUri,
    #[error("the certificate carries {0} URI names, exactly one is allowed")]
    ManyUris(usize),
    #[error("`{0}` is not spiffe://{TRUST_DOMAIN}/{{role}}/{{name}}")]
    Uri(String),
    #[error("`{0}` is not a role")]
    Role(String),
    #[error("`{0}` is not a name: 1 to {NAME_BYTES_MAX} of A-Z a-z 0-9 . _ -")]
    Name(String),
}

impl Peer {
    /// # Errors
    /// [`Error::Name`] when `name` could not stand in a certificate.
    pub fn new(role: Role, name: impl Into<String>) -> Result<Self, Error> {
        let name = name.into();
        if is_name(&name) {
            Ok(Self { role, name })
        } else {
            Err(Error::Name(name))
        }
    }

    /// `spiffe://farewell/{role}/{name}`.
    #[must_use]
    pub fn uri(&self) -> String {
        format!("spiffe://{TRUST_DOMAIN}/{}/{}", self.role, self.name)
    }

    fn of_uri(uri: &str) -> Result<Self, Error> {
        let path = uri
            .strip_prefix("spiffe://")
            .and_then(|rest| rest.strip_prefix(TRUST_DOMAIN))
            .and_then(|rest| rest.strip_prefix('/'))
            .ok_or_else(|| Error::Uri(uri.to_owned()))?;
        Self::of_path(path).unwrap_or_else(|| Err(Error::Uri(uri.to_owned())))
    }

    /// `{role}/{name}`; `None` without a slash.
    fn of_path(path: &str) -> Option<Result<Self, Error>> {
        let (role, name) = path.split_once('/')?;
        Some(role.parse().and_then(|role| Self::new(role, name)))
    }
}

/// `{role}/{name}`, for logs and keys.
impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.role, self.name)
    }
}

/// What [`Peer`] prints.
impl FromStr for Peer {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::of_path(text).unwrap_or_else(|| Err(Error::Role(text.to_owned())))
    }
}

/// The peer that a DER certificate names. Its signature has been checked by the handshake.
///
/// # Errors
/// Anything but exactly one well-formed URI of our trust domain.
pub fn of_certificate(der: &[u8]) -> Result<Peer, Error> {
    let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| Error::Malformed)?;
    if !rest.is_empty() {
        return Err(Error::Malformed);
    }
    let names = certificate
        .subject_alternative_name()
        .map_err(|_| Error::Malformed)?
        .map_or(&[][..], |extension| &extension.value.general_names);
    let uris: Vec<&str> = names
        .iter()
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        })
        .collect();
    match uris[..] {
        [] => Err(Error::NoUri),
        [uri] => Peer::of_uri(uri),
        _ => Err(Error::ManyUris(uris.len())),
    }
}

/// The peer behind a request: `None` on a connection without TLS, which only a loopback listener
/// accepts.
///
/// # Errors
/// `UNAUTHENTICATED` when there is TLS but no certificate, or one that names no peer. The reason
/// goes to the log; the peer learns only that it is not known.
pub fn of_request<T>(request: &Request<T>) -> Result<Option<Peer>, Status> {
    of_extensions(request.extensions())
}

/// The same, of a request that is no gRPC: by what the listener put beside it.
///
/// # Errors
/// As [`of_request`].
pub fn of_extensions(extensions: &Extensions) -> Result<Option<Peer>, Status> {
    // `Request::peer_certs` cannot tell "no TLS" from "TLS without a certificate", and the second
    // must never pass for the first.
    let Some(connection) = extensions.get::<TlsConnectInfo<TcpConnectInfo>>() else {
        return Ok(None);
    };
    let chain = connection.peer_certs();
    let Some(leaf) = chain.as_ref().and_then(|chain| chain.first()) else {
        return Err(Status::unauthenticated("a client certificate is required"));
    };
    match of_certificate(leaf) {
        Ok(peer) => Ok(Some(peer)),
        Err(error) => {
            tracing::warn!(%error, remote = ?connection.get_ref().remote_addr(), "certificate names no peer");
            Err(Status::unauthenticated(
                "the client certificate names no known peer",
            ))
        }
    }
}

/// The characters of a SPIFFE path segment; the dot segments would be navigation, not a name.
fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && name != "."
        && name != ".."
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;

    fn certificate(uris: &[&str]) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["localhost".into()]).unwrap();
        for uri in uris {
            params
                .subject_alt_names
                .push(SanType::URI((*uri).try_into().unwrap()));
        }
        params
            .self_signed(&KeyPair::generate().unwrap())
            .unwrap()
            .der()
            .to_vec()
    }

    #[test]
    fn every_role_survives_the_certificate() {
        for role in Role::ALL {
            let peer = Peer::new(role, "phones-1.eu_west").unwrap();
            assert_eq!(peer.to_string().parse(), Ok(peer.clone()));
            assert_eq!(of_certificate(&certificate(&[&peer.uri()])), Ok(peer));
        }
    }

    #[test]
    fn exactly_one_uri_names_the_peer() {
        assert_eq!(of_certificate(&certificate(&[])), Err(Error::NoUri));
        let two = certificate(&["spiffe://farewell/caller/a", "spiffe://farewell/operator/a"]);
        assert_eq!(of_certificate(&two), Err(Error::ManyUris(2)));
    }

    #[test]
    fn a_uri_that_is_not_ours_names_nobody() {
        for uri in [
            "https://farewell/caller/a",
            "spiffe://farewell.example/caller/a",
            "spiffe://farewells/caller/a",
            "spiffe://Farewell/caller/a",
            "spiffe://farewell/caller",
            "spiffe://farewell",
        ] {
            assert_eq!(
                of_certificate(&certificate(&[uri])),
                Err(Error::Uri(uri.into())),
                "{uri}"
            );
        }
        let role = certificate(&["spiffe://farewell/Operator/a"]);
        assert_eq!(of_certificate(&role), Err(Error::Role("Operator".into())));
        for name in [
            "",
            "a/b",
            "..",
            ".",
            "a%2Fb",
            "a?b",
            "a#b",
            "a b",
            "a+b",
            "caf\u{e9}",
        ] {
            let uri = format!("spiffe://farewell/device/{name}");
            assert_eq!(Peer::of_uri(&uri), Err(Error::Name(name.into())));
        }
        assert!(Peer::new(Role::Device, "d".repeat(NAME_BYTES_MAX)).is_ok());
        assert!(Peer::new(Role::Device, "d".repeat(NAME_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn bytes_that_are_no_certificate_name_nobody() {
        assert_eq!(of_certificate(&[]), Err(Error::Malformed));
        assert_eq!(of_certificate(b"no certificate"), Err(Error::Malformed));
        let mut longer = certificate(&["spiffe://farewell/caller/a"]);
        longer.push(0);
        assert_eq!(of_certificate(&longer), Err(Error::Malformed));
    }

    #[test]
    fn a_request_without_tls_has_no_peer() {
        assert_eq!(of_request(&Request::new(())).unwrap(), None);
    }
}
