//! How what is collected and packed is sealed: names that sealed bytes are bound to, and a piece as it lies in the spool.
//!
//! A piece holds the path of its file, as that may have a person's own words, too. What pieces are one file's is told by a mark
//! that means nothing without the key.

use farewell_kit::export::Piece;
use farewell_kit::vault::{DataKey, Error, Vault, Wrapped};

/// What the key of a running export is bound to, and with it everything that is collected.
pub(super) fn spool(export: &str) -> String {
    format!("exports/{export}/spool")
}

/// What the key of an archive is bound to, and its content.
pub(super) fn archive(export: &str) -> String {
    format!("exports/{export}/archive")
}

/// A key from its row.
///
/// Errors: [`Error::UnknownVersion`]; [`Error::Sealed`] for what is none.
pub(super) fn open_key(vault: &Vault, name: &str, stored: &str) -> Result<DataKey, Error> {
    let wrapped = Wrapped::from_text(stored).map_err(|_| Error::Sealed)?;
    vault.unwrap(name, &wrapped)
}

/// The key of a running export.
#[derive(Debug)]
pub(super) struct SpoolKey {
    export: String,
    key: DataKey,
}

impl SpoolKey {
    /// Errors: as [`open_key`].
    pub fn open(vault: &Vault, export: &str, stored: &str) -> Result<Self, Error> {
        let export = export.to_owned();
        let key = open_key(vault, &spool(&export), stored)?;
        Ok(Self { export, key })
    }

    /// What pieces of one file have in common.
    pub fn file(&self, participant: &str, path: &str) -> String {
        self.key.mark(&format!("{participant}/{path}"))
    }

    /// A piece as it lies at `offset`, and nowhere else.
    pub fn seal(&self, participant: &str, offset: u64, piece: &Piece) -> Result<Vec<u8>, Error> {
        let path = piece.path.as_bytes();
        let length = u32::try_from(path.len()).map_err(|_| Error::Malformed)?;
        let mut plain = Vec::with_capacity(4 + path.len() + piece.content.len());
        plain.extend_from_slice(&length.to_be_bytes());
        plain.extend_from_slice(path);
        plain.extend_from_slice(&piece.content);
        self.key.seal(&self.place(participant, offset), &plain)
    }

    /// The piece again.
    pub fn open_piece(
        &self,
        participant: &str,
        offset: u64,
        sealed: Vec<u8>,
    ) -> Result<Piece, Error> {
        let plain = self.key.open(&self.place(participant, offset), sealed)?;
        let (length, rest) = plain.split_first_chunk().ok_or(Error::Sealed)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| Error::Sealed)?;
        let (path, content) = rest.split_at_checked(length).ok_or(Error::Sealed)?;
        Ok(Piece {
            path: String::from_utf8(path.to_vec()).map_err(|_| Error::Sealed)?,
            content: content.to_vec(),
        })
    }

    /// Where a participant's next part begins, which may be a person's own words as well. Nothing for the beginning and the end.
    pub fn seal_cursor(&self, participant: &str, cursor: &str) -> Result<String, Error> {
        if cursor.is_empty() {
            return Ok(String::new());
        }
        self.key.seal_text(&self.cursor(participant), cursor)
    }

    /// The cursor again.
    pub fn open_cursor(&self, participant: &str, sealed: &str) -> Result<String, Error> {
        if sealed.is_empty() {
            return Ok(String::new());
        }
        self.key.open_text(&self.cursor(participant), sealed)
    }

    fn place(&self, participant: &str, offset: u64) -> String {
        format!("{}/{participant}/{offset}", spool(&self.export))
    }

    fn cursor(&self, participant: &str) -> String {
        format!("{}/{participant}/after", spool(&self.export))
    }
}

#[cfg(test)]
mod tests {
    use farewell_kit::vault::KEY_BYTES;

    use super::*;

    #[test]
    fn a_piece_opens_where_it_lies_and_shows_neither_words_nor_path() {
        let vault = Vault::new([(1, [7; KEY_BYTES])]).unwrap();
        let (_, stored) = vault.make(&spool("e1")).unwrap();
        let key = SpoolKey::open(&vault, "e1", &stored.to_text()).unwrap();
        let piece = Piece {
            path: "albums/Grandmother/1.jpg".to_owned(),
            content: b"a picture".to_vec(),
        };
        let sealed = key.seal("cloud", 40, &piece).unwrap();
        let holds = |word: &[u8]| sealed.windows(word.len()).any(|bytes| bytes == word);
        assert!(!holds(b"Grandmother") && !holds(b"picture"));
        assert!(key.open_piece("cloud", 40, sealed.clone()).unwrap() == piece);
        for (participant, offset) in [("cloud", 41), ("store", 40)] {
            let opened = key.open_piece(participant, offset, sealed.clone());
            assert!(matches!(opened, Err(Error::Sealed)));
        }
        assert_ne!(key.file("cloud", "a"), key.file("store", "a"));
        let after = key.seal_cursor("store", "interests/hiking").unwrap();
        assert_eq!(
            key.open_cursor("store", &after).unwrap(),
            "interests/hiking"
        );
        assert_eq!(key.open_cursor("cloud", &after), Err(Error::Sealed));
        assert_eq!(key.seal_cursor("store", "").unwrap(), "");
        // Neither another export's key nor none at all.
        let other = SpoolKey::open(&vault, "e2", &stored.to_text());
        assert_eq!(other.err(), Some(Error::Sealed));
        assert_eq!(SpoolKey::open(&vault, "e1", "").err(), Some(Error::Sealed));
    }
}
