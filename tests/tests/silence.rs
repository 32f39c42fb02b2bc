//! Who connects to a port with TLS and says nothing keeps nobody out, and takes neither files nor memory: at each port of each role.

use std::collections::VecDeque;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use farewell_runtime::client::{self, endpoint};
use farewell_runtime::files;
use farewell_runtime::server::Security;
use farewell_runtime::tls::Credentials;
use farewell_tests::process::{Process, free_port, needed};
use farewell_tests::wait;
use tempfile::TempDir;
use tokio::net::{TcpSocket, TcpStream};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

/// Of them who come to one port.
const SILENT: usize = 10_000;
/// How many of the last ones the story holds: more than any port here has room for.
const HELD: usize = 2_500;
/// After so many of them somebody comes who means it.
const BETWEEN: usize = 1_000;
/// How long those may be kept waiting, on a machine with other things to do.
const SOON: Duration = Duration::from_secs(5);
/// Files of a process beside those of a port's room: what its own work opens and closes.
const FILES_BESIDE: usize = 32;
const MEMORY_MIB_MAX: u64 = 32;

/// A process with ports of its own.
struct Role {
    name: &'static str,
    arguments: &'static [&'static str],
    /// What it shows of itself, and under which keys its ports stand.
    section: &'static str,
    ports: &'static [(&'static str, &'static str)],
    /// From how many addresses they come to one (loopback has enough), and how many of them have room there.
    addresses: u8,
    room: usize,
    more: &'static str,
}

const ROLES: [Role; 3] = [
    Role {
        name: "coordinator",
        arguments: &["coordinator"],
        section: "coordinator",
        ports: &[
            ("callers", "caller"),
            ("participants", "cloud"),
            ("operators", "operator"),
        ],
        addresses: 4,
        room: 512,
        more: "ledger = \"memory:\"\n",
    },
    Role {
        name: "phones",
        arguments: &["agent", "phones"],
        section: "agent.phones",
        ports: &[("devices", "caller")],
        addresses: 2,
        room: 2_048,
        more: "database = \"sqlite:FOLDER/phones.db\"\n",
    },
    Role {
        name: "support",
        arguments: &["service", "support"],
        section: "service.support",
        ports: &[("desk", "desk")],
        addresses: 4,
        room: 512,
        more: "database = \"sqlite:FOLDER/support.db\"\n\
               keys = \"1:0000000000000000000000000000000000000000000000000000000000000001\"\n",
    },
];

struct Town {
    program: String,
    folder: TempDir,
}

impl Town {
    fn build() -> Result<Option<Self>> {
        let Some(program) = needed("FAREWELL_BIN") else {
            return Ok(None);
        };
        let folder = TempDir::new()?;
        let certs = folder.path().join("certs");
        let made = Command::new(&program).arg("certs").arg(&certs).output()?;
        ensure!(made.status.success(), "{made:?}");
        Ok(Some(Self { program, folder }))
    }

    /// Starts a role. Returns where its ports are, in their order.
    fn start(&self, role: &Role) -> Result<(Process, Vec<SocketAddr>)> {
        let folder = self.folder.path();
        let place = folder.display().to_string();
        let mut text = format!(
            "[{}]\ntls.dir = \"{place}/certs\"\n{}",
            role.section,
            role.more.replace("FOLDER", &place)
        );
        let mut ports = Vec::new();
        for (port, _) in role.ports {
            let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
            text += &format!("listen.{port} = \"{address}\"\n");
            ports.push(address);
        }
        let config = folder.join(format!("{}.toml", role.name));
        fs::write(&config, text)?;
        let mut command = Command::new(&self.program);
        command.args(role.arguments).arg("--with-parent");
        command.arg("--config").arg(&config);
        let log = folder.join(format!("{}.log", role.name));
        Ok((Process::start(&mut command, &log)?, ports))
    }

    fn show(&self, name: &str) -> Result<Security> {
        let credentials = Credentials::from_dir(self.folder.path().join("certs"), name)?;
        Ok(Security::Mutual(credentials))
    }

    fn words(&self, role: &Role) -> String {
        let log = self.folder.path().join(format!("{}.log", role.name));
        fs::read_to_string(log).unwrap_or_default()
    }
}

/// Whether a port serves somebody who means it, and how long that took: dialled anew, as whoever has a connection already waits
/// for no handshake.
async fn served(at: SocketAddr, security: &Security) -> Result<Duration> {
    let began = Instant::now();
    let channel = endpoint(&at.to_string(), security)?.connect().await?;
    let request = client::request(HealthCheckRequest::default(), SOON);
    HealthClient::new(channel).check(request).await?;
    Ok(began.elapsed())
}

async fn silent(at: SocketAddr, from: u8) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(IpAddr::from([127, 0, 0, 2 + from]), 0))?;
    Ok(socket.connect(at).await?)
}

fn files_of(process: &Process) -> Result<usize> {
    Ok(fs::read_dir(format!("/proc/{}/fd", process.id()))?.count())
}

fn memory_mib_of(process: &Process) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id()))?;
    let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:"));
    let kib = line.and_then(|it| it.trim().strip_suffix(" kB"));
    Ok(kib.context("VmRSS")?.parse::<u64>()? / 1024)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_who_say_nothing_keep_nobody_out_and_take_no_more_than_their_room()
-> Result<()> {
    let Some(town) = Town::build()? else {
        return Ok(());
    };
    files::as_many_as_allowed();
    for role in &ROLES {
        let (process, ports) = town.start(role)?;
        for (at, (port, name)) in ports.iter().zip(role.ports) {
            let security = town.show(name)?;
            let ready = wait::until("the port to answer", async || {
                Ok(served(*at, &security).await.ok())
            });
            ready.await.with_context(|| town.words(role))?;
            let (files, memory_mib) = (files_of(&process)?, memory_mib_of(&process)?);
            let mut held = VecDeque::with_capacity(HELD);
            for (count, from) in (1..=SILENT).zip((0..role.addresses).cycle()) {
                if held.len() == HELD {
                    held.pop_front();
                }
                held.push_back(silent(*at, from).await?);
                if count % BETWEEN == 0 {
                    let took = served(*at, &security).await;
                    let took = took.with_context(|| format!("{port}, after {count}"))?;
                    ensure!(took < SOON, "{port}: {took:?} after {count}");
                }
            }
            let more = files_of(&process)?.saturating_sub(files);
            let grown_mib = memory_mib_of(&process)?.saturating_sub(memory_mib);
            ensure!(grown_mib <= MEMORY_MIB_MAX, "{port}: {grown_mib} MiB");
            ensure!(more <= role.room + FILES_BESIDE, "{port}: {more} files");
        }
        process.end().await?;
    }
    Ok(())
}
