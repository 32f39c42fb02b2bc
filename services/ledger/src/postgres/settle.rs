//! Receipts, and where they lead.

use std::collections::HashMap;

use farewell_core::{Deletion, DeletionId, Mask};
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::connection::{Lane, Statement};
use crate::columns::{self, Times};
use crate::{Error, Fence, Settled, Settlement, merge, named_once};

/// Deletions that carry an advance are moved if its condition holds; the rest only merge their legs, and that rewrites no
/// index. Receipts are kept of deletions that are there, so also of none if the fence is gone (as in `turn`). A receipt
/// that was new to this snapshot but no longer is breaks the primary key: `ON CONFLICT` would log every row twice.
///
/// `IN (…) IS TRUE` and `NOT IN` make the planner look in a hash of the few ids: it would join them row by row.
///
/// Answers: a row for each deletion, one for each receipt that was there before with the fingerprint that stands, and one
/// without an id that tells whether the fence stands.
pub(super) const SETTLE: &str = "
WITH fence AS MATERIALIZED (
    SELECT true AS stands FROM coordinator WHERE holder = $1 AND epoch = $2 FOR SHARE
), given AS MATERIALIZED (
    SELECT g.*, (
        SELECT r.fingerprint FROM receipt r
        WHERE r.deletion = g.deletion AND r.round = g.round AND r.leg = g.leg) AS kept
    FROM unnest($3::uuid[], $4::integer[], $5::smallint[], $6::uuid[], $7::boolean[], $8::text[])
         AS g(deletion, round, leg, fingerprint, sealed_devices, evidence)
), advanced AS (
    UPDATE deletion d
    SET done = d.done | a.legs, refused = d.refused & ~a.legs, retains = d.retains | CASE WHEN d.closed_at IS NULL THEN a.keeps ELSE 0 END, need = a.need, attention_at = a.attention_at,
        closed_at = a.closed_at, expires_at = a.expires_at, cooling_off_end = a.cooling_off_end,
        erase_at = a.erase_at, end_at = a.end_at, revision = a.revision, round = a.round, state = a.state,
        sealed = a.sealed, blockers = a.blockers
    FROM unnest($11::uuid[], $12::bigint[], $13::bigint[], $14::bigint[], $15::bigint[], $16::bigint[],
                $17::bigint[], $18::bigint[], $19::bigint[], $20::bigint[], $21::integer[], $22::integer[],
                $23::smallint[], $24::boolean[], $25::text[], $26::text[], $28::integer[], $30::bigint[], $31::bigint[])
         AS a(id, legs, done, need, attention_at, closed_at,
              expires_at, cooling_off_end, erase_at, end_at, revision, round,
              state, sealed, blockers, word, asked, keeps, retains)
    WHERE (SELECT stands FROM fence) AND d.id = a.id AND d.revision = a.revision - 1 AND d.round = a.asked
      AND ((d.done | a.legs) & a.done) = a.done
      AND (a.state <> 5
           OR (NOT d.held AND d.conflicts = 0 AND ((d.retains | a.keeps) & ~a.retains) = 0
               AND a.id NOT IN (SELECT deletion FROM given WHERE kept <> fingerprint)))
    RETURNING d.id, d.done, d.revision, d.account, d.state, d.end_at, a.word
), merged AS (
    UPDATE deletion d
    SET done = d.done | CASE WHEN d.round = s.round THEN s.legs ELSE 0 END,
        refused = d.refused & ~CASE WHEN d.round = s.round THEN s.legs ELSE 0 END, retains = d.retains | CASE WHEN d.closed_at IS NULL THEN s.keeps ELSE 0 END
    FROM unnest($9::uuid[], $10::bigint[], $27::integer[], $32::bigint[]) AS s(id, legs, round, keeps)
    WHERE (SELECT stands FROM fence) AND d.id = s.id AND s.id NOT IN (SELECT id FROM advanced)
    RETURNING d.id, d.done, d.revision
), appended AS (
    INSERT INTO receipt (deletion, settled_at, fingerprint, round, leg, sealed_devices, evidence)
    SELECT deletion, $29::bigint, fingerprint, round, leg, sealed_devices, evidence
    FROM given
    WHERE kept IS NULL AND (deletion IN (SELECT id FROM advanced UNION ALL SELECT id FROM merged)) IS TRUE
), ended AS (
    DELETE FROM live l USING advanced a
    WHERE a.state >= 5 AND l.account = a.account AND l.deletion = a.id
    RETURNING a.account, a.id, a.state, a.end_at
), told AS (
    INSERT INTO outbox (slot, deletion, state, at)
    SELECT get_byte(sha256(convert_to(account, 'UTF8')), 0) % 64, id, state, end_at FROM ended
), noted AS (
    INSERT INTO history (deletion, at, revision, state, note)
    SELECT id, (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint), revision, state, word FROM advanced
)
SELECT id, done, revision, true AS flag, NULL::integer AS round, NULL::smallint AS leg, NULL::uuid AS kept FROM advanced
UNION ALL
SELECT id, done, revision, false, NULL, NULL, NULL FROM merged
UNION ALL
SELECT deletion, NULL, NULL, NULL, round, leg, kept FROM given WHERE kept IS NOT NULL
UNION ALL
SELECT NULL, NULL, NULL, coalesce((SELECT stands FROM fence), false), NULL, NULL, NULL";

pub(super) async fn settle(
    lane: &Lane,
    fence: &Fence,
    batch: Vec<Settlement>,
) -> Result<Vec<Settled>, Error> {
    named_once(batch.iter().map(|settlement| settlement.deletion))?;
    let set = Set::of(&batch);
    let answers = lane.write(&[set], |set| set.statement(fence)).await?;
    let mut settled = HashMap::with_capacity(batch.len());
    let mut kept = HashMap::new();
    for row in answers.iter().flatten() {
        match answer(row).map_err(Error::Unknown)? {
            Answer::Settled(id, answer) => {
                settled.insert(id, answer);
            }
            Answer::Kept(receipt, fingerprint) => {
                kept.insert(receipt, fingerprint);
            }
            Answer::Fence(true) => {}
            Answer::Fence(false) => return Err(Error::Fenced),
        }
    }
    Ok(batch
        .into_iter()
        .map(|settlement| {
            let id = settlement.deletion;
            let Some(answer) = settled.remove(&id) else {
                return Settled::UNKNOWN;
            };
            Settled {
                conflicts: merge::conflicts(&settlement.receipts, |round, leg| {
                    kept.get(&(id, round.into(), columns::leg(leg))).copied()
                }),
                ..answer
            }
        })
        .collect())
}

enum Answer {
    Settled(DeletionId, Settled),
    Kept((DeletionId, i32, i16), [u8; 16]),
    Fence(bool),
}

fn answer(row: &PgRow) -> Result<Answer, sqlx::Error> {
    let Some(id) = row.try_get::<Option<Uuid>, _>(0)?.map(DeletionId) else {
        return row.try_get(3).map(Answer::Fence);
    };
    if let Some(fingerprint) = row.try_get::<Option<Uuid>, _>(6)? {
        let receipt = (id, row.try_get(4)?, row.try_get(5)?);
        return Ok(Answer::Kept(receipt, fingerprint.into_bytes()));
    }
    Ok(Answer::Settled(
        id,
        Settled {
            done: Mask::from_bits(row.try_get(1)?),
            revision: row.try_get(2)?,
            advanced: row.try_get(3)?,
            conflicts: Vec::new(),
        },
    ))
}

/// Settlements by column: receipts, merges and advances.
#[derive(Default)]
struct Set {
    at: i64,
    deletion: Vec<Uuid>,
    receipt_round: Vec<i32>,
    leg: Vec<i16>,
    fingerprint: Vec<Uuid>,
    evidence: Vec<String>,
    sealed_devices: Vec<bool>,
    merges: Merges,
    advances: Advances,
}

#[derive(Default)]
struct Merges {
    id: Vec<Uuid>,
    legs: Vec<i64>,
    round: Vec<i32>,
    keeps: Vec<i64>,
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
    asked: Vec<i32>,
    keeps: Vec<i64>,
    retains: Vec<i64>,
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
            set.at = set.at.max(settlement.at.micros());
            set.merges.id.push(settlement.deletion.0);
            set.merges.legs.push(settlement.legs.bits());
            set.merges.round.push(settlement.round.into());
            set.merges.keeps.push(settlement.retains.bits());
            if let Some(advance) = merge::advance(settlement) {
                set.advances.push(settlement, advance);
            }
        }
        set
    }

    fn push_receipts(&mut self, settlement: &Settlement) {
        for receipt in merge::distinct(&settlement.receipts) {
            self.deletion.push(settlement.deletion.0);
            self.receipt_round.push(receipt.round.into());
            self.leg.push(columns::leg(receipt.leg));
            self.fingerprint.push(Uuid::from_bytes(receipt.fingerprint));
            self.sealed_devices.push(merge::seals_devices(receipt));
            self.evidence.push(receipt.evidence.clone());
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
            .bind(&self.sealed_devices)
            .bind(&self.evidence)
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
            .bind(&self.merges.round)
            .bind(&advances.asked)
            .bind(self.at)
            .bind(&advances.keeps)
            .bind(&advances.retains)
            .bind(&self.merges.keeps)
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
        self.asked.push(settlement.round.into());
        self.keeps.push(settlement.retains.bits());
        self.retains.push(advance.retains.bits());
    }
}
