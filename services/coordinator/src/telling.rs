//! Has the person told what core says is to be told, and raises alarms for operators.
//!
//! Identity has each notice durably before the ledger says that it was told: a crash in between tells it once more under the
//! same name, which identity knows. Identity that is away is asked again with the next look at the deletion, every half minute;
//! nothing waits for that.

use std::collections::HashMap;
use std::time::Duration;

use farewell_core::notice::{self, Notice, Notices};
use farewell_core::{Deletion, Event, Plan, State, Time};
use farewell_ledger::Turned;
use farewell_proto::participant::v1 as wire;
use farewell_proto::participant::v1::query::Question;
use farewell_proto::participant::v1::reply::Answer;

use crate::center::Center;
use crate::query::recent_change;
use crate::sentences::{self, Said};
use crate::service::proof;
use crate::steward::{self, NotTurned};
use crate::wire::timestamp;
use farewell_interpreter::Language;

/// The participant that knows people.
pub const IDENTITY: &str = "identity";
/// A deletion that has ended wants nobody's attention for longer, whether or not its last notice reached identity.
const LAST_WORD_LIMIT: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Identity erases nothing before it has the last word; who answers everything but that holds nothing up for longer.
const ERASING_LIMIT: Duration = Duration::from_secs(24 * 60 * 60);
/// What a participant says to a question that it has no answer to in any version of its own.
const UNSUPPORTED: &str = "UNSUPPORTED";
/// Reasons in one notice.
const REASONS_MAX: usize = 32;

/// Tells what is due of the deletion as it was read.
pub async fn tell(center: &Center, deletion: &Deletion, plan: &Plan) -> Result<(), NotTurned> {
    let now = center.clock.now();
    let id = deletion.id;
    if notice::overdue_unexplained(deletion, now) {
        let reasons = notice::owed_reasons(deletion, plan);
        tracing::warn!(target: "farewell::alarm", deletion = %id, deadline = %deletion.deadline, ?reasons, "OVERDUE");
        // The person hears of it with what is on record: the turn brings the deletion here again.
        let event = Event::Overdue(reasons);
        return steward::turn_from(center, deletion, plan, &event, true)
            .await
            .map(drop);
    }
    let due = notice::due(deletion, plan, now);
    let told = carry(center, (deletion, plan), due, now).await;
    if told.is_empty() {
        return Ok(());
    }
    match steward::turn_from(center, deletion, plan, &Event::Told(told), true).await? {
        Turned::Done(_) | Turned::Lost => Ok(()),
    }
}

/// Those that need not be told again.
async fn carry(
    center: &Center,
    (deletion, plan): (&Deletion, &Plan),
    due: Notices,
    now: Time,
) -> Notices {
    let mut told = Vec::new();
    // Of several reminders that one time has come for, one is enough.
    let latest = due.iter().filter(|it| matches!(it, Notice::Reminder(_)));
    let latest = latest.last();
    for notice in due.iter() {
        let skipped = matches!(notice, Notice::Reminder(_)) && latest != Some(notice);
        if !notice.for_person() {
            tracing::warn!(target: "farewell::alarm", deletion = %deletion.id, deadline = %deletion.deadline, "{}", notice.word());
        } else if !skipped && !ask(center, (deletion, plan), notice).await {
            if !given_up(deletion, notice, now) {
                continue;
            }
            tracing::warn!(target: "farewell::alarm", deletion = %deletion.id, notice = notice::name(deletion, notice), "NOTICE_GIVEN_UP");
        }
        told.push(notice);
    }
    told.into_iter().collect()
}

fn given_up(deletion: &Deletion, notice: Notice, now: Time) -> bool {
    match deletion.state {
        State::Erasing(begun) if notice == Notice::Erasing => now.since(begun.at) > ERASING_LIMIT,
        State::Revoked { at, .. } | State::Denied { at, .. } | State::Expired { at } => {
            now.since(at) > LAST_WORD_LIMIT
        }
        _ => false,
    }
}

/// Whether identity has it.
async fn ask(center: &Center, (deletion, plan): (&Deletion, &Plan), notice: Notice) -> bool {
    let Ok(identity) = proof::identity() else {
        return false;
    };
    let cooling_off_end = match deletion.state {
        State::CoolingOff { ends_at } => Some(ends_at),
        _ => None,
    };
    let revocable = matches!(
        deletion.state,
        State::AwaitingVerification { .. } | State::CoolingOff { .. }
    );
    let question = Question::Notify(wire::NotifyQuery {
        deletion: format!("deletions/{}", deletion.id),
        notice: notice::name(deletion, notice),
        kind: kind(notice).into(),
        cooling_off_end_time: cooling_off_end.map(timestamp),
        deadline: Some(timestamp(deletion.deadline)),
        revocable,
        reasons: reasons(deletion, notice),
        recent_change: recent_change(plan.policy()),
        time_zone: plan.policy().time_zone.name().to_owned(),
    });
    let patience = center.pace.query;
    let asked = center
        .queries
        .hear(center, &identity, &deletion.account, question, patience);
    match asked.await {
        Some(Answer::Notify(wire::NotifyReply {})) => true,
        // It writes no letters, and never will.
        Some(Answer::Unanswerable(word)) => word == UNSUPPORTED,
        _ => false,
    }
}

fn reasons(deletion: &Deletion, notice: Notice) -> Vec<wire::NoticeReason> {
    let mut reasons: Vec<_> = match notice {
        Notice::Waiting | Notice::Blocked if !deletion.blockers.is_empty() => {
            let told = deletion.blockers.iter().filter(|it| !it.is_silence());
            let reason = |blocker: &farewell_core::blocker::Blocker| {
                in_words(&blocker.code, |language| {
                    sentences::of_blocker(blocker, language)
                })
            };
            told.map(reason).collect()
        }
        Notice::Extended => {
            let why = deletion.rare.extended.iter();
            why.map(|extended| bare(extended.why.word())).collect()
        }
        Notice::Denied => {
            let why = deletion.rare.denied.iter();
            why.map(|denied| bare(denied.why.word())).collect()
        }
        Notice::Overdue => {
            let reasons = deletion.rare.overdue.iter().flat_map(|it| &it.reasons);
            let mut told: Vec<wire::NoticeReason> = Vec::new();
            for reason in reasons.map(|reason| of_overdue(reason)) {
                // Two services that are late are one sentence.
                if !told.iter().any(|it| it.sentences == reason.sentences) {
                    told.push(reason);
                }
            }
            told
        }
        _ => Vec::new(),
    };
    reasons.truncate(REASONS_MAX);
    reasons
}

/// `LEG_OWED:cloud`, or a word alone.
fn of_overdue(reason: &str) -> wire::NoticeReason {
    let (word, participant) = reason.split_once(':').unwrap_or((reason, ""));
    in_words(word, |language| {
        sentences::of_late(word, participant, language)
    })
}

fn bare(code: &str) -> wire::NoticeReason {
    wire::NoticeReason {
        code: code.to_owned(),
        sentences: HashMap::new(),
    }
}

fn in_words(code: &str, said: impl Fn(Language) -> Said) -> wire::NoticeReason {
    let sentence = |language: Language| {
        let Said { message, remedy } = said(language);
        // Chinese has no spaces between sentences.
        let between = match language {
            Language::English => " ",
            Language::Chinese => "",
        };
        (
            language.tag().to_owned(),
            format!("{message}{between}{remedy}"),
        )
    };
    wire::NoticeReason {
        sentences: Language::ALL.into_iter().map(sentence).collect(),
        ..bare(code)
    }
}

const fn kind(notice: Notice) -> wire::NoticeKind {
    match notice {
        Notice::Waiting => wire::NoticeKind::Waiting,
        Notice::Sealed => wire::NoticeKind::Sealed,
        Notice::Reminder(_) => wire::NoticeKind::Reminder,
        Notice::Blocked => wire::NoticeKind::Blocked,
        Notice::Erasing => wire::NoticeKind::Erasing,
        Notice::Extended => wire::NoticeKind::Extended,
        Notice::Overdue => wire::NoticeKind::Overdue,
        Notice::Revoked => wire::NoticeKind::Revoked,
        Notice::Denied => wire::NoticeKind::Denied,
        Notice::Expired => wire::NoticeKind::Expired,
        // Nobody asks identity to tell that.
        Notice::OverdueSoon | Notice::ExpiryOverdue => wire::NoticeKind::Unspecified,
    }
}
