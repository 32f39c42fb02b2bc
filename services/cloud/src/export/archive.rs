//! Packing: from the spool into a ZIP (with ZIP64 where it is needed), an index for people and a manifest for programs. It is
//! sealed as it is written, so that no disk ever has it in plain; its digest is that of the ZIP, as its owner gets it.
//!
//! Pieces are read one at a time, and what is known of them page by page: an archive of any size is packed in the same memory,
//! but for the list of its files.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::time::SystemTime;

use farewell_kit::Fault;
use farewell_kit::store::{micros, time};
use farewell_kit::vault::{self, DataKey, Sealer};
use ring::digest::{Context, SHA256};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::category::{self, Categories};
use super::index::Index;
use super::name::Names;
use super::queue::Claim;
use super::record::{signed, unsigned};
use super::sealed::{self, SpoolKey};
use super::{Exports, folder};

/// Pieces read from the database at a time.
const PAGE_ROWS: i64 = 500;
/// Pages that wait to be packed.
const PAGES_MAX: usize = 2;
/// What is packed already, and would only cost time.
const PACKED: [&str; 10] = [
    "jpg", "jpeg", "png", "heic", "webp", "gif", "mp4", "mov", "zip", "gz",
];
/// What programs may rely on in the manifest.
const MANIFEST_VERSION: u32 = 1;

/// A piece of the spool.
#[derive(Clone, Debug)]
struct Piece {
    participant: String,
    /// The same for every piece of a file.
    file_offset: i64,
    offset: i64,
    size_bytes: i64,
}

/// Who gave what, in all.
struct Given {
    participant: String,
    items: i64,
}

/// Packs the archive and makes the export READY. `None`: it isn't ours any more. Otherwise the size.
pub(super) async fn pack(exports: &Exports, claim: &Claim) -> Result<Option<u64>, Fault> {
    let disk = |error| Fault::new("an archive", error);
    let folder = exports.cabinet.folder(&claim.account, &claim.id);
    // Made while the account is held: erasing, which waits for that, finds it.
    let Some(tx) = exports.hold(claim).await? else {
        return Ok(None);
    };
    let (archive, spool) = folder.unfinished(&claim.turn).await.map_err(disk)?;
    tx.commit().await?;
    let given: Vec<(String, i64)> = sqlx::query_as(
        "SELECT participant, items FROM archive_source WHERE archive = $1 ORDER BY participant",
    )
    .bind(&claim.id)
    .fetch_all(exports.store.pool())
    .await?;
    let given: Vec<_> = given
        .into_iter()
        .map(|(participant, items)| Given { participant, items })
        .collect();
    let categories = {
        let mut connection = exports.store.pool().acquire().await?;
        category::of_archive(&mut connection, &claim.id).await?
    };
    let name = sealed::archive(&claim.id);
    let made = exports.vault.make(&name);
    let (key, stored) = made.map_err(|error| Fault::new("the key of an archive", error))?;
    let (pages, paged) = mpsc::channel(PAGES_MAX);
    let packer = Packer {
        claim: claim.clone(),
        archive,
        sealing: (key, name),
        collected: exports.key(claim)?,
        spool,
        given,
        categories,
    };
    let packing = tokio::task::spawn_blocking(move || packer.pack(paged));
    let read = read_pages(exports, claim, pages).await;
    let packed = packing
        .await
        .map_err(|error| Fault::new("packing", error))?;
    read?;
    let (size_bytes, sha256) = packed.map_err(disk)?;

    let Some(mut tx) = exports.hold(claim).await? else {
        return Ok(None);
    };
    folder.finish(&claim.turn).await.map_err(disk)?;
    let now = SystemTime::now();
    sqlx::query(
        "UPDATE archive SET state = 'EXPIRED', ended_at = $3, cleared = 0, data_key = '' \
         WHERE account = $2 AND id <> $1 AND state = 'READY'",
    )
    .bind(&claim.id)
    .bind(&claim.account)
    .bind(micros(now))
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "UPDATE archive SET state = 'READY', ended_at = $2, expires_at = $3, size_bytes = $4, sha256 = $5, held_by = '', \
             cleared = 0, data_key = $7 WHERE id = $1 AND held_by = $6",
    )
    .bind(&claim.id)
    .bind(micros(now))
    .bind(micros(now + exports.terms.keep))
    .bind(signed(size_bytes))
    .bind(sha256)
    .bind(&claim.turn)
    // The key of what was collected goes with this.
    .bind(stored.to_text())
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    exports.destroyed().await;
    Ok(Some(size_bytes))
}

/// Every piece, in the order of files. Ends early if nobody packs any more.
async fn read_pages(
    exports: &Exports,
    claim: &Claim,
    pages: mpsc::Sender<Vec<Piece>>,
) -> Result<(), Fault> {
    let (mut participant, mut file_offset, mut offset) = (String::new(), -1, -1);
    loop {
        let rows: Vec<(String, i64, i64, i64)> = sqlx::query_as(
            "SELECT participant, file_offset, spool_offset, size_bytes FROM spooled_piece WHERE archive = $1 \
             AND (participant, file_offset, spool_offset) > ($2, $3, $4) \
             ORDER BY participant, file_offset, spool_offset LIMIT $5",
        )
        .bind(&claim.id)
        .bind(&participant)
        .bind(file_offset)
        .bind(offset)
        .bind(PAGE_ROWS)
        .fetch_all(exports.store.pool())
        .await?;
        let Some(last) = rows.last() else {
            return Ok(());
        };
        (participant, file_offset, offset) = (last.0.clone(), last.1, last.2);
        let piece = |(participant, file_offset, offset, size_bytes)| Piece {
            participant,
            file_offset,
            offset,
            size_bytes,
        };
        if pages
            .send(rows.into_iter().map(piece).collect())
            .await
            .is_err()
        {
            return Ok(());
        }
    }
}

struct Packer {
    claim: Claim,
    archive: File,
    /// What the archive is sealed with, and to.
    sealing: (DataKey, String),
    /// What the spool opens with.
    collected: SpoolKey,
    spool: Option<File>,
    given: Vec<Given>,
    categories: Categories,
}

/// A file that is being written into the archive.
struct Open {
    participant: String,
    file_offset: i64,
    name: String,
    size_bytes: u64,
    digest: Context,
}

impl Packer {
    /// Size and digest of the archive.
    fn pack(self, mut pages: mpsc::Receiver<Vec<Piece>>) -> io::Result<(u64, Vec<u8>)> {
        let begun = time(self.claim.begun_at);
        let (key, name) = self.sealing;
        let sealer = Sealer::new(key, &name, BufWriter::new(self.archive));
        let mut zip = ZipWriter::new_stream(Digested::new(sealer));
        let options = options(self.claim.begun_at);
        let mut names = Names::default();
        let mut index = Index::new(self.claim.language);
        let mut files: Vec<Value> = Vec::new();
        let mut open: Option<Open> = None;
        let mut close = |file: Open, index: &mut Index| {
            let sha256: String = hex(file.digest.finish().as_ref());
            index.add(&file.participant, &file.name, file.size_bytes);
            files.push(json!({"path": file.name, "size_bytes": file.size_bytes, "sha256": sha256}));
        };
        while let Some(page) = pages.blocking_recv() {
            for piece in page {
                let same = open.as_ref().is_some_and(|file| {
                    file.participant == piece.participant && file.file_offset == piece.file_offset
                });
                let Some(spool) = &self.spool else {
                    return Err(io::ErrorKind::NotFound.into());
                };
                let offset = unsigned(piece.offset);
                let sealed = folder::piece(spool, (offset, unsigned(piece.size_bytes)))?;
                let opened = self
                    .collected
                    .open_piece(&piece.participant, offset, sealed);
                let opened = opened.map_err(invalid)?;
                if !same {
                    if let Some(file) = open.take() {
                        close(file, &mut index);
                    }
                    let name = names.give(&piece.participant, &opened.path);
                    zip.start_file(&name, options.compression_method(method(&name)))?;
                    open = Some(Open {
                        participant: piece.participant,
                        file_offset: piece.file_offset,
                        name,
                        size_bytes: 0,
                        digest: Context::new(&SHA256),
                    });
                }
                if let Some(file) = &mut open {
                    file.digest.update(&opened.content);
                    file.size_bytes += opened.content.len() as u64;
                    zip.write_all(&opened.content)?;
                }
            }
        }
        if let Some(file) = open.take() {
            close(file, &mut index);
        }
        let participants: Vec<_> = self
            .given
            .iter()
            .map(|given| {
                let held = self.categories.get(&given.participant);
                index.items(&given.participant, given.items);
                index.categories(&given.participant, held.into_iter().flatten());
                let (mut told, mut left_out) = (Map::new(), Map::new());
                for (category, held) in held.into_iter().flatten() {
                    if held.items > 0 {
                        told.insert(category.clone(), held.items.into());
                    }
                    if !held.left_out.is_empty() {
                        left_out.insert(category.clone(), held.left_out.clone().into());
                    }
                }
                json!({
                    "participant": given.participant,
                    "items": given.items,
                    "categories": told,
                    "left_out": left_out,
                })
            })
            .collect();
        let created = index.moment(begun);
        let manifest = json!({
            "version": MANIFEST_VERSION,
            "account": self.claim.account,
            "export": super::record::name_of(&self.claim.id),
            "begin_time": created,
            "participants": participants,
            "files": files,
        });
        zip.start_file("manifest.json", options)?;
        serde_json::to_writer_pretty(&mut zip, &manifest)?;
        zip.start_file("index.html", options)?;
        zip.write_all(index.page(begun).as_bytes())?;
        let whole = zip.finish()?.into_inner();
        let buffer = whole.out.finish()?;
        let archive = buffer
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        archive.sync_all()?;
        Ok((whole.size_bytes, whole.digest.finish().as_ref().to_vec()))
    }
}

/// Counts and digests what passes.
struct Digested<W> {
    out: W,
    size_bytes: u64,
    digest: Context,
}

impl<W> Digested<W> {
    fn new(out: W) -> Self {
        Self {
            out,
            size_bytes: 0,
            digest: Context::new(&SHA256),
        }
    }
}

impl<W: Write> Write for Digested<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.size_bytes += written as u64;
        self.digest.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn invalid(error: vault::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

fn options(begun_at: i64) -> SimpleFileOptions {
    SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        // The size of a file isn't known before it is written; the header says so in 20 bytes more.
        .large_file(true)
        .unix_permissions(0o644)
        .last_modified_time(modified(begun_at).unwrap_or_default())
}

fn modified(begun_at: i64) -> Option<DateTime> {
    let at = jiff::Timestamp::from_microsecond(begun_at).ok()?;
    let at = at.to_zoned(jiff::tz::TimeZone::UTC);
    let part = |number: i8| u8::try_from(number).ok();
    DateTime::from_date_and_time(
        u16::try_from(at.year()).ok()?,
        part(at.month())?,
        part(at.day())?,
        part(at.hour())?,
        part(at.minute())?,
        part(at.second())?,
    )
    .ok()
}

fn method(name: &str) -> CompressionMethod {
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    if PACKED.iter().any(|it| extension.eq_ignore_ascii_case(it)) {
        CompressionMethod::Stored
    } else {
        CompressionMethod::Deflated
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
