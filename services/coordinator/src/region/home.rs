//! Where an account's home is, as its identity service knows it.

use farewell_core::AccountId;
use farewell_proto::elsewhere::Elsewhere;
use farewell_proto::participant::v1 as wire;
use farewell_proto::participant::v1::query::Question;
use farewell_proto::participant::v1::reply::Answer;
use tonic::Status;

use crate::center::Center;
use crate::service::proof::{ask_identity, unreachable_identity};

/// The region that is the account's home, if that is another one. Of one that nobody knows it is here, as everything is that
/// is said of such. Where there is only one region nobody is asked.
///
/// Errors: identity gives no answer. Then nothing is taken: it might be somebody else's.
pub async fn elsewhere(center: &Center, account: &AccountId) -> Result<Option<Elsewhere>, Status> {
    if center.cells.is_only_one() {
        return Ok(None);
    }
    let question = Question::DescribeAccount(wire::DescribeAccountQuery {});
    match ask_identity(center, account, question).await? {
        Answer::DescribeAccount(reply) => {
            let home = reply.home_region;
            let elsewhere = !home.is_empty() && home != center.cells.own();
            Ok(elsewhere.then(|| center.cells.place(home)))
        }
        _ => Err(unreachable_identity()),
    }
}
