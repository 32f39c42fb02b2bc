//! What a service believes a person to be interested in, so that advertising can be personalised, and its end.
//!
//! A person may refuse that at any time (PIPL Art. 24, GDPR Art. 21(2) and (3)): then all of it is erased, and a row that stays with
//! the account keeps it from being gathered again, by whichever write comes next. Both look at the account's row lock, as seals do.

use std::collections::BTreeMap;
use std::time::SystemTime;

use sqlx::{Any, AnyConnection, Transaction};

use crate::export::{Column, Table};
use crate::participant::{Fault, PersonalizationStopped, StopPersonalization};
use crate::store::{Store, micros};
use crate::{holder, seal};

/// Schema of interests, for whoever profiles. `unprofiled` names accounts by their mark, and says how many interests of each
/// were erased since its owner refused.
pub const SCHEMA: &str = "\
    CREATE TABLE IF NOT EXISTS interest (account TEXT NOT NULL, topic TEXT NOT NULL, times BIGINT NOT NULL, \
        last_at BIGINT NOT NULL, PRIMARY KEY (account, topic)); \
    CREATE TABLE IF NOT EXISTS unprofiled (account TEXT PRIMARY KEY, erased BIGINT NOT NULL)";

/// What its owner may take along.
pub const EXPORT: Table = Table::new(
    "interests",
    &[
        Column::Text("topic"),
        Column::Number("times"),
        Column::Time("last"),
    ],
    "SELECT topic, topic, times, last_at FROM interest WHERE account = $1 AND topic > $2 ORDER BY topic LIMIT $3",
);

/// What is erased, and stands in inventories.
pub const CATEGORY: &str = "interests";

/// Notes that the person showed an interest, unless they refuse that. In the transaction of the write that shows it, which has
/// been admitted.
pub async fn note(
    connection: &mut AnyConnection,
    account: &str,
    topic: &str,
    at: SystemTime,
) -> Result<(), sqlx::Error> {
    let refused: Option<(i64,)> =
        sqlx::query_as("SELECT erased FROM unprofiled WHERE account = $1")
            .bind(seal::mark(account))
            .fetch_optional(&mut *connection)
            .await?;
    if refused.is_some() || topic.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO interest (account, topic, times, last_at) VALUES ($1, $2, 1, $3) \
         ON CONFLICT (account, topic) DO UPDATE SET times = interest.times + 1, last_at = excluded.last_at",
    )
    .bind(account)
    .bind(topic)
    .bind(micros(at))
    .execute(connection)
    .await
    .map(drop)
}

/// What is believed now, by topic.
///
/// Errors: the database is away.
pub async fn of(store: &Store, account: &str) -> Result<Vec<String>, sqlx::Error> {
    let rows: Vec<(String,)> =
        sqlx::query_as("SELECT topic FROM interest WHERE account = $1 ORDER BY topic")
            .bind(account)
            .fetch_all(store.pool())
            .await?;
    Ok(rows.into_iter().map(|(topic,)| topic).collect())
}

/// Stops it, for [`crate::Participant::stop_personalization`]. Again erases what a backup may have brought back, and answers with
/// the sum. A frozen account's owner may refuse as well.
pub async fn stop(
    store: &Store,
    request: &StopPersonalization,
) -> Result<PersonalizationStopped, Fault> {
    let mut tx = store.pool().begin().await?;
    match seal::admit(&mut tx, &request.account).await {
        Ok(()) | Err(seal::Error::Frozen) => {}
        Err(seal::Error::Sealed) => return Ok(PersonalizationStopped::Sealed),
        Err(seal::Error::Erased) => return Ok(PersonalizationStopped::Gone),
        Err(seal::Error::Database(error)) => return Err(error.into()),
    }
    let erased = refuse(&mut tx, &request.account).await?;
    tx.commit().await?;
    let erased = (erased > 0).then(|| (CATEGORY.to_owned(), erased));
    Ok(PersonalizationStopped::Stopped {
        erased: BTreeMap::from_iter(erased),
    })
}

async fn refuse(tx: &mut Transaction<'_, Any>, account: &str) -> Result<i64, Fault> {
    let gone = forget(tx, account).await?;
    let gone = i64::try_from(gone).map_err(|error| Fault::new("a count", error))?;
    let (erased,) = sqlx::query_as(
        "INSERT INTO unprofiled (account, erased) VALUES ($1, $2) \
         ON CONFLICT (account) DO UPDATE SET erased = unprofiled.erased + excluded.erased RETURNING erased",
    )
    .bind(seal::mark(account))
    .bind(gone)
    .fetch_one(&mut **tx)
    .await?;
    Ok(erased)
}

/// Erases all of it with the account, the refusal too: a fence stands there then.
pub async fn erase(connection: &mut AnyConnection, account: &str) -> Result<u64, sqlx::Error> {
    sqlx::query("DELETE FROM unprofiled WHERE account = $1")
        .bind(seal::mark(account))
        .execute(&mut *connection)
        .await?;
    forget(connection, account).await
}

async fn forget(connection: &mut AnyConnection, account: &str) -> Result<u64, sqlx::Error> {
    holder::erase(connection, "interest", account).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::participant::{Done, Order, Outcome, RECENT_CHANGE_MAX, SetStanding, Standing};
    use crate::{journal, scratch, standing};

    const ACCOUNT: &str = "a-4711";
    const TABLES: &[&str] = &[
        journal::SCHEMA,
        seal::SCHEMA,
        SCHEMA,
        "DELETE FROM answered; DELETE FROM fence; DELETE FROM seal; DELETE FROM standing; DELETE FROM interest; \
         DELETE FROM unprofiled",
    ];

    async fn stores(name: &str) -> Vec<Store> {
        let mut stores = Vec::new();
        for url in scratch::urls(name) {
            let store = Store::open(&url, &format!("kit_{name}"), TABLES).await;
            stores.push(store.unwrap());
        }
        stores
    }

    fn asked() -> StopPersonalization {
        StopPersonalization {
            account: ACCOUNT.to_owned(),
        }
    }

    fn stopped(interests: i64) -> PersonalizationStopped {
        PersonalizationStopped::Stopped {
            erased: [(CATEGORY.to_owned(), interests)].into(),
        }
    }

    async fn see(store: &Store, topic: &str) {
        let mut tx = store.pool().begin().await.unwrap();
        let now = SystemTime::now();
        note(&mut tx, ACCOUNT, topic, now).await.unwrap();
        tx.commit().await.unwrap();
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
    async fn what_was_gathered_goes_and_no_later_write_gathers_more() {
        for store in stores("interests").await {
            for topic in ["phones", "tea", "phones"] {
                see(&store, topic).await;
            }
            assert_eq!(of(&store, ACCOUNT).await.unwrap(), ["phones", "tea"]);
            assert_eq!(stop(&store, &asked()).await.unwrap(), stopped(2));
            see(&store, "lamps").await;
            assert_eq!(of(&store, ACCOUNT).await.unwrap(), [""; 0]);
            // An answer that was lost is given again.
            assert_eq!(stop(&store, &asked()).await.unwrap(), stopped(2));
            // A backup brought something back.
            sqlx::query(
                "INSERT INTO interest (account, topic, times, last_at) VALUES ($1, 'tea', 1, 1)",
            )
            .bind(ACCOUNT)
            .execute(store.pool())
            .await
            .unwrap();
            assert_eq!(stop(&store, &asked()).await.unwrap(), stopped(3));
            assert_eq!(of(&store, ACCOUNT).await.unwrap(), [""; 0]);
        }
    }

    #[tokio::test]
    async fn a_frozen_account_is_left_alone_too_a_sealed_one_later_and_an_erased_one_has_nothing() {
        for store in stores("interests_closed").await {
            see(&store, "tea").await;
            let sealed = seal::close(&store, &order("1-seal-x")).await.unwrap();
            sealed.finish(Done::new(Outcome::Sealed)).await.unwrap();
            let answer = stop(&store, &asked()).await.unwrap();
            assert_eq!(answer, PersonalizationStopped::Sealed);
            assert_eq!(of(&store, ACCOUNT).await.unwrap(), ["tea"]);
            let lifted = seal::lift(&store, &order("1-unseal-x")).await.unwrap();
            lifted.finish(Done::new(Outcome::Unsealed)).await.unwrap();
            let frozen = SetStanding {
                account: ACCOUNT.to_owned(),
                generation: 1,
                standing: Standing::Frozen,
                recent_change: RECENT_CHANGE_MAX,
            };
            standing::keep(&store, &frozen).await.unwrap();
            assert_eq!(stop(&store, &asked()).await.unwrap(), stopped(1));

            let mut erasing = order("1-erase-x");
            erasing.command = erasing.command.replace("d1", "d2");
            let seal::Begun::Open(mut work) = seal::erase(&store, &erasing).await.unwrap() else {
                panic!("never answered before");
            };
            assert_eq!(erase(work.tx(), ACCOUNT).await.unwrap(), 0);
            work.finish(Done::new(Outcome::NotFound)).await.unwrap();
            let answer = stop(&store, &asked()).await.unwrap();
            assert_eq!(answer, PersonalizationStopped::Gone);
            let (rows,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM unprofiled")
                .fetch_one(store.pool())
                .await
                .unwrap();
            assert_eq!(rows, 0, "the refusal is the account's, too");
        }
    }
}
