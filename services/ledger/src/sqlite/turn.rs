//! Decided changes: compare-and-sets on the revision.

use std::collections::HashMap;

use farewell_core::{Deletion, DeletionId, Mask};
use serde::Serialize;
use sqlx::FromRow;
use uuid::Uuid;

use super::connection::{Statement, Writer, begin};
use super::moved::{Moved, json, moved};
use crate::columns::{self, Times};
use crate::{Error, Fence, Turn, Turned, clock, merge};

const BEGIN: &str = concat!(
    begin!(),
    "
SELECT id, revision, done, state < 5
FROM deletion WHERE id IN (SELECT unhex(value, '-') FROM json_each($3))"
);

const TURN: &str = concat!(
    moved!(),
    "
UPDATE deletion
SET done = value ->> 'done', refused = value ->> 'refused', retains = value ->> 'retains',
    expiring = value ->> 'expiring', need = value ->> 'need', deadline = value ->> 'deadline',
    attention_at = value ->> 'attention_at', closed_at = value ->> 'closed_at', expires_at = value ->> 'expires_at',
    cooling_off_end = value ->> 'cooling_off_end', erase_at = value ->> 'erase_at', end_at = value ->> 'end_at',
    policy_version = value ->> 'policy_version', revision = value ->> 'revision', conflicts = value ->> 'conflicts',
    round = value ->> 'round', state = value ->> 'state', factors_required = value ->> 'factors_required',
    factors_verified = value ->> 'factors_verified', sealed = value ->> 'sealed', held = value ->> 'held',
    blockers = value ->> 'blockers', rare = value ->> 'rare'
FROM jsonb_each($4) WHERE deletion.id = unhex(value ->> 'id', '-');
COMMIT"
);

pub(super) async fn turn(
    writer: &Writer,
    fence: Option<&Fence>,
    batch: Vec<Turn>,
) -> Result<Vec<Turned>, Error> {
    let ids: Vec<Uuid> = batch.iter().map(|turn| turn.after.id.0).collect();
    let reads = |begin: Statement| begin.bind(json(&ids));
    let (held, rows) = writer.begin_with(fence, BEGIN, reads).await?;
    let mut stored = HashMap::with_capacity(ids.len());
    for row in rows {
        let (id, revision, done, live): (Uuid, i32, i64, bool) =
            FromRow::from_row(&row).map_err(Error::Refused)?;
        stored.insert(DeletionId(id), (revision, Mask::from_bits(done), live));
    }
    let turned: Vec<Option<(Deletion, bool)>> = batch
        .iter()
        .map(|turn| {
            // Removed, so that the second turn of one deletion finds nothing.
            let (revision, done, live) = stored.remove(&turn.after.id)?;
            if revision != turn.before {
                return None;
            }
            let (done, refused) = merge::turned(done, turn);
            let after = Deletion {
                done,
                refused,
                ..turn.after.clone()
            };
            Some((after, live))
        })
        .collect();
    let mut moved = Moved::default();
    let mut given = Vec::new();
    for (turned, turn) in turned.iter().zip(&batch) {
        if let Some((after, live)) = turned {
            moved.push(*live, after, (turn.note, turn.decision.as_ref()));
            if let Some(at) = turn.sealed_at {
                moved.push_sealed(after, at);
            }
            for (kind, at) in &turn.recycled {
                moved.push_recycled(after, *kind, *at);
            }
            given.push(Given::from(after));
        }
    }
    let statements = moved.bind(sqlx::query(TURN), clock()).bind(json(&given));
    held.end(statements).await?;
    Ok(turned
        .into_iter()
        .map(|turned| turned.map_or(Turned::Lost, |(after, _)| Turned::Done(after)))
        .collect())
}

/// What a turn can change, by the names of the columns.
#[derive(Serialize)]
struct Given {
    id: Uuid,
    done: Mask,
    refused: Mask,
    retains: Mask,
    expiring: Mask,
    need: Mask,
    deadline: i64,
    attention_at: Option<i64>,
    closed_at: Option<i64>,
    expires_at: Option<i64>,
    cooling_off_end: Option<i64>,
    erase_at: Option<i64>,
    end_at: Option<i64>,
    policy_version: u32,
    revision: i32,
    conflicts: u32,
    round: u16,
    state: i16,
    factors_required: i16,
    factors_verified: i16,
    sealed: bool,
    held: bool,
    blockers: String,
    rare: String,
}

impl From<&Deletion> for Given {
    fn from(after: &Deletion) -> Self {
        let times = Times::from(&after.state);
        Self {
            id: after.id.0,
            done: after.done,
            refused: after.refused,
            retains: after.retains,
            expiring: after.expiring,
            need: after.need,
            deadline: after.deadline.micros(),
            attention_at: columns::micros(after.attention_at),
            closed_at: columns::micros(after.closed_at),
            expires_at: times.expires_at,
            cooling_off_end: times.cooling_off_end,
            erase_at: times.erase_at,
            end_at: times.end_at,
            policy_version: after.policy_version,
            revision: after.revision,
            conflicts: after.conflicts,
            round: after.round,
            state: after.state.code(),
            factors_required: after.factors_required.code(),
            factors_verified: after.factors_verified.code(),
            sealed: times.sealed,
            held: after.held,
            blockers: columns::text(&after.blockers),
            rare: columns::rare(&after.rare),
        }
    }
}
