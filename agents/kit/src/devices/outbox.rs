//! The order queue in the database. Every function here works in the caller's transaction.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row as _};

use super::order::{Event, Order, State, Verb};
use crate::participant::Fault;
use crate::store::{micros, time};

/// Orders that a device is sent in one go; the rest waits in the database for the next contact.
pub(super) const ORDERS_MAX: usize = 16;
/// How long an order may be carried out. A device that returns later is not wiped on a forgotten wish.
const ORDER_LIFE: Duration = Duration::from_secs(400 * 24 * 60 * 60);

macro_rules! select_orders {
    ($tail:literal) => {
        concat!(
            "SELECT id, device, epoch, verb, child, subject, subject_epoch, command, traceparent, state, \
             queued_at, moved_at, expires_at FROM orders ",
            $tail
        )
    };
}

/// An order with what only the agent needs to know.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub order: Order,
    /// The device of the roster.
    pub subject: String,
    pub subject_epoch: u64,
    pub command: String,
    pub moved: SystemTime,
}

/// An order to be written.
pub(super) struct Draft<'a> {
    pub device: &'a str,
    pub epoch: u64,
    pub verb: Verb,
    pub child: &'a str,
    pub subject: &'a str,
    pub subject_epoch: u64,
    pub via: &'a str,
    pub command: &'a str,
    pub traceparent: &'a str,
    pub state: State,
}

/// Writes an order. The same subject of the same command again changes nothing.
pub(super) async fn queue(tx: &mut AnyConnection, draft: &Draft<'_>) -> Result<(), Fault> {
    let now = SystemTime::now();
    sqlx::query(
        "INSERT INTO orders (id, device, epoch, verb, child, subject, subject_epoch, via, command, traceparent, \
         state, reason, queued_at, sent_at, moved_at, expires_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, '', $12, 0, $12, $13) \
         ON CONFLICT (command, subject, subject_epoch) DO NOTHING",
    )
    .bind(new_id())
    .bind(draft.device)
    .bind(stored(draft.epoch)?)
    .bind(draft.verb.as_str())
    .bind(draft.child)
    .bind(draft.subject)
    .bind(stored(draft.subject_epoch)?)
    .bind(draft.via)
    .bind(draft.command)
    .bind(draft.traceparent)
    .bind(draft.state.as_str())
    .bind(micros(now))
    .bind(micros(now + ORDER_LIFE))
    .execute(&mut *tx)
    .await?;
    Ok(())
}

/// How an earlier order for the same binding of the same device ended, if it said that nothing is left to do:
/// a device that was wiped in an earlier round has no reason to come back and be wiped again.
pub(super) async fn settled_before(
    tx: &mut AnyConnection,
    subject: &str,
    subject_epoch: u64,
    verb: Verb,
) -> Result<Option<State>, Fault> {
    let states: Vec<(String,)> = sqlx::query_as(
        "SELECT state FROM orders WHERE subject = $1 AND subject_epoch = $2 AND verb = $3 \
         AND state IN ('EXECUTED', 'CONFIRMED', 'UNSUPPORTED')",
    )
    .bind(subject)
    .bind(stored(subject_epoch)?)
    .bind(verb.as_str())
    .fetch_all(&mut *tx)
    .await?;
    let states: Vec<State> = states
        .iter()
        .map(|(text,)| state(text))
        .collect::<Result<_, _>>()?;
    Ok([State::Confirmed, State::Executed, State::Unsupported]
        .into_iter()
        .find(|end| states.contains(end)))
}

/// The order of this id.
pub(super) async fn find(tx: &mut AnyConnection, id: &str) -> Result<Option<Entry>, Fault> {
    let row = sqlx::query(select_orders!("WHERE id = $1"))
        .bind(id)
        .fetch_optional(&mut *tx)
        .await?;
    row.as_ref().map(entry).transpose()
}

/// Every order of a command.
pub(super) async fn of_command(tx: &mut AnyConnection, command: &str) -> Result<Vec<Entry>, Fault> {
    let rows = sqlx::query(select_orders!(
        "WHERE command = $1 ORDER BY subject, subject_epoch"
    ))
    .bind(command)
    .fetch_all(&mut *tx)
    .await?;
    rows.iter().map(entry).collect()
}

/// What is still owed to a device in its current binding, in the order it has to be carried out, at most
/// [`ORDERS_MAX`]. A hub's own order waits until each child's is done: a hub that was reset removes nobody.
pub(super) async fn owed(tx: &mut AnyConnection, device: &str) -> Result<Vec<Entry>, Fault> {
    // The join is the rule that an older binding's order is never sent, whatever its state says.
    let rows = sqlx::query(
        "SELECT o.id, o.device, o.epoch, o.verb, o.child, o.subject, o.subject_epoch, o.command, o.traceparent, \
         o.state, o.queued_at, o.moved_at, o.expires_at FROM orders o \
         JOIN devices d ON d.device = o.device AND d.epoch = o.epoch WHERE o.device = $1 \
         AND o.state IN ('QUEUED', 'SENT', 'RECEIVED', 'EXECUTING', 'DETACHED', 'REFUSED') AND o.expires_at > $2 \
         ORDER BY o.queued_at, o.subject",
    )
    .bind(device)
    .bind(micros(SystemTime::now()))
    .fetch_all(&mut *tx)
    .await?;
    let entries = rows.iter().map(entry).collect::<Result<Vec<_>, _>>()?;
    Ok(sendable(entries))
}

/// Children before hubs, and nothing that was refused. A child that the hub refused to remove holds back the hub's own order
/// of the same command only: about another command's nobody may ever ask again.
fn sendable(entries: Vec<Entry>) -> Vec<Entry> {
    let waits = |order: &Entry| {
        order.order.verb != Verb::RemoveChild
            && entries.iter().any(|child| {
                child.order.verb == Verb::RemoveChild
                    && (child.order.state.is_owed() || child.command == order.command)
            })
    };
    let sendable = |entry: &&Entry| entry.order.state.is_owed() && !waits(entry);
    let mut sendable: Vec<_> = entries.iter().filter(sendable).cloned().collect();
    sendable.truncate(ORDERS_MAX);
    sendable
}

/// Orders of a device that may still move: to be confirmed, superseded or sent.
pub(super) async fn moving(tx: &mut AnyConnection, device: &str) -> Result<Vec<Entry>, Fault> {
    let rows = sqlx::query(select_orders!(
        "WHERE device = $1 AND state IN ('QUEUED', 'SENT', 'RECEIVED', 'EXECUTING', 'EXECUTED', 'DETACHED')"
    ))
    .bind(device)
    .fetch_all(&mut *tx)
    .await?;
    rows.iter().map(entry).collect()
}

/// Ends every order for an older binding of `device`, whether it is told itself or through a hub. Returns the
/// commands that waited for one of them.
pub(super) async fn supersede(
    tx: &mut AnyConnection,
    device: &str,
    epoch: u64,
) -> Result<BTreeSet<String>, Fault> {
    let rows = sqlx::query(select_orders!(
        "WHERE ((device = $1 AND epoch < $2) OR (subject = $1 AND subject_epoch < $2)) \
         AND state IN ('QUEUED', 'SENT', 'RECEIVED', 'EXECUTING', 'DETACHED')"
    ))
    .bind(device)
    .bind(stored(epoch)?)
    .fetch_all(&mut *tx)
    .await?;
    let mut commands = BTreeSet::new();
    for row in &rows {
        let entry = entry(row)?;
        if advance(tx, &entry, Event::NewBinding, "").await?.is_some() {
            commands.insert(entry.command);
        }
    }
    Ok(commands)
}

/// Applies `event`. `None` if it brings nothing new.
pub(super) async fn advance(
    tx: &mut AnyConnection,
    entry: &Entry,
    event: Event,
    reason: &str,
) -> Result<Option<State>, Fault> {
    let Some(next) = entry.order.state.after(event) else {
        return Ok(None);
    };
    let now = micros(SystemTime::now());
    // The old state in the condition makes a report that lost a race a no-op.
    let moved = sqlx::query(
        "UPDATE orders SET state = $2, reason = $3, moved_at = $4, \
         sent_at = CASE WHEN $2 = 'SENT' THEN $4 ELSE sent_at END WHERE id = $1 AND state = $5",
    )
    .bind(&entry.order.id)
    .bind(next.as_str())
    .bind(reason)
    .bind(now)
    .bind(entry.order.state.as_str())
    .execute(&mut *tx)
    .await?;
    Ok((moved.rows_affected() == 1).then_some(next))
}

/// Remembers that orders were handed to a transport again, so that the slow timer leaves them alone for a while.
pub(super) async fn mark_sent(tx: &mut AnyConnection, id: &str) -> Result<(), Fault> {
    sqlx::query(
        "UPDATE orders SET sent_at = $2, state = CASE WHEN state = 'QUEUED' THEN 'SENT' ELSE state END \
         WHERE id = $1 AND state IN ('QUEUED', 'SENT', 'RECEIVED', 'EXECUTING', 'DETACHED')",
    )
    .bind(id)
    .bind(micros(SystemTime::now()))
    .execute(&mut *tx)
    .await?;
    Ok(())
}

/// Asks again what was refused, under a new name: a device repeats its answer to an old one.
pub(super) async fn ask_again(tx: &mut AnyConnection, entry: &Entry) -> Result<(), Fault> {
    let now = micros(SystemTime::now());
    sqlx::query(
        "UPDATE orders SET id = $2, state = 'QUEUED', reason = '', queued_at = $3, moved_at = $3, sent_at = 0 \
         WHERE id = $1 AND state = 'REFUSED'",
    )
    .bind(&entry.order.id)
    .bind(new_id())
    .bind(now)
    .execute(&mut *tx)
    .await?;
    Ok(())
}

/// Devices with open orders that no transport was given since `before`: at most `devices_max`.
pub(super) async fn forgotten(
    tx: &mut AnyConnection,
    before: SystemTime,
    devices_max: u32,
) -> Result<Vec<String>, Fault> {
    let rows: Vec<(String,)> = sqlx::query_as(
        "SELECT DISTINCT device FROM orders WHERE state IN ('QUEUED', 'SENT', 'RECEIVED', 'EXECUTING') \
         AND sent_at < $1 LIMIT $2",
    )
    .bind(micros(before))
    .bind(i64::from(devices_max))
    .fetch_all(&mut *tx)
    .await?;
    Ok(rows.into_iter().map(|(device,)| device).collect())
}

/// Orders of a command: still open, and executed but not confirmed.
pub(super) async fn open_and_unconfirmed(
    tx: &mut AnyConnection,
    command: &str,
) -> Result<(i64, i64), Fault> {
    // Counted in the database: a large household would be read once for each of its devices.
    let rows: Vec<(String, String, i64)> = sqlx::query_as(
        "SELECT state, verb, COUNT(*) FROM orders WHERE command = $1 GROUP BY state, verb",
    )
    .bind(command)
    .fetch_all(&mut *tx)
    .await?;
    let (mut open, mut unconfirmed) = (0, 0);
    for (text, verb, count) in &rows {
        let state = state(text)?;
        let verb = Verb::parse(verb).map_err(|error| Fault::new("the orders table", error))?;
        if state.is_open() {
            open += count;
        } else if state == State::Executed && verb.unbinds() {
            unconfirmed += count;
        }
    }
    Ok((open, unconfirmed))
}

/// An epoch as the database keeps it.
pub(super) fn stored(epoch: u64) -> Result<i64, Fault> {
    i64::try_from(epoch).map_err(|error| Fault::new("an epoch above 2^63", error))
}

/// An epoch from the database.
pub(super) fn epoch(stored: i64) -> Result<u64, Fault> {
    u64::try_from(stored).map_err(|error| Fault::new("a negative epoch in the database", error))
}

fn new_id() -> String {
    uuid::Uuid::now_v7().simple().to_string()
}

fn state(text: &str) -> Result<State, Fault> {
    State::parse(text).map_err(|error| Fault::new("the orders table", error))
}

fn entry(row: &AnyRow) -> Result<Entry, Fault> {
    let child: String = row.try_get("child")?;
    let verb: String = row.try_get("verb")?;
    let text: String = row.try_get("state")?;
    Ok(Entry {
        order: Order {
            id: row.try_get("id")?,
            device: row.try_get("device")?,
            epoch: epoch(row.try_get("epoch")?)?,
            verb: Verb::parse(&verb).map_err(|error| Fault::new("the orders table", error))?,
            child: (!child.is_empty()).then_some(child),
            state: state(&text)?,
            queued: time(row.try_get("queued_at")?),
            expires: time(row.try_get("expires_at")?),
            traceparent: row.try_get("traceparent")?,
        },
        subject: row.try_get("subject")?,
        subject_epoch: epoch(row.try_get("subject_epoch")?)?,
        command: row.try_get("command")?,
        moved: time(row.try_get("moved_at")?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(verb: Verb, state: State, command: &str) -> Entry {
        let order = Order {
            id: format!("{command}-{verb:?}"),
            device: "hub-1".to_owned(),
            epoch: 1,
            verb,
            child: None,
            state,
            queued: SystemTime::UNIX_EPOCH,
            expires: SystemTime::UNIX_EPOCH,
            traceparent: String::new(),
        };
        Entry {
            order,
            subject: String::new(),
            subject_epoch: 1,
            command: command.to_owned(),
            moved: SystemTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_hub_waits_for_its_children_but_not_for_what_another_command_was_refused() {
        let reset = || entry(Verb::Reset, State::Queued, "erase");
        let sent = |child: Entry| sendable(vec![child, reset()]);
        let queued = sent(entry(Verb::RemoveChild, State::Queued, "unbind"));
        assert_eq!(queued.len(), 1);
        assert_eq!(queued[0].order.verb, Verb::RemoveChild);
        assert!(sent(entry(Verb::RemoveChild, State::Refused, "erase")).is_empty());
        let elsewhere = sent(entry(Verb::RemoveChild, State::Refused, "unbind"));
        assert_eq!(elsewhere[0].order.verb, Verb::Reset);
    }
}
