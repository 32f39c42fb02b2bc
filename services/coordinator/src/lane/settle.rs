//! Acknowledgements, made durable by sets; the last one of a deletion purges it in the same transaction.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use farewell_core::receipt::{Kept, Receipt};
use farewell_core::{
    CommandName, Deletion, DeletionId, Event, LegIndex, Mask, Plan, Reason, State, Verb,
};
use farewell_ledger::{BATCH_ROWS_MAX, Error, Owed, Settled, Settlement};
use farewell_proto::participant::v1 as wire;
use farewell_runtime::telemetry;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::open::chain;
use super::{AWAY_PAUSE, AWAY_PAUSE_MAX};
use crate::board::{Frame, rosters};
use crate::center::Center;
use crate::dispatch::LINKS_MAX;
use crate::steward::{self, NotTurned};

/// How long a small batch waits for answers that are on their way.
const GATHER_MAX: Duration = Duration::from_micros(300);
/// From this size on a batch doesn't wait.
const GATHER_JOBS_MAX: usize = 16;

/// A judged report.
pub struct SettleJob {
    pub deletion: DeletionId,
    pub work: Work,
    /// The round that the deletion was in when it was judged.
    pub round: u16,
    /// Whoever says in it that something is kept under law.
    pub keeps: Mask,
    /// For the refusal, if its evidence contradicts what is kept: the session's queue and the command's name.
    pub sender: (mpsc::Sender<Frame>, String),
    /// The participant, for counting.
    pub participant: Arc<str>,
}

/// What a judged report asks of the ledger.
pub enum Work {
    /// Keep the receipt; its leg is done.
    Settle(Receipt),
    /// The leg was done before: compare the evidence.
    Compare(Receipt),
    /// Keep the probe's receipt; the leg must be erased again.
    Residue { probe: Receipt, erase: LegIndex },
    /// The participant won't, and says why in one word.
    Refused { leg: LegIndex, reason: String },
}

#[derive(Default)]
struct Group {
    receipts: Vec<Receipt>,
    /// The latest round in which something was judged, and the legs that were asked then.
    round: u16,
    legs: Mask,
    keeps: Mask,
    /// Legs that count as being settled until this group is done with.
    heard: Mask,
    /// Turns that follow from it, each with the participant's word, if it gave one.
    events: Vec<(Event, Option<String>)>,
    jobs: Vec<SettleJob>,
    /// Answers to what was settled before.
    repeats: Vec<(Receipt, SettleJob)>,
}

/// Runs until the queue is closed and empty.
pub async fn run(center: Arc<Center>, mut queue: mpsc::Receiver<SettleJob>) {
    let mut jobs = Vec::with_capacity(BATCH_ROWS_MAX);
    while queue.recv_many(&mut jobs, BATCH_ROWS_MAX).await > 0 {
        gather(&center, &mut queue, &mut jobs).await;
        flush(&center, jobs.drain(..)).await;
    }
}

/// Takes along the answers that are about to arrive, where there are few: the participants of a deletion answer within
/// moments of each other, and a commit costs more than those moments. Timers are too coarse for this.
async fn gather(center: &Center, queue: &mut mpsc::Receiver<SettleJob>, jobs: &mut Vec<SettleJob>) {
    let end = Instant::now() + GATHER_MAX;
    while jobs.len() < GATHER_JOBS_MAX && Instant::now() < end {
        let more = {
            let board = center.board();
            jobs.iter().any(|job| board.just_asked(job.deletion))
        };
        if !more {
            return;
        }
        tokio::task::yield_now().await;
        while let Ok(job) = queue.try_recv() {
            jobs.push(job);
        }
    }
}

async fn flush(center: &Arc<Center>, jobs: impl Iterator<Item = SettleJob>) {
    let mut groups: HashMap<DeletionId, Group> = HashMap::new();
    for job in jobs {
        groups.entry(job.deletion).or_default().add(job, center);
    }
    let now = center.clock.now();
    let batch: Vec<_> = {
        let board = center.board();
        groups
            .iter()
            .filter(|(_, group)| !group.jobs.is_empty())
            .map(|(id, group)| {
                // Whoever contradicts itself, finds residue or refuses moves nothing forward in this batch.
                let calm = group.events.is_empty();
                let advance = if calm {
                    board.advance(*id, (group.legs, group.keeps), now)
                } else {
                    None
                };
                let (receipts, legs) = (group.receipts.clone(), group.legs);
                Settlement {
                    deletion: *id,
                    at: now,
                    receipts,
                    round: group.round,
                    legs,
                    retains: group.keeps,
                    advance,
                }
            })
            .collect()
    };
    let Some(settled) = write(center, &batch).await else {
        // Our lease is gone: whoever has the slots now asks the participants again.
        let mut board = center.board();
        for (id, group) in &groups {
            board.unsettle(*id, group.heard);
        }
        return;
    };
    let mut stale = Vec::new();
    let mut changes = Vec::new();
    let mut landed = Vec::new();
    // Those that are all sealed, for instance: what they need next is no command.
    let mut idle = Vec::new();
    {
        let mut board = center.board();
        for (settlement, outcome) in batch.into_iter().zip(settled) {
            let Some(group) = groups.get_mut(&settlement.deletion) else {
                continue;
            };
            let Some(outcome) = outcome else {
                let until = Instant::now() + center.pace.retry.cap;
                board.put_off(settlement.deletion, group.heard, until);
                continue;
            };
            let Settled {
                done,
                revision,
                advanced,
                conflicts,
            } = outcome;
            for receipt in conflicts {
                group.contradicted(&receipt, center);
            }
            let id = settlement.deletion;
            let seals = board.deletion(id).map_or_else(Vec::new, |(_, plan)| {
                seal_rosters(plan, &settlement.receipts)
            });
            if settlement.advance.is_some() && !advanced {
                stale.push(id);
            }
            let moved = settlement
                .advance
                .filter(|_| advanced)
                .map(|moved| Deletion { done, ..moved });
            if let Some(moved) = &moved {
                changes.push((id, moved.state.code()));
                landed.push(moved.clone());
            }
            let moves = moved.is_some();
            let merged = (done, settlement.retains);
            if !board.settled(id, revision, merged, moved, seals) && !stale.contains(&id) {
                stale.push(id);
            } else if !moves && let Some(deletion) = board.idle(id) {
                idle.push(deletion.clone());
            }
        }
    }
    purge_span(&landed);
    // What has moved may owe something else now, or nothing for a while.
    center.admit(landed.into_iter().chain(idle).map(|deletion| Owed {
        deletion,
        seals: Vec::new(),
    }));
    center.announce(changes);
    center.wake.notify_one();
    if !stale.is_empty() {
        reload(center, &stale).await;
    }
    for (id, group) in groups {
        if !group.events.is_empty() || !group.repeats.is_empty() {
            let center = Arc::clone(center);
            // A turn waits for its own lane, and this lane must not.
            tokio::spawn(async move { follow(&center, id, group).await });
        }
    }
}

impl Group {
    fn add(&mut self, job: SettleJob, center: &Center) {
        self.keeps = self.keeps | job.keeps;
        match &job.work {
            Work::Settle(receipt) => {
                self.heard = self.heard | Mask::of(receipt.leg);
                let (leg, round) = (receipt.leg, job.round);
                if self.keep(receipt.clone(), &job, center) && round >= self.round {
                    if round > self.round {
                        (self.round, self.legs) = (round, Mask::EMPTY);
                    }
                    self.legs = self.legs | Mask::of(leg);
                }
            }
            Work::Compare(receipt) => {
                self.repeats.push((receipt.clone(), job));
                return;
            }
            Work::Residue { probe, erase } => {
                self.heard = self.heard | Mask::of(probe.leg);
                let (probe, erase) = (probe.clone(), *erase);
                if self.keep(probe, &job, center) {
                    self.events.push((Event::Residue(erase), None));
                }
            }
            Work::Refused { leg, reason } => {
                self.heard = self.heard | Mask::of(*leg);
                let event = Event::LegRefused(*leg);
                self.events.push((event, Some(reason.clone())));
            }
        }
        self.jobs.push(job);
    }

    /// Adds the receipt unless its leg has one in this batch: the first one counts, another one is a contradiction.
    fn keep(&mut self, receipt: Receipt, job: &SettleJob, center: &Center) -> bool {
        let twin = self
            .receipts
            .iter()
            .find(|kept| kept.leg == receipt.leg && kept.round == receipt.round);
        match twin.map(|twin| twin.fingerprint == receipt.fingerprint) {
            None => {
                self.receipts.push(receipt);
                true
            }
            Some(true) => false,
            Some(false) => {
                self.events.push((Event::Contradicted, None));
                refuse(job, Reason::OutcomeConflict, center);
                false
            }
        }
    }

    /// The ledger keeps other evidence for this leg.
    fn contradicted(&mut self, receipt: &Receipt, center: &Center) {
        self.events.push((Event::Contradicted, None));
        let said = |job: &&SettleJob| match &job.work {
            Work::Settle(said) | Work::Residue { probe: said, .. } => said == receipt,
            Work::Compare(_) | Work::Refused { .. } => false,
        };
        if let Some(job) = self.jobs.iter().find(said) {
            refuse(job, Reason::OutcomeConflict, center);
        }
    }
}

fn refuse(job: &SettleJob, reason: Reason, center: &Center) {
    center.count_refusal(&job.participant, reason);
    tracing::warn!(
        command = job.sender.1,
        reason = reason.word(),
        "refused a report"
    );
    let refusal = wire::ReportRefusal {
        command: job.sender.1.clone(),
        reason: reason.word().to_owned(),
    };
    let message = wire::connect_response::Message::Refusals(wire::Refusals {
        refusals: vec![refusal],
    });
    // To a session that has no room the refusal is lost; it is counted and logged.
    let _ = job.sender.0.try_send(Ok(wire::ConnectResponse {
        message: Some(message),
    }));
}

/// Writes the batch until it is durable, and whatever the database refuses without the rest of it: that is answered with
/// `None` in its place. `None` altogether if another coordinator has taken over.
async fn write(center: &Center, batch: &[Settlement]) -> Option<Vec<Option<Settled>>> {
    loop {
        let fence = center.fence()?;
        match center.ledger.settle(&fence, batch.to_vec()).await {
            Ok(settled) => return Some(settled.into_iter().map(Some).collect()),
            Err(Error::Fenced) => return None,
            Err(error @ (Error::Unreachable(_) | Error::Unknown(_))) => {
                tracing::warn!(error = %chain(&error), deletions = batch.len(), "settling again");
            }
            Err(error) => {
                if let [alone] = batch {
                    tracing::error!(deletion = %alone.deletion, error = %chain(&error), "settling was refused");
                    return Some(vec![None]);
                }
                let (one, other) = batch.split_at(batch.len() / 2);
                let mut settled = Box::pin(write(center, one)).await?;
                settled.extend(Box::pin(write(center, other)).await?);
                return Some(settled);
            }
        }
        if center.draining() {
            return None;
        }
        sleep(AWAY_PAUSE).await;
    }
}

fn seal_rosters(plan: &Plan, receipts: &[Receipt]) -> Vec<farewell_core::receipt::Roster> {
    if plan.seals().is_empty() {
        return Vec::new();
    }
    let kept = |receipt: &Receipt| Kept {
        receipt: receipt.clone(),
        settled_at: farewell_core::Time::default(),
    };
    let seals: Vec<_> = receipts
        .iter()
        .filter(|receipt| plan.seals().has(receipt.leg))
        .map(kept)
        .collect();
    rosters(plan, &seals)
}

/// One short span for each batch that purges, linked to the requests: a deletion lives too long for one open span.
fn purge_span(landed: &[Deletion]) {
    let purged = || {
        let ended = |deletion: &&Deletion| matches!(deletion.state, State::Purged { .. });
        landed.iter().filter(ended)
    };
    if purged().next().is_none() {
        return;
    }
    let span = tracing::info_span!("purge", deletions = purged().count());
    if !telemetry::traceparent_of(&span).is_empty() {
        let causes = purged().map(|deletion| &deletion.traceparent);
        causes
            .take(LINKS_MAX)
            .for_each(|cause| telemetry::link(&span, cause));
    }
    drop(span.entered());
}

/// Reads deletions again whose stored revision is another than the board's.
async fn reload(center: &Center, ids: &[DeletionId]) {
    match center.ledger.get(ids).await {
        Ok(owed) => center.admit(owed),
        Err(error) => {
            tracing::warn!(error = %chain(&error), deletions = ids.len(), "left to the next poll")
        }
    }
}

/// Compares what was said again with what is kept, and makes the turns that follow from reports: decided on what is
/// stored, again if somebody else was first.
async fn follow(center: &Arc<Center>, id: DeletionId, mut group: Group) {
    let mut pause = AWAY_PAUSE;
    while !group.repeats.is_empty() {
        match center.ledger.receipts(id).await {
            Ok(kept) => compare(center, &mut group, &kept),
            Err(error) => {
                tracing::warn!(deletion = %id, error = %chain(&error), "not compared yet");
                if !stay(center, id, &mut pause).await {
                    break;
                }
            }
        }
    }
    for (event, word) in group.events {
        while let Err(error) = steward::turn_said(center, id, &event, word.as_deref()).await {
            tracing::warn!(deletion = %id, ?event, %error, "what a report asks for was not done");
            let refused = matches!(error, NotTurned::Refused(_) | NotTurned::NotFound);
            if refused || !stay(center, id, &mut pause).await {
                break;
            }
        }
    }
    // Nobody would ask again, now or once a refusal is cleared, while the leg counts as being settled.
    center.board().unsettle(id, group.heard);
    center.wake.notify_one();
}

/// Waits for the ledger to come back, as nobody says twice that it contradicts itself. False if somebody else must.
async fn stay(center: &Center, id: DeletionId, pause: &mut Duration) -> bool {
    sleep(*pause).await;
    *pause = (*pause * 2).min(AWAY_PAUSE_MAX);
    !center.draining() && center.board().owns(id)
}

/// Repeats change nothing: not even a receipt is added, so that a certificate issued again is the same.
fn compare(center: &Center, group: &mut Group, kept: &[Kept]) {
    for (said, job) in std::mem::take(&mut group.repeats) {
        let stands = kept
            .iter()
            .find(|kept| kept.receipt.leg == said.leg && kept.receipt.round == said.round);
        match stands.map(|kept| kept.receipt.fingerprint == said.fingerprint) {
            Some(true) => {}
            Some(false) => {
                group.events.push((Event::Contradicted, None));
                refuse(&job, Reason::OutcomeConflict, center);
            }
            // Asked before somebody found residue, answered after: it did nothing wrong, and is asked again.
            None if probed(&job.sender.1) => {}
            None => refuse(&job, Reason::UnknownCommand, center),
        }
    }
}

fn probed(command: &str) -> bool {
    command
        .parse::<CommandName>()
        .is_ok_and(|name| name.verb == Verb::Probe)
}
