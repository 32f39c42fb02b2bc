//! How evidence is kept: each case has a data key of its own, under which its documents lie; the data key lies beside the case
//! under a key-encryption key, which is not in the database. A destroyed data key is the end of every copy of its documents,
//! also of those in backups.
//!
//! AES-256-GCM, with a nonce drawn for each message. A data key seals few documents, and a key-encryption key far fewer data
//! keys than the 2^32 that drawn nonces allow (NIST SP 800-38D, 8.3).

use std::collections::BTreeMap;
use std::fmt;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;

/// Why something can't be sealed or opened. Its text holds nothing secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("at least one key-encryption key is needed")]
    NoKey,
    #[error("a key-encryption key is 32 bytes, written as 64 hexadecimal digits")]
    Malformed,
    #[error("the system gives no randomness")]
    NoRandomness,
    #[error("there is no key-encryption key of this version")]
    UnknownVersion,
    #[error("what is stored was not sealed with this key, or was changed")]
    Sealed,
}

/// The key-encryption keys, by version. The newest wraps; older ones open what they wrapped. No `Debug` shows one.
#[derive(Clone)]
pub struct Vault {
    keys: BTreeMap<u32, [u8; KEY_BYTES]>,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.keys.keys()).finish()
    }
}

/// The key of one case's documents.
pub struct DataKey([u8; KEY_BYTES]);

/// A data key as it is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct Wrapped {
    pub version: u32,
    pub bytes: Vec<u8>,
}

impl Vault {
    /// Errors: [`Error::NoKey`].
    pub fn new(keys: impl IntoIterator<Item = (u32, [u8; KEY_BYTES])>) -> Result<Self, Error> {
        let keys: BTreeMap<_, _> = keys.into_iter().collect();
        if keys.is_empty() {
            return Err(Error::NoKey);
        }
        Ok(Self { keys })
    }

    /// A data key for `case`, and how it is stored.
    pub fn make(&self, case: &str) -> Result<(DataKey, Wrapped), Error> {
        let (version, key) = self.keys.last_key_value().ok_or(Error::NoKey)?;
        let mut data = [0; KEY_BYTES];
        fill(&mut data)?;
        let bytes = seal(key, case, &data)?;
        let wrapped = Wrapped {
            version: *version,
            bytes,
        };
        Ok((DataKey(data), wrapped))
    }

    /// The data key of `case`.
    pub fn unwrap(&self, case: &str, wrapped: &Wrapped) -> Result<DataKey, Error> {
        let key = self.keys.get(&wrapped.version);
        let data = open(
            key.ok_or(Error::UnknownVersion)?,
            case,
            wrapped.bytes.clone(),
        )?;
        data.try_into().map(DataKey).map_err(|_| Error::Sealed)
    }
}

impl DataKey {
    /// A document, sealed to its name: it opens under no other.
    pub fn seal(&self, name: &str, document: &[u8]) -> Result<Vec<u8>, Error> {
        seal(&self.0, name, document)
    }

    /// The document again.
    pub fn open(&self, name: &str, sealed: Vec<u8>) -> Result<Vec<u8>, Error> {
        open(&self.0, name, sealed)
    }
}

/// A key from 64 hexadecimal digits.
pub fn key(text: &str) -> Result<[u8; KEY_BYTES], Error> {
    let mut key = [0; KEY_BYTES];
    if text.len() != 2 * KEY_BYTES || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Error::Malformed);
    }
    for (place, byte) in key.iter_mut().enumerate() {
        let digits = &text[2 * place..2 * place + 2];
        *byte = u8::from_str_radix(digits, 16).map_err(|_| Error::Malformed)?;
    }
    Ok(key)
}

/// The nonce, and then the sealed bytes with their tag.
fn seal(key: &[u8; KEY_BYTES], name: &str, bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let mut nonce = [0; NONCE_LEN];
    fill(&mut nonce)?;
    let mut sealed = bytes.to_vec();
    let aad = Aad::from(name.as_bytes());
    cipher(key)?
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed)
        .map_err(|_| Error::Sealed)?;
    let mut all = nonce.to_vec();
    all.append(&mut sealed);
    Ok(all)
}

fn open(key: &[u8; KEY_BYTES], name: &str, mut sealed: Vec<u8>) -> Result<Vec<u8>, Error> {
    let (nonce, rest) = sealed
        .split_at_mut_checked(NONCE_LEN)
        .ok_or(Error::Sealed)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Error::Sealed)?;
    let opened = cipher(key)?
        .open_in_place(nonce, Aad::from(name.as_bytes()), rest)
        .map_err(|_| Error::Sealed)?;
    Ok(opened.to_vec())
}

fn cipher(key: &[u8; KEY_BYTES]) -> Result<LessSafeKey, Error> {
    let key = UnboundKey::new(&AES_256_GCM, key).map_err(|_| Error::Malformed)?;
    Ok(LessSafeKey::new(key))
}

fn fill(bytes: &mut [u8]) -> Result<(), Error> {
    SystemRandom::new()
        .fill(bytes)
        .map_err(|_| Error::NoRandomness)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault(versions: &[u32]) -> Vault {
        let keys = versions
            .iter()
            .map(|version| (*version, [u8::try_from(*version).unwrap(); KEY_BYTES]));
        Vault::new(keys).unwrap()
    }

    #[test]
    fn a_document_opens_under_its_own_name_and_key_and_not_if_a_bit_was_changed() {
        let (key, wrapped) = vault(&[1]).make("c1").unwrap();
        let sealed = key.seal("c1/e1", b"passport").unwrap();
        assert!(!sealed.windows(8).any(|bytes| bytes == b"passport"));
        let again = vault(&[1]).unwrap("c1", &wrapped).unwrap();
        assert_eq!(again.open("c1/e1", sealed.clone()).unwrap(), b"passport");
        assert_eq!(again.open("c1/e2", sealed.clone()), Err(Error::Sealed));
        for place in [0, NONCE_LEN, sealed.len() - 1] {
            let mut changed = sealed.clone();
            changed[place] ^= 1;
            assert_eq!(again.open("c1/e1", changed), Err(Error::Sealed));
        }
        assert_eq!(again.open("c1/e1", Vec::new()), Err(Error::Sealed));
        let (other, _) = vault(&[1]).make("c1").unwrap();
        assert_eq!(other.open("c1/e1", sealed), Err(Error::Sealed));
    }

    #[test]
    fn an_older_key_opens_what_it_wrapped_and_the_newest_wraps() {
        let (_, old) = vault(&[1]).make("c1").unwrap();
        let both = vault(&[1, 2]);
        both.unwrap("c1", &old).unwrap();
        assert!(both.unwrap("c2", &old).is_err(), "another case's");
        let (_, new) = both.make("c1").unwrap();
        assert_eq!((old.version, new.version), (1, 2));
        let gone = vault(&[2]).unwrap("c1", &old).err();
        assert_eq!(gone, Some(Error::UnknownVersion));
    }

    #[test]
    fn a_key_is_64_hexadecimal_digits_and_never_shown() {
        let text = "0f".repeat(KEY_BYTES);
        assert_eq!(key(&text), Ok([15; KEY_BYTES]));
        for bad in ["", "0f", &"0g".repeat(32), &"é".repeat(32)] {
            assert_eq!(key(bad), Err(Error::Malformed));
        }
        assert_eq!(format!("{:?}", vault(&[1, 2])), "{1, 2}");
        assert_eq!(Vault::new([]).err(), Some(Error::NoKey));
    }
}
