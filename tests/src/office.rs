//! A coordinator, the support desk, the store and the phones' agent, each a process of the real binary with a certificate of its own,
//! and people who ask them by the command line.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use anyhow::{Context as _, Result, ensure};
use farewell_proto::binding::v1::binding_service_client::BindingServiceClient;
use farewell_proto::binding::v1::{Binding, ListBindingsRequest};
use farewell_runtime::client::endpoint;
use farewell_runtime::server::Security;
use farewell_runtime::tls::Credentials;
use serde_json::Value;
use tempfile::TempDir;
use tonic::transport::Channel;

use crate::process::{Process, free_port, needed};
use crate::secret::holds;
use crate::wait;

/// What a document says: nobody may find it on the disk.
pub const SECRET: &str = "passport number E00000000 of nobody in particular";
/// Exit codes of the command line.
pub const NOT_FOUND: i32 = 3;
pub const REFUSED: i32 = 4;
pub const USAGE: i32 = 2;
pub const NOT_ALLOWED: i32 = 7;

/// The processes, in this order.
const ROLES: [[&str; 2]; 7] = [
    ["coordinator", ""],
    ["service", "support"],
    ["service", "store"],
    ["agent", "phones"],
    ["service", "community"],
    ["service", "identity"],
    ["service", "cloud"],
];
/// How many of them are in a town where nobody is known by name.
const NAMELESS: usize = 4;
/// And in one where nobody keeps photos.
const WITH_PEOPLE: usize = 6;

/// See the module.
pub struct Town {
    program: String,
    folder: TempDir,
    pub callers: String,
    pub operators: String,
    pub desk: String,
    pub phones: String,
    /// Settings of the processes beside those in the file, as variables.
    env: Vec<(&'static str, String)>,
    running: Vec<Option<Process>>,
}

impl Town {
    /// With this cooling-off period, and documents that stay so long after a case. `None` where nobody insists on the binary.
    pub async fn open(cooling_off: &str, evidence_kept: &str) -> Result<Option<Self>> {
        Self::settle(cooling_off, evidence_kept, NAMELESS).await
    }

    /// With identity and the community as well.
    pub async fn open_with_people(cooling_off: &str) -> Result<Option<Self>> {
        Self::settle(cooling_off, "30d", WITH_PEOPLE).await
    }

    /// With the cloud as well: its photos lie in `files`.
    pub async fn open_whole(cooling_off: &str) -> Result<Option<Self>> {
        Self::settle(cooling_off, "30d", ROLES.len()).await
    }

    /// The same, with settings of the story's own: `FAREWELL_AGENT__…` and the like.
    pub async fn open_whole_with_settings(
        cooling_off: &str,
        env: Vec<(&'static str, String)>,
    ) -> Result<Option<Self>> {
        Self::settle_with(cooling_off, "30d", ROLES.len(), env).await
    }

    /// With identity and the community, and settings of the story's own: `FAREWELL_COORDINATOR__…` and the like.
    pub async fn open_with_settings(
        cooling_off: &str,
        env: Vec<(&'static str, String)>,
    ) -> Result<Option<Self>> {
        Self::settle_with(cooling_off, "30d", WITH_PEOPLE, env).await
    }

    async fn settle(cooling_off: &str, evidence_kept: &str, roles: usize) -> Result<Option<Self>> {
        Self::settle_with(cooling_off, evidence_kept, roles, Vec::new()).await
    }

    async fn settle_with(
        cooling_off: &str,
        evidence_kept: &str,
        roles: usize,
        env: Vec<(&'static str, String)>,
    ) -> Result<Option<Self>> {
        let Some(program) = needed("FAREWELL_BIN") else {
            return Ok(None);
        };
        let address = || anyhow::Ok(format!("127.0.0.1:{}", free_port()?));
        let mut town = Self {
            program,
            folder: TempDir::new()?,
            callers: address()?,
            operators: address()?,
            desk: address()?,
            phones: address()?,
            env,
            running: Vec::new(),
        };
        let certs = town.path("certs").display().to_string();
        let made = town.run(&[
            "certs", &certs, "--desk", "ana", "--desk", "bo", "--desk", "chi",
        ]);
        ensure!(made?.status.success());
        let participants = address()?;
        let Self {
            callers,
            operators,
            desk,
            phones,
            ..
        } = &town;
        let folder = town.folder.path().display();
        let key = "5a".repeat(32);
        let people = match roles {
            NAMELESS => "",
            WITH_PEOPLE => {
                r#", { name = "C", participants = ["community"] }, { name = "D", participants = ["identity"] }"#
            }
            _ => {
                r#", { name = "C", participants = ["community", "cloud"] }, { name = "D", participants = ["identity"] }"#
            }
        };
        let settings = format!(
            r#"
[coordinator]
ledger = "sqlite:{folder}/coordinator.db"
tls.dir = "{certs}"
listen = {{ callers = "{callers}", participants = "{participants}", operators = "{operators}" }}
pace = {{ poll = "100ms", retry = "1s", retry_max = "2s", query = "5s" }}
[coordinator.policy]
extends = "cn"
name = "story"
cooling_off = "{cooling_off}"
recheck = "200ms"
extension = {{ allowed = true, deadline = "60 working days" }}
stages = [{{ name = "A", participants = ["phones"] }}, {{ name = "B", participants = ["store", "support"] }}{people}]
[service.support]
database = "sqlite:{folder}/support.db"
coordinators = ["{participants}"]
tls.dir = "{certs}"
listen.desk = "{desk}"
keys = "1:{key}"
periods.evidence_kept = "{evidence_kept}"
[service.store]
database = "sqlite:{folder}/store.db"
coordinators = ["{participants}"]
tls.dir = "{certs}"
[agent.phones]
database = "sqlite:{folder}/phones.db"
coordinators = ["{participants}"]
tls.dir = "{certs}"
listen.devices = "{phones}"
[service.community]
database = "sqlite:{folder}/community.db"
coordinators = ["{participants}"]
tls.dir = "{certs}"
[service.cloud]
database = "sqlite:{folder}/cloud.db"
coordinators = ["{participants}"]
tls.dir = "{certs}"
files = "{folder}/files"
exports.keys = "1:{key}"
[service.identity]
database = "sqlite:{folder}/identity.db"
coordinators = ["{participants}"]
tls.dir = "{certs}"
pepper = "sixteen bytes or more"
courier.sms = {{ kind = "file", path = "{folder}/letters" }}
courier.email = {{ kind = "file", path = "{folder}/letters" }}
"#
        );
        fs::write(town.path("farewell.toml"), settings)?;
        for place in 0..roles {
            let process = town.launch(place)?;
            town.running.push(Some(process));
        }
        town.whole().await?;
        Ok(Some(town))
    }

    /// Letters that were carried, oldest first.
    pub fn letters(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path("letters")).unwrap_or_default();
        let letters = text.lines();
        letters
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// Where a service keeps what it holds.
    pub fn database(&self, name: &str) -> String {
        format!("sqlite:{}", self.path(&format!("{name}.db")).display())
    }

    /// Until everybody is there.
    pub async fn whole(&self) -> Result<()> {
        wait::until("everybody to come", async || {
            let seen = self.ask("operator", &["operator", "overview"], "").ok();
            let Some(seen) = seen.filter(|seen| seen.status.success()) else {
                return Ok(None);
            };
            let seen: Value = serde_json::from_slice(&seen.stdout)?;
            let all = seen["participants"].as_array().context("participants")?;
            let there = all.iter().all(|it| it["sessions"] == 1);
            let open = self.desk_of("ana", &["list"]).is_ok();
            Ok((there && open).then_some(()))
        })
        .await
    }

    fn launch(&self, place: usize) -> Result<Process> {
        let role = ROLES[place];
        let words: Vec<_> = role.into_iter().filter(|word| !word.is_empty()).collect();
        let mut command = Command::new(&self.program);
        command
            .args(&words)
            .arg("--config")
            .arg(self.path("farewell.toml"))
            .arg("--with-parent")
            .envs(self.env.iter().cloned());
        let log = self.path(&format!("{}.log", words.join("-")));
        Process::start(&mut command, &log)
    }

    fn place(name: &str) -> Result<usize> {
        let place = ROLES.iter().position(|role| role.contains(&name));
        place.with_context(|| format!("nobody is called {name}"))
    }

    /// kill -9 of the coordinator, `support`, `store` or `phones`.
    pub fn kill(&mut self, name: &str) -> Result<()> {
        let place = Self::place(name)?;
        let process = self.running[place].take().context("it doesn't run")?;
        process.kill()
    }

    /// Starts whom was killed.
    pub fn restart(&mut self, name: &str) -> Result<()> {
        let place = Self::place(name)?;
        self.running[place] = Some(self.launch(place)?);
        Ok(())
    }

    /// Sends a signal, for instance `STOP`.
    pub fn signal(&self, name: &str, signal: &str) -> Result<()> {
        let process = self.running[Self::place(name)?].as_ref();
        process.context("it doesn't run")?.signal(signal)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, arguments: &[&str]) -> Result<Output> {
        Ok(Command::new(&self.program).args(arguments).output()?)
    }

    /// Gives a device a certificate, beside everybody else's.
    pub fn certify(&self, device: &str) -> Result<()> {
        let certs = self.path("certs").display().to_string();
        let made = self.run(&["certs", &certs, "--device", device])?;
        ensure!(made.status.success(), "{made:?}");
        Ok(())
    }

    /// A command line as somebody, with the first line of its standard input.
    pub fn begin(&self, who: &str, arguments: &[&str], line: &str) -> Result<Child> {
        let endpoint = match arguments {
            ["operator", ..] | ["deletion", "history", ..] => &self.operators,
            ["support", ..] => &self.desk,
            _ => &self.callers,
        };
        let mut child = Command::new(&self.program)
            .args(["-o", "json"])
            .args(arguments)
            .args(["--endpoint", endpoint, "--tls-name", who, "--tls-dir"])
            .arg(self.path("certs"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut input = child.stdin.take().context("no standard input")?;
        // Most commands read nothing, and may have ended by now.
        match writeln!(input, "{line}") {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
            _ => Ok(child),
        }
    }

    /// The same, and what it says.
    pub fn ask(&self, who: &str, arguments: &[&str], line: &str) -> Result<Output> {
        Ok(self.begin(who, arguments, line)?.wait_with_output()?)
    }

    /// What it says if it goes well.
    pub fn told(&self, who: &str, arguments: &[&str], line: &str) -> Result<Value> {
        let output = self.ask(who, arguments, line)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{arguments:?}: {said}");
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// That it ends with this code, and says why with this word.
    pub fn refuses(
        &self,
        who: &str,
        (arguments, line): (&[&str], &str),
        code: i32,
        word: &str,
    ) -> Result<()> {
        let output = self.ask(who, arguments, line)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.code() == Some(code) && said.contains(word),
            "{who} {arguments:?} wanted {code} {word}: {:?} {said}",
            output.status
        );
        Ok(())
    }

    pub fn desk_of(&self, who: &str, arguments: &[&str]) -> Result<Value> {
        self.told(who, &[&["support", "case"], arguments].concat(), "")
    }

    /// A case that ana opened, with these documents.
    pub fn case(&self, account: &str, kind: &[&str], documents: &[&str]) -> Result<String> {
        let case = self.desk_of("ana", &[&["open", account, "--kind"], kind].concat())?;
        let name = case["name"].as_str().context("a name")?.to_owned();
        let file = self.path("scan.pdf");
        fs::write(&file, format!("%PDF-1.7\n{SECRET}\n"))?;
        let file = file.display().to_string();
        for kind in documents {
            self.desk_of("ana", &["add", &name, "--kind", kind, &file])?;
        }
        fs::remove_file(file)?;
        Ok(name)
    }

    /// The same, approved by two others.
    pub fn approved(&self, account: &str, kind: &[&str], documents: &[&str]) -> Result<String> {
        let name = self.case(account, kind, documents)?;
        for who in ["bo", "chi"] {
            self.desk_of(who, &["approve", &name])?;
        }
        Ok(name)
    }

    pub fn create(&self, account: &str, channel: &str) -> Result<String> {
        let create = ["deletion", "create", account, "--channel", channel];
        let created = self.told("caller", &create, "")?;
        Ok(created["name"].as_str().context("a name")?.to_owned())
    }

    pub async fn state(&self, name: &str, state: &str) -> Result<Value> {
        let mut last = Value::Null;
        let found = wait::until("a state", async || {
            last = self.told("caller", &["deletion", "get", name], "")?;
            Ok((last["state"] == state).then(|| last.clone()))
        });
        let found = found.await;
        found.with_context(|| format!("wanted {state}, last seen {last}"))
    }

    /// Until a change of an account is over, and everybody has it.
    pub async fn done(&self, change: &Value) -> Result<()> {
        let name = change["name"].as_str().context("a name")?;
        wait::until("everybody to have it", async || {
            let seen = self.told("caller", &["account", "change", name], "")?;
            Ok((seen["state"] == "DONE").then_some(()))
        })
        .await
    }

    /// The code that was sent for a change of an account.
    pub async fn code(&self, change: &str) -> Result<String> {
        let id = change.rsplit('/').next().context("a name")?;
        let subject = format!("requests/{id}");
        wait::until("a code", async || {
            let letters = self.letters();
            let mut letters = letters.iter().rev();
            let letter = letters.find(|letter| letter["deletion"] == subject.as_str());
            Ok(letter.and_then(|letter| letter["code"].as_str().map(str::to_owned)))
        })
        .await
    }

    /// Files of a database that hold these bytes.
    pub fn found(&self, database: &str, bytes: &str) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for file in fs::read_dir(self.folder.path())? {
            let path: PathBuf = file?.path();
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or("");
            // Its owner may have done with a file meanwhile.
            let read = || fs::read(&path).unwrap_or_default();
            if name.starts_with(database) && holds(&read(), bytes) {
                found.push(name.to_owned());
            }
        }
        Ok(found)
    }

    /// Waits until the phones' agent has seen a phone of an account.
    pub async fn sees(&self, phone: &str, account: &str) -> Result<()> {
        let channel = self.channel(&self.phones, "caller").await?;
        let mut bindings = BindingServiceClient::new(channel);
        let (device, account) = (format!("devices/{phone}"), format!("accounts/{account}"));
        wait::until("the phone to be seen", async || {
            let request = ListBindingsRequest {
                account: account.clone(),
                ..ListBindingsRequest::default()
            };
            let listed = bindings.list_bindings(request).await?.into_inner().bindings;
            let seen = |it: &Binding| it.device == device && it.seen_time.is_some();
            Ok(listed.iter().any(seen).then_some(()))
        })
        .await
    }

    /// What somebody shows.
    pub fn security(&self, who: &str) -> Result<Security> {
        let credentials = Credentials::from_dir(self.path("certs"), who)?;
        Ok(Security::Mutual(credentials))
    }

    pub async fn channel(&self, address: &str, who: &str) -> Result<Channel> {
        Ok(endpoint(address, &self.security(who)?)?.connect().await?)
    }
}
