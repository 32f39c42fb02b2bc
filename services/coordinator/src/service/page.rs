//! Pages: opaque tokens that are bound to the query they were made for.

use farewell_core::id::ACCOUNT_BYTES_MAX;
use farewell_core::{AccountId, DeletionId};
use sha2::{Digest, Sha256};
use tonic::Status;
use uuid::Uuid;

use crate::error;

/// Rows in a page if the caller doesn't say.
const PAGE_ROWS_DEFAULT: u32 = 50;
/// Rows in a page at most.
const PAGE_ROWS_MAX: i32 = 500;
/// Bytes that bind a token to its query.
const BINDING_BYTES: usize = 8;
/// Longest token, of an account with the longest id.
const TOKEN_BYTES_MAX: usize = 2 * (ACCOUNT_BYTES_MAX + BINDING_BYTES);

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
    bound(&place.to_be_bytes(), query)
}

/// The token of the page after this account.
pub fn token_after(account: &AccountId, query: &str) -> String {
    bound(account.as_str().as_bytes(), query)
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
    let place = unbound(token, query)?.try_into().map_err(|_| mismatch())?;
    Ok(Some(u128::from_be_bytes(place)))
}

/// The account of [`token_after`].
pub fn start_after(token: &str, query: &str) -> Result<Option<AccountId>, Status> {
    if token.is_empty() {
        return Ok(None);
    }
    let account = String::from_utf8(unbound(token, query)?).map_err(|_| mismatch())?;
    account.parse().map(Some).map_err(|_| mismatch())
}

/// A token that was made for another query, or by nobody.
pub fn mismatch() -> Status {
    error::bad_request(
        "PAGE_TOKEN_MISMATCH",
        "page_token",
        "must come from a response to the same query",
    )
}

/// A place as hexadecimal digits, and behind it what binds it to the query.
fn bound(place: &[u8], query: &str) -> String {
    let bytes = place.iter().copied().chain(binding(query));
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

/// The place of [`bound`].
fn unbound(token: &str, query: &str) -> Result<Vec<u8>, Status> {
    let digits = token.as_bytes();
    let sound = digits.len() <= TOKEN_BYTES_MAX && digits.len().is_multiple_of(2);
    if !sound || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(mismatch());
    }
    let byte = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(pair, 16).ok()
    };
    let bytes: Option<Vec<u8>> = digits.chunks(2).map(byte).collect();
    let mut place = bytes.ok_or_else(mismatch)?;
    let end = place
        .len()
        .checked_sub(BINDING_BYTES)
        .ok_or_else(mismatch)?;
    if place.split_off(end) != binding(query) {
        return Err(mismatch());
    }
    Ok(place)
}

fn binding(query: &str) -> [u8; BINDING_BYTES] {
    let mut digest = [0; BINDING_BYTES];
    digest.copy_from_slice(&Sha256::digest(query.as_bytes())[..BINDING_BYTES]);
    digest
}
