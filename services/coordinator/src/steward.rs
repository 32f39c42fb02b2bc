//! Does what a deletion needs beside commands: asks for eligibility, begins, expires, and makes decided turns.

use std::sync::Arc;

use farewell_core::decision::{Decider, Decision};
use farewell_core::{Deletion, DeletionId, Duty, Event, Mask, Plan, Refusal, State, Time};
use farewell_ledger::{Error, Turn, Turned};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::center::Center;
use crate::errand::{Errand, Open, Task};
use crate::lane::{Failed, TurnJob};
use crate::obligation;
use crate::telling;

/// Deletions that are looked after at a time.
const AT_ONCE_MAX: usize = 256;
/// How often a decision is made again because somebody else was first.
const TRIES_MAX: u32 = 8;

/// Why a turn was not made.
#[derive(Debug, thiserror::Error)]
pub enum NotTurned {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("there is no such deletion")]
    NotFound,
    #[error("the ledger is not available")]
    Unavailable,
}

impl From<Failed> for NotTurned {
    fn from(_: Failed) -> Self {
        Self::Unavailable
    }
}

impl From<Error> for NotTurned {
    fn from(_: Error) -> Self {
        Self::Unavailable
    }
}

/// Runs until the queue is closed.
pub async fn run(center: Arc<Center>, mut queue: mpsc::Receiver<Open>) {
    let room = Arc::new(Semaphore::new(AT_ONCE_MAX));
    while let Some(open) = queue.recv().await {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        let center = Arc::clone(&center);
        tokio::spawn(async move {
            let _permit = permit;
            if let Err(error) = attend(&center, &open.errand).await {
                // It still wants attention, so the next poll brings it back.
                tracing::debug!(deletion = %open.errand.deletion.id, %error, "not yet");
            }
        });
    }
}

async fn attend(center: &Center, errand: &Errand) -> Result<(), NotTurned> {
    let (deletion, plan) = (&errand.deletion, &errand.plan);
    let Task::Do(duty) = errand.task else {
        return telling::tell(center, deletion, plan).await;
    };
    let event = match duty {
        Duty::Expire => Event::Expire,
        Duty::Begin => Event::Eligible,
        Duty::Advance => Event::Settled(Mask::EMPTY),
        Duty::AskEligibility => eligibility(center, deletion, plan).await,
        Duty::Oblige => return obligation::oblige(center, deletion, plan).await.map(drop),
        Duty::Wait(_) | Duty::Send(_) | Duty::NeedsPerson | Duty::Nothing => return Ok(()),
    };
    turn_from(center, deletion, plan, &event, true)
        .await
        .map(drop)
}

/// Asks every participant if anything is in the way. No answer is a blocker, never "fine".
pub async fn eligibility(center: &Center, deletion: &Deletion, plan: &Plan) -> Event {
    let asked = center.queries.eligibility(center, plan, &deletion.account);
    deletion.judge(plan, asked.await)
}

/// Decides `event` on what is stored and writes it; if somebody else was first, decides again.
pub async fn turn(
    center: &Arc<Center>,
    id: DeletionId,
    event: &Event,
    fenced: bool,
) -> Result<Deletion, NotTurned> {
    again(center, id, event, fenced, |turn| turn).await
}

/// The same as follows from a report, with the word that its participant gave as the reason.
pub async fn turn_said(
    center: &Arc<Center>,
    id: DeletionId,
    event: &Event,
    word: Option<&str>,
) -> Result<Deletion, NotTurned> {
    let said = |turn: Turn| Turn {
        decision: turn.decision.map(|decision| decision.because(word)),
        ..turn
    };
    again(center, id, event, true, said).await
}

/// The same as somebody decided it.
pub async fn turn_decided(
    center: &Arc<Center>,
    id: DeletionId,
    event: &Event,
    decision: &Decision,
) -> Result<Deletion, NotTurned> {
    let decided = |turn| Turn {
        decision: Some(decision.clone()),
        ..turn
    };
    again(center, id, event, false, decided).await
}

/// The same, with another word for the history.
pub async fn turn_noted(
    center: &Arc<Center>,
    id: DeletionId,
    (event, note): (&Event, &'static str),
    decision: &Decision,
) -> Result<Deletion, NotTurned> {
    let noted = |turn| Turn {
        note,
        decision: Some(decision.clone()),
        ..turn
    };
    again(center, id, event, false, noted).await
}

async fn again(
    center: &Arc<Center>,
    id: DeletionId,
    event: &Event,
    fenced: bool,
    on_record: impl Fn(Turn) -> Turn,
) -> Result<Deletion, NotTurned> {
    for _ in 0..TRIES_MAX {
        let (deletion, plan) = read(center, id).await?;
        let turn = on_record(decide(&deletion, &plan, event, center.clock.now())?);
        if let Turned::Done(deletion) = write(center, turn, fenced).await? {
            return Ok(deletion);
        }
    }
    Err(NotTurned::Unavailable)
}

/// Decides `event` on the deletion as it was read, and writes it unless somebody else was first: what was asked about one
/// revision is no answer for another.
pub async fn turn_from(
    center: &Center,
    deletion: &Deletion,
    plan: &Plan,
    event: &Event,
    fenced: bool,
) -> Result<Turned, NotTurned> {
    let turn = decide(deletion, plan, event, center.clock.now())?;
    write(center, turn, fenced).await
}

/// Has a decided turn written.
pub async fn write(center: &Center, turn: Turn, fenced: bool) -> Result<Turned, NotTurned> {
    let (answer, answered) = oneshot::channel();
    let job = TurnJob {
        turn,
        fenced,
        answer,
    };
    center
        .turn
        .send(job)
        .await
        .map_err(|_| NotTurned::Unavailable)?;
    Ok(answered.await.map_err(|_| NotTurned::Unavailable)??)
}

/// A deletion as stored, with its plan.
pub async fn read(center: &Center, id: DeletionId) -> Result<(Deletion, Arc<Plan>), NotTurned> {
    let owed = center
        .ledger
        .get(&[id])
        .await?
        .pop()
        .ok_or(NotTurned::NotFound)?;
    let version = owed.deletion.policy_version;
    if center.plans.get(version).is_none() {
        center.plans.reload(&*center.ledger).await?;
    }
    let Some(plan) = center.plans.get(version) else {
        tracing::error!(deletion = %id, version, "this program can't read the policy that the deletion follows");
        return Err(NotTurned::Unavailable);
    };
    Ok((owed.deletion, plan))
}

/// The turn of `event` on the deletion as stored.
pub fn decide(deletion: &Deletion, plan: &Plan, event: &Event, now: Time) -> Result<Turn, Refusal> {
    let after = deletion.step(event, plan, now)?;
    let sealed = matches!(after.state, State::CoolingOff { .. })
        && !matches!(deletion.state, State::CoolingOff { .. });
    Ok(Turn {
        before: deletion.revision,
        sealed_at: sealed.then_some(now),
        clear: after.clears(deletion, plan),
        after,
        recycled: Vec::new(),
        note: note(event),
        decision: reasons(event, plan),
    })
}

/// Why, where nobody asked for it.
fn reasons(event: &Event, plan: &Plan) -> Option<Decision> {
    match event {
        Event::Blocked(blockers) => Some(Decision::of_blockers(blockers)),
        Event::Overdue(reasons) => {
            Some(Decision::by(Decider::Farewell, "").because(reasons.iter().map(String::as_str)))
        }
        Event::LegRefused(leg) | Event::Residue(leg) => plan
            .leg(*leg)
            .map(|leg| Decision::of_participant(&leg.participant)),
        _ => None,
    }
}

/// The word for the history.
const fn note(event: &Event) -> &'static str {
    match event {
        Event::FactorVerified(_) => "FACTOR_VERIFIED",
        Event::Eligible => "ELIGIBLE",
        Event::Blocked(_) => "BLOCKED",
        Event::Overridden { .. } => "OVERRIDDEN",
        Event::Revoke => "REVOKED",
        Event::Deny(_) => "DENIED",
        Event::Expire => "EXPIRED",
        Event::Settled(_) => "SETTLED",
        Event::LegRefused(_) => "LEG_REFUSED",
        Event::Residue(_) => "RESIDUE",
        Event::Contradicted => "CONTRADICTED",
        Event::Resolved => "RESOLVED",
        Event::Hold => "HELD",
        Event::Release => "RELEASED",
        Event::Retry(_) => "LEG_RETRIED",
        Event::Kept { .. } => "KEPT_UNDER_LAW",
        Event::Ended { .. } => "RETENTION_ENDED",
        Event::Freed(_) => "RETENTION_ENDED_EARLY",
        Event::Recounted => "DEADLINE_RECOUNTED",
        Event::Raised => "RAISED",
        Event::Extended(_) => "DEADLINE_EXTENDED",
        Event::Overdue(_) => "OVERDUE",
        Event::Told(_) => "TOLD",
    }
}
