//! One coordinator: dialled again and again, for as long as the process lives.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use farewell_proto::participant::v1::Report;
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
    /// Where reports go, while a stream is open.
    outbox: Mutex<Option<mpsc::Sender<Report>>>,
}

impl Link {
    pub(super) fn new(index: usize, url: String) -> Self {
        Self {
            index,
            url,
            outbox: Mutex::new(None),
        }
    }

    /// Sends a report if there is a stream. Otherwise it is dropped: the coordinator asks again, and the participant
    /// recalls. So it is when the queue is full, which only a coordinator that stopped reading brings about.
    pub(super) fn post(&self, report: Report) {
        if let Some(outbox) = &*self.outbox.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = outbox.try_send(report);
        }
    }

    pub(super) fn open(&self, outbox: mpsc::Sender<Report>) {
        *self.outbox.lock().unwrap_or_else(PoisonError::into_inner) = Some(outbox);
    }

    /// No report follows; those posted before are still sent.
    pub(super) fn close(&self) {
        *self.outbox.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(super) fn is_open(&self) -> bool {
        self.outbox
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_some()
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
