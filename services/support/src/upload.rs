//! A document on its way in: it is gathered in memory, and becomes something only once it is whole.

use std::collections::HashMap;
use std::time::Duration;

use farewell_proto::support::v1 as api;
use tonic::{Code, Status, Streaming};

use crate::evidence::begins_as;
use crate::parse;
use crate::refusal::{coded, invalid};
use crate::wish::Document;

/// How long an upload may take: 10 MiB over a slow line.
const UPLOAD_MAX: Duration = Duration::from_secs(120);

/// A whole document and what was said of it.
pub(crate) struct Uploaded {
    pub header: api::EvidenceHeader,
    pub kind: Document,
    pub bytes: Vec<u8>,
}

/// Takes a header and its bytes.
///
/// Errors: `INVALID_FIELD`, `EVIDENCE_TOO_LARGE`, `EVIDENCE_INCOMPLETE_UPLOAD`, `DEADLINE_EXCEEDED`.
pub(crate) async fn receive(parts: Streaming<api::AddEvidenceRequest>) -> Result<Uploaded, Status> {
    match tokio::time::timeout(UPLOAD_MAX, gather(parts)).await {
        Ok(uploaded) => uploaded,
        Err(_) => Err(coded(
            Code::DeadlineExceeded,
            "DEADLINE_EXCEEDED",
            "the upload took too long; the same request may be sent again",
            HashMap::new(),
        )),
    }
}

async fn gather(mut parts: Streaming<api::AddEvidenceRequest>) -> Result<Uploaded, Status> {
    use api::add_evidence_request::Part;
    let first = parts.message().await?.and_then(|first| first.part);
    let Some(Part::Header(header)) = first else {
        return Err(invalid("header", "must be the first message"));
    };
    parse::request_id("header.request_id", &header.request_id)?;
    parse::case("header.case", &header.case)?;
    let (kind, size) = parse::header(&header)?;
    let mut bytes = Vec::new();
    while let Some(part) = parts.message().await? {
        let Some(Part::Chunk(chunk)) = part.part else {
            return Err(invalid("chunk", "must be all that follows the header"));
        };
        if bytes.len() + chunk.len() > size {
            return Err(coded(
                Code::InvalidArgument,
                "EVIDENCE_TOO_LARGE",
                "there are more bytes than the header says",
                HashMap::new(),
            ));
        }
        bytes.extend_from_slice(&chunk);
    }
    if bytes.len() < size {
        return Err(coded(
            Code::InvalidArgument,
            "EVIDENCE_INCOMPLETE_UPLOAD",
            "there are fewer bytes than the header says: nothing was kept",
            HashMap::new(),
        ));
    }
    if !begins_as(&header.media_type, &bytes) {
        return Err(invalid(
            "header.media_type",
            "is not what the document's bytes begin as",
        ));
    }
    Ok(Uploaded {
        header,
        kind,
        bytes,
    })
}
