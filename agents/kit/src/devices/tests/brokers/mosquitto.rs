//! Mosquitto: one process. Without persistence it forgets every session when it is killed.

use std::path::{Path, PathBuf};
use std::process::Command;

use farewell_runtime::tls::Credentials;

use super::process::{Folder, Process, free_ports, listens, required, until};
use super::{Broker, HUBS, endpoint, password, profile_of_311};
use crate::devices::mqtt::{AGENT, Endpoint, Profile, Protocol, Version};

pub struct Mosquitto {
    binary: PathBuf,
    port: u16,
    config: String,
    ca_pem: Option<String>,
    process: Process,
    folder: Folder,
}

/// What it has to say goes here.
const LOG: &str = "mosquitto.log";
/// Where it listens with TLS: one machine under two addresses, only one of which need stand in the certificate.
const ADDRESSES: [&str; 2] = ["127.0.0.1", "127.0.0.2"];

impl Mosquitto {
    /// `None` if there is none on this machine and it may be skipped. `settings` are lines of its configuration.
    pub fn start(settings: &str) -> Option<Self> {
        Self::open(settings, None)
    }

    /// As [`Mosquitto::start`], with TLS and nothing else.
    pub fn start_with_tls(credentials: &Credentials) -> Option<Self> {
        Self::open("", Some(credentials))
    }

    fn open(settings: &str, credentials: Option<&Credentials>) -> Option<Self> {
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
        let listeners = match credentials {
            None => format!("listener {port} {}\n", ADDRESSES[0]),
            Some(credentials) => {
                let certificate = folder.file("broker.pem", &credentials.cert_pem);
                let key = folder.file("broker.key", &credentials.key_pem);
                ADDRESSES
                    .map(|address| {
                        format!(
                            "listener {port} {address}\ncertfile {certificate}\nkeyfile {key}\n"
                        )
                    })
                    .concat()
            }
        };
        let log = folder.path().join(LOG);
        // Nobody takes over another's session: the client id is the user name.
        let config = folder.file(
            "mosquitto.conf",
            &format!(
                "per_listener_settings false\n{listeners}allow_anonymous false\n\
                 use_username_as_clientid true\nset_tcp_nodelay true\nuser root\n{settings}\n\
                 password_file {passwords}\nacl_file {topics}\nlog_dest file {}\n",
                log.display()
            ),
        );
        let process = run(&binary, &config, port);
        Some(Self {
            binary,
            port,
            config,
            ca_pem: credentials.map(|credentials| credentials.ca_pem.clone()),
            process,
            folder,
        })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn process(&self) -> u32 {
        self.process.id()
    }

    /// What it has said about itself and whoever came.
    pub fn words(&self) -> String {
        std::fs::read_to_string(self.folder.path().join(LOG)).unwrap_or_default()
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
        Endpoint {
            ca_pem: self.ca_pem.clone().map(String::into_bytes),
            ..endpoint(self.port, who, password(who), protocol)
        }
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
