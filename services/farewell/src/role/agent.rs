//! `farewell agent phones|wearables|smarthome`.

use farewell_kit::devices::Handle;
use farewell_runtime::memory;
use farewell_runtime::shutdown::Shutdown;

use super::process;
use crate::settings::{Agent, Line, Source};

/// Runs the agent of a product line until a signal.
///
/// Errors: settings, the database, a port, the broker.
pub async fn run(line: Line, source: &Source) -> anyhow::Result<()> {
    let settings = Agent::load(source, line)?;
    if source.check {
        return Ok(());
    }
    let name = match line {
        Line::Phones => "farewell-phones",
        Line::Wearables => "farewell-wearables",
        Line::Smarthome => "farewell-smarthome",
    };
    // Every attached device is a connection.
    memory::small_pages();
    process(
        name,
        line.name(),
        source,
        &settings.telemetry,
        settings.drain.get(),
        |shutdown| async {
            let handle = start(line, &settings, shutdown).await?;
            handle.join().await
        },
    )
    .await
}

/// Starts the agent of a line in this process.
///
/// Errors: a certificate, the database, a port, the broker.
pub async fn start(line: Line, settings: &Agent, shutdown: Shutdown) -> anyhow::Result<Handle> {
    match line {
        Line::Phones => farewell_phones::start(settings.phones()?, shutdown).await,
        Line::Wearables => farewell_wearables::start(settings.wearables()?, shutdown).await,
        Line::Smarthome => farewell_smarthome::start(settings.smarthome()?, shutdown).await,
    }
}
