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
use farewell_runtime::{files, telemetry};

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
    files::as_many_as_allowed();
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

/// Reads standard input to its end, which comes when the parent has gone, however it went. On a thread of its own: the
/// runtime would wait at its end for a read that it can't cancel.
fn end_with_parent(shutdown: Shutdown) {
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        tracing::info!("whoever started this process has gone; ending");
        shutdown.trigger();
    });
}
