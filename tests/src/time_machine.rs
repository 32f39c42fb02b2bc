//! A clock of their own for processes of the product, that a story sets: they live through years in seconds.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Result;
use jiff::{SignedDuration, Zoned};

use crate::process::needed;

/// What the clock is set by: libfaketime, loaded into the process. Clocks that only measure how long something took are left
/// alone.
#[derive(Debug)]
pub struct TimeMachine {
    library: String,
    dial: PathBuf,
}

impl TimeMachine {
    /// At the present time. `None` if the story is to be skipped.
    pub fn new(folder: &Path) -> Result<Option<Self>> {
        let Some(library) = needed("FAREWELL_TEST_FAKETIME") else {
            return Ok(None);
        };
        let dial = folder.join("dial");
        fs::write(&dial, "+0")?;
        Ok(Some(Self { library, dial }))
    }

    /// Waits until no day ends soon in this time zone: whoever counts days from now counts them from the same day as the
    /// processes then.
    pub async fn away_from_midnight(zone: &str) -> Result<()> {
        const SOON: SignedDuration = SignedDuration::from_mins(2);
        loop {
            let now = Zoned::now().in_tz(zone)?;
            let left = now.tomorrow()?.start_of_day()?.duration_since(&now);
            if left > SOON {
                return Ok(());
            }
            tokio::time::sleep(left.unsigned_abs()).await;
        }
    }

    /// What a process needs to know to travel along.
    pub fn env(&self) -> Vec<(String, String)> {
        [
            ("LD_PRELOAD", self.library.clone()),
            ("FAKETIME_TIMESTAMP_FILE", self.dial.display().to_string()),
            // Everybody notices at once: a participant whose clock is behind would rightly put things off.
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }

    /// Sets every process's clock to that time, from where it goes on.
    pub fn travel(&self, to: SystemTime) -> Result<()> {
        let ahead = to
            .duration_since(SystemTime::now())
            .unwrap_or(Duration::ZERO);
        // In one piece: a process may read while we write.
        let next = self.dial.with_extension("next");
        fs::write(&next, format!("+{}", ahead.as_secs()))?;
        Ok(fs::rename(next, &self.dial)?)
    }
}
