//! Documents, to the desk and back.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::path::Path;

use anyhow::{Context as _, bail};
use farewell_proto::support::v1::add_evidence_request::Part;
use farewell_proto::support::v1::get_evidence_response::Part as Given;
use farewell_proto::support::v1::{
    AddEvidenceRequest, EvidenceHeader, EvidenceKind, GetEvidenceRequest,
};
use farewell_runtime::shutdown::Shutdown;
use serde_json::json;
use tempfile::NamedTempFile;
use tonic::Request;

use super::view;
use crate::client::{Connection, Desk};
use crate::deletion::request::Id;
use crate::failure::Usage;
use crate::output::{Output, Rows};

/// Bytes of one message.
const CHUNK_BYTES: usize = 256 * 1024;

/// Sends a document. What it is follows from the file's name, and the desk looks at its first bytes.
pub async fn add(
    (connection, desk): (&Connection, &mut Desk),
    (case, kind, file): (&str, EvidenceKind, &Path),
    id: &Id,
    output: Output,
) -> anyhow::Result<()> {
    let ending = file.extension().and_then(|ending| ending.to_str());
    let media_type = match ending.map(str::to_ascii_lowercase).as_deref() {
        Some("pdf") => "application/pdf",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("png") => "image/png",
        _ => return Err(Usage("a document ends in .pdf, .jpg or .png".to_owned()).into()),
    };
    let bytes = fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    let header = EvidenceHeader {
        request_id: id.or_new(),
        case: case.to_owned(),
        kind: kind.into(),
        media_type: media_type.to_owned(),
        size_bytes: i64::try_from(bytes.len())?,
    };
    let chunks = bytes
        .chunks(CHUNK_BYTES)
        .map(|chunk| Part::Chunk(chunk.to_vec().into()));
    let parts: Vec<_> = std::iter::once(Part::Header(header))
        .chain(chunks)
        .map(|part| AddEvidenceRequest { part: Some(part) })
        .collect();
    // A slow line takes its time.
    let added = desk
        .add_evidence(connection.endless(tokio_stream::iter(parts)))
        .await?;
    let evidence = added.into_inner().evidence;
    let evidence = evidence.context("an answer without a document")?;
    let mut rows = view::evidence_rows();
    view::push_evidence(&mut rows, &evidence);
    output.write(&view::evidence_json(&evidence), &[rows])
}

/// Fetches a document into a file that only its owner reads.
pub async fn look(
    (connection, desk): (&Connection, &mut Desk),
    name: &str,
    file: &Path,
    output: Output,
) -> anyhow::Result<()> {
    let request = GetEvidenceRequest {
        name: name.to_owned(),
    };
    let shutdown = Shutdown::new();
    shutdown.on_signals().context("signals")?;
    // Before it is asked for: who can't read it has not looked, and nothing stands in the case's log.
    let mut part = part(file)?;
    let written = tokio::select! {
        written = fetch(desk, connection.endless(request), part.as_file_mut()) => written?,
        () = shutdown.wait() => bail!("ended by a signal, and nothing was written"),
    };
    part.persist_noclobber(file)
        .map_err(|kept| unwritable(file, kept.error))?;
    let mut rows = Rows::new("", &["file", "bytes"]);
    rows.push([file.display().to_string(), written.to_string()]);
    output.write(&json!({"file": file, "bytes": written}), &[rows])
}

/// Beside the file, and gone with the value: nothing of a document stays that wasn't given whole.
fn part(file: &Path) -> anyhow::Result<NamedTempFile> {
    if file.symlink_metadata().is_ok() {
        return Err(unwritable(file, ErrorKind::AlreadyExists.into()));
    }
    let folder = file.parent().filter(|it| !it.as_os_str().is_empty());
    let mut name = OsString::from(".");
    name.push(file.file_name().unwrap_or_default());
    name.push(".");
    let mut builder = tempfile::Builder::new();
    builder.prefix(&name).suffix(".part");
    builder
        .tempfile_in(folder.unwrap_or(Path::new(".")))
        .map_err(|error| unwritable(file, error))
}

fn unwritable(file: &Path, error: io::Error) -> anyhow::Error {
    match error.kind() {
        ErrorKind::AlreadyExists => Usage(format!("{} is there already", file.display())).into(),
        _ => anyhow::Error::new(error).context(format!("writing {}", file.display())),
    }
}

async fn fetch(
    desk: &mut Desk,
    request: Request<GetEvidenceRequest>,
    to: &mut File,
) -> anyhow::Result<usize> {
    let mut parts = desk.get_evidence(request).await?.into_inner();
    let mut written = 0;
    while let Some(part) = parts.message().await? {
        if let Some(Given::Chunk(chunk)) = part.part {
            to.write_all(&chunk)?;
            written += chunk.len();
        }
    }
    to.sync_all()?;
    Ok(written)
}
