//! New deletions.

use std::sync::Arc;

use farewell_ledger::{BATCH_ROWS_MAX, Error, Opened, Opening};
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use super::{AWAITED_TRIES_MAX, AWAY_PAUSE, Failed};
use crate::center::Center;

/// A deletion to be made durable, and who waits for it.
pub struct OpenJob {
    pub opening: Opening,
    pub answer: oneshot::Sender<Result<Opened, Failed>>,
}

/// Runs until the queue is closed and empty.
pub async fn run(center: Arc<Center>, mut queue: mpsc::Receiver<OpenJob>) {
    let mut jobs = Vec::with_capacity(BATCH_ROWS_MAX);
    while queue.recv_many(&mut jobs, BATCH_ROWS_MAX).await > 0 {
        let (openings, waiting): (Vec<_>, Vec<_>) =
            jobs.drain(..).map(|job| (job.opening, job.answer)).unzip();
        match write(&center, openings).await {
            Ok(opened) => {
                let created = opened.iter().filter_map(|opened| match opened {
                    Opened::Created(deletion) => Some(deletion.clone()),
                    _ => None,
                });
                center.landed(created.collect()).await;
                for (answer, opened) in waiting.into_iter().zip(opened) {
                    // Whoever stopped waiting finds it under the request id.
                    let _ = answer.send(Ok(opened));
                }
            }
            Err(failed) => waiting
                .into_iter()
                .for_each(|answer| drop(answer.send(Err(failed)))),
        }
    }
}

async fn write(center: &Center, openings: Vec<Opening>) -> Result<Vec<Opened>, Failed> {
    for _ in 0..AWAITED_TRIES_MAX {
        match center.ledger.open(openings.clone()).await {
            Ok(opened) => return Ok(opened),
            Err(error @ (Error::Unreachable(_) | Error::Unknown(_))) => {
                tracing::warn!(error = %chain(&error), deletions = openings.len(), "opening again");
                sleep(AWAY_PAUSE).await;
            }
            Err(error) => {
                tracing::error!(error = %chain(&error), deletions = openings.len(), "opening was refused");
                return Err(Failed::Refused);
            }
        }
    }
    Err(Failed::Unavailable)
}

/// An error with its causes, for one log line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
