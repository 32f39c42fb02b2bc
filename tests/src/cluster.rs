//! A PostgreSQL server of a story's own, to be killed and started again.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;

use crate::process::free_port;
use crate::secret::holds;

/// Tries to start: a server that was killed has children that take a moment to notice, and longer while a disk is slow.
const START_TRIES_MAX: u32 = 120;
const START_PAUSE: Duration = Duration::from_millis(250);

/// A running server. It is stopped when it is dropped.
#[derive(Debug)]
pub struct Cluster {
    folder: TempDir,
    programs: PathBuf,
    port: u16,
}

impl Cluster {
    /// Makes a cluster and starts its server. `programs` is the folder with `initdb` and `pg_ctl`. It is as durable as in
    /// production: fsync stays on.
    pub fn start(programs: &str) -> Result<Self> {
        let folder = TempDir::new()?;
        let cluster = Self {
            port: free_port()?,
            programs: programs.into(),
            folder,
        };
        if is_root()? {
            run(Command::new("chown")
                .arg("postgres:")
                .arg(cluster.folder.path()))?;
        }
        fs::set_permissions(cluster.folder.path(), fs::Permissions::from_mode(0o700))?;
        let data = format!("--pgdata={}", cluster.data().display());
        cluster.run_owner(
            "initdb",
            &[
                &data,
                "--username=postgres",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
            ],
        )?;
        cluster.up()?;
        Ok(cluster)
    }

    /// As a ledger's URL.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Starts the server and waits until it answers.
    pub fn up(&self) -> Result<()> {
        let path = self.folder.path();
        let options = format!(
            "--options=-c listen_addresses=127.0.0.1 -c port={} -c unix_socket_directories={} -c max_connections=100",
            self.port,
            path.display()
        );
        let data = format!("--pgdata={}", self.data().display());
        let log = format!("--log={}", path.join("server.log").display());
        let mut last = None;
        for _ in 0..START_TRIES_MAX {
            match self.run_owner(
                "pg_ctl",
                &["start", "--wait", "--silent", &data, &log, &options],
            ) {
                Ok(()) => return Ok(()),
                Err(error) => last = Some(error),
            }
            sleep(START_PAUSE);
        }
        let words = fs::read_to_string(path.join("server.log")).unwrap_or_default();
        Err(last.context("never tried")?.context(words))
    }

    /// Fails if anything that the server keeps holds this text: tables, its log of changes, and what it says.
    pub fn knows_nothing_of(&self, text: &str) -> Result<()> {
        let mut folders = vec![self.folder.path().to_owned()];
        let mut looked = 0;
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    folders.push(entry.path());
                } else if entry.file_type()?.is_file() {
                    // The server may have done with a file meanwhile.
                    let bytes = fs::read(entry.path()).unwrap_or_default();
                    let path = entry.path();
                    ensure!(!holds(&bytes, text), "{} holds {text}", path.display());
                    looked += 1;
                }
            }
        }
        ensure!(looked > 100, "only {looked} files were looked into");
        Ok(())
    }

    /// Ends the server at once: it recovers from its log at the next start.
    pub fn crash(&self) -> Result<()> {
        let data = format!("--pgdata={}", self.data().display());
        self.run_owner("pg_ctl", &["stop", "--mode=immediate", "--silent", &data])
    }

    /// Kills the server's first process, as the kernel does when memory runs out.
    pub fn kill(&self) -> Result<()> {
        let file = self.data().join("postmaster.pid");
        let text = self.read(&file)?;
        let pid = text.lines().next().context("a process id")?.trim();
        ensure!(
            pid.parse::<u32>().is_ok_and(|pid| pid > 1),
            "{pid} is no process id"
        );
        run(Command::new("sh").args(["-c", &format!("kill -9 {pid}")]))
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn read(&self, file: &Path) -> Result<String> {
        fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))
    }

    /// PostgreSQL refuses to run as root.
    fn run_owner(&self, program: &str, words: &[&str]) -> Result<()> {
        let program = self.programs.join(program);
        let mut command = if is_root()? {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        // A folder that the owner may enter, and no pipe that the server would keep open.
        run(command.args(words).current_dir("/"))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.crash();
    }
}

fn is_root() -> Result<bool> {
    let Output { stdout, .. } = Command::new("id").arg("-u").output()?;
    Ok(stdout.trim_ascii() == b"0")
}

fn run(command: &mut Command) -> Result<()> {
    let errors = tempfile::NamedTempFile::new()?;
    let status = command
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(errors.reopen()?)
        .status()
        .with_context(|| format!("{command:?}"))?;
    if !status.success() {
        bail!(
            "{command:?}: {status}: {}",
            fs::read_to_string(errors.path())?
        );
    }
    Ok(())
}
