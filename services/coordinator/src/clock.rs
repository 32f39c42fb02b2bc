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

    /// Takes over what the database says.
    pub fn set(&self, now: Time) {
        self.offset_micros
            .store(now.micros() - self.elapsed_micros(), Ordering::Relaxed);
    }

    /// The database's time, as well as it is known.
    pub fn now(&self) -> Time {
        Time::from_micros(self.offset_micros.load(Ordering::Relaxed) + self.elapsed_micros())
    }

    fn elapsed_micros(&self) -> i64 {
        i64::try_from(self.started.elapsed().as_micros()).unwrap_or(i64::MAX)
    }
}
