//! What the custodian is asked.

use std::time::SystemTime;

use farewell_interpreter::Language;
use farewell_kit::async_trait;
use farewell_kit::export::PART_BYTES;
use farewell_kit::seal;
use farewell_kit::store::micros;
use farewell_kit::vault;
use farewell_kit::{Custodian, Export, ExportRead, ExportState, Fault, NotExported, StartExport};
use sqlx::AnyConnection;

use super::Exports;
use super::folder::Unread;
use super::record::{self, Record, id_of};
use super::sealed;

/// Exports that wait or are worked on, of everybody.
const RUNNING_MAX: i64 = 10_000;
/// Exports of one account that there are records of: 30 days' worth.
const RECORDS_MAX: i64 = 32;

type Answer<T> = Result<Result<T, NotExported>, Fault>;

#[async_trait]
impl Custodian for Exports {
    async fn start(&self, request: &StartExport) -> Answer<Export> {
        self.start_at(request, SystemTime::now()).await
    }

    async fn get(&self, account: &str, export: &str) -> Answer<Export> {
        let mut connection = self.store.pool().acquire().await?;
        let found = own(&mut connection, account, export).await?;
        Ok(found
            .map(|record| record.export)
            .ok_or(NotExported::NotFound))
    }

    async fn cancel(&self, account: &str, export: &str) -> Answer<Export> {
        let mut tx = self.store.pool().begin().await?;
        if own(&mut tx, account, export).await?.is_none() {
            return Ok(Err(NotExported::NotFound));
        }
        let id = id_of(export).unwrap_or_default();
        sqlx::query(
            "UPDATE archive SET state = 'CANCELLED', ended_at = $2, held_by = '', cleared = 0, data_key = '' \
             WHERE id = $1 AND state IN ('RUNNING', 'READY')",
        )
        .bind(id)
        .bind(micros(SystemTime::now()))
        .execute(&mut *tx)
        .await?;
        let record = record::find(&mut tx, id).await?;
        tx.commit().await?;
        self.destroyed().await;
        self.wake.notify_one();
        Ok(record
            .map(|record| record.export)
            .ok_or(NotExported::NotFound))
    }

    async fn read(&self, account: &str, export: &str, offset: u64) -> Answer<ExportRead> {
        let mut connection = self.store.pool().acquire().await?;
        let Some(Record {
            export: found, key, ..
        }) = own(&mut connection, account, export).await?
        else {
            return Ok(Err(NotExported::NotFound));
        };
        drop(connection);
        let over = found.expires.is_none_or(|end| end <= SystemTime::now());
        if found.state != ExportState::Ready || over || key.is_empty() {
            return Ok(Err(NotExported::NotReady));
        }
        if offset > found.size_bytes {
            return Ok(Err(NotExported::OutOfRange));
        }
        let id = id_of(export).unwrap_or_default();
        let key = match sealed::open_key(&self.vault, &sealed::archive(id), &key) {
            Ok(key) => key,
            Err(error) => return Ok(Err(not_opened(id, error))),
        };
        let folder = self.cabinet.folder(account, id);
        let read = folder.read(
            key,
            sealed::archive(id),
            found.size_bytes,
            offset,
            PART_BYTES,
        );
        let content = match read.await {
            Ok(content) => content,
            Err(Unread::Sealed(error)) => return Ok(Err(not_opened(id, error))),
            Err(Unread::Disk(error)) => return Err(Fault::new("an archive", error)),
        };
        Ok(Ok(ExportRead {
            content,
            size_bytes: found.size_bytes,
            sha256: found.sha256,
        }))
    }
}

impl Exports {
    pub(super) async fn start_at(&self, request: &StartExport, now: SystemTime) -> Answer<Export> {
        let Some(id) = id_of(&request.export) else {
            return Ok(Err(NotExported::NotFound));
        };
        let account = request.account.as_str();
        let mut tx = self.store.pool().begin().await?;
        // Held first: of two requests at a time the second sees the first.
        let admitted = seal::admit(&mut tx, account).await;
        let closed = match admitted {
            Ok(()) => None,
            Err(seal::Error::Sealed | seal::Error::Erased) => Some(NotExported::Sealed),
            // It is only looked at, and the desk knows who asks.
            Err(seal::Error::Frozen) if request.though_frozen => None,
            Err(seal::Error::Frozen) => Some(NotExported::Frozen),
            Err(seal::Error::Database(error)) => return Err(error.into()),
        };
        if let Some(record) = record::find(&mut tx, id).await? {
            let own = record.account == account;
            return Ok(own.then_some(record.export).ok_or(NotExported::Reused));
        }
        if let Some(closed) = closed {
            return Ok(Err(closed));
        }
        if let Some(running) = running(&mut tx, account).await? {
            return Ok(Err(NotExported::Running(record::name_of(&running))));
        }
        if is_full(&mut tx, account).await? {
            return Ok(Err(NotExported::TooMany));
        }
        let (_, key) = self
            .vault
            .make(&sealed::spool(id))
            .map_err(|error| Fault::new("the key of an export", error))?;
        let opened = sqlx::query(
            "INSERT INTO archive (id, account, language, state, reason, begun_at, due_at, attempts, ended_at, expires_at, \
                 held_by, held_until, pieces, spool_bytes, size_bytes, sha256, cleared, data_key) \
             VALUES ($1, $2, $3, 'RUNNING', '', $4, $4, 0, 0, $5, '', 0, 0, 0, 0, $6, 1, $7) ON CONFLICT (id) DO NOTHING",
        )
        .bind(id)
        .bind(account)
        .bind(Language::from_tag(&request.language).unwrap_or_default().tag())
        .bind(micros(now))
        .bind(micros(now + self.terms.time_max))
        .bind(Vec::new())
        .bind(key.to_text())
        .execute(&mut *tx)
        .await?;
        if opened.rows_affected() == 0 {
            // Another account's, at this very moment.
            return Ok(Err(NotExported::Reused));
        }
        for participant in &request.participants {
            sqlx::query(
                "INSERT INTO archive_source (archive, participant, after, done, away, items, size_bytes) \
                 VALUES ($1, $2, '', 0, 0, 0, 0) ON CONFLICT (archive, participant) DO NOTHING",
            )
            .bind(id)
            .bind(participant)
            .execute(&mut *tx)
            .await?;
        }
        let record = record::find(&mut tx, id).await?;
        tx.commit().await?;
        self.wake.notify_one();
        Ok(record
            .map(|record| record.export)
            .ok_or(NotExported::NotFound))
    }
}

/// Whoever looks after the archives must know, as nobody else can mend it.
fn not_opened(export: &str, error: vault::Error) -> NotExported {
    tracing::error!(export, %error, "an archive can't be opened");
    match error {
        vault::Error::UnknownVersion => NotExported::KeyUnknown,
        _ => NotExported::Damaged,
    }
}

/// An export of the account's own.
async fn own(
    connection: &mut AnyConnection,
    account: &str,
    export: &str,
) -> Result<Option<Record>, Fault> {
    let Some(id) = id_of(export) else {
        return Ok(None);
    };
    let found = record::find(connection, id).await?;
    Ok(found.filter(|record| record.account == account))
}

async fn running(
    connection: &mut AnyConnection,
    account: &str,
) -> Result<Option<String>, sqlx::Error> {
    let found: Option<(String,)> =
        sqlx::query_as("SELECT id FROM archive WHERE account = $1 AND state = 'RUNNING' LIMIT 1")
            .bind(account)
            .fetch_optional(connection)
            .await?;
    Ok(found.map(|(id,)| id))
}

async fn is_full(connection: &mut AnyConnection, account: &str) -> Result<bool, sqlx::Error> {
    let (own,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM archive WHERE account = $1")
        .bind(account)
        .fetch_one(&mut *connection)
        .await?;
    let (all,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM archive WHERE state = 'RUNNING'")
        .fetch_one(connection)
        .await?;
    Ok(own >= RECORDS_MAX || all >= RUNNING_MAX)
}
