//! Lets a deletion go on in spite of what is in its way, on a case of the support desk.
//!
//! The desk's approval is used before the deletion moves: a crash between the two is made good by the same request, for which
//! the same approval stands. Whether it would move at all is asked before, so that no approval is used up in vain.

use std::sync::Arc;

use farewell_core::blocker;
use farewell_core::{Deletion, DeletionId, Event, RequestId};
use farewell_ledger::Remembered;
use farewell_proto::deletion::v1 as api;
use farewell_runtime::peer::Peer;
use tonic::Status;

use super::case::{self, CaseName};
use super::{parse, record, remember};
use crate::center::Center;
use crate::{error, steward};

/// Codes of one case, and so of one request.
const CODES_MAX: usize = 16;

/// What is asked, complete.
pub struct Overriding {
    request: RequestId,
    /// Of the request's content.
    digest: [u8; 16],
    pub deletion: DeletionId,
    codes: Vec<String>,
    case: CaseName,
}

impl Overriding {
    /// Errors: `INVALID_FIELD`.
    pub fn parse(request: &api::OverrideBlockersRequest) -> Result<Self, Status> {
        Ok(Self {
            request: parse::request_id(&request.request_id)?,
            digest: parse::digest("OverrideBlockers", request),
            deletion: parse::deletion("name", &request.name)?,
            codes: codes(&request.codes)?,
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
        // Before anything is done: a crash in between is made good by the same request.
        let known = remember(center, self.request, self.digest, self.deletion).await?;
        if known == Remembered::Repeat && self.is_made(&deletion) {
            return Ok(());
        }
        let (deletion, plan) = steward::read(center, deletion.id).await?;
        let event = Event::Overridden {
            codes: self.codes.clone(),
            case: self.case.to_string(),
            request: self.request,
        };
        steward::decide(&deletion, &plan, &event, center.clock.now()).map_err(error::refused)?;
        let approvals = deletion.approvals_to_override(&self.codes, &plan);
        let approvals = approvals.map_err(error::refused)?;
        let action = case::Action::OverrideBlockers(self.codes.clone(), approvals);
        let used_for = case::Use::Override(self.deletion, self.request);
        case::check(center, &deletion.account, self.case, action, used_for).await?;
        let decision = record::of_case(caller, self.case, self.request).because(&self.codes);
        match steward::turn_decided(center, self.deletion, &event, &decision).await {
            Ok(_) => Ok(()),
            Err(error) => {
                // The same request at the same time, which was faster.
                let (deletion, _) = steward::read(center, self.deletion).await?;
                if self.is_made(&deletion) {
                    Ok(())
                } else {
                    Err(error.into())
                }
            }
        }
    }

    fn is_made(&self, deletion: &Deletion) -> bool {
        let mut overridden = deletion.rare.overridden.iter();
        overridden.any(|overridden| overridden.request == self.request)
    }
}

fn codes(codes: &[String]) -> Result<Vec<String>, Status> {
    if !(1..=CODES_MAX).contains(&codes.len()) {
        return Err(error::invalid("codes", "must be 1 to 16"));
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
