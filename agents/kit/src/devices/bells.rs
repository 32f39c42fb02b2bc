//! Who wants to know that a device is owed something.
//!
//! A ring carries no news: whoever hears it looks in the database. Losing one costs a while, never an order.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, mpsc};

/// Devices that may wait for the doorbell of a whole line; beyond it, the slow timer finds them.
pub(super) const RINGS_MAX: usize = 4096;

/// The doorbells of an agent.
#[derive(Clone, Debug, Default)]
pub struct Bells {
    inner: Arc<Inner>,
}

type Bell = (u64, Arc<Notify>);

#[derive(Debug)]
struct Line {
    rings: mpsc::Sender<Ring>,
    /// Whether others may be asked for its devices.
    others: bool,
    /// Devices that are rung for because of others, and were not heard yet.
    unheard: HashSet<String>,
}

/// What a line's transport hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ring {
    /// This device is to be given all that it is owed.
    Owed(String),
    /// The same, if it is owed something that no transport was given yet.
    Unsent(String),
}

impl Ring {
    /// Whom it is for.
    pub fn device(&self) -> &str {
        match self {
            Self::Owed(device) | Self::Unsent(device) => device,
        }
    }
}

#[derive(Debug, Default)]
struct Inner {
    next: AtomicU64,
    /// By device; each bell with the number of its guard.
    sessions: Mutex<HashMap<String, Vec<Bell>>>,
    /// A transport that reaches the whole line, while there is one here.
    line: Mutex<Option<Line>>,
}

impl Bells {
    /// Rings for a device, in every session that speaks for it and at the line's transport.
    pub fn ring(&self, device: &str) {
        self.ring_sessions(device);
        if let Some(line) = self.line().as_ref() {
            // Full: the slow timer finds the device.
            let _ = line.rings.try_send(Ring::Owed(device.to_owned()));
        }
    }

    /// Rings for a device that was asked for elsewhere, and may have been told by now. Sessions know what they have told.
    pub(super) fn ring_unsent(&self, device: &str) {
        self.ring_sessions(device);
        let mut line = self.line();
        let Some(line) = line.as_mut().filter(|line| line.others) else {
            return;
        };
        if line.unheard.insert(device.to_owned())
            && line
                .rings
                .try_send(Ring::Unsent(device.to_owned()))
                .is_err()
        {
            line.unheard.remove(device);
        }
    }

    /// Whether no bell hangs: nobody can be told anything from here.
    pub(super) fn are_down(&self) -> bool {
        !self.reach_line() && self.sessions().is_empty()
    }

    /// Whether there is a transport that others may be asked for.
    pub(super) fn reach_line(&self) -> bool {
        let line = self.line();
        let listens = |line: &Line| line.others && !line.rings.is_closed();
        line.as_ref().is_some_and(listens)
    }

    /// A ring of the line was heard, or came to nothing: the next one is another.
    pub(super) fn heard(&self, ring: &Ring) {
        if let (Ring::Unsent(device), Some(line)) = (ring, self.line().as_mut()) {
            line.unheard.remove(device);
        }
    }

    fn ring_sessions(&self, device: &str) {
        for (_, bell) in self.sessions().get(device).into_iter().flatten() {
            bell.notify_one();
        }
    }

    /// How many bells hang for a device.
    #[cfg(test)]
    pub(super) fn hung(&self, device: &str) -> usize {
        self.sessions().get(device).map_or(0, Vec::len)
    }

    /// Every ring of the line from now on, for a transport that reaches all devices through one connection; `others` if
    /// they may be asked for elsewhere, too. The last caller gets them.
    pub(super) fn of_line(&self, others: bool) -> mpsc::Receiver<Ring> {
        let (rings, receiver) = mpsc::channel(RINGS_MAX);
        *self.line() = Some(Line {
            rings,
            others,
            unheard: HashSet::new(),
        });
        receiver
    }

    /// Rings `bell` for `device` until the guard is dropped.
    pub(super) fn hang(&self, device: &str, bell: Arc<Notify>) -> Hung {
        let id = self.inner.next.fetch_add(1, Ordering::Relaxed);
        self.sessions()
            .entry(device.to_owned())
            .or_default()
            .push((id, bell));
        Hung {
            bells: self.clone(),
            device: device.to_owned(),
            id,
        }
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<String, Vec<Bell>>> {
        let sessions = self.inner.sessions.lock();
        sessions.unwrap_or_else(PoisonError::into_inner)
    }

    fn line(&self) -> MutexGuard<'_, Option<Line>> {
        let line = self.inner.line.lock();
        line.unwrap_or_else(PoisonError::into_inner)
    }
}

/// A bell that hangs. Dropping it takes it down.
#[derive(Debug)]
pub(super) struct Hung {
    bells: Bells,
    device: String,
    id: u64,
}

impl Drop for Hung {
    fn drop(&mut self) {
        let mut sessions = self.bells.sessions();
        if let Some(hung) = sessions.get_mut(&self.device) {
            hung.retain(|(id, _)| *id != self.id);
            if hung.is_empty() {
                sessions.remove(&self.device);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sessions_and_the_line_are_rung_for_no_longer_than_they_listen() {
        let (bells, bell) = (Bells::default(), Arc::new(Notify::new()));
        assert!(bells.are_down());
        let hung = bells.hang("phone-1", bell.clone());
        bells.ring("phone-1");
        bell.notified().await;
        assert!(!bells.are_down());
        drop(hung);
        assert!(bells.are_down());

        let mut line = bells.of_line(true);
        assert!(!bells.are_down());
        bells.ring("hub-1");
        bells.ring_unsent("hub-2");
        assert_eq!(line.try_recv().unwrap(), Ring::Owed("hub-1".to_owned()));
        let unsent = line.try_recv().unwrap();
        assert_eq!(unsent, Ring::Unsent("hub-2".to_owned()));
        // Nobody is rung for twice before the first time was heard.
        bells.ring_unsent("hub-2");
        assert!(line.try_recv().is_err());
        bells.heard(&unsent);
        bells.ring_unsent("hub-2");
        assert_eq!(line.try_recv().unwrap(), unsent);
        drop(line);
        assert!(bells.are_down());
        bells.ring("hub-1");
        assert!(bells.of_line(true).try_recv().is_err(), "that was before");
        let mut alone = bells.of_line(false);
        assert!(bells.are_down());
        bells.ring_unsent("hub-2");
        assert!(alone.try_recv().is_err(), "nobody else is asked for it");
    }
}
