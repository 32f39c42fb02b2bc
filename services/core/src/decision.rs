//! Who decided a step of a deletion, and why: what its history keeps beside the step, so that whoever supervises Farewell reads it
//! years later. Source: GDPR Art. 5(2), PIPL Art. 9 and 69: who decides has to show that it was lawful.
//!
//! Nothing in it is personal. A name is a certificate's, reasons are words of closed lists, and what a reference stands for is with
//! whoever keeps that file: a free text would sooner or later name the person whose account is gone.

use serde::{Deserialize, Serialize};

use crate::blocker::Blocker;
use crate::id::{ParticipantId, RequestId};

/// Reasons of one decision.
pub const REASONS_MAX: usize = 32;
/// Longest reference.
pub const REFERENCE_BYTES_MAX: usize = 64;

/// On whose behalf something was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Decider {
    /// Nobody: it follows from policy, time, and what participants said.
    Farewell,
    /// Whoever may ask for the deletion; the name is the caller's that brought the request.
    Person,
    /// The support desk in a case; the name is the caller's that brought it, and who approved stands in the case.
    Desk,
    /// One of the people who run Farewell.
    Operator,
    /// A product line or service.
    Participant,
}

/// A decision and its reasons.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    pub by: Decider,
    /// As in the certificate; empty for [`Decider::Farewell`], and on a loopback without certificates.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Stable words; `CODE:participant` where somebody named it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// `cases/{case}`, or what [`is_reference`] lets through; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reference: String,
    /// The request that asked: after a crash between the step and its answer, a repeat is known by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestId>,
}

impl Decision {
    /// Without a reason, a reference or a request yet.
    pub fn by(by: Decider, name: impl Into<String>) -> Self {
        Self {
            by,
            name: name.into(),
            reasons: Vec::new(),
            reference: String::new(),
            request: None,
        }
    }

    /// What policy makes of what participants named.
    pub fn of_blockers(blockers: &[Blocker]) -> Self {
        let reason = |it: &Blocker| format!("{}:{}", it.code, it.participant);
        Self::by(Decider::Farewell, "").because(blockers.iter().map(reason))
    }

    /// What a participant decided about its own part.
    pub fn of_participant(participant: &ParticipantId) -> Self {
        Self::by(Decider::Participant, participant.to_string())
    }

    /// For these reasons: as many as are kept.
    #[must_use]
    pub fn because(mut self, reasons: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let reasons = reasons.into_iter().map(Into::into);
        self.reasons = reasons.take(REASONS_MAX).collect();
        self
    }

    /// With what a file elsewhere is found by.
    #[must_use]
    pub fn referring_to(mut self, reference: impl Into<String>) -> Self {
        self.reference = reference.into();
        self
    }

    /// As this request asked.
    #[must_use]
    pub const fn asked_by(mut self, request: RequestId) -> Self {
        self.request = Some(request);
        self
    }
}

/// Whether this can name a file and hardly a person: capital letters, a dash, and digits in groups between `-`, `.` and `/`, as in
/// `LEGAL-2031` or `AZ-12/2031`; at most [`REFERENCE_BYTES_MAX`] bytes.
pub fn is_reference(text: &str) -> bool {
    let digits = |group: &str| !group.is_empty() && group.bytes().all(|b| b.is_ascii_digit());
    text.len() <= REFERENCE_BYTES_MAX
        && text.split_once('-').is_some_and(|(letters, number)| {
            (1..=16).contains(&letters.len())
                && letters.bytes().all(|b| b.is_ascii_uppercase())
                && number.split(['-', '.', '/']).all(digits)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Policy;

    #[test]
    fn a_reference_names_a_file_and_no_person() {
        for file in ["LEGAL-2031", "AZ-12/2031", "INC-0010023", "C-4.1-77"] {
            assert!(is_reference(file), "{file}");
        }
        let long = format!("LEGAL-{}", "1".repeat(REFERENCE_BYTES_MAX));
        for other in [
            "",
            "-",
            "LEGAL",
            "LEGAL-",
            "-2031",
            "legal-2031",
            "LEGAL-2031/",
            "LEGAL--2031",
            "LEGAL-ANNA",
            "LEGAL-2031 ",
            "anna@example.org",
            "Anna Smith",
            "+8613800000000",
            "2031-1",
            &long,
        ] {
            assert!(!is_reference(other), "{other:?}");
        }
    }

    #[test]
    fn as_many_reasons_are_kept_as_have_room() {
        let store = "store".parse().unwrap();
        let blockers = vec![Blocker::named("POINTS_LEFT", &store, &Policy::cn()); REASONS_MAX + 1];
        let decision = Decision::of_blockers(&blockers);
        assert_eq!(decision.reasons, vec!["POINTS_LEFT:store"; REASONS_MAX]);
        assert_eq!(decision.by, Decider::Farewell);
    }

    #[test]
    fn what_was_kept_by_an_older_program_reads_back() {
        let kept: Decision = serde_json::from_str(r#"{"by":"OPERATOR"}"#).unwrap();
        assert_eq!(kept, Decision::by(Decider::Operator, ""));
    }
}
