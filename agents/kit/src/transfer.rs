//! Moving what an account has to another one, where it is kept: in one transaction that holds both accounts, done once, and
//! answered the same for ever.
//!
//! A deletion of either account is before it or after it, never in between: sealing takes the same row locks.

use std::time::SystemTime;

use sqlx::{Any, AnyConnection, Transaction};

use crate::participant::{Fault, Moved, TransferBelongings, Transferred};
use crate::seal;
use crate::store::{Store, micros, time};

/// Schema of what was moved, for whoever has something to move. Rows name accounts by their marks.
pub const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS transfer (name TEXT PRIMARY KEY, account TEXT NOT NULL, \
     to_account TEXT NOT NULL, belongings TEXT NOT NULL, moved TEXT NOT NULL, moved_at BIGINT NOT NULL)";

/// Nothing of what was named is there.
const NOTHING_TO_TRANSFER: &str = "NOTHING_TO_TRANSFER";
/// The name was used for other accounts or other belongings.
const REQUEST_ID_REUSED: &str = "REQUEST_ID_REUSED";

/// What a transfer meets.
pub enum Begun {
    /// It has its answer.
    Answered(Transferred),
    /// It is to be carried out in this transaction.
    Open(Work),
}

/// A transfer being carried out. Dropped unfinished, it leaves no trace.
pub struct Work {
    tx: Transaction<'static, Any>,
    store: Store,
    request: TransferBelongings,
}

/// Begins a transfer, or a look at one, under the row locks of both accounts. What was moved by this name before is answered
/// again, whatever became of the accounts since.
pub async fn begin(store: &Store, request: &TransferBelongings) -> Result<Begun, Fault> {
    let mut tx = store.pool().begin().await?;
    let [from, to] = seal::admit_both(&mut tx, [&request.account, &request.to_account]).await?;
    if let Some(answer) = known(&mut tx, request).await? {
        return Ok(Begun::Answered(answer));
    }
    let reason = match (from, to) {
        (Ok(()), Ok(())) => {
            // What doesn't move along may be erased on the way.
            return Ok(Begun::Open(Work {
                tx,
                store: store.clone(),
                request: request.clone(),
            }));
        }
        (Err(seal::Error::Sealed), _) => "ACCOUNT_SEALED",
        (Err(seal::Error::Frozen), _) => "ACCOUNT_FROZEN",
        (Err(seal::Error::Erased), _) => "ACCOUNT_ERASED",
        (_, Err(seal::Error::Sealed)) => "TO_ACCOUNT_SEALED",
        (_, Err(seal::Error::Frozen)) => "TO_ACCOUNT_FROZEN",
        (_, Err(seal::Error::Erased)) => "TO_ACCOUNT_ERASED",
        (Err(seal::Error::Database(error)), _) | (_, Err(seal::Error::Database(error))) => {
            return Err(error.into());
        }
    };
    Ok(Begun::Answered(Transferred::Refused { reason }))
}

/// The answer to what was moved by this name. Read under the locks: another process may have moved it until now.
async fn known(
    tx: &mut AnyConnection,
    request: &TransferBelongings,
) -> Result<Option<Transferred>, Fault> {
    let row: Option<(String, String, String, String, i64)> = sqlx::query_as(
        "SELECT account, to_account, belongings, moved, moved_at FROM transfer WHERE name = $1",
    )
    .bind(&request.name)
    .fetch_optional(tx)
    .await?;
    let Some((account, to_account, belongings, moved, at)) = row else {
        return Ok(None);
    };
    let asked = [
        seal::mark(&request.account),
        seal::mark(&request.to_account),
        words(request),
    ];
    if asked != [account, to_account, belongings] {
        return Ok(Some(Transferred::Refused {
            reason: REQUEST_ID_REUSED,
        }));
    }
    let belongings: Vec<Moved> =
        serde_json::from_str(&moved).map_err(|error| Fault::new("what was moved", error))?;
    Ok(Some(Transferred::Done {
        belongings,
        at: time(at),
    }))
}

impl Work {
    /// The transaction to work in.
    pub fn tx(&mut self) -> &mut AnyConnection {
        &mut self.tx
    }

    /// Something is in the way: nothing is kept.
    pub async fn refuse(self, reason: &'static str) -> Result<Transferred, Fault> {
        self.tx.rollback().await?;
        Ok(Transferred::Refused { reason })
    }

    /// Commits what moved, with its answer. Of a dry run, and where nothing moved, nothing is kept.
    pub async fn finish(mut self, belongings: Vec<Moved>) -> Result<Transferred, Fault> {
        if belongings.iter().all(|it| it.moved == 0) {
            return self.refuse(NOTHING_TO_TRANSFER).await;
        }
        if self.request.dry_run {
            self.tx.rollback().await?;
            return Ok(Transferred::Found { belongings });
        }
        let moved = serde_json::to_string(&belongings)
            .map_err(|error| Fault::new("what was moved as JSON", error))?;
        // As it will be read again: in whole microseconds.
        let at = micros(SystemTime::now());
        sqlx::query(
            "INSERT INTO transfer (name, account, to_account, belongings, moved, moved_at) VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(&self.request.name)
        .bind(seal::mark(&self.request.account))
        .bind(seal::mark(&self.request.to_account))
        .bind(words(&self.request))
        .bind(moved)
        .bind(at)
        .execute(&mut *self.tx)
        .await?;
        self.tx.commit().await?;
        if let Err(fault) = seal::clear_log(&self.store).await {
            tracing::warn!(
                error = &fault as &dyn std::error::Error,
                request = self.request.name,
                "what was erased on the way is still in the log"
            );
        }
        Ok(Transferred::Done {
            belongings,
            at: time(at),
        })
    }
}

/// What was asked for, as stored.
fn words(request: &TransferBelongings) -> String {
    let words: Vec<_> = request.belongings.iter().map(|it| it.word()).collect();
    words.join(" ")
}
