//! A receiver of Security Event Tokens from another house, in Python, and what it got.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use farewell_coordinator::{Delivery, Events, Listener, Receiver};
use farewell_runtime::cose::SigningKey;
use farewell_runtime::jws;
use farewell_runtime::server::Security;
use serde_json::Value;
use tempfile::TempDir;

use crate::process::{Process, free_port, needed};

const BEARER: &str = "t0ken";
const TYPE: &str = "https://schemas.openid.net/secevent/risc/event-type/";

/// What the tokens are signed with.
///
/// Panics: never.
pub fn key() -> SigningKey {
    SigningKey::from_seed(&[9; 32]).expect("32 bytes are a seed")
}

/// A receiver in Python, and what it has got.
pub struct Python {
    port: u16,
    pub program: String,
    pub folder: TempDir,
    pub running: Option<Process>,
    /// Accounts whose events it does not take begin so.
    pub never: &'static str,
}

impl Python {
    pub fn new() -> Result<Option<Self>> {
        let Some(program) = needed("FAREWELL_TEST_PYTHON") else {
            return Ok(None);
        };
        let folder = tempfile::tempdir()?;
        let keys = jws::key_set(&[key().public()]);
        std::fs::write(folder.path().join("keys.json"), keys.to_string())?;
        Ok(Some(Self {
            port: free_port()?,
            program,
            folder,
            running: None,
            never: "",
        }))
    }

    fn command(&self, audience: &str) -> Command {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("foreign/receiver.py");
        let mut command = Command::new(&self.program);
        command.arg(script).args(["--audience", audience]);
        command
            .arg("--keys")
            .arg(self.folder.path().join("keys.json"));
        command
    }

    /// Listens, and begins with these answers.
    pub fn listen(&mut self, name: &str, answers: &str) -> Result<()> {
        let mut command = self.command(name);
        command.args(["--port", &self.port.to_string(), "--bearer", BEARER]);
        command.args(["--answers", answers, "--never", self.never]);
        let log = self.folder.path().join("python.log");
        self.running = Some(Process::start_apart(&mut command, &self.told(), &log)?);
        Ok(())
    }

    fn told(&self) -> PathBuf {
        self.folder.path().join("told.json")
    }

    /// As settings say it.
    pub fn receiver(&self, name: &str) -> Receiver {
        Receiver {
            name: name.to_owned(),
            audience: name.to_owned(),
            delivery: Delivery::Push {
                url: format!("http://127.0.0.1:{}/events", self.port),
                token: Some(BEARER.to_owned()),
                authority: None,
            },
        }
    }

    /// Everything that came, with the answer to it.
    pub fn seen(&self) -> Result<Vec<Value>> {
        let text = std::fs::read_to_string(self.told()).unwrap_or_default();
        let lines = text.lines().map(|line| Ok(serde_json::from_str(line)?));
        lines.collect()
    }

    /// What it took, by account, in the order of its coming.
    pub fn taken(&self) -> Result<BTreeMap<String, Vec<String>>> {
        let mut taken = BTreeMap::<_, Vec<_>>::new();
        for line in self.seen()? {
            ensure!(line["wrong"].is_null(), "{line}");
            if line["answer"] == "202" {
                let (account, event) = told(&line["claims"])?;
                taken.entry(account).or_default().push(event);
            }
        }
        Ok(taken)
    }

    /// What a token says, if it holds.
    pub fn check(&self, token: &str, audience: &str) -> Result<Value> {
        let mut child = self
            .command(audience)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut input = child.stdin.take().context("its input")?;
        input.write_all(token.as_bytes())?;
        drop(input);
        let output = child.wait_with_output()?;
        ensure!(output.status.success(), "{token} doesn't hold");
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}

/// Whom a coordinator tells, and where they fetch.
pub fn events(receivers: Vec<Receiver>, listener: Option<Listener>) -> Events {
    Events {
        issuer: "https://id.example.com".to_owned(),
        key: key(),
        receivers,
        listener,
        refused_kept: Duration::from_secs(3_600),
    }
}

/// A port of its own, for who fetches.
pub fn loopback(security: Security) -> Listener {
    Listener {
        address: ([127, 0, 0, 1], 0).into(),
        security,
    }
}

/// As settings say it of who fetches.
pub fn fetching(name: &str, audience: &str) -> Receiver {
    Receiver {
        name: name.to_owned(),
        audience: audience.to_owned(),
        delivery: Delivery::Poll,
    }
}

/// Of whom, and what: `disabled`, `enabled`, `purged`, or `recycled KIND` of identifiers.
///
/// Errors: it is no token of Farewell's.
pub fn told(claims: &Value) -> Result<(String, String)> {
    let account = claims["sub_id"]["sub"].as_str().context("a subject")?;
    let events = claims["events"].as_object().context("events")?;
    let (event, says) = events.iter().next().context("an event")?;
    let word = event.strip_prefix(TYPE).context("a RISC event")?;
    let word = match word {
        "identifier-recycled" => {
            let kind = says["identifier"].as_str().context("a kind")?;
            format!("recycled {kind}")
        }
        _ => word
            .strip_prefix("account-")
            .context("an account's event")?
            .to_owned(),
    };
    Ok((account.to_owned(), word))
}
