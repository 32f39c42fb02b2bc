//! A copy of the database's clock, so that deciding costs no query.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

use farewell_core::Time;

/// The database's time as last read, carried on by this machine's monotonic clock.
#[derive(Debug)]
pub struct Clock {
    started: Instant,
    /// Database microseconds minus microseconds since `started`.
    offset_micros: AtomicI64,
}

impl Clock {
    /// A clock that has just been told `now`.
    pub fn new(now: Time) -> Self {
        Self {
            started: Instant::now(),
            offset_micros: AtomicI64::new(now.micros()),
        }
    }

    /// Takes over what the database says: it was `now` there at some moment since `asked`. What agrees with that is kept,
    /// as an answer that was long on its way says less than an earlier one that was not.
    pub fn set(&self, now: Time, asked: Instant) {
        let micros = |at: Instant| {
            let elapsed = at.saturating_duration_since(self.started).as_micros();
            i64::try_from(elapsed).unwrap_or(i64::MAX)
        };
        let (lowest, highest) = (
            now.micros() - micros(Instant::now()),
            now.micros() - micros(asked),
        );
        let known = self.offset_micros.load(Ordering::Relaxed);
        self.offset_micros
            .store(known.clamp(lowest, highest), Ordering::Relaxed);
    }

    /// The database's time, as well as it is known.
    pub fn now(&self) -> Time {
        Time::from_micros(self.offset_micros.load(Ordering::Relaxed) + self.elapsed_micros())
    }

    fn elapsed_micros(&self) -> i64 {
        i64::try_from(self.started.elapsed().as_micros()).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: i64 = 1_000_000;

    #[test]
    fn an_answer_that_was_long_on_its_way_makes_no_good_clock_worse() {
        let clock = Clock {
            started: Instant::now() - Duration::from_secs(10),
            offset_micros: AtomicI64::new(90 * SECOND),
        };
        let asked = Instant::now() - Duration::from_secs(5);
        clock.set(Time::from_micros(98 * SECOND), asked);
        assert!(clock.now().micros() >= 100 * SECOND);
        // It was 200 there when it was asked: whatever says less is wrong.
        clock.set(Time::from_micros(200 * SECOND), Instant::now());
        assert!(clock.now().micros() >= 200 * SECOND);
        clock.set(Time::from_micros(50 * SECOND), Instant::now());
        assert!(
            clock.now().micros() < 51 * SECOND,
            "the database's clock was set back"
        );
    }
}
