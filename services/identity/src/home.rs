//! Accounts whose home is another region: that they are, and where. Of the account itself nothing is kept, not even its name.

use std::time::SystemTime;

use farewell_kit::seal;
use farewell_kit::store::{Store, micros};
use sqlx::AnyConnection;

use crate::participant;

/// Longest name of a region.
pub const REGION_BYTES_MAX: usize = 32;

/// `account` is its mark, as in the seals. It outlives the account, like those: which region erased it is no secret of its owner's.
pub(crate) const SCHEMA: &str = "\
    CREATE TABLE IF NOT EXISTS elsewhere (account TEXT PRIMARY KEY, region TEXT NOT NULL CHECK (region <> ''), \
        moved_at BIGINT NOT NULL)";

/// Why an account is not moved.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// It is being deleted, was deleted, or is frozen: it ends, or thaws, where it is.
    #[error(transparent)]
    Closed(#[from] seal::Error),
    #[error("a region is 1 to {REGION_BYTES_MAX} of a-z, 0-9 and -")]
    Region,
}

impl From<sqlx::Error> for MoveError {
    fn from(error: sqlx::Error) -> Self {
        Self::Closed(error.into())
    }
}

/// Says that the account's home is `region`, a moment after it was registered there, or that it always was. Whatever identity
/// holds of it here is erased in the same transaction. A repeat changes nothing.
///
/// An account that is being deleted doesn't move: whoever asked for its deletion was told where that runs. One that is only
/// asked to be deleted does, and the request expires.
///
/// Errors: [`MoveError::Closed`] and nothing is changed; [`MoveError::Region`].
pub async fn move_away(store: &Store, account: &str, region: &str) -> Result<(), MoveError> {
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !(1..=REGION_BYTES_MAX).contains(&region.len()) || !region.bytes().all(legal) {
        return Err(MoveError::Region);
    }
    let mut tx = store.pool().begin().await?;
    seal::admit(&mut tx, account).await?;
    participant::erase(&mut tx, account).await?;
    sqlx::query(
        "INSERT INTO elsewhere (account, region, moved_at) VALUES ($1, $2, $3) \
         ON CONFLICT (account) DO UPDATE SET region = excluded.region, moved_at = excluded.moved_at \
             WHERE elsewhere.region <> excluded.region",
    )
    .bind(seal::mark(account))
    .bind(region)
    .bind(micros(SystemTime::now()))
    .execute(&mut *tx)
    .await?;
    Ok(tx.commit().await?)
}

/// Forgets that the account was ever elsewhere.
pub(crate) async fn is_here(
    connection: &mut AnyConnection,
    account: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM elsewhere WHERE account = $1")
        .bind(seal::mark(account))
        .execute(connection)
        .await
        .map(drop)
}

#[cfg(test)]
mod tests {
    use farewell_kit::CodeChannel;

    use super::*;
    use crate::scratch;
    use crate::{account, contact, sample};

    const LENA: &str = "lena";

    async fn described(store: &Store) -> farewell_kit::AccountDescription {
        let mut connection = store.pool().acquire().await.unwrap();
        account::describe(&mut connection, LENA).await.unwrap()
    }

    #[tokio::test]
    async fn who_moved_away_leaves_only_where_to() {
        for store in scratch::stores("moved").await {
            sample(&store, LENA, "+8613800000000", "lena@example.com", "secret")
                .await
                .unwrap();
            assert!(described(&store).await.known);
            for _ in 0..2 {
                move_away(&store, LENA, "eu").await.unwrap();
            }
            let found = described(&store).await;
            assert_eq!(
                (found.known, found.elsewhere.as_deref()),
                (false, Some("eu"))
            );
            let mut connection = store.pool().acquire().await.unwrap();
            let address = contact::address(&mut connection, LENA, CodeChannel::Sms).await;
            assert_eq!(address.unwrap(), None);
            let count = "SELECT COUNT(*) FROM elsewhere WHERE account = $1";
            let named: (i64,) = sqlx::query_as(count)
                .bind(LENA)
                .fetch_one(&mut *connection)
                .await
                .unwrap();
            assert_eq!(named.0, 0, "the name itself isn't kept");
            drop(connection);
            account::register(&store, LENA, "lena_is_back")
                .await
                .unwrap();
            let found = described(&store).await;
            assert_eq!((found.known, found.elsewhere), (true, None));
        }
    }

    #[tokio::test]
    async fn a_region_that_has_no_name_is_no_home() {
        for store in scratch::stores("nowhere").await {
            for region in ["", "EU", "e u", "\u{4e2d}", &"e".repeat(33)] {
                let moved = move_away(&store, LENA, region).await;
                assert!(matches!(moved, Err(MoveError::Region)), "{region}");
            }
            assert_eq!(described(&store).await.elsewhere, None);
        }
    }
}
