//! What each role reads: one TOML file with a section for every role, every key also `FAREWELL_…`, and every mistake said
//! at once, before a port opens.

mod agent;
mod coordinator;
mod courier;
mod events;
mod policy;
mod region;
mod service;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use farewell_kit::session;
use farewell_runtime::client;
use farewell_runtime::config::{self, Human, Problem, Problems, Validate};
use farewell_runtime::server::Security;
use farewell_runtime::tls::Credentials;
use serde::Deserialize;

pub use self::agent::{Agent, Line};
pub use self::coordinator::Coordinator;
pub use self::policy::{PolicyChoice, calendar, policy};
pub use self::service::{Name, Service};

/// Where participants dial by default.
const COORDINATOR: &str = "127.0.0.1:7401";
/// Commands that a participant works on at a time.
const WINDOW_COMMANDS: u32 = 256;
/// What the wire allows.
const WINDOW_COMMANDS_MAX: u32 = 65_536;

/// Where a role's settings come from.
#[derive(Clone, Debug, Default, Args)]
pub struct Source {
    /// Settings in TOML; a variable FAREWELL_… wins over its key
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Read the settings, say what is wrong, and end; certificates and databases are not touched
    #[arg(long)]
    pub check: bool,
    /// End when standard input is closed: whoever holds the other end may die without a word
    #[arg(long, hide = true)]
    pub with_parent: bool,
}

/// Which certificate a process shows.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// Folder with ca.pem, NAME.pem and NAME.key.
    pub dir: Option<PathBuf>,
    /// NAME. None: the role's.
    pub name: Option<String>,
}

impl Tls {
    /// Mistakes in the choice between TLS and plain text.
    fn problems(&self, plain: bool, out: &mut Vec<Problem>) {
        match (&self.dir, plain) {
            (Some(_), false) | (None, true) => {}
            (None, false) => out.push(Problem::new(
                "tls.dir",
                "is required: a folder with ca.pem and this role's certificate; or plain = true, on this machine only",
            )),
            (Some(_), true) => out.push(Problem::new("plain", "contradicts tls.dir")),
        }
    }

    /// What protects the connections of `role`.
    ///
    /// Errors: a file that can't be read.
    fn security(&self, role: &str) -> Result<Security, farewell_runtime::tls::Error> {
        match &self.dir {
            Some(dir) => {
                let name = self.name.as_deref().unwrap_or(role);
                Credentials::from_dir(dir, name).map(Security::Mutual)
            }
            None => Ok(Security::PlainLoopback),
        }
    }
}

/// A port that others can reach needs TLS.
fn exposed(key: &str, address: Option<SocketAddr>, plain: bool, out: &mut Vec<Problem>) {
    if let Some(address) = address
        && plain
        && let Err(exposed) = Security::PlainLoopback.check(address)
    {
        out.push(Problem::new(key, exposed.to_string()));
    }
}

/// How the URL of a PostgreSQL begins.
const POSTGRES: [&str; 2] = ["postgres://", "postgresql://"];
/// How the URL of any database begins.
const DATABASES: [&str; 3] = ["sqlite:", POSTGRES[0], POSTGRES[1]];

/// A database that a participant can open.
fn database(key: &str, url: &str, out: &mut Vec<Problem>) {
    if !url.is_empty() && !begins(url, &DATABASES) {
        out.push(Problem::new(key, "must be sqlite:PATH or postgres://…"));
    }
}

/// Whether it is one of these and something.
fn begins(url: &str, schemes: &[&str]) -> bool {
    let mut rest = schemes.iter().filter_map(|scheme| url.strip_prefix(scheme));
    rest.any(|rest| !rest.is_empty())
}

/// A ledger, in settings as on a command line: nothing is started before it can be one.
///
/// Errors: how it must be written.
pub fn ledger(url: &str) -> Result<String, String> {
    match url == "memory:" || begins(url, &DATABASES) {
        true => Ok(url.to_owned()),
        false => Err("must be sqlite:PATH, postgres://… or memory:".to_owned()),
    }
}

/// A PostgreSQL, as a command line names it.
///
/// Errors: how it must be written.
pub fn postgres(url: &str) -> Result<String, String> {
    match begins(url, &POSTGRES) {
        true => Ok(url.to_owned()),
        false => Err("must be postgres://USER:PASSWORD@HOST/DATABASE".to_owned()),
    }
}

/// Ports that can't be the same. Port 0 is whichever is free.
fn distinct(ports: &[(&str, SocketAddr)], out: &mut Vec<Problem>) {
    for (place, (key, address)) in ports.iter().enumerate() {
        let mut before = ports[..place].iter();
        if let Some((taken, _)) = before.find(|(_, it)| it == address && it.port() != 0) {
            out.push(Problem::new(*key, format!("is the same as {taken}")));
        }
    }
}

/// How coordinators are reached, as every participant says it.
fn reach(coordinators: &[String], window: u32, plain: bool, out: &mut Vec<Problem>) {
    if coordinators.is_empty() {
        out.push(Problem::new("coordinators", "must name at least one"));
    }
    for (place, address) in coordinators.iter().enumerate() {
        let message = match client::endpoint(address, &Security::PlainLoopback) {
            Err(client::Error::Exposed { .. }) if plain => {
                "is not on this machine, so it needs TLS: tls.dir in place of plain"
            }
            Ok(_) | Err(client::Error::Exposed { .. }) => continue,
            Err(_) => "must be host:port",
        };
        out.push(Problem::new(format!("coordinators.{place}"), message));
    }
    if !(1..=WINDOW_COMMANDS_MAX).contains(&window) {
        out.push(Problem::new("window", "must be 1 to 65536"));
    }
}

fn session(
    participant: &str,
    coordinators: &[String],
    window: u32,
    security: &Security,
) -> session::Config {
    session::Config {
        participant: participant.to_owned(),
        coordinators: coordinators.to_vec(),
        security: security.clone(),
        window_commands: window,
    }
}

/// The URL as given, or a file of the role's name where the process was started.
fn database_or_file(url: &str, role: &str) -> String {
    if url.is_empty() {
        format!("sqlite:{role}.db")
    } else {
        url.to_owned()
    }
}

/// Durations that must not be nothing.
fn positive(key: &str, duration: Human, out: &mut Vec<Problem>) {
    if duration.get().is_zero() {
        out.push(Problem::new(key, "must be longer than nothing"));
    }
}

/// The section of a role, and the file it stands in, which has nothing but sections of roles.
fn load<T>(source: &Source, section: &str) -> Result<T, Problems>
where
    T: serde::de::DeserializeOwned + Validate,
{
    config::load(source.config.as_deref(), section, &sections())
}

/// Of every role.
fn sections() -> Vec<String> {
    let services = Name::ALL.map(|name| format!("service.{name}"));
    let agents = Line::ALL.map(|line| format!("agent.{line}"));
    let coordinator = ["coordinator".to_owned()];
    coordinator
        .into_iter()
        .chain(services)
        .chain(agents)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn file(text: &str) -> (tempfile::NamedTempFile, Source) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let source = Source {
            config: Some(file.path().to_owned()),
            ..Source::default()
        };
        (file, source)
    }

    #[test]
    fn a_section_that_is_misspelt_is_said_beside_everything_else() {
        let text = "[coordinators]\nslots = 7\n[servce.store]\n[service.stroe]\n\
                    [agent.phones]\nplain = true\nwindow = 0\n";
        let (_file, source) = file(text);
        let problems = Agent::load(&source, Line::Phones).map(drop).unwrap_err();
        let keys: Vec<_> = problems.0.iter().map(|it| it.key.as_str()).collect();
        let own = [
            "coordinators",
            "service.stroe",
            "servce",
            "agent.phones.window",
        ];
        assert!(own.iter().all(|key| keys.contains(key)), "{keys:?}");
        assert_eq!(keys.len(), own.len(), "{keys:?}");
    }

    #[test]
    fn the_file_to_try_things_out_with_has_all_that_every_role_needs() {
        let readme = include_str!("../../README.md");
        let (_, shown) = readme.split_once("```toml\n").unwrap();
        let (shown, _) = shown.split_once("```").unwrap();
        let (_file, source) = file(shown);
        Coordinator::load(&source).unwrap();
        for service in Name::ALL {
            Service::load(&source, service).unwrap();
        }
        for line in Line::ALL {
            Agent::load(&source, line).unwrap();
        }
    }

    #[test]
    fn one_file_holds_every_role_and_each_reads_its_section() {
        let (_file, source) = file(
            r#"
            [coordinator]
            plain = true
            [coordinator.policy]
            name = "hasty"
            cooling_off = "10s"
            deadline = "1h"
            deadline_warning = "10m"
            [agent.phones]
            plain = true
            [agent.smarthome]
            plain = true
            [service.store]
            plain = true
            "#,
        );
        let coordinator = Coordinator::load(&source).unwrap().config().unwrap();
        assert_eq!(coordinator.policy.cooling_off.as_secs(), 10);
        assert_eq!(coordinator.callers.address.to_string(), "127.0.0.1:7400");
        let phones = Agent::load(&source, Line::Phones).unwrap();
        assert_eq!(phones.devices(Line::Phones).to_string(), "127.0.0.1:7410");
        let home = Agent::load(&source, Line::Smarthome).unwrap();
        assert_eq!(home.devices(Line::Smarthome).to_string(), "127.0.0.1:7412");
        Service::load(&source, Name::Store).unwrap();
    }

    #[test]
    fn every_mistake_is_said_at_once() {
        let (_file, source) = file(
            r#"
            [coordinator]
            ledger = "mysql://x"
            [coordinator.listen]
            callers = "somewhere"
            [coordinator.policy]
            extends = "mars"
            [coordinator.pace]
            lease = "0s"
            "#,
        );
        let problems = Coordinator::load(&source).unwrap_err();
        let keys: Vec<&str> = problems.0.iter().map(|found| found.key.as_str()).collect();
        assert_eq!(
            keys,
            [
                "coordinator.listen.callers",
                "coordinator.ledger",
                "coordinator.tls.dir",
                "coordinator.policy.extends",
                "coordinator.pace.lease",
            ]
        );
    }

    #[test]
    fn plain_text_stays_on_this_machine() {
        let (_file, source) = file(
            r#"
            [agent.phones]
            plain = true
            listen.devices = "0.0.0.0:7410"
            "#,
        );
        let problems = Agent::load(&source, Line::Phones).unwrap_err();
        assert_eq!(problems.0[0].key, "agent.phones.listen.devices");
    }
}
