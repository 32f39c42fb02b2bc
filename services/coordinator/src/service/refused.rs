//! What receivers of events refused for good, and having it told again.

use std::collections::HashMap;
use std::sync::Arc;

use farewell_core::{DeletionId, RequestId};
use farewell_ledger::{RefusedEvent, Remembered};
use farewell_proto::operator::v1 as api;
use tonic::Status;

use super::{CHANGE_MAX, READ_MAX, page, parse, remember, seen, within};
use crate::center::Center;
use crate::error;
use crate::event::refused;
use crate::wire::timestamp;

/// One page of what a receiver refused.
pub async fn list(
    center: &Arc<Center>,
    request: api::ListRefusedEventsRequest,
) -> Result<api::ListRefusedEventsResponse, Status> {
    let receiver = parse::receiver("receiver", &request.receiver)?;
    let rows = page::size(request.page_size)?;
    let query = format!("refused events of {receiver}");
    let after = page::start_at(&request.page_token, &query)?.map(place_of);
    let mut found = within(READ_MAX, async {
        let found = center.ledger.refused(receiver, after, rows + 1).await;
        found.map_err(|error| error::ledger(&error))
    })
    .await?;
    let more = found.len() > rows as usize;
    found.truncate(rows as usize);
    let last = found.last().filter(|_| more);
    let next_page_token = last.map(|last| page::token_at(token_of(last.event.seq), &query));
    Ok(api::ListRefusedEventsResponse {
        events: found.iter().filter_map(shown).collect(),
        next_page_token: next_page_token.unwrap_or_default(),
    })
}

/// An operator's wish to have an event told again.
pub struct Resend {
    pub request: RequestId,
    /// Of the request's content.
    pub digest: [u8; 16],
    pub receiver: String,
    pub event: (DeletionId, i16),
    /// Who asks.
    pub operator: String,
}

/// Has it told again.
pub async fn resend(center: &Arc<Center>, wish: Resend) -> Result<(), Status> {
    let (deletion, kind) = wish.event;
    within(CHANGE_MAX, async {
        if seen(center, wish.request, wish.digest, deletion).await? == Remembered::Repeat {
            return Ok(());
        }
        let again = center.ledger.resend(&wish.receiver, deletion, kind).await;
        if !again.map_err(|error| error::ledger(&error))? {
            return Err(error::precondition(
                "EVENT_NOT_REFUSED",
                "the receiver refuses no such event",
                HashMap::new(),
            ));
        }
        tracing::info!(target: "farewell::decided", %deletion, receiver = wish.receiver, operator = wish.operator, "an event is told again");
        // Only now: a repeat of what was not done must do it.
        remember(center, wish.request, wish.digest, deletion).await?;
        Ok(())
    })
    .await
}

fn shown(refused: &RefusedEvent) -> Option<api::RefusedEvent> {
    let event = &refused.event;
    let (name, kind) = refused::name(event.deletion, event.kind)?;
    Some(api::RefusedEvent {
        event: name,
        deletion: format!("deletions/{}", event.deletion),
        kind: kind.to_owned(),
        occur_time: Some(timestamp(event.at)),
        refuse_time: Some(timestamp(refused.at)),
        reason: refused.word.clone(),
    })
}

fn token_of(seq: i64) -> u128 {
    u128::from(seq.cast_unsigned())
}

/// A token that was bent leads to another page, and to nothing else.
fn place_of(place: u128) -> i64 {
    u64::try_from(place).unwrap_or(u64::MAX).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_before_the_first_is_one_too() {
        for seq in [i64::MIN, -3, 0, 7, i64::MAX] {
            assert_eq!(place_of(token_of(seq)), seq);
        }
    }
}
