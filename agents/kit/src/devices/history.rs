//! What the owner of an account may take along of its devices: worth keeping for repairs, wherever the account is by then.

use crate::export::{Column, Part, Table, Tables};
use crate::participant::Fault;
use crate::store::Store;

/// Devices that are bound to the account.
const DEVICES: Table = Table::new(
    "devices",
    &[
        Column::Text("device"),
        Column::Text("model"),
        Column::Text("serial_number"),
        Column::Time("warranty_end"),
        Column::Time("bound_since"),
        Column::Text("home"),
        Column::Text("reached_through"),
    ],
    "SELECT device, device, model, serial_number, warranty_end_at, bound_at, home, via FROM bindings \
     WHERE account = $1 AND device > $2 ORDER BY device LIMIT $3",
)
.counted_as("bindings");

/// Devices of others that the account may use.
const SHARED: Table = Table::new(
    "shared_devices",
    &[
        Column::Text("device"),
        Column::Text("role"),
        Column::Time("shared_since"),
    ],
    "SELECT device, device, role, shared_at FROM shares WHERE account = $1 AND device > $2 ORDER BY device LIMIT $3",
)
.counted_as("shares");

/// Devices that were unbound one by one, as long as that is kept, and how that ended.
const UNBOUND: Table = Table::new(
    "unbound_devices",
    &[
        Column::Text("device"),
        Column::Time("unbound"),
        Column::Text("state"),
    ],
    "SELECT u.name, u.device, u.begun_at, o.state FROM unbindings u \
     LEFT JOIN orders o ON o.command = u.name AND o.subject = u.device AND o.subject_epoch = u.epoch \
     WHERE u.account_mark = $1 AND u.name > $2 ORDER BY u.name LIMIT $3",
)
.by_mark();

/// The part that begins at `after`.
pub(super) async fn part(store: &Store, account: &str, after: &str) -> Result<Part, Fault> {
    let tables = [&DEVICES, &SHARED, &UNBOUND];
    Tables::new(store, &tables).part(account, after).await
}
