//! Counts deadlines again that were set when next year's public holidays were not known: a newer program knows more of them.
//!
//! Once, when a coordinator starts: calendars come with the program. Several of them find the same and decide it once.

use std::sync::Arc;
use std::time::Duration;

use farewell_core::{Deletion, Event, State};
use farewell_ledger::{Error, Filter};
use farewell_runtime::shutdown::Shutdown;
use tokio::time::sleep;

use crate::center::Center;
use crate::lane::chain;
use crate::steward::{self, NotTurned};

/// Deletions that are read at a time.
const PAGE_DELETIONS: u32 = 200;
/// Between two pages: others have something to do, too.
const PAUSE: Duration = Duration::from_millis(20);
/// After trouble, from the beginning.
const TROUBLE_PAUSE: Duration = Duration::from_secs(30);

/// Looks through everything that is under way, once.
pub async fn run(center: Arc<Center>, shutdown: Shutdown) {
    loop {
        let pass = pass(&center);
        tokio::select! {
            () = shutdown.wait() => return,
            passed = pass => match passed {
                Ok(0) => return,
                Ok(left) => tracing::warn!(left, "deadlines are still to be counted again"),
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "deadlines can't be counted again");
                }
            },
        }
        tokio::select! {
            () = shutdown.wait() => return,
            () = sleep(TROUBLE_PAUSE) => {}
        }
    }
}

/// Returns how many could not be counted.
async fn pass(center: &Arc<Center>) -> Result<u64, Error> {
    let filter = Filter {
        states: State::LIVE_CODES.to_vec(),
        ..Filter::default()
    };
    let (mut before, mut recounted, mut left) = (None, 0_u64, 0_u64);
    loop {
        let page = center.ledger.list(&filter, before, PAGE_DELETIONS).await?;
        for deletion in &page {
            match recount(center, deletion).await {
                Ok(true) => recounted += 1,
                Ok(false) => {}
                // One that can't be turned keeps nobody else's from being counted.
                Err(error) => {
                    tracing::debug!(deletion = %deletion.id, error = %chain(&error), "not counted again");
                    left += 1;
                }
            }
        }
        match page.last() {
            Some(last) if page.len() == PAGE_DELETIONS as usize => before = Some(last.id),
            Some(_) | None => break,
        }
        sleep(PAUSE).await;
    }
    if recounted > 0 {
        tracing::info!(recounted, "deadlines were counted again");
    }
    Ok(left)
}

async fn recount(center: &Arc<Center>, deletion: &Deletion) -> Result<bool, NotTurned> {
    let plan = center.plans.get(deletion.policy_version);
    if !plan.is_some_and(|plan| deletion.due_again(&plan)) {
        return Ok(false);
    }
    match steward::turn(center, deletion.id, &Event::Recounted, false).await {
        Ok(_) => Ok(true),
        // Somebody else did it, or it has ended.
        Err(NotTurned::Refused(_) | NotTurned::NotFound) => Ok(false),
        Err(trouble @ NotTurned::Unavailable) => Err(trouble),
    }
}
