//! Devices that somebody else built, in another language, by the .proto files alone.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, anyhow};
use farewell_proto::binding::v1::Binding;
use serde_json::Value;
use tonic::Code;

use crate::agents::AgentsSite;
use crate::wait;

/// A `phone` or a `hub`, to be started.
pub fn device(python: &str, agents: &AgentsSite, kind: &str, id: &str, epoch: u64) -> Command {
    believing(python, &agents.order_keys(), kind, id, epoch)
}

/// The same, of a device that has these keys pinned.
pub fn believing(python: &str, order_keys: &Path, kind: &str, id: &str, epoch: u64) -> Command {
    let mut command = Command::new(python);
    command
        .arg(root().join("tests/foreign/device.py"))
        .args([kind, "--device", id, "--epoch", &epoch.to_string()])
        .arg("--proto")
        .arg(root().join("proto"))
        .arg("--order-keys")
        .arg(order_keys);
    command
}

/// What a device did, by its own account.
pub fn deeds(told: &Path) -> Result<Vec<Value>> {
    let text = std::fs::read_to_string(told).unwrap_or_default();
    let lines = text.lines().map(|line| Ok(serde_json::from_str(line)?));
    let lines: Vec<Value> = lines.collect::<Result<_>>()?;
    Ok(lines
        .into_iter()
        .filter(|line| line.get("did").is_some())
        .collect())
}

/// The binding of such a device.
pub fn binding(id: &str, account: &str) -> Binding {
    Binding {
        device: format!("devices/{id}"),
        account: format!("accounts/{account}"),
        model: "Foreign 1".to_owned(),
        serial_number: format!("SN-{id}"),
        ..Binding::default()
    }
}

/// Binds it, once the agent is there. Gives its epoch and its secret.
pub async fn bind(agents: &AgentsSite, line: &str, binding: Binding) -> Result<(u64, String)> {
    let bound = wait::until("the agent to bind", async || {
        match agents.bind(line, binding.clone()).await {
            Ok(bound) => Ok(Some(bound)),
            Err(status) if status.code() == Code::Unavailable => Ok(None),
            Err(status) => Err(anyhow!("{status:?}")),
        }
    })
    .await?;
    let epoch = bound.binding.context("a binding")?.epoch;
    Ok((epoch, bound.device_secret))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
