//! A freeze, its end, and a deletion beside it.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use farewell_core::account::Change;
use farewell_identity::LoginError;
use farewell_kit::seal;
use farewell_proto::account::v1::{
    AccountChangeState as Told, AccountChoice, AccountState, FreezeAccountRequest,
    UnfreezeAccountRequest,
};
use farewell_proto::deletion::v1::{Channel as Door, State};
use farewell_store::grant_entitlement;
use farewell_tests::ledger::Place;
use farewell_tests::process::needed;
use farewell_tests::refusal::refused;
use farewell_tests::wait;
use tonic::Code;

use super::town::{EVERYBODY, Town};
use super::{ACCOUNT, NOBODY, freezing, frozen, owing, thawing};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_freeze_reaches_whoever_was_away_and_outlives_a_deletion_that_is_taken_back() -> Result<()>
{
    let Some(program) = needed("FAREWELL_BIN") else {
        return Ok(());
    };
    let mut town = Town::start(&program, Place::sqlite()?, false).await?;
    for name in ["community", "store", "support", "identity"] {
        town.run(name).await?;
    }
    let before = {
        grant_entitlement(&town.shop, ACCOUNT, "newsletter-discount", false).await?;
        town.kept().await?
    };
    let session = town.log_in().await?;

    // The cloud is away; everybody else has it.
    let request = freezing();
    let change = frozen(&town, &request).await?;
    wait::until("all but the cloud", async || {
        let change = town.change(&change.name).await?;
        Ok((owing(&change) == ["cloud"]).then_some(()))
    })
    .await?;
    // Operators see who owes it, and since when.
    let hanging = wait::until("operators to see it", async || {
        Ok(town
            .site
            .operator()?
            .overview()
            .await?
            .account_changes
            .pop())
    })
    .await?;
    assert_eq!(
        (&hanging.name, owing(&hanging)),
        (&change.name, vec!["cloud"])
    );
    assert!(hanging.state_time.is_some());
    // And are alarmed: once, however often it is looked at, and whoever looks.
    let alarm = wait::until("an alarm", async || Ok(town.alarms().pop())).await?;
    assert!(
        alarm.contains("owed=[\"cloud\"]") && alarm.contains("since="),
        "{alarm}"
    );
    let id = change.name.rsplit('/').next().context("an id")?;
    assert!(alarm.contains(id) && !alarm.contains(ACCOUNT), "{alarm}");
    let ledger = farewell_ledger::connect(&town.ledger.url).await?;
    wait::until("the alarm to be on record", async || {
        let stored = ledger.account(&ACCOUNT.parse()?).await?;
        let told = |change: &Change| change.alarmed_at;
        Ok(stored.and_then(|it| it.changes.iter().find_map(told)))
    })
    .await?;
    let raised = town.alarms().len();
    ensure!(!farewell_identity::is_logged_in(&town.identity, &session).await?);
    ensure!(matches!(
        town.log_in().await,
        Err(LoginError::Write(seal::Error::Frozen))
    ));
    ensure!(!town.admits(&town.shop).await?);
    let account = town.get().await?;
    assert_eq!(account.state(), AccountState::Frozen);
    let choices: Vec<_> = account.choices().collect();
    assert_eq!(
        choices,
        [
            AccountChoice::StopPersonalization,
            AccountChoice::Unfreeze,
            AccountChoice::ClearRealName,
            AccountChoice::Delete
        ]
    );

    // The same request is the same change, whoever answers; another body is none.
    town.kill().await?;
    let again = frozen(&town, &request).await?;
    assert_eq!(
        (&again.name, again.create_time),
        (&change.name, change.create_time)
    );
    let other = FreezeAccountRequest {
        account: format!("accounts/{NOBODY}"),
        ..request.clone()
    };
    let reused = wait::until("identity to be back", async || {
        match town.freeze(&other).await {
            Err(status) if status.code() == Code::Unavailable => Ok(None),
            answer => Ok(Some(answer)),
        }
    });
    refused(
        "nobody's",
        reused.await?,
        Code::NotFound,
        "ACCOUNT_NOT_FOUND",
    );
    let other = UnfreezeAccountRequest {
        request_id: request.request_id.clone(),
        ..thawing()
    };
    refused(
        "another use of the id",
        town.unfreeze(&other).await,
        Code::AlreadyExists,
        "REQUEST_ID_REUSED",
    );
    assert_eq!(owing(&town.change(&change.name).await?), ["cloud"]);
    town.run("cloud").await?;
    let done = town.until(&change.name, Told::Done).await?;
    assert_eq!(
        town.alarms().len(),
        raised,
        "and not by the next coordinator"
    );
    let overview = town.site.operator()?.overview().await?;
    assert!(
        overview.account_changes.is_empty(),
        "nothing hangs any more"
    );
    assert_eq!(done.legs.len(), EVERYBODY.len());

    // A frozen account may be deleted, and who takes that back finds it frozen.
    let deletion = farewell_proto::deletion::v1::CreateDeletionRequest {
        channel: Door::Support.into(),
        ..farewell_tests::caller::request(ACCOUNT)
    };
    let deletion = town.caller.ask(deletion).await?.name;
    town.caller.until(&deletion, State::CoolingOff).await?;
    let sealed = town.get().await?;
    assert_eq!(
        (sealed.state(), &sealed.deletion),
        (AccountState::Sealed, &deletion)
    );
    let choices: Vec<_> = sealed.choices().collect();
    assert_eq!(
        choices,
        [AccountChoice::Unfreeze, AccountChoice::RevokeDeletion]
    );
    town.caller.revoke(&deletion).await?;
    wait::until("every seal to be lifted", async || {
        let deletion = town.caller.get(&deletion).await?;
        Ok(deletion.close_time.map(drop))
    })
    .await?;
    assert_eq!(town.get().await?.state(), AccountState::Frozen);
    ensure!(matches!(
        town.log_in().await,
        Err(LoginError::Write(seal::Error::Frozen))
    ));
    ensure!(!town.admits(&town.shop).await?);

    // Thawing is proved, and nothing of it happens before.
    let request = thawing();
    let change = town.unfreeze(&request).await?;
    assert_eq!(change.state(), Told::AwaitingVerification);
    assert_eq!(town.unfreeze(&request).await?, change);
    ensure!(!town.admits(&town.shop).await?);
    town.kill().await?;
    town.prove(&change.name).await?;
    town.until(&change.name, Told::Done).await?;
    assert_eq!(town.get().await?.state(), AccountState::Active);
    town.log_in().await?;
    ensure!(town.admits(&town.shop).await?);
    assert_eq!(town.kept().await?, before);

    // As a person sees it.
    let shown = Command::new(&program)
        .args(["account", "get", ACCOUNT, "--plain", "-o", "json"])
        .args(["--endpoint", &format!("http://{}", town.site.callers)])
        .output()?;
    ensure!(
        shown.status.success(),
        "{}",
        String::from_utf8_lossy(&shown.stderr)
    );
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout)?;
    assert_eq!(
        (&shown["state"], &shown["changes"][1]["kind"]),
        (&"ACTIVE".into(), &"FREEZE".into())
    );
    town.end().await
}

/// Whichever comes first, the account ends frozen if it ends at all, and the deletion as it would without.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_freeze_and_a_deletion_at_the_same_time_do_each_what_they_do() -> Result<()> {
    let Some(program) = needed("FAREWELL_BIN") else {
        return Ok(());
    };
    let mut town = Town::start(&program, Place::sqlite()?, false).await?;
    town.run_all().await?;
    frozen(&town, &freezing()).await?;
    let asked = farewell_proto::deletion::v1::CreateDeletionRequest {
        channel: Door::Support.into(),
        ..farewell_tests::caller::request(ACCOUNT)
    };
    let request = freezing();
    let (deletion, change) = tokio::join!(town.caller.ask(asked), town.freeze(&request));
    let (deletion, change) = (deletion?.name, change?.name);
    town.caller.until(&deletion, State::CoolingOff).await?;
    town.until(&change, Told::Done).await?;
    assert_eq!(town.get().await?.state(), AccountState::Sealed);
    town.caller.revoke(&deletion).await?;
    wait::until("every seal to be lifted", async || {
        Ok(town.caller.get(&deletion).await?.close_time.map(drop))
    })
    .await?;
    assert_eq!(town.get().await?.state(), AccountState::Frozen);
    ensure!(!town.admits(&town.shop).await?);
    town.end().await
}
