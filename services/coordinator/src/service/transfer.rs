//! What an account has in the store moves to another one, before it is deleted.
//!
//! Who decides what: two people of the support desk that it may be done, the store what there is and whether it can move, in one
//! transaction of its own. The coordinator asks them in the order in which nothing is used up in vain, and keeps the request's
//! digest: whatever ends a request halfway, the same one goes on where it was, and what was moved is never moved again.

use std::collections::HashMap;

use farewell_core::{AccountId, DeletionId, RequestId};
use farewell_proto::account::v1 as api;
use farewell_proto::elsewhere::TO_ACCOUNT_ELSEWHERE;
use farewell_proto::participant::v1 as wire;
use farewell_proto::participant::v1::query::Question;
use farewell_proto::participant::v1::reply::Answer;
use farewell_proto::support::v1::Belonging;
use farewell_runtime::peer::Peer;
use tonic::{Code, Status};

use super::case::{self, CaseName};
use super::{change, parse, remember, seen};
use crate::center::Center;
use crate::{error, region};

/// The participant that has what can move: domain.md names orders, memberships and points, and they are all the store's.
const STORE: &str = "store";

/// What is asked for.
struct Wish {
    request: RequestId,
    account: AccountId,
    to_account: AccountId,
    belongings: Vec<Belonging>,
    /// `None`: it is only looked.
    case: Option<CaseName>,
}

/// Moves it, or says what would move.
pub async fn transfer(
    center: &Center,
    peer: Option<&Peer>,
    request: &api::TransferBelongingsRequest,
) -> Result<api::Transfer, Status> {
    let wish = wish(request)?;
    for account in [&wish.account, &wish.to_account] {
        center.throttle.account(peer, account)?;
    }
    let (id, digest) = (wish.request, parse::digest("TransferBelongings", request));
    if wish.case.is_some() {
        seen(center, id, digest, DeletionId(id.0)).await?;
    }
    // Before an approval is used up: whether it was done already, and whether it can be done at all.
    let look = ask(center, &wish, None).await?;
    if let Ok(known) = &look
        && known.transfer_time.is_some()
    {
        if let Some(case) = wish.case {
            case::done(center, &wish.account, case, action(&wish), used_for(&wish)).await?;
        }
        return Ok(told(&wish, known));
    }
    usable(center, &wish).await?;
    let look = look?;
    let Some(case) = wish.case else {
        return Ok(told(&wish, &look));
    };
    case::check(center, &wish.account, case, action(&wish), used_for(&wish)).await?;
    // Of what is refused nothing is kept. A crash before or after this line is made good by the same request: the case stands for
    // it again, and the store moves nothing twice.
    remember(center, id, digest, DeletionId(id.0)).await?;
    let moved = ask(center, &wish, Some(case)).await??;
    // Until the desk knows, nobody deletes the account: whoever is told that it gives no answer asks for the same again.
    case::done(center, &wish.account, case, action(&wish), used_for(&wish)).await?;
    Ok(told(&wish, &moved))
}

fn action(wish: &Wish) -> case::Action {
    case::Action::TransferBelongings {
        to_account: wish.to_account.clone(),
        belongings: wish.belongings.iter().map(word).collect(),
    }
}

const fn used_for(wish: &Wish) -> case::Use {
    case::Use::Request(wish.request)
}

fn wish(request: &api::TransferBelongingsRequest) -> Result<Wish, Status> {
    let id = parse::request_id(&request.request_id)?;
    let account = parse::account("account", &request.account)?;
    let to_account = parse::account("to_account", &request.to_account)?;
    if to_account == account {
        return Err(error::invalid("to_account", "must be another account"));
    }
    let case = match (request.validate_only, request.case.as_str()) {
        (true, "") => None,
        (true, _) => return Err(error::invalid("case", "must be empty with validate_only")),
        (false, name) => Some(CaseName::parse("case", name)?),
    };
    Ok(Wish {
        request: id,
        account,
        to_account,
        belongings: belongings(&request.belongings)?,
        case,
    })
}

fn belongings(numbers: &[i32]) -> Result<Vec<Belonging>, Status> {
    let mut known = Vec::new();
    for (place, number) in numbers.iter().enumerate() {
        let field = || format!("belongings[{place}]");
        let belonging = match Belonging::try_from(*number) {
            Ok(Belonging::Unspecified) | Err(_) => {
                return Err(error::invalid(&field(), "must be known"));
            }
            Ok(belonging) => belonging,
        };
        if known.contains(&belonging) {
            return Err(error::invalid(&field(), "must be named once"));
        }
        known.push(belonging);
    }
    if known.is_empty() {
        return Err(error::invalid("belongings", "must name something"));
    }
    Ok(known)
}

/// `POINTS`, as cases have it.
fn word(belonging: &Belonging) -> String {
    let name = belonging.as_str_name();
    name.strip_prefix("BELONGING_").unwrap_or(name).to_owned()
}

/// Whether both accounts are here and can be used. The store looks at its own seals again in the transaction itself.
async fn usable(center: &Center, wish: &Wish) -> Result<(), Status> {
    let from = change::get(center, &wish.account).await?;
    closed(from.state()).map_or(Ok(()), |word| Err(refusal(word)))?;
    if let Some(home) = region::elsewhere(center, &wish.to_account).await? {
        let sentence = home.nothing_moves();
        return Err(error::precondition(
            TO_ACCOUNT_ELSEWHERE,
            &sentence,
            home.metadata(),
        ));
    }
    let to = change::get(center, &wish.to_account).await;
    let to = to.map_err(|status| match status.code() {
        Code::NotFound => error::coded(
            Code::NotFound,
            "TO_ACCOUNT_NOT_FOUND",
            "there is no such account to move it to",
            HashMap::new(),
        ),
        _ => status,
    })?;
    closed(to.state()).map_or(Ok(()), |word| Err(refusal(&format!("TO_{word}"))))
}

const fn closed(state: api::AccountState) -> Option<&'static str> {
    match state {
        api::AccountState::Active => None,
        api::AccountState::Sealed => Some("ACCOUNT_SEALED"),
        api::AccountState::Frozen | api::AccountState::FrozenBySecurity => Some("ACCOUNT_FROZEN"),
        // Nobody knows, and so nobody moves anything.
        api::AccountState::Memorialized | api::AccountState::Unspecified => {
            Some("ACCOUNT_MEMORIALIZED")
        }
    }
}

/// Asks the store. The outer error: it gives no answer; the inner one: it can't be done.
async fn ask(
    center: &Center,
    wish: &Wish,
    case: Option<CaseName>,
) -> Result<Result<wire::TransferBelongingsReply, Status>, Status> {
    let question = Question::TransferBelongings(wire::TransferBelongingsQuery {
        name: format!("requests/{}", wish.request.0),
        to_account: format!("accounts/{}", wish.to_account.as_str()),
        belongings: wish.belongings.iter().map(|it| (*it).into()).collect(),
        case: case.map(|case| case.to_string()).unwrap_or_default(),
        dry_run: case.is_none(),
    });
    let store = STORE.parse().map_err(|_| unreachable())?;
    let asked = center
        .queries
        .ask(center, &store, &wish.account, question, center.pace.query);
    let Some(Answer::TransferBelongings(reply)) = asked.await else {
        return Err(unreachable());
    };
    if !reply.refused.is_empty() {
        return Ok(Err(refusal(&reply.refused)));
    }
    // What it was asked for, and moved if it was to be: anything else is no answer.
    let kinds = reply.belongings.iter().map(|it| it.belonging);
    let asked = wish.belongings.iter().map(|it| i32::from(*it));
    let whole = kinds.eq(asked) && (case.is_none() || reply.transfer_time.is_some());
    if whole {
        Ok(Ok(reply))
    } else {
        Err(unreachable())
    }
}

fn told(wish: &Wish, reply: &wire::TransferBelongingsReply) -> api::Transfer {
    let belonging = |it: &wire::TransferredBelonging| api::TransferredBelonging {
        belonging: it.belonging,
        moved: it.moved,
        left: it.left,
    };
    api::Transfer {
        account: format!("accounts/{}", wish.account.as_str()),
        to_account: format!("accounts/{}", wish.to_account.as_str()),
        case: wish.case.map(|case| case.to_string()).unwrap_or_default(),
        belongings: reply.belongings.iter().map(belonging).collect(),
        transfer_time: reply.transfer_time,
    }
}

fn unreachable() -> Status {
    error::unavailable(
        "STORE_UNREACHABLE",
        "the store gives no answer; the same request may be sent again",
    )
}

/// Every word of a refusal, the store's and those of [`closed`].
fn refusal(word: &str) -> Status {
    let (code, reason, message) = match word {
        "ACCOUNT_SEALED" => (
            Code::FailedPrecondition,
            "ACCOUNT_SEALED",
            "the account is being deleted: revoke that first",
        ),
        "ACCOUNT_FROZEN" => (
            Code::FailedPrecondition,
            "ACCOUNT_FROZEN",
            "the account is frozen: its owner or security thaws it",
        ),
        "ACCOUNT_MEMORIALIZED" => (
            Code::FailedPrecondition,
            "ACCOUNT_MEMORIALIZED",
            "the account is kept in memory of its owner, and nothing of it moves",
        ),
        "ACCOUNT_ERASED" => (
            Code::NotFound,
            "ACCOUNT_NOT_FOUND",
            "there is no such account",
        ),
        "TO_ACCOUNT_SEALED" => (
            Code::FailedPrecondition,
            "TO_ACCOUNT_SEALED",
            "the account to move it to is being deleted",
        ),
        "TO_ACCOUNT_FROZEN" => (
            Code::FailedPrecondition,
            "TO_ACCOUNT_FROZEN",
            "the account to move it to is frozen",
        ),
        "TO_ACCOUNT_MEMORIALIZED" => (
            Code::FailedPrecondition,
            "TO_ACCOUNT_MEMORIALIZED",
            "the account to move it to is kept in memory of its owner",
        ),
        "TO_ACCOUNT_ERASED" => (
            Code::NotFound,
            "TO_ACCOUNT_NOT_FOUND",
            "there is no such account to move it to",
        ),
        "ORDER_IN_TRANSIT" => (
            Code::FailedPrecondition,
            "ORDER_IN_TRANSIT",
            "an order is still under way: orders move once all have arrived or are cancelled",
        ),
        "ORDER_DISPUTED" => (
            Code::FailedPrecondition,
            "ORDER_DISPUTED",
            "an order is disputed: orders move once that is settled",
        ),
        "SAFETY_OR_INSURANCE_CASE" => (
            Code::FailedPrecondition,
            "SAFETY_OR_INSURANCE_CASE",
            "a report or claim is open, and orders are its evidence: they move once it is closed",
        ),
        "BALANCE_TOO_LARGE" => (
            Code::FailedPrecondition,
            "BALANCE_TOO_LARGE",
            "both together are more than the store can count",
        ),
        "NOTHING_TO_TRANSFER" => (
            Code::FailedPrecondition,
            "NOTHING_TO_TRANSFER",
            "the account has nothing of this that can move",
        ),
        "REQUEST_ID_REUSED" => {
            return error::refused(farewell_core::Reason::RequestIdReused.into());
        }
        _ => return unreachable(),
    };
    error::coded(code, reason, message, HashMap::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_closed_account_is_refused_by_its_own_word() {
        use api::AccountState as State;
        for state in [
            State::Frozen,
            State::FrozenBySecurity,
            State::Sealed,
            State::Memorialized,
            State::Unspecified,
        ] {
            let word = closed(state).unwrap();
            for word in [word.to_owned(), format!("TO_{word}")] {
                let status = refusal(&word);
                assert_eq!(status.code(), Code::FailedPrecondition, "{word}");
            }
        }
        assert_eq!(closed(State::Active), None);
        assert_eq!(
            refusal("SOMETHING_NEW").code(),
            Code::Unavailable,
            "an unknown word moves nothing"
        );
    }

    #[test]
    fn belongings_have_the_words_that_cases_have() {
        let all = belongings(&[1, 2, 3, 4, 5]).unwrap();
        let words: Vec<_> = all.iter().map(word).collect();
        assert_eq!(
            words,
            ["POINTS", "COUPONS", "ORDERS", "STORE_CREDIT", "MEMBERSHIPS"]
        );
        for bad in [&[][..], &[0], &[6], &[-1], &[2, 2]] {
            assert!(belongings(bad).is_err(), "{bad:?}");
        }
    }
}
