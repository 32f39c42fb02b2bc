//! Clearing a real name where something is tied to it: done once, and answered the same for ever.

use std::collections::BTreeMap;

use sqlx::{Any, AnyConnection, Transaction};

use crate::participant::{ClearRealName, Fault, RealNameCleared};
use crate::seal;
use crate::store::Store;

/// Schema of what was cleared, for whoever has something to clear. Rows name accounts by their mark.
pub const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS cleared (name TEXT PRIMARY KEY, account TEXT NOT NULL, \
     lapsed TEXT NOT NULL)";

/// The account is being deleted: it is looked at again when that is decided.
const ACCOUNT_SEALED: &str = "ACCOUNT_SEALED";
/// The name was answered for another account.
const INVALID_REQUEST: &str = "INVALID_REQUEST";

/// What a clearing meets.
pub enum Begun {
    /// It has its answer.
    Answered(RealNameCleared),
    /// It is to be carried out in this transaction.
    Open(Work),
}

/// A clearing being carried out. Dropped unfinished, it leaves no trace.
pub struct Work {
    tx: Transaction<'static, Any>,
    name: String,
    account: String,
    dry_run: bool,
}

/// Begins a clearing, or a look at one, under the account's row lock. A frozen account may lose its real name: that is its
/// owner's wish as well.
pub async fn begin(store: &Store, request: &ClearRealName) -> Result<Begun, Fault> {
    let mut tx = store.pool().begin().await?;
    let sealed = match seal::admit(&mut tx, &request.account).await {
        Ok(()) | Err(seal::Error::Frozen) => false,
        Err(seal::Error::Sealed) => true,
        Err(seal::Error::Erased) => return Ok(Begun::Answered(RealNameCleared::Gone)),
        Err(seal::Error::Database(error)) => return Err(error.into()),
    };
    let account = seal::mark(&request.account);
    let kept: Option<(String, String)> =
        sqlx::query_as("SELECT account, lapsed FROM cleared WHERE name = $1")
            .bind(&request.name)
            .fetch_optional(&mut *tx)
            .await?;
    let answer = match kept {
        Some((owner, lapsed)) if owner == account => {
            let lapsed = serde_json::from_str(&lapsed)
                .map_err(|error| Fault::new("what was cleared", error))?;
            RealNameCleared::Cleared { lapsed }
        }
        Some(_) => waits(INVALID_REQUEST),
        None if sealed && !request.dry_run => waits(ACCOUNT_SEALED),
        None => {
            return Ok(Begun::Open(Work {
                tx,
                name: request.name.clone(),
                account,
                dry_run: request.dry_run,
            }));
        }
    };
    Ok(Begun::Answered(answer))
}

impl Work {
    /// The transaction to work in.
    pub fn tx(&mut self) -> &mut AnyConnection {
        &mut self.tx
    }

    /// Commits what lapsed, with its answer. Of a dry run, and where something is in the way, nothing is kept.
    pub async fn finish(
        mut self,
        lapsed: impl IntoIterator<Item = (&'static str, u64)> + Send,
        obstacles: Vec<String>,
    ) -> Result<RealNameCleared, Fault> {
        let lapsed: BTreeMap<String, i64> = lapsed
            .into_iter()
            .filter(|(_, items)| *items > 0)
            .map(|(category, items)| {
                (
                    category.to_owned(),
                    i64::try_from(items).unwrap_or(i64::MAX),
                )
            })
            .collect();
        if self.dry_run {
            self.tx.rollback().await?;
            let lapses = lapsed;
            return Ok(RealNameCleared::Found { lapses, obstacles });
        }
        if !obstacles.is_empty() {
            self.tx.rollback().await?;
            return Ok(RealNameCleared::Waits { obstacles });
        }
        let text = serde_json::to_string(&lapsed)
            .map_err(|error| Fault::new("what was cleared as JSON", error))?;
        sqlx::query("INSERT INTO cleared (name, account, lapsed) VALUES ($1, $2, $3)")
            .bind(&self.name)
            .bind(&self.account)
            .bind(text)
            .execute(&mut *self.tx)
            .await?;
        self.tx.commit().await?;
        Ok(RealNameCleared::Cleared { lapsed })
    }
}

fn waits(word: &str) -> RealNameCleared {
    RealNameCleared::Waits {
        obstacles: vec![word.to_owned()],
    }
}
