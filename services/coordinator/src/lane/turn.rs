//! Decided changes that are not acknowledgements.

use std::collections::HashSet;
use std::sync::Arc;

use farewell_core::Deletion;
use farewell_ledger::{BATCH_ROWS_MAX, Error, Turn, Turned};
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use super::open::chain;
use super::{AWAITED_TRIES_MAX, AWAY_PAUSE, Failed};
use crate::center::Center;

/// A decided change, and who waits for it.
pub struct TurnJob {
    pub turn: Turn,
    /// Whether it is made on behalf of our slot: then a stale lease changes nothing.
    pub fenced: bool,
    pub answer: oneshot::Sender<Result<Turned, Failed>>,
}

/// Runs until the queue is closed and empty.
pub async fn run(center: Arc<Center>, mut queue: mpsc::Receiver<TurnJob>) {
    let mut jobs = Vec::with_capacity(BATCH_ROWS_MAX);
    while queue.recv_many(&mut jobs, BATCH_ROWS_MAX).await > 0 {
        while !jobs.is_empty() {
            // A batch names each deletion once: of two changes of one deletion, the second sees the first.
            let mut named = HashSet::new();
            let (batch, later): (Vec<_>, Vec<_>) = jobs
                .drain(..)
                .partition(|job| named.insert(job.turn.after.id));
            jobs = later;
            let (fenced, free): (Vec<_>, Vec<_>) = batch.into_iter().partition(|job| job.fenced);
            flush(&center, free, false).await;
            flush(&center, fenced, true).await;
        }
    }
}

async fn flush(center: &Center, jobs: Vec<TurnJob>, fenced: bool) {
    if jobs.is_empty() {
        return;
    }
    let (turns, waiting): (Vec<_>, Vec<_>) =
        jobs.into_iter().map(|job| (job.turn, job.answer)).unzip();
    match write(center, turns, fenced).await {
        Ok(turned) => {
            let done = turned.iter().filter_map(|turned| match turned {
                Turned::Done(deletion) => Some(deletion.clone()),
                Turned::Lost => None,
            });
            center.landed(done.collect()).await;
            for (answer, turned) in waiting.into_iter().zip(turned) {
                let _ = answer.send(Ok(turned));
            }
        }
        Err(failed) => waiting
            .into_iter()
            .for_each(|answer| drop(answer.send(Err(failed)))),
    }
}

async fn write(center: &Center, turns: Vec<Turn>, fenced: bool) -> Result<Vec<Turned>, Failed> {
    let mut unknown = false;
    for _ in 0..AWAITED_TRIES_MAX {
        let fence = if fenced {
            Some(center.fence().ok_or(Failed::Unavailable)?)
        } else {
            None
        };
        match center.ledger.turn(fence.as_ref(), turns.clone()).await {
            Ok(turned) if unknown => return reread(center, &turns, turned).await,
            Ok(turned) => return Ok(turned),
            Err(Error::Fenced) => return Err(Failed::Unavailable),
            Err(error @ (Error::Unreachable(_) | Error::Unknown(_))) => {
                unknown |= matches!(error, Error::Unknown(_));
                tracing::warn!(error = %chain(&error), turns = turns.len(), "turning again");
                sleep(AWAY_PAUSE).await;
            }
            Err(error) => {
                tracing::error!(error = %chain(&error), turns = turns.len(), "a turn was refused");
                return Err(Failed::Refused);
            }
        }
    }
    Err(Failed::Unavailable)
}

/// After an unknown outcome, a turn that lost may have lost to itself: whoever finds its own change has won.
async fn reread(
    center: &Center,
    turns: &[Turn],
    turned: Vec<Turned>,
) -> Result<Vec<Turned>, Failed> {
    let ids: Vec<_> = turns.iter().map(|turn| turn.after.id).collect();
    let stored = center
        .ledger
        .get(&ids)
        .await
        .map_err(|_| Failed::Unavailable)?;
    let same = |turn: &Turn| {
        let found = stored
            .iter()
            .find(|owed| owed.deletion.id == turn.after.id)?;
        let found = &found.deletion;
        // Of the same revision, another's change may be of the same state. Receipts may have come since.
        let own = Deletion {
            done: found.done,
            refused: found.refused,
            ..turn.after.clone()
        };
        (*found == own).then(|| found.clone())
    };
    Ok(turns
        .iter()
        .zip(turned)
        .map(|(turn, turned)| match turned {
            Turned::Lost => same(turn).map_or(Turned::Lost, Turned::Done),
            done @ Turned::Done(_) => done,
        })
        .collect())
}
