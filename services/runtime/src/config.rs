//! One TOML file, every key also in the environment, and every mistake reported at once.
//!
//! A process asks for its section of the file. For the section `coordinator` the key `listen.callers`
//! can be set as `FAREWELL_COORDINATOR__LISTEN__CALLERS`, or in short as `FAREWELL_LISTEN__CALLERS`;
//! the environment wins over the file and the long name over the short one.
//!
//! All mistakes can only be found if the reader can go on after one. Give every field a default
//! (`#[serde(default)]`) and ask for what is required in [`Validate`]: reading must stop at a field
//! that is missing and has no default.

mod human;
mod problem;

use std::{collections::BTreeMap, fs, path::Path};

use figment::{
    Profile, Provider,
    error::{Actual, Kind},
    providers::{Format, Toml},
    value::{Dict, Value},
};
use serde::de::DeserializeOwned;

pub use self::human::{Human, NotHuman};
use self::problem::join;
pub use self::problem::{Problem, Problems, Validate, nested};

const PREFIX: &str = "FAREWELL_";
const SEPARATOR: &str = "__";

/// Mistakes shown before the reader gives up. Each one costs another reading.
const PROBLEMS_MAX: usize = 100;

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

/// Reads a whole file of its own, without the environment.
///
/// # Errors
/// All mistakes that were found, none of them with the value that was given.
pub fn file<T>(path: &Path) -> Result<T, Problems>
where
    T: DeserializeOwned + Validate,
{
    parse(read(path)?, "", std::iter::empty())
}

/// The file as it stands.
fn read(path: &Path) -> Result<Dict, Problems> {
    let named = |message: String| Problems(vec![Problem::new(path.display().to_string(), message)]);
    let text = fs::read_to_string(path).map_err(|error| named(error.to_string()))?;
    let mut profiles = Toml::string(&text)
        .data()
        .map_err(|error| named(error.kind.to_string()))?;
    Ok(profiles.remove(&Profile::Default).unwrap_or_default())
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
    let mut reader = Reader {
        section,
        dict: part(whole, section)?,
        given: BTreeMap::new(),
        problems: Vec::new(),
    };
    reader.overlay(vars);
    reader.finish()
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
struct Reader<'a> {
    section: &'a str,
    dict: Dict,
    given: BTreeMap<Vec<String>, Given>,
    problems: Vec<Problem>,
}

impl Reader<'_> {
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

    fn finish<T>(mut self) -> Result<T, Problems>
    where
        T: DeserializeOwned + Validate,
    {
        while self.problems.len() < PROBLEMS_MAX {
            let error = match Value::from(self.dict.clone()).deserialize::<T>() {
                Ok(config) => return self.validated(config),
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
        for mut problem in found {
            problem.key = join(self.section, &problem.key);
            // A key that could not be read has its default now, about which there is nothing to say, nor about a section
            // that lacks it.
            let unread = |known: &Problem| {
                let rest = known.key.strip_prefix(&problem.key);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            };
            if !self.problems.iter().any(unread) {
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
        let key = join(self.section, &path.join("."));
        if !self.problems.iter().any(|known| known.key == key) {
            let mut message = explain(&error.kind);
            if let Some(given) = self.given.get(&path) {
                message = format!("{message} (from {})", given.variable);
            }
            self.problems.push(Problem::new(key, message));
        }
        remove(&mut self.dict, &path)
    }
}

/// figment's own words name the value; these do not.
fn explain(kind: &Kind) -> String {
    match kind {
        Kind::InvalidType(actual, expected) => {
            format!("must be {expected}, but is {}", shape(actual))
        }
        Kind::InvalidValue(_, expected) => format!("must be {expected}"),
        Kind::InvalidLength(count, expected) => format!("must be {expected}, but has {count}"),
        Kind::UnknownVariant(_, known) => format!("must be one of {}", known.join(", ")),
        Kind::UnknownField(_, known) => {
            format!("is not a key here; there are {}", known.join(", "))
        }
        Kind::MissingField(_) => "is required".into(),
        other => other.to_string(),
    }
}

fn shape(actual: &Actual) -> &'static str {
    match actual {
        Actual::Bool(_) => "true or false",
        Actual::Unsigned(_) | Actual::Signed(_) | Actual::Float(_) => "a number",
        Actual::Char(_) | Actual::Str(_) => "text",
        Actual::Seq => "a list",
        Actual::Map => "a section",
        _ => "something else",
    }
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

/// Removes what is at `path`, or the list that holds it: a list with a hole would be another list.
fn remove(dict: &mut Dict, path: &[String]) -> bool {
    let [key, rest @ ..] = path else { return false };
    match dict.get_mut(key) {
        Some(Value::Dict(_, inner)) if !rest.is_empty() => remove(inner, rest),
        Some(_) => dict.remove(key).is_some(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde::Deserialize;

    use super::*;
    use crate::scratch::Scratch;

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(default, deny_unknown_fields)]
    struct Process {
        ledger: String,
        slots: u16,
        wait: Human,
        peers: Vec<String>,
        listen: Listen,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(default, deny_unknown_fields)]
    struct Listen {
        callers: String,
        streams_max: u32,
        password: Option<String>,
    }

    impl Default for Listen {
        fn default() -> Self {
            Self {
                callers: "127.0.0.1:7400".into(),
                streams_max: 64,
                password: None,
            }
        }
    }

    impl Validate for Process {
        fn problems(&self, out: &mut Vec<Problem>) {
            if self.ledger.is_empty() {
                out.push(Problem::new("ledger", "is required"));
            }
            nested("listen", &self.listen, out);
        }
    }

    impl Validate for Listen {
        fn problems(&self, out: &mut Vec<Problem>) {
            if self.streams_max == 0 {
                out.push(Problem::new("streams_max", "must be at least 1"));
            }
        }
    }

    fn loaded(toml: &str, section: &str, vars: &[(&str, &str)]) -> Result<Process, Problems> {
        let dir = Scratch::new();
        let file = dir.file("farewell.toml", toml);
        parse(read(&file)?, section, owned(vars))
    }

    fn owned(vars: &[(&str, &str)]) -> impl Iterator<Item = (String, String)> {
        vars.iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect::<Vec<_>>()
            .into_iter()
    }

    fn lines(problems: Problems) -> Vec<String> {
        problems.0.iter().map(ToString::to_string).collect()
    }

    const FILE: &str = r#"
        [coordinator]
        ledger = "sqlite:a.db"
        slots = 64
        wait = "15d"
        [coordinator.listen]
        streams_max = 7
        [agent.phones]
        ledger = "sqlite:b.db"
    "#;

    #[test]
    fn a_process_reads_its_section_and_the_rest_is_default() {
        let config = loaded(FILE, "coordinator", &[]).unwrap();
        assert_eq!((config.ledger.as_str(), config.slots), ("sqlite:a.db", 64));
        assert_eq!(config.wait.get(), Duration::from_secs(15 * 86_400));
        assert_eq!(config.listen.callers, "127.0.0.1:7400");
        assert_eq!(config.listen.streams_max, 7);
        assert_eq!(
            loaded(FILE, "agent.phones", &[]).unwrap().ledger,
            "sqlite:b.db"
        );
    }

    #[test]
    fn the_environment_wins_and_the_long_name_over_the_short_one() {
        let vars = [
            ("FAREWELL_COORDINATOR__LEDGER", "postgres://long"),
            ("FAREWELL_LEDGER", "postgres://short"),
            ("FAREWELL_SLOTS", "8"),
            ("FAREWELL_WAIT", "500ms"),
            ("FAREWELL_PEERS", "[a, b]"),
            ("FAREWELL_LISTEN__STREAMS_MAX", "9"),
        ];
        for vars in [vars.to_vec(), vars.into_iter().rev().collect()] {
            let config = loaded(FILE, "coordinator", &vars).unwrap();
            assert_eq!(
                (config.ledger.as_str(), config.slots),
                ("postgres://long", 8)
            );
            assert_eq!(config.wait.get(), Duration::from_millis(500));
            assert_eq!(config.peers, ["a", "b"]);
            assert_eq!(config.listen.streams_max, 9);
        }
        let config: Process = parse(Dict::new(), "", owned(&vars[1..])).unwrap();
        assert_eq!(config.ledger, "postgres://short");
    }

    #[test]
    fn text_that_looks_like_a_number_is_still_text() {
        let vars = [
            ("FAREWELL_LISTEN__PASSWORD", "007"),
            ("FAREWELL_LEDGER", "true"),
        ];
        let config = loaded(FILE, "coordinator", &vars).unwrap();
        assert_eq!(config.listen.password.as_deref(), Some("007"));
        assert_eq!(config.ledger, "true");
    }

    #[test]
    fn variables_of_others_are_left_alone() {
        let vars = [
            ("FAREWELL_LOG", "debug"),
            ("FAREWELL_OUTPUT", "json"),
            ("FAREWELL_AGENT__PHONES__LEDGER", "sqlite:b.db"),
            ("FAREWELL_", "x"),
            ("FAREWELL___LEDGER", "x"),
            ("PATH", "/bin"),
        ];
        assert_eq!(
            loaded(FILE, "coordinator", &vars),
            loaded(FILE, "coordinator", &[])
        );
    }

    #[test]
    fn a_slip_of_the_pen_in_a_variable_is_told() {
        let vars = [
            ("FAREWELL_COORDINATOR__LEDGR", "x"),
            ("FAREWELL_LISTEN__CALERS", "x"),
        ];
        let told = lines(loaded(FILE, "coordinator", &vars).unwrap_err());
        assert_eq!(
            told,
            [
                "coordinator.ledgr: is not a key here; there are ledger, slots, wait, peers, listen (from FAREWELL_COORDINATOR__LEDGR)",
                "coordinator.listen.calers: is not a key here; there are callers, streams_max, password (from FAREWELL_LISTEN__CALERS)",
            ]
        );
    }

    #[test]
    fn all_mistakes_are_told_at_once_and_no_value_is() {
        let toml = r#"
            slots = "secret-1"
            wait = "soon"
            peers = [1, "secret-2"]
            surprise = "secret-3"
            [listen]
            streams_max = 0
            callers = 7
        "#;
        let problems = loaded(toml, "", &[("FAREWELL_SLOTS", "secret-4")]).unwrap_err();
        let text = problems.to_string();
        assert!(
            text.starts_with("the configuration has 7 problems:\n  "),
            "{text}"
        );
        let told = lines(problems);
        for line in [
            "slots: must be u16, but is text (from FAREWELL_SLOTS)",
            "wait: must be a duration such as 500ms, 10s, 15m, 3h or 15d",
            "peers.0: must be a string, but is a number",
            "surprise: is not a key here; there are ledger, slots, wait, peers, listen",
            "listen.streams_max: must be at least 1",
            "listen.callers: must be a string, but is a number",
            "ledger: is required",
        ] {
            assert!(
                told.iter().any(|told| told == line),
                "`{line}` is not among {told:#?}"
            );
        }
        assert!(!text.contains("secret-"), "{text}");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_a_problem_too() {
        let missing = file::<Process>(Path::new("/nonexistent.toml"));
        assert!(lines(missing.unwrap_err())[0].starts_with("/nonexistent.toml: "));
        assert!(lines(loaded("slots = ", "", &[]).unwrap_err())[0].contains("farewell.toml: "));
        let told = lines(loaded("agent = 7", "agent.phones", &[]).unwrap_err());
        assert_eq!(told, ["agent.phones: must be a section"]);
        // The real environment of the test is none of ours.
        assert!(load::<Process>(Some(Path::new("/nonexistent.toml")), "", &[]).is_err());
    }

    #[test]
    fn a_section_that_is_nobodys_is_named_and_so_is_a_key_outside_of_any() {
        let dir = Scratch::new();
        let sections = ["coordinator", "agent.phones"].map(str::to_owned);
        let strange = |toml: &str| {
            let file = dir.file("farewell.toml", toml);
            let found = strangers(&read(&file).unwrap(), &sections);
            found.into_iter().map(|it| it.key).collect::<Vec<_>>()
        };
        assert_eq!(strange(FILE), [""; 0]);
        assert_eq!(strange(""), [""; 0]);
        let wrong =
            "ledger = 'x'\n[coordinators]\nslots = 7\n[agent.phone]\nwindow = 7\n[agnet.phones]\n";
        assert_eq!(
            strange(wrong),
            ["agent.phone", "agnet", "coordinators", "ledger"]
        );
        assert_eq!(strange("agent = 7"), ["agent"]);
    }

    #[derive(Debug, Deserialize)]
    struct Strict {
        #[expect(dead_code, reason = "only read by serde")]
        needed: String,
        #[expect(dead_code, reason = "only read by serde")]
        count: u16,
    }

    impl Validate for Strict {
        fn problems(&self, _: &mut Vec<Problem>) {}
    }

    #[test]
    fn a_field_without_a_default_ends_the_reading() {
        let dir = Scratch::new();
        let at = dir.file("a.toml", "count = 'x'");
        let told = lines(file::<Strict>(&at).unwrap_err());
        assert_eq!(
            told,
            ["count: must be u16, but is text", "needed: is required"]
        );
    }
}
