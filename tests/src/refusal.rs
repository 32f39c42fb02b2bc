//! An error as a caller sees it.

use std::collections::HashMap;
use std::fmt::Debug;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// Everything that an error says in machine words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub code: Code,
    pub reason: String,
    pub domain: String,
    pub metadata: HashMap<String, String>,
    /// Field paths of `BadRequest`.
    pub fields: Vec<String>,
    pub retry_after: Option<Duration>,
    pub message: String,
}

impl Refusal {
    /// Reads a status.
    pub fn of(status: &Status) -> Self {
        let details = status.get_error_details();
        let info = details.error_info();
        let violations = details
            .bad_request()
            .map_or(&[][..], |bad| &bad.field_violations);
        Self {
            code: status.code(),
            reason: info.map_or_else(String::new, |info| info.reason.clone()),
            domain: info.map_or_else(String::new, |info| info.domain.clone()),
            metadata: info.map_or_else(HashMap::new, |info| info.metadata.clone()),
            fields: violations
                .iter()
                .map(|violation| violation.field.clone())
                .collect(),
            retry_after: details.retry_info().and_then(|info| info.retry_delay),
            message: status.message().to_owned(),
        }
    }
}

/// The refusal in place of an answer. `what` is the case, for the message.
///
/// Panics: if it was no refusal, or not exactly this one.
#[track_caller]
pub fn refused<T: Debug>(
    what: &str,
    answer: Result<T, Status>,
    code: Code,
    reason: &str,
) -> Refusal {
    match answer {
        Ok(answer) => panic!("{what}: was done instead of refused as {reason}: {answer:?}"),
        Err(status) => {
            let refusal = Refusal::of(&status);
            assert_eq!(
                (refusal.code, refusal.reason.as_str()),
                (code, reason),
                "{what}: {status:?}"
            );
            assert_eq!(refusal.domain, "farewell", "{what}");
            let asks_to_retry = matches!(code, Code::Unavailable | Code::ResourceExhausted);
            assert_eq!(
                refusal.retry_after.is_some(),
                asks_to_retry,
                "{what}: only what passes asks for a retry: {status:?}"
            );
            refusal
        }
    }
}

/// Bad input, with the path of the field.
///
/// Panics: like [`refused`], and if another field is named.
#[track_caller]
pub fn bad_field<T: Debug>(what: &str, answer: Result<T, Status>, reason: &str, field: &str) {
    let refusal = refused(what, answer, Code::InvalidArgument, reason);
    assert_eq!(refusal.fields, [field], "{what}");
}
