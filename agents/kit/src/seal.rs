//! The seal on an account, the fence that stands where an account was, and the work done between the two.
//!
//! A seal stops writes and can be lifted; the fence stops them for ever once the account is erased, so that nothing
//! creates it again. Both are looked at in the transaction of the write itself ([`admit`]), which takes the same row lock
//! as sealing and erasing do: no write can slip in between the look and the commit.
//!
//! Erased means gone from the disk, too. SQLite leaves deleted rows in free pages and in its write-ahead log unless told
//! otherwise; it is told here. PostgreSQL reuses the room of deleted rows at the next autovacuum.
//!
//! What is absent: account ids. Rows name an account by its [`mark`], and so does the journal for work begun here. A
//! mark is a pseudonym, not an anonymous value: whoever knows an id can compute it, but a stolen database names nobody.

use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};
use sqlx::{Any, AnyConnection, Transaction};

use crate::journal;
use crate::participant::{Answer, Deferred, Done, Fault, Inventory, Order, Outcome, Retained};
use crate::store::Store;

/// Schema of seals and fences, to be put after the journal's. A deletion that was lifted keeps its row, so that a late
/// SEAL of the same deletion finds it.
pub const SCHEMA: &str = "\
    CREATE TABLE IF NOT EXISTS fence (account TEXT PRIMARY KEY, erased BIGINT NOT NULL CHECK (erased IN (0, 1))); \
    CREATE TABLE IF NOT EXISTS seal (account TEXT NOT NULL, deletion TEXT NOT NULL, \
        lifted BIGINT NOT NULL CHECK (lifted IN (0, 1)), PRIMARY KEY (account, deletion)); \
    CREATE TABLE IF NOT EXISTS standing (account TEXT PRIMARY KEY, generation BIGINT NOT NULL CHECK (generation >= 1), \
        word TEXT NOT NULL CHECK (word IN ('ACTIVE', 'FROZEN', 'MEMORIALIZED')))";

/// Why an expiry is put off: by this participant's clock nothing has ended yet.
const NOT_ENDED_HERE: &str = "NOT_ENDED_HERE";
/// How far two clocks may be apart that somebody looks after: so long an expiry waits for the other.
const CLOCK_BEHIND_MAX: Duration = Duration::from_secs(5 * 60);
/// `REFUSED`: this participant's clock is behind the coordinator's by more than that, or the coordinator's is ahead. Which of them is
/// wrong only a person can tell, and neither alone may keep a record or erase it.
pub const CLOCK_BEHIND: &str = "CLOCK_BEHIND";

/// What the driver calls it.
const SQLITE: &str = "SQLite";

/// `REFUSED`: the deletion was called off here, so its SEAL comes late and its ERASE must never come.
pub const SEAL_LIFTED: &str = "SEAL_LIFTED";
/// `REFUSED`: there is nothing left that an UNSEAL could bring back.
pub const ALREADY_ERASED: &str = "ALREADY_ERASED";
/// `REFUSED`: what law keeps of an account can't end while the account is there.
pub const NOT_ERASED: &str = "NOT_ERASED";
/// `REFUSED`: the command's name does not say which deletion it belongs to.
pub const COMMAND_MALFORMED: &str = "COMMAND_MALFORMED";

/// Why a write is not taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A deletion is under way; revoking it makes writes possible again.
    #[error("the account is sealed by a deletion")]
    Sealed,
    /// Its owner has frozen it, or has died; see [`crate::standing`].
    #[error("the account is frozen")]
    Frozen,
    /// The account is gone for good.
    #[error("the account was erased")]
    Erased,
    /// The database could not say.
    #[error("the participant's database")]
    Database(#[from] sqlx::Error),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::new("a write", error)
    }
}

/// How rows that outlive an account name it: SHA-256 in 64 hexadecimal digits.
pub fn mark(account: &str) -> String {
    let digest = Sha256::new()
        .chain_update(b"farewell account mark\0")
        .chain_update(account)
        .finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The deletion that a command belongs to: `d` of `deletions/d/commands/1-seal-cloud`.
pub fn deletion_of(command: &str) -> Option<&str> {
    let (deletion, name) = command
        .strip_prefix("deletions/")?
        .split_once("/commands/")?;
    (!deletion.is_empty() && !deletion.contains('/') && !name.is_empty()).then_some(deletion)
}

/// Asked first by every write of an account's data, in the write's own transaction. Holds the account against sealing
/// and erasing until that transaction ends.
///
/// Errors: [`Error::Sealed`], [`Error::Frozen`], [`Error::Erased`]; the caller rolls back.
pub async fn admit(tx: &mut Transaction<'_, Any>, account: &str) -> Result<(), Error> {
    admit_though_sealed(tx, account).await?;
    match closed(tx, &mark(account)).await? {
        (true, _) => Err(Error::Sealed),
        (false, true) => Err(Error::Frozen),
        (false, false) => Ok(()),
    }
}

/// As [`admit`], for the few writes that a sealed or frozen account still needs, for instance the code that confirms a revoke.
pub async fn admit_though_sealed(
    tx: &mut Transaction<'_, Any>,
    account: &str,
) -> Result<(), Error> {
    if hold(tx, &mark(account)).await? {
        Err(Error::Erased)
    } else {
        Ok(())
    }
}

/// As [`admit`] for two accounts, whose answers come in the order asked. The one with the lesser mark is held first, so that of
/// two who want both neither waits for the other.
///
/// Errors: the database is away.
pub async fn admit_both(
    tx: &mut Transaction<'_, Any>,
    [one, other]: [&str; 2],
) -> Result<[Result<(), Error>; 2], sqlx::Error> {
    async fn held(
        tx: &mut Transaction<'_, Any>,
        account: &str,
    ) -> Result<Result<(), Error>, sqlx::Error> {
        match admit(tx, account).await {
            Err(Error::Database(error)) => Err(error),
            admitted => Ok(admitted),
        }
    }
    if mark(one) <= mark(other) {
        let first = held(tx, one).await?;
        Ok([first, held(tx, other).await?])
    } else {
        let second = held(tx, other).await?;
        Ok([held(tx, one).await?, second])
    }
}

/// Forgets that an account was ever held, if nothing stands where it is: for those who hold accounts that nobody knows, as
/// anybody may name one. The next to hold it makes the row again.
pub async fn forget(connection: &mut AnyConnection, mark: &str) -> Result<u64, sqlx::Error> {
    let deleted = sqlx::query("DELETE FROM fence WHERE account = $1 AND erased = 0")
        .bind(mark)
        .execute(connection)
        .await?;
    Ok(deleted.rows_affected())
}

/// Whether the account is neither sealed, frozen nor erased. Holds it until the transaction ends, as [`admit`] does, for those
/// who look for somebody that takes something and do without if nobody can.
pub(crate) async fn is_open(tx: &mut AnyConnection, account: &str) -> Result<bool, sqlx::Error> {
    let mark = mark(account);
    Ok(!hold(tx, &mark).await? && closed(tx, &mark).await? == (false, false))
}

/// The earlier answer to `order`, for [`crate::Participant::recall`]: work begun here is kept under the account's mark.
/// Refused if the name was answered for another account.
pub async fn recall(store: &Store, order: &Order) -> Result<Option<Answer>, Fault> {
    journal::recall(store, &order.command, &mark(&order.account)).await
}

/// What a command meets.
pub enum Begun {
    /// It has its answer: nothing more is to be done.
    Answered(Answer),
    /// It is to be carried out in this transaction.
    Open(Work),
}

/// A command being carried out. Dropped unfinished, for instance by a crash, it leaves no trace.
pub struct Work {
    tx: Transaction<'static, Any>,
    store: Store,
    command: String,
    account: String,
    erases: bool,
}

/// Begins SEAL: writes of the account are refused from the commit on.
///
/// `REFUSED SEAL_LIFTED` if the same deletion was unsealed before: that row stands.
pub async fn close(store: &Store, order: &Order) -> Result<Begun, Fault> {
    let (mut work, deletion, _) = match begin(store, order).await? {
        Ok(begun) => begun,
        Err(answer) => return Ok(Begun::Answered(answer)),
    };
    if lifted(&mut work.tx, &work.account, &deletion).await? {
        return Ok(Begun::Answered(refused(
            SEAL_LIFTED,
            "this deletion was unsealed before",
        )));
    }
    sqlx::query(
        "INSERT INTO seal (account, deletion, lifted) VALUES ($1, $2, 0) ON CONFLICT (account, deletion) DO NOTHING",
    )
    .bind(&work.account)
    .bind(&deletion)
    .execute(&mut *work.tx)
    .await?;
    Ok(Begun::Open(work))
}

/// Begins UNSEAL. Also without a seal: an UNSEAL that overtakes its SEAL must win.
///
/// `REFUSED ALREADY_ERASED` once the account is gone.
pub async fn lift(store: &Store, order: &Order) -> Result<Begun, Fault> {
    let (mut work, deletion, erased) = match begin(store, order).await? {
        Ok(begun) => begun,
        Err(answer) => return Ok(Begun::Answered(answer)),
    };
    if erased {
        return Ok(Begun::Answered(refused(
            ALREADY_ERASED,
            "the account was erased, nothing can be restored",
        )));
    }
    sqlx::query(
        "INSERT INTO seal (account, deletion, lifted) VALUES ($1, $2, 1) \
         ON CONFLICT (account, deletion) DO UPDATE SET lifted = 1",
    )
    .bind(&work.account)
    .bind(&deletion)
    .execute(&mut *work.tx)
    .await?;
    Ok(Begun::Open(work))
}

/// Begins ERASE: puts up the fence and clears the seals that it replaces.
///
/// `REFUSED SEAL_LIFTED` if the deletion was unsealed: no erasing follows a revoke, whoever says so.
pub async fn erase(store: &Store, order: &Order) -> Result<Begun, Fault> {
    let (mut work, deletion, _) = match begin(store, order).await? {
        Ok(begun) => begun,
        Err(answer) => return Ok(Begun::Answered(answer)),
    };
    work.erases = true;
    if lifted(&mut work.tx, &work.account, &deletion).await? {
        return Ok(Begun::Answered(refused(
            SEAL_LIFTED,
            "this deletion was unsealed before, it can't erase",
        )));
    }
    sqlx::query("UPDATE fence SET erased = 1 WHERE account = $1")
        .bind(&work.account)
        .execute(&mut *work.tx)
        .await?;
    sqlx::query("DELETE FROM seal WHERE account = $1")
        .bind(&work.account)
        .execute(&mut *work.tx)
        .await?;
    sqlx::query("DELETE FROM standing WHERE account = $1")
        .bind(&work.account)
        .execute(&mut *work.tx)
        .await?;
    Ok(Begun::Open(work))
}

/// Begins EXPIRE: takes place where an account was, of which only what law keeps is left.
///
/// `REFUSED NOT_ERASED` where the account is still there: nothing of it has been set aside.
pub async fn expire(store: &Store, order: &Order) -> Result<Begun, Fault> {
    let (mut work, _, erased) = match begin(store, order).await? {
        Ok(begun) => begun,
        Err(answer) => return Ok(Begun::Answered(answer)),
    };
    if !erased {
        return Ok(Begun::Answered(refused(
            NOT_ERASED,
            "the account was never erased here",
        )));
    }
    work.erases = true;
    Ok(Begun::Open(work))
}

/// Begins PROBE: only looks, and keeps the answer under the command's name.
///
/// Errors: also if the write-ahead log can't be cleared, because it may hold what was erased.
pub async fn look(store: &Store, order: &Order) -> Result<Begun, Fault> {
    clear_log(store).await?;
    // Writers that are under way end first: what they leave is seen.
    Ok(match begin(store, order).await? {
        Ok((work, ..)) => Begun::Open(work),
        Err(answer) => Begun::Answered(answer),
    })
}

/// The answer to a probe: residue if `held` counts anything, clean but for what is `retained` otherwise.
pub fn found(held: &Inventory, retained: Vec<Retained>) -> Done {
    let counts: Vec<_> = held
        .categories
        .iter()
        .filter(|held| held.count > 0)
        .collect();
    let outcome = if counts.is_empty() {
        Outcome::Clean
    } else {
        Outcome::Residue
    };
    let mut done = counts.iter().fold(Done::new(outcome), |done, held| {
        done.count(&held.category, held.count)
    });
    done.retained = retained;
    done
}

/// The answer to an erasure that removed `counts` and keeps `retained`: what was never held is said to be so.
pub fn erased(
    counts: impl IntoIterator<Item = (&'static str, u64)>,
    retained: Vec<Retained>,
) -> Done {
    let mut done = Done::new(Outcome::Erased);
    for (category, items) in counts.into_iter().filter(|(_, items)| *items > 0) {
        done = done.count(category, i64::try_from(items).unwrap_or(i64::MAX));
    }
    done.retained = retained;
    done.outcome = match (done.counts.is_empty(), done.retained.is_empty()) {
        (false, _) => Outcome::Erased,
        (true, false) => Outcome::Retained,
        (true, true) => Outcome::NotFound,
    };
    done
}

/// The answer to an expiry that erased `counts`, by class, and keeps `retained`.
pub fn expired(counts: impl IntoIterator<Item = (String, u64)>, retained: Vec<Retained>) -> Done {
    let counts = counts.into_iter().filter(|(_, items)| *items > 0);
    let mut done = counts.fold(Done::new(Outcome::Erased), |done, (class, items)| {
        done.count(&class, i64::try_from(items).unwrap_or(i64::MAX))
    });
    if done.counts.is_empty() {
        done.outcome = Outcome::NotFound;
    }
    done.retained = retained;
    done
}

/// By when what is kept has ended, for an expiry that came at `now`: the coordinator's day decides. `Err` is the answer while
/// its clock is ahead of this one: for a little while the command waits, and beyond that it is refused, so that it is seen.
pub fn ended_by(order: &Order, now: SystemTime) -> Result<SystemTime, Answer> {
    let Some(ended_by) = order.ended_by else {
        return Err(refused(COMMAND_MALFORMED, "an expiry says what has ended"));
    };
    match ended_by.duration_since(now) {
        Ok(early) if early > CLOCK_BEHIND_MAX => Err(refused(
            CLOCK_BEHIND,
            "this clock is behind the coordinator's: set it right, then ask again",
        )),
        Ok(early) if !early.is_zero() => Err(Answer::Deferred(Deferred {
            retry_after: early,
            reason: NOT_ENDED_HERE.to_owned(),
            done: 0,
            total: 0,
        })),
        Ok(_) | Err(_) => Ok(ended_by),
    }
}

/// The time at which an erasure that came at `now` looks what has ended: where it is repeated after a restore, the time that it was
/// asked for before, so that it ends nothing that is still kept.
pub fn erased_at(order: &Order, now: SystemTime) -> SystemTime {
    order.ended_by.map_or(now, |ended_by| ended_by.min(now))
}

impl Begun {
    /// The earlier answer, or `done` for a command that needs no further work.
    pub async fn finish(self, done: Done) -> Result<Answer, Fault> {
        match self {
            Self::Answered(answer) => Ok(answer),
            Self::Open(work) => work.finish(done).await,
        }
    }
}

impl Work {
    /// Whether nothing keeps the account closed any more: no seal, and no freeze.
    ///
    /// Errors: the database is away.
    pub async fn is_free(&mut self) -> Result<bool, Fault> {
        let (sealed, frozen) = closed(&mut self.tx, &self.account).await?;
        Ok(!sealed && !frozen)
    }

    /// The transaction to work in.
    pub fn tx(&mut self) -> &mut AnyConnection {
        &mut self.tx
    }

    /// Commits the work and its answer together.
    ///
    /// If the same command was finished elsewhere in the meantime, this work is rolled back and that answer given.
    pub async fn finish(mut self, done: Done) -> Result<Answer, Fault> {
        match journal::record(&mut self.tx, &self.command, &self.account, &done).await {
            Ok(()) => {
                self.tx.commit().await?;
                // A crash or a failure here is made good by the probe, which does not answer before.
                if self.erases
                    && let Err(fault) = clear_log(&self.store).await
                {
                    tracing::warn!(
                        error = &fault as &dyn std::error::Error,
                        command = self.command,
                        "what was erased is still in the log"
                    );
                }
                Ok(Answer::Done(done))
            }
            Err(fault) => {
                self.tx.rollback().await?;
                journal::recall(&self.store, &self.command, &self.account)
                    .await?
                    .ok_or(fault)
            }
        }
    }

    /// Commits what was done so far, without an answer: the command goes on, here or after a crash from its beginning.
    pub async fn pause(self) -> Result<(), Fault> {
        Ok(self.tx.commit().await?)
    }
}

/// Holds the account. With the work come the deletion and whether the account was erased before; `Err` is the answer that
/// needs no work.
async fn begin(
    store: &Store,
    order: &Order,
) -> Result<Result<(Work, String, bool), Answer>, Fault> {
    let Some(deletion) = deletion_of(&order.command) else {
        return Ok(Err(refused(
            COMMAND_MALFORMED,
            "a command is deletions/{deletion}/commands/{command}",
        )));
    };
    let account = mark(&order.account);
    let mut tx = store.pool().begin().await?;
    let erased = hold(&mut tx, &account).await?;
    // Read under the account: another process may have answered until now.
    if let Some(answer) = journal::recall_in(&mut tx, &order.command, &account).await? {
        return Ok(Err(answer));
    }
    let work = Work {
        tx,
        store: store.clone(),
        command: order.command.clone(),
        account,
        erases: false,
    };
    Ok(Ok((work, deletion.to_owned(), erased)))
}

/// SQLite's write-ahead log holds rows as they were before they were erased: it is emptied into the database.
///
/// Errors: somebody is still reading it.
pub async fn clear_log(store: &Store) -> Result<(), Fault> {
    let mut connection = store.pool().acquire().await?;
    if connection.backend_name() != SQLITE {
        return Ok(());
    }
    let (busy, _, _): (i64, i64, i64) = sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)")
        .fetch_one(&mut *connection)
        .await?;
    if busy == 0 {
        Ok(())
    } else {
        Err(Fault::new(
            "the write-ahead log",
            "somebody is still reading it",
        ))
    }
}

/// Takes the account's row, making it if need be, and keeps it until the transaction ends. `true`: erased.
///
/// The update of nothing is the lock that both databases understand; PostgreSQL reads the row as of the lock, not before.
async fn hold(tx: &mut AnyConnection, mark: &str) -> Result<bool, sqlx::Error> {
    let (erased,): (i64,) = sqlx::query_as(
        "INSERT INTO fence (account, erased) VALUES ($1, 0) \
         ON CONFLICT (account) DO UPDATE SET account = excluded.account RETURNING erased",
    )
    .bind(mark)
    .fetch_one(tx)
    .await?;
    Ok(erased != 0)
}

/// Whether the account is sealed, and whether it is frozen.
async fn closed(tx: &mut AnyConnection, mark: &str) -> Result<(bool, bool), sqlx::Error> {
    let (seals, freezes): (i64, i64) = sqlx::query_as(
        "SELECT (SELECT COUNT(*) FROM seal WHERE account = $1 AND lifted = 0), \
             (SELECT COUNT(*) FROM standing WHERE account = $1 AND word <> 'ACTIVE')",
    )
    .bind(mark)
    .fetch_one(tx)
    .await?;
    Ok((seals > 0, freezes > 0))
}

async fn lifted(tx: &mut AnyConnection, mark: &str, deletion: &str) -> Result<bool, sqlx::Error> {
    let row: Option<(i64,)> =
        sqlx::query_as("SELECT lifted FROM seal WHERE account = $1 AND deletion = $2")
            .bind(mark)
            .bind(deletion)
            .fetch_optional(tx)
            .await?;
    Ok(row.is_some_and(|(lifted,)| lifted != 0))
}

fn refused(reason: &str, detail: &str) -> Answer {
    Answer::Refused {
        reason: reason.to_owned(),
        detail: detail.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::participant::INVALID_COMMAND;
    use crate::scratch;

    const ACCOUNT: &str = "a-4711";

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

    async fn stores(name: &str) -> Vec<Store> {
        let mut stores = Vec::new();
        for url in scratch::urls(name) {
            let schema: &'static [&'static str] = &[
                journal::SCHEMA,
                SCHEMA,
                "DELETE FROM answered; DELETE FROM fence; DELETE FROM seal",
            ];
            stores.push(
                Store::open(&url, &format!("kit_seal_{name}"), schema)
                    .await
                    .unwrap(),
            );
        }
        stores
    }

    async fn write(store: &Store) -> Result<(), Error> {
        let mut tx = store.pool().begin().await?;
        admit(&mut tx, ACCOUNT).await?;
        Ok(tx.commit().await?)
    }

    async fn done(begun: Result<Begun, Fault>, outcome: Outcome) -> Answer {
        begun.unwrap().finish(Done::new(outcome)).await.unwrap()
    }

    #[tokio::test]
    async fn a_seal_refuses_writes_until_it_is_lifted() {
        for store in stores("refuses").await {
            write(&store).await.unwrap();
            done(close(&store, &order("1-seal-x")).await, Outcome::Sealed).await;
            assert!(matches!(write(&store).await, Err(Error::Sealed)));
            done(lift(&store, &order("1-unseal-x")).await, Outcome::Unsealed).await;
            write(&store).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_late_seal_does_not_seal_what_was_unsealed() {
        for store in stores("late").await {
            done(lift(&store, &order("1-unseal-x")).await, Outcome::Unsealed).await;
            let answer = done(close(&store, &order("1-seal-x")).await, Outcome::Sealed).await;
            assert!(matches!(answer, Answer::Refused { reason, .. } if reason == SEAL_LIFTED));
            write(&store).await.unwrap();
        }
    }

    #[tokio::test]
    async fn an_erasure_after_the_seal_was_lifted_is_refused() {
        for store in stores("revoked").await {
            done(close(&store, &order("1-seal-x")).await, Outcome::Sealed).await;
            done(lift(&store, &order("1-unseal-x")).await, Outcome::Unsealed).await;
            let answer = done(erase(&store, &order("1-erase-x")).await, Outcome::Erased).await;
            assert!(matches!(answer, Answer::Refused { reason, .. } if reason == SEAL_LIFTED));
            write(&store).await.unwrap();
        }
    }

    #[tokio::test]
    async fn an_erased_account_is_written_no_more_and_cannot_be_unsealed() {
        for store in stores("erased").await {
            done(erase(&store, &order("1-erase-x")).await, Outcome::Erased).await;
            assert!(matches!(write(&store).await, Err(Error::Erased)));
            let answer = done(lift(&store, &order("1-unseal-x")).await, Outcome::Unsealed).await;
            assert!(matches!(answer, Answer::Refused { reason, .. } if reason == ALREADY_ERASED));
        }
    }

    #[tokio::test]
    async fn a_seal_waits_for_a_write_that_is_under_way() {
        for store in stores("waits").await {
            let mut tx = store.pool().begin().await.unwrap();
            admit(&mut tx, ACCOUNT).await.unwrap();
            let sealing = tokio::spawn({
                let store = store.clone();
                async move { done(close(&store, &order("1-seal-x")).await, Outcome::Sealed).await }
            });
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert!(!sealing.is_finished());
            tx.commit().await.unwrap();
            sealing.await.unwrap();
            assert!(matches!(write(&store).await, Err(Error::Sealed)));
        }
    }

    #[tokio::test]
    async fn dropped_work_leaves_no_trace() {
        for store in stores("dropped").await {
            let Begun::Open(work) = erase(&store, &order("1-erase-x")).await.unwrap() else {
                panic!("fresh")
            };
            drop(work);
            write(&store).await.unwrap();
            assert_eq!(recall(&store, &order("1-erase-x")).await.unwrap(), None);
        }
    }

    #[tokio::test]
    async fn work_finished_twice_gives_the_first_answer() {
        for store in stores("twice").await {
            let first = done(erase(&store, &order("1-erase-x")).await, Outcome::Erased).await;
            let second = done(erase(&store, &order("1-erase-x")).await, Outcome::NotFound).await;
            assert_eq!(first, second);
        }
    }

    #[tokio::test]
    async fn a_name_that_was_answered_for_one_account_does_nothing_to_another() {
        for store in stores("another").await {
            let first = done(erase(&store, &order("1-erase-x")).await, Outcome::Erased).await;
            let other = Order {
                account: "a-4712".to_owned(),
                ..order("1-erase-x")
            };
            let refused = done(erase(&store, &other).await, Outcome::Erased).await;
            assert!(
                matches!(&refused, Answer::Refused { reason, .. } if reason == INVALID_COMMAND)
            );
            assert_eq!(recall(&store, &other).await.unwrap(), Some(refused));
            let mut tx = store.pool().begin().await.unwrap();
            admit(&mut tx, &other.account).await.unwrap();
            drop(tx);
            assert_eq!(
                recall(&store, &order("1-erase-x")).await.unwrap(),
                Some(first)
            );
        }
    }

    #[tokio::test]
    async fn a_command_without_a_deletion_is_never_executed() {
        for command in [
            "",
            "1-seal-x",
            "deletions//commands/1-seal-x",
            "deletions/d1/commands/",
            "deletions/a/b/commands/c",
        ] {
            assert_eq!(deletion_of(command), None, "{command}");
        }
        assert_eq!(deletion_of("deletions/d1/commands/1-seal-x"), Some("d1"));
    }

    #[test]
    fn an_expiry_waits_for_a_clock_that_is_a_little_behind_and_refuses_by_one_that_is_wrong() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_900_000_000);
        let asked = |ended_by| Order {
            ended_by,
            ..order("2-expire-x")
        };
        let said = |time| ended_by(&asked(Some(time)), now);
        for ended_by in [now, now - Duration::from_secs(9_999)] {
            assert_eq!(said(ended_by), Ok(ended_by));
        }
        let soon = Duration::from_secs(299);
        let Err(Answer::Deferred(deferred)) = said(now + soon) else {
            panic!("not put off");
        };
        assert_eq!(deferred.retry_after, soon);
        let Err(Answer::Refused { reason, .. }) = said(now + Duration::from_secs(301)) else {
            panic!("not refused");
        };
        assert_eq!(reason, CLOCK_BEHIND);
        let unsaid = ended_by(&asked(None), now);
        assert!(matches!(unsaid, Err(Answer::Refused { .. })));
        // A repeated erasure ends what had ended, and no clock makes that later than now.
        let repeated = asked(Some(now - soon));
        assert_eq!(erased_at(&repeated, now), now - soon);
        assert_eq!(erased_at(&asked(None), now), now);
        assert_eq!(erased_at(&asked(Some(now + soon)), now), now);
    }

    #[test]
    fn an_empty_erasure_is_not_found_and_never_erased() {
        assert_eq!(
            erased([("posts", 0)], Vec::new()).outcome,
            Outcome::NotFound
        );
        assert_eq!(erased([("posts", 2)], Vec::new()).outcome, Outcome::Erased);
    }
}
