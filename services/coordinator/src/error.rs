//! Errors on the wire: canonical code, stable reason, field, and when to come again.

use std::collections::HashMap;
use std::time::Duration;

use farewell_core::{Reason, Refusal};
use farewell_proto::ERROR_DOMAIN;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::lane::Failed;
use crate::steward::NotTurned;

/// When to come again after trouble that passes.
const RETRY_AFTER: Duration = Duration::from_secs(1);

fn status(
    code: Code,
    reason: &str,
    message: &str,
    metadata: HashMap<String, String>,
    retry: Option<Duration>,
) -> Status {
    let mut details = ErrorDetails::new();
    details.set_error_info(reason, ERROR_DOMAIN, metadata);
    if let Some(retry) = retry {
        details.set_retry_info(Some(retry));
    }
    Status::with_error_details(code, message, details)
}

/// Bad input: `INVALID_FIELD`, with the field's path.
pub fn invalid(field: &str, description: &str) -> Status {
    bad_request("INVALID_FIELD", field, description)
}

/// Bad input with its own reason.
pub fn bad_request(reason: &str, field: &str, description: &str) -> Status {
    let mut details = ErrorDetails::new();
    details.set_error_info(
        reason,
        ERROR_DOMAIN,
        HashMap::from([("field".to_owned(), field.to_owned())]),
    );
    details.add_bad_request_violation(field, description);
    Status::with_error_details(
        Code::InvalidArgument,
        format!("{field} {description}"),
        details,
    )
}

/// A refusal with its own code.
pub fn coded(code: Code, reason: &str, message: &str, metadata: HashMap<String, String>) -> Status {
    status(code, reason, message, metadata, None)
}

/// Who asks may not.
pub fn denied(reason: &str, message: &str) -> Status {
    status(
        Code::PermissionDenied,
        reason,
        message,
        HashMap::new(),
        None,
    )
}

/// A limit is reached.
pub fn exhausted(reason: &str, message: &str) -> Status {
    status(
        Code::ResourceExhausted,
        reason,
        message,
        HashMap::new(),
        Some(RETRY_AFTER),
    )
}

/// A limit that ends at a known moment.
pub fn wait(reason: &str, message: &str, after: Duration) -> Status {
    status(
        Code::ResourceExhausted,
        reason,
        message,
        HashMap::new(),
        Some(after),
    )
}

/// Trouble that passes: the same request may be sent again.
pub fn unavailable(reason: &str, message: &str) -> Status {
    unavailable_with(reason, message, HashMap::new())
}

/// The same, with what a machine may want to know.
pub fn unavailable_with(reason: &str, message: &str, metadata: HashMap<String, String>) -> Status {
    status(
        Code::Unavailable,
        reason,
        message,
        metadata,
        Some(RETRY_AFTER),
    )
}

/// Too slow.
pub fn deadline(message: &str) -> Status {
    status(
        Code::DeadlineExceeded,
        "DEADLINE_EXCEEDED",
        message,
        HashMap::new(),
        None,
    )
}

/// The deletion's state does not allow it.
pub fn precondition(reason: &str, message: &str, metadata: HashMap<String, String>) -> Status {
    status(Code::FailedPrecondition, reason, message, metadata, None)
}

/// The canonical code of every reason.
const fn code(reason: Reason) -> Code {
    match reason {
        Reason::AccountHasLiveDeletion | Reason::RequestIdReused => Code::AlreadyExists,
        Reason::DeletionNotFound => Code::NotFound,
        Reason::FactorNotRequired
        | Reason::NotYourLeg
        | Reason::UnknownCommand
        | Reason::AccountMismatch
        | Reason::OutcomeMissing
        | Reason::OutcomeNotAllowed
        | Reason::OutcomeEmpty
        | Reason::RetentionIncomplete
        | Reason::DeviceMissing
        | Reason::DeviceUnknown
        | Reason::DeviceFactsMissing
        | Reason::DeviceOutcomeMissing
        | Reason::TimeMissing
        | Reason::DeferralOutOfRange
        | Reason::ReasonMissing => Code::InvalidArgument,
        _ => Code::FailedPrecondition,
    }
}

/// A refusal of core's.
pub fn refused(refusal: Refusal) -> Status {
    let since = refusal
        .since
        .map(|since| ("since".to_owned(), since.to_string()));
    let mut metadata: HashMap<_, _> = since.into_iter().collect();
    if refusal.reason == Reason::PastNoReturn
        && let Some(since) = refusal.since
    {
        metadata.insert("erase_time".to_owned(), since.to_string());
    }
    status(
        code(refusal.reason),
        refusal.reason.word(),
        &refusal.to_string(),
        metadata,
        None,
    )
}

/// The account has a live deletion: this one.
pub fn live(live: farewell_core::DeletionId) -> Status {
    let reason = Reason::AccountHasLiveDeletion;
    let metadata = HashMap::from([("deletion".to_owned(), format!("deletions/{live}"))]);
    status(code(reason), reason.word(), reason.help(), metadata, None)
}

impl From<NotTurned> for Status {
    fn from(error: NotTurned) -> Self {
        match error {
            NotTurned::Refused(refusal) => refused(refusal),
            NotTurned::NotFound => refused(Reason::DeletionNotFound.into()),
            NotTurned::Unavailable => {
                unavailable("LEDGER_UNAVAILABLE", "the ledger is not available")
            }
        }
    }
}

impl From<Failed> for Status {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Unavailable => unavailable("LEDGER_UNAVAILABLE", "the ledger is not available"),
            Failed::Refused => status(
                Code::Internal,
                "LEDGER_REFUSED",
                "the ledger refused the write",
                HashMap::new(),
                None,
            ),
        }
    }
}

/// The ledger did not answer a read.
pub fn ledger(error: &farewell_ledger::Error) -> Status {
    tracing::warn!(error = %error, "a read failed");
    unavailable("LEDGER_UNAVAILABLE", "the ledger is not available")
}
