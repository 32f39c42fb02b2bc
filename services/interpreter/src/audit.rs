//! For the tests of whoever has a [`Catalogue`]: which reasons there are, and whether each has its sentences. It panics where something is
//! missing, with what.

use std::collections::BTreeSet;
use std::path::Path;

use fluent_bundle::FluentResource;
use fluent_bundle::concurrent::FluentBundle;
use jiff::Timestamp;

use crate::catalogue::{Catalogue, Facts, REFUSED, shared};
use crate::language::Language;

/// What a source file says that gives reasons of its own.
const GIVING: [&str; 3] = ["ErrorDetails", "coded(", "passing("];

/// What stands in a text in the form of a reason, between these.
pub fn words(text: &str, quote: char) -> BTreeSet<String> {
    let is_word = |part: &&str| {
        let whole = part.len() > 3 && !part.ends_with('_');
        whole && part.bytes().all(|it| it.is_ascii_uppercase() || it == b'_')
    };
    // What is quoted is every second part of a line.
    let quoted = |line: &str| -> Vec<String> {
        let parts = line.split(quote).skip(1).step_by(2);
        parts.filter(is_word).map(str::to_owned).collect()
    };
    text.lines().flat_map(quoted).collect()
}

/// Reasons that an interface promises: `Errors…:` in the comments of the service and of its calls.
///
/// # Panics
/// If the file can't be read or has no service.
pub fn promised(interface: &Path) -> BTreeSet<String> {
    let text = read(interface);
    let (before, service) = text.split_once("\nservice ").expect("a service");
    let (service, _) = service.split_once("\n}\n").expect("an end");
    let mut promised = BTreeSet::new();
    let mut errors = false;
    let comment = before.rsplit_once("\n\n").map_or(before, |(_, last)| last);
    for line in comment.lines().chain(service.lines()) {
        let begins = line.find("Errors");
        errors = line.trim_start().starts_with("//") && (errors || begins.is_some());
        if errors {
            promised.extend(words(&line[begins.unwrap_or(0)..], '`'));
        }
    }
    promised
}

/// Reasons that source gives: in each file below a folder that makes refusals, but not in tests.
///
/// # Panics
/// If a file can't be read.
pub fn given(folder: &Path) -> BTreeSet<String> {
    let mut given = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder:?}: {error}")) {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            given.extend(self::given(&path));
        } else if path.extension().is_some_and(|it| it == "rs") && !path.ends_with("tests.rs") {
            let text = read(&path);
            let (text, _) = text.split_once("#[cfg(test)]").unwrap_or((&text, ""));
            if GIVING.iter().any(|it| text.contains(it)) {
                given.extend(words(text, '"'));
            }
        }
    }
    given
}

/// Holds a port's catalogue to these reasons: each has both sentences, whole, in every language, and none is written that nobody is told,
/// or that all ports share.
///
/// # Panics
/// With what is missing or left over.
pub fn hold(catalogue: &Catalogue, reasons: &BTreeSet<String>) {
    for language in Language::ALL {
        let common = written(shared(language));
        let own = written(catalogue.own(language));
        for reason in reasons {
            let otherwise = format!("{REFUSED}{reason}");
            let has_other = common.contains(&otherwise) || own.contains(&otherwise);
            let code = if has_other { &otherwise } else { reason };
            hold_whole(catalogue, code, language);
        }
        let told = |id: &String| {
            let reason = id.strip_prefix(REFUSED).unwrap_or(id);
            reasons.contains(reason)
        };
        let left: Vec<_> = own.iter().filter(|id| !told(id)).collect();
        assert!(left.is_empty(), "nobody is told in {language:?}: {left:?}");
        hold_once(catalogue, language);
    }
}

/// A code's sentences are there and whole, whatever they speak of.
///
/// # Panics
/// If not.
pub fn hold_whole(catalogue: &Catalogue, code: &str, language: Language) {
    // 2027-01-15T08:00:00Z.
    let then = Timestamp::from_second(1_800_000_000).ok();
    for (count, until) in [(0, None), (1, then), (2, then), (5_000, None)] {
        let facts = Facts {
            who: "",
            count,
            until,
        };
        let (said, errors) = catalogue
            .formatted(code, facts, language)
            .unwrap_or_else(|| panic!("{code} has no sentence in {language:?}"));
        assert!(errors.is_empty(), "{code}: {errors:?}");
        for text in [said.message, said.remedy] {
            let ends = text.ends_with(['.', '。']);
            assert!(ends && !text.contains(['{', '$']), "{code}: {text}");
            assert!(
                !text.contains("  ") && !text.contains('\n'),
                "{code}: {text}"
            );
        }
    }
}

/// Nothing is written twice, here or here and among what all ports share.
///
/// # Panics
/// If something is.
pub fn hold_once(catalogue: &Catalogue, language: Language) {
    let mut bundle: FluentBundle<FluentResource> = FluentBundle::new_concurrent(vec![]);
    for text in [shared(language), catalogue.own(language)] {
        let resource = FluentResource::try_new(text.to_owned());
        let resource = resource.unwrap_or_else(|(_, errors)| panic!("{language:?}: {errors:?}"));
        let added = bundle.add_resource(resource);
        added.unwrap_or_else(|errors| panic!("{language:?}: {errors:?}"));
    }
}

/// The codes of a catalogue that have a sentence there: those of its own and those that all ports share.
pub fn codes(catalogue: &Catalogue, language: Language) -> [BTreeSet<String>; 2] {
    [written(catalogue.own(language)), written(shared(language))]
}

fn written(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter(|line| line.starts_with(|first: char| first.is_ascii_alphabetic()))
        .filter_map(|line| line.split_once(" =").map(|(id, _)| id.to_owned()))
        .collect()
}

/// # Panics
/// If it can't be read.
fn read(path: &Path) -> String {
    let text = std::fs::read_to_string(path);
    text.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
