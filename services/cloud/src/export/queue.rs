//! Exports that are to be worked on: one turn at a time has one, for as long as it says that it is at it.
//!
//! Each turn has a name of its own, never used again, that stands in the row while the export is its: the fence. Every step
//! looks, in its own transaction, whether the account is still there and the export still this turn's: one that was cancelled,
//! given up, erased or taken over takes nothing more from whoever had it before, be it another turn of the same process.

use std::time::{Duration, SystemTime};

use farewell_interpreter::Language;
use farewell_kit::Fault;
use farewell_kit::export::Part;
use farewell_kit::seal;
use farewell_kit::store::micros;
use farewell_kit::vault;
use sqlx::{Any, AnyConnection, Transaction};
use uuid::Uuid;

use super::record::{signed, unsigned};
use super::sealed::SpoolKey;
use super::{Exports, category};

/// First and longest pause after nobody had an answer.
const RETRY_BASE: Duration = Duration::from_secs(1);
const RETRY_CAP: Duration = Duration::from_secs(60);
/// Pieces of one export: what is packed has a list of them.
const PIECES_MAX: i64 = 500_000;

/// An export that is ours.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub id: String,
    /// Of this turn, and of no other ever.
    pub turn: String,
    pub account: String,
    pub language: Language,
    pub begun_at: i64,
    pub attempts: i64,
    /// As it is stored.
    pub key: String,
}

/// A participant that still has something to give.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub participant: String,
    pub after: String,
}

/// What became of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It is durable.
    Taken,
    /// The export isn't ours any more, or has ended.
    Lost,
    /// The export has failed: it is too large.
    TooLarge,
}

impl Exports {
    /// What a process that is no more has left: at the start of the only one there can be.
    pub(super) async fn take_back(&self) -> Result<(), Fault> {
        sqlx::query("UPDATE archive SET held_until = 0 WHERE state = 'RUNNING'")
            .execute(self.store.pool())
            .await?;
        Ok(())
    }

    /// Gives an export back that is to go on at once, here or elsewhere.
    pub(super) async fn give_back(&self, claim: &Claim) -> Result<(), Fault> {
        sqlx::query(
            "UPDATE archive SET held_by = '', held_until = 0 WHERE id = $1 AND state = 'RUNNING' AND held_by = $2",
        )
        .bind(&claim.id)
        .bind(&claim.turn)
        .execute(self.store.pool())
        .await?;
        Ok(())
    }

    /// The export that waits longest, if there is one.
    pub(super) async fn claim(&self, now: SystemTime) -> Result<Option<Claim>, Fault> {
        let turn = Uuid::now_v7().to_string();
        let row: Option<(String, String, String, i64, i64, String)> = sqlx::query_as(
            "UPDATE archive SET held_by = $1, held_until = $3 WHERE state = 'RUNNING' AND held_until <= $2 AND id = \
                 (SELECT id FROM archive WHERE state = 'RUNNING' AND due_at <= $2 AND held_until <= $2 AND expires_at > $2 \
                      AND data_key <> '' \
                  ORDER BY due_at, id LIMIT 1) \
             RETURNING id, account, language, begun_at, attempts, data_key",
        )
        .bind(&turn)
        .bind(micros(now))
        .bind(micros(now + self.terms.lease))
        .fetch_optional(self.store.pool())
        .await?;
        Ok(
            row.map(|(id, account, language, begun_at, attempts, key)| Claim {
                id,
                turn,
                account,
                language: Language::from_tag(&language).unwrap_or_default(),
                begun_at,
                attempts,
                key,
            }),
        )
    }

    /// Who still has something to give; those who gave no answer come last.
    pub(super) async fn sources(&self, claim: &Claim) -> Result<Vec<Source>, Fault> {
        let rows: Vec<(String, String)> = sqlx::query_as(
            "SELECT participant, after FROM archive_source WHERE archive = $1 AND done = 0 ORDER BY away, participant",
        )
        .bind(&claim.id)
        .fetch_all(self.store.pool())
        .await?;
        let key = self.key(claim)?;
        let source = |(participant, sealed): (String, String)| {
            let after = key.open_cursor(&participant, &sealed).map_err(unsealed)?;
            Ok(Source { participant, after })
        };
        rows.into_iter().map(source).collect()
    }

    /// The key of an export that is ours.
    pub(super) fn key(&self, claim: &Claim) -> Result<SpoolKey, Fault> {
        SpoolKey::open(&self.vault, &claim.id, &claim.key).map_err(unsealed)
    }

    /// Keeps a part: its bytes first, then the row that knows of them.
    pub(super) async fn keep(
        &self,
        claim: &Claim,
        source: &Source,
        part: Part,
    ) -> Result<Step, Fault> {
        let Some(mut tx) = self.hold(claim).await? else {
            return Ok(Step::Lost);
        };
        let (spooled, pieces): (i64, i64) =
            sqlx::query_as("SELECT spool_bytes, pieces FROM archive WHERE id = $1")
                .bind(&claim.id)
                .fetch_one(&mut *tx)
                .await?;
        let key = self.key(claim)?;
        let owes: Option<(String,)> = sqlx::query_as(
            "SELECT after FROM archive_source WHERE archive = $1 AND participant = $2 AND done = 0",
        )
        .bind(&claim.id)
        .bind(&source.participant)
        .fetch_optional(&mut *tx)
        .await?;
        let after = owes.map(|(sealed,)| key.open_cursor(&source.participant, &sealed));
        if after.transpose().map_err(unsealed)?.as_ref() != Some(&source.after) {
            return Ok(Step::Lost);
        }
        let added: i64 = part
            .pieces
            .iter()
            .map(|piece| signed(piece.content.len() as u64))
            .sum();
        let more = signed(part.pieces.len() as u64);
        if unsigned(spooled + added) > self.terms.size_bytes_max || pieces + more > PIECES_MAX {
            fail(&mut tx, &claim.id, "TOO_LARGE", SystemTime::now()).await?;
            tx.commit().await?;
            self.destroyed().await;
            return Ok(Step::TooLarge);
        }
        let of = (claim.id.as_str(), source.participant.as_str());
        if !category::keep(&mut tx, of, &part).await? {
            fail(&mut tx, &claim.id, "TOO_LARGE", SystemTime::now()).await?;
            tx.commit().await?;
            self.destroyed().await;
            return Ok(Step::TooLarge);
        }
        let (mut at, mut pieces_sealed) = (spooled, Vec::new());
        for piece in &part.pieces {
            let sealed = key
                .seal(&source.participant, unsigned(at), piece)
                .map_err(unsealed)?;
            let file = key.file(&source.participant, &piece.path);
            let size_bytes = signed(sealed.len() as u64);
            // A file's place in the archive is that of its first piece.
            sqlx::query(
                "INSERT INTO spooled_piece (archive, participant, file, file_offset, spool_offset, size_bytes) \
                 VALUES ($1, $2, $3, COALESCE((SELECT MIN(file_offset) FROM spooled_piece \
                     WHERE archive = $1 AND participant = $2 AND file = $3), $4), $4, $5)",
            )
            .bind(&claim.id)
            .bind(&source.participant)
            .bind(file)
            .bind(at)
            .bind(size_bytes)
            .execute(&mut *tx)
            .await?;
            at += size_bytes;
            pieces_sealed.push(sealed);
        }
        if !pieces_sealed.is_empty() {
            self.cabinet
                .folder(&claim.account, &claim.id)
                .spool(unsigned(spooled), pieces_sealed)
                .await
                .map_err(|error| Fault::new("the spool of an export", error))?;
        }
        sqlx::query(
            "UPDATE archive_source SET after = $3, done = $4, away = 0, items = items + $5, size_bytes = size_bytes + $6 \
             WHERE archive = $1 AND participant = $2",
        )
        .bind(&claim.id)
        .bind(&source.participant)
        .bind(key.seal_cursor(&source.participant, &part.next).map_err(unsealed)?)
        .bind(i64::from(part.next.is_empty()))
        .bind(part.items)
        .bind(added)
        .execute(&mut *tx)
        .await?;
        sqlx::query("UPDATE archive SET spool_bytes = $2, pieces = $3, attempts = 0 WHERE id = $1")
            .bind(&claim.id)
            .bind(at)
            .bind(pieces + more)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(Step::Taken)
    }

    /// Says that a participant gave no answer.
    pub(super) async fn away(&self, claim: &Claim, source: &Source) -> Result<(), Fault> {
        sqlx::query(
            "UPDATE archive_source SET away = 1 WHERE archive = $1 AND participant = $2 AND done = 0 \
             AND EXISTS (SELECT 1 FROM archive WHERE id = $1 AND held_by = $3 AND state = 'RUNNING')",
        )
        .bind(&claim.id)
        .bind(&source.participant)
        .bind(&claim.turn)
        .execute(self.store.pool())
        .await?;
        Ok(())
    }

    /// Gives the place to another export, for a while.
    pub(super) async fn put_off(&self, claim: &Claim, now: SystemTime) -> Result<(), Fault> {
        let doubled = u32::try_from(claim.attempts.clamp(0, 16)).unwrap_or(16);
        let pause = RETRY_BASE.saturating_mul(1 << doubled).min(RETRY_CAP);
        sqlx::query(
            "UPDATE archive SET due_at = $3, attempts = attempts + 1, held_by = '', held_until = 0 \
             WHERE id = $1 AND held_by = $2 AND state = 'RUNNING'",
        )
        .bind(&claim.id)
        .bind(&claim.turn)
        .bind(micros(now + pause))
        .execute(self.store.pool())
        .await?;
        Ok(())
    }

    /// Says that we are still at it. False: it isn't ours any more.
    pub(super) async fn renew(&self, claim: &Claim) -> Result<bool, Fault> {
        let mut connection = self.store.pool().acquire().await?;
        Ok(renew(&mut connection, claim, self.terms.lease).await?)
    }

    /// A transaction in which the account is held against erasing and the export is ours. `None`: it isn't.
    pub(super) async fn hold(
        &self,
        claim: &Claim,
    ) -> Result<Option<Transaction<'static, Any>>, Fault> {
        let mut tx = self.store.pool().begin().await?;
        match seal::admit_though_sealed(&mut tx, &claim.account).await {
            Ok(()) => {}
            Err(seal::Error::Erased) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let ours = renew(&mut tx, claim, self.terms.lease).await?;
        Ok(ours.then_some(tx))
    }
}

async fn renew(
    connection: &mut AnyConnection,
    claim: &Claim,
    lease: Duration,
) -> Result<bool, sqlx::Error> {
    let renewed = sqlx::query(
        "UPDATE archive SET held_until = $3 WHERE id = $1 AND held_by = $2 AND state = 'RUNNING'",
    )
    .bind(&claim.id)
    .bind(&claim.turn)
    .bind(micros(SystemTime::now() + lease))
    .execute(connection)
    .await?;
    Ok(renewed.rows_affected() == 1)
}

fn unsealed(error: vault::Error) -> Fault {
    Fault::new("what was collected for an export", error)
}

/// Ends a running export without an archive.
async fn fail(
    connection: &mut AnyConnection,
    id: &str,
    reason: &str,
    now: SystemTime,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE archive SET state = 'FAILED', reason = $2, ended_at = $3, held_by = '', cleared = 0, data_key = '' \
         WHERE id = $1 AND state = 'RUNNING'",
    )
    .bind(id)
    .bind(reason)
    .bind(micros(now))
    .execute(connection)
    .await
    .map(drop)
}
