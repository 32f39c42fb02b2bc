//! Accounts that were asked something other than to be deleted.

use async_trait::async_trait;
use farewell_core::account::Account;
use farewell_core::{AccountId, Slot, Time};

use crate::Error;

/// What is kept of accounts. One row is one compare-and-set: such changes are few beside deletions.
#[async_trait]
pub trait Accounts {
    /// The account, if it was ever asked something.
    async fn account(&self, account: &AccountId) -> Result<Option<Account>, Error>;

    /// Stores what was decided, if the stored revision is the one before. `false`: somebody else was first, and nothing was
    /// changed. Not fenced: participants keep the highest generation, so that whoever tells them an old one changes nothing.
    async fn keep_account(&self, account: &Account) -> Result<bool, Error>;

    /// Accounts of `slots` that want attention by now, after the cursor, by attention time.
    async fn accounts_owed(
        &self,
        slots: &[Slot],
        after: Option<&Place>,
        limit: u32,
    ) -> Result<Vec<Account>, Error>;

    /// Every account after this one, in an order of the ledger's own.
    async fn accounts(&self, after: Option<&AccountId>, limit: u32) -> Result<Vec<Account>, Error>;
}

/// A place in the order of attention.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub attention_at: Time,
    pub account: AccountId,
}

impl Place {
    /// Where the account stands, if it wants attention.
    pub fn of(account: &Account) -> Option<Self> {
        account.attention_at().map(|attention_at| Self {
            attention_at,
            account: account.account.clone(),
        })
    }
}

/// What is bound for a cursor: before everything, if there is none.
pub(crate) fn bound(after: Option<&Place>) -> (i64, String) {
    after.map_or((i64::MIN, String::new()), |after| {
        (
            after.attention_at.micros(),
            after.account.as_str().to_owned(),
        )
    })
}

/// A row's content.
pub(crate) fn written(account: &Account) -> Result<String, Error> {
    serde_json::to_string(account).map_err(|_| Error::Corrupt { what: "account" })
}

pub(crate) fn read(doc: &str) -> Result<Account, Error> {
    serde_json::from_str(doc).map_err(|_| Error::Corrupt { what: "account" })
}

pub(crate) fn slot(account: &Account) -> i16 {
    i16::from(Account::slot(&account.account).number())
}
