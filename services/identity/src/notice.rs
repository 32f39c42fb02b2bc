//! Notices to the person, durably: one letter for each receiver, kept until a gateway has it.
//!
//! The table is the queue: a letter is due at a time, whoever claims it moves that time on, and one that is not carried is due
//! again, less and less often, until it is given up. A crash between a gateway's yes and the row's end carries a letter once
//! more under the same id, by which a gateway knows a repeat.

mod delivery;
pub(crate) mod words;

use std::time::{Duration, SystemTime};

use farewell_kit::export::{Column, Table};
use farewell_kit::store::{Store, micros, time};
use farewell_kit::{Fault, Letters, Notice, NoticeKind, SetStanding, Standing, seal};
use serde::{Deserialize, Serialize};
use sqlx::AnyConnection;
use uuid::Uuid;

pub(crate) use self::delivery::{Delivery, run};
use crate::courier::Way;
use crate::language::Language;
use crate::pepper::Pepper;
use crate::{account, contact, guardian, link, login};

/// `deletion` is what the letter is about: `deletions/{deletion}`, or `standings/{mark}` of an account. A given-up letter stays without its address, to be counted. `state` is `WAITING` or `GIVEN_UP`.
pub(crate) const SCHEMA: &str = "\
    CREATE TABLE IF NOT EXISTS notice (deletion TEXT NOT NULL, name TEXT NOT NULL, account TEXT NOT NULL, \
        made_at BIGINT NOT NULL, PRIMARY KEY (deletion, name)); \
    CREATE INDEX IF NOT EXISTS notice_by_account ON notice (account); \
    CREATE TABLE IF NOT EXISTS letter (id TEXT PRIMARY KEY, account TEXT NOT NULL, deletion TEXT NOT NULL, \
        way TEXT NOT NULL CHECK (way IN ('SMS', 'EMAIL', 'PUSH')), receiver TEXT NOT NULL, content TEXT NOT NULL, \
        state TEXT NOT NULL CHECK (state IN ('WAITING', 'GIVEN_UP')), tries BIGINT NOT NULL, due_at BIGINT NOT NULL, \
        made_at BIGINT NOT NULL); \
    CREATE INDEX IF NOT EXISTS letter_by_time ON letter (state, due_at); \
    CREATE INDEX IF NOT EXISTS letter_by_account ON letter (account)";

/// How long erasing waits for the letters that say that it begins, where their gateway is away: longer than a relay that greylists, and
/// far below any deadline.
const LAST_WORDS_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// A letter that nobody tried yet is under way.
const UNDER_WAY: Duration = Duration::from_millis(500);
/// Clocks differ by less.
const CLOCK_AHEAD_MAX: Duration = Duration::from_secs(5 * 60);
/// Asked again at least as often.
const LAST_WORDS_LOOK_MAX: Duration = Duration::from_secs(5 * 60);

/// What its owner may take along: what they were told of a deletion.
pub(crate) const EXPORT: Table = Table::new(
    "notices",
    &[
        Column::Text("deletion"),
        Column::Text("notice"),
        Column::Time("made"),
    ],
    "SELECT deletion || '/' || name, deletion, name, made_at FROM notice \
     WHERE account = $1 AND deletion || '/' || name > $2 ORDER BY 1 LIMIT $3",
);

/// Letters that have not reached anybody yet. Not their content, which lets who reads it take a deletion back.
pub(crate) const LETTERS: Table = Table::new(
    "undelivered_letters",
    &[
        Column::Text("way"),
        Column::Text("receiver"),
        Column::Text("state"),
        Column::Time("made"),
    ],
    "SELECT id, way, receiver, state, made_at FROM letter WHERE account = $1 AND id > $2 ORDER BY id LIMIT $3",
)
.counted_as("notices");

/// How notices are written.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The company's page that links lead to: see [`crate::link`].
    pub links: Option<String>,
    /// For whom has said none.
    pub language: Language,
}

/// What a letter says, before it is put in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Content {
    name: String,
    kind: String,
    language: String,
    /// Microseconds since 1970.
    revocable_until: Option<i64>,
    deadline: Option<i64>,
    revocable: bool,
    reasons: Vec<Reason>,
    /// In which moments are told: an IANA name. Letters from before it was known are told in UTC.
    #[serde(default)]
    time_zone: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Reason {
    code: String,
    /// In the letter's language; empty where the letter itself knows the code.
    sentence: String,
}

/// Keeps a notice for everybody who is to hear of it. The same one again changes nothing.
///
/// Errors: the database is away; asking again is safe.
pub(crate) async fn keep(
    store: &Store,
    (config, pepper): (&Config, &Pepper),
    notice: &Notice,
    now: SystemTime,
) -> Result<(), Fault> {
    let mut tx = store.pool().begin().await?;
    match seal::admit_though_sealed(&mut tx, &notice.account).await {
        Ok(()) => {}
        // Whom it was for is forgotten.
        Err(seal::Error::Erased) => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    if !account::exists(&mut tx, &notice.account).await? {
        return Ok(());
    }
    let subject = Subject {
        account: &notice.account,
        about: &notice.deletion,
    };
    if !first(&mut tx, &subject, &notice.name, now).await? {
        return Ok(());
    }
    // One that was never sealed is not unsealed either.
    if matches!(
        notice.kind,
        NoticeKind::Revoked | NoticeKind::Denied | NoticeKind::Expired
    ) {
        guardian::disagree(&mut tx, &notice.account).await?;
    }
    let language = crate::language::of(&mut tx, &notice.account).await?;
    let content = content(notice, language.unwrap_or(config.language));
    let content = serde_json::to_string(&content).map_err(|error| Fault::new("a letter", error))?;
    // Whoever heard of it first hears of it to the end, however long that is.
    let since = begun(&mut tx, &notice.deletion)
        .await?
        .unwrap_or(now)
        .min(now);
    for (way, receiver) in receivers(&mut tx, &notice.account, notice.recent_change, since).await? {
        if notice.revocable {
            let of = (notice.deletion.as_str(), receiver.as_str());
            link::make(&mut tx, pepper, of, &notice.account, now).await?;
        }
        post(&mut tx, &subject, (way, &receiver), &content, now).await?;
    }
    Ok(tx.commit().await?)
}

/// Tells everybody whom the account belongs to, as far as anybody knows, that it is memorialised, and that it no longer is: the first
/// may be a mistake, and the second a fraud. In the transaction that keeps the standing.
///
/// Errors: the database is away.
pub(crate) async fn tell_standing(
    tx: &mut AnyConnection,
    config: &Config,
    set: &SetStanding,
    before: Standing,
    now: SystemTime,
) -> Result<(), Fault> {
    let kind = match (before, set.standing) {
        (Standing::Memorialized, Standing::Memorialized) => return Ok(()),
        (_, Standing::Memorialized) => "MEMORIALIZED",
        (Standing::Memorialized, Standing::Active | Standing::Frozen) => "UNMEMORIALIZED",
        (Standing::Active | Standing::Frozen, Standing::Active | Standing::Frozen) => return Ok(()),
    };
    if !account::exists(tx, &set.account).await? {
        return Ok(());
    }
    let about = format!("standings/{}", seal::mark(&set.account));
    let subject = Subject {
        account: &set.account,
        about: &about,
    };
    let name = format!("{}-{}", kind.to_lowercase(), set.generation);
    if !first(tx, &subject, &name, now).await? {
        return Ok(());
    }
    let language = crate::language::of(tx, &set.account).await?;
    let content = Content {
        name,
        kind: kind.to_owned(),
        language: language.unwrap_or(config.language).tag().to_owned(),
        revocable_until: None,
        deadline: None,
        revocable: false,
        reasons: Vec::new(),
        time_zone: String::new(),
    };
    let content = serde_json::to_string(&content).map_err(|error| Fault::new("a letter", error))?;
    for (way, receiver) in receivers(tx, &set.account, set.recent_change, now).await? {
        post(tx, &subject, (way, &receiver), &content, now).await?;
    }
    Ok(())
}

/// Whose letter it is, and what it is about.
struct Subject<'a> {
    account: &'a str,
    about: &'a str,
}

/// Whether it is told for the first time.
async fn first(
    connection: &mut AnyConnection,
    subject: &Subject<'_>,
    name: &str,
    now: SystemTime,
) -> Result<bool, sqlx::Error> {
    let new = sqlx::query(
        "INSERT INTO notice (deletion, name, account, made_at) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (deletion, name) DO NOTHING",
    )
    .bind(subject.about)
    .bind(name)
    .bind(subject.account)
    .bind(micros(now))
    .execute(connection)
    .await?;
    Ok(new.rows_affected() == 1)
}

/// When the first notice about this was made.
async fn begun(
    connection: &mut AnyConnection,
    about: &str,
) -> Result<Option<SystemTime>, sqlx::Error> {
    let (first,): (Option<i64>,) =
        sqlx::query_as("SELECT MIN(made_at) FROM notice WHERE deletion = $1")
            .bind(about)
            .fetch_one(connection)
            .await?;
    Ok(first.map(time))
}

/// Every number and address, those included that were changed a short time ago, and every device that is signed in or was when
/// the account was sealed.
async fn receivers(
    connection: &mut AnyConnection,
    account: &str,
    recent: Duration,
    now: SystemTime,
) -> Result<Vec<(Way, String)>, sqlx::Error> {
    let mut receivers = contact::everywhere(connection, account, recent, now).await?;
    let devices = login::devices(connection, account).await?;
    receivers.extend(devices.into_iter().map(|device| (Way::Push, device)));
    Ok(receivers)
}

async fn post(
    connection: &mut AnyConnection,
    subject: &Subject<'_>,
    (way, receiver): (Way, &str),
    content: &str,
    now: SystemTime,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO letter (id, account, deletion, way, receiver, content, state, tries, due_at, made_at) \
         VALUES ($1, $2, $3, $4, $5, $6, 'WAITING', 0, $7, $7)",
    )
    .bind(Uuid::new_v4().to_string())
    .bind(subject.account)
    .bind(subject.about)
    .bind(way.word())
    .bind(receiver)
    .bind(content)
    .bind(micros(now))
    .execute(connection)
    .await
    .map(drop)
}

fn content(notice: &Notice, language: Language) -> Content {
    let reason = |reason: &farewell_kit::NoticeReason| Reason {
        code: reason.code.clone(),
        sentence: reason
            .sentences
            .get(language.tag())
            .cloned()
            .unwrap_or_default(),
    };
    Content {
        name: notice.name.clone(),
        kind: word(notice.kind).to_owned(),
        language: language.tag().to_owned(),
        revocable_until: notice.revocable_until.map(micros),
        deadline: notice.deadline.map(micros),
        revocable: notice.revocable,
        reasons: notice.reasons.iter().map(reason).collect(),
        time_zone: notice.time_zone.iana_name().unwrap_or_default().to_owned(),
    }
}

/// What waits, fails and was given up.
pub(crate) async fn count(store: &Store) -> Result<Letters, sqlx::Error> {
    let (waiting, failing, given_up) = sqlx::query_as(
        "SELECT CAST(COALESCE(SUM(CASE WHEN state = 'WAITING' THEN 1 ELSE 0 END), 0) AS BIGINT), \
             CAST(COALESCE(SUM(CASE WHEN state = 'WAITING' AND tries > 0 THEN 1 ELSE 0 END), 0) AS BIGINT), \
             CAST(COALESCE(SUM(CASE WHEN state = 'GIVEN_UP' THEN 1 ELSE 0 END), 0) AS BIGINT) FROM letter",
    )
    .fetch_one(store.pool())
    .await?;
    Ok(Letters {
        waiting,
        failing,
        given_up,
        last_failure: None,
    })
}

/// How long the account must stay for its last letters: that erasing begins is the last word, and nobody knows an address
/// afterwards. `None`: they are carried, or have waited long enough. What this service was not told yet, the coordinator holds its
/// erasure back for (`farewell_core::notice::holds_back`).
pub(crate) async fn last_words(
    connection: &mut AnyConnection,
    account: &str,
    now: SystemTime,
) -> Result<Option<Duration>, Fault> {
    let rows: Vec<(String, i64, i64, i64)> = sqlx::query_as(
        "SELECT content, tries, due_at, made_at FROM letter WHERE account = $1 AND state = 'WAITING'",
    )
    .bind(account)
    .fetch_all(connection)
    .await?;
    let mut wait = None;
    for (content, tries, due, made) in rows {
        let content: Content = serde_json::from_str(&content)
            .map_err(|error| Fault::new("a stored letter can't be read", error))?;
        // A clock that was ahead made a letter that nobody waits for.
        let Ok(age) = (now + CLOCK_AHEAD_MAX).duration_since(time(made)) else {
            continue;
        };
        if content.kind != word(NoticeKind::Erasing) || age >= LAST_WORDS_MAX {
            continue;
        }
        // One that is being carried is due again only after the longest that this may take: it is looked at before that, the
        // less often the older it is.
        let patience = age.saturating_sub(CLOCK_AHEAD_MAX).max(UNDER_WAY);
        let next = match tries {
            0 => patience,
            _ => patience.min(time(due).duration_since(now).unwrap_or_default() + UNDER_WAY),
        };
        let next = next.min(LAST_WORDS_LOOK_MAX);
        wait = Some(wait.map_or(next, |wait: Duration| wait.min(next)));
    }
    Ok(wait)
}

pub(crate) async fn erase(
    connection: &mut AnyConnection,
    account: &str,
) -> Result<u64, sqlx::Error> {
    let mut erased = 0;
    for statement in [
        "DELETE FROM letter WHERE account = $1",
        "DELETE FROM notice WHERE account = $1",
    ] {
        let deleted = sqlx::query(statement)
            .bind(account)
            .execute(&mut *connection)
            .await?;
        erased += deleted.rows_affected();
    }
    Ok(erased)
}

/// Forgets letters that were given up, once they were counted long enough.
pub(crate) async fn sweep(
    connection: &mut AnyConnection,
    now: SystemTime,
) -> Result<u64, sqlx::Error> {
    let before = now.checked_sub(delivery::GIVEN_UP_SHOWN).map_or(0, micros);
    let deleted = sqlx::query("DELETE FROM letter WHERE state = 'GIVEN_UP' AND due_at <= $1")
        .bind(before)
        .execute(connection)
        .await?;
    Ok(deleted.rows_affected())
}

const fn word(kind: NoticeKind) -> &'static str {
    match kind {
        NoticeKind::Waiting => "WAITING",
        NoticeKind::Sealed => "SEALED",
        NoticeKind::Reminder => "REMINDER",
        NoticeKind::Blocked => "BLOCKED",
        NoticeKind::Erasing => "ERASING",
        NoticeKind::Extended => "EXTENDED",
        NoticeKind::Overdue => "OVERDUE",
        NoticeKind::Revoked => "REVOKED",
        NoticeKind::Denied => "DENIED",
        NoticeKind::Expired => "EXPIRED",
    }
}

#[cfg(test)]
mod tests;
