//! Which categories of the inventory an export has things of, and which it leaves out: told with the parts, for index and
//! manifest.

use std::collections::BTreeMap;

use farewell_kit::Fault;
use farewell_kit::export::Part;
use sqlx::AnyConnection;

/// Categories of one export: everybody's that a policy may name, and more than any has.
const CATEGORIES_MAX: i64 = 4_096;

/// What an export has of a category.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub items: i64,
    /// Why something of it is not there; empty if nothing is missing.
    pub left_out: String,
}

/// By participant, and then by category.
pub(super) type Categories = BTreeMap<String, BTreeMap<String, Held>>;

/// Keeps what a part tells, in the transaction that keeps the part. False: there are too many.
pub(super) async fn keep(
    connection: &mut AnyConnection,
    (archive, participant): (&str, &str),
    part: &Part,
) -> Result<bool, sqlx::Error> {
    let told = part
        .categories
        .iter()
        .map(|(name, items)| (name, *items, ""));
    let left_out = part
        .left_out
        .iter()
        .map(|(name, why)| (name, 0, why.as_str()));
    for (category, items, why) in told.chain(left_out) {
        sqlx::query(
            "INSERT INTO archive_category (archive, participant, category, items, left_out) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (archive, participant, category) DO UPDATE SET items = archive_category.items + excluded.items, \
                 left_out = CASE WHEN excluded.left_out = '' THEN archive_category.left_out ELSE excluded.left_out END",
        )
        .bind(archive)
        .bind(participant)
        .bind(category)
        .bind(items)
        .bind(why)
        .execute(&mut *connection)
        .await?;
    }
    let (all,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM archive_category WHERE archive = $1")
        .bind(archive)
        .fetch_one(connection)
        .await?;
    Ok(all <= CATEGORIES_MAX)
}

/// What was told, in all.
pub(super) async fn of_archive(
    connection: &mut AnyConnection,
    archive: &str,
) -> Result<Categories, Fault> {
    let rows: Vec<(String, String, i64, String)> = sqlx::query_as(
        "SELECT participant, category, items, left_out FROM archive_category WHERE archive = $1",
    )
    .bind(archive)
    .fetch_all(connection)
    .await?;
    let mut all = Categories::new();
    for (participant, category, items, left_out) in rows {
        let held = Held { items, left_out };
        all.entry(participant).or_default().insert(category, held);
    }
    Ok(all)
}
