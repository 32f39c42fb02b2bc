//! Does again, at one participant, what was done to what is purged, and to what is sealed or was: it was restored from a backup, and
//! holds what had gone.
//!
//! Nothing here is on the board, as nothing that was settled is owed. A command takes its room in the participant's window
//! like any other, and its answer is heard here before the board is asked. What was done is appended to the ledger before
//! anybody is told; what breaks off is asked again under the same name.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use farewell_core::account::{self, Account, Change};
use farewell_core::device::Device;
use farewell_core::replay::{self, Past, Said};
use farewell_core::report::Answer;
use farewell_core::{
    AccountId, CommandName, Deletion, DeletionId, ParticipantId, Plan, Reason, Time, Verb,
};
use farewell_ledger::Owed;
use farewell_proto::participant::v1 as wire;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout_at};

use crate::accounts;
use crate::board::{self, SessionId};
use crate::center::Center;
use crate::obligation::rule;
use crate::wire::{timestamp, verb_to_wire};

/// Answers to one command that may wait: it has arrived, it is being worked on, it is done.
const ANSWERS_MAX: usize = 8;
/// How long a participant may be at one command, with nothing heard, before it is sent again.
const ANSWER_WAIT: Duration = Duration::from_secs(15);
/// How often a command is sent, or an account told of, before it is left without an answer.
const SENDS_MAX: u32 = 4;
/// Pause before an account is told of again that got no answer.
const TELL_AGAIN: Duration = Duration::from_millis(250);
/// How long room in the participant's window is waited for.
const ROOM_WAIT: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// What is put off for want of an answer from a participant that is there.
const NO_ANSWER: &str = "NO_ANSWER";
/// A participant's word for an account that is gone.
const ALREADY_ERASED: &str = "ALREADY_ERASED";

/// Commands whose answers are waited for, by name.
#[derive(Debug, Default)]
pub struct Replays(Mutex<HashMap<String, mpsc::Sender<(AccountId, Answer)>>>);

impl Replays {
    /// Takes a report's answer. False: the command isn't one of these.
    pub fn hear(
        &self,
        sender: &ParticipantId,
        name: &CommandName,
        account: &AccountId,
        answer: &Answer,
    ) -> bool {
        if name.participant != *sender {
            return false;
        }
        let open = self.lock();
        let Some(waiting) = open.get(&name.to_string()) else {
            return false;
        };
        // Full: it is asked again.
        let _ = waiting.try_send((account.clone(), answer.clone()));
        true
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, mpsc::Sender<(AccountId, Answer)>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets a command however its asking ends.
struct Open<'a> {
    replays: &'a Replays,
    name: String,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.replays.lock().remove(&self.name);
    }
}

/// What became of one deletion, or of one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Again {
    /// Erased, and found clean, or with what is left of it.
    Done {
        counts: BTreeMap<String, i64>,
        left: BTreeMap<String, i64>,
    },
    /// It is under way: what the backup didn't know is sealed again.
    Sealed,
    /// It was taken back: what the backup brought sealed is open again.
    Unsealed,
    /// An account that stays: it knows again how it stands, and what was cleared is.
    Told,
    /// Asked in vain, as the account is gone there: there is nothing to tell.
    Gone,
    /// It goes on at the participant, or that gave no answer: replay again later.
    Deferred(String),
    /// A person must look.
    Refused(String),
}

/// Why a replay breaks off. It may be begun again where it was.
#[derive(Debug)]
pub enum Broken {
    /// The participant isn't there, or has no room.
    Away,
    /// The ledger isn't.
    Ledger(farewell_ledger::Error),
}

impl From<farewell_ledger::Error> for Broken {
    fn from(error: farewell_ledger::Error) -> Self {
        Self::Ledger(error)
    }
}

/// What is said with the commands of one deletion.
struct Terms {
    roster: Vec<Device>,
    ended: replay::Ended,
    /// What is kept once more.
    retention: Vec<wire::RetentionRule>,
    /// What is kept no longer, before its day too.
    expired: Vec<wire::RetentionRule>,
    ended_by: Option<Time>,
}

/// Has one deletion erased, ended and looked for once more, or sealed or unsealed, as far as that was done after `since`. `None`:
/// nothing of it was, and nothing was asked.
pub async fn once(
    center: &Center,
    participant: &ParticipantId,
    since: Time,
    id: DeletionId,
) -> Result<Option<Again>, Broken> {
    let Some(owed) = center.ledger.get(&[id]).await?.pop() else {
        return Ok(None);
    };
    let Some(plan) = center.plans.get(owed.deletion.policy_version) else {
        return Ok(None);
    };
    // Read after the deletion: what is done has its receipt among these.
    let receipts = center.ledger.receipts(id).await?;
    let past = Past {
        deletion: &owed.deletion,
        plan: &plan,
        participant,
        receipts: &receipts,
    };
    let verbs = past.verbs(since);
    if verbs.is_empty() {
        return Ok(None);
    }
    let ended_by = past.ended_by();
    let expired = ended_by.map_or(Ok(Vec::new()), |by| past.expired(by, center.clock.now()));
    let (rules, expired) = match (past.rules(), expired) {
        (Ok(rules), Ok(expired)) => (rules, expired),
        (Err(refusal), _) | (_, Err(refusal)) => {
            return Ok(Some(Again::Refused(refusal.reason.word().to_owned())));
        }
    };
    let told = |rules: Vec<replay::Rule<'_>>| {
        let rules = rules.into_iter();
        rules
            .map(|kept| rule(&plan, (kept.name, kept.class), kept.until))
            .collect()
    };
    let rosters = board::rosters(&plan, &owed.seals);
    let sealed = rosters
        .iter()
        .find(|roster| roster.participant == *participant)
        .map_or(&[][..], |roster| &roster.devices);
    let terms = Terms {
        roster: sealed.to_vec(),
        ended: past.ended(),
        retention: told(rules),
        expired: told(expired),
        ended_by,
    };
    let (mut counts, mut left) = (BTreeMap::<String, i64>::new(), BTreeMap::new());
    for verb in verbs {
        let found = match ask(center, participant, verb, (&owed, &plan), &terms).await? {
            Ok(evidence) => evidence,
            // A later deletion of the account has ended: there is nothing to open.
            Err(Again::Refused(word)) if verb == Verb::Unseal && word == ALREADY_ERASED => {
                return Ok(Some(Again::Gone));
            }
            Err(again) => return Ok(Some(again)),
        };
        if !matches!(past.stray(verb, &found), Ok(None)) {
            return Ok(Some(Again::Refused("RETAINED_NOT_OWED".to_owned())));
        }
        match verb {
            Verb::Seal => return Ok(Some(Again::Sealed)),
            Verb::Unseal => return Ok(Some(Again::Unsealed)),
            Verb::Erase | Verb::Expire | Verb::Probe => {}
        }
        if verb != Verb::Probe {
            for (category, count) in found.counts {
                *counts.entry(category).or_default() += count;
            }
        } else if !replay::is_clean(&found) {
            left = found.counts;
        }
    }
    Ok(Some(Again::Done { counts, left }))
}

/// Tells a participant once more how an account stands, and has cleared again what it cleared after `since`. `None`: it has forgotten
/// nothing of it, and nothing was asked. Nothing is written: what was done is on record as it was done first.
pub async fn account_once(
    center: &Center,
    participant: &ParticipantId,
    since: Time,
    account: &Account,
) -> Result<Option<Again>, Broken> {
    let forgotten = account.forgotten(participant, since);
    if forgotten.is_empty() {
        return Ok(None);
    }
    for change in forgotten {
        let again = match tell(center, participant, account, change).await? {
            Some(account::Event::Waits(_, word)) => Again::Deferred(word),
            Some(account::Event::Told(_, account::Outcome::Gone)) => Again::Gone,
            Some(_) => continue,
            None => Again::Deferred(NO_ANSWER.to_owned()),
        };
        return Ok(Some(again));
    }
    Ok(Some(Again::Told))
}

/// Tells a participant of one change. `None`: it is there, and gives no answer to this one, whatever it says to others.
async fn tell(
    center: &Center,
    participant: &ParticipantId,
    account: &Account,
    change: &Change,
) -> Result<Option<account::Event>, Broken> {
    for _ in 0..SENDS_MAX {
        let heard = accounts::tell(center, account, change, participant).await;
        if heard.is_some() {
            return Ok(heard);
        }
        if !is_there(center, participant) {
            return Err(Broken::Away);
        }
        sleep(TELL_AGAIN).await;
    }
    Ok(None)
}

fn is_there(center: &Center, participant: &ParticipantId) -> bool {
    !center.draining() && center.board().connected(participant.as_str())
}

/// One command and its durable answer; `Err` inside: there is no evidence yet.
async fn ask(
    center: &Center,
    participant: &ParticipantId,
    verb: Verb,
    (owed, plan): (&Owed, &Plan),
    terms: &Terms,
) -> Result<Result<farewell_core::receipt::Evidence, Again>, Broken> {
    let deletion = &owed.deletion;
    let kept = center.ledger.replays(deletion.id).await?;
    let name = replay::next(deletion, participant, verb, &kept);
    let (sender, mut answers) = mpsc::channel(ANSWERS_MAX);
    let open = Open {
        replays: &center.replays,
        name: name.to_string(),
    };
    center.replays.lock().insert(open.name.clone(), sender);
    for _ in 0..SENDS_MAX {
        let command = command(center, &name, (deletion, plan), terms);
        let Some(session) = send(center, participant, command).await else {
            return Err(Broken::Away);
        };
        let when = (terms.ended_by, center.clock.now());
        let said = hear(&mut answers, &name, (deletion, plan), &terms.roster, when).await;
        center.board().give_back(participant, session);
        center.wake.notify_one();
        return Ok(match said {
            Some(Ok(Said::Done(replayed, evidence))) => {
                // Of a seal and its end there is the first evidence, which stands.
                if !matches!(verb, Verb::Seal | Verb::Unseal) {
                    center.ledger.keep_replays(vec![replayed]).await?;
                }
                Ok(evidence)
            }
            Some(Ok(Said::Deferred(_, reason))) => Err(Again::Deferred(reason)),
            Some(Ok(Said::Refused(reason))) => Err(Again::Refused(reason)),
            Some(Err(reason)) => {
                center.count_refusal(participant.as_str(), reason);
                Err(Again::Refused(reason.word().to_owned()))
            }
            Some(Ok(Said::Waits)) | None => continue,
        });
    }
    if is_there(center, participant) {
        return Ok(Err(Again::Deferred(NO_ANSWER.to_owned())));
    }
    Err(Broken::Away)
}

/// The answer that ends a command. `None`: nothing was heard for too long.
async fn hear(
    answers: &mut mpsc::Receiver<(AccountId, Answer)>,
    name: &CommandName,
    whose: (&Deletion, &Plan),
    roster: &[Device],
    when: (Option<Time>, Time),
) -> Option<Result<Said, Reason>> {
    loop {
        let (account, answer) = timeout_at(Instant::now() + ANSWER_WAIT, answers.recv())
            .await
            .ok()??;
        match replay::judge(name, &account, &answer, whose, roster, when) {
            Ok(Said::Waits) => {}
            said => return Some(said),
        }
    }
}

/// Sends when there is room. `None`: there is nobody, or never room.
async fn send(
    center: &Center,
    participant: &ParticipantId,
    command: wire::Command,
) -> Option<SessionId> {
    let end = Instant::now() + ROOM_WAIT;
    while Instant::now() < end && !center.draining() {
        let sent = center.board().lend(participant, &command);
        if sent.is_some() {
            return sent;
        }
        sleep(LOOK_AGAIN).await;
    }
    None
}

fn command(
    center: &Center,
    name: &CommandName,
    (deletion, plan): (&Deletion, &Plan),
    terms: &Terms,
) -> wire::Command {
    let devices = if name.verb == Verb::Erase {
        tasks(center, name, (deletion, plan), terms)
    } else {
        Vec::new()
    };
    wire::Command {
        name: name.to_string(),
        verb: verb_to_wire(name.verb).into(),
        account: format!("accounts/{}", deletion.account.as_str()),
        deadline: Some(timestamp(deletion.deadline)),
        traceparent: deletion.traceparent.clone(),
        device_horizon: (!devices.is_empty())
            .then(|| plan.policy().devices.horizon.try_into().ok())
            .flatten(),
        retention: match name.verb {
            Verb::Erase => terms.retention.clone(),
            Verb::Expire => terms.expired.clone(),
            Verb::Seal | Verb::Unseal | Verb::Probe => Vec::new(),
        },
        ended_by_time: terms
            .ended_by
            .filter(|_| name.verb.destructive())
            .map(timestamp),
        devices,
    }
}

/// What is owed to each device of the roster, in its order.
fn tasks(
    center: &Center,
    name: &CommandName,
    (deletion, plan): (&Deletion, &Plan),
    terms: &Terms,
) -> Vec<wire::DeviceTask> {
    let binding = |device: &Device| (device.device.clone(), device.binding_epoch);
    let taken = |device: &Device| terms.ended.taken_over.contains(&binding(device));
    let mut tasks = center
        .orders
        .tasks(&terms.roster, taken, name, deletion, plan);
    for (task, device) in tasks.iter_mut().zip(&terms.roster) {
        task.lost = terms.ended.lost.contains(&binding(device));
    }
    tasks
}
