//! What only a person decides: a refused leg, contradicting evidence, a legal hold.

use std::collections::HashMap;
use std::sync::Arc;

use farewell_core::rare::Why;
use farewell_core::{Deletion, DeletionId, Event, LegIndex, ParticipantId, Plan, RequestId};
use farewell_ledger::Remembered;
use farewell_proto::deletion::v1 as api;
use farewell_runtime::peer;
use tonic::{Request, Status};

use super::deletion::load;
use super::{CHANGE_MAX, remember, seen, within};
use crate::center::Center;
use crate::language::Language;
use crate::{error, steward};

/// A person's decision on a deletion.
pub struct Decision {
    pub request: RequestId,
    /// Of the request's content.
    pub digest: [u8; 16],
    pub deletion: DeletionId,
    pub what: What,
    /// The name in the operator's certificate; none without TLS, which only loopback allows.
    pub operator: Option<String>,
    /// What the answer is written in.
    pub language: Language,
}

/// What was decided.
#[derive(Clone, Debug)]
pub enum What {
    Retry(ParticipantId),
    Resolve,
    Hold,
    Release,
    Extend(Why),
}

/// Who asks.
pub fn operator<T>(request: &Request<T>) -> Result<Option<String>, Status> {
    Ok(peer::of_request(request)?.map(|peer| peer.name))
}

/// Makes the turn, and answers with the deletion as it is then.
pub async fn decide(center: &Arc<Center>, decision: Decision) -> Result<api::Deletion, Status> {
    let id = decision.deletion;
    within(CHANGE_MAX, async {
        let (before, plan) = steward::read(center, id).await?;
        let known = seen(center, decision.request, decision.digest, id).await?;
        // One that comes late must not decide on what has happened since.
        if known == Remembered::New {
            let event = event(&decision.what, &before, &plan)?;
            steward::turn(center, id, &event, false).await?;
            let operator = decision.operator.as_deref().unwrap_or("unknown");
            tracing::info!(target: "farewell::decided", deletion = %id, what = ?decision.what, operator, "decided");
            // Only now: a repeat of what was not done must do it. Who repeats what was done and not remembered is refused
            // by what it meets, which changes nothing either.
            remember(center, decision.request, decision.digest, id).await?;
        }
        load(center, id, decision.language).await
    })
    .await
}

fn event(what: &What, deletion: &Deletion, plan: &Plan) -> Result<Event, Status> {
    Ok(match what {
        What::Retry(participant) => {
            let refused = deletion.refusals(plan);
            Event::Retry(of_participant(refused.iter(), participant, plan)?)
        }
        What::Resolve => Event::Resolved,
        What::Hold => Event::Hold,
        What::Release => Event::Release,
        What::Extend(why) => Event::Extended(*why),
    })
}

fn of_participant(
    mut refused: impl Iterator<Item = LegIndex>,
    participant: &ParticipantId,
    plan: &Plan,
) -> Result<LegIndex, Status> {
    let theirs = |leg: &LegIndex| {
        plan.leg(*leg)
            .is_some_and(|leg| leg.participant == *participant)
    };
    refused.find(theirs).ok_or_else(|| {
        error::precondition(
            "LEG_NOT_REFUSED",
            "the participant refuses no leg of this deletion",
            HashMap::new(),
        )
    })
}
