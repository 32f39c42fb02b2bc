//! New deletions, and request ids that were seen.

use std::collections::HashMap;

use farewell_core::{Deletion, DeletionId, RequestId};
use sqlx::{PgPool, Row};
use uuid::Uuid;

use super::connection::{Lane, Statement, unread, written};
use super::owed;
use crate::columns::{self, Times};
use crate::{Error, Opened, Opening, Remembered, Seen, named_once, select};

/// Rows whose request id and account are both new are written; the others come back with what is there. A row that was
/// new to this snapshot but no longer is breaks a primary key: then nothing is written and the next look sees it.
///
/// Scalar subqueries, because the planner never turns those into joins that read whole tables.
pub(super) const OPEN: &str = "
WITH given AS MATERIALIZED (
    SELECT g.*,
           (SELECT r.deletion FROM request r WHERE r.id = g.request) AS first,
           (SELECT l.deletion FROM live l WHERE l.account = g.account) AS live
    FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
                $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[],
                $14::bigint[], $15::integer[], $16::integer[], $17::integer[], $18::integer[], $19::smallint[],
                $20::smallint[], $21::smallint[], $22::smallint[], $23::smallint[], $24::boolean[],
                $25::boolean[], $26::text[], $27::text[], $28::text[], $29::text[], $30::text[], $31::text[])
         AS g(id, request, request_digest, requested_at, deadline, done, need,
              refused, attention_at, closed_at, expires_at, cooling_off_end, erase_at,
              end_at, policy_version, revision, conflicts, round, slot,
              state, channel, factors_required, factors_verified, sealed,
              held, account, consents, blockers, traceparent, word, decision)
), asked AS (
    INSERT INTO request (id, digest, deletion)
    SELECT request, request_digest, id FROM given WHERE first IS NULL AND live IS NULL
), lives AS (
    INSERT INTO live (account, deletion)
    SELECT account, id FROM given WHERE first IS NULL AND live IS NULL AND state < 5
), told AS (
    INSERT INTO outbox (slot, deletion, state, at)
    SELECT get_byte(sha256(convert_to(account, 'UTF8')), 0) % 64, id, state, coalesce(end_at, requested_at)
    FROM given WHERE first IS NULL AND live IS NULL AND (state >= 5 OR state = 2)
), noted AS (
    INSERT INTO history (deletion, at, revision, state, note, decision)
    SELECT id, (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint), revision, state, word, decision
    FROM given WHERE first IS NULL AND live IS NULL
), opened AS (
    INSERT INTO deletion (id, request, request_digest, requested_at, deadline, done, need,
                          refused, attention_at, closed_at, expires_at, cooling_off_end, erase_at,
                          end_at, policy_version, revision, conflicts, round, slot,
                          state, channel, factors_required, factors_verified, sealed,
                          held, account, consents, blockers, traceparent)
    SELECT id, request, request_digest, requested_at, deadline, done, need,
           refused, attention_at, closed_at, expires_at, cooling_off_end, erase_at,
           end_at, policy_version, revision, conflicts, round, slot,
           state, channel, factors_required, factors_verified, sealed,
           held, account, consents, blockers, traceparent
    FROM given WHERE first IS NULL AND live IS NULL
)
SELECT id, first, (SELECT r.digest FROM request r WHERE r.id = given.request) AS digest, live
FROM given WHERE first IS NOT NULL OR live IS NOT NULL";

const REMEMBER: &str = "
WITH asked AS (
    INSERT INTO request (id, digest, deletion) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING RETURNING true AS new
)
SELECT coalesce((SELECT new FROM asked), false) AS new";

const REMEMBERED: &str = "SELECT digest = $2 AND deletion = $3 FROM request WHERE id = $1";

pub(super) async fn open(
    lane: &Lane,
    pool: &PgPool,
    batch: Vec<Opening>,
) -> Result<Vec<Opened>, Error> {
    named_once(batch.iter().map(|opening| opening.deletion.id))?;
    if batch.is_empty() {
        return Ok(Vec::new());
    }
    let sets: Vec<Set> = rounds(&batch).iter().map(|round| Set::of(round)).collect();
    let mut there = HashMap::new();
    for row in lane.write(&sets, Set::statement).await?.iter().flatten() {
        let found = There {
            first: row.try_get("first").map_err(Error::Unknown)?,
            digest: row.try_get("digest").map_err(Error::Unknown)?,
            live: row.try_get("live").map_err(Error::Unknown)?,
        };
        let id: Uuid = row.try_get("id").map_err(Error::Unknown)?;
        there.insert(DeletionId(id), found);
    }
    let repeats = batch.iter().filter_map(|Opening { deletion, .. }| {
        let found = there.get(&deletion.id)?;
        found.repeats(deletion).map(DeletionId)
    });
    let first: HashMap<DeletionId, Deletion> = read_after(pool, repeats.collect()).await?;
    Ok(batch
        .into_iter()
        .map(|Opening { deletion, .. }| match there.get(&deletion.id) {
            None => Opened::Created(deletion),
            Some(found) => found.answer(&deletion, &first),
        })
        .collect())
}

/// What is there instead of a row that was to be written.
struct There {
    first: Option<Uuid>,
    digest: Option<Uuid>,
    live: Option<Uuid>,
}

impl There {
    fn repeats(&self, deletion: &Deletion) -> Option<Uuid> {
        let same = self.digest == Some(Uuid::from_bytes(deletion.request_digest));
        self.first.filter(|_| same)
    }

    fn answer(&self, deletion: &Deletion, first: &HashMap<DeletionId, Deletion>) -> Opened {
        match (self.first, self.live) {
            (None, Some(live)) => Opened::AccountHasLive(DeletionId(live)),
            _ => self
                .repeats(deletion)
                .and_then(|id| first.get(&DeletionId(id)))
                .map_or(Opened::RequestIdReused, |first| {
                    Opened::Repeat(first.clone())
                }),
        }
    }
}

/// Reads deletions after a commit: an error doesn't undo it, so it says `Unknown`.
async fn read_after(
    pool: &PgPool,
    ids: Vec<DeletionId>,
) -> Result<HashMap<DeletionId, Deletion>, Error> {
    let deletions = owed::deletions(pool, &ids)
        .await
        .map_err(|error| match error {
            Error::Unreachable(source) | Error::Refused(source) => Error::Unknown(source),
            error => error,
        })?;
    Ok(deletions
        .into_iter()
        .map(|deletion| (deletion.id, deletion))
        .collect())
}

/// Splits a batch so that no part asks twice with one request id or for one account: a statement doesn't see its own rows.
/// Nearly always there is one part.
fn rounds(batch: &[Opening]) -> Vec<Vec<&Opening>> {
    let mut rounds: Vec<Vec<&Opening>> = Vec::new();
    let mut requests = HashMap::new();
    let mut accounts = HashMap::new();
    for opening in batch {
        let deletion = &opening.deletion;
        let request = requests.entry(deletion.request).or_insert(0);
        let account = accounts.entry(&deletion.account).or_insert(0);
        let round: usize = (*request).max(*account);
        (*request, *account) = (round + 1, round + 1);
        match rounds.get_mut(round) {
            Some(there) => there.push(opening),
            None => rounds.push(vec![opening]),
        }
    }
    rounds
}

/// Deletions by column.
#[derive(Default)]
struct Set {
    id: Vec<Uuid>,
    request: Vec<Uuid>,
    request_digest: Vec<Uuid>,
    requested_at: Vec<i64>,
    deadline: Vec<i64>,
    done: Vec<i64>,
    need: Vec<i64>,
    refused: Vec<i64>,
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
    slot: Vec<i16>,
    state: Vec<i16>,
    channel: Vec<i16>,
    factors_required: Vec<i16>,
    factors_verified: Vec<i16>,
    sealed: Vec<bool>,
    held: Vec<bool>,
    account: Vec<String>,
    consents: Vec<String>,
    blockers: Vec<String>,
    traceparent: Vec<String>,
    word: Vec<&'static str>,
    decision: Vec<Option<String>>,
}

impl Set {
    fn of(openings: &[&Opening]) -> Self {
        let mut set = Self::default();
        for opening in openings {
            set.push(opening);
        }
        set
    }

    fn push(&mut self, opening: &Opening) {
        let deletion = &opening.deletion;
        let times = Times::from(&deletion.state);
        self.id.push(deletion.id.0);
        self.request.push(deletion.request.0);
        self.request_digest
            .push(Uuid::from_bytes(deletion.request_digest));
        self.requested_at.push(deletion.requested_at.micros());
        self.deadline.push(deletion.deadline.micros());
        self.done.push(deletion.done.bits());
        self.need.push(deletion.need.bits());
        self.refused.push(deletion.refused.bits());
        self.attention_at
            .push(columns::micros(deletion.attention_at));
        self.closed_at.push(columns::micros(deletion.closed_at));
        self.expires_at.push(times.expires_at);
        self.cooling_off_end.push(times.cooling_off_end);
        self.erase_at.push(times.erase_at);
        self.end_at.push(times.end_at);
        self.policy_version
            .push(columns::stored(deletion.policy_version));
        self.revision.push(deletion.revision);
        self.conflicts.push(columns::stored(deletion.conflicts));
        self.round.push(deletion.round.into());
        self.slot.push(deletion.id.slot().number().into());
        self.state.push(deletion.state.code());
        self.channel.push(deletion.channel.code());
        self.factors_required.push(deletion.factors_required.code());
        self.factors_verified.push(deletion.factors_verified.code());
        self.sealed.push(times.sealed);
        self.held.push(deletion.held);
        self.account.push(deletion.account.as_str().to_owned());
        self.consents.push(columns::text(&deletion.consents));
        self.blockers.push(columns::text(&deletion.blockers));
        self.traceparent.push(deletion.traceparent.clone());
        self.word.push(deletion.state.word());
        self.decision
            .push(columns::decision(opening.decision.as_ref()));
    }

    fn statement(&self) -> Statement {
        sqlx::query(OPEN)
            .bind(&self.id)
            .bind(&self.request)
            .bind(&self.request_digest)
            .bind(&self.requested_at)
            .bind(&self.deadline)
            .bind(&self.done)
            .bind(&self.need)
            .bind(&self.refused)
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
            .bind(&self.slot)
            .bind(&self.state)
            .bind(&self.channel)
            .bind(&self.factors_required)
            .bind(&self.factors_verified)
            .bind(&self.sealed)
            .bind(&self.held)
            .bind(&self.account)
            .bind(&self.consents)
            .bind(&self.blockers)
            .bind(&self.traceparent)
            .bind(&self.word)
            .bind(&self.decision)
    }
}

pub(super) async fn remember(
    pool: &PgPool,
    request: RequestId,
    digest: [u8; 16],
    deletion: DeletionId,
) -> Result<Remembered, Error> {
    let new: bool = sqlx::query_scalar(REMEMBER)
        .bind(request.0)
        .bind(Uuid::from_bytes(digest))
        .bind(deletion.0)
        .fetch_one(pool)
        .await
        .map_err(written)?;
    if new {
        return Ok(Remembered::New);
    }
    let same: bool = sqlx::query_scalar(REMEMBERED)
        .bind(request.0)
        .bind(Uuid::from_bytes(digest))
        .bind(deletion.0)
        .fetch_one(pool)
        .await
        .map_err(written)?;
    Ok(if same {
        Remembered::Repeat
    } else {
        Remembered::Reused
    })
}

pub(super) async fn seen(pool: &PgPool, request: RequestId) -> Result<Option<Seen>, Error> {
    let kept: Option<(Uuid, Uuid)> = sqlx::query_as(select::SEEN)
        .bind(request.0)
        .fetch_optional(pool)
        .await
        .map_err(unread)?;
    Ok(kept.map(|(digest, deletion)| Seen {
        digest: digest.into_bytes(),
        deletion: DeletionId(deletion),
    }))
}
