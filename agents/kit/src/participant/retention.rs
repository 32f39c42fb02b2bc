//! What law keeps: how long a record of a class is kept, counted from its own moment.

use std::fmt;
use std::time::SystemTime;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

use super::Fault;

/// A class of records that is kept under law.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetentionRule {
    /// For instance `transactions`.
    pub class: String,
    /// The law, to be said in [`super::Retained`].
    pub legal_basis: String,
    /// From which moment of a record its period runs.
    pub from: StartingPoint,
    /// How long.
    pub term: Term,
    /// Where a day begins and ends.
    pub time_zone: TimeZone,
    /// For what is counted from an erasure, where that or its expiry is repeated after a restore: when it ends, as it did the first time.
    pub until: Option<SystemTime>,
}

/// A moment of a record. Whoever can't tell it keeps nothing by it: [`Fault`] or a refusal, never a guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartingPoint {
    Completion,
    Entry,
    YearEnd,
    Erasure,
}

/// What a participant can count a record's period from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Starting {
    /// The completion, by itself or to the end of its year.
    Completed(SystemTime),
    /// The entry in a log.
    Entered(SystemTime),
    /// The erasure of the account.
    Erased(SystemTime),
}

/// How long: to the end of the last day, and without the day of the starting point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Term {
    Days(u32),
    Months(u32),
}

impl RetentionRule {
    /// The first instant at which a record is kept no longer.
    ///
    /// Errors: the rule counts from a moment that the record doesn't have, or beyond what a calendar holds.
    pub fn until(&self, starting: Starting) -> Result<SystemTime, Fault> {
        if let (Some(until), Starting::Erased(_)) = (self.until, starting) {
            return Ok(until);
        }
        let from = match (self.from, starting) {
            (StartingPoint::Completion, Starting::Completed(at))
            | (StartingPoint::Entry, Starting::Entered(at))
            | (StartingPoint::Erasure, Starting::Erased(at)) => self.date(at)?,
            (StartingPoint::YearEnd, Starting::Completed(at)) => {
                let year = self.date(at)?.year();
                Date::new(year, 12, 31).map_err(over)?
            }
            _ => {
                return Err(Fault::plain(
                    "a retention rule that counts from a moment which is not on record",
                ));
            }
        };
        let term = match self.term {
            Term::Days(days) => i64::from(days).days(),
            Term::Months(months) => i64::from(months).months(),
        };
        let after = from.checked_add(term).and_then(Date::tomorrow);
        let end = after.and_then(|after| after.to_zoned(self.time_zone.clone()));
        Ok(end.map_err(over)?.timestamp().into())
    }

    fn date(&self, at: SystemTime) -> Result<Date, Fault> {
        let at = Timestamp::try_from(at).map_err(over)?;
        Ok(at.to_zoned(self.time_zone.clone()).date())
    }
}

fn over(error: jiff::Error) -> Fault {
    Fault::new("the end of a retention period", error)
}

/// Kinds of identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentifierKind {
    UserName,
    Phone,
    Email,
}

/// Where an identifier stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentifierStanding {
    /// Nobody has it.
    Free,
    /// An account has it.
    InUse,
    /// It is held back for so long.
    Quarantined { until: SystemTime },
    /// It is none of its kind.
    Malformed(BadIdentifier),
    /// Of a release: the request's id was used for another one.
    RequestIdReused,
}

/// What has become of a number that was to be held back no longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Released {
    /// Where it stands now.
    pub standing: IdentifierStanding,
    /// Deletions, by id, that it was held back for until now and whose EXPIRE has not come since. The coordinator asks for it, so
    /// that whoever is told of recycled identifiers hears of it.
    pub deletions: Vec<String>,
}

impl From<IdentifierStanding> for Released {
    fn from(standing: IdentifierStanding) -> Self {
        Self {
            standing,
            deletions: Vec::new(),
        }
    }
}

/// Why something is no identifier of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadIdentifier {
    /// A phone number without its country code, or no number.
    #[error("a phone number is `+`, its country code and its digits, as E.164 has it")]
    NotE164,
    #[error("it is no identifier of its kind")]
    Other,
}

/// "Hold this number back no longer." Its `Debug` never shows the number.
#[derive(Clone)]
pub struct ReleaseIdentifier {
    /// What kind.
    pub kind: IdentifierKind,
    /// The identifier.
    pub value: String,
    /// Who asks, by the name in their certificate.
    pub caller: String,
    /// The caller's request id: kept on record, and carried out once.
    pub request_id: String,
}

impl fmt::Debug for ReleaseIdentifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReleaseIdentifier")
            .field("kind", &self.kind)
            .field("caller", &self.caller)
            .finish_non_exhaustive()
    }
}

/// What is held back, and what was given back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quarantine {
    /// By version of the key, lowest first.
    pub keys: Vec<KeyVersion>,
    /// Newest first.
    pub releases: Vec<Release>,
    /// Where to go on; empty at the end.
    pub next_page: String,
}

/// A version of the key that hashes are made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyVersion {
    pub version: u32,
    /// Whether what is new is hashed under it.
    pub newest: bool,
    /// Identifiers that are held back under it.
    pub identifiers: i64,
    /// Links in letters that need it.
    pub links: i64,
}

/// A release that was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    pub request_id: String,
    pub kind: IdentifierKind,
    /// Keyed, and the version of its key.
    pub hash: String,
    pub version: u32,
    pub caller: String,
    pub at: SystemTime,
    /// Whether it was held back until then.
    pub held: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SystemTime {
        text.parse::<Timestamp>().unwrap().into()
    }

    fn rule(from: StartingPoint, term: Term, zone: &str) -> RetentionRule {
        RetentionRule {
            class: "transactions".to_owned(),
            legal_basis: "a law".to_owned(),
            from,
            term,
            time_zone: TimeZone::get(zone).unwrap(),
            until: None,
        }
    }

    #[test]
    fn three_years_end_with_the_same_day_of_the_calendar_and_not_after_1095_days() {
        let three = rule(StartingPoint::Completion, Term::Months(36), "Asia/Shanghai");
        for (from, until) in [
            ("2023-05-06T07:08:09Z", "2026-05-06T16:00:00Z"),
            ("2024-02-28T20:00:00Z", "2027-02-28T16:00:00Z"),
        ] {
            let until_there = three.until(Starting::Completed(at(from))).unwrap();
            assert_eq!(until_there, at(until), "{from}");
        }
    }

    #[test]
    fn a_period_that_began_with_an_earlier_erasure_does_not_begin_anew() {
        let until = at("2026-06-01T00:00:00Z");
        let again = RetentionRule {
            until: Some(until),
            ..rule(StartingPoint::Erasure, Term::Days(30), "Asia/Shanghai")
        };
        let told = Starting::Erased(at("2026-05-20T00:00:00Z"));
        assert_eq!(again.until(told).unwrap(), until);
    }

    #[test]
    fn a_rule_counts_from_its_own_moment_or_not_at_all() {
        let year = rule(StartingPoint::YearEnd, Term::Months(96), "Europe/Berlin");
        let told = Starting::Completed(at("2023-05-06T07:08:09Z"));
        assert_eq!(year.until(told).unwrap(), at("2031-12-31T23:00:00Z"));
        let wrong = Starting::Entered(at("2023-05-06T07:08:09Z"));
        assert!(year.until(wrong).is_err());
    }
}
