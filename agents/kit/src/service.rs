//! A service that takes part, for as long as its process lives.

use std::sync::Arc;
use std::time::Duration;

use farewell_runtime::shutdown::Shutdown;
use futures_util::future::BoxFuture;

use crate::participant::Participant;
use crate::session;
use crate::store::Store;

/// How long commands that are being carried out may take to end.
const DRAIN_LIMIT: Duration = Duration::from_secs(20);

/// Takes part in deletions until `shutdown`, then lets commands end that are being carried out, and closes the database.
pub fn run(
    store: Store,
    participant: Arc<dyn Participant>,
    session: session::Config,
    shutdown: Shutdown,
) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        let shutdown = shutdown.child();
        let _session = session::start(session, participant, shutdown.clone());
        shutdown.wait().await;
        if !shutdown.drain(DRAIN_LIMIT).await {
            tracing::warn!("ending with commands under way; they will be delivered again");
        }
        store.pool().close().await;
    })
}
