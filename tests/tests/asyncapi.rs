//! Holds `proto/asyncapi.yaml` to the code: what it says of topics, messages and directions is what is built and spoken.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use farewell_kit::devices::mqtt::topic::{self, Channel};
use farewell_kit::devices::mqtt::{AGENT, PAYLOAD_BYTES_MAX};
use serde_json::Value;

const CHANNELS: [(&str, Channel, &str, &str); 3] = [
    ("cmd", Channel::Cmd, "send", "OrderEnvelope"),
    ("ack", Channel::Ack, "receive", "ReportEnvelope"),
    ("sync", Channel::Sync, "receive", "SyncEnvelope"),
];

#[test]
fn every_topic_of_the_code_is_described_and_no_other() -> Result<()> {
    let Some(document) = document()? else {
        return Ok(());
    };
    ensure!(document["asyncapi"] == "3.0.0");
    let described: BTreeSet<_> = keys(&document["channels"]).collect();
    ensure!(
        described == CHANNELS.map(|(name, ..)| name).into(),
        "{described:?}"
    );
    for (name, channel, ..) in CHANNELS {
        let described = &document["channels"][name];
        let address = topic::of("{line}", "{device}", channel);
        ensure!(described["address"] == address.as_str(), "{described}");
        let parameters: Vec<_> = keys(&described["parameters"]).collect();
        ensure!(parameters == ["device", "line"], "{parameters:?}");
    }
    Ok(())
}

#[test]
fn every_message_exists_and_travels_as_described() -> Result<()> {
    let Some(document) = document()? else {
        return Ok(());
    };
    let operations = document["operations"].as_object().context("operations")?;
    ensure!(operations.len() == CHANNELS.len());
    for (name, _, action, message) in CHANNELS {
        let channel = format!("#/channels/{name}");
        let operation = operations
            .values()
            .find(|operation| operation["channel"]["$ref"] == channel.as_str())
            .with_context(|| format!("nobody uses {name}"))?;
        ensure!(operation["action"] == action, "{name}: {operation}");
        let mqtt = &operation["bindings"]["mqtt"];
        ensure!(
            mqtt["qos"] == 1 && mqtt["retain"] == false,
            "{name}: {mqtt}"
        );

        let said = operation["messages"].as_array().context("messages")?;
        ensure!(said.len() == 1, "{name}: one message");
        let said = resolve(&document, &said[0])?;
        let schema = said["payload"]["schema"]["$ref"].as_str();
        let (file, full) = schema
            .and_then(|schema| schema.split_once('#'))
            .context("a schema is file#message")?;
        ensure!(
            full == format!("farewell.device.v1.{message}"),
            "{name}: {full}"
        );
        let proto = std::fs::read_to_string(folder().join(file))?;
        ensure!(
            proto.contains(&format!("\nmessage {message} {{")),
            "{file} has no {message}"
        );
    }
    Ok(())
}

#[test]
fn every_reference_leads_somewhere() -> Result<()> {
    let Some(document) = document()? else {
        return Ok(());
    };
    let mut references = Vec::new();
    collect(&document, &mut references);
    ensure!(references.len() > 10, "{references:?}");
    for reference in references {
        match reference.split_once('#') {
            Some(("", _)) => {
                let found = follow(&document, &reference)?;
                ensure!(found.is_object(), "{reference}");
            }
            Some((file, _)) => ensure!(folder().join(file).exists(), "{reference}"),
            None => anyhow::bail!("{reference} names nothing in a file"),
        }
    }
    Ok(())
}

#[test]
fn nobody_is_allowed_more_than_the_code_needs() -> Result<()> {
    let Some(document) = document()? else {
        return Ok(());
    };
    let own = |channel| topic::of("{line}", "{self}", channel);
    let all = |channel| topic::all("{line}", channel);
    let expected = serde_json::json!({
        "device": {
            "subscribe": [own(Channel::Cmd)],
            "publish": [own(Channel::Ack), own(Channel::Sync)],
        },
        "agent": {
            "subscribe": [all(Channel::Ack), all(Channel::Sync)],
            "publish": [all(Channel::Cmd)],
        },
    });
    ensure!(document["x-acl"] == expected, "{}", document["x-acl"]);
    let rules = document["info"]["description"].as_str().context("rules")?;
    ensure!(rules.contains(AGENT), "the agent's client id");
    let limit = format!(
        "{},{:03} bytes",
        PAYLOAD_BYTES_MAX / 1000,
        PAYLOAD_BYTES_MAX % 1000
    );
    ensure!(rules.contains(&limit), "a payload is at most {limit}");
    Ok(())
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto")
}

/// The document as JSON. `None` if there is no Python with a YAML reader and this may be skipped.
fn document() -> Result<Option<Value>> {
    let Some(python) = std::env::var_os("FAREWELL_TEST_PYTHON").filter(|path| !path.is_empty())
    else {
        ensure!(
            std::env::var_os("FAREWELL_TEST_REQUIRED").is_none(),
            "FAREWELL_TEST_PYTHON is not set, and nothing may be skipped"
        );
        println!("skipped: FAREWELL_TEST_PYTHON is not set");
        return Ok(None);
    };
    let converter = Path::new(env!("CARGO_MANIFEST_DIR")).join("lib/yaml-to-json.py");
    let output = Command::new(python)
        .arg(converter)
        .arg(folder().join("asyncapi.yaml"))
        .output()?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(Some(serde_json::from_slice(&output.stdout)?))
}

fn keys(object: &Value) -> impl Iterator<Item = &str> {
    object
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, _)| key.as_str())
}

/// What a reference stands for, over as many steps as it takes.
fn resolve<'a>(document: &'a Value, value: &'a Value) -> Result<&'a Value> {
    match value["$ref"].as_str() {
        Some(reference) => resolve(document, follow(document, reference)?),
        None => Ok(value),
    }
}

fn follow<'a>(document: &'a Value, reference: &str) -> Result<&'a Value> {
    reference
        .strip_prefix('#')
        .and_then(|pointer| document.pointer(pointer))
        .with_context(|| format!("{reference} leads nowhere"))
}

fn collect(value: &Value, references: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                match value {
                    Value::String(reference) if key == "$ref" => references.push(reference.clone()),
                    value => collect(value, references),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, references)),
        _ => {}
    }
}
