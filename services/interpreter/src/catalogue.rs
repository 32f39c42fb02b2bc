//! Sentences that people read, by code and language, in the format of Project Fluent: those that several ports say, and a port's own.
//!
//! They hold counts, times and one word to choose by, and nothing else of what happened.

use fluent_bundle::{FluentArgs, FluentError, FluentValue};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::language::Language;
use crate::moment::moment;
use crate::words::Words;

/// What stands before a reason whose sentence is another than that of the same code elsewhere.
pub(crate) const REFUSED: &str = "REFUSED_";

/// What is so, and what to do about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    pub message: String,
    pub remedy: String,
}

/// What a sentence may speak of.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts<'a> {
    /// `$who`: a stable word to choose by, as a product line's; never a person.
    pub who: &'a str,
    /// `$count`: how many there are. Who doesn't count says that there is one, at least.
    pub count: i64,
    /// `$until`, and `$ends` is `known`: when it ends by itself, if that is known.
    pub until: Option<Timestamp>,
}

/// The sentences of a port. They are part of the program: tests hold them to be whole.
pub struct Catalogue {
    own: fn(Language) -> &'static str,
    words: Words,
}

impl Catalogue {
    /// Of what all ports may say and what this one has to say besides, each code in one of them.
    pub fn new(own: fn(Language) -> &'static str) -> Self {
        Self {
            own,
            words: Words::new(|language| [shared(language), own(language)]),
        }
    }

    /// A code's sentences. `None`: there is none for it.
    pub fn said(&self, code: &str, facts: Facts<'_>, language: Language) -> Option<Said> {
        self.formatted(code, facts, language).map(|(said, _)| said)
    }

    /// Why a request was refused, in one text for the person who asked: the sentence of `REFUSED_` and the reason, or else the reason's.
    /// `until`: when it may be asked again, if that is known.
    ///
    /// `None`: it is not a reason that persons are given.
    pub fn of_refusal(
        &self,
        reason: &str,
        until: Option<Timestamp>,
        language: Language,
    ) -> Option<String> {
        let facts = Facts {
            until,
            ..Facts::default()
        };
        let otherwise = self.said(&format!("{REFUSED}{reason}"), facts, language);
        let Said { message, remedy } = otherwise.or_else(|| self.said(reason, facts, language))?;
        Some(match language {
            Language::English => format!("{message} {remedy}"),
            // A full stop brings its own room.
            Language::Chinese => message + &remedy,
        })
    }

    /// The sentences, and what Fluent found wrong with them.
    pub fn formatted(
        &self,
        code: &str,
        facts: Facts<'_>,
        language: Language,
    ) -> Option<(Said, Vec<FluentError>)> {
        // Nobody here knows where whoever reads it is.
        let until = facts.until.map(|until| until.to_zoned(TimeZone::UTC));
        let until = until.map(|until| moment(&until, language));
        let mut args = FluentArgs::new();
        args.set("count", FluentValue::from(facts.count.max(1)));
        args.set("who", FluentValue::from(facts.who));
        args.set("ends", until.as_ref().map_or("open", |_| "known"));
        args.set("until", until.unwrap_or_default());
        let (message, mut errors) = self.words.checked(code, None, &args, language)?;
        let (remedy, more) = self.words.checked(code, Some("remedy"), &args, language)?;
        errors.extend(more);
        let said = Said { message, remedy };
        Some((said, errors))
    }

    /// The port's own sentences, as they are written.
    pub(crate) fn own(&self, language: Language) -> &'static str {
        (self.own)(language)
    }
}

/// What several ports say, as it is written.
pub(crate) const fn shared(language: Language) -> &'static str {
    match language {
        Language::English => include_str!("sentences/en.ftl"),
        Language::Chinese => include_str!("sentences/zh.ftl"),
    }
}
