//! Under which name an account's codes and proofs are kept: its own, or for one that identity doesn't know, a pseudonym.
//!
//! Codes "sent" to an account that nobody knows, and proofs of it, go through the same statements, counts and waits as any
//! other: whoever asks can't tell from answer or time whether an account exists, never did, or was erased. A pseudonym, so
//! that nothing is ever written under the id of an account that was erased. It can't be an id: those have no `/`.

use farewell_kit::{Fault, seal};
use sqlx::{Any, Transaction};

use crate::account;

/// What every such name begins with; as a pattern of SQL.
pub(crate) const NOBODY: &str = "nobody/%";

/// The name to keep rows under. Holds it against sealing, erasing and counting elsewhere until the transaction ends.
pub(crate) async fn hold(tx: &mut Transaction<'_, Any>, account: &str) -> Result<String, Fault> {
    let erased = match seal::admit_though_sealed(tx, account).await {
        Ok(()) => false,
        Err(seal::Error::Erased) => true,
        Err(error) => return Err(error.into()),
    };
    let pseudonym = pseudonym(account);
    let known = account::exists(tx, account).await?;
    Ok(if known && !erased {
        account.to_owned()
    } else {
        pseudonym
    })
}

/// The name of an account that isn't known, whether it is or not.
pub(crate) fn pseudonym(account: &str) -> String {
    format!("nobody/{}", seal::mark(account))
}
