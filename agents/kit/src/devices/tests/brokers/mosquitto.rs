//! Mosquitto: one process. Without persistence it forgets every session when it is killed.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::process::{Folder, Process, free_ports, listens, required, until};
use super::{Broker, HUBS, endpoint, password, profile_of_311};
use crate::devices::mqtt::{AGENT, Endpoint, Profile, Protocol, Version};

pub struct Mosquitto {
    binary: PathBuf,
    port: u16,
    config: String,
    process: Process,
    _folder: Folder,
}

impl Mosquitto {
    /// `None` if there is none on this machine and it may be skipped. `settings` are lines of its configuration.
    pub fn start(settings: &str) -> Option<Self> {
        let binary = required("FAREWELL_TEST_MOSQUITTO")?;
        let folder = Folder::new("mosquitto");
        let [port] = free_ports();
        let passwords: String = HUBS
            .into_iter()
            .chain([AGENT])
            .map(|who| format!("{who}:{}\n", password(who)))
            .collect();
        let passwords = folder.file("passwords", &passwords);
        hash(&binary, &passwords);
        let topics = folder.file(
            "topics",
            &format!(
                "pattern read farewell/v1/test/%u/cmd\npattern write farewell/v1/test/%u/ack\n\
                 pattern write farewell/v1/test/%u/sync\nuser {AGENT}\ntopic write farewell/v1/test/+/cmd\n\
                 topic read farewell/v1/test/+/ack\ntopic read farewell/v1/test/+/sync\n"
            ),
        );
        // Nobody takes over another's session: the client id is the user name.
        let config = folder.file(
            "mosquitto.conf",
            &format!(
                "per_listener_settings false\nlistener {port} 127.0.0.1\nallow_anonymous false\n\
                 use_username_as_clientid true\nset_tcp_nodelay true\nuser root\n{settings}\n\
                 password_file {passwords}\nacl_file {topics}\n"
            ),
        );
        let process = run(&binary, &config, port);
        Some(Self {
            binary,
            port,
            config,
            process,
            _folder: folder,
        })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn process(&self) -> u32 {
        self.process.id()
    }
}

fn run(binary: &Path, config: &str, port: u16) -> Process {
    let process = Process::start(Command::new(binary).args(["-c", config]));
    until("mosquitto does not listen", || listens(port));
    process
}

/// Passwords in clear become salted hashes.
fn hash(binary: &Path, passwords: &str) {
    let beside = binary.with_file_name("mosquitto_passwd");
    let program = if beside.exists() {
        beside
    } else {
        PathBuf::from("mosquitto_passwd")
    };
    let hashed = Command::new(program).args(["-U", passwords]).status();
    assert!(hashed.unwrap().success());
}

impl Broker for Mosquitto {
    fn endpoint(&self, who: &str, protocol: Protocol) -> Endpoint {
        endpoint(self.port, who, password(who), protocol)
    }

    fn outage(&mut self) {
        self.process.kill();
        self.process = run(&self.binary, &self.config, self.port);
    }

    fn profile(&self, version: Version) -> Profile {
        match version {
            Version::V311 => profile_of_311(),
            Version::V5 => Profile {
                version,
                maximum_qos: Some(2),
                retain: Some(true),
                shared_subscriptions: Some(true),
                session_life: None,
                keep_alive: None,
                receive_max: Some(20),
                packet_bytes_max: None,
            },
        }
    }
}
