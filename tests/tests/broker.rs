//! Hubs behind a broker that is somebody else's, with TLS and an authority of its own.

use anyhow::{Context as _, Result, ensure};
use farewell_proto::deletion::v1::State;
use farewell_tests::agents::Size;
use farewell_tests::household::Household;

const ACCOUNT: &str = "alice";
const BYSTANDER: &str = "bob";
const HOMES: Size<'_> = Size {
    phones: "0",
    watches: "0",
    hubs: "3",
    children_per_hub: "2",
    offline: "0.4",
    offline_for: "3s",
    flaky: "0.4",
    latency: "20ms",
};
/// Three hubs with two lamps each.
const DEVICES: usize = 3 * (1 + 2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hubs_let_go_of_a_deleted_account_through_a_broker_with_tls() -> Result<()> {
    let Some((household, broker)) = Household::start_on_mosquitto().await? else {
        return Ok(());
    };
    let accounts = [ACCOUNT.to_owned(), BYSTANDER.to_owned()];
    let fleet = household.agents.fleet(&[&accounts], &HOMES, 5).await?;
    let name = household.caller.delete(ACCOUNT).await?;
    let purged = household.caller.until(&name, State::Purged).await;
    let purged = purged.with_context(|| {
        let fleet = household.agents.words("fleet");
        format!("{}\n{fleet}\n{}", household.words(), broker.words())
    })?;
    let legs = purged.legs.iter().filter(|leg| leg.verb == "ERASE");
    let devices: Vec<_> = legs.flat_map(|leg| &leg.devices).collect();
    assert_eq!(devices.len(), DEVICES);
    for device in devices {
        let done = ["CONFIRMED", "EXECUTED"].contains(&device.outcome.as_str());
        ensure!(done, "{device:?}");
    }
    for device in household.agents.holdings(fleet).await? {
        let (hub, bound) = (device.kind == "hub", device.bound_epoch > 0);
        if device.account == ACCOUNT {
            ensure!(!bound && !device.user_data, "{device:?}");
            // Each of its lamps, and itself.
            assert_eq!(device.executions, if hub { 3 } else { 0 }, "{device:?}");
        } else {
            ensure!(bound && device.user_data == hub, "{device:?}");
            assert_eq!(device.executions, 0, "{device:?}");
        }
    }
    Ok(())
}
