//! A phone is reset by hand. That unbinds nothing: it hears at its first contact that it is bound, until its account lets go of it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use farewell_proto::account::v1::{DeviceUnbindingState, UnbindDeviceRequest};
use farewell_proto::binding::v1::Binding;
use farewell_proto::deletion::v1::State;
use farewell_tests::caller::fresh;
use farewell_tests::household::Household;
use farewell_tests::process::{Process, needed};
use farewell_tests::refusal::refused;
use farewell_tests::{foreign, wait};
use serde_json::Value;
use tonic::Code;

const PHONES: &str = "phones";
/// Whose phone was reset, and who would like to have it.
const ANN: &str = "ann";
const MAL: &str = "mal";
/// Reset while it is bound.
const FOUND: &str = "phone-found";
/// Reset, and let go of before it comes back.
const RELEASED: &str = "phone-released";

/// Phones from another house, each a process of its own.
struct Phones<'a> {
    household: &'a Household,
    python: String,
}

impl Phones<'_> {
    fn told(&self, phone: &str) -> PathBuf {
        self.household.folder.path().join(format!("{phone}.json"))
    }

    /// Switches a phone on that believes in this binding; 0 after it was reset by hand.
    fn switch_on(&self, phone: &str, epoch: u64) -> Result<Process> {
        let agents = &self.household.agents;
        let mut command = foreign::device(&self.python, agents, "phone", phone, epoch);
        let agent = agents.devices(PHONES).context("phones")?;
        command.args(["--agent", agent]);
        let log = self.household.folder.path().join("python.log");
        Process::start_apart(&mut command, &self.told(phone), &log)
    }

    async fn bound(&self, phone: &str) -> Result<u64> {
        let binding = locked(phone, ANN);
        Ok(foreign::bind(&self.household.agents, PHONES, binding)
            .await?
            .0)
    }

    /// Waits until the agent has seen a phone that names this binding.
    async fn seen(&self, phone: &str, named: u64) -> Result<()> {
        wait::until("the phone to be seen", async || {
            let listed = self.household.list(PHONES, ANN).await?;
            let name = format!("devices/{phone}");
            let seen = listed.iter().any(|binding| {
                binding.device == name && binding.seen_time.is_some() && binding.seen_epoch == named
            });
            Ok(seen.then_some(()))
        })
        .await
        .with_context(|| self.words())
    }

    /// Waits until a phone has heard so often that it has this binding, and is locked.
    async fn hears(&self, phone: &str, epoch: u64, times: usize) -> Result<()> {
        wait::until("the phone to hear that it is bound", async || {
            let heard = heard(&self.told(phone))?;
            ensure!(heard.iter().all(|it| *it == (epoch, true)), "{heard:?}");
            Ok((heard.len() >= times).then_some(()))
        })
        .await
        .with_context(|| self.words())
    }

    fn words(&self) -> String {
        let log = self.household.folder.path().join("python.log");
        self.household.words() + &std::fs::read_to_string(log).unwrap_or_default()
    }
}

fn locked(phone: &str, account: &str) -> Binding {
    Binding {
        activation_lock: true,
        ..foreign::binding(phone, account)
    }
}

/// What a phone heard of being bound: the binding, and whether it is locked.
fn heard(told: &Path) -> Result<Vec<(u64, bool)>> {
    let text = std::fs::read_to_string(told).unwrap_or_default();
    let lines = text.lines().map(|line| Ok(serde_json::from_str(line)?));
    let lines: Vec<Value> = lines.collect::<Result<_>>()?;
    let heard = lines.iter().filter_map(|line| {
        let (bound, locked) = (line["bound"].as_u64()?, line["locked"].as_bool()?);
        Some((bound, locked))
    });
    Ok(heard.collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_phone_that_was_reset_by_hand_is_bound_still_until_its_account_lets_go() -> Result<()> {
    let Some(python) = needed("FAREWELL_TEST_PYTHON") else {
        return Ok(());
    };
    let Some(household) = Household::start("").await? else {
        return Ok(());
    };
    let phones = Phones {
        household: &household,
        python,
    };
    let found = phones.bound(FOUND).await?;
    let released = phones.bound(RELEASED).await?;
    for (phone, epoch) in [(FOUND, found), (RELEASED, released)] {
        let on = phones.switch_on(phone, epoch)?;
        phones.seen(phone, epoch).await?;
        on.kill()?;
        ensure!(heard(&phones.told(phone))?.is_empty(), "it knew already");
    }

    // Whoever found it resets it, and once more. It hears the same each time, and is nobody else's.
    let on = phones.switch_on(FOUND, 0)?;
    phones.hears(FOUND, found, 1).await?;
    on.kill()?;
    let _on = phones.switch_on(FOUND, 0)?;
    phones.hears(FOUND, found, 2).await?;
    phones.seen(FOUND, found).await?;
    refused(
        "a phone that was reset",
        household.bind(PHONES, locked(FOUND, MAL)).await,
        Code::FailedPrecondition,
        "DEVICE_BOUND",
    );

    // The other one is let go of while it is away, and hears nothing when it is back.
    let request = UnbindDeviceRequest {
        request_id: fresh(),
        account: format!("accounts/{ANN}"),
        line: format!("lines/{PHONES}"),
        device: format!("devices/{RELEASED}"),
        epoch: released,
        ..UnbindDeviceRequest::default()
    };
    let begun = household.accounts()?.unbind_device(request).await?;
    let begun = begun
        .into_inner()
        .device_unbinding
        .context("an unbinding")?;
    let _free = phones.switch_on(RELEASED, 0)?;
    wait::until("the phone to be seen without a binding", async || {
        let now = household.unbinding(&begun.name, ANN).await?;
        Ok((now.state() == DeviceUnbindingState::Confirmed).then_some(()))
    })
    .await
    .with_context(|| phones.words())?;
    ensure!(
        heard(&phones.told(RELEASED))?.is_empty(),
        "it was let go of"
    );

    let name = household.caller.delete(ANN).await?;
    let purged = household.caller.until(&name, State::Purged).await;
    let purged = purged.with_context(|| phones.words())?;
    let legs = purged.legs.into_iter();
    let erased = legs.filter(|leg| leg.verb == "ERASE" && leg.participant == PHONES);
    let ends: Vec<_> = erased.flat_map(|leg| leg.devices).collect();
    let [end] = &ends[..] else {
        bail!("{ends:?}");
    };
    ensure!(end.device == format!("devices/{FOUND}"), "{end:?}");
    let done = ["CONFIRMED", "EXECUTED"].contains(&end.outcome.as_str());
    ensure!(done && end.lock == "RELEASED", "{end:?}");
    let deeds = foreign::deeds(&phones.told(FOUND))?;
    let reset = deeds.iter().all(|deed| deed["did"] == "DEVICE_VERB_RESET");
    ensure!(deeds.len() == 1 && reset, "{deeds:?}");

    // Both are whose they are from then on, and of that they hear.
    for (phone, before) in [(FOUND, found), (RELEASED, released)] {
        let bound = household.bind(PHONES, locked(phone, MAL)).await?;
        let mals = bound.binding.context("a binding")?.epoch;
        ensure!(mals > before, "{mals}");
    }
    Ok(())
}
