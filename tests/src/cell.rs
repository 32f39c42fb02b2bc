//! A region's whole cell as processes under mutual TLS: a coordinator, identity, the store, the support desk and the phones' agent, in a
//! folder of their own.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use farewell_kit::store::Store;
use farewell_proto::account::v1::account_service_client::AccountServiceClient;
use farewell_runtime::certs::{self, DevCa};
use farewell_runtime::client::endpoint;
use farewell_runtime::peer::Role;
use farewell_runtime::server::Security;
use serde_json::Value;
use tempfile::TempDir;
use tonic::transport::Channel;

use crate::caller::{Caller, Operator};
use crate::process::{Process, free_port};
use crate::secret::holds;
use crate::wait;

/// Who takes part.
const PARTICIPANTS: [[&str; 2]; 4] = [
    ["service", "store"],
    ["service", "identity"],
    ["service", "support"],
    ["agent", "phones"],
];

/// Where links in letters lead.
pub const PAGE: &str = "https://account.example.com/farewell";

/// A cell's processes. They end when it is dropped.
#[derive(Debug)]
pub struct Cell {
    pub region: String,
    /// Where callers go.
    pub callers: String,
    operators: String,
    /// Where the support desk is.
    pub desk: String,
    /// Where devices are bound.
    pub phones: String,
    program: String,
    /// Whom callers and operators of the story show themselves to.
    shown: Shown,
    participants: BTreeMap<&'static str, Process>,
    coordinator: Option<Process>,
    pub folder: TempDir,
}

#[derive(Debug)]
struct Shown {
    caller: Security,
    operator: Security,
}

/// What differs between cells.
#[derive(Clone, Debug)]
pub struct Told<'a> {
    pub region: &'a str,
    /// The policy that it extends.
    pub policy: &'a str,
    /// `postgres://…` for coordinator and services alike; empty: files.
    pub database: &'a str,
    pub callers: &'a str,
    /// The other cells, as lines of settings.
    pub others: &'a str,
}

/// An address that nothing listens on yet.
pub fn address() -> Result<String> {
    Ok(format!("127.0.0.1:{}", free_port()?))
}

impl Cell {
    /// Writes certificates and settings. Nothing runs yet.
    pub fn new(program: &str, ca: &DevCa, told: &Told<'_>) -> Result<Self> {
        let folder = TempDir::new()?;
        let path = folder.path();
        let region = told.region;
        for (role, file, name) in [
            (Role::Coordinator, "coordinator", "coordinator"),
            (Role::Cell, "cell", region),
            (Role::Participant, "identity", "identity"),
            (Role::Participant, "store", "store"),
            (Role::Participant, "support", "support"),
            (Role::Participant, "phones", "phones"),
        ] {
            certs::write(path, file, &ca.issue(role, name, &[])?)?;
        }
        certs::order_key(path)?;
        let (participants, operators) = (address()?, address()?);
        let (desk, phones) = (address()?, address()?);
        let database = |name: &str| match told.database {
            "" => format!("sqlite:{}", path.join(format!("{name}.db")).display()),
            url => url.to_owned(),
        };
        let folder_text = path.display();
        let section = |role: &str, name: &str| {
            format!(
                "[{role}.{name}]\ndatabase = \"{}\"\ncoordinators = [\"{participants}\"]\ntls.dir = \"{folder_text}\"\n",
                database(name)
            )
        };
        let letters = format!("{{ kind = \"file\", path = \"{folder_text}/letters\" }}");
        let text = format!(
            r#"
[coordinator]
instance = "{region}"
ledger = "{ledger}"
tls.dir = "{folder_text}"
drain = "3s"
region.name = "{region}"
{others}
[coordinator.listen]
callers = "{callers}"
participants = "{participants}"
operators = "{operators}"
[coordinator.policy]
extends = "{policy}"
name = "story-{region}"
stages = [{{ name = "A", participants = ["phones", "store", "support"] }}, {{ name = "B", participants = ["identity"] }}]
channels = {{ phone = ["email_link"], web = ["password"] }}
cooling_off = "1s"
stalled_after = "1m"
recheck = "200ms"
[coordinator.pace]
lease = "3s"
poll = "100ms"
retry = "1s"
retry_max = "2s"
query = "3s"
{store}
{identity}
pepper = "sixteen bytes or more"
courier.sms = {letters}
courier.email = {letters}
notices.links = "{PAGE}"
{support}
listen.desk = "{desk}"
keys = "1:{key}"
{agent}
listen.devices = "{phones}"
"#,
            ledger = database("ledger"),
            others = told.others,
            callers = told.callers,
            policy = told.policy,
            store = section("service", "store"),
            identity = section("service", "identity"),
            support = section("service", "support"),
            agent = section("agent", "phones"),
            key = "5a".repeat(32),
        );
        fs::write(path.join("cell.toml"), text)?;
        let shown = |role, name| anyhow::Ok(Security::Mutual(ca.issue(role, name, &[])?));
        Ok(Self {
            region: region.to_owned(),
            callers: told.callers.to_owned(),
            operators,
            desk,
            phones,
            program: program.to_owned(),
            shown: Shown {
                caller: shown(Role::Caller, "settings")?,
                operator: shown(Role::Operator, "ops")?,
            },
            participants: BTreeMap::new(),
            coordinator: None,
            folder,
        })
    }

    /// Starts everybody, and waits until all are there.
    pub async fn start(&mut self) -> Result<()> {
        for [_, name] in PARTICIPANTS {
            self.start_participant(name)?;
        }
        self.start_coordinator().await
    }

    /// Starts one that takes part.
    pub fn start_participant(&mut self, name: &str) -> Result<()> {
        let mut known = PARTICIPANTS.into_iter();
        let role = known.find(|[_, it]| *it == name);
        let [kind, name] = role.with_context(|| format!("nobody is called {name}"))?;
        let process = self.launch(&[kind, name], name)?;
        self.participants.insert(name, process);
        Ok(())
    }

    /// Kills one that takes part without a word.
    pub fn kill_participant(&mut self, name: &str) -> Result<()> {
        let process = self.participants.remove(name);
        process.context("it doesn't run")?.kill()
    }

    /// Starts the coordinator, and waits until everybody is there.
    pub async fn start_coordinator(&mut self) -> Result<()> {
        self.coordinator = Some(self.launch(&["coordinator"], "coordinator")?);
        self.whole().await
    }

    /// Waits until everybody is there.
    pub async fn whole(&self) -> Result<()> {
        let operator = self.operator()?;
        wait::until("a cell to be whole", async || {
            let Ok(overview) = operator.overview().await else {
                return Ok(None);
            };
            let there = overview.participants.iter().all(|it| it.sessions > 0);
            Ok(there.then_some(()))
        })
        .await
        .with_context(|| self.words())
    }

    /// Kills the coordinator without a word.
    pub fn kill_coordinator(&mut self) -> Result<()> {
        let process = self.coordinator.take().context("a coordinator")?;
        process.kill()
    }

    fn launch(&self, arguments: &[&str], name: &str) -> Result<Process> {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .arg("--config")
            .arg(self.folder.path().join("cell.toml"))
            .arg("--with-parent");
        Process::start(&mut command, &self.log(name))
    }

    fn log(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(format!("{name}.log"))
    }

    /// What everybody has written, for a message.
    pub fn words(&self) -> String {
        let of = |name: &str| fs::read_to_string(self.log(name)).unwrap_or_default();
        let mut said = vec![of("coordinator")];
        said.extend(PARTICIPANTS.map(|[_, name]| of(name)));
        format!("{}: {}", self.region, said.join("\n"))
    }

    /// A caller of it.
    pub fn caller(&self) -> Result<Caller> {
        Caller::new(&self.callers, &self.shown.caller)
    }

    /// What is asked of accounts.
    pub fn accounts(&self) -> Result<AccountServiceClient<Channel>> {
        let channel = endpoint(&self.callers, &self.shown.caller)?.connect_lazy();
        Ok(AccountServiceClient::new(channel))
    }

    /// An operator of it.
    pub fn operator(&self) -> Result<Operator> {
        Operator::new(&self.operators, &self.shown.operator)
    }

    /// The tokens of links that were mailed to confirm a deletion, oldest first.
    pub fn links(&self, deletion: &str) -> Result<Vec<String>> {
        let id = deletion.trim_start_matches("deletions/");
        let begin = format!("{PAGE}#confirm={id}.");
        let letters = fs::read_to_string(self.folder.path().join("letters")).unwrap_or_default();
        let mut tokens = Vec::new();
        for line in letters.lines() {
            let letter: Value = serde_json::from_str(line)?;
            let text = letter["text"].as_str().unwrap_or_default();
            if let Some((_, rest)) = text.split_once(&begin) {
                let secret: String = rest.chars().take_while(char::is_ascii_hexdigit).collect();
                tokens.push(format!("{id}.{secret}"));
            }
        }
        Ok(tokens)
    }

    /// Identity's database, while it runs as well: where the company's registration writes.
    pub async fn identity(&self, database: &str) -> Result<Store> {
        let file = format!(
            "sqlite:{}",
            self.folder.path().join("identity.db").display()
        );
        let url = if database.is_empty() { &file } else { database };
        Ok(farewell_identity::open(url).await?)
    }

    /// Fails if any file of the cell, databases and logs alike, holds this text.
    pub fn knows_nothing_of(&self, text: &str) -> Result<()> {
        let mut looked = 0;
        for entry in fs::read_dir(self.folder.path())? {
            let path = entry?.path();
            if path.is_file() {
                // Its owner may have done with a file meanwhile.
                let bytes = fs::read(&path).unwrap_or_default();
                ensure!(!holds(&bytes, text), "{} holds {text}", path.display());
                looked += 1;
            }
        }
        ensure!(looked > 5, "only {looked} files were looked into");
        Ok(())
    }
}
