//! Reports that a coordinator did not accept.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Reasons counted apart. They are a short closed list; the bound is against a peer that makes them up.
const REASONS_MAX: usize = 64;
/// Where the rest is counted.
const OTHER: &str = "OTHER";

#[derive(Default)]
pub(super) struct Refusals {
    counts: Mutex<BTreeMap<String, u64>>,
}

impl Refusals {
    pub(super) fn count(&self, reason: &str) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(reason) {
            *count += 1;
            return;
        }
        let reason = if counts.len() < REASONS_MAX {
            reason
        } else {
            OTHER
        };
        *counts.entry(reason.to_owned()).or_default() += 1;
    }

    pub(super) fn counts(&self) -> BTreeMap<String, u64> {
        self.counts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_makes_reasons_up_does_not_fill_the_memory() {
        let refusals = Refusals::default();
        for n in 0..1000 {
            refusals.count(&n.to_string());
        }
        let counts = refusals.counts();
        assert_eq!(
            (counts.len(), counts.values().sum::<u64>()),
            (REASONS_MAX + 1, 1000)
        );
    }
}
