//! Whether a code, the token of a link or a password is the right one.
//!
//! A try is counted in a committed transaction before anything is compared: a crash in between costs a try and gives none
//! away. The same request id is counted once and has one answer, which is kept; the proof itself never is. What was not
//! compared, as there was no code or no try left, is neither counted nor kept: the same request may come again when it helps.
//!
//! For an account that nobody knows the same is done and answered; a password is compared with a hash that none has.

use std::time::SystemTime;

use farewell_kit::store::{Store, micros};
use farewell_kit::{CheckProof, CodeKind, Fault, ProofChecked, ProofKind};
use sqlx::AnyConnection;

use crate::attempt;
use crate::code::{self, Kept, Pepper};
use crate::credential::{self, Hasher};
use crate::rules::Rules;
use crate::subject;

/// `COUNTED` is a try whose comparison was never finished.
pub(crate) const SCHEMA: &str = "\
    CREATE TABLE IF NOT EXISTS proof (deletion TEXT NOT NULL, kind TEXT NOT NULL, request_id TEXT NOT NULL, \
        account TEXT NOT NULL, \
        result TEXT NOT NULL CHECK (result IN ('COUNTED', 'RIGHT', 'WRONG', 'EXPIRED', 'LOCKED')), \
        tries_left BIGINT NOT NULL, PRIMARY KEY (deletion, kind, request_id)); \
    CREATE INDEX IF NOT EXISTS proof_by_account ON proof (account)";

/// What a proof is compared with.
enum Against {
    Code(CodeKind, Kept),
    /// `None`: there is no password, so none is right. Finding that out takes as long.
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
    if let Some(locked) = turned_away(store, rules, request, now).await? {
        return Ok(locked);
    }
    let against = match count(store, rules, request, now).await? {
        Counted::Answered(answer) => return Ok(answer),
        Counted::Compare(against) => against,
    };
    let right = match &against {
        Against::Code(kind, kept) => {
            kept.is_one_of(&pepper.macs(&request.deletion, *kind, request.proof.trim())?)
        }
        Against::Password(Some(hash)) => hasher.matches(hash, &request.proof).await?,
        Against::Password(None) => {
            hasher.matches(&hasher.dummy(), &request.proof).await?;
            false
        }
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
    let attempts = attempt::erase(connection, account).await?;
    Ok(proofs.rows_affected() + attempts)
}

/// Forgets proofs of accounts that nobody knows, once their tries count no longer: no erasing ever asks for them.
pub(crate) async fn sweep(connection: &mut AnyConnection) -> Result<u64, sqlx::Error> {
    let deleted = sqlx::query(
        "DELETE FROM proof WHERE account LIKE $1 AND NOT EXISTS (SELECT 1 FROM attempt \
             WHERE attempt.account = proof.account AND attempt.kind = proof.kind \
             AND attempt.deletion = proof.deletion AND attempt.request_id = proof.request_id)",
    )
    .bind(subject::NOBODY)
    .execute(connection)
    .await?;
    Ok(deleted.rows_affected())
}

/// Turns somebody away who has no try left, with two reads and without holding anything: hammering costs no one else. `None`:
/// there may be one, or the same request has an answer.
async fn turned_away(
    store: &Store,
    rules: &Rules,
    request: &CheckProof,
    now: SystemTime,
) -> Result<Option<ProofChecked>, Fault> {
    let mut connection = store.pool().acquire().await?;
    let names = [&request.account, &subject::pseudonym(&request.account)];
    let spent = attempt::spent(&mut connection, names, kind(request.kind), now).await?;
    let Err(next_try) = spent.left(rules.tries_per_day_max) else {
        return Ok(None);
    };
    let earlier = kept(&mut connection, request).await?;
    Ok(earlier
        .is_none()
        .then_some(ProofChecked::Locked { next_try }))
}

/// First transaction: the try is counted, or there is an answer without one.
async fn count(
    store: &Store,
    rules: &Rules,
    request: &CheckProof,
    now: SystemTime,
) -> Result<Counted, Fault> {
    let mut tx = store.pool().begin().await?;
    let subject = subject::hold(&mut tx, &request.account).await?;
    let earlier = kept(&mut tx, request).await?;
    if let Some(earlier) = &earlier {
        if earlier.account != subject {
            // A deletion has one account, and it was registered or erased since: nothing of then holds.
            return Ok(Counted::Answered(ProofChecked::Expired));
        }
        if let Some(answer) = earlier.answer() {
            return Ok(Counted::Answered(answer));
        }
    }
    let spent = attempt::spent(&mut tx, [&subject; 2], kind(request.kind), now).await?;
    let left = match (spent.left(rules.tries_per_day_max), &earlier) {
        (Ok(left), _) => left,
        (Err(_), Some(_)) => 0,
        (Err(next_try), None) => return Ok(Counted::Answered(ProofChecked::Locked { next_try })),
    };
    let against = match code_kind(request.kind) {
        Some(of) => {
            let code = code::newest(&mut tx, &request.deletion, of, &subject).await?;
            let open = code.filter(|code| !code.used && code.expires_at > micros(now));
            let Some(code) = open else {
                // Of a try that crashed, it is the last word.
                if earlier.is_some() {
                    finish(&mut tx, request, ProofChecked::Expired).await?;
                    tx.commit().await?;
                }
                return Ok(Counted::Answered(ProofChecked::Expired));
            };
            Against::Code(of, code)
        }
        None => Against::Password(credential::hash_of(&mut tx, &request.account).await?),
    };
    if earlier.is_some() {
        return Ok(Counted::Compare(against));
    }
    let of_this = match &against {
        Against::Code(of, code) => match code::tries_left(&rules.codes, code) {
            Some(left) => Ok(left),
            // Another code brings another try.
            None => Err(code::next_send(&mut tx, &rules.codes, &subject, *of, now).await?),
        },
        Against::Password(_) => spent.left_for(&request.deletion, rules.password_tries_max),
    };
    let tries_left = match of_this {
        Ok(of_this) => left.min(of_this),
        Err(next_try) => return Ok(Counted::Answered(ProofChecked::Locked { next_try })),
    };
    let named = (request.deletion.as_str(), request.request_id.as_str());
    attempt::count(&mut tx, &subject, kind(request.kind), named, now).await?;
    if let Against::Code(of, code) = &against {
        code::count_try(&mut tx, &request.deletion, *of, &code.request_id).await?;
    }
    begin(&mut tx, request, &subject, tries_left).await?;
    tx.commit().await?;
    Ok(Counted::Compare(against))
}

/// Second transaction: what the comparison said is kept, unless the same request was answered in the meantime.
async fn settle(
    store: &Store,
    request: &CheckProof,
    against: &Against,
    right: bool,
) -> Result<ProofChecked, Fault> {
    let mut tx = store.pool().begin().await?;
    subject::hold(&mut tx, &request.account).await?;
    let Some(earlier) = kept(&mut tx, request).await? else {
        // Erased in the meantime.
        return Ok(ProofChecked::Expired);
    };
    if let Some(answer) = earlier.answer() {
        return Ok(answer);
    }
    let single_use = match against {
        Against::Code(of, code) if right => {
            code::use_up(
                &mut tx,
                &request.deletion,
                *of,
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
    finish(&mut tx, request, answer).await?;
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
            // `LOCKED` is of an earlier version, which kept it.
            "EXPIRED" | "LOCKED" => Some(ProofChecked::Expired),
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

/// Keeps that a request is being compared.
async fn begin(
    tx: &mut AnyConnection,
    request: &CheckProof,
    subject: &str,
    tries_left: u32,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO proof (deletion, kind, request_id, account, result, tries_left) \
         VALUES ($1, $2, $3, $4, 'COUNTED', $5)",
    )
    .bind(&request.deletion)
    .bind(kind(request.kind))
    .bind(&request.request_id)
    .bind(subject)
    .bind(i64::from(tries_left))
    .execute(tx)
    .await
    .map(drop)
}

/// Keeps the answer.
async fn finish(
    tx: &mut AnyConnection,
    request: &CheckProof,
    answer: ProofChecked,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE proof SET result = $4 WHERE deletion = $1 AND kind = $2 AND request_id = $3",
    )
    .bind(&request.deletion)
    .bind(kind(request.kind))
    .bind(&request.request_id)
    .bind(word(answer))
    .execute(tx)
    .await
    .map(drop)
}

fn code_kind(kind: ProofKind) -> Option<CodeKind> {
    match kind {
        ProofKind::SmsCode => Some(CodeKind::Sms),
        ProofKind::EmailCode => Some(CodeKind::Email),
        ProofKind::EmailLink => Some(CodeKind::EmailLink),
        // A link that takes a deletion back has a check of its own: see `link`.
        ProofKind::Password | ProofKind::RevokeLink => None,
    }
}

fn kind(kind: ProofKind) -> &'static str {
    match kind {
        ProofKind::SmsCode => "SMS_CODE",
        ProofKind::EmailCode => "EMAIL_CODE",
        ProofKind::EmailLink => "EMAIL_LINK",
        ProofKind::Password => "PASSWORD",
        ProofKind::RevokeLink => "REVOKE_LINK",
    }
}

/// What is compared is never locked: that is told before.
fn word(answer: ProofChecked) -> &'static str {
    match answer {
        ProofChecked::Right => "RIGHT",
        ProofChecked::Wrong { .. } => "WRONG",
        ProofChecked::Expired | ProofChecked::Locked { .. } => "EXPIRED",
    }
}
