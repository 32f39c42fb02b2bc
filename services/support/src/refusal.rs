//! Why the desk did not do what it was asked: one place for every code, word and sentence.

use std::collections::HashMap;

use farewell_kit::home::{Elsewhere, NotHere, TO_ACCOUNT_ELSEWHERE};
use farewell_kit::{Fault, seal};
use farewell_proto::ERROR_DOMAIN;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::state::Refused;
use farewell_kit::vault;

/// When to come again after trouble that passes.
const RETRY_AFTER: std::time::Duration = std::time::Duration::from_secs(1);

/// Why not. `Display` is for callers and holds nothing personal.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("there is no such case")]
    CaseNotFound,
    #[error("there is no such document")]
    EvidenceNotFound,
    #[error("the document's period is over: its bytes are gone and their key is destroyed")]
    EvidenceDeleted,
    #[error(transparent)]
    NotHere(#[from] NotHere),
    #[error("{}", .0.nothing_moves())]
    ToAccountElsewhere(Elsewhere),
    #[error("the account is erased")]
    AccountErased,
    #[error("the account has as many open cases as it may have: decide on those first")]
    TooManyCases,
    #[error("the case has as many documents as it may have")]
    TooMuchEvidence,
    #[error("this request_id was used for another request, or by somebody else")]
    RequestIdReused,
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("the desk's database is away; the same request may be sent again")]
    Fault(#[from] Fault),
}

impl From<sqlx::Error> for Refusal {
    fn from(error: sqlx::Error) -> Self {
        Self::Fault(error.into())
    }
}

impl From<vault::Error> for Refusal {
    fn from(error: vault::Error) -> Self {
        Self::Fault(Fault::new("a case's key", error))
    }
}

impl From<seal::Error> for Refusal {
    fn from(error: seal::Error) -> Self {
        match error {
            seal::Error::Sealed | seal::Error::Frozen | seal::Error::Erased => Self::AccountErased,
            seal::Error::Database(error) => error.into(),
        }
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        use Code::{AlreadyExists, FailedPrecondition, NotFound, PermissionDenied};
        let mut metadata = HashMap::new();
        let (code, reason) = match &refusal {
            Refusal::CaseNotFound => (NotFound, "CASE_NOT_FOUND"),
            Refusal::EvidenceNotFound => (NotFound, "EVIDENCE_NOT_FOUND"),
            Refusal::EvidenceDeleted => (FailedPrecondition, "EVIDENCE_DELETED"),
            Refusal::NotHere(not_here) => return not_here.into(),
            Refusal::ToAccountElsewhere(home) => {
                metadata = home.metadata();
                (FailedPrecondition, TO_ACCOUNT_ELSEWHERE)
            }
            Refusal::AccountErased => (FailedPrecondition, "ACCOUNT_ERASED"),
            Refusal::TooManyCases => (FailedPrecondition, "TOO_MANY_CASES"),
            Refusal::TooMuchEvidence => (FailedPrecondition, "TOO_MUCH_EVIDENCE"),
            Refusal::RequestIdReused => (AlreadyExists, "REQUEST_ID_REUSED"),
            Refusal::Refused(Refused::Closed) => (FailedPrecondition, "CASE_CLOSED"),
            Refusal::Refused(Refused::OwnCase) => (PermissionDenied, "OWN_CASE"),
            Refusal::Refused(Refused::SamePerson) => (PermissionDenied, "SAME_PERSON"),
            Refusal::Refused(Refused::EvidenceMissing(missing)) => {
                let missing: Vec<_> = missing.iter().map(|kind| kind.word()).collect();
                metadata.insert("missing".to_owned(), missing.join(","));
                (FailedPrecondition, "EVIDENCE_MISSING")
            }
            Refusal::Fault(fault) => {
                tracing::warn!(
                    error = fault as &dyn std::error::Error,
                    "a request to the desk failed"
                );
                let sentence = refusal.to_string();
                return passing(Code::Unavailable, "DESK_UNAVAILABLE", &sentence, metadata);
            }
        };
        coded(code, reason, &refusal.to_string(), metadata)
    }
}

/// An error with its word.
pub(crate) fn coded(
    code: Code,
    reason: &str,
    message: &str,
    metadata: HashMap<String, String>,
) -> Status {
    let details = ErrorDetails::with_error_info(reason, ERROR_DOMAIN, metadata);
    Status::with_error_details(code, message, details)
}

/// Trouble that passes.
pub(crate) fn passing(
    code: Code,
    reason: &str,
    message: &str,
    metadata: HashMap<String, String>,
) -> Status {
    let mut details = ErrorDetails::with_error_info(reason, ERROR_DOMAIN, metadata);
    details.set_retry_info(Some(RETRY_AFTER));
    Status::with_error_details(code, message, details)
}

/// Bad input, with the field's path.
pub(crate) fn invalid(field: &str, problem: &str) -> Status {
    let mut details = ErrorDetails::with_bad_request_violation(field, problem);
    details.set_error_info(
        "INVALID_FIELD",
        ERROR_DOMAIN,
        HashMap::from([("field".to_owned(), field.to_owned())]),
    );
    Status::with_error_details(Code::InvalidArgument, format!("{field} {problem}"), details)
}
