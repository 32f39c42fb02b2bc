//! Group commit: three lanes, each drains its queue into one batch, commits it, and then answers everybody.
//!
//! There is no linger: while one batch is being written, the next one gathers. A batch whose outcome is unknown is
//! written again: opening is idempotent by request id, settling by receipt, turning by revision.

mod open;
mod settle;
mod turn;

pub use open::{OpenJob, chain, run as run_open};
pub use settle::{SettleJob, Work, run as run_settle};
pub use turn::{TurnJob, run as run_turn};

use std::time::Duration;

/// Jobs that may wait in a lane; whoever comes later waits for room.
pub const QUEUE_JOBS_MAX: usize = 8_192;
/// Between tries while the database is away.
const AWAY_PAUSE: Duration = Duration::from_millis(200);
/// The same, for what follows from reports: it may be much, and nobody waits for it.
const AWAY_PAUSE_MAX: Duration = Duration::from_secs(5);
/// Tries for work that somebody waits for; after that they are told to come again.
const AWAITED_TRIES_MAX: u32 = 10;

/// The lane could not do it now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failed {
    /// The database is away; nothing is known to be done. Trying again with the same request id is safe.
    Unavailable,
    /// The database refused the write: a bug, never the caller's fault.
    Refused,
}
