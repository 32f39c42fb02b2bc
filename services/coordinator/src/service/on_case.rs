//! What callers do with a deletion on a case of the support desk: take it back, deny it, extend its deadline, let it go on in spite
//! of what is in its way.
//!
//! The desk's word is used before the deletion moves: a crash between the two is made good by the same request, for which the same
//! word stands. Whether the deletion would move at all is asked before, so that no approval is used up in vain.

use std::collections::HashMap;
use std::sync::Arc;

use farewell_core::policy::{Channel, Factor};
use farewell_core::rare::{Denial, Why};
use farewell_core::{Deletion, DeletionId, Event, Reason, RequestId, State, blocker};
use farewell_ledger::Remembered;
use farewell_proto::deletion::v1 as api;
use farewell_runtime::peer::Peer;
use tonic::Status;

use super::case::{self, Action, CaseName, Use};
use super::{parse, record, remember};
use crate::center::Center;
use crate::{error, steward};

/// Codes of one case, and so of one request.
const CODES_MAX: usize = 16;

/// What is asked, complete.
pub struct OnCase {
    request: RequestId,
    /// Of the request's content.
    digest: [u8; 16],
    pub deletion: DeletionId,
    case: CaseName,
    what: What,
}

#[derive(Clone)]
enum What {
    Revoke,
    Deny,
    Extend(Why),
    /// Of these codes nothing stands in the way any longer.
    Override(Vec<String>),
}

impl OnCase {
    /// A deletion that is taken back for a person who can't. Errors: `INVALID_FIELD`.
    pub fn revoke(request: &api::RevokeDeletionRequest) -> Result<Self, Status> {
        if !request.link_token.is_empty() {
            return Err(error::invalid("case", "must be empty beside a link"));
        }
        Ok(Self {
            request: parse::request_id(&request.request_id)?,
            digest: parse::digest("RevokeDeletion", request),
            deletion: parse::deletion("name", &request.name)?,
            case: CaseName::parse("case", &request.case)?,
            what: What::Revoke,
        })
    }

    /// A deletion whose case the desk rejected. Errors: `INVALID_FIELD`.
    pub fn deny(request: &api::DenyDeletionRequest) -> Result<Self, Status> {
        Ok(Self {
            request: parse::request_id(&request.request_id)?,
            digest: parse::digest("DenyDeletion", request),
            deletion: parse::deletion("name", &request.name)?,
            case: CaseName::parse("case", &request.case)?,
            what: What::Deny,
        })
    }

    /// A deletion that takes longer. Errors: `INVALID_FIELD`.
    pub fn extend(request: &api::ExtendDeadlineRequest) -> Result<Self, Status> {
        Ok(Self {
            request: parse::request_id(&request.request_id)?,
            digest: parse::digest("ExtendDeadline", request),
            deletion: parse::deletion("name", &request.name)?,
            what: What::Extend(parse::why(request.reason())?),
            case: CaseName::parse("case", &request.case)?,
        })
    }

    /// A deletion that goes on in spite of what is in its way. Errors: `INVALID_FIELD`.
    pub fn override_blockers(request: &api::OverrideBlockersRequest) -> Result<Self, Status> {
        Ok(Self {
            request: parse::request_id(&request.request_id)?,
            digest: parse::digest("OverrideBlockers", request),
            deletion: parse::deletion("name", &request.name)?,
            what: What::Override(codes(&request.codes)?),
            case: CaseName::parse("case", &request.case)?,
        })
    }

    /// Makes the turn. `deletion` is as it was read a moment ago.
    pub async fn make(
        self,
        center: &Arc<Center>,
        caller: Option<&Peer>,
        deletion: Deletion,
    ) -> Result<(), Status> {
        let id = self.deletion;
        // Before anything is done: a crash in between is made good by the same request.
        let known = remember(center, self.request, self.digest, id).await?;
        if known == Remembered::Repeat && record::stands(center, id, self.request).await? {
            return Ok(());
        }
        let event = self.event(center, &deletion).await?;
        let decision = record::of_case(caller, self.case, self.request);
        let decision = match &event {
            Event::Deny(why) => decision.because([why.word()]),
            Event::Extended(why) => decision.because([why.word()]),
            Event::Overridden { codes, .. } => decision.because(codes),
            _ => decision,
        };
        match steward::turn_decided(center, id, &event, &decision).await {
            Ok(_) => Ok(()),
            // The same request at the same time, which was faster.
            Err(_) if record::stands(center, id, self.request).await? => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// What is to happen, once the desk has said so.
    async fn event(&self, center: &Arc<Center>, deletion: &Deletion) -> Result<Event, Status> {
        let would = match &self.what {
            What::Revoke => Event::Revoke,
            What::Extend(why) => Event::Extended(*why),
            // Which reason it is, the desk says.
            What::Deny => Event::Deny(Denial::NotGranted),
            What::Override(codes) => Event::Overridden {
                codes: codes.clone(),
                case: self.case.to_string(),
                request: self.request,
            },
        };
        let (now_stored, plan) = steward::read(center, self.deletion).await?;
        let decided = steward::decide(&now_stored, &plan, &would, center.clock.now());
        decided.map_err(error::refused)?;
        let (account, used_for) = (&deletion.account, Use::Deletion(self.deletion));
        let (action, used_for) = match &self.what {
            What::Revoke => (Action::RevokeDeletion, used_for),
            What::Extend(why) => (Action::ExtendDeadline(*why), used_for),
            What::Override(codes) => {
                let approvals = now_stored.approvals_to_override(codes, &plan);
                let approvals = approvals.map_err(error::refused)?;
                let used_for = Use::Override(self.deletion, self.request);
                (Action::OverrideBlockers(codes.clone(), approvals), used_for)
            }
            What::Deny => {
                awaits_documents(&now_stored)?;
                let asked_for = of_deletion(deletion.channel);
                let said = case::rejection(center, account, self.case, asked_for, used_for);
                return Ok(Event::Deny(said.await?));
            }
        };
        case::check(center, account, self.case, action, used_for).await?;
        Ok(would)
    }
}

/// What needs no documents, or has got them, no rejected case speaks against: what the desk has granted, it can't reject.
fn awaits_documents(deletion: &Deletion) -> Result<(), Status> {
    if !deletion.factors_required.has(Factor::Documents) {
        let reason = Reason::FactorNotRequired;
        return Err(error::precondition(
            reason.word(),
            reason.help(),
            HashMap::new(),
        ));
    }
    let waits = matches!(deletion.state, State::AwaitingVerification { .. });
    if !waits || deletion.factors_verified.has(Factor::Documents) {
        return Err(error::refused(Reason::IllegalState.into()));
    }
    Ok(())
}

fn codes(codes: &[String]) -> Result<Vec<String>, Status> {
    if !(1..=CODES_MAX).contains(&codes.len()) {
        return Err(error::invalid("codes", "must hold 1 to 16 codes"));
    }
    for (place, code) in codes.iter().enumerate() {
        let field = format!("codes[{place}]");
        if !blocker::is_code(code) {
            return Err(error::invalid(&field, "must be a code of A-Z and _"));
        }
        if codes[..place].contains(code) {
            return Err(error::invalid(&field, "must be named once"));
        }
    }
    Ok(codes.to_vec())
}

/// What relatives may ask for and what owners may are approved apart.
pub const fn of_deletion(channel: Channel) -> Action {
    match channel {
        Channel::Legacy => Action::DeleteLegacy,
        _ => Action::Delete,
    }
}
