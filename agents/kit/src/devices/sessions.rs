//! The sessions that devices have open, so that none has more than a few: a device that loses its connections without a
//! word leaves some behind that end only when nobody answers any more, and one that means ill would open them for ever.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

use super::attach::RELAYED_MAX;

/// Sessions of one device: a companion phone may open one for each of its wearables.
pub(super) const SESSIONS_MAX: usize = RELAYED_MAX;

/// Who has how many. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Sessions {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    next: AtomicU64,
    /// By device, oldest first; each with its number.
    open: Mutex<HashMap<String, VecDeque<(u64, CancellationToken)>>>,
}

impl Sessions {
    /// One more session of a device, until it is dropped. Where there are as many as may be, the oldest is told to end:
    /// the newest is the one that the device knows of.
    pub fn open(&self, device: &str) -> Open {
        let number = self.inner.next.fetch_add(1, Ordering::Relaxed);
        let replaced = CancellationToken::new();
        let mut open = self.lock();
        let own = open.entry(device.to_owned()).or_default();
        while own.len() >= SESSIONS_MAX {
            if let Some((_, oldest)) = own.pop_front() {
                oldest.cancel();
            }
        }
        own.push_back((number, replaced.clone()));
        Open {
            sessions: self.clone(),
            device: device.to_owned(),
            number,
            replaced,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, VecDeque<(u64, CancellationToken)>>> {
        let open = self.inner.open.lock();
        open.unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session that is open. Dropping it makes room.
#[derive(Debug)]
pub(super) struct Open {
    sessions: Sessions,
    device: String,
    number: u64,
    replaced: CancellationToken,
}

impl Open {
    /// Waits until a newer session takes the place of this one.
    pub fn until_replaced(&self) -> WaitForCancellationFuture<'_> {
        self.replaced.cancelled()
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut open = self.sessions.lock();
        if let Some(own) = open.get_mut(&self.device) {
            own.retain(|(number, _)| *number != self.number);
            if own.is_empty() {
                open.remove(&self.device);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_session_of_a_device_makes_room_and_nobody_elses() {
        let sessions = Sessions::default();
        let other = sessions.open("phone-2");
        let mut own: Vec<_> = (0..SESSIONS_MAX)
            .map(|_| sessions.open("phone-1"))
            .collect();
        let replaced = |own: &[Open]| -> Vec<bool> {
            own.iter().map(|it| it.replaced.is_cancelled()).collect()
        };
        assert_eq!(replaced(&own), [false; SESSIONS_MAX]);
        own.push(sessions.open("phone-1"));
        assert!(own[0].replaced.is_cancelled());
        assert_eq!(replaced(&own[1..]), [false; SESSIONS_MAX]);
        // One that has ended by itself leaves room.
        drop(own.pop());
        own.push(sessions.open("phone-1"));
        assert_eq!(replaced(&own[1..]), [false; SESSIONS_MAX]);
        assert!(!other.replaced.is_cancelled());
        drop((own, other));
        assert!(sessions.lock().is_empty(), "nothing is kept of who is gone");
    }
}
