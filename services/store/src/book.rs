//! The book of what moved between accounts, by double entry: of each kind that moved, one line of the account that had it and one
//! of the account that got it, which add up to nothing. A line names the case as its reason, and the other account until that is
//! erased.

use std::time::SystemTime;

use farewell_kit::TransferBelongings;
use farewell_kit::export::{Column, Table};
use farewell_kit::store::micros;
use farewell_kit::{Moved, holder};
use sqlx::AnyConnection;

/// Amounts are in the unit of their belonging: points, coupons, orders, hundredths of the currency, memberships. Below zero for
/// the account that had them.
pub(crate) const SCHEMA: &str = "\
    CREATE TABLE IF NOT EXISTS book (transfer TEXT NOT NULL, account TEXT NOT NULL, counter_account TEXT NOT NULL, \
        belonging TEXT NOT NULL, amount BIGINT NOT NULL CHECK (amount <> 0), reason TEXT NOT NULL CHECK (reason <> ''), \
        entered_at BIGINT NOT NULL, PRIMARY KEY (transfer, account, belonging)); \
    CREATE INDEX IF NOT EXISTS book_by_account ON book (account); \
    CREATE INDEX IF NOT EXISTS book_by_counter_account ON book (counter_account) WHERE counter_account <> ''";

/// What its owner may take along. Not whose the other account is.
pub(crate) const EXPORT: Table = Table::new(
    "transfers",
    &[
        Column::Text("belonging"),
        Column::Number("amount"),
        Column::Text("reason"),
        Column::Time("time"),
    ],
    "SELECT transfer || '/' || belonging, belonging, amount, reason, entered_at FROM book \
     WHERE account = $1 AND transfer || '/' || belonging > $2 ORDER BY 1 LIMIT $3",
);

/// Enters what moved. Of what didn't there is no line.
pub(crate) async fn enter(
    connection: &mut AnyConnection,
    request: &TransferBelongings,
    moved: &[Moved],
    at: SystemTime,
) -> Result<(), sqlx::Error> {
    let (from, to) = (request.account.as_str(), request.to_account.as_str());
    for it in moved.iter().filter(|it| it.moved != 0) {
        for (account, counter, amount) in [(from, to, -it.moved), (to, from, it.moved)] {
            sqlx::query(
                "INSERT INTO book (transfer, account, counter_account, belonging, amount, reason, entered_at) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7)",
            )
            .bind(&request.name)
            .bind(account)
            .bind(counter)
            .bind(it.belonging.word())
            .bind(amount)
            .bind(&request.case)
            .bind(micros(at))
            .execute(&mut *connection)
            .await?;
        }
    }
    Ok(())
}

/// Erases the account's lines, and its name from others'. Gives how many of each.
pub(crate) async fn erase(
    connection: &mut AnyConnection,
    account: &str,
) -> Result<(u64, u64), sqlx::Error> {
    let lines = holder::erase(connection, "book", account).await?;
    let named = sqlx::query("UPDATE book SET counter_account = '' WHERE counter_account = $1")
        .bind(account)
        .execute(connection)
        .await?;
    Ok((lines, named.rows_affected()))
}
