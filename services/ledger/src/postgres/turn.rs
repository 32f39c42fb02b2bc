//! Decided changes: compare-and-sets on the revision.

use std::collections::{HashMap, HashSet};

use farewell_core::{Deletion, DeletionId, Mask};
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::connection::{Lane, Statement};
use crate::columns::{self, Times};
use crate::{Error, Fence, Turn, Turned};

/// The fence is locked first, so that a take-over waits for this statement, or this statement for a take-over; then the
/// fence is gone and nothing happens. A deletion that ends leaves `live` and enters `outbox` with its state; one whose account
/// is sealed enters it, too.
///
/// The last row tells whether the fence stands.
pub(super) const TURN: &str = "
WITH fence AS MATERIALIZED (
    SELECT true AS stands FROM coordinator WHERE holder = $1 AND epoch = $2 FOR SHARE
), turned AS (
    UPDATE deletion d
    SET done = d.done & ~t.clear, refused = t.refused & ~(d.done & ~t.clear), need = t.need, deadline = t.deadline,
        attention_at = t.attention_at, closed_at = t.closed_at, expires_at = t.expires_at,
        cooling_off_end = t.cooling_off_end, erase_at = t.erase_at, end_at = t.end_at,
        policy_version = t.policy_version, revision = t.revision, conflicts = t.conflicts, round = t.round,
        state = t.state, factors_required = t.factors_required, factors_verified = t.factors_verified,
        sealed = t.sealed, held = t.held, blockers = t.blockers, rare = t.rare, retains = t.retains, expiring = t.expiring
    FROM unnest($3::uuid[], $4::integer[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[],
                $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[], $14::bigint[],
                $15::integer[], $16::integer[], $17::integer[], $18::integer[], $19::smallint[],
                $20::smallint[], $21::smallint[], $22::boolean[], $23::boolean[], $24::text[], $25::text[], $26::bigint[],
                $27::text[], $28::bigint[], $29::bigint[], $33::text[])
         AS t(id, before, clear, refused, need, deadline,
              attention_at, closed_at, expires_at, cooling_off_end, erase_at, end_at,
              policy_version, revision, conflicts, round, state,
              factors_required, factors_verified, sealed, held, blockers, note, sealed_at,
              rare, retains, expiring, decision)
    WHERE ($1::text IS NULL OR (SELECT stands FROM fence)) AND d.id = t.id AND d.revision = t.before
    RETURNING d.id, d.done, d.refused, d.revision, d.account, d.state, d.end_at, t.note, t.decision, t.sealed_at
), ended AS (
    DELETE FROM live l USING turned t
    WHERE t.state >= 5 AND l.account = t.account AND l.deletion = t.id
    RETURNING t.account, t.id, t.state, t.end_at
), told AS (
    INSERT INTO outbox (slot, deletion, state, at)
    SELECT get_byte(sha256(convert_to(account, 'UTF8')), 0) % 64, id, state, at FROM (
        SELECT account, id, state, end_at AS at FROM ended
        UNION ALL SELECT account, id, state, sealed_at FROM turned WHERE sealed_at IS NOT NULL
        UNION ALL SELECT t.account, t.id, r.told, r.at
                  FROM turned t JOIN unnest($30::uuid[], $31::smallint[], $32::bigint[]) AS r(id, told, at) USING (id)
    ) AS happened
    ON CONFLICT DO NOTHING
), noted AS (
    INSERT INTO history (deletion, at, revision, state, note, decision)
    SELECT id, (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint), revision, state, note, decision FROM turned
)
SELECT id, done, refused, NULL::boolean AS stands FROM turned
UNION ALL
SELECT NULL, NULL, NULL, ($1::text IS NULL OR coalesce((SELECT stands FROM fence), false))";

pub(super) async fn turn(
    lane: &Lane,
    fence: Option<&Fence>,
    batch: Vec<Turn>,
) -> Result<Vec<Turned>, Error> {
    let set = Set::of(&batch);
    let answers = lane.write(&[set], |set| set.statement(fence)).await?;
    let mut done = HashMap::new();
    for row in answers.iter().flatten() {
        match masks(row).map_err(Error::Unknown)? {
            Answer::Turned(id, masks) => {
                done.insert(id, masks);
            }
            Answer::Fence(true) => {}
            Answer::Fence(false) => return Err(Error::Fenced),
        }
    }
    Ok(batch
        .into_iter()
        // Removed, so that the second turn of one deletion finds nothing: it was not written.
        .map(|turn| match done.remove(&turn.after.id) {
            Some((done, refused)) => Turned::Done(Deletion {
                done,
                refused,
                ..turn.after
            }),
            None => Turned::Lost,
        })
        .collect())
}

enum Answer {
    Turned(DeletionId, (Mask, Mask)),
    Fence(bool),
}

fn masks(row: &PgRow) -> Result<Answer, sqlx::Error> {
    Ok(match row.try_get::<Option<Uuid>, _>("id")? {
        Some(id) => Answer::Turned(
            DeletionId(id),
            (
                Mask::from_bits(row.try_get("done")?),
                Mask::from_bits(row.try_get("refused")?),
            ),
        ),
        None => Answer::Fence(row.try_get("stands")?),
    })
}

/// Turns by column.
#[derive(Default)]
struct Set {
    id: Vec<Uuid>,
    before: Vec<i32>,
    clear: Vec<i64>,
    refused: Vec<i64>,
    need: Vec<i64>,
    deadline: Vec<i64>,
    attention_at: Vec<Option<i64>>,
    closed_at: Vec<Option<i64>>,
    expires_at: Vec<Option<i64>>,
    cooling_off_end: Vec<Option<i64>>,
    erase_at: Vec<Option<i64>>,
    end_at: Vec<Option<i64>>,
    policy_version: Vec<i32>,
    revision: Vec<i32>,
    conflicts: Vec<i32>,
    round: Vec<i32>,
    state: Vec<i16>,
    factors_required: Vec<i16>,
    factors_verified: Vec<i16>,
    sealed: Vec<bool>,
    held: Vec<bool>,
    blockers: Vec<String>,
    note: Vec<&'static str>,
    decision: Vec<Option<String>>,
    sealed_at: Vec<Option<i64>>,
    rare: Vec<String>,
    retains: Vec<i64>,
    expiring: Vec<i64>,
    recycled: Recycled,
}

/// Identifiers that are held back no longer.
#[derive(Default)]
struct Recycled {
    id: Vec<Uuid>,
    told: Vec<i16>,
    at: Vec<i64>,
}

impl Set {
    /// By id, so that statements that meet take their row locks in one order.
    fn of(batch: &[Turn]) -> Self {
        let mut named = HashSet::new();
        let mut first: Vec<&Turn> = batch
            .iter()
            .filter(|turn| named.insert(turn.after.id))
            .collect();
        first.sort_unstable_by_key(|turn| turn.after.id);
        let mut set = Self::default();
        for turn in first {
            set.push(turn);
        }
        set
    }

    fn push(&mut self, turn: &Turn) {
        let after = &turn.after;
        let times = Times::from(&after.state);
        self.id.push(after.id.0);
        self.before.push(turn.before);
        self.clear.push(turn.clear.bits());
        self.refused.push(after.refused.bits());
        self.need.push(after.need.bits());
        self.deadline.push(after.deadline.micros());
        self.attention_at.push(columns::micros(after.attention_at));
        self.closed_at.push(columns::micros(after.closed_at));
        self.expires_at.push(times.expires_at);
        self.cooling_off_end.push(times.cooling_off_end);
        self.erase_at.push(times.erase_at);
        self.end_at.push(times.end_at);
        self.policy_version
            .push(columns::stored(after.policy_version));
        self.revision.push(after.revision);
        self.conflicts.push(columns::stored(after.conflicts));
        self.round.push(after.round.into());
        self.state.push(after.state.code());
        self.factors_required.push(after.factors_required.code());
        self.factors_verified.push(after.factors_verified.code());
        self.sealed.push(times.sealed);
        self.held.push(after.held);
        self.blockers.push(columns::text(&after.blockers));
        self.note.push(turn.note);
        self.decision
            .push(columns::decision(turn.decision.as_ref()));
        self.sealed_at.push(columns::micros(turn.sealed_at));
        self.rare.push(columns::rare(&after.rare));
        self.retains.push(after.retains.bits());
        self.expiring.push(after.expiring.bits());
        for (kind, at) in &turn.recycled {
            self.recycled.id.push(after.id.0);
            self.recycled.told.push(kind.code());
            self.recycled.at.push(at.micros());
        }
    }

    fn statement(&self, fence: Option<&Fence>) -> Statement {
        sqlx::query(TURN)
            .bind(fence.map(|fence| fence.holder.as_str()))
            .bind(fence.map(|fence| fence.epoch))
            .bind(&self.id)
            .bind(&self.before)
            .bind(&self.clear)
            .bind(&self.refused)
            .bind(&self.need)
            .bind(&self.deadline)
            .bind(&self.attention_at)
            .bind(&self.closed_at)
            .bind(&self.expires_at)
            .bind(&self.cooling_off_end)
            .bind(&self.erase_at)
            .bind(&self.end_at)
            .bind(&self.policy_version)
            .bind(&self.revision)
            .bind(&self.conflicts)
            .bind(&self.round)
            .bind(&self.state)
            .bind(&self.factors_required)
            .bind(&self.factors_verified)
            .bind(&self.sealed)
            .bind(&self.held)
            .bind(&self.blockers)
            .bind(&self.note)
            .bind(&self.sealed_at)
            .bind(&self.rare)
            .bind(&self.retains)
            .bind(&self.expiring)
            .bind(&self.recycled.id)
            .bind(&self.recycled.told)
            .bind(&self.recycled.at)
            .bind(&self.decision)
    }
}
