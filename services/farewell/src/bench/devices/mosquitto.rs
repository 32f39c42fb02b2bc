//! A Mosquitto of its own, with its defaults but for Nagle's delay, which would be all that is measured.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::bench::meter::Process;
use crate::bench::part::START_MAX;

/// How often it is tried whether it listens.
const POLL: Duration = Duration::from_millis(50);

/// A running broker. Dropping it kills the process.
pub struct Mosquitto {
    port: u16,
    child: Child,
    _folder: TempDir,
}

impl Mosquitto {
    /// Starts one that keeps nothing and lets everybody in, on loopback.
    ///
    /// Errors: the program is not there, or doesn't listen in time.
    pub async fn start(program: &Path) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let config = folder.path().join("mosquitto.conf");
        let settings = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\nuser root\n"
        );
        std::fs::write(&config, settings)?;
        let child = Command::new(program)
            .arg("-c")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| {
                format!(
                    "starting {}: name Mosquitto's program with --broker, or say --broker embedded",
                    program.display()
                )
            })?;
        let end = Instant::now() + START_MAX;
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            anyhow::ensure!(Instant::now() < end, "Mosquitto does not listen");
            tokio::time::sleep(POLL).await;
        }
        Ok(Self {
            port,
            child,
            _folder: folder,
        })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// The process, to be measured.
    pub fn process(&self) -> anyhow::Result<Process> {
        Ok(Process {
            label: "broker",
            pid: self.child.id().context("a broker that has ended")?,
            tree: false,
        })
    }
}
