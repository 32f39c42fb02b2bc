//! How fast this database could go if nothing but it were in the way: group commit without participants or wire.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use farewell_core::deletion::Request;
use farewell_core::policy::{Channel, Stage};
use farewell_core::{
    AccountId, Deletion, DeletionId, Event, Evidence, LegIndex, Mask, Outcome, Plan, Policy,
    Receipt, RequestId, Time,
};
use tokio::sync::{Semaphore, mpsc};
use uuid::Uuid;

use crate::{BATCH_ROWS_MAX, Error, Fence, Ledger, Opened, Opening, Settlement};

const PARTICIPANTS: [&str; 6] = [
    "wearables",
    "phones",
    "smarthome",
    "cloud",
    "store",
    "identity",
];
/// Longer than any measurement: nothing here renews.
const LEASE: Duration = Duration::from_secs(24 * 60 * 60);

/// What was measured.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    pub deletions: u64,
    pub elapsed: Duration,
}

impl Limit {
    /// Deletions a second, each with three writes: opened, five receipts, and the last receipt with the purge.
    pub fn per_second(&self) -> f64 {
        // Counts and times of a measurement are far below where f64 loses whole numbers.
        let deletions = u32::try_from(self.deletions).map_or(f64::INFINITY, f64::from);
        deletions / self.elapsed.as_secs_f64()
    }
}

/// Opens and purges `deletions` new accounts with `in_flight` of them under way, each lane draining its queue into one
/// batch. The deletions stay: measure on a ledger that can be thrown away.
///
/// Errors: those of the ledger.
pub async fn group_commit_limit(
    ledger: &dyn Ledger,
    deletions: u64,
    in_flight: usize,
) -> Result<Limit, Error> {
    let fence = ledger.join("limit", LEASE).await?;
    let plan = plan(ledger).await?;
    let now = ledger.now().await?;
    let room = Arc::new(Semaphore::new(in_flight));
    let (asked, asking) = mpsc::channel(in_flight);
    let (told, reports) = mpsc::channel(in_flight);

    let started = Instant::now();
    let arrive = async {
        for number in 0..deletions {
            // Lanes end the channel only with an error, which they tell themselves.
            let Ok(permit) = room.acquire().await else {
                break;
            };
            permit.forget();
            let Some(deletion) = request(number, &plan, now) else {
                break;
            };
            if asked.send(deletion).await.is_err() {
                break;
            }
        }
        drop(asked);
        Ok(())
    };
    tokio::try_join!(
        arrive,
        open(ledger, asking, told),
        settle(ledger, &fence, &plan, reports, &room)
    )?;
    Ok(Limit {
        deletions,
        elapsed: started.elapsed(),
    })
}

/// Six participants in one stage, and nothing to wait for.
async fn plan(ledger: &dyn Ledger) -> Result<Plan, Error> {
    let policy = Policy {
        name: "limit".to_owned(),
        stages: vec![Stage {
            name: "ERASE".to_owned(),
            participants: PARTICIPANTS
                .iter()
                .filter_map(|name| name.parse().ok())
                .collect(),
        }],
        seal: false,
        probe: false,
        eligibility: false,
        channels: BTreeMap::from([(Channel::Legacy, Vec::new())]),
        cooling_off: Duration::ZERO,
        ..Policy::cn()
    };
    let version = ledger.adopt(&policy).await?;
    Plan::new(version, policy).map_err(|_| Error::Corrupt { what: "policy" })
}

fn request(number: u64, plan: &Plan, now: Time) -> Option<Deletion> {
    let id = Uuid::now_v7();
    let account: AccountId = format!("limit-{}-{number}", id.simple()).parse().ok()?;
    let request = Request {
        id: DeletionId(id),
        account,
        request: RequestId(Uuid::new_v4()),
        request_digest: *id.as_bytes(),
        channel: Channel::Legacy,
        consents: Vec::new(),
        traceparent: String::new(),
    };
    Deletion::open(request, plan, now).ok()
}

async fn open(
    ledger: &dyn Ledger,
    mut asking: mpsc::Receiver<Deletion>,
    told: mpsc::Sender<Deletion>,
) -> Result<(), Error> {
    let mut batch = Vec::with_capacity(BATCH_ROWS_MAX);
    while asking.recv_many(&mut batch, BATCH_ROWS_MAX).await > 0 {
        let asked = |deletion| Opening {
            deletion,
            decision: None,
        };
        for opened in ledger.open(batch.drain(..).map(asked).collect()).await? {
            if let Opened::Created(deletion) = opened
                && told.send(deletion).await.is_err()
            {
                return Ok(());
            }
        }
    }
    Ok(())
}

async fn settle(
    ledger: &dyn Ledger,
    fence: &Fence,
    plan: &Plan,
    mut reports: mpsc::Receiver<Deletion>,
    room: &Semaphore,
) -> Result<(), Error> {
    let legs: Vec<LegIndex> = plan.required().iter().collect();
    let (last, first) = legs.split_last().ok_or(Error::Corrupt { what: "policy" })?;
    let mut waiting = Vec::with_capacity(BATCH_ROWS_MAX);
    // Those of the batch before come again with their last receipt.
    let mut once: Vec<Deletion> = Vec::new();
    loop {
        let space = BATCH_ROWS_MAX - once.len();
        if once.is_empty() {
            if reports.recv_many(&mut waiting, space).await == 0 {
                return Ok(());
            }
        } else {
            while waiting.len() < space
                && let Ok(deletion) = reports.try_recv()
            {
                waiting.push(deletion);
            }
        }
        let purges = once.len();
        let mut batch = Vec::with_capacity(purges + waiting.len());
        for deletion in once.drain(..) {
            batch.push(settlement(&deletion, &[*last], plan));
        }
        for deletion in waiting.drain(..) {
            let settlement = settlement(&deletion, first, plan);
            once.push(Deletion {
                done: settlement.legs,
                ..deletion
            });
            batch.push(settlement);
        }
        let settled = ledger.settle(fence, batch).await?;
        if !settled.iter().take(purges).all(|settled| settled.advanced) {
            return Err(Error::Corrupt { what: "purge" });
        }
        room.add_permits(purges);
    }
}

/// The receipts of some legs, and where they lead.
fn settlement(deletion: &Deletion, legs: &[LegIndex], plan: &Plan) -> Settlement {
    let merged: Mask = legs.iter().copied().collect();
    let moved = deletion
        .step(&Event::Settled(merged), plan, deletion.requested_at)
        .ok()
        .filter(|next| next.state != deletion.state);
    Settlement {
        deletion: deletion.id,
        at: deletion.requested_at,
        receipts: legs
            .iter()
            .map(|leg| Receipt::new(*leg, deletion.round, evidence()))
            .collect(),
        round: deletion.round,
        legs: merged,
        retains: Mask::EMPTY,
        advance: moved,
    }
}

fn evidence() -> Evidence {
    Evidence {
        counts: BTreeMap::from([("records".to_owned(), 3)]),
        ..Evidence::of(Outcome::Erased)
    }
}
