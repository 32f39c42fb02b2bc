//! A content of any length, sealed chunk by chunk: written in one go, read from anywhere, and never held whole.
//!
//! Each chunk is a message of its own, sealed to the content's name, its number and whether it is the last: one that is missing at
//! the end, in another's place, twice, or another content's doesn't open. (Hoang, Reyhanitabar, Rogaway and Vizár, "Online
//! Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance", 2015, STREAM; here with drawn nonces, so that writing again
//! under the same key reuses none.)

use std::io;

use super::{DataKey, Error, SEAL_BYTES, open, seal};

/// Bytes of each chunk but the last, before it is sealed.
pub const CHUNK_BYTES: usize = 64 * 1024;

/// A content's sealed chunks, one after the other as they lie in `out`.
#[derive(Debug)]
pub struct Sealer<W> {
    key: DataKey,
    name: String,
    out: W,
    /// The chunk that is being gathered: only who ends knows that it is the last.
    chunk: Vec<u8>,
    number: u64,
}

impl<W: io::Write> Sealer<W> {
    /// Begins a content of this name.
    pub fn new(key: DataKey, name: &str, out: W) -> Self {
        Self {
            key,
            name: name.to_owned(),
            out,
            chunk: Vec::with_capacity(CHUNK_BYTES),
            number: 0,
        }
    }

    /// Writes the last chunk: without it nothing that was written is whole.
    pub fn finish(mut self) -> io::Result<W> {
        self.close(true)?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn close(&mut self, last: bool) -> io::Result<()> {
        let name = name_of(&self.name, self.number, last);
        let sealed = seal(&self.key.0, &name, &self.chunk).map_err(io::Error::other)?;
        self.out.write_all(&sealed)?;
        self.chunk.clear();
        self.number += 1;
        Ok(())
    }
}

impl<W: io::Write> io::Write for Sealer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.chunk.len() == CHUNK_BYTES && !bytes.is_empty() {
            self.close(false)?;
        }
        let taken = bytes.len().min(CHUNK_BYTES - self.chunk.len());
        self.chunk.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    /// What is gathered stays: a chunk that is shorter than others is the last.
    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// A content to be read, of which is known how long it is.
#[derive(Debug)]
pub struct Chunks<'a> {
    pub key: &'a DataKey,
    pub name: &'a str,
    /// Before it was sealed.
    pub size_bytes: u64,
}

impl Chunks<'_> {
    /// At most so many bytes after `offset`; none at the end and beyond it. `fill` fills its buffer from a place in what was written.
    ///
    /// Errors: those of `fill`, where `UnexpectedEof` says that there is less than there should be; an [`Error`] inside of
    /// `InvalidData`.
    pub fn read(
        &self,
        offset: u64,
        bytes_max: usize,
        mut fill: impl FnMut(&mut [u8], u64) -> io::Result<()>,
    ) -> io::Result<Vec<u8>> {
        let end = self.size_bytes.min(offset.saturating_add(whole(bytes_max)));
        let mut content = Vec::new();
        let mut at = offset;
        while at < end {
            let (number, within) = (at / whole(CHUNK_BYTES), at % whole(CHUNK_BYTES));
            let chunk = self.chunk(number, &mut fill)?;
            let begin = size(within)?;
            let taken = chunk.len().min(begin + size(end - at)?) - begin;
            content.extend_from_slice(&chunk[begin..begin + taken]);
            at += whole(taken);
        }
        Ok(content)
    }

    /// A chunk that begins before the end.
    fn chunk(
        &self,
        number: u64,
        mut fill: impl FnMut(&mut [u8], u64) -> io::Result<()>,
    ) -> io::Result<Vec<u8>> {
        let begin = number * whole(CHUNK_BYTES);
        let length = (self.size_bytes - begin).min(whole(CHUNK_BYTES));
        let last = begin + length == self.size_bytes;
        let mut sealed = vec![0; size(length)? + SEAL_BYTES];
        fill(&mut sealed, number * whole(CHUNK_BYTES + SEAL_BYTES))?;
        let name = name_of(self.name, number, last);
        open(&self.key.0, &name, sealed)
            .map_err(|error: Error| io::Error::new(io::ErrorKind::InvalidData, error))
    }
}

/// What a chunk is sealed to. No name has the byte that ends it here.
fn name_of(name: &str, number: u64, last: bool) -> Vec<u8> {
    let mut all = name.as_bytes().to_vec();
    all.push(0);
    all.extend_from_slice(&number.to_be_bytes());
    all.push(u8::from(last));
    all
}

fn whole(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}

fn size(length: u64) -> io::Result<usize> {
    usize::try_from(length).map_err(io::Error::other)
}
