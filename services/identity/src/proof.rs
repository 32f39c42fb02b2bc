//! Whether a code or a password is the right one.
//!
//! A try is counted in a committed transaction before anything is compared: a crash in between costs a try and gives none
//! away. The same request id is counted once and has one answer, which is kept; the proof itself never is.

use std::time::SystemTime;

use farewell_kit::store::{Store, micros};
use farewell_kit::{CheckProof, CodeChannel, Fault, ProofChecked, ProofKind, seal};
use sqlx::{Any, AnyConnection, Transaction};

use crate::account;
use crate::code::{self, Kept, Pepper};
use crate::credential::{self, Hasher};
use crate::rules::Rules;

/// `COUNTED` is a try whose comparison was never finished.
pub(crate) const SCHEMA: &str = "\
    CREATE TABLE IF NOT EXISTS proof (deletion TEXT NOT NULL, kind TEXT NOT NULL, request_id TEXT NOT NULL, \
        account TEXT NOT NULL, \
        result TEXT NOT NULL CHECK (result IN ('COUNTED', 'RIGHT', 'WRONG', 'EXPIRED', 'LOCKED')), \
        tries_left BIGINT NOT NULL, PRIMARY KEY (deletion, kind, request_id)); \
    CREATE INDEX IF NOT EXISTS proof_by_account ON proof (account); \
    CREATE TABLE IF NOT EXISTS password_tries (deletion TEXT PRIMARY KEY, account TEXT NOT NULL, tries BIGINT NOT NULL)";

/// What a proof is compared with.
enum Against {
    Code(CodeChannel, Kept),
    /// `None`: the account has no password, so none is right.
    Password(Option<String>),
}

/// What the first transaction found.
enum Counted {
    Answered(ProofChecked),
    Compare(Against),
}

/// Checks a proof.
///
/// Errors: the database is away; asking again with the same request id is safe and counts no second try.
pub(crate) async fn check(
    store: &Store,
    pepper: &Pepper,
    hasher: &Hasher,
    rules: &Rules,
    request: &CheckProof,
    now: SystemTime,
) -> Result<ProofChecked, Fault> {
    let against = match count(store, rules, request, now).await? {
        Counted::Answered(answer) => return Ok(answer),
        Counted::Compare(against) => against,
    };
    let right = match &against {
        Against::Code(channel, kept) => {
            kept.is(&pepper.mac(&request.deletion, *channel, request.proof.trim())?)
        }
        Against::Password(Some(hash)) => hasher.matches(hash, &request.proof).await?,
        Against::Password(None) => false,
    };
    settle(store, request, &against, right).await
}

pub(crate) async fn erase(
    connection: &mut AnyConnection,
    account: &str,
) -> Result<u64, sqlx::Error> {
    let proofs = sqlx::query("DELETE FROM proof WHERE account = $1")
        .bind(account)
        .execute(&mut *connection)
        .await?;
    let tries = sqlx::query("DELETE FROM password_tries WHERE account = $1")
        .bind(account)
        .execute(connection)
        .await?;
    Ok(proofs.rows_affected() + tries.rows_affected())
}

/// First transaction: the try is counted, or there is an answer without one.
async fn count(
    store: &Store,
    rules: &Rules,
    request: &CheckProof,
    now: SystemTime,
) -> Result<Counted, Fault> {
    let mut tx = store.pool().begin().await?;
    if !hold(&mut tx, &request.account).await?
        || !account::exists(&mut tx, &request.account).await?
    {
        return Ok(Counted::Answered(ProofChecked::UnknownAccount));
    }
    let earlier = kept(&mut tx, request).await?;
    if let Some(earlier) = &earlier
        && earlier.account != request.account
    {
        // A deletion has one account: this is no request of ours.
        return Ok(Counted::Answered(ProofChecked::UnknownAccount));
    }
    if let Some(answer) = earlier.as_ref().and_then(Earlier::answer) {
        return Ok(Counted::Answered(answer));
    }
    let counted = match channel(request.kind) {
        Some(channel) => {
            count_code(&mut tx, rules, request, channel, earlier.is_some(), now).await?
        }
        None => count_password(&mut tx, rules, request, earlier.is_some()).await?,
    };
    tx.commit().await?;
    Ok(counted)
}

async fn count_code(
    tx: &mut AnyConnection,
    rules: &Rules,
    request: &CheckProof,
    channel: CodeChannel,
    counted: bool,
    now: SystemTime,
) -> Result<Counted, sqlx::Error> {
    let Some(code) = code::newest(tx, &request.deletion, channel, &request.account).await? else {
        return answer(tx, request, ProofChecked::Expired).await;
    };
    if code.used || code.expires_at <= micros(now) {
        return answer(tx, request, ProofChecked::Expired).await;
    }
    if counted {
        return Ok(Counted::Compare(Against::Code(channel, code)));
    }
    let tries_left = i64::from(rules.codes.tries_max) - code.tries - 1;
    if tries_left < 0 {
        return answer(tx, request, ProofChecked::Locked).await;
    }
    code::count_try(tx, &request.deletion, channel, &code.request_id).await?;
    keep(tx, request, "COUNTED", tries_left).await?;
    Ok(Counted::Compare(Against::Code(channel, code)))
}

async fn count_password(
    tx: &mut AnyConnection,
    rules: &Rules,
    request: &CheckProof,
    counted: bool,
) -> Result<Counted, sqlx::Error> {
    if !counted {
        let (tries,): (i64,) = sqlx::query_as(
            "INSERT INTO password_tries (deletion, account, tries) VALUES ($1, $2, 1) \
             ON CONFLICT (deletion) DO UPDATE SET tries = password_tries.tries + 1 RETURNING tries",
        )
        .bind(&request.deletion)
        .bind(&request.account)
        .fetch_one(&mut *tx)
        .await?;
        let tries_left = i64::from(rules.password_tries_max) - tries;
        if tries_left < 0 {
            return answer(tx, request, ProofChecked::Locked).await;
        }
        keep(tx, request, "COUNTED", tries_left).await?;
    }
    Ok(Counted::Compare(Against::Password(
        credential::hash_of(tx, &request.account).await?,
    )))
}

/// Second transaction: what the comparison said is kept, unless the same request was answered in the meantime.
async fn settle(
    store: &Store,
    request: &CheckProof,
    against: &Against,
    right: bool,
) -> Result<ProofChecked, Fault> {
    let mut tx = store.pool().begin().await?;
    if !hold(&mut tx, &request.account).await? {
        return Ok(ProofChecked::UnknownAccount);
    }
    let Some(earlier) = kept(&mut tx, request).await? else {
        return Ok(ProofChecked::UnknownAccount);
    };
    if let Some(answer) = earlier.answer() {
        return Ok(answer);
    }
    let single_use = match against {
        Against::Code(channel, code) if right => {
            code::use_up(
                &mut tx,
                &request.deletion,
                *channel,
                &code.request_id,
                &request.request_id,
            )
            .await?
        }
        Against::Code(..) | Against::Password(_) => true,
    };
    let answer = match (right, single_use) {
        (true, true) => ProofChecked::Right,
        (true, false) => ProofChecked::Expired,
        (false, _) => ProofChecked::Wrong {
            tries_left: u32::try_from(earlier.tries_left).unwrap_or(0),
        },
    };
    sqlx::query(
        "UPDATE proof SET result = $4 WHERE deletion = $1 AND kind = $2 AND request_id = $3",
    )
    .bind(&request.deletion)
    .bind(kind(request.kind))
    .bind(&request.request_id)
    .bind(word(answer))
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(answer)
}

/// What is kept of the same request.
struct Earlier {
    account: String,
    result: String,
    tries_left: i64,
}

impl Earlier {
    /// `None`: counted, never compared to the end.
    fn answer(&self) -> Option<ProofChecked> {
        match self.result.as_str() {
            "RIGHT" => Some(ProofChecked::Right),
            "WRONG" => Some(ProofChecked::Wrong {
                tries_left: u32::try_from(self.tries_left).unwrap_or(0),
            }),
            "EXPIRED" => Some(ProofChecked::Expired),
            "LOCKED" => Some(ProofChecked::Locked),
            _ => None,
        }
    }
}

async fn kept(
    tx: &mut AnyConnection,
    request: &CheckProof,
) -> Result<Option<Earlier>, sqlx::Error> {
    let row: Option<(String, String, i64)> = sqlx::query_as(
        "SELECT account, result, tries_left FROM proof WHERE deletion = $1 AND kind = $2 AND request_id = $3",
    )
    .bind(&request.deletion)
    .bind(kind(request.kind))
    .bind(&request.request_id)
    .fetch_optional(tx)
    .await?;
    Ok(row.map(|(account, result, tries_left)| Earlier {
        account,
        result,
        tries_left,
    }))
}

async fn answer(
    tx: &mut AnyConnection,
    request: &CheckProof,
    answer: ProofChecked,
) -> Result<Counted, sqlx::Error> {
    keep(tx, request, word(answer), 0).await?;
    Ok(Counted::Answered(answer))
}

/// An answer of the same request that stands already is a try that crashed: what is known now replaces it.
async fn keep(
    tx: &mut AnyConnection,
    request: &CheckProof,
    result: &str,
    tries_left: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO proof (deletion, kind, request_id, account, result, tries_left) VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT (deletion, kind, request_id) DO UPDATE SET result = excluded.result",
    )
    .bind(&request.deletion)
    .bind(kind(request.kind))
    .bind(&request.request_id)
    .bind(&request.account)
    .bind(result)
    .bind(tries_left)
    .execute(tx)
    .await
    .map(drop)
}

/// Holds the account against erasing. `false`: it is gone.
async fn hold(tx: &mut Transaction<'_, Any>, account: &str) -> Result<bool, Fault> {
    match seal::admit_though_sealed(tx, account).await {
        Ok(()) => Ok(true),
        Err(seal::Error::Erased) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn channel(kind: ProofKind) -> Option<CodeChannel> {
    match kind {
        ProofKind::SmsCode => Some(CodeChannel::Sms),
        ProofKind::EmailCode => Some(CodeChannel::Email),
        ProofKind::Password => None,
    }
}

fn kind(kind: ProofKind) -> &'static str {
    match kind {
        ProofKind::SmsCode => "SMS_CODE",
        ProofKind::EmailCode => "EMAIL_CODE",
        ProofKind::Password => "PASSWORD",
    }
}

fn word(answer: ProofChecked) -> &'static str {
    match answer {
        ProofChecked::Right => "RIGHT",
        ProofChecked::Wrong { .. } => "WRONG",
        ProofChecked::Expired | ProofChecked::UnknownAccount => "EXPIRED",
        ProofChecked::Locked => "LOCKED",
    }
}
