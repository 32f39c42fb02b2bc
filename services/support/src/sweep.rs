//! What happens by itself: cases and approvals end, and documents go with their keys. Decisions that a deletion keeps are not
//! among it: the coordinator has them erased, so that its certificate has evidence of it.
//!
//! It looks in the database and takes no other input, so that a restart is nothing special. Each case is done by itself: one that
//! can't be is passed by, said once, and looked at again each time; what stays undone is counted in `operator overview`.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use farewell_kit::seal;
use farewell_runtime::shutdown::Shutdown;

use crate::case::{self, Case, Due};
use crate::desk::Desk;
use crate::entry::{self, ITSELF, What};
use crate::refusal::Refusal;
use crate::state::State;
use crate::{evidence, request};

/// Between two looks, whatever is due: something may have become due sooner, by another process, too, and clocks are set. A period
/// that is over is noticed within this.
const LOOK_MAX: Duration = Duration::from_secs(10);
/// Trouble passes slower than this.
const LOOK_MIN: Duration = Duration::from_millis(500);
/// Cases that are read at a time.
const CASES_MAX: u32 = 100;
/// Cases that are said to be stuck; of more only the number is known, from the overview.
const SAID_MAX: usize = 1_000;

/// What a look found.
#[derive(Debug)]
pub(crate) struct Swept {
    /// When something will be due next.
    pub next: Option<SystemTime>,
    /// Cases that could not be done, and why.
    pub stuck: Vec<(String, Refusal)>,
}

/// Looks until `shutdown`.
pub(crate) async fn run(desk: Desk, shutdown: Shutdown) {
    let mut said = BTreeSet::new();
    loop {
        let swept = tokio::select! {
            () = shutdown.wait() => return,
            swept = desk.sweep(SystemTime::now()) => swept,
        };
        let pause = match swept {
            Ok(Swept { next, stuck }) => {
                say(&mut said, &stuck);
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

/// Says each stuck case once, and again if it was done in between.
fn say(said: &mut BTreeSet<String>, stuck: &[(String, Refusal)]) {
    said.retain(|id| stuck.iter().any(|(still, _)| still == id));
    for (id, error) in stuck {
        if said.len() < SAID_MAX && said.insert(id.clone()) {
            tracing::error!(
                case = id,
                error = error as &dyn std::error::Error,
                "what is due of a case can't be done"
            );
        }
    }
}

impl Desk {
    /// Does what is due, all that can be.
    ///
    /// Errors: the database is away, and nothing can be done.
    pub(crate) async fn sweep(&self, now: SystemTime) -> Result<Swept, Refusal> {
        let mut connection = self.store.pool().acquire().await?;
        request::sweep(&mut connection, now).await?;
        drop(connection);
        let (mut last, mut deleted, mut stuck) = (Due::FIRST, false, Vec::new());
        loop {
            let mut connection = self.store.pool().acquire().await?;
            let due = case::due(&mut connection, now, &last, CASES_MAX).await?;
            drop(connection);
            for case in &due {
                match self.end(&case.id, &case.account, now).await {
                    Ok(bytes) => deleted |= bytes,
                    Err(error) => {
                        // Of a database that is away no single case is to blame.
                        sqlx::query("SELECT 1").execute(self.store.pool()).await?;
                        stuck.push((case.id.clone(), error));
                    }
                }
            }
            match due.into_iter().next_back() {
                Some(case) => last = case,
                None => break,
            }
        }
        if deleted {
            seal::clear_log(&self.store).await?;
        }
        let mut connection = self.store.pool().acquire().await?;
        let next = case::next_due(&mut connection, now).await?;
        Ok(Swept { next, stuck })
    }

    /// What is due of one case. Whether bytes were deleted.
    async fn end(&self, id: &str, account: &str, now: SystemTime) -> Result<bool, Refusal> {
        let mut tx = self.store.pool().begin().await?;
        match seal::admit_though_sealed(&mut tx, account).await {
            // An erasing that came first leaves nothing of this to do.
            Err(seal::Error::Erased) => return Ok(false),
            admitted => admitted?,
        }
        let Some(mut case) = case::hold(&mut tx, id).await? else {
            return Ok(false);
        };
        if case.account != account {
            return Ok(false);
        }
        if case.matter.expires_at.is_some() {
            if !case.matter.is_over(now) {
                return Ok(false);
            }
            if case.matter.is_pending() {
                self.give_up(&mut tx, &mut case, now).await?;
            } else {
                self.expire(&mut tx, &mut case, now).await?;
            }
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

    /// Nobody has said that it is done: it is in the way of nothing any longer, and somebody is to look.
    async fn give_up(
        &self,
        tx: &mut sqlx::AnyConnection,
        case: &mut Case,
        now: SystemTime,
    ) -> Result<(), Refusal> {
        tracing::warn!(
            case = case.id,
            "what a case was used for was never said to be done"
        );
        case.matter.done = true;
        self.moved(tx, case, now).await?;
        let used_for = case.matter.used_for.as_str();
        Ok(entry::append(tx, &case.id, (ITSELF, What::Unconfirmed, used_for), now).await?)
    }
}

/// The documents' bytes and the key that opened them. What they were, and who looked at them, remains.
async fn shred(tx: &mut sqlx::AnyConnection, case: &Case, now: SystemTime) -> Result<(), Refusal> {
    evidence::shred(tx, &case.id, now).await?;
    case::destroy_key(tx, &case.id).await?;
    let deleted = (ITSELF, What::EvidenceDeleted, "");
    Ok(entry::append(tx, &case.id, deleted, now).await?)
}
