//! Why an operator decides something, as a person types it.

use farewell_proto::deletion::v1::DenialReason;
use farewell_proto::operator::v1::{HoldReason, ReleaseReason, ResolveReason, RetryReason};

use crate::deletion::request::word;

/// The file that says more.
#[derive(Clone, Debug, clap::Args)]
pub struct Reference {
    /// The file that says more, for instance LEGAL-2031; never a person's name
    #[arg(
        long,
        value_name = "FILE",
        default_value = "",
        hide_default_value = true
    )]
    pub reference: String,
}

/// `cause-cleared` of `RETRY_REASON_CAUSE_CLEARED`.
pub fn retry(text: &str) -> Result<RetryReason, String> {
    let choices = "cause-cleared, refused-in-error, participant-repaired";
    word("RETRY_REASON_", text, RetryReason::from_str_name, choices)
}

/// `kept-confirmed` of `RESOLVE_REASON_KEPT_CONFIRMED`.
pub fn resolve(text: &str) -> Result<ResolveReason, String> {
    let choices = "kept-confirmed, repeated-after-restore, participant-repaired";
    let parse = ResolveReason::from_str_name;
    word("RESOLVE_REASON_", text, parse, choices)
}

/// `court-order` of `HOLD_REASON_COURT_ORDER`.
pub fn hold(text: &str) -> Result<HoldReason, String> {
    let choices = "court-order, authority-order, legal-claim, investigation";
    word("HOLD_REASON_", text, HoldReason::from_str_name, choices)
}

/// `unfounded` of `DENIAL_REASON_UNFOUNDED`.
pub fn denial(text: &str) -> Result<DenialReason, String> {
    let choices = "not-the-owner, unfounded, legal-obligation";
    word("DENIAL_REASON_", text, DenialReason::from_str_name, choices)
}

/// `order-ended` of `RELEASE_REASON_ORDER_ENDED`.
pub fn release(text: &str) -> Result<ReleaseReason, String> {
    let choices = "order-ended, claim-ended, investigation-ended, placed-in-error";
    let parse = ReleaseReason::from_str_name;
    word("RELEASE_REASON_", text, parse, choices)
}
