//! Errors for people and for scripts: a sentence, the reason's word and its help, and an exit code by class.

use std::fmt::Write as _;
use std::process::ExitCode;

use farewell_core::Reason;
use farewell_runtime::config::Problems;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// What a script can tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Class {
    Other = 1,
    Usage = 2,
    NotFound = 3,
    Refused = 4,
    Unavailable = 5,
    Invalid = 6,
    NotAllowed = 7,
}

/// An argument that clap can't judge.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// Writes the error to standard error.
pub fn report(error: &anyhow::Error) -> ExitCode {
    // Whoever closed standard error has said that he doesn't want to know.
    let _ = std::io::Write::write_all(&mut std::io::stderr().lock(), words(error).as_bytes());
    ExitCode::from(class(error) as u8)
}

/// The class of an error, by the first cause that has one.
pub fn class(error: &anyhow::Error) -> Class {
    error
        .chain()
        .find_map(|cause| {
            if let Some(status) = cause.downcast_ref::<Status>() {
                Some(class_of(status.code()))
            } else if cause.is::<tonic::transport::Error>() {
                // What somebody has to mend doesn't come right by trying again.
                let mistaken = advice(&error.root_cause().to_string()).is_some();
                Some(if mistaken {
                    Class::Usage
                } else {
                    Class::Unavailable
                })
            } else if cause.is::<Usage>() || cause.is::<Problems>() {
                Some(Class::Usage)
            } else {
                None
            }
        })
        .unwrap_or(Class::Other)
}

fn class_of(code: Code) -> Class {
    match code {
        Code::NotFound => Class::NotFound,
        Code::FailedPrecondition | Code::AlreadyExists | Code::Aborted => Class::Refused,
        Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted | Code::Cancelled => {
            Class::Unavailable
        }
        Code::InvalidArgument | Code::OutOfRange => Class::Invalid,
        Code::PermissionDenied | Code::Unauthenticated => Class::NotAllowed,
        Code::Ok | Code::Unknown | Code::Unimplemented | Code::Internal | Code::DataLoss => {
            Class::Other
        }
    }
}

/// Everything that is known about an error, for standard error.
pub fn words(error: &anyhow::Error) -> String {
    let mut text = "farewell: ".to_owned();
    let mut causes = error.chain().peekable();
    while let Some(cause) = causes.next() {
        if let Some(status) = cause.downcast_ref::<Status>() {
            // Its own causes are the transport's: they repeat what it says.
            text.push_str(&of_status(status));
            return text;
        }
        if cause.is::<tonic::transport::Error>() {
            // Each of its causes says what the next one says, and the last one says it best.
            let root = causes.last().unwrap_or(cause).to_string();
            let _ = writeln!(text, "{root}");
            if let Some(advice) = advice(&root) {
                let _ = writeln!(text, "  {advice}");
            }
            return text;
        }
        let _ = write!(text, "{cause}");
        if causes.peek().is_some() {
            text.push_str(": ");
        }
    }
    text.push('\n');
    text
}

/// A status with everything of `google.rpc` that it carries.
pub fn of_status(status: &Status) -> String {
    let details = status.get_error_details();
    let mut text = String::new();
    match details.error_info() {
        // The message says which field, and how it must be. What else there is would say it again, or is for somebody with an app.
        Some(info) if repeats(status.message(), &details) => {
            let _ = writeln!(text, "{} ({})", status.message(), info.reason);
            return text;
        }
        Some(info) => {
            let _ = writeln!(text, "{} ({})", status.message(), info.reason);
            // For the person, in the language that was asked for; or what core knows.
            if let Some(said) = details.localized_message() {
                let _ = writeln!(text, "  {}", said.message);
            } else if let Some(help) =
                help(&info.reason).filter(|help| !status.message().contains(help))
            {
                let _ = writeln!(text, "  {help}");
            }
            let mut facts: Vec<_> = info.metadata.iter().collect();
            facts.sort();
            for (key, value) in facts {
                let _ = writeln!(text, "  {key}: {value}");
            }
        }
        None => {
            let said = match (status.message(), status.code()) {
                ("", Code::Unimplemented) => {
                    "this port does not offer that: callers, operators, participants and the support desk have ports of their own"
                }
                // What a port with TLS does to whom it doesn't let through, one or the other.
                ("transport error", Code::Unknown)
                | ("operation was canceled", Code::Cancelled)
                | ("h2 protocol error: http2 error", Code::Internal) => {
                    "the connection broke before an answer: a port with TLS does that to --plain, and to a certificate of another authority than its own"
                }
                (said, _) => said,
            };
            let _ = writeln!(text, "{said} ({:?})", status.code());
        }
    }
    for violation in details
        .bad_request()
        .iter()
        .flat_map(|bad| &bad.field_violations)
    {
        let _ = writeln!(
            text,
            "  field {}: {}",
            violation.field, violation.description
        );
    }
    if let Some(delay) = details.retry_info().and_then(|retry| retry.retry_delay) {
        let _ = writeln!(text, "  try again in {} s", delay.as_secs().max(1));
    }
    text
}

/// Whether a message says all that is said of the one field that is wrong.
fn repeats(message: &str, details: &ErrorDetails) -> bool {
    match details
        .bad_request()
        .map(|bad| bad.field_violations.as_slice())
    {
        Some([only]) => message == format!("{} {}", only.field, only.description),
        Some(_) | None => false,
    }
}

/// What somebody can do about a connection that didn't come to be, by what the transport says of it.
fn advice(said: &str) -> Option<&'static str> {
    [
        (
            "InvalidContentType",
            "it speaks no TLS; with --plain it is reached from its own machine",
        ),
        (
            "UnknownIssuer",
            "its certificate is not of the authority in ca.pem: is --tls-dir another set-up's?",
        ),
        (
            "BadSignature",
            "its certificate is not of the authority in ca.pem: is --tls-dir another set-up's?",
        ),
        (
            "NotValidForName",
            "its certificate is for other names than the one that was dialled: see --host of `farewell certs`",
        ),
    ]
    .into_iter()
    .find_map(|(word, advice)| said.contains(word).then_some(advice))
}

/// The line of help that belongs to a word, where core knows it.
fn help(word: &str) -> Option<&'static str> {
    Reason::ALL
        .iter()
        .find(|reason| reason.word() == word)
        .map(|reason| reason.help())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::time::Duration;

    use super::*;
    use anyhow::Context as _;

    fn refusal() -> Status {
        let mut details = ErrorDetails::with_error_info(
            "PAST_NO_RETURN",
            "farewell",
            HashMap::from([("erase_time".to_owned(), "2026-01-02T03:04:05Z".to_owned())]),
        );
        details.add_bad_request_violation("name", "must be deletions/{deletion}");
        details.set_retry_info(Some(Duration::from_millis(20)));
        Status::with_error_details(Code::FailedPrecondition, "too late", details)
    }

    #[test]
    fn a_refusal_shows_its_word_its_help_its_facts_and_its_fields() {
        let error = anyhow::Error::new(refusal());
        assert_eq!(
            words(&error),
            "farewell: too late (PAST_NO_RETURN)\n\
             \x20 erasing has begun and can't be taken back\n\
             \x20 erase_time: 2026-01-02T03:04:05Z\n\
             \x20 field name: must be deletions/{deletion}\n\
             \x20 try again in 1 s\n"
        );
        assert_eq!(class(&error), Class::Refused);
    }

    #[test]
    fn what_is_wrong_with_a_field_is_said_once() {
        let mut details = ErrorDetails::with_error_info(
            "INVALID_FIELD",
            "farewell",
            HashMap::from([("field".to_owned(), "account".to_owned())]),
        );
        details.add_bad_request_violation("account", "must not be empty");
        details.set_localized_message("en", "The app sent something that we could not use.");
        let said = |message| {
            of_status(&Status::with_error_details(
                Code::InvalidArgument,
                message,
                details.clone(),
            ))
        };
        assert_eq!(
            said("account must not be empty"),
            "account must not be empty (INVALID_FIELD)\n"
        );
        assert!(said("the request is wrong").contains("field account: must not be empty"));
    }

    #[test]
    fn a_sentence_for_the_person_stands_in_place_of_the_help() {
        let mut details = refusal().get_error_details();
        details.set_localized_message("zh", "删除已经开始，不能再撤回。");
        let code = Code::FailedPrecondition;
        let said = of_status(&Status::with_error_details(code, "too late", details));
        assert!(
            said.starts_with(
                "too late (PAST_NO_RETURN)\n  删除已经开始，不能再撤回。\n  erase_time"
            ),
            "{said}"
        );
    }

    #[test]
    fn the_class_is_found_below_a_context() {
        let error = Err::<(), _>(refusal()).context("revoking").unwrap_err();
        assert_eq!(class(&error), Class::Refused);
        assert!(words(&error).starts_with("farewell: revoking: too late"));
        assert_eq!(class(&anyhow::anyhow!("anything")), Class::Other);
        let usage = anyhow::Error::new(Usage("no".to_owned()));
        assert_eq!(class(&usage), Class::Usage);
    }

    #[test]
    fn every_code_of_the_help_is_given() {
        for (code, class) in [
            (Code::NotFound, 3),
            (Code::FailedPrecondition, 4),
            (Code::Unavailable, 5),
            (Code::InvalidArgument, 6),
            (Code::Unauthenticated, 7),
            (Code::Internal, 1),
        ] {
            assert_eq!(class_of(code) as u8, class);
        }
    }
}
