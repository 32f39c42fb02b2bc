//! One device is unbound: the server half at once, the device's by a signed order that waits for it.

use std::time::{Duration, SystemTime};

use sqlx::{Any, AnyConnection, Transaction};

use super::bells::Bells;
use super::order::{Event, State};
use super::outbox::{self, Draft, Entry};
use super::participant::Line;
use super::parting::{self, LogIn, Parting};
use super::registry::{Registry, Via};
use super::task::Task;
use super::{binding, device, share};
use crate::participant::{DeviceVerb, Fault, NotUnbound, UnbindDevice, Unbinding, UnbindingState};
use crate::seal;
use crate::store::{micros, time};

/// Unbindings whose horizon is applied in one transaction.
const ABSENT_MAX: i64 = 256;

/// Ends the server half and queues the device's order, in one transaction. The same name again changes nothing, but that a
/// device which refused is asked once more.
pub(super) async fn begin(
    registry: &Registry,
    line: &dyn Line,
    bells: &Bells,
    request: &UnbindDevice,
) -> Result<Result<Unbinding, NotUnbound>, Fault> {
    let mut tx = registry.store().pool().begin().await?;
    // The account's fence comes first, as everywhere; what it says counts for a new name only.
    let admitted = match seal::admit(&mut tx, &request.account).await {
        // A freeze keeps everything, and one device may still be let go of: whoever asks has been shown to be the owner.
        Ok(()) | Err(seal::Error::Frozen) => true,
        Err(seal::Error::Sealed | seal::Error::Erased) => false,
        Err(seal::Error::Database(error)) => return Err(error.into()),
    };
    if let Some(earlier) = find(&mut tx, &request.name).await? {
        let same = earlier.account_mark == seal::mark(&request.account)
            && earlier.unbinding.device == request.device.device
            && earlier.unbinding.binding_epoch == request.device.binding_epoch;
        if !same {
            return Ok(Err(NotUnbound::RequestIdReused));
        }
        if earlier.unbinding.state != UnbindingState::Refused {
            return Ok(Ok(earlier.unbinding));
        }
        let told = ask_again(&mut tx, &request.name).await?;
        return begun(tx, bells, &request.name, &told).await.map(Ok);
    }
    if !admitted {
        return Ok(Err(NotUnbound::AccountSealed));
    }
    let told = match end(&mut tx, line, request).await? {
        Ok(told) => told,
        Err(not) => return Ok(Err(not)),
    };
    begun(tx, bells, &request.name, &told).await.map(Ok)
}

/// Commits, and rings for who is told.
async fn begun(
    mut tx: Transaction<'static, Any>,
    bells: &Bells,
    name: &str,
    told: &str,
) -> Result<Unbinding, Fault> {
    let unbinding = find(&mut tx, name).await?;
    tx.commit().await?;
    // After the commit: rung before, a session would find nothing.
    bells.ring(told);
    unbinding
        .map(|found| found.unbinding)
        .ok_or_else(|| Fault::plain("an unbinding that vanished"))
}

/// Asks a device that refused once more. Returns who is told.
async fn ask_again(tx: &mut AnyConnection, name: &str) -> Result<String, Fault> {
    let orders = outbox::of_command(tx, name).await?;
    let entry = orders
        .first()
        .ok_or_else(|| Fault::plain("an unbinding without its order"))?;
    device::hold_known(tx, &entry.order.device).await?;
    outbox::ask_again(tx, entry).await?;
    Ok(entry.order.device.clone())
}

/// How far an unbinding of the account is.
pub(super) async fn look(
    registry: &Registry,
    account: &str,
    name: &str,
) -> Result<Result<Unbinding, NotUnbound>, Fault> {
    let mut connection = registry.store().pool().acquire().await?;
    let found = find(&mut connection, name).await?;
    let found = found.filter(|found| found.account_mark == seal::mark(account));
    Ok(found
        .map(|found| found.unbinding)
        .ok_or(NotUnbound::UnbindingNotFound))
}

/// Gives up waiting for devices that were away past the horizon. What they are owed stays, as tombstones. Returns how
/// many there were.
pub(super) async fn detach_absent(
    tx: &mut AnyConnection,
    horizon: Duration,
    now: SystemTime,
) -> Result<usize, Fault> {
    let before = now.checked_sub(horizon).unwrap_or(SystemTime::UNIX_EPOCH);
    let rows: Vec<(String, String)> = sqlx::query_as(
        "SELECT o.device, o.id FROM orders o JOIN unbindings u ON u.name = o.command WHERE u.begun_at <= $1 \
         AND o.state IN ('QUEUED', 'SENT', 'RECEIVED', 'DEFERRED_SAFE', 'EXECUTING') ORDER BY o.device, o.id LIMIT $2",
    )
    .bind(micros(before))
    .bind(ABSENT_MAX)
    .fetch_all(&mut *tx)
    .await?;
    device::hold_all(tx, rows.iter().map(|(device, _)| device.as_str())).await?;
    let mut detached = 0;
    for (_, id) in &rows {
        // Read under the device's row: it may have answered just now.
        if let Some(entry) = outbox::find(tx, id).await? {
            let moved = outbox::advance(tx, &entry, Event::Horizon, "").await?;
            detached += usize::from(moved.is_some());
        }
    }
    Ok(detached)
}

/// Ends the server half. Returns who is told.
async fn end(
    tx: &mut AnyConnection,
    line: &dyn Line,
    request: &UnbindDevice,
) -> Result<Result<String, NotUnbound>, Fault> {
    let (name, epoch) = (&request.device.device, request.device.binding_epoch);
    let (line, via) = (line.name(), line.via());
    let Ok(task) = Task::read(line, &request.name, &request.device, None) else {
        return Ok(Err(NotUnbound::InvalidOrder));
    };
    let devices = device::hold_all(tx, task.devices()).await?;
    let Some(binding) = binding::find(tx, name)
        .await?
        .filter(|binding| !binding.ending && binding.account == request.account)
    else {
        return Ok(Err(NotUnbound::BindingNotFound));
    };
    if binding.epoch != epoch {
        return Ok(Err(NotUnbound::EpochMismatch));
    }
    if devices.get(name).is_some_and(|device| device.lost) {
        return Ok(Err(NotUnbound::DeviceLost));
    }
    if via == Via::Hub && !binding::children(tx, name).await?.is_empty() {
        return Ok(Err(NotUnbound::HasChildren));
    }
    let hub = binding.via.as_deref().filter(|_| via == Via::Hub);
    let signed = task.orders.first();
    if let Some(signed) = signed {
        let way = match signed.verb {
            DeviceVerb::Unbind | DeviceVerb::Reset => hub.is_none(),
            DeviceVerb::RemoveChild => hub == Some(signed.device.as_str()),
            // Nobody is given anything by an unbinding.
            DeviceVerb::Transfer => false,
        };
        if !way || outbox::find(tx, &signed.id).await?.is_some() {
            return Ok(Err(NotUnbound::InvalidOrder));
        }
    }
    let draft = Draft {
        signed,
        subject: name,
        subject_epoch: epoch,
        via: binding.via.as_deref().unwrap_or_default(),
        command: &request.name,
        traceparent: "",
        state: if signed.is_some() {
            State::Queued
        } else {
            State::Unsupported
        },
    };
    outbox::queue(tx, &[draft]).await?;
    let mark = seal::mark(&request.account);
    let log_in = if signed.is_some() {
        LogIn::Kept
    } else {
        // Nobody will answer.
        LogIn::Revoked
    };
    let parting = Parting {
        binding: (name, epoch),
        device: devices.get(name),
        log_in,
    };
    parting::let_go(tx, &[parting], &mark).await?;
    share::remove_all(tx, &[(name, epoch)]).await?;
    sqlx::query(
        "INSERT INTO unbindings (name, account_mark, device, epoch, begun_at) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(&request.name)
    .bind(mark)
    .bind(name)
    .bind(outbox::stored(epoch)?)
    .bind(micros(SystemTime::now()))
    .execute(&mut *tx)
    .await?;
    Ok(Ok(signed.map_or(name, |signed| &signed.device).clone()))
}

struct Found {
    account_mark: String,
    unbinding: Unbinding,
}

async fn find(tx: &mut AnyConnection, name: &str) -> Result<Option<Found>, Fault> {
    let row: Option<(String, String, i64, i64)> = sqlx::query_as(
        "SELECT account_mark, device, epoch, begun_at FROM unbindings WHERE name = $1",
    )
    .bind(name)
    .fetch_optional(&mut *tx)
    .await?;
    let Some((account_mark, device, epoch, begun)) = row else {
        return Ok(None);
    };
    let orders = outbox::of_command(tx, name).await?;
    let entry = orders
        .first()
        .ok_or_else(|| Fault::plain("an unbinding without its order"))?;
    let state = state(entry);
    let unbinding = Unbinding {
        device,
        binding_epoch: outbox::epoch(epoch)?,
        state,
        reason: if state == UnbindingState::Refused {
            entry.reason.clone()
        } else {
            String::new()
        },
        begun: time(begun),
        since: entry.moved,
    };
    Ok(Some(Found {
        account_mark,
        unbinding,
    }))
}

fn state(entry: &Entry) -> UnbindingState {
    match entry.order.state {
        State::Queued | State::Sent => UnbindingState::Waiting,
        State::Received | State::DeferredSafe | State::Executing => UnbindingState::Running,
        State::Refused => UnbindingState::Refused,
        State::Executed | State::Transferred => UnbindingState::Executed,
        State::Confirmed => UnbindingState::Confirmed,
        State::Detached | State::NeverReturned => UnbindingState::Detached,
        State::Superseded => UnbindingState::Superseded,
        State::Unsupported => UnbindingState::Unsupported,
    }
}
