//! One TOML file, every key also in the environment, and every mistake reported at once.
//!
//! A process asks for its section of the file. For the section `coordinator` the key `listen.callers`
//! can be set as `FAREWELL_COORDINATOR__LISTEN__CALLERS`, or in short as `FAREWELL_LISTEN__CALLERS`;
//! the environment wins over the file and the long name over the short one.
//!
//! All mistakes can only be found if the reader can go on after one. Give every field a default
//! (`#[serde(default)]`) and ask for what is required in [`Validate`]: a section goes unread that lacks a
//! field without one.

mod explanation;
mod holes;
mod human;
mod problem;
mod reader;

use std::fs;
use std::path::Path;

use figment::providers::{Format, Toml};
use figment::value::{Dict, Value};
use serde::de::DeserializeOwned;

pub use self::human::{Human, NotHuman};
pub use self::problem::{Problem, Problems, Validate, nested};
use self::reader::Reader;

/// Reads `section` of `file` and the environment, where the file has nothing but `sections` (all dotted): whoever misspells
/// one would run on defaults.
///
/// A `FAREWELL_` variable that is no key of this type is left alone, because the command line uses
/// some too and the process next door has others; but not if it begins with our section or with one
/// of our keys, because then it is a slip of the pen.
///
/// # Errors
/// All mistakes that were found, none of them with the value that was given.
pub fn load<T>(file: Option<&Path>, section: &str, sections: &[String]) -> Result<T, Problems>
where
    T: DeserializeOwned + Validate,
{
    let vars = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let whole = file.map_or_else(|| Ok(Dict::new()), read)?;
    let mut problems = strangers(&whole, sections);
    match parse(whole, section, vars) {
        Ok(settings) if problems.is_empty() => Ok(settings),
        Ok(_) => Err(Problems(problems)),
        Err(Problems(own)) => {
            // The same can be no section and not be read as one.
            problems.retain(|stranger| own.iter().all(|own| !own.key.starts_with(&stranger.key)));
            problems.extend(own);
            Err(Problems(problems))
        }
    }
}

/// Reads a whole file of its own, without the environment. What it means by where it stands, as a path does that begins in its
/// folder, `place` makes plain before it is judged.
///
/// # Errors
/// All mistakes that were found, none of them with the value that was given.
pub fn file<T>(path: &Path, place: impl FnOnce(&mut T)) -> Result<T, Problems>
where
    T: DeserializeOwned + Validate,
{
    Reader::new("", read(path)?, std::iter::empty()).finish(place)
}

/// The file as it stands.
fn read(path: &Path) -> Result<Dict, Problems> {
    let named = |message: String| Problems(vec![Problem::new(path.display().to_string(), message)]);
    let text = fs::read_to_string(path).map_err(|error| named(error.to_string()))?;
    Toml::from_str(&text).map_err(|error| {
        // Without the line as it stands: it may be a password's.
        let what = error.message().replace('\n', ", ");
        named(match error.span() {
            Some(span) => format!("{}: {what}", position(&text, span.start)),
            None => what,
        })
    })
}

/// Where a byte of the text stands, as editors count.
fn position(text: &str, byte: usize) -> String {
    let before = text.get(..byte).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|it| *it != '\n').count() + 1;
    format!("line {line}, column {column}")
}

/// What of a file is nobody's: sections that are none of these, and keys that stand in none.
fn strangers(whole: &Dict, sections: &[String]) -> Vec<Problem> {
    let mut strangers = Vec::new();
    let is_one = |name: &str| sections.iter().any(|section| section == name);
    let begins = |name: &str| {
        let group = format!("{name}.");
        sections.iter().any(|section| section.starts_with(&group))
    };
    for (name, value) in whole {
        match value {
            _ if is_one(name) => {}
            Value::Dict(_, inner) if begins(name) => {
                let full = inner.keys().map(|key| format!("{name}.{key}"));
                strangers.extend(full.filter(|full| !is_one(full)));
            }
            _ => strangers.push(name.clone()),
        }
    }
    let known = sections.join(", ");
    let told = |name| Problem::new(name, format!("is no section: there are {known}"));
    strangers.into_iter().map(told).collect()
}

/// What `section` of the file (dotted; empty for the whole) and the variables say together.
fn parse<T>(
    whole: Dict,
    section: &str,
    vars: impl Iterator<Item = (String, String)>,
) -> Result<T, Problems>
where
    T: DeserializeOwned + Validate,
{
    Reader::new(section, part(whole, section)?, vars).finish(|_| ())
}

/// The section, empty if the file does not have it.
fn part(whole: Dict, section: &str) -> Result<Dict, Problems> {
    let mut dict = whole;
    for name in section.split('.').filter(|name| !name.is_empty()) {
        dict = match dict.remove(name) {
            Some(Value::Dict(_, inner)) => inner,
            Some(_) => return Err(Problems(vec![Problem::new(section, "must be a section")])),
            None => Dict::new(),
        };
    }
    Ok(dict)
}

#[cfg(test)]
mod tests;
