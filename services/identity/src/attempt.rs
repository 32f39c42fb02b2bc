//! Tries at proving who one is, counted for each account and kind of proof over the last 24 hours.
//!
//! They belong to the account and not to a deletion or a code: a deletion that is revoked and asked for again, a new code,
//! another connection or a restart brings no new tries. A right proof takes none back, so that nobody guesses for free by
//! proving something else in between.

use std::time::{Duration, SystemTime};

use farewell_kit::holder;
use farewell_kit::store::{micros, time};
use sqlx::AnyConnection;

/// `password_tries` counted by deletion; its place is taken.
pub(crate) const SCHEMA: &str = "\
    CREATE TABLE IF NOT EXISTS attempt (account TEXT NOT NULL, kind TEXT NOT NULL, deletion TEXT NOT NULL, \
        request_id TEXT NOT NULL, tried_at BIGINT NOT NULL, PRIMARY KEY (account, kind, deletion, request_id)); \
    CREATE INDEX IF NOT EXISTS attempt_by_time ON attempt (tried_at); \
    DROP TABLE IF EXISTS password_tries";

/// How long a try counts.
pub(crate) const WINDOW: Duration = Duration::from_secs(24 * 60 * 60);

/// What an account has tried of one kind.
pub(crate) struct Spent(Vec<(String, i64)>);

impl Spent {
    /// Tries left after another one. `Err`: there is no other one before that time.
    pub fn left(&self, max: u32) -> Result<u32, SystemTime> {
        left(self.0.iter().map(|(_, at)| *at).collect(), max)
    }

    /// As [`Spent::left`], of one deletion alone.
    pub fn left_for(&self, deletion: &str, max: u32) -> Result<u32, SystemTime> {
        let own = self.0.iter().filter(|(of, _)| of == deletion);
        left(own.map(|(_, at)| *at).collect(), max)
    }
}

/// The tries that count now, under either name. Who is about to count one holds the account, so that nobody else does.
pub(crate) async fn spent(
    connection: &mut AnyConnection,
    [account, or]: [&String; 2],
    kind: &str,
    now: SystemTime,
) -> Result<Spent, sqlx::Error> {
    let rows = sqlx::query_as(
        "SELECT deletion, tried_at FROM attempt WHERE account IN ($1, $2) AND kind = $3 AND tried_at > $4 \
         ORDER BY tried_at",
    )
    .bind(account)
    .bind(or)
    .bind(kind)
    .bind(micros(begin(now)))
    .fetch_all(connection)
    .await?;
    Ok(Spent(rows))
}

/// Counts a try.
pub(crate) async fn count(
    connection: &mut AnyConnection,
    account: &str,
    kind: &str,
    (deletion, request_id): (&str, &str),
    now: SystemTime,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO attempt (account, kind, deletion, request_id, tried_at) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (account, kind, deletion, request_id) DO NOTHING",
    )
    .bind(account)
    .bind(kind)
    .bind(deletion)
    .bind(request_id)
    .bind(micros(now))
    .execute(connection)
    .await
    .map(drop)
}

pub(crate) async fn erase(
    connection: &mut AnyConnection,
    account: &str,
) -> Result<u64, sqlx::Error> {
    holder::erase(connection, "attempt", account).await
}

/// Forgets what counts no longer.
pub(crate) async fn sweep(
    connection: &mut AnyConnection,
    now: SystemTime,
) -> Result<u64, sqlx::Error> {
    let deleted = sqlx::query("DELETE FROM attempt WHERE tried_at <= $1")
        .bind(micros(begin(now)))
        .execute(connection)
        .await?;
    Ok(deleted.rows_affected())
}

/// `times` is sorted.
pub(crate) fn left(times: Vec<i64>, max: u32) -> Result<u32, SystemTime> {
    let (spent, max) = (times.len(), usize::try_from(max).unwrap_or(usize::MAX));
    if spent < max {
        return Ok(u32::try_from(max - spent - 1).unwrap_or(u32::MAX));
    }
    // The one that has to leave the window first; with a limit of none, as if the last had been now.
    let first = times.get(spent - max).or(times.last());
    Err(first.map_or(SystemTime::UNIX_EPOCH, |at| time(*at)) + WINDOW)
}

/// Since when tries count.
pub(crate) fn begin(now: SystemTime) -> SystemTime {
    now.checked_sub(WINDOW).unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_slides_and_says_when_the_next_try_is() {
        assert_eq!(left(vec![], 3), Ok(2));
        assert_eq!(left(vec![1, 2], 3), Ok(0));
        assert_eq!(left(vec![1, 2, 3], 3), Err(time(1) + WINDOW));
        assert_eq!(
            left(vec![1, 2, 3, 4], 3),
            Err(time(2) + WINDOW),
            "the limit was lowered meanwhile"
        );
        assert!(left(vec![], 0).is_err());
    }
}
