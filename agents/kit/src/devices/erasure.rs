//! The erasure of one account's devices: begun once, looked at often, finished once.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::{Duration, SystemTime};

use sqlx::AnyConnection;

use super::binding::{self, Binding, by_device};
use super::choice::Choice;
use super::contact::UNTIMELY;
use super::device::{self, Device};
use super::order::{Event, State};
use super::outbox::{self, Draft, Entry};
use super::participant::{Line, Terms};
use super::takeover::takers;
use super::task::{INVALID_ORDER, Refused, Task, refuse};
use super::{again, parting, share};
use crate::participant::{DeviceOutcome, DeviceResult, DeviceVerb, Fault, Order};
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

/// The mark of the account that `command` erases, while that is under way.
pub(super) async fn account_mark(
    tx: &mut AnyConnection,
    command: &str,
) -> Result<Option<String>, Fault> {
    let row: Option<(String,)> =
        sqlx::query_as("SELECT account_mark FROM erasures WHERE command = $1")
            .bind(command)
            .fetch_optional(&mut *tx)
            .await?;
    Ok(row.map(|(mark,)| mark))
}

/// Suspends the server half of every device of the order and queues what each is to be told: for those devices and
/// epochs, and for no others. Returns the commands that no longer wait for a device that was passed on.
///
/// One that is repeated after a restore waits for no device, as every one has ended before: the server halves go at once, and
/// whoever still has the binding is told when it comes back. See [`again`].
pub(super) async fn begin(
    tx: &mut AnyConnection,
    line: &dyn Line,
    order: &Order,
) -> Result<Result<BTreeSet<String>, Refused>, Fault> {
    let mut bindings = by_device(binding::of_account(tx, &order.account).await?);
    let mut tasks = Vec::with_capacity(order.devices.len());
    for task in &order.devices {
        let bound = bindings.get(&task.device);
        let bound = bound.filter(|binding| binding.epoch == task.binding_epoch);
        match Task::read(
            line.name(),
            &order.command,
            task,
            bound.and_then(|bound| bound.via.as_deref()),
        ) {
            Ok(task) => tasks.push(task),
            Err(refused) => return Ok(Err(refused)),
        }
    }
    let repeated = order.is_repeated();
    let passing = tasks.iter().filter(|task| task.may_pass_on());
    let passing = passing.map(|task| task.device.as_str()).collect();
    let takers = takers(tx, &passing).await?;
    let told = tasks.iter().flat_map(Task::devices);
    let own = bindings.keys().map(String::as_str).filter(|_| repeated);
    let mut devices = device::hold_all(tx, told.chain(own)).await?;
    // Read again: whoever changed one held its row until now.
    bindings = by_device(binding::of_account(tx, &order.account).await?);
    if repeated {
        again::catch_up(tx, order, &tasks, &mut devices, &bindings).await?;
    }
    if let Err(refused) = check(tx, order, &tasks, &devices, &bindings).await? {
        return Ok(Err(refused));
    }
    let subjects = tasks.iter().map(|task| task.device.clone()).collect();
    let earlier = outbox::earlier(tx, &subjects).await?;
    // Hubs before their children: where a hub goes, they may go, too.
    tasks.sort_by_key(|task| {
        let bound = bindings.get(&task.device);
        (
            bound.is_some_and(|bound| bound.via.is_some()),
            task.device.clone(),
        )
    });
    let mut overtaken = BTreeSet::new();
    let mut drafts = Vec::with_capacity(tasks.len());
    for task in &tasks {
        let bound = bindings.get(&task.device);
        let bound = bound.filter(|binding| binding.epoch == task.epoch);
        let mut choice = Choice {
            via: line.via(),
            order,
            task,
            bound,
            device: devices.get(&task.device),
            earlier: &earlier,
            takers: &takers,
            overtaken: &mut overtaken,
        };
        let (signed, state) = choice.make(tx).await?;
        let state = if repeated && state == State::Queued {
            State::Detached
        } else {
            state
        };
        let via = bound.and_then(|bound| bound.via.as_deref());
        drafts.push(Draft {
            signed,
            subject: &task.device,
            subject_epoch: task.epoch,
            via: via.unwrap_or_default(),
            command: &order.command,
            traceparent: &order.traceparent,
            state,
        });
    }
    outbox::queue(tx, &drafts).await?;
    let suspended = tasks.iter().map(|task| (task.device.as_str(), task.epoch));
    binding::suspend(tx, &suspended.collect::<Vec<_>>()).await?;
    sqlx::query(
        "INSERT INTO erasures (command, account_mark, refused, begun_at) VALUES ($1, $2, 0, $3)",
    )
    .bind(&order.command)
    .bind(seal::mark(&order.account))
    .bind(micros(SystemTime::now()))
    .execute(&mut *tx)
    .await?;
    Ok(Ok(overtaken))
}

/// Whether the tasks are of bindings that the account has or had, with names that are nobody else's. Of what is repeated after a
/// restore, the registry need not know every binding.
async fn check(
    tx: &mut AnyConnection,
    order: &Order,
    tasks: &[Task],
    devices: &BTreeMap<String, Device>,
    bindings: &HashMap<String, Binding>,
) -> Result<Result<(), Refused>, Fault> {
    let names = tasks.iter().map(|task| task.device.clone()).collect();
    let bound = binding::bound(tx, &names).await?;
    let orders = tasks.iter().flat_map(|task| &task.orders);
    let orders = orders.map(|signed| signed.id.clone()).collect();
    let known = outbox::of_ids(tx, &orders).await?;
    let known: HashSet<_> = known.iter().map(|entry| entry.order.id.as_str()).collect();
    let mut names = HashMap::new();
    for task in tasks {
        let last = devices.get(&task.device).map_or(0, |device| device.epoch);
        if last < task.epoch && !order.is_repeated() {
            return Ok(Err(refuse("UNKNOWN_BINDING", &task.device)));
        }
        let own = bindings.get(&task.device);
        let own = own.filter(|binding| binding.epoch == task.epoch);
        if last == task.epoch && own.is_none() && bound.contains(&task.device) {
            // The epoch is right and the account is not: somebody else's device.
            return Ok(Err(refuse("ACCOUNT_MISMATCH", &task.device)));
        }
        for signed in &task.orders {
            let named = names.insert(&signed.id, &task.device);
            let elsewhere = named.is_some_and(|device| *device != task.device);
            if elsewhere || known.contains(signed.id.as_str()) {
                // A name that stands for another order: the device would repeat its answer to that one.
                return Ok(Err(refuse(INVALID_ORDER, &task.device)));
            }
        }
    }
    Ok(Ok(()))
}

/// Gives up waiting for devices that were away past the horizon. What they are owed stays, as tombstones.
pub(super) async fn detach_absent(
    tx: &mut AnyConnection,
    erasure: &mut Erasure,
    horizon: Duration,
    now: SystemTime,
) -> Result<(), Fault> {
    let absent = |entry: &Entry| {
        let waited = now.duration_since(entry.order.queued).unwrap_or_default();
        waited >= horizon && entry.order.state.is_open()
    };
    if !erasure.entries.iter().any(absent) {
        return Ok(());
    }
    erasure.hold(tx).await?;
    for entry in erasure.entries.iter_mut().filter(|entry| absent(entry)) {
        if let Some(next) = outbox::advance(tx, entry, Event::Horizon, "").await? {
            entry.order.state = next;
        }
    }
    Ok(())
}

/// Lets go of devices that have ended and were not let go of when they did: nobody said anything then, or only their hub
/// did. The others are still waited for.
pub(super) async fn part_ended(
    tx: &mut AnyConnection,
    command: &str,
    erasure: &Erasure,
    terms: &Terms,
    now: SystemTime,
) -> Result<(), Fault> {
    let parted = parting::of_command(tx, command).await?;
    let due = |entry: &&Entry| ended(entry, terms, now) && !parted.contains_key(&entry.binding());
    if !erasure.entries.iter().any(|entry| due(&entry)) {
        return Ok(());
    }
    let devices = erasure.hold(tx).await?;
    // Read again: it may have moved until now, and what has ended ends in no way that would have kept more.
    let entries = outbox::of_command(tx, command).await?;
    let due = entries.iter().filter(due);
    parting::part(tx, command, due, &devices, &erasure.account_mark).await
}

impl Erasure {
    /// Holds every device of it, and every hub that is told: all at once, so that whoever holds some waits for nobody
    /// who waits for them.
    async fn hold(&self, tx: &mut AnyConnection) -> Result<BTreeMap<String, Device>, Fault> {
        let devices = self.entries.iter();
        let devices = devices.flat_map(|entry| [&*entry.order.device, &*entry.subject]);
        device::hold_all(tx, devices).await
    }

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
                && !(entry.order.verb != DeviceVerb::RemoveChild
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

    /// Whether every device that is still waited for waits for a safe moment itself.
    pub fn waits_for_safe_moment(&self) -> bool {
        let open = self
            .entries
            .iter()
            .filter(|entry| entry.order.state.is_open());
        let (safe, other): (Vec<_>, Vec<_>) = open.partition(|entry| {
            entry.order.state == State::DeferredSafe && !UNTIMELY.contains(&entry.reason.as_str())
        });
        !safe.is_empty() && other.is_empty()
    }

    /// Whether a device is still to act.
    pub fn is_open(&self) -> bool {
        self.entries.iter().any(|entry| entry.order.state.is_open())
    }

    /// How long confirmations are still waited for: the shortest, after which a device is let go of, and the longest.
    pub fn confirmations_left(
        &self,
        terms: &Terms,
        now: SystemTime,
    ) -> Option<(Duration, Duration)> {
        let executed = self
            .entries
            .iter()
            .filter(|entry| entry.order.state == State::Executed && !ended(entry, terms, now));
        let left = executed.map(|entry| {
            let waited = now.duration_since(entry.moved).unwrap_or_default();
            terms.confirm_wait.saturating_sub(waited)
        });
        left.clone().min().zip(left.max())
    }
}

/// Whether nothing more is waited for. An execution that is not confirmed in time counts as what it is: executed.
fn ended(entry: &Entry, terms: &Terms, now: SystemTime) -> bool {
    match entry.order.state {
        State::Queued
        | State::Sent
        | State::Received
        | State::DeferredSafe
        | State::Executing
        | State::Refused => false,
        State::Executed => {
            !entry.order.verb.unbinds()
                || now.duration_since(entry.moved).unwrap_or_default() >= terms.confirm_wait
        }
        State::Confirmed
        | State::Transferred
        | State::Superseded
        | State::Detached
        | State::NeverReturned
        | State::Unsupported => true,
    }
}

/// What a finished erasure took away.
pub(super) struct Taken {
    pub results: Vec<DeviceResult>,
    pub bindings: u64,
    pub credentials: u64,
    pub shares: u64,
}

/// Says what became of every device once all of them have parted, and removes what was shared: of theirs by others, and of
/// others' by the account.
pub(super) async fn finish(
    tx: &mut AnyConnection,
    order: &Order,
    erasure: &Erasure,
) -> Result<Taken, Fault> {
    let devices = erasure.hold(tx).await?;
    // Read again: what moved until now is in the answer, and whatever moves from now on is told behind it.
    let entries = outbox::of_command(tx, &order.command).await?;
    let parted = parting::of_command(tx, &order.command).await?;
    parting::forget(tx, &order.command).await?;
    let mut taken = Taken {
        results: Vec::with_capacity(entries.len()),
        bindings: 0,
        credentials: 0,
        shares: share::remove_of_account(tx, &order.account).await?,
    };
    let bindings = entries.iter();
    let bindings = bindings.map(|entry| (entry.subject.as_str(), entry.subject_epoch));
    share::remove_all(tx, &bindings.collect::<Vec<_>>()).await?;
    for gone in parted.values() {
        taken.bindings += gone.bindings;
        taken.credentials += gone.credentials;
    }
    for entry in &entries {
        let (name, epoch) = (&entry.subject, entry.subject_epoch);
        let device = devices.get(name);
        let gone = parted.get(&entry.binding()).copied().unwrap_or_default();
        taken.results.push(DeviceResult {
            device: name.clone(),
            binding_epoch: epoch,
            outcome: Some(outcome(entry, device)?),
            facts: None,
            lock: gone.lock,
        });
    }
    sqlx::query("DELETE FROM erasures WHERE command = $1")
        .bind(&order.command)
        .execute(&mut *tx)
        .await?;
    Ok(taken)
}

/// Asks the devices that refused once more: a person wanted it so. Each keeps its name, because it is signed; a device
/// thinks again about what it has refused.
pub(super) async fn ask_again(tx: &mut AnyConnection, erasure: &Erasure) -> Result<(), Fault> {
    erasure.hold(tx).await?;
    for entry in &erasure.entries {
        outbox::ask_again(tx, entry).await?;
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

fn outcome(entry: &Entry, device: Option<&Device>) -> Result<DeviceOutcome, Fault> {
    Ok(match entry.order.state {
        State::Transferred => DeviceOutcome::Transferred,
        State::Confirmed | State::Executed if entry.order.verb == DeviceVerb::Transfer => {
            DeviceOutcome::Transferred
        }
        State::Confirmed => DeviceOutcome::Confirmed,
        State::Executed => DeviceOutcome::Executed,
        State::Unsupported => DeviceOutcome::Unsupported,
        // No answer says that nobody will come: only time does.
        State::Detached | State::NeverReturned => DeviceOutcome::Detached,
        // A child whose hub went to somebody else is out of reach, but not somebody else's itself.
        State::Superseded if device.is_none_or(|device| device.epoch <= entry.subject_epoch) => {
            DeviceOutcome::Detached
        }
        State::Superseded => DeviceOutcome::Superseded,
        State::Queued
        | State::Sent
        | State::Received
        | State::DeferredSafe
        | State::Executing
        | State::Refused => {
            return Err(Fault::plain("an answer before every device has ended"));
        }
    })
}
