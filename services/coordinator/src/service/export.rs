//! An archive of what is held of an account: asked of its custodian, which keeps it. Nothing of it is kept here.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use farewell_core::account::Standing;
use farewell_core::{AccountId, Reason, RequestId};
use farewell_proto::account::v1 as api;
use farewell_proto::participant::v1 as wire;
use farewell_proto::participant::v1::query::Question;
use farewell_proto::participant::v1::reply::Answer;
use tonic::{Code, Status};

use super::case::{self, CaseName};
use crate::center::Center;
use crate::error;
use crate::region::whereabouts;
use farewell_interpreter::Language;

/// `exports/{export}`: the request's id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(pub RequestId);

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exports/{}", self.0.0.hyphenated())
    }
}

impl FromStr for Name {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let request = text.strip_prefix("exports/").ok_or(())?;
        request.parse().map(Self).map_err(drop)
    }
}

/// Begins an export, or says how far it is. Everybody is asked whom the policy names. With a case that the support desk has approved
/// for it also of a frozen account: its request uses the case, and may be repeated.
pub async fn start(
    center: &Center,
    name: &Name,
    account: &AccountId,
    language: Language,
    approved: Option<CaseName>,
) -> Result<api::Export, Status> {
    if let Some(case) = approved {
        let used_for = case::Use::Request(name.0);
        case::check(center, account, case, case::Action::Export, used_for).await?;
    } else if whereabouts(center, account).await?.frozen_by_security {
        // Whoever asks for everything may be who it was frozen for. One that began before is what it is, and is not given out.
        let known = get(center, name, account).await;
        return known.map_err(|status| match status.code() {
            Code::NotFound => refusal("ACCOUNT_FROZEN", ""),
            _ => status,
        });
    }
    let plan = center.plans.current();
    let participants = plan.policy().participants();
    let question = Question::StartExport(wire::StartExportQuery {
        export: name.to_string(),
        participants: participants.map(ToString::to_string).collect(),
        language: language.tag().to_owned(),
        though_frozen: approved.is_some(),
    });
    told(answer(center, account, question).await?)
}

/// Refuses to give an archive out, whenever it was made, of an account that security has frozen or that is kept in memory: whoever asks
/// may be who it was frozen for. With a case that the support desk has approved for this export nothing is refused.
///
/// Errors: `ACCOUNT_FROZEN`, `IDENTITY_UNAVAILABLE`, `LEDGER_UNAVAILABLE`, and those of [`case::check`].
pub async fn check_given(
    center: &Center,
    name: &Name,
    account: &AccountId,
    approved: Option<CaseName>,
) -> Result<(), Status> {
    if let Some(case) = approved {
        let used_for = case::Use::Request(name.0);
        return case::check(center, account, case, case::Action::Export, used_for).await;
    }
    let stored = center.ledger.account(account).await;
    let stored = stored.map_err(|error| error::ledger(&error))?;
    let in_memory = stored.is_some_and(|stored| stored.standing == Standing::Memorialized);
    if in_memory || whereabouts(center, account).await?.frozen_by_security {
        return Err(refusal("ACCOUNT_FROZEN", ""));
    }
    Ok(())
}

/// How far an export is.
pub async fn get(center: &Center, name: &Name, account: &AccountId) -> Result<api::Export, Status> {
    let question = Question::GetExport(wire::GetExportQuery {
        export: name.to_string(),
    });
    told(answer(center, account, question).await?)
}

/// Ends an export.
pub async fn cancel(
    center: &Center,
    name: &Name,
    account: &AccountId,
) -> Result<api::Export, Status> {
    let question = Question::CancelExport(wire::CancelExportQuery {
        export: name.to_string(),
    });
    told(answer(center, account, question).await?)
}

/// The archive's next bytes.
pub async fn read(
    center: &Center,
    name: &Name,
    account: &AccountId,
    offset: i64,
) -> Result<api::DownloadExportResponse, Status> {
    let question = Question::ReadExport(wire::ReadExportQuery {
        export: name.to_string(),
        offset,
    });
    let Answer::ReadExport(reply) = answer(center, account, question).await? else {
        return Err(unreachable());
    };
    if !reply.refused.is_empty() {
        return Err(refusal(&reply.refused, ""));
    }
    Ok(api::DownloadExportResponse {
        offset,
        content: reply.content,
        size_bytes: reply.size_bytes,
        sha256: reply.sha256,
    })
}

async fn answer(
    center: &Center,
    account: &AccountId,
    question: Question,
) -> Result<Answer, Status> {
    let patience = center.pace.query;
    let asked = center
        .queries
        .ask(center, &center.custodian, account, question, patience);
    asked.await.ok_or_else(unreachable)
}

fn told(answer: Answer) -> Result<api::Export, Status> {
    let Answer::Export(reply) = answer else {
        return Err(unreachable());
    };
    if !reply.refused.is_empty() {
        return Err(refusal(&reply.refused, &reply.export));
    }
    let state = wire::ExportState::try_from(reply.state)
        .map(state)
        .map_err(|_| unreachable())?;
    let sources = reply.sources.into_iter().map(|source| api::ExportSource {
        participant: source.participant,
        done: source.done,
        away: source.away,
        items: source.items,
        size_bytes: source.size_bytes,
    });
    Ok(api::Export {
        name: reply.export,
        state: state.into(),
        reason: reply.reason,
        sources: sources.collect(),
        size_bytes: reply.size_bytes,
        sha256: reply.sha256,
        begin_time: reply.begin_time,
        end_time: reply.end_time,
        expire_time: reply.expire_time,
        explanation: None,
    })
}

/// What callers are told, word for word: the numbers of the two enums owe each other nothing.
const fn state(state: wire::ExportState) -> api::ExportState {
    use api::ExportState as Told;
    match state {
        wire::ExportState::Unspecified => Told::Unspecified,
        wire::ExportState::Running => Told::Running,
        wire::ExportState::Ready => Told::Ready,
        wire::ExportState::Failed => Told::Failed,
        wire::ExportState::Cancelled => Told::Cancelled,
        wire::ExportState::Expired => Told::Expired,
    }
}

fn unreachable() -> Status {
    error::unavailable(
        "CUSTODIAN_UNREACHABLE",
        "the custodian of archives gives no answer; the same request may be sent again",
    )
}

/// What the custodian refused, with its word.
fn refusal(word: &str, running: &str) -> Status {
    let (code, reason, message) = match word {
        "EXPORT_NOT_FOUND" => (
            Code::NotFound,
            "EXPORT_NOT_FOUND",
            "the account has no such export",
        ),
        "ACCOUNT_SEALED" => (
            Code::FailedPrecondition,
            "ACCOUNT_SEALED",
            "the account is being deleted, or was: nothing new is made of it",
        ),
        // The right to one's data stands: who has frozen the account lifts that and has it, or shows the desk who they are.
        "ACCOUNT_FROZEN" => (
            Code::FailedPrecondition,
            "ACCOUNT_FROZEN",
            "the account is frozen or kept in memory: its owner unfreezes it, or the support desk approves a case of the kind EXPORT",
        ),
        "EXPORT_RUNNING" => {
            let metadata = HashMap::from([("export".to_owned(), running.to_owned())]);
            let message = "another export of the account is under way";
            return error::coded(Code::AlreadyExists, "EXPORT_RUNNING", message, metadata);
        }
        "TOO_MANY_EXPORTS" => {
            return error::exhausted(
                "TOO_MANY_EXPORTS",
                "too many exports wait for their turn, or the account had too many in 30 days",
            );
        }
        "EXPORT_NOT_READY" => (
            Code::FailedPrecondition,
            "EXPORT_NOT_READY",
            "there is no archive of this export, or none yet",
        ),
        "OFFSET_OUT_OF_RANGE" => (
            Code::OutOfRange,
            "OFFSET_OUT_OF_RANGE",
            "the archive has fewer bytes",
        ),
        "ARCHIVE_DAMAGED" => (
            Code::DataLoss,
            "ARCHIVE_DAMAGED",
            "the archive was changed where it is kept: nothing of it is given; make another",
        ),
        "ARCHIVE_KEY_UNKNOWN" => (
            Code::FailedPrecondition,
            "ARCHIVE_KEY_UNKNOWN",
            "the archive lies under a key that its custodian wasn't given: whoever runs it gives it back",
        ),
        "REQUEST_ID_REUSED" => return error::refused(Reason::RequestIdReused.into()),
        _ => (
            Code::Internal,
            "CUSTODIAN_REFUSED",
            "the custodian of archives refused the request",
        ),
    };
    error::coded(code, reason, message, HashMap::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_reads_back_and_nothing_else_is_one() {
        let text = "exports/01900000-0000-7000-8000-000000000001";
        assert_eq!(text.parse::<Name>().unwrap().to_string(), text);
        for bad in [
            "",
            "exports/",
            "exports/00000000-0000-0000-0000-000000000000",
            "exports/../01900000-0000-7000-8000-000000000001",
            "01900000-0000-7000-8000-000000000001",
        ] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
    }
}
