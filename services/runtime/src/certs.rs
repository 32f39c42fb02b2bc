//! A certificate authority for development, demonstrations and tests.
//!
//! Production brings certificates from its own authority; this one exists so that the demonstration
//! speaks the same mutual TLS as production. ECDSA on P-256 throughout: a key and a certificate
//! take well under a millisecond, so a fleet of thousands of devices gets real ones.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, SanType,
};

use crate::{
    peer::{self, Peer, Role},
    tls::Credentials,
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long the authority lives. Longer than anybody keeps a development directory.
const CA_LIFE: Duration = Duration::from_secs(10 * 365 * DAY.as_secs());

/// How long a certificate lives. A year: nobody renews in development.
const LEAF_LIFE: Duration = Duration::from_secs(365 * DAY.as_secs());

/// Certificates begin in the past, so that a container whose clock lags still accepts them.
const CLOCK_LAG_MAX: Duration = DAY;

const PUBLIC: u32 = 0o644;
const SECRET: u32 = 0o600;

/// Why a certificate could not be made or kept.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot make a certificate")]
    Make(#[from] rcgen::Error),
    #[error("cannot make a certificate of this name")]
    Peer(#[from] peer::Error),
    #[error("`{0}` is neither a DNS name nor an address")]
    Host(String),
    #[error("cannot access {}", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// A self-signed authority with its key in memory.
pub struct DevCa {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl DevCa {
    /// A new authority that is kept nowhere.
    ///
    /// # Errors
    /// [`Error::Make`] when the system gives no randomness.
    pub fn create() -> Result<Self, Error> {
        Self::of_key(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?)
    }

    /// The authority kept in `dir` as `ca.pem` and `ca.key`, made if it is not there.
    ///
    /// Several processes may start at once in an empty directory: the key is published in one step
    /// and the first one wins. The certificate follows from the key, so it is no second truth; if
    /// it is missing it is made again, and what was issued before stays valid.
    ///
    /// # Errors
    /// A file that cannot be read or written, or is not what it should be.
    pub fn open_or_create(dir: impl AsRef<Path>) -> Result<Self, Error> {
        let dir = dir.as_ref();
        fs::create_dir_all(dir).map_err(at(dir))?;
        let key_path = dir.join("ca.key");
        if !key_path.exists() {
            let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
            publish_first(&key_path, &key.serialize_pem())?;
        }
        let key = KeyPair::from_pem(&fs::read_to_string(&key_path).map_err(at(&key_path))?)?;

        let pem_path = dir.join("ca.pem");
        match fs::read_to_string(&pem_path) {
            Ok(pem) => Ok(Self {
                issuer: Issuer::from_ca_cert_pem(&pem, key)?,
                pem,
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let ca = Self::of_key(key)?;
                replace(&pem_path, &ca.pem, PUBLIC)?;
                Ok(ca)
            }
            Err(source) => Err(Error::File {
                path: pem_path,
                source,
            }),
        }
    }

    fn of_key(key: KeyPair) -> Result<Self, Error> {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "Farewell development CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        live(&mut params, CA_LIFE);
        let pem = params.self_signed(&key)?.pem();
        Ok(Self {
            pem,
            issuer: Issuer::new(params, key),
        })
    }

    /// The authority's own certificate.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate with a fresh key for `spiffe://farewell/{role}/{name}`, good for dialling and
    /// for listening.
    ///
    /// `dns` holds the names and addresses it may listen under. `localhost`, `127.0.0.1` and `::1`
    /// come on top for the roles that listen, and whenever `dns` names anything; a device that
    /// only dials cannot pass for a server.
    ///
    /// # Errors
    /// A name that cannot stand in a certificate.
    pub fn issue(&self, role: Role, name: &str, dns: &[&str]) -> Result<Credentials, Error> {
        let peer = Peer::new(role, name)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, peer.to_string());
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.subject_alt_names = vec![SanType::URI(peer.uri().try_into()?)];
        for host in dns {
            push_host(&mut params.subject_alt_names, host)?;
        }
        if listens(role) || !dns.is_empty() {
            push_host(&mut params.subject_alt_names, "localhost")?;
            for ip in [
                IpAddr::V4(Ipv4Addr::LOCALHOST),
                IpAddr::V6(Ipv6Addr::LOCALHOST),
            ] {
                push_new(&mut params.subject_alt_names, SanType::IpAddress(ip));
            }
        }
        live(&mut params, LEAF_LIFE);

        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Credentials {
            ca_pem: self.pem.clone(),
            cert_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        })
    }
}

/// Keeps credentials where [`Credentials::from_dir`] finds them: `ca.pem`, `{name}.pem` and
/// `{name}.key`, the key readable by its owner only. Files are replaced whole, never half written.
///
/// # Errors
/// The file that could not be written, with the reason.
pub fn write(dir: impl AsRef<Path>, name: &str, credentials: &Credentials) -> Result<(), Error> {
    let dir = dir.as_ref();
    fs::create_dir_all(dir).map_err(at(dir))?;
    replace(&dir.join("ca.pem"), &credentials.ca_pem, PUBLIC)?;
    replace(
        &dir.join(format!("{name}.pem")),
        &credentials.cert_pem,
        PUBLIC,
    )?;
    replace(
        &dir.join(format!("{name}.key")),
        &credentials.key_pem,
        SECRET,
    )
}

/// The key that a coordinator signs orders with, kept in `dir` as `orders.key` and made if it is not there. `orders.pub`
/// is for devices: the public halves of all that is and will be signed with.
///
/// # Errors
/// A file that cannot be read or written, or is not what it should be.
pub fn order_key(dir: impl AsRef<Path>) -> Result<(), Error> {
    published(dir.as_ref(), "orders.key")
}

/// The key that orders will be signed with next: `orders-next.key`. Its public half stands in `orders.pub` from now on;
/// once every device has that, the file may take the place of `orders.key`.
///
/// # Errors
/// A file that cannot be read or written, or is not what it should be.
pub fn next_order_key(dir: impl AsRef<Path>) -> Result<(), Error> {
    order_key(dir.as_ref())?;
    published(dir.as_ref(), "orders-next.key")
}

/// The key that events are signed with: `events.key`. One that is there already is left alone.
///
/// # Errors
/// A file that cannot be read or written.
pub fn event_key(dir: impl AsRef<Path>) -> Result<(), Error> {
    made_once(dir.as_ref(), "events.key").map(drop)
}

/// The path of a key of this name.
fn made_once(dir: &Path, name: &str) -> Result<PathBuf, Error> {
    fs::create_dir_all(dir).map_err(at(dir))?;
    let path = dir.join(name);
    if !path.exists() {
        publish_first(
            &path,
            &KeyPair::generate_for(&PKCS_ED25519)?.serialize_pem(),
        )?;
    }
    Ok(path)
}

/// A key of this name, with its public half among those in `orders.pub`.
fn published(dir: &Path, name: &str) -> Result<(), Error> {
    let path = made_once(dir, name)?;
    let key = KeyPair::from_pem(&fs::read_to_string(&path).map_err(at(&path))?)?;
    let public = dir.join("orders.pub");
    let known = match fs::read_to_string(&public) {
        Ok(known) => known,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(source) => return Err(at(&public)(source)),
    };
    if known.contains(&key.public_key_pem()) {
        return Ok(());
    }
    replace(&public, &(known + &key.public_key_pem()), PUBLIC)
}

fn listens(role: Role) -> bool {
    match role {
        Role::Participant | Role::Coordinator => true,
        Role::Operator | Role::Caller | Role::Device | Role::Desk | Role::Receiver | Role::Cell => {
            false
        }
    }
}

fn live(params: &mut CertificateParams, life: Duration) {
    let now = SystemTime::now();
    params.not_before = (now - CLOCK_LAG_MAX).into();
    params.not_after = (now + life).into();
}

fn push_host(names: &mut Vec<SanType>, host: &str) -> Result<(), Error> {
    let name = match host.parse::<IpAddr>() {
        Ok(ip) => SanType::IpAddress(ip),
        Err(_) if is_dns_name(host) => SanType::DnsName(host.try_into()?),
        Err(_) => return Err(Error::Host(host.to_owned())),
    };
    push_new(names, name);
    Ok(())
}

fn push_new(names: &mut Vec<SanType>, name: SanType) {
    if !names.contains(&name) {
        names.push(name);
    }
}

fn is_dns_name(host: &str) -> bool {
    !host.is_empty()
        && host
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'*'))
}

/// Writes the whole content beside `path` and renames it into place.
fn replace(path: &Path, content: &str, mode: u32) -> Result<(), Error> {
    let draft = draft(path, content, mode)?;
    fs::rename(&draft, path).map_err(at(path))
}

/// Like [`replace`], but whoever comes first stays: a link, unlike a rename, refuses to overwrite.
fn publish_first(path: &Path, secret: &str) -> Result<(), Error> {
    let draft = draft(path, secret, SECRET)?;
    let linked = fs::hard_link(&draft, path);
    fs::remove_file(&draft).map_err(at(&draft))?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(at(path)(error)),
        _ => Ok(()),
    }
}

/// A file that no other process or thread writes. The mode is given at creation: a key that is
/// readable for a moment has been readable.
fn draft(path: &Path, content: &str, mode: u32) -> Result<PathBuf, Error> {
    static DRAFTS: AtomicU32 = AtomicU32::new(0);
    let number = DRAFTS.fetch_add(1, Ordering::Relaxed);
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}-{number}.new", std::process::id()));
    let draft = PathBuf::from(draft);
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&draft)
        .map_err(at(&draft))?;
    io::Write::write_all(&mut file, content.as_bytes()).map_err(at(&draft))?;
    Ok(draft)
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File { path, source }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt, sync::Barrier, thread};

    use x509_parser::{extensions::GeneralName, pem::parse_x509_pem, public_key::PublicKey};

    use super::*;
    use crate::scratch::Scratch;

    fn hosts(credentials: &Credentials) -> Vec<String> {
        let (_, pem) = parse_x509_pem(credentials.cert_pem.as_bytes()).unwrap();
        let certificate = pem.parse_x509().unwrap();
        let names = certificate.subject_alternative_name().unwrap().unwrap();
        let host = |name: &GeneralName| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            GeneralName::IPAddress(bytes) => Some(format!("{bytes:?}")),
            _ => None,
        };
        names.value.general_names.iter().filter_map(host).collect()
    }

    fn verifies(ca_pem: &str, credentials: &Credentials) -> bool {
        let (_, ca) = parse_x509_pem(ca_pem.as_bytes()).unwrap();
        let (_, leaf) = parse_x509_pem(credentials.cert_pem.as_bytes()).unwrap();
        let ca = ca.parse_x509().unwrap();
        let leaf = leaf.parse_x509().unwrap();
        leaf.issuer() == ca.subject() && leaf.verify_signature(Some(ca.public_key())).is_ok()
    }

    #[test]
    fn devices_know_the_next_key_before_anything_is_signed_with_it() {
        use crate::cose::{KeyRing, SigningKey};

        let scratch = Scratch::new();
        let read = |name: &str| fs::read(scratch.path().join(name)).unwrap();
        order_key(scratch.path()).unwrap();
        let first = read("orders.key");
        next_order_key(scratch.path()).unwrap();
        next_order_key(scratch.path()).unwrap();
        assert_eq!(read("orders.key"), first, "a key is made once");
        let pinned = KeyRing::from_pem(&read("orders.pub")).unwrap();
        for key in ["orders.key", "orders-next.key"] {
            let signed = SigningKey::from_pem(&read(key))
                .unwrap()
                .sign("order", vec![1]);
            assert!(pinned.verify("order", &signed).is_ok(), "{key}");
            let mode = fs::metadata(scratch.path().join(key))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, SECRET);
        }
        assert_eq!(read("orders.pub").len(), 2 * 113);
    }

    #[test]
    fn a_certificate_names_its_peer_and_its_hosts() {
        let ca = DevCa::create().unwrap();
        let issued = ca
            .issue(Role::Participant, "phones", &["agent.local", "10.0.0.7"])
            .unwrap();
        let (_, pem) = parse_x509_pem(issued.cert_pem.as_bytes()).unwrap();
        assert_eq!(
            peer::of_certificate(&pem.contents).unwrap().to_string(),
            "participant/phones"
        );
        assert!(verifies(ca.pem(), &issued));
        let loopback = "[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]";
        assert_eq!(
            hosts(&issued),
            [
                "agent.local",
                "[10, 0, 0, 7]",
                "localhost",
                "[127, 0, 0, 1]",
                loopback
            ]
        );
    }

    #[test]
    fn a_device_cannot_pass_for_a_server() {
        let ca = DevCa::create().unwrap();
        for role in [Role::Device, Role::Caller, Role::Operator, Role::Desk] {
            assert!(hosts(&ca.issue(role, "d1", &[]).unwrap()).is_empty());
        }
        assert_eq!(
            hosts(&ca.issue(Role::Coordinator, "c1", &["localhost"]).unwrap()).len(),
            3
        );
    }

    #[test]
    fn names_that_cannot_stand_in_a_certificate_are_refused() {
        let ca = DevCa::create().unwrap();
        assert!(matches!(
            ca.issue(Role::Device, "a/b", &[]),
            Err(Error::Peer(_))
        ));
        assert!(matches!(
            ca.issue(Role::Coordinator, "c", &["a b"]),
            Err(Error::Host(_))
        ));
    }

    #[test]
    fn the_authority_is_the_same_after_a_restart() {
        let dir = Scratch::new();
        let before = DevCa::open_or_create(dir.path()).unwrap();
        let issued = before.issue(Role::Device, "d1", &[]).unwrap();
        let after = DevCa::open_or_create(dir.path()).unwrap();
        assert_eq!(before.pem(), after.pem());
        assert!(verifies(after.pem(), &issued));
        assert!(verifies(
            before.pem(),
            &after.issue(Role::Device, "d2", &[]).unwrap()
        ));

        fs::remove_file(dir.path().join("ca.pem")).unwrap();
        let again = DevCa::open_or_create(dir.path()).unwrap();
        assert!(verifies(again.pem(), &issued));
    }

    #[test]
    fn processes_that_start_together_share_one_authority() {
        let dir = Scratch::new();
        let barrier = Barrier::new(8);
        let issued: Vec<Credentials> = thread::scope(|scope| {
            let start = || {
                barrier.wait();
                DevCa::open_or_create(dir.path())
                    .unwrap()
                    .issue(Role::Device, "d", &[])
                    .unwrap()
            };
            let started: Vec<_> = (0..8).map(|_| scope.spawn(start)).collect();
            started
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        let ca = DevCa::open_or_create(dir.path()).unwrap();
        assert!(
            issued
                .iter()
                .all(|credentials| verifies(ca.pem(), credentials))
        );
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            2,
            "no drafts are left"
        );
    }

    #[test]
    fn keys_are_for_their_owner_only() {
        let dir = Scratch::new();
        let ca = DevCa::open_or_create(dir.path()).unwrap();
        let issued = ca.issue(Role::Device, "d1", &[]).unwrap();
        write(dir.path(), "d1", &issued).unwrap();
        let mode = |name: &str| {
            fs::metadata(dir.path().join(name))
                .unwrap()
                .permissions()
                .mode()
                & 0o777
        };
        assert_eq!((mode("ca.key"), mode("d1.key")), (0o600, 0o600));
        let read = Credentials::from_dir(dir.path(), "d1").unwrap();
        assert_eq!(
            (read.key_pem, read.cert_pem),
            (issued.key_pem, issued.cert_pem)
        );
        assert_eq!(read.ca_pem, ca.pem());
    }

    /// A key of RSA takes a thousand times as long to make, and a fleet has thousands.
    #[test]
    fn a_fleets_keys_are_of_a_curve() {
        let issued = DevCa::create().unwrap();
        let issued = issued.issue(Role::Device, "d1", &[]).unwrap();
        let (_, pem) = parse_x509_pem(issued.cert_pem.as_bytes()).unwrap();
        let certificate = pem.parse_x509().unwrap();
        let key = certificate.public_key().parsed().unwrap();
        assert!(matches!(key, PublicKey::EC(_)), "{key:?}");
    }
}
