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
    let mut told = lines(file::<Lists>(&at, |_| ()).unwrap_err());
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
    let told = lines(file::<Process>(&at, |_| ()).unwrap_err());
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
    let missing = file::<Process>(Path::new("/nonexistent.toml"), |_| ());
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
    let told = lines(file::<Strict>(&at, |_| ()).unwrap_err());
    assert_eq!(
        told,
        [
            "count: must be a whole number from 0 to 65535, but is text",
            "needed: is required"
        ]
    );
}
