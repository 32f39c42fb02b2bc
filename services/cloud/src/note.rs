//! Notes.

use farewell_kit::export::{Part, Section};
use farewell_kit::store::Store;
use farewell_kit::{Fault, async_trait, holder, seal};
use sqlx::AnyConnection;
use uuid::Uuid;

use crate::place::Place;

pub(crate) const SCHEMA: &str = "\
    CREATE TABLE IF NOT EXISTS note (id TEXT PRIMARY KEY, account TEXT NOT NULL, text TEXT NOT NULL); \
    CREATE INDEX IF NOT EXISTS note_by_account ON note (account)";

/// Adds a note and gives its id.
///
/// Errors: [`seal::Error::Sealed`], [`seal::Error::Erased`].
pub async fn add_note(store: &Store, account: &str, text: &str) -> Result<String, seal::Error> {
    let id = Uuid::now_v7().to_string();
    let mut tx = store.pool().begin().await?;
    seal::admit(&mut tx, account).await?;
    insert(&mut tx, &id, account, text).await?;
    tx.commit().await?;
    Ok(id)
}

/// Writes the row; the same id again changes nothing.
pub(crate) async fn insert(
    connection: &mut AnyConnection,
    id: &str,
    account: &str,
    text: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO note (id, account, text) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING",
    )
    .bind(id)
    .bind(account)
    .bind(text)
    .execute(connection)
    .await
    .map(drop)
}

pub(crate) async fn erase(
    connection: &mut AnyConnection,
    account: &str,
) -> Result<u64, sqlx::Error> {
    holder::erase(connection, "note", account).await
}

/// Notes read at a time: each may be long.
const ROWS_MAX: i64 = 20;

/// Notes, each a file of text.
pub(crate) struct Notes<'a>(pub &'a Store);

#[async_trait]
impl Section for Notes<'_> {
    fn name(&self) -> &str {
        "notes"
    }

    async fn write(
        &self,
        account: &str,
        after: &str,
        part: &mut Part,
    ) -> Result<Option<String>, Fault> {
        let mut place = Place::parse(after)?;
        let rows: Vec<(String, String)> = sqlx::query_as(
            "SELECT id, text FROM note WHERE account = $1 AND id >= $2 ORDER BY id LIMIT $3",
        )
        .bind(account)
        .bind(&place.id)
        .bind(ROWS_MAX)
        .fetch_all(self.0.pool())
        .await?;
        let mut progressed = false;
        for (id, text) in rows {
            let Some(begin) = place.begin_of(&id) else {
                continue;
            };
            let rest = usize::try_from(begin)
                .ok()
                .and_then(|begin| text.as_bytes().get(begin..));
            let rest = rest.unwrap_or_default();
            let room = part.room_bytes();
            if room == 0 {
                return Ok(Some(Place::inside(&id, begin).to_string()));
            }
            let piece = &rest[..rest.len().min(room)];
            part.write(&format!("notes/{id}.txt"), piece);
            if piece.len() < rest.len() {
                let written = u64::try_from(piece.len()).unwrap_or(u64::MAX);
                return Ok(Some(Place::inside(&id, begin + written).to_string()));
            }
            part.tell("notes");
            place = Place::after(&id);
            progressed = true;
        }
        Ok(progressed.then(|| place.to_string()))
    }
}
