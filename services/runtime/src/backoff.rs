//! How long to wait before the next try.
//!
//! Full jitter: a uniform draw from zero to the exponential ceiling. Many callers that failed
//! together spread over the whole window instead of coming back together; of the usual variants it
//! asks for the fewest tries in total.

use std::time::Duration;

/// The wait before try number `attempt`, counted from 0 for the first retry.
///
/// The ceiling is `base * 2^attempt`, never above `cap`. `random` is the caller's draw from
/// `[0, 1)`, an argument so that tests and simulations decide it; anything outside is clamped, and
/// a draw that is not a number waits for the whole ceiling rather than not at all.
#[must_use]
pub fn jittered(attempt: u32, base: Duration, cap: Duration, random: f64) -> Duration {
    let factor = 2u32.saturating_pow(attempt);
    let ceiling = base.saturating_mul(factor).min(cap);
    let share = if random.is_nan() {
        1.0
    } else {
        random.clamp(0.0, 1.0)
    };
    // `mul_f64` panics on overflow; a share of at most one cannot overflow, but rounding a
    // `Duration::MAX` up could, so the product is checked.
    Duration::try_from_secs_f64(ceiling.as_secs_f64() * share)
        .unwrap_or(ceiling)
        .min(ceiling)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: Duration = Duration::from_millis(100);
    const CAP: Duration = Duration::from_secs(30);

    #[test]
    fn the_ceiling_doubles_until_the_cap() {
        let ceilings: Vec<u128> = (0..10)
            .map(|attempt| jittered(attempt, BASE, CAP, 1.0).as_millis())
            .collect();
        assert_eq!(
            ceilings,
            [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000]
        );
    }

    #[test]
    fn the_draw_takes_its_share_of_the_ceiling() {
        assert_eq!(jittered(3, BASE, CAP, 0.0), Duration::ZERO);
        assert_eq!(jittered(3, BASE, CAP, 0.25), Duration::from_millis(200));
    }

    #[test]
    fn no_attempt_is_too_large_and_no_draw_too_odd() {
        assert_eq!(jittered(u32::MAX, BASE, CAP, 1.0), CAP);
        assert_eq!(
            jittered(u32::MAX, Duration::MAX, Duration::MAX, 1.0),
            Duration::MAX
        );
        assert_eq!(jittered(0, BASE, CAP, 7.0), BASE);
        assert_eq!(jittered(0, BASE, CAP, -7.0), Duration::ZERO);
        assert_eq!(jittered(0, BASE, CAP, f64::NAN), BASE);
    }

    #[test]
    fn a_cap_below_the_base_wins() {
        assert_eq!(jittered(0, CAP, BASE, 1.0), BASE);
    }
}
