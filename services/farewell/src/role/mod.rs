//! A role as a process of its own: settings, telemetry, signals, run, drain. `start` of each role is also what the demo
//! calls, so that both run the same thing.

pub mod agent;
pub mod coordinator;
pub mod fleet;
pub mod service;

use std::future::Future;
use std::time::Duration;

use anyhow::Context as _;
use farewell_runtime::shutdown::Shutdown;
use farewell_runtime::telemetry;
use tokio::io::AsyncReadExt as _;

use crate::settings::Source;

/// Runs a role until a signal, then waits `drain` for what is under way.
///
/// Errors: telemetry or the role can't start, or the role ends badly.
async fn process<F>(
    name: &'static str,
    instance: &str,
    source: &Source,
    telemetry: &telemetry::Config,
    drain: Duration,
    role: impl FnOnce(Shutdown) -> F,
) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>>,
{
    let _telemetry = telemetry::init(name, instance, telemetry)?;
    let shutdown = Shutdown::new();
    shutdown.on_signals().context("signals")?;
    if source.with_parent {
        end_with_parent(shutdown.clone());
    }
    let ended = role(shutdown.clone()).await;
    if !shutdown.drain(drain).await {
        tracing::warn!("ending with work under way; it is taken up again at the next start");
    }
    ended
}

/// Reads standard input to its end, which comes when the parent has gone, however it went.
fn end_with_parent(shutdown: Shutdown) {
    tokio::spawn(async move {
        let mut input = tokio::io::stdin();
        let mut ignored = [0; 64];
        while matches!(input.read(&mut ignored).await, Ok(1..)) {}
        tracing::info!("whoever started this process has gone; ending");
        shutdown.trigger();
    });
}
