//! The board: deletions of our slots that participants owe something to, and the participants' desks.
//!
//! Everything here is derived from the ledger and may be thrown away at any moment. Nothing here is trusted: what counts
//! is what a commit said.

mod desk;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use farewell_core::device::Device;
use farewell_core::notice;
use farewell_core::receipt::Roster;
use farewell_core::report::{self, Answer, Verdict};
use farewell_core::retry::Backoff;
use farewell_core::{
    AccountId, CommandName, Deletion, DeletionId, LegIndex, Mask, ParticipantId, Plan, Reason,
    Slot, Time, Verb, obligation,
};
use farewell_ledger::Owed;
use farewell_proto::participant::v1 as wire;
use tokio::sync::mpsc;

use self::desk::Desks;
pub use self::desk::{DeskView, Frame, Lines, SESSION_FRAMES_MAX, SessionId, WINDOW_COMMANDS_MAX};
use crate::dispatch::LINKS_MAX;
use crate::obligation::{given_back, rules};
use crate::orders::Orders;
use crate::timers::Timers;
use crate::wire::verb_to_wire;

/// See the module.
#[derive(Debug, Default)]
pub struct Board {
    slots: u64,
    entries: HashMap<DeletionId, Entry>,
    desks: Desks,
    timers: Timers,
    left: Left,
}

/// Deletions that were taken off the board, as they were then: what was read before that must not bring them back. Kept
/// until every read that was under way is over.
#[derive(Debug, Default)]
struct Left {
    lately: HashMap<DeletionId, (i32, Mask)>,
    before: HashMap<DeletionId, (i32, Mask)>,
}

#[derive(Debug)]
struct Entry {
    deletion: Deletion,
    plan: Arc<Plan>,
    rosters: Vec<Roster>,
    legs: Vec<LegProgress>,
}

/// How far a leg is, as far as this coordinator has seen: shown, never trusted.
#[derive(Clone, Debug, Default)]
pub struct LegProgress {
    pub stage: Stage,
    /// Times sent.
    pub attempt: u32,
    /// Whose window it takes up.
    session: Option<SessionId>,
    due: Option<Instant>,
    /// The last thing the participant said.
    pub note: String,
}

/// Where a leg is between owed and settled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    #[default]
    Idle,
    Ready,
    Sent,
    Received,
    InProgress,
    Deferred,
    /// The receipt is being made durable.
    Settling,
    /// The ledger refused the receipt; it is asked for again later.
    Unsettled,
}

/// A judged report that must be made durable.
#[derive(Debug)]
pub struct Heard {
    pub verdict: Verdict,
    pub deletion: DeletionId,
    /// The round that the deletion was in when this was judged.
    pub round: u16,
    /// Whoever says in it that something is kept under law.
    pub keeps: Mask,
}

impl Heard {
    /// What is to be made durable of a deletion with this plan.
    pub fn new(verdict: Verdict, deletion: &Deletion, plan: &Plan) -> Self {
        let receipt = match &verdict {
            Verdict::Settle(receipt) | Verdict::Residue { probe: receipt, .. } => Some(receipt),
            Verdict::Progress(_)
            | Verdict::Defer(..)
            | Verdict::NeedsPerson { .. }
            | Verdict::Compare(_) => None,
        };
        Self {
            keeps: obligation::keepers(plan, receipt),
            verdict,
            deletion: deletion.id,
            round: deletion.round,
        }
    }
}

impl Board {
    /// Whether the deletion's slot is ours.
    pub fn owns(&self, id: DeletionId) -> bool {
        self.slots & (1 << id.slot().number()) != 0
    }

    /// Our slots.
    pub fn slots(&self) -> Vec<Slot> {
        Slot::all()
            .filter(|slot| self.slots & (1 << slot.number()) != 0)
            .collect()
    }

    /// Takes over slots; the ledger is asked afterwards what they owe.
    pub fn gain(&mut self, slots: &[Slot]) {
        for slot in slots {
            self.slots |= 1 << slot.number();
        }
    }

    /// Gives up slots and forgets their deletions.
    pub fn give_up(&mut self, slots: &[Slot]) {
        for slot in slots {
            self.slots &= !(1 << slot.number());
        }
        let gone: Vec<_> = self
            .entries
            .keys()
            .copied()
            .filter(|id| !self.owns(*id))
            .collect();
        for id in gone {
            self.forget(id);
        }
    }

    /// Whether a command is ready and somebody has room for it.
    pub fn has_work(&self) -> bool {
        self.desks.have_work()
    }

    /// Puts a deletion on the board, or what changed of it. The caller has had it freshened under the same lock.
    pub fn admit(&mut self, owed: Owed, plan: Arc<Plan>) {
        let Owed { deletion, seals } = owed;
        let id = deletion.id;
        let rosters = rosters(&plan, &seals);
        match self.entries.get_mut(&id) {
            Some(entry) => {
                let again = entry.deletion.round != deletion.round;
                entry.deletion = deletion;
                if !rosters.is_empty() {
                    entry.rosters = rosters;
                }
                if again {
                    for (index, leg) in entry.plan.legs() {
                        if let Some(progress) = entry.legs.get_mut(index.place()) {
                            give_back(&mut self.desks, &leg.participant, &std::mem::take(progress));
                        }
                    }
                }
            }
            None => {
                let legs = vec![LegProgress::default(); plan.legs().count()];
                self.entries.insert(
                    id,
                    Entry {
                        deletion,
                        plan,
                        rosters,
                        legs,
                    },
                );
            }
        }
        self.refresh(id);
    }

    /// Whether a deletion that was read is not older than what is known of it here. What was settled since is added to it:
    /// within a revision legs are only ever added, a later one may have cleared some.
    pub fn freshen(&self, read: &mut Deletion) -> bool {
        let id = &read.id;
        let on_board = |entry: &Entry| (entry.deletion.revision, entry.deletion.done);
        let known = self.entries.get(id).map(on_board).or_else(|| {
            let lately = self.left.lately.get(id);
            lately.or_else(|| self.left.before.get(id)).copied()
        });
        if let Some((revision, done)) = known
            && revision == read.revision
        {
            read.done = read.done | done;
        }
        known.is_none_or(|(revision, _)| revision <= read.revision)
    }

    /// Takes a deletion off the board that needs no commands now.
    pub fn leave(&mut self, deletion: &Deletion) {
        self.forget(deletion.id);
        self.left
            .lately
            .insert(deletion.id, (deletion.revision, deletion.done));
    }

    /// A read of everything that is owed is over: whoever left before it began can't come back by mistake any more.
    pub fn read_over(&mut self) {
        self.left.before = std::mem::take(&mut self.left.lately);
    }

    /// Takes a deletion off the board and frees the windows that it took up.
    fn forget(&mut self, id: DeletionId) {
        let Some(entry) = self.entries.remove(&id) else {
            return;
        };
        for (index, leg) in entry.plan.legs() {
            if let Some(progress) = entry.legs.get(index.place()) {
                give_back(&mut self.desks, &leg.participant, progress);
            }
        }
    }

    /// Forgets everything, as after a crash.
    pub fn clear(&mut self) {
        self.give_up(&Slot::all().collect::<Vec<_>>());
    }

    /// The deletion as this coordinator knows it.
    pub fn deletion(&self, id: DeletionId) -> Option<(&Deletion, &Arc<Plan>)> {
        self.entries
            .get(&id)
            .map(|entry| (&entry.deletion, &entry.plan))
    }

    /// The deletion, if nobody owes it anything.
    pub fn idle(&self, id: DeletionId) -> Option<&Deletion> {
        let entry = self.entries.get(&id)?;
        let idle = entry.deletion.owes(&entry.plan).is_empty();
        idle.then_some(&entry.deletion)
    }

    /// Whether participants were asked for the first time and have not answered yet.
    pub fn just_asked(&self, id: DeletionId) -> bool {
        let asked = |leg: &LegProgress| leg.stage == Stage::Sent && leg.attempt == 1;
        self.entries
            .get(&id)
            .is_some_and(|entry| entry.legs.iter().any(asked))
    }

    /// The progress of a deletion's legs.
    pub fn progress(&self, id: DeletionId) -> Vec<LegProgress> {
        self.entries
            .get(&id)
            .map(|entry| entry.legs.clone())
            .unwrap_or_default()
    }

    /// Whether the participant has a session here.
    pub fn connected(&self, participant: &str) -> bool {
        self.desks.connected(participant)
    }

    /// A participant's desk, in numbers.
    pub fn desk(&self, participant: &ParticipantId) -> DeskView {
        self.desks.view(participant)
    }

    /// Legs that the participant refuses, of the deletions on the board.
    pub fn refused(&self, participant: &ParticipantId) -> u64 {
        let refuses = |entry: &&Entry| {
            entry.deletion.refused.iter().any(|leg| {
                entry
                    .plan
                    .leg(leg)
                    .is_some_and(|leg| leg.participant == *participant)
            })
        };
        self.entries.values().filter(refuses).count() as u64
    }

    /// Adds a session; nothing is sent before it sets a window.
    pub fn seat(&mut self, participant: &ParticipantId, session: SessionId, lines: Lines) {
        self.desks.sit_down(participant, session, lines);
    }

    /// Sets a session's window.
    pub fn set_window(&mut self, participant: &ParticipantId, session: SessionId, commands: u32) {
        self.desks.set_window(participant, session, commands);
    }

    /// The queue for a question to the participant, if it has a session here.
    pub fn ask(&self, participant: &ParticipantId) -> Option<mpsc::Sender<Frame>> {
        self.desks.ask(participant)
    }

    /// Sends a command of nothing that is on the board, if a session of the participant has room. It takes its room in the
    /// window until it is given back.
    pub fn lend(
        &mut self,
        participant: &ParticipantId,
        command: &wire::Command,
    ) -> Option<SessionId> {
        self.desks.lend(participant, command)
    }

    /// Gives back the room that [`Board::lend`] took.
    pub fn give_back(&mut self, participant: &ParticipantId, session: SessionId) {
        self.desks.release(participant, Some(session));
    }

    /// Removes a session. What it had not answered is owed again at once.
    pub fn unseat(&mut self, participant: &ParticipantId, session: SessionId) {
        self.desks.stand_up(participant, session);
        for (id, entry) in &mut self.entries {
            for (index, leg) in entry.plan.legs() {
                let Some(progress) = entry.legs.get_mut(index.place()) else {
                    continue;
                };
                if progress.session == Some(session) {
                    progress.session = None;
                    progress.due = None;
                    if progress.stage != Stage::Settling {
                        progress.stage = Stage::Ready;
                        self.desks.queue(&leg.participant, (*id, index));
                    }
                }
            }
        }
    }

    /// Makes every owed leg that nobody works on ready to be sent.
    fn refresh(&mut self, id: DeletionId) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        for index in entry.deletion.owes(&entry.plan).iter() {
            let (Some(leg), Some(progress)) =
                (entry.plan.leg(index), entry.legs.get_mut(index.place()))
            else {
                continue;
            };
            // Once that is told, the deletion comes here again.
            let early = notice::holds_back(&entry.deletion, &entry.plan, index);
            if progress.stage == Stage::Idle && !early {
                progress.stage = Stage::Ready;
                self.desks.queue(&leg.participant, (id, index));
            }
        }
    }

    /// Makes ready again what is overdue, and returns when to look next.
    pub fn tick(&mut self, now: Instant) -> Option<Instant> {
        for id in self.timers.due(now) {
            let Some(entry) = self.entries.get_mut(&id) else {
                continue;
            };
            for (index, leg) in entry.plan.legs() {
                let Some(progress) = entry.legs.get_mut(index.place()) else {
                    continue;
                };
                if progress.due.is_some_and(|due| due <= now) {
                    self.desks
                        .release(&leg.participant, progress.session.take());
                    progress.due = None;
                    if progress.stage == Stage::Deferred {
                        self.desks.defer(&leg.participant, true, false);
                        self.desks.queue(&leg.participant, (id, index));
                    } else {
                        self.desks.queue_first(&leg.participant, (id, index));
                    }
                    progress.stage = Stage::Ready;
                }
            }
        }
        self.timers.next()
    }

    /// Hands every session as many commands as its window and queue have room for. Returns how many.
    ///
    /// If the batch is traced, `causes` gets the traces of the requests that it works for.
    pub fn dispatch(&mut self, sending: &Sending<'_>, causes: &mut Vec<String>) -> usize {
        let (entries, timers) = (&mut self.entries, &mut self.timers);
        self.desks.hand_out(|session, (id, index)| {
            let entry = entries.get_mut(&id)?;
            let command = entry.send(index, session, sending)?;
            if let Some(due) = entry.legs.get(index.place())?.due {
                timers.set(due, id);
            }
            let cause = &entry.deletion.traceparent;
            let links = !sending.traceparent.is_empty() && causes.len() < LINKS_MAX;
            if links && !cause.is_empty() && !causes.contains(cause) {
                causes.push(cause.clone());
            }
            Some(command)
        })
    }

    /// Judges a report and notes the progress. What must be kept is returned to be made durable; `None` means that nothing is.
    ///
    /// Errors: the reason to refuse it. `DELETION_NOT_FOUND`: it is not on the board, the ledger may know it.
    pub fn hear(
        &mut self,
        sender: &ParticipantId,
        name: &CommandName,
        account: &AccountId,
        answer: &Answer,
        (now, time): (Instant, Time),
    ) -> Result<Option<Heard>, Reason> {
        if name.participant != *sender {
            return Err(Reason::NotYourLeg);
        }
        let entry = self
            .entries
            .get_mut(&name.deletion)
            .ok_or(Reason::DeletionNotFound)?;
        let roster = entry
            .rosters
            .iter()
            .find(|roster| roster.participant == *sender);
        let roster: &[Device] = roster.map_or(&[], |roster| &roster.devices);
        let verdict = report::judge(
            sender,
            name,
            account,
            answer,
            (&entry.deletion, &entry.plan),
            roster,
            time,
        )?;
        let (leg, stage) = match &verdict {
            Verdict::Progress(leg) if matches!(answer, Answer::Received) => (*leg, Stage::Received),
            Verdict::Progress(leg) => (*leg, Stage::InProgress),
            Verdict::Defer(leg, _) => (*leg, Stage::Deferred),
            Verdict::Settle(receipt) | Verdict::Residue { probe: receipt, .. } => {
                (receipt.leg, Stage::Settling)
            }
            Verdict::NeedsPerson { leg, .. } => (*leg, Stage::Settling),
            Verdict::Compare(_) => {
                return Ok(Some(Heard::new(verdict, &entry.deletion, &entry.plan)));
            }
        };
        if entry.deletion.done.has(leg) {
            return Ok(None);
        }
        let Some(progress) = entry.legs.get_mut(leg.place()) else {
            return Err(Reason::UnknownCommand);
        };
        if progress.stage == Stage::Settling
            && matches!(verdict, Verdict::Progress(_) | Verdict::Defer(..))
        {
            return Ok(None);
        }
        progress.note = note(answer);
        if matches!(verdict, Verdict::Progress(_))
            && matches!(progress.stage, Stage::Idle | Stage::Ready)
        {
            // About an earlier delivery. No timer runs for this leg, so only its place in the queue brings it back.
            return Ok(None);
        }
        let was_deferred = progress.stage == Stage::Deferred;
        progress.stage = stage;
        if stage == Stage::Settling || stage == Stage::Deferred {
            self.desks.release(sender, progress.session.take());
            progress.due = None;
        }
        if let Verdict::Defer(_, retry_after) = &verdict {
            progress.due = Some(now + *retry_after);
            self.timers.set(now + *retry_after, name.deletion);
        }
        self.desks
            .defer(sender, was_deferred, stage == Stage::Deferred);
        let keep = !matches!(verdict, Verdict::Progress(_) | Verdict::Defer(..));
        Ok(keep.then(|| Heard::new(verdict, &entry.deletion, &entry.plan)))
    }

    /// What the deletion would be after these legs are settled, if that moves it.
    pub fn advance(
        &self,
        id: DeletionId,
        (legs, keeps): (Mask, Mask),
        now: Time,
    ) -> Option<Deletion> {
        let entry = self.entries.get(&id)?;
        let next = entry
            .deletion
            .keeping(keeps)
            .step(&farewell_core::Event::Settled(legs), &entry.plan, now)
            .ok()?;
        next.moved_from(&entry.deletion).then_some(next)
    }

    /// Takes over what a commit said: the merged done-mask at that revision, and the deletion as it moved. False if the
    /// board has another revision: then the mask may be of another round, and the deletion must be read again.
    #[must_use]
    pub fn settled(
        &mut self,
        id: DeletionId,
        revision: i32,
        (done, keeps): (Mask, Mask),
        moved: Option<Deletion>,
        seals: Vec<Roster>,
    ) -> bool {
        let Some(entry) = self.entries.get_mut(&id) else {
            return true;
        };
        if let Some(moved) = moved
            && moved.revision > entry.deletion.revision
        {
            entry.deletion = moved;
        }
        for roster in seals {
            entry
                .rosters
                .retain(|known| known.participant != roster.participant);
            entry.rosters.push(roster);
        }
        let current = entry.deletion.revision == revision;
        if current {
            entry.deletion.refused = entry.deletion.refused & !done;
            entry.deletion.done = entry.deletion.done | done;
            entry.deletion = entry.deletion.keeping(keeps);
            self.refresh(id);
        }
        current
    }

    /// These legs' receipts were not made durable: they are owed again. Others may be on their way at this very moment.
    pub fn unsettle(&mut self, id: DeletionId, legs: Mask) {
        if let Some(entry) = self.entries.get_mut(&id) {
            for progress in entry.settling(legs) {
                progress.stage = Stage::Idle;
            }
        }
        self.refresh(id);
    }

    /// The ledger won't have these legs' receipts: the participants are asked again, but not at once.
    pub fn put_off(&mut self, id: DeletionId, legs: Mask, until: Instant) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        for progress in entry.settling(legs) {
            progress.stage = Stage::Unsettled;
            progress.due = Some(until);
        }
        self.timers.set(until, id);
    }
}

/// How commands are sent.
#[derive(Clone, Copy, Debug)]
pub struct Sending<'a> {
    pub now: Instant,
    pub retry: &'a Backoff,
    /// Signs what devices are told.
    pub orders: &'a Orders,
    /// Trace context of the batch; empty if it is not traced.
    pub traceparent: &'a str,
}

impl Entry {
    /// Those of the legs whose receipts are being made durable.
    fn settling(&mut self, legs: Mask) -> impl Iterator<Item = &mut LegProgress> {
        let settling = move |(place, progress): &(usize, &mut LegProgress)| {
            progress.stage == Stage::Settling && legs.iter().any(|leg| leg.place() == *place)
        };
        let all = self.legs.iter_mut().enumerate();
        all.filter(settling).map(|(_, progress)| progress)
    }

    /// The command of a ready leg, noted as sent. `None` if the leg isn't owed any more.
    fn send(
        &mut self,
        index: LegIndex,
        session: SessionId,
        sending: &Sending<'_>,
    ) -> Option<wire::Command> {
        let owed = self.deletion.owes(&self.plan).has(index);
        let leg = self.plan.leg(index)?;
        let progress = self.legs.get_mut(index.place())?;
        if !owed || progress.stage != Stage::Ready {
            if progress.stage == Stage::Ready {
                progress.stage = Stage::Idle;
            }
            return None;
        }
        progress.attempt = progress.attempt.saturating_add(1);
        progress.stage = Stage::Sent;
        progress.session = Some(session);
        progress.due = Some(sending.now + sending.retry.after(progress.attempt, rand::random()));
        let name = CommandName {
            deletion: self.deletion.id,
            round: self.deletion.round_of(index, leg.verb),
            verb: leg.verb,
            participant: leg.participant.clone(),
        };
        let asked = self
            .deletion
            .asked_of(index)
            .filter(|_| leg.verb == Verb::Expire);
        let roster = self
            .rosters
            .iter()
            .find(|roster| roster.participant == leg.participant);
        let devices = roster
            .filter(|_| leg.verb == Verb::Erase)
            .map_or_else(Vec::new, |roster| {
                sending
                    .orders
                    .tasks(&roster.devices, |_| true, &name, &self.deletion, &self.plan)
            });
        Some(wire::Command {
            name: name.to_string(),
            verb: verb_to_wire(leg.verb).into(),
            account: format!("accounts/{}", self.deletion.account.as_str()),
            deadline: Some(crate::wire::timestamp(self.deletion.deadline)),
            traceparent: if sending.traceparent.is_empty() {
                self.deletion.traceparent.clone()
            } else {
                sending.traceparent.to_owned()
            },
            device_horizon: (leg.verb == Verb::Erase && !devices.is_empty())
                .then(|| self.plan.policy().devices.horizon.try_into().ok())
                .flatten(),
            retention: match (leg.verb, asked) {
                (Verb::Erase, _) => rules(&self.plan, &leg.participant),
                (_, Some(asked)) if asked.freed => {
                    given_back(&self.plan, &leg.participant, asked.by)
                }
                _ => Vec::new(),
            },
            ended_by_time: asked.map(|asked| crate::wire::timestamp(asked.by)),
            devices,
        })
    }
}

/// The rosters in a deletion's seal receipts.
pub fn rosters(plan: &Plan, seals: &[farewell_core::receipt::Kept]) -> Vec<Roster> {
    seals
        .iter()
        .filter_map(|kept| {
            let leg = plan
                .leg(kept.receipt.leg)
                .filter(|leg| leg.verb == Verb::Seal)?;
            let devices = kept.receipt.read().ok()?.devices;
            Some(Roster {
                participant: leg.participant.clone(),
                devices,
            })
        })
        .collect()
}

/// Takes a leg that is no longer waited for out of its participant's numbers.
fn give_back(desks: &mut Desks, participant: &ParticipantId, progress: &LegProgress) {
    desks.release(participant, progress.session);
    desks.defer(participant, progress.stage == Stage::Deferred, false);
}

fn note(answer: &Answer) -> String {
    match answer {
        Answer::Received | Answer::Done(_) => String::new(),
        Answer::InProgress { done, total } => format!("{done}/{total}"),
        Answer::Deferred {
            reason,
            done,
            total,
            ..
        } => format!("{reason} {done}/{total}"),
        Answer::Refused { reason } => reason.clone(),
    }
}

/// How long the dispatcher sleeps when nothing is due.
pub const IDLE_MAX: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
