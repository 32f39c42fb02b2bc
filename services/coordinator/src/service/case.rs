//! Asks the support desk whether a case approves what is to be done. The desk decides, and only it: nothing of a case is kept
//! here but its name, and, as a hash, what it was used for first. A desk that was restored from a backup of before has forgotten that,
//! and would let it be used for something else.

use std::collections::HashMap;

use farewell_core::rare::{Denial, Why};
use farewell_core::{AccountId, DeletionId, RequestId};
use farewell_ledger::{Remembered, Seen};
use farewell_proto::participant::v1 as wire;
use farewell_proto::participant::v1::query::Question;
use farewell_proto::participant::v1::reply::Answer;
use sha2::{Digest as _, Sha256};
use tonic::{Code, Status};
use uuid::Uuid;

use crate::center::Center;
use crate::error;

/// The participant that decides.
pub const SUPPORT: &str = "support";

/// The name of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaseName(Uuid);

impl CaseName {
    /// Errors: `INVALID_FIELD`.
    pub fn parse(field: &str, name: &str) -> Result<Self, Status> {
        let id = name.strip_prefix("cases/");
        let id = id.and_then(|id| Uuid::try_parse(id).ok().filter(|id| !id.is_nil()));
        id.map(Self)
            .ok_or_else(|| error::invalid(field, "must be cases/{case}"))
    }
}

impl std::fmt::Display for CaseName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cases/{}", self.0)
    }
}

/// What an approval is used for. It is good for that and for nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    Deletion(DeletionId),
    /// Blockers of a deletion, as one request asks: what is in the way later takes another approval.
    Override(DeletionId, RequestId),
    /// The request of a caller, for what has no name of its own.
    Request(RequestId),
}

impl std::fmt::Display for Use {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Deletion(id) => write!(f, "deletions/{id}"),
            Self::Override(id, request) => write!(f, "deletions/{id}/overrides/{}", request.0),
            Self::Request(id) => write!(f, "requests/{}", id.0),
        }
    }
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Delete,
    DeleteLegacy,
    Memorialize,
    Unmemorialize,
    ClearRealName,
    Export,
    /// `lines/{line}/devices/{device}`.
    UnbindDevice(String),
    /// Codes, and how many people must have approved.
    OverrideBlockers(Vec<String>, u32),
    /// Harmless: one approval is enough.
    RevokeDeletion,
    /// For this reason: one approval is enough, as one operator is.
    ExtendDeadline(Why),
    TransferBelongings {
        to_account: AccountId,
        belongings: Vec<String>,
    },
}

/// Has the desk use its approval. Safe to repeat: the same use is answered the same.
///
/// Errors: `CASE_NOT_FOUND`, `CASE_NOT_APPROVED`, `CASE_EXPIRED`, `CASE_USED`, `CASE_NOT_FOR_THIS`, `DESK_UNAVAILABLE`.
pub async fn check(
    center: &Center,
    account: &AccountId,
    case: CaseName,
    action: Action,
    used_for: Use,
) -> Result<(), Status> {
    let query = query(case, action, used_for);
    let first = First::of(account, &query);
    first.holds(center).await?;
    ask(center, account, query).await?;
    first.keep(center).await
}

/// Tells the desk that what its approval was used for is done, so that the case is in the way of nothing any longer. Safe to repeat. A
/// case that the desk doesn't know any more is in nobody's way either.
///
/// Errors: `DESK_UNAVAILABLE`.
pub async fn done(
    center: &Center,
    account: &AccountId,
    case: CaseName,
    action: Action,
    used_for: Use,
) -> Result<(), Status> {
    let query = wire::CheckCaseQuery {
        done: true,
        ..query(case, action, used_for)
    };
    match ask(center, account, query).await {
        Err(status) if status.code() == Code::Unavailable => Err(status),
        _ => Ok(()),
    }
}

/// Has the desk say that it rejected what the case asked for, and why. Safe to repeat: it is said of one use.
///
/// Errors: `CASE_NOT_REJECTED`, and as [`check`].
pub async fn rejection(
    center: &Center,
    account: &AccountId,
    case: CaseName,
    action: Action,
    used_for: Use,
) -> Result<Denial, Status> {
    let query = wire::CheckCaseQuery {
        rejected: true,
        ..query(case, action, used_for)
    };
    let first = First::of(account, &query);
    first.holds(center).await?;
    let reply = reply(center, account, query).await?;
    match reply.standing() {
        wire::CaseStanding::Rejected => {
            let denial = Denial::of_rejection(&reply.rejection).ok_or_else(unavailable)?;
            first.keep(center).await?;
            Ok(denial)
        }
        wire::CaseStanding::NotApproved => Err(error::precondition(
            "CASE_NOT_REJECTED",
            "the support desk has not rejected the case",
            HashMap::new(),
        )),
        // An older desk doesn't hear what it is asked; a newer one may say what is unknown here.
        wire::CaseStanding::Stands => Err(unavailable()),
        standing => stands(standing).and_then(|()| Err(unavailable())),
    }
}

/// What a case was used for first, among what requests were used for. Of another account, or for another action, it is another case:
/// about that the desk says what is wrong.
struct First {
    key: RequestId,
    used_for: Seen,
}

impl First {
    fn of(account: &AccountId, query: &wire::CheckCaseQuery) -> Self {
        let (case, action) = (&query.case, query.action().as_str_name());
        let case = format!("{case} of accounts/{} for {action}", account.as_str());
        // Of a version that nobody makes at random: it is no caller's request.
        let key = uuid::Builder::from_custom_bytes(short(&case)).into_uuid();
        let used_for = Seen {
            digest: short(&query.r#use),
            deletion: DeletionId(key),
        };
        Self {
            key: RequestId(key),
            used_for,
        }
    }

    /// Nobody is asked about what was used for something else, so that nothing is used up by that.
    ///
    /// Errors: `CASE_USED`, `LEDGER_UNAVAILABLE`.
    async fn holds(&self, center: &Center) -> Result<(), Status> {
        let seen = center.ledger.seen(self.key).await;
        once(seen.map(|seen| Remembered::of(seen, self.used_for)))
    }

    /// Errors: as [`First::holds`].
    async fn keep(&self, center: &Center) -> Result<(), Status> {
        let Seen { digest, deletion } = self.used_for;
        once(center.ledger.remember(self.key, digest, deletion).await)
    }
}

fn once(known: Result<Remembered, farewell_ledger::Error>) -> Result<(), Status> {
    match known {
        Ok(Remembered::New | Remembered::Repeat) => Ok(()),
        Ok(Remembered::Reused) => stands(wire::CaseStanding::Used),
        Err(error) => Err(error::ledger(&error)),
    }
}

fn short(text: &str) -> [u8; 16] {
    let mut short = [0; 16];
    short.copy_from_slice(&Sha256::digest(text)[..16]);
    short
}

async fn ask(
    center: &Center,
    account: &AccountId,
    query: wire::CheckCaseQuery,
) -> Result<(), Status> {
    stands(reply(center, account, query).await?.standing())
}

async fn reply(
    center: &Center,
    account: &AccountId,
    query: wire::CheckCaseQuery,
) -> Result<wire::CheckCaseReply, Status> {
    let question = Question::CheckCase(query);
    let support = SUPPORT.parse().map_err(|_| unavailable())?;
    let asked = center
        .queries
        .ask(center, &support, account, question, center.pace.query);
    match asked.await {
        Some(Answer::CheckCase(reply)) => Ok(reply),
        _ => Err(unavailable()),
    }
}

fn stands(standing: wire::CaseStanding) -> Result<(), Status> {
    let refused = |code, reason, message| Err(error::coded(code, reason, message, HashMap::new()));
    match standing {
        wire::CaseStanding::Stands => Ok(()),
        wire::CaseStanding::NotFound => refused(
            Code::NotFound,
            "CASE_NOT_FOUND",
            "the support desk has no such case of this account",
        ),
        wire::CaseStanding::NotApproved => refused(
            Code::FailedPrecondition,
            "CASE_NOT_APPROVED",
            "too few people of the support desk have approved the case",
        ),
        wire::CaseStanding::Expired => refused(
            Code::FailedPrecondition,
            "CASE_EXPIRED",
            "the approval was not used in time: open another case",
        ),
        wire::CaseStanding::Used => refused(
            Code::FailedPrecondition,
            "CASE_USED",
            "the approval was used for something else: open another case",
        ),
        wire::CaseStanding::NotForThis => refused(
            Code::FailedPrecondition,
            "CASE_NOT_FOR_THIS",
            "the case approves something else",
        ),
        wire::CaseStanding::Unspecified | wire::CaseStanding::Rejected => Err(unavailable()),
    }
}

fn query(case: CaseName, action: Action, used_for: Use) -> wire::CheckCaseQuery {
    let mut query = wire::CheckCaseQuery {
        case: case.to_string(),
        r#use: used_for.to_string(),
        ..Default::default()
    };
    let action = match action {
        Action::Delete => wire::CaseAction::Delete,
        Action::DeleteLegacy => wire::CaseAction::DeleteLegacy,
        Action::Memorialize => wire::CaseAction::Memorialize,
        Action::Unmemorialize => wire::CaseAction::Unmemorialize,
        Action::ClearRealName => wire::CaseAction::ClearRealName,
        Action::Export => wire::CaseAction::Export,
        Action::UnbindDevice(device) => {
            query.device = device;
            wire::CaseAction::UnbindDevice
        }
        Action::OverrideBlockers(codes, approvals) => {
            query.codes = codes;
            query.approvals_min = approvals;
            wire::CaseAction::OverrideBlockers
        }
        Action::RevokeDeletion => {
            query.approvals_min = 1;
            wire::CaseAction::RevokeDeletion
        }
        Action::ExtendDeadline(why) => {
            query.codes = vec![why.word().to_owned()];
            query.approvals_min = 1;
            wire::CaseAction::ExtendDeadline
        }
        Action::TransferBelongings {
            to_account,
            belongings,
        } => {
            query.to_account = format!("accounts/{}", to_account.as_str());
            query.belongings = belongings;
            wire::CaseAction::TransferBelongings
        }
    };
    query.action = action.into();
    query
}

fn unavailable() -> Status {
    error::unavailable(
        "DESK_UNAVAILABLE",
        "the support desk's service gives no answer; the same request may be sent again",
    )
}
