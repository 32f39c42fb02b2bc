//! Documents, to the desk and back.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Context as _;
use farewell_proto::support::v1::add_evidence_request::Part;
use farewell_proto::support::v1::get_evidence_response::Part as Given;
use farewell_proto::support::v1::{
    AddEvidenceRequest, EvidenceHeader, EvidenceKind, GetEvidenceRequest,
};
use serde_json::json;

use super::view;
use crate::client::Desk;
use crate::deletion::request::Id;
use crate::failure::Usage;
use crate::output::{Output, Rows};

/// Bytes of one message.
const CHUNK_BYTES: usize = 256 * 1024;

/// Sends a document. What it is follows from the file's name, and the desk looks at its first bytes.
pub async fn add(
    desk: &mut Desk,
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
    let added = desk.add_evidence(tokio_stream::iter(parts)).await?;
    let evidence = added.into_inner().evidence;
    let evidence = evidence.context("an answer without a document")?;
    let mut rows = view::evidence_rows();
    view::push_evidence(&mut rows, &evidence);
    output.write(&view::evidence_json(&evidence), &[rows])
}

/// Fetches a document into a file that only its owner reads.
pub async fn look(desk: &mut Desk, name: &str, file: &Path, output: Output) -> anyhow::Result<()> {
    let request = GetEvidenceRequest {
        name: name.to_owned(),
    };
    let mut parts = desk.get_evidence(request).await?.into_inner();
    let mut to = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .with_context(|| format!("writing {}", file.display()))?;
    let mut written = 0;
    while let Some(part) = parts.message().await? {
        if let Some(Given::Chunk(chunk)) = part.part {
            to.write_all(&chunk)?;
            written += chunk.len();
        }
    }
    let mut rows = Rows::new("", &["file", "bytes"]);
    rows.push([file.display().to_string(), written.to_string()]);
    output.write(&json!({"file": file, "bytes": written}), &[rows])
}
