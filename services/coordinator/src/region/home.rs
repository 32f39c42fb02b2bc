//! Where an account's home is, and whether security has frozen it, as its identity service knows.

use farewell_core::AccountId;
use farewell_proto::elsewhere::Elsewhere;
use farewell_proto::participant::v1 as wire;
use farewell_proto::participant::v1::query::Question;
use farewell_proto::participant::v1::reply::Answer;
use tonic::Status;

use crate::center::Center;
use crate::service::proof::{ask_identity, unreachable_identity};
use crate::telling::IDENTITY;

/// What identity knows of an account that concerns whoever is about to act for it.
pub struct Whereabouts {
    /// The region that is its home, if that is another one.
    pub elsewhere: Option<Elsewhere>,
    /// Whoever acts for it may be who it was frozen for.
    pub frozen_by_security: bool,
}

/// The region that is the account's home, if that is another one. Of one that nobody knows it is here, as everything is that
/// is said of such. Where there is only one region nobody is asked.
///
/// Errors: identity gives no answer. Then nothing is taken: it might be somebody else's.
pub async fn elsewhere(center: &Center, account: &AccountId) -> Result<Option<Elsewhere>, Status> {
    if center.cells.is_only_one() {
        return Ok(None);
    }
    Ok(whereabouts(center, account).await?.elsewhere)
}

/// As [`elsewhere`], and whether security has frozen the account, which is asked where there is only one region, too. Where the policy
/// doesn't name identity, no account is frozen.
///
/// Errors: as [`elsewhere`].
pub async fn whereabouts(center: &Center, account: &AccountId) -> Result<Whereabouts, Status> {
    let only_one = center.cells.is_only_one();
    let mut participants = center.plans.current().policy().participants();
    if only_one && !participants.any(|it| it.as_str() == IDENTITY) {
        return Ok(Whereabouts {
            elsewhere: None,
            frozen_by_security: false,
        });
    }
    let question = Question::DescribeAccount(wire::DescribeAccountQuery {});
    match ask_identity(center, account, question).await? {
        Answer::DescribeAccount(reply) => {
            let home = reply.home_region;
            let elsewhere = !only_one && !home.is_empty() && home != center.cells.own();
            Ok(Whereabouts {
                elsewhere: elsewhere.then(|| center.cells.place(home)),
                frozen_by_security: reply.frozen_by_security,
            })
        }
        _ => Err(unreachable_identity()),
    }
}
