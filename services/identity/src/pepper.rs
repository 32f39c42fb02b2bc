//! The keys of what identity hashes: codes, tokens of links, where codes go, and identifiers that are held back.
//!
//! Each has a version. What is new is hashed under the newest; what is there is compared under every version that is known, so
//! that a new one can be put in use at any time. One may be taken away once nothing needs it: what is held back under it, and
//! links that take a deletion back, say which they need, and identity does not start without that. A mark of each version is
//! kept, so that it is seen when another pepper stands under its number: names would be free that are held back.

use std::collections::BTreeMap;
use std::fmt;

use farewell_kit::store::Store;
use farewell_kit::{CodeChannel, CodeKind, Fault};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::{code, contact};

pub(crate) const SCHEMA: &str = "\
    CREATE TABLE IF NOT EXISTS pepper (version BIGINT PRIMARY KEY, mark TEXT NOT NULL)";

const BYTES_MIN: usize = 16;
/// What is read of one that has no version, and of rows that are older than versions.
pub(crate) const FIRST: u32 = 1;

/// The peppers, by version. Without them a stolen database tells no code; a million of them are guessed in a second with them.
#[derive(Clone)]
pub struct Pepper(BTreeMap<u32, Vec<u8>>);

/// Peppers that would protect nothing, or that nobody could tell apart. Its text holds nothing secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPepper {
    #[error("each pepper must have at least {BYTES_MIN} bytes")]
    TooShort,
    /// One of several lacks its version: taken as one, it would be another than it was.
    #[error("of several, each must be written as VERSION:PEPPER; a comma in one as \\,")]
    Unversioned,
    #[error("two peppers have the same version")]
    Twice,
}

impl Pepper {
    /// One of at least 16 bytes, as version 1.
    ///
    /// Errors: [`BadPepper::TooShort`].
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, BadPepper> {
        Self::versions([(FIRST, bytes.into())])
    }

    /// Several, by version; the highest is the newest.
    ///
    /// Errors: [`BadPepper`].
    pub fn versions(all: impl IntoIterator<Item = (u32, Vec<u8>)>) -> Result<Self, BadPepper> {
        let mut peppers = BTreeMap::new();
        for (version, bytes) in all {
            if bytes.len() < BYTES_MIN {
                return Err(BadPepper::TooShort);
            }
            if peppers.insert(version, bytes).is_some() {
                return Err(BadPepper::Twice);
            }
        }
        if peppers.is_empty() {
            return Err(BadPepper::TooShort);
        }
        Ok(Self(peppers))
    }

    /// `VERSION:PEPPER,…`, where `\,` is a comma of a pepper; or a pepper alone as it stands, which is version 1.
    ///
    /// Errors: [`BadPepper`].
    pub fn parse(text: &str) -> Result<Self, BadPepper> {
        let part = |part: String| {
            let (version, pepper) = part.trim().split_once(':')?;
            Some((version.parse().ok()?, pepper.as_bytes().to_vec()))
        };
        let parts: Vec<_> = split(text).into_iter().map(part).collect();
        if parts.iter().any(Option::is_some) && parts.iter().any(Option::is_none) {
            return Err(BadPepper::Unversioned);
        }
        match parts.into_iter().collect::<Option<Vec<_>>>() {
            Some(all) => Self::versions(all),
            None => Self::new(text),
        }
    }

    /// The version that what is new is hashed under.
    pub(crate) fn newest(&self) -> u32 {
        self.0
            .last_key_value()
            .map_or(FIRST, |(version, _)| *version)
    }

    /// The keyed hash of a code, bound to its deletion and kind.
    pub(crate) fn mac(&self, deletion: &str, kind: CodeKind, code: &str) -> Result<Vec<u8>, Fault> {
        self.keyed(self.newest(), &code_parts(deletion, kind, code))
    }

    /// As [`Pepper::mac`], under every version.
    pub(crate) fn macs(
        &self,
        deletion: &str,
        kind: CodeKind,
        code: &str,
    ) -> Result<Vec<Vec<u8>>, Fault> {
        self.each(&code_parts(deletion, kind, code))
    }

    /// The token of a link that takes a deletion back, in hexadecimal digits; `None` without that version.
    pub(crate) fn link_token(
        &self,
        version: i64,
        salt: &str,
        deletion: &str,
        receiver: &str,
    ) -> Result<Option<String>, Fault> {
        let known = u32::try_from(version).ok();
        let Some(version) = known.filter(|version| self.0.contains_key(version)) else {
            return Ok(None);
        };
        let parts = ["farewell revoke link", salt, deletion, receiver];
        Ok(Some(hex(&self.keyed(version, &parts)?)))
    }

    /// The keyed hash of an identifier to be held back, in hexadecimal digits.
    pub(crate) fn identifier(&self, class: &str, normal: &str) -> Result<String, Fault> {
        let hash = self.keyed(self.newest(), &["farewell identifier", class, normal])?;
        Ok(hex(&hash))
    }

    /// As [`Pepper::identifier`], under every version.
    pub(crate) fn identifiers(&self, class: &str, normal: &str) -> Result<Vec<String>, Fault> {
        let hashes = self.each(&["farewell identifier", class, normal])?;
        Ok(hashes.iter().map(|hash| hex(hash)).collect())
    }

    /// The keyed hashes of where a code goes, bound to its channel, oldest version first. An account without an address has a
    /// destination of its own, so that the same is counted.
    pub(crate) fn destinations(
        &self,
        channel: CodeChannel,
        to: Option<&str>,
        subject: &str,
    ) -> Result<Vec<String>, Fault> {
        // Neither the blanks in a number nor capitals in an address make another destination.
        let (whose, to) = match to {
            None => ("nobody's", subject.to_owned()),
            Some(to) => (
                "somebody's",
                contact::normal(channel, to).unwrap_or_else(|_| to.to_owned()),
            ),
        };
        let parts = ["farewell destination", contact::word(channel), whose, &to];
        Ok(self.each(&parts)?.iter().map(|hash| hex(hash)).collect())
    }

    fn each(&self, parts: &[&str]) -> Result<Vec<Vec<u8>>, Fault> {
        let versions = self.0.keys();
        versions
            .map(|version| self.keyed(*version, parts))
            .collect()
    }

    fn keyed(&self, version: u32, parts: &[&str]) -> Result<Vec<u8>, Fault> {
        let pepper = self.0.get(&version);
        let pepper = pepper.ok_or_else(|| Fault::plain("there is no pepper of this version"))?;
        let mut mac = Hmac::<Sha256>::new_from_slice(pepper)
            .map_err(|error| Fault::new("the pepper", error))?;
        for part in parts {
            mac.update(&part.len().to_be_bytes());
            mac.update(part.as_bytes());
        }
        Ok(mac.finalize().into_bytes().to_vec())
    }
}

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pepper").field(&self.0.keys()).finish()
    }
}

fn code_parts<'a>(deletion: &'a str, kind: CodeKind, code: &'a str) -> [&'a str; 4] {
    ["farewell code", deletion, code::word(kind), code]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What needs a version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Need {
    /// Names, numbers and addresses that are held back.
    pub identifiers: i64,
    /// Links that take a deletion back.
    pub links: i64,
}

/// What needs each version: those that are known, and those that are not and should be.
pub(crate) async fn needs(store: &Store, pepper: &Pepper) -> Result<BTreeMap<u32, Need>, Fault> {
    let rows: Vec<(String, i64, i64)> = sqlx::query_as(
        "SELECT 'IDENTIFIER', version, COUNT(*) FROM quarantine GROUP BY version \
         UNION ALL SELECT 'LINK', version, COUNT(*) FROM revoke_link GROUP BY version",
    )
    .fetch_all(store.pool())
    .await?;
    let known = pepper.0.keys().map(|version| (*version, Need::default()));
    let mut needs: BTreeMap<u32, Need> = known.collect();
    for (what, version, count) in rows {
        let need = needs
            .entry(u32::try_from(version).unwrap_or(0))
            .or_default();
        match what.as_str() {
            "IDENTIFIER" => need.identifiers = count,
            _ => need.links = count,
        }
    }
    Ok(needs)
}

/// Refuses to go on without a version that is needed, or with another pepper under its number.
///
/// Errors: which version, and what needs it; the database is away.
pub(crate) async fn settle(store: &Store, pepper: &Pepper) -> anyhow::Result<()> {
    for (version, need) in needs(store, pepper).await? {
        let Need { identifiers, links } = need;
        anyhow::ensure!(
            pepper.0.contains_key(&version) || need == Need::default(),
            "pepper: version {version} is still needed, by {identifiers} identifiers that are held back and {links} links: \
             put it back beside the newer ones",
        );
    }
    for version in pepper.0.keys() {
        let mark = hex(&pepper.keyed(*version, &["farewell pepper"])?);
        let number = i64::from(*version);
        sqlx::query(
            "INSERT INTO pepper (version, mark) VALUES ($1, $2) ON CONFLICT (version) DO NOTHING",
        )
        .bind(number)
        .bind(&mark)
        .execute(store.pool())
        .await?;
        let (kept,): (String,) = sqlx::query_as("SELECT mark FROM pepper WHERE version = $1")
            .bind(number)
            .fetch_one(store.pool())
            .await?;
        anyhow::ensure!(
            kept == mark,
            "pepper: version {version} was another one before: give the new one a number of its own",
        );
    }
    Ok(())
}

/// What commas stand between, with the commas that a backslash keeps.
fn split(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    for piece in text.split_inclusive(',') {
        let last = parts.last_mut().expect("there is one from the beginning");
        if let Some(kept) = piece.strip_suffix("\\,") {
            last.push_str(kept);
            last.push(',');
        } else if let Some(end) = piece.strip_suffix(',') {
            last.push_str(end);
            parts.push(String::new());
        } else {
            last.push_str(piece);
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch;

    const OLD: &str = "0123456789abcdef";
    const NEW: &str = "fedcba9876543210";

    #[test]
    fn peppers_are_read_with_and_without_versions_and_never_shown() {
        let versions = |text: &str| {
            let pepper = Pepper::parse(text)?;
            Ok((pepper.newest(), pepper.0.len()))
        };
        assert_eq!(versions(OLD), Ok((1, 1)));
        assert_eq!(versions(&format!("1:{OLD},3:{NEW}")), Ok((3, 2)));
        assert_eq!(versions(&format!("3:{NEW}, 1:{OLD}")), Ok((3, 2)));
        assert_eq!(versions("a pepper, with a comma"), Ok((1, 1)));
        assert_eq!(versions(""), Err(BadPepper::TooShort));
        assert_eq!(versions("1:short"), Err(BadPepper::TooShort));
        let torn = format!("1:{OLD},3{NEW}");
        assert_eq!(versions(&torn), Err(BadPepper::Unversioned));
        assert_eq!(versions(&format!("1:{OLD},1:{NEW}")), Err(BadPepper::Twice));
        let comma = Pepper::parse(&format!("1:{OLD}\\,{NEW},3:{NEW}")).unwrap();
        assert_eq!(comma.0[&1], format!("{OLD},{NEW}").as_bytes());
        assert_eq!(comma.newest(), 3);
        let shown = format!("{:?}", Pepper::parse(&format!("1:{OLD},3:{NEW}")).unwrap());
        assert!(!shown.contains(OLD) && !shown.contains(NEW), "{shown}");
        let (alone, first) = (
            Pepper::new(OLD).unwrap(),
            Pepper::parse(&format!("1:{OLD}")).unwrap(),
        );
        let mac = |pepper: Pepper| pepper.mac("deletions/d1", CodeKind::Sms, "123456").unwrap();
        assert_eq!(mac(alone), mac(first), "one without a version is version 1");
    }

    #[tokio::test]
    async fn a_version_that_is_needed_can_be_neither_taken_away_nor_changed() {
        for store in scratch::stores("pepper").await {
            let settled = async |text: &str| settle(&store, &Pepper::parse(text).unwrap()).await;
            settled(OLD).await.unwrap();
            settled(&format!("1:{OLD},2:{NEW}")).await.unwrap();
            settled(&format!("2:{NEW}")).await.unwrap();
            let changed = settled(NEW).await.unwrap_err().to_string();
            assert!(changed.contains("version 1 was another one"), "{changed}");
            sqlx::query("INSERT INTO quarantine (class, hash, deletion, legal_basis, until) VALUES ('c', 'h', 'd', 'l', 9)")
                .execute(store.pool())
                .await
                .unwrap();
            let gone = settled(&format!("2:{NEW}")).await.unwrap_err().to_string();
            assert!(
                gone.contains("version 1 is still needed, by 1 identifiers"),
                "{gone}"
            );
            assert!(!gone.contains(NEW));
            settled(&format!("1:{OLD},2:{NEW}")).await.unwrap();
        }
    }
}
