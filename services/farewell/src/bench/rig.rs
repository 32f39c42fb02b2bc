//! The processes that a measurement needs: brings them up, and takes them down again.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use farewell_coordinator::{Config, Listener, Pace};
use farewell_core::policy::{self, Stage};
use farewell_core::{ParticipantId, Policy};
use farewell_proto::operator::v1::operator_service_client::OperatorServiceClient;
use farewell_proto::operator::v1::{GetOverviewRequest, ParticipantOverview};
use farewell_runtime::certs::{self, DevCa};
use farewell_runtime::client;
use farewell_runtime::cose::{self, SigningKey};
use farewell_runtime::peer::Role;
use farewell_runtime::server::Security;
use farewell_runtime::shutdown::Shutdown;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tonic::transport::Channel;

use super::participants::security;
use super::{Load, Plan};

/// How long a part may take to come up.
const START_MAX: Duration = Duration::from_secs(30);

/// How often the coordinator is asked how far the participants are.
const POLL: Duration = Duration::from_millis(100);

/// What the coordinator's process is told.
#[derive(Debug, Args)]
pub struct CoordinatorArgs {
    #[arg(long)]
    ledger: String,
    #[arg(long)]
    plan: Plan,
    #[arg(long)]
    dir: Option<PathBuf>,
}

/// What the participants' process is told.
#[derive(Debug, Args)]
pub struct ParticipantsArgs {
    #[arg(long)]
    pub coordinator: String,
    #[arg(long)]
    pub plan: Plan,
    #[arg(long)]
    pub dir: Option<PathBuf>,
}

/// Where the coordinator listens.
#[derive(Debug, Serialize, Deserialize)]
struct Ports {
    callers: SocketAddr,
    participants: SocketAddr,
    operators: SocketAddr,
}

/// The policy under measurement: requests of the support channel need no factor, and nothing cools off.
pub fn policy(plan: Plan) -> Policy {
    let channels = [(policy::Channel::Support, Vec::new())].into();
    let full = Policy {
        cooling_off: Duration::ZERO,
        channels,
        name: "bench-full".to_owned(),
        ..Policy::cn()
    };
    match plan {
        Plan::Full => full,
        Plan::Cooling => Policy {
            name: "bench-cooling".to_owned(),
            cooling_off: Policy::cn().cooling_off,
            ..full
        },
        Plan::W1 => {
            let six = [
                "wearables",
                "phones",
                "smarthome",
                "cloud",
                "store",
                "identity",
            ];
            let participants: Vec<ParticipantId> =
                six.iter().filter_map(|name| name.parse().ok()).collect();
            Policy {
                name: "bench-w1".to_owned(),
                stages: vec![Stage {
                    name: "ALL".to_owned(),
                    participants,
                }],
                seal: false,
                probe: false,
                eligibility: false,
                ..full
            }
        }
    }
}

/// Runs a coordinator until the input ends.
pub async fn coordinator(args: CoordinatorArgs) -> anyhow::Result<()> {
    let shutdown = Shutdown::new();
    let listener = || {
        let security = security(args.dir.as_ref(), "coordinator")?;
        anyhow::Ok(Listener {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            security,
        })
    };
    let config = Config {
        instance: "bench".to_owned(),
        ledger: args.ledger.clone(),
        policy: policy(args.plan),
        callers: listener()?,
        participants: listener()?,
        operators: listener()?,
        orders: SigningKey::from_pem(cose::generate()?.as_bytes())?,
        pace: Pace::default(),
    };
    let running = farewell_coordinator::start(config, shutdown.clone()).await?;
    let ports = Ports {
        callers: running.callers,
        participants: running.participants,
        operators: running.operators,
    };
    println!("{}", serde_json::to_string(&ports)?);
    end_of_input().await;
    shutdown.trigger();
    running.ended().await
}

/// Returns when the driver has closed our input, as it does also when it dies.
pub async fn end_of_input() {
    let mut rest = Vec::new();
    let _ = tokio::io::stdin().read_to_end(&mut rest).await;
}

/// A running coordinator and its participants.
pub struct Rig {
    pub ledger: String,
    /// Where the certificates are; none for plain text.
    pub dir: Option<PathBuf>,
    pub callers: String,
    operator: OperatorServiceClient<Channel>,
    pub coordinator: Child,
    pub participants: Child,
    _folder: TempDir,
}

impl Rig {
    /// Brings everything up.
    ///
    /// Errors: a part that does not come up in time.
    pub async fn up(plan: Plan, load: &Load) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let ledger = match &load.ledger {
            Some(url) => url.clone(),
            None => format!("sqlite:{}", folder.path().join("bench.db").display()),
        };
        let dir = (!load.plain).then(|| folder.path().to_owned());
        if let Some(dir) = &dir {
            certificates(dir, plan)?;
        }
        let mut coordinator = part("coordinator", plan, dir.as_deref(), &["--ledger", &ledger])?;
        let mut line = String::new();
        let out = coordinator
            .stdout
            .take()
            .context("the coordinator's output")?;
        let mut out = BufReader::new(out);
        tokio::time::timeout(START_MAX, out.read_line(&mut line))
            .await
            .context("the coordinator did not come up")??;
        let ports: Ports =
            serde_json::from_str(&line).context("the coordinator did not say where it listens")?;
        let url = |address: SocketAddr| format!("https://localhost:{}", address.port());
        let participants = part(
            "participants",
            plan,
            dir.as_deref(),
            &["--coordinator", &url(ports.participants)],
        )?;
        let security = security(dir.as_ref(), "operator")?;
        let channel = client::endpoint(&url(ports.operators), &security)?;
        let mut rig = Self {
            ledger,
            dir,
            callers: url(ports.callers),
            operator: OperatorServiceClient::new(channel.connect().await?),
            coordinator,
            participants,
            _folder: folder,
        };
        let everybody = |desks: &[ParticipantOverview]| desks.iter().all(|desk| desk.sessions > 0);
        rig.until("the participants did not connect", everybody)
            .await?;
        Ok(rig)
    }

    /// Returns once the participants' desks are so.
    ///
    /// Errors: `what`, if they are not in time.
    pub async fn until(
        &mut self,
        what: &'static str,
        so: impl Fn(&[ParticipantOverview]) -> bool,
    ) -> anyhow::Result<()> {
        let end = Instant::now() + START_MAX;
        loop {
            let request = client::request(GetOverviewRequest {}, START_MAX);
            let overview = self.operator.get_overview(request).await?.into_inner();
            if so(&overview.participants) {
                return Ok(());
            }
            anyhow::ensure!(Instant::now() < end, what);
            tokio::time::sleep(POLL).await;
        }
    }

    /// What a peer of this name shows.
    pub fn security(&self, name: &str) -> anyhow::Result<Security> {
        security(self.dir.as_ref(), name)
    }

    /// Takes the processes down. The ledger stays until this is dropped.
    pub async fn down(&mut self) -> anyhow::Result<()> {
        end(&mut self.participants).await?;
        end(&mut self.coordinator).await
    }
}

fn certificates(dir: &Path, plan: Plan) -> anyhow::Result<()> {
    let ca = DevCa::create()?;
    let write =
        |role: Role, name: &str| anyhow::Ok(certs::write(dir, name, &ca.issue(role, name, &[])?)?);
    write(Role::Coordinator, "coordinator")?;
    write(Role::Caller, "driver")?;
    write(Role::Operator, "operator")?;
    for participant in policy(plan).participants() {
        write(Role::Participant, participant.as_str())?;
    }
    Ok(())
}

fn part(name: &str, plan: Plan, dir: Option<&Path>, args: &[&str]) -> anyhow::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["bench", name, "--plan", plan.word()])
        .args(args);
    if let Some(dir) = dir {
        command.arg("--dir").arg(dir);
    }
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    command
        .spawn()
        .with_context(|| format!("starting the {name}"))
}

/// Closes a part's input, which ends it.
async fn end(part: &mut Child) -> anyhow::Result<()> {
    drop(part.stdin.take());
    tokio::time::timeout(START_MAX, part.wait())
        .await
        .context("a part did not end")??;
    Ok(())
}
