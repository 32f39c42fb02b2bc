//! Codes and proofs: identity sends and compares, and alone counts tries. The coordinator passes a proof on and keeps none of
//! it.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use farewell_core::policy::Factor;
use farewell_core::{AccountId, ParticipantId};
use farewell_proto::participant::v1 as wire;
use farewell_proto::participant::v1::query::Question;
use farewell_proto::participant::v1::reply::Answer;
use prost_types::Timestamp;
use tonic::Status;

use crate::center::Center;
use crate::error;
use crate::telling::IDENTITY;

/// What is said of a code or a link that is over, and of a link to a deletion that nobody knows.
pub const EXPIRED: &str = "PROOF_EXPIRED";

/// What a proof is for: codes are bound to it.
pub struct Subject<'a> {
    pub account: &'a AccountId,
    /// `deletions/{deletion}` or `requests/{request_id}`.
    pub name: &'a str,
    /// Of the call: a repeat sends no second code, and is counted once.
    pub request_id: &'a str,
}

/// How a code for this factor travels.
pub fn channel(factor: Factor) -> Result<wire::CodeChannel, Status> {
    match factor {
        Factor::SmsCode => Ok(wire::CodeChannel::Sms),
        Factor::EmailCode => Ok(wire::CodeChannel::Email),
        Factor::EmailLink => Ok(wire::CodeChannel::EmailLink),
        Factor::Password | Factor::Documents | Factor::DeviceInHand => Err(error::invalid(
            "factor",
            "must be proved by a code or a link",
        )),
    }
}

/// Has a code sent; the answer is of one that was.
pub async fn send(
    center: &Center,
    subject: &Subject<'_>,
    channel: wire::CodeChannel,
) -> Result<wire::SendCodeReply, Status> {
    let question = Question::SendCode(wire::SendCodeQuery {
        deletion: subject.name.to_owned(),
        channel: channel.into(),
        request_id: subject.request_id.to_owned(),
    });
    let Answer::SendCode(reply) = ask_identity(center, subject.account, question).await? else {
        return Err(unreachable_identity());
    };
    match reply.result() {
        wire::SendCodeResult::Sent => Ok(reply),
        wire::SendCodeResult::TooSoon => Err(error::wait(
            "CODE_TOO_SOON",
            "a code was sent a moment ago",
            until(reply.next_send_time),
        )),
        wire::SendCodeResult::NoAddress => Err(error::precondition(
            "NO_ADDRESS",
            "the account has no such address",
            HashMap::new(),
        )),
        wire::SendCodeResult::NoLinks => Err(error::precondition(
            "LINKS_UNAVAILABLE",
            "no links are sent here: use a code",
            HashMap::new(),
        )),
        wire::SendCodeResult::Unspecified => Err(unreachable_identity()),
    }
}

/// Has a proof compared.
pub async fn check(
    center: &Center,
    subject: &Subject<'_>,
    factor: Factor,
    proof: &str,
) -> Result<(), Status> {
    let kind = match factor {
        Factor::SmsCode => wire::ProofKind::SmsCode,
        Factor::EmailCode => wire::ProofKind::EmailCode,
        Factor::EmailLink => wire::ProofKind::EmailLink,
        Factor::Password => wire::ProofKind::Password,
        // The support desk and the product lines know those.
        Factor::Documents | Factor::DeviceInHand => {
            let text = "must be a code, a link or the password";
            return Err(error::invalid("factor", text));
        }
    };
    let reply = compare(center, subject, kind, proof).await?;
    let tries = || HashMap::from([("tries_left".to_owned(), reply.tries_left.to_string())]);
    match reply.result() {
        wire::ProofResult::Right => Ok(()),
        wire::ProofResult::Wrong => Err(error::precondition(
            "WRONG_PROOF",
            "the code, link or password is wrong",
            tries(),
        )),
        wire::ProofResult::Expired => Err(error::precondition(
            EXPIRED,
            "the code or link is too old, was used, or none was sent: ask for a new one",
            HashMap::new(),
        )),
        // The same request may come again then: what was not compared was not counted.
        wire::ProofResult::Locked => Err(error::wait(
            "TOO_MANY_TRIES",
            "too many tries: nothing is compared for a while, or before a new code is sent",
            until(reply.next_try_time),
        )),
        wire::ProofResult::Unspecified => Err(unreachable_identity()),
    }
}

/// Has the token of a link compared that confirms a deletion.
pub async fn confirm(center: &Center, subject: &Subject<'_>, token: &str) -> Result<(), Status> {
    let reply = compare(center, subject, wire::ProofKind::EmailLink, token).await?;
    match reply.result() {
        wire::ProofResult::Right => Ok(()),
        wire::ProofResult::Wrong => Err(wrong_link()),
        wire::ProofResult::Expired => Err(expired_link()),
        wire::ProofResult::Locked => Err(too_many_links(&reply)),
        wire::ProofResult::Unspecified => Err(unreachable_identity()),
    }
}

/// Has the token of a link compared that takes a deletion back.
pub async fn check_link(center: &Center, subject: &Subject<'_>, token: &str) -> Result<(), Status> {
    let reply = compare(center, subject, wire::ProofKind::RevokeLink, token).await?;
    match reply.result() {
        wire::ProofResult::Right => Ok(()),
        // Past the point of no return identity may have forgotten the link; that it is too late is told to who had it.
        wire::ProofResult::Wrong | wire::ProofResult::Expired => Err(wrong_link()),
        wire::ProofResult::Locked => Err(too_many_links(&reply)),
        wire::ProofResult::Unspecified => Err(unreachable_identity()),
    }
}

/// What is said of a link that no longer confirms anything, and of one to a deletion that nobody knows.
pub fn expired_link() -> Status {
    error::precondition(
        EXPIRED,
        "the link is too old, was used, or a newer one was sent: ask for a new one",
        HashMap::new(),
    )
}

fn wrong_link() -> Status {
    error::precondition(
        "WRONG_PROOF",
        "the link is not one of this deletion",
        HashMap::new(),
    )
}

fn too_many_links(reply: &wire::CheckProofReply) -> Status {
    error::wait(
        "TOO_MANY_TRIES",
        "too many wrong links: nothing is compared for a while",
        until(reply.next_try_time),
    )
}

/// Has identity compare. The same request is counted once.
async fn compare(
    center: &Center,
    subject: &Subject<'_>,
    kind: wire::ProofKind,
    proof: &str,
) -> Result<wire::CheckProofReply, Status> {
    let question = Question::CheckProof(wire::CheckProofQuery {
        deletion: subject.name.to_owned(),
        kind: kind.into(),
        proof: proof.to_owned(),
        request_id: subject.request_id.to_owned(),
    });
    match ask_identity(center, subject.account, question).await? {
        Answer::CheckProof(reply) => Ok(reply),
        _ => Err(unreachable_identity()),
    }
}

/// Asks identity.
///
/// Errors: `IDENTITY_UNAVAILABLE`.
pub async fn ask_identity(
    center: &Center,
    account: &AccountId,
    question: Question,
) -> Result<Answer, Status> {
    let identity = identity()?;
    let asked = center
        .queries
        .ask(center, &identity, account, question, center.pace.query);
    asked.await.ok_or_else(unreachable_identity)
}

/// Identity among the participants.
///
/// Errors: none, as it is a name like any other.
pub fn identity() -> Result<ParticipantId, Status> {
    IDENTITY.parse().map_err(|_| unreachable_identity())
}

/// For whom is asked what concerns no account, or none that there is yet.
///
/// Errors: none, as it is an id like any other.
pub fn nobody() -> Result<AccountId, Status> {
    "nobody".parse().map_err(|_| unreachable_identity())
}

/// Identity gave no answer, or one that makes no sense.
pub fn unreachable_identity() -> Status {
    error::unavailable(
        "IDENTITY_UNAVAILABLE",
        "the identity service gives no answer; the same request may be sent again",
    )
}

/// How long until then, at least a moment.
fn until(then: Option<Timestamp>) -> Duration {
    const MOMENT: Duration = Duration::from_secs(1);
    let then = then.and_then(|then| SystemTime::try_from(then).ok());
    then.and_then(|then| then.duration_since(SystemTime::now()).ok())
        .unwrap_or(MOMENT)
        .max(MOMENT)
}
