//! Who wants to know that a device is owed something.
//!
//! A ring carries no news: whoever hears it looks in the database. Losing one costs a while, never an order.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::{Notify, mpsc};

/// Devices that may wait for the doorbell of a whole line; beyond it, the slow timer finds them.
pub(super) const RINGS_MAX: usize = 4096;

/// The doorbells of an agent.
#[derive(Clone, Debug, Default)]
pub struct Bells {
    inner: Arc<Inner>,
}

type Bell = (u64, Arc<Notify>);

#[derive(Debug, Default)]
struct Inner {
    next: AtomicU64,
    /// By device; each bell with the number of its guard.
    sessions: Mutex<HashMap<String, Vec<Bell>>>,
    line: OnceLock<mpsc::Sender<String>>,
}

impl Bells {
    /// Rings for a device, in every session that speaks for it.
    pub fn ring(&self, device: &str) {
        self.ring_attached(device);
        if let Some(line) = self.inner.line.get() {
            // Full: the slow timer finds the device.
            let _ = line.try_send(device.to_owned());
        }
    }

    /// Rings for a device in sessions only: what a broker serves is another's to ring for.
    pub(super) fn ring_attached(&self, device: &str) {
        for (_, bell) in self.sessions().get(device).into_iter().flatten() {
            bell.notify_one();
        }
    }

    /// Whether no bell hangs: nobody is attached.
    pub(super) fn are_down(&self) -> bool {
        self.sessions().is_empty()
    }

    /// How many bells hang for a device.
    #[cfg(test)]
    pub(super) fn hung(&self, device: &str) -> usize {
        self.sessions().get(device).map_or(0, Vec::len)
    }

    /// Every ring of the line, for a transport that reaches all devices through one connection. Only the first caller
    /// gets them.
    pub(super) fn of_line(&self) -> Option<mpsc::Receiver<String>> {
        let (sender, receiver) = mpsc::channel(RINGS_MAX);
        self.inner.line.set(sender).ok().map(|()| receiver)
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
    async fn sessions_are_rung_for_alone_or_with_the_broker_and_no_longer_than_they_hang() {
        let (bells, bell) = (Bells::default(), Arc::new(Notify::new()));
        let mut line = bells.of_line().unwrap();
        assert!(bells.are_down());
        let hung = bells.hang("phone-1", bell.clone());
        bells.ring_attached("phone-1");
        bell.notified().await;
        assert!(line.try_recv().is_err(), "others serve the broker");
        bells.ring("phone-1");
        bell.notified().await;
        assert_eq!(line.try_recv().unwrap(), "phone-1");
        drop(hung);
        assert!(bells.are_down());
    }
}
