//! Receipts, and where they lead.

use std::collections::HashMap;

use farewell_core::{Deletion, DeletionId, Mask};
use serde::Serialize;
use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Row as _};
use uuid::Uuid;

use super::connection::{Statement, Writer, begin};
use super::moved::{Moved, json, moved};
use crate::columns::{self, Times};
use crate::merge::{self, Stored};
use crate::{Error, Fence, Settled, Settlement, clock, named_once};

/// Deletions of a batch as they are stored, and those of its receipts that are there already.
const BEGIN: &str = concat!(
    begin!(),
    "
SELECT id, revision, round, done, refused, retains, closed_at IS NOT NULL, held, conflicts, state < 5
FROM deletion WHERE id IN (SELECT unhex(value, '-') FROM json_each($3));
SELECT r.deletion, r.round, r.leg, r.fingerprint
FROM jsonb_each($4) AS g CROSS JOIN receipt AS r
WHERE r.deletion = unhex(g.value ->> 0, '-') AND r.round = g.value ->> 1 AND r.leg = g.value ->> 2"
);
/// Columns of the first of them.
const STORED_COLUMNS: usize = 10;

const SETTLE: &str = concat!(
    moved!(),
    "
INSERT INTO receipt (deletion, round, leg, fingerprint, sealed_devices, evidence, settled_at)
SELECT unhex(value ->> 0, '-'), value ->> 1, value ->> 2, unhex(value ->> 3, '-'), value ->> 4, value ->> 5, $7
FROM jsonb_each($4);
UPDATE deletion
SET done = value ->> 1, refused = value ->> 2, retains = value ->> 3
FROM jsonb_each($5) WHERE deletion.id = unhex(value ->> 0, '-');
UPDATE deletion
SET done = value ->> 'done', refused = value ->> 'refused', retains = value ->> 'retains', need = value ->> 'need',
    attention_at = value ->> 'attention_at', closed_at = value ->> 'closed_at', expires_at = value ->> 'expires_at',
    cooling_off_end = value ->> 'cooling_off_end', erase_at = value ->> 'erase_at', end_at = value ->> 'end_at',
    revision = value ->> 'revision', round = value ->> 'round', state = value ->> 'state',
    sealed = value ->> 'sealed', blockers = value ->> 'blockers'
FROM jsonb_each($6) WHERE deletion.id = unhex(value ->> 'id', '-');
COMMIT"
);

pub(super) async fn settle(
    writer: &Writer,
    fence: &Fence,
    batch: Vec<Settlement>,
) -> Result<Vec<Settled>, Error> {
    named_once(batch.iter().map(|settlement| settlement.deletion))?;
    let ids: Vec<Uuid> = batch
        .iter()
        .map(|settlement| settlement.deletion.0)
        .collect();
    let reads = |begin: Statement| begin.bind(json(&ids)).bind(json(&keys(&batch)));
    let (held, rows) = writer.begin_with(Some(fence), BEGIN, reads).await?;
    let (mut stored, mut kept) = (HashMap::new(), HashMap::new());
    for row in rows {
        if row.len() == STORED_COLUMNS {
            let (id, row) = stored_row(&row)?;
            stored.insert(id, row);
        } else {
            let (deletion, round, leg, fingerprint): (Uuid, u16, i16, Uuid) =
                FromRow::from_row(&row).map_err(Error::Refused)?;
            let key = (DeletionId(deletion), round, leg);
            kept.insert(key, fingerprint.into_bytes());
        }
    }
    let fingerprint = |id: DeletionId, round: u16, leg: i16| kept.get(&(id, round, leg)).copied();

    let mut set = Set::default();
    let settled: Vec<Settled> = batch
        .iter()
        .map(|settlement| {
            let id = settlement.deletion;
            let Some(row) = stored.get(&id) else {
                return Settled::UNKNOWN;
            };
            let conflicts = merge::conflicts(&settlement.receipts, |round, leg| {
                fingerprint(id, round, columns::leg(leg))
            });
            let advanced = merge::advances(row.stored, settlement, &conflicts);
            set.push(settlement, row, advanced, &fingerprint);
            Settled {
                done: row.stored.done | merge::legs(row.stored.round, settlement),
                revision: match &settlement.advance {
                    Some(advance) if advanced => advance.revision,
                    _ => row.stored.revision,
                },
                advanced,
                conflicts,
            }
        })
        .collect();
    let statements = set
        .moved
        .bind(sqlx::query(SETTLE), clock())
        .bind(json(&set.receipts))
        .bind(json(&set.merges))
        .bind(json(&set.advances))
        .bind(batch.iter().map(|settlement| settlement.at.micros()).max());
    held.end(statements).await?;
    Ok(settled)
}

struct StoredRow {
    stored: Stored,
    refused: Mask,
    live: bool,
}

fn stored_row(row: &SqliteRow) -> Result<(DeletionId, StoredRow), Error> {
    let (id, revision, round, done, refused, retains, closed, is_held, conflicts, live): (
        Uuid,
        i32,
        u16,
        i64,
        i64,
        i64,
        bool,
        bool,
        u32,
        bool,
    ) = FromRow::from_row(row).map_err(Error::Refused)?;
    let row = StoredRow {
        stored: Stored {
            revision,
            round,
            done: Mask::from_bits(done),
            held: is_held,
            conflicts,
            retains: Mask::from_bits(retains),
            closed,
        },
        refused: Mask::from_bits(refused),
        live,
    };
    Ok((DeletionId(id), row))
}

/// The receipts' keys.
fn keys(batch: &[Settlement]) -> Vec<(Uuid, u16, i16)> {
    batch
        .iter()
        .flat_map(|settlement| {
            merge::distinct(&settlement.receipts).map(|receipt| {
                let leg = columns::leg(receipt.leg);
                (settlement.deletion.0, receipt.round, leg)
            })
        })
        .collect()
}

#[derive(Default)]
struct Set<'a> {
    moved: Moved<'a>,
    receipts: Vec<(Uuid, u16, i16, Uuid, bool, &'a str)>,
    merges: Vec<(Uuid, Mask, Mask, Mask)>,
    advances: Vec<Advance>,
}

impl<'a> Set<'a> {
    fn push(
        &mut self,
        settlement: &'a Settlement,
        row: &StoredRow,
        advanced: bool,
        fingerprint: &impl Fn(DeletionId, u16, i16) -> Option<[u8; 16]>,
    ) {
        let id = settlement.deletion;
        for receipt in merge::distinct(&settlement.receipts) {
            let leg = columns::leg(receipt.leg);
            if fingerprint(id, receipt.round, leg).is_none() {
                self.receipts.push((
                    id.0,
                    receipt.round,
                    leg,
                    Uuid::from_bytes(receipt.fingerprint),
                    merge::seals_devices(receipt),
                    &receipt.evidence,
                ));
            }
        }
        let legs = merge::legs(row.stored.round, settlement);
        let done = row.stored.done | legs;
        let refused = row.refused & !legs;
        let retains = row.stored.keeping(settlement);
        match &settlement.advance {
            Some(advance) if advanced => {
                self.moved
                    .push(row.live, advance, (advance.state.word(), None));
                self.advances
                    .push(Advance::new(advance, [done, refused, retains]));
            }
            _ => self.merges.push((id.0, done, refused, retains)),
        }
    }
}

/// What a settlement can move, by the names of the columns.
#[derive(Serialize)]
struct Advance {
    id: Uuid,
    done: Mask,
    refused: Mask,
    retains: Mask,
    need: Mask,
    attention_at: Option<i64>,
    closed_at: Option<i64>,
    expires_at: Option<i64>,
    cooling_off_end: Option<i64>,
    erase_at: Option<i64>,
    end_at: Option<i64>,
    revision: i32,
    round: u16,
    state: i16,
    sealed: bool,
    blockers: String,
}

impl Advance {
    fn new(advance: &Deletion, [done, refused, retains]: [Mask; 3]) -> Self {
        let times = Times::from(&advance.state);
        Self {
            id: advance.id.0,
            done,
            refused,
            retains,
            need: advance.need,
            attention_at: columns::micros(advance.attention_at),
            closed_at: columns::micros(advance.closed_at),
            expires_at: times.expires_at,
            cooling_off_end: times.cooling_off_end,
            erase_at: times.erase_at,
            end_at: times.end_at,
            revision: advance.revision,
            round: advance.round,
            state: advance.state.code(),
            sealed: times.sealed,
            blockers: columns::text(&advance.blockers),
        }
    }
}
