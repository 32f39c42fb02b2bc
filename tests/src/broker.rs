//! Mosquitto with TLS, as somebody else operates it: the agent and its hubs know it by its authority.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use farewell_runtime::certs::{self, DevCa};
use farewell_runtime::peer::Role;

use crate::process::{Process, free_port, needed};
use crate::wait;

/// A running broker. It ends when it is dropped.
#[derive(Debug)]
pub struct Mosquitto {
    port: u16,
    folder: PathBuf,
    _process: Process,
}

impl Mosquitto {
    /// Starts it with a certificate of an authority of its own, in a folder below `folder`. `None` if the story is to be
    /// skipped.
    ///
    /// Anybody may log in as anybody: how a broker learns log-ins is not what is looked at. Nobody gets beyond the topics
    /// of the name that they log in with.
    pub async fn start(folder: &Path) -> Result<Option<Self>> {
        let Some(program) = needed("FAREWELL_TEST_MOSQUITTO") else {
            return Ok(None);
        };
        let folder = folder.join("broker");
        let shown = DevCa::open_or_create(&folder)?.issue(Role::Participant, "broker", &[])?;
        certs::write(&folder, "broker", &shown)?;
        let topics = folder.join("topics");
        fs::write(
            &topics,
            "pattern read farewell/v1/smarthome/%u/cmd\npattern write farewell/v1/smarthome/%u/ack\n\
             pattern write farewell/v1/smarthome/%u/sync\nuser farewell~agent\n\
             topic write farewell/v1/smarthome/+/cmd\ntopic read farewell/v1/smarthome/+/ack\n\
             topic read farewell/v1/smarthome/+/sync\n",
        )?;
        let port = free_port()?;
        let at = |name: &str| folder.join(name).display().to_string();
        let config = folder.join("mosquitto.conf");
        fs::write(
            &config,
            format!(
                "listener {port} 127.0.0.1\ncertfile {}\nkeyfile {}\nallow_anonymous true\n\
                 use_username_as_clientid true\nset_tcp_nodelay true\nuser root\nacl_file {}\n",
                at("broker.pem"),
                at("broker.key"),
                at("topics"),
            ),
        )?;
        let log = folder.join("mosquitto.log");
        let mut process = Process::start(Command::new(program).arg("-c").arg(&config), &log)?;
        wait::until("the broker to listen", async || {
            ensure!(process.is_running(), "the broker has ended");
            Ok(TcpStream::connect(("127.0.0.1", port)).ok())
        })
        .await
        .with_context(|| fs::read_to_string(&log).unwrap_or_default())?;
        Ok(Some(Self {
            port,
            folder,
            _process: process,
        }))
    }

    /// Where it listens.
    pub fn address(&self) -> String {
        format!("localhost:{}", self.port)
    }

    /// Whose certificates it shows.
    pub fn authority(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// Who has come, and as whom.
    pub fn words(&self) -> String {
        fs::read_to_string(self.folder.join("mosquitto.log")).unwrap_or_default()
    }
}
