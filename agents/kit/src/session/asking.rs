//! What a coordinator is asked, until it has answered.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// Why there is no answer, where the coordinator itself gives no word: none is there to be asked.
pub(crate) const NO_COORDINATOR: &str = "NO_COORDINATOR";
/// The same: none came in time.
pub(super) const NO_ANSWER: &str = "NO_ANSWER";
/// The same: [`Asking::ask`] had no room.
pub(super) const TOO_MANY_QUESTIONS: &str = "TOO_MANY_QUESTIONS";

/// Under way at a time; beyond it one has to ask again.
const OPEN_MAX: usize = 1024;

/// Questions that wait for an answer of this kind.
pub(super) struct Asking<T> {
    last: AtomicU64,
    open: Mutex<HashMap<u64, oneshot::Sender<T>>>,
}

impl<T> Default for Asking<T> {
    fn default() -> Self {
        Self {
            last: AtomicU64::default(),
            open: Mutex::default(),
        }
    }
}

impl<T> Asking<T> {
    /// Takes an answer. One that nobody waits for is dropped.
    pub(super) fn answer(&self, id: u64, answer: T) {
        let waiting = self.lock().remove(&id);
        if let Some(waiting) = waiting {
            // Whoever asked may be gone.
            let _ = waiting.send(answer);
        }
    }

    /// A new question, and where its answer arrives. `None`: too many are under way.
    pub(super) fn ask(&self) -> Option<(Asked<'_, T>, oneshot::Receiver<T>)> {
        let id = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let (sender, answer) = oneshot::channel();
        let mut open = self.lock();
        if open.len() >= OPEN_MAX {
            return None;
        }
        open.insert(id, sender);
        Some((Asked { asking: self, id }, answer))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<T>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A question that is forgotten when nobody waits any more.
pub(super) struct Asked<'a, T> {
    asking: &'a Asking<T>,
    pub(super) id: u64,
}

impl<T> Drop for Asked<'_, T> {
    fn drop(&mut self) {
        self.asking.lock().remove(&self.id);
    }
}
