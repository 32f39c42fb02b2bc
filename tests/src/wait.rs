//! Waiting for what must come, within a bound that is generous on a busy machine.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long anything that must come may take. Nothing waits for so long when all is well.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// How long is listened for something that must not come.
pub const SILENCE: Duration = Duration::from_millis(700);
const LOOK_AGAIN: Duration = Duration::from_millis(25);

/// Looks until there is something.
///
/// Errors: what it was waited for, if it did not come in time; what looking said.
pub async fn until<T>(what: &str, look: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    until_within(PATIENCE, what, look).await
}

/// Like [`until`], with another bound.
pub async fn until_within<T>(
    patience: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let end = Instant::now() + patience;
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        if Instant::now() >= end {
            bail!("{what}: not within {patience:?}");
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
