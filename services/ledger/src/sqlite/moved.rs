//! What is written with every change of a deletion: a step of its history, and what others are told of it.

use farewell_core::account::Account;
use farewell_core::decision::Decision;
use farewell_core::policy::retention::Identifier;
use farewell_core::{Deletion, Time};
use serde::Serialize;
use uuid::Uuid;

use super::connection::Statement;
use crate::{columns, merge};

/// Statements for what [`Moved::bind`] binds, which are $1 to $3. Others follow from $4.
///
/// Not ?1: in a statement that leaves out a lower number, SQLite counts the gap as a parameter, and sqlx loses count.
macro_rules! moved {
    () => {
        "
INSERT INTO history (deletion, revision, state, note, decision, at)
SELECT unhex(value ->> 0, '-'), value ->> 1, value ->> 2, value ->> 3, value ->> 4, $3 FROM jsonb_each($1);
INSERT INTO outbox (slot, deletion, state, at)
SELECT value ->> 0, unhex(value ->> 1, '-'), value ->> 2, value ->> 3 FROM jsonb_each($2)
WHERE true ON CONFLICT DO NOTHING;
DELETE FROM live WHERE account IN (SELECT value ->> 4 FROM jsonb_each($2));
"
    };
}
pub(super) use moved;

/// Changes of deletions.
#[derive(Default)]
pub(super) struct Moved<'a> {
    history: Vec<(Uuid, i32, i16, &'a str, Option<String>)>,
    /// Of an end also the account, which may then be deleted anew.
    told: Vec<(u8, Uuid, i16, i64, Option<&'a str>)>,
}

impl<'a> Moved<'a> {
    /// `live` says whether the deletion had not ended before.
    pub fn push(
        &mut self,
        live: bool,
        after: &'a Deletion,
        (note, decision): (&'a str, Option<&Decision>),
    ) {
        let (id, state) = (after.id.0, after.state.code());
        let decision = columns::decision(decision);
        self.history
            .push((id, after.revision, state, note, decision));
        if let Some(at) = merge::ended_at(&after.state)
            && live
        {
            let (slot, account) = (slot(after), after.account.as_str());
            self.told
                .push((slot, id, state, at.micros(), Some(account)));
        }
    }

    /// Others are told that the account was sealed.
    pub fn push_sealed(&mut self, after: &Deletion, at: Time) {
        let (slot, id) = (slot(after), after.id.0);
        self.told
            .push((slot, id, after.state.code(), at.micros(), None));
    }

    /// Others are told that an identifier is held back no longer.
    pub fn push_recycled(&mut self, after: &Deletion, kind: Identifier, at: Time) {
        let (slot, id) = (slot(after), after.id.0);
        self.told.push((slot, id, kind.code(), at.micros(), None));
    }

    pub fn bind(&self, statements: Statement, now: Time) -> Statement {
        statements
            .bind(json(&self.history))
            .bind(json(&self.told))
            .bind(now.micros())
    }
}

/// The account's: what becomes of it is told by one coordinator, whichever of its deletions it is of.
fn slot(of: &Deletion) -> u8 {
    Account::slot(&of.account).number()
}

/// A set, as one text.
pub(super) fn json<T: Serialize>(set: &[T]) -> String {
    serde_json::to_string(set).unwrap_or_default()
}
