//! One TOML file, every key also in the environment, and every mistake reported at once.
//!
//! A process asks for its section of the file. For the section `coordinator` the key `listen.callers`
//! can be set as `FAREWELL_COORDINATOR__LISTEN__CALLERS`, or in short as `FAREWELL_LISTEN__CALLERS`;
//! the environment wins over the file and the long name over the short one.
//!
//! All mistakes can only be found if the reader can go on after one. Give every field a default
//! (`#[serde(default)]`) and ask for what is required in [`Validate`]: a section goes unread that lacks a
//! field without one.

mod human;
mod problem;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use figment::{
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
    Toml::from_str(&text).map_err(|error| {
        // Without the line as it stands: it may be a password's.
        let what = error.message().replace('\n', ", ");
        named(match error.span() {
            Some(span) => format!("{}: {what}", place(&text, span.start)),
            None => what,
        })
    })
}

/// Where a byte of the text stands, as editors count.
fn place(text: &str, byte: usize) -> String {
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
    let mut reader = Reader {
        section,
        dict: part(whole, section)?,
        given: BTreeMap::new(),
        problems: Vec::new(),
        holes: Holes::default(),
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
    holes: Holes,
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

/// figment's own words name the value; these do not.
fn explain(kind: &Kind) -> String {
    match kind {
        Kind::InvalidType(actual, expected) => {
            format!("must be {}, but is {}", meant(expected), shape(actual))
        }
        Kind::InvalidValue(_, expected) => format!("must be {}", meant(expected)),
        Kind::InvalidLength(count, expected) => {
            format!("must be {}, but has {count}", meant(expected))
        }
        Kind::UnknownVariant(_, known) => format!("must be one of {}", known.join(", ")),
        Kind::UnknownField(_, known) => {
            format!("is not a key here; there are {}", known.join(", "))
        }
        Kind::MissingField(_) => "is required".into(),
        Kind::Message(said) if said == "invalid socket address syntax" => {
            "must be an address with its port, such as 127.0.0.1:7400 or [::1]:7400".into()
        }
        other => other.to_string(),
    }
}

/// What was expected, in words that aren't the program's.
fn meant(expected: &str) -> &str {
    match expected {
        "a boolean" => "true or false",
        "a string" => "text",
        "a sequence" => "a list",
        "a map" => "a section",
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" | "u64" | "usize" => "a whole number",
        other if other.starts_with("struct ") => "a section",
        other if other.starts_with("enum ") => "one of the words for it",
        other => other,
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

/// What was taken away.
enum Removed {
    Key,
    /// Of a list, whose place in it is that far down the path.
    Element {
        depth: usize,
    },
}

/// Removes what is at `path`. `None`: nothing is.
fn remove(dict: &mut Dict, path: &[String]) -> Option<Removed> {
    let [key, rest @ ..] = path else { return None };
    match dict.get_mut(key)? {
        Value::Dict(_, inner) if !rest.is_empty() => remove(inner, rest).map(Removed::below),
        Value::Array(_, list) if !rest.is_empty() => remove_of(list, rest).map(Removed::below),
        _ => dict.remove(key).map(|_| Removed::Key),
    }
}

fn remove_of(list: &mut Vec<Value>, path: &[String]) -> Option<Removed> {
    let [place, rest @ ..] = path else {
        return None;
    };
    let place: usize = place.parse().ok()?;
    match list.get_mut(place)? {
        Value::Dict(_, inner) if !rest.is_empty() => remove(inner, rest).map(Removed::below),
        Value::Array(_, inner) if !rest.is_empty() => remove_of(inner, rest).map(Removed::below),
        _ => {
            list.remove(place);
            Some(Removed::Element { depth: 0 })
        }
    }
}

impl Removed {
    fn below(self) -> Self {
        match self {
            Self::Key => Self::Key,
            Self::Element { depth } => Self::Element { depth: depth + 1 },
        }
    }
}

/// Places of lists that were emptied: what came after one has moved up, and is still called by where it stood.
#[derive(Default)]
struct Holes(BTreeMap<String, BTreeSet<usize>>);

impl Holes {
    /// What was found at `path` is gone.
    fn note(&mut self, path: &[String]) {
        let key = self.original(&path.join("."));
        if let Some((list, place)) = key.rsplit_once('.')
            && let Ok(place) = place.parse()
        {
            self.0.entry(list.to_owned()).or_default().insert(place);
        }
    }

    /// Where it stood what is found at `key` now. Lists come before those within them.
    fn original(&self, key: &str) -> String {
        let mut key = key.to_owned();
        for (list, holes) in &self.0 {
            let Some(rest) = key.strip_prefix(list).and_then(|it| it.strip_prefix('.')) else {
                continue;
            };
            let (place, below) = match rest.split_once('.') {
                Some((place, below)) => (place, Some(below)),
                None => (rest, None),
            };
            let Ok(mut place) = place.parse::<usize>() else {
                continue;
            };
            // In order, so that each hole is counted from where the ones before it put it.
            for hole in holes {
                place += usize::from(*hole <= place);
            }
            key = join(&format!("{list}.{place}"), below.unwrap_or_default());
        }
        key
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
            if self.callers.is_empty() {
                out.push(Problem::new("callers", "must be an address"));
                out.push(Problem::new("callers", "must not be empty"));
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
            "slots: must be a whole number from 0 to 65535, but is text (from FAREWELL_SLOTS)",
            "wait: must be a duration such as 500ms, 10s, 15m, 3h or 15d",
            "peers.0: must be text, but is a number",
            "surprise: is not a key here; there are ledger, slots, wait, peers, listen",
            "listen.streams_max: must be at least 1",
            "listen.callers: must be text, but is a number",
            "ledger: is required",
        ] {
            assert!(
                told.iter().any(|told| told == line),
                "`{line}` is not among {told:#?}"
            );
        }
        assert!(!text.contains("secret-"), "{text}");
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Lists {
        peers: Vec<String>,
        stages: Vec<Step>,
        route: Option<Route>,
        pepper: String,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Step {
        name: String,
        places: Vec<u16>,
    }

    #[derive(Debug, Deserialize)]
    struct Route {
        #[expect(dead_code, reason = "only read by serde")]
        kind: u16,
        #[expect(dead_code, reason = "only read by serde")]
        to: u16,
    }

    impl Validate for Lists {
        fn problems(&self, out: &mut Vec<Problem>) {
            for (place, step) in self.stages.iter().enumerate() {
                if step.name.is_empty() || step.places.is_empty() {
                    out.push(Problem::new(format!("stages.{place}"), "is nothing"));
                }
            }
            if self.route.is_none() {
                out.push(Problem::new("route", "is required"));
            }
            if self.pepper.is_empty() {
                out.push(Problem::new("pepper", "is required"));
            }
        }
    }

    #[test]
    fn what_is_wrong_with_one_of_a_list_hides_nothing_of_the_others() {
        let dir = Scratch::new();
        let at = dir.file(
            "a.toml",
            r#"
            peers = [1, "a", 2, "b", 3]
            [route]
            kind = "x"
            to = "y"
            [[stages]]
            name = 7
            places = [1, "x", 2, "y"]
            surprise = 1
            [[stages]]
            name = "a"
            places = [1]
            [[stages]]
            name = ""
            places = [1, "x", 70000]
            [[stages]]
            name = "b"
            [[stages]]
            name = ""
            places = []
            "#,
        );
        let mut told = lines(file::<Lists>(&at).unwrap_err());
        told.sort();
        let keys = told.iter().map(|line| line.split(": ").next().unwrap());
        let keys: Vec<_> = keys.collect();
        assert_eq!(
            keys,
            [
                "peers.0",
                "peers.2",
                "peers.4",
                "pepper",
                "route.kind",
                "route.to",
                "stages.0.name",
                "stages.0.places.1",
                "stages.0.places.3",
                "stages.0.surprise",
                "stages.2.places.1",
                "stages.2.places.2",
                "stages.3.places",
                "stages.4",
            ],
            "{told:#?}"
        );
    }

    #[test]
    fn a_torn_line_is_named_and_not_shown() {
        let dir = Scratch::new();
        let at = dir.file("a.toml", "slots = 1\nledger = \"secret\nwait = '1s'\n");
        let told = lines(file::<Process>(&at).unwrap_err());
        assert_eq!(told.len(), 1, "{told:?}");
        let torn = told[0].contains("a.toml: line 2, column ");
        assert!(
            torn && !told[0].contains("secret") && !told[0].contains('\n'),
            "{told:?}"
        );
    }

    #[test]
    fn one_key_may_be_wrong_in_two_ways() {
        let problems = loaded("ledger = 'x'\n[listen]\ncallers = ''", "", &[]).unwrap_err();
        let told = [
            "listen.callers: must be an address",
            "listen.callers: must not be empty",
        ];
        assert_eq!(lines(problems), told);
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
            [
                "count: must be a whole number from 0 to 65535, but is text",
                "needed: is required"
            ]
        );
    }
}
