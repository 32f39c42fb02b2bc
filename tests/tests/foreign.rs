//! Devices that somebody else built, in another language, take part by the .proto files alone.

use anyhow::{Context as _, Result, ensure};
use farewell_proto::binding::v1::Binding;
use farewell_proto::deletion::v1::State;
use farewell_runtime::cose::SigningKey;
use farewell_tests::household::Household;
use farewell_tests::process::{Process, needed};
use farewell_tests::{foreign, wait};

const ACCOUNT: &str = "alice";
/// A phone without a clock.
const TIMELESS: &str = "py-phone-timeless";
const SEED: [u8; 32] = [5; 32];

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
        let (epoch, _) =
            foreign::bind(&household.agents, "phones", foreign::binding(id, ACCOUNT)).await?;
        let mut phone = foreign::device(&python, &household.agents, "phone", id, epoch);
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
        let mut own = foreign::binding(id, ACCOUNT);
        if signs {
            own.answer_key = SigningKey::from_seed(&SEED)?.public().to_vec().into();
        }
        let (epoch, secret) = foreign::bind(&household.agents, "smarthome", own).await?;
        let lamp = format!("{id}-lamp");
        let behind = Binding {
            via: format!("devices/{id}"),
            ..foreign::binding(&lamp, ACCOUNT)
        };
        let (lamp_epoch, _) = foreign::bind(&household.agents, "smarthome", behind).await?;
        let mut hub = foreign::device(&python, &household.agents, "hub", id, epoch);
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
        let deeds = foreign::deeds(&told(id))?.into_iter();
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
