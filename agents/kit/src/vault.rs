//! How what lies and waits is kept: under a data key of its own, which lies beside it under a key-encryption key that is not in the
//! database. A destroyed data key is the end of every copy of what lies under it, also of those in backups.
//!
//! AES-256-GCM, with a nonce drawn for each message. A data key seals at most some millions of messages, and a key-encryption key
//! far fewer data keys than the 2^32 that drawn nonces allow (NIST SP 800-38D, 8.3).

mod chunks;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};

pub use self::chunks::{CHUNK_BYTES, Chunks, Sealer};

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;
/// Bytes that a sealed message is longer by: nonce and tag.
pub const SEAL_BYTES: usize = NONCE_LEN + 16;
/// In place of a key.
const LOST: &str = "lost";
/// Separates the key of marks from the one that seals.
const MARKS: &[u8] = b"farewell marks";

/// Why something can't be sealed or opened. Its text holds nothing secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("at least one key-encryption key is needed")]
    NoKey,
    #[error("a key-encryption key is 32 bytes, written as 64 hexadecimal digits")]
    Malformed,
    #[error("a version of a key-encryption key is there twice")]
    VersionTwice,
    #[error("the system gives no randomness")]
    NoRandomness,
    #[error("there is no key-encryption key of this version")]
    UnknownVersion,
    #[error("what is stored was not sealed with this key, or was changed")]
    Sealed,
}

/// Why a process must not go on with the keys that it was given: nobody would notice before something is to be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error(
        "keys: version {0} is still needed: put it back beside the newer ones, or write `{0}:lost` if nobody has it any more"
    )]
    Missing(u32),
    #[error("keys: version {0} was another one before: give the new one a number of its own")]
    Changed(u32),
}

/// The key-encryption keys, by version. The newest wraps; older ones open what they wrapped. No `Debug` shows one.
#[derive(Clone)]
pub struct Vault {
    keys: BTreeMap<u32, [u8; KEY_BYTES]>,
    /// Versions that nobody has any more: what lies under them stays shut.
    lost: BTreeSet<u32>,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.keys.keys()).finish()
    }
}

/// A key of its own for what belongs together: the documents of one case, one archive.
pub struct DataKey([u8; KEY_BYTES]);

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataKey").finish_non_exhaustive()
    }
}

/// A data key as it is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct Wrapped {
    pub version: u32,
    pub bytes: Vec<u8>,
}

impl fmt::Debug for Wrapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wrapped")
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

impl Vault {
    /// Errors: [`Error::NoKey`].
    pub fn new(keys: impl IntoIterator<Item = (u32, [u8; KEY_BYTES])>) -> Result<Self, Error> {
        let keys: BTreeMap<_, _> = keys.into_iter().collect();
        if keys.is_empty() {
            return Err(Error::NoKey);
        }
        Ok(Self {
            keys,
            lost: BTreeSet::new(),
        })
    }

    /// From `VERSION:KEY`, or several of them with commas between; a key is 64 hexadecimal digits, or `lost` if nobody has it any
    /// more.
    ///
    /// Errors: [`Error::NoKey`], [`Error::Malformed`], [`Error::VersionTwice`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        let (mut keys, mut lost) = (BTreeMap::new(), BTreeSet::new());
        let entries = text.split(',').map(str::trim);
        for entry in entries.filter(|entry| !entry.is_empty()) {
            let (version, digits) = entry.split_once(':').ok_or(Error::Malformed)?;
            let version: u32 = version.parse().map_err(|_| Error::Malformed)?;
            let is_new = if digits == LOST {
                lost.insert(version)
            } else {
                let key = unhex(digits).and_then(|key| key.try_into().ok());
                let key = key.ok_or(Error::Malformed)?;
                keys.insert(version, key).is_none()
            };
            if !is_new || (keys.contains_key(&version) && lost.contains(&version)) {
                return Err(Error::VersionTwice);
            }
        }
        Ok(Self {
            lost,
            ..Self::new(keys)?
        })
    }

    /// A data key for what has this name, and how it is stored.
    pub fn make(&self, name: &str) -> Result<(DataKey, Wrapped), Error> {
        let (version, key) = self.keys.last_key_value().ok_or(Error::NoKey)?;
        let mut data = [0; KEY_BYTES];
        fill(&mut data)?;
        let bytes = seal(key, name.as_bytes(), &data)?;
        let wrapped = Wrapped {
            version: *version,
            bytes,
        };
        Ok((DataKey(data), wrapped))
    }

    /// The data key for what has this name.
    ///
    /// Errors: [`Error::UnknownVersion`]; [`Error::Sealed`], also for another's.
    pub fn unwrap(&self, name: &str, wrapped: &Wrapped) -> Result<DataKey, Error> {
        let key = self.keys.get(&wrapped.version);
        let key = key.ok_or(Error::UnknownVersion)?;
        let data = open(key, name.as_bytes(), wrapped.bytes.clone())?;
        data.try_into().map(DataKey).map_err(|_| Error::Sealed)
    }

    /// Whether these keys open what is kept, each data key with its name, but for what lies under a lost one. One of each version is
    /// looked at.
    ///
    /// Errors: the first version that is missing, or another one.
    pub fn settle(&self, kept: impl IntoIterator<Item = (String, Wrapped)>) -> Result<(), Unfit> {
        let one_of_each: BTreeMap<u32, _> = kept
            .into_iter()
            .map(|(name, wrapped)| (wrapped.version, (name, wrapped)))
            .collect();
        for (version, (name, wrapped)) in one_of_each {
            if self.lost.contains(&version) {
                continue;
            }
            self.unwrap(&name, &wrapped).map_err(|error| match error {
                Error::UnknownVersion => Unfit::Missing(version),
                _ => Unfit::Changed(version),
            })?;
        }
        Ok(())
    }
}

impl Wrapped {
    /// `VERSION:…`, for a column of text.
    pub fn to_text(&self) -> String {
        format!("{}:{}", self.version, hex(&self.bytes))
    }

    /// Errors: [`Error::Malformed`].
    pub fn from_text(text: &str) -> Result<Self, Error> {
        let (version, digits) = text.split_once(':').ok_or(Error::Malformed)?;
        Ok(Self {
            version: version.parse().map_err(|_| Error::Malformed)?,
            bytes: unhex(digits).ok_or(Error::Malformed)?,
        })
    }
}

impl DataKey {
    /// A message, sealed to its name: it opens under no other.
    pub fn seal(&self, name: &str, message: &[u8]) -> Result<Vec<u8>, Error> {
        seal(&self.0, name.as_bytes(), message)
    }

    /// The message again.
    pub fn open(&self, name: &str, sealed: Vec<u8>) -> Result<Vec<u8>, Error> {
        open(&self.0, name.as_bytes(), sealed)
    }

    /// As [`DataKey::seal`], of text and for a column of text.
    pub fn seal_text(&self, name: &str, text: &str) -> Result<String, Error> {
        self.seal(name, text.as_bytes()).map(|sealed| hex(&sealed))
    }

    /// The text again.
    pub fn open_text(&self, name: &str, sealed: &str) -> Result<String, Error> {
        let text = self.open(name, unhex(sealed).ok_or(Error::Sealed)?)?;
        String::from_utf8(text).map_err(|_| Error::Sealed)
    }

    /// What the same text is known by again, as long as there is the key, and by nobody without it.
    pub fn mark(&self, text: &str) -> String {
        let key = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &self.0), MARKS);
        let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_ref());
        hex(hmac::sign(&key, text.as_bytes()).as_ref())
    }
}

/// The nonce, and then the sealed bytes with their tag.
fn seal(key: &[u8; KEY_BYTES], name: &[u8], bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let mut nonce = [0; NONCE_LEN];
    fill(&mut nonce)?;
    let mut all = Vec::with_capacity(bytes.len() + SEAL_BYTES);
    all.extend_from_slice(&nonce);
    all.extend_from_slice(bytes);
    let nonce = Nonce::assume_unique_for_key(nonce);
    let tag = cipher(key)?
        .seal_in_place_separate_tag(nonce, Aad::from(name), &mut all[NONCE_LEN..])
        .map_err(|_| Error::Sealed)?;
    all.extend_from_slice(tag.as_ref());
    Ok(all)
}

fn open(key: &[u8; KEY_BYTES], name: &[u8], mut sealed: Vec<u8>) -> Result<Vec<u8>, Error> {
    let (nonce, rest) = sealed
        .split_at_mut_checked(NONCE_LEN)
        .ok_or(Error::Sealed)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Error::Sealed)?;
    let opened = cipher(key)?
        .open_in_place(nonce, Aad::from(name), rest)
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

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut digits, byte| {
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    let sound = digits.len().is_multiple_of(2) && digits.bytes().all(|it| it.is_ascii_hexdigit());
    let pairs = (0..digits.len()).step_by(2);
    sound.then(|| {
        pairs
            .filter_map(|at| u8::from_str_radix(&digits[at..at + 2], 16).ok())
            .collect()
    })
}
