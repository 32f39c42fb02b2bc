//! Carries letters: claims what is due, hands it to its gateway, and forgets it then.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use farewell_kit::store::{Store, micros, time};
use farewell_kit::{Fault, NoticeKind};
use farewell_runtime::shutdown::Shutdown;
use futures_util::future::join_all;
use sqlx::FromRow;
use tokio::sync::Notify;

use super::{Config, Content, word, words};
use crate::courier::{self, Couriers, Letter, Way};
use crate::link;
use crate::pepper::Pepper;

/// Letters that are under way at a time.
const BATCH_MAX: i64 = 32;
/// How often the table is looked at for what others put there, or is due again.
const POLL: Duration = Duration::from_secs(1);
/// Longer than any courier takes: before that, a claimed letter is under way.
const CLAIM: Duration = Duration::from_secs(30);
/// Between the first tries; each pause is twice as long as the one before.
const PAUSE: Duration = Duration::from_secs(2);
const PAUSE_MAX: Duration = Duration::from_secs(60 * 60);
/// A notice that comes later than this says nothing that is of use.
const LIFE: Duration = Duration::from_secs(3 * 24 * 60 * 60);
/// How long a letter that was given up is counted.
pub(super) const GIVEN_UP_SHOWN: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// What the carriers of a process share. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Delivery(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    wake: Notify,
    /// Microseconds; 0: none failed.
    last_failure: AtomicI64,
}

impl Delivery {
    /// Something new is due.
    pub fn wake(&self) {
        self.0.wake.notify_one();
    }

    /// A gateway said no, or nothing.
    pub fn failed(&self, now: SystemTime) {
        self.0.last_failure.store(micros(now), Ordering::Relaxed);
    }

    /// When one last did.
    pub fn last_failure(&self) -> Option<SystemTime> {
        let at = self.0.last_failure.load(Ordering::Relaxed);
        (at > 0).then(|| time(at))
    }
}

/// Carries what is due until `shutdown`.
pub(crate) async fn run(
    store: Store,
    (couriers, pepper): (Couriers, Pepper),
    config: Config,
    delivery: Delivery,
    shutdown: Shutdown,
) {
    while !shutdown.is_triggered() {
        let now = SystemTime::now();
        let carried = carry_due(&store, (&couriers, &pepper), &config, &delivery, now).await;
        match carried {
            Ok(letters) if letters == usize::try_from(BATCH_MAX).unwrap_or(0) => continue,
            Ok(_) => {}
            Err(fault) => {
                tracing::warn!(error = &fault as &dyn std::error::Error, "letters wait");
            }
        }
        tokio::select! {
            () = shutdown.wait() => return,
            () = delivery.0.wake.notified() => {}
            () = tokio::time::sleep(POLL) => {}
        }
    }
}

/// One round. Returns how many were due.
pub(crate) async fn carry_due(
    store: &Store,
    (couriers, pepper): (&Couriers, &Pepper),
    config: &Config,
    delivery: &Delivery,
    now: SystemTime,
) -> Result<usize, Fault> {
    let due: Vec<Due> = sqlx::query_as(
        "SELECT id, deletion, way, receiver, content, tries, due_at, made_at FROM letter \
         WHERE state = 'WAITING' AND due_at <= $1 ORDER BY due_at, id LIMIT $2",
    )
    .bind(micros(now))
    .bind(BATCH_MAX)
    .fetch_all(store.pool())
    .await?;
    let carried = due.iter().map(|due| async {
        if !claim(store, due, now).await? {
            return Ok(());
        }
        // One that can't be written is put off like one that isn't carried, and given up in the end.
        let carried = match due.letter(store, pepper, config).await {
            Err(fault) => Err(fault),
            Ok(letter) => match couriers.by(letter.way) {
                Some(courier) => courier::in_time(courier, &letter).await,
                // Nobody carries to devices here.
                None => Ok(()),
            },
        };
        match carried {
            Ok(()) => forget(store, due).await,
            // A session that is gone comes back as another: there is nothing to mend, and no gateway that fails.
            Err(fault) if fault.is_lasting() && due.is_to_a_device() => {
                tracing::info!(
                    deletion = due.deletion,
                    letter = due.id,
                    "a device that was signed in is not reached any more"
                );
                forget(store, due).await
            }
            Err(fault) => {
                delivery.failed(now);
                put_off(store, due, &fault, now).await
            }
        }
    });
    for carried in join_all(carried).await {
        carried?;
    }
    Ok(due.len())
}

/// A row of `letter` that is due.
#[derive(FromRow)]
struct Due {
    id: String,
    deletion: String,
    way: String,
    receiver: String,
    content: String,
    tries: i64,
    due_at: i64,
    made_at: i64,
}

impl Due {
    fn is_to_a_device(&self) -> bool {
        self.way == Way::Push.word()
    }

    fn is_last_word(&self) -> bool {
        let content: Result<Content, _> = serde_json::from_str(&self.content);
        content.is_ok_and(|content| content.kind == word(NoticeKind::Erasing))
    }

    async fn letter(
        &self,
        store: &Store,
        pepper: &Pepper,
        config: &Config,
    ) -> Result<Letter, Fault> {
        let content: Content = serde_json::from_str(&self.content)
            .map_err(|_| Fault::plain("a stored letter can't be read"))?;
        let token = if content.revocable {
            let mut connection = store.pool().acquire().await?;
            link::token(&mut connection, pepper, (&self.deletion, &self.receiver)).await?
        } else {
            None
        };
        let id = self.deletion.strip_prefix("deletions/");
        let link = config
            .links
            .as_ref()
            .zip(token)
            .zip(id)
            .map(|((page, token), id)| link::to_revoke(page, id, &token));
        Ok(Letter {
            id: self.id.clone(),
            to: self.receiver.clone(),
            way: Way::from_word(&self.way).unwrap_or(Way::Email),
            deletion: self.deletion.clone(),
            content: courier::Content::Notice(words::written(
                &content,
                id.unwrap_or_default(),
                link,
            )),
        })
    }
}

/// Moves the time on at which it is due. `false`: another process did.
async fn claim(store: &Store, due: &Due, now: SystemTime) -> Result<bool, Fault> {
    let claimed = sqlx::query(
        "UPDATE letter SET due_at = $3, tries = tries + 1 WHERE id = $1 AND due_at = $2 AND state = 'WAITING'",
    )
    .bind(&due.id)
    .bind(due.due_at)
    .bind(micros(now + CLAIM))
    .execute(store.pool())
    .await?;
    Ok(claimed.rows_affected() == 1)
}

async fn forget(store: &Store, due: &Due) -> Result<(), Fault> {
    sqlx::query("DELETE FROM letter WHERE id = $1")
        .bind(&due.id)
        .execute(store.pool())
        .await?;
    Ok(())
}

async fn put_off(store: &Store, due: &Due, fault: &Fault, now: SystemTime) -> Result<(), Fault> {
    let doublings = u32::try_from(due.tries).unwrap_or(u32::MAX).min(16);
    // What is refused for good goes on once somebody has mended it, an address or the relay: it is looked after, and not hammered.
    let pause = if fault.is_lasting() {
        PAUSE_MAX
    } else {
        (PAUSE * 2_u32.pow(doublings)).min(PAUSE_MAX)
    };
    let next = now + pause;
    // Nobody mends an address once it is erased: the last word isn't waited for where there is none to hear it.
    let unheard = fault.is_lasting() && due.is_last_word();
    let given_up = unheard || next > time(due.made_at) + LIFE;
    tracing::warn!(
        error = fault as &dyn std::error::Error,
        deletion = due.deletion,
        way = due.way,
        tries = due.tries + 1,
        given_up,
        for_good = fault.is_lasting(),
        "a letter was not carried"
    );
    let statement = if given_up {
        "UPDATE letter SET state = 'GIVEN_UP', receiver = '', content = '', due_at = $2 WHERE id = $1"
    } else {
        "UPDATE letter SET due_at = $2 WHERE id = $1"
    };
    let at = if given_up { now } else { next };
    sqlx::query(statement)
        .bind(&due.id)
        .bind(micros(at))
        .execute(store.pool())
        .await?;
    Ok(())
}
