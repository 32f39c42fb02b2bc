//! Tells the world of deletions that have ended: at least once each, in the order of their slots.

use std::sync::Arc;

use farewell_runtime::shutdown::Shutdown;
use tokio::time::sleep;

use crate::center::Center;
use crate::lane::chain;

/// Announcements taken at a time.
const BATCH_ROWS: u32 = 5_000;

/// Runs until the shutdown. Announcements go to the log, where the company's event pipeline takes them up; one that is told
/// and not yet forgotten when the coordinator dies is told again.
pub async fn run(center: Arc<Center>, shutdown: Shutdown) {
    while !shutdown.is_triggered() {
        let told = relay(&center).await;
        if told < BATCH_ROWS as usize {
            tokio::select! {
                () = sleep(center.pace.poll) => {}
                () = shutdown.wait() => {}
            }
        }
    }
}

async fn relay(center: &Center) -> usize {
    let slots = center.board().slots();
    let Some(fence) = center.fence() else {
        return 0;
    };
    let batch = match center.ledger.outbox(&slots, BATCH_ROWS).await {
        Ok(batch) if !batch.is_empty() => batch,
        Ok(_) => return 0,
        Err(error) => {
            tracing::warn!(error = %chain(&error), "can't read the outbox");
            return 0;
        }
    };
    for announcement in &batch {
        tracing::info!(target: "farewell::announce", deletion = %announcement.deletion, state = announcement.state, at = %announcement.at, "ended");
    }
    match center.ledger.announced(&fence, &batch, &[]).await {
        Ok(()) => batch.len(),
        Err(error) => {
            tracing::warn!(error = %chain(&error), "the outbox will tell these again");
            0
        }
    }
}
