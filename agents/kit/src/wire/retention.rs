//! What law keeps, and identifiers that are held back, between the wire and the trait.

use std::mem;
use std::time::SystemTime;

use farewell_proto::identifier::v1 as identifier;
use farewell_proto::participant::v1 as pb;
use jiff::tz::TimeZone;

use super::{Malformed, Question, Verb};
use crate::participant::{
    BadIdentifier, IdentifierKind, IdentifierStanding, KeyVersion, Quarantine, Release,
    ReleaseIdentifier, Released, RetentionRule, StartingPoint, Term,
};

/// Rules in one command.
const RULES_MAX: usize = 64;
/// Longest identifier: a mail address may have 254 bytes (RFC 5321, 4.5.3.1.3 less its brackets).
const IDENTIFIER_BYTES_MAX: usize = 254;

/// A rule that makes no sense stops the whole command: what it was to keep would be erased.
pub(super) fn rules(told: &mut Vec<pb::RetentionRule>) -> Result<Vec<RetentionRule>, Malformed> {
    if told.len() > RULES_MAX {
        return Err(Malformed("retention has more than 64 rules"));
    }
    mem::take(told).into_iter().map(rule).collect()
}

fn rule(told: pb::RetentionRule) -> Result<RetentionRule, Malformed> {
    let from = match pb::StartingPoint::try_from(told.from) {
        Ok(pb::StartingPoint::Completion) => StartingPoint::Completion,
        Ok(pb::StartingPoint::Entry) => StartingPoint::Entry,
        Ok(pb::StartingPoint::YearEnd) => StartingPoint::YearEnd,
        Ok(pb::StartingPoint::Erasure) => StartingPoint::Erasure,
        Ok(pb::StartingPoint::Unspecified) | Err(_) => {
            return Err(Malformed("retention.from is not known"));
        }
    };
    let term = match told.period {
        Some(pb::retention_rule::Period::Days(days)) if days > 0 => Term::Days(days),
        Some(pb::retention_rule::Period::Months(months)) if months > 0 => Term::Months(months),
        Some(_) | None => return Err(Malformed("retention.period is missing or zero")),
    };
    if told.class.is_empty() || told.legal_basis.is_empty() {
        return Err(Malformed("retention needs a class and a legal basis"));
    }
    let until = told.until_time.map(SystemTime::try_from).transpose();
    let until = until.map_err(|_| Malformed("retention.until_time is not a time"))?;
    if until.is_some() && from != StartingPoint::Erasure {
        return Err(Malformed(
            "retention.until_time is for what is counted from the erasure",
        ));
    }
    let time_zone = TimeZone::get(&told.time_zone);
    Ok(RetentionRule {
        until,
        class: told.class,
        legal_basis: told.legal_basis,
        from,
        term,
        time_zone: time_zone.map_err(|_| Malformed("retention.time_zone is not known"))?,
    })
}

/// Without a time nothing has ended.
pub(super) fn ended_by(
    verb: Verb,
    told: Option<prost_types::Timestamp>,
) -> Result<Option<SystemTime>, Malformed> {
    let time = told.map(SystemTime::try_from).transpose();
    let time = time.map_err(|_| Malformed("ended_by_time is not a time"))?;
    if verb == Verb::Expire && time.is_none() {
        return Err(Malformed("ended_by_time is missing"));
    }
    Ok(time)
}

pub(super) fn identifier_kind(number: i32) -> Result<IdentifierKind, Malformed> {
    match identifier::IdentifierKind::try_from(number) {
        Ok(identifier::IdentifierKind::UserName) => Ok(IdentifierKind::UserName),
        Ok(identifier::IdentifierKind::Phone) => Ok(IdentifierKind::Phone),
        Ok(identifier::IdentifierKind::Email) => Ok(IdentifierKind::Email),
        Ok(identifier::IdentifierKind::Unspecified) | Err(_) => Err(Malformed("kind is not known")),
    }
}

pub(super) fn identifier(value: String) -> Result<String, Malformed> {
    if value.is_empty() || value.len() > IDENTIFIER_BYTES_MAX {
        Err(Malformed("value must have 1 to 254 bytes"))
    } else {
        Ok(value)
    }
}

/// Releases in one page.
const PAGE_MAX: u32 = 500;

pub(super) fn release(asked: pb::ReleaseIdentifierQuery) -> Result<ReleaseIdentifier, Malformed> {
    Ok(ReleaseIdentifier {
        kind: identifier_kind(asked.kind)?,
        value: identifier(asked.value)?,
        caller: asked.caller,
        request_id: super::given(asked.request_id, "request_id is empty")?,
    })
}

pub(super) fn quarantine(asked: pb::QuarantineQuery) -> Question {
    Question::Quarantine {
        page_size: asked.page_size.clamp(1, PAGE_MAX),
        page: asked.page_token,
    }
}

pub(crate) fn standing(standing: IdentifierStanding) -> pb::reply::Answer {
    use identifier::IdentifierStanding as Word;

    let (word, until, refused) = match standing {
        IdentifierStanding::Free => (Word::Free, None, ""),
        IdentifierStanding::InUse => (Word::InUse, None, ""),
        IdentifierStanding::Quarantined { until } => (Word::Quarantined, Some(until), ""),
        IdentifierStanding::Malformed(BadIdentifier::NotE164) => {
            (Word::Unspecified, None, "NOT_E164")
        }
        IdentifierStanding::Malformed(BadIdentifier::Other) => {
            (Word::Unspecified, None, "MALFORMED")
        }
        IdentifierStanding::RequestIdReused => (Word::Unspecified, None, "REQUEST_ID_REUSED"),
    };
    pb::reply::Answer::Identifier(pb::IdentifierReply {
        standing: word.into(),
        until_time: until.map(Into::into),
        refused: refused.to_owned(),
        deletions: Vec::new(),
    })
}

pub(crate) fn released(released: Released) -> pb::reply::Answer {
    let ids = released.deletions.iter();
    let deletions = ids.map(|id| format!("deletions/{id}")).collect();
    let mut answer = standing(released.standing);
    if let pb::reply::Answer::Identifier(reply) = &mut answer {
        reply.deletions = deletions;
    }
    answer
}

pub(crate) fn held(held: Quarantine) -> pb::reply::Answer {
    let key = |key: KeyVersion| pb::QuarantineKey {
        version: key.version,
        newest: key.newest,
        identifiers: key.identifiers,
        links: key.links,
    };
    let kind = |kind| match kind {
        IdentifierKind::UserName => identifier::IdentifierKind::UserName,
        IdentifierKind::Phone => identifier::IdentifierKind::Phone,
        IdentifierKind::Email => identifier::IdentifierKind::Email,
    };
    let release = |release: Release| pb::QuarantineRelease {
        request_id: release.request_id,
        kind: kind(release.kind).into(),
        hash: release.hash,
        version: release.version,
        caller: release.caller,
        time: Some(release.at.into()),
        held: release.held,
    };
    pb::reply::Answer::Quarantine(pb::QuarantineReply {
        keys: held.keys.into_iter().map(key).collect(),
        releases: held.releases.into_iter().map(release).collect(),
        next_page_token: held.next_page,
    })
}
