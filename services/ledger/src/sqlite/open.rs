//! New deletions, and request ids that were seen.

use std::collections::HashMap;

use farewell_core::decision::Decision;
use farewell_core::deletion::{Blocker, Consent};
use farewell_core::{AccountId, Deletion, DeletionId, RequestId};
use serde::Serialize;
use sqlx::{FromRow, SqlitePool};
use uuid::Uuid;

use super::connection::{Held, Statement, Writer, begin, unread};
use super::moved::{Moved, json, moved};
use crate::columns::{self, DeletionRow, Times};
use crate::{Error, Opened, Opening, Remembered, Seen, clock, merge, named_once, select};

/// Requests and accounts of a batch that are there already.
const BEGIN: &str = concat!(
    begin!(),
    "
SELECT id, digest, deletion, NULL AS account
FROM request WHERE id IN (SELECT unhex(value, '-') FROM json_each($3))
UNION ALL
SELECT NULL, NULL, deletion, account FROM live WHERE account IN (SELECT value FROM json_each($4))"
);

const FIRST: &str =
    "SELECT * FROM deletion WHERE id IN (SELECT unhex(value, '-') FROM json_each($1))";

const OPEN: &str = concat!(
    moved!(),
    "
INSERT INTO live (account, deletion)
SELECT value ->> 0, unhex(value ->> 1, '-') FROM jsonb_each($4);
INSERT INTO request (id, digest, deletion)
SELECT unhex(value ->> 0, '-'), unhex(value ->> 1, '-'), unhex(value ->> 2, '-') FROM jsonb_each($5);
INSERT INTO deletion (
    id, slot, account, request, request_digest,
    channel, policy_version, consents, requested_at, deadline,
    state, expires_at, cooling_off_end, erase_at, end_at,
    sealed, factors_required, factors_verified, round, done, need,
    refused, blockers, held, conflicts, attention_at,
    closed_at, traceparent, revision)
SELECT
    unhex(value ->> 'id', '-'), value ->> 'slot', value ->> 'account', unhex(value ->> 'request', '-'),
    unhex(value ->> 'request_digest', '-'), value ->> 'channel', value ->> 'policy_version', value ->> 'consents',
    value ->> 'requested_at', value ->> 'deadline', value ->> 'state', value ->> 'expires_at',
    value ->> 'cooling_off_end', value ->> 'erase_at', value ->> 'end_at', value ->> 'sealed',
    value ->> 'factors_required', value ->> 'factors_verified', value ->> 'round', value ->> 'done', value ->> 'need',
    value ->> 'refused', value ->> 'blockers', value ->> 'held', value ->> 'conflicts', value ->> 'attention_at',
    value ->> 'closed_at', value ->> 'traceparent', value ->> 'revision'
FROM jsonb_each($6);
COMMIT"
);

const REMEMBER: &str = "INSERT INTO request (id, digest, deletion) VALUES ($1, $2, $3); COMMIT";

pub(super) async fn open(writer: &Writer, batch: Vec<Opening>) -> Result<Vec<Opened>, Error> {
    named_once(batch.iter().map(|opening| opening.deletion.id))?;
    let (held, mut there) = begin(writer, &batch).await?;
    let (opened, decisions): (Vec<Opened>, Vec<_>) = batch
        .into_iter()
        .map(|opening| (there.open(opening.deletion), opening.decision))
        .unzip();
    write(held, opened.iter().zip(&decisions)).await?;
    Ok(opened)
}

/// What a batch may meet, itself included.
struct There {
    requests: HashMap<RequestId, ([u8; 16], DeletionId)>,
    live: HashMap<AccountId, DeletionId>,
    deletions: HashMap<DeletionId, Deletion>,
}

impl There {
    fn open(&mut self, deletion: Deletion) -> Opened {
        if let Some((digest, first)) = self.requests.get(&deletion.request) {
            return match self.deletions.get(first) {
                Some(first) if *digest == deletion.request_digest => Opened::Repeat(first.clone()),
                _ => Opened::RequestIdReused,
            };
        }
        if let Some(live) = self.live.get(&deletion.account) {
            return Opened::AccountHasLive(*live);
        }
        let seen = (deletion.request_digest, deletion.id);
        self.requests.insert(deletion.request, seen);
        if !deletion.state.terminal() {
            self.live.insert(deletion.account.clone(), deletion.id);
        }
        self.deletions.insert(deletion.id, deletion.clone());
        Opened::Created(deletion)
    }
}

async fn begin<'a>(writer: &'a Writer, batch: &[Opening]) -> Result<(Held<'a>, There), Error> {
    let requests: Vec<Uuid> = batch
        .iter()
        .map(|opening| opening.deletion.request.0)
        .collect();
    let accounts: Vec<&str> = batch
        .iter()
        .map(|opening| opening.deletion.account.as_str())
        .collect();
    let reads = |begin: Statement| begin.bind(json(&requests)).bind(json(&accounts));
    let (mut held, rows) = writer.begin_with(None, BEGIN, reads).await?;
    let mut there = There {
        requests: HashMap::new(),
        live: HashMap::new(),
        deletions: HashMap::new(),
    };
    for row in rows {
        let (id, digest, deletion, account): (Option<Uuid>, Option<Uuid>, Uuid, Option<String>) =
            FromRow::from_row(&row).map_err(Error::Refused)?;
        if let (Some(id), Some(digest)) = (id, digest) {
            let seen = (digest.into_bytes(), DeletionId(deletion));
            there.requests.insert(RequestId(id), seen);
        }
        if let Some(account) = account {
            let account = columns::account(&account)?;
            there.live.insert(account, DeletionId(deletion));
        }
    }
    if !there.requests.is_empty() {
        let first: Vec<Uuid> = there.requests.values().map(|(_, id)| id.0).collect();
        for row in held.go(sqlx::query(FIRST).bind(json(&first))).await? {
            let row = DeletionRow::from_row(&row).map_err(Error::Refused)?;
            let deletion = Deletion::try_from(row)?;
            there.deletions.insert(deletion.id, deletion);
        }
    }
    Ok((held, there))
}

async fn write<'a>(
    held: Held<'_>,
    opened: impl Iterator<Item = (&'a Opened, &'a Option<Decision>)>,
) -> Result<(), Error> {
    let mut moved = Moved::default();
    let (mut live, mut requests, mut deletions) = (Vec::new(), Vec::new(), Vec::new());
    for (opened, decision) in opened {
        let Opened::Created(deletion) = opened else {
            continue;
        };
        let step = (deletion.state.word(), decision.as_ref());
        moved.push(true, deletion, step);
        if let Some(at) = merge::sealed_at_once(deletion) {
            moved.push_sealed(deletion, at);
        }
        if !deletion.state.terminal() {
            live.push((deletion.account.as_str(), deletion.id.0));
        }
        let digest = Uuid::from_bytes(deletion.request_digest);
        requests.push((deletion.request.0, digest, deletion.id.0));
        deletions.push(Given::from(deletion));
    }
    let statements = moved
        .bind(sqlx::query(OPEN), clock())
        .bind(json(&live))
        .bind(json(&requests))
        .bind(json(&deletions));
    held.end(statements).await?;
    Ok(())
}

/// A deletion by the names of its columns.
#[derive(Serialize)]
struct Given<'a> {
    id: Uuid,
    slot: u8,
    account: &'a str,
    request: Uuid,
    request_digest: Uuid,
    channel: i16,
    policy_version: u32,
    consents: String,
    requested_at: i64,
    deadline: i64,
    state: i16,
    expires_at: Option<i64>,
    cooling_off_end: Option<i64>,
    erase_at: Option<i64>,
    end_at: Option<i64>,
    sealed: bool,
    factors_required: i16,
    factors_verified: i16,
    round: u16,
    done: i64,
    need: i64,
    refused: i64,
    blockers: String,
    held: bool,
    conflicts: u32,
    attention_at: Option<i64>,
    closed_at: Option<i64>,
    traceparent: &'a str,
    revision: i32,
}

impl<'a> From<&'a Deletion> for Given<'a> {
    fn from(deletion: &'a Deletion) -> Self {
        let times = Times::from(&deletion.state);
        Self {
            id: deletion.id.0,
            slot: deletion.id.slot().number(),
            account: deletion.account.as_str(),
            request: deletion.request.0,
            request_digest: Uuid::from_bytes(deletion.request_digest),
            channel: deletion.channel.code(),
            policy_version: deletion.policy_version,
            consents: columns::text::<Consent>(&deletion.consents),
            requested_at: deletion.requested_at.micros(),
            deadline: deletion.deadline.micros(),
            state: deletion.state.code(),
            expires_at: times.expires_at,
            cooling_off_end: times.cooling_off_end,
            erase_at: times.erase_at,
            end_at: times.end_at,
            sealed: times.sealed,
            factors_required: deletion.factors_required.code(),
            factors_verified: deletion.factors_verified.code(),
            round: deletion.round,
            done: deletion.done.bits(),
            need: deletion.need.bits(),
            refused: deletion.refused.bits(),
            blockers: columns::text::<Blocker>(&deletion.blockers),
            held: deletion.held,
            conflicts: deletion.conflicts,
            attention_at: columns::micros(deletion.attention_at),
            closed_at: columns::micros(deletion.closed_at),
            traceparent: &deletion.traceparent,
            revision: deletion.revision,
        }
    }
}

pub(super) async fn remember(
    writer: &Writer,
    request: RequestId,
    digest: [u8; 16],
    deletion: DeletionId,
) -> Result<Remembered, Error> {
    let digest = Uuid::from_bytes(digest);
    let mut held = writer.begin(None).await?;
    let rows = held.go(sqlx::query(select::SEEN).bind(request.0)).await?;
    let kept: Option<(Uuid, Uuid)> = match rows.first() {
        Some(row) => Some(FromRow::from_row(row).map_err(Error::Refused)?),
        None => None,
    };
    let remembered = Remembered::of(kept, (digest, deletion.0));
    if remembered != Remembered::New {
        held.end(sqlx::query("ROLLBACK")).await?;
        return Ok(remembered);
    }
    held.end(
        sqlx::query(REMEMBER)
            .bind(request.0)
            .bind(digest)
            .bind(deletion.0),
    )
    .await?;
    Ok(Remembered::New)
}

pub(super) async fn seen(pool: &SqlitePool, request: RequestId) -> Result<Option<Seen>, Error> {
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
