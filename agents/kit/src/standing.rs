//! The standing of an account: whether it can be used, apart from any deletion.
//!
//! A seal belongs to a deletion and goes with it; a standing is what its owner, or after a death the support desk, wanted, and
//! stays whatever becomes of a deletion. It is looked at where seals are ([`crate::seal::admit`]), under the same row lock.
//! Standings come from a queue that repeats and reorders: the highest generation holds.

use sqlx::{Any, AnyConnection, Transaction};

use crate::participant::{Fault, SetStanding, Standing, StandingKept};
use crate::seal;
use crate::store::Store;

/// What became of a standing, in the transaction that keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It holds from the commit on, instead of this one.
    Now(Standing),
    /// It, or a later one, was kept before.
    Before,
    /// The account was erased.
    Gone,
}

impl From<Kept> for StandingKept {
    fn from(kept: Kept) -> Self {
        match kept {
            Kept::Now(_) | Kept::Before => Self::Kept,
            Kept::Gone => Self::Gone,
        }
    }
}

/// Keeps a standing, for [`crate::Participant::set_standing`]: writes of the account are refused, or let in again, from the
/// commit on.
pub async fn keep(store: &Store, request: &SetStanding) -> Result<StandingKept, Fault> {
    let mut tx = store.pool().begin().await?;
    let kept = keep_in(&mut tx, request).await?;
    tx.commit().await?;
    Ok(kept.into())
}

/// As [`keep`], in the caller's transaction, for whoever has more to do then.
pub async fn keep_in(tx: &mut Transaction<'_, Any>, request: &SetStanding) -> Result<Kept, Fault> {
    match seal::admit_though_sealed(tx, &request.account).await {
        Ok(()) => {}
        Err(seal::Error::Erased) => return Ok(Kept::Gone),
        Err(error) => return Err(error.into()),
    }
    let before = of(tx, &request.account).await?;
    let generation =
        i64::try_from(request.generation).map_err(|error| Fault::new("a generation", error))?;
    let kept = sqlx::query(
        "INSERT INTO standing (account, generation, word) VALUES ($1, $2, $3) \
         ON CONFLICT (account) DO UPDATE SET generation = excluded.generation, word = excluded.word \
         WHERE standing.generation < excluded.generation",
    )
    .bind(seal::mark(&request.account))
    .bind(generation)
    .bind(word(request.standing))
    .execute(&mut **tx)
    .await?;
    Ok(if kept.rows_affected() == 1 {
        Kept::Now(before)
    } else {
        Kept::Before
    })
}

/// How an account stands. One that nothing was ever said of is active.
pub async fn of(connection: &mut AnyConnection, account: &str) -> Result<Standing, sqlx::Error> {
    let row: Option<(String,)> = sqlx::query_as("SELECT word FROM standing WHERE account = $1")
        .bind(seal::mark(account))
        .fetch_optional(connection)
        .await?;
    Ok(match row.as_ref().map(|(word,)| word.as_str()) {
        Some("FROZEN") => Standing::Frozen,
        Some("MEMORIALIZED") => Standing::Memorialized,
        Some(_) | None => Standing::Active,
    })
}

const fn word(standing: Standing) -> &'static str {
    match standing {
        Standing::Active => "ACTIVE",
        Standing::Frozen => "FROZEN",
        Standing::Memorialized => "MEMORIALIZED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::participant::{Done, Order, Outcome, RECENT_CHANGE_MAX};
    use crate::{journal, scratch};

    const ACCOUNT: &str = "a-4711";
    const TABLES: &[&str] = &[
        journal::SCHEMA,
        seal::SCHEMA,
        "DELETE FROM answered; DELETE FROM fence; DELETE FROM seal; DELETE FROM standing",
    ];

    async fn stores(name: &str) -> Vec<Store> {
        let mut stores = Vec::new();
        for url in scratch::urls(name) {
            stores.push(
                Store::open(&url, &format!("kit_{name}"), TABLES)
                    .await
                    .unwrap(),
            );
        }
        stores
    }

    fn set(generation: u64, standing: Standing) -> SetStanding {
        SetStanding {
            account: ACCOUNT.to_owned(),
            generation,
            standing,
            recent_change: RECENT_CHANGE_MAX,
        }
    }

    async fn admitted(store: &Store) -> Result<(), seal::Error> {
        let mut tx = store.pool().begin().await?;
        seal::admit(&mut tx, ACCOUNT).await
    }

    fn order(command: &str) -> Order {
        Order {
            horizon: None,
            retention: Vec::new(),
            ended_by: None,
            command: format!("deletions/d1/commands/{command}"),
            account: ACCOUNT.to_owned(),
            deadline: None,
            devices: Vec::new(),
            traceparent: String::new(),
        }
    }

    #[tokio::test]
    async fn the_highest_generation_holds_in_whatever_order_they_come() {
        for store in stores("standing_order").await {
            assert!(admitted(&store).await.is_ok());
            for (said, holds) in [
                (set(2, Standing::Frozen), Standing::Frozen),
                (set(1, Standing::Active), Standing::Frozen),
                (set(2, Standing::Active), Standing::Frozen),
                (set(4, Standing::Active), Standing::Active),
                (set(3, Standing::Frozen), Standing::Active),
                (set(5, Standing::Memorialized), Standing::Memorialized),
            ] {
                assert_eq!(keep(&store, &said).await.unwrap(), StandingKept::Kept);
                let mut connection = store.pool().acquire().await.unwrap();
                assert_eq!(
                    of(&mut connection, ACCOUNT).await.unwrap(),
                    holds,
                    "{said:?}"
                );
                drop(connection);
                let refused = matches!(admitted(&store).await, Err(seal::Error::Frozen));
                assert_eq!(refused, holds != Standing::Active, "{said:?}");
            }
        }
    }

    #[tokio::test]
    async fn a_seal_that_is_lifted_leaves_the_freeze_and_erasing_takes_it_along() {
        for store in stores("standing_seal").await {
            let sealed = seal::close(&store, &order("1-seal-x")).await.unwrap();
            sealed.finish(Done::new(Outcome::Sealed)).await.unwrap();
            keep(&store, &set(1, Standing::Frozen)).await.unwrap();
            assert!(matches!(admitted(&store).await, Err(seal::Error::Sealed)));
            let lifted = seal::lift(&store, &order("1-unseal-x")).await.unwrap();
            lifted.finish(Done::new(Outcome::Unsealed)).await.unwrap();
            assert!(matches!(admitted(&store).await, Err(seal::Error::Frozen)));

            let mut erase = order("1-erase-x");
            erase.command = erase.command.replace("d1", "d2");
            let erased = seal::erase(&store, &erase).await.unwrap();
            erased.finish(Done::new(Outcome::NotFound)).await.unwrap();
            let mut connection = store.pool().acquire().await.unwrap();
            assert_eq!(
                of(&mut connection, ACCOUNT).await.unwrap(),
                Standing::Active
            );
            drop(connection);
            let late = keep(&store, &set(9, Standing::Active)).await.unwrap();
            assert_eq!(late, StandingKept::Gone);
            assert!(matches!(admitted(&store).await, Err(seal::Error::Erased)));
        }
    }
}
