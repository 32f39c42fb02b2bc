//! No-op participants over the real SDK: they acknowledge as a participant would, and hold nothing.

use std::sync::Arc;

use async_trait::async_trait;
use clap::Args;
use farewell_core::Policy;
use farewell_kit::session::{self, Config};
use farewell_kit::{
    Answer, Blocker, CheckEligibility, Done, Fault, Inventory, Order, Outcome, Participant,
};
use farewell_runtime::shutdown::Shutdown;

use super::Plan;
use super::part::{Part, Place, end_of_input};
use super::rig::{Rig, policy};

/// Commands under way at a participant: enough that the window is never what is measured.
const WINDOW_COMMANDS: u32 = 8_192;

/// What the participants' process is told.
#[derive(Debug, Args)]
pub struct ParticipantsArgs {
    #[command(flatten)]
    place: Place,
    #[arg(long)]
    coordinator: String,
    #[arg(long)]
    plan: Plan,
}

/// Starts them, and waits until they are connected.
pub async fn start(rig: &mut Rig, plan: Plan) -> anyhow::Result<Part> {
    let args = ["--plan", plan.word(), "--coordinator", &rig.participants];
    let participants = Part::start("participants", &rig.place, &args)?;
    rig.everybody(1).await?;
    Ok(participants)
}

struct NoOp;

#[async_trait]
impl Participant for NoOp {
    async fn recall(&self, _order: &Order) -> Result<Option<Answer>, Fault> {
        Ok(None)
    }

    async fn seal(&self, _order: &Order) -> Result<Answer, Fault> {
        Ok(Answer::Done(Done::new(Outcome::Sealed)))
    }

    async fn unseal(&self, _order: &Order) -> Result<Answer, Fault> {
        Ok(Answer::Done(Done::new(Outcome::Unsealed)))
    }

    async fn act(&self, _order: &Order) -> Result<Answer, Fault> {
        Ok(Answer::Done(Done::new(Outcome::Erased).count("records", 1)))
    }

    async fn probe(&self, _order: &Order) -> Result<Answer, Fault> {
        Ok(Answer::Done(Done::new(Outcome::Clean)))
    }

    async fn eligibility(&self, _request: &CheckEligibility) -> Result<Vec<Blocker>, Fault> {
        Ok(Vec::new())
    }

    async fn inventory(&self, _account: &str) -> Result<Inventory, Fault> {
        Ok(Inventory::default())
    }
}

/// Plays every participant of the plan until the input ends.
pub async fn run(args: ParticipantsArgs) -> anyhow::Result<()> {
    let shutdown = Shutdown::new();
    let policy: Policy = policy(args.plan);
    for participant in policy.participants() {
        let security = args.place.security(participant.as_str())?;
        let config = Config {
            participant: participant.to_string(),
            coordinators: vec![args.coordinator.clone()],
            security,
            window_commands: WINDOW_COMMANDS,
        };
        session::start(config, Arc::new(NoOp), shutdown.clone());
    }
    end_of_input().await;
    shutdown.trigger();
    Ok(())
}
