//! What happens by itself: cases and approvals end, documents go with their keys, and decisions that were kept long enough.
//!
//! It looks in the database and takes no other input, so that a restart is nothing special.

use std::time::{Duration, SystemTime};

use farewell_kit::seal;
use farewell_runtime::shutdown::Shutdown;

use crate::case::{self, Case};
use crate::desk::Desk;
use crate::entry::{self, ITSELF, What};
use crate::refusal::Refusal;
use crate::state::State;
use crate::{evidence, holding, request};

/// Between two looks, whatever is due: something may have become due sooner, by another process, too, and clocks are set. A period
/// that is over is noticed within this.
const LOOK_MAX: Duration = Duration::from_secs(10);
/// Trouble passes slower than this.
const LOOK_MIN: Duration = Duration::from_millis(500);
/// Cases of one look; the next one follows at once if there are more.
const CASES_MAX: u32 = 100;

/// Looks until `shutdown`.
pub(crate) async fn run(desk: Desk, shutdown: Shutdown) {
    loop {
        let pause = match desk.sweep(SystemTime::now()).await {
            Ok(next) => {
                let wait = next.and_then(|next| next.duration_since(SystemTime::now()).ok());
                wait.unwrap_or(LOOK_MAX)
            }
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "what is due at the desk waits"
                );
                LOOK_MAX
            }
        };
        tokio::select! {
            () = shutdown.wait() => return,
            () = tokio::time::sleep(pause.clamp(LOOK_MIN, LOOK_MAX)) => {}
        }
    }
}

impl Desk {
    /// Does what is due, and says when something will be next.
    pub(crate) async fn sweep(&self, now: SystemTime) -> Result<Option<SystemTime>, Refusal> {
        let (due, next) = {
            let mut connection = self.store.pool().acquire().await?;
            request::sweep(&mut connection, now).await?;
            let due = case::due(&mut connection, now, CASES_MAX).await?;
            (due, case::next_due(&mut connection).await?)
        };
        let mut deleted = false;
        for (id, account) in &due {
            deleted |= self.end(id, account, now).await?;
        }
        if deleted {
            seal::clear_log(&self.store).await?;
        }
        if due.is_empty() {
            return Ok(next);
        }
        let mut connection = self.store.pool().acquire().await?;
        Ok(case::next_due(&mut connection).await?)
    }

    /// What is due of one case. Whether bytes were deleted.
    async fn end(&self, id: &str, account: &str, now: SystemTime) -> Result<bool, Refusal> {
        let mut tx = self.store.pool().begin().await?;
        if !account.is_empty() {
            match seal::admit_though_sealed(&mut tx, account).await {
                // An erasing that came first leaves nothing of this to do.
                Err(seal::Error::Erased) => return Ok(false),
                admitted => admitted?,
            }
        }
        let Some(mut case) = case::hold(&mut tx, id).await? else {
            return Ok(false);
        };
        if case.account != account {
            return Ok(false);
        }
        seal::delete_for_good(&mut tx).await?;
        if case.account.is_empty() {
            holding::forget(&mut tx, id).await?;
        } else if case.matter.expires_at.is_some() {
            if !case.matter.is_over(now) {
                return Ok(false);
            }
            self.expire(&mut tx, &mut case, now).await?;
        } else {
            shred(&mut tx, &case, now).await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    async fn expire(
        &self,
        tx: &mut sqlx::AnyConnection,
        case: &mut Case,
        now: SystemTime,
    ) -> Result<(), Refusal> {
        case.matter.state = State::Expired;
        self.moved(tx, case, now).await?;
        Ok(entry::append(tx, &case.id, (ITSELF, What::Expired, ""), now).await?)
    }
}

/// The documents' bytes and the key that opened them. What they were, and who looked at them, remains.
async fn shred(tx: &mut sqlx::AnyConnection, case: &Case, now: SystemTime) -> Result<(), Refusal> {
    evidence::shred(tx, &case.id, now).await?;
    case::destroy_key(tx, &case.id).await?;
    let deleted = (ITSELF, What::EvidenceDeleted, "");
    Ok(entry::append(tx, &case.id, deleted, now).await?)
}
