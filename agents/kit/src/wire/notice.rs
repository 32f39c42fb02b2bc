//! Notices on the wire.

use std::time::SystemTime;

use farewell_proto::participant::v1 as pb;
use jiff::tz::TimeZone;

use super::{Malformed, deletion, given, recent_change};
use crate::participant::{Letters, Notice, NoticeKind, NoticeReason};

/// Longest name of a notice.
const NAME_BYTES_MAX: usize = 64;
/// Reasons of one notice.
const REASONS_MAX: usize = 32;
/// Bytes of a code, and of a sentence.
const CODE_BYTES_MAX: usize = 128;
const SENTENCE_BYTES_MAX: usize = 2_048;

/// A notice that can be told.
pub(crate) fn notice(asked: pb::NotifyQuery, account: String) -> Result<Notice, Malformed> {
    let kind = kind(asked.kind())?;
    let name = given(asked.notice, "notice is empty")?;
    let of_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.len() > NAME_BYTES_MAX || !name.bytes().all(of_name) {
        return Err(Malformed("notice must be 1 to 64 of a-z, 0-9 and -"));
    }
    if asked.reasons.len() > REASONS_MAX {
        return Err(Malformed("reasons are more than 32"));
    }
    let reasons = asked.reasons.into_iter().map(reason);
    Ok(Notice {
        account,
        deletion: deletion(asked.deletion)?,
        name,
        kind,
        revocable_until: moment(asked.cooling_off_end_time)?,
        deadline: moment(asked.deadline)?,
        revocable: asked.revocable,
        reasons: reasons.collect::<Result<_, _>>()?,
        recent_change: recent_change(asked.recent_change)?,
        time_zone: TimeZone::get(&asked.time_zone)
            .map_err(|_| Malformed("time_zone is not known"))?,
    })
}

pub(crate) fn notified(_: ()) -> pb::reply::Answer {
    pb::reply::Answer::Notify(pb::NotifyReply {})
}

pub(crate) fn letters(letters: Letters) -> pb::reply::Answer {
    pb::reply::Answer::Letters(pb::LettersReply {
        waiting: letters.waiting,
        failing: letters.failing,
        given_up: letters.given_up,
        last_failure_time: letters.last_failure.map(Into::into),
    })
}

fn reason(reason: pb::NoticeReason) -> Result<NoticeReason, Malformed> {
    let fits = |sentence: &String| sentence.len() <= SENTENCE_BYTES_MAX;
    if reason.code.is_empty()
        || reason.code.len() > CODE_BYTES_MAX
        || !reason.sentences.values().all(fits)
    {
        return Err(Malformed("a reason is empty or too long"));
    }
    Ok(NoticeReason {
        code: reason.code,
        sentences: reason.sentences.into_iter().collect(),
    })
}

fn moment(time: Option<prost_types::Timestamp>) -> Result<Option<SystemTime>, Malformed> {
    let time = time.map(SystemTime::try_from).transpose();
    time.map_err(|_| Malformed("a time can't be read"))
}

fn kind(kind: pb::NoticeKind) -> Result<NoticeKind, Malformed> {
    Ok(match kind {
        pb::NoticeKind::Unspecified => return Err(Malformed("kind is not known")),
        pb::NoticeKind::Waiting => NoticeKind::Waiting,
        pb::NoticeKind::Sealed => NoticeKind::Sealed,
        pb::NoticeKind::Reminder => NoticeKind::Reminder,
        pb::NoticeKind::Blocked => NoticeKind::Blocked,
        pb::NoticeKind::Erasing => NoticeKind::Erasing,
        pb::NoticeKind::Extended => NoticeKind::Extended,
        pb::NoticeKind::Overdue => NoticeKind::Overdue,
        pb::NoticeKind::Revoked => NoticeKind::Revoked,
        pb::NoticeKind::Denied => NoticeKind::Denied,
        pb::NoticeKind::Expired => NoticeKind::Expired,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::participant::RECENT_CHANGE_MAX;

    fn asked() -> pb::NotifyQuery {
        pb::NotifyQuery {
            deletion: "deletions/d1".to_owned(),
            notice: "reminder-0".to_owned(),
            kind: pb::NoticeKind::Reminder.into(),
            reasons: vec![pb::NoticeReason {
                code: "UNFINISHED_ORDER".to_owned(),
                ..Default::default()
            }],
            recent_change: prost_types::Duration::try_from(RECENT_CHANGE_MAX).ok(),
            time_zone: "Asia/Shanghai".to_owned(),
            ..Default::default()
        }
    }

    #[test]
    fn what_is_empty_unknown_or_endless_is_no_notice() {
        assert!(notice(asked(), "a1".to_owned()).is_ok());
        type Spoil = fn(&mut pb::NotifyQuery);
        let spoilt: [Spoil; 12] = [
            |it| it.recent_change = None,
            |it| it.time_zone.clear(),
            |it| it.time_zone = "Asia/Nowhere".to_owned(),
            |it| it.kind = 0,
            |it| it.kind = 99,
            |it| it.notice.clear(),
            |it| it.notice = "Sealed".to_owned(),
            |it| it.notice = "a".repeat(65),
            |it| it.deletion = "d1".to_owned(),
            |it| it.reasons[0].code.clear(),
            |it| it.reasons = vec![it.reasons[0].clone(); 33],
            |it| {
                it.reasons[0]
                    .sentences
                    .insert("en".to_owned(), "a".repeat(2_049));
            },
        ];
        for (place, spoil) in spoilt.into_iter().enumerate() {
            let mut spoilt = asked();
            spoil(&mut spoilt);
            assert!(notice(spoilt, "a1".to_owned()).is_err(), "{place}");
        }
    }
}
