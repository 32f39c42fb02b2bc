//! `story-participants FOLDER ADDRESS[,ADDRESS…] NAME…`: participants with real sessions and databases, for stories that
//! kill them. Ends when standard input is closed.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use farewell_kit::session::{self, Config};
use farewell_runtime::server::Security;
use farewell_runtime::shutdown::Shutdown;
use farewell_runtime::telemetry;
use farewell_tests::holder::Holder;
use tokio::io::AsyncReadExt as _;

/// Commands that each of them works on at a time.
const WINDOW_COMMANDS: u32 = 64;

#[tokio::main]
async fn main() -> Result<()> {
    let mut words = std::env::args().skip(1);
    let folder = PathBuf::from(words.next().context("a folder")?);
    let coordinators = words.next().context("addresses of coordinators")?;
    let coordinators: Vec<_> = coordinators.split(',').map(str::to_owned).collect();
    let _telemetry = telemetry::init("story-participants", "story", &telemetry::Config::default())?;
    let shutdown = Shutdown::new();
    for name in words {
        let holder = Holder::open(&folder, &name).await?;
        let config = Config {
            participant: name,
            coordinators: coordinators.clone(),
            security: Security::PlainLoopback,
            window_commands: WINDOW_COMMANDS,
        };
        session::start(config, Arc::new(holder), shutdown.clone());
    }
    let mut input = tokio::io::stdin();
    let mut ignored = [0; 64];
    while matches!(input.read(&mut ignored).await, Ok(1..)) {}
    Ok(())
}
