//! What a participant has answered: the memory behind [`crate::Participant::recall`].
//!
//! An answer is written in the same transaction as the work it speaks of. Either both are there after a crash or
//! neither is, and the same command is carried out once however often it arrives.

use std::time::SystemTime;

use sqlx::{Any, AnyConnection, Transaction};

use crate::participant::{Answer, Done, Fault, INVALID_COMMAND};
use crate::store::{Store, micros};

/// Schema of the journal, to be put first in a participant's own.
pub const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS answered (command TEXT PRIMARY KEY, account TEXT NOT NULL, \
     answer TEXT NOT NULL, answered_at BIGINT NOT NULL)";

/// Keeps `done` for `command` in the caller's transaction, so that the work and its evidence commit together.
///
/// The same account and answer again is a no-op, in whatever order devices and retained classes are listed.
///
/// Errors: a [`Fault`] if `command` was answered otherwise or for another account before; what was kept stays as it is,
/// and the caller should roll back.
pub async fn record(
    tx: &mut Transaction<'_, Any>,
    command: &str,
    account: &str,
    done: &Done,
) -> Result<(), Fault> {
    let answer = Answer::Done(done.clone());
    let text =
        serde_json::to_string(&answer).map_err(|error| Fault::new("an answer as JSON", error))?;
    let kept = sqlx::query(
        "INSERT INTO answered (command, account, answer, answered_at) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (command) DO NOTHING",
    )
    .bind(command)
    .bind(account)
    .bind(text)
    .bind(micros(SystemTime::now()))
    .execute(&mut **tx)
    .await?;
    if kept.rows_affected() == 1 {
        return Ok(());
    }

    let (earlier_account, earlier): (String, String) =
        sqlx::query_as("SELECT account, answer FROM answered WHERE command = $1")
            .bind(command)
            .fetch_one(&mut **tx)
            .await?;
    if earlier_account == account && sorted(read(&earlier)?) == sorted(answer) {
        return Ok(());
    }
    Err(Fault::new(
        "the journal",
        Contradiction {
            command: command.to_owned(),
        },
    ))
}

/// The answer kept for `command`, if it was `account`'s, named as it was for [`record`]. `REFUSED` with
/// [`INVALID_COMMAND`] if it was another's: the name says who was erased, and is no evidence for anybody else.
///
/// Errors: a [`Fault`] if the database is away or the text kept can't be read; never "there is none" in its place.
pub async fn recall(store: &Store, command: &str, account: &str) -> Result<Option<Answer>, Fault> {
    recall_in(&mut *store.pool().acquire().await?, command, account).await
}

/// As [`recall`], as the caller's transaction sees it.
pub(crate) async fn recall_in(
    tx: &mut AnyConnection,
    command: &str,
    account: &str,
) -> Result<Option<Answer>, Fault> {
    let kept: Option<(String, String)> =
        sqlx::query_as("SELECT account, answer FROM answered WHERE command = $1")
            .bind(command)
            .fetch_optional(&mut *tx)
            .await?;
    match kept {
        None => Ok(None),
        Some((owner, answer)) if owner == account => read(&answer).map(Some),
        Some(_) => Ok(Some(Answer::Refused {
            reason: INVALID_COMMAND.to_owned(),
            detail: "a command of this name was answered for another account".to_owned(),
        })),
    }
}

/// One command, two different ends. Neither is thrown away: a person has to look.
#[derive(Debug, thiserror::Error)]
#[error("{command} was answered differently before")]
struct Contradiction {
    command: String,
}

fn read(text: &str) -> Result<Answer, Fault> {
    serde_json::from_str(text).map_err(|error| Fault::new("an answer in the journal", error))
}

/// Devices and retained classes are sets; a query without ORDER BY may list them otherwise the second time.
fn sorted(answer: Answer) -> Answer {
    match answer {
        Answer::Done(mut done) => {
            done.retained.sort_by(|a, b| {
                (&a.class, &a.legal_basis, a.until).cmp(&(&b.class, &b.legal_basis, b.until))
            });
            done.devices
                .sort_by(|a, b| (&a.device, a.binding_epoch).cmp(&(&b.device, b.binding_epoch)));
            Answer::Done(done)
        }
        answer @ (Answer::Deferred(_) | Answer::Refused { .. }) => answer,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::participant::{DeviceOutcome, DeviceResult, Outcome, Retained};
    use crate::scratch;

    const COMMAND: &str = "deletions/d1/commands/1-erase-notes";

    fn device(name: &str) -> DeviceResult {
        DeviceResult {
            device: name.to_owned(),
            binding_epoch: 3,
            outcome: Some(DeviceOutcome::Confirmed),
            facts: None,
            lock: None,
        }
    }

    fn erased() -> Done {
        let mut done = Done::new(Outcome::Erased).count("notes", 3);
        done.devices = vec![device("a"), device("b")];
        done.retained = vec![Retained {
            class: "transactions".to_owned(),
            legal_basis: "E-Commerce Law Art. 31".to_owned(),
            count: 1,
            until: SystemTime::UNIX_EPOCH + Duration::new(1_900_000_000, 123_456_789),
            next: None,
        }];
        done
    }

    async fn stores(name: &str) -> Vec<Store> {
        let mut stores = Vec::new();
        for url in scratch::urls(name) {
            let store = Store::open(&url, &format!("kit_{name}"), &[SCHEMA])
                .await
                .unwrap();
            sqlx::query("DELETE FROM answered")
                .execute(store.pool())
                .await
                .unwrap();
            stores.push(store);
        }
        stores
    }

    async fn keep(store: &Store, account: &str, done: &Done) -> Result<(), Fault> {
        let mut tx = store.pool().begin().await?;
        record(&mut tx, COMMAND, account, done).await?;
        Ok(tx.commit().await?)
    }

    #[tokio::test]
    async fn an_answer_comes_back_as_it_was_given() {
        for store in stores("given").await {
            assert_eq!(recall(&store, COMMAND, "a1").await.unwrap(), None);
            keep(&store, "a1", &erased()).await.unwrap();
            assert_eq!(
                recall(&store, COMMAND, "a1").await.unwrap(),
                Some(Answer::Done(erased()))
            );
        }
    }

    #[tokio::test]
    async fn the_same_answer_again_changes_nothing() {
        for store in stores("again").await {
            keep(&store, "a1", &erased()).await.unwrap();
            keep(&store, "a1", &erased()).await.unwrap();
            let mut turned = erased();
            turned.devices.reverse();
            keep(&store, "a1", &turned).await.unwrap();
            assert_eq!(
                recall(&store, COMMAND, "a1").await.unwrap(),
                Some(Answer::Done(erased()))
            );
        }
    }

    #[tokio::test]
    async fn a_different_answer_is_refused_and_the_first_one_stands() {
        for store in stores("different").await {
            keep(&store, "a1", &erased()).await.unwrap();
            assert!(
                keep(&store, "a1", &erased().count("notes", 4))
                    .await
                    .is_err()
            );
            assert!(
                keep(&store, "a2", &erased()).await.is_err(),
                "another account is another content"
            );
            assert_eq!(
                recall(&store, COMMAND, "a1").await.unwrap(),
                Some(Answer::Done(erased()))
            );
        }
    }

    #[tokio::test]
    async fn an_answer_is_recalled_for_the_account_it_was_given_for_and_refused_to_others() {
        for store in stores("owner").await {
            keep(&store, "a1", &erased()).await.unwrap();
            let other = recall(&store, COMMAND, "a2").await.unwrap();
            assert!(
                matches!(other, Some(Answer::Refused { reason, .. }) if reason == INVALID_COMMAND)
            );
            assert_eq!(
                recall(&store, COMMAND, "a1").await.unwrap(),
                Some(Answer::Done(erased()))
            );
        }
    }

    #[tokio::test]
    async fn a_transaction_that_rolls_back_leaves_no_answer() {
        for store in stores("rollback").await {
            let mut tx = store.pool().begin().await.unwrap();
            record(&mut tx, COMMAND, "a1", &erased()).await.unwrap();
            tx.rollback().await.unwrap();
            assert_eq!(recall(&store, COMMAND, "a1").await.unwrap(), None);
        }
    }

    #[tokio::test]
    async fn an_answer_that_cannot_be_read_is_trouble_and_not_absence() {
        for store in stores("unreadable").await {
            sqlx::query(
                "INSERT INTO answered VALUES ($1, 'a1', '{\"Done\":{\"outcome\":\"Perhaps\"}}', 1)",
            )
            .bind(COMMAND)
            .execute(store.pool())
            .await
            .unwrap();
            assert!(recall(&store, COMMAND, "a1").await.is_err());
        }
    }
}
