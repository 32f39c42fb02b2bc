//! A process that plays a part in a measurement: it says what it has to say in lines of JSON, and ends when its input does.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use farewell_runtime::server::Security;
use farewell_runtime::tls::Credentials;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use super::meter::Process;

/// How long a part may take to come up, and to end.
pub const START_MAX: Duration = Duration::from_secs(30);

/// What every part is told: where certificates and keys are, and whether the streams use them.
#[derive(Clone, Debug, Args)]
pub struct Place {
    #[arg(long)]
    pub dir: PathBuf,
    #[arg(long)]
    pub plain: bool,
}

impl Place {
    /// What a peer of this name shows, or plain text.
    pub fn security(&self, name: &str) -> anyhow::Result<Security> {
        Ok(if self.plain {
            Security::PlainLoopback
        } else {
            Security::Mutual(Credentials::from_dir(&self.dir, name)?)
        })
    }

    /// A file of the folder.
    pub fn read(&self, file: &str) -> anyhow::Result<Vec<u8>> {
        let path = self.dir.join(file);
        std::fs::read(&path).with_context(|| format!("reading {}", path.display()))
    }
}

/// A running part. Dropping it kills the process.
pub struct Part {
    label: &'static str,
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Part {
    /// Starts this program as `farewell bench LABEL …`.
    pub fn start(label: &'static str, place: &Place, args: &[&str]) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["bench", label, "--dir"]).arg(&place.dir);
        if place.plain {
            command.arg("--plain");
        }
        let mut child = command
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting the {label}"))?;
        let input = child.stdin.take();
        let output = child.stdout.take().context("a part's output")?;
        Ok(Self {
            label,
            child,
            input,
            output: BufReader::new(output),
        })
    }

    /// The next line that the part says.
    ///
    /// Errors: nothing that makes sense within `wait`.
    pub async fn hear<T: DeserializeOwned>(&mut self, wait: Duration) -> anyhow::Result<T> {
        let mut line = String::new();
        timeout(wait, self.output.read_line(&mut line))
            .await
            .with_context(|| format!("the {} says nothing", self.label))??;
        serde_json::from_str(&line)
            .with_context(|| format!("what the {} says makes no sense: {line}", self.label))
    }

    /// Lets the part go on.
    pub async fn go_on(&mut self) -> anyhow::Result<()> {
        let input = self.input.as_mut().context("a part that is to end")?;
        Ok(input.write_all(b"\n").await?)
    }

    /// The process, to be measured.
    pub fn process(&self) -> anyhow::Result<Process> {
        Ok(Process {
            label: self.label,
            pid: self.child.id().context("a part that has ended")?,
            tree: false,
        })
    }

    /// Lets the part end; what it says at last can still be heard.
    pub fn close(&mut self) {
        self.input = None;
    }

    /// Lets the part end, and waits for that.
    ///
    /// Errors: it doesn't end in time.
    pub async fn end(mut self) -> anyhow::Result<()> {
        self.close();
        timeout(START_MAX, self.child.wait())
            .await
            .with_context(|| format!("the {} did not end", self.label))??;
        Ok(())
    }
}

/// Says something, as a part.
pub fn say(value: &impl Serialize) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string(value)?);
    Ok(())
}

/// Waits, as a part, until it may go on. `false`: it is to end.
pub async fn may_go_on() -> bool {
    tokio::io::stdin().read_u8().await.is_ok()
}

/// Returns when whoever measures has closed our input, as it does also when it dies.
pub async fn end_of_input() {
    let mut rest = Vec::new();
    let _ = tokio::io::stdin().read_to_end(&mut rest).await;
}
