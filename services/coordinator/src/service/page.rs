//! Pages: opaque tokens that are bound to the query they were made for.

use farewell_core::DeletionId;
use sha2::{Digest, Sha256};
use tonic::Status;
use uuid::Uuid;

use crate::error;

/// Rows in a page if the caller doesn't say.
const PAGE_ROWS_DEFAULT: u32 = 50;
/// Rows in a page at most.
const PAGE_ROWS_MAX: i32 = 500;

/// How many rows a page has.
pub fn size(page_size: i32) -> Result<u32, Status> {
    match page_size {
        0 => Ok(PAGE_ROWS_DEFAULT),
        1..=PAGE_ROWS_MAX => Ok(page_size.unsigned_abs()),
        _ => Err(error::invalid("page_size", "must be 0 to 500")),
    }
}

/// The token of the page after `last`.
pub fn token(last: DeletionId, query: &str) -> String {
    let mut bytes = last.0.as_bytes().to_vec();
    bytes.extend(binding(query));
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Where the page of this token starts.
pub fn start(token: &str, query: &str) -> Result<Option<DeletionId>, Status> {
    if token.is_empty() {
        return Ok(None);
    }
    let mismatch = || {
        error::bad_request(
            "PAGE_TOKEN_MISMATCH",
            "page_token",
            "must come from a response to the same query",
        )
    };
    let bytes: Option<Vec<u8>> = (token.len() == 48 && token.is_ascii())
        .then(|| {
            (0..24)
                .map(|i| u8::from_str_radix(&token[2 * i..2 * i + 2], 16).ok())
                .collect()
        })
        .flatten();
    let bytes = bytes.ok_or_else(mismatch)?;
    if bytes[16..] != binding(query) {
        return Err(mismatch());
    }
    Uuid::from_slice(&bytes[..16])
        .map(|id| Some(DeletionId(id)))
        .map_err(|_| mismatch())
}

fn binding(query: &str) -> [u8; 8] {
    let mut digest = [0; 8];
    digest.copy_from_slice(&Sha256::digest(query.as_bytes())[..8]);
    digest
}
