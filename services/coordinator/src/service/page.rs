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
    token_at(last.0.as_u128(), query)
}

/// The token of the page after this place in an order of the query's own.
pub fn token_at(place: u128, query: &str) -> String {
    let mut bytes = place.to_be_bytes().to_vec();
    bytes.extend(binding(query));
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Where the page of this token starts.
pub fn start(token: &str, query: &str) -> Result<Option<DeletionId>, Status> {
    let place = start_at(token, query)?;
    Ok(place.map(|place| DeletionId(Uuid::from_u128(place))))
}

/// The place of [`token_at`].
pub fn start_at(token: &str, query: &str) -> Result<Option<u128>, Status> {
    if token.is_empty() {
        return Ok(None);
    }
    let (place, bound) = (token.len() == 48 && token.is_ascii())
        .then(|| token.split_at(32))
        .ok_or_else(mismatch)?;
    let of_query = binding(query).into_iter().map(|byte| format!("{byte:02x}"));
    if bound != of_query.collect::<String>() {
        return Err(mismatch());
    }
    let place = u128::from_str_radix(place, 16).map_err(|_| mismatch())?;
    Ok(Some(place))
}

/// A token that was made for another query, or by nobody.
pub fn mismatch() -> Status {
    error::bad_request(
        "PAGE_TOKEN_MISMATCH",
        "page_token",
        "must come from a response to the same query",
    )
}

fn binding(query: &str) -> [u8; 8] {
    let mut digest = [0; 8];
    digest.copy_from_slice(&Sha256::digest(query.as_bytes())[..8]);
    digest
}
