//! A believable account for the demo and the tests.

use farewell_kit::seal;
use farewell_kit::store::Store;

use crate::{comment, membership, post};

const POSTS: [&str; 3] = [
    "Battery after two years: still at 91 %. Here is how I charge it.",
    "The new watch face with the tide table, finally!",
    "Has anybody got the living-room hub to talk to old lamps?",
];
const COMMENTS: [&str; 2] = [
    "Works for me since the last update.",
    "Thank you, that solved it.",
];
const CIRCLES: [&str; 2] = ["photography", "smart-home"];

/// Gives the account three posts, two comments and two memberships. Repeating it changes nothing.
///
/// Errors: the account is sealed or erased; the database is away.
pub async fn sample(store: &Store, account: &str) -> anyhow::Result<()> {
    let mark = seal::mark(account);
    let mut tx = store.pool().begin().await?;
    seal::admit(&mut tx, account).await?;
    for (number, text) in POSTS.iter().enumerate() {
        post::insert(&mut tx, &format!("{mark}-{number}"), account, text).await?;
    }
    for (number, text) in COMMENTS.iter().enumerate() {
        comment::insert(
            &mut tx,
            &format!("{mark}-{number}"),
            account,
            &format!("{mark}-2"),
            text,
        )
        .await?;
    }
    for circle in CIRCLES {
        membership::insert(&mut tx, account, circle).await?;
    }
    Ok(tx.commit().await?)
}
