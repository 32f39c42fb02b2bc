//! Devices that somebody else built, in another language, take part by the .proto files alone.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, anyhow, ensure};
use farewell_proto::binding::v1::Binding;
use farewell_proto::deletion::v1::State;
use farewell_runtime::cose::SigningKey;
use farewell_tests::household::Household;
use farewell_tests::process::{Process, needed};
use farewell_tests::wait;
use serde_json::Value;

const ACCOUNT: &str = "alice";
/// A phone without a clock.
const TIMELESS: &str = "py-phone-timeless";
const SEED: [u8; 32] = [5; 32];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn device(python: &str, household: &Household, kind: &str, id: &str, epoch: u64) -> Command {
    let mut command = Command::new(python);
    command
        .arg(root().join("tests/foreign/device.py"))
        .args([kind, "--device", id, "--epoch", &epoch.to_string()])
        .arg("--proto")
        .arg(root().join("proto"))
        .arg("--order-keys")
        .arg(household.agents.order_keys());
    command
}

/// What a device did, by its own account.
fn deeds(told: &Path) -> Result<Vec<Value>> {
    let text = std::fs::read_to_string(told).unwrap_or_default();
    let lines = text.lines().map(|line| Ok(serde_json::from_str(line)?));
    let lines: Vec<Value> = lines.collect::<Result<_>>()?;
    Ok(lines
        .into_iter()
        .filter(|line| line.get("did").is_some())
        .collect())
}

async fn bind(household: &Household, line: &str, binding: Binding) -> Result<(u64, String)> {
    let bound = wait::until("the agent to bind", async || {
        match household.bind(line, binding.clone()).await {
            Ok(bound) => Ok(Some(bound)),
            Err(status) if status.code() == tonic::Code::Unavailable => Ok(None),
            Err(status) => Err(anyhow!("{status:?}")),
        }
    })
    .await?;
    let epoch = bound.binding.context("a binding")?.epoch;
    Ok((epoch, bound.device_secret))
}

fn binding(id: &str) -> Binding {
    Binding {
        device: format!("devices/{id}"),
        account: format!("accounts/{ACCOUNT}"),
        model: "Foreign 1".to_owned(),
        serial_number: format!("SN-{id}"),
        ..Binding::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn phones_and_hubs_written_in_python_let_go_of_a_deleted_account() -> Result<()> {
    let Some(python) = needed("FAREWELL_TEST_PYTHON") else {
        return Ok(());
    };
    let Some(household) = Household::start("").await? else {
        return Ok(());
    };
    let told = |id: &str| household.folder.path().join(format!("{id}.json"));
    let log = household.folder.path().join("python.log");
    let mut devices = Vec::new();

    // One knows what time it is. The other is told nothing of it by its attachment, when nothing is owed yet.
    for (id, clockless) in [("py-phone", false), (TIMELESS, true)] {
        let (epoch, _) = bind(&household, "phones", binding(id)).await?;
        let mut phone = device(&python, &household, "phone", id, epoch);
        let agent = household.agents.devices("phones").context("phones")?;
        phone.args(["--agent", agent]);
        phone.args(clockless.then_some("--clockless"));
        devices.push(Process::start_apart(&mut phone, &told(id), &log)?);
    }
    wait::until("the phones to attach", async || {
        let phones = household.list("phones", ACCOUNT).await?;
        let attached = phones.iter().all(|phone| phone.seen_time.is_some());
        Ok(attached.then_some(()))
    })
    .await?;

    // One speaks MQTT 5 and signs what it says, the other 3.1.1 and is believed by its log-in.
    for (id, version, signs) in [("py-hub-5", "5", true), ("py-hub-3", "3.1.1", false)] {
        let mut own = binding(id);
        if signs {
            own.answer_key = SigningKey::from_seed(&SEED)?.public().to_vec().into();
        }
        let (epoch, secret) = bind(&household, "smarthome", own).await?;
        let lamp = format!("{id}-lamp");
        let behind = Binding {
            via: format!("devices/{id}"),
            ..binding(&lamp)
        };
        let (lamp_epoch, _) = bind(&household, "smarthome", behind).await?;
        let mut hub = device(&python, &household, "hub", id, epoch);
        hub.args(["--broker", household.agents.broker()])
            .args(["--secret", &secret, "--mqtt", version])
            .args(["--child", &format!("{lamp}={lamp_epoch}")]);
        if signs {
            let seed: String = SEED.iter().map(|byte| format!("{byte:02x}")).collect();
            hub.args(["--seed", &seed]);
        }
        devices.push(Process::start_apart(&mut hub, &told(id), &log)?);
    }

    let name = household.caller.delete(ACCOUNT).await?;
    let purged = household.caller.until(&name, State::Purged).await;
    let purged = purged.with_context(|| {
        let python = std::fs::read_to_string(&log).unwrap_or_default();
        format!("{}\n{python}", household.words())
    })?;

    let did = |id: &str| -> Result<Vec<String>> {
        let deeds = deeds(&told(id))?.into_iter();
        Ok(deeds
            .filter_map(|deed| deed["did"].as_str().map(str::to_owned))
            .collect())
    };
    for phone in ["py-phone", TIMELESS] {
        assert_eq!(did(phone)?, ["DEVICE_VERB_RESET"], "{phone}");
    }
    let asked = |id: &str| -> Result<bool> {
        let text = std::fs::read_to_string(told(id))?;
        Ok(text.lines().any(|line| line.contains("\"asks\"")))
    };
    assert_eq!((asked("py-phone")?, asked(TIMELESS)?), (false, true));
    for hub in ["py-hub-5", "py-hub-3"] {
        let expected = ["DEVICE_VERB_REMOVE_CHILD", "DEVICE_VERB_RESET"];
        assert_eq!(did(hub)?, expected, "the lamp before its hub, each once");
    }
    let listed: Vec<_> = purged
        .legs
        .iter()
        .filter(|leg| leg.verb == "ERASE")
        .flat_map(|leg| &leg.devices)
        .collect();
    assert_eq!(listed.len(), 2 + 2 * 2);
    for device in listed {
        let done = ["CONFIRMED", "EXECUTED"].contains(&device.outcome.as_str());
        ensure!(done, "{device:?}");
    }
    Ok(())
}
