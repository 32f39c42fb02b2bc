//! Loyalty points. They go with the account; giving them up beforehand is the person's own decision.

use farewell_kit::export::{Column, Table};
use farewell_kit::store::Store;
use farewell_kit::{holder, seal};
use sqlx::AnyConnection;

use crate::transfer::Parted;

pub(crate) const SCHEMA: &str = "\
    CREATE TABLE IF NOT EXISTS points (account TEXT PRIMARY KEY, points BIGINT NOT NULL, forfeited BIGINT NOT NULL)";

/// What its owner may take along.
pub(crate) const EXPORT: Table = Table::new(
    "points",
    &[Column::Number("points")],
    "SELECT account, points FROM points WHERE account = $1 AND account > $2 ORDER BY account LIMIT $3",
);

/// Credits points. What comes after a forfeit was not given up by it.
///
/// Errors: [`seal::Error::Sealed`], [`seal::Error::Erased`].
pub async fn credit_points(store: &Store, account: &str, points: u32) -> Result<(), seal::Error> {
    let mut tx = store.pool().begin().await?;
    seal::admit(&mut tx, account).await?;
    add(&mut tx, account, i64::from(points)).await?;
    Ok(tx.commit().await?)
}

async fn add(
    connection: &mut AnyConnection,
    account: &str,
    points: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO points (account, points, forfeited) VALUES ($1, $2, 0) \
         ON CONFLICT (account) DO UPDATE SET points = points.points + excluded.points, forfeited = 0",
    )
    .bind(account)
    .bind(points)
    .execute(connection)
    .await
    .map(drop)
}

/// Moves every point that was not given up. `None`: more than can be counted.
pub(crate) async fn transfer(
    connection: &mut AnyConnection,
    (from, to): (&str, &str),
) -> Result<Option<Parted>, sqlx::Error> {
    let (points, forfeited) = balance(connection, from).await?;
    if points <= 0 || forfeited {
        let (moved, left) = (0, points);
        return Ok(Some(Parted { moved, left }));
    }
    let (there, _) = balance(connection, to).await?;
    if there.checked_add(points).is_none() {
        return Ok(None);
    }
    holder::erase(connection, "points", from).await?;
    add(connection, to, points).await?;
    let (moved, left) = (points, 0);
    Ok(Some(Parted { moved, left }))
}

/// How many, and whether they were given up.
async fn balance(
    connection: &mut AnyConnection,
    account: &str,
) -> Result<(i64, bool), sqlx::Error> {
    let row: Option<(i64, i64)> =
        sqlx::query_as("SELECT points, forfeited FROM points WHERE account = $1")
            .bind(account)
            .fetch_optional(connection)
            .await?;
    Ok(row.map_or((0, false), |(points, forfeited)| (points, forfeited != 0)))
}

/// The person gives up every point. Also while sealed: it removes a blocker.
///
/// Errors: [`seal::Error::Erased`].
pub async fn forfeit_points(store: &Store, account: &str) -> Result<(), seal::Error> {
    let mut tx = store.pool().begin().await?;
    seal::admit_though_sealed(&mut tx, account).await?;
    sqlx::query("UPDATE points SET forfeited = 1 WHERE account = $1")
        .bind(account)
        .execute(&mut *tx)
        .await?;
    Ok(tx.commit().await?)
}

/// Points that were given up already; a second time changes nothing.
pub(crate) async fn insert_forfeited(
    connection: &mut AnyConnection,
    account: &str,
    points: u32,
) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO points (account, points, forfeited) VALUES ($1, $2, 1) ON CONFLICT (account) DO NOTHING")
        .bind(account)
        .bind(i64::from(points))
        .execute(connection)
        .await
        .map(drop)
}
