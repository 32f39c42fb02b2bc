//! Who asks, as a deletion's history keeps it, and what that history says.

use farewell_core::decision::{Decider, Decision};
use farewell_core::policy::Factor;
use farewell_core::{DeletionId, RequestId};
use farewell_ledger::Entry;
use farewell_proto::operator::v1 as api;
use farewell_runtime::peer::{Peer, Role};
use tonic::Status;

use super::{READ_MAX, page, parse, within};
use crate::center::Center;
use crate::wire::{factor_to_wire, timestamp};
use crate::{error, steward};

/// Steps that are read at a time.
const PAGE_STEPS: u32 = 500;

/// Of who asks on the callers' port: the person, through this caller, or an operator who helps.
pub fn asked(caller: Option<&Peer>, request: RequestId) -> Decision {
    let by = match caller.map(|peer| peer.role) {
        Some(Role::Operator) => Decider::Operator,
        _ => Decider::Person,
    };
    Decision::by(by, name(caller)).asked_by(request)
}

/// Of the desk, in this case, as this caller says.
pub fn of_case(caller: Option<&Peer>, case: impl ToString, request: RequestId) -> Decision {
    Decision::by(Decider::Desk, name(caller))
        .referring_to(case.to_string())
        .asked_by(request)
}

fn name(caller: Option<&Peer>) -> &str {
    caller.map_or("", |peer| peer.name.as_str())
}

/// The reason of a factor's step: what was shown.
pub fn shown(factor: Factor) -> &'static str {
    let name = factor_to_wire(factor).as_str_name();
    name.strip_prefix("FACTOR_").unwrap_or(name)
}

/// Whether a step that this request asked for is in the history: its effect and its being on record are one write.
pub async fn stands(center: &Center, id: DeletionId, request: RequestId) -> Result<bool, Status> {
    let mut after = 0;
    loop {
        let steps = read(center, id, after, PAGE_STEPS).await?;
        let asked = |entry: &Entry| entry.decision.as_ref()?.request;
        if steps.iter().any(|entry| asked(entry) == Some(request)) {
            return Ok(true);
        }
        match steps.last() {
            Some(last) => after = last.revision,
            None => return Ok(false),
        }
    }
}

/// One page of the history.
///
/// Errors: `INVALID_FIELD`, `PAGE_TOKEN_MISMATCH`, `DELETION_NOT_FOUND`.
pub async fn history(
    center: &Center,
    request: &api::GetHistoryRequest,
) -> Result<api::GetHistoryResponse, Status> {
    let id = parse::deletion("name", &request.name)?;
    let rows = page::size(request.page_size)?;
    let query = format!("history {id}");
    let after = page::start_at(&request.page_token, &query)?;
    let after = i32::try_from(after.unwrap_or(0)).map_err(|_| page::mismatch())?;
    within(READ_MAX, async {
        steward::read(center, id).await?;
        let mut steps = read(center, id, after, rows + 1).await?;
        let more = steps.len() > rows as usize;
        steps.truncate(rows as usize);
        let next = steps.last().filter(|_| more).map(|last| {
            let place = u128::from(last.revision.unsigned_abs());
            page::token_at(place, &query)
        });
        Ok(api::GetHistoryResponse {
            steps: steps.into_iter().map(step).collect(),
            next_page_token: next.unwrap_or_default(),
        })
    })
    .await
}

async fn read(
    center: &Center,
    id: DeletionId,
    after: i32,
    limit: u32,
) -> Result<Vec<Entry>, Status> {
    let steps = center.ledger.history(id, after, limit).await;
    steps.map_err(|error| error::ledger(&error))
}

fn step(entry: Entry) -> api::HistoryStep {
    let decision = entry.decision;
    let decision = decision.unwrap_or_else(|| Decision::by(Decider::Farewell, ""));
    api::HistoryStep {
        revision: entry.revision,
        time: Some(timestamp(entry.at)),
        state: i32::from(entry.state),
        step: entry.note,
        decider: decider(decision.by).into(),
        by: decision.name,
        reasons: decision.reasons,
        reference: decision.reference,
        request_id: decision
            .request
            .map(|request| request.0.to_string())
            .unwrap_or_default(),
    }
}

const fn decider(by: Decider) -> api::Decider {
    match by {
        Decider::Farewell => api::Decider::Farewell,
        Decider::Person => api::Decider::Person,
        Decider::Desk => api::Decider::Desk,
        Decider::Operator => api::Decider::Operator,
        Decider::Participant => api::Decider::Participant,
    }
}
