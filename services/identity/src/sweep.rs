//! Forgets, once an hour, what limits count no longer, and what was kept for accounts that nobody knows.

use std::time::{Duration, SystemTime};

use farewell_kit::store::Store;
use farewell_runtime::shutdown::Shutdown;

use crate::{attempt, code, contact, destination, identifier, notice, proof, release, subject};

const PERIOD: Duration = Duration::from_secs(60 * 60);

/// Sweeps until `shutdown`. Trouble passes: the next round finds the same.
pub(crate) async fn run(store: Store, shutdown: Shutdown) {
    loop {
        // An earlier version of the program, which still runs beside this one, writes none.
        let swept = match identifier::fill(&store).await {
            Ok(_) => sweep(&store, SystemTime::now()).await,
            Err(error) => Err(error),
        };
        if let Err(error) = swept {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "nothing was swept"
            );
        }
        tokio::select! {
            () = shutdown.wait() => return,
            () = tokio::time::sleep(PERIOD) => {}
        }
    }
}

/// Rows removed.
pub(crate) async fn sweep(store: &Store, now: SystemTime) -> Result<u64, sqlx::Error> {
    let mut connection = store.pool().acquire().await?;
    let holds = subject::sweep(&mut connection, now).await?;
    let attempts = attempt::sweep(&mut connection, now).await?;
    let destinations = destination::sweep(&mut connection, now).await?;
    let proofs = proof::sweep(&mut connection).await?;
    let codes = code::sweep(&mut connection, now).await?;
    let contacts = contact::sweep(&mut connection, now).await?;
    let letters = notice::sweep(&mut connection, now).await?;
    let releases = release::sweep(&mut connection, now).await?;
    Ok(releases + holds + contacts + letters + attempts + destinations + proofs + codes)
}
