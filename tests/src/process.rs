//! Processes of the product, to be started, stopped, paused and killed.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::net::TcpListener;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, bail, ensure};
use farewell_runtime::certs;
use farewell_runtime::server::Security;

use crate::caller::{Caller, Operator};
use crate::wait;

/// A value of the environment that the story can't do without. `None` if the story is to be skipped.
///
/// Panics: it is missing, and whoever runs the tests asked for all of them.
pub fn needed(name: &str) -> Option<String> {
    if let Ok(value) = std::env::var(name) {
        return Some(value);
    }
    let required = std::env::var("FAREWELL_TEST_REQUIRED").is_ok_and(|value| value == "1");
    assert!(!required, "{name} is not set, and no story may be skipped");
    eprintln!("skipped: {name} is not set");
    None
}

/// A port that is free, and that neither an outgoing connection nor anybody else of this process is given: who is started
/// later, or again, finds it free still.
pub fn free_port() -> Result<u16> {
    const TRIES_MAX: u32 = 1_000;
    // Below what Linux gives to outgoing connections (32768 to 60999), above what services use.
    const PORTS: Range<u16> = 12_000..32_000;
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..TRIES_MAX {
        let port = rand::random_range(PORTS);
        if !given.contains(&port) && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            given.insert(port);
            return Ok(port);
        }
    }
    bail!("no free port in {TRIES_MAX} tries");
}

/// A running process. It is killed when it is dropped, and ends by itself if the story dies.
#[derive(Debug)]
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts a program; what it writes goes to the end of `log`.
    pub fn start(command: &mut Command, log: &Path) -> Result<Self> {
        Self::start_apart(command, log, log)
    }

    /// Starts a program that answers on standard output, which goes to the end of `told`, and tells the rest to `log`.
    pub fn start_apart(command: &mut Command, told: &Path, log: &Path) -> Result<Self> {
        let open = |path| File::options().create(true).append(true).open(path);
        let child = command
            .stdin(Stdio::piped())
            .stdout(open(told)?)
            .stderr(open(log)?)
            .spawn()
            .with_context(|| format!("starting {command:?}"))?;
        Ok(Self { child })
    }

    /// Ends it without a word, and waits until it is gone.
    pub fn kill(mut self) -> Result<()> {
        ensure!(self.is_running(), "it had ended before it was killed");
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to end, and waits until it has.
    pub async fn end(mut self) -> Result<()> {
        self.stop().await
    }

    /// The same, where another takes its place.
    pub async fn stop(&mut self) -> Result<()> {
        self.signal("TERM")?;
        wait::until("a process to end", async || {
            Ok((!self.is_running()).then_some(()))
        })
        .await
    }

    /// The system's number of it.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) -> Result<()> {
        let line = format!("kill -{name} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &line]).status()?;
        ensure!(status.success(), "{line}");
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a coordinator process is told, and where it is found however often it is started.
#[derive(Clone, Debug)]
pub struct CoordinatorSite {
    program: String,
    config: PathBuf,
    pub log: PathBuf,
    pub callers: String,
    pub participants: String,
    pub operators: String,
    /// Whether it ends when the story does, however that ends. Not so in production.
    pub with_parent: bool,
    /// Variables of the process, beside the story's own.
    pub env: Vec<(String, String)>,
}

/// What differs between the stories.
#[derive(Clone, Debug)]
pub struct Told<'a> {
    pub instance: &'a str,
    /// Who takes part, stage by stage.
    pub stages: &'a [&'a [&'a str]],
    pub ledger: &'a str,
    pub lease: &'a str,
    pub cooling_off: &'a str,
    /// Where spans go; empty: nowhere.
    pub collector: &'a str,
}

impl CoordinatorSite {
    /// Writes the settings into `folder`. No factors are asked for.
    pub fn new(program: &str, folder: &Path, told: &Told<'_>) -> Result<Self> {
        let Told {
            instance,
            stages,
            ledger,
            lease,
            cooling_off,
            collector,
        } = told;
        let address = || anyhow::Ok(format!("127.0.0.1:{}", free_port()?));
        let (callers, participants, operators) = (address()?, address()?, address()?);
        let spans = if collector.is_empty() {
            String::new()
        } else {
            format!("otlp_endpoint = \"{collector}\"")
        };
        let stages = stages.iter().zip('A'..).map(|(participants, name)| {
            format!("{{ name = \"{name}\", participants = {participants:?} }}")
        });
        let stages = stages.collect::<Vec<_>>().join(", ");
        certs::order_key(folder)?;
        let orders = folder.join("orders.key").display().to_string();
        let text = format!(
            r#"
[coordinator]
instance = "{instance}"
ledger = "{ledger}"
plain = true
drain = "3s"
orders.key = "{orders}"
[coordinator.listen]
callers = "{callers}"
participants = "{participants}"
operators = "{operators}"
[coordinator.policy]
extends = "cn"
name = "story"
stages = [{stages}]
channels = {{ phone = [] }}
cooling_off = "{cooling_off}"
stalled_after = "1m"
recheck = "200ms"
[coordinator.pace]
lease = "{lease}"
poll = "100ms"
retry = "1s"
retry_max = "2s"
query = "4s"
[coordinator.telemetry]
log = "info"
{spans}
"#
        );
        let config = folder.join(format!("{instance}.toml"));
        fs::write(&config, text)?;
        Ok(Self {
            program: program.to_owned(),
            config,
            log: folder.join(format!("{instance}.log")),
            callers,
            participants,
            operators,
            with_parent: true,
            env: Vec::new(),
        })
    }

    /// Starts the process and returns at once.
    pub fn launch(&self) -> Result<Process> {
        let mut command = Command::new(&self.program);
        command.arg("coordinator").arg("--config").arg(&self.config);
        command.envs(self.env.iter().cloned());
        if self.with_parent {
            command.arg("--with-parent");
        }
        Process::start(&mut command, &self.log)
    }

    /// Starts the process and waits until it answers.
    pub async fn start(&self) -> Result<Process> {
        let mut process = self.launch()?;
        let operator = self.operator()?;
        let answers = wait::until("the coordinator to answer", async || {
            ensure!(process.is_running(), "the coordinator has ended");
            Ok(operator.overview().await.is_ok().then_some(()))
        });
        answers.await.with_context(|| self.words())?;
        Ok(process)
    }

    /// What it has written, for a message.
    pub fn words(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// A caller of it.
    pub fn caller(&self) -> Result<Caller> {
        Caller::new(&self.callers, &Security::PlainLoopback)
    }

    /// An operator of it.
    pub fn operator(&self) -> Result<Operator> {
        Operator::new(&self.operators, &Security::PlainLoopback)
    }
}

/// The participants' process: real sessions, each with its own database.
#[derive(Clone, Debug)]
pub struct ParticipantsSite {
    program: PathBuf,
    folder: PathBuf,
    coordinators: String,
    pub log: PathBuf,
}

/// Whom a [`ParticipantsSite`] plays.
pub const PARTICIPANTS: [&str; 3] = ["cloud", "community", "identity"];
/// A plan for them.
pub const STAGES: &[&[&str]] = &[&["cloud", "community"], &["identity"]];

impl ParticipantsSite {
    /// `program` is the test binary `story-participants`; databases lie in `folder`.
    pub fn new(program: &str, folder: &Path, coordinators: &[&CoordinatorSite]) -> Self {
        let addresses: Vec<_> = coordinators
            .iter()
            .map(|it| it.participants.clone())
            .collect();
        Self {
            program: program.into(),
            folder: folder.to_owned(),
            coordinators: addresses.join(","),
            log: folder.join("participants.log"),
        }
    }

    /// Starts the process and returns at once.
    pub fn launch(&self) -> Result<Process> {
        let mut command = Command::new(&self.program);
        command
            .arg(&self.folder)
            .arg(&self.coordinators)
            .args(PARTICIPANTS);
        Process::start(&mut command, &self.log)
    }

    /// The database of a participant.
    pub fn database(&self, name: &str) -> String {
        database(&self.folder, name)
    }
}

/// Where a participant keeps what it holds.
pub fn database(folder: &Path, name: &str) -> String {
    format!("sqlite:{}", folder.join(format!("{name}.db")).display())
}
