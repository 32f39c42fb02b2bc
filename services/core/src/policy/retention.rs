//! What law keeps of an account that is gone: classes of records, each with its basis, its starting point and its period.
//!
//! Identifiers that are held back are such classes too: what is kept of one is a keyed hash, for a while, under somebody's
//! custody, and it ends with the same evidence.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::Problem;
use crate::calendar::{Calendar, LastDay, Period, Unit, Zone};
use crate::id::ParticipantId;
use crate::time::Time;

/// Longest name of a class, and longest legal basis: what a report may say ([`crate::receipt::Retention`]).
const CLASS_BYTES_MAX: usize = 64;
const BASIS_BYTES_MAX: usize = 256;
/// Classes that a policy may have.
pub const CLASSES_MAX: usize = 64;
const YEAR_MONTHS: u16 = 12;
/// What a class of held-back identifiers is called, before its kind.
const QUARANTINED: &str = "quarantined_";

/// From which moment of a record its period runs. Never from the deletion, unless that is what the law looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartingPoint {
    /// The transaction was completed.
    Completion,
    /// The entry was written.
    Entry,
    /// The calendar year of the completion is over. Source: German Commercial Code (HGB) § 257(5).
    YearEnd,
    /// The account was erased.
    Erasure,
}

impl StartingPoint {
    /// As it stands in policies and on the wire.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Completion => "completion",
            Self::Entry => "entry",
            Self::YearEnd => "year_end",
            Self::Erasure => "erasure",
        }
    }
}

/// How long: `3 years`, `6 months` or `180 days`, to the end of the last day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Term(Period);

/// A text that is no term. It doesn't repeat the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a term such as 3 years, 6 months or 180 days, at most ten years")]
pub struct NotATerm;

impl Term {
    /// What it is counted in: dates or months, nothing else.
    pub const fn unit(self) -> Unit {
        self.0.unit()
    }

    /// How many of its unit.
    pub const fn count(self) -> u16 {
        self.0.count()
    }

    /// The first instant at which a record that began at `from` is kept no longer.
    pub fn end(self, from: Time, starting: StartingPoint, zone: &Zone) -> Time {
        let from = match starting {
            StartingPoint::Completion | StartingPoint::Entry | StartingPoint::Erasure => from,
            StartingPoint::YearEnd => year_end(from, zone),
        };
        // No working day is counted, so that any calendar will do.
        let calendar = Calendar::built_in("none");
        calendar.map_or(from, |calendar| self.0.end(from, calendar, zone).at)
    }
}

/// The last moment of the year that an instant lies in.
fn year_end(from: Time, zone: &Zone) -> Time {
    let last = Date::new(zone.date_of(from).year(), 12, 31);
    last.map_or(from, |last| {
        Time::from_micros(zone.end_of(last).micros().saturating_sub(1))
    })
}

impl FromStr for Term {
    type Err = NotATerm;

    fn from_str(text: &str) -> Result<Self, NotATerm> {
        let years = text
            .strip_suffix(" years")
            .or_else(|| text.strip_suffix(" year"));
        let period = match years {
            Some(years) if years.bytes().all(|byte| byte.is_ascii_digit()) => {
                let years: u16 = years.parse().map_err(|_| NotATerm)?;
                Period::months(years.saturating_mul(YEAR_MONTHS))
            }
            Some(_) => return Err(NotATerm),
            None => text.parse(),
        };
        match period {
            Ok(period)
                if period.unit() != Unit::WorkingDays
                    && period.last_day() == LastDay::AsCounted =>
            {
                Ok(Self(period))
            }
            Ok(_) | Err(_) => Err(NotATerm),
        }
    }
}

impl TryFrom<String> for Term {
    type Error = NotATerm;

    fn try_from(text: String) -> Result<Self, NotATerm> {
        text.parse()
    }
}

impl From<Term> for String {
    fn from(term: Term) -> Self {
        term.to_string()
    }
}

/// In years where it is whole years.
impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let months = self.0.count();
        match self.0.unit() {
            Unit::Months if months == YEAR_MONTHS => f.write_str("1 year"),
            Unit::Months if months.is_multiple_of(YEAR_MONTHS) => {
                write!(f, "{} years", months / YEAR_MONTHS)
            }
            Unit::Months | Unit::Days | Unit::WorkingDays => self.0.fmt(f),
        }
    }
}

/// A class of records that law keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Class {
    /// The law, as it stands on the certificate.
    pub legal_basis: String,
    pub from: StartingPoint,
    pub period: Term,
    /// The one participant that may keep it.
    pub custodian: ParticipantId,
}

/// Kinds of identifier, by which a person is known to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Identifier {
    UserName,
    Phone,
    Email,
}

impl Identifier {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::UserName, Self::Phone, Self::Email];

    /// As it stands in policies and announcements.
    pub const fn word(self) -> &'static str {
        match self {
            Self::UserName => "user_name",
            Self::Phone => "phone",
            Self::Email => "email",
        }
    }

    /// Whether somebody can show that it is theirs now, so that it is free before its day.
    pub const fn can_be_given_back(self) -> bool {
        match self {
            Self::Phone => true,
            Self::UserName | Self::Email => false,
        }
    }

    /// As it is announced, beside the codes of states: never renumbered.
    pub const fn code(self) -> i16 {
        match self {
            Self::UserName => 21,
            Self::Phone => 22,
            Self::Email => 23,
        }
    }

    /// The kind of a code.
    pub fn from_code(code: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// The kind that a class holds back, if it does.
    pub fn of_class(class: &str) -> Option<Self> {
        let kind = class.strip_prefix(QUARANTINED)?;
        Self::ALL.into_iter().find(|known| known.word() == kind)
    }
}

/// How long identifiers of purged accounts are held back, so that nobody takes a stranger for who was there before. A kind
/// that isn't named is free at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quarantine {
    /// The law, as it stands on the certificate.
    pub legal_basis: String,
    /// The one participant that knows identifiers.
    pub custodian: ParticipantId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_name: Option<Term>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone: Option<Term>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<Term>,
}

impl Quarantine {
    /// The kinds that are held back, and how long.
    pub fn periods(&self) -> impl Iterator<Item = (Identifier, Term)> {
        let period = |kind| match kind {
            Identifier::UserName => self.user_name,
            Identifier::Phone => self.phone,
            Identifier::Email => self.email,
        };
        let kinds = Identifier::ALL.into_iter();
        kinds.filter_map(move |kind| Some((kind, period(kind)?)))
    }
}

/// Everything that law keeps, by class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Retention(BTreeMap<String, Class>);

impl Retention {
    /// The classes of a policy, its held-back identifiers among them.
    pub fn new(classes: BTreeMap<String, Class>, quarantine: Option<&Quarantine>) -> Self {
        let mut all = classes;
        if let Some(quarantine) = quarantine {
            for (kind, period) in quarantine.periods() {
                let class = Class {
                    legal_basis: quarantine.legal_basis.clone(),
                    from: StartingPoint::Erasure,
                    period,
                    custodian: quarantine.custodian.clone(),
                };
                all.insert(format!("{QUARANTINED}{}", kind.word()), class);
            }
        }
        Self(all)
    }

    /// What stores kept on their own account before policies said it: for the deletions that began then.
    pub fn before_policies() -> Self {
        let class = |from, months, legal_basis: &str| {
            Some(Class {
                legal_basis: legal_basis.to_owned(),
                from,
                period: Term(Period::months(months).ok()?),
                custodian: "store".parse().ok()?,
            })
        };
        let orders = class(
            StartingPoint::Completion,
            36,
            "E-Commerce Law of the PRC, Art. 31",
        );
        let logs = class(
            StartingPoint::Entry,
            6,
            "Cybersecurity Law of the PRC, Art. 21(3)",
        );
        let named = [("transactions", orders), ("server_logs", logs)];
        let named = named
            .into_iter()
            .filter_map(|(name, class)| Some((name.to_owned(), class?)));
        Self(named.collect())
    }

    /// A class by its name.
    pub fn class(&self, name: &str) -> Option<&Class> {
        self.0.get(name)
    }

    /// What one participant keeps.
    pub fn of<'a>(
        &'a self,
        custodian: &'a ParticipantId,
    ) -> impl Iterator<Item = (&'a str, &'a Class)> {
        let classes = self.0.iter().map(|(name, class)| (name.as_str(), class));
        classes.filter(move |(_, class)| class.custodian == *custodian)
    }

    /// Whether a participant may keep anything.
    pub fn keeps(&self, custodian: &ParticipantId) -> bool {
        self.of(custodian).next().is_some()
    }
}

/// What is wrong with the classes of a policy.
pub(super) fn problems(
    classes: &BTreeMap<String, Class>,
    quarantine: Option<&Quarantine>,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut wrong = |is_wrong: bool, key: &str, message: &str| {
        if is_wrong {
            problems.push(Problem::new(key, message));
        }
    };
    let of_basis = |text: &str| (1..=BASIS_BYTES_MAX).contains(&text.len());
    let basis = "must name the law in 1 to 256 bytes: it stands on certificates";
    wrong(
        classes.len() > CLASSES_MAX,
        "retention",
        "has more classes than a certificate can bear",
    );
    for (name, class) in classes {
        let key = format!("retention.{name}");
        let of_name = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        wrong(
            !(1..=CLASS_BYTES_MAX).contains(&name.len()) || !name.bytes().all(of_name),
            &key,
            "must be named in 1 to 64 of a-z, 0-9 and _",
        );
        wrong(
            name.starts_with(QUARANTINED),
            &key,
            "is an identifier's: say it in [quarantine]",
        );
        wrong(
            !of_basis(&class.legal_basis),
            &format!("{key}.legal_basis"),
            basis,
        );
    }
    if let Some(quarantine) = quarantine {
        wrong(
            !of_basis(&quarantine.legal_basis),
            "quarantine.legal_basis",
            basis,
        );
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Time {
        Time::from_micros(text.parse::<jiff::Timestamp>().unwrap().as_microsecond())
    }

    fn end(term: &str, from: &str, starting: StartingPoint, zone: &str) -> Time {
        let term: Term = term.parse().unwrap();
        term.end(time(from), starting, &zone.parse().unwrap())
    }

    #[test]
    fn a_term_ends_with_its_last_day_where_the_policy_lives() {
        use StartingPoint::{Completion, Entry, Erasure};
        for (term, from, starting, zone, expected) in [
            (
                "3 years",
                "2023-05-06T07:08:09Z",
                Completion,
                "Asia/Shanghai",
                "2026-05-06T16:00:00Z",
            ),
            (
                "3 years",
                "2024-02-29T00:00:00Z",
                Completion,
                "UTC",
                "2027-03-01T00:00:00Z",
            ),
            (
                "6 months",
                "2023-08-31T12:00:00Z",
                Entry,
                "Europe/Berlin",
                "2024-02-29T23:00:00Z",
            ),
            (
                "180 days",
                "2026-11-22T20:00:00Z",
                Erasure,
                "America/Los_Angeles",
                "2027-05-22T07:00:00Z",
            ),
        ] {
            assert_eq!(end(term, from, starting, zone), time(expected), "{term}");
        }
    }

    #[test]
    fn what_runs_from_the_end_of_the_year_ends_with_a_year() {
        let (from, zone) = ("2023-05-06T07:08:09Z", "Europe/Berlin");
        let ends = end("8 years", from, StartingPoint::YearEnd, zone);
        assert_eq!(ends, time("2031-12-31T23:00:00Z"));
    }

    #[test]
    fn a_term_reads_back_and_nothing_else_is_one() {
        for text in [
            "1 year",
            "3 years",
            "6 months",
            "13 months",
            "180 days",
            "1 day",
        ] {
            assert_eq!(text.parse::<Term>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "0 years",
            "11 years",
            "-1 years",
            " years",
            "99999 years",
            "15 working days",
            "1 month ending on a working day",
            "12h",
        ] {
            assert_eq!(text.parse::<Term>(), Err(NotATerm), "{text}");
        }
    }
}
