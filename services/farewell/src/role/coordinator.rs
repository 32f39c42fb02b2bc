//! `farewell coordinator`.

use farewell_coordinator::Running;
use farewell_runtime::shutdown::Shutdown;

use super::process;
use crate::settings::{Coordinator, Source};

/// Runs a coordinator until a signal.
///
/// Errors: settings, the ledger, a port.
pub async fn run(source: &Source) -> anyhow::Result<()> {
    let settings = Coordinator::load(source)?;
    if source.check {
        return Ok(());
    }
    process(
        "farewell-coordinator",
        &settings.instance,
        source,
        &settings.telemetry,
        settings.drain.get(),
        |shutdown| async {
            let running = start(&settings, shutdown).await?;
            tracing::info!(
                callers = %running.callers,
                participants = %running.participants,
                operators = %running.operators,
                "coordinator is up"
            );
            running.ended().await
        },
    )
    .await
}

/// Starts a coordinator in this process.
///
/// Errors: a certificate, the ledger, a port.
pub async fn start(settings: &Coordinator, shutdown: Shutdown) -> anyhow::Result<Running> {
    farewell_coordinator::start(settings.config()?, shutdown).await
}
