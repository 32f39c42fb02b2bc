//! Changes of accounts that hang: everybody was to have them by now, and somebody has not.

use farewell_core::account::Account;
use farewell_core::{Slot, Time};
use farewell_ledger::Error;
use farewell_proto::account::v1 as api;

use super::change::present;
use crate::center::Center;

/// Accounts that are looked at: those that have waited longest.
const ACCOUNTS_MAX: u32 = 100;

/// What has been checked or told since this time or longer and isn't over, longest first.
pub async fn since(center: &Center, time: Time) -> Result<Vec<api::AccountChange>, Error> {
    let slots: Vec<Slot> = Slot::all().collect();
    let owed = center.ledger.accounts_owed(&slots, None, ACCOUNTS_MAX);
    let owed = owed.await?;
    let hanging = |account: &Account| -> Vec<api::AccountChange> {
        let changes = account.changes.iter().filter(|it| it.hangs_since(time));
        changes.map(|it| present(&account.account, it)).collect()
    };
    Ok(owed.iter().flat_map(hanging).collect())
}
