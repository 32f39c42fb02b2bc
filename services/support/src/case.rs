//! A case as it is stored. Steps in somebody's transaction: whoever changes a case holds its account first, and then its row.

use std::time::SystemTime;

use farewell_kit::Fault;
use farewell_kit::export::{Column, Table};
use farewell_kit::store::{micros, time};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row as _};

use crate::state::{Matter, Rejection, State};
use crate::wish::{Document, Wish};
use farewell_kit::vault::Wrapped;

/// `account` and `to_account` are empty once those accounts are erased. `due_at` is when the case ends by itself, and once it has
/// ended, when its documents go; 0 while nothing is due. Once its account is erased by the deletion `erased_by`, it is until when
/// law keeps the decision: then the coordinator has it erased, and nobody else. `done` is of what it is used for. `data_key` is
/// empty once it is destroyed.
pub(crate) const SCHEMA: &str = "\
    CREATE TABLE IF NOT EXISTS desk_case (id TEXT PRIMARY KEY, account TEXT NOT NULL, to_account TEXT NOT NULL, \
        kind TEXT NOT NULL, wish TEXT NOT NULL, opened_by TEXT NOT NULL, opened_at BIGINT NOT NULL, \
        state TEXT NOT NULL CHECK (state IN \
            ('OPENED', 'APPROVED_ONCE', 'APPROVED', 'REJECTED', 'WITHDRAWN', 'EXPIRED')), \
        first_by TEXT NOT NULL, second_by TEXT NOT NULL, rejection TEXT NOT NULL, used_for TEXT NOT NULL, \
        done BIGINT NOT NULL CHECK (done IN (0, 1)), moved_at BIGINT NOT NULL, due_at BIGINT NOT NULL, key_version BIGINT NOT NULL, data_key BLOB NOT NULL, \
        erased_by TEXT NOT NULL, legal_basis TEXT NOT NULL DEFAULT '', \
        CHECK (state <> 'APPROVED' OR (first_by <> second_by AND first_by <> opened_by AND second_by <> opened_by))); \
    CREATE INDEX IF NOT EXISTS desk_case_by_account ON desk_case (account, id); \
    CREATE INDEX IF NOT EXISTS desk_case_by_recipient ON desk_case (to_account) WHERE to_account <> ''; \
    CREATE INDEX IF NOT EXISTS desk_case_erased ON desk_case (erased_by) WHERE erased_by <> ''; \
    DROP INDEX IF EXISTS desk_case_due; \
    CREATE INDEX IF NOT EXISTS desk_case_own_due ON desk_case (due_at, id) WHERE due_at > 0 AND erased_by = ''";

/// What its owner may take along: what was asked and decided, and on how many people's word. Never whose.
pub(crate) const EXPORT: Table = Table::new(
    "support_cases",
    &[
        Column::Text("case"),
        Column::Text("kind"),
        Column::Text("asked_for"),
        Column::Text("state"),
        Column::Number("approvals"),
        Column::Text("rejection"),
        Column::Text("used_for"),
        Column::Time("opened"),
        Column::Time("last_step"),
    ],
    "SELECT id, 'cases/' || id, kind, wish, state, \
         CASE WHEN second_by <> '' THEN CAST(2 AS BIGINT) WHEN first_by <> '' THEN CAST(1 AS BIGINT) ELSE CAST(0 AS BIGINT) END, \
         rejection, used_for, opened_at, moved_at FROM desk_case WHERE account = $1 AND id > $2 ORDER BY id LIMIT $3",
);

macro_rules! columns {
    ($head:literal, $tail:literal) => {
        concat!(
            $head,
            " id, account, to_account, wish, opened_by, opened_at, state, first_by, second_by, rejection, used_for, \
              done, moved_at, due_at, key_version, data_key",
            $tail
        )
    };
}

/// A case.
pub(crate) struct Case {
    pub id: String,
    /// Empty once it is erased.
    pub account: String,
    pub opened_at: SystemTime,
    /// When it last moved.
    pub moved_at: SystemTime,
    /// `None` once it is destroyed.
    pub key: Option<Wrapped>,
    /// `shown` is empty as it is read; documents are in a table of their own.
    pub matter: Matter,
}

/// Which cases to list.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    /// Empty: of every account.
    pub account: String,
    /// Words of states; empty: any.
    pub states: Vec<&'static str>,
}

/// Writes the row of a new case.
pub(crate) async fn insert(tx: &mut AnyConnection, case: &Case) -> Result<(), Fault> {
    let matter = &case.matter;
    let wish = stored_wish(&matter.wish)?;
    let (version, key) = stored_key(case.key.as_ref());
    sqlx::query(
        "INSERT INTO desk_case (id, account, to_account, kind, wish, opened_by, opened_at, state, first_by, second_by, \
             rejection, used_for, done, moved_at, due_at, key_version, data_key, erased_by) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, 'OPENED', '', '', '', '', 0, $7, $8, $9, $10, '')",
    )
    .bind(&case.id)
    .bind(&case.account)
    .bind(&matter.to_account)
    .bind(matter.wish.kind())
    .bind(wish)
    .bind(&matter.opened_by)
    .bind(micros(case.opened_at))
    .bind(matter.expires_at.map_or(0, micros))
    .bind(version)
    .bind(key)
    .execute(tx)
    .await?;
    Ok(())
}

/// Writes where it stands. What is due next is `due`.
pub(crate) async fn write(
    tx: &mut AnyConnection,
    case: &Case,
    due: Option<SystemTime>,
) -> Result<(), Fault> {
    let state = &case.matter.state;
    let mut people = state.approved_by().iter();
    let (first, second) = (people.next(), people.next());
    let rejection = match state {
        State::Rejected { reason } => reason.word(),
        _ => "",
    };
    sqlx::query(
        "UPDATE desk_case SET state = $2, first_by = $3, second_by = $4, rejection = $5, used_for = $6, moved_at = $7, \
             due_at = $8, done = $9 WHERE id = $1",
    )
    .bind(&case.id)
    .bind(state.word())
    .bind(first.map_or("", String::as_str))
    .bind(second.map_or("", String::as_str))
    .bind(rejection)
    .bind(&case.matter.used_for)
    .bind(micros(case.moved_at))
    .bind(due.map_or(0, micros))
    .bind(i64::from(case.matter.done))
    .execute(tx)
    .await?;
    Ok(())
}

/// Writes another wish of the same kind, without what may not be kept.
pub(crate) async fn rewrite(tx: &mut AnyConnection, id: &str, wish: &Wish) -> Result<(), Fault> {
    sqlx::query("UPDATE desk_case SET wish = $2 WHERE id = $1 AND kind = $3")
        .bind(id)
        .bind(stored_wish(wish)?)
        .bind(wish.kind())
        .execute(tx)
        .await?;
    Ok(())
}

/// Destroys the data key.
pub(crate) async fn destroy_key(tx: &mut AnyConnection, id: &str) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE desk_case SET data_key = $2, due_at = 0 WHERE id = $1")
        .bind(id)
        .bind(Vec::new())
        .execute(tx)
        .await
        .map(drop)
}

/// A case as it is now.
pub(crate) async fn find(tx: &mut AnyConnection, id: &str) -> Result<Option<Case>, Fault> {
    let row = sqlx::query(columns!("SELECT", " FROM desk_case WHERE id = $1"))
        .bind(id)
        .fetch_optional(tx)
        .await?;
    row.as_ref().map(read).transpose()
}

/// A case, held until the transaction ends.
pub(crate) async fn hold(tx: &mut AnyConnection, id: &str) -> Result<Option<Case>, Fault> {
    let row = sqlx::query(columns!(
        "UPDATE desk_case SET moved_at = moved_at WHERE id = $1 RETURNING",
        ""
    ))
    .bind(id)
    .fetch_optional(tx)
    .await?;
    row.as_ref().map(read).transpose()
}

/// Cases, newest first, from before the id `before`. What law keeps of an account that is gone is in no list: it is read by its name
/// alone, by whoever has that from a file.
pub(crate) async fn list(
    tx: &mut AnyConnection,
    filter: &Filter,
    before: &str,
    rows: u32,
) -> Result<Vec<Case>, Fault> {
    // Only words of ours are written into the statement.
    let states = match filter.states.as_slice() {
        [] => String::new(),
        states => format!(" AND state IN ('{}')", states.join("', '")),
    };
    let sql = format!(
        "{} WHERE erased_by = '' AND ($1 = '' OR account = $1) AND ($2 = '' OR id < $2){states} ORDER BY id DESC LIMIT $3",
        columns!("SELECT", " FROM desk_case")
    );
    let rows = sqlx::query(AssertSqlSafe(sql))
        .bind(&filter.account)
        .bind(before)
        .bind(i64::from(rows))
        .fetch_all(tx)
        .await?;
    rows.iter().map(read).collect()
}

/// Every case that is an account's.
pub(crate) async fn of_account(tx: &mut AnyConnection, account: &str) -> Result<Vec<Case>, Fault> {
    let rows = sqlx::query(columns!(
        "SELECT",
        " FROM desk_case WHERE account = $1 ORDER BY id"
    ))
    .bind(account)
    .fetch_all(tx)
    .await?;
    rows.iter().map(read).collect()
}

/// A case of which something is due.
pub(crate) struct Due {
    pub id: String,
    pub account: String,
    at: i64,
}

impl Due {
    /// Before all others.
    pub const FIRST: Self = Self {
        id: String::new(),
        account: String::new(),
        at: 0,
    };
}

/// Cases of which something is due by `now`, the longest due first, after `last`. Not what a deletion keeps: that is the
/// coordinator's to end.
pub(crate) async fn due(
    tx: &mut AnyConnection,
    now: SystemTime,
    last: &Due,
    rows: u32,
) -> Result<Vec<Due>, sqlx::Error> {
    let rows: Vec<(String, String, i64)> = sqlx::query_as(
        "SELECT id, account, due_at FROM desk_case WHERE due_at > 0 AND erased_by = '' AND due_at <= $1 \
         AND (due_at > $2 OR (due_at = $2 AND id > $3)) ORDER BY due_at, id LIMIT $4",
    )
    .bind(micros(now))
    .bind(last.at)
    .bind(&last.id)
    .bind(i64::from(rows))
    .fetch_all(tx)
    .await?;
    let due = |(id, account, at)| Due { id, account, at };
    Ok(rows.into_iter().map(due).collect())
}

/// When the next thing is due after `now`.
pub(crate) async fn next_due(
    tx: &mut AnyConnection,
    now: SystemTime,
) -> Result<Option<SystemTime>, sqlx::Error> {
    let (next,): (Option<i64>,) = sqlx::query_as(
        "SELECT MIN(due_at) FROM desk_case WHERE due_at > 0 AND erased_by = '' AND due_at > $1",
    )
    .bind(micros(now))
    .fetch_one(tx)
    .await?;
    Ok(next.map(time))
}

/// How many cases wait for somebody of the desk, and of how many something was due by `now` and is not done.
pub(crate) async fn waiting(
    tx: &mut AnyConnection,
    now: SystemTime,
) -> Result<(i64, i64), sqlx::Error> {
    sqlx::query_as(
        "SELECT (SELECT COUNT(*) FROM desk_case WHERE erased_by = '' AND used_for = '' \
                 AND state IN ('OPENED', 'APPROVED_ONCE')), \
             (SELECT COUNT(*) FROM desk_case WHERE due_at > 0 AND erased_by = '' AND due_at <= $1)",
    )
    .bind(micros(now))
    .fetch_one(tx)
    .await
}

/// One data key of each version of the keys that they lie under, with its case.
pub(crate) async fn keys(connection: &mut AnyConnection) -> Result<Vec<(String, Wrapped)>, Fault> {
    let rows: Vec<(String, i64, Vec<u8>)> = sqlx::query_as(
        "SELECT id, key_version, data_key FROM desk_case WHERE id IN \
         (SELECT MIN(id) FROM desk_case WHERE OCTET_LENGTH(data_key) > 0 GROUP BY key_version)",
    )
    .fetch_all(connection)
    .await?;
    let wrapped = |(id, version, bytes): (String, i64, Vec<u8>)| {
        let version = u32::try_from(version).ok()?;
        Some((id, Wrapped { version, bytes }))
    };
    Ok(rows.into_iter().filter_map(wrapped).collect())
}

fn stored_wish(wish: &Wish) -> Result<String, Fault> {
    serde_json::to_string(wish).map_err(|error| Fault::new("a wish that can't be written", error))
}

fn stored_key(key: Option<&Wrapped>) -> (i64, Vec<u8>) {
    key.map_or((0, Vec::new()), |key| {
        (i64::from(key.version), key.bytes.clone())
    })
}

fn read(row: &AnyRow) -> Result<Case, Fault> {
    let corrupt = || Fault::plain("a stored case can't be read");
    let text = |column: &str| row.try_get::<String, _>(column);
    let number = |column: &str| row.try_get::<i64, _>(column);
    let wish: Wish = serde_json::from_str(&text("wish")?)
        .map_err(|error| Fault::new("a stored wish can't be read", error))?;
    let state = match text("state")?.as_str() {
        "OPENED" => State::Opened,
        "APPROVED_ONCE" => State::ApprovedOnce {
            by: text("first_by")?,
        },
        "APPROVED" => State::Approved {
            by: [text("first_by")?, text("second_by")?],
        },
        "REJECTED" => State::Rejected {
            reason: Rejection::of(&text("rejection")?).ok_or_else(corrupt)?,
        },
        "WITHDRAWN" => State::Withdrawn,
        "EXPIRED" => State::Expired,
        _ => return Err(corrupt()),
    };
    let (used_for, done) = (text("used_for")?, number("done")? > 0);
    let waits = matches!(
        state,
        State::Opened | State::ApprovedOnce { .. } | State::Approved { .. }
    ) && (used_for.is_empty() || !done);
    let due = Some(number("due_at")?).filter(|due| *due > 0 && waits);
    let bytes: Vec<u8> = row.try_get("data_key")?;
    let version = u32::try_from(number("key_version")?).map_err(|_| corrupt())?;
    Ok(Case {
        id: text("id")?,
        account: text("account")?,
        opened_at: time(number("opened_at")?),
        moved_at: time(number("moved_at")?),
        key: (!bytes.is_empty()).then_some(Wrapped { version, bytes }),
        matter: Matter {
            wish,
            to_account: text("to_account")?,
            opened_by: text("opened_by")?,
            state,
            expires_at: due.map(time),
            used_for,
            done,
            shown: Vec::<Document>::new(),
        },
    })
}

impl Rejection {
    const ALL: [(Self, &'static str); 4] = [
        (Self::Unreadable, "UNREADABLE"),
        (Self::Forged, "FORGED"),
        (Self::NotTheOwner, "NOT_THE_OWNER"),
        (Self::NotGranted, "NOT_GRANTED"),
    ];

    /// As stored, and as callers are told.
    pub fn word(self) -> &'static str {
        let entry = Self::ALL.iter().find(|(reason, _)| *reason == self);
        entry.map_or("", |(_, word)| word)
    }

    fn of(word: &str) -> Option<Self> {
        let entry = Self::ALL.iter().find(|(_, known)| *known == word);
        entry.map(|(reason, _)| *reason)
    }
}
