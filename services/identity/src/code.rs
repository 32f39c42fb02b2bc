//! Verification codes: made here, kept as a keyed hash, handed to a courier once they are durable.
//!
//! The row is committed before the courier is called. A crash between, or a courier that failed, leaves a row that says
//! so; the same request again makes a new code in that row and sends it. Two codes may then be under way: the later one
//! is right.

use std::fmt;
use std::time::{Duration, SystemTime};

use farewell_kit::store::{Store, micros, time};
use farewell_kit::{CodeChannel, CodeSent, Fault, SendCode, seal};
use hmac::{Hmac, KeyInit as _, Mac as _};
use rand::Rng as _;
use sha2::Sha256;
use sqlx::{Any, AnyConnection, Transaction};
use subtle::ConstantTimeEq as _;

use crate::courier::{Couriers, Letter};
use crate::{account, contact};

/// `attempted_at` is when the courier was called, 0 once it failed; `used_by` is the request that proved itself with it.
pub(crate) const SCHEMA: &str = "\
    CREATE TABLE IF NOT EXISTS code (deletion TEXT NOT NULL, channel TEXT NOT NULL, request_id TEXT NOT NULL, \
        account TEXT NOT NULL, mac BLOB NOT NULL, issued_at BIGINT NOT NULL, expires_at BIGINT NOT NULL, \
        next_send_at BIGINT NOT NULL, tries BIGINT NOT NULL, attempts BIGINT NOT NULL, attempted_at BIGINT NOT NULL, \
        delivered BIGINT NOT NULL, used_by TEXT, PRIMARY KEY (deletion, channel, request_id)); \
    CREATE INDEX IF NOT EXISTS code_by_account ON code (account)";

const PEPPER_BYTES_MIN: usize = 16;
/// Longer than any courier takes: before that, the same request is still on its way.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(30);
/// One request calls the courier no more often, whatever it says: each call may cost money and annoy a person.
const ATTEMPTS_MAX: i64 = 3;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Limits of codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long a code is accepted.
    pub valid: Duration,
    /// How often a code may be tried.
    pub tries_max: u32,
    /// How long until another may be asked for.
    pub resend_wait: Duration,
    /// Codes for one account in 24 hours, on all channels together.
    pub sends_per_day_max: u32,
}

/// The `cn` policy.
impl Default for Limits {
    fn default() -> Self {
        Self {
            valid: Duration::from_secs(10 * 60),
            tries_max: 5,
            resend_wait: Duration::from_secs(60),
            sends_per_day_max: 10,
        }
    }
}

/// The key of stored codes. Without it a stolen database tells no code; a million of them are guessed in a second with it.
#[derive(Clone)]
pub struct Pepper(Vec<u8>);

/// A pepper that would protect nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a pepper has at least {PEPPER_BYTES_MIN} bytes")]
pub struct PepperTooShort;

impl Pepper {
    /// From at least 16 bytes.
    ///
    /// Errors: [`PepperTooShort`].
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, PepperTooShort> {
        let bytes = bytes.into();
        if bytes.len() < PEPPER_BYTES_MIN {
            Err(PepperTooShort)
        } else {
            Ok(Self(bytes))
        }
    }

    /// The keyed hash of a code, bound to its deletion and channel.
    pub(crate) fn mac(
        &self,
        deletion: &str,
        channel: CodeChannel,
        code: &str,
    ) -> Result<Vec<u8>, Fault> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0)
            .map_err(|error| Fault::new("the pepper", error))?;
        for part in ["farewell code", deletion, contact::word(channel), code] {
            mac.update(&part.len().to_be_bytes());
            mac.update(part.as_bytes());
        }
        Ok(mac.finalize().into_bytes().to_vec())
    }
}

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pepper([secret])")
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
    /// Compares in a time that does not depend on where they differ.
    pub fn is(&self, mac: &[u8]) -> bool {
        self.mac.ct_eq(mac).into()
    }
}

/// What the database says about sending.
enum Decision {
    Answer(CodeSent),
    Carry {
        letter: Letter,
        mac: Vec<u8>,
        answer: CodeSent,
    },
}

/// Sends a code. The same request id sends no second one, unless the first never reached its courier.
///
/// Errors: the database or the courier is away; asking again is safe.
pub(crate) async fn send(
    store: &Store,
    couriers: &Couriers,
    pepper: &Pepper,
    limits: &Limits,
    request: &SendCode,
    now: SystemTime,
) -> Result<CodeSent, Fault> {
    let mut tx = store.pool().begin().await?;
    let (letter, mac, answer) = match decide(&mut tx, pepper, limits, request, now).await? {
        Decision::Answer(answer) => return Ok(answer),
        Decision::Carry {
            letter,
            mac,
            answer,
        } => (letter, mac, answer),
    };
    tx.commit().await?;

    let carried = couriers.of(request.channel).carry(&letter).await;
    let statement = match carried {
        Ok(()) => {
            "UPDATE code SET delivered = 1 WHERE deletion = $1 AND channel = $2 AND request_id = $3 AND mac = $4"
        }
        Err(_) => {
            "UPDATE code SET attempted_at = 0 WHERE deletion = $1 AND channel = $2 AND request_id = $3 AND mac = $4"
        }
    };
    sqlx::query(statement)
        .bind(&request.deletion)
        .bind(contact::word(request.channel))
        .bind(&request.request_id)
        .bind(mac)
        .execute(store.pool())
        .await?;
    carried.map(|()| answer)
}

/// The code that counts: the last one issued for the deletion on that channel.
pub(crate) async fn newest(
    connection: &mut AnyConnection,
    deletion: &str,
    channel: CodeChannel,
    account: &str,
) -> Result<Option<Kept>, sqlx::Error> {
    let row: Option<(String, Vec<u8>, i64, i64, i64)> = sqlx::query_as(
        "SELECT request_id, mac, expires_at, tries, \
             CASE WHEN used_by IS NULL THEN CAST(0 AS BIGINT) ELSE CAST(1 AS BIGINT) END FROM code \
         WHERE deletion = $1 AND channel = $2 AND account = $3 ORDER BY issued_at DESC, request_id DESC LIMIT 1",
    )
    .bind(deletion)
    .bind(contact::word(channel))
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

/// Counts a try.
pub(crate) async fn count_try(
    connection: &mut AnyConnection,
    deletion: &str,
    channel: CodeChannel,
    code: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE code SET tries = tries + 1 WHERE deletion = $1 AND channel = $2 AND request_id = $3")
        .bind(deletion)
        .bind(contact::word(channel))
        .bind(code)
        .execute(connection)
        .await
        .map(drop)
}

/// Uses a code up. `false`: another request did.
pub(crate) async fn use_up(
    connection: &mut AnyConnection,
    deletion: &str,
    channel: CodeChannel,
    code: &str,
    by: &str,
) -> Result<bool, sqlx::Error> {
    let used = sqlx::query(
        "UPDATE code SET used_by = $4 WHERE deletion = $1 AND channel = $2 AND request_id = $3 AND used_by IS NULL",
    )
    .bind(deletion)
    .bind(contact::word(channel))
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
    let deleted = sqlx::query("DELETE FROM code WHERE account = $1")
        .bind(account)
        .execute(connection)
        .await?;
    Ok(deleted.rows_affected())
}

/// Whether and what to send; what is to be sent is written before it is.
async fn decide(
    tx: &mut Transaction<'_, Any>,
    pepper: &Pepper,
    limits: &Limits,
    request: &SendCode,
    now: SystemTime,
) -> Result<Decision, Fault> {
    match seal::admit_though_sealed(tx, &request.account).await {
        Ok(()) => {}
        Err(seal::Error::Erased) => return Ok(Decision::Answer(CodeSent::UnknownAccount)),
        Err(error) => return Err(error.into()),
    }
    if !account::exists(tx, &request.account).await? {
        return Ok(Decision::Answer(CodeSent::UnknownAccount));
    }
    let Some(to) = contact::address(tx, &request.account, request.channel).await? else {
        return Ok(Decision::Answer(CodeSent::NoAddress));
    };
    if let Some(decided) = decide_repeat(tx, request, now).await? {
        return Ok(decided);
    }
    if let Some(next_send) = too_soon(tx, limits, request, now).await? {
        return Ok(Decision::Answer(CodeSent::TooSoon { next_send }));
    }

    let code = format!("{:06}", rand::rng().random_range(0..1_000_000_u32));
    let mac = pepper.mac(&request.deletion, request.channel, &code)?;
    let (expires, next_send) = (now + limits.valid, now + limits.resend_wait);
    sqlx::query(
        "INSERT INTO code (deletion, channel, request_id, account, mac, issued_at, expires_at, next_send_at, tries, \
             attempts, attempted_at, delivered) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, 1, $6, 0) \
         ON CONFLICT (deletion, channel, request_id) DO UPDATE SET mac = excluded.mac, issued_at = excluded.issued_at, \
             expires_at = excluded.expires_at, next_send_at = excluded.next_send_at, attempts = code.attempts + 1, \
             attempted_at = excluded.attempted_at",
    )
    .bind(&request.deletion)
    .bind(contact::word(request.channel))
    .bind(&request.request_id)
    .bind(&request.account)
    .bind(&mac)
    .bind(micros(now))
    .bind(micros(expires))
    .bind(micros(next_send))
    .execute(&mut **tx)
    .await?;
    let letter = Letter {
        to,
        channel: request.channel,
        code,
        deletion: request.deletion.clone(),
        valid: limits.valid,
    };
    Ok(Decision::Carry {
        letter,
        mac,
        answer: CodeSent::Sent { expires, next_send },
    })
}

/// What is known of the same request. `None`: it is new, or its code never reached the courier.
async fn decide_repeat(
    tx: &mut AnyConnection,
    request: &SendCode,
    now: SystemTime,
) -> Result<Option<Decision>, Fault> {
    let row: Option<(String, i64, i64, i64, i64, i64)> = sqlx::query_as(
        "SELECT account, expires_at, next_send_at, attempts, attempted_at, delivered FROM code \
         WHERE deletion = $1 AND channel = $2 AND request_id = $3",
    )
    .bind(&request.deletion)
    .bind(contact::word(request.channel))
    .bind(&request.request_id)
    .fetch_optional(tx)
    .await?;
    let Some((account, expires_at, next_send_at, attempts, attempted_at, delivered)) = row else {
        return Ok(None);
    };
    if account != request.account {
        // A deletion has one account: this is no request of ours.
        return Ok(Some(Decision::Answer(CodeSent::UnknownAccount)));
    }
    let next_send = time(next_send_at);
    if delivered != 0 {
        return Ok(Some(Decision::Answer(CodeSent::Sent {
            expires: time(expires_at),
            next_send,
        })));
    }
    if time(attempted_at) + ATTEMPT_LIMIT > now {
        return Err(Fault::new(
            "the courier",
            "this request's code is still on its way",
        ));
    }
    if attempts >= ATTEMPTS_MAX {
        return Ok(Some(Decision::Answer(CodeSent::TooSoon { next_send })));
    }
    Ok(None)
}

/// When another may be sent, if not now. A repeat of an undelivered request does not wait for itself.
async fn too_soon(
    tx: &mut AnyConnection,
    limits: &Limits,
    request: &SendCode,
    now: SystemTime,
) -> Result<Option<SystemTime>, sqlx::Error> {
    let rows: Vec<(String, i64, i64)> = sqlx::query_as(
        "SELECT channel, issued_at, next_send_at FROM code WHERE account = $1 AND issued_at > $2 \
         AND NOT (deletion = $3 AND channel = $4 AND request_id = $5) ORDER BY issued_at",
    )
    .bind(&request.account)
    .bind(micros(now) - micros(SystemTime::UNIX_EPOCH + DAY))
    .bind(&request.deletion)
    .bind(contact::word(request.channel))
    .bind(&request.request_id)
    .fetch_all(tx)
    .await?;
    let waits = rows
        .iter()
        .filter(|(channel, _, next_send_at)| {
            channel.as_str() == contact::word(request.channel) && time(*next_send_at) > now
        })
        .map(|(_, _, next_send_at)| time(*next_send_at))
        .max();
    let spent = rows.len() >= usize::try_from(limits.sends_per_day_max).unwrap_or(usize::MAX);
    let tomorrow = rows
        .first()
        .filter(|_| spent)
        .map(|(_, issued_at, _)| time(*issued_at) + DAY);
    Ok(waits.max(tomorrow))
}
