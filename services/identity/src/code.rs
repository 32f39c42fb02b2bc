//! Verification codes: made here, kept as a keyed hash, handed to a courier once they are durable. The token of a link is one that
//! is longer: 256 bits behind the id of what it confirms, so that whoever has it needs nothing else.
//!
//! The row is committed before the courier is called, and answered without waiting for it: an account that nobody knows,
//! or that has no such address, gets the same answer after the same time, and a code that is nowhere and never right. A
//! courier that fails is asked once more. A crash in between, or a courier that failed again, leaves a row that says so; the
//! same request again makes a new code in that row and sends it. Two codes may then be under way: the later one is right.

use std::time::{Duration, SystemTime};

use farewell_kit::store::{Store, micros, time};
use farewell_kit::{CodeKind, CodeSent, Fault, SendCode, holder};
use rand::Rng as _;
use sqlx::{Any, AnyConnection, Transaction};
use subtle::ConstantTimeEq as _;
use uuid::Uuid;

use crate::carrying::{Carrying, Envelope};
use crate::courier::{Content, Couriers, Letter};
use crate::language::{self, Language};
use crate::notice::{self, words};
pub use crate::pepper::Pepper;
use crate::{attempt, contact, destination, link, subject};

/// `channel` is the kind of code. `attempted_at` is when the courier was called, 0 once it failed; `used_by` is the request that proved itself with it.
pub(crate) const SCHEMA: &str = "\
    CREATE TABLE IF NOT EXISTS code (deletion TEXT NOT NULL, channel TEXT NOT NULL, request_id TEXT NOT NULL, \
        account TEXT NOT NULL, mac BLOB NOT NULL, issued_at BIGINT NOT NULL, expires_at BIGINT NOT NULL, \
        next_send_at BIGINT NOT NULL, tries BIGINT NOT NULL, attempts BIGINT NOT NULL, attempted_at BIGINT NOT NULL, \
        delivered BIGINT NOT NULL, used_by TEXT, PRIMARY KEY (deletion, channel, request_id)); \
    CREATE INDEX IF NOT EXISTS code_by_account ON code (account)";

/// Longer than any courier takes, twice: before that, the same request is still on its way.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(30);
/// One request makes no more codes, whatever the courier says: each may cost money and annoy a person.
const ATTEMPTS_MAX: i64 = 2;
/// The answer waits so long, whether a courier is called or not: one that is near has the letter by then.
const HEAD_START: Duration = Duration::from_millis(50);

/// Limits of codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long a code is accepted.
    pub valid: Duration,
    /// How long a link is: who reads mail is not at it all day.
    pub link_valid: Duration,
    /// How often a code may be tried.
    pub tries_max: u32,
    /// How long until another may be asked for.
    pub resend_wait: Duration,
    /// Codes for one account in 24 hours, on all channels together.
    pub sends_per_day_max: u32,
    /// Codes to one phone number or mail address in 24 hours, whichever accounts name it.
    pub destination_per_day_max: u32,
}

impl Limits {
    const fn valid(&self, kind: CodeKind) -> Duration {
        match kind {
            CodeKind::Sms | CodeKind::Email => self.valid,
            CodeKind::EmailLink => self.link_valid,
        }
    }
}

/// The `cn` policy.
impl Default for Limits {
    fn default() -> Self {
        Self {
            valid: Duration::from_secs(10 * 60),
            link_valid: Duration::from_secs(60 * 60),
            tries_max: 5,
            resend_wait: Duration::from_secs(60),
            sends_per_day_max: 10,
            destination_per_day_max: 10,
        }
    }
}

/// How a kind is stored.
pub(crate) const fn word(kind: CodeKind) -> &'static str {
    match kind {
        CodeKind::Sms => "SMS",
        CodeKind::Email => "EMAIL",
        CodeKind::EmailLink => "EMAIL_LINK",
    }
}

/// A code as it is kept.
pub(crate) struct Kept {
    pub request_id: String,
    pub mac: Vec<u8>,
    pub expires_at: i64,
    pub tries: i64,
    pub used: bool,
}

impl Kept {
    /// Compares with each, in a time that does not depend on which is right or where they differ.
    pub fn is_one_of(&self, macs: &[Vec<u8>]) -> bool {
        let each = macs.iter().map(|mac| self.mac.ct_eq(mac));
        each.fold(subtle::Choice::from(0), |any, one| any | one)
            .into()
    }
}

/// What the database says about sending.
enum Decision {
    Answer(CodeSent),
    Carry(Box<Envelope>, CodeSent),
}

/// Sends a code. The same request id sends no second one, unless the first never reached its courier.
///
/// Errors: the database is away, or too many letters are under way; asking again is safe.
pub(crate) async fn send(
    store: &Store,
    (couriers, carrying): (&Couriers, &Carrying),
    pepper: &Pepper,
    (limits, letters): (&Limits, &notice::Config),
    request: &SendCode,
    now: SystemTime,
) -> Result<CodeSent, Fault> {
    if request.kind == CodeKind::EmailLink && letters.links.is_none() {
        return Ok(CodeSent::NoLinks);
    }
    // Asked for before anything is looked up: having no room must not tell who would have needed it.
    let room = carrying.room()?;
    let mut tx = store.pool().begin().await?;
    let (envelope, answer) = match decide(&mut tx, pepper, (limits, letters), request, now).await? {
        Decision::Answer(answer) => return Ok(answer),
        Decision::Carry(envelope, answer) => (envelope, answer),
    };
    tx.commit().await?;
    room.carry(store.clone(), couriers.clone(), *envelope);
    tokio::time::sleep(HEAD_START).await;
    Ok(answer)
}

/// The code that counts: the last one of its kind that was issued for the deletion.
pub(crate) async fn newest(
    connection: &mut AnyConnection,
    deletion: &str,
    kind: CodeKind,
    account: &str,
) -> Result<Option<Kept>, sqlx::Error> {
    let row: Option<(String, Vec<u8>, i64, i64, i64)> = sqlx::query_as(
        "SELECT request_id, mac, expires_at, tries, \
             CASE WHEN used_by IS NULL THEN CAST(0 AS BIGINT) ELSE CAST(1 AS BIGINT) END FROM code \
         WHERE deletion = $1 AND channel = $2 AND account = $3 ORDER BY issued_at DESC, request_id DESC LIMIT 1",
    )
    .bind(deletion)
    .bind(word(kind))
    .bind(account)
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|(request_id, mac, expires_at, tries, used)| Kept {
        request_id,
        mac,
        expires_at,
        tries,
        used: used != 0,
    }))
}

/// Tries that a code leaves after another one. `None`: it takes no other one.
pub(crate) fn tries_left(limits: &Limits, code: &Kept) -> Option<u32> {
    let left = i64::from(limits.tries_max) - code.tries - 1;
    u32::try_from(left).ok()
}

/// When another code may be asked for.
pub(crate) async fn next_send(
    connection: &mut AnyConnection,
    limits: &Limits,
    subject: &str,
    kind: CodeKind,
    now: SystemTime,
) -> Result<SystemTime, sqlx::Error> {
    let wait = too_soon(connection, limits, subject, kind, now).await?;
    Ok(wait.unwrap_or(now))
}

/// Counts a try.
pub(crate) async fn count_try(
    connection: &mut AnyConnection,
    deletion: &str,
    kind: CodeKind,
    code: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE code SET tries = tries + 1 WHERE deletion = $1 AND channel = $2 AND request_id = $3")
        .bind(deletion)
        .bind(word(kind))
        .bind(code)
        .execute(connection)
        .await
        .map(drop)
}

/// Uses a code up. `false`: another request did.
pub(crate) async fn use_up(
    connection: &mut AnyConnection,
    deletion: &str,
    kind: CodeKind,
    code: &str,
    by: &str,
) -> Result<bool, sqlx::Error> {
    let used = sqlx::query(
        "UPDATE code SET used_by = $4 WHERE deletion = $1 AND channel = $2 AND request_id = $3 AND used_by IS NULL",
    )
    .bind(deletion)
    .bind(word(kind))
    .bind(code)
    .bind(by)
    .execute(connection)
    .await?;
    Ok(used.rows_affected() == 1)
}

pub(crate) async fn erase(
    connection: &mut AnyConnection,
    account: &str,
) -> Result<u64, sqlx::Error> {
    holder::erase(connection, "code", account).await
}

/// Forgets codes of accounts that nobody knows, once they count for no limit: no erasing ever asks for them.
pub(crate) async fn sweep(
    connection: &mut AnyConnection,
    now: SystemTime,
) -> Result<u64, sqlx::Error> {
    let deleted = sqlx::query(
        "DELETE FROM code WHERE account LIKE $1 AND issued_at <= $2 AND expires_at <= $3",
    )
    .bind(subject::NOBODY)
    .bind(micros(attempt::begin(now)))
    .bind(micros(now))
    .execute(connection)
    .await?;
    Ok(deleted.rows_affected())
}

/// Whether and what to send; what is to be sent is written before it is.
async fn decide(
    tx: &mut Transaction<'_, Any>,
    pepper: &Pepper,
    (limits, letters): (&Limits, &notice::Config),
    request: &SendCode,
    now: SystemTime,
) -> Result<Decision, Fault> {
    let subject = subject::hold(tx, &request.account).await?;
    let channel = request.kind.channel();
    let to = contact::address(tx, &request.account, channel).await?;
    let language = language::of(tx, &request.account).await?;
    let valid = limits.valid(request.kind);
    let times = match repeat(tx, request, &subject, now).await? {
        Repeat::Answer(answer) => return Ok(Decision::Answer(answer)),
        Repeat::Again { expires, next_send } => (expires, next_send),
        Repeat::New => {
            if let Some(next_send) = too_soon(tx, limits, &subject, request.kind, now).await? {
                return Ok(Decision::Answer(CodeSent::TooSoon { next_send }));
            }
            (now + valid, now + limits.resend_wait)
        }
    };
    let destinations = pepper.destinations(channel, to.as_deref(), &subject)?;
    let named = format!("{}/{}", request.deletion, request.request_id);
    let max = limits.destination_per_day_max;
    if let Err(next_send) = destination::count(tx, &destinations, &named, max, now).await? {
        return Ok(Decision::Answer(CodeSent::TooSoon { next_send }));
    }

    let code = fresh(request);
    let right = pepper.mac(&request.deletion, request.kind, &code)?;
    let (mac, letter) = match to {
        Some(to) => {
            let letter = Letter {
                id: Uuid::new_v4().to_string(),
                to,
                way: channel.into(),
                deletion: request.deletion.clone(),
                content: content(request, code, valid, letters, language),
            };
            (right, Some(letter))
        }
        // The hash of no code: nothing that anybody guesses is right.
        None => (rand::random::<[u8; 32]>().to_vec(), None),
    };
    issue(tx, request, &subject, &mac, times, now).await?;
    let (expires, next_send) = times;
    let envelope = Envelope {
        letter,
        mac,
        request: request.clone(),
    };
    Ok(Decision::Carry(
        Box::new(envelope),
        CodeSent::Sent { expires, next_send },
    ))
}

/// Six digits, or the token of a link.
fn fresh(request: &SendCode) -> String {
    match request.kind {
        CodeKind::Sms | CodeKind::Email => {
            format!("{:06}", rand::rng().random_range(0..1_000_000_u32))
        }
        CodeKind::EmailLink => {
            let [high, low] = rand::random::<[u128; 2]>();
            let id = request.deletion.split('/').next_back();
            format!("{}.{high:032x}{low:032x}", id.unwrap_or_default())
        }
    }
}

fn content(
    request: &SendCode,
    code: String,
    valid: Duration,
    letters: &notice::Config,
    language: Option<Language>,
) -> Content {
    let language = language.unwrap_or(letters.language);
    let page = letters.links.as_deref();
    match (request.kind, page) {
        (CodeKind::EmailLink, Some(page)) => {
            let link = link::to_confirm(page, &code);
            Content::Notice(words::confirming(&request.deletion, valid, language, link))
        }
        (CodeKind::Sms | CodeKind::Email | CodeKind::EmailLink, _) => Content::Code {
            code,
            valid,
            language,
        },
    }
}

/// Writes a code; of a repeated request, in place of the one that never arrived.
async fn issue(
    tx: &mut AnyConnection,
    request: &SendCode,
    subject: &str,
    mac: &[u8],
    (expires, next_send): (SystemTime, SystemTime),
    now: SystemTime,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO code (deletion, channel, request_id, account, mac, issued_at, expires_at, next_send_at, tries, \
             attempts, attempted_at, delivered) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, 1, $6, 0) \
         ON CONFLICT (deletion, channel, request_id) DO UPDATE SET mac = excluded.mac, \
             attempts = code.attempts + 1, attempted_at = excluded.attempted_at",
    )
    .bind(&request.deletion)
    .bind(word(request.kind))
    .bind(&request.request_id)
    .bind(subject)
    .bind(mac)
    .bind(micros(now))
    .bind(micros(expires))
    .bind(micros(next_send))
    .execute(tx)
    .await
    .map(drop)
}

/// What is known of the same request.
enum Repeat {
    New,
    /// There is nothing to send.
    Answer(CodeSent),
    /// Its code never reached the courier: another is made, and what was answered of the first holds for it.
    Again {
        expires: SystemTime,
        next_send: SystemTime,
    },
}

/// A request that is known has one answer, whatever became of its letter: only somebody who has an address has letters.
async fn repeat(
    tx: &mut AnyConnection,
    request: &SendCode,
    subject: &str,
    now: SystemTime,
) -> Result<Repeat, sqlx::Error> {
    let row: Option<(String, i64, i64, i64, i64, i64)> = sqlx::query_as(
        "SELECT account, expires_at, next_send_at, attempts, attempted_at, delivered FROM code \
         WHERE deletion = $1 AND channel = $2 AND request_id = $3",
    )
    .bind(&request.deletion)
    .bind(word(request.kind))
    .bind(&request.request_id)
    .fetch_optional(&mut *tx)
    .await?;
    let newest = newest(tx, &request.deletion, request.kind, subject).await?;
    let Some((account, expires_at, next_send_at, attempts, attempted_at, delivered)) = row else {
        return Ok(Repeat::New);
    };
    let (expires, next_send) = (time(expires_at), time(next_send_at));
    let arrived = delivered != 0 || time(attempted_at) + ATTEMPT_LIMIT > now;
    let counts = newest.is_some_and(|newest| newest.request_id == request.request_id)
        && account == subject
        && expires > now;
    Ok(if arrived || !counts || attempts >= ATTEMPTS_MAX {
        Repeat::Answer(CodeSent::Sent { expires, next_send })
    } else {
        Repeat::Again { expires, next_send }
    })
}

/// When another may be sent, if not now.
async fn too_soon(
    tx: &mut AnyConnection,
    limits: &Limits,
    subject: &str,
    kind: CodeKind,
    now: SystemTime,
) -> Result<Option<SystemTime>, sqlx::Error> {
    let rows: Vec<(String, i64, i64)> = sqlx::query_as(
        "SELECT channel, issued_at, next_send_at FROM code WHERE account = $1 AND issued_at > $2 ORDER BY issued_at",
    )
    .bind(subject)
    .bind(micros(attempt::begin(now)))
    .fetch_all(tx)
    .await?;
    let waits = rows
        .iter()
        .filter(|(of, _, next_send_at)| of.as_str() == word(kind) && time(*next_send_at) > now)
        .map(|(_, _, next_send_at)| time(*next_send_at))
        .max();
    let issued = rows.iter().map(|(_, issued_at, _)| *issued_at).collect();
    let tomorrow = attempt::left(issued, limits.sends_per_day_max).err();
    Ok(waits.max(tomorrow))
}
