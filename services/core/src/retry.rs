//! When to ask again.

use std::time::Duration;

/// How long answers are waited for. A budget in time, not in count: retries go on until the leg is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Before the first repeat.
    pub base: Duration,
    /// The longest wait.
    pub cap: Duration,
}

impl Backoff {
    /// The wait after `attempt` tries (from 1): exponential up to the cap, between half and the whole of it by
    /// `chance` in 0..1, so that a fleet doesn't ask in step.
    pub fn after(&self, attempt: u32, chance: f64) -> Duration {
        let doubled = self.base.saturating_mul(
            1_u32
                .checked_shl(attempt.saturating_sub(1))
                .unwrap_or(u32::MAX),
        );
        doubled
            .min(self.cap)
            .mul_f64(0.5 + 0.5 * chance.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_cap_and_never_to_nothing() {
        let backoff = Backoff {
            base: Duration::from_secs(1),
            cap: Duration::from_secs(60),
        };
        assert_eq!(backoff.after(1, 1.0), Duration::from_secs(1));
        assert_eq!(backoff.after(3, 1.0), Duration::from_secs(4));
        for attempt in [0, 1, 7, 31, 32, 33, u32::MAX] {
            let wait = backoff.after(attempt, 0.0);
            assert!(
                wait >= Duration::from_millis(500) && wait <= backoff.cap,
                "{attempt}: {wait:?}"
            );
        }
    }
}
