//! Orders, from placed to completed, and disputes about them.

use std::time::SystemTime;

use farewell_kit::export::{Column, Table};
use farewell_kit::store::{Store, micros};
use farewell_kit::{interests, seal};
use sqlx::AnyConnection;
use uuid::Uuid;

use crate::transfer::{self, Parted};

pub(crate) const TABLE: &str = "placed_order";

/// An order is placed, then completed or cancelled; `completed_at` is 0 until it is completed.
pub(crate) const SCHEMA: &str = "\
    CREATE TABLE IF NOT EXISTS placed_order (id TEXT PRIMARY KEY, account TEXT NOT NULL, \
        state TEXT NOT NULL CHECK (state IN ('PLACED', 'COMPLETED', 'CANCELLED')), disputed BIGINT NOT NULL, \
        item TEXT NOT NULL, amount_cents BIGINT NOT NULL, recipient TEXT NOT NULL, address TEXT NOT NULL, \
        placed_at BIGINT NOT NULL, completed_at BIGINT NOT NULL, \
        CHECK ((state = 'COMPLETED') = (completed_at > 0))); \
    CREATE INDEX IF NOT EXISTS placed_order_by_account ON placed_order (account)";

/// What its owner may take along. Files have names of their own kind: `orders.csv`, `orders.json`.
pub(crate) const EXPORT: Table = Table::new(
    "orders",
    &[
        Column::Text("id"),
        Column::Text("item"),
        Column::Cents("amount"),
        Column::Text("state"),
        Column::Flag("disputed"),
        Column::Text("recipient"),
        Column::Text("address"),
        Column::Time("placed"),
        Column::Time("completed"),
    ],
    "SELECT id, id, item, amount_cents, state, disputed, recipient, address, placed_at, completed_at FROM placed_order \
     WHERE account = $1 AND id > $2 ORDER BY id LIMIT $3",
);

/// What is ordered, and where it goes.
#[derive(Clone, Debug)]
pub struct NewOrder<'a> {
    /// What.
    pub item: &'a str,
    /// For how much, in hundredths of the currency.
    pub amount_cents: i64,
    /// Personal.
    pub recipient: &'a str,
    /// Personal.
    pub address: &'a str,
}

/// An order that has to be kept under law.
pub(crate) struct Completed {
    pub id: String,
    pub item: String,
    pub amount_cents: i64,
    pub completed_at: i64,
}

/// Places an order and gives its id.
///
/// Errors: [`seal::Error::Sealed`], [`seal::Error::Erased`].
pub async fn place_order(
    store: &Store,
    account: &str,
    order: &NewOrder<'_>,
) -> Result<String, seal::Error> {
    let id = Uuid::now_v7().to_string();
    let mut tx = store.pool().begin().await?;
    seal::admit(&mut tx, account).await?;
    insert(&mut tx, &id, account, order, SystemTime::now()).await?;
    tx.commit().await?;
    Ok(id)
}

/// The order has arrived. Also while sealed: what was bought before is still delivered. `false`: no such open order.
///
/// Errors: [`seal::Error::Erased`].
pub async fn complete_order(
    store: &Store,
    account: &str,
    id: &str,
    at: SystemTime,
) -> Result<bool, seal::Error> {
    let mut tx = store.pool().begin().await?;
    seal::admit_though_sealed(&mut tx, account).await?;
    let completed = complete(&mut tx, account, id, at).await?;
    tx.commit().await?;
    Ok(completed)
}

/// Disputes an order. `false`: no such order.
///
/// Errors: [`seal::Error::Sealed`], [`seal::Error::Erased`].
pub async fn open_dispute(store: &Store, account: &str, id: &str) -> Result<bool, seal::Error> {
    let mut tx = store.pool().begin().await?;
    seal::admit(&mut tx, account).await?;
    let there = set_disputed(&mut tx, account, id, true).await?;
    tx.commit().await?;
    Ok(there)
}

/// Settles a dispute. Also while sealed: it removes a blocker. `false`: no such order.
///
/// Errors: [`seal::Error::Erased`].
pub async fn close_dispute(store: &Store, account: &str, id: &str) -> Result<bool, seal::Error> {
    let mut tx = store.pool().begin().await?;
    seal::admit_though_sealed(&mut tx, account).await?;
    let there = set_disputed(&mut tx, account, id, false).await?;
    tx.commit().await?;
    Ok(there)
}

/// Writes the row, and what it says of the person's interests; the same id again changes no order.
pub(crate) async fn insert(
    connection: &mut AnyConnection,
    id: &str,
    account: &str,
    order: &NewOrder<'_>,
    placed: SystemTime,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO placed_order (id, account, state, disputed, item, amount_cents, recipient, address, placed_at, \
             completed_at) VALUES ($1, $2, 'PLACED', 0, $3, $4, $5, $6, $7, 0) ON CONFLICT (id) DO NOTHING",
    )
    .bind(id)
    .bind(account)
    .bind(order.item)
    .bind(order.amount_cents)
    .bind(order.recipient)
    .bind(order.address)
    .bind(micros(placed))
    .execute(&mut *connection)
    .await?;
    interests::note(connection, account, product(order.item), placed).await
}

/// What was ordered, without its size and colour.
fn product(item: &str) -> &str {
    item.split_once(',').map_or(item, |(product, _)| product)
}

pub(crate) async fn complete(
    connection: &mut AnyConnection,
    account: &str,
    id: &str,
    at: SystemTime,
) -> Result<bool, sqlx::Error> {
    let changed = sqlx::query(
        "UPDATE placed_order SET state = 'COMPLETED', completed_at = $3 \
         WHERE id = $1 AND account = $2 AND state = 'PLACED'",
    )
    .bind(id)
    .bind(account)
    .bind(micros(at))
    .execute(connection)
    .await?;
    Ok(changed.rows_affected() == 1)
}

async fn set_disputed(
    connection: &mut AnyConnection,
    account: &str,
    id: &str,
    disputed: bool,
) -> Result<bool, sqlx::Error> {
    let changed =
        sqlx::query("UPDATE placed_order SET disputed = $3 WHERE id = $1 AND account = $2")
            .bind(id)
            .bind(account)
            .bind(i64::from(disputed))
            .execute(connection)
            .await?;
    Ok(changed.rows_affected() == 1)
}

/// Every completed order of the account.
pub(crate) async fn completed(
    connection: &mut AnyConnection,
    account: &str,
) -> Result<Vec<Completed>, sqlx::Error> {
    let rows: Vec<(String, String, i64, i64)> = sqlx::query_as(
        "SELECT id, item, amount_cents, completed_at FROM placed_order \
         WHERE account = $1 AND state = 'COMPLETED' ORDER BY completed_at, id",
    )
    .bind(account)
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|(id, item, amount_cents, completed_at)| Completed {
            id,
            item,
            amount_cents,
            completed_at,
        })
        .collect())
}

/// Why no order of the account can be another's: one is still on its way to its owner, or argued about with them.
pub(crate) async fn unsettled(
    connection: &mut AnyConnection,
    account: &str,
) -> Result<Option<&'static str>, sqlx::Error> {
    let (placed, disputed): (i64, i64) = sqlx::query_as(
        "SELECT CAST(COALESCE(SUM(CASE state WHEN 'PLACED' THEN 1 ELSE 0 END), 0) AS BIGINT), \
             CAST(COALESCE(SUM(CASE disputed WHEN 0 THEN 0 ELSE 1 END), 0) AS BIGINT) \
         FROM placed_order WHERE account = $1",
    )
    .bind(account)
    .fetch_one(connection)
    .await?;
    Ok(match (placed, disputed) {
        (0, 0) => None,
        (0, _) => Some("ORDER_DISPUTED"),
        _ => Some("ORDER_IN_TRANSIT"),
    })
}

/// Moves every completed order, with the moment of its completion and without name and address of who got it.
pub(crate) async fn transfer(
    connection: &mut AnyConnection,
    accounts: (&str, &str),
) -> Result<Parted, sqlx::Error> {
    transfer::rows(
        connection,
        accounts,
        "UPDATE placed_order SET account = $2, recipient = '', address = '' \
         WHERE account = $1 AND state = 'COMPLETED'",
        "SELECT COUNT(*) FROM placed_order WHERE account = $1",
    )
    .await
}
