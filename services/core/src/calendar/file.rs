//! A calendar as text, one line for each special day.

use std::collections::BTreeMap;
use std::fmt;

use jiff::civil::{Date, Weekday};

use super::{Calendar, Special};

/// Largest file. 23 years of China take 27 KiB.
pub const BYTES_MAX: usize = 1024 * 1024;
/// Most lines of a file: every day of 27 years.
pub const LINES_MAX: usize = 10_000;
/// Longest name of a calendar, in bytes.
pub const NAME_BYTES_MAX: usize = 32;
/// Longest version, in bytes.
pub const VERSION_BYTES_MAX: usize = 64;
/// Longest source, in bytes.
pub const SOURCE_BYTES_MAX: usize = 200;
/// Longest label of a day, in bytes.
pub const LABEL_BYTES_MAX: usize = 200;

/// Something that is wrong with a calendar's text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct Problem {
    /// From 1. What is missing is missed at the last line.
    pub line: usize,
    /// What is wrong, for people.
    pub what: String,
}

/// What has been read so far, and what was wrong with it.
#[derive(Default)]
struct Reader {
    /// The names of those that are built in are taken.
    own: bool,
    line: usize,
    problems: Vec<Problem>,
    name: Option<String>,
    version: Option<String>,
    source: Option<String>,
    weekend: Option<Vec<Weekday>>,
    covered: Option<(Date, Date)>,
    special: BTreeMap<Date, Special>,
}

pub(super) fn parse(text: &str, own: bool) -> Result<Calendar, Vec<Problem>> {
    let mut reader = Reader {
        own,
        ..Reader::default()
    };
    if text.len() > BYTES_MAX {
        reader.wrong(format!("more than {BYTES_MAX} bytes"));
        return Err(reader.problems);
    }
    for line in text.trim_start_matches('\u{feff}').lines() {
        reader.line += 1;
        if reader.line > LINES_MAX {
            reader.wrong(format!("more than {LINES_MAX} lines"));
            return Err(reader.problems);
        }
        reader.read(line.trim());
    }
    reader.close()
}

impl Reader {
    fn read(&mut self, line: &str) {
        if line.is_empty() || line.starts_with('#') {
            return;
        }
        if line.starts_with(|first: char| first.is_ascii_digit()) {
            return self.read_day(line);
        }
        match line.split_once(':') {
            Some((key, value)) => self.read_header(key.trim_end(), value.trim_start()),
            None => self.wrong(format!(
                "`{}` is neither `KEY: VALUE` nor `YYYY-MM-DD off|work LABEL`",
                Excerpt(line)
            )),
        }
    }

    fn read_header(&mut self, key: &str, value: &str) {
        if !self.special.is_empty() {
            self.wrong(format!("`{}` stands below the first day", Excerpt(key)));
        }
        let repeated = match key {
            "name" => self.name(value),
            "version" => self.version(value),
            "source" => self.source(value),
            "weekend" => self.weekend(value),
            "covered" => self.covered(value),
            _ => {
                self.wrong(format!("`{}` is unknown", Excerpt(key)));
                false
            }
        };
        if repeated {
            self.wrong(format!("`{key}` is said twice"));
        }
    }

    fn name(&mut self, value: &str) -> bool {
        let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if value.is_empty() || value.len() > NAME_BYTES_MAX || !value.bytes().all(legal) {
            self.wrong(format!(
                "a name is 1 to {NAME_BYTES_MAX} of a-z, 0-9 and `-`"
            ));
        }
        // It stands in policies: nobody should take one country's days for another's.
        if self.own && Calendar::built_in(value).is_some() {
            self.wrong(format!("`{value}` is built in; give it a name of its own"));
        }
        self.name.replace(value.to_owned()).is_some()
    }

    fn version(&mut self, value: &str) -> bool {
        let legal = |byte: u8| byte.is_ascii_graphic();
        if value.is_empty() || value.len() > VERSION_BYTES_MAX || !value.bytes().all(legal) {
            self.wrong(format!(
                "a version is 1 to {VERSION_BYTES_MAX} visible ASCII characters"
            ));
        }
        self.version.replace(value.to_owned()).is_some()
    }

    fn source(&mut self, value: &str) -> bool {
        self.check_words("a source", value, SOURCE_BYTES_MAX);
        self.source.replace(value.to_owned()).is_some()
    }

    fn weekend(&mut self, value: &str) -> bool {
        let mut weekend = Vec::new();
        for word in value.split_whitespace() {
            match weekday(word) {
                Some(day) if weekend.contains(&day) => {
                    self.wrong(format!("{word} is said twice"));
                }
                Some(day) => weekend.push(day),
                None => self.wrong(format!("`{}` is not a day of the week", Excerpt(word))),
            }
        }
        if weekend.is_empty() || weekend.len() >= WEEK.len() {
            self.wrong("a weekend is one to six days of the week, like `Saturday Sunday`");
            // Everything, so that each day isn't another mistake.
            weekend = WEEK.map(|(_, day)| day).to_vec();
        }
        self.weekend.replace(weekend).is_some()
    }

    fn covered(&mut self, value: &str) -> bool {
        let dates = value
            .split_once(" to ")
            .map(|(first, last)| (date(first), date(last)));
        let range = match dates {
            Some((Some(first), Some(last))) if first <= last => (first, last),
            _ => {
                self.wrong(
                    "must read like `2004-01-01 to 2026-12-24`, the first not after the last",
                );
                // Everything, so that each day isn't another mistake.
                (Date::MIN, Date::MAX)
            }
        };
        self.covered.replace(range).is_some()
    }

    fn read_day(&mut self, line: &str) {
        let (word, rest) = split_word(line);
        let (kind, label) = split_word(rest);
        let date = date(word);
        if date.is_none() {
            self.wrong(format!("`{}` is not a date", Excerpt(word)));
        }
        let worked = match kind {
            "off" => Some(false),
            "work" => Some(true),
            _ => None,
        };
        if worked.is_none() {
            self.wrong(format!("`{}` is neither `off` nor `work`", Excerpt(kind)));
        }
        self.check_words("a label", label, LABEL_BYTES_MAX);
        let (Some(date), Some(worked)) = (date, worked) else {
            return;
        };
        if let Some(weekend) = &self.weekend
            && worked
            && !weekend.contains(&date.weekday())
        {
            self.wrong(format!("{date} is worked anyway"));
        }
        if let Some((first, last)) = self.covered
            && !(first..=last).contains(&date)
        {
            self.wrong(format!("{date} is outside of what is covered"));
        }
        match self.special.last_key_value() {
            Some((latest, _)) if *latest == date => {
                self.wrong(format!("{date} is said twice"));
            }
            Some((latest, _)) if *latest > date => {
                self.wrong(format!("{date} stands below a later date"));
            }
            _ => {}
        }
        let label = label.to_owned();
        self.special.insert(date, Special { worked, label });
    }

    fn close(mut self) -> Result<Calendar, Vec<Problem>> {
        for (key, missing) in [
            ("name", self.name.is_none()),
            ("version", self.version.is_none()),
            ("source", self.source.is_none()),
            ("weekend", self.weekend.is_none()),
            ("covered", self.covered.is_none()),
        ] {
            if missing {
                self.wrong(format!("`{key}` is missing"));
            }
        }
        match (
            self.name,
            self.version,
            self.source,
            self.weekend,
            self.covered,
        ) {
            (Some(name), Some(version), Some(source), Some(weekend), Some((first, last)))
                if self.problems.is_empty() =>
            {
                Ok(Calendar {
                    name,
                    version,
                    source,
                    weekend,
                    first,
                    last,
                    special: self.special,
                })
            }
            _ => Err(self.problems),
        }
    }

    fn check_words(&mut self, whose: &str, words: &str, max: usize) {
        if words.is_empty() || words.len() > max || words.chars().any(char::is_control) {
            self.wrong(format!(
                "{whose} is 1 to {max} bytes without control characters"
            ));
        }
    }

    fn wrong(&mut self, what: impl Into<String>) {
        self.problems.push(Problem {
            line: self.line.max(1),
            what: what.into(),
        });
    }
}

/// What reads back as the same calendar.
impl fmt::Display for Calendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |day: &Weekday| WEEK.iter().find(|(_, known)| known == day);
        let weekend = self.weekend.iter().filter_map(named);
        let weekend: Vec<_> = weekend.map(|(name, _)| *name).collect();
        writeln!(f, "name: {}", self.name)?;
        writeln!(f, "version: {}", self.version)?;
        writeln!(f, "source: {}", self.source)?;
        writeln!(f, "weekend: {}", weekend.join(" "))?;
        writeln!(f, "covered: {} to {}", self.first, self.last)?;
        for (date, worked, label) in self.special_days() {
            let kind = if worked { "work" } else { "off" };
            writeln!(f, "{date} {kind} {label}")?;
        }
        Ok(())
    }
}

/// A text that is no calendar: everything that is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotACalendar(Vec<Problem>);

impl fmt::Display for NotACalendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, problem) in self.0.iter().enumerate() {
            let before = if place == 0 { "" } else { "; " };
            write!(f, "{before}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for NotACalendar {}

/// What was stored, whole or not at all.
impl TryFrom<String> for Calendar {
    type Error = NotACalendar;

    fn try_from(text: String) -> Result<Self, NotACalendar> {
        parse(&text, false).map_err(NotACalendar)
    }
}

impl From<Calendar> for String {
    fn from(calendar: Calendar) -> Self {
        calendar.to_string()
    }
}

const WEEK: [(&str, Weekday); 7] = [
    ("Monday", Weekday::Monday),
    ("Tuesday", Weekday::Tuesday),
    ("Wednesday", Weekday::Wednesday),
    ("Thursday", Weekday::Thursday),
    ("Friday", Weekday::Friday),
    ("Saturday", Weekday::Saturday),
    ("Sunday", Weekday::Sunday),
];

fn weekday(word: &str) -> Option<Weekday> {
    WEEK.into_iter()
        .find_map(|(name, day)| (name == word).then_some(day))
}

/// `YYYY-MM-DD` and none of the other forms that stand for a date.
fn date(word: &str) -> Option<Date> {
    let date: Date = word.parse().ok()?;
    (date.to_string() == word).then_some(date)
}

fn split_word(line: &str) -> (&str, &str) {
    line.split_once(char::is_whitespace)
        .map_or((line, ""), |(word, rest)| (word, rest.trim_start()))
}

/// The beginning of somebody else's text, fit for a message.
struct Excerpt<'a>(&'a str);

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const CHARS_MAX: usize = 40;
        for character in self.0.chars().take(CHARS_MAX) {
            // What would break the line, or hide in it; quotes read best as they are.
            match character {
                '"' | '\'' | '\\' => write!(f, "{character}")?,
                _ => write!(f, "{}", character.escape_debug())?,
            }
        }
        if self.0.chars().nth(CHARS_MAX).is_some() {
            f.write_str("…")?;
        }
        Ok(())
    }
}
