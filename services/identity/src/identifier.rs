//! Names, numbers and addresses in the one form by which they are compared: what reads the same is the same.
//!
//! A user name and the part of an address before its `@` are compared by Unicode NFKC without case and without characters that
//! nobody sees (UAX #31, "compatibility caseless"), a domain as A-labels (RFC 5891), a number as E.164. A national number is
//! none of ours: without its country code nobody can say whether it is the one that is held back.

use farewell_kit::store::Store;
use farewell_kit::{BadIdentifier, IdentifierKind};
use unicode_normalization::UnicodeNormalization as _;

/// Digits of a number with its country code: E.164 allows 15, and the shortest that anybody has are 7.
const DIGITS: std::ops::RangeInclusive<usize> = 7..=15;
/// Accounts that are read at a time.
const PAGE: i64 = 500;

/// The form by which an identifier is compared.
///
/// Errors: why it is none of its kind.
pub(crate) fn normal(kind: IdentifierKind, value: &str) -> Result<String, BadIdentifier> {
    match kind {
        IdentifierKind::UserName => text(value),
        IdentifierKind::Phone => number(value),
        IdentifierKind::Email => address(value.trim()),
    }
}

fn text(value: &str) -> Result<String, BadIdentifier> {
    let folded = folded(value);
    // What nobody sees may have stood before the white space.
    let text = folded.trim();
    let sound = !text.is_empty() && !text.chars().any(char::is_control);
    if sound {
        Ok(text.to_owned())
    } else {
        Err(BadIdentifier::Other)
    }
}

/// Upper case first: what has one upper case, as ß and SS do or σ and ς, is one letter.
fn folded(value: &str) -> String {
    let seen = value.nfkc().filter(|it| !unseen(*it));
    let folded = seen
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase);
    folded.nfkc().collect()
}

/// What Unicode says may be left out (`Default_Ignorable_Code_Point`): nobody sees it.
const fn unseen(it: char) -> bool {
    matches!(
        it,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
    )
}

fn number(value: &str) -> Result<String, BadIdentifier> {
    let written = value.nfkc();
    let written: String = written
        .filter(|it| !it.is_whitespace() && !unseen(*it))
        .collect();
    // A trunk prefix in brackets is dialled by nobody who dials the country code.
    if written.contains("(0)") {
        return Err(BadIdentifier::NotE164);
    }
    let number = written.replace(['-', '.', '(', ')', '\u{2010}', '\u{2011}'], "");
    let digits = number.strip_prefix('+').ok_or(BadIdentifier::NotE164)?;
    let sound = DIGITS.contains(&digits.len())
        && !digits.starts_with('0')
        && digits.bytes().all(|it| it.is_ascii_digit());
    if sound {
        Ok(number)
    } else {
        Err(BadIdentifier::NotE164)
    }
}

fn address(value: &str) -> Result<String, BadIdentifier> {
    let (who, at) = value.rsplit_once('@').ok_or(BadIdentifier::Other)?;
    let who = folded(who);
    let sound = !who.is_empty() && !who.chars().any(|it| it.is_whitespace() || it.is_control());
    let domain = idna::domain_to_ascii_strict(at.trim_end_matches('.'));
    match domain {
        Ok(domain) if sound && !domain.is_empty() => Ok(format!("{who}@{domain}")),
        _ => Err(BadIdentifier::Other),
    }
}

/// What an earlier version of the tables did not have.
const COLUMNS: [(&str, &str); 4] = [
    ("account", "normal TEXT"),
    ("contact", "normal TEXT"),
    ("quarantine", "version BIGINT NOT NULL DEFAULT 1"),
    ("revoke_link", "version BIGINT NOT NULL DEFAULT 1"),
];
/// The indexes that go compared in SQL, which knows no letter beyond ASCII.
const INDEXES: &[&str] = &[
    "CREATE INDEX IF NOT EXISTS account_by_normal ON account (normal)",
    "CREATE INDEX IF NOT EXISTS contact_by_normal ON contact (normal)",
    "DROP INDEX IF EXISTS account_by_name",
    "DROP INDEX IF EXISTS contact_by_number",
    "DROP INDEX IF EXISTS contact_by_address",
];

/// Brings the tables of an earlier version up.
pub(crate) async fn prepare(store: &Store) -> Result<(), sqlx::Error> {
    store.evolve(&COLUMNS, INDEXES).await?;
    fill(store).await.map(drop)
}

/// Gives rows of earlier versions, or of an earlier process that still runs, their normal form; an empty one has none. Gives their number.
pub(crate) async fn fill(store: &Store) -> Result<u64, sqlx::Error> {
    let mut filled = 0;
    loop {
        let rows: Vec<(String, String, String)> = sqlx::query_as(
            "SELECT account, 'NAME', user_name FROM account WHERE normal IS NULL \
             UNION ALL SELECT account, channel, address FROM contact WHERE normal IS NULL LIMIT $1",
        )
        .bind(PAGE)
        .fetch_all(store.pool())
        .await?;
        if rows.is_empty() {
            return Ok(filled);
        }
        for (account, what, value) in rows {
            // Of a value that somebody changes meanwhile, the form is written with it.
            let statement = if what == "NAME" {
                "UPDATE account SET normal = $4 WHERE account = $1 AND user_name = $3 AND normal IS NULL AND $2 = 'NAME'"
            } else {
                "UPDATE contact SET normal = $4 WHERE account = $1 AND channel = $2 AND address = $3 AND normal IS NULL"
            };
            let written = sqlx::query(statement)
                .bind(&account)
                .bind(&what)
                .bind(&value)
                .bind(normal(kind_of(&what), &value).unwrap_or_default())
                .execute(store.pool())
                .await?;
            filled += written.rows_affected();
        }
    }
}

/// Of `NAME`, `SMS` and `EMAIL`.
pub(crate) fn kind_of(what: &str) -> IdentifierKind {
    match what {
        "NAME" => IdentifierKind::UserName,
        "SMS" => IdentifierKind::Phone,
        _ => IdentifierKind::Email,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch;

    #[test]
    fn what_reads_the_same_is_the_same() {
        use IdentifierKind::{Email, Phone, UserName};
        for (kind, value, expected) in [
            (UserName, " Lina ", "lina"),
            (UserName, "LINA\u{200b}", "lina"),
            (UserName, "\u{200b} lina \u{2060}", "lina"),
            (UserName, "\u{ff2c}\u{ff49}\u{ff4e}\u{ff41}", "lina"),
            (UserName, "Stra\u{df}e", "strasse"),
            (UserName, "STRASSE", "strasse"),
            (
                UserName,
                "\u{3a3}\u{3bf}\u{3c6}\u{3cc}\u{3c2}",
                "\u{3c3}\u{3bf}\u{3c6}\u{3cc}\u{3c3}",
            ),
            (UserName, "e\u{301}l", "\u{e9}l"),
            (UserName, "\u{c9}L", "\u{e9}l"),
            (UserName, "\u{674e}\u{5a1c}", "\u{674e}\u{5a1c}"),
            (Phone, "+86 (138) 0000-0000", "+8613800000000"),
            (
                Phone,
                "\u{ff0b}\u{ff18}\u{ff16} 138\u{a0}0000\u{2011}0000",
                "+8613800000000",
            ),
            (Phone, "+6834000", "+6834000"),
            (Email, "Lina@Example.COM", "lina@example.com"),
            (Email, "lina@example.com.", "lina@example.com"),
            (
                Email,
                "lina@B\u{fc}cher.example",
                "lina@xn--bcher-kva.example",
            ),
            (
                Email,
                "lina@xn--bcher-kva.example",
                "lina@xn--bcher-kva.example",
            ),
            (
                Email,
                "\u{674e}\u{5a1c}@\u{4f8b}\u{5b50}.\u{4e2d}\u{56fd}",
                "\u{674e}\u{5a1c}@xn--fsqu00a.xn--fiqs8s",
            ),
        ] {
            assert_eq!(normal(kind, value).as_deref(), Ok(expected), "{value}");
            assert_eq!(
                normal(kind, expected).as_deref(),
                Ok(expected),
                "it stays what it is"
            );
        }
        for value in [
            "138 0000 0000",
            "0086 138 0000 0000",
            "110",
            "+0138000000",
            "+49 (0)30 123456",
            "+49 ( 0 )30 123456",
            "+49 \u{ff08}0\u{ff09}30 123456",
            "+86 138 CALL ME",
            "+1234567890123456",
            "+123456",
            "",
        ] {
            assert_eq!(normal(Phone, value), Err(BadIdentifier::NotE164), "{value}");
        }
        for (kind, value) in [
            (UserName, " "),
            (UserName, "\u{200b}"),
            (UserName, "a\nb"),
            (Email, "nobody"),
            (Email, "@example.com"),
            (Email, "a b@example.com"),
            (Email, "a@"),
            (Email, "a@exa mple.com"),
        ] {
            assert_eq!(normal(kind, value), Err(BadIdentifier::Other), "{value}");
        }
    }

    #[tokio::test]
    async fn rows_of_an_earlier_version_get_their_form_once() {
        for store in scratch::stores("forms").await {
            for place in 0..3 {
                let statement = "INSERT INTO account (account, user_name, frozen, risk_locked, registered_at) VALUES ($1, 'LINA', 0, 0, 0)";
                let account = format!("a-{place}");
                sqlx::query(statement)
                    .bind(&account)
                    .execute(store.pool())
                    .await
                    .unwrap();
                let statement = "INSERT INTO contact (account, channel, address) VALUES ($1, 'SMS', '138 0000 0000')";
                sqlx::query(statement)
                    .bind(&account)
                    .execute(store.pool())
                    .await
                    .unwrap();
            }
            assert_eq!(fill(&store).await.unwrap(), 6);
            assert_eq!(fill(&store).await.unwrap(), 0);
            let (names, numbers): (i64, i64) = sqlx::query_as(
                "SELECT (SELECT COUNT(*) FROM account WHERE normal = 'lina'), (SELECT COUNT(*) FROM contact WHERE normal = '')",
            )
            .fetch_one(store.pool())
            .await
            .unwrap();
            assert_eq!((names, numbers), (3, 3), "a national number has none");
            prepare(&store).await.unwrap();
        }
    }
    #[tokio::test]
    async fn a_database_of_an_earlier_version_goes_on() {
        for store in scratch::stores("earlier").await {
            for statement in [
                "DROP INDEX account_by_normal",
                "DROP INDEX contact_by_normal",
                "ALTER TABLE account DROP COLUMN normal",
                "ALTER TABLE contact DROP COLUMN normal",
                "ALTER TABLE quarantine DROP COLUMN version",
                "ALTER TABLE revoke_link DROP COLUMN version",
                "CREATE INDEX account_by_name ON account (LOWER(user_name))",
                "INSERT INTO account (account, user_name, frozen, risk_locked, registered_at) VALUES ('a', 'Lina', 0, 0, 0)",
                "INSERT INTO quarantine (class, hash, deletion, legal_basis, until) VALUES ('c', 'h', 'd', 'l', 9)",
            ] {
                sqlx::query(statement).execute(store.pool()).await.unwrap();
            }
            for _ in 0..2 {
                prepare(&store).await.unwrap();
            }
            let (normal, version): (String, i64) = sqlx::query_as(
                "SELECT normal, version FROM account, quarantine WHERE account = 'a'",
            )
            .fetch_one(store.pool())
            .await
            .unwrap();
            assert_eq!((normal.as_str(), version), ("lina", 1));
        }
    }
}
