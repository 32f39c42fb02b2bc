//! Not more lines in the log than anybody reads.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A database that is away fails every command; ten lines a second say so as well as fifty thousand.
const LINES_MAX_PER_SECOND: u32 = 10;

#[derive(Default)]
pub(super) struct Lines {
    second: Mutex<Second>,
}

#[derive(Default)]
struct Second {
    began: Option<Instant>,
    said: u32,
    unsaid: u64,
}

impl Lines {
    /// Whether one more line may be written: how many were left out since the last one.
    pub(super) fn next(&self) -> Option<u64> {
        self.at(Instant::now())
    }

    fn at(&self, now: Instant) -> Option<u64> {
        let mut second = self.second.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = second
            .began
            .is_none_or(|began| now.duration_since(began) >= Duration::from_secs(1));
        if fresh {
            second.began = Some(now);
            second.said = 0;
        }
        if second.said >= LINES_MAX_PER_SECOND {
            second.unsaid += 1;
            return None;
        }
        second.said += 1;
        Some(std::mem::take(&mut second.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_ten_lines_and_a_number() {
        let lines = Lines::default();
        let now = Instant::now();
        assert_eq!((0..1000).filter(|_| lines.at(now).is_some()).count(), 10);
        assert_eq!(lines.at(now + Duration::from_secs(1)), Some(990));
        assert_eq!(lines.at(now + Duration::from_secs(1)), Some(0));
    }
}
