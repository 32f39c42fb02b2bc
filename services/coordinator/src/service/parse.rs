//! From requests to values of core, or an error that names the field.

use std::collections::HashSet;

use farewell_core::decision;
use farewell_core::deletion::Consent;
use farewell_core::policy::{Channel, Factor};
use farewell_core::rare::{Denial, Why};
use farewell_core::{AccountId, DeletionId, ParticipantId, RequestId};
use farewell_proto::deletion::v1 as api;
use prost::Message;
use sha2::{Digest, Sha256};
use tonic::Status;

use super::REQUEST_BYTES_MAX;
use crate::event::refused;
use crate::{error, wire};

/// Consents in one request.
const CONSENTS_MAX: usize = 32;
/// Longest name of a consent's text.
const CONSENT_BYTES_MAX: usize = 64;
/// Longest name of a receiver of events.
const RECEIVER_BYTES_MAX: usize = 64;
/// Longest proof.
const PROOF_BYTES_MAX: usize = 256;

/// Refuses a request that is too large to be meant.
pub fn size(request: &impl Message) -> Result<(), Status> {
    if request.encoded_len() > REQUEST_BYTES_MAX {
        return Err(error::bad_request(
            "MESSAGE_TOO_LARGE",
            "request",
            "must be at most 65536 bytes",
        ));
    }
    Ok(())
}

/// `accounts/{account}`.
pub fn account(field: &str, name: &str) -> Result<AccountId, Status> {
    let id = name
        .strip_prefix("accounts/")
        .ok_or_else(|| error::invalid(field, "must be accounts/{account}"))?;
    id.parse()
        .map_err(|bad: farewell_core::id::BadId| error::invalid(field, bad.0))
}

/// `deletions/{deletion}`.
pub fn deletion(field: &str, name: &str) -> Result<DeletionId, Status> {
    let id = name
        .strip_prefix("deletions/")
        .ok_or_else(|| error::invalid(field, "must be deletions/{deletion}"))?;
    id.parse()
        .map_err(|bad: farewell_core::id::BadId| error::invalid(field, bad.0))
}

/// A participant's name.
pub fn participant(field: &str, name: &str) -> Result<ParticipantId, Status> {
    name.parse()
        .map_err(|bad: farewell_core::id::BadId| error::invalid(field, bad.0))
}

/// The name of a receiver of events, as settings have it.
pub fn receiver<'a>(field: &str, name: &'a str) -> Result<&'a str, Status> {
    let of_name = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if (1..=RECEIVER_BYTES_MAX).contains(&name.len()) && name.bytes().all(of_name) {
        Ok(name)
    } else {
        Err(error::invalid(field, "must be 1 to 64 of a-z, 0-9 and -"))
    }
}

/// The name of an event: its deletion, and the code of what happened.
pub fn event(field: &str, name: &str) -> Result<(DeletionId, i16), Status> {
    refused::named(name).ok_or_else(|| error::invalid(field, "must be the jti of an event's token"))
}

/// The caller's request id.
pub fn request_id(text: &str) -> Result<RequestId, Status> {
    text.parse()
        .map_err(|bad: farewell_core::id::BadId| error::invalid("request_id", bad.0))
}

/// A channel that is named.
pub fn channel(channel: api::Channel) -> Result<Channel, Status> {
    wire::channel(channel).ok_or_else(|| error::invalid("channel", "must be a known channel"))
}

/// A factor that is named.
pub fn factor(factor: api::Factor) -> Result<Factor, Status> {
    wire::factor(factor).ok_or_else(|| error::invalid("factor", "must be a known factor"))
}

/// A reason that is named.
pub fn why(reason: api::ExtensionReason) -> Result<Why, Status> {
    wire::why(reason).ok_or_else(|| error::invalid("reason", "must be a known reason"))
}

/// A reason that an operator may deny a request for. What the desk's documents show only the desk can say.
pub fn denial(reason: api::DenialReason) -> Result<Denial, Status> {
    match reason {
        api::DenialReason::NotTheOwner => Ok(Denial::NotTheOwner),
        api::DenialReason::Unfounded => Ok(Denial::Unfounded),
        api::DenialReason::LegalObligation => Ok(Denial::LegalObligation),
        api::DenialReason::Unspecified
        | api::DenialReason::DocumentsUnreadable
        | api::DenialReason::DocumentsNotAccepted
        | api::DenialReason::NotGranted => Err(error::invalid(
            "reason",
            "must be NOT_THE_OWNER, UNFOUNDED or LEGAL_OBLIGATION",
        )),
    }
}

/// The word of a reason that is named: what follows the prefix in its name.
pub fn reason(name: &'static str, prefix: &str) -> Result<&'static str, Status> {
    match name.strip_prefix(prefix) {
        None | Some("UNSPECIFIED") => Err(error::invalid("reason", "must be a known reason")),
        Some(word) => Ok(word),
    }
}

/// What names a file elsewhere, if anything does.
pub fn reference(text: &str) -> Result<&str, Status> {
    if text.is_empty() || decision::is_reference(text) {
        Ok(text)
    } else {
        Err(error::invalid(
            "reference",
            "must be letters A-Z, a dash, and groups of digits, as in LEGAL-2031; at most 64 bytes",
        ))
    }
}

/// The token of a link, of sensible length; `None` if there is none.
pub fn link_token(token: &str) -> Result<Option<&str>, Status> {
    if token.len() > PROOF_BYTES_MAX {
        return Err(error::invalid("link_token", "must be at most 256 bytes"));
    }
    Ok(Some(token).filter(|token| !token.is_empty()))
}

/// The deletion that a link's token is for: `{deletion}.{secret}`.
pub fn confirmation(token: &str) -> Result<DeletionId, Status> {
    let wrong = || error::invalid("token", "must be the token of a link, at most 256 bytes");
    let (id, secret) = token.split_once('.').ok_or_else(wrong)?;
    if token.len() > PROOF_BYTES_MAX || secret.is_empty() {
        return Err(wrong());
    }
    id.parse().map_err(|_| wrong())
}

/// A proof of sensible length.
pub fn proof(proof: &str) -> Result<(), Status> {
    if proof.is_empty() || proof.len() > PROOF_BYTES_MAX {
        return Err(error::invalid("proof", "must be 1 to 256 bytes"));
    }
    Ok(())
}

/// Consents, each complete.
pub fn consents(consents: &[api::Consent]) -> Result<Vec<Consent>, Status> {
    if consents.len() > CONSENTS_MAX {
        return Err(error::invalid("consents", "must be at most 32"));
    }
    let mut known = HashSet::new();
    let each = consents.iter().enumerate().map(|(place, consent)| {
        let agreed = one_consent(place, consent)?;
        if known.insert(consent.text.as_str()) {
            Ok(agreed)
        } else {
            let field = format!("consents[{place}].text");
            Err(error::invalid(
                &field,
                "was agreed to before: once, and to one version",
            ))
        }
    });
    each.collect()
}

fn one_consent(place: usize, consent: &api::Consent) -> Result<Consent, Status> {
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if consent.text.is_empty()
        || consent.text.len() > CONSENT_BYTES_MAX
        || !consent.text.bytes().all(legal)
    {
        return Err(error::invalid(
            &format!("consents[{place}].text"),
            "must be 1 to 64 characters of a-z 0-9 -",
        ));
    }
    if consent.version == 0 {
        return Err(error::invalid(
            &format!("consents[{place}].version"),
            "must be at least 1",
        ));
    }
    let at = consent
        .time
        .and_then(wire::time)
        .filter(|at| at.micros() > 0);
    let at = at.ok_or_else(|| error::invalid(&format!("consents[{place}].time"), "must be set"))?;
    Ok(Consent {
        text: consent.text.clone(),
        version: consent.version,
        at,
    })
}

/// A digest of method and body, by which another body under the same request id is seen.
pub fn digest(method: &str, body: &impl Message) -> [u8; 16] {
    let mut hash = Sha256::new();
    hash.update(method.as_bytes());
    hash.update([0]);
    hash.update(body.encode_to_vec());
    let mut digest = [0; 16];
    digest.copy_from_slice(&hash.finalize()[..16]);
    digest
}
