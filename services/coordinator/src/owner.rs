//! Holds slots: leases them, takes over a dead coordinator's, and brings onto the board what they owe.

use std::sync::Arc;
use std::time::{Duration, Instant};

use farewell_core::{Slot, Time};
use farewell_ledger::{Cursor, Error, Fence};
use farewell_runtime::shutdown::Shutdown;
use tokio::time::sleep;

use crate::center::Center;
use crate::lane::chain;

/// Deletions read at a time.
const PAGE_ROWS: u32 = 1_000;
/// How far a poll looks back: a commit may become visible later than the time that it carries.
const OVERLAP: Duration = Duration::from_secs(2);
/// How often everything is looked at again, whatever polls have seen.
const SWEEP: Duration = Duration::from_secs(30);

/// Runs until the shutdown, then gives the slots back.
pub async fn run(center: Arc<Center>, shutdown: Shutdown) {
    while !shutdown.is_triggered() {
        match center
            .ledger
            .join(&center.instance, center.pace.lease)
            .await
        {
            Ok(fence) => {
                tracing::info!(epoch = fence.epoch, "joined");
                center.set_fence(Some(fence.clone()));
                let lost = hold(&center, &fence, &shutdown).await;
                center.set_fence(lost.is_none().then_some(fence));
                if lost.is_some() {
                    tracing::warn!("another coordinator took over: joining again");
                    center.board().clear();
                }
            }
            Err(error) => {
                tracing::warn!(error = %chain(&error), "can't join yet");
                pause(&center, &shutdown).await;
            }
        }
    }
}

/// Gives the slots back at the end, after the lanes are done.
pub async fn leave(center: &Center) {
    if let Some(fence) = center.fence() {
        // All, so that the lease ends with them and nobody leaves us a share.
        let slots: Vec<_> = Slot::all().collect();
        if let Err(error) = center.ledger.release(&fence, &slots).await {
            tracing::warn!(error = %chain(&error), "the slots are free when the lease ends");
        }
    }
}

struct Fenced;

/// Holds slots until the shutdown, or until somebody took over.
async fn hold(center: &Arc<Center>, fence: &Fence, shutdown: &Shutdown) -> Option<Fenced> {
    let mut renewed = None::<Instant>;
    let mut swept = None::<Instant>;
    let mut seen = Time::default();
    while !shutdown.is_triggered() {
        if renewed.is_none_or(|at| at.elapsed() >= center.pace.lease / 3) {
            match share(center, fence).await {
                Ok(gained) => {
                    renewed = Some(Instant::now());
                    if !gained.is_empty() {
                        tracing::info!(slots = gained.len(), "holding");
                        center.board().gain(&gained);
                        if !fill(center, &gained, None).await {
                            swept = None;
                        }
                    }
                }
                Err(Error::Fenced) => return Some(Fenced),
                Err(error) => tracing::warn!(error = %chain(&error), "can't renew the lease"),
            }
        }
        let slots = center.board().slots();
        let now = center.clock.now();
        let sweep = swept.is_none_or(|at| at.elapsed() >= SWEEP);
        let from = (!sweep).then(|| {
            Time::from_micros(seen.micros() - i64::try_from(OVERLAP.as_micros()).unwrap_or(0))
        });
        // A look that failed has seen nothing: the next one starts where it did.
        if fill(center, &slots, from).await {
            seen = now;
            if sweep {
                swept = Some(Instant::now());
            }
        }
        pause(center, shutdown).await;
    }
    None
}

async fn pause(center: &Center, shutdown: &Shutdown) {
    tokio::select! {
        () = sleep(center.pace.poll) => {}
        () = shutdown.wait() => {}
    }
}

/// Renews the lease and takes or gives back slots, so that every live coordinator has its share.
async fn share(center: &Center, fence: &Fence) -> Result<Vec<Slot>, Error> {
    let asked = Instant::now();
    let leases = center.ledger.renew(fence, center.pace.lease).await?;
    center.clock.set(leases.now, asked);
    let fair = Slot::all()
        .count()
        .div_ceil(usize::try_from(leases.live.max(1)).unwrap_or(1));
    if leases.mine.len() > fair {
        let surplus = &leases.mine[fair..];
        center.board().give_up(surplus);
        center.ledger.release(fence, surplus).await?;
        return Ok(Vec::new());
    }
    let wanted: Vec<_> = leases
        .free
        .into_iter()
        .take(fair - leases.mine.len())
        .collect();
    // Also those that were claimed before, by a commit whose answer was lost.
    let known = center.board().slots();
    let mut gained = leases.mine;
    gained.retain(|slot| !known.contains(slot));
    if !wanted.is_empty() {
        gained.extend(center.ledger.claim(fence, &wanted).await?);
    }
    Ok(gained)
}

/// Brings onto the board what these slots owe. False if the ledger could not be read to the end.
async fn fill(center: &Arc<Center>, slots: &[Slot], from: Option<Time>) -> bool {
    let mut after = from.map(|attention_at| Cursor {
        attention_at,
        id: farewell_core::DeletionId(uuid::Uuid::nil()),
    });
    if slots.is_empty() {
        return true;
    }
    loop {
        let page = match center.ledger.owed(slots, after, PAGE_ROWS).await {
            Ok(page) => page,
            Err(error) => {
                tracing::warn!(error = %chain(&error), "can't read what is owed");
                return false;
            }
        };
        if page
            .iter()
            .any(|owed| center.plans.get(owed.deletion.policy_version).is_none())
            && let Err(error) = center.plans.reload(&*center.ledger).await
        {
            tracing::warn!(error = %chain(&error), "can't read policies");
        }
        let full = page.len() >= PAGE_ROWS as usize;
        after = page.last().and_then(|owed| {
            let attention_at = owed.deletion.attention_at?;
            Some(Cursor {
                attention_at,
                id: owed.deletion.id,
            })
        });
        center.admit(page);
        if !full || after.is_none() {
            center.board().read_over();
            return true;
        }
    }
}
