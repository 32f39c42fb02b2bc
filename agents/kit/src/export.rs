//! What an account's owner takes along, in parts: each is read by itself, and nothing is held between two.
//!
//! What was there before the first part and didn't change until the last is in the export exactly once. What is added,
//! changed or removed meanwhile may be in it in either state: a copy of a living account can promise no more without
//! stopping its owner.

mod coverage;
mod table;

use std::collections::BTreeMap;

use async_trait::async_trait;

pub use self::coverage::{LeftOut, untold, why};
pub use self::table::{Column, OfStore, Table, Tables};

use crate::participant::Fault;

/// A part is closed once it holds so much: small enough for a stream that commands share.
pub const PART_BYTES: usize = 256 * 1024;
/// The last row may lift a part above [`PART_BYTES`], and never above this: no part of more passes a coordinator.
pub const PART_BYTES_MAX: usize = 1024 * 1024;
/// Pieces of a part: each is a file that is opened or continued.
pub const PIECES_MAX: usize = 512;
/// Categories that a part may name, told and left out together.
pub const CATEGORIES_MAX: usize = 64;
/// Between the section and its own cursor, in the cursor of an export.
const SECTION_END: char = '/';

/// Some pieces of files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// In order; pieces of the same path are one file.
    pub pieces: Vec<Piece>,
    /// Things that are in the files now and weren't before this part.
    pub items: i64,
    /// How many of them are of each category that the inventory counts.
    pub categories: BTreeMap<String, i64>,
    /// Categories of the inventory of which something is not in the files, and the word of [`why`] that says for what reason.
    pub left_out: BTreeMap<String, String>,
    /// Where the next part begins; empty if there is none.
    pub next: String,
}

/// The next bytes of a file. Its `Debug` never shows them, nor a name that a person may have given.
#[derive(Clone, PartialEq, Eq)]
pub struct Piece {
    /// `folder/…/file`.
    pub path: String,
    pub content: Vec<u8>,
}

impl std::fmt::Debug for Piece {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Piece")
            .field("size_bytes", &self.content.len())
            .finish_non_exhaustive()
    }
}

impl Part {
    /// Continues a file, or opens it.
    pub fn write(&mut self, path: &str, content: &[u8]) {
        if let Some(piece) = self.pieces.iter_mut().rfind(|piece| piece.path == path) {
            piece.content.extend_from_slice(content);
        } else {
            self.pieces.push(Piece {
                path: path.to_owned(),
                content: content.to_vec(),
            });
        }
    }

    /// Says that another thing of a category of the inventory is in the files.
    pub fn tell(&mut self, category: &str) {
        self.items += 1;
        let count = self.categories.entry(category.to_owned()).or_default();
        *count += 1;
    }

    /// Says what is not in the files, and why: once, in the part that begins at `after`, if that is the first.
    #[must_use]
    pub fn leaving_out(mut self, after: &str, left_out: &[LeftOut]) -> Self {
        if after.is_empty() {
            let said = left_out.iter();
            let said = said.map(|(category, why)| ((*category).to_owned(), (*why).to_owned()));
            self.left_out.extend(said);
        }
        self
    }

    /// Bytes until the part is closed.
    pub fn room_bytes(&self) -> usize {
        if self.pieces.len() >= PIECES_MAX {
            0
        } else {
            PART_BYTES.saturating_sub(self.size_bytes())
        }
    }

    /// Bytes of all pieces, with their names.
    pub fn size_bytes(&self) -> usize {
        let piece = |piece: &Piece| piece.path.len() + piece.content.len();
        self.pieces.iter().map(piece).sum()
    }
}

/// One kind of thing that is exported: usually a file or a folder.
#[async_trait]
pub trait Section: Send + Sync {
    /// Stable: a cursor may outlive the program that gave it.
    fn name(&self) -> &str;

    /// Writes what comes after `after`, which is empty at the beginning, for as long as `part` has room. Gives the cursor
    /// of what it wrote last; `None`: there is no more.
    async fn write(
        &self,
        account: &str,
        after: &str,
        part: &mut Part,
    ) -> Result<Option<String>, Fault>;
}

/// The part that begins at `after`.
///
/// Errors: a cursor that none of the sections gave; what a section says.
pub async fn part(sections: &[&dyn Section], account: &str, after: &str) -> Result<Part, Fault> {
    let mut part = Part::default();
    let (name, mut cursor) = match after.split_once(SECTION_END) {
        Some((name, cursor)) => (name, cursor.to_owned()),
        None if after.is_empty() => (
            sections.first().map_or("", |first| first.name()),
            String::new(),
        ),
        None => return Err(Fault::plain("a cursor that no part ended with")),
    };
    let begin = sections.iter().position(|section| section.name() == name);
    let Some(begin) = begin.or(sections.is_empty().then_some(0)) else {
        return Err(Fault::plain("a cursor of a section that isn't exported"));
    };
    for section in &sections[begin..] {
        loop {
            if part.room_bytes() == 0 {
                part.next = format!("{}{SECTION_END}{cursor}", section.name());
                return Ok(part);
            }
            match section.write(account, &cursor, &mut part).await? {
                Some(next) => cursor = next,
                None => break,
            }
        }
        cursor.clear();
    }
    Ok(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers from 1 up to a limit, a kilobyte each.
    struct Numbers(&'static str, u32);

    #[async_trait]
    impl Section for Numbers {
        fn name(&self) -> &str {
            self.0
        }

        async fn write(
            &self,
            _account: &str,
            after: &str,
            part: &mut Part,
        ) -> Result<Option<String>, Fault> {
            let mut last: u32 = after.parse().unwrap_or(0);
            while last < self.1 {
                if part.room_bytes() == 0 {
                    return Ok(Some(last.to_string()));
                }
                last += 1;
                part.tell(self.0);
                part.write(
                    &format!("{}.txt", self.0),
                    format!("{last:>1023}\n").as_bytes(),
                );
            }
            Ok(None)
        }
    }

    #[tokio::test]
    async fn parts_follow_each_other_through_every_section_and_nothing_is_twice_or_missing() {
        let sections: [&dyn Section; 4] = [
            &Numbers("none", 0),
            &Numbers("few", 3),
            &Numbers("many", 700),
            &Numbers("none-again", 0),
        ];
        let (mut after, mut parts, mut items) = (String::new(), 0, 0);
        let mut files = BTreeMap::<String, Vec<u8>>::new();
        loop {
            let part = part(&sections, "a", &after).await.unwrap();
            assert!(part.size_bytes() < PART_BYTES + 2_048);
            parts += 1;
            items += part.items;
            assert_eq!(part.categories.values().sum::<i64>(), part.items);
            for piece in part.pieces {
                files.entry(piece.path).or_default().extend(piece.content);
            }
            if part.next.is_empty() {
                break;
            }
            after = part.next;
        }
        assert_eq!((parts, items), (3, 703));
        let numbers = |file: &str| -> Vec<u32> {
            let text = String::from_utf8(files[file].clone()).unwrap();
            text.lines()
                .map(|line| line.trim().parse().unwrap())
                .collect()
        };
        assert_eq!(numbers("few.txt"), [1, 2, 3]);
        assert_eq!(numbers("many.txt"), (1..=700).collect::<Vec<_>>());
        assert_eq!(files.len(), 2);
    }

    #[tokio::test]
    async fn a_cursor_that_nobody_gave_is_trouble_and_not_the_end() {
        let sections: [&dyn Section; 1] = [&Numbers("few", 3)];
        for cursor in ["few", "other/", "/", "x"] {
            assert!(part(&sections, "a", cursor).await.is_err(), "{cursor}");
        }
        assert_eq!(part(&[], "a", "").await.unwrap(), Part::default());
    }

    #[test]
    fn debug_shows_neither_content_nor_names() {
        let mut part = Part::default();
        part.write("albums/Grandmother/1.jpg", b"secret");
        let shown = format!("{part:?}");
        assert!(!shown.contains("Grandmother") && !shown.contains("115"));
    }
}
