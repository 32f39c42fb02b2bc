//! `farewell service identity|cloud|store|community|support`.

use farewell_runtime::shutdown::Shutdown;

use super::process;
use crate::settings::{Name, Service, Source};

/// Runs a service until a signal.
///
/// Errors: settings, the database.
pub async fn run(service: Name, source: &Source) -> anyhow::Result<()> {
    let settings = Service::load(source, service)?;
    if source.check {
        return Ok(());
    }
    let name = match service {
        Name::Identity => "farewell-identity",
        Name::Cloud => "farewell-cloud",
        Name::Store => "farewell-store",
        Name::Community => "farewell-community",
        Name::Support => "farewell-support",
    };
    process(
        name,
        service.name(),
        source,
        &settings.telemetry,
        settings.drain.get(),
        |shutdown| serve(service, &settings, shutdown),
    )
    .await
}

/// Runs a service in this process until `shutdown`.
///
/// Errors: a certificate, the database.
pub async fn serve(service: Name, settings: &Service, shutdown: Shutdown) -> anyhow::Result<()> {
    match service {
        Name::Identity => farewell_identity::run(settings.identity()?, shutdown).await,
        Name::Cloud => farewell_cloud::run(settings.cloud()?, shutdown).await,
        Name::Store => farewell_store::run(settings.store()?, shutdown).await,
        Name::Community => farewell_community::run(settings.community()?, shutdown).await,
        Name::Support => farewell_support::run(settings.support()?, shutdown).await,
    }
}
