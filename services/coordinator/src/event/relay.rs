//! Takes what has happened from the outbox, in the order in which it was written: of an account, in that in which it happened.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use farewell_core::policy::retention::Identifier;
use farewell_core::{Deletion, DeletionId};
use farewell_ledger::{Announcement, BATCH_ROWS_MAX, Error, Event};
use farewell_runtime::shutdown::Shutdown;
use tokio::time::sleep;

use super::kind::Kind;
use crate::center::Center;
use crate::lane::chain;

/// Runs until the shutdown. Announcements go to the log, where the company's event pipeline takes them up, and to the
/// receivers; one that is told and not yet forgotten when the coordinator dies is told again.
pub async fn run(center: Arc<Center>, shutdown: Shutdown) {
    while !shutdown.is_triggered() {
        let told = match relay(&center).await {
            Ok(told) => told,
            Err(error) => {
                tracing::warn!(error = %chain(&error), "the outbox will tell these again");
                0
            }
        };
        if told < BATCH_ROWS_MAX {
            tokio::select! {
                () = sleep(center.pace.poll) => {}
                () = shutdown.wait() => {}
            }
        }
    }
}

async fn relay(center: &Center) -> Result<usize, Error> {
    let slots = center.board().slots();
    let Some(fence) = center.fence() else {
        return Ok(0);
    };
    let rows = u32::try_from(BATCH_ROWS_MAX).unwrap_or(u32::MAX);
    let batch = center.ledger.outbox(&slots, rows).await?;
    if batch.is_empty() {
        return Ok(0);
    }
    for told in &batch {
        match Identifier::from_code(told.state) {
            // Not which: nobody here knows it.
            Some(kind) => {
                tracing::info!(target: "farewell::announce", deletion = %told.deletion, kind = kind.word(), at = %told.at, "identifier-recycled");
            }
            None => {
                tracing::info!(target: "farewell::announce", deletion = %told.deletion, state = told.state, at = %told.at, "told");
            }
        }
    }
    let events = events(center, &batch).await?;
    center.ledger.announced(&fence, &batch, &events).await?;
    Ok(batch.len())
}

/// What each receiver is to be told of.
async fn events(center: &Center, batch: &[Announcement]) -> Result<Vec<Event>, Error> {
    let Some(to) = center.events.as_ref().filter(|to| !to.receivers.is_empty()) else {
        return Ok(Vec::new());
    };
    let deletions = deletions(center, batch).await?;
    let unknown = |version| center.plans.get(version).is_none();
    if deletions.values().any(|it| unknown(it.policy_version)) {
        center.plans.reload(&*center.ledger).await?;
    }
    let kinds = batch.iter().filter_map(|told| {
        let deletion = deletions.get(&told.deletion)?;
        let plan = center.plans.get(deletion.policy_version)?;
        Some((
            told,
            &deletion.account,
            Kind::of(told.state, deletion, &plan)?,
        ))
    });
    let events = kinds.flat_map(|(told, account, kind)| {
        to.receivers.iter().map(move |receiver| Event {
            receiver: receiver.name.clone(),
            account: account.clone(),
            deletion: told.deletion,
            kind: kind.code(),
            at: told.at,
            seq: told.seq,
            tries: 0,
        })
    });
    Ok(events.collect())
}

/// The deletions of a batch, each read once however often it is named.
async fn deletions(
    center: &Center,
    batch: &[Announcement],
) -> Result<HashMap<DeletionId, Deletion>, Error> {
    let ids: BTreeSet<DeletionId> = batch.iter().map(|told| told.deletion).collect();
    let ids: Vec<DeletionId> = ids.into_iter().collect();
    let found = center.ledger.get(&ids).await?;
    let found = found.into_iter().map(|owed| owed.deletion);
    Ok(found.map(|deletion| (deletion.id, deletion)).collect())
}
