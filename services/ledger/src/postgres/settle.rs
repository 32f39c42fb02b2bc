//! Receipts, and where they lead.

use std::collections::{HashMap, HashSet};

use farewell_core::{Deletion, DeletionId, Mask, State};
use sqlx::{PgPool, Row};
use uuid::Uuid;

use super::connection::{Lane, Statement};
use crate::columns::{self, Times};
use crate::{Error, Fence, Settled, Settlement, merge, named_once};

/// Deletions that carry an advance are moved if its condition holds; the rest only merge their legs, and that rewrites no
/// index. Receipts are kept of deletions that are there, so also of none if the fence is gone (as in `turn`).
///
/// `IN (…) IS TRUE` and `NOT IN` make the planner look in a hash of the few ids: it would join them row by row.
///
/// The last row tells how many receipts were new and whether the fence stands.
pub(super) const SETTLE: &str = "
WITH fence AS MATERIALIZED (
    SELECT true AS stands FROM coordinator WHERE holder = $1 AND epoch = $2 FOR SHARE
), contradicted AS MATERIALIZED (
    SELECT g.deletion
    FROM unnest($3::uuid[], $4::integer[], $5::smallint[], $6::uuid[], $9::boolean[])
         AS g(deletion, round, leg, fingerprint, purges)
    WHERE g.purges AND g.fingerprint <> (
        SELECT r.fingerprint FROM receipt r
        WHERE r.deletion = g.deletion AND r.round = g.round AND r.leg = g.leg)
), advanced AS (
    UPDATE deletion d
    SET done = d.done | a.legs, refused = d.refused & ~a.legs, need = a.need, attention_at = a.attention_at,
        closed_at = a.closed_at, expires_at = a.expires_at, cooling_off_end = a.cooling_off_end,
        erase_at = a.erase_at, end_at = a.end_at, revision = a.revision, round = a.round, state = a.state,
        sealed = a.sealed, blockers = a.blockers
    FROM unnest($12::uuid[], $13::bigint[], $14::bigint[], $15::bigint[], $16::bigint[], $17::bigint[],
                $18::bigint[], $19::bigint[], $20::bigint[], $21::bigint[], $22::integer[], $23::integer[],
                $24::smallint[], $25::boolean[], $26::text[], $27::text[])
         AS a(id, legs, done, need, attention_at, closed_at,
              expires_at, cooling_off_end, erase_at, end_at, revision, round,
              state, sealed, blockers, word)
    WHERE (SELECT stands FROM fence) AND d.id = a.id AND d.revision = a.revision - 1
      AND ((d.done | a.legs) & a.done) = a.done
      AND (a.state <> 5
           OR (NOT d.held AND d.conflicts = 0 AND a.id NOT IN (SELECT deletion FROM contradicted)))
    RETURNING d.id, d.done, d.revision, d.slot, d.account, d.state, d.end_at, a.word
), merged AS (
    UPDATE deletion d
    SET done = d.done | s.legs, refused = d.refused & ~s.legs
    FROM unnest($10::uuid[], $11::bigint[]) AS s(id, legs)
    WHERE (SELECT stands FROM fence) AND d.id = s.id AND s.id NOT IN (SELECT id FROM advanced)
    RETURNING d.id, d.done, d.revision
), kept AS (
    INSERT INTO receipt (deletion, settled_at, fingerprint, round, leg, sealed_devices, evidence)
    SELECT g.deletion, (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint),
           g.fingerprint, g.round, g.leg, g.sealed_devices, g.evidence
    FROM unnest($3::uuid[], $4::integer[], $5::smallint[], $6::uuid[], $7::text[], $8::boolean[])
         AS g(deletion, round, leg, fingerprint, evidence, sealed_devices)
    WHERE (g.deletion IN (SELECT id FROM advanced UNION ALL SELECT id FROM merged)) IS TRUE
    ON CONFLICT DO NOTHING
    RETURNING true
), ended AS (
    DELETE FROM live l USING advanced a
    WHERE a.state >= 5 AND l.account = a.account AND l.deletion = a.id
    RETURNING a.slot, a.id, a.state, a.end_at
), told AS (
    INSERT INTO outbox (slot, deletion, state, at) SELECT slot, id, state, end_at FROM ended
), noted AS (
    INSERT INTO history (deletion, at, revision, state, note)
    SELECT id, (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint), revision, state, word FROM advanced
)
SELECT id, done, revision, true AS advanced, NULL::bigint AS kept, NULL::boolean AS stands FROM advanced
UNION ALL
SELECT id, done, revision, false, NULL, NULL FROM merged
UNION ALL
SELECT NULL, NULL, NULL, NULL, (SELECT count(*) FROM kept), coalesce((SELECT stands FROM fence), false)";

/// Those of some receipts that are kept with another fingerprint.
const CONFLICTS: &str = "
SELECT g.place
FROM unnest($1::uuid[], $2::integer[], $3::smallint[], $4::uuid[]) WITH ORDINALITY
     AS g(deletion, round, leg, fingerprint, place)
WHERE g.fingerprint <> (
    SELECT r.fingerprint FROM receipt r
    WHERE r.deletion = g.deletion AND r.round = g.round AND r.leg = g.leg)";

pub(super) async fn settle(
    lane: &Lane,
    pool: &PgPool,
    fence: &Fence,
    batch: Vec<Settlement>,
) -> Result<Vec<Settled>, Error> {
    named_once(batch.iter().map(|settlement| settlement.deletion))?;
    let set = Set::of(&batch);
    let sets = [set];
    let answers = lane.write(&sets, |set| set.statement(fence)).await?;
    let [set] = sets;
    let mut settled = HashMap::with_capacity(batch.len());
    let mut kept = 0;
    for row in answers.iter().flatten() {
        match answer(row).map_err(Error::Unknown)? {
            Answer::Settled(id, answer) => {
                settled.insert(id, answer);
            }
            Answer::Fence { stands: true, new } => kept = new,
            Answer::Fence { stands: false, .. } => return Err(Error::Fenced),
        }
    }
    let old = if kept == i64::try_from(set.evidence.len()).unwrap_or(i64::MAX) {
        HashSet::new()
    } else {
        set.conflicts(pool).await.map_err(Error::Unknown)?
    };
    let mut place = 0;
    Ok(batch
        .into_iter()
        .map(|settlement| {
            let mut answer = settled
                .remove(&settlement.deletion)
                .unwrap_or(Settled::UNKNOWN);
            for receipt in settlement.receipts {
                place += 1;
                if old.contains(&place) {
                    answer.conflicts.push(receipt);
                }
            }
            answer
        })
        .collect())
}

enum Answer {
    Settled(DeletionId, Settled),
    Fence { stands: bool, new: i64 },
}

fn answer(row: &sqlx::postgres::PgRow) -> Result<Answer, sqlx::Error> {
    Ok(match row.try_get::<Option<Uuid>, _>(0)? {
        Some(id) => Answer::Settled(
            DeletionId(id),
            Settled {
                done: Mask::from_bits(row.try_get(1)?),
                revision: row.try_get(2)?,
                advanced: row.try_get(3)?,
                conflicts: Vec::new(),
            },
        ),
        None => Answer::Fence {
            new: row.try_get(4)?,
            stands: row.try_get(5)?,
        },
    })
}

/// Settlements by column: receipts, merges and advances.
#[derive(Default)]
struct Set {
    deletion: Vec<Uuid>,
    receipt_round: Vec<i32>,
    leg: Vec<i16>,
    fingerprint: Vec<Uuid>,
    evidence: Vec<String>,
    sealed_devices: Vec<bool>,
    purges: Vec<bool>,
    merges: Merges,
    advances: Advances,
}

#[derive(Default)]
struct Merges {
    id: Vec<Uuid>,
    legs: Vec<i64>,
}

#[derive(Default)]
struct Advances {
    id: Vec<Uuid>,
    legs: Vec<i64>,
    done: Vec<i64>,
    need: Vec<i64>,
    attention_at: Vec<Option<i64>>,
    closed_at: Vec<Option<i64>>,
    expires_at: Vec<Option<i64>>,
    cooling_off_end: Vec<Option<i64>>,
    erase_at: Vec<Option<i64>>,
    end_at: Vec<Option<i64>>,
    revision: Vec<i32>,
    round: Vec<i32>,
    state: Vec<i16>,
    sealed: Vec<bool>,
    blockers: Vec<String>,
    word: Vec<&'static str>,
}

impl Set {
    fn of(batch: &[Settlement]) -> Self {
        let mut set = Self::default();
        for settlement in batch {
            set.push_receipts(settlement);
        }
        // By id, so that statements that meet take their row locks in one order.
        let mut by_id: Vec<&Settlement> = batch.iter().collect();
        by_id.sort_unstable_by_key(|settlement| settlement.deletion);
        for settlement in by_id {
            set.merges.id.push(settlement.deletion.0);
            set.merges.legs.push(settlement.legs.bits());
            if let Some(advance) = &settlement.advance {
                set.advances.push(settlement, advance);
            }
        }
        set
    }

    fn push_receipts(&mut self, settlement: &Settlement) {
        let purges = settlement
            .advance
            .as_ref()
            .is_some_and(|advance| matches!(advance.state, State::Purged { .. }));
        for receipt in &settlement.receipts {
            self.deletion.push(settlement.deletion.0);
            self.receipt_round.push(receipt.round.into());
            self.leg.push(columns::leg(receipt.leg));
            self.fingerprint.push(Uuid::from_bytes(receipt.fingerprint));
            self.evidence.push(receipt.evidence.clone());
            self.sealed_devices.push(merge::seals_devices(receipt));
            self.purges.push(purges);
        }
    }

    fn statement(&self, fence: &Fence) -> Statement {
        let advances = &self.advances;
        sqlx::query(SETTLE)
            .bind(&fence.holder)
            .bind(fence.epoch)
            .bind(&self.deletion)
            .bind(&self.receipt_round)
            .bind(&self.leg)
            .bind(&self.fingerprint)
            .bind(&self.evidence)
            .bind(&self.sealed_devices)
            .bind(&self.purges)
            .bind(&self.merges.id)
            .bind(&self.merges.legs)
            .bind(&advances.id)
            .bind(&advances.legs)
            .bind(&advances.done)
            .bind(&advances.need)
            .bind(&advances.attention_at)
            .bind(&advances.closed_at)
            .bind(&advances.expires_at)
            .bind(&advances.cooling_off_end)
            .bind(&advances.erase_at)
            .bind(&advances.end_at)
            .bind(&advances.revision)
            .bind(&advances.round)
            .bind(&advances.state)
            .bind(&advances.sealed)
            .bind(&advances.blockers)
            .bind(&advances.word)
    }

    /// Places from 1. Receipts are never rewritten, so a read of its own sees what the statement met.
    async fn conflicts(&self, pool: &PgPool) -> Result<HashSet<i64>, sqlx::Error> {
        let places: Vec<i64> = sqlx::query_scalar(CONFLICTS)
            .bind(&self.deletion)
            .bind(&self.receipt_round)
            .bind(&self.leg)
            .bind(&self.fingerprint)
            .fetch_all(pool)
            .await?;
        Ok(places.into_iter().collect())
    }
}

impl Advances {
    fn push(&mut self, settlement: &Settlement, advance: &Deletion) {
        let times = Times::from(&advance.state);
        self.id.push(settlement.deletion.0);
        self.legs.push(settlement.legs.bits());
        self.done.push(advance.done.bits());
        self.need.push(advance.need.bits());
        self.attention_at
            .push(columns::micros(advance.attention_at));
        self.closed_at.push(columns::micros(advance.closed_at));
        self.expires_at.push(times.expires_at);
        self.cooling_off_end.push(times.cooling_off_end);
        self.erase_at.push(times.erase_at);
        self.end_at.push(times.end_at);
        self.revision.push(advance.revision);
        self.round.push(advance.round.into());
        self.state.push(advance.state.code());
        self.sealed.push(times.sealed);
        self.blockers.push(columns::text(&advance.blockers));
        self.word.push(advance.state.word());
    }
}
