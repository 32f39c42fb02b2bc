//! An account with a thousand devices: some away for too long, some flapping, some sold on, and each ends as it should. Those
//! that were away return after the purge, and stand beside a certificate that never changes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use farewell_proto::binding::v1::{Binding, TransferBindingRequest};
use farewell_proto::deletion::v1::{GetCertificateRequest, GetCertificateResponse, State};
use farewell_tests::agents::{LINES, Size};
use farewell_tests::caller::fresh;
use farewell_tests::household::Household;
use farewell_tests::wait;
use serde::Deserialize;

const ACCOUNT: &str = "collector";
const BUYER: &str = "buyer";
const FLEET: Size<'_> = Size {
    phones: "300",
    watches: "300",
    hubs: "20",
    children_per_hub: "19",
    offline: "0.3",
    // Longer than devices are waited for.
    offline_for: "45s",
    flaky: "0.05",
    latency: "20ms",
};
const TERMS: &str = "horizon = \"8s\"";
const DEVICES: usize = 300 + 300 + 20 + 20 * 19;
/// Two in a hundred.
const SOLD: usize = 20;
/// Binding a thousand devices and hearing of each takes a while on a small machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// An addendum, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Addendum {
    deletion: String,
    device: String,
    before: String,
    outcome: String,
}

async fn certified(household: &Household, name: &str) -> Result<GetCertificateResponse> {
    let request = GetCertificateRequest {
        name: name.to_owned(),
    };
    let mut api = household.caller.api.clone();
    Ok(api.get_certificate(request).await?.into_inner())
}

fn read(addenda: &[String]) -> Result<Vec<Addendum>> {
    let lines = addenda.iter();
    lines.map(|line| Ok(serde_json::from_str(line)?)).collect()
}

/// Devices whose legs said `before` and of which an addendum says more.
fn amended<'a>(addenda: &'a [Addendum], before: &str) -> BTreeSet<&'a str> {
    let of = addenda.iter().filter(|line| line.before == before);
    of.map(|line| line.device.as_str()).collect()
}

async fn everything(household: &Household, account: &str) -> Result<Vec<(&'static str, Binding)>> {
    let mut all = Vec::new();
    for line in LINES {
        let listed = household.list(line, account).await?;
        all.extend(listed.into_iter().map(|binding| (line, binding)));
    }
    Ok(all)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_devices_end_as_they_should_and_all_are_listed() -> Result<()> {
    let Some(household) = Household::start(TERMS).await? else {
        return Ok(());
    };
    let account = [ACCOUNT.to_owned()];
    let fleet = household.agents.fleet(&[&account], &FLEET, 11).await?;
    let bound = everything(&household, ACCOUNT).await?;
    ensure!(bound.len() == DEVICES, "{} devices are bound", bound.len());

    let mut sold = BTreeMap::new();
    for (_, phone) in bound
        .iter()
        .filter(|(line, _)| *line == "phones")
        .take(SOLD)
    {
        let request = TransferBindingRequest {
            request_id: fresh(),
            device: phone.device.clone(),
            epoch: phone.epoch,
            account: format!("accounts/{BUYER}"),
        };
        let moved = household
            .bindings("phones")?
            .transfer_binding(request)
            .await?;
        let moved = moved.into_inner().binding.context("a binding")?;
        ensure!(moved.epoch > phone.epoch);
        sold.insert(phone.device.clone(), moved.epoch);
    }

    let name = household.caller.delete(ACCOUNT).await?;
    let purged = wait::until_within(PATIENCE, "the account to be purged", async || {
        let deletion = household.caller.get(&name).await?;
        Ok((deletion.state() == State::Purged).then_some(deletion))
    })
    .await
    .with_context(|| household.words())?;
    let certificate = certified(&household, &name).await?;

    let mut outcomes = BTreeMap::<&str, usize>::new();
    let mut ends = HashMap::new();
    let legs = purged.legs.iter().filter(|leg| leg.verb == "ERASE");
    for device in legs.flat_map(|leg| &leg.devices) {
        *outcomes.entry(device.outcome.as_str()).or_default() += 1;
        ends.insert(device.device.clone(), device.outcome.clone());
    }
    eprintln!("{outcomes:?}");
    assert_eq!(
        ends.len(),
        DEVICES - SOLD,
        "each is listed, and none that was sold"
    );
    for (_, device) in &bound {
        let listed = ends.contains_key(&device.device);
        assert_ne!(
            listed,
            sold.contains_key(&device.device),
            "{}",
            device.device
        );
    }
    let away = outcomes.get("DETACHED").copied().unwrap_or_default();
    ensure!(away > DEVICES / 10, "many were away too long: {outcomes:?}");
    ensure!(
        outcomes
            .keys()
            .all(|end| ["CONFIRMED", "EXECUTED", "DETACHED"].contains(end))
    );

    // Months later, as it were: those that were away come back and hear of it.
    wait::until_within(PATIENCE, "every tombstone to fire", async || {
        let orders = household.agents.words("fleet");
        Ok(orders
            .contains(&format!("{} wiped", DEVICES - SOLD))
            .then_some(()))
    })
    .await
    .with_context(|| household.agents.words("fleet"))?;
    let ended = |end: &str| -> BTreeSet<&str> {
        let of = ends.iter().filter(|(_, outcome)| *outcome == end);
        of.map(|(device, _)| device.as_str()).collect()
    };
    let (detached, executed) = (ended("DETACHED"), ended("EXECUTED"));
    let later = wait::until_within(PATIENCE, "an addendum for each", async || {
        let later = certified(&household, &name).await?;
        let addenda = read(&later.addenda)?;
        Ok((amended(&addenda, "DETACHED").len() >= detached.len()).then_some(later))
    })
    .await
    .with_context(|| household.words())?;
    assert_eq!(later.document, certificate.document, "the same bytes");
    let addenda = read(&later.addenda)?;
    assert_eq!(amended(&addenda, "DETACHED"), detached);
    assert!(amended(&addenda, "EXECUTED").is_subset(&executed));
    let mut said = BTreeSet::new();
    for line in &addenda {
        assert_eq!(line.deletion, name);
        assert!(
            ["EXECUTED", "CONFIRMED"].contains(&line.outcome.as_str()),
            "{line:?}"
        );
        assert!(said.insert((&line.device, &line.outcome)), "once: {line:?}");
    }
    eprintln!(
        "{} addenda for {} that were away",
        addenda.len(),
        detached.len()
    );

    let buyers = household.list("phones", BUYER).await?;
    assert_eq!(buyers.len(), SOLD);
    for binding in &buyers {
        assert_eq!(
            sold.get(&binding.device),
            Some(&binding.epoch),
            "still the buyer's"
        );
    }
    for device in household.agents.holdings(fleet).await? {
        let name = format!("devices/{}", device.device);
        if sold.contains_key(&name) {
            assert!(
                device.user_data && device.executions == 0,
                "the buyer's: {device:?}"
            );
        } else {
            assert!(device.bound_epoch == 0 && !device.user_data, "{device:?}");
        }
    }
    Ok(())
}
