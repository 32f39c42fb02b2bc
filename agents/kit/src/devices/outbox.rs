//! The order queue in the database. Every function here works in the caller's transaction.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::SystemTime;

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row as _};

use super::order::{Event, Order, State};
use super::signed::SignedOrder;
use super::{device, returns, set};
use crate::participant::{DeviceVerb, Fault};
use crate::store::{POSTGRES, micros, time};

/// Orders that a device is sent in one go; the rest waits in the database for the next contact.
pub(super) const ORDERS_MAX: usize = 16;

macro_rules! select_orders {
    ($tail:literal) => {
        concat!(
            "SELECT o.id, o.signed, o.device, o.epoch, o.verb, o.child, o.new_epoch, o.subject, o.subject_epoch, \
             o.command, o.traceparent, o.state, o.reason, o.queued_at, o.sent_at, o.moved_at, o.expires_at FROM orders o ",
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
    /// The device's word, where it gave one.
    pub reason: String,
    /// When it was last handed to a transport; the beginning of time if never.
    pub sent: SystemTime,
    pub moved: SystemTime,
}

impl Entry {
    /// The binding of the roster.
    pub fn binding(&self) -> (String, u64) {
        (self.subject.clone(), self.subject_epoch)
    }
}

/// An order to be written.
pub(super) struct Draft<'a> {
    /// What the coordinator signed; `None` for a device that can't be told, whose binding a person ends.
    pub signed: Option<&'a SignedOrder>,
    pub subject: &'a str,
    pub subject_epoch: u64,
    pub via: &'a str,
    pub command: &'a str,
    pub traceparent: &'a str,
    pub state: State,
}

/// Writes orders. The same subject of the same command again changes nothing: the first bytes stay.
pub(super) async fn queue(tx: &mut AnyConnection, drafts: &[Draft<'_>]) -> Result<(), Fault> {
    const COLUMNS: usize = 15;
    let now = SystemTime::now();
    for drafts in set::exact_handfuls(drafts) {
        let sql = format!(
            "INSERT INTO orders (id, signed, device, epoch, verb, child, new_epoch, subject, subject_epoch, via, command, \
             traceparent, state, queued_at, expires_at, moved_at, reason, sent_at) \
             SELECT v.column1, v.column2, v.column3, v.column4, v.column5, v.column6, v.column7, v.column8, v.column9, \
             v.column10, v.column11, v.column12, v.column13, v.column14, v.column15, v.column14, '', 0 \
             FROM (VALUES {}) AS v WHERE TRUE ON CONFLICT (command, subject, subject_epoch) DO NOTHING",
            set::rows(1, drafts.len(), COLUMNS)
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for draft in drafts {
            let signed = draft.signed;
            let child = signed.and_then(|signed| signed.child.as_ref());
            query = query
                .bind(signed.map(|signed| signed.id.as_str()))
                .bind(
                    signed
                        .map(|signed| signed.bytes.to_vec())
                        .unwrap_or_default(),
                )
                .bind(signed.map_or(draft.subject, |signed| &signed.device))
                .bind(stored(
                    signed.map_or(draft.subject_epoch, |signed| signed.epoch),
                )?)
                .bind(
                    signed
                        .map_or(DeviceVerb::Unbind, |signed| signed.verb)
                        .as_str(),
                )
                .bind(child.map(|(child, _)| child.as_str()).unwrap_or_default())
                .bind(stored(signed.map_or(0, |signed| signed.new_epoch))?)
                .bind(draft.subject)
                .bind(stored(draft.subject_epoch)?)
                .bind(draft.via)
                .bind(draft.command)
                .bind(draft.traceparent)
                .bind(draft.state.as_str())
                .bind(micros(now))
                .bind(micros(signed.map_or(now, |signed| signed.expires)));
        }
        query.execute(&mut *tx).await?;
    }
    Ok(())
}

/// Orders that ended well before, for bindings of a roster.
#[derive(Debug)]
pub(super) struct Earlier(HashMap<(String, u64), Vec<(DeviceVerb, State)>>);

/// Reads them.
pub(super) async fn earlier(
    tx: &mut AnyConnection,
    subjects: &BTreeSet<String>,
) -> Result<Earlier, Fault> {
    let ended = select(tx, subjects, |places| {
        format!(
            select_orders!(
                "WHERE o.subject IN ({}) AND o.id IS NOT NULL AND o.state IN ('EXECUTED', 'CONFIRMED', 'TRANSFERRED')"
            ),
            places
        )
    });
    let mut earlier: HashMap<_, Vec<_>> = HashMap::new();
    for entry in ended.await? {
        let of = earlier.entry(entry.binding()).or_default();
        of.push((entry.order.verb, entry.order.state));
    }
    Ok(Earlier(earlier))
}

impl Earlier {
    /// How an earlier order for this binding of a device ended, if it said that `verb` is done: a device that was wiped in
    /// an earlier round has no reason to come back and be wiped again.
    ///
    /// A wipe has unbound, too; an unbinding has wiped nothing. A device that unbound itself knows this binding no longer,
    /// so that no order for it can reach it any more: it is `DETACHED`, and nobody is told that it was wiped.
    pub fn end(&self, subject: &str, subject_epoch: u64, verb: DeviceVerb) -> Option<State> {
        let earlier = self.0.get(&(subject.to_owned(), subject_epoch))?;
        let ended = |verbs: &[DeviceVerb]| {
            [State::Confirmed, State::Executed, State::Transferred]
                .into_iter()
                .find(|end| {
                    earlier
                        .iter()
                        .any(|(verb, state)| verbs.contains(verb) && state == end)
                })
        };
        match verb {
            DeviceVerb::Unbind => ended(&[DeviceVerb::Unbind, DeviceVerb::Reset]),
            DeviceVerb::Reset => ended(&[DeviceVerb::Reset])
                .or_else(|| ended(&[DeviceVerb::Unbind]).map(|_| State::Detached)),
            DeviceVerb::RemoveChild => ended(&[DeviceVerb::RemoveChild]),
            DeviceVerb::Transfer => ended(&[DeviceVerb::Transfer]).map(|_| State::Transferred),
        }
    }
}

/// The order of this id.
pub(super) async fn find(tx: &mut AnyConnection, id: &str) -> Result<Option<Entry>, Fault> {
    let row = sqlx::query(select_orders!("WHERE o.id = $1"))
        .bind(id)
        .fetch_optional(&mut *tx)
        .await?;
    row.as_ref().map(entry).transpose()
}

/// The orders of these ids, held until the transaction ends.
///
/// Whoever holds a device holds its orders with it, but for one case: somebody binds a hub's child elsewhere, and ends what
/// is owed to the hub for it without holding the hub.
pub(super) async fn of_ids(
    tx: &mut AnyConnection,
    ids: &BTreeSet<String>,
) -> Result<Vec<Entry>, Fault> {
    let held = held(tx);
    select(tx, ids, |places| {
        format!(select_orders!("WHERE o.id IN ({}) {}"), places, held)
    })
    .await
}

/// Holds what is selected, in an order that is the same for everybody.
fn held(tx: &AnyConnection) -> &'static str {
    if tx.backend_name() == POSTGRES {
        "ORDER BY o.id FOR UPDATE OF o"
    } else {
        ""
    }
}

/// Orders that are selected by `keys` and nothing else.
async fn select(
    tx: &mut AnyConnection,
    keys: &BTreeSet<String>,
    sql: impl Fn(String) -> String,
) -> Result<Vec<Entry>, Fault> {
    let rows = set::fetch(tx, keys, sql).await?;
    rows.iter().map(entry).collect()
}

/// Every order of a command.
pub(super) async fn of_command(tx: &mut AnyConnection, command: &str) -> Result<Vec<Entry>, Fault> {
    let rows = sqlx::query(select_orders!(
        "WHERE o.command = $1 ORDER BY o.subject, o.subject_epoch"
    ))
    .bind(command)
    .fetch_all(&mut *tx)
    .await?;
    rows.iter().map(entry).collect()
}

/// What is still owed to each of the devices in its current binding, in the order it has to be carried out, at most
/// [`ORDERS_MAX`]. A hub's own order waits until each child's is done: a hub that was reset removes nobody.
pub(super) async fn owed(
    tx: &mut AnyConnection,
    devices: &BTreeSet<String>,
) -> Result<BTreeMap<String, Vec<Entry>>, Fault> {
    // The join is the rule that an older binding's order is never sent, whatever its state says. Older is what is older
    // than the binding that the device itself has, while it is still to be told of a transfer.
    let entries = select(tx, devices, |places| {
        format!(
            select_orders!(
                "JOIN devices d ON d.device = o.device AND (o.epoch = d.epoch OR \
                 (d.held_epoch > 0 AND o.epoch >= d.held_epoch AND o.epoch < d.epoch)) WHERE o.device IN ({}) \
                 AND o.state IN ('QUEUED', 'SENT', 'RECEIVED', 'DEFERRED_SAFE', 'EXECUTING', 'DETACHED', 'TRANSFERRED', \
                 'REFUSED') AND o.id IS NOT NULL ORDER BY o.device, o.epoch, o.queued_at, o.subject"
            ),
            places
        )
    })
    .await?;
    let now = SystemTime::now();
    let mut owed: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
    for entry in entries {
        if entry.order.expires > now {
            owed.entry(entry.order.device.clone())
                .or_default()
                .push(entry);
        }
    }
    for entries in owed.values_mut() {
        *entries = sendable(std::mem::take(entries));
    }
    Ok(owed)
}

/// Children before hubs, a transfer before what is for the binding that follows, and nothing that was refused. A child
/// that the hub refused to remove holds back the hub's own order of the same command only: about another command's nobody
/// may ever ask again.
fn sendable(entries: Vec<Entry>) -> Vec<Entry> {
    let waits = |order: &Entry| {
        entries.iter().any(|other| {
            let child = order.order.child.is_none()
                && other.order.child.is_some()
                && other.order.epoch <= order.order.epoch
                && match other.order.state {
                    State::Refused => other.command == order.command,
                    // A child that was given up goes before the hub, and doesn't hold it back: the hub may not know it.
                    State::Detached => false,
                    state => state.is_owed(),
                };
            let earlier = other.order.epoch < order.order.epoch
                || (other.subject == order.subject && other.subject_epoch < order.subject_epoch);
            let transfer =
                other.order.verb == DeviceVerb::Transfer && other.order.state.is_owed() && earlier;
            child || transfer
        })
    };
    let sendable = |entry: &&Entry| entry.order.state.is_owed() && !waits(entry);
    let mut sendable: Vec<_> = entries.iter().filter(sendable).cloned().collect();
    sendable.sort_by_key(|entry| entry.order.child.is_none());
    sendable.truncate(ORDERS_MAX);
    sendable
}

/// Orders of these devices that may still move, held as in [`of_ids`]: to be confirmed, superseded or sent.
pub(super) async fn moving(
    tx: &mut AnyConnection,
    devices: &BTreeSet<String>,
) -> Result<Vec<Entry>, Fault> {
    let held = held(tx);
    select(tx, devices, |places| {
        format!(
            select_orders!(
                "WHERE o.device IN ({}) AND o.state IN ('QUEUED', 'SENT', 'RECEIVED', 'DEFERRED_SAFE', 'EXECUTING', \
                 'EXECUTED', 'DETACHED', 'TRANSFERRED', 'REFUSED') AND o.id IS NOT NULL {}"
            ),
            places, held
        )
    })
    .await
}

/// Ends every order for an older binding of `device`, whether it is told itself or through a hub. Returns the
/// commands that waited for one of them.
pub(super) async fn supersede(
    tx: &mut AnyConnection,
    device: &str,
    epoch: u64,
) -> Result<BTreeSet<String>, Fault> {
    let older = "((o.device = $1 AND o.epoch < $2) OR (o.subject = $1 AND o.subject_epoch < $2))";
    overtake(tx, older, device, epoch).await
}

/// As [`supersede`], where the device itself is still to be told of its new binding: a hub goes on removing children for
/// the old one.
pub(super) async fn supersede_own(
    tx: &mut AnyConnection,
    device: &str,
    epoch: u64,
) -> Result<BTreeSet<String>, Fault> {
    let older = "o.subject = $1 AND o.subject_epoch < $2";
    overtake(tx, older, device, epoch).await
}

/// Ends what is `older`.
async fn overtake(
    tx: &mut AnyConnection,
    older: &'static str,
    device: &str,
    epoch: u64,
) -> Result<BTreeSet<String>, Fault> {
    let sql = format!(
        select_orders!(
            "WHERE {} AND o.state IN ('QUEUED', 'SENT', 'RECEIVED', 'DEFERRED_SAFE', 'EXECUTING', 'DETACHED', 'REFUSED') {}"
        ),
        older,
        held(tx)
    );
    let rows = sqlx::query(AssertSqlSafe(sql))
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

/// Applies `event`. `None` if it brings nothing new. What was answered otherwise before is told: see [`returns`].
pub(super) async fn advance(
    tx: &mut AnyConnection,
    entry: &Entry,
    event: Event,
    reason: &str,
) -> Result<Option<State>, Fault> {
    let Some(next) = following(tx, entry, event).await? else {
        return Ok(None);
    };
    let now = SystemTime::now();
    // The old state in the condition makes a report that lost a race a no-op.
    let moved = sqlx::query(
        "UPDATE orders SET state = $2, reason = $3, moved_at = $4, \
         sent_at = CASE WHEN $2 = 'SENT' THEN $4 ELSE sent_at END WHERE id = $1 AND state = $5",
    )
    .bind(&entry.order.id)
    .bind(next.as_str())
    .bind(reason)
    .bind(micros(now))
    .bind(entry.order.state.as_str())
    .execute(&mut *tx)
    .await?;
    if moved.rows_affected() != 1 {
        return Ok(None);
    }
    returns::note(tx, entry, next, now).await?;
    Ok(Some(next))
}

/// The state after `event`. `None` if it brings nothing new.
pub(super) async fn following(
    tx: &mut AnyConnection,
    entry: &Entry,
    event: Event,
) -> Result<Option<State>, Fault> {
    let next = entry.order.state.after(event);
    if next == Some(State::Superseded) && is_child_left(tx, entry).await? {
        return Ok(None);
    }
    Ok(next)
}

/// Writes how far orders are whose devices have been held since they were read.
pub(super) async fn write<'a>(
    tx: &mut AnyConnection,
    entries: impl IntoIterator<Item = &'a Entry>,
) -> Result<(), Fault> {
    let entries: Vec<_> = entries.into_iter().collect();
    for rows in set::handfuls(&entries) {
        let sql = format!(
            "UPDATE orders SET state = v.column2, reason = v.column3, moved_at = v.column4, sent_at = v.column5 \
             FROM (VALUES {}) AS v WHERE id = v.column1",
            set::rows(1, rows.len(), 5)
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for entry in rows {
            query = query
                .bind(&entry.order.id)
                .bind(entry.order.state.as_str())
                .bind(&entry.reason)
                .bind(micros(entry.moved))
                .bind(micros(entry.sent));
        }
        query.execute(&mut *tx).await?;
    }
    Ok(())
}

/// Whether this is a tombstone of a child whose hub went to somebody else, and the child did not: it is out of reach, as
/// was answered, until it is bound itself or its order expires.
async fn is_child_left(tx: &mut AnyConnection, entry: &Entry) -> Result<bool, Fault> {
    if entry.order.state != State::Detached || entry.subject == entry.order.device {
        return Ok(false);
    }
    let child = device::find(tx, &entry.subject).await?;
    Ok(child.is_none_or(|child| child.epoch <= entry.subject_epoch))
}

/// Asks again what was refused, under the name that is signed.
pub(super) async fn ask_again(tx: &mut AnyConnection, entry: &Entry) -> Result<(), Fault> {
    let Some(next) = entry.order.state.after(Event::AskedAgain) else {
        return Ok(());
    };
    sqlx::query(
        "UPDATE orders SET state = $2, reason = '', queued_at = $3, moved_at = $3, sent_at = 0 \
         WHERE id = $1 AND state = 'REFUSED'",
    )
    .bind(&entry.order.id)
    .bind(next.as_str())
    .bind(micros(SystemTime::now()))
    .execute(&mut *tx)
    .await?;
    Ok(())
}

/// Devices with open orders, or transfers that they are still to hear of, that no transport was given anything for since
/// `before`: at most `devices_max`, those after `after` by name. Whoever goes round so forgets nobody.
pub(super) async fn forgotten(
    tx: &mut AnyConnection,
    before: SystemTime,
    after: &str,
    devices_max: u32,
) -> Result<Vec<String>, Fault> {
    let rows: Vec<(String,)> = sqlx::query_as(
        "SELECT device FROM orders WHERE state IN ('QUEUED', 'SENT', 'RECEIVED', 'DEFERRED_SAFE', 'EXECUTING', \
         'TRANSFERRED') AND expires_at > $2 AND device > $3 GROUP BY device HAVING MAX(sent_at) < $1 \
         ORDER BY device LIMIT $4",
    )
    .bind(micros(before))
    .bind(micros(SystemTime::now()))
    .bind(after)
    .bind(i64::from(devices_max))
    .fetch_all(&mut *tx)
    .await?;
    Ok(rows.into_iter().map(|(device,)| device).collect())
}

/// Orders of a command that somebody still waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Unsettled {
    pub open: i64,
    /// Executed, and not confirmed.
    pub unconfirmed: i64,
}

/// What is unsettled of each of these commands that has orders.
pub(super) async fn unsettled(
    tx: &mut AnyConnection,
    commands: &BTreeSet<String>,
) -> Result<BTreeMap<String, Unsettled>, Fault> {
    let commands: Vec<_> = commands.iter().collect();
    let mut unsettled: BTreeMap<String, Unsettled> = BTreeMap::new();
    for commands in set::handfuls(&commands) {
        // Counted in the database: a large household would be read once for each of its devices.
        let sql = format!(
            "SELECT command, state, verb, COUNT(*) FROM orders WHERE command IN ({}) GROUP BY command, state, verb",
            set::places(1, commands.len())
        );
        let mut query = sqlx::query_as::<_, (String, String, String, i64)>(AssertSqlSafe(sql));
        for command in commands {
            query = query.bind(command);
        }
        for (command, text, verb, count) in query.fetch_all(&mut *tx).await? {
            let of = unsettled.entry(command).or_default();
            let state = state(&text)?;
            if state.is_open() {
                of.open += count;
            } else if state == State::Executed && parsed(&verb)?.unbinds() {
                of.unconfirmed += count;
            }
        }
    }
    Ok(unsettled)
}

/// An epoch as the database keeps it.
pub(super) fn stored(epoch: u64) -> Result<i64, Fault> {
    i64::try_from(epoch).map_err(|error| Fault::new("an epoch above 2^63", error))
}

/// An epoch from the database.
pub(super) fn epoch(stored: i64) -> Result<u64, Fault> {
    u64::try_from(stored).map_err(|error| Fault::new("a negative epoch in the database", error))
}

fn state(text: &str) -> Result<State, Fault> {
    State::parse(text).map_err(|error| Fault::new("the orders table", error))
}

fn parsed(verb: &str) -> Result<DeviceVerb, Fault> {
    DeviceVerb::parse(verb).map_err(|error| Fault::new("the orders table", error))
}

fn entry(row: &AnyRow) -> Result<Entry, Fault> {
    let id: Option<String> = row.try_get("id")?;
    let child: String = row.try_get("child")?;
    let verb: String = row.try_get("verb")?;
    let text: String = row.try_get("state")?;
    let signed: Vec<u8> = row.try_get("signed")?;
    Ok(Entry {
        order: Order {
            id: id.unwrap_or_default(),
            device: row.try_get("device")?,
            epoch: epoch(row.try_get("epoch")?)?,
            verb: parsed(&verb)?,
            child: (!child.is_empty()).then_some(child),
            new_epoch: epoch(row.try_get("new_epoch")?)?,
            state: state(&text)?,
            queued: time(row.try_get("queued_at")?),
            expires: time(row.try_get("expires_at")?),
            traceparent: row.try_get("traceparent")?,
            signed: signed.into(),
        },
        subject: row.try_get("subject")?,
        subject_epoch: epoch(row.try_get("subject_epoch")?)?,
        command: row.try_get("command")?,
        reason: row.try_get("reason")?,
        sent: time(row.try_get("sent_at")?),
        moved: time(row.try_get("moved_at")?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(verb: DeviceVerb, state: State, command: &str) -> Entry {
        let order = Order {
            id: format!("{command}-{verb:?}"),
            device: "hub-1".to_owned(),
            epoch: 1,
            verb,
            child: (verb == DeviceVerb::RemoveChild).then(|| "lamp-1".to_owned()),
            new_epoch: 0,
            state,
            queued: SystemTime::UNIX_EPOCH,
            expires: SystemTime::UNIX_EPOCH,
            traceparent: String::new(),
            signed: Default::default(),
        };
        Entry {
            order,
            subject: String::new(),
            subject_epoch: 1,
            command: command.to_owned(),
            reason: String::new(),
            sent: SystemTime::UNIX_EPOCH,
            moved: SystemTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_hub_waits_for_its_children_but_not_for_what_another_command_was_refused() {
        let reset = || entry(DeviceVerb::Reset, State::Queued, "erase");
        let sent = |child: Entry| sendable(vec![child, reset()]);
        let queued = sent(entry(DeviceVerb::RemoveChild, State::Queued, "unbind"));
        assert_eq!(queued.len(), 1);
        assert_eq!(queued[0].order.verb, DeviceVerb::RemoveChild);
        assert!(sent(entry(DeviceVerb::RemoveChild, State::Refused, "erase")).is_empty());
        let elsewhere = sent(entry(DeviceVerb::RemoveChild, State::Refused, "unbind"));
        assert_eq!(elsewhere[0].order.verb, DeviceVerb::Reset);
    }
}
