//! What support moves from one account to another before the first is deleted: points, coupons, money, completed orders and
//! memberships. What a person owes stays, and so does what is still under way.
//!
//! An order keeps its own legal clock: it moves with the moment of its completion, so that what law wants kept of it is kept as
//! long as ever, under whoever it belongs to when that account is erased, and found in the book until then. There is one record
//! of it and never two. Name and address of who got it don't move: they are the first person's, and go with their account.

use std::time::SystemTime;

use farewell_kit::store::Store;
use farewell_kit::transfer::{self, Begun};
use farewell_kit::{Belonging, Fault, Moved, TransferBelongings, Transferred};
use sqlx::AnyConnection;

use crate::{book, coupon, entitlement, order, points, subscription, support, wallet};

/// The other account has so much of it that the sum can't be counted.
const BALANCE_TOO_LARGE: &str = "BALANCE_TOO_LARGE";
/// As the blocker of that name: the order is somebody's evidence.
const CLAIM_OPEN: &str = "SAFETY_OR_INSURANCE_CASE";

/// What moved of one kind, and what is left.
pub(crate) struct Parted {
    pub moved: i64,
    pub left: i64,
}

/// Moves everything of what is named, or nothing.
pub(crate) async fn transfer(
    store: &Store,
    request: &TransferBelongings,
) -> Result<Transferred, Fault> {
    let mut work = match transfer::begin(store, request).await? {
        Begun::Answered(answer) => return Ok(answer),
        Begun::Open(work) => work,
    };
    if request.belongings.contains(&Belonging::Orders)
        && let Some(reason) = in_the_way(work.tx(), &request.account).await?
    {
        return work.refuse(reason).await;
    }
    let accounts = (request.account.as_str(), request.to_account.as_str());
    let mut belongings = Vec::new();
    for belonging in &request.belongings {
        let Some(Parted { moved, left }) = part(work.tx(), *belonging, accounts).await? else {
            return work.refuse(BALANCE_TOO_LARGE).await;
        };
        belongings.push(Moved {
            belonging: *belonging,
            moved,
            left,
        });
    }
    // A look is rolled back with its lines, which have no reason: they are not even made.
    if !request.dry_run {
        book::enter(work.tx(), request, &belongings, SystemTime::now()).await?;
    }
    work.finish(belongings).await
}

/// Why no order of the account moves.
async fn in_the_way(
    connection: &mut AnyConnection,
    account: &str,
) -> Result<Option<&'static str>, sqlx::Error> {
    if let Some(reason) = order::unsettled(connection, account).await? {
        return Ok(Some(reason));
    }
    let claimed = support::is_claimed(connection, account).await?;
    Ok(claimed.then_some(CLAIM_OPEN))
}

/// `None`: more than can be counted.
async fn part(
    connection: &mut AnyConnection,
    belonging: Belonging,
    accounts: (&str, &str),
) -> Result<Option<Parted>, sqlx::Error> {
    Ok(match belonging {
        Belonging::Points => points::transfer(connection, accounts).await?,
        Belonging::StoreCredit => wallet::transfer(connection, accounts).await?,
        Belonging::Coupons => Some(coupon::transfer(connection, accounts).await?),
        Belonging::Orders => Some(order::transfer(connection, accounts).await?),
        Belonging::Memberships => {
            let plans = subscription::transfer(connection, accounts).await?;
            let granted = entitlement::transfer(connection, accounts).await?;
            Some(Parted {
                moved: plans.moved + granted.moved,
                left: plans.left + granted.left,
            })
        }
    })
}

/// Carries out a statement that moves rows `$1` → `$2`, and one that counts what `$1` has left.
pub(crate) async fn rows(
    connection: &mut AnyConnection,
    (from, to): (&str, &str),
    moves: &'static str,
    counts: &'static str,
) -> Result<Parted, sqlx::Error> {
    let moved = sqlx::query(moves)
        .bind(from)
        .bind(to)
        .execute(&mut *connection)
        .await?
        .rows_affected();
    let (left,): (i64,) = sqlx::query_as(counts)
        .bind(from)
        .fetch_one(connection)
        .await?;
    Ok(Parted {
        moved: i64::try_from(moved).unwrap_or(i64::MAX),
        left,
    })
}

#[cfg(test)]
mod tests;
