//! What only a person decides: a refused leg, contradicting evidence, a legal hold, a later deadline, a denial.

use std::collections::HashMap;
use std::sync::Arc;

use farewell_core::decision::{Decider, Decision};
use farewell_core::rare::{Denial, Why};
use farewell_core::{Deletion, DeletionId, Event, LegIndex, ParticipantId, Plan, RequestId};
use farewell_ledger::Remembered;
use farewell_proto::deletion::v1 as api;
use farewell_runtime::peer;
use prost::Message;
use tonic::{Request, Status};

use super::deletion::load;
use super::{CHANGE_MAX, parse, record, remember, within};
use crate::center::Center;
use crate::{error, steward};
use farewell_interpreter::Language;

/// Which operator decides on which deletion, by which request.
pub struct Head {
    operator: String,
    request: RequestId,
    /// Of the request's content.
    digest: [u8; 16],
    deletion: DeletionId,
    /// What the answer is written in.
    pub language: Language,
}

/// A person's decision on a deletion.
struct Intervention<'a> {
    head: &'a Head,
    what: What,
    /// Who decides, and why.
    decision: Decision,
}

/// What was decided.
#[derive(Clone, Debug)]
pub enum What {
    Retry(ParticipantId),
    Resolve,
    Hold,
    Release,
    Extend(Why),
    Deny(Denial),
}

/// The name in the operator's certificate; empty without TLS, which only loopback allows.
pub fn operator<T>(request: &Request<T>) -> Result<String, Status> {
    Ok(peer::of_request(request)?
        .map(|peer| peer.name)
        .unwrap_or_default())
}

impl Head {
    /// Of a request of this method, by its id and the deletion's name. Errors: `INVALID_FIELD`.
    pub fn of<M: Message>(
        method: &str,
        request: &Request<M>,
        (request_id, name): (&str, &str),
    ) -> Result<Self, Status> {
        parse::size(request.get_ref())?;
        Ok(Self {
            operator: operator(request)?,
            request: parse::request_id(request_id)?,
            digest: parse::digest(method, request.get_ref()),
            deletion: parse::deletion("name", name)?,
            language: Language::of(request.metadata()),
        })
    }

    /// Makes the turn, for a reason of this word, and answers with the deletion as it is then.
    ///
    /// Errors: `INVALID_FIELD`; why the deletion doesn't move.
    pub async fn decide(
        &self,
        center: &Arc<Center>,
        what: What,
        (reason, reference): (&str, &str),
    ) -> Result<api::Deletion, Status> {
        let decision = Decision::by(Decider::Operator, &self.operator)
            .because([reason])
            .referring_to(parse::reference(reference)?)
            .asked_by(self.request);
        let intervention = Intervention {
            head: self,
            what,
            decision,
        };
        let id = self.deletion;
        within(CHANGE_MAX, async {
            let (before, plan) = steward::read(center, id).await?;
            // Before anything is done: a repeat is known, and whether the first was done is in the history, whatever crashed.
            // One that comes late must not decide on what has happened since.
            let known = remember(center, self.request, self.digest, id).await?;
            if known == Remembered::New || !record::stands(center, id, self.request).await? {
                make(center, &intervention, (&before, &plan)).await?;
            }
            load(center, id, self.language).await
        })
        .await
    }
}

async fn make(
    center: &Arc<Center>,
    Intervention {
        head,
        what,
        decision,
    }: &Intervention<'_>,
    (before, plan): (&Deletion, &Plan),
) -> Result<(), Status> {
    let id = head.deletion;
    let event = event(what, before, plan)?;
    match steward::turn_decided(center, id, &event, decision).await {
        Ok(_) => {
            tracing::info!(
                target: "farewell::decided", deletion = %id, ?what, operator = decision.name,
                reasons = ?decision.reasons, reference = decision.reference, "decided"
            );
            Ok(())
        }
        // The same request at the same time, which was faster.
        Err(_) if record::stands(center, id, head.request).await? => Ok(()),
        Err(error) => Err(error.into()),
    }
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
        What::Deny(why) => Event::Deny(*why),
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
