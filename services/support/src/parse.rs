//! What comes from the wire: what is empty, zero or unknown becomes nothing.

use farewell_kit::devices::names;
use farewell_proto::support::v1 as api;
use tonic::Status;
use uuid::Uuid;

use crate::case::Filter;
use crate::evidence::{self, EVIDENCE_BYTES_MAX};
use crate::refusal::invalid;
use crate::state::Rejection;
use crate::wish::{Document, Wish};

/// Codes of one case.
const CODES_MAX: usize = 16;
/// Longest code of a blocker.
const CODE_BYTES_MAX: usize = 48;
/// Reasons of an extension.
const EXTENSION_REASONS: [&str; 2] = ["COMPLEXITY", "NUMBER_OF_REQUESTS"];
/// Page size if none is asked for.
const PAGE_DEFAULT: u32 = 50;
/// Largest page.
const PAGE_MAX: u32 = 500;

/// A caller's UUID.
pub(crate) fn request_id(field: &str, text: &str) -> Result<Uuid, Status> {
    let id = Uuid::parse_str(text).ok().filter(|id| !id.is_nil());
    id.ok_or_else(|| invalid(field, "must be a UUID made by the caller"))
}

/// The id in `accounts/{account}`.
pub(crate) fn account<'a>(field: &str, name: &'a str) -> Result<&'a str, Status> {
    names::account_of(name).ok_or_else(|| {
        invalid(
            field,
            "must be accounts/{account}, of 1 to 128 characters of A-Z a-z 0-9 . _ -",
        )
    })
}

/// The id in `cases/{case}`.
pub(crate) fn case(field: &str, name: &str) -> Result<String, Status> {
    let id = name.strip_prefix("cases/");
    let id = id.and_then(|id| Uuid::try_parse(id).ok());
    id.map(|id| id.to_string())
        .ok_or_else(|| invalid(field, "must be cases/{case}"))
}

/// The ids in `cases/{case}/evidence/{evidence}`.
pub(crate) fn evidence(field: &str, name: &str) -> Result<(String, String), Status> {
    let wrong = || invalid(field, "must be cases/{case}/evidence/{evidence}");
    let (of, id) = name.split_once("/evidence/").ok_or_else(wrong)?;
    let id = Uuid::try_parse(id).map_err(|_| wrong())?;
    Ok((case(field, of).map_err(|_| wrong())?, id.to_string()))
}

/// What is asked for, and the account that things move to. What a kind doesn't speak of must be empty: it would be approved unseen.
pub(crate) fn wish(request: &api::OpenCaseRequest) -> Result<(Wish, String), Status> {
    use api::CaseKind as Kind;
    let kind = Kind::try_from(request.kind).unwrap_or(Kind::Unspecified);
    let empty = |field, of: bool, given: bool| match (of, given) {
        (false, true) => Err(invalid(field, "is another kind's")),
        _ => Ok(()),
    };
    let moved = !request.belongings.is_empty();
    let coded = matches!(kind, Kind::Override | Kind::Extension);
    empty("codes", coded, !request.codes.is_empty())?;
    empty(
        "to_account",
        kind == Kind::Transfer,
        !request.to_account.is_empty(),
    )?;
    empty("belongings", kind == Kind::Transfer, moved)?;
    empty("device", kind == Kind::Unbind, !request.device.is_empty())?;
    empty(
        "legacy_outcome",
        kind == Kind::Legacy,
        request.legacy_outcome != 0,
    )?;
    let wish = match kind {
        Kind::Unspecified => return Err(invalid("kind", "must be a known kind")),
        Kind::DeletionOnDocuments => Wish::DeletionOnDocuments,
        Kind::LostAccess => Wish::LostAccess,
        Kind::RealName => Wish::RealName,
        Kind::Unmemorialize => Wish::Unmemorialize,
        Kind::Export => Wish::Export,
        Kind::Revoke => Wish::Revoke,
        Kind::Extension => Wish::Extension {
            reason: extension(&request.codes)?,
        },
        Kind::Unbind => Wish::Unbind {
            device: device(&request.device)?,
        },
        Kind::Legacy => Wish::Legacy {
            delete: match api::LegacyOutcome::try_from(request.legacy_outcome) {
                Ok(api::LegacyOutcome::Unspecified | api::LegacyOutcome::Memorialize) => false,
                Ok(api::LegacyOutcome::Delete) => true,
                Err(_) => return Err(invalid("legacy_outcome", "must be a known outcome")),
            },
        },
        Kind::Override => Wish::Override {
            codes: codes(&request.codes)?,
        },
        Kind::Transfer => {
            let to = account("to_account", &request.to_account)?;
            if request.to_account == request.account {
                return Err(invalid("to_account", "must be another account"));
            }
            let belongings = belongings(&request.belongings)?;
            return Ok((Wish::Transfer { belongings }, to.to_owned()));
        }
    };
    Ok((wish, String::new()))
}

fn device(name: &str) -> Result<String, Status> {
    names::device_of_line(name)
        .map(|_| name.to_owned())
        .ok_or_else(|| invalid("device", "must be lines/{line}/devices/{device}"))
}

/// Why a deadline is extended: the coordinator knows the same words.
fn extension(codes: &[String]) -> Result<String, Status> {
    match codes {
        [reason] if EXTENSION_REASONS.contains(&reason.as_str()) => Ok(reason.clone()),
        _ => Err(invalid(
            "codes",
            "must be one reason: COMPLEXITY or NUMBER_OF_REQUESTS",
        )),
    }
}

fn codes(codes: &[String]) -> Result<Vec<String>, Status> {
    if !(1..=CODES_MAX).contains(&codes.len()) {
        return Err(invalid("codes", "must hold 1 to 16 codes"));
    }
    let word = |byte: u8| byte.is_ascii_uppercase() || byte == b'_';
    for (place, code) in codes.iter().enumerate() {
        if !(1..=CODE_BYTES_MAX).contains(&code.len()) || !code.bytes().all(word) {
            let field = format!("codes[{place}]");
            return Err(invalid(&field, "must be a code of A-Z and _"));
        }
    }
    Ok(codes.to_vec())
}

fn belongings(numbers: &[i32]) -> Result<Vec<String>, Status> {
    let mut words = Vec::new();
    for (place, number) in numbers.iter().enumerate() {
        let field = format!("belongings[{place}]");
        let word = match api::Belonging::try_from(*number) {
            Ok(api::Belonging::Points) => "POINTS",
            Ok(api::Belonging::Coupons) => "COUPONS",
            Ok(api::Belonging::Orders) => "ORDERS",
            Ok(api::Belonging::StoreCredit) => "STORE_CREDIT",
            Ok(api::Belonging::Memberships) => "MEMBERSHIPS",
            Ok(api::Belonging::Unspecified) | Err(_) => {
                return Err(invalid(&field, "must be known"));
            }
        };
        if words.iter().any(|known| known == word) {
            return Err(invalid(&field, "must be named once"));
        }
        words.push(word.to_owned());
    }
    if words.is_empty() {
        return Err(invalid("belongings", "must name something"));
    }
    Ok(words)
}

/// What is being uploaded: its kind and its size.
pub(crate) fn header(header: &api::EvidenceHeader) -> Result<(Document, usize), Status> {
    let kind = match api::EvidenceKind::try_from(header.kind) {
        Ok(api::EvidenceKind::IdentityDocument) => Document::Identity,
        Ok(api::EvidenceKind::PurchaseProof) => Document::PurchaseProof,
        Ok(api::EvidenceKind::DeathCertificate) => Document::DeathCertificate,
        Ok(api::EvidenceKind::RelationshipProof) => Document::RelationshipProof,
        Ok(api::EvidenceKind::Other) => Document::Other,
        Ok(api::EvidenceKind::Unspecified) | Err(_) => {
            return Err(invalid("header.kind", "must be a known kind"));
        }
    };
    if !evidence::is_known(&header.media_type) {
        return Err(invalid(
            "header.media_type",
            "must be application/pdf, image/jpeg or image/png",
        ));
    }
    let size = usize::try_from(header.size_bytes).unwrap_or(0);
    if !(1..=EVIDENCE_BYTES_MAX).contains(&size) {
        return Err(invalid("header.size_bytes", "must be 1 to 10485760"));
    }
    Ok((kind, size))
}

/// Why a case is rejected.
pub(crate) fn rejection(number: i32) -> Result<Rejection, Status> {
    match api::RejectionReason::try_from(number) {
        Ok(api::RejectionReason::Unreadable) => Ok(Rejection::Unreadable),
        Ok(api::RejectionReason::Forged) => Ok(Rejection::Forged),
        Ok(api::RejectionReason::NotTheOwner) => Ok(Rejection::NotTheOwner),
        Ok(api::RejectionReason::NotGranted) => Ok(Rejection::NotGranted),
        Ok(api::RejectionReason::Unspecified) | Err(_) => {
            Err(invalid("reason", "must be a known reason"))
        }
    }
}

/// Which cases, from where on, and how many.
pub(crate) fn page(request: &api::ListCasesRequest) -> Result<(Filter, String, u32), Status> {
    let mut filter = Filter::default();
    if !request.account.is_empty() {
        account("account", &request.account)?.clone_into(&mut filter.account);
    }
    for (place, number) in request.states.iter().enumerate() {
        use api::CaseState as State;
        filter.states.push(match State::try_from(*number) {
            Ok(State::Opened) => "OPENED",
            Ok(State::ApprovedOnce) => "APPROVED_ONCE",
            Ok(State::Approved) => "APPROVED",
            Ok(State::Rejected) => "REJECTED",
            Ok(State::Withdrawn) => "WITHDRAWN",
            Ok(State::Expired) => "EXPIRED",
            Ok(State::Unspecified) | Err(_) => {
                let field = format!("states[{place}]");
                return Err(invalid(&field, "must be a known state"));
            }
        });
    }
    let rows = match u32::try_from(request.page_size) {
        Ok(0) => PAGE_DEFAULT,
        Ok(rows @ 1..=PAGE_MAX) => rows,
        Ok(_) | Err(_) => return Err(invalid("page_size", "must be 0 to 500")),
    };
    let before = match request.page_token.as_str() {
        "" => String::new(),
        token => Uuid::try_parse(token)
            .map(|id| id.to_string())
            .map_err(|_| invalid("page_token", "is not from an earlier response"))?,
    };
    Ok((filter, before, rows))
}
