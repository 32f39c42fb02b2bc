//! What every measurement needs: a coordinator as a process of its own, with certificates for everybody.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use clap::Args;
use farewell_coordinator::{Config, Limits, Listener, Pace};
use farewell_core::Policy;
use farewell_core::order::DevicePolicy;
use farewell_core::policy::{self, Stage};
use farewell_proto::operator::v1::operator_service_client::OperatorServiceClient;
use farewell_proto::operator::v1::{GetOverviewRequest, ParticipantOverview};
use farewell_runtime::certs::{self, DevCa};
use farewell_runtime::client;
use farewell_runtime::cose::SigningKey;
use farewell_runtime::peer::Role;
use farewell_runtime::server::Security;
use farewell_runtime::shutdown::Shutdown;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tonic::transport::Channel;

use super::Plan;
use super::part::{Part, Place, START_MAX, end_of_input, say};

/// How often the coordinator is asked how far the participants are.
const POLL: Duration = Duration::from_millis(100);

/// What the coordinator's process is told.
#[derive(Debug, Args)]
pub struct CoordinatorArgs {
    #[command(flatten)]
    place: Place,
    #[arg(long)]
    ledger: String,
    #[arg(long)]
    plan: Plan,
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
        // Nobody is there to be told.
        notices: policy::Notices::default(),
        name: "bench-full".to_owned(),
        ..Policy::cn()
    };
    let one_stage = |names: &[&str]| {
        let participants = names.iter().filter_map(|name| name.parse().ok());
        vec![Stage {
            name: "ALL".to_owned(),
            participants: participants.collect(),
        }]
    };
    let line = |name: &str| Policy {
        name: format!("bench-{name}"),
        stages: one_stage(&[name]),
        devices: DevicePolicy {
            reset_consent: None,
            ..DevicePolicy::default()
        },
        ..full.clone()
    };
    match plan {
        Plan::Full => full,
        Plan::Cooling => Policy {
            name: "bench-cooling".to_owned(),
            cooling_off: Policy::cn().cooling_off,
            ..full
        },
        Plan::W1 => Policy {
            name: "bench-w1".to_owned(),
            stages: one_stage(&[
                "wearables",
                "phones",
                "smarthome",
                "cloud",
                "store",
                "identity",
            ]),
            seal: false,
            probe: false,
            eligibility: false,
            ..full
        },
        Plan::Phones => line("phones"),
        Plan::Smarthome => line("smarthome"),
    }
}

/// Runs a coordinator until the input ends.
pub async fn coordinator(args: CoordinatorArgs) -> anyhow::Result<()> {
    let shutdown = Shutdown::new();
    let listener = || {
        anyhow::Ok(Listener {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            security: args.place.security("coordinator")?,
        })
    };
    let config = Config {
        instance: "bench".to_owned(),
        ledger: args.ledger.clone(),
        policy: policy(args.plan),
        region: farewell_coordinator::Region::default(),
        callers: listener()?,
        participants: listener()?,
        operators: listener()?,
        orders: SigningKey::from_pem(&args.place.read("orders.key")?)?,
        events: None,
        pace: Pace::default(),
        limits: Limits::default(),
        custodian: "cloud".parse()?,
    };
    let running = farewell_coordinator::start(config, shutdown.clone()).await?;
    say(&Ports {
        callers: running.callers,
        participants: running.participants,
        operators: running.operators,
    })?;
    end_of_input().await;
    shutdown.trigger();
    running.ended().await
}

/// A running coordinator.
pub struct Rig {
    pub ledger: String,
    pub place: Place,
    /// Where callers and participants dial.
    pub callers: String,
    pub participants: String,
    pub coordinator: Part,
    operator: OperatorServiceClient<Channel>,
    folder: TempDir,
}

impl Rig {
    /// Brings the coordinator up. Without a ledger: SQLite in a temporary folder.
    ///
    /// Errors: it does not come up in time.
    pub async fn up(plan: Plan, ledger: Option<&str>, plain: bool) -> anyhow::Result<Self> {
        let (folder, place) = place(plan, plain)?;
        let ledger = ledger.map_or_else(|| place.sqlite("bench"), str::to_owned);
        let args = ["--plan", plan.word(), "--ledger", &ledger];
        let mut coordinator = Part::start("coordinator", &place, &args)?;
        let ports: Ports = coordinator.hear(START_MAX).await?;
        let url = |address: SocketAddr| format!("https://localhost:{}", address.port());
        let security = place.security("operator")?;
        let channel = client::endpoint(&url(ports.operators), &security)?;
        Ok(Self {
            ledger,
            callers: url(ports.callers),
            participants: url(ports.participants),
            operator: OperatorServiceClient::new(channel.connect().await?),
            place,
            coordinator,
            folder,
        })
    }

    /// Returns once every participant has `sessions` sessions.
    pub async fn everybody(&mut self, sessions: u32) -> anyhow::Result<()> {
        let there =
            move |desks: &[ParticipantOverview]| desks.iter().all(|desk| desk.sessions >= sessions);
        self.until("the participants did not connect", there).await
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
        self.place.security(name)
    }

    /// Ends the coordinator. A ledger of its own stays as long as the folder that is returned.
    pub async fn down(self) -> anyhow::Result<TempDir> {
        self.coordinator.end().await?;
        Ok(self.folder)
    }
}

impl Place {
    /// A database of this name in the folder.
    pub fn sqlite(&self, name: &str) -> String {
        format!("sqlite:{}", self.dir.join(format!("{name}.db")).display())
    }
}

/// A folder with certificates and the key that signs orders. The authority is there, too, for whoever plays devices.
pub fn place(plan: Plan, plain: bool) -> anyhow::Result<(TempDir, Place)> {
    let folder = tempfile::tempdir()?;
    let dir = folder.path().to_owned();
    certificates(&dir, plan)?;
    Ok((folder, Place { dir, plain }))
}

fn certificates(dir: &Path, plan: Plan) -> anyhow::Result<()> {
    let ca = DevCa::open_or_create(dir)?;
    let write =
        |role: Role, name: &str| anyhow::Ok(certs::write(dir, name, &ca.issue(role, name, &[])?)?);
    write(Role::Coordinator, "coordinator")?;
    write(Role::Caller, "driver")?;
    write(Role::Operator, "operator")?;
    for participant in policy(plan).participants() {
        write(Role::Participant, participant.as_str())?;
    }
    Ok(certs::order_key(dir)?)
}
