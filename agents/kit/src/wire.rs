//! Between the words of the wire and those of the trait: the only file that knows both.
//!
//! Every `match` is total and has no wildcard: a word added to the wire stops the build here. What is unknown, empty or
//! zero maps to [`Malformed`] and never to something that could be acted on.

pub(crate) mod case;
pub(crate) mod device;
pub(crate) mod export;
pub(crate) mod home;
pub(crate) mod notice;
pub(crate) mod retention;
pub(crate) mod standing;
pub(crate) mod transfer;

use std::mem;
use std::time::{Duration, SystemTime};

use farewell_proto::participant::v1 as pb;

use crate::participant::{
    Answer, Blocker, CheckCase, CheckEligibility, CheckProof, ClearRealName, CodeKind, CodeSent,
    Deferred, Done, IdentifierKind, Inventory, NotInHand, Notice, Order, Outcome, Possession,
    PossessionStep, ProofChecked, ProofKind, RECENT_CHANGE_MAX, ReleaseIdentifier, Retained,
    SendCode, SetStanding, StartExport, StopPersonalization, TransferBelongings, UnbindDevice,
};

/// Longest id or name; the coordinator's own are at most 128.
const NAME_BYTES_MAX: usize = 256;
/// The coordinator takes no longer text for operators.
const DETAIL_CHARS_MAX: usize = 512;
/// Bounds of `Deferred.retry_after` on the wire.
const RETRY_AFTER_MIN: Duration = Duration::from_millis(1);
const RETRY_AFTER_MAX: Duration = Duration::from_hours(7 * 24);

const ACCOUNTS: &str = "accounts/";
const DELETIONS: &str = "deletions/";
const DEVICES: &str = "devices/";

/// A message that nothing may be done about. Its text names the field, never the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Malformed(&'static str);

/// What a command asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Seal,
    Unseal,
    Erase,
    Probe,
    Expire,
}

impl Verb {
    fn of(number: i32) -> Result<Self, Malformed> {
        match pb::Verb::try_from(number) {
            Ok(pb::Verb::Seal) => Ok(Self::Seal),
            Ok(pb::Verb::Unseal) => Ok(Self::Unseal),
            Ok(pb::Verb::Erase) => Ok(Self::Erase),
            Ok(pb::Verb::Probe) => Ok(Self::Probe),
            Ok(pb::Verb::Expire) => Ok(Self::Expire),
            Ok(pb::Verb::Unspecified) => Err(Malformed("verb is not specified")),
            Err(_) => Err(Malformed("verb is unknown to this version of the kit")),
        }
    }

    /// As it is written in the name of a command.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Seal => "seal",
            Self::Unseal => "unseal",
            Self::Erase => "erase",
            Self::Probe => "probe",
            Self::Expire => "expire",
        }
    }
}

/// A command that may be carried out by `participant`. Taken apart only if it may: a refusal still has to name it.
pub(crate) fn order(
    command: &mut pb::Command,
    participant: &str,
) -> Result<(Verb, Order), Malformed> {
    let verb = Verb::of(command.verb)?;
    check_name(&command.name, verb, participant)?;
    let account = id(
        &command.account,
        ACCOUNTS,
        "account must be accounts/{account}",
    )?;
    let deadline = command
        .deadline
        .take()
        .map(SystemTime::try_from)
        .transpose()
        .map_err(|_| Malformed("deadline is not a time"))?;
    let order = Order {
        account: account.to_owned(),
        deadline,
        devices: device::tasks(&mut command.devices)?,
        horizon: horizon(command.device_horizon)?,
        retention: retention::rules(&mut command.retention)?,
        ended_by: retention::ended_by(verb, command.ended_by_time)?,
        command: mem::take(&mut command.name),
        traceparent: mem::take(&mut command.traceparent),
    };
    Ok((verb, order))
}

/// Zero would give every device up that is not there at this moment: it is as unset.
fn horizon(told: Option<prost_types::Duration>) -> Result<Option<Duration>, Malformed> {
    let horizon = told.map(Duration::try_from).transpose();
    let horizon = horizon.map_err(|_| Malformed("device_horizon is not a length of time"))?;
    Ok(horizon.filter(|horizon| !horizon.is_zero()))
}

/// `deletions/{deletion}/commands/{round}-{verb}-{participant}`, of this verb and this participant: a command that was
/// meant for somebody else, or whose name says another verb, is never carried out.
fn check_name(name: &str, verb: Verb, participant: &str) -> Result<(), Malformed> {
    const SHAPE: Malformed =
        Malformed("name must be deletions/{deletion}/commands/{round}-{verb}-{participant}");
    if name.len() > NAME_BYTES_MAX {
        return Err(SHAPE);
    }
    let (deletion, rest) = name
        .strip_prefix(DELETIONS)
        .and_then(|rest| rest.split_once("/commands/"))
        .ok_or(SHAPE)?;
    let mut parts = rest.splitn(3, '-');
    let (Some(round), Some(word), Some(whom)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(SHAPE);
    };
    let counted = round.parse::<u32>().is_ok_and(|round| round > 0)
        && round.bytes().all(|b| b.is_ascii_digit());
    if !is_id(deletion) || !counted {
        return Err(SHAPE);
    }
    if word != verb.word() {
        return Err(Malformed("name and verb disagree"));
    }
    if whom != participant {
        return Err(Malformed("name is another participant's"));
    }
    Ok(())
}

/// The id in `{prefix}{id}`.
fn id<'a>(name: &'a str, prefix: &str, otherwise: &'static str) -> Result<&'a str, Malformed> {
    match name.strip_prefix(prefix) {
        Some(id) if is_id(id) => Ok(id),
        Some(_) | None => Err(Malformed(otherwise)),
    }
}

fn is_id(id: &str) -> bool {
    !id.is_empty()
        && id.len() <= NAME_BYTES_MAX
        && !id.contains(|c: char| c == '/' || c.is_whitespace() || c.is_control())
}

/// A report about an order that was taken.
pub(crate) fn report(order: &Order, traceparent: String, answer: pb::report::Answer) -> pb::Report {
    pb::Report {
        command: order.command.clone(),
        account: format!("{ACCOUNTS}{}", order.account),
        traceparent,
        answer: Some(answer),
    }
}

/// "It takes longer": neither how much nor until when is known.
pub(crate) fn in_progress() -> pb::report::Answer {
    pb::report::Answer::InProgress(pb::InProgress {
        done: 0,
        total: 0,
        expected_by: None,
    })
}

pub(crate) fn refused(reason: &str, detail: &str) -> pb::report::Answer {
    let detail = match detail.char_indices().nth(DETAIL_CHARS_MAX) {
        Some((end, _)) => &detail[..end],
        None => detail,
    };
    pb::report::Answer::Refused(pb::Refused {
        reason: reason.to_owned(),
        detail: detail.to_owned(),
    })
}

pub(crate) fn answer(answer: Answer) -> pb::report::Answer {
    match answer {
        Answer::Done(given) => pb::report::Answer::Done(done(given)),
        Answer::Deferred(given) => pb::report::Answer::Deferred(deferred(given)),
        Answer::Refused { reason, detail } => refused(&reason, &detail),
    }
}

fn done(done: Done) -> pb::Done {
    pb::Done {
        outcome: outcome(done.outcome).into(),
        counts: done.counts.into_iter().collect(),
        retained: done.retained.into_iter().map(retained).collect(),
        devices: done.devices.into_iter().map(device::result).collect(),
    }
}

fn deferred(deferred: Deferred) -> pb::Deferred {
    let retry_after = deferred.retry_after.clamp(RETRY_AFTER_MIN, RETRY_AFTER_MAX);
    pb::Deferred {
        // Fails only beyond what the clamp lets through.
        retry_after: prost_types::Duration::try_from(retry_after).ok(),
        reason: deferred.reason,
        done: deferred.done,
        total: deferred.total,
    }
}

fn outcome(outcome: Outcome) -> pb::Outcome {
    match outcome {
        Outcome::Erased => pb::Outcome::Erased,
        Outcome::Anonymised => pb::Outcome::Anonymised,
        Outcome::CryptoShredded => pb::Outcome::CryptoShredded,
        Outcome::Retained => pb::Outcome::Retained,
        Outcome::NotFound => pb::Outcome::NotFound,
        Outcome::Transferred => pb::Outcome::Transferred,
        Outcome::Sealed => pb::Outcome::Sealed,
        Outcome::Unsealed => pb::Outcome::Unsealed,
        Outcome::Clean => pb::Outcome::Clean,
        Outcome::Residue => pb::Outcome::Residue,
    }
}

fn retained(retained: Retained) -> pb::Retained {
    pb::Retained {
        class: retained.class,
        legal_basis: retained.legal_basis,
        count: retained.count,
        until_time: Some(retained.until.into()),
        next_time: retained.next.map(Into::into),
    }
}

/// A question that can be asked of a participant.
pub(crate) enum Question {
    Eligibility(CheckEligibility),
    Inventory {
        account: String,
    },
    SendCode(SendCode),
    CheckProof(CheckProof),
    CheckCase(CheckCase),
    Notify(Notice),
    Letters,
    Desk,
    Possession(Possession),
    DescribeDevice {
        account: String,
        device: String,
    },
    DescribeAccount {
        account: String,
    },
    SetStanding(SetStanding),
    ClearRealName(ClearRealName),
    TransferBelongings(TransferBelongings),
    StopPersonalization(StopPersonalization),
    UnbindDevice(UnbindDevice),
    DeviceUnbinding {
        account: String,
        name: String,
    },
    ExportPart {
        account: String,
        after: String,
    },
    StartExport(StartExport),
    GetExport {
        account: String,
        export: String,
    },
    CancelExport {
        account: String,
        export: String,
    },
    ReadExport {
        account: String,
        export: String,
        offset: u64,
    },
    CheckIdentifier(IdentifierKind, String),
    ReleaseIdentifier(ReleaseIdentifier),
    Quarantine {
        page_size: u32,
        page: String,
    },
}

/// A question and how long its answer is of use.
pub(crate) fn question(query: pb::Query) -> Result<(Question, Duration), Malformed> {
    let timeout = match query.timeout.map(Duration::try_from) {
        Some(Ok(timeout)) if !timeout.is_zero() => timeout,
        Some(Ok(_) | Err(_)) | None => return Err(Malformed("timeout must be above zero")),
    };
    if let Some(pb::query::Question::Letters(pb::LettersQuery {})) = query.question {
        return Ok((Question::Letters, timeout));
    }
    if let Some(pb::query::Question::Desk(pb::DeskQuery {})) = query.question {
        return Ok((Question::Desk, timeout));
    }
    let account = match &query.question {
        // Asked for nobody: there is no account yet.
        Some(
            pb::query::Question::CheckIdentifier(_)
            | pb::query::Question::ReleaseIdentifier(_)
            | pb::query::Question::Quarantine(_),
        ) => String::new(),
        _ => id(
            &query.account,
            ACCOUNTS,
            "account must be accounts/{account}",
        )?
        .to_owned(),
    };
    let question = match query.question {
        Some(pb::query::Question::Eligibility(asked)) => Question::Eligibility(CheckEligibility {
            account,
            recent_change: recent_change(asked.recent_change)?,
        }),
        Some(pb::query::Question::Inventory(pb::InventoryQuery {})) => {
            Question::Inventory { account }
        }
        Some(pb::query::Question::SendCode(asked)) => Question::SendCode(SendCode {
            account,
            deletion: subject(asked.deletion)?,
            kind: code_kind(asked.channel)?,
            request_id: given(asked.request_id, "request_id is empty")?,
        }),
        Some(pb::query::Question::CheckProof(asked)) => Question::CheckProof(CheckProof {
            account,
            deletion: subject(asked.deletion)?,
            kind: proof_kind(asked.kind)?,
            proof: given(asked.proof, "proof is empty")?,
            request_id: given(asked.request_id, "request_id is empty")?,
        }),
        Some(pb::query::Question::CheckCase(asked)) => {
            Question::CheckCase(case::check(asked, account)?)
        }
        Some(pb::query::Question::Notify(asked)) => {
            Question::Notify(notice::notice(asked, account)?)
        }
        Some(pb::query::Question::Letters(_)) => Question::Letters,
        Some(pb::query::Question::Desk(_)) => Question::Desk,
        Some(pb::query::Question::DescribeAccount(pb::DescribeAccountQuery {})) => {
            Question::DescribeAccount { account }
        }
        Some(pb::query::Question::SetStanding(asked)) => {
            Question::SetStanding(standing::set(&asked, account)?)
        }
        Some(pb::query::Question::ClearRealName(asked)) => {
            Question::ClearRealName(standing::clear(asked, account)?)
        }
        Some(pb::query::Question::TransferBelongings(asked)) => {
            Question::TransferBelongings(transfer::transfer(asked, account)?)
        }
        Some(pb::query::Question::StopPersonalization(pb::StopPersonalizationQuery {})) => {
            Question::StopPersonalization(StopPersonalization { account })
        }
        Some(pb::query::Question::Possession(asked)) => Question::Possession(Possession {
            account,
            device: device::id_of(&asked.device)?,
            deletion: deletion(asked.deletion)?,
            step: match asked.step {
                Some(pb::possession_query::Step::Challenge(pb::PossessionChallenge {})) => {
                    PossessionStep::Challenge
                }
                Some(pb::possession_query::Step::Statement(signed)) if !signed.is_empty() => {
                    PossessionStep::Check(signed.into())
                }
                Some(pb::possession_query::Step::Statement(_)) | None => {
                    return Err(Malformed("a challenge or a statement must be given"));
                }
            },
        }),
        Some(pb::query::Question::CheckIdentifier(asked)) => Question::CheckIdentifier(
            retention::identifier_kind(asked.kind)?,
            retention::identifier(asked.value)?,
        ),
        Some(pb::query::Question::ReleaseIdentifier(asked)) => {
            Question::ReleaseIdentifier(retention::release(asked)?)
        }
        Some(pb::query::Question::Quarantine(asked)) => retention::quarantine(asked),
        Some(pb::query::Question::DescribeDevice(asked)) => Question::DescribeDevice {
            account,
            device: device::id_of(&asked.device)?,
        },
        Some(pb::query::Question::UnbindDevice(asked)) => {
            Question::UnbindDevice(device::unbind(asked, account)?)
        }
        Some(pb::query::Question::DeviceUnbinding(asked)) => Question::DeviceUnbinding {
            account,
            name: given(asked.name, "name is empty")?,
        },
        Some(pb::query::Question::ExportPart(asked)) => {
            export::name(asked.export)?;
            Question::ExportPart {
                account,
                after: asked.after,
            }
        }
        Some(pb::query::Question::StartExport(asked)) => {
            Question::StartExport(export::start(asked, account)?)
        }
        Some(pb::query::Question::GetExport(asked)) => Question::GetExport {
            account,
            export: export::name(asked.export)?,
        },
        Some(pb::query::Question::CancelExport(asked)) => Question::CancelExport {
            account,
            export: export::name(asked.export)?,
        },
        Some(pb::query::Question::ReadExport(asked)) => Question::ReadExport {
            account,
            export: export::name(asked.export)?,
            offset: u64::try_from(asked.offset).map_err(|_| Malformed("offset is below zero"))?,
        },
        None => {
            return Err(Malformed(
                "question is missing or unknown to this version of the kit",
            ));
        }
    };
    Ok((question, timeout))
}

fn deletion(name: String) -> Result<String, Malformed> {
    id(&name, DELETIONS, "deletion must be deletions/{deletion}")?;
    Ok(name)
}

/// What a code or proof is bound to.
fn subject(name: String) -> Result<String, Malformed> {
    if id(&name, standing::REQUESTS, "").is_err() {
        id(
            &name,
            DELETIONS,
            "deletion must be deletions/{deletion} or requests/{request_id}",
        )?;
    }
    Ok(name)
}

/// How long ago what counts as recent was changed at most. Zero would ask for nothing where a number was taken over a minute ago.
fn recent_change(length: Option<prost_types::Duration>) -> Result<Duration, Malformed> {
    match length.map(Duration::try_from) {
        Some(Ok(length)) if !length.is_zero() && length <= RECENT_CHANGE_MAX => Ok(length),
        Some(Ok(_) | Err(_)) | None => Err(Malformed(
            "recent_change must be above zero and at most 30 days",
        )),
    }
}

fn given(text: String, otherwise: &'static str) -> Result<String, Malformed> {
    if text.is_empty() {
        Err(Malformed(otherwise))
    } else {
        Ok(text)
    }
}

fn code_kind(number: i32) -> Result<CodeKind, Malformed> {
    match pb::CodeChannel::try_from(number) {
        Ok(pb::CodeChannel::Sms) => Ok(CodeKind::Sms),
        Ok(pb::CodeChannel::Email) => Ok(CodeKind::Email),
        Ok(pb::CodeChannel::EmailLink) => Ok(CodeKind::EmailLink),
        Ok(pb::CodeChannel::Unspecified) | Err(_) => Err(Malformed("channel is not known")),
    }
}

fn proof_kind(number: i32) -> Result<ProofKind, Malformed> {
    match pb::ProofKind::try_from(number) {
        Ok(pb::ProofKind::SmsCode) => Ok(ProofKind::SmsCode),
        Ok(pb::ProofKind::EmailCode) => Ok(ProofKind::EmailCode),
        Ok(pb::ProofKind::EmailLink) => Ok(ProofKind::EmailLink),
        Ok(pb::ProofKind::Password) => Ok(ProofKind::Password),
        Ok(pb::ProofKind::RevokeLink) => Ok(ProofKind::RevokeLink),
        Ok(pb::ProofKind::Unspecified) | Err(_) => Err(Malformed("kind is not known")),
    }
}

pub(crate) fn unanswerable(word: &str) -> pb::reply::Answer {
    pb::reply::Answer::Unanswerable(word.to_owned())
}

pub(crate) fn eligibility(blockers: Vec<Blocker>) -> pb::reply::Answer {
    let blocker = |blocker: Blocker| pb::EligibilityBlocker {
        code: blocker.code,
        message: blocker.message,
        remedy: blocker.remedy,
        count: blocker.count,
        until_time: blocker.until.map(Into::into),
    };
    pb::reply::Answer::Eligibility(pb::EligibilityReply {
        blockers: blockers.into_iter().map(blocker).collect(),
    })
}

pub(crate) fn inventory(inventory: Inventory) -> pb::reply::Answer {
    let categories = inventory
        .categories
        .into_iter()
        .map(|held| pb::HeldCategory {
            category: held.category,
            count: held.count,
            size_bytes: held.size_bytes,
        })
        .collect();
    let devices = inventory
        .devices
        .into_iter()
        .map(|bound| pb::BoundDevice {
            device: format!("{DEVICES}{}", bound.device),
            model: bound.model,
            serial_number: bound.serial_number,
            binding_epoch: bound.binding_epoch,
            warranty_end_time: bound.warranty_end.map(Into::into),
        })
        .collect();
    pb::reply::Answer::Inventory(pb::InventoryReply {
        categories,
        devices,
    })
}

pub(crate) fn code_sent(sent: CodeSent) -> pb::reply::Answer {
    use pb::SendCodeResult as Result;
    let (result, expires, next_send) = match sent {
        CodeSent::Sent { expires, next_send } => (Result::Sent, Some(expires), Some(next_send)),
        CodeSent::TooSoon { next_send } => (Result::TooSoon, None, Some(next_send)),
        CodeSent::NoAddress => (Result::NoAddress, None, None),
        CodeSent::NoLinks => (Result::NoLinks, None, None),
    };
    pb::reply::Answer::SendCode(pb::SendCodeReply {
        result: result.into(),
        expire_time: expires.map(Into::into),
        next_send_time: next_send.map(Into::into),
    })
}

pub(crate) fn proof_checked(checked: ProofChecked) -> pb::reply::Answer {
    use pb::ProofResult as Result;
    let (result, tries_left, next_try) = match checked {
        ProofChecked::Right => (Result::Right, 0, None),
        ProofChecked::Wrong { tries_left } => (Result::Wrong, tries_left, None),
        ProofChecked::Expired => (Result::Expired, 0, None),
        ProofChecked::Locked { next_try } => (Result::Locked, 0, Some(next_try)),
    };
    pb::reply::Answer::CheckProof(pb::CheckProofReply {
        result: result.into(),
        tries_left,
        next_try_time: next_try.map(Into::into),
    })
}

pub(crate) fn possession(answer: Result<Vec<u8>, NotInHand>) -> pb::reply::Answer {
    let (refused, challenge) = match answer {
        Ok(challenge) => (String::new(), challenge),
        Err(refused) => (refused.word().to_owned(), Vec::new()),
    };
    pb::reply::Answer::Possession(pb::PossessionReply {
        refused,
        challenge: challenge.into(),
    })
}

#[cfg(test)]
mod tests {
    use prost_types::Timestamp;

    use super::*;
    use crate::participant::{DeviceDuty, DeviceTask};

    fn command() -> pb::Command {
        pb::Command {
            device_horizon: None,
            retention: Vec::new(),
            ended_by_time: None,
            name: "deletions/d1/commands/1-erase-notes".to_owned(),
            verb: pb::Verb::Erase.into(),
            account: "accounts/a1".to_owned(),
            deadline: None,
            traceparent: String::new(),
            devices: vec![pb::DeviceTask {
                device: "devices/w1".to_owned(),
                binding_epoch: 2,
                duty: pb::DeviceDuty::Manual.into(),
                orders: Vec::new(),
                lost: false,
            }],
        }
    }

    /// A rule of an erasure that is repeated.
    fn again() -> pb::RetentionRule {
        pb::RetentionRule {
            class: "quarantined_phone".to_owned(),
            legal_basis: "a law".to_owned(),
            from: pb::StartingPoint::Erasure.into(),
            period: Some(pb::retention_rule::Period::Days(30)),
            time_zone: "UTC".to_owned(),
            until_time: Some(Timestamp {
                seconds: 1_900_000_000,
                nanos: 0,
            }),
        }
    }

    #[test]
    fn a_repeated_erasure_says_when_what_it_holds_back_ends() {
        let mut command = pb::Command {
            retention: vec![again()],
            ..command()
        };
        let (_, order) = order(&mut command, "notes").unwrap();
        let until = std::time::UNIX_EPOCH + Duration::from_secs(1_900_000_000);
        assert_eq!(order.retention[0].until, Some(until));
    }

    #[test]
    fn a_sound_command_is_an_order() {
        let (verb, order) = order(&mut command(), "notes").unwrap();
        assert_eq!((verb, order.account.as_str()), (Verb::Erase, "a1"));
        assert_eq!(order.horizon, None);
        assert_eq!(
            order.devices,
            [DeviceTask {
                device: "w1".to_owned(),
                binding_epoch: 2,
                duty: DeviceDuty::Manual,
                lost: false,
            }]
        );
        assert!(
            !format!("{order:?}").contains("a1"),
            "an account is never printed"
        );
    }

    type Spoil = fn(&mut pb::Command);

    #[test]
    fn what_is_empty_zero_unknown_or_somebody_elses_is_never_an_order() {
        let spoilt: [(&str, Spoil); 20] = [
            ("a horizon before now", |command| {
                command.device_horizon = Some(prost_types::Duration {
                    seconds: -1,
                    nanos: 0,
                });
            }),
            ("an end for what isn't counted from the erasure", |c| {
                c.retention = vec![pb::RetentionRule {
                    from: pb::StartingPoint::Completion.into(),
                    ..again()
                }];
            }),
            ("verb unspecified", |c| c.verb = 0),
            ("verb unknown", |c| c.verb = 99),
            ("verb of another name", |c| c.verb = pb::Verb::Seal.into()),
            ("account empty", |c| c.account.clear()),
            ("account without id", |c| c.account = "accounts/".to_owned()),
            ("account without prefix", |c| c.account = "a1".to_owned()),
            ("account of another kind", |c| {
                c.account = "devices/a1".to_owned()
            }),
            ("account with a space", |c| {
                c.account = "accounts/ ".to_owned()
            }),
            ("account with a path", |c| {
                c.account = "accounts/a/b".to_owned()
            }),
            ("name empty", |c| c.name.clear()),
            ("name of another participant", |c| {
                c.name = c.name.replace("notes", "cloud")
            }),
            ("name without deletion", |c| {
                c.name = "deletions//commands/1-erase-notes".to_owned()
            }),
            ("round zero", |c| c.name = c.name.replace("/1-", "/0-")),
            ("round signed", |c| c.name = c.name.replace("/1-", "/+1-")),
            ("name without end", |c| c.name = "x".repeat(1000)),
            ("epoch zero", |c| c.devices[0].binding_epoch = 0),
            ("device empty", |c| c.devices[0].device.clear()),
            ("device twice", |c| c.devices.push(c.devices[0].clone())),
        ];
        for (what, spoil) in spoilt {
            let mut command = command();
            spoil(&mut command);
            assert!(order(&mut command, "notes").is_err(), "{what}");
        }
    }

    #[test]
    fn a_deferral_keeps_to_the_bounds_of_the_wire() {
        for (asked, sent) in [
            (Duration::ZERO, RETRY_AFTER_MIN),
            (Duration::MAX, RETRY_AFTER_MAX),
        ] {
            let pb = deferred(Deferred {
                retry_after: asked,
                reason: "R".to_owned(),
                done: 0,
                total: 0,
            });
            assert_eq!(pb.retry_after, prost_types::Duration::try_from(sent).ok());
        }
    }

    #[test]
    fn a_detail_is_cut_between_characters() {
        match refused("R", &"删".repeat(1000)) {
            pb::report::Answer::Refused(refused) => {
                assert_eq!(refused.detail.chars().count(), DETAIL_CHARS_MAX)
            }
            other => panic!("{other:?}"),
        }
    }

    fn eligibility_query(recent: Option<(i64, i32)>) -> pb::query::Question {
        let length = |(seconds, nanos)| prost_types::Duration { seconds, nanos };
        pb::query::Question::Eligibility(pb::EligibilityQuery {
            recent_change: recent.map(length),
        })
    }

    #[test]
    fn a_question_without_a_question_a_deadline_or_an_account_is_none() {
        let sound = pb::Query {
            id: 1,
            timeout: Some(prost_types::Duration {
                seconds: 1,
                nanos: 0,
            }),
            account: "accounts/a1".to_owned(),
            traceparent: String::new(),
            question: Some(eligibility_query(Some((1, 0)))),
        };
        assert!(question(sound.clone()).is_ok());
        assert!(
            question(pb::Query {
                question: None,
                ..sound.clone()
            })
            .is_err()
        );
        assert!(
            question(pb::Query {
                timeout: None,
                ..sound.clone()
            })
            .is_err()
        );
        assert!(
            question(pb::Query {
                account: String::new(),
                ..sound.clone()
            })
            .is_err()
        );
        let longest = i64::try_from(RECENT_CHANGE_MAX.as_secs()).unwrap();
        for (recent, is_sound) in [
            (Some((longest, 0)), true),
            (Some((0, 1)), true),
            (Some((longest, 1)), false),
            (Some((0, 0)), false),
            (Some((-1, 0)), false),
            (Some((i64::MAX, 0)), false),
            (None, false),
        ] {
            let asked = pb::Query {
                question: Some(eligibility_query(recent)),
                ..sound.clone()
            };
            assert_eq!(question(asked).is_ok(), is_sound, "{recent:?}");
        }
        let proof = pb::CheckProofQuery {
            deletion: "deletions/d1".to_owned(),
            kind: pb::ProofKind::Password.into(),
            proof: String::new(),
            request_id: "r".to_owned(),
        };
        assert!(
            question(pb::Query {
                question: Some(pb::query::Question::CheckProof(proof)),
                ..sound
            })
            .is_err()
        );
    }
}
