//! Devices that have ended after their erasure was answered. Each ending is written where the order moves, in the same
//! transaction, and told to a coordinator until it is durable there or refused for good.
//!
//! A row names a command and a device, and no account: it is nothing that an account leaves behind.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use farewell_runtime::backoff;
use farewell_runtime::shutdown::Shutdown;
use rand::Rng as _;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row as _};

use super::counters::{Counters, Odd};
use super::order::{State, Unreadable};
use super::outbox::{self, Entry};
use super::registry::Registry;
use crate::participant::{DeviceEnding, DeviceReturn, DeviceVerb, Fault, ReturnKept};
use crate::session::RETURNS_MAX;
use crate::store::{micros, time};

/// How often it is looked without a ring: what another process on the database wrote, or a ring that was lost.
const INTERVAL: Duration = Duration::from_secs(60);
/// First and longest wait after a frame that got no answer, or not for all of it.
const RETRY_BASE: Duration = Duration::from_secs(1);
const RETRY_CAP: Duration = Duration::from_secs(60);
/// Why a coordinator takes a return never. Any other word is counted as one: there are never more of them.
const REFUSALS: [&str; 9] = [
    "UNKNOWN_COMMAND",
    "NOT_YOUR_LEG",
    "NOT_ASKED",
    "DEVICE_UNKNOWN",
    "NOT_DETACHED",
    "OUTCOME_NOT_ALLOWED",
    "DEVICE_OUTCOME_MISSING",
    "TIME_MISSING",
    "EVIDENCE_CONFLICT",
];
const OTHER_REFUSAL: &str = "OTHER";

/// Who makes returns durable: a coordinator, through the participant's session.
#[async_trait]
pub trait Archive: Send + Sync + 'static {
    /// What became of each, at most 256 of them. What isn't named must be told again. `None`: nobody had an answer.
    async fn keep(&self, returns: Vec<DeviceReturn>) -> Option<Vec<ReturnKept>>;
}

/// Writes that an order moves to `next`, if its erasure was answered before: until then, the answer itself says it.
///
/// In the transaction of the move, which holds the order's device. Whoever answers holds it too, and reads the orders
/// under it: a move is in the answer or behind it, never between.
pub(super) async fn note(
    tx: &mut AnyConnection,
    entry: &Entry,
    next: State,
    at: SystemTime,
) -> Result<(), Fault> {
    if !returns(entry, next) {
        return Ok(());
    }
    // Single unbindings have no answer in the journal: nobody certifies them.
    sqlx::query(
        "INSERT INTO returns (command, device, epoch, ending, at) SELECT $1, $2, $3, $4, $5 \
         WHERE EXISTS (SELECT 1 FROM answered a WHERE a.command = $1) ON CONFLICT (command, device, epoch, ending) DO NOTHING",
    )
    .bind(&entry.command)
    .bind(&entry.subject)
    .bind(outbox::stored(entry.subject_epoch)?)
    .bind(next.as_str())
    .bind(micros(at))
    .execute(&mut *tx)
    .await?;
    Ok(())
}

/// Whether an order that had ended ends in another way now. Of a transfer there is nothing to say: somebody has the
/// device, and the leg did not wait for it to hear so.
pub(super) fn returns(entry: &Entry, next: State) -> bool {
    let before = entry.order.state;
    entry.order.verb != DeviceVerb::Transfer
        && match next {
            State::Executed => matches!(before, State::Detached | State::NeverReturned),
            State::Confirmed => matches!(
                before,
                State::Detached | State::NeverReturned | State::Executed
            ),
            State::Superseded | State::NeverReturned => before == State::Detached,
            State::Queued
            | State::Sent
            | State::Received
            | State::DeferredSafe
            | State::Executing
            | State::Transferred
            | State::Detached
            | State::Unsupported
            | State::Refused => false,
        }
}

/// Tells what is written until `shutdown`. What was not told then is told after the next start.
pub(super) async fn tell(
    registry: Registry,
    archive: Arc<dyn Archive>,
    counters: Counters,
    shutdown: Shutdown,
) {
    let mut teller = Teller::new(registry, archive, counters);
    let mut failures = 0;
    loop {
        let looked = tokio::select! {
            () = shutdown.wait() => return,
            looked = teller.look() => looked,
        };
        let next = looked.unwrap_or_else(|fault| {
            tracing::warn!(
                error = &fault as &dyn std::error::Error,
                "devices that returned are told of later"
            );
            Next::Later
        });
        match next {
            Next::AtOnce { progress } => {
                if progress {
                    failures = 0;
                }
            }
            // A ring doesn't shorten this: devices that return in crowds ring often, and help nobody who is away.
            Next::Later => {
                let random = rand::rng().random();
                let pause = backoff::jittered(failures, RETRY_BASE, RETRY_CAP, random);
                failures = failures.saturating_add(1);
                tokio::select! {
                    () = shutdown.wait() => return,
                    () = tokio::time::sleep(pause) => {}
                }
            }
            Next::Idle => {
                failures = 0;
                tokio::select! {
                    () = shutdown.wait() => return,
                    () = teller.registry.until_returned() => {}
                    () = tokio::time::sleep(INTERVAL) => {}
                }
            }
        }
    }
}

/// When to look again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    AtOnce {
        /// Something is told that need not be told again.
        progress: bool,
    },
    Later,
    Idle,
}

/// A binding of a device in a command. One frame names each once: the answer doesn't say which of two endings it means.
type Key = (String, String, i64);

/// Goes round the table, a frame at a time, so that what is not answered holds nothing else up.
pub(super) struct Teller {
    registry: Registry,
    archive: Arc<dyn Archive>,
    counters: Counters,
    /// The last that was told in this round; empty at its beginning.
    after: Key,
    /// Something in this round is to be told again.
    left: bool,
}

impl Teller {
    pub fn new(registry: Registry, archive: Arc<dyn Archive>, counters: Counters) -> Self {
        Self {
            registry,
            archive,
            counters,
            after: Key::default(),
            left: false,
        }
    }

    /// Tells the next frame.
    pub async fn look(&mut self) -> Result<Next, Fault> {
        let rows = self.page().await?;
        let Some(last) = rows.last() else {
            let begun = self.after != Key::default();
            self.after = Key::default();
            return Ok(if std::mem::take(&mut self.left) {
                Next::Later
            } else if begun {
                Next::AtOnce { progress: false }
            } else {
                Next::Idle
            });
        };
        self.after = last.key.clone();
        let told = rows.iter().map(|row| row.told.clone()).collect();
        let Some(kept) = self.archive.keep(told).await else {
            return Ok(Next::Later);
        };
        let settled = rows.iter().filter_map(|row| {
            let kept = kept.iter().find(|kept| row.is(kept))?;
            Some((row, kept.refused.as_deref()))
        });
        let settled: Vec<_> = settled.collect();
        self.forget(&settled).await?;
        self.left |= settled.len() < rows.len();
        for word in settled.iter().filter_map(|(_, refused)| *refused) {
            self.counters.count(Odd::Return, known(word));
        }
        Ok(Next::AtOnce {
            progress: !settled.is_empty(),
        })
    }

    async fn page(&self) -> Result<Vec<Row>, Fault> {
        let (command, device, epoch) = &self.after;
        let rows = sqlx::query(
            "SELECT command, device, epoch, ending, at FROM returns WHERE (command, device, epoch) > ($1, $2, $3) \
             ORDER BY command, device, epoch, at LIMIT $4",
        )
        .bind(command)
        .bind(device)
        .bind(*epoch)
        .bind(i64::try_from(RETURNS_MAX).unwrap_or(i64::MAX))
        .fetch_all(self.registry.store().pool())
        .await?;
        let mut rows = rows.iter().map(row).collect::<Result<Vec<_>, _>>()?;
        // The earlier ending now; the other in the next round.
        rows.dedup_by(|later, earlier| later.key == earlier.key);
        Ok(rows)
    }

    async fn forget(&self, settled: &[(&Row, Option<&str>)]) -> Result<(), Fault> {
        if settled.is_empty() {
            return Ok(());
        }
        let mut tx = self.registry.store().pool().begin().await?;
        for (row, _) in settled {
            let (command, device, epoch) = &row.key;
            sqlx::query(
                "DELETE FROM returns WHERE command = $1 AND device = $2 AND epoch = $3 AND ending = $4",
            )
            .bind(command)
            .bind(device)
            .bind(*epoch)
            .bind(&row.ending)
            .execute(&mut *tx)
            .await?;
        }
        Ok(tx.commit().await?)
    }
}

struct Row {
    key: Key,
    /// As stored.
    ending: String,
    told: DeviceReturn,
}

impl Row {
    fn is(&self, kept: &ReturnKept) -> bool {
        let told = &self.told;
        (&told.command, &told.device, told.binding_epoch)
            == (&kept.command, &kept.device, kept.binding_epoch)
    }
}

fn row(row: &AnyRow) -> Result<Row, Fault> {
    let key: Key = (
        row.try_get("command")?,
        row.try_get("device")?,
        row.try_get("epoch")?,
    );
    let ending: String = row.try_get("ending")?;
    let told = DeviceReturn {
        command: key.0.clone(),
        device: key.1.clone(),
        binding_epoch: outbox::epoch(key.2)?,
        ending: parsed(&ending).map_err(|error| Fault::new("the returns table", error))?,
        at: time(row.try_get("at")?),
    };
    Ok(Row { key, ending, told })
}

fn parsed(ending: &str) -> Result<DeviceEnding, Unreadable> {
    match ending {
        "EXECUTED" => Ok(DeviceEnding::Executed),
        "CONFIRMED" => Ok(DeviceEnding::Confirmed),
        "SUPERSEDED" => Ok(DeviceEnding::Superseded),
        "NEVER_RETURNED" => Ok(DeviceEnding::NeverReturned),
        other => Err(Unreadable(other.to_owned())),
    }
}

fn known(word: &str) -> &'static str {
    let known = REFUSALS.into_iter().find(|known| *known == word);
    known.unwrap_or(OTHER_REFUSAL)
}
