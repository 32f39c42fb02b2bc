//! The erasure of one account's devices: begun once, looked at often, finished once.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use sqlx::AnyConnection;

use super::binding::{self, Binding, by_device};
use super::names;
use super::order::{Event, State, Verb};
use super::outbox::{self, Draft, Entry};
use super::participant::{Duty, Line, Terms};
use crate::participant::{DeviceOutcome, DeviceResult, DeviceTask, Fault, Order};
use crate::seal;
use crate::store::{micros, time};

/// An erasure under way.
pub(super) struct Erasure {
    pub entries: Vec<Entry>,
    pub account_mark: String,
    pub begun: SystemTime,
    /// The last answer was a refusal.
    pub refused: bool,
}

/// Why an erasure can't begin: a stable machine word, and the device for operators.
pub(super) struct Refused {
    pub reason: &'static str,
    pub detail: String,
}

/// The erasure that `command` began, held until the transaction ends.
pub(super) async fn find(tx: &mut AnyConnection, command: &str) -> Result<Option<Erasure>, Fault> {
    let row: Option<(String, i64, i64)> = sqlx::query_as(
        "UPDATE erasures SET refused = refused WHERE command = $1 RETURNING account_mark, begun_at, refused",
    )
    .bind(command)
    .fetch_optional(&mut *tx)
    .await?;
    let Some((account_mark, begun, refused)) = row else {
        return Ok(None);
    };
    let entries = outbox::of_command(tx, command).await?;
    Ok(Some(Erasure {
        entries,
        account_mark,
        begun: time(begun),
        refused: refused != 0,
    }))
}

/// Suspends the server half of every device of the order and queues what each is to be told: for those devices and
/// epochs, and for no others.
pub(super) async fn begin(
    tx: &mut AnyConnection,
    line: &dyn Line,
    order: &Order,
) -> Result<Result<(), Refused>, Fault> {
    let mut tasks = order.devices.clone();
    // One order of locks for everybody, and each device once.
    tasks.sort_by(|a, b| (&a.device, a.binding_epoch).cmp(&(&b.device, b.binding_epoch)));
    tasks.dedup();

    let mut last_epochs = Vec::with_capacity(tasks.len());
    for task in &tasks {
        if let Err(refused) = sound(task) {
            return Ok(Err(refused));
        }
        let last = binding::hold_device(tx, &task.device).await?;
        if last < task.binding_epoch {
            return Ok(Err(refuse("UNKNOWN_BINDING", &task.device)));
        }
        last_epochs.push(last);
    }
    let bindings = by_device(binding::of_account(tx, &order.account).await?);
    for (task, last) in tasks.iter().zip(last_epochs) {
        let binding = bindings
            .get(&task.device)
            .filter(|binding| binding.epoch == task.binding_epoch);
        if last == task.binding_epoch
            && binding.is_none()
            && binding::find(tx, &task.device).await?.is_some()
        {
            // The epoch is right and the account is not: somebody else's device.
            return Ok(Err(refuse("ACCOUNT_MISMATCH", &task.device)));
        }
        queue(tx, line, order, task, last, binding).await?;
        binding::suspend(tx, &task.device, task.binding_epoch).await?;
    }
    sqlx::query(
        "INSERT INTO erasures (command, account_mark, refused, begun_at) VALUES ($1, $2, 0, $3)",
    )
    .bind(&order.command)
    .bind(seal::mark(&order.account))
    .bind(micros(SystemTime::now()))
    .execute(&mut *tx)
    .await?;
    Ok(Ok(()))
}

async fn queue(
    tx: &mut AnyConnection,
    line: &dyn Line,
    order: &Order,
    task: &DeviceTask,
    last: u64,
    binding: Option<&Binding>,
) -> Result<(), Fault> {
    let duty = binding.map_or(Duty::Own(Verb::Reset), |binding| line.duty(binding));
    let via = binding
        .and_then(|binding| binding.via.as_deref())
        .unwrap_or_default();
    let mut draft = Draft {
        device: &task.device,
        epoch: task.binding_epoch,
        verb: Verb::Reset,
        child: "",
        subject: &task.device,
        subject_epoch: task.binding_epoch,
        via,
        command: &order.command,
        traceparent: &order.traceparent,
        state: State::Queued,
    };
    match duty {
        Duty::Own(verb) => draft.verb = verb,
        Duty::Unsupported => draft.state = State::Unsupported,
        Duty::ThroughHub => {
            draft.verb = Verb::RemoveChild;
            draft.child = &task.device;
            match binding::find(tx, via).await? {
                Some(hub) if hub.account == order.account => {
                    draft.device = via;
                    draft.epoch = hub.epoch;
                }
                // The hub is gone or somebody else's: there is no way to the child, and nobody else is told anything.
                Some(_) | None => draft.state = State::Detached,
            }
        }
    }
    if last > task.binding_epoch {
        draft.state = State::Superseded;
    } else if let Some(end) =
        outbox::settled_before(tx, &task.device, task.binding_epoch, draft.verb).await?
    {
        draft.state = end;
    }
    outbox::queue(tx, &draft).await
}

/// Gives up waiting for devices that were away past the horizon. What they are owed stays, as tombstones.
pub(super) async fn detach_absent(
    tx: &mut AnyConnection,
    erasure: &mut Erasure,
    horizon: Duration,
    now: SystemTime,
) -> Result<(), Fault> {
    for entry in &mut erasure.entries {
        let waited = now.duration_since(entry.order.queued).unwrap_or_default();
        if waited >= horizon
            && let Some(next) = outbox::advance(tx, entry, Event::Horizon, "").await?
        {
            entry.order.state = next;
        }
    }
    Ok(())
}

impl Erasure {
    /// Devices of the roster that have ended.
    pub fn ended(&self, terms: &Terms, now: SystemTime) -> usize {
        self.entries
            .iter()
            .filter(|entry| ended(entry, terms, now))
            .count()
    }

    /// Whether all that is left waits for a person: refused orders, and hubs' own behind refused children's.
    pub fn stuck(&self, terms: &Terms, now: SystemTime) -> Option<&Entry> {
        let refused: BTreeSet<&str> = self
            .entries
            .iter()
            .filter(|entry| entry.order.state == State::Refused)
            .map(|entry| entry.order.device.as_str())
            .collect();
        let moving = self.entries.iter().any(|entry| {
            !ended(entry, terms, now)
                && entry.order.state != State::Refused
                && !(entry.order.verb != Verb::RemoveChild
                    && refused.contains(entry.order.device.as_str()))
        });
        if moving {
            None
        } else {
            self.entries
                .iter()
                .find(|entry| entry.order.state == State::Refused)
        }
    }

    /// The longest that a confirmation is still waited for, if nothing else is.
    pub fn confirmation_left(&self, terms: &Terms, now: SystemTime) -> Option<Duration> {
        if self.entries.iter().any(|entry| entry.order.state.is_open()) {
            return None;
        }
        self.entries
            .iter()
            .filter(|entry| !ended(entry, terms, now))
            .map(|entry| {
                terms
                    .confirm_wait
                    .saturating_sub(now.duration_since(entry.moved).unwrap_or_default())
            })
            .max()
    }
}

/// Whether nothing more is waited for. An execution that is not confirmed in time counts as what it is: executed.
fn ended(entry: &Entry, terms: &Terms, now: SystemTime) -> bool {
    match entry.order.state {
        State::Queued | State::Sent | State::Received | State::Executing | State::Refused => false,
        State::Executed => {
            !entry.order.verb.unbinds()
                || now.duration_since(entry.moved).unwrap_or_default() >= terms.confirm_wait
        }
        State::Confirmed | State::Superseded | State::Detached | State::Unsupported => true,
    }
}

/// What a finished erasure took away.
pub(super) struct Taken {
    pub results: Vec<DeviceResult>,
    pub bindings: u64,
    pub credentials: u64,
}

/// Removes what is left of the server half. Log-ins go last, and a tombstone keeps its one: it is the only way to the
/// device.
pub(super) async fn finish(
    tx: &mut AnyConnection,
    order: &Order,
    erasure: &Erasure,
) -> Result<Taken, Fault> {
    let mut taken = Taken {
        results: Vec::with_capacity(erasure.entries.len()),
        bindings: 0,
        credentials: 0,
    };
    for entry in &erasure.entries {
        let (device, epoch) = (&entry.subject, entry.subject_epoch);
        taken.bindings += binding::remove(tx, device, epoch).await?;
        if entry.order.state != State::Detached {
            taken.credentials += binding::revoke(tx, device, epoch).await?;
        }
        let outcome = Some(outcome(tx, entry).await?);
        taken.results.push(DeviceResult {
            device: device.clone(),
            binding_epoch: epoch,
            outcome,
        });
    }
    sqlx::query("DELETE FROM erasures WHERE command = $1")
        .bind(&order.command)
        .execute(&mut *tx)
        .await?;
    Ok(taken)
}

/// Asks the devices that refused once more: a person wanted it so.
pub(super) async fn ask_again(tx: &mut AnyConnection, erasure: &Erasure) -> Result<(), Fault> {
    for entry in &erasure.entries {
        if entry.order.state == State::Refused {
            outbox::ask_again(tx, entry).await?;
        }
    }
    Ok(())
}

/// Remembers whether the last answer was a refusal.
pub(super) async fn set_refused(
    tx: &mut AnyConnection,
    command: &str,
    refused: bool,
) -> Result<(), Fault> {
    sqlx::query("UPDATE erasures SET refused = $2 WHERE command = $1")
        .bind(command)
        .bind(i64::from(refused))
        .execute(&mut *tx)
        .await?;
    Ok(())
}

async fn outcome(tx: &mut AnyConnection, entry: &Entry) -> Result<DeviceOutcome, Fault> {
    Ok(match entry.order.state {
        State::Confirmed => DeviceOutcome::Confirmed,
        State::Executed => DeviceOutcome::Executed,
        State::Unsupported => DeviceOutcome::Unsupported,
        State::Detached => DeviceOutcome::Detached,
        // A child whose hub went to somebody else is out of reach, but not somebody else's itself.
        State::Superseded
            if binding::last_epoch(tx, &entry.subject).await? <= entry.subject_epoch =>
        {
            DeviceOutcome::Detached
        }
        State::Superseded => DeviceOutcome::Superseded,
        State::Queued | State::Sent | State::Received | State::Executing | State::Refused => {
            return Err(Fault::plain("an answer before every device has ended"));
        }
    })
}

fn sound(task: &DeviceTask) -> Result<(), Refused> {
    if !names::is_device_id(&task.device) {
        return Err(refuse("INVALID_DEVICE", "?"));
    }
    if task.binding_epoch == 0 {
        return Err(refuse("INVALID_EPOCH", &task.device));
    }
    Ok(())
}

fn refuse(reason: &'static str, device: &str) -> Refused {
    Refused {
        reason,
        detail: format!("devices/{device}"),
    }
}
