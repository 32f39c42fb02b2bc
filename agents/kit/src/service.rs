//! A service that takes part, for as long as its process lives.

use std::sync::Arc;
use std::time::Duration;

use farewell_runtime::shutdown::Shutdown;
use futures_util::future::BoxFuture;

use crate::participant::Participant;
use crate::session::{self, Session};
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
    run_with(store, participant, session, shutdown, |_, _| {})
}

/// As [`run`], for a service that asks coordinators on its own account, too: `begin` gets the session, and a shutdown that it
/// spawns its work on.
pub fn run_with(
    store: Store,
    participant: Arc<dyn Participant>,
    session: session::Config,
    shutdown: Shutdown,
    begin: impl FnOnce(Session, Shutdown) + Send + 'static,
) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        let shutdown = shutdown.child();
        let session = session::start(session, participant, shutdown.clone());
        begin(session, shutdown.clone());
        shutdown.wait().await;
        if !shutdown.drain(DRAIN_LIMIT).await {
            tracing::warn!("ending with commands under way; they will be delivered again");
        }
        store.pool().close().await;
    })
}
