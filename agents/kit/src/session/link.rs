//! One coordinator: dialled again and again, for as long as the process lives.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use farewell_proto::participant::v1::{Report, connect_request};
use farewell_runtime::backoff::jittered;
use farewell_runtime::client::endpoint;
use farewell_runtime::server::Security;
use tokio::sync::mpsc;

use super::Shared;
use super::connection::{self, Lost};
use super::work::chain;

/// First pause before dialling again: a coordinator that restarts is back within a second or two.
const RECONNECT_BASE: Duration = Duration::from_millis(100);
/// Longest pause: a coordinator that comes back after hours has its participants within this.
const RECONNECT_CAP: Duration = Duration::from_secs(10);
/// A stream that lived this long was sound; one that ended sooner counts as a failed attempt, so that a coordinator
/// which accepts and drops everybody is not dialled in a tight loop.
const SOUND_AFTER: Duration = Duration::from_secs(5);

pub(super) struct Link {
    pub(super) index: usize,
    url: String,
    /// The way up, while a stream is open.
    up: Mutex<Option<Up>>,
}

/// The two queues of a stream that goes up.
pub(super) struct Up {
    pub(super) reports: mpsc::Sender<Report>,
    pub(super) control: mpsc::Sender<connect_request::Message>,
}

impl Link {
    pub(super) fn new(index: usize, url: String) -> Self {
        Self {
            index,
            url,
            up: Mutex::new(None),
        }
    }

    /// Sends a report if there is a stream. Otherwise it is dropped: the coordinator asks again, and the participant
    /// recalls. So it is when the queue is full, which only a coordinator that stopped reading brings about.
    pub(super) fn post(&self, report: Report) {
        if let Some(up) = &*self.lock() {
            let _ = up.reports.try_send(report);
        }
    }

    /// Says something of our own. False if there is no stream, or no room.
    pub(super) fn say(&self, message: connect_request::Message) -> bool {
        self.lock()
            .as_ref()
            .is_some_and(|up| up.control.try_send(message).is_ok())
    }

    pub(super) fn open(&self, up: Up) {
        *self.lock() = Some(up);
    }

    /// No report follows; those posted before are still sent.
    pub(super) fn close(&self) {
        *self.lock() = None;
    }

    pub(super) fn is_open(&self) -> bool {
        self.lock().is_some()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Up>> {
        self.up.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a stream to one coordinator until shutdown.
pub(super) async fn keep(shared: Arc<Shared>, index: usize, security: Security) {
    let link = &shared.links[index];
    let endpoint = match endpoint(&link.url, &security) {
        Ok(endpoint) => endpoint,
        Err(error) => {
            tracing::error!(
                error = chain(&error),
                "a coordinator's address can't be used and is left out"
            );
            return;
        }
    };
    let mut attempt = 0;
    while !shared.shutdown.is_triggered() {
        let began = Instant::now();
        let lost = connection::run(&shared, link, &endpoint).await;
        link.close();
        let Err(lost) = lost else { return };
        if began.elapsed() >= SOUND_AFTER {
            attempt = 0;
        }
        let pause = jittered(attempt, RECONNECT_BASE, RECONNECT_CAP, rand::random());
        tell(&link.url, attempt, &lost, pause);
        attempt = attempt.saturating_add(1);
        tokio::select! {
            () = shared.shutdown.wait() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// The first failure is news; the hundredth of a coordinator that is away for maintenance isn't.
fn tell(coordinator: &str, attempt: u32, lost: &Lost, pause: Duration) {
    let cause = chain(lost);
    if attempt == 0 {
        tracing::warn!(
            coordinator,
            cause,
            ?pause,
            "no stream to a coordinator; dialling again"
        );
    } else {
        tracing::debug!(
            coordinator,
            attempt,
            cause,
            ?pause,
            "still no stream to a coordinator"
        );
    }
}
