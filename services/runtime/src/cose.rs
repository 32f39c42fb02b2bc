//! COSE_Sign1 (RFC 9052) with Ed25519: how an order is signed by the coordinator, and an answer by a device.
//!
//! What was signed is a protobuf message; its name stands in the protected content type, so that one message is never
//! taken for another. A key is known by the first 8 bytes of SHA-256 over its public half.

use std::fmt;
use std::sync::Arc;

use coset::iana::Algorithm;
use coset::{ContentType, RegisteredLabelWithPrivate};
use coset::{CoseSign1, CoseSign1Builder, HeaderBuilder, TaggedCborSerializable as _};
use ring::digest::{SHA256, digest};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};

/// Bytes of a public key.
pub const PUBLIC_KEY_BYTES: usize = 32;
/// Bytes of a key's id.
pub const KEY_ID_BYTES: usize = 8;
/// Largest signed message: an order has a few hundred bytes.
pub const SIGNED_BYTES_MAX: usize = 8 * 1024;
/// What stands before the key in the DER of an Ed25519 public key (RFC 8410).
const SPKI_PREFIX: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// A public key.
pub type PublicKey = [u8; PUBLIC_KEY_BYTES];

/// The content type of a signed protobuf message.
pub fn content_type(message: &str) -> String {
    format!("application/x-protobuf; messageType={message}")
}

/// The id of a key.
pub fn key_id(key: &PublicKey) -> [u8; KEY_ID_BYTES] {
    let mut id = [0; KEY_ID_BYTES];
    id.copy_from_slice(&digest(&SHA256, key).as_ref()[..KEY_ID_BYTES]);
    id
}

/// A key file that can't be used. Its text holds nothing secret.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadKey(&'static str);

/// Why signed bytes are not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    #[error("not a COSE_Sign1 of this message")]
    Unreadable,
    #[error("signed with a key that is not known")]
    UnknownKey,
    #[error("the signature is wrong")]
    BadSignature,
}

impl Rejected {
    /// The machine word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unreadable => "UNREADABLE",
            Self::UnknownKey => "UNKNOWN_KEY",
            Self::BadSignature => "BAD_SIGNATURE",
        }
    }
}

/// A key that signs. Cheap to clone; its `Debug` shows the public half's id.
#[derive(Clone)]
pub struct SigningKey {
    pair: Arc<Ed25519KeyPair>,
    id: [u8; KEY_ID_BYTES],
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SigningKey").field(&self.id).finish()
    }
}

impl SigningKey {
    /// From a PKCS#8 `PRIVATE KEY` in PEM.
    pub fn from_pem(pem: &[u8]) -> Result<Self, BadKey> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem)
            .map_err(|_| BadKey("must be a PKCS#8 private key in PEM"))?;
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der())
            .map_err(|_| BadKey("must be an Ed25519 key"))?;
        Ok(Self::of(pair))
    }

    /// From the 32 bytes that a key is made of, for tests and simulated devices.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, BadKey> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed)
            .map_err(|_| BadKey("must be a seed of 32 bytes"))?;
        Ok(Self::of(pair))
    }

    fn of(pair: Ed25519KeyPair) -> Self {
        let mut key = [0; PUBLIC_KEY_BYTES];
        key.copy_from_slice(pair.public_key().as_ref());
        Self {
            pair: Arc::new(pair),
            id: key_id(&key),
        }
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        let mut key = [0; PUBLIC_KEY_BYTES];
        key.copy_from_slice(self.pair.public_key().as_ref());
        key
    }

    /// A bare signature, for [`crate::jws`].
    pub(crate) fn sign_bytes(&self, bytes: &[u8]) -> Vec<u8> {
        self.pair.sign(bytes).as_ref().to_vec()
    }

    /// A tagged COSE_Sign1 over the bytes of a `message`, for instance `farewell.device.v1.Order`. The same bytes every
    /// time: Ed25519 draws nothing.
    pub fn sign(&self, message: &str, payload: Vec<u8>) -> Vec<u8> {
        let protected = HeaderBuilder::new()
            .algorithm(Algorithm::EdDSA)
            .key_id(self.id.to_vec())
            .content_type(content_type(message))
            .build();
        CoseSign1Builder::new()
            .protected(protected)
            .payload(payload)
            .create_signature(&[], |bytes| self.sign_bytes(bytes))
            .build()
            .to_tagged_vec()
            .unwrap_or_default()
    }
}

/// A new key, kept nowhere, as PKCS#8 in PEM. Errors: the system gives no randomness.
pub fn generate() -> Result<String, rcgen::Error> {
    Ok(rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519)?.serialize_pem())
}

/// The keys that are believed: the present one and, while keys are changed over, the next or the last.
#[derive(Clone, Debug, Default)]
pub struct KeyRing(Vec<([u8; KEY_ID_BYTES], PublicKey)>);

impl KeyRing {
    /// These keys.
    pub fn new(keys: impl IntoIterator<Item = PublicKey>) -> Self {
        Self(keys.into_iter().map(|key| (key_id(&key), key)).collect())
    }

    /// From one or more `PUBLIC KEY`s in PEM.
    pub fn from_pem(pem: &[u8]) -> Result<Self, BadKey> {
        let mut keys = Vec::new();
        for der in SubjectPublicKeyInfoDer::pem_slice_iter(pem) {
            let der = der.map_err(|_| BadKey("must be public keys in PEM"))?;
            let key = der
                .strip_prefix(&SPKI_PREFIX)
                .and_then(|key| key.try_into().ok());
            keys.push(key.ok_or(BadKey("must be Ed25519 keys"))?);
        }
        if keys.is_empty() {
            return Err(BadKey("must hold at least one public key"));
        }
        Ok(Self::new(keys))
    }

    /// The bytes of the `message` that was signed.
    pub fn verify(&self, message: &str, signed: &[u8]) -> Result<Vec<u8>, Rejected> {
        let (sign1, payload) = open(message, signed)?;
        let id = sign1.protected.header.key_id.as_slice();
        let known = self.0.iter().find(|(known, _)| known == id);
        let (_, key) = known.ok_or(Rejected::UnknownKey)?;
        let key = UnparsedPublicKey::new(&ED25519, key);
        sign1
            .verify_signature(&[], |signature, bytes| key.verify(bytes, signature))
            .map_err(|_| Rejected::BadSignature)?;
        Ok(payload)
    }
}

/// The bytes of the `message` that whoever signed it wrote, without asking who that was: for those who only carry it.
pub fn payload(message: &str, signed: &[u8]) -> Result<Vec<u8>, Rejected> {
    open(message, signed).map(|(_, payload)| payload)
}

fn open(message: &str, signed: &[u8]) -> Result<(CoseSign1, Vec<u8>), Rejected> {
    if signed.len() > SIGNED_BYTES_MAX {
        return Err(Rejected::Unreadable);
    }
    let sign1 = CoseSign1::from_tagged_slice(signed).map_err(|_| Rejected::Unreadable)?;
    let header = &sign1.protected.header;
    let eddsa = RegisteredLabelWithPrivate::Assigned(Algorithm::EdDSA);
    let named = matches!(&header.content_type, Some(ContentType::Text(text)) if *text == content_type(message));
    // A header that must be understood and isn't, or one that nobody signed, is refused.
    let sound = header.alg.as_ref() == Some(&eddsa)
        && header.crit.is_empty()
        && sign1.unprotected.is_empty();
    let payload = sign1.payload.clone().ok_or(Rejected::Unreadable)?;
    if named && sound {
        Ok((sign1, payload))
    } else {
        Err(Rejected::Unreadable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDER: &str = "farewell.device.v1.Order";

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(&[seed; 32]).unwrap()
    }

    #[test]
    fn what_was_signed_is_read_by_whoever_knows_the_key_and_by_nobody_else() {
        let signed = key(1).sign(ORDER, b"order".to_vec());
        let both = KeyRing::new([key(1).public(), key(2).public()]);
        assert_eq!(both.verify(ORDER, &signed).unwrap(), b"order");
        assert_eq!(payload(ORDER, &signed).unwrap(), b"order");
        let other = KeyRing::new([key(2).public()]);
        assert_eq!(other.verify(ORDER, &signed), Err(Rejected::UnknownKey));
        let time = "farewell.device.v1.TimeProof";
        assert_eq!(both.verify(time, &signed), Err(Rejected::Unreadable));
        assert_eq!(key(1).sign(ORDER, b"order".to_vec()), signed);
    }

    #[test]
    fn no_byte_can_be_changed() {
        let signed = key(1).sign(ORDER, b"order".to_vec());
        let ring = KeyRing::new([key(1).public()]);
        for place in 0..signed.len() {
            for flip in [1, 0x80] {
                let mut forged = signed.clone();
                forged[place] ^= flip;
                assert!(ring.verify(ORDER, &forged).is_err(), "{place}");
            }
            assert!(ring.verify(ORDER, &signed[..place]).is_err(), "{place}");
        }
    }

    #[test]
    fn what_nobody_signed_is_not_read() {
        let ring = KeyRing::new([key(1).public()]);
        let mut sign1 =
            CoseSign1::from_tagged_slice(&key(1).sign(ORDER, b"order".to_vec())).unwrap();
        sign1.unprotected.key_id = vec![1];
        let beside = sign1.to_tagged_vec().unwrap();
        assert_eq!(ring.verify(ORDER, &beside), Err(Rejected::Unreadable));
        let large = vec![0; SIGNED_BYTES_MAX + 1];
        assert_eq!(ring.verify(ORDER, &large), Err(Rejected::Unreadable));
    }

    #[test]
    fn what_is_no_key_is_not_read() {
        let pem = generate().unwrap();
        assert!(SigningKey::from_pem(pem.as_bytes()).is_ok());
        for bad in [
            "",
            "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        ] {
            assert!(KeyRing::from_pem(bad.as_bytes()).is_err());
            assert!(SigningKey::from_pem(bad.as_bytes()).is_err());
        }
    }
}
