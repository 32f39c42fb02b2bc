//! When deletions must be looked at again: coarse, because asking a little later is harmless, and cheap, because nearly
//! every command is answered long before its timer fires.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use farewell_core::DeletionId;

/// How late a timer may be.
const GRAIN: Duration = Duration::from_millis(50);

/// Timers in buckets of [`GRAIN`]. A timer is never taken back: whoever is not due when it fires is left alone.
#[derive(Debug)]
pub struct Timers {
    started: Instant,
    buckets: BTreeMap<u64, Vec<DeletionId>>,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            buckets: BTreeMap::new(),
        }
    }
}

impl Timers {
    /// Has the deletion looked at once `at` is over.
    pub fn set(&mut self, at: Instant, id: DeletionId) {
        let bucket = self.buckets.entry(self.bucket(at) + 1).or_default();
        // The legs of one deletion are often sent together.
        if bucket.last() != Some(&id) {
            bucket.push(id);
        }
    }

    /// Takes those whose time is over.
    pub fn due(&mut self, now: Instant) -> Vec<DeletionId> {
        let later = self.buckets.split_off(&(self.bucket(now) + 1));
        std::mem::replace(&mut self.buckets, later)
            .into_values()
            .flatten()
            .collect()
    }

    /// When the next one's time is over.
    pub fn next(&self) -> Option<Instant> {
        let (bucket, _) = self.buckets.first_key_value()?;
        Some(self.started + GRAIN * u32::try_from(*bucket).unwrap_or(u32::MAX))
    }

    fn bucket(&self, at: Instant) -> u64 {
        let elapsed = at.saturating_duration_since(self.started).as_millis() / GRAIN.as_millis();
        u64::try_from(elapsed).unwrap_or(u64::MAX - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_fires_once_and_never_early() {
        let mut timers = Timers::default();
        let start = timers.started;
        let id = DeletionId(uuid::Uuid::from_u128(1));
        timers.set(start + Duration::from_millis(120), id);
        assert!(timers.due(start + Duration::from_millis(120)).is_empty());
        assert!(
            timers
                .next()
                .is_some_and(|next| next >= start + Duration::from_millis(120))
        );
        assert_eq!(timers.due(start + Duration::from_millis(170)), [id]);
        assert!(timers.due(start + Duration::from_secs(9)).is_empty());
        assert_eq!(timers.next(), None);
    }
}
