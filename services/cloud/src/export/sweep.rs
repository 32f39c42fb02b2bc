//! What is over: exports that took too long, archives whose time has come, and what lies on disk of either. The row says so
//! first, and with it goes the key; the disk follows, here or after a crash.
//!
//! What an earlier version kept has no key, as it was not sealed: it is over as well, and whoever asked for it asks again.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use farewell_kit::store::micros;
use farewell_kit::{Fault, seal};

use super::Exports;

/// How long there is a record of an export that has ended. Its request's id is then forgotten.
const RECORD_KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Exports in one round.
const ROUND_MAX: i64 = 100;

/// How long what could not be swept is left alone.
const LEFT_ALONE: Duration = Duration::from_secs(60);
/// Exports that are remembered so; more of them are tried more often.
const UNSWEPT_MAX: usize = 10_000;

/// Exports that could not be swept, by id, and until when each is left alone.
#[derive(Debug, Default)]
pub(super) struct Unswept(Mutex<HashMap<String, SystemTime>>);

impl Unswept {
    fn is_left_alone(&self, id: &str, now: SystemTime) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(id).is_some_and(|until| now < *until)
    }

    fn note(&self, id: &str, swept: Result<(), Fault>, now: SystemTime) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match swept {
            Ok(()) => {
                known.remove(id);
            }
            Err(fault) => {
                let error = &fault as &dyn std::error::Error;
                tracing::warn!(export = id, error, "what is left of an export stays");
                if known.len() < UNSWEPT_MAX {
                    known.insert(id.to_owned(), now + LEFT_ALONE);
                }
            }
        }
    }
}

impl Exports {
    /// Ends what is over and erases what is left of it. Again finds nothing. What can't be done is said, done again later, and
    /// keeps nothing else from being done.
    pub(super) async fn sweep(&self, now: SystemTime) {
        for swept in [
            self.end(now).await,
            self.clear(now).await,
            self.forget(now).await,
        ] {
            if let Err(fault) = swept {
                let error = &fault as &dyn std::error::Error;
                tracing::warn!(error, "exports that are over can't be looked at");
            }
        }
    }

    async fn end(&self, now: SystemTime) -> Result<(), Fault> {
        let mut tx = self.store.pool().begin().await?;
        let mut all = 0;
        for statement in [
            "UPDATE archive SET state = 'FAILED', reason = 'TIMED_OUT', ended_at = $1, held_by = '', cleared = 0, \
                 data_key = '' WHERE state = 'RUNNING' AND (expires_at <= $1 OR data_key = '')",
            "UPDATE archive SET state = 'EXPIRED', ended_at = $1, cleared = 0, data_key = '' \
             WHERE state = 'READY' AND (expires_at <= $1 OR data_key = '')",
        ] {
            let ended = sqlx::query(statement)
                .bind(micros(now))
                .execute(&mut *tx)
                .await?;
            all += ended.rows_affected();
        }
        tx.commit().await?;
        if all > 0 {
            self.destroyed().await;
            tracing::info!(exports = all, "exports are over");
        }
        Ok(())
    }

    /// Erases from the disk what the rows say is over.
    async fn clear(&self, now: SystemTime) -> Result<(), Fault> {
        let mut last = String::new();
        loop {
            let over: Vec<(String, String, String)> = sqlx::query_as(
                "SELECT id, account, state FROM archive WHERE cleared = 0 AND state <> 'RUNNING' AND id > $1 \
                 ORDER BY id LIMIT $2",
            )
            .bind(&last)
            .bind(ROUND_MAX)
            .fetch_all(self.store.pool())
            .await?;
            for (id, account, state) in &over {
                if !self.unswept.is_left_alone(id, now) {
                    let cleared = self.clear_one(id, account, state).await;
                    self.unswept.note(id, cleared, now);
                }
            }
            match over.into_iter().next_back() {
                Some((id, ..)) => last = id,
                None => return Ok(()),
            }
        }
    }

    async fn clear_one(&self, id: &str, account: &str, state: &str) -> Result<(), Fault> {
        let folder = self.cabinet.folder(account, id);
        let cleared = if state == "READY" {
            folder.clear_spool().await
        } else {
            folder.clear().await
        };
        cleared.map_err(|error| Fault::new("what is left of an export", error))?;
        let mut tx = self.store.pool().begin().await?;
        sqlx::query("DELETE FROM spooled_piece WHERE archive = $1")
            .bind(id)
            .execute(&mut *tx)
            .await?;
        // Only in this state: an archive that expires meanwhile has more to erase.
        sqlx::query("UPDATE archive SET cleared = 1 WHERE id = $1 AND state = $2")
            .bind(id)
            .bind(state)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Forgets exports that ended long ago, and that an account was ever held that nobody knows.
    async fn forget(&self, now: SystemTime) -> Result<(), Fault> {
        let long_ago = now.checked_sub(RECORD_KEPT).map_or(0, micros);
        let old: Vec<(String, String)> = sqlx::query_as(
            "SELECT id, account FROM archive WHERE cleared = 1 AND ended_at > 0 AND ended_at <= $1 AND state <> 'READY' \
             ORDER BY ended_at, id LIMIT $2",
        )
        .bind(long_ago)
        .bind(ROUND_MAX)
        .fetch_all(self.store.pool())
        .await?;
        for (id, account) in old {
            if !self.unswept.is_left_alone(&id, now) {
                let forgotten = self.forget_one(&id, &account).await;
                self.unswept.note(&id, forgotten, now);
            }
        }
        Ok(())
    }

    async fn forget_one(&self, id: &str, account: &str) -> Result<(), Fault> {
        let mut tx = self.store.pool().begin().await?;
        for statement in [
            "DELETE FROM archive_category WHERE archive = $1",
            "DELETE FROM archive_source WHERE archive = $1",
            "DELETE FROM archive WHERE id = $1",
        ] {
            sqlx::query(statement).bind(id).execute(&mut *tx).await?;
        }
        seal::forget(&mut tx, &seal::mark(account)).await?;
        tx.commit().await?;
        Ok(())
    }
}
