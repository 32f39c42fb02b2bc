//! Reads one section together with the environment, to the last mistake.

use std::collections::BTreeMap;

use figment::error::Kind;
use figment::value::{Dict, Value};
use serde::de::DeserializeOwned;

use super::explanation::explain;
use super::holes::{Holes, Removed, remove};
use super::problem::{Problem, Problems, Validate, join};

const PREFIX: &str = "FAREWELL_";
const SEPARATOR: &str = "__";

/// Mistakes shown before the reader gives up. Each one costs another reading.
const PROBLEMS_MAX: usize = 100;

/// A value from the environment.
struct Given {
    variable: String,
    text: String,
    /// Named with our section in front, so meant for us.
    ours: bool,
    /// Taken as the text it is, no longer as a number or a list.
    literal: bool,
}

/// Reads again and again, each time without the mistakes found so far.
pub(super) struct Reader<'a> {
    section: &'a str,
    dict: Dict,
    given: BTreeMap<Vec<String>, Given>,
    problems: Vec<Problem>,
    holes: Holes,
}

impl<'a> Reader<'a> {
    /// Of a section as it stands in the file, with what the variables say in its place.
    pub(super) fn new(
        section: &'a str,
        dict: Dict,
        vars: impl Iterator<Item = (String, String)>,
    ) -> Self {
        let mut reader = Self {
            section,
            dict,
            given: BTreeMap::new(),
            problems: Vec::new(),
            holes: Holes::default(),
        };
        reader.overlay(vars);
        reader
    }

    fn overlay(&mut self, vars: impl Iterator<Item = (String, String)>) {
        let long = match self.section {
            "" => PREFIX.to_owned(),
            section => {
                format!(
                    "{PREFIX}{}{SEPARATOR}",
                    section.replace('.', SEPARATOR).to_uppercase()
                )
            }
        };
        for (variable, text) in vars {
            let (name, ours) = match (variable.strip_prefix(&long), variable.strip_prefix(PREFIX)) {
                (Some(name), _) => (name, !self.section.is_empty()),
                (None, Some(name)) => (name, false),
                (None, None) => continue,
            };
            let path: Vec<String> = name.split(SEPARATOR).map(str::to_lowercase).collect();
            if path.iter().any(String::is_empty)
                || self
                    .given
                    .get(&path)
                    .is_some_and(|other| other.ours && !ours)
            {
                continue;
            }
            self.given.insert(
                path,
                Given {
                    variable,
                    text,
                    ours,
                    literal: false,
                },
            );
        }
        for (path, given) in &self.given {
            // Never fails: what is no number or list is text.
            let value = given
                .text
                .parse::<Value>()
                .unwrap_or_else(|_| given.text.clone().into());
            put(&mut self.dict, path, value);
        }
    }

    /// What it says, and is judged as `place` left it.
    ///
    /// Errors: all mistakes, none of them with the value that was given.
    pub(super) fn finish<T>(mut self, place: impl FnOnce(&mut T)) -> Result<T, Problems>
    where
        T: DeserializeOwned + Validate,
    {
        while self.problems.len() < PROBLEMS_MAX {
            let error = match Value::from(self.dict.clone()).deserialize::<T>() {
                Ok(mut config) => {
                    place(&mut config);
                    return self.validated(config);
                }
                Err(error) => error,
            };
            if !self.forgive(&error) && !self.report(&error) {
                break;
            }
        }
        Err(Problems(self.problems))
    }

    fn validated<T: Validate>(mut self, config: T) -> Result<T, Problems> {
        let mut found = Vec::new();
        config.problems(&mut found);
        for problem in &mut found {
            problem.key = join(self.section, &self.holes.original(&problem.key));
        }
        // A key that could not be read has its default now, about which there is nothing to say, nor about a section that
        // lacks it.
        let unread =
            |problem: &Problem| self.problems.iter().any(|it| is_in(&problem.key, &it.key));
        found.retain(|problem| !unread(problem));
        for problem in found {
            if !self.problems.contains(&problem) {
                self.problems.push(problem);
            }
        }
        if self.problems.is_empty() {
            Ok(config)
        } else {
            Err(Problems(self.problems))
        }
    }

    /// Takes back a value of the environment that need not be a mistake.
    fn forgive(&mut self, error: &figment::Error) -> bool {
        let Some(path) = self
            .given
            .keys()
            .find(|path| starts(path, &error.path))
            .cloned()
        else {
            return false;
        };
        let Some(given) = self.given.get_mut(&path) else {
            return false;
        };
        match &error.kind {
            // Somebody else's variable. A known first segment, or our section, makes it ours.
            Kind::UnknownField(..) if error.path.len() == 1 && !given.ours => {
                remove(&mut self.dict, &error.path);
                self.given.retain(|path, _| !starts(path, &error.path));
                true
            }
            // A password of digits only is a number until somebody asks for text.
            Kind::InvalidType(..) if path == error.path && !given.literal => {
                given.literal = true;
                let text = given.text.clone();
                put(&mut self.dict, &path, text.into());
                true
            }
            _ => false,
        }
    }

    /// Notes the mistake and removes its cause; `false` if there is no cause to remove.
    fn report(&mut self, error: &figment::Error) -> bool {
        let mut path = error.path.clone();
        if let Kind::MissingField(name) = &error.kind {
            path.push(name.to_string());
        }
        let key = join(self.section, &self.holes.original(&path.join(".")));
        // What lacks something that could not be read was said with that.
        if !self.problems.iter().any(|known| is_in(&key, &known.key)) {
            let mut message = explain(&error.kind);
            let given = self.given.iter().find(|(given, _)| starts(&path, given));
            if let Some((_, given)) = given {
                message = format!("{message} (from {})", given.variable);
            }
            self.problems.push(Problem::new(key, message));
        }
        self.cut(path)
    }

    /// Takes away what stands at `path`, or what lacks it. `false`: the whole lacks it.
    fn cut(&mut self, mut path: Vec<String>) -> bool {
        while !path.is_empty() {
            match remove(&mut self.dict, &path) {
                Some(Removed::Key) => return true,
                Some(Removed::Element { depth }) => {
                    self.holes.note(&path[..=depth]);
                    return true;
                }
                None => path.pop(),
            };
        }
        false
    }
}

/// Whether a dotted key is `section` or stands in it.
fn is_in(section: &str, key: &str) -> bool {
    let rest = key.strip_prefix(section);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn starts(path: &[String], beginning: &[String]) -> bool {
    !beginning.is_empty() && path.starts_with(beginning)
}

fn put(dict: &mut Dict, path: &[String], value: Value) {
    match path {
        [] => {}
        [key] => {
            dict.insert(key.clone(), value);
        }
        [key, rest @ ..] => {
            let inner = dict
                .entry(key.clone())
                .or_insert_with(|| Dict::new().into());
            if !matches!(inner, Value::Dict(..)) {
                *inner = Dict::new().into();
            }
            if let Value::Dict(_, inner) = inner {
                put(inner, rest, value);
            }
        }
    }
}
