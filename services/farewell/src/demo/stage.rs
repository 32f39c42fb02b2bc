//! The stage: a folder, certificates, settings, and every role on it, in this process or each in its own.
//!
//! Settings are made once, as the values that a settings file would hold. A role in this process reads the values, one of
//! its own reads the file, and neither sees the `FAREWELL_…` of whoever started the demonstration: they may speak of
//! databases that are nobody's to demonstrate on.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use farewell_proto::operator::v1::GetOverviewRequest;
use farewell_runtime::client::request;
use farewell_runtime::cose::KeyRing;
use farewell_runtime::server::Security;
use farewell_runtime::shutdown::Shutdown;
use farewell_runtime::tls::Credentials;
use serde_json::{Map, Value};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::ports::{Ports, local};
use super::{Args, values};
use crate::sample::Places;
use crate::settings::{Agent, Coordinator, Line, Name, Service};
use crate::{certs, client, role};

/// The certificate of deletion.
const CERTIFICATE: &str = "certificate.json";
/// How long everybody may take to come: a few seconds, and more on a machine with other things to do.
const READY_LIMIT: Duration = Duration::from_secs(90);
const READY_POLL: Duration = Duration::from_millis(100);
/// How long everybody may take to leave.
const LEAVE_LIMIT: Duration = Duration::from_secs(10);

/// Where everything is.
pub struct Stage {
    dir: PathBuf,
    temporary: Option<TempDir>,
    pub(super) ports: Ports,
    postgres: Option<String>,
    processes: bool,
    settings: Map<String, Value>,
    shutdown: Shutdown,
    roles: Vec<Role>,
}

/// A running role.
struct Role {
    name: &'static str,
    running: Running,
}

enum Running {
    Here(JoinHandle<anyhow::Result<()>>),
    /// Its standard input is ours: it ends when we do, however we end.
    Process(Child),
}

impl Stage {
    /// Makes the folder, the certificates and the settings. Nothing runs yet.
    ///
    /// Errors: a folder that can't be written, no free port.
    pub fn set(args: &Args) -> anyhow::Result<Self> {
        let (dir, temporary) = match &args.dir {
            Some(dir) => {
                fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
                (fs::canonicalize(dir)?, None)
            }
            None => {
                let temporary = tempfile::Builder::new()
                    .prefix("farewell-demo-")
                    .tempdir()?;
                (temporary.path().to_owned(), Some(temporary))
            }
        };
        certs::make(&dir.join("certs"), &[])?;
        let ports = Ports::choose()?;
        let mut stage = Self {
            dir,
            temporary,
            ports,
            postgres: args.postgres.clone(),
            processes: args.processes,
            settings: Map::new(),
            shutdown: Shutdown::new(),
            roles: Vec::new(),
        };
        stage.settings = values::sections(&stage, args);
        stage.write_settings()?;
        Ok(stage)
    }

    /// Starts every role and waits until the coordinator sees every participant and devices can come.
    ///
    /// Errors: a role that ends, or one that isn't there in time, by name.
    pub async fn start(&mut self) -> anyhow::Result<()> {
        self.coordinator().await?;
        for line in Line::ALL {
            self.agent(line).await?;
        }
        for service in Name::ALL {
            self.service(service)?;
        }
        let until = Instant::now() + READY_LIMIT;
        loop {
            self.nobody_ended().await?;
            let missing = self.missing().await;
            if missing.is_empty() {
                return Ok(());
            }
            if Instant::now() >= until {
                bail!(
                    "not there after {} s: {}",
                    READY_LIMIT.as_secs(),
                    missing.join(", ")
                );
            }
            sleep(READY_POLL).await;
        }
    }

    /// Ends every role. A temporary folder goes, but for the certificate of deletion; all of it stays if something went
    /// wrong.
    pub async fn strike(mut self, failed: bool) {
        for role in &mut self.roles {
            if let Running::Process(child) = &mut role.running {
                drop(child.stdin.take());
            }
        }
        let leaving = async {
            for role in self.roles.drain(..) {
                if let Running::Process(mut child) = role.running {
                    let _ = child.wait().await;
                }
            }
        };
        // Whoever is still there then is killed when its handle is dropped.
        let _ = timeout(LEAVE_LIMIT, leaving).await;
        self.shutdown.drain(LEAVE_LIMIT).await;
        let Some(temporary) = self.temporary.take() else {
            return;
        };
        if failed {
            eprintln!("left for you to look into: {}", temporary.keep().display());
        } else if let Err(error) = keep_certificate(temporary) {
            eprintln!("the temporary folder can't be tidied: {error}");
        }
    }

    /// Where the certificate of deletion goes.
    pub fn certificate(&self) -> PathBuf {
        self.dir.join(CERTIFICATE)
    }

    /// Whose orders devices carry out.
    ///
    /// Errors: the file can't be read.
    pub fn order_keys(&self) -> anyhow::Result<KeyRing> {
        Ok(KeyRing::from_pem(&fs::read(
            self.certs().join("orders.pub"),
        )?)?)
    }

    pub fn certs(&self) -> PathBuf {
        self.dir.join("certs")
    }

    pub fn codes(&self) -> PathBuf {
        self.dir.join("codes.jsonl")
    }

    pub fn files(&self) -> PathBuf {
        self.dir.join("photos")
    }

    pub fn settings_file(&self) -> PathBuf {
        self.dir.join("farewell.toml")
    }

    /// Where processes of their own write.
    pub fn logs(&self) -> Option<&Path> {
        self.processes.then_some(&*self.dir)
    }

    pub fn callers(&self) -> String {
        local(self.ports.callers).to_string()
    }

    pub fn operators(&self) -> String {
        local(self.ports.operators).to_string()
    }

    pub fn phones(&self) -> String {
        self.devices(Line::Phones)
    }

    pub fn wearables(&self) -> String {
        self.devices(Line::Wearables)
    }

    pub fn smarthome(&self) -> String {
        self.devices(Line::Smarthome)
    }

    pub fn broker_port(&self) -> u16 {
        self.ports.broker
    }

    /// The services' databases and files.
    pub fn places(&self) -> Places {
        Places {
            identity: Some(self.service_database(Name::Identity)),
            cloud: Some(self.service_database(Name::Cloud)),
            files: Some(self.files()),
            store: Some(self.service_database(Name::Store)),
            community: Some(self.service_database(Name::Community)),
        }
    }

    pub fn service_database(&self, service: Name) -> String {
        self.database(service.name())
    }

    pub fn agent_database(&self, line: Line) -> String {
        self.database(line.name())
    }

    /// The certificate of a peer.
    ///
    /// Errors: it can't be read.
    pub fn security(&self, name: &str) -> anyhow::Result<Security> {
        Ok(Security::Mutual(Credentials::from_dir(self.certs(), name)?))
    }

    fn devices(&self, line: Line) -> String {
        local(self.ports.line(line)).to_string()
    }

    pub(super) fn database(&self, name: &str) -> String {
        match &self.postgres {
            // Each role has a name space of its own in it.
            Some(url) => url.clone(),
            None => format!("sqlite:{}", self.dir.join(format!("{name}.db")).display()),
        }
    }

    /// Readable by its owner only: it holds a pepper, and perhaps a database's password.
    fn write_settings(&self) -> anyhow::Result<()> {
        fs::create_dir_all(self.files())?;
        let path = self.settings_file();
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("writing {}", path.display()))?;
        Ok(file.write_all(values::toml(&self.settings).as_bytes())?)
    }

    fn section<T: serde::de::DeserializeOwned>(&self, name: &str) -> anyhow::Result<T> {
        let values = self.settings.get(name).cloned().unwrap_or_default();
        serde_json::from_value(values).with_context(|| format!("the settings of {name}"))
    }

    async fn coordinator(&mut self) -> anyhow::Result<()> {
        let running = if self.processes {
            self.process("coordinator", &["coordinator"])?
        } else {
            let settings: Coordinator = self.section("coordinator")?;
            let started = role::coordinator::start(&settings, self.shutdown.child()).await?;
            Running::Here(self.shutdown.spawn(started.ended()))
        };
        self.roles.push(Role {
            name: "coordinator",
            running,
        });
        Ok(())
    }

    async fn agent(&mut self, line: Line) -> anyhow::Result<()> {
        let running = if self.processes {
            self.process(line.name(), &["agent", line.name()])?
        } else {
            let settings: Agent = self.section(&format!("agent.{line}"))?;
            let handle = role::agent::start(line, &settings, self.shutdown.child())
                .await
                .with_context(|| format!("starting {line}"))?;
            Running::Here(self.shutdown.spawn(handle.join()))
        };
        self.roles.push(Role {
            name: line.name(),
            running,
        });
        Ok(())
    }

    fn service(&mut self, service: Name) -> anyhow::Result<()> {
        let running = if self.processes {
            self.process(service.name(), &["service", service.name()])?
        } else {
            let settings: Service = self.section(&format!("service.{service}"))?;
            let shutdown = self.shutdown.child();
            Running::Here(
                self.shutdown
                    .spawn(async move { role::service::serve(service, &settings, shutdown).await }),
            )
        };
        self.roles.push(Role {
            name: service.name(),
            running,
        });
        Ok(())
    }

    /// The same binary in another role. It shares our process group, so a signal of the terminal reaches it too.
    fn process(&self, name: &str, role: &[&str]) -> anyhow::Result<Running> {
        let log = self.dir.join(format!("{name}.log"));
        let log = fs::File::create(&log).with_context(|| format!("writing {}", log.display()))?;
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(role)
            .arg("--with-parent")
            .arg("--config")
            .arg(self.settings_file())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true);
        for (variable, _) in std::env::vars_os() {
            if variable
                .to_str()
                .is_some_and(|name| name.starts_with("FAREWELL_"))
            {
                command.env_remove(variable);
            }
        }
        let child = command
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        Ok(Running::Process(child))
    }

    /// Errors: the first role that has ended, and why.
    async fn nobody_ended(&mut self) -> anyhow::Result<()> {
        for role in &mut self.roles {
            match &mut role.running {
                Running::Here(task) if task.is_finished() => {
                    return match task.await? {
                        Ok(()) => Err(anyhow::anyhow!("{} ended", role.name)),
                        Err(error) => Err(error.context(format!("{} ended", role.name))),
                    };
                }
                Running::Here(_) => {}
                Running::Process(child) => {
                    if let Some(status) = child.try_wait()? {
                        let log = self.dir.join(format!("{}.log", role.name));
                        let text = fs::read_to_string(log).unwrap_or_default();
                        let last: Vec<&str> = text.lines().rev().take(10).collect();
                        let last: Vec<&str> = last.into_iter().rev().collect();
                        bail!("{} ended, {status}:\n  {}", role.name, last.join("\n  "));
                    }
                }
            }
        }
        Ok(())
    }

    /// Who isn't there yet: asked of the coordinator, as an operator would, and of the devices' ports.
    async fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        for line in Line::ALL {
            if TcpStream::connect(local(self.ports.line(line)))
                .await
                .is_err()
            {
                missing.push(format!("the devices' port of {line}"));
            }
        }
        if TcpStream::connect(local(self.ports.desk)).await.is_err() {
            missing.push("the support desk's port".to_owned());
        }
        match self.overview().await {
            Ok(seen) => missing.extend(
                seen.participants
                    .into_iter()
                    .filter(|participant| participant.sessions == 0)
                    .map(|participant| participant.participant),
            ),
            Err(_) => missing.push("coordinator".to_owned()),
        }
        missing
    }

    async fn overview(&self) -> anyhow::Result<farewell_proto::operator::v1::GetOverviewResponse> {
        let mut client = client::operators(&self.operators(), &self.security("operator")?).await?;
        let question = request(GetOverviewRequest {}, Duration::from_secs(5));
        Ok(client.get_overview(question).await?.into_inner())
    }
}

/// Removes everything else from the folder.
fn keep_certificate(temporary: TempDir) -> std::io::Result<()> {
    let dir = temporary.keep();
    for entry in fs::read_dir(&dir)? {
        let entry = entry?;
        let removed = if entry.path().is_dir() {
            fs::remove_dir_all(entry.path())
        } else if entry.file_name() != CERTIFICATE {
            fs::remove_file(entry.path())
        } else {
            Ok(())
        };
        match removed {
            // A database that is being closed removes its own log.
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    // Interrupted before there was one: then nothing is left to keep.
    match fs::remove_dir(&dir) {
        Err(error) if error.kind() != std::io::ErrorKind::DirectoryNotEmpty => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Source;

    fn args(dir: &Path) -> Args {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            args: Args,
        }
        let dir = dir.display().to_string();
        let line = ["demo", "--dir", &dir, "--processes"];
        <Line as clap::Parser>::parse_from(line).args
    }

    #[test]
    fn the_file_says_what_the_values_say() {
        let dir = tempfile::tempdir().unwrap();
        let stage = Stage::set(&args(dir.path())).unwrap();
        let source = Source {
            config: Some(stage.settings_file()),
            ..Source::default()
        };
        let read = Coordinator::load(&source).unwrap();
        let given: Coordinator = stage.section("coordinator").unwrap();
        assert_eq!(format!("{read:?}"), format!("{given:?}"));
        for line in Line::ALL {
            let read = Agent::load(&source, line).unwrap();
            let given: Agent = stage.section(&format!("agent.{line}")).unwrap();
            assert_eq!(format!("{read:?}"), format!("{given:?}"));
        }
        for service in Name::ALL {
            let read = Service::load(&source, service).unwrap();
            let given: Service = stage.section(&format!("service.{service}")).unwrap();
            assert_eq!(format!("{read:?}"), format!("{given:?}"));
        }
    }
}
